import { mkdir, readdir, readFile, rename, symlink, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Scratch } from './file-system-test-support.ts'
import { isRepository, removeLeftovers, removeSetAside, setAside } from './recover.ts'
import { runGit } from './run-git-test-support.ts'

async function madeRepository(scratch: Scratch): Promise<string> {
  await runGit(['init', '--quiet', '--template=', scratch.path])
  return scratch.at('.git')
}

async function write(root: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), 'x')
  }
}

describe('leftovers of killed git processes', () => {
  const module = `worktrees/${'a'.repeat(40)}/modules/part`

  it.each([
    'index.lock',
    'HEAD.lock',
    'config.lock',
    'packed-refs.lock',
    'packed-refs.new',
    'info/refs_Ab12Cd',
    'objects/info/packs_Ab12Cd',
    'shallow.lock',
    'shallow_Ab12Cd',
    'gc.pid',
    'gc.pid.lock',
    'FETCH_HEAD.lock',
    'refs/outrider/incoming.lock',
    'refs/heads/deep/down/x.lock',
    'logs/refs/heads/x.lock',
    `worktrees/${'a'.repeat(40)}/index.lock`,
    `worktrees/${'a'.repeat(40)}/HEAD.lock`,
    `worktrees/${'a'.repeat(40)}/.outrider-0123456789ab`,
    'objects/pack/tmp_pack_Ab12Cd',
    'objects/pack/tmp_idx_Ab12Cd',
    'objects/pack/.tmp-123-pack-0123.pack',
    'objects/pack/pack-0123.lock',
    'objects/pack/multi-pack-index.lock',
    'objects/info/commit-graph.lock',
    'objects/0a/tmp_obj_Ab12Cd',
    'objects/tmp_objdir-incoming-Ab12Cd/pack/tmp_pack_x',
    'objects/incoming-Ab12Cd/0a/x',
    `${module}/index.lock`,
    `${module}/shallow.lock`,
    `${module}/objects/pack/tmp_pack_Ab12Cd`,
    `${module}/objects/tmp_objdir-incoming-Ab12Cd/pack/x`,
  ])('%s goes', async (path) => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    const before = await readdir(git, { recursive: true })
    await write(git, [path])
    const [removed] = await removeLeftovers(git)
    expect(path.startsWith(String(removed))).toBe(true)
    const after = await readdir(git, { recursive: true })
    expect(after.filter((each) => !before.includes(each) && path.endsWith(each))).toEqual([])
    expect(await removeLeftovers(git)).toEqual([])
  })

  const pack = `objects/pack/pack-${'c'.repeat(40)}`

  it.each([
    [
      'a pack without an index',
      ['.pack', '.rev', '.promisor', '.keep'],
      ['.pack', '.rev', '.promisor', '.keep'],
    ],
    ['an index without a pack', ['.idx', '.rev'], ['.idx', '.rev']],
    ['a whole pack', ['.pack', '.idx', '.rev', '.bitmap', '.promisor', '.mtimes', '.keep'], []],
  ])('of %s %j there goes %j', async (_, there, gone) => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    const paths = there.map((ending) => pack + ending)
    await write(git, paths)
    const left = paths.filter((path) => !gone.includes(path.slice(pack.length)))
    expect((await removeLeftovers(git)).toSorted()).toEqual(gone.map((ending) => pack + ending).toSorted())
    expect(
      (await readdir(join(git, 'objects/pack'))).map((name) => `objects/pack/${name}`).toSorted(),
    ).toEqual(left.toSorted())
  })

  it('a pack is no longer kept for a fetch that was killed', async () => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    await write(git, [`${pack}.pack`, `${pack}.idx`])
    await writeFile(join(git, `${pack}.keep`), 'fetch-pack 123 on a-host\n')
    expect(await removeLeftovers(git)).toEqual([`${pack}.keep`])
  })

  it('after a kill among them, git tidies up again', async () => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    await write(git, ['packed-refs.new', 'packed-refs.lock', `${pack}.rev`, 'gc.pid'])
    const commit = [
      '-c',
      'user.name=me',
      '-c',
      'user.email=me@x',
      'commit',
      '--quiet',
      '--allow-empty',
      '-m',
      'x',
    ]
    await runGit(commit, { cwd: scratch.path })
    await expect(runGit(['gc', '--quiet', '--force'], { cwd: scratch.path })).rejects.toThrow()
    await removeLeftovers(git)
    await runGit(['gc', '--quiet'], { cwd: scratch.path })
    expect(await runGit(['count-objects', '-v'], { cwd: scratch.path })).toMatch(/^garbage: 0$/m)
  })

  it('are none of what only has a name like one', async () => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    const paths = [
      'refs/heads/shallow_fix',
      'refs/heads/gc.pid',
      'refs/heads/tmp_x',
      'refs/heads/incoming-mail/x',
      'refs/heads/objects/tmp_x',
      'refs/tags/tmp_objdir-x/y',
      'logs/refs/heads/shallow_fix',
      `${module}/refs/heads/shallow_fix`,
      `worktrees/${'a'.repeat(40)}/modules/incoming-data/HEAD`,
      `worktrees/${'a'.repeat(40)}/modules/x.lock/HEAD`,
      'objects/pack/pack-0123.keep',
      'refs/heads/packed-refs.new',
      'refs/heads/info/refs_fix123',
      'shallow',
      'index',
    ]
    await write(git, paths)
    expect(await removeLeftovers(git)).toEqual([])
    const there = await readdir(git, { recursive: true })
    for (const path of paths) expect(there).toContain(path)
  })

  it('are not looked for through symbolic links, and a link is removed without what it leads to', async () => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    const outside = scratch.at('outside')
    await write(outside, ['index.lock', 'tmp_pack_x', 'data'])
    await symlink(outside, join(git, 'refs/heads/linked'))
    await symlink(outside, join(git, 'objects/0a'))
    await symlink(outside, join(git, 'worktrees'))
    await symlink(outside, join(git, 'objects/tmp_objdir-x'))
    await symlink(join(outside, 'data'), join(git, 'index.lock'))
    expect((await removeLeftovers(git)).toSorted()).toEqual(['index.lock', 'objects/tmp_objdir-x'])
    expect((await readdir(outside)).toSorted()).toEqual(['data', 'index.lock', 'tmp_pack_x'])
  })

  it('that cannot be removed are named, with what helps', async () => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    await write(git, ['index.lock'])
    scratch.protect(join(git, 'index.lock'))
    await expect(removeLeftovers(git)).rejects.toThrow(/index\.lock \(EPERM\); remove it by hand/)
  })

  it('are none where there is no repository', async () => {
    await using scratch = new Scratch()
    expect(await removeLeftovers(scratch.at('.git'))).toEqual([])
  })
})

