import type { Ring } from '@outrider/hash-ring'
import type { Shard } from './shard.ts'

/** The shards, and which of them has which key. It never changes: another one takes its place. */
export class Topology {
  readonly ring: Ring
  /** By the index that the ring gives. */
  readonly shards: readonly Shard[]
  /** The shard that carries publish and subscribe: that of the empty key, the same in every ambassador. */
  readonly pubsub: number

  constructor(ring: Ring, shards: readonly Shard[]) {
    this.ring = ring
    this.shards = shards
    this.pubsub = ring.indexOf(NO_BYTES, 0, 0)
  }

  get isSingle(): boolean {
    return this.shards.length === 1
  }
}

const NO_BYTES = new Uint8Array(0)
