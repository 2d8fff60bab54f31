const PLUS = 0x2b
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const LOWER_E = 0x65

export function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE
}

/** Digits with sign, fraction and exponent; or inf, -inf, nan, -nan, the last of which Redis says where C does. */
export function isDouble(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from
  if (bytes[at] === MINUS || bytes[at] === PLUS) at += 1
  if (to - at === 3 && !isDigit(bytes[at])) {
    const word = String.fromCharCode(...bytes.subarray(at, to))
    return (word === 'inf' || word === 'nan') && bytes[from] !== PLUS
  }
  let next = behindDigits(bytes, at, to)
  if (next === at) return false
  if (next < to && bytes[next] === DOT) {
    at = next + 1
    next = behindDigits(bytes, at, to)
    if (next === at) return false
  }
  if (next < to && ((bytes[next] ?? 0) | 0x20) === LOWER_E) {
    at = next + 1
    if (bytes[at] === MINUS || bytes[at] === PLUS) at += 1
    next = behindDigits(bytes, at, to)
    if (next === at) return false
  }
  return next === to
}

function behindDigits(bytes: Uint8Array, from: number, to: number): number {
  let at = from
  while (at < to && isDigit(bytes[at])) at += 1
  return at
}
