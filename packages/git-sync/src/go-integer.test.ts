import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseGoInteger } from './go-integer.ts'

describe('an integer is read as Go reads it', () => {
  test.each([
    ['0', 0],
    ['-0', 0],
    ['+7', 7],
    ['-7', -7],
    ['10', 10],
    ['1_000', 1000],
    ['1_2_3', 123],
    ['0x1F', 31],
    ['-0Xff', -255],
    ['0x_1F', 31],
    ['0o17', 15],
    ['0O_17', 15],
    ['017', 15],
    ['0_17', 15],
    ['00', 0],
    ['0b101', 5],
    ['0B_1', 1],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['-9007199254740991', Number.MIN_SAFE_INTEGER],
    [`0x${'0'.repeat(1000)}1`, 1],
  ])('%s', (text, value) => {
    expect(parseGoInteger(text)).toBe(value)
  })

  test.each([
    '',
    '+',
    '-',
    '08',
    '0o8',
    '0b2',
    '0x',
    '0o',
    '0b',
    '0x_',
    '_1',
    '1_',
    '1__0',
    '0_x1',
    '0xg',
    '1.0',
    '1e3',
    ' 1',
    '1 ',
    '--1',
    'x1',
    '\u0661',
    '9007199254740992',
    '9223372036854775808',
    '9'.repeat(100_000),
  ])('%j is none', (text) => {
    expect(() => parseGoInteger(text)).toThrow(/^must be a whole number$/)
  })

  test('whatever its base', () => {
    const bases = fc.constantFrom(
      ...([
        ['', 10],
        ['0x', 16],
        ['0X', 16],
        ['0o', 8],
        ['0', 8],
        ['0b', 2],
      ] as const),
    )
    fc.assert(
      fc.property(fc.maxSafeInteger(), bases, (value, [prefix, base]) => {
        const text = `${value < 0 ? '-' : ''}${prefix}${Math.abs(value).toString(base)}`
        expect(parseGoInteger(text)).toBe(value)
      }),
      { examples: [[0, ['0', 8]]] },
    )
  })
})

test('an integer outside of its range is refused with the range', () => {
  expect(() => parseGoInteger('-1', 0)).toThrow(/^must be a whole number from 0$/)
  expect(() => parseGoInteger('600', 100, 599)).toThrow(/^must be a whole number from 100 to 599$/)
  expect(parseGoInteger('599', 100, 599)).toBe(599)
})
