import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CharSign, hashBytes, isKeyHashName, KEY_HASHES, type KeyHashName, keyHash } from './key-hash.ts'

const PANGRAM = 'The quick brown fox jumps over the lazy dog'

// From twemproxy 0.5: `apple`, the pangram, `aé` in UTF-8 with signed chars and with unsigned ones.
const REFERENCE: readonly [KeyHashName, number, number, number, number][] = [
  ['one_at_a_time', 2297466611, 1369346549, 3142447148, 4233319060],
  ['md5', 3195025439, 2642219166, 1406832402, 1406832402],
  ['crc16', 3662830516, 581169352, 2094123935, 2094123935],
  ['crc32', 10542, 16719, 31113, 31113],
  ['crc32a', 2838417488, 1095738169, 4186564548, 4186564548],
  ['fnv1_64', 473199127, 2112060110, 1806695890, 1806606290],
  ['fnv1a_64', 1488911807, 3890508048, 76647292, 58161532],
  ['fnv1_32', 67176023, 3922226286, 1922857330, 2761738098],
  ['fnv1a_32', 280767167, 76545936, 4256212988, 2044174844],
  ['hsieh', 3738850110, 471461527, 1950942766, 290850120],
  ['murmur', 4142305122, 818385189, 4254904285, 4254904285],
  ['jenkins', 1442444624, 314054204, 570445145, 570445145],
]

function hashOf(name: KeyHashName, text: string, charSign?: CharSign): number {
  const bytes = Buffer.from(text)
  return hashBytes(name, bytes, 0, bytes.length, charSign) >>> 0
}

describe.each(REFERENCE)('%s', (name, apple, pangram, signed, unsigned) => {
  it('gives what twemproxy gives', () => {
    expect([hashOf(name, 'apple'), hashOf(name, PANGRAM)]).toEqual([apple, pangram])
  })

  it('gives what twemproxy gives beyond ASCII, by the sign of a char', () => {
    expect(hashOf(name, 'aé')).toBe(signed)
    expect(hashOf(name, 'aé', 'signed')).toBe(signed)
    expect(hashOf(name, 'aé', 'unsigned')).toBe(unsigned)
  })

  it('sees the range alone, wherever it stands', () => {
    const bytes = fc.uint8Array({ maxLength: 40 })
    const sign = fc.constantFrom<CharSign>('signed', 'unsigned')
    fc.assert(
      fc.property(bytes, bytes, bytes, sign, (before, key, after, charSign) => {
        const around = Buffer.concat([before, key, after])
        const alone = hashBytes(name, key, 0, key.length, charSign)
        expect(hashBytes(name, around, before.length, before.length + key.length, charSign)).toBe(alone)
        expect(alone | 0).toBe(alone)
      }),
    )
  })
})

it('fnv1a_64 of a lone é', () => {
  expect(hashOf('fnv1a_64', 'é')).toBe(3033280513)
  expect(hashOf('fnv1a_64', 'é', 'unsigned')).toBe(3071811073)
})

it('an empty key is 0 for every hash, as twemproxy calls none', () => {
  for (const name of KEY_HASHES) {
    if (!isKeyHashName(name)) throw new Error(name)
    expect(keyHash(name).of(Buffer.from('ab'), 1, 1)).toBe(0)
  }
})

it('there are the twelve names of twemproxy and no other', () => {
  expect([...KEY_HASHES].sort()).toEqual(REFERENCE.map(([name]) => name).sort())
  expect(['murmur64a', 'constructor', 'MD5', ''].filter(isKeyHashName)).toEqual([])
})

it('hashes stay below the range that they state', () => {
  fc.assert(
    fc.property(fc.constantFrom(...REFERENCE), fc.uint8Array({ minLength: 1 }), ([name], key) => {
      const hash = keyHash(name)
      expect(hash.of(key, 0, key.length) >>> 0).toBeLessThan(hash.range)
    }),
  )
  expect(keyHash('crc32').range).toBe(32768)
})
