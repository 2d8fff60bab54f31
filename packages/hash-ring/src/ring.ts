import type { Distribution } from './distribution.ts'
import type { HashTag } from './hash-tag.ts'
import type { Placement } from './placement.ts'
import type { RingServer } from './server.ts'

/** Servers, and for each key the one that holds it. `createRing` makes one; it never changes. */
export class Ring {
  readonly distribution: Distribution
  /** As they were given: indexes are places in this list, whatever order the distribution has inside. */
  readonly servers: readonly RingServer[]
  readonly tag: HashTag | undefined
  readonly placement: Placement
  readonly #isSingle: boolean

  constructor(
    distribution: Distribution,
    servers: readonly RingServer[],
    tag: HashTag | undefined,
    placement: Placement,
  ) {
    this.distribution = distribution
    this.servers = servers
    this.tag = tag
    this.placement = placement
    this.#isSingle = servers.length === 1
  }

  /** The server of the key that stands in these bytes, `end` exclusive. Allocates nothing. */
  indexOf(bytes: Uint8Array, start: number, end: number): number {
    // As twemproxy: with nothing to choose nothing is hashed.
    if (this.#isSingle) return 0
    const { tag } = this
    if (tag === undefined) return this.placement.indexOf(bytes, start, end)
    tag.find(bytes, start, end)
    return this.placement.indexOf(bytes, tag.start, tag.end)
  }

  /** As `indexOf`, of a key as text in UTF-8, or as all the bytes of an array. */
  indexOfKey(key: string | Uint8Array): number {
    const bytes = bytesOf(key)
    return this.indexOf(bytes, 0, bytes.length)
  }

  /**
   * Up to `count` distinct servers: the key's own, then those that stand in for it, for replicas and retries. Servers
   * that own nothing are left out where the walk along a ring does not meet them.
   */
  successors(bytes: Uint8Array, start: number, end: number, count: number): number[] {
    const wanted = Math.min(count, this.servers.length)
    if (!(wanted >= 1)) return []
    const { tag } = this
    if (tag === undefined) return this.placement.successors(bytes, start, end, wanted)
    tag.find(bytes, start, end)
    return this.placement.successors(bytes, tag.start, tag.end, wanted)
  }

  /** Names of the servers to which no key goes, as their weight earns them not even one point. */
  get idle(): string[] {
    const { shares } = this.placement
    return this.servers.filter((_, index) => shares[index] === 0).map(({ name }) => name)
  }
}

export function bytesOf(key: string | Uint8Array): Uint8Array {
  return typeof key === 'string' ? Buffer.from(key) : key
}
