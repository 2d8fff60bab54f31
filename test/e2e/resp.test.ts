import { once } from 'node:events'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import {
  COMMAND_LIMITS,
  CommandReader,
  elements,
  encodeArrayHeader,
  encodeCommand,
  type Reply,
  ReplyScanner,
  readReply,
} from '@outrider/resp'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Redis, startRedis } from '../support/redis.ts'

let open: Redis
let closed: Redis

beforeAll(async () => {
  open = await startRedis('--enable-debug-command', 'yes')
  closed = await startRedis('--requirepass', 'secret')
})
afterAll(async () => {
  await open?.[Symbol.asyncDispose]()
  await closed?.[Symbol.asyncDispose]()
})

/** All that a server says to a stream that ends. */
async function answerTo(redis: Redis, stream: Buffer): Promise<Buffer> {
  const socket = connect({ host: redis.host, port: redis.port, allowHalfOpen: true })
  const answer = buffer(socket)
  socket.end(stream)
  return answer
}

const FAULT = '-ERR Protocol error'

/** The replies, each as it came; what follows the last whole one is a failure. */
function repliesIn(answer: Buffer): string[] {
  const scanner = new ReplyScanner()
  const replies: string[] = []
  for (let from = 0; from < answer.length; ) {
    const to = scanner.scan(answer, from, answer.length)
    if (to < 0) throw new Error(`no reply: ${scanner.fault} in ${answer.toString('latin1', from)}`)
    replies.push(answer.toString('latin1', from, to))
    from = to
  }
  return replies
}

/** What the reader says of a stream: its commands, then perhaps a fault. */
function verdictOn(stream: Buffer, authenticated: boolean): { commands: string[][]; fault: string } {
  // Redis itself counts to 2^31 - 1 since version 7.
  const reader = new CommandReader({ ...COMMAND_LIMITS, args: 0x7fffffff })
  reader.authenticated = authenticated
  const commands: string[][] = []
  for (let at = 0; ; at += reader.length) {
    const progress = reader.read(stream, at, stream.length)
    if (progress === 'more' || progress === 'fault') return { commands, fault: reader.fault }
    if (progress === 'empty') continue
    const [frame, start] = reader.inline ? [reader.encoded, 0] : [stream, at]
    commands.push(
      Array.from({ length: reader.argc }, (_, index) =>
        frame.toString('latin1', start + reader.argStart(index), start + reader.argEnd(index)),
      ),
    )
  }
}

/** The reply where it tells the arguments, or the beginning of an error. */
function expectedReply([name = '', ...args]: readonly string[]): string {
  const told = /^(echo|ping)$/i.test(name) && args.length === 1 ? (args[0] ?? '') : undefined
  if (told !== undefined) return `$${told.length}\r\n${told}\r\n`
  return /^ping$/i.test(name) && args.length === 0 ? '+PONG\r\n' : '-'
}

const latin1 = (maxLength: number) =>
  fc.string({ unit: fc.nat(255).map((byte) => String.fromCharCode(byte)), maxLength })
