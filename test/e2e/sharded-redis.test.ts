import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ringOf } from '../../packages/ambassador-shard/src/pool.ts'
import { shardAddress } from '../../packages/ambassador-shard/src/redis/address.ts'
import { type RedisProxy, startRedisProxy } from '../../packages/ambassador-shard/src/redis/proxy.ts'
import { RawClient } from '../../packages/ambassador-shard/src/redis/proxy-test-support.ts'
import { Shard } from '../../packages/ambassador-shard/src/redis/shard.ts'
import { Topology } from '../../packages/ambassador-shard/src/redis/topology.ts'
import {
  createShardedRedis,
  type ShardedRedis,
  type ShardPool,
} from '../../packages/ambassador-shard/src/sharded-redis.ts'
import { readTopology } from '../../packages/ambassador-shard/src/topology-file.ts'
import { type Redis, startRedis } from '../support/redis.ts'

const password = 'secret'
let shards: Redis[]
let pool: ShardPool
let proxy: RedisProxy
let redis: ShardedRedis
let ambassador: RawClient

beforeAll(async () => {
  shards = []
  for (let left = 3; left > 0; left -= 1) shards.push(await startRedis('--requirepass', password))
  pool = poolOf(shards)
  proxy = await startRedisProxy({
    listen: { host: '127.0.0.1', port: 0 },
    topology: new Topology(
      ringOf(pool),
      shards.map(
        ({ host, port }, index) =>
          new Shard({
            name: `redis-${index + 1}`,
            address: shardAddress({ host, port }, { password }),
            ...{ connectTimeoutMs: 5_000, timeoutMs: 10_000, backoffMs: 20, backoffMostMs: 100 },
            onState: () => undefined,
          }),
      ),
    ),
  })
  const { address } = proxy
  const socket = connect({ host: '127.0.0.1', port: 'port' in address ? address.port : 0, noDelay: true })
  await once(socket, 'connect')
  ambassador = new RawClient(socket)
  redis = createShardedRedis({ servers: pool, options: { password } })
})
afterAll(async () => {
  ambassador[Symbol.dispose]()
  await redis[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
  for (const shard of shards) await shard[Symbol.asyncDispose]()
})

function poolOf(servers: readonly Redis[]): ShardPool {
  const read = readTopology({
    'hash-tag': '{}',
    shards: servers.map(({ host, port }, index) => {
      return { name: `redis-${index + 1}`, address: `${host}:${port}`, weight: index + 1 }
    }),
  })
  if (!read.ok) throw new Error(JSON.stringify(read.faults))
  return read.pool
}

/** Any bytes, each key another, some with a tag. */
const keys = Array.from({ length: 1_000 }, (_, at) =>
  Buffer.concat([
    Buffer.of(at >> 8, at & 0xff),
    randomBytes(at % 40),
    Buffer.from(at % 3 === 0 ? `{user:${at}}` : ''),
    randomBytes(at % 5),
  ]),
)

it('what is written through the ambassador is read by the client of the key', async () => {
  for (const key of keys) ambassador.send(['SET', key, key])
  expect(new Set(await ambassador.next(keys.length))).toEqual(new Set(['+OK\r\n']))
  for (const key of keys) expect(await redis.for(key).getBuffer(key)).toEqual(key)
  expect(await redis.mgetBuffer(keys)).toEqual(keys)
})

it('what is written by the client of the key is read through the ambassador', async () => {
  for (const key of keys) await redis.for(key).set(key, `client:${key.toString('hex')}`)
  for (const key of keys) ambassador.send(['GET', key])
  const texts = keys.map((key) => `client:${key.toString('hex')}`)
  expect(await ambassador.next(keys.length)).toEqual(texts.map((text) => `$${text.length}\r\n${text}\r\n`))
})

it('commands that are joined count what the ambassador counts', async () => {
  await redis.mset(keys.map((key, at) => [key, at] as const))
  expect(await redis.mget(keys)).toEqual(keys.map((_, at) => String(at)))
  const [first, second] = [keys.slice(0, 400), keys.slice(400)]
  const some = [...first, 'nothing', ...first.slice(0, 3)]
  expect(await ambassador.ask('EXISTS', ...some)).toBe(':403\r\n')
  expect(await redis.exists(some)).toBe(403)
  expect(await redis.touch(...some)).toBe(403)
  expect(await ambassador.ask('DEL', ...first.slice(0, 100))).toBe(':100\r\n')
  expect(await redis.del(first)).toBe(300)
  expect(await redis.unlink(second)).toBe(600)
  expect(await ambassador.ask('DBSIZE')).toBe(':0\r\n')
})

it('a topology that has changed is followed, and back', async () => {
  await redis.mset(keys.map((key) => [key, '1'] as const))
  redis.use(poolOf(shards.slice(0, 2)))
  const found = await redis.mget(keys)
  const moved = found.filter((value) => value === null).length
  expect(moved).toBeGreaterThan(0)
  expect(moved).toBeLessThan(keys.length)
  redis.use(pool)
  expect(await redis.exists(keys)).toBe(keys.length)
})

it('a wrong password is an error that names the shard', async () => {
  await using stranger = createShardedRedis({
    servers: pool,
    options: { password: 'guessed', maxRetriesPerRequest: 0 },
    onError: () => undefined,
  })
  const [key = ''] = keys
  await expect(stranger.mget(key)).rejects.toThrow(/^MGET: shard redis-\d \(.*\): WRONGPASS/)
})
