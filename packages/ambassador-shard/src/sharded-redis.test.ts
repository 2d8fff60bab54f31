import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { encodeBulk, encodeError, encodeInteger, encodeSimple } from '@outrider/resp'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readNutcracker } from './nutcracker.ts'
import { rawClient, startWorld, type TinyShard, tinyShard, until } from './redis/proxy-test-support.ts'
import {
  createShardedRedis,
  type Key,
  type ShardClientOptions,
  type ShardedRedis,
  type ShardedRedisOptions,
  ShardsFailed,
} from './sharded-redis.ts'
import { readTopology } from './topology-file.ts'

/** The fewest words before the first command. */
const TERSE: ShardClientOptions = { protocol: 2, enableReadyCheck: false, disableClientInfo: true }

/** A shard that knows the commands of these tests as well. */
async function shard(): Promise<TinyShard> {
  const tiny = await tinyShard()
  tiny.behaviour = (args, socket) => {
    const [name = '', ...keys] = args
    switch (name.toUpperCase()) {
      case 'AUTH':
      case 'SELECT':
        return encodeSimple('OK')
      case 'INFO':
        return encodeBulk('loading:0')
      case 'QUIT':
        socket.end(encodeSimple('OK'))
        return undefined
      case 'UNLINK':
        return tiny.answer(['DEL', ...keys])
      case 'EXISTS':
      case 'TOUCH':
        return encodeInteger(keys.filter((key) => tiny.values.has(key)).length)
      default:
        return tiny.answer(args)
    }
  }
  return tiny
}

const linesOf = (shards: readonly TinyShard[]) =>
  shards.map(({ port }, index) => `127.0.0.1:${port}:1 redis-${index + 1}`)

const client = (shards: readonly TinyShard[], others: Partial<ShardedRedisOptions> = {}): ShardedRedis => {
  const { options, ...rest } = others
  return createShardedRedis({ servers: linesOf(shards), options: { ...TERSE, ...options }, ...rest })
}

/** Keys that live on the shard of this name. */
function keysOn(redis: ShardedRedis, name: string, count: number): string[] {
  const found: string[] = []
  for (let at = 0; found.length < count; at += 1) {
    if (redis.shardOf(`key:${at}`).name === name) found.push(`key:${at}`)
  }
  return found
}

/** As many keys of each of two shards, by turns. */
const mixed = (redis: ShardedRedis, count: number): string[] => {
  const [one, two] = ['redis-1', 'redis-2'].map((name) => keysOn(redis, name, count))
  return (one ?? []).flatMap((key, at) => [key, two?.[at] ?? ''])
}

const lists = (tiny: TinyShard) => tiny.commands.map(([name = '', ...rest]) => [name.toUpperCase(), ...rest])

test('a key is placed where twemproxy has it', () => {
  const servers = [1, 2, 3, 4].map((number) => `127.0.0.1:${number}:1 server${number}`)
  const redis = createShardedRedis({ servers })
  const names = ['apple', 'key-1', 'key-2', 'test'].map((key) => redis.shardOf(key).name)
  expect(names).toEqual(['server1', 'server3', 'server3', 'server3'])
})

test('what the ambassador has written is read from the same shard, whatever bytes the key has', async () => {
  const shards = [await shard(), await shard(), await shard()]
  await using world = await startWorld(shards)
  await using redis = client(shards)
  using ambassador = await rawClient(world.port)
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((array) => Buffer.from(array))
  for (const key of fc.sample(bytes, 300)) {
    expect(await ambassador.ask('SET', key, key.toString('hex'))).toBe('+OK\r\n')
    expect(await redis.for(key).get(key)).toBe(key.toString('hex'))
  }
  const text = 'grüße:{1}'
  await redis.for(text).set(text, 'yes')
  expect(await ambassador.ask('GET', text)).toBe('$3\r\nyes\r\n')
})

