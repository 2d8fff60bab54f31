import { describe, expect, test } from 'vitest'
import { type PoolDescription, ringOf, type ShardDescription } from './pool.ts'
import { rawClient, type TinyShard, tinyShard, until } from './redis/proxy-test-support.ts'
import { type ServedPool, type ServePoolOptions, servePool } from './serve-pool.ts'
import type { ShardSettings } from './shard-set.ts'

const SETTINGS: ShardSettings = {
  ...{ onFailure: 'keep', reads: 'primary', connectTimeoutMs: 1_000, timeoutMs: 1_000 },
  ...{ failureLimit: 1, retryMs: 10, retryMostMs: 20 },
}

const described = (name: string, { port }: TinyShard): ShardDescription => ({
  ...{ name, target: { host: '127.0.0.1', port }, weight: 1, replicas: [] },
})

const poolOf = (...shards: ShardDescription[]): PoolDescription => ({
  ...{ name: 'redis', distribution: 'ketama', hash: undefined, tag: undefined, charSign: 'signed' },
  shards,
})

/** Serves a pool, and ends it and its shards. */
async function serving(
  pool: PoolDescription,
  options: Partial<ServePoolOptions> = {},
): Promise<ServedPool & { port: number; told: string[] }> {
  const told: string[] = []
  const served = await servePool({
    ...{ pool, settings: SETTINGS, source: 'a test', listen: { host: '127.0.0.1', port: 0 } },
    onShard: (shard, up) => told.push(`${shard} ${up ? 'up' : 'down'}`),
    ...options,
  })
  const { address } = served
  return Object.assign(served, { port: 'port' in address ? address.port : 0, told })
}

/** So many keys of a shard, by its place in the pool. */
function keysOn(pool: PoolDescription, index: number, count: number): string[] {
  const ring = ringOf(pool)
  const keys: string[] = []
  for (let at = 0; keys.length < count; at += 1) {
    const key = `${at}:key`
    if (ring.indexOfKey(key) === index) keys.push(key)
  }
  return keys
}

const OK = '+OK\r\n'

