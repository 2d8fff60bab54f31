import {
  access,
  chmod,
  mkdir,
  readdir,
  readFile,
  rm,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createGit } from './git.ts'
import { makeRepository } from './git-repository-test-support.ts'
import { filesIn, type MirrorScene, makeScene } from './mirror-test-support.ts'
import { runGit } from './run-git-test-support.ts'
import {
  createTree,
  dropTree,
  isOwnTree,
  isUnchanged,
  listTrees,
  noteReplaced,
  type Recipe,
  recipeOf,
  removeTraces,
  replacedAt,
  type Tree,
  type TreeWork,
} from './worktree.ts'

let scene: MirrorScene
let work: TreeWork
let hash: string

beforeEach(async () => {
  scene = await makeScene()
  hash = await scene.repository.commit(async (tree) => {
    await writeFile(join(tree, 'a'), '1')
    await mkdir(join(tree, 'dir'))
    await writeFile(join(tree, 'dir/b'), '2', { mode: 0o755 })
    await symlink('a', join(tree, 'link'))
  })
  await runGit(['init', '--quiet', scene.root])
  await runGit(['fetch', '--quiet', scene.repository.directory, 'HEAD:refs/outrider/incoming'], {
    cwd: scene.root,
  })
  work = workWith('git')
})
afterEach(() => scene[Symbol.asyncDispose]())

const workWith = (program: string): TreeWork => ({
  git: createGit({ program, environment: { PATH: process.env['PATH'], HOME: scene.base } }),
  directory: scene.root,
  access: {},
  signal: AbortSignal.timeout(60_000),
})

const recipe: Recipe = { submodules: 'recursive', depth: 1, digest: 'd1' }
const plain = (name = hash): string => join(scene.root, '.worktrees', name)

async function gitThat(script: string): Promise<string> {
  const file = join(scene.base, 'git-that')
  await writeFile(file, `#!/bin/sh\n${script}\nexec git "$@"\n`)
  await chmod(file, 0o755)
  return file
}

describe('a new tree', () => {
  it('has the files of the commit, a relative way to the repository, and the digest of its recipe', async () => {
    expect(await createTree(work, hash, recipe)).toEqual({ hash, path: plain() })
    expect(await filesIn(plain())).toEqual({ a: '1', 'dir/b': '2', link: '-> a' })
    expect(await readFile(join(plain(), '.git'), 'utf8')).toBe(`gitdir: ../../.git/worktrees/${hash}\n`)
    expect(await recipeOf(scene.root, plain())).toBe('d1')
    expect(await isUnchanged(work, plain())).toBe(true)
  })

  it('is made in a folder of its own where its place is taken, if only by a link to nowhere', async () => {
    await mkdir(join(scene.root, '.worktrees'))
    await symlink('/nowhere', plain())
    const { path } = await createTree(work, hash, recipe)
    expect(path).toMatch(new RegExp(`/\\.worktrees/again-[0-9a-f]{12}/${hash}$`))
    expect(await recipeOf(scene.root, path)).toBe('d1')
    expect(await listTrees(scene.root)).toEqual([{ hash, path }])
  })

  it('that is not finished is not whole, and goes with all that git keeps of it', async () => {
    const program = await gitThat('case "$*" in *reset*) exit 128;; esac')
    await expect(createTree(workWith(program), hash, recipe)).rejects.toThrow('git reset')
    expect(await listTrees(scene.root)).toEqual([{ hash, path: plain() }])
    expect(await recipeOf(scene.root, plain())).toBeUndefined()
    expect(await dropTree(scene.root, plain())).toEqual([])
    expect(await readdir(join(scene.root, '.worktrees'))).toEqual([])
    expect(await readdir(join(scene.root, '.git/worktrees'))).toEqual([])
  })

  it('was never replaced, until it is', async () => {
    await createTree(work, hash, recipe)
    expect(await replacedAt(scene.root, plain())).toBe(0)
    await noteReplaced(scene.root, plain())
    expect(await replacedAt(scene.root, plain())).toBeGreaterThan(Date.now() - 60_000)
    expect(await recipeOf(scene.root, plain())).toBe('d1')
  })
})

