import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { encodeCommand, type Reply, ReplyScanner, readReply } from '@outrider/resp'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  COMMANDS,
  type Command,
  commandOf,
  unknownFault,
} from '../../packages/ambassador-shard/src/redis/command.ts'
import { KeyList, keysOf } from '../../packages/ambassador-shard/src/redis/command-keys.ts'
import {
  ADMIN,
  BLOCKING,
  NO_AUTH,
  PUBSUB,
  READONLY,
  WRITE,
} from '../../packages/ambassador-shard/src/redis/command-table.ts'
import { sent, validCommands } from '../../packages/ambassador-shard/src/redis/test-support.ts'
import { type Redis, startRedis } from '../support/redis.ts'

const SAMPLES = 30

let redis: Redis
let socket: Socket

beforeAll(async () => {
  redis = await startRedis()
  socket = connect(redis.port, redis.host)
  await once(socket, 'connect')
})
afterAll(async () => {
  socket.destroy()
  await redis[Symbol.asyncDispose]()
})

/** Sends all commands at once; resolves with their replies, in order. */
async function ask(commands: readonly (readonly string[])[]): Promise<Reply[]> {
  const scanner = new ReplyScanner()
  const replies: Reply[] = []
  let kept: Buffer = Buffer.alloc(0)
  socket.write(Buffer.concat(commands.map((words) => encodeCommand(words.map(latin1)))))
  while (replies.length < commands.length) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    let at = 0
    for (;;) {
      const end = scanner.scan(chunk, at, chunk.length)
      if (scanner.fault !== '') throw new Error(scanner.fault)
      const piece = chunk.subarray(at, end < 0 ? chunk.length : end)
      kept = Buffer.concat([kept, piece])
      if (end < 0) break
      const reply = readReply(kept, 0, kept.length)
      if (reply === undefined) throw new Error(`no reply: ${kept.toString('latin1')}`)
      replies.push(reply)
      kept = Buffer.alloc(0)
      at = end
    }
  }
  return replies
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

function text(reply: Reply | undefined): string {
  if (reply === undefined || !('bytes' in reply)) throw new Error(`no text: ${JSON.stringify(reply)}`)
  return reply.bytes.toString('latin1')
}

function list(reply: Reply | undefined): readonly Reply[] {
  if (reply === undefined || !('elements' in reply)) throw new Error(`no array: ${JSON.stringify(reply)}`)
  return reply.elements
}

const number = (reply: Reply | undefined): number =>
  reply?.type === 'integer' ? Number(reply.value) : Number.NaN

interface Row {
  name: string
  arity: number
  flags: number
  keys: readonly number[]
}

const FLAGS: Record<string, number> = {
  ...{ write: WRITE, readonly: READONLY, blocking: BLOCKING, pubsub: PUBSUB, admin: ADMIN, no_auth: NO_AUTH },
}

function rows(reply: Reply | undefined): Row[] {
  return list(reply).flatMap((entry) => {
    const [name, arity, flags, first, last, step, , , , subcommands] = list(entry)
    const bits = list(flags).reduce((all, flag) => all | (FLAGS[text(flag)] ?? 0), 0)
    const own = { name: text(name), arity: number(arity), flags: bits, keys: [first, last, step].map(number) }
    return [own, ...rows(subcommands)]
  })
}

/** Names and versions from `COMMAND DOCS`. */
function versions(reply: Reply | undefined): [string, string][] {
  const pairs = list(reply)
  return pairs.flatMap((name, index) => {
    if (index % 2 === 1) return []
    const facts = list(pairs[index + 1])
    const fact = (key: string) => facts[facts.findIndex((each, at) => at % 2 === 0 && text(each) === key) + 1]
    const nested = facts.some((each, at) => at % 2 === 0 && text(each) === 'subcommands')
    return [[text(name), text(fact('since'))], ...(nested ? versions(fact('subcommands')) : [])]
  })
}

const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1)
const ofSevenZero = COMMANDS.filter(({ since }) => Number.parseFloat(since) <= 7)

describe('the table of commands', () => {
  it('is that of Redis 7.0: names, arity, flags and places of keys', async () => {
    const [reply] = await ask([['COMMAND']])
    const ours = ofSevenZero.map(({ name, arity, flags, keys: { rule, first, last, step } }) => ({
      ...{ name, arity, flags, keys: rule === 'none' ? [0, 0, 0] : [first, last, step] },
    }))
    expect(ours.sort(byName)).toEqual(rows(reply).sort(byName))
  })

  it('says since when there is a command as Redis does', async () => {
    const [reply] = await ask([['COMMAND', 'DOCS']])
    const ours = ofSevenZero.map(({ name, since }) => [name, since])
    expect(ours.sort()).toEqual(versions(reply).sort())
  })
})

