import {
  type CharSign,
  createRing,
  type Distribution,
  type KeyHashName,
  type Ring,
  type RingOptions,
} from '@outrider/hash-ring'
import { type Fault, show } from './document.ts'

export type Target = { readonly host: string; readonly port: number } | { readonly path: string }

export interface ShardDescription {
  /** What is hashed. */
  readonly name: string
  readonly target: Target
  readonly weight: number
  readonly username?: string
  readonly replicas: readonly Target[]
}

/** Shards, and what decides which of them has a key; as a file or parameters state it. */
export interface PoolDescription {
  readonly name: string
  readonly distribution: Distribution
  /** The distribution's own where undefined. */
  readonly hash: KeyHashName | undefined
  readonly tag: string | undefined
  readonly charSign: CharSign
  /** In the order of the source, which is that of the ring's indexes. */
  readonly shards: readonly ShardDescription[]
  /** Where the keys of shards that are down may go, placed by the same rules. */
  readonly gutter?: readonly ShardDescription[]
}

/** What decides where keys are, beside the shards. */
export type Rules = Pick<PoolDescription, 'distribution' | 'hash' | 'tag' | 'charSign'>

export type Result<Pool extends PoolDescription = PoolDescription> =
  | { readonly ok: true; readonly pool: Pool }
  | { readonly ok: false; readonly faults: readonly Fault[] }

/** @throws Error that names what cannot be; never for a pool that a reader gave */
export function ringOf(pool: PoolDescription): Ring {
  return createRing(ringOptions(pool, pool.shards))
}

/** Why no ring can have this; undefined where one can. */
export function ringFault(
  rules: Rules,
  servers: readonly { readonly name: string; readonly weight?: number }[],
): string | undefined {
  try {
    createRing(ringOptions(rules, servers))
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function ringOptions(
  { distribution, hash, tag, charSign }: Rules,
  servers: RingOptions['servers'],
): RingOptions {
  return {
    distribution,
    servers: servers.map(({ name, weight = 1 }) => ({ name, weight })),
    charSign,
    ...(hash !== undefined && { hash }),
    ...(tag !== undefined && { tag }),
  }
}

/** `host:port`, `[IPv6]:port` or a path. */
export function targetText(target: Target): string {
  if ('path' in target) return target.path
  const { host, port } = target
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Says which name was there before. */
export class Names {
  readonly #what: string
  readonly #places = new Map<string, number>()
  #count = 0

  constructor(what: string) {
    this.#what = what
  }

  /** Why the next one cannot have this name; undefined where it can. */
  fault(name: string): string | undefined {
    this.#count += 1
    const first = this.#places.get(name)
    if (first === undefined) this.#places.set(name, this.#count)
    return first === undefined
      ? undefined
      : `has the name ${show(name)} of ${this.#what} ${first}: give each a name of its own`
  }
}
