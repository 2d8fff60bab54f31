import { createHash } from 'node:crypto'
import { lstat, open, readdir, rename, rmdir, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import type { Access } from './access.ts'
import { isHash } from './address.ts'
import { errnoOf, FileError, printable } from './file-error.ts'
import type { Git } from './git.ts'
import { makeDirectory } from './make-directory.ts'
import { removeTree } from './remove-tree.ts'
import { readSmallFile } from './small-file.ts'
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
  /** Patterns of sparse-checkout. */
  readonly sparse?: Buffer
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
const again = /^again-[0-9a-f]{12}$/

/** @throws FileError where the place of trees is a symbolic link: relative paths through it would lead elsewhere */
export async function requireTreesHere(directory: string): Promise<void> {
  const path = join(directory, folder)
  const stats = await lstat(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error
    return undefined
  })
  if (stats !== undefined && !stats.isDirectory())
    throw new FileError(
      `${printable(path)} is no directory of its own; move it away, and mount the volume at ${printable(directory)}`,
      'ENOTDIR',
    )
}

/** Whether a path is that of a tree in this directory. Everything else belongs to others. */
export function isOwnTree(directory: string, path: string): boolean {
  const [first = '', second, ...more] = relative(join(directory, folder), path).split('/')
  return second === undefined ? isHash(first) : again.test(first) && isHash(second) && more.length === 0
}

/**
 * Makes the tree of a commit, whole or not at all: until its mark is written, nobody takes it for one. The path is
 * `.worktrees/<hash>`, and where that is taken one folder deeper.
 */
export async function createTree(work: TreeWork, hash: string, recipe: Recipe): Promise<Tree> {
  const { git, directory, access, signal } = work
  const plain = join(directory, folder, hash)
  const isTaken = (await lstat(plain).catch(() => undefined)) !== undefined
  const path = isTaken ? join(directory, folder, `again-${uniqueSuffix()}`, hash) : plain
  const options = { directory, access, signal }
  // Twice: also where git was killed when it had just begun one at this path.
  const force = ['--force', '--force']
  await git.run(['worktree', 'add', ...force, '--detach', '--no-checkout', path, hash], options)
  const admin = await adminOf(directory, path)
  if (admin === undefined) throw new Error(`git has made no worktree at ${path}`)
  // Relative, so that the volume may be mounted at another path.
  await writeFile(join(path, '.git'), `gitdir: ${relative(path, admin)}\n`)
  const settings: [string, string][] = []
  if (recipe.sparse !== undefined) {
    await makeDirectory(join(admin, 'info'))
    await writeFile(join(admin, 'info', 'sparse-checkout'), recipe.sparse)
    settings.push(['core.sparseCheckout', 'true'], ['core.sparseCheckoutCone', 'false'])
  }
  await git.run(['reset', '--quiet', '--hard', '--no-recurse-submodules', hash], {
    ...options,
    cwd: path,
    settings,
  })
  if (recipe.submodules !== 'off') await updateSubmodules(work, path, recipe)
  await markWhole(admin, { digest: recipe.digest, changes: await changesIn(work, path) })
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
  return (await markOf(directory, path))?.digest
}

/** Whether no file of the tree was changed or removed since. A tree of which git can tell nothing counts as changed. */
export async function isUnchanged(work: TreeWork, path: string): Promise<boolean> {
  const mark = await markOf(work.directory, path)
  return mark !== undefined && mark.changes === (await changesIn(work, path))
}

/**
 * Stands for what git takes for changed: nothing in most new trees, but in some a file whose line endings are not as its
 * attributes want them, or names that this volume cannot tell apart. Undefined where git cannot tell.
 */
async function changesIn({ git, directory, signal }: TreeWork, path: string): Promise<string | undefined> {
  const args = ['status', '--porcelain', '--untracked-files=no', '--ignore-submodules=none']
  // Neither the index is written nor anything fetched for the question.
  const variables = { GIT_OPTIONAL_LOCKS: '0', GIT_NO_LAZY_FETCH: '1' }
  try {
    const changes = await git.run(args, { directory, signal, cwd: path, variables })
    return createHash('sha256').update(changes).digest('hex')
  } catch (error) {
    if (signal.aborted) throw error
    return undefined
  }
}

