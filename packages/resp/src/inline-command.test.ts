import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { splitInline } from './inline-command.ts'

const split = (line: string) => splitInline(Buffer.from(line, 'latin1'))?.map((arg) => arg.toString('latin1'))

describe('the arguments of a line', () => {
  test.each([
    ['', []],
    [' \t\v\f\r ', []],
    ['GET a', ['GET', 'a']],
    ['  GET\ta  ', ['GET', 'a']],
    // A carriage return ends an argument; vertical tabs and form feeds do not, though they lie between two.
    ['a\rb', ['a', 'b']],
    ['\va\vb \fc', ['a\vb', 'c']],
    ['""', ['']],
    ['\'\' ""', ['', '']],
    ['"a b" c', ['a b', 'c']],
    ['"a"\v"b"', ['a', 'b']],
    ['a"b c"', ['ab c']],
    ["a'b c'", ['ab c']],
    [String.raw`"\n\r\t\b\a\\\"\q"`, ['\n\r\t\b\x07\\"q']],
    [String.raw`"\x41\xfF\x4g\x"`, ['A\xffx4gx']],
    [String.raw`'\n\'\"'`, [String.raw`\n'\"`]],
    [String.raw`\n\"a"`, [String.raw`\n\a`]],
    [String.raw`a\b`, [String.raw`a\b`]],
    ['"', undefined],
    ["'", undefined],
    ['"a', undefined],
    ['"a\\', undefined],
    ['"a\\"', undefined],
    ["'a\\'", undefined],
    ['"a"b', undefined],
    ["'a'b", undefined],
    ['"a""b"', undefined],
  ])('%j are %j', (line, args) => {
    expect(split(line)).toEqual(args)
  })

  test('are what was quoted', () => {
    const escapes = [
      '\\n',
      '\\r',
      '\\t',
      '\\b',
      '\\a',
      '\\\\',
      '\\"',
      '\\x00',
      '\\xff',
      '\\xAb',
      'a',
      ' ',
      "'",
    ]
    const meant = ['\n', '\r', '\t', '\b', '\x07', '\\', '"', '\0', '\xff', '\xab', 'a', ' ', "'"]
    const parts = fc.array(fc.nat(escapes.length - 1))
    fc.assert(
      fc.property(fc.array(parts), (args) => {
        const line = args.map((arg) => `"${arg.map((index) => escapes[index]).join('')}"`).join(' ')
        expect(split(line)).toEqual(args.map((arg) => arg.map((index) => meant[index]).join('')))
      }),
    )
  })
})
