import type { KeyHash } from './key-hash.ts'
import { Distinct, type Placement, type Trace } from './placement.ts'
import { multiply, u64 } from './u64.ts'

// 2862933555777941757, the multiplier of the paper's generator.
const FACTOR_HIGH = 0x27bb2ee6
const FACTOR_LOW = 0x87b0b0fd | 0

/**
 * Jump consistent hash (Lamping and Veach, 2014) of a 64-bit key, given as two halves: a bucket below `buckets`. It
 * splits evenly and moves the least, but buckets come and go only at the end.
 */
export function jump(high: number, low: number, buckets: number): number {
  let keyHigh = high | 0
  let keyLow = low | 0
  let bucket = 0
  let next = 0
  while (next < buckets) {
    bucket = next
    multiply(keyHigh, keyLow, FACTOR_HIGH, FACTOR_LOW)
    keyLow = (u64.low + 1) | 0
    keyHigh = keyLow === 0 ? (u64.high + 1) | 0 : u64.high
    next = Math.floor((bucket + 1) * (2 ** 31 / ((keyHigh >>> 1) + 1)))
  }
  return bucket
}

/** Jump consistent hash over servers in the order of their list, whose 64-bit key is the 32-bit hash of the key. */
export class Jump implements Placement {
  readonly shares: readonly number[]
  readonly #hash: KeyHash

  constructor(servers: number, hash: KeyHash) {
    this.#hash = hash
    this.shares = new Array<number>(servers).fill(1 / servers)
  }

  get hashName(): string {
    return this.#hash.name
  }

  indexOf(bytes: Uint8Array, start: number, end: number): number {
    return jump(0, this.#hash.of(bytes, start, end), this.shares.length)
  }

  /** Those that follow in the list. */
  successors(bytes: Uint8Array, start: number, end: number, count: number): number[] {
    const distinct = new Distinct(this.shares.length, count)
    const first = this.indexOf(bytes, start, end)
    distinct.add(first)
    return distinct.fillFrom(first)
  }

  trace(bytes: Uint8Array, start: number, end: number): Trace {
    return { value: this.#hash.of(bytes, start, end) >>> 0, point: undefined }
  }
}
