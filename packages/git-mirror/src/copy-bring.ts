import { constants, type Stats } from 'node:fs'
import { copyFile, type FileHandle, mkdir, open, readlink, rm, symlink, unlink } from 'node:fs/promises'
import { publishedEntries } from './copy-entries.ts'
import { type CopyWorkshop, statsOf } from './copy-workshop.ts'
import { errnoOf, FileError, fileError, printable } from './file-error.ts'
import { forEachBounded } from './for-each-bounded.ts'
import type { OpenDirectory } from './open-directory.ts'

const concurrency = 4
const chunk = 128 * 1024
// A pipe that somebody has put in the place of a file must not hold us up.
const reading = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Puts into a directory what a tree has and it has not, or has otherwise. What is the same is not touched. */
export async function bringTree(
  from: OpenDirectory,
  to: OpenDirectory,
  workshop: CopyWorkshop,
  signal: AbortSignal,
): Promise<void> {
  const entries = await publishedEntries(from)
  await forEachBounded(
    entries.filter((entry) => !entry.isDirectory()),
    concurrency,
    async (entry) => {
      signal.throwIfAborted()
      try {
        await (entry.isSymbolicLink() ? bringLink : bringFile)(from, to, entry.name, workshop)
      } catch (error) {
        throw fileError('copy to', to.named(entry.name), error)
      }
    },
  )
  for (const { name } of entries.filter((entry) => entry.isDirectory())) {
    signal.throwIfAborted()
    try {
      await using inside = await from.child(name)
      await using place = await bringDirectory(inside, to, name)
      await bringTree(inside, place, workshop, signal)
    } catch (error) {
      throw fileError('copy to', to.named(name), error)
    }
  }
}

async function bringDirectory(from: OpenDirectory, to: OpenDirectory, name: Buffer): Promise<OpenDirectory> {
  const there = await statsOf(to, name)
  if (there?.isDirectory() !== true) {
    if (there !== undefined) await unlink(to.at(name))
    await mkdir(to.at(name), { mode: ((await from.stats()).mode & 0o777) | 0o700 })
  }
  return await to.childToChange(name)
}

async function bringLink(
  from: OpenDirectory,
  to: OpenDirectory,
  name: Buffer,
  workshop: CopyWorkshop,
): Promise<void> {
  const text = await readlink(from.at(name), 'buffer')
  const there = await statsOf(to, name)
  if (there?.isSymbolicLink() && text.equals(await readlink(to.at(name), 'buffer'))) return
  await workshop.replace(to, name, there, async (path) => {
    try {
      await symlink(text, path)
    } catch (error) {
      const code = errnoOf(error)
      if (code === undefined || !['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) throw error
      const link = printable(to.named(name))
      throw new FileError(
        `cannot copy to ${link}: this volume knows no symbolic links (${code}), and the commit has one there; ` +
          'take it out of the repository, or use a volume that has them',
        code,
        error,
      )
    }
  })
}

async function bringFile(
  from: OpenDirectory,
  to: OpenDirectory,
  name: Buffer,
  workshop: CopyWorkshop,
): Promise<void> {
  await using source = await open(from.at(name), reading)
  const stats = await source.stat()
  if (!stats.isFile())
    throw new FileError(`${printable(from.named(name))} changes while it is copied`, 'EBUSY')
  const there = await statsOf(to, name)
  const isAlike =
    there?.isFile() === true && there.size === stats.size && (!workshop.keepsModes || hasModeOf(stats, there))
  if (isAlike && (await hasContentOf(source, stats.size, to.at(name)))) return
  await workshop.replace(to, name, there, (path) => makeCopy(source, stats, path))
}

/** As git has it: program or not. The other bits belong to who mounts the volume. */
const hasModeOf = (one: Stats, other: Stats): boolean => (one.mode & 0o100) === (other.mode & 0o100)

async function hasContentOf(source: FileHandle, size: number, path: Buffer): Promise<boolean> {
  const other = await open(path, reading).catch(() => undefined)
  if (other === undefined) return false
  try {
    const ours = Buffer.allocUnsafe(Math.min(size, chunk))
    const theirs = Buffer.allocUnsafe(ours.length)
    for (let position = 0; position < size; position += chunk) {
      const [a, b] = await Promise.all([fill(source, ours, position), fill(other, theirs, position)])
      if (!a.equals(b)) return false
    }
    return true
  } finally {
    await other.close()
  }
}

/** Reads until the buffer is full or the file ends. */
async function fill(file: FileHandle, buffer: Buffer, position: number): Promise<Buffer> {
  let length = 0
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, position + length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return buffer.subarray(0, length)
}

async function makeCopy(source: FileHandle, stats: Stats, path: Buffer): Promise<void> {
  try {
    // One step for five, and shares the blocks of the volume where that can.
    await copyFile(`/proc/self/fd/${source.fd}`, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  } catch {
    // Also fails where a volume or system has not what it takes. If anything else is wrong, it shows here.
    await rm(path, { force: true })
    await writeCopy(source, stats, path)
  }
}

async function writeCopy(source: FileHandle, { size, mode: whole }: Stats, path: Buffer): Promise<void> {
  const mode = whole & 0o777
  await using copy = await open(path, 'wx', mode)
  // Not less than the umask leaves; a volume that knows no modes refuses.
  await copy.chmod(mode).catch((error: unknown) => {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(errnoOf(error) ?? '')) throw error
  })
  const buffer = Buffer.allocUnsafe(Math.min(chunk, size + 1))
  for (let position = 0; ; ) {
    const part = await fill(source, buffer, position)
    if (part.length === 0) return
    await copy.writeFile(part)
    position += part.length
  }
}