test('lines are placed as it is said, by another distribution and by tags', () => {
  const servers = ['127.0.0.1:1:1 redis-2100', '127.0.0.1:2:1 redis-2101']
  const modula = createShardedRedis({ servers, placement: { distribution: 'modula', tag: '{}' } })
  const names = ['key-1', 'key-2', 'key-3', '{key-2}:a'].map((key) => modula.shardOf(key).name)
  expect(names).toEqual(['redis-2100', 'redis-2101', 'redis-2100', 'redis-2101'])
  modula.use(servers.toReversed())
  expect(modula.shardOf('{key-2}:a').name).toBe('redis-2101')
})

test('all that is wrong with the servers is said at once', () => {
  expect(() => createShardedRedis({ servers: ['redis-1', 'redis-2:99999'] })).toThrow(
    /server "redis-1" must be host:port.*\nserver "redis-2:99999" .*the port must be 1 to 65535/,
  )
  expect(() => createShardedRedis({ servers: [] })).toThrow('no server: must be one at least')
})

test('a shard is connected to by its first command, once', async () => {
  await using one = await shard()
  await using two = await shard()
  await using redis = client([one, two])
  expect([...redis.clients.keys()]).toEqual(['redis-1', 'redis-2'])
  const [key = '', other = ''] = keysOn(redis, 'redis-2', 2)
  await Promise.all([redis.for(key).set(key, '1'), redis.for(other).get(other), redis.mget(key, other)])
  expect([one.accepted, two.accepted]).toEqual([0, 1])
})

test('a command whose keys live apart has no client', () => {
  const servers = ['127.0.0.1:1:1 redis-1', '127.0.0.1:2:1 redis-2']
  const redis = createShardedRedis({ servers, placement: { tag: '{}' } })
  const [one = '', two = ''] = mixed(redis, 1)
  expect(() => redis.for(one, two)).toThrow(
    `keys "${one}" and "${two}" live on redis-1 and redis-2: give them a common hash tag`,
  )
  expect(redis.for(one, one)).toBe(redis.clients.get('redis-1'))
  expect(redis.for('{a}1', '{a}2')).toBe(redis.for('a'))
})

test('MGET asks each shard once and gives values in the order of the keys', async () => {
  await using one = await shard()
  await using two = await shard()
  await using redis = client([one, two])
  const keys = mixed(redis, 3)
  for (const key of keys.slice(1)) await redis.for(key).set(key, `value of ${key}`)
  one.commands.length = 0
  const asked = [...keys, keys[3] ?? '', 'nothing']
  const values = keys.map((key, at) => (at === 0 ? null : `value of ${key}`))
  expect(await redis.mget(asked)).toEqual([...values, values[3], null])
  expect(lists(one)).toEqual([['MGET', ...asked.filter((key) => redis.shardOf(key).name === 'redis-1')]])
})

test('values of bytes are had as bytes', async () => {
  await using one = await shard()
  await using two = await shard()
  await using redis = client([one, two])
  const keys = mixed(redis, 1).map((key) => Buffer.from(key))
  const values = [Buffer.from([0xff, 0, 0x0d]), Buffer.from([0x0a, 0xfe])]
  await redis.mset(keys.map((key, at) => [key, values[at] ?? ''] as const))
  expect(await redis.mgetBuffer(...keys)).toEqual(values)
})

test('MSET takes objects, maps and pairs, and the last value of a key wins', async () => {
  await using one = await shard()
  await using two = await shard()
  await using redis = client([one, two])
  const [a = '', b = ''] = mixed(redis, 1)
  expect(await redis.mset({ [a]: 1, [b]: 'two' })).toBe('OK')
  expect(await redis.mget(a, b)).toEqual(['1', 'two'])
  await redis.mset(new Map<Key, string>([[Buffer.from(a), '3']]))
  const pairs = [
    [b, '4'],
    [b, '5'],
  ] as const
  await redis.mset(pairs)
  expect(await redis.mget(a, b)).toEqual(['3', '5'])
})

