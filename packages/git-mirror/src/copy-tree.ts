import { lstat, realpath } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { bringTree } from './copy-bring.ts'
import { clearTree } from './copy-clear.ts'
import { writeCopyState } from './copy-state.ts'
import { CopyWorkshop } from './copy-workshop.ts'
import { errnoOf, FileError, fileError, printable } from './file-error.ts'
import { makeDirectory } from './make-directory.ts'
import { OpenDirectory } from './open-directory.ts'

export { type CopyState, readCopyState } from './copy-state.ts'

export interface CopyOptions {
  /** What is copied: all but what is named `.git`, at any depth. */
  readonly tree: string
  /** The directory that becomes equal to it. It is wholly ours: whatever else is in it is removed, but `lost+found`. */
  readonly target: string
  /** A file outside of both that tells, after a crash too, what was copied last and whether all of it has arrived. */
  readonly state: string
  /** Names the tree in `state`. */
  readonly hash: string
  /** Stops between two files; the next run completes what this one has begun. */
  readonly signal: AbortSignal
}

/**
 * Makes a directory equal to a tree, for volumes without symbolic links and mounts of a subdirectory. Every single file
 * is at all times the old or the new one, whole; files of both may stand side by side until all is done. What is new
 * or changed comes first, then what is gone is removed. Equal files are left alone; the directory itself is never
 * replaced. No symbolic link inside of it is followed, whoever has put it there and whenever.
 * @throws FileError, and the signal's reason; what was copied until then stays
 */
export async function publishCopy({ tree, target, state, hash, signal }: CopyOptions): Promise<void> {
  await makeTarget(target)
  await refuseOverlap(tree, target, state)
  await writeCopyState(state, { hash, isComplete: false })
  await using from = await opened(tree)
  await using to = await opened(target)
  {
    await using workshop = await CopyWorkshop.open(from, to)
    await bringTree(from, to, workshop, signal)
    await clearTree(from, to, workshop, signal)
  }
  await writeCopyState(state, { hash, isComplete: true })
}

async function makeTarget(target: string): Promise<void> {
  try {
    const stats = await lstat(target).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error
      return undefined
    })
    if (stats === undefined) await makeDirectory(target)
    else if (!stats.isDirectory()) {
      const kind = stats.isSymbolicLink() ? 'symbolic link' : 'file'
      throw new FileError(
        `cannot copy to ${printable(target)}: it is a ${kind}; move it away, or publish under another name`,
        'ENOTDIR',
      )
    }
  } catch (error) {
    throw fileError('make the directory', target, error)
  }
}

/** All else in the target is removed, so it must not be what is copied, nor around it. */
async function refuseOverlap(tree: string, target: string, state: string): Promise<void> {
  const inside = (path: string, directory: string) => !/^\.\.(\/|$)/.test(relative(directory, path))
  const real = async (path: string) => {
    try {
      return await realpath(path)
    } catch (error) {
      throw fileError('copy', path, error)
    }
  }
  const [from, to, parent] = [await real(tree), await real(target), await real(dirname(resolve(state)))]
  const note = join(parent, basename(state))
  for (const [path, directory] of [
    [from, to],
    [to, from],
    [note, to],
  ] as const) {
    if (inside(path, directory))
      throw new FileError(
        `cannot copy to ${printable(target)}: ${printable(path)} is inside ${printable(directory)}; name a directory of its own`,
        'EINVAL',
      )
  }
}

async function opened(path: string): Promise<OpenDirectory> {
  try {
    return await OpenDirectory.open(path)
  } catch (error) {
    throw fileError('open', path, error)
  }
}
