import { constants, type Stats } from 'node:fs'
import { lstat, open, rmdir, unlink } from 'node:fs/promises'
import { errnoOf, FileError, printable } from './file-error.ts'
import { type LockHolder, type LockRecord, parseRecord } from './lock-record.ts'
import { answersAt } from './lock-socket.ts'
import { OpenDirectory } from './open-directory.ts'
import { removeEntry } from './remove-tree.ts'

/** For how long an owner that cannot be reached counts as alive after its last sign of life, ms. */
export const staleMs = 30_000

export interface Occupant {
  /** Undefined where it does not say. */
  readonly holder: LockHolder | undefined
  /** Whether it answers; if not, its last sign of life is not old enough. */
  readonly answers: boolean
}

/** Who asks: where it runs, and what time it is by the clock that the volume gives to files, ms since 1970. */
export interface Asker {
  readonly place: string
  readonly now: number
}

/**
 * Tells who lives in the directory of a lock. Where nobody does, it is gone afterwards, or another's: what lies in it is
 * found through the open directory and the directory itself goes when it is empty, so a new owner's is never hit.
 */
export async function occupantOf(path: string, asker: Asker): Promise<Occupant | undefined> {
  let directory: OpenDirectory
  try {
    directory = await OpenDirectory.open(path)
  } catch (error) {
    if (!['ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? ''))
      return await ignoring(['ENOENT'], Promise.reject(error))
    // A file or link that is no lock; a directory that takes its place meanwhile is not unlinked.
    return await ignoring(['ENOENT', 'EISDIR', 'EPERM'], unlink(path))
  }
  await using home = directory
  const names = (await home.entries()).map((entry) => entry.name)
  const texts = names.map((name) => name.toString('latin1'))
  const ids = new Set(texts.flatMap((text) => /^(.+)\.(?:record|socket)$/.exec(text)?.slice(1) ?? []))
  for (const id of ids) {
    const occupant = await occupantNamed(home, id, asker)
    if (occupant !== undefined) return occupant
  }
  // The record first: an owner that was taken for dead looks for it, and stops.
  for (const name of names.toSorted(Buffer.compare)) {
    const [remnant] = await removeEntry(home, name)
    if (remnant !== undefined) throw cannotRemove(remnant.path, remnant.code)
  }
  return await ignoring(['ENOENT', 'ENOTEMPTY', 'EEXIST', 'ENOTDIR'], rmdir(path))
}

async function occupantNamed(home: OpenDirectory, id: string, asker: Asker): Promise<Occupant | undefined> {
  const { record, beat } = await readRecord(home, recordName(id))
  const answer = await answersAt(home, socketName(id))
  if (answer === 'yes') return { holder: record, answers: true }
  const isCertain = answer === 'no' && record?.place === asker.place && record.hasSocket
  if (isCertain || beat === undefined) return undefined
  return Math.abs(asker.now - beat) < staleMs ? { holder: record, answers: false } : undefined
}

export const recordName = (id: string): string => `${id}.record`
export const socketName = (id: string): string => `${id}.socket`

/** `beat` is the last sign of life, ms since 1970; undefined where there is none. */
async function readRecord(
  home: OpenDirectory,
  name: string,
): Promise<{ readonly record: LockRecord | undefined; readonly beat: number | undefined }> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  let stats: Stats | undefined
  let text = ''
  try {
    // Opened before its time is looked at: NFS then asks the server, and does not take what it remembers.
    await using file = await open(home.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    stats = await file.stat()
    if (stats.isFile() && stats.size <= 4_096) text = await file.readFile('utf8')
  } catch {
    // One that we may not read is a sign of life nevertheless.
    stats ??= await lstat(home.at(name)).catch(() => undefined)
  }
  return { record: parseRecord(text), beat: stats?.isFile() ? stats.mtimeMs : undefined }
}

const cannotRemove = (path: string, code: string): FileError =>
  new FileError(
    `cannot remove ${printable(path)}, which a dead process has left: ${code}; remove it by hand`,
    code,
  )

/** For steps that another may have taken meanwhile. */
async function ignoring(codes: readonly string[], step: Promise<void>): Promise<undefined> {
  try {
    await step
  } catch (error) {
    if (!codes.includes(errnoOf(error) ?? '')) throw error
  }
}
