import { once } from 'node:events'
import { connect } from 'node:net'
import { CommandReader, elements, encodeCommand } from '@outrider/resp'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commandOf, hasArity } from '../../packages/ambassador-shard/src/redis/command.ts'
import { KeyList, keysOf } from '../../packages/ambassador-shard/src/redis/command-keys.ts'
import { RawClient, until } from '../../packages/ambassador-shard/src/redis/proxy-test-support.ts'
import { LocalAmbassador } from '../support/local-ambassador.ts'
import { type Redis, startRedis } from '../support/redis.ts'

type Server = Pick<Redis, 'host' | 'port'>

async function clientOf({ host, port }: Server): Promise<RawClient> {
  const socket = connect({ host, port, noDelay: true, allowHalfOpen: true })
  await once(socket, 'connect')
  return new RawClient(socket)
}

const END = 'that is all'

/** The replies to a stream that is sent in pieces of these lengths. */
async function repliesTo(server: Server, stream: Buffer, cuts: readonly number[]): Promise<string[]> {
  using client = await clientOf(server)
  const whole = Buffer.concat([stream, encodeCommand(['ECHO', END])])
  let at = 0
  for (const cut of cuts) {
    if (at >= whole.length) break
    client.socket.write(whole.subarray(at, at + cut))
    at += cut
    await new Promise((resolve) => setImmediate(resolve))
  }
  client.socket.write(whole.subarray(at))
  const end = `$${END.length}\r\n${END}\r\n`
  const ended = (): boolean => client.replies.at(-1)?.toString('latin1') === end
  await until(
    () => ended() || client.closed,
    () => `the end of ${client.received.toString('latin1').slice(-500)}`,
  )
  return client.replies.map((reply) => reply.toString('latin1'))
}

// --- commands

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', '{a}x')
const number = fc.constantFrom('0', '1', '-1', '2', '5', '10', '-3', '9223372036854775807', '1.5', 'inf', 'x')
const value = fc.oneof(
  number,
  fc.constantFrom('', 'text', 'héllo', 'a b', '\r\n', '\0\xff', 'y'.repeat(300), '3', '7', '-7'),
)
const member = fc.constantFrom('1', '2', '3', '4', '5')
const field = fc.constantFrom('f', 'g', 'h', '1')
const id = fc.constantFrom('1-1', '1-2', '2-1', '5-0', '0', '0-0', 'x', '3')

