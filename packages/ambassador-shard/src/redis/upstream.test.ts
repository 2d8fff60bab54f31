import { connect } from 'node:net'
import { encodeCommand, encodeError } from '@outrider/resp'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { shardAddress } from './address.ts'
import { type Behaviour, type TinyShard, tinyShard, until } from './proxy-test-support.ts'
import { NOBODY, type ReplySink } from './reply-sink.ts'
import type { Owner, ShardConnection } from './shard-connection.ts'
import { type ShardAddress, Upstream, type UpstreamLimits } from './upstream.ts'

const LIMITS: UpstreamLimits = {
  ...{ connectTimeoutMs: 1_000, timeoutMs: 1_000, failureLimit: 2 },
  ...{ backoffMs: 20, backoffMostMs: 80, countErrors: false },
}

/** A server and what is told of it; no time passes but by `tick`. */
interface Scene extends AsyncDisposable {
  readonly tiny: TinyShard
  readonly upstream: Upstream
  readonly states: string[]
}

async function scene(
  limits: Partial<UpstreamLimits> = {},
  behaviour?: Behaviour,
  options: Parameters<typeof shardAddress>[1] = {},
): Promise<Scene> {
  const tiny = await tinyShard(behaviour)
  const address = shardAddress({ host: '127.0.0.1', port: tiny.port }, options)
  const states: string[] = []
  const upstream = new Upstream('redis-1', address, { ...LIMITS, ...limits }, ({ up, reason }) =>
    states.push(up ? 'up' : `down: ${reason}`),
  )
  return {
    ...{ tiny, upstream, states },
    async [Symbol.asyncDispose]() {
      upstream.close('the test is over')
      await until(() => tiny.sockets.size === 0, 'the end of all connections')
      if (tiny.server.listening) await tiny[Symbol.asyncDispose]()
    },
  }
}

/** Keeps what comes. */
class Kept implements ReplySink {
  readonly replies: string[] = []
  reply(bytes: Buffer, start: number, end: number): void {
    this.replies.push(bytes.toString('latin1', start, end))
  }
  lost(count: number, reason: string): void {
    for (let left = count; left > 0; left -= 1) this.replies.push(`lost: ${reason}`)
  }
}

function ask(connection: ShardConnection | undefined, ...args: string[]): Kept {
  const kept = new Kept()
  const command = encodeCommand(args)
  connection?.send(kept, command, 0, command.length, 1, performance.now())
  return kept
}

/** Sends one command on the connection that all share, and gives what it is answered. */
async function answer(upstream: Upstream, ...args: string[]): Promise<string> {
  const kept = ask(upstream.shared(2), ...args)
  await until(() => kept.replies.length > 0, 'an answer')
  return kept.replies[0] ?? ''
}

/** Ends a server, and all its connections. */
async function kill({ tiny }: Scene): Promise<void> {
  tiny.server.close()
  for (const socket of tiny.sockets) socket.destroy()
  await until(() => tiny.sockets.size === 0, 'its end')
}

const owner = (closed: string[] = []): Owner => ({
  ...{ onClose: (reason) => closed.push(reason), pushes: NOBODY, unasked: NOBODY, timeless: false },
})

afterEach(() => {
  vi.restoreAllMocks()
})

