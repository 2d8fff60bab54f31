import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { goDurationText, parseGoDuration } from './go-duration.ts'

const units = [
  ['ns', 1n],
  ['us', 1000n],
  ['\u00b5s', 1000n],
  ['\u03bcs', 1000n],
  ['ms', 1_000_000n],
  ['s', 1_000_000_000n],
  ['m', 60_000_000_000n],
  ['h', 3_600_000_000_000n],
] as const

describe('a duration is read as Go reads it', () => {
  test.each([
    ['0', 0],
    ['-0', 0],
    ['+0', 0],
    ['5s', 5000],
    ['+5s', 5000],
    ['-5s', -5000],
    ['5.0s', 5000],
    ['5.6s', 5600],
    ['5.s', 5000],
    ['.5s', 500],
    ['1.004s', 1004],
    ['1.0040s', 1004],
    ['100.00100s', 100_001],
    ['10ns', 0.00001],
    ['11us', 0.011],
    ['12\u00b5s', 0.012],
    ['12\u03bcs', 0.012],
    ['13ms', 13],
    ['15m', 900_000],
    ['16h', 57_600_000],
    ['3h30m', 12_600_000],
    ['10.5s4m', 250_500],
    ['-2m3.4s', -123_400],
    ['1h2m3s4ms5us6ns', 3_723_004.005006],
    ['39h9m14.425s', 140_954_425],
    ['52763797000ns', 52_763.797],
    // Beyond what 63 bits hold, further digits of a fraction say nothing.
    ['0.3333333333333333333h', 1_200_000],
    ['0.100000000000000000000h', 360_000],
    ['0.830103483285477580700h', 2_988_372.539827],
    [`0.${'0'.repeat(400)}1h`, 0],
    [`${'0'.repeat(400)}1h`, 3_600_000],
    // 2^63 - 1 nanoseconds, and the one below 0 that has no counterpart.
    ['9223372036854775807ns', 9_223_372_036_854.775],
    ['9223372036854775.807us', 9_223_372_036_854.775],
    ['9223372036s854ms775us807ns', 9_223_372_036_854.775],
    ['-9223372036854775808ns', -9_223_372_036_854.775],
    ['-2562047h47m16.854775808s', -9_223_372_036_854.775],
  ])('%s', (text, ms) => {
    expect(parseGoDuration(text)).toBeCloseTo(ms, 6)
  })

  test.each(['0', '-0', '0s', '-0s'])('%s is zero without a sign', (text) => {
    expect(parseGoDuration(text)).toBe(0)
  })

  test.each([
    '',
    '3',
    '00',
    '-',
    's',
    '.',
    '-.',
    '.s',
    '+.s',
    '1d',
    '1S',
    '1 s',
    ' 1s',
    '1s ',
    '1s2',
    '1.2.3s',
    '--1s',
    '+-1s',
    '1e3s',
    '0x1s',
    '1_0s',
    '\u0661s',
    'constructor',
    '1constructor',
    'infinity',
  ])('%j is none', (text) => {
    expect(() => parseGoDuration(text)).toThrow(/^must be a time with its unit/)
  })

  test.each([
    '9223372036854775808ns',
    '9223372036854775.808us',
    '9223372036854ms775us808ns',
    '3000000h',
    '-9223372036854775809ns',
    `${'9'.repeat(100_000)}ns`,
    `-${'9'.repeat(20)}h`,
    '2562047h48m',
  ])('%s is more than 64 bits hold', (text) => {
    expect(() => parseGoDuration(text)).toThrow(/^must be at most 2562047h/)
  })

  test('whatever its parts are, it is their sum', () => {
    const part = fc.tuple(
      fc.nat(9999),
      fc.option(fc.string({ unit: fc.constantFrom(...'0123456789'), maxLength: 9 })),
      fc.constantFrom(...units),
    )
    fc.assert(
      fc.property(
        fc.array(part, { minLength: 1, maxLength: 6 }),
        fc.constantFrom('', '+', '-'),
        (parts, sign) => {
          const text = parts.map(
            ([whole, rest, [unit]]) => `${whole}${rest === null ? '' : `.${rest}`}${unit}`,
          )
          // Exact where the fraction leaves no part of a nanosecond, and less than one a part where it does.
          const total = parts.reduce((sum, [whole, rest, [, size]]) => {
            const fraction = BigInt(`0${rest ?? ''}`) * size
            return sum + BigInt(whole) * size + fraction / 10n ** BigInt(rest?.length ?? 0)
          }, 0n)
          const read = Math.abs(parseGoDuration(sign + text.join(''))) * 1e6
          expect(Math.abs(read - Number(total))).toBeLessThanOrEqual(parts.length + Number(total) / 2 ** 51)
        },
      ),
    )
  })

  test('no text is anything but a number or an error', () => {
    const alphabet = fc.constantFrom(...'0123456789.+-nuµμsmhx ')
    fc.assert(
      fc.property(fc.string({ unit: alphabet, maxLength: 30 }), (text) => {
        let value: number | undefined
        try {
          value = parseGoDuration(text)
        } catch (error) {
          expect(String(error)).toMatch(/^Error: must be /)
        }
        if (value !== undefined) expect(Number.isFinite(value)).toBe(true)
      }),
    )
  })
})

describe('a duration is shown as Go shows it', () => {
  test.each([
    [0, '0s'],
    [-0, '0s'],
    [0.000001, '1ns'],
    [0.0011, '1.1\u00b5s'],
    [2.2, '2.2ms'],
    [300, '300ms'],
    [1000, '1s'],
    [1500, '1.5s'],
    [90_000, '1m30s'],
    [120_000, '2m0s'],
    [245_001, '4m5.001s'],
    [3_600_000, '1h0m0s'],
    [18_367_001, '5h6m7.001s'],
    [-1500, '-1.5s'],
    [0.0000001, '0s'],
  ])('%d ms', (ms, text) => {
    expect(goDurationText(ms)).toBe(text)
  })

  test('and read again as the same', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 50), max: 2 ** 50 }), (ns) => {
        expect(parseGoDuration(goDurationText(ns / 1e6))).toBe(ns / 1e6 || 0)
      }),
    )
  })
})
