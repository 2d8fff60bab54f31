import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { COMMANDS, type Command, commandOf } from './command.ts'
import { KeyList, keysOf } from './command-keys.ts'
import { sent, validCommands } from './test-support.ts'

/** Positions of the keys, or the fault. */
function keys(text: string | readonly string[], out = new KeyList()): number[] | string {
  const words = typeof text === 'string' ? text.split(' ').map((each) => (each === "''" ? '' : each)) : text
  const { args, bytes, start } = sent(words)
  const command = commandOf(args, bytes, start)
  if (command === undefined) throw new Error(`${words[0]} is no command`)
  const count = keysOf(command, args, bytes, start, out)
  expect(count).toBe(out.fault === '' ? out.count : -1)
  return count < 0 ? out.fault : [...out.positions.subarray(0, count)]
}

describe('keys at fixed places', () => {
  test.each<[string, number[]]>([
    ['ping', []],
    ['config get x', []],
    ['get k', [1]],
    ['set k v EX 10', [1]],
    ['rename a b', [1, 2]],
    ['mget a b c', [1, 2, 3]],
    ['mset a 1 b 2', [1, 3]],
    ['msetnx a 1', [1]],
    ['blpop a b 0', [1, 2]],
    ['blmove a b left right 0', [1, 2]],
    ['bitop and d a b', [2, 3, 4]],
    ['pfmerge d', [1]],
    ['pfcount a b', [1, 2]],
    ['smove a b m', [1, 2]],
    ['zrangestore d s 0 -1', [1, 2]],
    ['geosearchstore d s frommember m bybox 1 1 m', [1, 2]],
    ['lcs a b LEN', [1, 2]],
    ['object encoding k', [2]],
    ['object help', []],
    ['memory usage k samples 5', [2]],
    ['xgroup create k g $', [2]],
    ['xinfo stream k full', [2]],
    ['hexpire k 10 fields 1 f', [1]],
    ['pfdebug getreg k', [2]],
    ['watch a b', [1, 2]],
    ['ssubscribe a b', [1, 2]],
    ['sunsubscribe', []],
    ['spublish c m', [1]],
    ['copy a b replace', [1, 2]],
  ])('%s', (text, expected) => expect(keys(text)).toEqual(expected))
})

describe('keys counted by an argument', () => {
  test.each<[string, number[]]>([
    ['eval s 0', []],
    ['eval s 0 a b', []],
    ['EVAL s 2 a b c', [3, 4]],
    ['eval_ro s 1 a', [3]],
    ['evalsha s 1 a', [3]],
    ['fcall f 2 a b', [3, 4]],
    ['fcall_ro f 0 x', []],
    ['zunionstore d 2 a b weights 1 2', [1, 3, 4]],
    ['zinterstore d 1 a', [1, 3]],
    ['zdiffstore d 1 a', [1, 3]],
    ['zunion 2 a b withscores', [2, 3]],
    ['zinter 1 a', [2]],
    ['zdiff 1 a', [2]],
    ['zintercard 2 a b limit 1', [2, 3]],
    ['sintercard 2 a b', [2, 3]],
    ['lmpop 2 a b left count 1', [2, 3]],
    ['zmpop 1 a min', [2]],
    ['blmpop 0 2 a b left', [3, 4]],
    ['bzmpop 0 1 a max', [3]],
  ])('%s', (text, expected) => expect(keys(text)).toEqual(expected))

  const notInteger = 'ERR value is not an integer or out of range'
  const tooMany = "ERR Number of keys can't be greater than number of args"
  const positive = 'ERR numkeys should be greater than 0'
  const sha = '0123456789012345678901234567890123456789'
  test.each<[string, string]>([
    ['eval s x', notInteger],
    ['eval s 2 a', tooMany],
    ['eval s -1 a', "ERR Number of keys can't be negative"],
    ['eval s 01 a', notInteger],
    ['eval s +1 a', notInteger],
    ['eval s -0 a', notInteger],
    ["eval s '' a", notInteger],
    ['eval s - a', notInteger],
    ['eval s 1.0 a', notInteger],
    ['eval s 9223372036854775807 a', tooMany],
    ['eval s 9223372036854775808 a', notInteger],
    ['eval s -9223372036854775808 a', "ERR Number of keys can't be negative"],
    ['eval s -9223372036854775809 a', notInteger],
    ['eval s 100000000000000000000000000 a', notInteger],
    ['evalsha short 2 a', 'NOSCRIPT No matching script. Please use EVAL.'],
    [`evalsha ${sha} 2 a`, tooMany],
    ['fcall f x', 'ERR Bad number of keys provided'],
    ['fcall f 2 a', tooMany],
    ['zunionstore d 0 a', "ERR at least 1 input key is needed for 'zunionstore' command"],
    ['zinter -1 a', "ERR at least 1 input key is needed for 'zinter' command"],
    ['zdiff x a', notInteger],
    ['zunion 2 a', 'ERR syntax error'],
    ['sintercard 0 a', positive],
    ['sintercard x a', positive],
    ['sintercard 2 a', tooMany],
    ['lmpop 0 a left', positive],
    ['lmpop 2 a left', 'ERR syntax error'],
    ['blmpop 0 x a left', positive],
    ['bzmpop 0 2 a max', 'ERR syntax error'],
  ])('%s is refused: %s', (text, expected) => expect(keys(text)).toBe(expected))
})

