import type { KeyHash } from './key-hash.ts'
import { Distinct, type Placement, type Trace } from './placement.ts'

// A point and its number are sorted as one double of 32 + 21 bits.
const MOST_POINTS = 2 ** 21

/** Points as they are made: the value at a place belongs to the owner at the same one. */
export interface Points {
  readonly values: number[]
  readonly owners: number[]
}

/** @throws Error where points of so many servers and weights would be too many to hold */
export function checkPointCount(count: number): void {
  if (count <= MOST_POINTS) return
  throw new Error(`the ring would have ${count} points, at most ${MOST_POINTS} are held: lower the weights`)
}

/**
 * A ring of 32-bit points: a key belongs to the first point that is not below its hash, and behind the last one to
 * the lowest. Of equal points the one that was made first wins. Holds 10 to 14 bytes a point.
 */
export class Continuum implements Placement {
  /** Ascending. */
  readonly points: Uint32Array
  /** Index of the server of each point. */
  readonly owners: Uint16Array
  readonly hash: KeyHash
  readonly shares: readonly number[]
  protected readonly servers: number
  /** For each value of the upper bits of a hash the place of the first point with them, or above. */
  readonly #starts: Uint32Array
  /** How many lower bits of a hash there are then. */
  readonly #shift: number

  constructor(hash: KeyHash, servers: number, { values, owners }: Points) {
    checkPointCount(values.length)
    this.hash = hash
    this.servers = servers
    const sorted = Float64Array.from(values, (value, made) => value * MOST_POINTS + made).sort()
    this.points = Uint32Array.from(sorted, (pair) => Math.floor(pair / MOST_POINTS))
    this.owners = Uint16Array.from(sorted, (pair) => owners[pair % MOST_POINTS] ?? 0)
    this.shares = this.#shares()
    // About one bucket a point: halving all points instead would mispredict a branch for each bit.
    this.#shift = Math.clz32(values.length)
    this.#starts = startsOf(this.points, this.#shift)
  }

  get hashName(): string {
    return this.hash.name
  }

  indexOf(bytes: Uint8Array, start: number, end: number): number {
    return this.owners[this.find(this.hash.of(bytes, start, end) >>> 0)] ?? 0
  }

  successors(bytes: Uint8Array, start: number, end: number, count: number): number[] {
    const place = this.find(this.hash.of(bytes, start, end) >>> 0)
    return this.walk(place, this.points.length - 1, new Distinct(this.servers, count)).found
  }

  trace(bytes: Uint8Array, start: number, end: number): Trace {
    const value = this.hash.of(bytes, start, end) >>> 0
    return { value, point: this.points[this.find(value)] }
  }

  /** The place of the point to which an unsigned hash belongs. */
  find(hash: number): number {
    const { points } = this
    const bucket = hash >>> this.#shift
    let low = this.#starts[bucket] ?? 0
    let high = this.#starts[bucket + 1] ?? 0
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((points[middle] ?? 0) < hash) low = middle + 1
      else high = middle
    }
    return low === points.length ? 0 : low
  }

  /** Adds the owners of a point and of so many after it. */
  protected walk(place: number, further: number, distinct: Distinct): Distinct {
    const { length } = this.points
    for (let step = 0; step <= further && !distinct.isFull; step += 1) {
      distinct.add(this.owners[(place + step) % length] ?? 0)
    }
    return distinct
  }

  #shares(): number[] {
    const shares = new Array<number>(this.servers).fill(0)
    const last = this.hash.range - 1
    let before = -1
    for (const [place, point] of this.points.entries()) {
      const upTo = Math.min(point, last)
      const owner = this.owners[place] ?? 0
      shares[owner] = (shares[owner] ?? 0) + (upTo - before) / this.hash.range
      before = upTo
    }
    const lowest = this.owners[0] ?? 0
    shares[lowest] = (shares[lowest] ?? 0) + (last - before) / this.hash.range
    return shares
  }
}

function startsOf(points: Uint32Array, shift: number): Uint32Array {
  const starts = new Uint32Array(2 ** (32 - shift) + 1).fill(points.length)
  for (let place = points.length - 1; place >= 0; place -= 1) starts[(points[place] ?? 0) >>> shift] = place
  for (let bucket = starts.length - 2; bucket >= 0; bucket -= 1) {
    starts[bucket] = Math.min(starts[bucket] ?? 0, starts[bucket + 1] ?? 0)
  }
  return starts
}
