import { describe, expect, it } from 'vitest'
import { Continuum } from './continuum.ts'
import { createRing, type RingOptions } from './distribution.ts'
import { explain } from './explain.ts'
import { ketamaDigests, libketamaDigests } from './ketama.ts'
import { digest, md5 } from './md5.ts'
import type { Ring } from './ring.ts'
import { libmemcachedName, spymemcachedName } from './server-name.ts'
import { named } from './test-support.ts'

function continuumOf({ placement }: Ring): Continuum {
  if (placement instanceof Continuum) return placement
  throw new Error('not a ring of points')
}

/** Points of each server, in the order of the list. */
function pointsOf(options: RingOptions): number[] {
  const counts = options.servers.map(() => 0)
  for (const owner of continuumOf(createRing(options)).owners) counts[owner] = (counts[owner] ?? 0) + 1
  return counts
}

/** The point and the server of a key. */
function home(ring: Ring, key: string): [number | undefined, string | undefined] {
  const { point, server } = explain(ring, key)
  return [point, server]
}

// Numbers of equal servers at which single precision loses points, per ring.
const SHORT_IN_TWEMPROXY = [
  25, 47, 50, 55, 61, 71, 94, 100, 107, 109, 110, 115, 122, 142, 159, 163, 188, 193, 200, 209, 214, 218, 219,
  220, 230, 237, 243, 244, 279, 284, 293, 299,
]
const SHORT_IN_LIBKETAMA = [61, 122, 237, 244]

describe('the points of equal servers', () => {
  it.each([
    ['ketama', ketamaDigests, SHORT_IN_TWEMPROXY],
    ['libketama', libketamaDigests, SHORT_IN_LIBKETAMA],
  ])('%s gives each 156 at the numbers where the peer does, else 160, up to 300', (_, digests, short) => {
    for (let count = 1; count <= 300; count += 1) {
      expect([count, 4 * digests(1, count, count)]).toEqual([count, short.includes(count) ? 156 : 160])
    }
  })

  it.each([
    [7, 1120, 1120],
    [25, 3900, 4000],
    [61, 9516, 9516],
  ])('%d servers have %d points in twemproxy and %d in libketama', (count, twemproxy, libketama) => {
    const sum = (distribution: 'ketama' | 'libketama') =>
      pointsOf({ distribution, servers: named('s', count) }).reduce((total, points) => total + points)
    expect([sum('ketama'), sum('libketama')]).toEqual([twemproxy, libketama])
  })
})

describe('the eight weighted servers of libmemcached', () => {
  const weights = [600, 300, 200, 350, 1000, 800, 950, 100]
  const eight = (name: (host: string, port: number) => string) =>
    weights.map((weight, index) => ({ name: name(`10.0.1.${index + 1}`, 11211), weight }))
  const md5 = createRing({ distribution: 'ketama', hash: 'md5', servers: eight(libmemcachedName) })

  it('own points by their weight', () => {
    expect(pointsOf({ distribution: 'ketama', servers: eight(libmemcachedName) })).toEqual([
      176, 88, 56, 104, 296, 236, 280, 28,
    ])
  })

  it('begin and end at the points of libmemcached', () => {
    const { points, owners } = continuumOf(md5)
    expect([points.length, points[0], owners[0]]).toEqual([1264, 2148620, 2])
    expect([points.at(-1), owners.at(-1)]).toEqual([4294696831, 6])
  })

  it('hold keys where libmemcached puts them, by MD5', () => {
    expect(home(md5, 'apple')).toEqual([3201088518, '10.0.1.5'])
    expect(explain(md5, 'SVa_]_V41)').value).toBe(443691461)
    expect(home(md5, 'SVa_]_V41)')).toEqual([445379617, '10.0.1.7'])
  })

  it('hold a key behind the last point at the lowest', () => {
    expect(explain(md5, 'VDEAAAAA').value).toBe(4294758837)
    expect(home(md5, 'VDEAAAAA')).toEqual([2148620, '10.0.1.3'])
  })

  it('hold keys where twemproxy puts them, by fnv1a_64', () => {
    const ring = createRing({ distribution: 'ketama', servers: eight(libmemcachedName) })
    expect(home(ring, 'apple')).toEqual([1493252121, '10.0.1.1'])
  })

  it('hold keys where spymemcached puts them, under its names', () => {
    const ring = createRing({ distribution: 'ketama', hash: 'md5', servers: eight(spymemcachedName) })
    expect(home(ring, 'SVa_]_V41)')).toEqual([447020046, '/10.0.1.2:11211'])
  })
})

