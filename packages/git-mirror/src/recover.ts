import type { Dirent } from 'node:fs'
import { lstat, open, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { removeTree } from './remove-tree.ts'
import { uniqueSuffix } from './unique-suffix.ts'

/**
 * Takes away what git processes that were killed have left in a repository that nobody else uses now: locks of refs,
 * indexes and of the list of shallow commits, and half-written or half-removed objects and packs. No git process is
 * started.
 * @returns the paths that were removed, relative to `.git`
 */
export async function removeLeftovers(gitDirectory: string): Promise<readonly string[]> {
  const removed: string[] = []
  const remove = async (path: string) => {
    const [left] = await removeTree(join(gitDirectory, path))
    if (left !== undefined) throw new Error(`a leftover of git cannot be removed: ${left}; remove it by hand`)
    removed.push(path)
  }
  for await (const { path, name, entry, siblings } of walk(gitDirectory, '', 0)) {
    if (
      isLeftover(path, name, entry) ||
      isOfNoPack(path, siblings) ||
      (await isKeptByFetch(gitDirectory, path, entry))
    )
      await remove(path)
  }
  return removed
}

function isLeftover(path: string, name: string, entry: Dirent): boolean {
  // A branch may have any name but one that ends so.
  if (/(^|\/)(refs|logs)\//.test(path)) return !entry.isDirectory() && name.endsWith('.lock')
  const isAmongObjects = /(^|\/)objects\/([^/]+\/)?[^/]+$/.test(path)
  if (entry.isDirectory()) return isAmongObjects && isTemporary(name)
  if (name.endsWith('.lock')) return true
  if (/(^|\/)info\/(refs|packs)_\w{6}$/.test(path)) return true
  // With a packed-refs.new from before, git packs no refs, and so never tidies up.
  return (isAmongObjects ? /^(tmp_|\.tmp-)/ : /^(gc\.pid|packed-refs\.new|shallow_\w+|\.outrider-\w+)$/).test(
    name,
  )
}

const packFile = /(?:^|\/)objects\/pack\/(pack-(?:[0-9a-f]{40}|[0-9a-f]{64}))\.([a-z]+)$/

/** Git reads no pack without its index, and never removes one. */
function isOfNoPack(path: string, siblings: ReadonlySet<string>): boolean {
  const [, stem] = packFile.exec(path) ?? []
  return stem !== undefined && !(siblings.has(`${stem}.pack`) && siblings.has(`${stem}.idx`))
}

/** While it fetches, git keeps the new pack from being tidied up; after a kill, for ever. */
async function isKeptByFetch(root: string, path: string, entry: Dirent): Promise<boolean> {
  if (!entry.isFile() || packFile.exec(path)?.[2] !== 'keep') return false
  await using file = await open(join(root, path))
  const words = 'fetch-pack '
  const { buffer, bytesRead } = await file.read(Buffer.alloc(words.length))
  return buffer.toString('latin1', 0, bytesRead) === words
}

/** Directories in which git gathers objects before it takes them. */
const isTemporary = (name: string): boolean => /^(tmp_objdir-|incoming-)/.test(name)

/** Deep enough for the refs, indexes and objects of submodules inside submodules; never out through a link. */
const deepest = 24

interface Found {
  /** From the root. */
  readonly path: string
  readonly name: string
  readonly entry: Dirent
  /** All names in its directory. */
  readonly siblings: ReadonlySet<string>
}

async function* walk(root: string, inside: string, depth: number): AsyncGenerator<Found> {
  const entries = await readdir(join(root, inside), { withFileTypes: true }).catch(() => [])
  const siblings = new Set(entries.map(({ name }) => name))
  for (const entry of entries) {
    const path = inside === '' ? entry.name : `${inside}/${entry.name}`
    yield { path, name: entry.name, entry, siblings }
    if (entry.isDirectory() && depth < deepest && !isLeftover(path, entry.name, entry))
      yield* walk(root, path, depth + 1)
  }
}

/** Whether it is a directory, and no link to one, that has what git needs to call it a repository. */
export async function isRepository(gitDirectory: string): Promise<boolean> {
  const kinds = await Promise.all(
    ['', 'HEAD', 'objects', 'refs', 'config', 'worktrees'].map((name) =>
      lstat(join(gitDirectory, name)).catch(() => undefined),
    ),
  )
  const [itself, head, objects, refs, config, worktrees] = kinds
  return (
    itself?.isDirectory() === true &&
    head?.isFile() === true &&
    head.size > 0 &&
    objects?.isDirectory() === true &&
    refs?.isDirectory() === true &&
    config?.isFile() === true &&
    config.size > 0 &&
    // Through a link, what is removed here would be removed elsewhere.
    worktrees?.isDirectory() !== false
  )
}

const aside = '.git.broken-'

/** Puts a repository that cannot be used out of the way; published trees lie outside of it and stay. */
export async function setAside(directory: string): Promise<void> {
  await rename(join(directory, '.git'), join(directory, `${aside}${uniqueSuffix()}`)).catch(
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    },
  )
}

/** Removes what was set aside, now or by an earlier process. @returns what could not be removed */
export async function removeSetAside(directory: string): Promise<readonly string[]> {
  const names = (await readdir(directory)).filter((name) => name.startsWith(aside))
  const left: string[] = []
  for (const name of names) left.push(...(await removeTree(join(directory, name))))
  return left
}
