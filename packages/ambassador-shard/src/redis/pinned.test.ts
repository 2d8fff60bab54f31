import { encodeSimple } from '@outrider/resp'
import { describe, expect, test } from 'vitest'
import { CROSSSLOT } from './command-policy.ts'
import { StatefulShard, statefulShards } from './pinned-test-support.ts'
import { type RawClient, rawClient, startWorld, topologyOf, until, type World } from './proxy-test-support.ts'
import { Topology } from './topology.ts'

const OK = '+OK\r\n'
const QUEUED = '+QUEUED\r\n'
const ABORTED = '-EXECABORT Transaction discarded because of previous errors.\r\n'
const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

/** An ambassador before shards that keep state for each connection, and a way to see what is left of clients. */
async function start(count = 3, timeoutMs = 5_000) {
  const shards = await statefulShards(count)
  const world = await startWorld(shards, { timeoutMs })
  const at = (index: number): StatefulShard => {
    const shard = shards[index]
    if (shard === undefined) throw new Error(`no shard ${index}`)
    return shard
  }
  return {
    world,
    at,
    client: () => rawClient(world.port),
    key: (index: number, number = 0) => world.keyOn(index, number),
    /** Index of the shard that carries publish and subscribe. */
    pubsub: world.proxy.topology.shards.indexOf(world.proxy.topology.pubsub),
    /** Waits until so many connections of single clients do something. */
    untilEngaged: (engaged: number) =>
      until(() => shards.reduce((sum, shard) => sum + shard.engaged, 0) === engaged, `${engaged} engaged`),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
}

const accepted = ({ shards }: World): number => shards.reduce((sum, one) => sum + one.accepted, 0)
const commandsOf = (shard: StatefulShard): string[] =>
  shard.commands.map((args) => args.join(' ')).filter((line) => !line.startsWith('HELLO'))

describe('a transaction', () => {
  test('is carried out by one shard, on a connection that serves the next one, too', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['MULTI'], ['SET', own.key(1), 'a'], ['GET', own.key(1)], ['EXEC'], ['PING'])
    expect(await client.next(5)).toEqual([OK, QUEUED, QUEUED, '*2\r\n+OK\r\n$1\r\na\r\n', '+PONG\r\n'])
    expect(commandsOf(own.at(1))).toEqual([...['MULTI', `SET ${own.key(1)} a`, `GET ${own.key(1)}`, 'EXEC']])
    const before = accepted(own.world)
    using other = await own.client()
    other.send(['MULTI'], ['GET', own.key(1)], ['EXEC'])
    expect(await other.next(3)).toEqual([OK, QUEUED, '*1\r\n$1\r\na\r\n'])
    expect(accepted(own.world)).toBe(before)
  })

  test('over two shards is refused by CROSSSLOT, and neither has done a part of it', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['MULTI'], ['SET', own.key(0), 'a'], ['SET', own.key(1), 'b'], ['EXEC'])
    expect(await client.next(4)).toEqual([OK, QUEUED, `-${CROSSSLOT}\r\n`, ABORTED])
    expect(await client.ask('MGET', own.key(0), own.key(1))).toBe('*2\r\n$-1\r\n$-1\r\n')
  })

  test('may begin with what has no key, and has it in its place', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['MULTI'], ['ECHO', 'x'], ['SET', own.key(2), 'a'], ['PING'], ['EXEC'])
    expect((await client.next(5)).slice(1, 4)).toEqual([QUEUED, QUEUED, QUEUED])
    expect(commandsOf(own.at(2))).toEqual([...['MULTI', 'ECHO x', `SET ${own.key(2)} a`, 'EXEC']])
  })

  test('may hold much without a key, and is refused where it is too much', async () => {
    await using own = await start()
    using client = await own.client()
    const words = Array.from({ length: 5_000 }, (_, at) => `word ${at}`)
    client.send(['MULTI'], ...words.map((word) => ['ECHO', word]), ['SET', own.key(1), 'a'], ['EXEC'])
    await client.next(words.length + 3)
    expect(commandsOf(own.at(1)).slice(1, -2)).toEqual(words.map((word) => `ECHO ${word}`))
    const large = Buffer.alloc(30_000_000, 'x')
    client.send(['MULTI'], ['ECHO', large], ['ECHO', large], ['ECHO', large], ['EXEC'])
    const replies = [OK, QUEUED, QUEUED, '-ERR the transaction is too large\r\n', ABORTED]
    expect(await client.next(5)).toEqual(replies)
  })

  test('that is discarded does nothing, and its connection serves the next one', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['MULTI'], ['SET', own.key(0), 'a'], ['DISCARD'], ['GET', own.key(0)], ['DISCARD'])
    expect(await client.next(5)).toEqual([OK, QUEUED, OK, '$-1\r\n', '-ERR DISCARD without MULTI\r\n'])
    const before = accepted(own.world)
    client.send(['MULTI'], ['GET', own.key(0)], ['EXEC'])
    expect(await client.next(3)).toEqual([OK, QUEUED, '*1\r\n$-1\r\n'])
    expect(accepted(own.world)).toBe(before)
  })

  test.each([
    [['DBSIZE'], /^-ERR DBSIZE asks every shard, a transaction has one; send it outside of MULTI/],
    [['PUBLISH', 'c', 'm'], /^-ERR PUBLISH goes to the shard of all channels, .*; send it outside of MULTI/],
    [['SUBSCRIBE', 'c'], /^-ERR SUBSCRIBE is not allowed in transactions/],
    [['MONITOR'], /^-ERR MONITOR is not allowed in transactions/],
    [['HELLO', '3'], /^-ERR HELLO is not allowed in transactions/],
    [['NONSENSE'], /^-ERR unknown command 'NONSENSE'/],
    [['GET'], /^-ERR wrong number of arguments for 'get' command/],
    [['RESET', 'x'], /^-ERR wrong number of arguments for 'reset' command/],
  ])('cannot have %j in it, says so, and is aborted', async (command, fault) => {
    await using own = await start()
    using client = await own.client()
    client.send(['MULTI'], command, ['EXEC'], ['EXEC'])
    const [, refused, aborted, ended] = await client.next(4)
    expect(refused).toMatch(fault)
    expect([aborted, ended]).toEqual([ABORTED, '-ERR EXEC without MULTI\r\n'])
  })

  test('is aborted when it is not known whether all of it is queued', async () => {
    await using own = await start(2, 150)
    const [late, key] = [own.at(0), own.key(0)]
    const { behaviour } = late
    late.behaviour = (args, socket) => {
      const reply = behaviour?.(args, socket)
      return args[0] === 'SET' ? undefined : reply
    }
    using client = await own.client()
    client.send(['MULTI'], ['SET', key, 'a'])
    expect((await client.next(2))[1]).toMatch(/^-ERR shard redis-1 .*no answer within 150 ms/)
    expect(await client.ask('EXEC')).toBe(ABORTED)
    expect(late.values.has(key)).toBe(false)
  })

  test('whose shard dies is aborted, and its client goes on', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['MULTI'], ['SET', own.key(1), 'a'])
    await client.next(2)
    for (const socket of own.at(1).sockets) socket.destroy()
    client.send(['GET', own.key(1)], ['EXEC'])
    expect((await client.next(2))[1]).toBe(ABORTED)
    expect(await client.ask('SET', own.key(0), 'b')).toBe(OK)
  })

  test('is aborted when its keys are placed anew', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['MULTI'], ['SET', own.key(1), 'a'])
    await client.next(2)
    own.world.proxy.useTopology(own.world.proxy.topology)
    expect(await client.ask('EXEC')).toBe(ABORTED)
  })

  test('is left by RESET', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['WATCH', own.key(0)], ['MULTI'], ['SET', own.key(0), 'a'], ['RESET'], ['EXEC'])
    expect((await client.next(5)).slice(3)).toEqual(['+RESET\r\n', '-ERR EXEC without MULTI\r\n'])
    await own.untilEngaged(0)
    expect(own.at(0).values.size).toBe(0)
  })
})

