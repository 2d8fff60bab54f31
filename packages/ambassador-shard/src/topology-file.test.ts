import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { readNutcracker } from './nutcracker.ts'
import { type PoolDescription, ringOf } from './pool.ts'
import { readTopology, serverList } from './topology-file.ts'

const SHARD = { name: 'redis-1', address: '10.0.0.1:6379' }

function poolOf(document: unknown): PoolDescription {
  const result = readTopology(document)
  if (!result.ok) throw new Error(result.faults.map(({ text }) => text).join('; '))
  return result.pool
}

function faultsOf(document: unknown): readonly { path: readonly unknown[]; text: string }[] {
  const result = readTopology(document)
  return result.ok ? [] : result.faults
}

const FILE = `
distribution: rendezvous
hash-tag: "{}"
char-sign: unsigned
shards:
  - name: redis-1
    address: redis-1.example.com:6379
    weight: 1.5
    username: ambassador
    replicas: ["10.0.0.11:6379", "[2001:db8::1]:6379"]
  - name: redis-2
    address: "[::1]:6380"
  - { name: redis-3, path: /run/redis.sock, weight: 2 }
`

it('every key of a file is read', () => {
  const expected: PoolDescription = {
    name: 'redis',
    distribution: 'rendezvous',
    hash: undefined,
    tag: '{}',
    charSign: 'unsigned',
    shards: [
      {
        name: 'redis-1',
        target: { host: 'redis-1.example.com', port: 6379 },
        weight: 1.5,
        username: 'ambassador',
        replicas: [
          { host: '10.0.0.11', port: 6379 },
          { host: '2001:db8::1', port: 6379 },
        ],
      },
      { name: 'redis-2', target: { host: '::1', port: 6380 }, weight: 1, replicas: [] },
      { name: 'redis-3', target: { path: '/run/redis.sock' }, weight: 2, replicas: [] },
    ],
  }
  expect(poolOf(parse(FILE))).toEqual(expected)
  expect(poolOf(parse(FILE, { schema: 'failsafe' }))).toEqual(expected)
})

it('without more than shards, keys are where twemproxy has them with servers of these names', () => {
  const names = ['redis-a', 'redis-b', 'redis-c']
  const ours = poolOf({ shards: names.map((name) => ({ name, address: 'localhost:6379' })) })
  const servers = names.map((name) => `localhost:6379:1 ${name}`)
  const theirs = readNutcracker({ main: { listen: 'localhost:1', redis: true, servers } })
  if (!theirs.ok) throw new Error('not read')
  const keys = Array.from({ length: 500 }, (_, number) => `key:${number}`)
  const places = (pool: PoolDescription) => {
    const ring = ringOf(pool)
    return keys.map((key) => ring.indexOfKey(key))
  }
  expect(places(ours)).toEqual(places(theirs.pool))
})

