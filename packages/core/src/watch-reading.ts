import { codeOf, isAbsence, isShortage, readRegular, type Sighting, unreadable } from './watch-sight.ts'

/** What reading a path gave, and how long that answer may be used. */
export interface Reading {
  readonly fingerprint: string
  /** When this fingerprint was first seen, in milliseconds of the monotonic clock. */
  readonly since: number
  /** Whether the bytes are the same for as long as the fingerprint is. */
  readonly trusted: boolean
  readonly content: Buffer | undefined
  readonly problem?: Error
}

/**
 * Metadata are trusted when they have stayed the same for this long: a second write within one tick of the file system's
 * clock does not show in them (ticks of 2 s on FAT, 1 s on old network file systems, 4 ms on most). Measured on our own
 * monotonic clock, because a file server's may differ.
 */
const coarsestClockMs = 2000

/** Reads what was sighted, or keeps what is `known` of it when equal metadata prove that nothing changed. Never rejects. */
export async function readingOf(
  path: string,
  sighting: Sighting,
  known: Reading | undefined,
  options: { readonly maxBytes: number; readonly reread: boolean },
): Promise<Reading> {
  const { fingerprint } = sighting
  const same = known?.fingerprint === fingerprint
  if (known !== undefined && same && known.trusted && !options.reread) return known
  const start = performance.now()
  const since = known !== undefined && same ? known.since : start
  const seen = { fingerprint, since, trusted: true }
  if (sighting.state === 'missing' || sighting.state === 'passed') return { ...seen, content: undefined }
  if (sighting.state === 'unreadable') return { ...seen, content: undefined, problem: sighting.problem }
  try {
    const read = await readRegular(path, sighting.at, options.maxBytes)
    // The same buffer for the same bytes: whether a path changed is then a comparison of references.
    const content = known?.content?.equals(read.content) ? known.content : read.content
    const old = start - since >= coarsestClockMs
    return { ...seen, content, trusted: old && read.sizeHolds && read.fingerprint === fingerprint }
  } catch (error) {
    return { ...seen, ...failure(path, error, known) }
  }
}

type Failure = Pick<Reading, 'content' | 'trusted' | 'problem'>

function failure(path: string, error: unknown, known: Reading | undefined): Failure {
  const code = codeOf(error)
  if (isAbsence(code)) return { content: undefined, trusted: false }
  // That our process is out of descriptors or memory says nothing about the file, so its bytes stand.
  const content = isShortage(code) ? known?.content : undefined
  return { content, trusted: code === undefined, problem: unreadable(path, error) }
}