test('counts of shards are added up', async () => {
  await using one = await shard()
  await using two = await shard()
  await using redis = client([one, two], { options: { stringNumbers: true } })
  const keys = mixed(redis, 3)
  await redis.mset(keys.map((key) => [key, '1'] as const))
  expect(await redis.exists(keys, 'nothing', keys[0] ?? '')).toBe(7)
  expect(await redis.touch(...keys, 'nothing')).toBe(6)
  expect(await redis.unlink(keys.slice(0, 3))).toBe(3)
  expect(await redis.del(keys)).toBe(3)
  expect(await redis.exists(keys)).toBe(0)
})

test('without keys nobody is asked', async () => {
  await using one = await shard()
  await using redis = client([one])
  expect(await redis.mget()).toEqual([])
  expect(await redis.mset({})).toBe('OK')
  expect(await redis.del([])).toBe(0)
  expect(one.accepted).toBe(0)
})

test('a shard that refuses its part is named, and the others have done theirs', async () => {
  await using one = await shard()
  await using two = await shard()
  await using redis = client([one, two])
  const keys = mixed(redis, 2)
  const { behaviour } = two
  two.behaviour = (args, socket) =>
    args[0] === 'mset' ? encodeError('OOM command not allowed') : behaviour?.(args, socket)
  const failed: unknown = await redis.mset(keys.map((key) => [key, '1'] as const)).catch((error) => error)
  expect(failed).toBeInstanceOf(ShardsFailed)
  expect(failed).toMatchObject({
    message: `MSET: shard redis-2 (127.0.0.1:${two.port}): OOM command not allowed; the other shards have done their part`,
    failures: [{ shard: { name: 'redis-2' }, error: { message: 'OOM command not allowed' } }],
  })
  expect(one.values.size).toBe(2)
})

test('shards that cannot be reached are named, each with its reason', async () => {
  const [one, two] = [await shard(), await shard()]
  const seen: string[] = []
  await using redis = client([one, two], {
    options: { maxRetriesPerRequest: 0 },
    onError: (name, error) => seen.push(`${name}: ${error.message}`),
  })
  const keys = mixed(redis, 1)
  const where = [one.port, two.port]
  await one[Symbol.asyncDispose]()
  await two[Symbol.asyncDispose]()
  await expect(redis.mget(keys)).rejects.toThrow(
    /^MGET: shard redis-\d \(127.*\): Reached the max retries.*; shard redis-\d \(127.*\): Reached the max retries[^;]*$/,
  )
  for (const [at, port] of where.entries())
    expect(seen).toContain(`redis-${at + 1}: connect ECONNREFUSED 127.0.0.1:${port}`)
})

test('another topology keeps the clients of shards that stay, also with other weights', async () => {
  await using one = await shard()
  await using two = await shard()
  await using three = await shard()
  await using redis = client([one, two])
  const keys = mixed(redis, 100)
  await redis.mset(keys.map((key) => [key, '1'] as const))
  const before = redis.clients.get('redis-1')
  redis.use([
    `127.0.0.1:${three.port}:1 redis-3`,
    `127.0.0.1:${one.port}:2 redis-1`,
    `127.0.0.1:${two.port}:1 redis-2`,
  ])
  expect(redis.clients.get('redis-1')).toBe(before)
  expect(new Set(keys.map((key) => redis.shardOf(key).name)).size).toBe(3)
  expect(keys.map((key) => redis.shardOf(key)).find(({ name }) => name === 'redis-1')?.weight).toBe(2)
  await redis.mget(keys)
  expect([one, two, three].map(({ accepted }) => accepted)).toEqual([1, 1, 1])
})