/** `k` a key, `v` a value, `n` a number, `m` a member, `f` a field, `i` an id of a stream; others are words. */
const TEMPLATES = [
  ...['SET k v', 'SET k v NX', 'SET k v XX GET', 'SET k v EX 1000', 'SET k v KEEPTTL', 'SET k v EX n'],
  ...['GET k', 'GETSET k v', 'GETDEL k', 'GETEX k PERSIST', 'GETEX k EX 100', 'SETNX k v', 'SETEX k 1000 v'],
  ...['PSETEX k n v', 'APPEND k v', 'STRLEN k', 'INCR k', 'DECR k', 'INCRBY k n', 'DECRBY k n'],
  ...[
    'INCRBYFLOAT k n',
    'GETRANGE k n n',
    'SUBSTR k n n',
    'SETRANGE k 3 v',
    'LCS k k',
    'LCS k k IDX WITHMATCHLEN',
  ],
  ...['MGET k k k', 'MSET k v k v', 'MSETNX k v k v', 'MGET k', 'MSET k v k'],
  ...['SETBIT k 7 1', 'SETBIT k n 1', 'GETBIT k n', 'BITCOUNT k', 'BITCOUNT k n n BIT', 'BITPOS k 1 n'],
  ...[
    'BITOP AND k k k',
    'BITOP NOT k k',
    'BITFIELD k SET u8 0 n GET i4 2 INCRBY u2 100 1',
    'BITFIELD_RO k GET u8 0',
  ],
  ...['LPUSH k v', 'RPUSH k v v v', 'LPUSHX k v', 'RPUSHX k v', 'LPOP k', 'RPOP k', 'LPOP k n', 'LLEN k'],
  ...['LRANGE k n n', 'LRANGE k 0 -1', 'LINDEX k n', 'LINSERT k BEFORE v v', 'LREM k n v', 'LSET k n v'],
  ...['LTRIM k n n', 'LPOS k v', 'LPOS k v RANK n COUNT 0', 'LMOVE k k LEFT RIGHT', 'RPOPLPUSH k k'],
  ...[
    'LMPOP 2 k k LEFT COUNT 2',
    'LMPOP n k LEFT',
    'BLPOP k k 0.01',
    'BRPOP k 0.01',
    'BLMOVE k k LEFT LEFT 0.01',
  ],
  ...['BLMPOP 0.01 1 k LEFT', 'BRPOPLPUSH k k 0.01', 'BZPOPMIN k 0.01', 'BZMPOP 0.01 2 k k MAX', 'BLPOP k x'],
  ...[
    'SADD k m m m',
    'SREM k m',
    'SCARD k',
    'SISMEMBER k m',
    'SMISMEMBER k m m x',
    'SMEMBERS k',
    'SMOVE k k m',
  ],
  ...['SINTER k k', 'SUNION k k', 'SDIFF k k', 'SINTERSTORE k k k', 'SUNIONSTORE k k k', 'SDIFFSTORE k k k'],
  ...['SINTERCARD 2 k k', 'SINTERCARD n k', 'SSCAN k 0', 'SSCAN k x', 'SPOP k 100', 'SRANDMEMBER k 0'],
  ...['HSET k f v', 'HSET k f v f v', 'HMSET k f v', 'HSETNX k f v', 'HGET k f', 'HMGET k f f', 'HGETALL k'],
  ...['HDEL k f', 'HLEN k', 'HEXISTS k f', 'HSTRLEN k f', 'HKEYS k', 'HVALS k', 'HINCRBY k f n'],
  ...['HINCRBYFLOAT k f n', 'HSCAN k 0', 'HSCAN k 0 MATCH f COUNT 10', 'HRANDFIELD k 0'],
  ...[
    'ZADD k n m',
    'ZADD k 1 m 2 m',
    'ZADD k GT CH n m',
    'ZADD k INCR n m',
    'ZADD k NX XX 1 m',
    'ZSCORE k m',
  ],
  ...['ZMSCORE k m m', 'ZINCRBY k n m', 'ZCARD k', 'ZCOUNT k -inf +inf', 'ZRANGE k 0 -1 WITHSCORES'],
  ...[
    'ZRANGE k n n',
    'ZRANGE k (1 +inf BYSCORE LIMIT 0 2',
    'ZRANGEBYSCORE k n n WITHSCORES',
    'ZREVRANGE k 0 -1',
  ],
  ...[
    'ZRANGEBYLEX k - +',
    'ZLEXCOUNT k [a (z',
    'ZRANK k m',
    'ZREVRANK k m',
    'ZREM k m',
    'ZPOPMIN k',
    'ZPOPMAX k 2',
  ],
  ...[
    'ZREMRANGEBYRANK k 0 n',
    'ZREMRANGEBYSCORE k n n',
    'ZUNION 2 k k WITHSCORES',
    'ZINTER 2 k k',
    'ZDIFF 2 k k',
  ],
  ...['ZUNIONSTORE k 2 k k', 'ZINTERSTORE k 2 k k WEIGHTS 1 n', 'ZDIFFSTORE k 2 k k', 'ZUNIONSTORE k n k'],
  ...['ZRANGESTORE k k 0 -1', 'ZMPOP 2 k k MIN', 'ZINTERCARD 2 k k LIMIT 1', 'ZSCAN k 0', 'ZRANDMEMBER k 0'],
  ...[
    'XADD k i f v',
    'XADD k NOMKSTREAM i f v',
    'XADD k MAXLEN 2 i f v',
    'XLEN k',
    'XRANGE k - +',
    'XREVRANGE k + -',
  ],
  ...[
    'XRANGE k i i COUNT n',
    'XDEL k i',
    'XTRIM k MAXLEN n',
    'XREAD STREAMS k i',
    'XREAD COUNT 1 STREAMS k k i i',
  ],
  ...[
    'XREAD BLOCK 10 STREAMS k $',
    'XGROUP CREATE k g 0',
    'XGROUP CREATE k g $ MKSTREAM',
    'XGROUP DESTROY k g',
  ],
  ...[
    'XREADGROUP GROUP g me STREAMS k >',
    'XREADGROUP GROUP g me BLOCK 10 STREAMS k >',
    'XACK k g i',
    'XSETID k 9-9',
  ],
  ...[
    'XPENDING k g',
    'XCLAIM k g me 0 i JUSTID',
    'XAUTOCLAIM k g me 0 0 JUSTID',
    'XINFO GROUPS k',
    'XGROUP SETID k g i',
  ],
  ...['PFADD k v v', 'PFCOUNT k', 'PFCOUNT k k', 'PFMERGE k k k'],
  ...[
    'GEOADD k 13.361389 38.115556 m',
    'GEOADD k n n m',
    'GEODIST k m m km',
    'GEOHASH k m m',
    'GEOPOS k m x',
  ],
  ...[
    'GEOSEARCH k FROMMEMBER m BYRADIUS 100 km ASC WITHDIST',
    'GEORADIUS k 13 38 200 km ASC',
    'GEOSEARCHSTORE k k FROMLONLAT 13 38 BYBOX 400 400 km',
  ],
  ...['GEORADIUS k 13 38 200 km STORE k', 'GEORADIUSBYMEMBER k m 10 m STOREDIST k'],
  ...['DEL k', 'DEL k k k', 'UNLINK k k', 'EXISTS k k', 'TOUCH k k', 'TYPE k', 'RENAME k k', 'RENAMENX k k'],
  ...[
    'COPY k k',
    'COPY k k REPLACE',
    'EXPIRE k 1000',
    'EXPIRE k n',
    'EXPIREAT k 99999999999',
    'PEXPIREAT k 9999999999999',
  ],
  ...[
    'EXPIRE k 2000 GT',
    'EXPIRE k 5 NX XX',
    'EXISTS k',
    'PERSIST k',
    'OBJECT ENCODING k',
    'OBJECT REFCOUNT k',
    'OBJECT NOSUCH k',
  ],
  ...[
    'OBJECT',
    'OBJECT HELP',
    'DUMP k',
    'RESTORE k 0 v',
    'SORT k',
    'SORT k ALPHA DESC',
    'SORT k BY nosort GET #',
    'SORT k BY w_* GET #',
  ],
  ...[
    'SORT k ALPHA STORE k',
    'SORT_RO k',
    'KEYS *',
    'KEYS a*',
    'DBSIZE',
    'SCAN 0 COUNT 1000',
    'SCAN 0 TYPE string COUNT 1000',
  ],
  ...['SCAN x', 'SCAN 0 COUNT 0', 'SCAN 0 x', 'SCAN', 'FLUSHALL', 'FLUSHDB ASYNC', 'FLUSHALL x'],
  ...[
    'PING',
    'PING v',
    'PING v v',
    'ECHO v',
    'SELECT 0',
    'SELECT x',
    'ACL WHOAMI',
    'CLIENT GETNAME',
    'CLIENT SETNAME x',
  ],
  ...[
    'CLIENT SETNAME v',
    'CLIENT REPLY x',
    'CLIENT GETREDIR',
    'CLIENT NOSUCH',
    'CLIENT',
    'CLIENT TRACKINGINFO',
    'COMMAND COUNT',
  ],
  ...[
    'COMMAND INFO get',
    'COMMAND GETKEYS MSET a 1 b 2',
    'HELLO 4',
    'HELLO x',
    'HELLO 3 SETNAME',
    'HELLO 2 x',
    'AUTH x',
    'AUTH x x x',
  ],
  ...[
    'NOSUCH k v',
    'NOSUCH',
    'CONFIG NOSUCH x',
    'CONFIG GET maxmemory',
    'CONFIG GET max*',
    'CONFIG GET nosuch',
    'CONFIG GET',
  ],
  ...[
    'EVAL return{KEYS[1],ARGV[1],{1,false}} 1 k v',
    'EVAL return{1,2} 0',
    'EVAL return n',
    'EVAL x 0',
    'EVAL return{1} n k',
  ],
  ...[
    'EVAL return(redis.call("incr",KEYS[1])) 1 k',
    'EVAL_RO return(redis.call("get",KEYS[1])) 1 k',
    'EVALSHA abc 0',
    'EVALSHA x 1 k',
  ],
  ...[
    'SCRIPT LOAD return(1)',
    'EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0',
    'SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff831 x',
  ],
  ...[
    'SCRIPT FLUSH',
    'SCRIPT NOSUCH',
    'SCRIPT',
    'FCALL nosuch 1 k',
    'FUNCTION DELETE x',
    'PUBLISH k v',
    'SPUBLISH k v',
  ],
  ...[
    'PUBSUB NUMSUB k',
    'PUBSUB CHANNELS',
    'PUBSUB NUMPAT',
    'PUBSUB SHARDCHANNELS',
    'PUBSUB SHARDNUMSUB k',
    'UNSUBSCRIBE',
    'UNSUBSCRIBE k k',
  ],
  ...[
    'PUNSUBSCRIBE',
    'SUNSUBSCRIBE',
    'WATCH k',
    'WATCH k k',
    'UNWATCH',
    'EXEC',
    'DISCARD',
    'ROLE',
    'MODULE LIST',
  ],
  ...[
    'MULTI x',
    'EXEC x',
    'DISCARD x',
    'WATCH',
    'UNWATCH x',
    'SUBSCRIBE',
    'TIME x',
    'DBSIZE x',
    'RANDOMKEY x',
  ],
].map((line) => line.split(' '))

