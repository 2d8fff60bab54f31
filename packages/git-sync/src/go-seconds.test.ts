import { describe, expect, test } from 'vitest'
import { timeoutText, waitText } from './go-seconds.ts'

describe('--wait', () => {
  test.each([
    ['30', '30s'],
    ['0.5', '500ms'],
    ['.5', '500ms'],
    ['+1.', '1s'],
    ['1e2', '1m40s'],
    ['90.25', '1m30.25s'],
    // Cut off at milliseconds, not rounded.
    ['0.0109', '10ms'],
    ['0.0001', '0s'],
  ])('%s seconds are %s', (text, duration) => {
    expect(waitText(text)).toBe(duration)
  })

  test.each(['0', '0.0', '0e9'])('%s leaves --period as it is', (text) => {
    expect(waitText(text)).toBe('')
  })

  test.each(['', '-1', '1s', 'inf', 'NaN', '.', 'e1', '1e999', '99999999999', ' 1', '0x1p4'])(
    '%j is refused',
    (text) => {
      expect(() => waitText(text)).toThrow(/^must be a number of seconds/)
    },
  )
})

describe('--timeout', () => {
  test.each([
    ['120', '2m0s'],
    ['0x10', '16s'],
  ])('%s seconds are %s', (text, duration) => {
    expect(timeoutText(text)).toBe(duration)
  })

  test('0 leaves --sync-timeout as it is', () => {
    expect(timeoutText('0')).toBe('')
  })

  test.each(['', '1.5', '10s', '-1', '99999999999'])('%j is refused', (text) => {
    expect(() => timeoutText(text)).toThrow(/^must be a whole number from 0/)
  })
})
