import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { type NutcrackerPool, readNutcracker } from './nutcracker.ts'
import { ringOf } from './pool.ts'

/** As twemproxy sees it: every scalar is text. */
const yaml = (text: string): unknown => parse(text, { schema: 'failsafe' })

const SERVERS = ['127.0.0.1:6379:1']
const MINIMAL = { listen: '127.0.0.1:22121', redis: true, servers: SERVERS }

function poolOf(document: unknown, name?: string): NutcrackerPool {
  const result = readNutcracker(document, name)
  if (!result.ok) throw new Error(result.faults.map(({ text }) => text).join('; '))
  return result.pool
}

function faultsOf(document: unknown, name?: string): readonly { path: readonly unknown[]; text: string }[] {
  const result = readNutcracker(document, name)
  return result.ok ? [] : result.faults
}

/** The one fault of a pool in which some keys are other than in a good one. */
function faultWith(keys: Record<string, unknown>): { path: readonly unknown[]; text: string } {
  const faults = faultsOf({ main: { ...MINIMAL, ...keys } })
  expect(faults).toHaveLength(1)
  return faults[0] ?? { path: [], text: '' }
}

const PRODUCTION = `
sessions:
  listen: 127.0.0.1:22121
  hash: fnv1a_64
  hash_tag: "{}"
  distribution: ketama
  auto_eject_hosts: true
  timeout: 400
  backlog: 1024
  preconnect: true
  redis: true
  redis_auth: 007
  redis_db: 3
  server_connections: 2
  server_retry_timeout: 2000
  server_failure_limit: 3
  client_connections: 500
  tcpkeepalive: true
  reuseport: true
  servers:
   - 10.0.0.1:6379:1 redis-a
   - redis-b.example.com:6379:2
   - 10.0.0.3:11211:1
   - ::1:6379:1
   - /run/redis/redis.sock:1
   - /run/redis/other.sock:1 redis-f

carts:
  listen: /run/nutcracker/carts 0660
  hash: murmur
  distribution: modula
  redis: true
  servers:
   - 10.0.1.1:6379:1

pages:
  listen: 127.0.0.1:11211
  hash: one_at_a_time
  servers:
   - 10.0.2.1:11211:1
`

it("every key of a file is read as it is, with twemproxy's names for servers", () => {
  expect(poolOf(yaml(PRODUCTION), 'sessions')).toEqual({
    name: 'sessions',
    listen: { host: '127.0.0.1', port: 22121 },
    distribution: 'ketama',
    hash: 'fnv1a_64',
    tag: '{}',
    charSign: 'signed',
    shards: [
      { name: 'redis-a', target: { host: '10.0.0.1', port: 6379 }, weight: 1, replicas: [] },
      {
        ...{ name: 'redis-b.example.com:6379', weight: 2, replicas: [] },
        target: { host: 'redis-b.example.com', port: 6379 },
      },
      { name: '10.0.0.3', target: { host: '10.0.0.3', port: 11211 }, weight: 1, replicas: [] },
      { name: '::1:6379', target: { host: '::1', port: 6379 }, weight: 1, replicas: [] },
      { name: '/run/redis/redis.sock:', target: { path: '/run/redis/redis.sock' }, weight: 1, replicas: [] },
      { name: 'redis-f', target: { path: '/run/redis/other.sock' }, weight: 1, replicas: [] },
    ],
    timeoutMs: 400,
    backlog: 1024,
    clientConnections: 500,
    auth: '007',
    db: 3,
    preconnect: true,
    autoEject: true,
    serverConnections: 2,
    retryTimeoutMs: 2000,
    failureLimit: 3,
    tcpKeepalive: true,
    reusePort: true,
  })
})

it('what a file leaves out is as twemproxy has it', () => {
  expect(poolOf({ main: MINIMAL })).toMatchObject({
    ...{ distribution: 'ketama', hash: 'fnv1a_64', tag: undefined, timeoutMs: undefined, backlog: 512 },
    ...{ clientConnections: 0, auth: undefined, db: 0, preconnect: false, autoEject: false },
    ...{
      serverConnections: 1,
      retryTimeoutMs: 30_000,
      failureLimit: 2,
      tcpKeepalive: false,
      reusePort: false,
    },
  })
})

it('numbers and booleans are the same as YAML makes them and as text', () => {
  const keys =
    'main:\n  listen: /run/main 0660\n  redis: true\n  timeout: 400\n  servers: ["127.0.0.1:6379:1"]\n'
  expect(poolOf(parse(keys))).toEqual(poolOf(yaml(keys)))
  expect(poolOf(yaml(keys)).listen).toEqual({ path: '/run/main', mode: 0o660 })
})

