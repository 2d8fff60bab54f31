import { isIPv6 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressOfBytes, canonicalAddress } from './ip-name.ts'

const zeros = fc.constant(0)
const ipv6 = fc
  .array(fc.oneof(zeros, zeros, fc.integer({ min: 0, max: 255 })), { minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes))

test('an IPv6 address has one spelling, which no other address shares', () => {
  const seen = new Map<string, string>()
  fc.assert(
    fc.property(ipv6, (bytes) => {
      const text = addressOfBytes(bytes) ?? ''
      expect(isIPv6(text)).toBe(true)
      expect(canonicalAddress(text)).toBe(text)
      const hex = bytes.toString('hex')
      expect(seen.get(text) ?? hex).toBe(hex)
      seen.set(text, hex)
      expect(canonicalAddress(hex.toUpperCase().match(/.{4}/g)?.join(':') ?? '')).toBe(text)
    }),
    { numRuns: 1000 },
  )
})

describe('an address is spelled', () => {
  test.each([
    ['10.0.0.1', '10.0.0.1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ])('%s as %s', (text, expected) => expect(canonicalAddress(text)).toBe(expected))

  test.each(['', '10.0.0', '010.0.0.1', '10.0.0.0/8', 'fe80::1%eth0', '[::1]', 'a.test'])(
    '"%s" not at all',
    (text) => {
      expect(canonicalAddress(text)).toBeUndefined()
    },
  )
})

test('four bytes are an IPv4 address, and neither less nor more bytes than 4 or 16 are one', () => {
  expect(addressOfBytes(Buffer.from([10, 0, 0, 1]))).toBe('10.0.0.1')
  for (const length of [0, 3, 5, 8, 15, 17, 32]) expect(addressOfBytes(Buffer.alloc(length))).toBeUndefined()
})
