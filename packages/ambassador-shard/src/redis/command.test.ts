import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import {
  arityFault,
  COMMANDS,
  type Command,
  commandOf,
  hasArity,
  isForeign,
  isWord,
  lookup,
  unknownFault,
} from './command.ts'
import { ADMIN, BLOCKING, COMMAND_ROWS, NO_AUTH, READONLY, WRITE } from './command-table.ts'
import { sent } from './test-support.ts'

const find = (text: string): Command | undefined => {
  const bytes = Buffer.from(`${text}~${text}`, 'latin1')
  return lookup(bytes, text.length + 1, bytes.length)
}
const resolve = (...words: string[]): Command | undefined => {
  const { args, bytes, start } = sent(words)
  return commandOf(args, bytes, start)
}
const fault = (...words: string[]): string => {
  const { args, bytes, start } = sent(words)
  return unknownFault(args, bytes, start)
}

const tops = COMMANDS.filter(({ name }) => !name.includes('|'))
const names = new Set(tops.map(({ name }) => name))
const anyCase = (name: string) =>
  fc
    .array(fc.boolean(), { minLength: name.length, maxLength: name.length })
    .map((upper) => [...name].map((each, at) => (upper[at] ? each.toUpperCase() : each)).join(''))

describe('lookup', () => {
  it('finds every command of the table in any case', () => {
    const named = fc
      .constantFrom(...tops)
      .chain((command) => anyCase(command.name).map((text) => ({ command, text })))
    fc.assert(
      fc.property(named, ({ command, text }) => {
        expect(find(text)).toBe(command)
      }),
    )
    for (const command of tops) expect(find(command.name.toUpperCase())).toBe(command)
  })

  it('finds every subcommand of the table in any case, and no subcommand of another container', () => {
    for (const container of tops) {
      for (const child of COMMANDS.filter(({ name }) => name.includes('|'))) {
        const [parent = '', own = ''] = child.name.split('|')
        const found = resolve(container.name, own.toUpperCase())
        if (container.name === parent) expect(found).toBe(child)
        else if (container.subcommands !== undefined)
          expect(found === undefined || found.name !== child.name).toBe(true)
        else expect(found).toBe(container)
      }
    }
  })

  it('finds nothing under any other name', () => {
    const near = fc
      .tuple(fc.constantFrom(...names), fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1))
      .map(([name, at, byte, removed]) => {
        const position = at % (name.length + 1)
        return name.slice(0, position) + String.fromCharCode(byte) + name.slice(position + removed)
      })
    const other = fc.oneof(
      near,
      fc.string({ unit: 'binary', maxLength: 30 }).map((text) => latin1(text)),
    )
    fc.assert(
      fc.property(other, (text) => {
        fc.pre(!names.has(text.toLowerCase()))
        expect(find(text)).toBeUndefined()
      }),
      { numRuns: 5_000 },
    )
  })

  test.each([
    '',
    'ge',
    'gett',
    'get\0',
    '\0get',
    ' get',
    'g\xc5t',
    'host:',
    'config|get',
    'bitfield\x7fro',
    'georadiusbymember_roo',
  ])('%j is no command', (text) => expect(find(text)).toBeUndefined())

  it('takes a byte for a small letter only where it is its capital', () => {
    const word = Buffer.from('count-failure_reports@`')
    fc.assert(
      fc.property(fc.nat(word.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const changed = Buffer.from(word)
        changed[at] = byte
        const same = changed.toString('latin1').replace(/[A-Z]/g, (letter) => letter.toLowerCase())
        expect(isWord(changed, 0, changed.length, word)).toBe(same === word.toString('latin1'))
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('a container', () => {
  it('is itself only where nothing follows it', () => {
    expect(resolve('config')?.name).toBe('config')
    expect(resolve('CONFIG', 'Get', 'x')?.name).toBe('config|get')
    expect(resolve('config', 'gets')).toBeUndefined()
    expect(resolve('config', '')).toBeUndefined()
    expect(resolve('command')?.name).toBe('command')
    expect(resolve('command', 'docs')?.name).toBe('command|docs')
  })

  it('other commands do not look at their first argument', () => {
    expect(resolve('get', 'config')?.name).toBe('get')
    expect(resolve('debug', 'object', 'k')?.name).toBe('debug')
  })
})

describe('the table', () => {
  it('has every name once', () => {
    const all = COMMAND_ROWS.map(([name]) => name)
    expect(new Set(all).size).toBe(all.length)
    expect(COMMANDS.map(({ name }) => name).sort()).toEqual([...all].sort())
  })

  it('has all commands of Redis 7.0, and those added by 7.2 and 7.4', () => {
    const later = COMMANDS.filter(({ since }) => Number.parseFloat(since) > 7).map(({ name }) => name)
    expect(COMMANDS.length - later.length).toBe(366)
    expect(later.sort()).toEqual([
      ...['client|no-touch', 'client|setinfo', 'cluster|myshardid', 'hexpire', 'hexpireat', 'hexpiretime'],
      ...['hpersist', 'hpexpire', 'hpexpireat', 'hpexpiretime', 'hpttl', 'httl', 'waitaof'],
    ])
  })

  it('no command both writes and only reads', () => {
    expect(COMMANDS.filter(({ flags }) => (flags & WRITE) !== 0 && (flags & READONLY) !== 0)).toEqual([])
  })

  it('before AUTH only what is needed for it is allowed', () => {
    const early = COMMANDS.filter(({ flags }) => (flags & NO_AUTH) !== 0).map(({ name }) => name)
    expect(early.sort()).toEqual(['auth', 'hello', 'quit', 'reset'])
  })

  it.each([
    ['get', READONLY],
    ['set', WRITE],
    ['blpop', WRITE | BLOCKING],
    ['xread', READONLY | BLOCKING],
    ['pfdebug', WRITE | ADMIN],
    ['eval', 0],
  ])('%s has the flags %i', (name, flags) => {
    expect(find(name)?.flags).toBe(flags)
  })

  it('a single key is one that is always there, at a fixed place', () => {
    const single = (name: string) => COMMANDS.find((command) => command.name === name)?.singleKey
    expect({ get: single('get'), object: single('object|freq'), xgroup: single('xgroup|create') }).toEqual({
      ...{ get: 1, object: 2, xgroup: 2 },
    })
    for (const name of ['mget', 'eval', 'sort', 'copy', 'rename', 'ping', 'georadius', 'zunionstore'])
      expect(single(name)).toBe(0)
  })
})

describe('arity', () => {
  it('a positive one is exact, a negative one the lowest', () => {
    for (const command of COMMANDS) {
      for (let argc = 1; argc < 12; argc += 1) {
        const right = command.arity > 0 ? argc === command.arity : argc >= Math.abs(command.arity)
        expect(hasArity(command, argc)).toBe(right)
      }
    }
  })

  it('the error names a subcommand with its container, and EXEC says that it ended the transaction', () => {
    const faultOf = (name: string) => COMMANDS.filter((command) => command.name === name).map(arityFault)
    expect(faultOf('get')).toEqual(["ERR wrong number of arguments for 'get' command"])
    expect(faultOf('exec')).toEqual([
      "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
    ])
    expect(faultOf('config|get')).toEqual(["ERR wrong number of arguments for 'config|get' command"])
  })
})

describe('an unknown command', () => {
  it('is named with the first of its arguments', () => {
    expect(fault('foo')).toBe("ERR unknown command 'foo', with args beginning with: ")
    expect(fault('FOO', 'a', '', 'c d')).toBe(
      "ERR unknown command 'FOO', with args beginning with: 'a' '' 'c d' ",
    )
  })

  it('of a container is named with the way to help', () => {
    expect(fault('config', 'Foo', 'x')).toBe("ERR unknown subcommand 'Foo'. Try CONFIG HELP.")
  })

  it('shows at most 128 bytes of a name, and stops listing arguments after as many', () => {
    expect(fault('f'.repeat(200), 'a')).toBe(
      `ERR unknown command '${'f'.repeat(128)}', with args beginning with: 'a' `,
    )
    expect(fault('foo', 'a'.repeat(60), 'b'.repeat(200), 'c')).toBe(
      `ERR unknown command 'foo', with args beginning with: '${'a'.repeat(60)}' '${'b'.repeat(65)}' `,
    )
    expect(fault('foo', ...new Array<string>(1_000).fill('a')).length).toBeLessThan(200)
  })

  it('cannot end the line of the error or say more than Redis does', () => {
    expect(fault('a\r\n+OK\r\nb', 'x\0y')).toBe(
      "ERR unknown command 'a  +OK  b', with args beginning with: 'x' ",
    )
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }).map(latin1), { minLength: 1 }), (words) => {
        expect(fault(...words)).not.toMatch(/[\r\n\0]/)
      }),
    )
  })
})

it('the first line of an HTTP request is known as such', () => {
  const foreign = (text: string) => isForeign(Buffer.from(text), 0, text.length)
  expect(['POST', 'post', 'Host:', 'GET', 'host', 'posts', ''].map(foreign)).toEqual([
    ...[true, true, true, false, false, false, false],
  ])
})

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1')
}
