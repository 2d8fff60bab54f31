import fc from 'fast-check'
import { expect, it } from 'vitest'
import { asBigInt, multiply, murmur64A, u64 } from './u64.ts'

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })

it('a product is that of BigInt modulo 2^64', () => {
  fc.assert(
    fc.property(int32, int32, int32, int32, (high, low, byHigh, byLow) => {
      multiply(high, low, byHigh, byLow)
      const product = asBigInt(high, low) * asBigInt(byHigh, byLow)
      expect(asBigInt(u64.high, u64.low)).toBe(BigInt.asUintN(64, product))
    }),
    { examples: [[-1, -1, -1, -1]], numRuns: 1000 },
  )
})

// Jedis hashes with this seed, and reads the result as signed.
it.each([
  ['SHARD-0-NODE-0', -4813603235750630532n],
  ['apple', 9094078805541179799n],
])('murmur64A of %s is that of Jedis', (text, expected) => {
  const bytes = Buffer.from(text)
  murmur64A(bytes, 0, bytes.length, 0x1234abcd)
  expect(BigInt.asIntN(64, asBigInt(u64.high, u64.low))).toBe(expected)
})

it('murmur64A is the published algorithm at every length and for any seed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(2 ** 32 - 1), (bytes, seed) => {
      murmur64A(bytes, 0, bytes.length, seed)
      expect(asBigInt(u64.high, u64.low)).toBe(slowMurmur64A(bytes, BigInt(seed)))
    }),
  )
})

function slowMurmur64A(bytes: Uint8Array, seed: bigint): bigint {
  const times = (value: bigint) => BigInt.asUintN(64, value * 0xc6a4a7935bd1e995n)
  let hash = seed ^ times(BigInt(bytes.length))
  for (let at = 0; at < bytes.length; at += 8) {
    const part = [...bytes.subarray(at, at + 8)]
    const block = part.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
    if (part.length < 8) hash = times(hash ^ block)
    else hash = times(hash ^ times(times(block) ^ (times(block) >> 47n)))
  }
  hash = times(hash ^ (hash >> 47n))
  return hash ^ (hash >> 47n)
}