describe('a watched key', () => {
  test('that was changed aborts the transaction, and one that was not lets it be', async () => {
    await using own = await start()
    using client = await own.client()
    using other = await own.client()
    const key = own.key(1)
    for (const [isChanged, result] of [
      [true, '*-1\r\n'],
      [false, '*1\r\n+OK\r\n'],
    ] as const) {
      expect(await client.ask('WATCH', key)).toBe(OK)
      if (isChanged) await other.ask('SET', key, 'other')
      client.send(['GET', key], ['MULTI'], ['SET', key, 'own'], ['EXEC'])
      expect((await client.next(4))[3]).toBe(result)
    }
  })

  test.each(['UNWATCH', 'DISCARD'])(
    'is forgotten by %s, and its connection serves the next one',
    async (command) => {
      await using own = await start()
      using client = await own.client()
      using other = await own.client()
      const key = own.key(1)
      await client.ask('WATCH', key)
      const before = accepted(own.world)
      await other.ask('SET', key, 'other')
      if (command === 'DISCARD') await client.ask('MULTI')
      expect(await client.ask(command)).toBe(OK)
      client.send(['MULTI'], ['SET', key, 'own'], ['EXEC'])
      expect((await client.next(3))[2]).toBe('*1\r\n+OK\r\n')
      expect(accepted(own.world)).toBe(before)
    },
  )

  test('binds to its shard: another one cannot be watched, but be asked', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['WATCH', own.key(0)], ['WATCH', own.key(1)], ['GET', own.key(1)], ['GET', own.key(0)])
    expect(await client.next(4)).toEqual([OK, `-${CROSSSLOT}\r\n`, '$-1\r\n', '$-1\r\n'])
    expect(await client.ask('MGET', own.key(0), own.key(1))).toBe('*2\r\n$-1\r\n$-1\r\n')
  })

  test('is watched behind what was written before, also where no reply to that was wanted', async () => {
    await using own = await start()
    using client = await own.client()
    const [shard, key] = [own.at(1), own.key(1)]
    const { behaviour } = shard
    const late: (() => void)[] = []
    shard.behaviour = (args, socket) => {
      if (args[0] !== 'SET') return behaviour?.(args, socket)
      late.push(() => socket.write(behaviour?.(args, socket) ?? ''))
      return undefined
    }
    client.send(
      ['CLIENT', 'REPLY', 'SKIP'],
      ['SET', key, 'a'],
      ['WATCH', key],
      ['MULTI'],
      ['GET', key],
      ['EXEC'],
    )
    await until(() => late.length === 1, 'the command')
    using other = await own.client()
    await other.ask('PING')
    expect(shard.engaged).toBe(0)
    for (const answer of late) answer()
    expect(await client.next(4)).toEqual([OK, OK, QUEUED, '*1\r\n$1\r\na\r\n'])
  })

  test('is asked behind what goes to its shard and others at once', async () => {
    await using own = await start()
    using client = await own.client()
    const [shard, key] = [own.at(1), own.key(1)]
    const { behaviour } = shard
    const late: (() => void)[] = []
    shard.behaviour = (args, socket) => {
      if (args[0] !== 'MSET') return behaviour?.(args, socket)
      late.push(() => socket.write(behaviour?.(args, socket) ?? ''))
      return undefined
    }
    await client.ask('WATCH', key)
    client.send(['MSET', own.key(0), 'a', key, 'b'], ['GET', key], ['UNWATCH'], ['GET', key])
    await until(() => late.length === 1, 'the command')
    using other = await own.client()
    await other.ask('GET', own.key(0))
    for (const answer of late) answer()
    const value = '$1\r\nb\r\n'
    expect(await client.next(4)).toEqual([OK, value, OK, value])
  })

  test('is not forgotten by a subscription that comes and goes', async () => {
    await using own = await start()
    using client = await own.client()
    using other = await own.client()
    client.send(['WATCH', own.key(0)], ['SUBSCRIBE', 'c'], ['UNSUBSCRIBE', 'c'])
    await client.next(3)
    await other.ask('SET', own.key(0), 'other')
    client.send(['MULTI'], ['SET', own.key(0), 'own'], ['EXEC'])
    expect((await client.next(3))[2]).toBe('*-1\r\n')
  })

  test('makes a transaction be tried again when keys are placed anew', async () => {
    await using own = await start()
    using client = await own.client()
    await client.ask('WATCH', own.key(0))
    own.world.proxy.useTopology(own.world.proxy.topology)
    client.send(['MULTI'], ['SET', own.key(0), 'own'], ['EXEC'])
    expect((await client.next(3))[2]).toBe('*-1\r\n')
    expect(own.at(0).values.size).toBe(0)
  })

  test('makes a transaction be tried again also when its shard is there no longer, and the client stays', async () => {
    await using own = await start()
    using client = await own.client()
    await client.ask('WATCH', own.key(0))
    own.world.proxy.useTopology(topologyOf([own.at(1)]))
    await own.untilEngaged(0)
    client.send(['GET', 'a'], ['MULTI'], ['SET', 'a', 'b'], ['EXEC'], ['GET', 'a'])
    expect(await client.next(5)).toEqual(['$-1\r\n', OK, QUEUED, '*-1\r\n', '$-1\r\n'])
    expect(client.closed).toBe(false)
  })

  test('lets HELLO change the protocol, of the connection to its shard, too', async () => {
    await using own = await start()
    using client = await own.client()
    const key = own.key(0)
    await client.ask('WATCH', key)
    expect(await client.ask('HELLO', '3')).toMatch(/^%7\r\n/)
    expect(await client.ask('GET', key)).toBe('_\r\n')
    client.send(['MULTI'], ['GET', key], ['EXEC'])
    expect((await client.next(3))[2]).toBe('*1\r\n_\r\n')
    // The connection is kept for clients that speak RESP3, and not given to those that do not.
    using old = await own.client()
    old.send(['MULTI'], ['GET', key], ['EXEC'])
    expect((await old.next(3))[2]).toBe('*1\r\n$-1\r\n')
  })

  test('closes its client when its shard does not follow HELLO', async () => {
    await using own = await start()
    using client = await own.client()
    const { behaviour } = own.at(0)
    own.at(0).behaviour = (args, socket) =>
      args[0] === 'HELLO' ? "-ERR unknown command 'HELLO'\r\n" : behaviour?.(args, socket)
    client.send(['WATCH', own.key(0)], ['HELLO', '3'], ['GET', own.key(0)])
    await client.untilClosed()
    expect(client.received.toString()).not.toContain('$-1')
  })

  test('closes its client when its shard dies, for it would be taken for unchanged', async () => {
    await using own = await start()
    using client = await own.client()
    await client.ask('WATCH', own.key(0))
    for (const socket of own.at(0).sockets) socket.destroy()
    await client.untilClosed()
    expect(own.world.closed.at(-1)).toMatch(/^ERR shard redis-1 /)
  })

  test('of a shard that cannot be reached is an error, and the client goes on', async () => {
    await using own = await start()
    using client = await own.client()
    await own.at(0)[Symbol.asyncDispose]()
    expect(await client.ask('WATCH', own.key(0))).toMatch(/^-ERR shard redis-1 .*ECONNREFUSED/)
    expect(await client.ask('SET', own.key(1), 'a')).toBe(OK)
  })

  test('of a client that vanishes is left by its shard', async () => {
    await using own = await start()
    const client = await own.client()
    await client.ask('WATCH', own.key(0))
    await own.untilEngaged(1)
    client.socket.destroy()
    await own.untilEngaged(0)
  })
})

