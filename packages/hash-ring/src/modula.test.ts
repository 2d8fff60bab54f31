import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRing } from './distribution.ts'
import { explain } from './explain.ts'
import { WeightTable } from './weight-table.ts'

describe('modula of twemproxy', () => {
  it.each([
    ['key-1', 2515697318, 0],
    ['key-2', 2515696883, 1],
    ['key-3', undefined, 0],
  ])('holds %s where twemproxy does', (key, value, index) => {
    const ring = createRing({
      distribution: 'modula',
      servers: [{ name: 'redis-2100' }, { name: 'redis-2101' }],
    })
    expect(explain(ring, key)).toMatchObject({ index, ...(value === undefined ? {} : { value }) })
  })

  it('has each server as often as it weighs, shorter names first', () => {
    const servers = [{ name: 'redis-10', weight: 2 }, { name: 'redis-9' }, { name: 'redis-8', weight: 3 }]
    const ring = createRing({ distribution: 'modula', servers })
    for (const key of ['apple', 'key-1', 'test', 'é', 'x']) {
      const { point, index } = explain(ring, key)
      expect(index).toBe([2, 2, 2, 1, 0, 0][point ?? 0])
    }
    expect(ring.placement.shares.map((share) => Math.round(share * 6000))).toEqual([2000, 1000, 3000])
  })
})

it('modula of libmemcached has the servers in the order of the list, whatever they weigh', () => {
  const servers = [{ name: 'redis-10', weight: 2 }, { name: 'redis-9' }, { name: 'redis-8', weight: 3 }]
  const ring = createRing({ distribution: 'libmemcached-modula', servers })
  for (const key of ['apple', 'key-1', 'test', 'é', 'x']) {
    const { value, index } = explain(ring, key)
    expect(index).toBe(Number(value) % 3)
  }
})

describe('the table of weights', () => {
  const weights = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 9 })

  it('is the written-out table', () => {
    fc.assert(
      fc.property(weights, fc.boolean(), (given, reverse) => {
        const servers = given.map((weight, index) => ({ name: `s${index}`, weight }))
        const order = reverse ? [...servers.keys()].reverse() : [...servers.keys()]
        const table = new WeightTable(servers, order)
        const written = order.flatMap((index) => new Array<number>(given[index] ?? 0).fill(index))
        expect(table.total).toBe(written.length)
        expect(written.map((_, place) => table.at(place))).toEqual(written)
        const [first] = table.from(table.total - 1, 1)
        expect(first).toBe(written.at(-1))
      }),
    )
  })

  it('gives the share of hashes that each server gets, also of a range that does not divide', () => {
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 100 }), (given, range) => {
        const servers = given.map((weight, index) => ({ name: `s${index}`, weight }))
        const table = new WeightTable(servers, [...servers.keys()])
        const counts = given.map(() => 0)
        for (let hash = 0; hash < range; hash += 1) {
          const index = table.at(hash % table.total)
          counts[index] = (counts[index] ?? 0) + 1
        }
        expect(table.shares(range)).toEqual(counts.map((count) => count / range))
      }),
    )
  })

  it('says so where 15 bits of crc32 do not reach a server', () => {
    const servers = [{ name: 'a', weight: 40_000 }, { name: 'b' }]
    expect(createRing({ distribution: 'modula', hash: 'crc32', servers }).idle).toEqual(['b'])
    expect(createRing({ distribution: 'modula', servers }).idle).toEqual([])
  })
})