test('a shard that leaves answers what it has in hand, and is closed', async () => {
  await using one = await shard()
  await using two = await shard()
  await using redis = client([one, two])
  const [, key = ''] = mixed(redis, 1)
  await redis.for(key).set(key, 'old')
  const { behaviour } = two
  const held: (() => void)[] = []
  two.behaviour = (args, socket) => {
    held.push(() => socket.write(behaviour?.(args, socket) ?? ''))
    return undefined
  }
  const answer = redis.for(key).get(key)
  await until(() => held.length === 1, 'the command')
  redis.use(linesOf([one]))
  expect(redis.shardOf(key).name).toBe('redis-1')
  await redis.for(key).set(key, 'new')
  await until(() => held.length === 2, 'QUIT')
  for (const release of held) release()
  expect(await answer).toBe('old')
  await until(() => two.sockets.size === 0, 'the end of the connection')
  expect(two.accepted).toBe(1)
})

test('a shard that leaves and never answers is given up', async () => {
  await using one = await shard()
  await using two = await shard()
  await using redis = client([one, two], { drainMs: 20, options: { disconnectTimeout: 20 } })
  const [, key = ''] = mixed(redis, 1)
  await redis.for(key).get(key)
  two.behaviour = () => undefined
  const answer = redis.for(key).get(key)
  redis.use(linesOf([one]))
  await expect(answer).rejects.toThrow('Connection is closed.')
})

test('servers that cannot be change nothing', async () => {
  await using one = await shard()
  await using redis = client([one])
  const before = redis.clients
  expect(() => redis.use(['redis-1'])).toThrow('server "redis-1" must be host:port')
  const twice = readTopology({ shards: [{ name: 'a', address: 'a:1' }] })
  if (!twice.ok) throw new Error('a pool')
  expect(() => redis.use({ ...twice.pool, shards: [...twice.pool.shards, ...twice.pool.shards] })).toThrow(
    'server a is named twice',
  )
  expect(redis.clients).toBe(before)
  await redis.for('a').set('a', '1')
  expect(one.values.size).toBe(1)
})

test('quit answers all that was asked and closes all connections; then there is nothing to use', async () => {
  await using one = await shard()
  await using two = await shard()
  const redis = client([one, two])
  const [key = ''] = keysOn(redis, 'redis-1', 1)
  const answer = redis.for(key).set(key, '1')
  await redis.quit()
  expect(await answer).toBe('OK')
  await until(() => one.sockets.size === 0, 'the end of the connection')
  expect(two.accepted).toBe(0)
  expect(() => redis.use(linesOf([one]))).toThrow('the clients are closed')
  await expect(redis.mget(...mixed(redis, 1))).rejects.toThrow('Connection is closed.')
})

test('disconnect rejects what is not answered, also between two attempts to connect', async () => {
  await using one = await shard()
  const two = await shard()
  const redis = client([one, two], { onError: () => undefined })
  const [key = '', other = ''] = mixed(redis, 1)
  one.behaviour = () => undefined
  const answers = [redis.for(key).get(key), redis.for(other).get(other)]
  await two[Symbol.asyncDispose]()
  await until(() => redis.for(other).status === 'reconnecting', 'the pause between two attempts')
  redis.disconnect()
  const outcomes = await Promise.allSettled(answers)
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  await until(() => one.sockets.size === 0, 'the end of the connection')
})

test('a prefix of keys is a part of them when they are placed', async () => {
  await using one = await shard()
  await using two = await shard()
  await using plain = client([one, two])
  await using redis = client([one, two], { options: { keyPrefix: 'app:' } })
  const keys = Array.from({ length: 50 }, (_, at) => `key:${at}`)
  expect(keys.map((key) => redis.shardOf(key).name)).toEqual(
    keys.map((key) => plain.shardOf(`app:${key}`).name),
  )
  await redis.mset(keys.map((key) => [key, key] as const))
  expect(await plain.mget(keys.map((key) => `app:${key}`))).toEqual(keys)
})

