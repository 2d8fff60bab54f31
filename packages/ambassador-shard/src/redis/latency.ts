/** Buckets of which each is a fourth part of a power of two, from 1 us to some 270 s. */
const BUCKETS = 112
const WINDOW_MS = 30_000

/** How long replies took, of the last 30 to 60 seconds, in bounded memory. */
export class Latency {
  /** Replies, and what they took together, since the start. */
  count = 0
  totalMs = 0
  #now = new Float64Array(BUCKETS)
  #before = new Float64Array(BUCKETS)
  #begun = 0

  /** @param now as `performance.now`, of the moment they came */
  add(count: number, ms: number, now: number): void {
    this.#turn(now)
    this.count += count
    this.totalMs += count * ms
    const bucket = bucketOf(ms)
    this.#now[bucket] = (this.#now[bucket] ?? 0) + count
  }

  /** The time within which such a share of the replies came, upper bound, milliseconds; 0 where there were none. */
  quantiles(shares: readonly number[], now: number): number[] {
    this.#turn(now)
    const counts = this.#now.map((count, bucket) => count + (this.#before[bucket] ?? 0))
    const total = counts.reduce((sum, count) => sum + count, 0)
    return shares.map((share) => {
      if (total === 0) return 0
      let left = share * total
      const bucket = counts.findIndex((count) => {
        left -= count
        return left <= 0 && count > 0
      })
      return upperMs(bucket)
    })
  }

  #turn(now: number): void {
    const age = now - this.#begun
    if (age < WINDOW_MS) return
    const oldest = this.#before
    this.#before = this.#now
    this.#now = oldest
    this.#now.fill(0)
    if (age >= 2 * WINDOW_MS) this.#before.fill(0)
    // At its end, however late that is noticed.
    this.#begun = age < 2 * WINDOW_MS ? this.#begun + WINDOW_MS : now
  }
}

function bucketOf(ms: number): number {
  const us = Math.max(1, Math.min(2 ** 30, Math.ceil(ms * 1000)))
  const exponent = 31 - Math.clz32(us)
  const quarter = (exponent < 2 ? us << (2 - exponent) : us >>> (exponent - 2)) & 3
  return Math.min(BUCKETS - 1, exponent * 4 + quarter)
}

function upperMs(bucket: number): number {
  const exponent = Math.floor(bucket / 4)
  return (2 ** exponent * (1 + ((bucket % 4) + 1) / 4)) / 1000
}
