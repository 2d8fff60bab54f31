import { rootCertificates } from 'node:tls'
import { describe, expect, test } from 'vitest'
import type { PoolDescription, ShardDescription } from './pool.ts'
import type { ShardTls } from './redis/address.ts'
import type { Shard } from './redis/shard.ts'
import type { Topology } from './redis/topology.ts'
import { ShardSet, type ShardSettings } from './shard-set.ts'

const SETTINGS: ShardSettings = {
  ...{ onFailure: 'keep', reads: 'primary', connectTimeoutMs: 1_000, timeoutMs: 1_000 },
  ...{ failureLimit: 2, retryMs: 100, retryMostMs: 5_000 },
}

const shard = (name: string, others: Partial<ShardDescription> = {}): ShardDescription => ({
  ...{ name, target: { host: '127.0.0.1', port: 6379 }, weight: 1, replicas: [] },
  ...others,
})

const pool = (...shards: ShardDescription[]): PoolDescription => ({
  ...{ name: 'redis', distribution: 'ketama', hash: undefined, tag: undefined, charSign: 'signed' },
  shards,
})

const named = (topology: Topology, name: string): Shard | undefined =>
  topology.all.find((one) => one.name === name)

describe('shards of two topologies', () => {
  const one = shard('one')
  const two = shard('two', { replicas: [{ host: '127.0.0.1', port: 6380 }] })

  test('are the same, connections and all, where they are reached in the same way', () => {
    const set = new ShardSet(() => undefined)
    const before = set.build(pool(one, two), SETTINGS)
    const after = set.build(pool(two, { ...one, weight: 7 }, shard('three')), { ...SETTINGS })
    expect(after.shards.map(({ name }) => name)).toEqual(['two', 'one', 'three'])
    for (const name of ['one', 'two']) expect(named(after, name)).toBe(named(before, name))
    expect(after.ring.servers.map(({ weight }) => weight)).toEqual([1, 7, 1])
  })

  test.each<[string, Partial<ShardDescription>, Partial<ShardSettings>]>([
    ['an address', { target: { host: '127.0.0.2', port: 6379 } }, {}],
    ['a path', { target: { path: '/run/redis' } }, {}],
    ['a replica', { replicas: [{ host: '127.0.0.1', port: 6381 }] }, {}],
    ['a user', { username: 'me' }, {}],
    ['a user of all', {}, { username: 'me' }],
    ['a password', {}, { password: 'secret' }],
    ['a database', {}, { db: 1 }],
    ['TLS', {}, { tls: {} }],
    ['a policy for failures', {}, { onFailure: 'eject' }],
    ['who is read', {}, { reads: 'any' }],
    ['a deadline', {}, { timeoutMs: 2_000 }],
    ['a deadline for connecting', {}, { connectTimeoutMs: 2_000 }],
    ['a limit of failures', {}, { failureLimit: 3 }],
    ['a wait', {}, { retryMs: 200 }],
    ['the longest wait', {}, { retryMostMs: 6_000 }],
  ])('are others where %s differs', (_, description, settings) => {
    const set = new ShardSet(() => undefined)
    const before = set.build(pool(one, two), SETTINGS)
    const after = set.build(pool({ ...one, ...description }, { ...two, ...description }), {
      ...SETTINGS,
      ...settings,
    })
    for (const name of ['one', 'two']) expect(named(after, name)).not.toBe(named(before, name))
  })

  test('are others where TLS has other files or another name, and the same where it was read anew', () => {
    const set = new ShardSet(() => undefined)
    const build = (tls: ShardTls): Shard | undefined =>
      named(set.build(pool(one), { ...SETTINGS, tls }), 'one')
    const [ca = '', other = ''] = rootCertificates
    const before = build({ name: 'redis.test', ca })
    expect(build({ name: 'redis.test', ca: Buffer.from(ca) })).toBe(before)
    expect(build({ name: 'redis.test', ca: other })).not.toBe(before)
    expect(build({ name: 'other.test', ca: other })).not.toBe(before)
  })

  test('of the gutter are kept, too', () => {
    const set = new ShardSet(() => undefined)
    const settings = { ...SETTINGS, onFailure: 'gutter' } as const
    const before = set.build({ ...pool(one), gutter: [shard('spare')] }, settings)
    const after = set.build({ ...pool(one, two), gutter: [shard('spare')] }, settings)
    expect(named(after, 'spare')).toBe(named(before, 'spare'))
    expect(named(after, 'spare')).toBe(after.gutter?.shards[0])
    expect(set.build({ ...pool(one), gutter: [shard('spare')] }, SETTINGS).gutter).toBeUndefined()
  })

  test('are placed without the one that is down, also where that is known from before', () => {
    const set = new ShardSet(() => undefined)
    const settings = { ...SETTINGS, onFailure: 'eject' } as const
    const before = set.build(pool(one, two, shard('three')), settings)
    const down = named(before, 'two')
    if (down === undefined) throw new Error('two')
    down.primary.up = false
    const after = set.build(pool(one, two, shard('four')), settings)
    expect(down.ejected).toBe(true)
    const homes = new Set<string>()
    for (let key = 0; key < 500; key += 1) {
      const bytes = Buffer.from(`${key}:key`)
      homes.add(after.locate(bytes, 0, bytes.length).name)
    }
    expect([...homes].sort()).toEqual(['four', 'one'])
  })
})
