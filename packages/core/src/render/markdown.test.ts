import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cell, code, table } from './markdown.ts'

describe('a table', () => {
  it('is as Markdown wants it', () => {
    expect(
      table(
        ['A', 'B'],
        [
          ['1', '2'],
          ['3', '4'],
        ],
      ),
    ).toBe('| A | B |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |')
  })

  it('keeps its rows and columns, whatever the cells hold', () => {
    const anyCell = fc.string({ unit: fc.constantFrom('a', '|', '\n', '\r', ' ') })
    fc.assert(
      fc.property(fc.array(fc.tuple(anyCell, anyCell)), (rows) => {
        const lines = table(['A', 'B'], rows).split(/[\n\r]/)
        expect(lines).toHaveLength(rows.length + 2)
        for (const line of lines) expect(line.match(/(?<!\\)\|/g)).toHaveLength(3)
      }),
    )
  })
})

it('a cell keeps its text but for bars and line breaks', () => {
  expect(cell('fast|safe\nand *more*')).toBe('fast\\|safe and *more*')
})

it.each([
  ['64KiB', '`64KiB`'],
  ['a `b` c', '`` a `b` c ``'],
  ['``', '``` `` ```'],
])('%s as code is %s', (text, markdown) => {
  expect(code(text)).toBe(markdown)
})