describe('a pool', () => {
  test('tells of its shards, whatever they are', async () => {
    await using one = await tinyShard()
    await using two = await tinyShard()
    const pool = { ...poolOf(described('one', one), { ...described('two', two), weight: 3 }), tag: '{}' }
    await using served = await serving(pool, { source: '/topology.yml' })
    using client = await rawClient(served.port)
    const [first = ''] = keysOn(pool, 0, 1)
    const [second = '', third = ''] = keysOn(pool, 1, 2)
    for (const key of [first, second, third]) expect(await client.ask('SET', key, 'value')).toBe(OK)
    await client.ask('MGET', first, second)
    const status = served.status()
    expect(status).toMatchObject({
      ...{ pool: 'redis', distribution: 'ketama', hash: 'fnv1a_64', tag: '{}', source: '/topology.yml' },
      ...{ failurePolicy: 'keep', clients: 1, clientsTotal: 1, clientErrors: 0, commands: 4, fragments: 2 },
      ...{ forwardErrors: 0, gutter: [] },
      shards: [
        { name: 'one', state: 'up', reason: '', weight: 1, requests: 2, inFlight: 0 },
        { name: 'two', state: 'up', reason: '', weight: 3, requests: 3, inFlight: 0 },
      ],
    })
    const [, { servers: [server] = [] } = {}] = status.shards
    expect(server).toMatchObject({
      ...{ address: `127.0.0.1:${two.port}`, role: 'primary', up: true, reason: '', connections: 1 },
      ...{ requests: 3, failures: 0, timeouts: 0, connects: 1 },
    })
    const shares = status.shards.map(({ share }) => share)
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1)
    expect(shares[1]).toBeGreaterThan(shares[0] ?? 1)
    expect(status.shards.every(({ latency }) => latency.p99Ms >= latency.p50Ms && latency.p50Ms > 0)).toBe(
      true,
    )
    expect(JSON.parse(JSON.stringify(status))).toEqual(status)
  })

  test('tells when a shard is down and back, and why', async () => {
    await using one = await tinyShard()
    const two = await tinyShard()
    const pool = poolOf(described('one', one), described('two', two))
    await using served = await serving(pool)
    const { port } = two
    await until(() => served.status().shards.every(({ servers }) => servers[0]?.connections === 1), 'both')
    await two[Symbol.asyncDispose]()
    await until(() => served.told.length === 1, 'what is told')
    expect(served.status().shards[1]).toMatchObject({
      ...{ state: 'down', reason: expect.stringMatching(/./) },
      servers: [{ up: false, reason: expect.stringMatching(/./) }],
    })
    await using again = await tinyShard()
    await again[Symbol.asyncDispose]()
    await again.listen(port)
    await until(() => served.told.length === 2, 'what is told')
    expect(served.told).toEqual(['two down', 'two up'])
    expect(served.status().shards[1]).toMatchObject({ state: 'up', reason: '' })
  })

  test.each([
    ['eject', 'ejected'],
    ['gutter', 'gutter'],
  ] as const)(
    'with %s answers for the keys of a shard that is down elsewhere, and says so',
    async (onFailure, state) => {
      await using one = await tinyShard()
      const two = await tinyShard()
      await using spare = await tinyShard()
      const pool = {
        ...poolOf(described('one', one), described('two', two)),
        gutter: [described('spare', spare)],
      }
      await using served = await serving(pool, { settings: { ...SETTINGS, onFailure } })
      await two[Symbol.asyncDispose]()
      await until(() => served.status().shards[1]?.state === state, 'its end')
      using client = await rawClient(served.port)
      const [key = ''] = keysOn(pool, 1, 1)
      expect(await client.ask('SET', key, 'value')).toBe(OK)
      expect((onFailure === 'eject' ? one : spare).values.get(key)).toBe('value')
      expect(served.status().gutter.map(({ name }) => name)).toEqual(onFailure === 'gutter' ? ['spare'] : [])
    },
  )

  test('keeps clients and the connections of shards that stay when it is planned anew, and ends those that go', async () => {
    await using one = await tinyShard()
    await using two = await tinyShard()
    await using three = await tinyShard()
    const before = poolOf(described('one', one), described('two', two))
    await using served = await serving(before)
    using client = await rawClient(served.port)
    const keys = [...keysOn(before, 0, 20), ...keysOn(before, 1, 20)]
    for (const key of keys) expect(await client.ask('SET', key, 'old')).toBe(OK)
    const after = poolOf(described('one', one), described('three', three))
    served.use({ pool: after, settings: SETTINGS, source: 'another' })
    expect(served.status().source).toBe('another')
    for (const key of keys) expect(await client.ask('SET', key, 'new')).toBe(OK)
    const ring = ringOf(after)
    for (const key of keys) expect([one, three][ring.indexOfKey(key)]?.values.get(key)).toBe('new')
    await until(() => two.sockets.size === 0, 'the end of its connections')
    expect(one.accepted).toBe(1)
    expect([...two.values.values()].every((value) => value === 'old')).toBe(true)
  })

  test('answers what is in flight at a shard that goes, in its turn', async () => {
    const late: (() => void)[] = []
    await using one = await tinyShard()
    await using two = await tinyShard()
    const before = poolOf(described('one', one), described('two', two))
    await using served = await serving(before)
    two.behaviour = (args, socket) => {
      if (args[0] === 'PING') return '+PONG\r\n'
      late.push(() => socket.write('$4\r\nlate\r\n'))
      return undefined
    }
    using client = await rawClient(served.port)
    const [key = ''] = keysOn(before, 1, 1)
    client.send(['GET', key])
    await until(() => late.length === 1, 'the command')
    served.use({ pool: poolOf(described('one', one)), settings: SETTINGS, source: 'another' })
    client.send(['SET', key, 'new'], ['GET', key])
    await until(() => one.values.get(key) === 'new', 'the next command')
    expect(client.replies).toEqual([])
    for (const answer of late) answer()
    expect(await client.next(3)).toEqual(['$4\r\nlate\r\n', OK, '$3\r\nnew\r\n'])
    await until(() => two.sockets.size === 0, 'the end of its connections')
  })

  test('drains: what was asked is answered, and nobody new comes in', async () => {
    await using one = await tinyShard()
    const served = await serving(poolOf(described('one', one)))
    let answer = (): void => undefined
    using client = await rawClient(served.port)
    await client.ask('SET', 'key', 'value')
    one.behaviour = (_, socket) => {
      answer = () => socket.write('$5\r\nvalue\r\n')
      return undefined
    }
    client.send(['GET', 'key'])
    await until(() => one.commands.at(-1)?.[0] === 'GET', 'the command')
    const drained = served.drain()
    await expect(rawClient(served.port)).rejects.toThrow(/ECONNREFUSED/)
    answer()
    expect(await client.next()).toEqual(['$5\r\nvalue\r\n'])
    await client.untilClosed()
    await drained
    await served[Symbol.asyncDispose]()
  })
})
