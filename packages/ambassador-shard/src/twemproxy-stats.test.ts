import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import type { ListenAddress } from '@outrider/listen'
import { expect, test } from 'vitest'
import { until } from './redis/proxy-test-support.ts'
import type { ServerStatus, ShardStatus, Status } from './status.ts'
import { type StatsMeta, startStatsServer, twemproxyStats } from './twemproxy-stats.ts'

const server = (values: Partial<ServerStatus> = {}): ServerStatus => ({
  ...{ address: '127.0.0.1:6379', role: 'primary', up: true, reason: '', connections: 0, inFlight: 0 },
  ...{ requests: 0, replies: 0, failures: 0, timeouts: 0, connects: 0, requestBytes: 0, replyBytes: 0 },
  ...{ eofs: 0, waitingBytes: 0 },
  ...values,
})

const shard = (name: string, values: Partial<ShardStatus> = {}): ShardStatus => ({
  ...{ name, state: 'up', reason: '', weight: 1, share: 1, requests: 0, inFlight: 0 },
  ...{ ejections: 0, ejectedAt: 0 },
  ...{ latency: { p50Ms: 0, p99Ms: 0 }, servers: [server()], hot: [] },
  ...values,
})

const pool = (name: string, values: Partial<Status> = {}): Status => ({
  ...{ pool: name, distribution: 'ketama', hash: 'fnv1a_64', tag: undefined, source: 'a file' },
  listen: '127.0.0.1:6379',
  ...{ failurePolicy: 'keep', clients: 0, clientsTotal: 0, clientErrors: 0, commands: 0, fragments: 0 },
  ...{ forwardErrors: 0, cacheHits: 0, shards: [shard('redis-1')], gutter: [] },
  ...values,
})

const meta: StatsMeta = {
  source: 'vm',
  version: '0.5.0',
  startedAt: 1_796_013_405_900,
  now: 1_796_013_407_100,
}

interface Told {
  [name: string]: Told | string | number
}
const told = (pools: readonly Status[], others: Partial<StatsMeta> = {}): Told =>
  JSON.parse(twemproxyStats(pools, { ...meta, ...others })) as Told

const ZERO =
  '"server_eof":0, "server_err":0, "server_timedout":0, "server_connections":0, "server_ejected_at":0, "requests":0, "request_bytes":0, "responses":0, "response_bytes":0, "in_queue":0, "in_queue_bytes":0, "out_queue":0, "out_queue_bytes":0'
const CLIENTS =
  '"client_eof":0, "client_err":0, "client_connections":0, "server_ejects":0, "forward_error":0, "fragments":0'

test('the text is that of twemproxy 0.5, to the byte', () => {
  const pools = [
    pool('beta', { shards: [shard('redis-10'), shard('redis-2'), shard('127.0.0.1:6393')] }),
    pool('a10'),
  ]
  expect(twemproxyStats(pools, meta)).toBe(
    `{"service":"nutcracker", "source":"vm", "version":"0.5.0", "uptime":2, "timestamp":1796013407, "total_connections":2, "curr_connections":2, "a10": {${CLIENTS}, "redis-1": {${ZERO}}},"beta": {${CLIENTS}, "redis-2": {${ZERO}},"redis-10": {${ZERO}},"127.0.0.1:6393": {${ZERO}}}}\n`,
  )
})

test('without pools it is an object, too', () => {
  expect(told([])).toEqual({
    ...{ service: 'nutcracker', source: 'vm', version: '0.5.0', uptime: 2, timestamp: 1_796_013_407 },
    ...{ total_connections: 0, curr_connections: 0 },
  })
})

test('clients that left, that failed and that are there are told apart', () => {
  const counted = { clients: 3, clientsTotal: 20, clientErrors: 5, forwardErrors: 7, fragments: 9 }
  expect(told([pool('alpha', counted)])['alpha']).toMatchObject({
    ...{ client_eof: 12, client_err: 5, client_connections: 3, server_ejects: 0 },
    ...{ forward_error: 7, fragments: 9 },
  })
})

test('a shard is a server that has all that its replicas have', () => {
  const servers = [
    server({
      ...{ connections: 2, requests: 10, replies: 8, failures: 1, timeouts: 2 },
      ...{ requestBytes: 100, replyBytes: 50 },
    }),
    server({
      ...{ connections: 1, requests: 5, replies: 5, failures: 3, timeouts: 0 },
      ...{ requestBytes: 10, replyBytes: 20 },
    }),
  ]
  const alpha = told([pool('alpha', { shards: [shard('redis-1', { servers, inFlight: 2 })] })])['alpha']
  expect(alpha).toMatchObject({
    'redis-1': {
      ...{ server_eof: 0, server_err: 4, server_timedout: 2, server_connections: 3, server_ejected_at: 0 },
      ...{ requests: 15, request_bytes: 110, responses: 13, response_bytes: 70 },
      ...{ in_queue: 0, in_queue_bytes: 0, out_queue: 2, out_queue_bytes: 0 },
    },
  })
})