describe('a server that breaks', () => {
  test('is down after so many failures in a row, and is not asked any more', async () => {
    await using at = await scene({ failureLimit: 3 })
    const { upstream } = at
    const { port } = at.tiny
    expect(await answer(upstream, 'SET', 'key', '1')).toBe('+OK\r\n')
    await kill(at)
    await until(() => upstream.counts.failures === 1, 'the first')
    for (const failures of [2, 3]) {
      expect(await answer(upstream, 'GET', 'key')).toMatch(/^lost: connect ECONNREFUSED/)
      expect(upstream.counts.failures).toBe(failures)
    }
    expect(at.states).toEqual([expect.stringMatching(/^down: connect ECONNREFUSED/)])
    const { connects } = upstream.counts
    expect(upstream.shared(2)).toBeUndefined()
    expect(upstream.shared(3)).toBeUndefined()
    expect(upstream.counts.connects).toBe(connects)
    expect(upstream.fault(upstream.reason)).toMatch(
      new RegExp(`^ERR shard redis-1 \\(127\\.0\\.0\\.1:${port}\\): connect ECONNREFUSED`),
    )
  })

  test('is known to be down before somebody asks', async () => {
    await using at = await scene()
    at.upstream.warm()
    await until(() => at.tiny.sockets.size === 1, 'the connection')
    await until(() => at.upstream.shared(2)?.ready ?? false, 'its greeting')
    await kill(at)
    await until(() => {
      at.upstream.tick(performance.now())
      return !at.upstream.up
    }, 'its end')
    expect(at.states).toHaveLength(1)
  })

  test('and works in between has not failed in a row', async () => {
    await using at = await scene()
    for (let round = 0; round < 5; round += 1) {
      expect(await answer(at.upstream, 'SET', 'key', String(round))).toBe('+OK\r\n')
      for (const socket of at.tiny.sockets) socket.destroy()
      await until(() => at.tiny.sockets.size === 0, 'the end of its connection')
      await until(() => at.upstream.connections === 0, 'that it is seen')
    }
    expect(at.states).toEqual([])
    expect(at.upstream.counts).toMatchObject({ connects: 5, failures: 5, replies: 5 })
  })

  test('is tried again after a time that doubles up to a limit, and is back when it answers', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    const target = await tinyShard()
    const { port } = target
    await target[Symbol.asyncDispose]()
    const tried: number[] = []
    let clock = 0
    const address: ShardAddress = {
      text: 'nowhere',
      connect: (onread) => {
        tried.push(clock)
        return connect({ host: '127.0.0.1', port, onread })
      },
    }
    const states: string[] = []
    const upstream = new Upstream('redis-1', address, LIMITS, ({ up }) => states.push(up ? 'up' : 'down'))
    upstream.warm()
    await until(() => upstream.connections === 0, 'a failure')
    upstream.warm()
    await until(() => !upstream.up, 'its end')
    const down = performance.now()
    tried.length = 0
    for (; clock < 400; clock += 1) {
      const before = tried.length
      upstream.tick(down + clock)
      if (tried.length > before) await until(() => upstream.connections === 0, 'a failure')
    }
    // The first one was set a moment before the clock was read.
    expect(tried.map((time, at) => time - (tried[at - 1] ?? 0))).toEqual([
      expect.toSatisfy((first: number) => first >= 15 && first <= 21),
      ...[40, 80, 80, 80, 80],
    ])
    const back = await tinyShard()
    await back[Symbol.asyncDispose]()
    await back.listen(port)
    upstream.tick(down + 1_000)
    await until(() => upstream.up, 'its return')
    expect(states).toEqual(['down', 'up'])
    expect(upstream.reason).toBe('')
    upstream.close('the test is over')
    await back[Symbol.asyncDispose]()
  })

  test('that answers its greeting by an error is down for that reason, and no secret is told', async () => {
    const refuse: Behaviour = ([name]) =>
      name === 'AUTH' ? encodeError('WRONGPASS invalid username-password pair') : '+PONG\r\n'
    await using at = await scene({ failureLimit: 1 }, refuse, { username: 'me', password: 'a secret' })
    expect(await answer(at.upstream, 'GET', 'key')).toBe('lost: WRONGPASS invalid username-password pair')
    expect(at.states).toEqual(['down: WRONGPASS invalid username-password pair'])
    expect(at.tiny.commands[0]).toEqual(['AUTH', 'me', 'a secret'])
    expect(at.upstream.fault(at.upstream.reason)).not.toContain('secret')
  })

  test.each(['OOM command not allowed', 'BUSY Redis is busy', 'LOADING Redis is loading'])(
    'by %s is down only where errors count',
    async (text) => {
      const say: Behaviour = ([name]) => (name === 'PING' ? '+PONG\r\n' : encodeError(text))
      await using plain = await scene({}, say)
      await using counting = await scene({ countErrors: true }, say)
      for (let round = 0; round < 2; round += 1) {
        expect(await answer(plain.upstream, 'SET', 'key', '1')).toBe(`-${text}\r\n`)
        expect(await answer(counting.upstream, 'SET', 'key', '1')).toBe(`-${text}\r\n`)
      }
      expect(plain.states).toEqual([])
      expect(counting.states).toEqual([`down: ${text}`])
    },
  )

  test('that repeats its greeting in an error tells nobody the password', async () => {
    const said = [
      "-ERR unknown command 'AUTH', with args beginning with: 'user' 's3cret'\r\n",
      '-ERR s3cret is wrong\r\n',
      's3cret\r\n',
    ]
    for (const answered of said) {
      await using at = await scene({}, () => answered, { username: 'user', password: 's3cret' })
      expect(await answer(at.upstream, 'GET', 'key')).toMatch(
        /^lost: (ERR unknown command 'AUTH'|ERR \*\*\* is wrong|malformed: .*)$/,
      )
      expect(JSON.stringify([at.upstream.reason, at.states])).not.toContain('s3cret')
    }
  })

  test('by errors of another kind is never down', async () => {
    await using at = await scene({ countErrors: true, failureLimit: 1 }, ([name]) =>
      name === 'PING' ? '+PONG\r\n' : encodeError('WRONGTYPE Operation against a key'),
    )
    for (let round = 0; round < 5; round += 1) await answer(at.upstream, 'GET', 'key')
    expect(at.states).toEqual([])
  })

  test('has no RESP3: who speaks it is told so, and the others go on', async () => {
    await using at = await scene({ failureLimit: 1 }, (args) =>
      args[0] === 'HELLO' ? encodeError('ERR unknown command `HELLO`') : at.tiny.answer(args),
    )
    const kept = ask(at.upstream.shared(3), 'GET', 'key')
    await until(() => kept.replies.length > 0, 'an answer')
    expect(kept.replies).toEqual(['lost: ERR unknown command `HELLO`'])
    expect(await answer(at.upstream, 'SET', 'key', '1')).toBe('+OK\r\n')
    expect(at.states).toEqual([])
  })
})