describe('what counts as a repository', () => {
  const damages: readonly (readonly [string, (git: string) => Promise<unknown>])[] = [
    ['without HEAD', (git) => unlink(join(git, 'HEAD'))],
    ['with an empty HEAD', (git) => writeFile(join(git, 'HEAD'), '')],
    ['with an empty config', (git) => writeFile(join(git, 'config'), '')],
    ['without objects', (git) => rename(join(git, 'objects'), join(git, 'elsewhere'))],
    [
      'with a file for refs',
      async (git) => {
        await rename(join(git, 'refs'), join(git, 'elsewhere'))
        await writeFile(join(git, 'refs'), '')
      },
    ],
    [
      'with a link for objects',
      async (git) => {
        await rename(join(git, 'objects'), join(git, 'elsewhere'))
        await symlink('elsewhere', join(git, 'objects'))
      },
    ],
    [
      'that is reached by a link',
      async (git) => {
        await rename(git, `${git}-elsewhere`)
        await symlink(`${git}-elsewhere`, git)
      },
    ],
  ]

  it('is one that git has just made', async () => {
    await using scratch = new Scratch()
    expect(await isRepository(await madeRepository(scratch))).toBe(true)
    expect(await isRepository(scratch.at('nowhere'))).toBe(false)
  })

  it.each(damages)('is none %s', async (_, damage) => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    await damage(git)
    expect(await isRepository(git)).toBe(false)
  })
})

describe('what is set aside', () => {
  it('makes room, and goes with what killed processes have set aside before', async () => {
    await using scratch = new Scratch()
    await madeRepository(scratch)
    await setAside(scratch.path)
    await madeRepository(scratch)
    await setAside(scratch.path)
    await setAside(scratch.path)
    expect(await readdir(scratch.path)).toHaveLength(2)
    expect(await removeSetAside(scratch.path)).toEqual([])
    expect(await readdir(scratch.path)).toEqual([])
  })

  it('takes nothing along that a link leads to', async () => {
    await using scratch = new Scratch()
    await mkdir(scratch.at('outside'))
    await writeFile(scratch.at('outside/data'), 'mine')
    await symlink(scratch.at('outside'), scratch.at('.git'))
    await setAside(scratch.path)
    expect(await removeSetAside(scratch.path)).toEqual([])
    expect(await readFile(scratch.at('outside/data'), 'utf8')).toBe('mine')
  })

  it('and cannot be removed is told, and hinders nothing', async () => {
    await using scratch = new Scratch()
    const git = await madeRepository(scratch)
    await setAside(scratch.path)
    const [name = ''] = await readdir(scratch.path)
    scratch.protect(scratch.at(name, 'objects'))
    const [left] = await removeSetAside(scratch.path)
    expect(left).toMatch(/\.git\.broken-.* \(EPERM\)/)
    await expect(madeRepository(scratch)).resolves.toBe(git)
  })
})
