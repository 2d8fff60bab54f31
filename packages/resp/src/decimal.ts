const MINUS = 0x2d
const ZERO = 0x30
const MOST = '9223372036854775807'

/**
 * The signed 64-bit number that these bytes spell, or NaN. As Redis and hiredis (`string2ll`) take it: an optional
 * minus, then digits; no plus, no leading zero, no `-0`, nothing around. Inexact beyond 2^53.
 */
export function decimal(bytes: Uint8Array, from: number, to: number): number {
  const negative = bytes[from] === MINUS
  const first = negative ? from + 1 : from
  const digits = to - first
  if (digits < 1 || digits > MOST.length) return Number.NaN
  if (bytes[first] === ZERO) return digits === 1 && !negative ? 0 : Number.NaN
  let value = 0
  for (let at = first; at < to; at += 1) {
    const digit = (bytes[at] ?? 0) - ZERO
    if (digit < 0 || digit > 9) return Number.NaN
    value = value * 10 + digit
  }
  if (digits === MOST.length && overflows(bytes, first, negative)) return Number.NaN
  return negative ? -value : value
}

function overflows(bytes: Uint8Array, first: number, negative: boolean): boolean {
  for (let index = 0; index < MOST.length; index += 1) {
    const most = MOST.charCodeAt(index) + (negative && index === MOST.length - 1 ? 1 : 0)
    const digit = bytes[first + index] ?? 0
    if (digit !== most) return digit > most
  }
  return false
}
