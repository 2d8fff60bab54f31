import { once } from 'node:events'
import { connect } from 'node:net'
import { createRing } from '@outrider/hash-ring'
import { CommandReader, elements, encodeCommand } from '@outrider/resp'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { shardAddress } from '../../packages/ambassador-shard/src/redis/address.ts'
import { commandOf, hasArity } from '../../packages/ambassador-shard/src/redis/command.ts'
import { KeyList, keysOf } from '../../packages/ambassador-shard/src/redis/command-keys.ts'
import { type RedisProxy, startRedisProxy } from '../../packages/ambassador-shard/src/redis/proxy.ts'
import { RawClient, until } from '../../packages/ambassador-shard/src/redis/proxy-test-support.ts'
import { Shard } from '../../packages/ambassador-shard/src/redis/shard.ts'
import { Topology } from '../../packages/ambassador-shard/src/redis/topology.ts'
import { type Redis, startRedis } from '../support/redis.ts'

/** An ambassador before so many shards, each a Redis. */
class Sharded implements AsyncDisposable {
  readonly shards: readonly Redis[]
  readonly proxy: RedisProxy

  constructor(shards: readonly Redis[], proxy: RedisProxy) {
    this.shards = shards
    this.proxy = proxy
  }

  static async start(count: number): Promise<Sharded> {
    const shards: Redis[] = []
    for (let left = count; left > 0; left -= 1) shards.push(await startRedis())
    const servers = shards.map((_, index) => ({ name: `redis-${index + 1}` }))
    const topology = new Topology(
      createRing({ distribution: 'ketama', servers }),
      shards.map(
        ({ host, port }, index) =>
          new Shard({
            name: `redis-${index + 1}`,
            address: shardAddress({ host, port }),
            connectTimeoutMs: 5_000,
            timeoutMs: 10_000,
            backoffMs: 20,
            backoffMostMs: 100,
            onState: () => undefined,
          }),
      ),
    )
    return new Sharded(shards, await startRedisProxy({ listen: { host: '127.0.0.1', port: 0 }, topology }))
  }

  get host(): string {
    return '127.0.0.1'
  }

  get port(): number {
    const { address } = this.proxy
    return 'port' in address ? address.port : 0
  }

  /** A key that lives on the shard of this index, different ones for different numbers. */
  keyOn(index: number, number = 0): string {
    let left = number
    for (let at = 0; ; at += 1) {
      const key = `key:${at}`
      if (this.proxy.topology.ring.indexOfKey(key) !== index) continue
      if (left === 0) return key
      left -= 1
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]()
    for (const shard of this.shards) await shard[Symbol.asyncDispose]()
  }
}

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
    'TTL k',
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
 * - TIME, LASTSAVE, PTTL, OBJECT IDLETIME, MEMORY USAGE: they tell when, or of what history.
 * - RANDOMKEY, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER, SPOP of less than all: they choose.
 * - XADD with `*`: the clock.
 * - INFO, CLIENT ID, INFO and LIST, HELLO that succeeds: they tell of the server and the connection.
 * - COMMAND, COMMAND DOCS and LIST: of several hundred kilobytes, passed through.
 * - ACL, SLOWLOG, DEBUG, CLUSTER, WAIT ... : refused by policy, see command-policy.test.ts.
 * - AUTH of a user: the users are those of the ambassador.
 */
const UNORDERED: ReadonlySet<string> = new Set(['keys', 'smembers', 'sinter', 'sunion', 'sdiff', 'config'])

/** Made of the templates by a change of a word; the reasons are those above, but for the last two. */
const EXCLUDED = [
  /^(randomkey|time|command( .*)?|hello|hello [23]( setname .*)?)$/is,
  /^auth \S* [^ ]*$/i,
  // They would wait without end.
  /^b(l|r|z)pop\S*.* 0$/is,
  // The stream goes on as that of a subscriber: see below.
  /^s?p?subscribe ./is,
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

let one: Sharded
let redis: Redis
beforeAll(async () => {
  one = await Sharded.start(1)
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

describe('an ambassador of three shards', () => {
  let three: Sharded
  let keys: readonly [string, string, string]
  beforeAll(async () => {
    three = await Sharded.start(3)
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

  test('refuses to a subscriber in RESP3 what needs its connection', async () => {
    using client = await clientOf(three)
    await client.ask('HELLO', '3')
    await client.ask('SUBSCRIBE', 'x')
    expect(await client.ask('MULTI')).toMatch(/^-ERR MULTI is refused while subscribed/)
    expect(await client.ask('PING')).toBe('+PONG\r\n')
  })
})
