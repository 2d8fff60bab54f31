import { expect, it } from 'vitest'
import { parseYaml } from './yaml-file.ts'

it('all scalars are text, whatever they look like', () => {
  expect(parseYaml('a: 007\nb: true\nc: [1, null]\n').value).toEqual({
    a: '007',
    b: 'true',
    c: ['1', 'null'],
  })
})

it('says where a value stands, and where the nearest one does that is there', () => {
  const file = parseYaml('shards:\n  - name: one\n    weight: x\n')
  expect(file.where(['shards', 0, 'weight'])).toBe('line 3, column 13')
  expect(file.where(['shards', 0, 'address'])).toBe('line 2, column 5')
  expect(file.where([])).toBe('line 1, column 1')
})

it.each([
  ['a: [1', /^line 1, column \d+: /],
  ['a: 1\na: 2\n', /^line 2, column 1: Map keys must be unique/],
  ['a: 1\n---\nb: 2\n', /^line \d, column \d+: /],
  ['\ta: 1\n', /^line 1, column \d+: /],
])('what is no YAML is refused by line and column: %j', (text, says) => {
  expect(() => parseYaml(text)).toThrow(says)
})

it('aliases that would make much of little are refused', () => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
  for (let level = 1; level < 10; level += 1)
    lines.push(`a${level}: &a${level} [${new Array(10).fill(`*a${level - 1}`).join(', ')}]`)
  expect(() => parseYaml(lines.join('\n'))).toThrow(/alias/i)
})

it.each([
  '*hunter2',
  '!hunter2',
  '!a!hunter2',
  '!!hunter2',
  '|hunter2',
  '>hunter2',
  '"\\Uhunter2"',
  '% hunter2',
  '@hunter2',
])('a file that may hold passwords is not quoted when it cannot be read: %s', (password) => {
  expect(() => parseYaml(`- a\n- default: ${password}\n`)).toThrow(/^line 2, column \d+: (?!.*hunter)/)
})

it('nor is a line that is a directive', () => {
  expect(() => parseYaml('%hunter2 x\n---\na: b\n')).toThrow(/^line 1, column 1: (?!.*hunter)/)
})
