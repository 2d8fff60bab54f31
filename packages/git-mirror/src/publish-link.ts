import { createHash } from 'node:crypto'
import { lstat, open, opendir, readlink, realpath, rename, rm, stat, symlink } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { errnoOf, FileError, fileError, printable } from './file-error.ts'
import { makeDirectory } from './make-directory.ts'
import { uniqueSuffix } from './unique-suffix.ts'

export interface PublishedLink {
  /** Where the link leads, absolute and real: no part of it before the last is a symbolic link. It may be missing. */
  readonly target: string
  /** The last part of the target. */
  readonly hash: string
}

/**
 * Makes a path a symbolic link to a directory, or lets it lead there from now on: at every instant it leads to the old
 * one or to the new one, after a crash of the system too. The link is relative, so that the volume may be mounted
 * anywhere. Missing parents are made.
 * @throws FileError, also where anything else than a link has the path: it is never removed
 */
export async function publishLink(link: string, target: string): Promise<void> {
  const path = resolve(link)
  try {
    await makeParent(path)
    const parent = await realpath(dirname(path))
    const text = relative(parent, await realParentOf(target))
    await requireDirectory(target)
    if ((await linkTextOf(path)) === text) return
    const temporary = join(parent, `${temporaryStem(basename(path))}${uniqueSuffix()}`)
    try {
      await makeLink(text, temporary)
      await requireSame(temporary, target)
      await rename(temporary, path)
    } finally {
      await rm(temporary, { force: true })
    }
    await syncDirectory(parent)
  } catch (error) {
    throw fileError('publish', path, error)
  }
}

/** @returns undefined where there is no symbolic link */
export async function readLink(link: string): Promise<PublishedLink | undefined> {
  const path = resolve(link)
  try {
    const target = resolve(await realpath(dirname(path)), await readlink(path))
    return { target: await realParentOf(target).catch(() => target), hash: basename(target) }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EINVAL'].includes(errnoOf(error) ?? '')) return undefined
    throw fileError('read', path, error)
  }
}

/** Removes the temporary links that crashed runs have left beside a link, those of git-sync 4 too. */
export async function removeLinkLeftovers(link: string): Promise<void> {
  const path = resolve(link)
  const parent = dirname(path)
  const stem = temporaryStem(basename(path))
  try {
    for await (const entry of await opendir(parent)) {
      if (!entry.isSymbolicLink()) continue
      const isOurs = entry.name.startsWith(stem) && /^[0-9a-f]{12}$/.test(entry.name.slice(stem.length))
      if (isOurs || (await isOfGitSync(join(parent, entry.name))))
        await rm(join(parent, entry.name), { force: true })
    }
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw fileError('clean', parent, error)
  }

  async function isOfGitSync(other: string): Promise<boolean> {
    if (basename(other) !== 'tmp-link' || other === path) return false
    return /(^|\/)\.worktrees\/[0-9a-f]{40,64}$/.test(await readlink(other))
  }
}

/** A name has at most 255 bytes, so that of a long one is shortened. */
function temporaryStem(name: string): string {
  const short = Buffer.byteLength(name) <= 200 ? name : createHash('sha256').update(name).digest('hex')
  return `.${short}.outrider-`
}

/** The last part of a path stays as it is: it is the hash, also where it is a link itself. */
async function realParentOf(path: string): Promise<string> {
  return join(await realpath(dirname(path)), basename(path))
}

async function makeParent(path: string): Promise<void> {
  try {
    await makeDirectory(dirname(path))
  } catch (error) {
    throw fileError('make', dirname(path), error)
  }
}

async function requireDirectory(path: string): Promise<void> {
  try {
    await (await opendir(path)).close()
  } catch (error) {
    throw fileError('publish', path, error)
  }
}

async function linkTextOf(path: string): Promise<string | undefined> {
  const stats = await lstat(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error
    return undefined
  })
  if (stats === undefined) return undefined
  if (stats.isSymbolicLink()) return await readlink(path)
  throw new FileError(
    `cannot publish ${printable(path)}: a ${stats.isDirectory() ? 'directory' : 'file'} is there, which is not removed; ` +
      'move it away, publish under another name, or publish as a copy, which replaces all that is in it',
    'EEXIST',
  )
}

async function makeLink(text: string, path: string): Promise<void> {
  try {
    await symlink(text, path)
  } catch (error) {
    const code = errnoOf(error)
    const isUnknown = code !== undefined && ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)
    if (!isUnknown) throw error
    const why = `this volume knows no symbolic links (${code}); publish as a copy`
    throw new FileError(`cannot publish ${printable(path)}: ${why}`, code, error)
  }
}

async function requireSame(link: string, target: string): Promise<void> {
  const [one, other] = [await stat(link), await stat(target)]
  if (one.ino !== other.ino || one.dev !== other.dev)
    throw new FileError(`${printable(link)} does not lead to ${printable(target)}`, 'EXDEV')
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } catch (error) {
    // Some volumes of networks have nothing to sync in a directory.
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EBADF'].includes(errnoOf(error) ?? '')) throw error
  } finally {
    await directory.close()
  }
}
