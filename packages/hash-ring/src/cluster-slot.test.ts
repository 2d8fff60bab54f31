import { describe, expect, it } from 'vitest'
import { clusterSlot } from './cluster-slot.ts'
import { createRing } from './distribution.ts'
import { explain } from './explain.ts'
import { named, someKeys } from './test-support.ts'

const slotOf = (key: string): number => {
  const bytes = Buffer.from(key)
  return clusterSlot(bytes, 0, bytes.length)
}

it.each([
  ['foo', 12182],
  ['bar', 5061],
  ['hello', 866],
  ['123456789', 12739],
  ['{user1000}.following', 3443],
  ['{user1000}.followers', 3443],
  ['foo{}{bar}', 8363],
  ['foo{{bar}}zap', 4015],
  ['foo{bar}{zap}', 5061],
  ['', 0],
])('%s is in slot %d of a Redis Cluster', (key, slot) => {
  expect(slotOf(key)).toBe(slot)
})

describe('servers of a Redis Cluster', () => {
  it('without slots have those that redis-cli would deal out', () => {
    const ring = createRing({ distribution: 'redis-cluster', servers: named('s', 3) })
    const ends = (key: string) => explain(ring, key).point
    expect([ends('bar'), ends('foo{}{bar}'), ends('foo')]).toEqual([5460, 10922, 16383])
    expect(ring.placement.shares.map((share) => share * 16384)).toEqual([5461, 5462, 5461])
  })

  it('serve the slots that they are given', () => {
    const servers = [
      { name: 'a', slots: [[0, 99] as const, [200, 16383] as const] },
      { name: 'b', slots: [[100, 199] as const] },
      { name: 'c', slots: [] },
    ]
    const ring = createRing({ distribution: 'redis-cluster', servers })
    for (const key of someKeys(3000)) {
      const slot = slotOf(key)
      expect(ring.indexOfKey(key)).toBe(slot >= 100 && slot <= 199 ? 1 : 0)
    }
    expect(ring.idle).toEqual(['c'])
  })

  it('are split evenly by any number of them', () => {
    for (const count of [1, 2, 5, 7, 1000, 16384]) {
      const servers = named('s', count)
      const { shares } = createRing({ distribution: 'redis-cluster', servers }).placement
      const slots = shares.map((share) => share * 16384)
      expect(Math.max(...slots) - Math.min(...slots)).toBeLessThanOrEqual(1)
      expect(slots.reduce((sum, slot) => sum + slot)).toBe(16384)
    }
  })

  it.each([
    [[[0, 16384]], /server a has the slots 0-16384: must be a range within 0-16383/],
    [[[-1, 5]], /server a has the slots -1-5/],
    [[[5, 4]], /server a has the slots 5-4/],
    [[[0.5, 4]], /server a has the slots 0.5-4/],
    [[[0, 16382]], /slot 16383 has no server/],
    [
      [
        [0, 16383],
        [7, 8],
      ],
      /slot 7 is given to a and to a/,
    ],
  ] as [[number, number][], RegExp][])('slots %j are refused', (slots, message) => {
    expect(() => createRing({ distribution: 'redis-cluster', servers: [{ name: 'a', slots }] })).toThrow(
      message,
    )
  })
})
