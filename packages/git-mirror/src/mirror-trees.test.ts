import { execFileSync } from 'node:child_process'
import {
  access,
  chmod,
  mkdir,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeRepository } from './git-repository-test-support.ts'
import type { Mirror, MirrorOptions } from './mirror.ts'
import { filesIn, type MirrorScene, makeScene, sync } from './mirror-test-support.ts'
import { runGit } from './run-git-test-support.ts'

let scene: MirrorScene

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(() => scene[Symbol.asyncDispose]())

/** What a process does that starts, syncs once and ends. */
async function syncOnce(options: Partial<MirrorOptions> = {}): Promise<Mirror> {
  const mirror = scene.open(options)
  await sync(mirror).finally(() => mirror[Symbol.asyncDispose]())
  return mirror
}

const trees = async (root = scene.root): Promise<string[]> =>
  (await readdir(join(root, '.worktrees'), { recursive: true })).filter((path) =>
    /^(again-\w+\/)?[0-9a-f]{40}$/.test(path),
  )

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

const refuse = () => Promise.reject(new Error('not today'))

describe('trees of others', () => {
  it('stay, with all around them, where the link led to one of them', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const other = { directory: join(scene.base, 'other') }
    await syncOnce(other)
    await writeFile(join(scene.base, 'other/.worktrees/note'), 'mine')
    const mirror = scene.open()
    await sync(mirror)
    expect(await readlink(scene.link)).toBe(`.worktrees/${hash}`)
    await scene.repository.commit({ a: '2' })
    await sync(mirror)
    expect(await filesIn(join(scene.base, 'other/.worktrees'))).toEqual({ [`${hash}/a`]: '1', note: 'mine' })
  })

  it('stay where the link led to something that only looks like one', async () => {
    const strange = join(scene.base, 'precious', 'a'.repeat(40))
    await mkdir(strange, { recursive: true })
    await writeFile(join(strange, 'data'), 'mine')
    await writeFile(join(scene.base, 'precious/more'), 'mine too')
    await mkdir(scene.root)
    await symlink(strange, scene.link)
    await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await sync(mirror)
    expect(await filesIn(join(scene.base, 'precious'))).toEqual({
      [`${'a'.repeat(40)}/data`]: 'mine',
      more: 'mine too',
    })
  })

  it('stay in the place of trees, and so does what git keeps of worktrees elsewhere', async () => {
    await scene.repository.commit({ a: '1' })
    await syncOnce()
    const elsewhere = join(scene.base, 'elsewhere')
    await runGit(['worktree', 'add', '--quiet', '--detach', elsewhere, 'refs/outrider/incoming'], {
      cwd: scene.root,
    })
    await mkdir(join(scene.root, '.worktrees/mine', 'b'.repeat(40)), { recursive: true })
    await scene.repository.commit({ a: '2' })
    await syncOnce()
    expect(await isThere(join(scene.root, '.worktrees/mine', 'b'.repeat(40)))).toBe(true)
    expect(await runGit(['status', '--porcelain'], { cwd: elsewhere })).toBe('')
  })

  it('are none of ours where the place of trees is a symbolic link, which is said', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    await syncOnce()
    const big = join(scene.base, 'big')
    await rename(join(scene.root, '.worktrees'), big)
    await symlink(big, join(scene.root, '.worktrees'))
    const mirror = scene.open()
    await expect(sync(mirror)).rejects.toThrow('.worktrees is no directory of its own')
    await expect(sync(mirror)).rejects.toThrow('.worktrees is no directory of its own')
    expect(await filesIn(big)).toEqual({ [`${hash}/a`]: '1' })
  })
})

describe('two mirrors with the same link', () => {
  it('take it from each other, say so, and leave each other their trees', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const [first, second] = ['first', 'second'].map((name) =>
      scene.open({ directory: join(scene.base, name) }),
    )
    for (let round = 0; round < 3; round++)
      for (const mirror of [first, second]) if (mirror) await sync(mirror)
    expect(scene.eventTypes().filter((type) => type === 'damaged')).toHaveLength(4)
    for (const name of ['first', 'second'])
      expect(await filesIn(join(scene.base, name, '.worktrees'))).toEqual({ [`${hash}/a`]: '1' })
  })
})