describe('a server that is silent', () => {
  const silent: Behaviour = ([name]) => (name === 'PING' ? '+PONG\r\n' : undefined)

  test('fails each command at its deadline, and is down after so many', async () => {
    await using at = await scene({}, silent)
    const connection = at.upstream.shared(2)
    await until(() => connection?.ready ?? false, 'the greeting')
    const first = ask(connection, 'GET', 'a')
    const now = performance.now()
    at.upstream.tick(now + 500)
    expect(first.replies).toEqual([])
    at.upstream.tick(now + 1_001)
    expect(first.replies).toEqual(['lost: no answer within 1000 ms'])
    expect(at.states).toEqual([])
    const second = ask(connection, 'GET', 'b')
    at.upstream.tick(now + 1_500)
    expect(second.replies).toEqual(['lost: no answer within 1000 ms'])
    expect(at.states).toEqual(['down: no answer within 1000 ms'])
    expect(at.upstream.counts.timeouts).toBe(2)
    // Its late replies might still come, but not for ever.
    at.upstream.tick(now + 2_500)
    expect(connection?.closed).toBe(true)
  })

  test('is silent, too, while a reply of it goes on without an end', async () => {
    const begin: Behaviour = ([name, key]) =>
      name === 'PING' ? '+PONG\r\n' : key === 'a' ? '$1000\r\nx' : undefined
    await using at = await scene({}, begin)
    const connection = at.upstream.shared(2)
    await until(() => connection?.ready ?? false, 'the greeting')
    const first = ask(connection, 'GET', 'a')
    const second = ask(connection, 'GET', 'b')
    await until(() => first.replies.length > 0, 'the beginning')
    const now = performance.now()
    /** Some more of it comes, and then so much time has passed. */
    const drip = async (ms: number): Promise<void> => {
      const { replyBytes } = at.upstream.counts
      for (const socket of at.tiny.sockets) socket.write('x')
      await until(() => at.upstream.counts.replyBytes > replyBytes, 'a byte')
      at.upstream.tick(now + ms)
    }
    await drip(500)
    expect(second.replies).toEqual([])
    await drip(1_100)
    expect(first.replies.at(-1)).toBe('lost: no answer within 1000 ms')
    expect(second.replies).toEqual(['lost: no answer within 1000 ms'])
    await drip(2_500)
    expect(connection?.closed).toBe(true)
    expect(at.states).toEqual(['down: silent for 2000 ms'])
  })

  test('while it is connected to fails commands at their deadline, too, and may go on connecting', async () => {
    await using at = await scene({ timeoutMs: 100 }, () => undefined)
    const connection = at.upstream.shared(2)
    const kept = ask(connection, 'GET', 'a')
    const now = performance.now()
    at.upstream.tick(now + 50)
    expect(kept.replies).toEqual([])
    at.upstream.tick(now + 300)
    expect(kept.replies).toEqual(['lost: no answer within 100 ms'])
    expect(connection?.closed).toBe(false)
    // What answers in the end is the greeting, then what nobody awaits any more, then the next.
    await until(() => at.tiny.commands.length === 1, 'the command')
    const later = ask(connection, 'GET', 'b')
    for (const socket of at.tiny.sockets) socket.write('+PONG\r\n$1\r\na\r\n$1\r\nb\r\n')
    await until(() => later.replies.length > 0, 'the answer')
    expect(later.replies).toEqual(['$1\r\nb\r\n'])
    expect(kept.replies).toHaveLength(1)
  })

  test('as it is connected to is given up at a limit of its own', async () => {
    await using at = await scene({ failureLimit: 1 }, () => undefined)
    const kept = ask(at.upstream.shared(2), 'GET', 'a')
    at.upstream.tick(performance.now() + 1_050)
    expect(kept.replies).toHaveLength(1)
    expect(at.states).toEqual(['down: no connection within 1000 ms'])
  })
})