describe('a tree counts as changed', () => {
  it.each<readonly [string, (path: string) => Promise<unknown>]>([
    ['a file has other contents', (path) => writeFile(join(path, 'a'), '2')],
    ['a file is gone', (path) => unlink(join(path, 'a'))],
    ['a directory is gone', (path) => rm(join(path, 'dir'), { recursive: true })],
    ['a program is none any more', (path) => chmod(join(path, 'dir/b'), 0o644)],
    [
      'a link leads elsewhere',
      async (path) => {
        await unlink(join(path, 'link'))
        await symlink('b', join(path, 'link'))
      },
    ],
    ['its way to the repository is gone', (path) => unlink(join(path, '.git'))],
    ['git keeps nothing of it', () => rm(join(scene.root, '.git/worktrees'), { recursive: true })],
  ])('when %s', async (_, change) => {
    await createTree(work, hash, recipe)
    await change(plain())
    expect(await isUnchanged(work, plain())).toBe(false)
  })

  it.each<readonly [string, (path: string) => Promise<unknown>]>([
    ['a file is new', (path) => writeFile(join(path, 'new'), '')],
    ['a file has another time', (path) => utimes(join(path, 'a'), 1, 1)],
  ])('and not when %s', async (_, change) => {
    await createTree(work, hash, recipe)
    await change(plain())
    expect(await isUnchanged(work, plain())).toBe(true)
  })

  it('when a file of a submodule in it is changed', async () => {
    const part = await makeRepository(join(scene.base, 'part.git'))
    const url = `file://${part.directory}`
    hash = await scene.repository.addSubmodule('part', { url, hash: await part.commit({ c: '3' }) })
    await runGit(['fetch', '--quiet', scene.repository.directory, '+HEAD:refs/outrider/incoming'], {
      cwd: scene.root,
    })
    // Ours lets no submodule come from this machine.
    const file = await gitThat('set -- -c protocol.file.allow=always "$@"')
    await createTree(workWith(file), hash, recipe)
    expect(await filesIn(plain())).toMatchObject({ 'part/c': '3' })
    expect(await isUnchanged(work, plain())).toBe(true)
    await writeFile(join(plain(), 'part/c'), '4')
    expect(await isUnchanged(work, plain())).toBe(false)
  })
})

describe('what is removed', () => {
  it.each([
    '..',
    '.worktrees',
    '.worktrees/mine',
    '.worktrees/mine/HASH',
    '.worktrees/HASH/HASH',
    '../elsewhere/HASH',
  ])('is never %s, which is no tree of the directory', async (inside) => {
    const path = join(scene.root, inside.replaceAll('HASH', hash))
    expect(isOwnTree(scene.root, path)).toBe(false)
    await mkdir(path, { recursive: true })
    expect(await dropTree(scene.root, path)).toEqual([])
    await expect(access(path)).resolves.toBeUndefined()
  })

  it('is nothing that the .git file of a tree leads to outside of the repository, or of another tree', async () => {
    const other = await createTree(work, hash, recipe)
    const outside = join(scene.base, 'outside')
    await mkdir(outside)
    for (const target of [outside, '../../.git', '/etc', `../../../.git/worktrees/${hash}`]) {
      const strange = join(scene.root, '.worktrees/again-0123456789ab', hash)
      await mkdir(strange, { recursive: true })
      await writeFile(join(strange, '.git'), `gitdir: ${target}\n`)
      expect(await recipeOf(scene.root, strange)).toBeUndefined()
      expect(await dropTree(scene.root, strange)).toEqual([])
    }
    await expect(access(outside)).resolves.toBeUndefined()
    expect(await recipeOf(scene.root, other.path)).toBe('d1')
    expect(await isUnchanged(work, other.path)).toBe(true)
  })

  it('is a tree with directories that may not be written too', async () => {
    const { path } = await createTree(work, hash, recipe)
    await chmod(join(path, 'dir'), 0o555)
    await chmod(path, 0o555)
    expect(await dropTree(scene.root, path)).toEqual([])
    expect(await listTrees(scene.root)).toEqual([])
  })

  it('is, of traces, only what no tree has', async () => {
    const first: Tree = await createTree(work, hash, recipe)
    const second = await createTree(work, hash, recipe)
    expect(await removeTraces(scene.root)).toEqual([])
    await rm(second.path, { recursive: true })
    const removed = await removeTraces(scene.root)
    expect(removed).toHaveLength(2)
    expect(await isUnchanged(work, first.path)).toBe(true)
  })
})