const argument = fc.oneof(latin1(30), fc.stringMatching(/^[\t-\r "'\\xna0f]{0,12}$/))
const args = fc.oneof(
  argument.map((arg) => ['ECHO', arg]),
  fc.constant(['PING']),
  fc.array(argument, { maxLength: 12 }).map((all) => ['NOSUCH', ...all]),
)
const piece = fc.oneof(
  args.map((all) => encodeCommand(all.map((arg) => Buffer.from(arg, 'latin1'))).toString('latin1')),
  argument.map((arg) => `ECHO "${arg.replace(/[\r\n\0]/g, '')}"\r\n`),
  argument.map((arg) => `echo '${arg.replace(/[\r\n\0]/g, '')}' \n`),
  argument.map((arg) => `ECHO ${arg.replace(/[\r\n\0]/g, '')}\r\n`),
  fc.constantFrom('PING\r\n', '\r\n', ' \n', '*0\r\n', '*-1\r\n', '*1\r\n$4\r\nPING\r\n'),
)
const meaningful = fc.constantFrom(...'\r\n\0 $*-+0129"\'\\x')
const edit = fc.tuple(fc.nat(10_000), fc.oneof(meaningful, latin1(1)), fc.nat(2))
const stream = fc
  .tuple(fc.array(piece, { minLength: 1, maxLength: 5 }), fc.array(edit, { maxLength: 3 }))
  .map(([pieces, edits]) => {
    let text = pieces.join('')
    for (const [at, byte, kind] of edits) {
      const place = at % (text.length + 1)
      text = text.slice(0, place) + (kind === 0 ? '' : byte) + text.slice(place + (kind === 2 ? 0 : 1))
    }
    return text
  })

const LINE_ENDS = 'Protocol error: expected CRLF'

async function compare(redis: Redis, text: string, authenticated: boolean): Promise<void> {
  const bytes = Buffer.from(text, 'latin1')
  const own = verdictOn(bytes, authenticated)
  const replies = repliesIn(await answerTo(redis, bytes))
  if (own.fault === LINE_ENDS) {
    // Redis does not look at these two bytes, and goes on.
    replies.length = Math.min(replies.length, own.commands.length)
  } else if (own.fault !== '') {
    expect(replies.pop()).toBe(`-ERR ${own.fault}\r\n`)
  }
  expect(replies.filter((reply) => reply.startsWith(FAULT))).toEqual([])
  expect(replies).toHaveLength(own.commands.length)
  for (const [index, command] of own.commands.entries()) {
    const expected = authenticated ? expectedReply(command) : '-'
    expect(replies[index]?.slice(0, expected.length)).toBe(expected)
    if (expected !== '-') expect(replies[index]).toBe(expected)
  }
}

describe('CommandReader and Redis', () => {
  test('see the same commands and say the same faults, in thousands of streams sound and broken', async () => {
    await fc.assert(
      fc.asyncProperty(stream, (text) => compare(open, text, true)),
      { numRuns: 6_000 },
    )
  })

  test('do so before authentication, too', async () => {
    await fc.assert(
      fc.asyncProperty(stream, (text) => compare(closed, text, false)),
      { numRuns: 2_000 },
    )
  })

  const long = (length: number) => 'x'.repeat(length)
  test.each([
    ['most arguments', '*2147483647\r\n'],
    ['more arguments', '*2147483648\r\n'],
    ['a count of 64 bits', '*9223372036854775807\r\n'],
    ['a count of more', '*9223372036854775808\r\n'],
    ['a negative count', '*-9223372036854775808\r\nPING\r\n'],
    ['a negative count of more', '*-9223372036854775809\r\nPING\r\n'],
    ['the longest argument', '*1\r\n$536870912\r\n'],
    ['a longer argument', '*1\r\n$536870913\r\n'],
    ['10 GB', '*1\r\n$10000000000\r\n'],
    ['a length of two zeros', '*1\r\n$00\r\n\r\n'],
    ['an empty name', '*1\r\n$0\r\n\r\n'],
    ['an empty line for an argument', '*1\r\n\r\n'],
    ['a byte that is no text', '*1\r\n\xff\r\n'],
    ['a plus', '*+1\r\n'],
    ['a zero before a count', '*01\r\n'],
    ['minus zero', '*-0\r\n'],
    ['a space before a count', '* 1\r\n'],
    ['no count', '*\r\n'],
    ['a long line', `ECHO ${long(60_000)}\r\n`],
    // As much as Redis has read when it notices: what it leaves unread makes the system reset the connection.
    ['a line without end', long(70_000)],
    ['a count without end', `*${long(70_000)}`],
    ['a length without end', `*1\r\n$${long(70_000)}`],
    ['a NUL in a line', `ECHO \0${'\r\n'.repeat(35_000)}`],
    ['a NUL in a count', `*1\0${'\r\n'.repeat(35_000)}`],
    ['a NUL in a length', `*1\r\n$1\0${'\r\n'.repeat(35_000)}`],
    ['a NUL and little more', '*1\0\r\n*1\r\n$4\r\nPING\r\n'],
    ['a long argument', `*2\r\n$4\r\nECHO\r\n$100000\r\n${long(100_000)}\r\nPING\r\n`],
  ])('agree on %s', async (_, text) => {
    await compare(open, text, true)
  })

  test.each([
    ['*10\r\n'],
    ['*11\r\n'],
    ['*1\r\n$16384\r\n'],
    ['*1\r\n$16385\r\n'],
    ['*2147483648\r\n'],
    ['*1\r\n$536870913\r\n'],
    ['PING 1 2 3 4 5 6 7 8 9 10 11\r\n'],
  ])('agree on %j before authentication', async (text) => {
    await compare(closed, text, false)
  })
})

/** The replies to one command in one protocol, without that to HELLO: pushes and an answer, if any. */
async function ask(
  protocol: 2 | 3,
  ...args: string[]
): Promise<{ bytes: Buffer; ends: number[]; pushes: number }> {
  const marker = 'the end of the replies'
  const socket = connect({ host: open.host, port: open.port })
  try {
    let bytes: Buffer = Buffer.alloc(0)
    const all = [
      encodeCommand(['HELLO', String(protocol)]),
      encodeCommand(args),
      encodeCommand(['ECHO', marker]),
    ]
    socket.write(Buffer.concat(all))
    const tail = `$${marker.length}\r\n${marker}\r\n`
    while (!bytes.includes(tail)) {
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      bytes = Buffer.concat([bytes, chunk])
    }
    const scanner = new ReplyScanner()
    const stop = bytes.indexOf(tail)
    const begin = scanner.scan(bytes, 0, stop)
    const ends: number[] = []
    let pushes = 0
    for (let at = begin; at >= 0 && at < stop; ) {
      at = scanner.scan(bytes, at, stop)
      if (scanner.fault !== '') throw new Error(`${args.join(' ')}: ${scanner.fault}`)
      ends.push(at - begin)
      if (scanner.push) pushes += 1
    }
    return { bytes: bytes.subarray(begin, stop), ends, pushes }
  } finally {
    socket.destroy()
  }
}

/** A reply as a client would show it: RESP2 as ioredis does. */
function plain(reply: Reply | undefined): unknown {
  if (reply === undefined) return undefined
  switch (reply.type) {
    case 'simple':
    case 'bulk':
    case 'verbatim':
      return reply.bytes.toString()
    case 'error':
      return new Error(reply.bytes.toString())
    case 'null':
      return null
    case 'array':
    case 'push':
      return reply.elements.map(plain)
    case 'set':
      return new Set(reply.elements.map(plain))
    case 'map':
      return new Map(reply.entries.map(([key, value]) => [plain(key), plain(value)]))
    default:
      return reply.value
  }
}

const SETTING_UP = [
  'FLUSHALL',
  'SET text héllo',
  'SET number 41',
  'MSET a 1 b 2',
  'RPUSH list one two three',
  'HSET hash field value other thing',
  'SADD set member',
  'ZADD zset 1.5 one 2 two inf all',
  'XADD stream 1-1 field value',
  'XGROUP CREATE stream group 0',
  'GEOADD places 13.361389 38.115556 Palermo',
  'PFADD distinct a b c',
].map((line) => line.split(' '))

describe('replies of Redis', () => {
  beforeAll(async () => {
    for (const command of SETTING_UP) {
      const { bytes } = await ask(2, ...command)
      expect(bytes.toString()).not.toMatch(/^-/)
    }
  })

  const commands = [
    ...[
      'PING',
      'TIME',
      'DBSIZE',
      'INFO',
      'INFO everything',
      'COMMAND',
      'COMMAND DOCS',
      'COMMAND COUNT',
      'COMMAND LIST',
    ],
    ...[
      'COMMAND INFO get nosuch',
      'COMMAND GETKEYS mset a 1 b 2',
      'COMMAND GETKEYSANDFLAGS sort a store b',
      'KEYS *',
    ],
    ...[
      'GET text',
      'GET none',
      'GET list',
      'MGET text none list number',
      'INCR number',
      'INCRBYFLOAT number 0.5',
    ],
    ...[
      'STRLEN text',
      'EXISTS a b none',
      'TYPE list',
      'OBJECT ENCODING text',
      'OBJECT HELP',
      'SCAN 0',
      'RANDOMKEY',
    ],
    ...[
      'LRANGE list 0 -1',
      'LPOP none',
      'LPOP none 2',
      'LPOS list two',
      'LMPOP 1 none LEFT',
      'BLPOP none 0.01',
    ],
    ...[
      'BLMPOP 0.01 1 none LEFT',
      'HGETALL hash',
      'HGETALL none',
      'HMGET hash field none',
      'HSCAN hash 0',
      'HKEYS hash',
    ],
    ...[
      'HRANDFIELD hash 2 WITHVALUES',
      'SMEMBERS set',
      'SMEMBERS none',
      'SPOP none',
      'SMISMEMBER set member none',
    ],
    ...[
      'ZRANGE zset 0 -1 WITHSCORES',
      'ZSCORE zset one',
      'ZSCORE zset none',
      'ZMSCORE zset one none',
      'ZPOPMIN none',
    ],
    ...[
      'ZRANK zset one',
      'ZINCRBY zset 0.1 one',
      'ZRANDMEMBER zset 1 WITHSCORES',
      'ZADD zset INCR 0.3 two',
      'ZSCAN zset 0',
    ],
    ...[
      'XRANGE stream - +',
      'XREAD STREAMS stream 0',
      'XREAD STREAMS stream $',
      'XINFO STREAM stream FULL',
      'XINFO GROUPS stream',
    ],
    ...[
      'XREADGROUP GROUP group me STREAMS stream >',
      'XPENDING stream group',
      'XAUTOCLAIM stream group me 0 0',
    ],
    ...[
      'GEOPOS places Palermo none',
      'GEODIST places Palermo Palermo',
      'GEOSEARCH places FROMMEMBER Palermo BYRADIUS 1 km WITHCOORD WITHDIST',
    ],
    ...[
      'PFCOUNT distinct',
      'LCS a b',
      'LCS a b IDX',
      'CONFIG GET *',
      'CLIENT LIST',
      'CLIENT INFO',
      'CLIENT TRACKINGINFO',
      'ACL LIST',
    ],
    ...[
      'ACL GETUSER default',
      'ACL CAT',
      'ACL LOG',
      'MEMORY STATS',
      'MEMORY DOCTOR',
      'LATENCY HISTOGRAM',
      'LATENCY DOCTOR',
      'LOLWUT',
    ],
    ...[
      'SLOWLOG GET',
      'FUNCTION STATS',
      'FUNCTION LIST',
      'SCRIPT EXISTS abc',
      'ROLE',
      'WAIT 0 0',
      'CLUSTER INFO',
      'MODULE LIST',
    ],
    ...[
      'DUMP hash',
      'DEBUG OBJECT hash',
      'DEBUG SLEEP 0',
      'HELLO',
      'NOSUCH',
      'GET',
      'EVAL return{1,{2,false},"a"} 0',
      'BITCOUNT text',
    ],
    ...[
      'BITFIELD none GET u8 0',
      'EVAL return{err="no\r\nway"} 0',
      'EVAL return{ok="a\r\nb"} 0',
      'EXEC',
      'RESET',
      'SORT list ALPHA GET #',
    ],
    ...[
      'PUBLISH channel text',
      'PUBSUB CHANNELS',
      'PUBSUB NUMSUB a',
      'SUBSCRIBE',
      'UNWATCH',
      'EXPIRETIME a',
      'ZDIFF 2 zset none WITHSCORES',
    ],
    ...[
      'string',
      'integer',
      'double',
      'null',
      'array',
      'set',
      'map',
      'attrib',
      'push',
      'verbatim',
      'true',
      'false',
      'bignum',
    ].map((kind) => `DEBUG PROTOCOL ${kind}`),
  ].map((line) => line.split(' '))

  test.each(commands.map((command) => [command.join(' '), command] as const))(
    'to %s end where they end, and can be read, in both protocols',
    async (_, command) => {
      for (const protocol of [2, 3] as const) {
        const { bytes, ends, pushes } = await ask(protocol, ...command)
        expect(ends.at(-1)).toBe(bytes.length)
        expect(ends.length - pushes).toBe(command[1] === 'push' && protocol === 2 ? 2 : 1)
        let from = 0
        for (const end of ends) {
          expect(readReply(bytes, from, end)).toBeDefined()
          const parts = elements(bytes, from, end)
          if (parts !== undefined && parts.length > 0) expect(parts.at(-1)).toBe(end)
          from = end
        }
      }
    },
  )

  const nested = (depth: number) => `local t = {1} for i = 1, ${depth} do t = {t} end return t`
  test('as deep as Lua can make them are passed through', async () => {
    const { bytes, ends } = await ask(2, 'EVAL', nested(30_000), '0')
    expect(bytes.toString()).toContain('reached lua stack limit')
    expect(ends).toEqual([bytes.length])
  })

  test.each<[string, unknown, unknown]>([
    ['SET text héllo', 'OK', 'OK'],
    ['GET text', 'héllo', 'héllo'],
    ['GET none', null, null],
    ['MGET a none b', ['1', null, '2'], ['1', null, '2']],
    ['LLEN list', 3, 3],
    [
      'HGETALL hash',
      ['field', 'value', 'other', 'thing'],
      new Map([
        ['field', 'value'],
        ['other', 'thing'],
      ]),
    ],
    ['SMEMBERS set', ['member'], new Set(['member'])],
    ['ZSCORE zset all', 'inf', Number.POSITIVE_INFINITY],
    ['LPOP none 2', null, null],
    ['SISMEMBER set member', 1, 1],
    [
      'GET list',
      new Error('WRONGTYPE Operation against a key holding the wrong kind of value'),
      new Error('WRONGTYPE Operation against a key holding the wrong kind of value'),
    ],
    ['XRANGE stream - +', [['1-1', ['field', 'value']]], [['1-1', ['field', 'value']]]],
    ['DEBUG PROTOCOL double', '3.141', Number('3.141')],
    ['DEBUG PROTOCOL null', null, null],
    ['DEBUG PROTOCOL set', [0, 1, 2], new Set([0, 1, 2])],
    [
      'DEBUG PROTOCOL map',
      [0, 0, 1, 1, 2, 0],
      new Map([
        [0, false],
        [1, true],
        [2, false],
      ]),
    ],
    ['DEBUG PROTOCOL verbatim', 'This is a verbatim\nstring', 'This is a verbatim\nstring'],
    ['DEBUG PROTOCOL true', 1, true],
    [
      'DEBUG PROTOCOL bignum',
      '1234567999999999999999999999999999999',
      1234567999999999999999999999999999999n,
    ],
  ])('to %s are the values that clients show', async (line, resp2, resp3) => {
    for (const [protocol, expected] of [
      [2, resp2],
      [3, resp3],
    ] as const) {
      const { bytes } = await ask(protocol, ...line.split(' '))
      expect(plain(readReply(bytes, 0, bytes.length))).toEqual(expected)
    }
  })

  test('with attributes keep them', async () => {
    const { bytes, ends } = await ask(3, 'DEBUG', 'PROTOCOL', 'attrib')
    const [end = 0] = ends
    expect(readReply(bytes, 0, end)).toMatchObject({
      type: 'bulk',
      attributes: [[{ type: 'bulk' }, { type: 'array' }]],
    })
  })

  test('to MGET can be split and joined without being decoded', async () => {
    const [one, other, both] = [
      await ask(2, 'MGET', 'b', 'none'),
      await ask(2, 'MGET', 'a'),
      await ask(2, 'MGET', 'a', 'b', 'none'),
    ]
    const parts = [other, one].flatMap(({ bytes }) => {
      const ranges = elements(bytes, 0, bytes.length) ?? []
      return [bytes.subarray(ranges[0], ranges.at(-1))]
    })
    expect(Buffer.concat([encodeArrayHeader(3), ...parts])).toEqual(both.bytes)
  })
})