describe('a command that waits for a key', () => {
  test('holds up its own client, no other one, and longer than others may take', async () => {
    await using own = await start(3, 150)
    using client = await own.client()
    using other = await own.client()
    const key = own.key(1)
    client.send(['BLPOP', key, own.key(1, 1), '0'], ['PING'])
    await own.untilEngaged(1)
    const waited = performance.now()
    while (performance.now() - waited < 500) expect(await other.ask('SET', own.key(1, 2), 'a')).toBe(OK)
    expect(client.replies).toEqual([])
    expect(await other.ask('RPUSH', key, 'x')).toBe(':1\r\n')
    expect(await client.next(2)).toEqual([`*2\r\n${bulk(key)}${bulk('x')}`, '+PONG\r\n'])
  })

  test('may do so while keys are watched, of the same shard or another, and longer than others may take', async () => {
    await using own = await start(3, 150)
    using client = await own.client()
    using other = await own.client()
    await client.ask('WATCH', own.key(0))
    for (const index of [0, 1]) {
      const key = own.key(index, 1)
      client.send(['BLPOP', key, '0'])
      await until(() => own.at(index).engaged === (index === 0 ? 1 : 1), 'the command')
      const waited = performance.now()
      while (performance.now() - waited < 500) await other.ask('PING')
      await other.ask('RPUSH', key, 'x')
      expect(await client.next()).toEqual([`*2\r\n${bulk(key)}${bulk('x')}`])
    }
    await other.ask('SET', own.key(0), 'other')
    client.send(['MULTI'], ['GET', own.key(0)], ['EXEC'])
    expect((await client.next(3))[2]).toBe('*-1\r\n')
  })

  test('waits on one shard alone', async () => {
    await using own = await start()
    using client = await own.client()
    expect(await client.ask('BLPOP', own.key(0), own.key(1), '0')).toBe(`-${CROSSSLOT}\r\n`)
  })

  test.each(['vanishes', 'has ended its side'])('takes nothing for a client that %s', async (how) => {
    await using own = await start()
    using other = await own.client()
    const client = await own.client()
    client.send(['BLPOP', own.key(1), '0'])
    await own.untilEngaged(1)
    if (how === 'vanishes') client.socket.destroy()
    else client.socket.end()
    await own.untilEngaged(0)
    await other.ask('RPUSH', own.key(1), 'kept')
    expect(await other.ask('LLEN', own.key(1))).toBe(':1\r\n')
  })

  test('is told when its shard dies, and its client goes on', async () => {
    await using own = await start()
    using client = await own.client()
    client.send(['BLPOP', own.key(1), '0'], ['SET', own.key(0), 'a'])
    await own.untilEngaged(1)
    for (const socket of own.at(1).sockets) socket.destroy()
    const [told, next] = await client.next(2)
    expect(told).toMatch(/^-ERR shard redis-2 /)
    expect(next).toBe(OK)
  })

  test('is told when its keys are placed anew, for it would wait in vain', async () => {
    await using own = await start(2)
    using client = await own.client()
    const [shards, key] = [own.world.shards, own.key(1)]
    client.send(['BLPOP', key, '0'])
    await own.untilEngaged(1)
    const next = topologyOf(shards.slice(0, 1))
    own.world.proxy.useTopology(next)
    expect(await client.next()).toEqual([
      expect.stringMatching(/^-ERR shard redis-2 .* placed anew: ask again/),
    ])
    expect(await client.ask('LLEN', key)).toBe(':0\r\n')
  })
})

