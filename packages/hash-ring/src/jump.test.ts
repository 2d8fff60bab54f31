import fc from 'fast-check'
import { expect, it } from 'vitest'
import { jump } from './jump.ts'

it.each([
  [1, 1, 0],
  [42, 57, 43],
  [0xdead10cc, 666, 361],
  [256, 1024, 520],
])('the key %d of %d buckets is in %d, as in the paper and its ports', (key, buckets, expected) => {
  expect(jump(0, key, buckets)).toBe(expected)
})

it('a key stays in its bucket or moves to the one that is new', () => {
  fc.assert(
    fc.property(
      fc.nat(2 ** 32 - 1),
      fc.nat(2 ** 32 - 1),
      fc.integer({ min: 1, max: 5000 }),
      (high, low, n) => {
        expect([jump(high, low, n), n]).toContain(jump(high, low, n + 1))
      },
    ),
  )
})

it('the buckets are those of the published algorithm for any key of 64 bits', () => {
  const key = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
  fc.assert(
    fc.property(key, fc.integer({ min: 1, max: 100_000 }), (given, buckets) => {
      let [bucket, next, state] = [0, 0, given]
      while (next < buckets) {
        bucket = next
        state = BigInt.asUintN(64, state * 2862933555777941757n + 1n)
        next = Math.floor((bucket + 1) * (2 ** 31 / (Number(state >> 33n) + 1)))
      }
      expect(jump(Number(given >> 32n), Number(given & 0xffffffffn), buckets)).toBe(bucket)
    }),
    // The product of this key ends in 32 ones, so that the one that is added carries over.
    { examples: [[0x78ac67a666313abn, 100_000]] },
  )
})
