import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { diff } from './diff.ts'
import { createRing } from './distribution.ts'
import type { Ring } from './ring.ts'
import { named, someKeys } from './test-support.ts'

const ketama = (servers: number) => createRing({ distribution: 'ketama', servers: named('server', servers) })
const modula = (servers: number) => createRing({ distribution: 'modula', servers: named('server', servers) })

function movedOf(before: Ring, after: Ring, keys: readonly string[]): number {
  const name = (ring: Ring, key: string) => ring.servers[ring.indexOfKey(key)]?.name
  return keys.filter((key) => name(before, key) !== name(after, key)).length / keys.length
}

describe('between two rings of points', () => {
  it('the shares are exact: what arrives at a new server is its share of the new ring', () => {
    const after = ketama(5)
    const { moved, exact, matrix } = diff(ketama(4), after)
    expect(exact).toBe(true)
    expect(moved).toBeCloseTo(after.placement.shares[4] ?? 0, 12)
    const arriving = matrix.filter(({ from, to }) => from !== to)
    expect(new Set(arriving.map(({ to }) => to))).toEqual(new Set(['server5']))
    expect(arriving.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(moved, 12)
  })

  it('rows and columns of the matrix are the shares of the servers, of any two rings', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 })
    const pair = fc.constantFrom('ketama' as const, 'libketama' as const, 'nginx-consistent' as const)
    fc.assert(
      fc.property(pair, weights, weights, (distribution, old, now) => {
        const [before, after] = [old, now].map((list) =>
          createRing({ distribution, servers: list.map((weight, at) => ({ name: `s${at}`, weight })) }),
        )
        if (before === undefined || after === undefined) throw new Error('two')
        const { exact, matrix, moved } = diff(before, after)
        expect(exact).toBe(true)
        const sum = (side: 'from' | 'to', name: string) =>
          matrix.reduce((total, flow) => total + (flow[side] === name ? flow.share : 0), 0)
        for (const [at, share] of before.placement.shares.entries())
          expect(sum('from', `s${at}`)).toBeCloseTo(share, 9)
        for (const [at, share] of after.placement.shares.entries())
          expect(sum('to', `s${at}`)).toBeCloseTo(share, 9)
        const stays = matrix.reduce((total, { from, to, share }) => total + (from === to ? share : 0), 0)
        expect(moved).toBeCloseTo(1 - stays, 9)
      }),
      { numRuns: 50 },
    )
  })

  it('the shares are about those of many keys', () => {
    const md5 = (servers: number) =>
      createRing({ distribution: 'ketama', hash: 'md5', servers: named('server', servers) })
    const { moved, sample } = diff(md5(4), md5(5), { samples: 50_000 })
    expect(sample).toEqual({ keys: 50_000, moved: movedOf(md5(4), md5(5), someKeys(50_000)) })
    expect(Math.abs(moved - sample.moved)).toBeLessThan(0.01)
  })

  it('only hashes that a key can have are counted', () => {
    // crc32 has 15 bits: its keys all lie before the lowest point, which server5 takes over.
    const short = (servers: number) =>
      createRing({ distribution: 'ketama', hash: 'crc32', servers: named('server', servers) })
    const { moved, exact, matrix } = diff(short(4), short(5))
    expect([exact, moved, matrix]).toEqual([true, 1, [{ from: 'server3', to: 'server5', share: 1 }]])
    expect(movedOf(short(4), short(5), someKeys(100))).toBe(1)
  })

  it('slots of a Redis Cluster are counted one by one', () => {
    const cluster = (to: number) =>
      createRing({
        distribution: 'redis-cluster',
        servers: [
          { name: 'a', slots: [[0, to]] },
          { name: 'b', slots: [[to + 1, 16383]] },
        ],
      })
    const { moved, exact } = diff(cluster(8191), cluster(8091))
    expect([exact, moved * 16384]).toEqual([true, 100])
  })

  it('other hashes, signs or tags are compared by keys', () => {
    const plain = { distribution: 'ketama' as const, servers: named('s', 3) }
    const ring = createRing(plain)
    for (const other of [{ hash: 'md5' as const }, { charSign: 'unsigned' as const }, { tag: '{}' }]) {
      expect(diff(ring, createRing({ ...plain, ...other }), { samples: 100 })).toMatchObject({
        exact: false,
        sample: { keys: 100 },
      })
    }
  })
})

describe('between others', () => {
  it('the shares are those of the keys that were looked at, which are counted', () => {
    const { moved, exact, sample } = diff(modula(4), modula(5), { samples: 20_000 })
    const expected = movedOf(modula(4), modula(5), someKeys(20_000))
    expect([moved, exact, sample]).toEqual([expected, false, { keys: 20_000, moved: expected }])
  })

  it('the keys can be given, and no more are looked at than are allowed', () => {
    const keys = ['apple', Buffer.from('key-1'), 'key-2']
    expect(diff(modula(4), modula(4), { keys })).toMatchObject({ moved: 0, sample: { keys: 3 } })
    expect(diff(modula(4), modula(4), { keys, samples: 2 })).toMatchObject({ sample: { keys: 2 } })
    expect(() => diff(modula(4), modula(5), { keys: [] })).toThrow('no key to look at')
  })

  it('random cannot be compared', () => {
    const random = createRing({ distribution: 'random', servers: named('s', 2) })
    expect(() => diff(random, modula(2))).toThrow('random keeps no key anywhere')
    expect(() => diff(modula(2), random)).toThrow('random keeps no key anywhere')
  })
})

it('a server is the same one under its name, wherever it stands in the list', () => {
  const servers = named('server', 4)
  const reversed = createRing({ distribution: 'ketama', servers: [...servers].reverse() })
  expect(diff(ketama(4), reversed)).toMatchObject({ moved: 0, examples: [] })
})

it('examples are of different ways, as far as there are some', () => {
  const { examples } = diff(ketama(4), ketama(5), {
    keys: Array.from({ length: 5_000 }, (_, at) => `${at}:key`),
  })
  expect(examples).toHaveLength(10)
  expect(new Set(examples.map(({ from }) => from)).size).toBe(4)
})

it('examples are keys that move, from where and to where, and not more than asked for', () => {
  for (const [before, after] of [
    [ketama(4), ketama(5)],
    [modula(4), modula(5)],
  ] as const) {
    const { examples } = diff(before, after, { examples: 3 })
    expect(examples).toHaveLength(3)
    for (const { key, from, to } of examples) {
      expect([from, to]).toEqual([
        before.servers[before.indexOfKey(key)]?.name,
        after.servers[after.indexOfKey(key)]?.name,
      ])
      expect(from).not.toBe(to)
    }
  }
  const { examples } = diff(ketama(4), ketama(5), { keys: ['apple', 'key:3', 'key:9', 'key:11'] })
  for (const { key } of examples) expect(['apple', 'key:3', 'key:9', 'key:11']).toContain(key)
})