describe.each([
  ['2', '*'],
  ['3', '>'],
])('a subscriber in RESP%s', (protocol, mark) => {
  const confirmed = (name: string, channel: string, count: number): string =>
    `${mark}3\r\n${bulk(name)}${bulk(channel)}:${count}\r\n`
  const message = (...words: string[]): string => `${mark}${words.length}\r\n${words.map(bulk).join('')}`
  const hello = async (client: RawClient): Promise<RawClient> => {
    await client.ask('HELLO', protocol)
    return client
  }

  test('hears its channels, patterns and channels of shards', async () => {
    await using own = await start()
    using client = await hello(await own.client())
    using sharded = await hello(await own.client())
    using other = await own.client()
    const channel = own.key(2)
    expect(await client.ask('SUBSCRIBE', 'news', 'old')).toBe(confirmed('subscribe', 'news', 1))
    expect(await client.next()).toEqual([confirmed('subscribe', 'old', 2)])
    expect(await client.ask('PSUBSCRIBE', 'n*')).toBe(confirmed('psubscribe', 'n*', 3))
    expect(await sharded.ask('SSUBSCRIBE', channel)).toBe(confirmed('ssubscribe', channel, 1))
    expect(await other.ask('PUBLISH', 'news', 'm')).toBe(':2\r\n')
    expect(await client.next(2)).toEqual([
      message('message', 'news', 'm'),
      message('pmessage', 'n*', 'news', 'm'),
    ])
    expect(await other.ask('SPUBLISH', channel, 'm')).toBe(':1\r\n')
    expect(await sharded.next()).toEqual([message('smessage', channel, 'm')])
  })

  test('keeps channels of shards when it has left all others, and the other way round', async () => {
    await using own = await start()
    using client = await hello(await own.client())
    using other = await own.client()
    const channel = own.key(own.pubsub)
    client.send(
      ['SUBSCRIBE', 'a'],
      ['PSUBSCRIBE', 'b*'],
      ['SSUBSCRIBE', channel],
      ['UNSUBSCRIBE'],
      ['PUNSUBSCRIBE'],
    )
    expect((await client.next(5)).slice(2)).toEqual([
      confirmed('ssubscribe', channel, 1),
      confirmed('unsubscribe', 'a', 1),
      confirmed('punsubscribe', 'b*', 0),
    ])
    await other.ask('SPUBLISH', channel, 'm')
    expect(await client.next()).toEqual([message('smessage', channel, 'm')])
    client.send(['SUBSCRIBE', 'a'], ['SUNSUBSCRIBE'])
    expect(await client.next(2)).toEqual([
      confirmed('subscribe', 'a', 1),
      confirmed('sunsubscribe', channel, 0),
    ])
    await other.ask('PUBLISH', 'a', 'm')
    expect(await client.next()).toEqual([message('message', 'a', 'm')])
    client.send(['UNSUBSCRIBE', 'a'], ['SET', own.key(0), 'x'])
    expect(await client.next(2)).toEqual([confirmed('unsubscribe', 'a', 0), OK])
    await own.untilEngaged(0)
  })

  test('that leaves all channels at once has every confirmation before what follows', async () => {
    await using own = await start()
    using client = await hello(await own.client())
    client.send(['SUBSCRIBE', 'a', 'b', 'c'], ['UNSUBSCRIBE'], ['SET', own.key(0), 'x'], ['UNSUBSCRIBE'])
    const none = `${mark}3\r\n${bulk('unsubscribe')}${protocol === '3' ? '_\r\n' : '$-1\r\n'}:0\r\n`
    expect((await client.next(8)).slice(3)).toEqual([
      ...[confirmed('unsubscribe', 'a', 2), confirmed('unsubscribe', 'b', 1)],
      ...[confirmed('unsubscribe', 'c', 0), OK, none],
    ])
  })

  test('has channels of one shard alone, and no events that every shard tells for itself', async () => {
    await using own = await start()
    using client = await hello(await own.client())
    await client.ask('SSUBSCRIBE', own.key(0))
    expect(await client.ask('SSUBSCRIBE', own.key(1))).toBe(`-${CROSSSLOT}\r\n`)
    expect(await client.ask('SUBSCRIBE', '__keyspace@0__:a')).toMatch(/^-ERR keyspace events/)
  })

  test('is told when the shard refuses, and goes on', async () => {
    await using own = await start()
    const shard = own.at(own.pubsub)
    const { behaviour } = shard
    shard.behaviour = (args, socket) =>
      args[0] === 'SUBSCRIBE' ? '-NOPERM No permissions\r\n' : behaviour?.(args, socket)
    using client = await hello(await own.client())
    client.send(['SUBSCRIBE', 'a'], ['SET', own.key(0), 'x'])
    expect(await client.next(2)).toEqual(['-NOPERM No permissions\r\n', OK])
  })

  test('is told when the shard does not answer in time, and closed when it is subscribed already', async () => {
    await using own = await start(1, 200)
    const { behaviour } = own.at(0)
    own.at(0).behaviour = (args, socket) => (args[1] === 'late' ? undefined : behaviour?.(args, socket))
    using client = await own.client()
    expect(await client.ask('SUBSCRIBE', 'late')).toMatch(
      /^-ERR shard redis-1 .*: no answer within 200 ms\r\n$/,
    )
    expect(await client.ask('PING')).toBe('+PONG\r\n')
    await client.ask('SUBSCRIBE', 'news')
    client.send(['SUBSCRIBE', 'late'])
    await client.untilClosed()
    await own.untilEngaged(0)
  })

  test('that vanishes is left by its shard', async () => {
    await using own = await start()
    const client = await hello(await own.client())
    await client.ask('SUBSCRIBE', 'a')
    await own.untilEngaged(1)
    client.socket.destroy()
    await own.untilEngaged(0)
  })

  test('is closed when its shard dies, for it would hear nothing, and told so when it was never there', async () => {
    await using own = await start()
    using client = await hello(await own.client())
    await client.ask('SUBSCRIBE', 'a')
    await own.at(own.pubsub)[Symbol.asyncDispose]()
    await client.untilClosed()
    using later = await hello(await own.client())
    expect(await later.ask('SUBSCRIBE', 'a')).toMatch(/^-ERR shard redis-\d .*ECONNREFUSED/)
    expect(await later.ask('SET', own.key((own.pubsub + 1) % 3), 'x')).toBe(OK)
  })

  test('is closed when its channels are placed elsewhere, and not when they stay', async () => {
    await using own = await start()
    using client = await hello(await own.client())
    await client.ask('SUBSCRIBE', 'a')
    own.world.proxy.useTopology(own.world.proxy.topology)
    using other = await own.client()
    await other.ask('PUBLISH', 'a', 'm')
    expect(await client.next()).toEqual([message('message', 'a', 'm')])
    const { shards } = own.world
    own.world.proxy.useTopology(topologyOf([...shards.slice(own.pubsub + 1), ...shards.slice(0, own.pubsub)]))
    await client.untilClosed()
  })
})

