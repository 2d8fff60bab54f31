import { expect, test } from 'vitest'
import { parseGoBool } from './go-bool.ts'

test.each(['1', 't', 'T', 'TRUE', 'true', 'True'])('%s is on', (text) => {
  expect(parseGoBool(text)).toBe(true)
})

test.each(['0', 'f', 'F', 'FALSE', 'false', 'False'])('%s is off', (text) => {
  expect(parseGoBool(text)).toBe(false)
})

test.each(['', 'yes', 'no', 'on', 'off', 'tRUE', ' true', '2', '-1', 'null'])('%j is refused', (text) => {
  expect(() => parseGoBool(text)).toThrow(/^must be true or false/)
})
