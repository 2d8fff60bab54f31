import fc from 'fast-check'
import type { Arguments, Command } from './command.ts'

export interface Sent {
  readonly args: Arguments
  readonly bytes: Buffer
  /** The first byte of the command in `bytes`: something else stands before it. */
  readonly start: number
}

/** A command as the reader of the protocol shows it, in the middle of a buffer. */
export function sent(words: readonly string[]): Sent {
  const pieces: Buffer[] = [Buffer.from(`+before\r\n*${words.length}\r\n`)]
  const start = '+before\r\n'.length
  const starts: number[] = []
  const ends: number[] = []
  let length = pieces[0]?.length ?? 0
  for (const word of words) {
    const body = Buffer.from(word, 'latin1')
    const head = Buffer.from(`$${body.length}\r\n`)
    starts.push(length + head.length - start)
    ends.push(length + head.length + body.length - start)
    pieces.push(head, body, Buffer.from('\r\n'))
    length += head.length + body.length + 2
  }
  const args = {
    argc: words.length,
    argStart: (index: number) => starts[index] ?? Number.NaN,
    argEnd: (index: number) => ends[index] ?? Number.NaN,
  }
  return { args, bytes: Buffer.concat([...pieces, Buffer.from('*1\r\n')]), start }
}

/** A command that Redis could carry out, and where its keys are. */
export interface ValidCommand {
  readonly words: readonly string[]
  /** Positions, ascending. */
  readonly keys: readonly number[]
}

const key = fc.string({ unit: fc.constantFrom('k', 'e', '{', '}', '*', ' ', '\0', '\n'), maxLength: 6 })
// Words that are options elsewhere: a position is decided by the grammar, never by a search.
const anything = fc.constantFrom(
  'streams',
  'STORE',
  'keys',
  'get',
  'by',
  'block',
  'db',
  '0',
  '1',
  '#',
  'x',
  '',
)
const maybe = (...words: fc.Arbitrary<string>[]) => fc.option(fc.tuple(...words), { nil: [] as string[] })
const cased = (word: string) => fc.constantFrom(word, word.toUpperCase())
const integer = fc.integer({ min: 0, max: 99 }).map(String)

/** Commands of a kind that are right in their number of arguments, their numbers and their options. */
export function validCommands(command: Command): fc.Arbitrary<ValidCommand> {
  const name = command.name.split('|')
  const { rule, first, last, step, numkeys } = command.keys
  const lowest = Math.abs(command.arity)
  const counted = (behind: fc.Arbitrary<string>, atLeast: number) =>
    fc
      .tuple(
        fc.array(key, { minLength: numkeys - name.length, maxLength: numkeys - name.length }),
        fc.array(key, { minLength: 1, maxLength: 5 }),
        fc.array(behind, { minLength: atLeast, maxLength: 4 }),
      )
      .map(([before, keys, more]) => ({
        words: [...name, ...before, String(keys.length), ...keys, ...more],
        keys: [...(first === 0 ? [] : [first]), ...keys.map((_, index) => numkeys + 1 + index)],
      }))
  switch (rule) {
    case 'none':
      return argumentsFor(command).map((rest) => ({ words: [...name, ...rest], keys: [] }))
    case 'range':
      return argumentsFor(command).map((rest) => {
        const words = [...name, ...rest]
        const end = last < 0 ? words.length + last : last
        return { words, keys: words.map((_, at) => at).filter((at) => at >= first && at <= end) }
      })
    case 'pairs':
      return fc.array(fc.tuple(key, anything), { minLength: 1, maxLength: 5 }).map((pairs) => ({
        words: [...name, ...pairs.flat()],
        keys: pairs.map((_, index) => first + step * index),
      }))
    case 'script':
    case 'function':
      return counted(anything, 0)
    case 'sha':
      return counted(anything, 0).map(({ words: [verb = '', , ...rest], keys }) => ({
        words: [verb, '0123456789abcdef0123456789abcdef01234567', ...rest],
        keys,
      }))
    case 'zset':
    case 'card':
      return counted(fc.constant('withscores'), 0)
    case 'pop':
      return counted(fc.constant('left'), 1)
    case 'streams': {
      const group = fc
        .tuple(cased('group'), anything, anything)
        .map((words) => (name[0] === 'xreadgroup' ? words : []))
      const options = fc.tuple(
        group,
        maybe(cased('count'), integer),
        maybe(cased('block'), integer),
        cased('streams').map((word) => [word]),
      )
      return fc.tuple(options, fc.array(key, { minLength: 1, maxLength: 4 })).map(([before, streams]) => {
        const words = [...name, ...before.flat()]
        return {
          words: [...words, ...streams, ...streams.map(() => '0')],
          keys: streams.map((_, index) => words.length + index),
        }
      })
    }
    case 'sort': {
      const store = maybe(cased('store'), key).map((words) => (name[0] === 'sort' ? words : []))
      const options = fc.tuple(
        maybe(cased('by'), anything),
        maybe(cased('limit'), integer, integer),
        maybe(cased('get'), anything),
        fc.constantFrom([], ['asc'], ['DESC', 'alpha']),
      )
      return fc.tuple(key, options, store).map(([sorted, before, stored]) => {
        const words = [...name, sorted, ...before.flat(), ...stored]
        return { words, keys: stored.length === 0 ? [1] : [1, words.length - 1] }
      })
    }
    case 'georadius': {
      const place = fc.array(integer, { minLength: lowest - 2, maxLength: lowest - 2 })
      const options = fc.tuple(
        fc.constantFrom([], ['asc'], ['withdist', 'DESC']),
        maybe(cased('count'), integer),
        fc.oneof(maybe(cased('store'), key), maybe(cased('storedist'), key)),
      )
      return fc.tuple(key, place, options).map(([places, at, [order, count, stored]]) => {
        const words = [...name, places, ...at, ...order, ...count, ...stored]
        return { words, keys: stored.length === 0 ? [1] : [1, words.length - 1] }
      })
    }
    case 'copy':
      return fc
        .tuple(key, key, maybe(cased('db'), integer), fc.constantFrom([], ['replace'], ['REPLACE']))
        .map(([from, to, database, replace]) => ({
          words: [...name, from, to, ...database, ...replace],
          keys: [1, 2],
        }))
    case 'migrate': {
      const options = fc.tuple(
        fc.constantFrom([], ['copy'], ['REPLACE']),
        fc.constantFrom([], ['auth', 'keys'], ['AUTH2', 'keys', 'auth']),
      )
      const oneKey = fc.tuple(key, options).map(([moved, more]) => ({
        words: [...name, 'h', '1', `k${moved}`, '0', '9', ...more.flat()],
        keys: [3],
      }))
      const several = fc
        .tuple(options, cased('keys'), fc.array(key, { minLength: 1, maxLength: 3 }))
        .map(([more, option, moved]) => {
          const words = [...name, 'h', '1', '', '0', '9', ...more.flat(), option]
          return { words: [...words, ...moved], keys: moved.map((_, index) => words.length + index) }
        })
      return fc.oneof(oneKey, several)
    }
  }
}

/** As many as the arity allows. */
function argumentsFor({ name, arity }: Command): fc.Arbitrary<string[]> {
  const given = name.split('|').length
  const fewest = Math.max(0, Math.abs(arity) - given)
  return fc.array(fc.oneof(key, anything), { minLength: fewest, maxLength: arity < 0 ? fewest + 4 : fewest })
}