describe('what git keeps of a tree', () => {
  it('is of the new tree where the repository was made anew, and the old one takes nothing of it along', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    await syncOnce()
    await writeFile(join(scene.root, '.git/HEAD'), '')
    await syncOnce()
    expect((await runGit(['log', '--format=%H'], { cwd: scene.link })).trim()).toBe(hash)
    scene.eventTypes()
    const mirror = scene.open()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.eventTypes()).toEqual([])
  })

  it('goes where the tree has gone', async () => {
    const first = await scene.repository.commit({ a: '1' })
    await syncOnce({ staleAfterMs: 3_600_000 })
    const second = await scene.repository.commit({ a: '2' })
    await syncOnce({ staleAfterMs: 3_600_000 })
    await rm(join(scene.root, '.worktrees', first), { recursive: true })
    await mkdir(join(scene.root, '.worktrees/again-0123456789ab'))
    await syncOnce({ staleAfterMs: 3_600_000 })
    expect(await readdir(join(scene.root, '.git/worktrees'))).toEqual([second])
    expect(await readdir(join(scene.root, '.worktrees'))).toEqual([second])
  })

  it('hinders nothing where git was killed when it had just begun the tree', async () => {
    await scene.repository.commit({ a: '1' })
    await syncOnce()
    const next = await scene.repository.commit({ a: '2' })
    const mirror = scene.open()
    await expect(sync(mirror, { beforePublish: refuse })).rejects.toThrow('not today')
    await writeFile(join(scene.root, '.git/worktrees', next, 'locked'), 'initializing')
    await rm(join(scene.root, '.worktrees', next), { recursive: true })
    await sync(mirror)
    expect(await scene.published()).toEqual({ hash: next, files: { a: '2' } })
    expect(await readdir(join(scene.root, '.git/worktrees'))).toEqual([next])
  })

  it('has the repositories of its submodules, which go with it', async () => {
    const part = await makeRepository(join(scene.base, 'part.git'))
    const url = `file://${part.directory}`
    await scene.repository.addSubmodule('part', { url, hash: await part.commit({ b: '1' }) })
    const mirror = scene.open({}, { program: await submodulesFromFiles() })
    for (const text of ['2', '3', '4']) {
      await sync(mirror)
      await scene.repository.addSubmodule('part', { url, hash: await part.commit({ b: text }) })
    }
    await sync(mirror)
    expect((await scene.published()).files).toMatchObject({ 'part/b': '4' })
    const kept = await readdir(join(scene.root, '.git'), { recursive: true })
    expect(kept.filter((path) => /modules\/part$/.test(path))).toHaveLength(1)
  })
})

/** Git that lets submodules come from this machine, which ours never does. */
async function submodulesFromFiles(): Promise<string> {
  const file = join(scene.base, 'git-of-test')
  await writeFile(file, '#!/bin/sh\nexec git -c protocol.file.allow=always "$@"\n')
  await chmod(file, 0o755)
  return file
}

describe('how many trees there are', () => {
  it('one more than is published, however many commits are refused before they are published', async () => {
    const first = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    let last = ''
    for (const text of ['2', '3', '4', '5']) {
      last = await scene.repository.commit({ a: text })
      await expect(sync(mirror, { beforePublish: refuse })).rejects.toThrow('not today')
    }
    expect((await trees()).sort()).toEqual([first, last].sort())
    await sync(mirror)
    expect(await trees()).toEqual([last])
  })

  it('no more either where that changes files of the tree, nor while trees may stay', async () => {
    await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ staleAfterMs: 3_600_000 })
    await sync(mirror)
    await scene.repository.commit({ a: '2' })
    for (let round = 0; round < 4; round++) {
      const beforePublish = async ({ path }: { readonly path: string }) => {
        await writeFile(join(path, 'a'), 'built')
        throw new Error('not today')
      }
      await expect(sync(mirror, { beforePublish })).rejects.toThrow('not today')
    }
    expect(await trees()).toHaveLength(2)
  })

  it('one, however often the same commit is made by another recipe', async () => {
    await scene.repository.commit({ 'x/a': '1', 'y/b': '2' })
    const sparseCheckoutFile = join(scene.base, 'sparse')
    await writeFile(sparseCheckoutFile, '/x/\n')
    const mirror = scene.open({ sparseCheckoutFile })
    for (const patterns of ['/x/\n', '/y/\n', '/x/a\n', '/y/b\n', '/x/\n/y/\n']) {
      await writeFile(sparseCheckoutFile, patterns)
      await sync(mirror)
    }
    expect(await trees()).toHaveLength(1)
    expect((await scene.published()).files).toEqual({ 'x/a': '1', 'y/b': '2' })
    expect(await readdir(join(scene.root, '.worktrees'))).toHaveLength(1)
    expect(await readdir(join(scene.root, '.git/worktrees'))).toHaveLength(1)
  })

  it('those whose time is not over stay, also where the same commit is made by another recipe', async () => {
    const hash = await scene.repository.commit({ 'x/a': '1', 'y/b': '2' })
    const sparseCheckoutFile = join(scene.base, 'sparse')
    const mirror = scene.open({ sparseCheckoutFile, staleAfterMs: 3_600_000 })
    for (const patterns of ['/x/\n', '/y/\n', '/x/a\n']) {
      await writeFile(sparseCheckoutFile, patterns)
      await sync(mirror)
    }
    expect(await trees()).toHaveLength(3)
    expect(await filesIn(join(scene.root, '.worktrees', hash))).toEqual({ 'x/a': '1' })
  })

  it('an old one stays as long as it may after the clock was set back', async () => {
    const first = await scene.repository.commit({ a: '1' })
    await syncOnce({ staleAfterMs: 500 })
    await scene.repository.commit({ a: '2' })
    await syncOnce({ staleAfterMs: 3_600_000 })
    const future = new Date(Date.now() + 86_400_000)
    await utimes(join(scene.root, '.git/worktrees', first, 'outrider-whole'), future, future)
    const mirror = scene.open({ staleAfterMs: 500 })
    await sync(mirror)
    expect(await trees()).toHaveLength(2)
    await expect.poll(() => sync(mirror).then(() => trees())).toHaveLength(1)
  })

  it('what is held by somebody is said once, and goes when it is let go', async () => {
    const first = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    const held = join(scene.root, '.worktrees', first, 'held')
    await mkdir(held)
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', held])
    try {
      await scene.repository.commit({ a: '2' })
      for (let round = 0; round < 3; round++) await sync(mirror)
    } finally {
      execFileSync('umount', [held])
    }
    expect(scene.eventTypes().filter((type) => type === 'not-removed')).toHaveLength(1)
    await sync(mirror)
    expect(await trees()).toHaveLength(1)
  })
})