describe('streams', () => {
  test.each<[string, number[]]>([
    ['xread streams a 0', [2]],
    ['XREAD COUNT 2 BLOCK 0 STREAMS a b 0 0', [6, 7]],
    ['xread streams streams streams 0 0', [2, 3]],
    ['xreadgroup group g c streams a >', [5]],
    ['xreadgroup group streams streams count 1 noack streams a b > >', [8, 9]],
    // `COMMAND GETKEYS` finds the name of the consumer here, and would send the command elsewhere.
    ['xreadgroup count 1 group g streams streams a >', [7]],
    ['xreadgroup count 1 group streams c streams a >', [7]],
  ])('%s', (text, expected) => expect(keys(text)).toEqual(expected))

  const unbalanced =
    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
  test.each<[string, string]>([
    ['xread streams a b 0', unbalanced],
    ['xreadgroup streams a b c d e', unbalanced],
    ['xread count x streams a 0', 'ERR value is not an integer or out of range'],
    ['xread block x streams a 0', 'ERR timeout is not an integer or out of range'],
    ['xread block -1 streams a 0', 'ERR timeout is negative'],
    ['xread foo bar streams a 0', 'ERR syntax error'],
    ['xread count 1 block 0', 'ERR syntax error'],
    ['xread count 1 streams', 'ERR syntax error'],
    [
      'xread group g c streams a 0',
      'ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.',
    ],
    [
      'xread noack streams a 0',
      'ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.',
    ],
    ['xreadgroup count 1 noack streams a 0', 'ERR Missing GROUP option for XREADGROUP'],
  ])('%s is refused: %s', (text, expected) => expect(keys(text)).toBe(expected))
})

describe('SORT', () => {
  test.each<[string, number[], string]>([
    ['sort k', [1], 'keys'],
    ['sort k limit 0 10 asc alpha store d', [1, 8], 'keys'],
    ['sort k store a store b', [1, 5], 'keys'],
    ['sort k by store store d', [1, 5], 'keys'],
    ['sort k get store', [1], 'keys'],
    ['sort k by nosort get # desc', [1], 'keys'],
    ['sort k by weight_* store d', [1, 5], 'patterns'],
    ['sort k get # get obj_*->name', [1], 'patterns'],
    ['sort_ro k by *', [1], 'patterns'],
  ])('%s', (text, expected, reach) => {
    const out = new KeyList()
    expect(keys(text, out)).toEqual(expected)
    expect(out.reach).toBe(reach)
  })

  test.each<[string, string]>([
    ['sort k store', 'ERR syntax error'],
    ['sort k foo', 'ERR syntax error'],
    ['sort k limit 0', 'ERR syntax error'],
    ['sort k limit 0 x foo', 'ERR value is not an integer or out of range'],
    ['sort_ro k store d', 'ERR syntax error'],
  ])('%s is refused: %s', (text, expected) => expect(keys(text)).toBe(expected))
})