it('keys are where the reference values of twemproxy say', () => {
  const servers = ['server1', 'server2', 'server3', 'server4'].map(
    (name, at) => `127.0.0.1:${6380 + at}:1 ${name}`,
  )
  const { shards, ...pool } = poolOf({ main: { ...MINIMAL, servers } })
  const ring = ringOf({ ...pool, shards })
  expect(['apple', 'key-1', 'test'].map((key) => shards[ring.indexOfKey(key)]?.name)).toEqual([
    ...['server1', 'server3', 'server3'],
  ])
  const pair = { ...MINIMAL, distribution: 'modula', servers: ['a:2101:1 redis-2101', 'a:2100:1 redis-2100'] }
  const modula = poolOf({ main: pair })
  expect(
    ['key-1', 'key-2', 'key-3'].map((key) => modula.shards[ringOf(modula).indexOfKey(key)]?.name),
  ).toEqual([...['redis-2100', 'redis-2101', 'redis-2100']])
})

describe('which pool', () => {
  it('is chosen by name, and must be where a file has several', () => {
    expect(poolOf(yaml(PRODUCTION), 'carts').distribution).toBe('modula')
    expect(faultsOf(yaml(PRODUCTION))).toEqual([
      { path: [], text: 'the file has 3 pools: choose one of "sessions", "carts", "pages"' },
    ])
  })

  it('needs no name where there is one', () => {
    expect(poolOf({ main: MINIMAL }).name).toBe('main')
  })

  it.each(['other', 'toString', '__proto__'])('that is not there is told with those that are: %s', (name) => {
    const text = `the file has no pool "${name}": choose one of "main"`
    expect(faultsOf({ main: MINIMAL }, name)).toEqual([{ path: [], text }])
  })

  it('of memcached is not served yet', () => {
    expect(faultsOf(yaml(PRODUCTION), 'pages')).toEqual([
      { path: ['pages'], text: expect.stringContaining('a pool of memcached, which is not served yet') },
    ])
    expect(faultWith({ redis: 'false' })).toMatchObject({ path: ['main', 'redis'] })
  })

  it.each([
    [undefined, 'the file is nothing'],
    [null, 'the file is nothing'],
    ['alpha', 'the file is "alpha"'],
    [[], 'the file is a list'],
    [{}, 'the file has no pool'],
    [{ main: 'x' }, 'pool "main" is "x": must be a map'],
    [{ 'a\nb': MINIMAL }, 'the pool "a\\nb" must be one line'],
    [{ '\x9b1m': MINIMAL }, 'the pool "?1m" must be one line'],
  ])('cannot be read from %j', (document, text) => {
    expect(faultsOf(document)[0]?.text).toContain(text)
  })
})

