import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import type { ListenAddress } from '@outrider/listen'
import { describe, expect, test } from 'vitest'
import { Pools } from './pools.ts'
import { rawClient, type TinyShard, tinyShard, until } from './redis/proxy-test-support.ts'
import type { ServePoolOptions } from './serve-pool.ts'

const OK = '+OK\r\n'

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const pool = (name: string, port: number, shard: TinyShard, source = 'a test'): ServePoolOptions => ({
  pool: {
    ...{ name, distribution: 'ketama', hash: undefined, tag: undefined, charSign: 'signed' },
    shards: [{ name: 'one', target: { host: '127.0.0.1', port: shard.port }, weight: 1, replicas: [] }],
  },
  settings: {
    ...{ onFailure: 'keep', reads: 'primary', connectTimeoutMs: 1_000, timeoutMs: 1_000 },
    ...{ failureLimit: 1, retryMs: 10, retryMostMs: 20 },
  },
  source,
  listen: { host: '127.0.0.1', port },
})

const portOf = (address: ListenAddress): number => ('port' in address ? address.port : 0)

describe('pools', () => {
  test('come and go with their file, and those that stay keep their clients', async () => {
    await using first = await tinyShard()
    await using second = await tinyShard()
    await using pools = new Pools()
    const [a, b, c] = [await freePort(), await freePort(), await freePort()]
    await pools.use([pool('a', a, first), pool('b', b, first)])
    expect(pools.served.map(({ address }) => portOf(address))).toEqual([a, b])
    using stays = await rawClient(a)
    using goes = await rawClient(b)
    await stays.ask('SET', 'key', 'first')
    await pools.use([pool('c', c, second), pool('a', a, second, 'another')])
    expect(
      pools
        .statuses()
        .map(({ pool: name, source }) => [name, source])
        .sort(),
    ).toEqual([
      ['a', 'another'],
      ['c', 'a test'],
    ])
    await goes.untilClosed()
    await expect(rawClient(b)).rejects.toThrow(/ECONNREFUSED/)
    expect(await stays.ask('SET', 'key', 'second')).toBe(OK)
    expect([first.values.get('key'), second.values.get('key')]).toEqual(['first', 'second'])
    using comes = await rawClient(c)
    expect(await comes.ask('GET', 'key')).toBe('$6\r\nsecond\r\n')
    await until(() => first.sockets.size === 0, 'the end of what is not used')
  })

  test('that go answer what they were asked', async () => {
    let answer = (): void => undefined
    await using shard = await tinyShard(([name], socket) => {
      if (name === 'PING') return '+PONG\r\n'
      answer = () => socket.write('$4\r\nlate\r\n')
      return undefined
    })
    await using pools = new Pools()
    const port = await freePort()
    await pools.use([pool('a', port, shard)])
    using client = await rawClient(port)
    client.send(['GET', 'key'])
    await until(() => shard.commands.length === 1, 'the command')
    await pools.use([])
    expect(pools.served).toEqual([])
    answer()
    expect(await client.next()).toEqual(['$4\r\nlate\r\n'])
    await client.untilClosed()
  })

  test('of which one cannot listen change nothing', async () => {
    await using first = await tinyShard()
    await using second = await tinyShard()
    await using pools = new Pools()
    const [a, b] = [await freePort(), await freePort()]
    await pools.use([pool('a', a, first)])
    using client = await rawClient(a)
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    await expect(
      pools.use([pool('a', a, second), pool('b', b, second), pool('c', port, second)]),
    ).rejects.toThrow(/EADDRINUSE/)
    taken.close()
    await expect(rawClient(b)).rejects.toThrow(/ECONNREFUSED/)
    expect(await client.ask('SET', 'key', 'value')).toBe(OK)
    expect(first.values.get('key')).toBe('value')
    expect(second.values.size).toBe(0)
    await until(() => second.sockets.size === 0, 'the end of what was begun')
  })

  test('drain together, those that are leaving included', async () => {
    const waiting: (() => void)[] = []
    await using shard = await tinyShard(([name], socket) => {
      if (name === 'PING') return '+PONG\r\n'
      waiting.push(() => socket.write('$4\r\nlate\r\n'))
      return undefined
    })
    await using pools = new Pools()
    const [a, b] = [await freePort(), await freePort()]
    await pools.use([pool('a', a, shard), pool('b', b, shard)])
    using one = await rawClient(a)
    using two = await rawClient(b)
    for (const client of [one, two]) client.send(['GET', 'key'])
    await until(() => waiting.length === 2, 'both commands')
    await pools.use([pool('a', a, shard)])
    let drained = false
    const drain = pools.drain().then(() => {
      drained = true
    })
    expect(drained).toBe(false)
    for (const answer of waiting) answer()
    for (const client of [one, two]) expect(await client.next()).toEqual(['$4\r\nlate\r\n'])
    await drain
  })
})
