import { setTimeout as delay } from 'node:timers/promises'
import { encodeBulk, encodeSimple } from '@outrider/resp'
import { describe, expect, test } from 'vitest'
import { rawClient, startWorld, type TinyShard, tinyShard, type World } from './proxy-test-support.ts'

/** A shard that answers some commands in its own way, by their first words. */
async function shardWith(answers: Record<string, string>): Promise<TinyShard> {
  const shard = await tinyShard()
  shard.behaviour = (args) => {
    const found = Object.entries(answers).find(([words]) => args.join(' ').startsWith(words))
    if (found !== undefined) return found[1]
    return args[0] === 'PING' ? encodeSimple('PONG') : shard.answer(args)
  }
  return shard
}

const info = (...lines: string[]): string => encodeBulk(`${lines.join('\r\n')}\r\n`).toString()

/** An ambassador whose second shard cannot be reached, and whether it knows so is not said. */
async function withoutSecond(answers: readonly Record<string, string>[]): Promise<World> {
  const shards = await Promise.all(answers.map(shardWith))
  const world = await startWorld(shards)
  await shards[1]?.[Symbol.asyncDispose]()
  return world
}

const three = (answers: Record<string, string>): Record<string, string>[] => [answers, answers, answers]
const DOWN =
  /^-ERR shard redis-2 \(127\.0\.0\.1:\d+\): .*ECONNREFUSED.* \(1 of 3 shards failed: redis-2; the others did it\)/

