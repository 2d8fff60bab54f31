/** The 64 bits that the last function of this file has given, as two signed halves: no allocation for them. */
export const u64 = { high: 0, low: 0 }

/** Product modulo 2^64, into `u64`. */
export function multiply(high: number, low: number, byHigh: number, byLow: number): void {
  const a0 = low & 0xffff
  const a1 = low >>> 16
  const b0 = byLow & 0xffff
  const b1 = byLow >>> 16
  // Each partial sum stays below 2^32: (2^16 - 1)^2 + 2^16 - 1 does.
  const middle = (Math.imul(a1, b0) >>> 0) + (Math.imul(a0, b0) >>> 16)
  const other = (Math.imul(a0, b1) >>> 0) + (middle & 0xffff)
  const carried = Math.imul(a1, b1) + (middle >>> 16) + (other >>> 16)
  u64.high = (carried + Math.imul(low, byHigh) + Math.imul(high, byLow)) | 0
  u64.low = Math.imul(low, byLow)
}

/** The value as a BigInt, for people to look at. */
export function asBigInt(high: number, low: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}

const M_HIGH = 0xc6a4a793 | 0
const M_LOW = 0x5bd1e995

/** MurmurHash2 for 64-bit machines (MurmurHash64A) of a range of bytes, into `u64`. The seed has 32 bits. */
export function murmur64A(bytes: Uint8Array, start: number, end: number, seed: number): void {
  multiply(0, end - start, M_HIGH, M_LOW)
  let { high, low } = u64
  low ^= seed
  let at = start
  for (; end - at >= 8; at += 8) {
    multiply(word(bytes, at + 4, end), word(bytes, at, end), M_HIGH, M_LOW)
    multiply(u64.high, u64.low ^ (u64.high >>> 15), M_HIGH, M_LOW)
    multiply(high ^ u64.high, low ^ u64.low, M_HIGH, M_LOW)
    high = u64.high
    low = u64.low
  }
  if (at < end) {
    multiply(high ^ word(bytes, at + 4, end), low ^ word(bytes, at, end), M_HIGH, M_LOW)
    high = u64.high
    low = u64.low
  }
  multiply(high, low ^ (high >>> 15), M_HIGH, M_LOW)
  u64.low ^= u64.high >>> 15
}

/** Four bytes, little-endian; those behind the end are zero. */
function word(bytes: Uint8Array, at: number, end: number): number {
  let value = 0
  const stop = Math.min(end, at + 4)
  for (let from = at; from < stop; from += 1) value |= (bytes[from] ?? 0) << ((from - at) << 3)
  return value
}