/**
 * Not in the stream, because the reply differs by nature:
 *
 * - TIME, LASTSAVE, TTL, PTTL, OBJECT IDLETIME, MEMORY USAGE: they tell when, or of what history.
 * - RANDOMKEY, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER, SPOP of less than all: they choose.
 * - XADD with `*`: the clock.
 * - INFO, CLIENT ID, INFO and LIST, HELLO that succeeds: they tell of the server and the connection.
 * - COMMAND, COMMAND DOCS and LIST: of several hundred kilobytes, passed through.
 * - ACL, SLOWLOG, DEBUG, CLUSTER, WAIT ... : refused by policy, see command-policy.test.ts.
 * - AUTH of a user: the users are those of the ambassador.
 */
const UNORDERED: ReadonlySet<string> = new Set(['keys', 'smembers', 'sinter', 'sunion', 'sdiff', 'config'])

/** Made of the templates by a change of a word; the reasons are those above, but for the last ones. */
const EXCLUDED = [
  /^(randomkey|time|command( .*)?|hello|hello [23]( setname .*)?)$/is,
  /^auth (?!x x x$)\S* /is,
  // Of a cursor that it has not given, each server makes something else.
  /^scan (?![0x])/is,
  // It would have no end.
  /^multi$/i,
  // Whether it is over when DBSIZE comes is a matter of luck.
  /^psetex \S+ \d{1,2} /i,
  // They would wait too long.
  /^b[lrz]pop\S*.* (?!0\.01$)[\d.]+$/is,
  // The stream goes on as that of a subscriber: see below.
  /^[sp]?subscribe /i,
  // Whether there is such a function is asked before its keys are counted.
  /^fcall/i,
]