describe('a fault', () => {
  it.each([
    ['hash', 'md6', 'hash "md6" is unknown: must be one of one_at_a_time, md5'],
    ['distribution', 'KETAMA', 'distribution "KETAMA" is unknown: must be one of ketama, modula, random'],
    ['distribution', 'rendezvous', 'must be one of ketama, modula, random'],
    ['hash_tag', '{', 'hash_tag "{" must be two characters of ASCII, such as "{}"'],
    ['hash_tag', {}, 'hash_tag a map must be text: put it in quotes'],
    ['timeout', '-1', 'timeout "-1" must be a whole number from 0 to 2147483647, or left out'],
    ['timeout', 99_999_999_999, 'timeout 99999999999 must be a whole number'],
    ['timeout', null, 'timeout nothing must be a whole number'],
    ['backlog', 'x', 'backlog "x" must be a whole number'],
    ['redis_db', -1, 'redis_db -1 must be a whole number from 0'],
    ['redis_db', 1.5, 'redis_db 1.5 must be a whole number'],
    ['server_connections', 0, 'server_connections 0 must be a whole number from 1'],
    ['server_retry_timeout', '-5', 'server_retry_timeout "-5" must be a whole number'],
    ['server_failure_limit', [], 'server_failure_limit a list must be a whole number'],
    ['client_connections', true, 'client_connections true must be a whole number'],
    ['auto_eject_hosts', 'yes', 'auto_eject_hosts "yes" must be true or false'],
    ['preconnect', 'True', 'preconnect "True" must be true or false'],
    ['redis', 'on', 'redis "on" must be true or false'],
    ['tcpkeepalive', 1, 'tcpkeepalive 1 must be true or false'],
    ['reuseport', '', 'reuseport "" must be true or false'],
    ['listen', '127.0.0.1', 'must be host:port or /path [octal mode]'],
    ['listen', ':22121', 'must be host:port or /path [octal mode]'],
    ['listen', 22121, 'listen 22121 must be text'],
    ['listen', '127.0.0.1:0', 'has the port 0: must be 1 to 65535'],
    ['listen', '/run/main 0999', 'must be host:port or /path [octal mode]'],
    ['listen', `/${'x'.repeat(107)}`, "is a path that is too long: a socket's has at most 107 bytes"],
    [
      'servers',
      '127.0.0.1:6379:1',
      'servers is "127.0.0.1:6379:1": must be a list of host:port:weight [name]',
    ],
    ['servers', [], 'servers is an empty list'],
    ['sentinels', [], 'key "sentinels" is unknown: the keys here are listen, servers, hash'],
    ['toString', 1, 'key "toString" is unknown'],
  ])('at %s says what and where: %j', (key, value, text) => {
    const fault = faultWith({ [key]: value })
    expect(fault.path).toEqual(['main', key])
    expect(fault.text).toContain(text)
  })

  it.each([
    ['127.0.0.1:6379', 'must be host:port:weight [name] or /path:weight [name]'],
    ['127.0.0.1:6379:1 a b', 'must be host:port:weight'],
    ['127.0.0.1:0:1', 'the port must be 1 to 65535'],
    ['127.0.0.1:6379:0', 'the weight must be at least 1'],
    ['127.0.0.1:6379:99999999999', 'must have a positive whole number below 2^31 as its weight'],
    ['red is:6379:1', 'has the host "red is": must be an address or a name'],
    ['256.1.1.1:6379:1', 'must be an address or a name'],
    ['127.0.0.1:6379:1 a\r\n+OK', 'must be one line without control characters'],
    [6379, 'must be text'],
    [{ '127.0.0.1:6379': 1 }, 'must be text'],
    ['x'.repeat(2000), 'has 2000 characters'],
  ])('in a server says which: %j', (line, text) => {
    const fault = faultWith({ servers: [...SERVERS, line] })
    expect(fault.path).toEqual(['main', 'servers', 1])
    expect(fault.text).toContain(text)
    expect(fault.text.length).toBeLessThan(250)
  })

  it('of two servers with one name says whose name it is', () => {
    const servers = ['a:6379:1', 'b:6379:1 x', 'c:6379:1 x', 'a:6379:2']
    const texts = faultsOf({ main: { ...MINIMAL, servers } })
    expect(texts).toEqual([
      {
        path: ['main', 'servers', 2],
        text: 'server "c:6379:1 x" has the name "x" of server 2: give each a name of its own',
      },
      {
        path: ['main', 'servers', 3],
        text: 'server "a:6379:2" has the name "a:6379" of server 1: give each a name of its own',
      },
    ])
  })

  it('of all weights together is found', () => {
    const servers = ['a:6379:2147483647', 'b:6379:1']
    expect(faultWith({ servers })).toEqual({
      ...{ path: ['main', 'servers'], text: 'the weights add up to 2147483648: must stay below 2^31' },
    })
  })

  it('does not hide the others', () => {
    const keys = { redis: true, hash: 'x', timeout: 'y', servers: ['z', ...SERVERS, 'z'], sentinels: [] }
    expect(faultsOf({ main: keys }).map(({ path }) => path.join('.'))).toEqual([
      ...['main.sentinels', 'main.hash', 'main.servers.0', 'main.servers.2', 'main.timeout', 'main'],
    ])
  })

  it.each([[''], [null], [4711], [['hunter2']], [{ hunter2: 1 }]])(
    'in the password never shows it: %j',
    (value) => {
      const { path, text } = faultWith({ redis_auth: value })
      expect(path).toEqual(['main', 'redis_auth'])
      expect(text).toMatch(/^redis_auth is (empty: leave it out|not text: put it in quotes)$/)
    },
  )
})

describe('of any document', () => {
  const keys = [
    'listen',
    'servers',
    'hash',
    'hash_tag',
    'distribution',
    'timeout',
    'redis',
    'redis_auth',
    'other',
  ]
  const line = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('a:1:1', 'a:1:1 x', '/a:1', 'b:65536:1', 'c:1:0', '::1:2:3', 'd:1:2147483647'),
  )
  const value = fc.oneof(
    fc.anything(),
    fc.array(line),
    line,
    fc.constantFrom('true', true, 'modula', '{}', 7),
  )
  const pool = fc.dictionary(fc.constantFrom(...keys), value)
  const good = fc.constant(MINIMAL)
  const document = fc.oneof(
    fc.anything(),
    fc.dictionary(fc.constantFrom('main', '__proto__', ''), fc.oneof(pool, fc.anything())),
    fc.record({ main: fc.tuple(good, pool).map(([base, more]) => ({ ...base, ...more })) }),
  )

  it('comes a pool that has a ring, or faults with a path and a text of one line; never an exception', () => {
    let pools = 0
    fc.assert(
      fc.property(
        document,
        fc.option(fc.constantFrom('main', '__proto__', ''), { nil: undefined }),
        (any, name) => {
          const result = readNutcracker(any, name)
          if (result.ok) {
            pools += 1
            expect(ringOf(result.pool).servers).toHaveLength(result.pool.shards.length)
            return
          }
          expect(result.faults.length).toBeGreaterThan(0)
          for (const { path, text } of result.faults) {
            expect(path.every((step) => typeof step === 'string' || Number.isInteger(step))).toBe(true)
            expect(text).toMatch(/^\P{Cc}{1,600}$/u)
          }
        },
      ),
      { numRuns: 2000, examples: [[{ main: MINIMAL }, 'main']] },
    )
    expect(pools).toBeGreaterThan(0)
  })
})