describe('a fault', () => {
  it.each([
    ['distribution', 'maglev', 'distribution "maglev" is unknown: must be one of ketama, libketama'],
    ['distribution', 'redis-cluster', 'distribution "redis-cluster" is unknown'],
    ['hash', 'sha1', 'hash "sha1" is unknown: must be one of one_at_a_time'],
    ['hash-tag', '{', 'hash-tag cannot be: hash tag "{": must be two characters of ASCII, such as {}'],
    ['hash-tag', 12, 'hash-tag 12 must be text: put it in quotes'],
    ['char-sign', 'both', 'char-sign "both" is unknown: must be one of signed, unsigned'],
    [
      'hash_tag',
      '{}',
      'key "hash_tag" is unknown: the keys here are shards, gutter, distribution, hash, hash-tag',
    ],
    ['shards', {}, 'shards is a map: must be a list of maps with a name and an address or path'],
    ['shards', [], 'shards is an empty list'],
  ])('at %s says what and where: %j', (key, value, text) => {
    const faults = faultsOf({ shards: [SHARD], [key]: value })
    expect(faults).toEqual([{ path: [key], text: expect.stringContaining(text) }])
  })

  it.each([
    [{ name: '' }, ['name'], 'name "" must not be empty'],
    [{ name: 1 }, ['name'], 'name 1 must be text: put it in quotes'],
    [{ name: 'a\r\n+OK' }, ['name'], 'must be one line without control characters'],
    [{ name: SHARD.name }, ['name'], 'name has the name "redis-1" of shard 1: give each a name of its own'],
    [{ address: 'redis' }, ['address'], 'address "redis" must be host:port or [IPv6]:port'],
    [{ address: '::1:6379' }, ['address'], 'must be host:port or [IPv6]:port'],
    [{ address: '[10.0.0.1]:6379' }, ['address'], 'must be host:port or [IPv6]:port'],
    [{ address: 'a b:6379' }, ['address'], 'has the host "a b": must be an address or a name'],
    [{ address: 'redis:0' }, ['address'], 'has the port 0: must be 1 to 65535'],
    [{ address: 6379 }, ['address'], 'must be text'],
    [{ path: '/run/redis.sock' }, [], 'shard 2 has both an address and a path: must have one of them'],
    [{ weight: 0 }, ['weight'], 'weight 0: shard 2 must have a positive whole number below 2^31'],
    [{ weight: 1.5 }, ['weight'], 'positive whole number'],
    [{ weight: null }, ['weight'], 'weight nothing: shard 2 must have'],
    [{ weight: 2 ** 31 }, ['weight'], 'below 2^31'],
    [{ username: {} }, ['username'], 'username a map must be text'],
    [{ replicas: 'redis:6379' }, ['replicas'], 'replicas is "redis:6379": must be a list of host:port'],
    [{ replicas: ['a:1', 'redis'] }, ['replicas', 1], 'replica "redis" must be host:port'],
    [{ replica: [] }, ['replica'], 'key "replica" is unknown: the keys here are name, address, path'],
  ])('in a shard says which: %j', (keys, path, text) => {
    const shards = [SHARD, { name: 'redis-2', address: '10.0.0.2:6379', ...keys }]
    const faults = faultsOf({ shards })
    expect(faults).toEqual([{ path: ['shards', 1, ...path], text: expect.stringContaining(text) }])
  })

  it.each([
    [{ address: 'a:1' }, [], 'shard 1 has no name: give it a stable one, as it decides which keys it has'],
    [{ name: 'a' }, [], 'shard 1 has neither an address nor a path'],
    [{ name: 'a', path: 'redis.sock' }, ['path'], 'path "redis.sock" must be an absolute path'],
    [{ name: 'a', path: `/${'é'.repeat(54)}` }, ['path'], 'has at most 107 bytes'],
    ['10.0.0.1:6379', [], 'shard 1 is "10.0.0.1:6379": must be a map with a name and an address or path'],
    [null, [], 'shard 1 is nothing: must be a map'],
  ])('in a shard alone says which: %j', (shard, path, text) => {
    expect(faultsOf({ shards: [shard] })).toEqual([
      { path: ['shards', 0, ...path], text: expect.stringContaining(text) },
    ])
  })

  it('of a hash beside a distribution that has its own is at the hash', () => {
    expect(faultsOf({ shards: [SHARD], distribution: 'rendezvous', hash: 'md5' })).toEqual([
      { path: ['hash'], text: 'hash cannot be: rendezvous has a hash of its own: leave md5 out' },
    ])
  })

  it('of a weight that the distribution has not names the shard', () => {
    expect(faultsOf({ shards: [{ ...SHARD, weight: 2 }], distribution: 'jump' })).toEqual([
      { path: ['shards'], text: 'server redis-1 has the weight 2: jump has none, choose rendezvous' },
    ])
  })

  it('does not hide the others', () => {
    const shards = [{ name: 'a', address: 'x', weight: -1 }, 'b', { address: 'c:1', path: '/c' }]
    expect(faultsOf({ shards, hash: 'x', other: 1 }).map(({ path }) => path.join('.'))).toEqual([
      ...['other', 'hash', 'shards.0.address', 'shards.0.weight', 'shards.1', 'shards.2', 'shards.2'],
    ])
  })

  it.each([[undefined], [null], ['shards'], [7], [[SHARD]]])(
    'of a file that is no map is told: %j',
    (document) => {
      expect(faultsOf(document)).toEqual([
        { path: [], text: expect.stringMatching(/^the file is .*: must be a map/) },
      ])
    },
  )
})

