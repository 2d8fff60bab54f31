import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BoundedLoad } from './bounded.ts'
import { createRing, DISTRIBUTIONS, isDistribution } from './distribution.ts'
import { named } from './test-support.ts'

const everyDistribution = fc.constantFrom(...DISTRIBUTIONS.filter(isDistribution))

function take(load: BoundedLoad, key: string): number {
  const bytes = Buffer.from(key)
  return load.take(bytes, 0, bytes.length)
}

it('no server ever has more than the factor times the average, rounded up, over any ring', () => {
  const events = fc.array(fc.record({ key: fc.nat(5), release: fc.boolean() }), { maxLength: 100 })
  fc.assert(
    fc.property(
      everyDistribution,
      fc.integer({ min: 1, max: 9 }),
      fc.double({ min: 1, max: 3, noNaN: true }),
      events,
      (distribution, count, factor, given) => {
        const load = new BoundedLoad(createRing({ distribution, servers: named('s', count) }), factor)
        const taken: number[] = []
        for (const { key, release } of given) {
          const done = release ? taken.pop() : undefined
          if (done !== undefined) load.release(done)
          else {
            const index = take(load, `key:${key}`)
            taken.push(index)
            // The average counts the one that has just come.
            const allowed = Math.ceil(factor * load.total * (1 / count))
            expect(load.loads[index]).toBeLessThanOrEqual(allowed)
          }
          expect(load.total).toBe(taken.length)
        }
      },
    ),
  )
})

it('a factor of 1 splits evenly, even where all ask for one key', () => {
  const load = new BoundedLoad(createRing({ distribution: 'ketama', servers: named('s', 5) }), 1)
  for (let turn = 0; turn < 50; turn += 1) take(load, 'hot')
  expect([...load.loads]).toEqual([10, 10, 10, 10, 10])
})

it('a key is at home while there is room, and then at its successors in their order', () => {
  const ring = createRing({ distribution: 'ketama', servers: named('s', 4) })
  const load = new BoundedLoad(ring, 2)
  const bytes = Buffer.from('hot')
  const order = ring.successors(bytes, 0, 3, 4)
  // ceil(2 * total / 4): each place is open to the key as the total grows.
  const expected = [0, 1, 0, 1, 0, 1, 0, 1].map((step) => order[step])
  expect(Array.from({ length: 8 }, () => take(load, 'hot'))).toEqual(expected)
  for (const index of expected) load.release(index ?? -1)
  expect(take(load, 'hot')).toBe(order[0])
})

it('a server of three times the weight may have three times as much', () => {
  const servers = [{ name: 'a', weight: 3 }, { name: 'b' }]
  const load = new BoundedLoad(createRing({ distribution: 'ketama', servers }), 1)
  for (let turn = 0; turn < 400; turn += 1) take(load, `key:${turn}`)
  expect([...load.loads]).toEqual([300, 100])
})

it('a server to which no key goes counts for nothing in the average', () => {
  const servers = [
    { name: 'a', slots: [[0, 8191] as const] },
    { name: 'b', slots: [[8192, 16383] as const] },
    { name: 'idle', slots: [] },
  ]
  const load = new BoundedLoad(createRing({ distribution: 'redis-cluster', servers }), 1)
  for (let turn = 0; turn < 100; turn += 1) take(load, 'hot')
  expect([...load.loads]).toEqual([50, 50, 0])
})

it('what was not taken cannot be released', () => {
  const load = new BoundedLoad(createRing({ distribution: 'jump', servers: named('s', 2) }), 1.5)
  load.release(take(load, 'a'))
  expect(() => load.release(0)).toThrow('server 0 is released more often than it was taken')
  expect(load.total).toBe(0)
})

it.each([0.99, 0, -1, Number.NaN])('the factor %d is refused', (factor) => {
  const ring = createRing({ distribution: 'jump', servers: named('s', 2) })
  expect(() => new BoundedLoad(ring, factor)).toThrow(`load factor ${factor}: must be a number from 1`)
})