test('the password and database of twemproxy’s file are used, those of the options before them', async () => {
  await using one = await shard()
  const pools = {
    alpha: {
      ...{ listen: '127.0.0.1:22121', redis: 'true', redis_auth: 'secret', redis_db: '3' },
      servers: [`127.0.0.1:${one.port}:1`],
    },
  }
  const read = readNutcracker(pools)
  if (!read.ok) throw new Error(JSON.stringify(read.faults))
  await using redis = createShardedRedis({ servers: read.pool, options: TERSE })
  await redis.mget('a')
  expect(lists(one)).toEqual([
    ['AUTH', 'secret'],
    ['SELECT', '3'],
    ['MGET', 'a'],
  ])
  one.commands.length = 0
  await using other = createShardedRedis({
    servers: read.pool,
    options: { ...TERSE, password: 'renewed', db: 4 },
  })
  await other.mget('a')
  expect(lists(one).slice(0, 2)).toEqual([
    ['AUTH', 'renewed'],
    ['SELECT', '4'],
  ])
})

test('each shard has the user that the topology names for it, else that of the options', async () => {
  await using one = await shard()
  await using two = await shard()
  const read = readTopology({
    shards: [
      { name: 'redis-1', address: `127.0.0.1:${one.port}`, username: 'first' },
      { name: 'redis-2', address: `127.0.0.1:${two.port}` },
    ],
  })
  if (!read.ok) throw new Error(JSON.stringify(read.faults))
  await using redis = createShardedRedis({
    servers: read.pool,
    options: { ...TERSE, username: 'all', password: 'secret' },
  })
  await redis.mget(mixed(redis, 1))
  expect(lists(one)[0]).toEqual(['AUTH', 'first', 'secret'])
  expect(lists(two)[0]).toEqual(['AUTH', 'all', 'secret'])
})

test('over TLS each shard is asked by its own name; a socket of this machine has none', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  const first: Buffer[] = []
  const listening = async (server: Server, at: { port: number; host: string } | { path: string }) => {
    server.on('connection', (socket) => socket.once('data', (bytes) => first.push(bytes) && socket.destroy()))
    await once(server.listen(at), 'listening')
    return server
  }
  const tcp = await listening(createServer(), { port: 0, host: '127.0.0.1' })
  const path = join(directory, 'redis.sock')
  const unix = await listening(createServer(), { path })
  const { port } = tcp.address() as { port: number }
  const redis = createShardedRedis({
    servers: [`localhost:${port}:1 redis-1`, `${path}:1 redis-2`],
    options: { ...TERSE, tls: {}, family: 4, maxRetriesPerRequest: 0 },
    onError: () => undefined,
  })
  try {
    for (const name of ['redis-1', 'redis-2']) {
      const [key = ''] = keysOn(redis, name, 1)
      await expect(redis.for(key).get(key)).rejects.toThrow()
    }
    expect(first[0]?.[0]).toBe(0x16)
    expect(first[0]?.includes('localhost')).toBe(true)
    expect(first[1]?.toString('latin1')).toMatch(/^\*2\r\n\$3\r\nget\r\n/)
  } finally {
    redis.disconnect()
    tcp.close()
    unix.close()
    rmSync(directory, { recursive: true })
  }
})

test('the example of the notes prints what it says', async () => {
  const notes = await readFile(new URL('../NOTES.md', import.meta.url), 'utf8')
  const [, code = ''] = /```ts\n(import \{ createShardedRedis[\s\S]*?)```/.exec(notes) ?? []
  const said = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)/g)].map(([, text]) => text)
  expect(said).toHaveLength(2)
  await using one = await shard()
  await using two = await shard()
  await using three = await shard()
  let program = code
  for (const [at, { port }] of [one, two, three].entries()) {
    expect(program).toContain(`:${6380 + at}:`)
    program = program.replace(`:${6380 + at}:`, `:${port}:`)
  }
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    cwd: new URL('..', import.meta.url),
  })
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  expect([stdout.trim().split('\n'), stderr]).toEqual([said, ''])
})