const tokens: Record<string, fc.Arbitrary<string>> = {
  ...{ k: key, v: value, n: number, m: member, f: field, i: id },
}
const plain = fc
  .constantFrom(...TEMPLATES)
  .chain((words) => fc.tuple(...words.map((word) => tokens[word] ?? fc.constant(word))))
/** The same with a word more, or less, or in small letters. */
const command = fc
  .tuple(plain, fc.nat(19), fc.nat(10), value)
  .map(([words, change, place, extra]) => {
    const at = 1 + (place % words.length)
    if (change === 0) return [...words, extra]
    if (change === 1) return words.filter((_, index) => index !== at)
    if (change === 2) return [words[0]?.toLowerCase() ?? '', ...words.slice(1)]
    return words
  })
  .filter((all) => !EXCLUDED.some((one) => one.test(all.join(' '))))
const IN_TRANSACTION: ReadonlySet<string> = new Set(['ping', 'echo', 'unwatch', 'multi', 'watch'])

/** Whether a transaction takes it as Redis does: what is refused later there may be refused at once here. */
function isQueued(args: readonly string[]): boolean {
  const bytes = streamOf([args], false)
  const reader = new CommandReader()
  reader.authenticated = true
  if (reader.read(bytes, 0, bytes.length) !== 'command') return false
  const found = commandOf(reader, bytes, 0)
  if (found === undefined || !hasArity(found, reader.argc)) return true
  const { kind } = found.policy
  if (kind === 'local' || (kind === 'pinned' && found.policy.to !== 'keys'))
    return IN_TRANSACTION.has(found.name)
  return keysOf(found, reader, bytes, 0, new KeyList()) >= 0
}

