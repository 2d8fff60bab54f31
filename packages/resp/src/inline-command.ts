const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const DOUBLE_QUOTE = 0x22
const SINGLE_QUOTE = 0x27
const BACKSLASH = 0x5c
const LOWER_X = 0x78

/**
 * The arguments of an inline command, as Redis (`sdssplitargs`) takes a line apart: `"..."` knows `\n \r \t \b \a \xHH`,
 * `'...'` only `\'`, and a closing quote must end its argument. Undefined where quotes are unbalanced.
 * @param line without its end, and without NUL
 */
export function splitInline(line: Uint8Array): Buffer[] | undefined {
  const args: Buffer[] = []
  // Nothing grows by being taken apart.
  const text = Buffer.allocUnsafe(line.length)
  let used = 0
  let at = 0
  for (;;) {
    while (at < line.length && isSpace(line[at])) at += 1
    if (at === line.length) return args
    const from = used
    let quote = 0
    let closed = false
    while (!closed && at < line.length) {
      const byte = line[at] ?? 0
      const next = line[at + 1]
      if (quote === 0) {
        if (endsArgument(byte)) break
        if (byte === DOUBLE_QUOTE || byte === SINGLE_QUOTE) quote = byte
        else used = text.writeUInt8(byte, used)
      } else if (byte === quote) {
        if (next !== undefined && !isSpace(next)) return undefined
        closed = true
      } else if (byte !== BACKSLASH || next === undefined || (quote === SINGLE_QUOTE && next !== quote)) {
        used = text.writeUInt8(byte, used)
      } else {
        const value = quote === DOUBLE_QUOTE && next === LOWER_X ? hexadecimal(line, at + 2) : -1
        used = text.writeUInt8(value < 0 ? (ESCAPES.get(next) ?? next) : value, used)
        at += value < 0 ? 1 : 3
      }
      at += 1
    }
    if (quote !== 0 && !closed) return undefined
    args.push(text.subarray(from, used))
  }
}

const ESCAPES: ReadonlyMap<number, number> = new Map([
  [0x6e, LF],
  [0x72, CR],
  [0x74, TAB],
  [0x62, 0x08],
  [0x61, 0x07],
])

/** As C's `isspace`: vertical tabs and form feeds lie between arguments, though they do not end one. */
function isSpace(byte: number | undefined): boolean {
  return byte === SPACE || (byte !== undefined && byte >= TAB && byte <= CR)
}

function endsArgument(byte: number): boolean {
  return byte === SPACE || byte === LF || byte === CR || byte === TAB
}

/** The value of two hexadecimal digits, or -1. */
function hexadecimal(line: Uint8Array, at: number): number {
  const digits = String.fromCharCode(line[at] ?? 0, line[at + 1] ?? 0)
  return /^[0-9a-f]{2}$/i.test(digits) ? Number.parseInt(digits, 16) : -1
}
