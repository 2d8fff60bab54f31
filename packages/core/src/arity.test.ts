import { expect, it } from 'vitest'
import { arityOf } from './arity.ts'

const endless = Number.POSITIVE_INFINITY

it.each([
  ['', 0, 0],
  ['<key>', 1, 1],
  ['<key>...', 1, endless],
  ['[key]...', 0, endless],
  ['<old.yml> <new.yml>', 2, 2],
  ['<old> <new> [report]', 2, 3],
  ['<rules> [a] [b]...', 1, endless],
])('%j takes from %i to %d arguments', (usage, least, most) => {
  expect(arityOf(usage)).toEqual({ least, most })
})

it.each(['key', '<key', '<a>... <b>', '[a] <b>', '[a]... [b]', '...', '<a b>', '--all', '<a>|<b>'])(
  '%j is no usage',
  (usage) => {
    expect(arityOf(usage)).toBeUndefined()
  },
)