describe('what clients begin with', () => {
  test('INFO adds what counts, and takes the rest of the first shard', async () => {
    const of = (...lines: string[]) => shardWith({ INFO: info(...lines) })
    const first = of('# Server', 'redis_version:7.0.15', 'loading:1', '', '# Stats', 'keyspace_hits:2')
    const second = of('# Server', 'redis_version:7.2.0', 'loading:0', '', '# Stats', 'keyspace_hits:3')
    await using world = await startWorld([await first, await second])
    using client = await rawClient(world.port)
    const reply = await client.value('INFO')
    expect(reply?.type === 'bulk' ? reply.bytes.toString().split('\r\n') : reply).toEqual([
      ...['# Server', 'redis_version:7.0.15', 'loading:0', '', '# Stats', 'keyspace_hits:5', ''],
      ...['# Shards', 'shards:2', 'shards_missing:', ''],
    ])
  })

  test('INFO has what only some shards have counted, and averages of all', async () => {
    const first = shardWith({
      INFO: info(
        ...[
          '# Commandstats',
          'cmdstat_get:calls=3,usec=9,usec_per_call=3.00,rejected_calls=0,failed_calls=1',
        ],
        ...['', '# Keyspace'],
      ),
    })
    const second = shardWith({
      INFO: info(
        ...[
          '# Commandstats',
          'cmdstat_get:calls=1,usec=1,usec_per_call=1.00,rejected_calls=2,failed_calls=0',
        ],
        ...[
          'cmdstat_set:calls=1,usec=4,usec_per_call=4.00',
          '',
          '# Keyspace',
          'db0:keys=2,expires=1,avg_ttl=7',
        ],
      ),
    })
    await using world = await startWorld([await first, await second])
    using client = await rawClient(world.port)
    const text = await client.ask('INFO', 'everything')
    expect(text).toContain(
      'cmdstat_get:calls=4,usec=10,usec_per_call=2.50,rejected_calls=2,failed_calls=1\r\n',
    )
    expect(text).toContain('cmdstat_set:calls=1,usec=4,usec_per_call=4.00\r\n')
    expect(text).toContain('# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=7\r\n')
  })

  test('INFO is answered while a shard is down, and names it', async () => {
    await using world = await withoutSecond(three({ INFO: info('loading:0', 'connected_clients:1') }))
    using client = await rawClient(world.port)
    for (let round = 0; round < 5; round += 1) {
      const text = await client.ask('INFO')
      expect(text).toContain('loading:0\r\nconnected_clients:2\r\n')
      expect(text).toContain('shards:3\r\nshards_missing:redis-2\r\n')
    }
  })

  test('INFO, of no shard at all, is an error', async () => {
    const shards = [await tinyShard(), await tinyShard()]
    await using world = await startWorld(shards)
    using client = await rawClient(world.port)
    for (const shard of shards) await shard[Symbol.asyncDispose]()
    expect(await client.ask('INFO')).toMatch(
      /^-ERR shard redis-1 .*\(2 of 2 shards failed: redis-1, redis-2\)/,
    )
  })

  test('CONFIG GET is answered while a shard is down', async () => {
    const setting = (value: string) => ({
      'CONFIG GET': `*2\r\n$4\r\nsave\r\n$${value.length}\r\n${value}\r\n`,
    })
    await using world = await withoutSecond([setting('60'), setting('1'), setting('60')])
    using client = await rawClient(world.port)
    expect(await client.ask('CONFIG', 'GET', 'save')).toBe('*2\r\n$4\r\nsave\r\n$2\r\n60\r\n')
  })

  test.each(['COMMAND', 'COMMAND DOCS', 'COMMAND COUNT', 'ACL CAT', 'FUNCTION LIST', 'LOLWUT'])(
    '%s is asked of another shard while one is down',
    async (command) => {
      const shards = await Promise.all(three({ [command]: ':7\r\n' }).map(shardWith))
      await using world = await startWorld(shards)
      await shards[0]?.[Symbol.asyncDispose]()
      using client = await rawClient(world.port)
      for (let round = 0; round < 5; round += 1)
        expect(await client.ask(...command.split(' '))).toBe(':7\r\n')
    },
  )

  test('COMMAND is asked of another shard when one does not answer in time, which is not blamed for it', async () => {
    const silent = await tinyShard(([name]) => (name === 'PING' ? '+PONG\r\n' : undefined))
    await using world = await startWorld([silent, await shardWith({ COMMAND: ':7\r\n' })], { timeoutMs: 100 })
    using client = await rawClient(world.port)
    const failures = () => world.proxy.topology.shards.map(({ counts }) => counts.failures)
    // What was heard last must be longer ago.
    await delay(200)
    expect(await client.ask('COMMAND')).toBe(':7\r\n')
    expect(failures()).toEqual([1, 0])
  })

  test('COMMAND gets the error that the first shard answers', async () => {
    const refusal = '-ERR The command has no key arguments\r\n'
    await using world = await startWorld([
      await shardWith({ COMMAND: refusal }),
      await shardWith({ COMMAND: OK }),
    ])
    using client = await rawClient(world.port)
    expect(await client.ask('COMMAND', 'GETKEYS', 'PING', 'x')).toBe(refusal)
  })

  test('the handshakes of common clients are answered', async () => {
    await using world = await startWorld([await tinyShard(), await tinyShard()])
    using client = await rawClient(world.port)
    const none = '-ERR This instance has cluster support disabled\r\n'
    const handshakes: [string, string | RegExp][] = [
      ['CLIENT SETINFO LIB-NAME ioredis', OK],
      ['CLIENT NO-EVICT ON', OK],
      ['CLIENT NO-EVICT x', '-ERR syntax error\r\n'],
      ['CLIENT NO-TOUCH OFF', OK],
      ['CLIENT NO-TOUCH ON', /^-ERR CLIENT NO-TOUCH is refused: .*; leave it out/],
      ['CLIENT TRACKING ON', /^-ERR CLIENT TRACKING is refused: /],
      ['CLIENT MAINT_NOTIFICATIONS ON', /^-ERR unknown subcommand 'MAINT_NOTIFICATIONS'\. Try CLIENT HELP/],
      ['SENTINEL MASTERS', /^-ERR unknown command 'SENTINEL'/],
      ['CLUSTER INFO', none],
      ['CLUSTER SLOTS', none],
      ['READONLY', none],
    ]
    for (const [command, reply] of handshakes) {
      const answer = await client.ask(...command.split(' '))
      if (typeof reply === 'string') expect(answer).toBe(reply)
      else expect(answer).toMatch(reply)
    }
  })

  test('CLIENT INFO has every number of Redis, since clients read them all', async () => {
    await using world = await startWorld([await tinyShard()])
    using client = await rawClient(world.port)
    const line = await client.ask('CLIENT', 'INFO')
    const names = ['id', 'age', 'idle', 'db', 'sub', 'psub', 'ssub', 'multi', 'qbuf', 'qbuf-free', 'argv-mem']
    for (const name of [
      ...names,
      'multi-mem',
      'rbs',
      'rbp',
      'obl',
      'oll',
      'omem',
      'tot-mem',
      'redir',
      'resp',
    ])
      expect(line).toMatch(new RegExp(`[ \\n]${name}=-?\\d+ `))
    expect(line).toMatch(/ laddr=127\.0\.0\.1:\d+ .* flags=N .* cmd=client\|info user=default /)
  })
})

const OK = '+OK\r\n'