describe('twemproxy with four servers', () => {
  const ring = createRing({ distribution: 'ketama', servers: named('server', 4) })

  it('has its first and last point', () => {
    const { points, owners } = continuumOf(ring)
    expect([points.length, points[0], owners[0]]).toEqual([640, 9796559, 2])
    expect([points.at(-1), owners.at(-1)]).toEqual([4290847573, 3])
  })

  it.each([
    ['apple', 1491449930, 'server1'],
    ['key-1', 2525537354, 'server3'],
    ['key-2', 2525537354, 'server3'],
    ['test', 429273588, 'server3'],
  ])('holds %s at the point %d of %s', (key, point, server) => {
    expect(home(ring, key)).toEqual([point, server])
  })

  it('splits the ring unevenly, as it does', () => {
    // Over 20000 keys of twemproxy's: 0.93, 1.00, 1.12 and 0.96 of the fair share.
    const counts = [0, 0, 0, 0]
    for (let key = 0; key < 20_000; key += 1) {
      const index = ring.indexOfKey(`key:${key}`)
      counts[index] = (counts[index] ?? 0) + 1
    }
    expect(counts.map((count) => (count / 5000).toFixed(2))).toEqual(['0.93', '1.00', '1.12', '0.96'])
  })
})

it('twemproxy with two servers holds keys at their points', () => {
  const servers = [{ name: 'redis-2100' }, { name: 'redis-2101' }]
  const ring = createRing({ distribution: 'ketama', servers })
  expect(continuumOf(ring).points).toHaveLength(320)
  expect(home(ring, 'key-1')).toEqual([2525969103, 'redis-2100'])
  expect(home(ring, 'key-2')).toEqual([2525969103, 'redis-2100'])
  expect(home(ring, 'apple')).toEqual([1494684640, 'redis-2101'])
})

it('libketama with servers of 600 and 400 holds test at its point', () => {
  const servers = [
    { name: '127.0.0.1:11211', weight: 600 },
    { name: '127.0.0.1:11212', weight: 400 },
  ]
  const ring = createRing({ distribution: 'libketama', servers })
  expect(continuumOf(ring).points).toHaveLength(320)
  expect(explain(ring, 'test').value).toBe(3446378249)
  expect(home(ring, 'test')).toEqual([3454255383, '127.0.0.1:11211'])
})

it('a server too light for a point is reported as idle and gets no key', () => {
  const servers = [{ name: 'heavy', weight: 100_000 }, { name: 'light' }]
  const ring = createRing({ distribution: 'ketama', servers })
  expect(pointsOf({ distribution: 'ketama', servers })).toEqual([316, 0])
  expect(ring.idle).toEqual(['light'])
  expect(ring.successors(Buffer.from('a'), 0, 1, 2)).toEqual([0])
})

it('indexes are places in the list that was given, in whatever order twemproxy has it', () => {
  const servers = named('redis-', 12)
  const ring = createRing({ distribution: 'ketama', servers })
  const reversed = createRing({ distribution: 'ketama', servers: [...servers].reverse() })
  for (const key of ['apple', 'key-1', 'test', 'é', '']) {
    expect(reversed.indexOfKey(key)).toBe(11 - ring.indexOfKey(key))
  }
})

it('where two servers share a point, the one that twemproxy sorts first has it', () => {
  // Names are tried until two have a point in common; the ring gets them in the opposite order.
  const owners = new Map<number, string>()
  const pairs: [first: string, second: string, point: number][] = []
  for (let number = 1; number <= 2000; number += 1) {
    for (let index = 0; index < 40; index += 1) {
      const text = Buffer.from(`s${number}-${index}`)
      md5(text, 0, text.length)
      for (const word of digest) {
        const owner = owners.get(word)
        if (owner !== undefined) pairs.push([owner, `s${number}`, word >>> 0])
        owners.set(word, `s${number}`)
      }
    }
  }
  expect(pairs.length).toBeGreaterThan(0)
  for (const [first, second, point] of pairs) {
    const servers = [{ name: second }, { name: first }]
    const continuum = continuumOf(createRing({ distribution: 'ketama', servers }))
    expect(servers[continuum.owners[continuum.find(point)] ?? -1]?.name).toBe(first)
  }
})

it('shares are those of hashes that a key can have: all 15 bits of crc32 are before the lowest point', () => {
  const ring = createRing({ distribution: 'ketama', hash: 'crc32', servers: named('server', 4) })
  expect(ring.placement.shares).toEqual([0, 0, 1, 0])
  expect(ring.idle).toEqual(['server1', 'server2', 'server4'])
})

it('of equal points the one that was made first wins, and the other is never reached', () => {
  const hash = {
    name: 'first byte',
    range: 256,
    of: (bytes: Uint8Array) => bytes[0] ?? 0,
    equals: () => true,
  }
  const ring = new Continuum(hash, 3, { values: [9, 200, 9], owners: [1, 2, 0] })
  expect([...ring.points]).toEqual([9, 9, 200])
  expect([0, 9, 10, 200, 201].map((byte) => ring.indexOf(Uint8Array.of(byte), 0, 1))).toEqual([1, 1, 2, 2, 1])
  expect(ring.shares).toEqual([0, 65 / 256, 191 / 256])
})
