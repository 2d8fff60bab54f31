import { type PoolDescription, ringOf, type ShardDescription, type Target, targetText } from './pool.ts'
import { type ShardTls, shardAddress } from './redis/address.ts'
import { type Reads, Shard } from './redis/shard.ts'
import { Topology } from './redis/topology.ts'

/**
 * What becomes of the keys of a shard that is down: `keep`, an error for each; `eject`, they are placed among the other
 * shards until it is back, as twemproxy does with auto_eject_hosts; `gutter`, they go to a pool of spare servers.
 */
export type FailurePolicy = 'keep' | 'eject' | 'gutter'

/** How shards are reached, and what is done when they are not. */
export interface ShardSettings {
  readonly onFailure: FailurePolicy
  readonly connectTimeoutMs: number
  /** Of each command. */
  readonly timeoutMs: number
  /** Failures in a row after which a shard is down. */
  readonly failureLimit: number
  /** How long a shard that is down is left alone before it is tried again, at first and at most. */
  readonly retryMs: number
  readonly retryMostMs: number
  readonly reads: Reads
  /** Where a shard has none of its own. */
  readonly username?: string
  readonly password?: string
  readonly db?: number
  readonly tls?: ShardTls
}

/** Makes topologies; shards that are the same in two of them stay as they are, their connections with them. */
export class ShardSet {
  readonly #onState: (shard: Shard, up: boolean, reason: string) => void
  #shards = new Map<string, Shard>()

  constructor(onState: (shard: Shard, up: boolean, reason: string) => void) {
    this.#onState = onState
  }

  /** @throws Error that names what cannot be; never for a pool that a reader gave */
  build(pool: PoolDescription, settings: ShardSettings): Topology {
    const kept = new Map<string, Shard>()
    const shardsOf = (list: readonly ShardDescription[]): Shard[] =>
      list.map((description) => {
        const identity = identityOf(description, settings)
        const shard = this.#shards.get(identity) ?? this.#make(description, settings)
        kept.set(identity, shard)
        return shard
      })
    const { onFailure } = settings
    const spare = pool.gutter ?? []
    const gutter =
      onFailure === 'gutter' && spare.length > 0
        ? new Topology(ringOf({ ...pool, shards: spare }), shardsOf(spare))
        : undefined
    const topology = new Topology(ringOf(pool), shardsOf(pool.shards), {
      ...(gutter !== undefined && { gutter }),
      ...(onFailure === 'eject' && {
        ringOf: (live: readonly number[]) =>
          ringOf({ ...pool, shards: live.flatMap((index) => pool.shards[index] ?? []) }),
      }),
    })
    this.#shards = kept
    topology.settle()
    return topology
  }

  #make(description: ShardDescription, settings: ShardSettings): Shard {
    const { name, target, replicas } = description
    const addressOf = (at: Target) => shardAddress(at, credentialsOf(description, settings))
    const isEject = settings.onFailure === 'eject'
    return new Shard({
      ...{ name, address: addressOf(target), replicas: replicas.map(addressOf), reads: settings.reads },
      ...{ connectTimeoutMs: settings.connectTimeoutMs, timeoutMs: settings.timeoutMs },
      ...{ backoffMs: settings.retryMs, backoffMostMs: settings.retryMostMs },
      ...{ failureLimit: settings.failureLimit, countErrors: isEject, onState: this.#onState },
    })
  }
}

function credentialsOf({ username }: ShardDescription, { password, db, tls, ...others }: ShardSettings) {
  const user = username ?? others.username
  return {
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(db !== undefined && { db }),
    ...(tls !== undefined && { tls }),
  }
}

/** Equal for shards that are reached in the same way; the weight alone changes no connection. */
function identityOf(description: ShardDescription, settings: ShardSettings): string {
  const { name, target, replicas } = description
  const { tls, ...credentials } = credentialsOf(description, settings)
  const { onFailure, connectTimeoutMs, timeoutMs, failureLimit, retryMs, retryMostMs, reads } = settings
  return JSON.stringify([
    ...[name, targetText(target), replicas.map(targetText), credentials],
    ...[tls === undefined ? null : [tls.name, String(tls.ca), String(tls.cert), String(tls.key)]],
    ...[onFailure, connectTimeoutMs, timeoutMs, failureLimit, retryMs, retryMostMs, reads],
  ])
}
