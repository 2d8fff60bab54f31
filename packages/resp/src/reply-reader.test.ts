import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeArrayHeader } from './encode.ts'
import { elements, type Reply, readReply } from './reply-reader.ts'
import { bytes, changed, changes, reply } from './test-support.ts'

/** Reads a reply that has other bytes around it. */
function read(text: string): Reply | undefined {
  const held = Buffer.from(`+a\r\n${text}+b\r\n`, 'latin1')
  return readReply(held, 4, 4 + text.length)
}

/** The same in the plain values of `reply`. */
function plain(reply: Reply | undefined): unknown {
  if (reply === undefined) return undefined
  const { attributes, ...bare } = reply
  if (attributes !== undefined) return { attributes: { '|': attributes.flat().map(plain) }, of: plain(bare) }
  switch (reply.type) {
    case 'simple':
    case 'bulk':
      return reply.bytes.toString('latin1')
    case 'error':
      return { error: reply.bytes.toString('latin1') }
    case 'verbatim':
      return { [reply.format]: reply.bytes.toString('latin1') }
    case 'null':
      return null
    case 'double':
      return { double: reply.value }
    case 'bignumber':
      return { big: reply.value }
    case 'array':
      return { '*': reply.elements.map(plain) }
    case 'set':
      return { '~': reply.elements.map(plain) }
    case 'push':
      return { '>': reply.elements.map(plain) }
    case 'map':
      return { '%': reply.entries.flat().map(plain) }
    default:
      return reply.value
  }
}

/** The ranges of elements, as text. */
function parts(text: string): string[] | undefined {
  const held = Buffer.from(`+a\r\n${text}+b\r\n`, 'latin1')
  const ranges = elements(held, 4, 4 + text.length)
  if (ranges === undefined) return undefined
  return Array.from({ length: ranges.length / 2 }, (_, index) =>
    held.toString('latin1', ranges[2 * index], ranges[2 * index + 1]),
  )
}

describe('the value of a reply', () => {
  test('is what was encoded, attributes and streamed parts included', () => {
    fc.assert(
      fc.property(reply, ({ text, value }) => {
        expect(plain(read(text))).toEqual(value)
      }),
      { numRuns: 3_000 },
    )
  })

  test('of text is a piece of the bytes that came, not a copy', () => {
    const held = Buffer.from('*2\r\n$1\r\na\r\n+b\r\n')
    const value = readReply(held, 0, held.length)
    const [first, second] = value?.type === 'array' ? value.elements : []
    held.fill('x')
    expect([first, second].map(plain)).toEqual(['x', 'x'])
  })

  test.each([
    [':9007199254740991', 2 ** 53 - 1],
    [':9007199254740992', 2n ** 53n],
    [':-9223372036854775808', -(2n ** 63n)],
    [',inf', { double: Infinity }],
    [',-inf', { double: -Infinity }],
    [',-nan', { double: Number.NaN }],
    [',1.50E+2', { double: 150 }],
    ['(-3492890328409238509324850943850943825024385', { big: -3492890328409238509324850943850943825024385n }],
  ])('of %s is %s', (text, value) => {
    expect(plain(read(`${text}\r\n`))).toEqual(value)
  })

  test('is undefined where the bytes are not just one reply, whole and sound', () => {
    for (const text of ['', '+OK', '+OK\r', '+OK\r\n+OK\r\n', '$3\r\nabcd\r\n', '*1\r\n', 'OK\r\n'])
      expect(read(text)).toBeUndefined()
  })

  test('is undefined where there are more than 128 levels', () => {
    expect(read(`${'*1\r\n'.repeat(128)}_\r\n`)).toBeDefined()
    expect(read(`${'*1\r\n'.repeat(129)}_\r\n`)).toBeUndefined()
  })

  test('is read of no bytes without a throw', () => {
    const tried = fc.oneof(
      fc.tuple(reply, changes).map(([{ text }, edits]) => changed(text, edits)),
      bytes(60),
    )
    fc.assert(
      fc.property(tried, (text) => {
        const value = read(text)
        const ranges = parts(text)
        // What has elements is a value, too, unless it is too deep for that.
        if (value === undefined) expect(ranges).toBeUndefined()
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('the elements of an aggregate', () => {
  test('are its parts as they came', () => {
    const list = fc.array(reply, { maxLength: 6 }).map((all) => all.map(({ text }) => text))
    fc.assert(
      fc.property(
        list,
        fc.constantFrom('*', '~', '>', '|1\r\n+ttl\r\n:1\r\n*', '|0\r\n|1\r\n*0\r\n%0\r\n*'),
        (list, type) => {
          expect(parts(`${type}${list.length}\r\n${list.join('')}`)).toEqual(list)
          if (type === '*') expect(parts(`*?\r\n${list.join('')}.\r\n`)).toEqual(list)
          const even = list.slice(list.length % 2)
          expect(parts(`%${even.length / 2}\r\n${even.join('')}`)).toEqual(even)
        },
      ),
      { numRuns: 1_000 },
    )
  })

  test('joined anew are the reply of one server', () => {
    const [first, second] = ['*2\r\n$1\r\na\r\n$-1\r\n', '*1\r\n$1\r\nb\r\n']
    const joined = [parts(second)?.[0], ...(parts(first) ?? [])]
    expect(encodeArrayHeader(3) + joined.join('')).toBe('*3\r\n$1\r\nb\r\n$1\r\na\r\n$-1\r\n')
  })

  test.each([
    '+OK\r\n',
    '-ERR\r\n',
    '$-1\r\n',
    '*-1\r\n',
    '_\r\n',
    '$1\r\na\r\n',
    '*1\r\n',
    '*1\r\n_\r\n_\r\n',
    '',
  ])('are undefined in %j', (text) => {
    expect(parts(text)).toBeUndefined()
  })
})