/** All trees that there are, whole or not. */
export async function listTrees(directory: string): Promise<readonly Tree[]> {
  // No link is one, nor followed: it might lead to the trees of another directory.
  const inside = async (parent: string): Promise<readonly string[]> => {
    const entries = await readdir(parent, { withFileTypes: true }).catch(() => [])
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  }
  const names = await inside(join(directory, folder))
  const trees = await Promise.all(
    names.map(async (name): Promise<readonly Tree[]> => {
      const path = join(directory, folder, name)
      if (isHash(name)) return [{ hash: name, path }]
      if (!again.test(name)) return []
      return (await inside(path)).filter(isHash).map((hash) => ({ hash, path: join(path, hash) }))
    }),
  )
  return trees.flat()
}

/**
 * Removes what git keeps of trees that are gone, and folders of trees that never came: what kills have left. Each would
 * hold its commit for ever.
 * @returns the paths that were removed
 */
export async function removeTraces(directory: string): Promise<readonly string[]> {
  const trees = await listTrees(directory)
  const admins = new Set(await Promise.all(trees.map(({ path }) => adminOf(directory, path))))
  const parent = join(directory, '.git', 'worktrees')
  const removed: string[] = []
  for (const name of await readdir(parent).catch(() => [])) {
    const admin = join(parent, name)
    // As git names them; a worktree of somebody else has the name of another directory.
    const isOurs = /^([0-9a-f]{40}|[0-9a-f]{64})\d*$/.test(name)
    if (isOurs && !admins.has(admin) && (await removeTree(admin)).length === 0) removed.push(admin)
  }
  for (const name of await readdir(join(directory, folder)).catch(() => [])) {
    const path = join(directory, folder, name)
    if (
      again.test(name) &&
      (await rmdir(path).then(
        () => true,
        () => false,
      ))
    )
      removed.push(path)
  }
  return removed
}

/** Notes that a tree is being replaced by another now. */
export async function noteReplaced(directory: string, path: string): Promise<void> {
  const admin = await adminOf(directory, path)
  const now = new Date()
  if (admin !== undefined) await utimes(join(admin, markName), now, now).catch(() => undefined)
}

/** When a tree was replaced by another, ms since 1970; 0 for one that was never published. */
export async function replacedAt(directory: string, path: string): Promise<number> {
  const admin = await adminOf(directory, path)
  const mark = admin === undefined ? undefined : await stat(join(admin, markName)).catch(() => undefined)
  return mark?.mtimeMs ?? 0
}

/** Removes a tree of this directory and what git keeps of it. @returns what could not be removed */
export async function dropTree(directory: string, path: string): Promise<readonly string[]> {
  if (!isOwnTree(directory, path)) return []
  const admin = await adminOf(directory, path)
  // The mark first, so that a tree half removed is never taken for whole.
  const steps = admin === undefined ? [path] : [join(admin, markName), path, admin]
  for (const step of steps) {
    const left = await removeTree(step)
    if (left.length > 0) return left
  }
  const parent = dirname(path)
  if (parent !== join(directory, folder)) await rmdir(parent).catch(() => undefined)
  return []
}

/**
 * Where git keeps the index and head of a tree: in the repository of this directory, and for this tree. A repository
 * that was made anew gives the same name again, to another tree.
 */
async function adminOf(directory: string, path: string): Promise<string | undefined> {
  const text = await readSmallFile(join(path, '.git')).catch(() => '')
  const [, target] = /^gitdir: (.+)\n?$/.exec(text) ?? []
  if (target === undefined) return undefined
  const admin = resolve(path, target)
  if (dirname(admin) !== join(directory, '.git', 'worktrees')) return undefined
  const back = await readSmallFile(join(admin, 'gitdir')).catch(() => '')
  // Git would take objects and settings from there.
  if ((await readSmallFile(join(admin, 'commondir')).catch(() => '')) !== '../..\n') return undefined
  // Its beginning is another where the volume was mounted at another path.
  return back.trimEnd().endsWith(`/${relative(directory, path)}/.git`) ? admin : undefined
}

interface Mark {
  readonly digest: string
  /** As git had it when the tree was new. */
  readonly changes: string | undefined
}

async function markOf(directory: string, path: string): Promise<Mark | undefined> {
  const admin = await adminOf(directory, path)
  const text = admin === undefined ? '' : await readSmallFile(join(admin, markName)).catch(() => '')
  const [digest = '', changes] = text.split(' ')
  return digest === '' ? undefined : { digest, changes: changes || undefined }
}

async function markWhole(admin: string, { digest, changes = '' }: Mark): Promise<void> {
  const temporary = join(admin, `.outrider-${uniqueSuffix()}`)
  const file = await open(temporary, 'w')
  try {
    await file.writeFile(`${digest} ${changes}`)
    // Its time tells when the tree was replaced by another.
    await file.utimes(0, 0).catch(() => undefined)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(admin, markName))
}
