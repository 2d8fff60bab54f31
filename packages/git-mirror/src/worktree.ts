import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import type { Access } from './access.ts'
import { isHash } from './address.ts'
import type { Git } from './git.ts'
import { removeTree } from './remove-tree.ts'
import { uniqueSuffix } from './unique-suffix.ts'

/** One commit as files; `hash` is the base name of `path`. */
export interface Tree {
  readonly hash: string
  readonly path: string
}

/** How trees are made of commits; trees of different recipes differ although the commit is the same. */
export interface Recipe {
  readonly submodules: 'recursive' | 'shallow' | 'off'
  /** Commits that are fetched of each submodule; 0 for all. */
  readonly depth: number
  /** Patterns of sparse-checkout, as text. */
  readonly sparse?: string
  /** Stands for all that decides what is in the tree. */
  readonly digest: string
}

export interface TreeWork {
  readonly git: Git
  /** Holds `.git` and `.worktrees`. */
  readonly directory: string
  readonly access: Access
  readonly signal: AbortSignal
}

const folder = '.worktrees'
const markName = 'outrider-whole'

/**
 * Makes the tree of a commit, whole or not at all: until its mark is written, nobody takes it for one. The path is
 * `.worktrees/<hash>`, and where that is taken one folder deeper.
 */
export async function createTree(work: TreeWork, hash: string, recipe: Recipe): Promise<Tree> {
  const { git, directory, access, signal } = work
  const plain = join(directory, folder, hash)
  const isTaken = (await stat(plain).catch(() => undefined)) !== undefined
  const path = isTaken ? join(directory, folder, `again-${uniqueSuffix()}`, hash) : plain
  const options = { directory, access, signal }
  await git.run(['worktree', 'add', '--force', '--detach', '--no-checkout', path, hash], options)
  const admin = await adminOf(directory, path)
  if (admin === undefined) throw new Error(`git has made no worktree at ${path}`)
  // Relative, so that the volume may be mounted at another path.
  await writeFile(join(path, '.git'), `gitdir: ${relative(path, admin)}\n`)
  const settings: [string, string][] = []
  if (recipe.sparse !== undefined) {
    await writeFile(await madeParent(join(admin, 'info', 'sparse-checkout')), recipe.sparse)
    settings.push(['core.sparseCheckout', 'true'], ['core.sparseCheckoutCone', 'false'])
  }
  await git.run(['reset', '--quiet', '--hard', '--no-recurse-submodules', hash], {
    ...options,
    cwd: path,
    settings,
  })
  if (recipe.submodules !== 'off') await updateSubmodules(work, path, recipe)
  await markWhole(admin, recipe.digest)
  return { hash, path }
}

async function updateSubmodules(
  { git, directory, access, signal }: TreeWork,
  path: string,
  { submodules, depth }: Recipe,
): Promise<void> {
  if ((await stat(join(path, '.gitmodules')).catch(() => undefined)) === undefined) return
  const args = [
    ...['submodule', 'update', '--init', '--force'],
    ...(submodules === 'recursive' ? ['--recursive'] : []),
    ...(depth > 0 ? ['--depth', String(depth)] : []),
  ]
  await git.run(args, { directory, access, signal, cwd: path })
}

/** The digest of the recipe that a whole tree was made by; undefined for one that is not known to be whole. */
export async function recipeOf(directory: string, path: string): Promise<string | undefined> {
  const admin = await adminOf(directory, path)
  return admin === undefined
    ? undefined
    : await readFile(join(admin, markName), 'utf8').catch(() => undefined)
}

/** Whether no file of the tree was changed or removed since. A tree of which git can tell nothing counts as changed. */
export async function isUnchanged({ git, directory, signal }: TreeWork, path: string): Promise<boolean> {
  const args = ['status', '--porcelain', '--untracked-files=no', '--ignore-submodules=none']
  // Neither the index is written nor anything fetched for the question.
  const variables = { GIT_OPTIONAL_LOCKS: '0', GIT_NO_LAZY_FETCH: '1' }
  const changes = await git.run(args, { directory, signal, cwd: path, variables }).catch((error: unknown) => {
    if (signal.aborted) throw error
    return 'unknown'
  })
  return changes === ''
}

/** All trees that there are, whole or not. */
export async function listTrees(directory: string): Promise<readonly Tree[]> {
  const inside = async (parent: string): Promise<readonly string[]> => readdir(parent).catch(() => [])
  const names = await inside(join(directory, folder))
  const trees = await Promise.all(
    names.map(async (name): Promise<readonly Tree[]> => {
      const path = join(directory, folder, name)
      if (isHash(name)) return [{ hash: name, path }]
      return (await inside(path)).filter(isHash).map((hash) => ({ hash, path: join(path, hash) }))
    }),
  )
  return trees.flat()
}

/** When a tree was replaced by another, ms since 1970; now, when it was not noted before. */
export async function noteReplaced(directory: string, path: string): Promise<void> {
  const admin = await adminOf(directory, path)
  const now = new Date()
  if (admin !== undefined) await utimes(join(admin, markName), now, now).catch(() => undefined)
}

export async function replacedAt(directory: string, path: string): Promise<number> {
  const admin = await adminOf(directory, path)
  const mark = admin === undefined ? undefined : await stat(join(admin, markName)).catch(() => undefined)
  return mark?.mtimeMs ?? 0
}

/** Removes a tree and what git keeps of it. @returns what could not be removed */
export async function dropTree(directory: string, path: string): Promise<readonly string[]> {
  const admin = await adminOf(directory, path)
  // First, so that a tree half removed is never taken for whole.
  if (admin !== undefined) await rm(join(admin, markName), { force: true })
  const left = await removeTree(path)
  if (left.length > 0) return left
  if (admin !== undefined) await rm(admin, { recursive: true, force: true })
  const parent = dirname(path)
  if (parent !== join(directory, folder)) await rm(parent, { recursive: true, force: true })
  return []
}

/** Where git keeps the index and head of a tree: inside the repository of this directory and nowhere else. */
async function adminOf(directory: string, path: string): Promise<string | undefined> {
  const text = await readFile(join(path, '.git'), 'utf8').catch(() => '')
  const [, target] = /^gitdir: (.+)\n?$/.exec(text) ?? []
  if (target === undefined) return undefined
  const admin = resolve(path, target)
  return dirname(admin) === join(directory, '.git', 'worktrees') && !admin.endsWith(sep) ? admin : undefined
}

async function madeParent(file: string): Promise<string> {
  await mkdir(dirname(file), { recursive: true })
  return file
}

async function markWhole(admin: string, digest: string): Promise<void> {
  const temporary = join(admin, `.outrider-${uniqueSuffix()}`)
  const file = await open(temporary, 'w')
  try {
    await file.writeFile(digest)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(admin, markName))
}
