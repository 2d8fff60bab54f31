import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { COMMAND_LIMITS, type CommandLimits, CommandReader } from './command-reader.ts'
import { encodeCommand } from './encode.ts'
import { bytes, changed, changes, cuts, ends, everywhere } from './test-support.ts'

/** What a stream says, read as it grows by these pieces; each time in a buffer that has other bytes around it. */
function read(
  stream: string,
  at: readonly number[] = [],
  limits: Partial<CommandLimits> = {},
  authenticated = true,
) {
  const reader = new CommandReader(limits)
  reader.authenticated = authenticated
  const result = { commands: [] as string[][], empty: 0, fault: '', rest: '' }
  let start = 0
  let wanted = -1
  for (const end of ends(stream.length, at)) {
    const part = stream.slice(start, end)
    const held = Buffer.from(`$1\r\n${part}\r\n$1\r\n1\r\n`, 'latin1')
    let from = 4
    for (;;) {
      const progress = reader.read(held, from, 4 + part.length)
      if (progress === 'more') {
        if (reader.wanted >= 0) {
          expect(reader.wanted).toBeGreaterThan(4 + part.length - from)
          wanted = reader.wanted
        }
        break
      }
      if (progress === 'fault') {
        // A connection that has failed stays so.
        expect(reader.read(held, from, 4 + part.length)).toBe('fault')
        return { ...result, fault: reader.fault }
      }
      expect(reader.length).toBeGreaterThan(0)
      if (progress === 'empty') {
        result.empty += 1
      } else {
        const frame = reader.inline ? reader.encoded : held.subarray(from, from + reader.length)
        const args = Array.from({ length: reader.argc }, (_, index) =>
          frame.toString('latin1', reader.argStart(index), reader.argEnd(index)),
        )
        if (reader.inline) expect(frame).toEqual(encodeCommand(args.map((arg) => Buffer.from(arg, 'latin1'))))
        else expect(reader.length).toBeGreaterThanOrEqual(wanted)
        result.commands.push(args)
      }
      wanted = -1
      from += reader.length
    }
    start += from - 4
  }
  return { ...result, rest: stream.slice(start) }
}

const multibulk = (...args: string[]) =>
  encodeCommand(args.map((arg) => Buffer.from(arg, 'latin1'))).toString('latin1')

const anyCommand = fc.array(bytes(40), { minLength: 1, maxLength: 6 })
const quoted = (arg: string) =>
  `"${arg.replace(/[^ -~]|["\\]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)}"`

/** A stream of commands in both forms, with what Redis passes over between them. */
const stream = fc
  .array(
    fc.tuple(
      anyCommand,
      fc.boolean(),
      fc.constantFrom('', '', '', '\r\n', '\n', '*0\r\n', '*-1\r\n', ' \t\n'),
    ),
    {
      minLength: 1,
      maxLength: 6,
    },
  )
  .map((parts) => ({
    text: parts
      .map(([args, inline, before]) =>
        inline ? `${before}${args.map(quoted).join(' ')}\r\n` : before + multibulk(...args),
      )
      .join(''),
    commands: parts.map(([args]) => args),
  }))

const TIGHT: Partial<CommandLimits> = { bulkBytes: 30, args: 5, inlineBytes: 60, commandBytes: 90 }

describe('commands', () => {
  test('are the same wherever the stream is cut', () => {
    fc.assert(
      fc.property(stream, cuts(400), ({ text, commands }, at) => {
        expect(read(text, at)).toMatchObject({ commands, fault: '', rest: '' })
      }),
      { numRuns: 2_000 },
    )
  })

  test('are the same byte by byte', () => {
    fc.assert(
      fc.property(stream, ({ text, commands }) => {
        expect(read(text, everywhere(text))).toMatchObject({ commands, fault: '', rest: '' })
      }),
      { numRuns: 300 },
    )
  })

  test('that are changed anywhere never throw, and fail the same wherever they are cut', () => {
    const tried = fc.oneof(
      fc.tuple(stream, changes).map(([{ text }, edits]) => changed(text, edits)),
      bytes(100),
    )
    fc.assert(
      fc.property(tried, cuts(400), fc.constantFrom({}, TIGHT), fc.boolean(), (text, at, limits, known) => {
        const whole = read(text, [], limits, known)
        expect(read(text, at, limits, known)).toEqual(whole)
        expect(read(text, everywhere(text), limits, known)).toEqual(whole)
      }),
      { numRuns: 5_000 },
    )
  })

  test('of no bytes are waited for', () => {
    expect(new CommandReader().read(Buffer.from('PING\r\n'), 3, 3)).toBe('more')
  })

  test.each([
    ['an empty line', '\r\n'],
    ['a line feed alone', '\n'],
    ['a line of spaces', ' \t \r\n'],
    ['no arguments', '*0\r\n'],
    ['less than no arguments', '*-1\r\n'],
    ['as few arguments as can be said', '*-9223372036854775808\r\n'],
  ])('%s is passed over, and nothing is to be answered', (_, text) => {
    expect(read(`${text}PING\r\n`)).toEqual({ commands: [['PING']], empty: 1, fault: '', rest: '' })
  })

  test('say how many bytes they need as soon as they announce it', () => {
    const reader = new CommandReader()
    const text = Buffer.from('*2\r\n$3\r\nGET\r\n$1000\r\nab')
    const known = [4, 7, 8, 12, 13, 18, 19, 20, 21].map((end) => {
      expect(reader.read(text, 0, end)).toBe('more')
      return reader.wanted
    })
    expect(known).toEqual([-1, -1, 13, 13, -1, -1, -1, 1022, 1022])
  })
})