describe('what asks every shard', () => {
  test.each([
    'DBSIZE',
    'KEYS *',
    'LASTSAVE',
    'SCRIPT EXISTS x',
    'SCRIPT LOAD x',
    'FLUSHALL',
    'PUBSUB SHARDCHANNELS',
  ])('%s is an error that names the shard that is down, not a part of the truth', async (command) => {
    const answers = {
      LASTSAVE: ':1\r\n',
      'SCRIPT EXISTS': '*1\r\n:1\r\n',
      'SCRIPT LOAD': '$1\r\nx\r\n',
      PUBSUB: '*0\r\n',
    }
    await using world = await withoutSecond(three(answers))
    using client = await rawClient(world.port)
    for (let round = 0; round < 3; round += 1) expect(await client.ask(...command.split(' '))).toMatch(DOWN)
  })

  test('names the shards that refuse', async () => {
    const refusing = { FLUSHALL: '-NOPERM No permissions\r\n' }
    await using world = await startWorld(await Promise.all([{}, refusing, refusing].map(shardWith)))
    using client = await rawClient(world.port)
    expect(await client.ask('FLUSHALL')).toBe(
      '-NOPERM No permissions (2 of 3 shards failed: redis-2, redis-3; the others did it)\r\n',
    )
  })

  test('is silent where no reply is wanted, and later replies are in their places', async () => {
    await using world = await startWorld(await Promise.all(three({}).map(shardWith)))
    using client = await rawClient(world.port)
    const keys = [0, 1, 2].map((index) => world.keyOn(index))
    client.send(
      ...[['CLIENT', 'REPLY', 'SKIP'], ['MSET', ...keys.flatMap((key) => [key, 'a'])], ['DBSIZE']],
      ...[
        ['CLIENT', 'REPLY', 'OFF'],
        ['DBSIZE'],
        ['MGET', ...keys],
        ['RANDOMKEY'],
        ['CLIENT', 'REPLY', 'ON'],
      ],
      ['PING'],
    )
    expect(await client.next(3)).toEqual([':3\r\n', OK, '+PONG\r\n'])
  })

  test('skips nothing more where no reply is wanted at all, until RESET, which is answered', async () => {
    await using world = await startWorld([await tinyShard(), await tinyShard()])
    using client = await rawClient(world.port)
    client.send(
      ...[
        ['CLIENT', 'REPLY', 'OFF'],
        ['CLIENT', 'REPLY', 'SKIP'],
      ],
      ...[['SET', world.keyOn(0), 'a'], ['PING', 'b'], ['DBSIZE'], ['RESET'], ['PING']],
    )
    expect(await client.next(2)).toEqual(['+RESET\r\n', '+PONG\r\n'])
  })

  test('has the error of all when all refuse alike', async () => {
    await using world = await startWorld(
      await Promise.all(three({ FLUSHALL: '-ERR syntax error\r\n' }).map(shardWith)),
    )
    using client = await rawClient(world.port)
    expect(await client.ask('FLUSHALL', 'x')).toBe('-ERR syntax error\r\n')
  })
})

describe('RANDOMKEY', () => {
  const answering = (...replies: string[]) =>
    Promise.all(replies.map((reply) => shardWith({ RANDOMKEY: reply })))
  const NONE = '$-1\r\n'
  const SOME = '$1\r\na\r\n'

  test('asks the other shards, too, while one is empty', async () => {
    await using world = await startWorld(await answering(NONE, SOME, NONE))
    using client = await rawClient(world.port)
    for (let round = 0; round < 20; round += 1) expect(await client.ask('RANDOMKEY')).toBe(SOME)
  })

  test('is null when all are empty', async () => {
    await using world = await startWorld(await answering(NONE, NONE, NONE))
    using client = await rawClient(world.port)
    expect(await client.ask('RANDOMKEY')).toBe(NONE)
  })

  test('is a key of another shard where one fails, and an error when no other has any', async () => {
    const shards = await answering('-LOADING not yet\r\n', NONE, NONE)
    await using world = await startWorld(shards)
    using client = await rawClient(world.port)
    for (let round = 0; round < 10; round += 1)
      expect(await client.ask('RANDOMKEY')).toBe('-LOADING not yet\r\n')
    const [, , third] = shards
    if (third !== undefined) third.behaviour = ([name]) => (name === 'RANDOMKEY' ? SOME : '+PONG\r\n')
    for (let round = 0; round < 10; round += 1) expect(await client.ask('RANDOMKEY')).toBe(SOME)
  })

  test('keeps its place among the replies, and its protocol', async () => {
    await using world = await startWorld(await answering(NONE, NONE))
    for (const shard of world.shards as TinyShard[])
      shard.behaviour = ([name]) =>
        name === 'HELLO' ? '%0\r\n' : name === 'RANDOMKEY' ? '_\r\n' : name === 'PING' ? '+PONG\r\n' : OK
    using client = await rawClient(world.port)
    await client.ask('HELLO', '3')
    client.send(['RANDOMKEY'], ['SET', 'a', '1'], ['RANDOMKEY'])
    expect(await client.next(3)).toEqual(['_\r\n', OK, '_\r\n'])
  })
})
