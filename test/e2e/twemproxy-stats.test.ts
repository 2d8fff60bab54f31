import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { hostname } from 'node:os'
import { text } from 'node:stream/consumers'
import { GenericContainer, type StartedTestContainer } from 'testcontainers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parse } from 'yaml'
import { readNutcracker } from '../../packages/ambassador-shard/src/nutcracker.ts'
import {
  RawClient,
  type TinyShard,
  tinyShard,
} from '../../packages/ambassador-shard/src/redis/proxy-test-support.ts'
import { type ServedPool, servePool } from '../../packages/ambassador-shard/src/serve-pool.ts'
import {
  type StatsServer,
  startStatsServer,
  twemproxyStats,
} from '../../packages/ambassador-shard/src/twemproxy-stats.ts'
import { docker } from '../support/docker.ts'
import { until } from '../support/program.ts'
import { inRoot } from '../support/workspace.ts'

const image = 'outrider-test/nutcracker'

interface Told {
  readonly [name: string]: Told | string | number
}

let shards: TinyShard[]
let twemproxy: StartedTestContainer
let statsPort: number
/** Where twemproxy listens, by pool. */
let ports: Readonly<Record<string, number>>
let served: ServedPool[]
let stats: StatsServer

beforeAll(async () => {
  await docker(
    ...['build', '--quiet', '--tag', image],
    ...['--file', inRoot('test/e2e/nutcracker.Dockerfile'), inRoot('test/support')],
  )
  shards = await Promise.all([tinyShard(), tinyShard(), tinyShard(), tinyShard()])
  statsPort = await freePort()
  ports = { gamma: await freePort(), a10: await freePort(), b9: await freePort() }
  const file = configuration()
  twemproxy = await new GenericContainer(image)
    .withNetworkMode('host')
    .withCopyContentToContainer([{ content: file, target: '/etc/twemproxy.yml' }])
    .withCommand(['-c', '/etc/twemproxy.yml', '-a', '127.0.0.1', '-s', String(statsPort), '-i', '100'])
    .start()
  const document: unknown = parse(file, { schema: 'failsafe' })
  served = await Promise.all(Object.keys(ports).map((name) => serve(document, name)))
  const startedAt = Date.now()
  stats = await startStatsServer({
    listen: { host: '127.0.0.1', port: 0 },
    stats: () => {
      const statuses = served.map((pool) => pool.status())
      return twemproxyStats(statuses, { source: hostname(), version: '0.5.0', startedAt, now: Date.now() })
    },
  })
  await until('the port of the statistics', () => theirs().catch(() => undefined))
})
afterAll(async () => {
  await stats[Symbol.asyncDispose]()
  for (const pool of served) await pool[Symbol.asyncDispose]()
  await twemproxy.stop()
  for (const shard of shards) await shard[Symbol.asyncDispose]()
})

/** Pools and servers in another order than the one in which twemproxy lists them. */
function configuration(): string {
  const [a, b, c, d] = shards.map(({ port }) => `127.0.0.1:${port}:1`)
  const servers: Readonly<Record<string, readonly string[]>> = {
    gamma: [`${a} redis-10`, `${b}`, `${c} redis-2`],
    a10: ['/run/none.sock:1', `${d} zz`],
    b9: [`${d} 7`],
  }
  return Object.entries(servers)
    .flatMap(([name, lines]) => [
      `${name}:`,
      `  listen: 127.0.0.1:${ports[name]}`,
      '  redis: true',
      '  servers:',
      ...lines.map((line) => `   - ${line}`),
    ])
    .join('\n')
}

async function serve(document: unknown, name: string): Promise<ServedPool> {
  const read = readNutcracker(document, name)
  if (!read.ok) throw new Error(JSON.stringify(read.faults))
  return servePool({
    ...{ pool: read.pool, source: 'nutcracker.yml', listen: { host: '127.0.0.1', port: 0 } },
    settings: {
      ...{ onFailure: 'keep', reads: 'primary', failureLimit: 2 },
      ...{ connectTimeoutMs: 1_000, timeoutMs: 5_000, retryMs: 20, retryMostMs: 100 },
    },
  })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

const theirs = (): Promise<string> => text(connect(statsPort, '127.0.0.1'))
const ours = (): Promise<string> => text(connect(stats.address))

async function clientAt(port: number): Promise<RawClient> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  await once(socket, 'connect')
  return new RawClient(socket)
}

/** The text without what changes: the value of every counter and gauge. */
const shapeOf = (line: string): string => line.replaceAll(/":\d+/g, '":0')

it('names, their order, types and white space are those of twemproxy', async () => {
  const line = await theirs()
  expect(line).toMatch(/^\{"service":"nutcracker", .*\}\}\}\n$/)
  expect(shapeOf(await ours())).toBe(shapeOf(line))
})

/** The answer to the greeting of a connection, which twemproxy does not have, may be among the bytes. */
function withResponseBytesOf(told: Told, expected: Told): Told {
  const entries = Object.entries(expected).map(([name, values]): [string, Told[string]] => {
    const own = told[name]
    if (typeof values !== 'object' || typeof own !== 'object') return [name, values]
    const more = Number(own['response_bytes']) - Number(values['response_bytes'])
    expect([0, '+PONG\r\n'.length]).toContain(more)
    return [name, { ...values, response_bytes: own['response_bytes'] ?? 0 }]
  })
  return Object.fromEntries(entries)
}

it('the same commands give the same numbers', async () => {
  const keys = Array.from({ length: 90 }, (_, at) => `${at * 7919}:key`)
  const [pool] = served
  const address = pool?.address
  const clients: RawClient[] = []
  for (const port of [ports['gamma'] ?? 0, address !== undefined && 'port' in address ? address.port : 0]) {
    const client = await clientAt(port)
    clients.push(client)
    client.send(...keys.map((key) => ['SET', key, key]), ...keys.map((key) => ['GET', key]))
    await client.next(2 * keys.length)
    const other = await clientAt(port)
    await other.ask('GET', 'a')
    other.socket.end()
  }
  const gamma = async (line: Promise<string>): Promise<Told> =>
    (JSON.parse(await line) as Told)['gamma'] as Told
  await until('the end of the other client', async () => {
    const all = await Promise.all([gamma(theirs()), gamma(ours())])
    return all.every((told) => told['client_eof'] === 1)
  })
  const [expected, told] = [await gamma(theirs()), await gamma(ours())]
  expect(told).toEqual(withResponseBytesOf(told, expected))
  expect(expected).toMatchObject({
    client_connections: 1,
    client_eof: 1,
    'redis-2': { server_connections: 1 },
  })
  for (const client of clients) client[Symbol.dispose]()
})