/** Redis pushes confirmations also where no replies are wanted. */
const isSilenced = ([name = '']: readonly string[]): boolean => !/unsubscribe$/i.test(name)

const words = (line: string): string[] => line.split(' ')
const transaction = fc
  .tuple(
    fc.array(
      key.map((one) => ['WATCH', one]),
      { maxLength: 1 },
    ),
    fc.array(command, { maxLength: 1 }),
    fc.array(command.filter(isQueued), { maxLength: 4 }),
    fc.constantFrom('EXEC', 'EXEC', 'DISCARD'),
  )
  .map(([watch, between, inside, end]) => [...watch, ...between, ['MULTI'], ...inside, [end]])
const silent = command
  .filter(isSilenced)
  .map((one) => [words('CLIENT REPLY OFF'), one, words('CLIENT REPLY ON')])
const skipped = command.filter(isSilenced).map((one) => [words('CLIENT REPLY SKIP'), one])
const piece = fc.oneof(
  { weight: 14, arbitrary: command.map((one) => [one]) },
  { weight: 3, arbitrary: transaction },
  { weight: 1, arbitrary: silent },
  { weight: 1, arbitrary: skipped },
)

/** As one line where it can be. */
function inlineOf(args: readonly string[]): Buffer | undefined {
  if (args.some((arg) => !/^[\w.$*+()[{},}:#-]+$/.test(arg))) return undefined
  return Buffer.from(`${args.join(' ')}\r\n`, 'latin1')
}

function streamOf(commands: readonly (readonly string[])[], inline: boolean): Buffer {
  return Buffer.concat(
    commands.map(
      (args) =>
        (inline ? inlineOf(args) : undefined) ?? encodeCommand(args.map((arg) => Buffer.from(arg, 'latin1'))),
    ),
  )
}

function sorted(reply: string): string {
  const bytes = Buffer.from(reply, 'latin1')
  const ranges = elements(bytes, 0, bytes.length)
  if (ranges === undefined || ranges.length === 0) return reply
  const parts: string[] = []
  for (let at = 0; at + 1 < ranges.length; at += 2) parts.push(reply.slice(ranges[at], ranges[at + 1]))
  return (
    reply.slice(0, ranges[0]) +
    parts
      .map((part) => sorted(part))
      .sort()
      .join('')
  )
}

/** The replies, those without an order put into one. Only the whole stream tells whose they are, so all are. */
const comparable = (commands: readonly (readonly string[])[], replies: readonly string[]): string[] => {
  const free = commands.some(
    ([name = '', sub]) => UNORDERED.has(name.toLowerCase()) || /^scan$/i.test(name) || sub === '',
  )
  return free ? replies.map(sorted) : [...replies]
}

let one: LocalAmbassador
let redis: Redis
beforeAll(async () => {
  one = await LocalAmbassador.start(1)
  redis = await startRedis()
})
afterAll(async () => {
  await one?.[Symbol.asyncDispose]()
  await redis?.[Symbol.asyncDispose]()
})

async function compare(
  commands: readonly (readonly string[])[],
  protocol: string,
  inline: boolean,
  cuts: readonly number[],
): Promise<void> {
  // A command for the shard at the end, so that what was silenced is done before the next stream.
  const before = [words('FLUSHALL'), words('SCRIPT FLUSH'), words(`HELLO ${protocol}`)]
  const stream = streamOf([...before, ...commands, words('DBSIZE')], inline)
  const own = await repliesTo(one, stream, cuts)
  const theirs = await repliesTo(redis, stream, cuts)
  expect(comparable(commands, own.slice(before.length))).toEqual(
    comparable(commands, theirs.slice(before.length)),
  )
}

describe('an ambassador of one shard and Redis', () => {
  test('give the same bytes, reply by reply, in thousands of commands', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { minLength: 1, maxLength: 30 }),
        fc.constantFrom('2', '3'),
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 8 }),
        (pieces, protocol, inline, cuts) => compare(pieces.flat(), protocol, inline, cuts),
      ),
      { numRuns: 400, interruptAfterTimeLimit: 90_000, markInterruptAsFailure: false },
    )
  })
})