describe('keys', () => {
  // PFMERGE without a source is valid, but its table says otherwise; channels are no keys to COMMAND GETKEYS.
  const silent = (command: Command, words: readonly string[]) =>
    (command.name === 'pfmerge' && words.length === 2) ||
    ['ssubscribe', 'sunsubscribe', 'spublish'].includes(command.name)

  it('of every command are those of COMMAND GETKEYS', async () => {
    const cases = ofSevenZero
      .filter(({ subcommands }) => subcommands === undefined)
      .flatMap((command) =>
        fc.sample(validCommands(command), { numRuns: SAMPLES, seed: 7 }).map(({ words, keys }) => {
          // Each key tells where it stands.
          const marked = words.map((word, at) => (keys.includes(at) ? `${word}@${at}` : word))
          return { command, words: marked }
        }),
      )
      .filter(({ command, words }) => words.length > 1 && !silent(command, words))
    const replies = await ask(cases.map(({ words }) => ['COMMAND', 'GETKEYS', ...words]))
    const out = new KeyList()
    for (const [index, { command, words }] of cases.entries()) {
      const reply = replies[index]
      const { args, bytes, start } = sent(words)
      keysOf(command, args, bytes, start, out)
      const ours = [...out.positions.subarray(0, out.count)].map((at) => words[at])
      const theirs = reply?.type === 'array' ? list(reply).map(text) : text(reply)
      const none = 'ERR The command has no key arguments'
      expect({ words, fault: out.fault, keys: ours.length === 0 ? none : ours }).toEqual({
        words,
        fault: '',
        keys: theirs,
      })
    }
    expect(cases.length).toBeGreaterThan(5_000)
  })
})

describe('faults', () => {
  const vocabulary = fc.oneof(
    fc.constantFrom(
      'streams',
      'STORE',
      'by',
      'get',
      'limit',
      'group',
      'block',
      'count',
      'keys',
      'db',
      'noack',
    ),
    fc.constantFrom('auth', 'copy', 'replace', 'asc', 'alpha', 'left', 'min', 'f', ''),
    fc.constantFrom(
      '0',
      '1',
      '2',
      '-1',
      '3',
      '03',
      '99',
      '9223372036854775807',
      '9223372036854775808',
      'a*',
      '#',
    ),
  )
  /** A word or two of a valid command replaced, removed or put in, or words at random. */
  const nearlyValid = (command: Command): fc.Arbitrary<string[]> => {
    const name = command.name.split('|')
    const change = fc.tuple(fc.nat(), fc.constantFrom(0, 1), fc.array(vocabulary, { maxLength: 1 }))
    const changed = fc
      .tuple(validCommands(command), fc.array(change, { minLength: 1, maxLength: 2 }))
      .map(([{ words }, changes]) => {
        const rest = words.slice(name.length)
        for (const [at, removed, put] of changes) rest.splice(at % (rest.length + 1), removed, ...put)
        return rest
      })
    return fc.oneof(changed, fc.array(vocabulary, { maxLength: 12 })).map((rest) => {
      // Redis looks for the function before it counts keys.
      if (/^fcall/.test(command.name) && rest.length > 0) rest[0] = 'f'
      return [...name, ...rest]
    })
  }

  it('what is refused by its number of arguments, numbers or options is refused by Redis in the same words', async () => {
    await ask([
      ['FUNCTION', 'FLUSH'],
      [
        'FUNCTION',
        'LOAD',
        "#!lua name=l\nredis.register_function{function_name='f', callback=function() return 1 end, flags={'no-writes'}}",
      ],
    ])
    const out = new KeyList()
    const rare = [
      ['xread', 'block', '-1', 'streams', 'a', '0'],
      ['xreadgroup', 'count', '1', 'noack', 'streams', 'a', '>'],
    ]
    const sampled = ofSevenZero.flatMap((command) =>
      fc.sample(nearlyValid(command), { numRuns: 10 * SAMPLES, seed: 7 }),
    )
    const malformed = [...rare, ...sampled].flatMap((words) => {
      const { args, bytes, start } = sent(words)
      const meant = commandOf(args, bytes, start)
      if (meant === undefined) return [{ words, fault: unknownFault(args, bytes, start) }]
      keysOf(meant, args, bytes, start, out)
      return out.fault === '' ? [] : [{ words, fault: out.fault }]
    })
    const replies = await ask(malformed.map(({ words }) => words))
    for (const [index, { words, fault }] of malformed.entries())
      expect({ words, fault }).toEqual({ words, fault: text(replies[index]) })
    expect(new Set(malformed.map(({ fault }) => fault.replace(/'.*/, ''))).size).toBe(17)
    expect(malformed.length).toBeGreaterThan(5_000)
  })

  it('an unknown command is refused in the same words', async () => {
    const words = fc.sample(
      fc.array(fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), vocabulary), {
        minLength: 1,
        maxLength: 20,
      }),
      { numRuns: 500, seed: 7 },
    )
    const unknown = words.map(([name = '', ...rest]) => [`no${toLatin1(name)}`, ...rest.map(toLatin1)])
    const replies = await ask(unknown)
    for (const [index, each] of unknown.entries()) {
      const { args, bytes, start } = sent(each)
      expect(commandOf(args, bytes, start)).toBeUndefined()
      expect(unknownFault(args, bytes, start)).toBe(text(replies[index]))
    }
  })
})

const toLatin1 = (value: string): string => Buffer.from(value).toString('latin1')
