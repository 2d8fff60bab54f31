import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decimal } from './decimal.ts'

const read = (text: string) => decimal(Buffer.from(`1${text}1`, 'latin1'), 1, 1 + text.length)

test('a signed 64-bit number is read', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -99n, max: 99n })),
      (value) => {
        expect(
          Number.isSafeInteger(Number(value)) ? read(String(value)) : Math.sign(read(String(value))),
        ).toBe(Number.isSafeInteger(Number(value)) ? Number(value) : value > 0n ? 1 : -1)
      },
    ),
    { examples: [[2n ** 63n - 1n], [-(2n ** 63n)], [0n], [10n ** 18n]] },
  )
})

test('a number beyond 64 bits is none', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 2n ** 63n, max: 2n ** 80n }), (value) => {
      expect([read(String(value)), read(String(-value - 1n))]).toEqual([Number.NaN, Number.NaN])
    }),
    { examples: [[2n ** 63n], [10n ** 19n]] },
  )
})

test.each([
  '',
  '-',
  '+1',
  '-0',
  '00',
  '01',
  '-01',
  ' 1',
  '1 ',
  '1.0',
  '0x1',
  '1e3',
  '--1',
  '1-',
  '\x001',
  '1\xb2',
  '/',
  ':',
])('%j is no number', (text) => {
  expect(read(text)).toBeNaN()
})