describe('a stream that Redis refuses is refused in its words', () => {
  test.each([
    ['a count that is none', '*x\r\n', 'invalid multibulk length'],
    ['no count', '*\r\n', 'invalid multibulk length'],
    ['a count with a plus', '*+1\r\n', 'invalid multibulk length'],
    ['a count with a zero before it', '*01\r\n', 'invalid multibulk length'],
    ['a count of minus zero', '*-0\r\n', 'invalid multibulk length'],
    ['a count with a space', '*1 \r\n', 'invalid multibulk length'],
    ['a count beyond the limit', '*1048577\r\n', 'invalid multibulk length'],
    ['a count beyond 64 bits', '*9223372036854775808\r\n', 'invalid multibulk length'],
    ['a negative count beyond 64 bits', '*-9223372036854775809\r\n', 'invalid multibulk length'],
    ['a count without end', `*${'1'.repeat(65_536)}`, 'too big mbulk count string'],
    [
      'a NUL in the count, which ends what Redis sees',
      `*1\0${'\r\n'.repeat(40_000)}`,
      'too big mbulk count string',
    ],
    ['an argument that is no bulk', '*1\r\n:1\r\n', "expected '$', got ':'"],
    ['an empty line for an argument', '*1\r\n\r\n', "expected '$', got ' '"],
    ['a length that is none', '*1\r\n$x\r\n', 'invalid bulk length'],
    ['no length', '*1\r\n$\r\n', 'invalid bulk length'],
    ['a length with a zero before it', '*1\r\n$04\r\nPING\r\n', 'invalid bulk length'],
    ['a negative length', '*1\r\n$-1\r\n', 'invalid bulk length'],
    ['a length beyond the limit', '*1\r\n$536870913\r\n', 'invalid bulk length'],
    ['10 GB', '*1\r\n$10000000000\r\n', 'invalid bulk length'],
    ['a length beyond 64 bits', '*1\r\n$9223372036854775808\r\n', 'invalid bulk length'],
    ['a length without end', `*1\r\n$${'1'.repeat(65_536)}`, 'too big bulk count string'],
    ['a line without end', 'x'.repeat(65_537), 'too big inline request'],
    ['a line of a byte more than the limit', `${'x'.repeat(65_537)}\n`, 'too big inline request'],
    ['a NUL in a line', `GET \0${'\r\n'.repeat(40_000)}`, 'too big inline request'],
    ['a quote that is not closed', 'GET "a\r\n', 'unbalanced quotes in request'],
    ['an apostrophe that is not closed', "GET 'a\r\n", 'unbalanced quotes in request'],
    ['something behind a closing quote', 'GET "a"b\r\n', 'unbalanced quotes in request'],
  ])('%s', (_, text, reason) => {
    expect(read(`PING\r\n${text}`)).toMatchObject({
      commands: [['PING']],
      fault: `Protocol error: ${reason}`,
    })
  })

  test.each([
    ['a count', '*11\r\n', 'unauthenticated multibulk length'],
    ['a count beyond the limit for all', '*1048577\r\n', 'invalid multibulk length'],
    ['a length', '*1\r\n$16385\r\n', 'unauthenticated bulk length'],
    ['a length beyond the limit for all', '*1\r\n$536870913\r\n', 'invalid bulk length'],
  ])('%s, from a client that has not said who it is', (_, text, reason) => {
    expect(read(text, [], {}, false).fault).toBe(`Protocol error: ${reason}`)
  })

  test('what is as long as may be is read', () => {
    const args = Array.from({ length: 10 }, () => 'x'.repeat(16_384))
    expect(read(multibulk(...args), [], {}, false).commands).toEqual([args])
    expect(read(`${'x'.repeat(65_536)}\n`).commands).toEqual([['x'.repeat(65_536)]])
  })
})