// --- subscribers

const SUBSCRIBER = [
  ...[
    'SUBSCRIBE a',
    'SUBSCRIBE a b c',
    'PSUBSCRIBE a*',
    'PSUBSCRIBE a* b*',
    'SSUBSCRIBE a',
    'SSUBSCRIBE b c',
  ],
  ...['UNSUBSCRIBE', 'UNSUBSCRIBE a', 'UNSUBSCRIBE x b', 'PUNSUBSCRIBE', 'PUNSUBSCRIBE a*', 'SUNSUBSCRIBE'],
  ...['SUNSUBSCRIBE a', 'SUBSCRIBE', 'PING', 'PING x', 'PING x y', 'RESET', 'HELLO', 'HELLO 2', 'HELLO 3'],
  ...['HELLO 4', 'GET a', 'SET a 1', 'MGET a b', 'BLPOP l 0.01', 'XREAD STREAMS s 0', 'WATCH a', 'UNWATCH'],
  ...['NOSUCH', 'GET', 'CLIENT GETNAME', 'RESET x', 'EXEC', 'DISCARD', 'DEL a'],
].map((line) => [words(line)])
const BLOCKS = ['MULTI/GET a/SET a 2/EXEC', 'MULTI/NOSUCH/EXEC', 'MULTI/GET a/DISCARD', 'MULTI/RESET'].map(
  (lines) => lines.split('/').map(words),
)

/**
 * HELLO tells of the server, and who leaves all channels at once does so in no order. Of the one the protocol counts, of
 * the other the number that is left.
 */
function withoutNames(reply: string): string {
  const hello = /^([%*]\d+)\r\n\$6\r\nserver\r\n.*\r\nproto\r\n(:\d)/s.exec(reply)
  if (hello !== null) return `${hello[1]} ${hello[2]}`
  return reply.replace(/(unsubscribe\r\n)\$\d+\r\n.*(?=\r\n:)/s, '$1')
}

describe('a subscriber of one shard and of Redis', () => {
  test('gets the same bytes, reply by reply, whatever else it does, and whichever protocol it changes to', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...SUBSCRIBER, ...BLOCKS), { minLength: 1, maxLength: 25 }),
        fc.constantFrom('2', '3'),
        fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 8 }),
        async (pieces, protocol, cuts) => {
          const commands = [words('FLUSHALL'), words(`HELLO ${protocol}`), ...pieces.flat(), words('RESET')]
          const [own, theirs] = [
            await repliesTo(one, streamOf(commands, false), cuts),
            await repliesTo(redis, streamOf(commands, false), cuts),
          ]
          expect(own.map(withoutNames)).toEqual(theirs.map(withoutNames))
        },
      ),
      { numRuns: 300, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: false },
    )
  })
})