describe('a subscriber', () => {
  test('whose channels went to the gutter is closed when their shard is back, for nobody speaks there', async () => {
    const shards = await statefulShards(1)
    const [spare] = await statefulShards(1)
    const [shard] = shards
    if (shard === undefined || spare === undefined) throw new Error('no shards')
    const { port } = shard
    const { ring, shards: members } = topologyOf(shards)
    await using world = await startWorld([...shards, spare], {
      topology: new Topology(ring, members, { gutter: topologyOf([spare]) }),
    })
    await shard[Symbol.asyncDispose]()
    await until(() => members[0]?.up === false, 'the shard to be down')
    using client = await rawClient(world.port)
    await client.ask('SUBSCRIBE', 'a')
    expect(spare.engaged).toBe(1)
    await using back = await new StatefulShard().listen(port)
    await client.untilClosed()
    using again = await rawClient(world.port)
    await again.ask('SUBSCRIBE', 'a')
    expect([back.engaged, spare.engaged]).toEqual([1, 0])
    await world.proxy[Symbol.asyncDispose]()
  })

  test('in RESP2 may only do what belongs to it, and PING is answered as a message', async () => {
    await using own = await start()
    using client = await own.client()
    await client.ask('SUBSCRIBE', 'a')
    for (const command of [['GET', 'a'], ['MULTI'], ['HELLO', '3'], ['MONITOR'], ['CLIENT', 'ID']])
      expect(await client.ask(...command)).toMatch(/^-ERR Can't execute '[a-z|]+': only \(P\|S\)SUBSCRIBE/)
    expect(await client.ask('PING')).toBe('*2\r\n$4\r\npong\r\n$0\r\n\r\n')
    expect(await client.ask('PING', 'x')).toBe('*2\r\n$4\r\npong\r\n$1\r\nx\r\n')
    expect(await client.ask('PING', 'x', 'y')).toMatch(/^-ERR wrong number of arguments for 'ping'/)
    client.send(['PING'], ['QUIT'])
    expect(await client.next(2)).toEqual(['*2\r\n$4\r\npong\r\n$0\r\n\r\n', OK])
    await client.untilClosed()
    await own.untilEngaged(0)
  })

  test('in RESP3 may do everything else, transactions and waiting for keys among it', async () => {
    await using own = await start()
    using client = await own.client()
    using other = await own.client()
    client.send(['HELLO', '3'], ['SUBSCRIBE', 'a'])
    await client.next(2)
    client.send(['PING'], ['SET', own.key(0), 'x'], ['MULTI'], ['GET', own.key(0)], ['EXEC'])
    expect(await client.next(5)).toEqual(['+PONG\r\n', OK, OK, QUEUED, '*1\r\n$1\r\nx\r\n'])
    client.send(['BLPOP', own.key(1), '0'])
    await own.untilEngaged(2)
    await other.ask('PUBLISH', 'a', 'm')
    await other.ask('RPUSH', own.key(1), 'y')
    expect(await client.next(2)).toEqual([
      `>3\r\n${bulk('message')}${bulk('a')}${bulk('m')}`,
      `*2\r\n${bulk(own.key(1))}${bulk('y')}`,
    ])
  })

  test('has its messages in their order, also those that come amid a reply', async () => {
    await using own = await start(1)
    using client = await own.client()
    using other = await own.client()
    await client.ask('HELLO', '3')
    await client.ask('SUBSCRIBE', 'news')
    const { behaviour } = own.at(0)
    let say = (_: string): void => undefined
    own.at(0).behaviour = (args, socket) => {
      if (args[0] !== 'GET') return behaviour?.(args, socket)
      say = (text) => socket.write(text)
      return args[1] === 'b' ? '$4\r\nha' : undefined
    }
    client.send(['GET', 'b'], ['GET', 'c'])
    const message = (text: string) => `>3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\n${text}\r\n`
    await until(() => client.received.includes('$4\r\nha'), 'half of a reply')
    await other.ask('PUBLISH', 'news', 'one')
    say('lf\r\n')
    await until(() => client.received.includes('half'), 'the other half')
    await other.ask('PUBLISH', 'news', 'two')
    say('$1\r\nc\r\n')
    const replies = await client.next(4)
    expect(replies.filter((reply) => reply.startsWith('$'))).toEqual([bulk('half'), bulk('c')])
    expect(replies.filter((reply) => reply.startsWith('>'))).toEqual([message('one'), message('two')])
  })

  test('may go back to RESP2 by HELLO, and gets no message in RESP3 any more', async () => {
    await using own = await start()
    using client = await own.client()
    using other = await own.client()
    client.send(['HELLO', '3'], ['SUBSCRIBE', 'a'])
    await client.next(2)
    const { behaviour } = own.at(own.pubsub)
    let late = (): void => undefined
    own.at(own.pubsub).behaviour = (args, socket) => {
      if (args[0] !== 'HELLO' || args[1] !== '2') return behaviour?.(args, socket)
      late = () => socket.write(behaviour?.(args, socket) ?? '')
      return undefined
    }
    expect(await client.ask('HELLO', '2')).toMatch(/^\*14\r\n/)
    const message = `*3\r\n${bulk('message')}${bulk('a')}${bulk('m')}`
    await other.ask('PUBLISH', 'a', 'm')
    expect(await client.next()).toEqual([message])
    late()
    await other.ask('PUBLISH', 'a', 'm')
    expect(await client.next()).toEqual([message])
    expect(await client.ask('GET', 'a')).toMatch(/^-ERR Can't execute 'get'/)
    expect(await client.ask('PUNSUBSCRIBE')).toBe(`*3\r\n${bulk('punsubscribe')}$-1\r\n:1\r\n`)
    expect(await client.ask('UNSUBSCRIBE')).toBe(`*3\r\n${bulk('unsubscribe')}${bulk('a')}:0\r\n`)
  })

  test('is told of by CLIENT LIST', async () => {
    await using own = await start()
    using client = await own.client()
    using other = await own.client()
    client.send(['CLIENT', 'SETNAME', 'listener'], ['SUBSCRIBE', 'a', 'b'], ['PSUBSCRIBE', 'c*'])
    await client.next(4)
    const list = await other.ask('CLIENT', 'LIST', 'TYPE', 'pubsub')
    expect(list).toMatch(/ name=listener .* flags=P .* sub=2 psub=1 ssub=0 multi=-1 .* cmd=psubscribe /)
    expect(list.match(/id=/g)).toHaveLength(1)
  })
})

describe('MONITOR', () => {
  const lines = async (client: RawClient, count: number): Promise<string[]> =>
    (await client.next(count)).map((line) => line.replace(/^\+[\d.]+ \[.*?\] /, '').trim()).sort()

  test('shows the commands of all shards, until RESET', async () => {
    await using own = await start()
    using client = await own.client()
    using other = await own.client()
    expect(await client.ask('MONITOR')).toBe(OK)
    await own.untilEngaged(3)
    for (const index of [0, 1, 2]) await other.ask('SET', own.key(index), 'a')
    expect(await lines(client, 3)).toEqual([0, 1, 2].map((index) => `"SET" "${own.key(index)}" "a"`).sort())
    expect(await client.ask('RESET')).toBe('+RESET\r\n')
    await own.untilEngaged(0)
    expect(await client.ask('GET', own.key(0))).toBe('$1\r\na\r\n')
  })

  test('lets its client ask the ambassador alone, and QUIT', async () => {
    await using own = await start()
    using client = await own.client()
    await client.ask('MONITOR')
    for (const command of [['GET', 'a'], ['DBSIZE'], ['SUBSCRIBE', 'a'], ['MULTI']])
      expect(await client.ask(...command)).toMatch(/^-ERR [A-Z]+ is refused while monitoring; use another/)
    client.send(['MONITOR'], ['PING'], ['QUIT'])
    expect(await client.next(2)).toEqual(['+PONG\r\n', OK])
    await client.untilClosed()
    await own.untilEngaged(0)
  })

  test('is an error where a shard cannot be reached, and the client goes on', async () => {
    await using own = await start()
    using client = await own.client()
    await own.at(1)[Symbol.asyncDispose]()
    client.send(['MONITOR'], ['SET', own.key(0), 'a'])
    const [told, next] = await client.next(2)
    expect(told).toMatch(/^-ERR shard redis-2 .*ECONNREFUSED/)
    expect(next).toBe(OK)
    await own.untilEngaged(0)
  })

  test('is an error where a shard does not answer in time, or refuses', async () => {
    await using own = await start(3, 150)
    using client = await own.client()
    const { behaviour } = own.at(1)
    let answer: string | undefined
    own.at(1).behaviour = (args, socket) => (args[0] === 'MONITOR' ? answer : behaviour?.(args, socket))
    expect(await client.ask('MONITOR')).toMatch(/^-ERR shard redis-2 .*no answer within 150 ms/)
    answer = '-NOPERM No permissions\r\n'
    expect(await client.ask('MONITOR')).toMatch(/^-ERR shard redis-2 .*NOPERM No permissions/)
    await own.untilEngaged(0)
  })

  test('closes its client when a shard dies, or others come, for the stream would not show it', async () => {
    await using own = await start()
    using client = await own.client()
    await client.ask('MONITOR')
    for (const socket of own.at(1).sockets) socket.destroy()
    await client.untilClosed()
    expect(own.world.closed.at(-1)).toMatch(/^ERR shard redis-2 /)
    using later = await own.client()
    await later.ask('MONITOR')
    own.world.proxy.useTopology(topologyOf(own.world.shards))
    await later.untilClosed()
  })

  test('of a client that vanishes is ended at every shard', async () => {
    await using own = await start()
    const client = await own.client()
    await client.ask('MONITOR')
    await own.untilEngaged(3)
    client.socket.destroy()
    await own.untilEngaged(0)
  })

  test('drops a client that does not read, at the limit of its replies', async () => {
    const shards = await statefulShards(2)
    await using world = await startWorld(shards, { limits: { replyBytes: 1024 * 1024 } })
    using client = await rawClient(world.port)
    using other = await rawClient(world.port)
    await client.ask('MONITOR')
    client.socket.pause()
    const large = 'x'.repeat(50_000)
    while (world.closed.length === 0) expect(await other.ask('SET', 'large', large)).toBe(OK)
    expect(world.closed).toEqual(['it does not read its replies'])
  })

  test('comes after what was asked before, and no line before its OK', async () => {
    await using own = await start()
    using client = await own.client()
    const { behaviour } = own.at(1)
    let late = (): void => undefined
    own.at(1).behaviour = (args, socket) => {
      if (args[0] !== 'MONITOR') return behaviour?.(args, socket)
      late = () => socket.write(encodeSimple('OK'))
      return undefined
    }
    client.send(['SET', own.key(0), 'a'], ['MONITOR'])
    await until(() => own.at(0).engaged === 1, 'MONITOR')
    using other = await own.client()
    await other.ask('SET', own.key(0), 'b')
    late()
    expect(await client.next(2)).toEqual([OK, OK])
  })
})