describe('options that name keys', () => {
  test.each<[string, number[]]>([
    ['georadius k 1 2 3 m', [1]],
    ['georadius k 1 2 3 m count 1 asc store d', [1, 10]],
    ['georadius k store store 3 m', [1]],
    ['georadius k 1 2 3 m storedist d', [1, 7]],
    ['georadius k 1 2 3 m store a storedist b', [1, 9]],
    ['georadius k 1 2 3 m count store store d', [1, 9]],
    ['georadiusbymember k m 3 m store d', [1, 6]],
    ['georadiusbymember k store 3 m', [1]],
    ['georadius_ro k 1 2 3 m', [1]],
    ['migrate h 1 k 0 10', [3]],
    ["migrate h 1 '' 0 10 copy auth keys keys a b", [10, 11]],
    ["migrate h 1 '' 0 10 AUTH2 keys keys REPLACE KEYS a", [11]],
  ])('%s', (text, expected) => expect(keys(text)).toEqual(expected))

  test.each<[string, string]>([
    ['copy a b foo', 'ERR syntax error'],
    ['copy a b db', 'ERR syntax error'],
    ["migrate h 1 '' 0 10 foo", 'ERR syntax error'],
    [
      'migrate h 1 k 0 10 keys a',
      'ERR When using MIGRATE KEYS option, the key argument must be set to the empty string',
    ],
  ])('%s is refused: %s', (text, expected) => expect(keys(text)).toBe(expected))

  it('COPY into another database is told from COPY within one', () => {
    const out = new KeyList()
    expect(keys('copy db db db 1', out)).toEqual([1, 2])
    expect(out.reach).toBe('database')
    expect(keys('copy db db replace', out)).toEqual([1, 2])
    expect(out.reach).toBe('keys')
  })
})

describe('a wrong number of arguments', () => {
  test.each<[string, string]>([
    ['get', 'get'],
    ['get a b', 'get'],
    ['mget', 'mget'],
    ['mset a 1 b', 'mset'],
    ['msetnx a 1 b', 'msetnx'],
    ['eval s', 'eval'],
    ['object freq', 'object|freq'],
    ['xgroup', 'xgroup'],
    ['xread streams a', 'xread'],
    ['ping', ''],
  ])('%s: %s', (text, name) =>
    expect(keys(text)).toEqual(name === '' ? [] : `ERR wrong number of arguments for '${name}' command`),
  )
})

it('commands that may wait for a key are told from those that do not', () => {
  const blocks = (text: string) => {
    const out = new KeyList()
    out.blocks = true
    keys(text, out)
    return out.blocks
  }
  expect(blocks('blpop a 0')).toBe(true)
  expect(blocks('blmpop 0 1 a left')).toBe(true)
  expect(blocks('xread block 0 streams a 0')).toBe(true)
  expect(blocks('xreadgroup group g c block 5 streams a >')).toBe(true)
  expect(blocks('xread count 1 streams a 0')).toBe(false)
  expect(blocks('lpop a')).toBe(false)
})

const any = fc.constantFrom(...COMMANDS)

it('the keys of every valid command are found, whatever else its words are', () => {
  const valid = any.chain((command) => fc.tuple(fc.constant(command), validCommands(command)))
  const out = new KeyList()
  fc.assert(
    fc.property(valid, ([command, { words, keys: expected }]) => {
      const { args, bytes, start } = sent(words)
      expect([keysOf(command, args, bytes, start, out), out.fault]).toEqual([expected.length, ''])
      expect([...out.positions.subarray(0, out.count)]).toEqual(expected)
    }),
    { numRuns: 5_000 },
  )
})

it('no command, however malformed, gives a position that is not one of its arguments, or one twice', () => {
  const words = fc.array(
    fc.oneof(
      fc.constantFrom('streams', 'store', 'by', 'get', 'limit', 'group', 'block', 'count', 'keys', 'db', ''),
      fc.constantFrom('0', '1', '2', '-1', '3', '99', '9223372036854775807', 'a*', '#'),
      fc.string({ unit: 'binary', maxLength: 4 }).map((text) => Buffer.from(text).toString('latin1')),
    ),
    { maxLength: 14 },
  )
  const out = new KeyList()
  fc.assert(
    fc.property(any, words, (command: Command, rest) => {
      const { args, bytes, start } = sent([...command.name.split('|'), ...rest])
      const count = keysOf(command, args, bytes, start, out)
      const found = [...out.positions.subarray(0, out.count)]
      expect(count).toBe(out.fault === '' ? found.length : -1)
      expect(out.fault === '' || found.length === 0).toBe(true)
      expect(found.every((at) => at >= 1 && at < args.argc)).toBe(true)
      expect(new Set(found).size).toBe(found.length)
    }),
    { numRuns: 10_000 },
  )
})

it('a list that has held a huge command is small again after the next', () => {
  const out = new KeyList()
  expect(keys(['mget', ...new Array<string>(100_000).fill('k')], out)).toHaveLength(100_000)
  expect(keys('get k', out)).toEqual([1])
  expect(out.positions.length).toBeLessThan(1_000)
})

it('a number of keys that is announced but not sent needs no memory', () => {
  const out = new KeyList()
  expect(keys('eval s 4000000000 a', out)).toContain("can't be greater")
  expect(out.positions.length).toBeLessThan(1_000)
})
