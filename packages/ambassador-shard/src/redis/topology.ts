import type { Ring } from '@outrider/hash-ring'
import type { Frame } from './client-connection.ts'
import type { KeyList } from './command-keys.ts'
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

  /** The shard that has all keys of a command; undefined when they live apart, or there are none. */
  shardOf({ bytes, start, args }: Frame, { positions, count }: KeyList): Shard | undefined {
    let found = -1
    for (let at = 0; at < count; at += 1) {
      const position = positions[at] ?? 0
      const index = this.ring.indexOf(bytes, start + args.argStart(position), start + args.argEnd(position))
      if (found >= 0 && index !== found) return undefined
      found = index
    }
    return this.shards[found]
  }

  get isSingle(): boolean {
    return this.shards.length === 1
  }
}

const NO_BYTES = new Uint8Array(0)
