import { encodeArrayHeader } from '@outrider/resp'

const KEPT = 1_024
const NOTHING = Buffer.alloc(0)
const CR = 0x0d
const STAR = 0x2a
const DOLLAR = 0x24
const MINUS = 0x2d
const ZERO = 0x30
const UNDERSCORE = 0x5f

/** Where each element of the answer is found, and how long it is; used again for each answer. */
let starts = new Int32Array(256)
let ends = new Int32Array(256)
let sources: Buffer[] = []

/**
 * One array of the elements of several, which are strings and nulls, as those of MGET are; undefined where they are not.
 * @param parts complete replies
 * @param places for each part, the places of its elements in the array
 */
export function joinStrings(
  parts: readonly Buffer[],
  places: readonly (readonly number[])[],
): Buffer | undefined {
  const joined = join(parts, places)
  if (starts.length > KEPT || sources.length > KEPT) {
    sources = []
    starts = new Int32Array(KEPT)
    ends = new Int32Array(KEPT)
  } else {
    sources.fill(NOTHING)
  }
  return joined
}

function join(parts: readonly Buffer[], places: readonly (readonly number[])[]): Buffer | undefined {
  let count = 0
  for (const own of places) count += own.length
  if (starts.length < count) {
    starts = new Int32Array(2 * count)
    ends = new Int32Array(2 * count)
  }
  let size = 0
  for (let index = 0; index < parts.length; index += 1) {
    const [bytes, own] = [parts[index], places[index]]
    if (bytes === undefined || own === undefined || bytes[0] !== STAR) return undefined
    let at = lineEnd(bytes, 1)
    if (lineNumber !== own.length) return undefined
    for (const place of own) {
      starts[place] = at
      if (bytes[at] !== DOLLAR && bytes[at] !== UNDERSCORE) return undefined
      at = lineEnd(bytes, at + 1)
      if (lineNumber >= 0) at += lineNumber + 2
      ends[place] = at
      sources[place] = bytes
      size += at - (starts[place] ?? 0)
    }
    if (at !== bytes.length) return undefined
  }
  const header = encodeArrayHeader(count)
  const joined = Buffer.allocUnsafe(header.length + size)
  let at = header.copy(joined)
  for (let place = 0; place < count; place += 1)
    at += sources[place]?.copy(joined, at, starts[place], ends[place]) ?? 0
  return joined
}

/** What the line says, or -1 for a null. */
let lineNumber = 0

/** Reads the number of a line of a reply that is known to be complete; gives where the next line begins. */
function lineEnd(bytes: Buffer, from: number): number {
  let at = from
  lineNumber = 0
  if (bytes[at] === MINUS || bytes[at] === CR) {
    lineNumber = -1
    while (bytes[at] !== CR && at < bytes.length) at += 1
    return at + 2
  }
  for (let byte = bytes[at]; byte !== undefined && byte !== CR; byte = bytes[at]) {
    lineNumber = lineNumber * 10 + byte - ZERO
    at += 1
  }
  return at + 2
}