describe('connections', () => {
  test('are one for all, for each protocol', async () => {
    await using at = await scene({}, (args) => (args[0] === 'HELLO' ? '%0\r\n' : at.tiny.answer(args)))
    const two = at.upstream.shared(2)
    const three = at.upstream.shared(3)
    expect(at.upstream.shared(2)).toBe(two)
    expect(at.upstream.shared(3)).toBe(three)
    expect(two).not.toBe(three)
    expect(at.upstream.connections).toBe(2)
  })

  test('greet with name, password and database', async () => {
    await using at = await scene({}, (args) => (args[0] === 'PING' ? '+PONG\r\n' : '+OK\r\n'), {
      ...{ username: 'me', password: 'pw', db: 3 },
    })
    expect(await answer(at.upstream, 'GET', 'key')).toBe('+OK\r\n')
    const kept = ask(at.upstream.shared(3), 'GET', 'key')
    await until(() => kept.replies.length > 0, 'an answer')
    expect(at.tiny.commands).toEqual([
      ...[
        ['AUTH', 'me', 'pw'],
        ['SELECT', '3'],
        ['GET', 'key'],
      ],
      ...[
        ['HELLO', '3', 'AUTH', 'me', 'pw'],
        ['SELECT', '3'],
        ['GET', 'key'],
      ],
    ])
  })

  test('of one client are given to the next when they are given back, and only while nothing is awaited', async () => {
    await using at = await scene({}, (args) => (args[0] === 'HELLO' ? '%0\r\n' : at.tiny.answer(args)))
    const { upstream } = at
    const first = upstream.own(2, owner())
    await until(() => first.ready, 'its greeting')
    expect(upstream.own(2, owner())).not.toBe(first)
    expect(upstream.giveBack(first)).toBe(true)
    expect(upstream.own(3, owner())).not.toBe(first)
    expect(upstream.own(2, owner())).toBe(first)
    ask(first, 'GET', 'key')
    upstream.giveBack(first)
    expect(first.closed).toBe(true)
    expect(upstream.giveBack(first)).toBe(false)
    expect(upstream.connections).toBe(2)
  })

  test('that are not used are 64 at most', async () => {
    await using at = await scene()
    const all = Array.from({ length: 70 }, () => at.upstream.own(2, owner()))
    await until(() => all.every(({ ready }) => ready), 'their greetings')
    for (const connection of all) at.upstream.giveBack(connection)
    expect(at.upstream.connections).toBe(64)
  })

  test('of one client that break tell it why, and are not given to another', async () => {
    await using at = await scene()
    const closed: string[] = []
    const connection = at.upstream.own(2, owner(closed))
    const unused = at.upstream.own(2, owner(closed))
    await until(() => connection.ready && unused.ready, 'their greetings')
    at.upstream.giveBack(unused)
    for (const socket of at.tiny.sockets) socket.destroy()
    await until(() => connection.closed && unused.closed, 'their end')
    expect(closed).toHaveLength(1)
    expect(at.upstream.connections).toBe(0)
    expect(at.upstream.own(2, owner())).not.toBe(unused)
  })

  test('end with what is in flight when the server is no longer in use', async () => {
    await using at = await scene({}, (args, socket) => {
      if (args[0] !== 'GET') return at.tiny.answer(args)
      setTimeout(() => socket.write('$4\r\nlate\r\n'), 30)
      return undefined
    })
    const connection = at.upstream.shared(2)
    await until(() => connection?.ready ?? false, 'the greeting')
    const unused = at.upstream.own(2, owner())
    await until(() => unused.ready, 'its greeting')
    at.upstream.giveBack(unused)
    const kept = ask(connection, 'GET', 'key')
    at.upstream.retire()
    expect(unused.closed).toBe(true)
    await until(() => kept.replies.length > 0, 'the answer')
    expect(kept.replies).toEqual(['$4\r\nlate\r\n'])
    at.upstream.close('it is no longer in use')
    expect(at.upstream.connections).toBe(0)
    at.upstream.warm()
    at.upstream.tick(performance.now() + 10_000)
    expect(at.upstream.connections).toBe(0)
    expect(at.states).toEqual([])
  })

  test('tell what is in flight, and count bytes and replies', async () => {
    await using at = await scene()
    const connection = at.upstream.shared(2)
    await until(() => connection?.ready ?? false, 'the greeting')
    const { replyBytes } = at.upstream.counts
    const kept = ask(connection, 'GET', 'none')
    expect(at.upstream.inFlight).toBe(1)
    expect(at.upstream.waitingBytes).toBe(encodeCommand(['GET', 'none']).length)
    await until(() => kept.replies.length > 0, 'the answer')
    expect(at.upstream.inFlight).toBe(0)
    expect(at.upstream.counts).toMatchObject({
      ...{ replies: 1, requestBytes: encodeCommand(['GET', 'none']).length },
      replyBytes: replyBytes + '$-1\r\n'.length,
    })
    expect(at.upstream.latency.count).toBe(1)
  })
})

test('a push that is malformed ends the connection, and nothing of it is kept', async () => {
  await using at = await scene({}, ([name], socket) => {
    if (name === 'GET') socket.write('>1\r\nQ\r\n')
    return name === 'HELLO' ? '%0\r\n' : name === 'PING' ? '+PONG\r\n' : undefined
  })
  const kept = ask(at.upstream.shared(3), 'GET', 'key')
  await until(() => kept.replies.length > 0, 'its end')
  expect(kept.replies).toEqual(['lost: malformed: "Q" begins no reply'])
})