test('connections are those of clients and servers and the sockets that listen', () => {
  const servers = [server({ connections: 2, connects: 5 })]
  const one = pool('one', { clients: 3, clientsTotal: 7, shards: [shard('redis-1', { servers })] })
  const two = pool('two', { clients: 1, clientsTotal: 1, gutter: [shard('spare', { servers })] })
  expect(told([one, two])).toMatchObject({ total_connections: 20, curr_connections: 10 })
  expect(told([one, two], { totalConnections: 99 })).toMatchObject({
    ...{ total_connections: 99, curr_connections: 10 },
  })
})

test('shards that are ejected are counted, and spare ones are a pool of their own', () => {
  const shards = [
    shard('a', { state: 'ejected', ejections: 1 }),
    shard('b', { state: 'down' }),
    shard('c', { state: 'gutter' }),
  ]
  const all = told([pool('alpha', { shards, gutter: [shard('spare')], clients: 1, clientsTotal: 1 })])
  expect(all).toMatchObject({
    alpha: { server_ejects: 1, a: {}, b: {}, c: {} },
    'alpha-gutter': { client_connections: 0, server_ejects: 0, spare: { requests: 0 } },
  })
})

test('names that no object could order, or that JSON escapes, stay what they are', () => {
  const names = ['10', '9', '"', 'grün']
  const line = twemproxyStats([pool('7', { shards: names.map((name) => shard(name)) })], meta)
  expect([...line.matchAll(/"((?:[^"\\]|\\.)*)": \{/g)].map(([, name]) => name)).toEqual([
    ...['7', '"', '9', '10', 'grün'].map((name) => JSON.stringify(name).slice(1, -1)),
  ])
  expect(() => JSON.parse(line)).not.toThrow()
})

const LOOPBACK: ListenAddress = { host: '127.0.0.1', port: 0 }

const readAll = (address: ListenAddress): Promise<string> => text(connect(address))

test('whoever connects is told and closed, each time anew', async () => {
  let count = 0
  await using stats = await startStatsServer({ listen: LOOPBACK, stats: () => `{"count":${++count}}\n` })
  expect(await readAll(stats.address)).toBe('{"count":1}\n')
  expect(await readAll(stats.address)).toBe('{"count":2}\n')
})

test('a path is listened on as well', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  try {
    const path = join(directory, 'stats.sock')
    await using stats = await startStatsServer({ listen: { path }, stats: () => '{}\n' })
    expect(await readAll(stats.address)).toBe('{}\n')
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('a port in use is an error', async () => {
  await using stats = await startStatsServer({ listen: LOOPBACK, stats: () => '' })
  await expect(startStatsServer({ listen: stats.address, stats: () => '' })).rejects.toMatchObject({
    code: 'EADDRINUSE',
  })
})

test('what somebody sends, as a browser does, takes nothing from the answer', async () => {
  const large = 'x'.repeat(4_000_000)
  await using stats = await startStatsServer({ listen: LOOPBACK, stats: () => large })
  const socket = connect(stats.address)
  socket.write(`GET / HTTP/1.1\r\n\r\n${'y'.repeat(1_000_000)}`)
  expect((await text(socket)).length).toBe(large.length)
})

test('clients that reset their connection do no harm', async () => {
  const large = 'x'.repeat(1_000_000)
  await using stats = await startStatsServer({ listen: LOOPBACK, stats: () => large })
  const sockets = Array.from({ length: 50 }, () => connect(stats.address))
  await Promise.all(
    sockets.map(async (socket) => {
      await once(socket, 'connect')
      socket.resetAndDestroy()
    }),
  )
  expect((await readAll(stats.address)).length).toBe(large.length)
})

test('clients that do not close make room for others, the oldest first', async () => {
  await using stats = await startStatsServer({ listen: LOOPBACK, stats: () => '{}\n', idleMs: 60_000 })
  const reset = new Set<number>()
  const sockets: Socket[] = []
  for (let index = 0; index < 70; index += 1) {
    const socket = connect({ ...stats.address, allowHalfOpen: true })
    socket.on('error', () => reset.add(index))
    socket.resume()
    await once(socket, 'end')
    sockets.push(socket)
  }
  expect(await readAll(stats.address)).toBe('{}\n')
  // Who is no longer known is refused what he says, and learns it when he says more.
  await until(() => {
    for (const socket of sockets) if (!socket.destroyed) socket.write('x')
    return reset.size === 7
  }, 'the end of seven')
  await Promise.all(sockets.slice(7).map((socket) => once(socket.end(), 'close')))
  expect([...reset].sort()).toEqual([0, 1, 2, 3, 4, 5, 6])
})

test('a client that takes nothing is closed after a while', async () => {
  const large = 'x'.repeat(10_000_000)
  await using stats = await startStatsServer({ listen: LOOPBACK, stats: () => large, idleMs: 50 })
  const socket = connect(stats.address)
  await once(socket, 'connect')
  socket.on('error', () => undefined)
  await delay(200)
  socket.resume()
  await once(socket, 'close')
  expect(socket.bytesRead).toBeLessThan(large.length)
})

test('disposing closes connections that are open, and the port', async () => {
  const stats = await startStatsServer({ listen: LOOPBACK, stats: () => 'x'.repeat(10_000_000) })
  const socket = connect(stats.address)
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  await stats[Symbol.asyncDispose]()
  await expect(readAll(stats.address)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  socket.destroy()
})
