import type { Placement, Trace } from './placement.ts'
import { type RingServer, weightOf } from './server.ts'
import { asBigInt, multiply, murmur64A, u64 } from './u64.ts'

// Of mcrouter (RendezvousHashHelper.h).
const SERVER_SEED = 4193360111
const KEY_SEED = 2718281828
// Of CityHash's Hash128to64.
const MIX_HIGH = 0x9ddfea08 | 0
const MIX_LOW = 0xeb382d69 | 0

/** How the 64 mixed bits of a server and a key become the score that the highest wins. */
type Scoring = 'high bits' | 'low bits' | 'weighted'

/**
 * The server with the highest score for a key, as in mcrouter. Takes no memory but costs the more the more servers
 * there are; splits exactly by weight, and a change moves no key that it need not move.
 */
export class Rendezvous implements Placement {
  readonly hashName = 'murmur64a'
  readonly shares: readonly number[]
  readonly #high: Int32Array
  readonly #low: Int32Array
  readonly #weights: Float64Array
  readonly #scoring: Scoring
  /** Of the last key; numbers that are given back from a function could be allocated. */
  readonly #scores: Float64Array

  constructor(servers: readonly RingServer[], scoring: Scoring) {
    this.#scoring = scoring
    this.#scores = new Float64Array(servers.length)
    this.#high = new Int32Array(servers.length)
    this.#low = new Int32Array(servers.length)
    this.#weights = Float64Array.from(servers, weightOf)
    for (const [index, { name }] of servers.entries()) {
      const bytes = Buffer.from(name)
      murmur64A(bytes, 0, bytes.length, SERVER_SEED)
      this.#high[index] = u64.high
      this.#low[index] = u64.low
    }
    const total = this.#weights.reduce((sum, weight) => sum + weight, 0)
    this.shares = Array.from(this.#weights, (weight) =>
      scoring === 'weighted' ? weight / total : 1 / servers.length,
    )
  }

  indexOf(bytes: Uint8Array, start: number, end: number): number {
    this.#scoreAll(bytes, start, end)
    const scores = this.#scores
    let best = 0
    for (let index = 1; index < scores.length; index += 1) {
      if ((scores[index] ?? 0) > (scores[best] ?? 0)) best = index
    }
    return best
  }

  successors(bytes: Uint8Array, start: number, end: number, count: number): number[] {
    this.#scoreAll(bytes, start, end)
    const scores = this.#scores
    const order = [...scores.keys()].sort((left, right) => (scores[right] ?? 0) - (scores[left] ?? 0))
    return order.slice(0, count)
  }

  trace(bytes: Uint8Array, start: number, end: number): Trace {
    murmur64A(bytes, start, end, KEY_SEED)
    return { value: asBigInt(u64.high, u64.low), point: undefined }
  }

  #scoreAll(bytes: Uint8Array, start: number, end: number): void {
    murmur64A(bytes, start, end, KEY_SEED)
    const keyHigh = u64.high
    const keyLow = u64.low
    const scores = this.#scores
    for (let index = 0; index < scores.length; index += 1) {
      const high = this.#high[index] ?? 0
      const low = this.#low[index] ?? 0
      multiply(keyHigh ^ high, keyLow ^ low, MIX_HIGH, MIX_LOW)
      multiply(high ^ u64.high, low ^ u64.low ^ (u64.high >>> 15), MIX_HIGH, MIX_LOW)
      multiply(u64.high, u64.low ^ (u64.high >>> 15), MIX_HIGH, MIX_LOW)
      // Doubles hold 53 bits: the other eleven would decide one key in 2^53.
      if (this.#scoring === 'high bits') scores[index] = (u64.high >>> 0) * 2 ** 21 + (u64.low >>> 11)
      else scores[index] = (u64.high & 0x1fffff) * 2 ** 32 + (u64.low >>> 0)
    }
    // With equal weights the logarithm would change nothing: it grows with what is there.
    if (this.#scoring === 'weighted') this.#weigh()
  }

  #weigh(): void {
    const scores = this.#scores
    for (let index = 0; index < scores.length; index += 1) {
      scores[index] = (this.#weights[index] ?? 0) / -Math.log((scores[index] ?? 0) / 2 ** 53)
    }
  }
}

/** mcrouter's WeightedRendezvous. */
export function rendezvous(servers: readonly RingServer[]): Rendezvous {
  const [first] = servers
  const isEven = servers.every((server) => first !== undefined && weightOf(server) === weightOf(first))
  return new Rendezvous(servers, isEven ? 'low bits' : 'weighted')
}

/** mcrouter's Rendezvous, which knows no weights and, with equal ones, puts keys elsewhere than the other. */
export const unweightedRendezvous = (servers: readonly RingServer[]): Rendezvous =>
  new Rendezvous(servers, 'high bits')