describe('an ambassador of three shards', () => {
  let three: LocalAmbassador
  let keys: readonly [string, string, string]
  beforeAll(async () => {
    three = await LocalAmbassador.start(3)
    keys = [three.keyOn(0), three.keyOn(1), three.keyOn(2)]
  })
  afterAll(async () => {
    await three?.[Symbol.asyncDispose]()
  })

  /** Replies to commands that are sent at once. */
  async function replies(...commands: string[][]): Promise<string[]> {
    return (await repliesTo(three, streamOf(commands, false), [])).slice(0, -1)
  }

  const ok = '+OK\r\n'
  const queued = '+QUEUED\r\n'
  const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n"

  test('answers commands of many keys, and of all, as one Redis', async () => {
    const [a, b, c] = keys
    const commands = [
      ['FLUSHALL'],
      ['MSET', a, '1', b, '2', c, '3'],
      ['MGET', c, 'none', a, b, a],
      ['EXISTS', a, b, b, 'none'],
      ['TOUCH', a, c],
      ['DBSIZE'],
      ['KEYS', '*'],
      ['SCRIPT', 'LOAD', 'return KEYS[1]'],
      ['EVALSHA', '4a2267357833227dd98abdedb8cf24b15a986445', '1', b],
      ['CONFIG', 'GET', 'maxmemory-policy'],
      ['DEL', a, b, 'none'],
      ['UNLINK', c],
      ['DBSIZE'],
    ]
    const theirs = await repliesTo(redis, streamOf(commands, false), [])
    expect((await replies(...commands)).map(sorted)).toEqual(theirs.slice(0, -1).map(sorted))
  })

  test('runs a transaction of one shard, and aborts one of two', async () => {
    const [a, b] = keys
    expect(
      await replies(['MULTI'], ['SET', a, '1'], ['EXEC'], ['SET', b, '2'], ['MULTI'], ['GET', b], ['EXEC']),
    ).toEqual([ok, queued, '*1\r\n+OK\r\n', ok, ok, queued, '*1\r\n$1\r\n2\r\n'])
    expect(await replies(['MULTI'], ['SET', a, '1'], ['SET', b, '1'], ['EXEC'])).toEqual([
      ...[ok, queued, crossSlot, '-EXECABORT Transaction discarded because of previous errors.\r\n'],
    ])
    expect(await replies(['MULTI'], ['SET', a, '9'], ['DISCARD'], ['GET', a])).toEqual([
      ...[ok, queued, ok, '$1\r\n1\r\n'],
    ])
  })

  test('sees at EXEC that a watched key has changed, and not when RESET came between', async () => {
    const [a] = keys
    using client = await clientOf(three)
    using other = await clientOf(three)
    for (const [reset, answer] of [
      [false, '*-1\r\n'],
      [true, '*1\r\n+OK\r\n'],
    ] as const) {
      await client.ask('WATCH', a)
      if (reset) await client.ask('RESET')
      await other.ask('SET', a, 'other')
      await client.ask('MULTI')
      await client.ask('SET', a, 'own')
      expect(await client.ask('EXEC')).toBe(answer)
    }
  })

  test('keeps what a transaction does to its connection from the next', async () => {
    const [a] = keys
    await replies(['SET', a, 'zero'], ['MULTI'], ['GET', a], ['SELECT', '1'], ['EXEC'])
    expect(await replies(['MULTI'], ['GET', a], ['EXEC'])).toEqual([ok, queued, '*1\r\n$4\r\nzero\r\n'])
  })

  test('lets one client wait for a key while others are served', async () => {
    const [a, b] = keys
    using client = await clientOf(three)
    using other = await clientOf(three)
    await other.ask('DEL', b)
    client.send(['BLPOP', b, '0'], ['PING'])
    expect(await other.ask('SET', a, '1')).toBe(ok)
    expect(await other.ask('RPUSH', b, 'x')).toBe(':1\r\n')
    expect(await client.next(2)).toEqual([`*2\r\n$${b.length}\r\n${b}\r\n$1\r\nx\r\n`, '+PONG\r\n'])
  })

  test('takes nothing from a list for a client that has left while it waited', async () => {
    const [, b] = keys
    using other = await clientOf(three)
    await other.ask('DEL', b)
    const before = three.proxy.clients
    const client = await clientOf(three)
    client.send(['BLPOP', b, '0'])
    const shard = three.shards[1]
    if (shard === undefined) throw new Error('no shard')
    using direct = await clientOf(shard)
    while (!/blocked_clients:1/.test(await direct.ask('INFO', 'clients')));
    client.socket.destroy()
    await until(() => three.proxy.clients === before, 'the end of the client')
    while (!/blocked_clients:0/.test(await direct.ask('INFO', 'clients')));
    await other.ask('RPUSH', b, 'kept')
    expect(await other.ask('LLEN', b)).toBe(':1\r\n')
  })

  test.each([
    ['2', '*'],
    ['3', '>'],
  ])('brings messages in RESP%s', async (protocol, mark) => {
    const [, , c] = keys
    using client = await clientOf(three)
    using sharded = await clientOf(three)
    using other = await clientOf(three)
    await client.ask('HELLO', protocol)
    await sharded.ask('HELLO', protocol)
    expect(await client.ask('SUBSCRIBE', 'news')).toBe(`${mark}3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n`)
    expect(await client.ask('PSUBSCRIBE', 'n*')).toBe(`${mark}3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:2\r\n`)
    expect(await other.ask('PUBLISH', 'news', 'm')).toBe(':2\r\n')
    expect(await client.next(2)).toEqual([
      `${mark}3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nm\r\n`,
      `${mark}4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\nm\r\n`,
    ])
    await sharded.ask('SSUBSCRIBE', c)
    expect(await other.ask('SPUBLISH', c, 'm')).toBe(':1\r\n')
    expect(await sharded.next()).toEqual([
      `${mark}3\r\n$8\r\nsmessage\r\n$${c.length}\r\n${c}\r\n$1\r\nm\r\n`,
    ])
  })

  test('answers a subscriber in RESP2 in the order of its commands', async () => {
    const commands = [
      'SUBSCRIBE x y',
      'GET x',
      'NOSUCH',
      'PING',
      'UNSUBSCRIBE x',
      'UNSUBSCRIBE',
      'GET none',
    ].map(words)
    const theirs = await repliesTo(redis, streamOf(commands, false), [])
    expect(await replies(...commands)).toEqual(theirs.slice(0, -1))
  })

  test('lets a subscriber in RESP3 go on with all else', async () => {
    const [a, b] = keys
    using client = await clientOf(three)
    using other = await clientOf(three)
    await other.ask('DEL', a, b)
    client.send(['HELLO', '3'], ['SUBSCRIBE', 'x'], ['MULTI'], ['SET', a, '1'], ['EXEC'], ['BLPOP', b, '0'])
    expect((await client.next(5)).slice(2)).toEqual([ok, queued, '*1\r\n+OK\r\n'])
    await other.ask('PUBLISH', 'x', 'm')
    await other.ask('RPUSH', b, 'y')
    expect(await client.next(2)).toEqual([
      '>3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\nm\r\n',
      `*2\r\n$${b.length}\r\n${b}\r\n$1\r\ny\r\n`,
    ])
  })

  test('shows the commands of every shard, as Redis shows its own', async () => {
    using client = await clientOf(three)
    using other = await clientOf(three)
    expect(await client.ask('MONITOR')).toBe(ok)
    for (const key of keys) await other.ask('SET', key, 'a b\n\xff')
    const lines = await client.next(3)
    for (const [index, key] of keys.entries())
      expect(lines[index]).toMatch(
        new RegExp(`^\\+\\d+\\.\\d{6} \\[0 [\\d.]+:\\d+\\] "SET" "${key}" "a b\\\\n\\\\xc3\\\\xbf"\\r\\n$`),
      )
    expect(await client.ask('RESET')).toBe('+RESET\r\n')
    for (const shard of three.shards) {
      using direct = await clientOf(shard)
      while (/ flags=O /.test(await direct.ask('CLIENT', 'LIST')));
    }
  })

  test('tells of all of them by INFO, and of a key of any by RANDOMKEY', async () => {
    const [, b] = keys
    using client = await clientOf(three)
    await client.ask('FLUSHALL')
    expect(await client.ask('RANDOMKEY')).toBe('$-1\r\n')
    await client.ask('SET', b, '1')
    for (let round = 0; round < 10; round += 1)
      expect(await client.ask('RANDOMKEY')).toBe(`$${b.length}\r\n${b}\r\n`)
    const text = await client.ask('INFO', 'everything')
    expect(text).toMatch(/\r\n# Shards\r\nshards:3\r\nshards_missing:\r\n/)
    expect(text).toContain('db0:keys=1,expires=0,avg_ttl=0\r\n')
    expect(text).toMatch(/\r\nloading:0\r\n/)
  })
})