describe('beyond Redis', () => {
  test.each([
    ['a count', '*1\rX$4\r\nPING\r\n'],
    ['a length', '*1\r\n$4\rXPING\r\n'],
    ['an argument', '*1\r\n$4\r\nPINGX\n'],
    ['an argument, shorter than it is', '*1\r\n$4\r\nPING\rX'],
  ])('%s must end with CR LF: a server that looks would see other commands', (_, text) => {
    expect(read(text).fault).toBe('Protocol error: expected CRLF')
  })

  test('a command is refused as soon as it announces more bytes than one may have', () => {
    const limits = { commandBytes: 50 }
    expect(read(multibulk('SET', 'x'.repeat(25)), [], limits)).toMatchObject({ fault: '', rest: '' })
    const fault = 'Protocol error: a command of more than 50 bytes'
    expect(read('*2\r\n$3\r\nSET\r\n$31\r\n', [], limits).fault).toBe(fault)
    expect(read(`*9\r\n${'$1\r\na\r\n'.repeat(9)}`, [], limits).fault).toBe(fault)
  })

  test('a limit that is lower than before authentication holds there, too', () => {
    const fault = 'Protocol error: invalid bulk length'
    for (const text of ['*1\r\n$31\r\n', '*1\r\n$031\r\n', '*1\r\n$31\rX'])
      for (const known of [true, false])
        for (const at of [[], everywhere(text)])
          expect(read(text, at, { bulkBytes: 30 }, known).fault).toBe(fault)
    expect(read(multibulk('x'.repeat(30)), [], { bulkBytes: 30 }, false).commands).toHaveLength(1)
  })

  test('a limit that offsets cannot hold is refused', () => {
    expect(() => new CommandReader({ commandBytes: 2 ** 31 })).toThrow(
      'commandBytes is 2147483648: it must be at most 2147483647',
    )
  })

  test('limits can change between two commands', () => {
    const reader = new CommandReader({ args: 2 })
    const text = Buffer.from(multibulk('AUTH', 'secret') + multibulk('SET', 'a', 'b'))
    expect(reader.read(text, 0, text.length)).toBe('command')
    reader.limits = COMMAND_LIMITS
    expect(reader.read(text, reader.length, text.length)).toBe('command')
    expect(reader.argc).toBe(3)
  })

  test('an inline command has no more arguments than another', () => {
    expect(read('a b c d e f\r\n', [], { args: 5 }).fault).toBe('Protocol error: too big inline request')
  })
})

describe('memory', () => {
  const heldBy = (work: () => void): number => {
    globalThis.gc?.()
    const before = process.memoryUsage().arrayBuffers
    work()
    return process.memoryUsage().arrayBuffers - before
  }

  test('a count that is announced takes none', () => {
    const text = Buffer.from('*1048576\r\n$1\r\na\r\n')
    const readers = Array.from({ length: 100 }, () => new CommandReader())
    const readAll = () => {
      for (const reader of readers) expect(reader.read(text, 0, text.length)).toBe('more')
    }
    expect(heldBy(readAll)).toBeLessThan(1_000)
  })

  test('a million arguments are read, and what they took is given up', () => {
    const reader = new CommandReader()
    const text = Buffer.from(`*1048576\r\n${'$1\r\na\r\n'.repeat(1_048_576)}*1\r\n$4\r\nPING\r\n`)
    expect(reader.read(text, 0, text.length)).toBe('command')
    expect([reader.argc, reader.argStart(1_048_575), reader.argEnd(1_048_575)]).toEqual([
      1_048_576,
      10 + 1_048_576 * 7 - 3,
      10 + 1_048_576 * 7 - 2,
    ])
    const { length } = reader
    reader.release()
    expect(reader.argStart(1_048_575)).toBe(0)
    expect(reader.read(text, length, text.length)).toBe('command')
    expect([reader.argStart(0), reader.argEnd(0)]).toEqual([8, 12])
  })

  test('the next command gives it up, too', () => {
    const reader = new CommandReader()
    const many = multibulk(...Array.from({ length: 2_000 }, () => 'a'))
    const text = Buffer.from(many + multibulk('PING'))
    expect(reader.read(text, 0, text.length)).toBe('command')
    expect(reader.argEnd(1_999)).toBe(many.length - 2)
    expect(reader.read(text, many.length, text.length)).toBe('command')
    expect(reader.argEnd(1_999)).toBe(0)
  })
})