describe('what is no longer needed', () => {
  it('goes from the repository too when the time of its tree is over, without a new commit', async () => {
    const first = await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ staleAfterMs: 300 })
    await sync(mirror)
    await scene.repository.commit({ a: '2' })
    await sync(mirror)
    await expect.poll(() => sync(mirror).then(() => trees())).toHaveLength(1)
    expect(scene.commands().filter((command) => command === 'gc')).toHaveLength(1)
    await expect(runGit(['cat-file', '-e', first], { cwd: scene.root })).rejects.toThrow()
    expect(await runGit(['fsck', '--no-dangling', '--no-progress'], { cwd: scene.root })).toBe('')
  })

  it('what a tree that may stay needs is not removed with it', async () => {
    const first = await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ staleAfterMs: 3_600_000 })
    await sync(mirror)
    await scene.repository.commit({ a: '2' })
    await sync(mirror)
    await runGit(['gc', '--quiet', '--prune=now'], { cwd: scene.root })
    const kept = join(scene.root, '.worktrees', first)
    expect(await runGit(['show', 'HEAD:a'], { cwd: kept })).toBe('1')
  })
})

describe('what is published is looked after', () => {
  it.each([
    ['the link is gone', () => unlink(scene.link)],
    [
      'the link leads elsewhere',
      async () => {
        await unlink(scene.link)
        await symlink('/etc', scene.link)
      },
    ],
    ['the tree is gone', async () => rm(await linked(), { recursive: true })],
    ['the repository is gone', () => rm(join(scene.root, '.git'), { recursive: true })],
    ['all of it is gone', () => rm(scene.root, { recursive: true })],
  ])('while it runs: where %s, the next sync puts it right', async (_, damage) => {
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await damage()
    await expect.poll(() => sync(mirror).then(() => scene.published())).toEqual({ hash, files: { a: '1' } })
    expect((await sync(mirror)).outcome).toBe('unchanged')
  })

  it('a tree whose line endings are not as its attributes want them is not taken for changed', async () => {
    await scene.repository.setRef('refs/heads/main', await withCarriageReturns())
    await syncOnce()
    scene.eventTypes()
    const mirror = scene.open()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.eventTypes()).toEqual([])
    await mirror[Symbol.asyncDispose]()
    await writeFile(join(scene.link, 'b'), 'changed')
    expect((await sync(scene.open())).outcome).toBe('published')
  })
})

/** A commit whose file has other line endings than its attributes say. */
async function withCarriageReturns(): Promise<string> {
  const git = (args: string[], input?: string) =>
    scene.repository.git(args, input === undefined ? {} : { input }).then((text) => text.trim())
  const attributes = await git(['hash-object', '-w', '--stdin'], '*.txt text\n')
  const file = await git(['hash-object', '-w', '--stdin', '--no-filters'], 'one\r\ntwo\r\n')
  const other = await git(['hash-object', '-w', '--stdin'], 'b')
  const entries = [
    `100644 blob ${attributes}\t.gitattributes`,
    `100644 blob ${file}\ta.txt`,
    `100644 blob ${other}\tb`,
  ]
  const tree = await git(['mktree'], `${entries.join('\n')}\n`)
  const identity = ['-c', 'user.name=Tester', '-c', 'user.email=tester@example.com']
  return await git([...identity, 'commit-tree', '-m', 'As a Windows user left it', tree])
}

const linked = async (): Promise<string> => join(scene.root, await readlink(scene.link))