it('of any document comes a pool that has a ring, or faults of one line; never an exception', () => {
  const value = fc.oneof(
    fc.anything(),
    fc.constantFrom('1', 2, 'a:1', '[::1]:2', '/a', 'x', 1e300, -0, Number.NaN),
  )
  const keys = fc.constantFrom('name', 'address', 'path', 'weight', 'username', 'replicas', '__proto__')
  const shard = fc
    .tuple(fc.constantFrom('a', 'b', 'c'), fc.dictionary(keys, fc.oneof(value, fc.array(value))))
    .map(([name, more]) => ({ name, address: 'a:1', ...more }))
  const rules = {
    distribution: fc.oneof(
      fc.constantFrom('ketama', 'rendezvous', 'jump', 'nginx-consistent', 'random'),
      value,
    ),
    hash: fc.oneof(fc.constantFrom('md5', 'crc32'), value),
    'hash-tag': fc.oneof(fc.constant('{}'), fc.string({ unit: 'binary' })),
    'char-sign': fc.oneof(fc.constantFrom('signed', 'unsigned'), value),
    shards: fc.oneof(fc.array(shard, { maxLength: 3 }), fc.anything()),
  }
  let pools = 0
  fc.assert(
    fc.property(fc.oneof(fc.record(rules, { requiredKeys: ['shards'] }), fc.anything()), (document) => {
      const result = readTopology(document)
      if (result.ok) {
        pools += 1
        expect(ringOf(result.pool).servers).toHaveLength(result.pool.shards.length)
        return
      }
      expect(result.faults.length).toBeGreaterThan(0)
      for (const { text } of result.faults) expect(text).toMatch(/^\P{Cc}{1,600}$/u)
    }),
    { numRuns: 1000, examples: [[{ shards: [SHARD] }]] },
  )
  expect(pools).toBeGreaterThan(0)
})

describe('a list of servers', () => {
  it.each([
    ['redis-1:6379', 'redis-1:6379', { host: 'redis-1', port: 6379 }, 1],
    ['redis-1:6379:3', 'redis-1:6379', { host: 'redis-1', port: 6379 }, 3],
    ['redis-1:6379 first', 'first', { host: 'redis-1', port: 6379 }, 1],
    ['redis-1:6379:3 first', 'first', { host: 'redis-1', port: 6379 }, 3],
    ['redis-1:11211', 'redis-1', { host: 'redis-1', port: 11211 }, 1],
    ['[::1]:6379', '::1:6379', { host: '::1', port: 6379 }, 1],
    ['[::1]:6379:2 six', 'six', { host: '::1', port: 6379 }, 2],
    ['/run/redis.sock', '/run/redis.sock:', { path: '/run/redis.sock' }, 1],
    ['/run/redis.sock:2', '/run/redis.sock:', { path: '/run/redis.sock' }, 2],
    ['/run/redis.sock first', 'first', { path: '/run/redis.sock' }, 1],
    ['/run/redis.sock:2 first', 'first', { path: '/run/redis.sock' }, 2],
  ])('reads %s as twemproxy names it', (text, name, target, weight) => {
    expect(serverList([text])).toEqual({ ok: true, shards: [{ name, target, weight, replicas: [] }] })
  })

  it('says all that is wrong, each at its place', () => {
    const texts = [
      'a:1',
      'a',
      '::1:6379',
      'a:1:2',
      '[a]:1',
      'b:1:0',
      'b:70000',
      '/x y z',
      '',
      'c:1 d\n',
      'e:1:1.5',
    ]
    const list = serverList(texts)
    expect(list.ok ? [] : list.faults.map(({ path, text }) => `${path} ${text}`)).toEqual([
      '1 server "a" must be host:port[:weight] [name] or /path[:weight] [name], with IPv6 as [::1]:6379',
      '2 server "::1:6379" must be host:port[:weight] [name] or /path[:weight] [name], with IPv6 as [::1]:6379',
      '3 server "a:1:2" has the name "a:1" of server 1: give each a name of its own',
      '4 server "[a]:1" has "a" in brackets: must be an IPv6 address',
      '5 server "b:1:0" the weight must be at least 1',
      '6 server "b:70000" the port must be 1 to 65535',
      '7 server "/x y z" must be host:port[:weight] [name] or /path[:weight] [name], with IPv6 as [::1]:6379',
      '8 server "" must not be empty',
      '9 server "c:1 d\\n" must be one line without control characters',
      '10 server "e:1:1.5" must be host:port[:weight] [name] or /path[:weight] [name], with IPv6 as [::1]:6379',
    ])
  })

  it('needs one', () => {
    expect(serverList([])).toMatchObject({ ok: false, faults: [{ path: [] }] })
  })

  it('of any texts is shards or faults, never an exception', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[a[\]/:1-9 .]{0,12}$/))
    fc.assert(
      fc.property(fc.array(text, { maxLength: 5 }), (texts) => {
        const list = serverList(texts)
        expect(list.ok ? list.shards.length : list.faults.length).toBeGreaterThan(0)
        if (list.ok) expect(list.shards).toHaveLength(texts.length)
      }),
      { numRuns: 1000 },
    )
  })
})
