import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createGit } from './git.ts'
import { makeRepository, type TestRepository } from './git-repository-test-support.ts'
import { candidatesOf, chosenRef, listRemote, parseRefs } from './remote-ref.ts'
import { runGit } from './run-git-test-support.ts'

let directory: string
let repository: TestRepository
const signal = AbortSignal.timeout(120_000)

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'outrider-ref-'))
  repository = await makeRepository(join(directory, 'remote.git'))
})
afterEach(() => rm(directory, { recursive: true }))

async function chosen(ref: string): Promise<string | undefined> {
  const git = createGit({ environment: { PATH: process.env['PATH'] } })
  const refs = await listRemote(git, repository.directory, ref, { access: {}, signal, directory })
  return chosenRef(ref, refs)?.hash
}

/** What `git fetch` brings by this name. */
async function fetched(ref: string): Promise<string | undefined> {
  const local = join(directory, 'local.git')
  await runGit(['init', '--quiet', '--bare', local])
  const args = ['fetch', '--quiet', '--no-tags', '--', repository.directory, `+${ref}:refs/outrider/incoming`]
  const isThere = await runGit(args, { cwd: local }).then(
    () => true,
    () => false,
  )
  return isThere ? (await runGit(['rev-parse', 'refs/outrider/incoming'], { cwd: local })).trim() : undefined
}

describe('which ref a name stands for', () => {
  it('is what git fetch takes it for, however many refs have a name like it', async () => {
    const hashes: string[] = []
    for (let number = 0; number < 12; number++) hashes.push(await repository.commit({ a: String(number) }))
    const last = ['x', 'y', 'HEAD', 'heads', 'tags']
    const prefixes = [
      'refs/heads/',
      'refs/tags/',
      'refs/remotes/',
      'refs/',
      'refs/heads/refs/heads/',
      'refs/pull/',
    ]
    const name = fc
      .tuple(fc.constantFrom(...last), fc.constantFrom('', '/x', '/HEAD'))
      .map((parts) => parts.join(''))
    const whole = fc.tuple(fc.constantFrom(...prefixes), name).map((parts) => parts.join(''))
    const asked = fc
      .oneof(
        name,
        whole,
        whole.map((text) => text.replace(/^refs\//, '')),
      )
      .filter((ref) => ref !== 'HEAD')
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(whole, { minLength: 1, maxLength: 12 }), asked, async (names, ref) => {
        await rm(join(repository.directory, 'refs'), { recursive: true })
        const lines: string[] = []
        for (const [index, each] of names.entries()) {
          // No file can be a directory too.
          if (names.some((other) => other.startsWith(`${each}/`))) continue
          lines.push(`${hashes[index]} ${each}`)
        }
        await runGit(['init', '--quiet', '--bare', repository.directory])
        await writeFile(join(repository.directory, 'packed-refs'), `${lines.toSorted(byName).join('\n')}\n`)
        expect(await chosen(ref)).toBe(await fetched(ref))
      }),
      { numRuns: 200 },
    )
  }, 120_000)

  it('may be HEAD of a remote of the remote, the last that git thinks of', async () => {
    const hash = await repository.commit({ a: '1' })
    await repository.setRef('refs/remotes/x/HEAD', hash)
    expect([await chosen('x'), await fetched('x')]).toEqual([hash, hash])
  })

  it('is HEAD of the remote alone for HEAD', async () => {
    const hash = await repository.commit({ a: '1' })
    await repository.commit({ a: '2' }, { branch: 'HEAD' })
    expect(await chosen('HEAD')).toBe(hash)
    await repository.setHead('refs/heads/unborn')
    expect(await chosen('HEAD')).toBeUndefined()
  })

  it('is none that has the name only at its end', async () => {
    await repository.commit({ a: '1' }, { branch: 'other/release' })
    expect(await chosen('release')).toBeUndefined()
    expect(await chosen('other/release')).toBeDefined()
  })
})

const byName = (one: string, other: string): number => (one.slice(41) < other.slice(41) ? -1 : 1)

describe('what a remote lists', () => {
  it('has what annotated tags stand for, through several of them', async () => {
    const commit = await repository.commit({ a: '1' })
    const inner = await repository.tag('inner', { annotated: true })
    const outer = await repository.tag('outer', { target: inner, annotated: true })
    const git = createGit({ environment: { PATH: process.env['PATH'] } })
    const refs = await listRemote(git, repository.directory, 'outer', { access: {}, signal, directory })
    expect(refs).toEqual([{ name: 'refs/tags/outer', hash: outer, peeled: commit }])
  })

  it('is read of lines that tell a ref that was asked for, whatever stands beside', () => {
    const hash = 'a'.repeat(40)
    const output = `${hash}\trefs/heads/x\n${hash}\trefs/heads/other\nwarning\n${hash} refs/heads/x\nshort\trefs/heads/y\n\n`
    expect(parseRefs(output, new Set(['refs/heads/x', 'refs/heads/y']))).toEqual([
      { name: 'refs/heads/x', hash },
    ])
    expect(candidatesOf('x')[0]).toBe('x')
  })
})
