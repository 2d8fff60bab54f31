import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'

/** What stands at a path now, found without opening it. */
export type Sighting =
  /** Nothing is there. */
  | { readonly state: 'missing'; readonly fingerprint: string }
  /** A regular file of a permitted size; `at` is where to open it. */
  | { readonly state: 'regular'; readonly fingerprint: string; readonly at: string }
  /** Something that is not read: a directory, a FIFO, a file too large, a loop of links, a directory closed to us. */
  | { readonly state: 'unreadable'; readonly fingerprint: string; readonly problem: Error }
  /** Something in a watched directory that has no bytes of its own: a sub-directory, or what is left out. */
  | { readonly state: 'passed'; readonly fingerprint: string }

export type Sightings = ReadonlyMap<string, Sighting>

export interface ReadFile {
  readonly content: Buffer
  /** Of the opened file, so that the caller can tell whether it read the one it had seen. */
  readonly fingerprint: string
  /** Whether the size in the metadata is the number of bytes read: not so in /proc, or while somebody writes. */
  readonly sizeHolds: boolean
}

/** Large enough for most of /proc and /sys, where the metadata give no usable size. */
const leastBuffer = 4096

/** Differs whenever the bytes may differ, but for writes that the resolution of the clock hides. */
const fingerprintOf = (stats: BigIntStats): string =>
  [stats.dev, stats.ino, stats.mode, stats.size, stats.mtimeNs, stats.ctimeNs].join(':')

/** Looks through the path itself, all links followed by the kernel. Never rejects. */
export async function sight(path: string, maxBytes: number): Promise<Sighting> {
  try {
    return sightingOf(path, path, await stat(path, { bigint: true }), maxBytes)
  } catch (error) {
    const code = codeOf(error)
    if (isAbsence(code)) return { state: 'missing', fingerprint: 'missing' }
    return { state: 'unreadable', fingerprint: `error ${code}`, problem: unreadable(path, error) }
  }
}

/** The same from metadata at hand. `path` is for messages, `at` for opening. */
export function sightingOf(path: string, at: string, stats: BigIntStats, maxBytes: number): Sighting {
  const fingerprint = fingerprintOf(stats)
  const problem = refusal(path, stats, maxBytes)
  return problem === undefined
    ? { state: 'regular', fingerprint, at }
    : { state: 'unreadable', fingerprint, problem }
}

/**
 * Reads a regular file to its end. Only call it for what was sighted as one: merely opening some devices does something
 * (a watchdog starts, a tape rewinds). What took the file's place since then is refused without waiting: O_NONBLOCK,
 * because opening a FIFO without a writer would occupy a thread of the pool for ever.
 */
export async function readRegular(path: string, at: string, maxBytes: number): Promise<ReadFile> {
  const handle = await open(at, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  try {
    const stats = await handle.stat({ bigint: true })
    const problem = refusal(path, stats, maxBytes)
    if (problem !== undefined) throw problem
    const content = await readToEnd(handle, Number(stats.size), path, maxBytes)
    return {
      content,
      fingerprint: fingerprintOf(stats),
      sizeHolds: BigInt(content.length) === stats.size,
    }
  } finally {
    await handle.close()
  }
}

async function readToEnd(handle: FileHandle, size: number, path: string, maxBytes: number): Promise<Buffer> {
  // One byte more than expected: the end is then found without another buffer.
  let buffer: Buffer = Buffer.allocUnsafeSlow(Math.max(size + 1, leastBuffer))
  let length = 0
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null)
    if (bytesRead === 0) return buffer.subarray(0, length)
    length += bytesRead
    if (length > maxBytes) throw tooLarge(path, `at least ${length}`, maxBytes)
    if (length === buffer.length) buffer = grown(buffer, Math.min(length * 2, maxBytes + 1))
  }
}

function grown(buffer: Buffer, size: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(size)
  buffer.copy(larger)
  return larger
}

function refusal(path: string, stats: BigIntStats, maxBytes: number): Error | undefined {
  if (!stats.isFile()) return new Error(`${path} is ${kindOf(stats)}: only a regular file is read`)
  return stats.size > maxBytes ? tooLarge(path, String(stats.size), maxBytes) : undefined
}

const tooLarge = (path: string, size: string, maxBytes: number): Error =>
  new Error(`${path} has ${size} bytes: at most ${maxBytes} are read`)

function kindOf(stats: BigIntStats): string {
  if (stats.isDirectory()) return 'a directory'
  if (stats.isFIFO()) return 'a FIFO'
  return stats.isSocket() ? 'a socket' : 'a device'
}

/** A failure of the system with the path in front; our own refusals name it already. */
export function unreadable(path: string, error: unknown): Error {
  if (error instanceof Error && codeOf(error) === undefined) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new Error(`${path} cannot be read: ${reason}`, { cause: error })
}

/** `ENOENT` and the like; undefined for errors that did not come from the system. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** Whether an error only says that nothing is there. */
export const isAbsence = (code: string | undefined): boolean => code === 'ENOENT' || code === 'ENOTDIR'

/** Whether an error tells of a shortage on our side and nothing about the file. */
export const isShortage = (code: string | undefined): boolean =>
  code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM'
