import type { Ring } from '@outrider/hash-ring'
import type { Frame } from './client-connection.ts'
import type { KeyList } from './command-keys.ts'
import { Sampler } from './hot-keys.ts'
import type { Shard } from './shard.ts'

export interface TopologyOptions {
  /** Where the keys of shards that are down go. */
  readonly gutter?: Topology
  /**
   * The ring of some of the shards, by their indexes: the keys of those that are down go to the others, as twemproxy's
   * auto_eject_hosts does it.
   */
  readonly ringOf?: (live: readonly number[]) => Ring
}

/** The shards, and which of them has which key. */
export class Topology {
  /** Of all shards, whether they are up or not. */
  readonly ring: Ring
  /** By the index that the ring gives; those that are ejected among them. */
  readonly shards: readonly Shard[]
  readonly gutter: Topology | undefined
  readonly #ringOf: TopologyOptions['ringOf']
  readonly #sampler = new Sampler()
  /** The ring in use, and the shards by its indexes. */
  #live: Ring
  #homes: readonly Shard[]
  /** Those that were up when it was last settled. */
  #up: readonly Shard[]

  constructor(ring: Ring, shards: readonly Shard[], { gutter, ringOf }: TopologyOptions = {}) {
    this.ring = ring
    this.shards = shards
    this.gutter = gutter
    this.#ringOf = ringOf
    this.#live = ring
    this.#homes = shards
    this.#up = shards
  }

  /** The shard of the key that stands in these bytes. */
  homeOf(bytes: Buffer, start: number, end: number): Shard {
    const shard = this.#homes[this.#live.indexOf(bytes, start, end)]
    if (shard === undefined) throw new RangeError('the ring has more servers than there are shards')
    return shard.up || this.gutter === undefined ? shard : this.gutter.homeOf(bytes, start, end)
  }

  /** The same for a key that is asked for, which may be counted among the hot ones. */
  locate(bytes: Buffer, start: number, end: number): Shard {
    const shard = this.homeOf(bytes, start, end)
    this.#sampler.left -= 1
    if (this.#sampler.left <= 0) {
      this.#sampler.next()
      shard.hot.take(bytes, start, end)
    }
    return shard
  }

  /** The shard that has all keys of a command; undefined when they live apart, or there are none. */
  shardOf({ bytes, start, args }: Frame, { positions, count }: KeyList): Shard | undefined {
    let found: Shard | undefined
    for (let at = 0; at < count; at += 1) {
      const position = positions[at] ?? 0
      const shard = this.locate(bytes, start + args.argStart(position), start + args.argEnd(position))
      if (found !== undefined && shard !== found) return undefined
      found = shard
    }
    return found
  }

  /** The shard that carries publish and subscribe: that of the empty key, the same in every ambassador. */
  get pubsub(): Shard {
    return this.homeOf(NO_BYTES, 0, 0)
  }

  get isSingle(): boolean {
    return this.shards.length === 1 && this.gutter === undefined
  }

  /** All servers, those of the gutter among them. */
  get all(): readonly Shard[] {
    return this.gutter === undefined ? this.shards : [...this.shards, ...this.gutter.shards]
  }

  /** Places the keys anew when shards have gone down or are back; gives whether any key moves. */
  settle(): boolean {
    if (this.gutter !== undefined) return this.#hasTurned()
    if (this.#ringOf === undefined) return false
    const live = this.shards.flatMap((shard, index) => (shard.up ? [index] : []))
    // With nobody left there is nobody to place keys among.
    const chosen = live.length === 0 ? [...this.shards.keys()] : live
    const homes = chosen.flatMap((index) => this.shards[index] ?? [])
    for (const shard of this.shards) shard.eject(!homes.includes(shard))
    if (homes.length === this.#homes.length && homes.every((shard, at) => shard === this.#homes[at]))
      return false
    this.#live = homes.length === this.shards.length ? this.ring : this.#ringOf(chosen)
    this.#homes = homes
    return true
  }

  /** Whether keys go to the gutter, or come back from it, that did not before. */
  #hasTurned(): boolean {
    const up = this.shards.filter((shard) => shard.up)
    const isSame = up.length === this.#up.length && up.every((shard, at) => shard === this.#up[at])
    this.#up = up
    return !isSame
  }
}

const NO_BYTES = Buffer.alloc(0)
