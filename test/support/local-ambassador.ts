import { createRing } from '@outrider/hash-ring'
import { shardAddress } from '../../packages/ambassador-shard/src/redis/address.ts'
import type { Users } from '../../packages/ambassador-shard/src/redis/local.ts'
import { type RedisProxy, startRedisProxy } from '../../packages/ambassador-shard/src/redis/proxy.ts'
import { Shard } from '../../packages/ambassador-shard/src/redis/shard.ts'
import { Topology } from '../../packages/ambassador-shard/src/redis/topology.ts'
import { type Redis, startRedis } from './redis.ts'

/** An ambassador in this process before so many shards, each a Redis. */
export class LocalAmbassador implements AsyncDisposable {
  readonly host = '127.0.0.1'
  readonly shards: readonly Redis[]
  readonly proxy: RedisProxy
  readonly #stopped = new Set<Redis>()

  private constructor(shards: readonly Redis[], proxy: RedisProxy) {
    this.shards = shards
    this.proxy = proxy
  }

  static async start(count: number, users?: Users): Promise<LocalAmbassador> {
    const shards = await Promise.all(Array.from({ length: count }, () => startRedis()))
    const servers = shards.map((_, index) => ({ name: `redis-${index + 1}` }))
    const topology = new Topology(
      createRing({ distribution: 'ketama', servers }),
      shards.map(
        ({ host, port }, index) =>
          new Shard({
            name: `redis-${index + 1}`,
            address: shardAddress({ host, port }),
            connectTimeoutMs: 5_000,
            timeoutMs: 10_000,
            backoffMs: 20,
            backoffMostMs: 100,
            onState: () => undefined,
          }),
      ),
    )
    const listen = { host: '127.0.0.1', port: 0 }
    return new LocalAmbassador(
      shards,
      await startRedisProxy({ listen, topology, ...(users !== undefined && { users }) }),
    )
  }

  get port(): number {
    const { address } = this.proxy
    return 'port' in address ? address.port : 0
  }

  /** A key that lives on the shard of this index, different ones for different numbers. */
  keyOn(index: number, number = 0): string {
    let left = number
    for (let at = 0; ; at += 1) {
      const key = `key:${at}`
      if (this.proxy.topology.ring.indexOfKey(key) !== index) continue
      if (left === 0) return key
      left -= 1
    }
  }

  /** Ends a shard for good. */
  async stop(index: number): Promise<void> {
    const shard = this.shards[index]
    if (shard === undefined || this.#stopped.has(shard)) return
    this.#stopped.add(shard)
    await shard[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]()
    await Promise.all(this.shards.map((_, index) => this.stop(index)))
  }
}
