import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { encodeCommand, encodeSimple } from '@outrider/resp'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CROSSSLOT } from './command-policy.ts'
import { startRedisProxy } from './proxy.ts'
import { rawClient, startWorld, type TinyShard, tinyShard, topologyOf, until } from './proxy-test-support.ts'

const three = (): Promise<TinyShard[]> => Promise.all([tinyShard(), tinyShard(), tinyShard()])
const OK = '+OK\r\n'

test('an ambassador that cannot listen says so, and leaves its shards alone', async () => {
  await using shard = await tinyShard()
  await using other = await tinyShard()
  const listen = { host: '127.0.0.1', port: other.port }
  await expect(startRedisProxy({ listen, topology: topologyOf([shard]) })).rejects.toThrow('EADDRINUSE')
  await delay(200)
  expect(shard.accepted).toBe(0)
})

describe('commands with one key', () => {
  test('go to the shard of the key, as they came, and the reply comes back as it was', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    for (const index of [0, 1, 2]) {
      const key = world.keyOn(index)
      expect(await client.ask('sEt', key, `value ${index} \r\n\xe9`)).toBe(OK)
      expect(world.shards[index]?.commands.at(-1)?.slice(0, 2)).toEqual(['sEt', key])
      expect(await client.ask('GET', key)).toMatch(/^\$\d+\r\nvalue/)
    }
    expect(await client.ask('GET', 'nothing')).toBe('$-1\r\n')
  })

  test('are answered in the order in which they were sent, however late a shard is', async () => {
    const late: (() => void)[] = []
    const slow = await tinyShard()
    slow.behaviour = (args, socket) => {
      if (args[0] === 'PING') return encodeSimple('PONG')
      late.push(() => socket.write(slow.answer(args)))
      return undefined
    }
    await using world = await startWorld([slow, await tinyShard(), await tinyShard()])
    using client = await rawClient(world.port)
    const order = [1, 0, 2, 1, 0, 0, 2, 1]
    client.send(...order.map((index, at) => ['SET', world.keyOn(index), String(at)]))
    client.send(...order.map((index) => ['GET', world.keyOn(index)]))
    await until(() => late.length === 6, 'all commands of the slow shard')
    for (const answer of late) answer()
    const replies = await client.next(16)
    expect(replies.slice(0, 8)).toEqual(order.map(() => OK))
    const last = order.map((index) => order.lastIndexOf(index))
    expect(replies.slice(8)).toEqual(last.map((at) => `$1\r\n${at}\r\n`))
  })

  test('keep their order and their clients apart, wherever reads cut them, for any mixture', async () => {
    await using world = await startWorld(await three())
    let run = 0
    const property = fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(8), fc.nat(2)), { minLength: 1, maxLength: 40 }),
      fc.array(fc.nat(400), { maxLength: 6 }),
      async (choices, cuts) => {
        run += 1
        using one = await rawClient(world.port)
        using two = await rawClient(world.port)
        const values = new Map<string, string>()
        const commands: Buffer[] = []
        const expected: string[] = []
        for (const [at, [key, what]] of choices.entries()) {
          const name = `${run}:${key}`
          if (what === 0) {
            values.set(name, String(at))
            commands.push(encodeCommand(['SET', name, String(at)]))
            expected.push(OK)
          } else if (what === 1) {
            commands.push(encodeCommand(['GET', name]))
            const value = values.get(name)
            expected.push(value === undefined ? '$-1\r\n' : `$${value.length}\r\n${value}\r\n`)
          } else {
            commands.push(encodeCommand(['PING', name]))
            expected.push(`$${name.length}\r\n${name}\r\n`)
          }
        }
        const bytes = Buffer.concat(commands)
        let from = 0
        for (const cut of [...cuts].sort((a, b) => a - b)) {
          one.socket.write(bytes.subarray(from, Math.min(cut, bytes.length)))
          from = Math.min(cut, bytes.length)
          await new Promise((resolve) => setImmediate(resolve))
          two.send(['PING', 'two'])
        }
        one.socket.write(bytes.subarray(from))
        expect(await one.next(expected.length)).toEqual(expected)
        expect(await two.next(cuts.length)).toEqual(cuts.map(() => '$3\r\ntwo\r\n'))
      },
    )
    await fc.assert(property, { numRuns: 60 })
  })

  test('may be inline', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    client.socket.write('\r\nSET "a key" 5\r\nGET "a key"\r\n')
    expect(await client.next(2)).toEqual([OK, '$1\r\n5\r\n'])
  })

  test('may be as large as 20 MB, in pieces, and other clients do not wait', async () => {
    await using world = await startWorld(await three())
    using large = await rawClient(world.port)
    using small = await rawClient(world.port)
    const value = Buffer.alloc(20_000_000, 'x')
    const command = encodeCommand(['SET', 'large', value])
    large.socket.write(command.subarray(0, 10_000_000))
    for (const index of [0, 1, 2]) expect(await small.ask('SET', world.keyOn(index), '1')).toBe(OK)
    large.socket.write(command.subarray(10_000_000))
    expect(await large.next()).toEqual([OK])
    large.send(['GET', 'large'])
    const [reply = ''] = await large.next()
    expect(reply.length).toBe(20_000_000 + '$20000000\r\n\r\n'.length)
  })
})

describe('commands of several keys', () => {
  test('MGET and MSET are split and joined in the order of the keys', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    const keys = [1, 0, 2, 2, 1, 0].map((index, at) => world.keyOn(index, at))
    expect(await client.ask('MSET', ...keys.flatMap((key, at) => [key, `v${at}`]))).toBe(OK)
    expect(await client.ask('MGET', ...keys, 'absent')).toBe(
      `*7\r\n${keys.map((_, at) => `$2\r\nv${at}\r\n`).join('')}$-1\r\n`,
    )
    expect(world.shards.every(({ commands }) => commands.some(([name]) => name === 'MGET'))).toBe(true)
    expect(await client.ask('DEL', ...keys)).toBe(':6\r\n')
    expect(await client.ask('DBSIZE')).toBe(':0\r\n')
  })

  test('all of one shard go as they came', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    const keys = [0, 1, 2].map((number) => world.keyOn(1, number))
    await client.ask('MGET', ...keys)
    expect(world.shards[1]?.commands.at(-1)).toEqual(['MGET', ...keys])
  })

  test('MGET has an error for each key of a shard that fails, and the values of the others', async () => {
    const shards = await three()
    await using world = await startWorld(shards)
    using client = await rawClient(world.port)
    const [good, bad, other] = [world.keyOn(0), world.keyOn(1), world.keyOn(2)]
    await client.ask('MSET', good, 'a', other, 'c')
    const [, broken] = shards
    if (broken !== undefined)
      broken.behaviour = ([name]) => (name === 'PING' ? '+PONG\r\n' : '-LOADING not yet\r\n')
    expect(await client.ask('MGET', good, bad, other)).toBe(
      '*3\r\n$1\r\na\r\n-LOADING not yet\r\n$1\r\nc\r\n',
    )
    expect(await client.ask('MSET', good, 'x', bad, 'y')).toMatch(/^-LOADING not yet \(1 of 2 shards failed/)
  })

  test('that cannot be joined are refused when their keys live apart, and nothing is sent', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    const sent = () => world.shards.reduce((sum, { commands }) => sum + commands.length, 0)
    const before = sent()
    for (const command of [
      ['RENAME', world.keyOn(0), world.keyOn(1)],
      ['SINTERSTORE', world.keyOn(0), world.keyOn(1), world.keyOn(2)],
      ['EVAL', 'return 1', '2', world.keyOn(0), world.keyOn(2)],
      ['BITOP', 'AND', world.keyOn(0), world.keyOn(1)],
    ]) {
      expect(await client.ask(...command)).toBe(`-${CROSSSLOT}\r\n`)
    }
    expect(sent()).toBe(before)
  })
})

describe('commands of all shards', () => {
  test('SCAN walks all of them and names each key once', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    const keys = Array.from({ length: 50 }, (_, index) => `scan:${index}`)
    for (const key of keys) await client.ask('SET', key, '1')
    const seen: string[] = []
    let cursor = '0'
    do {
      const reply = await client.value('SCAN', cursor, 'COUNT', '2')
      if (reply?.type !== 'array') throw new Error('no array')
      const [next, list] = reply.elements
      cursor = next?.type === 'bulk' ? next.bytes.toString() : ''
      if (list?.type === 'array')
        for (const key of list.elements) if (key.type === 'bulk') seen.push(key.bytes.toString())
    } while (cursor !== '0')
    expect(seen.sort()).toEqual(keys.sort())
    expect(await client.ask('SCAN', 'x')).toBe('-ERR invalid cursor\r\n')
  })

  test('SCAN is an error where a cursor cannot be read', async () => {
    for (const cursor of ['abc', '', '-1', '1e3', '0x1']) {
      const shard = await tinyShard((args) =>
        args[0] === 'SCAN' ? `*2\r\n$${cursor.length}\r\n${cursor}\r\n*0\r\n` : '+PONG\r\n',
      )
      await using world = await startWorld([shard])
      using client = await rawClient(world.port)
      expect(await client.ask('SCAN', '0')).toMatch(/^-ERR shard redis-1 .*: its answer cannot be read\r\n$/)
    }
  })

  test('FLUSHALL and DBSIZE reach every one, and KEYS names what all have', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    for (const index of [0, 1, 2]) await client.ask('SET', world.keyOn(index), '1')
    expect(await client.ask('DBSIZE')).toBe(':3\r\n')
    expect((await client.ask('KEYS', '*')).match(/key:/g)).toHaveLength(3)
    expect(await client.ask('FLUSHALL')).toBe(OK)
    expect(await client.ask('DBSIZE')).toBe(':0\r\n')
  })
})

describe('a shard that fails', () => {
  test('costs its own keys alone, at once, and they are back with it', async () => {
    const shards = await three()
    const [, dead] = shards
    const port = dead?.port ?? 0
    await using world = await startWorld(shards)
    using client = await rawClient(world.port)
    await dead?.[Symbol.asyncDispose]()
    expect(await client.ask('SET', world.keyOn(0), '1')).toBe(OK)
    for (let round = 0; round < 5; round += 1)
      expect(await client.ask('GET', world.keyOn(1))).toMatch(
        /^-ERR shard redis-2 \(127\.0\.0\.1:\d+\): .*ECONNREFUSED/,
      )
    expect(await client.ask('SET', world.keyOn(2), '1')).toBe(OK)
    await using again = await new (
      await tinyShard().then((one) => one.constructor as typeof TinyShard)
    )().listen(port)
    await until(() => again.server.listening, 'the shard')
    let reply = ''
    while (reply !== OK) {
      reply = await client.ask('SET', world.keyOn(1), '1')
      await delay(10)
    }
    for (const socket of again.sockets) socket.destroy()
  })

  test('in the middle of its replies answers each of its commands by an error, and the others go on', async () => {
    const shards = await three()
    const [, broken] = shards
    await using world = await startWorld(shards)
    using client = await rawClient(world.port)
    let seen = 0
    if (broken !== undefined)
      broken.behaviour = (args, socket) => {
        if (args[0] === 'PING') return '+PONG\r\n'
        seen += 1
        if (seen < 3) return OK
        socket.destroy()
        return undefined
      }
    client.send(...Array.from({ length: 6 }, (_, at) => ['SET', world.keyOn(at % 2), String(at)]))
    const replies = await client.next(6)
    expect(replies.filter((reply) => reply === OK)).toHaveLength(5)
    expect(replies[5]).toMatch(/^-ERR shard redis-2/)
  })

  test('by garbage loses its connection, and no client gets any of it', async () => {
    const shards = await three()
    const [, broken] = shards
    await using world = await startWorld(shards)
    using client = await rawClient(world.port)
    if (broken !== undefined)
      broken.behaviour = (args) => (args[0] === 'PING' ? '+PONG\r\n' : 'HTTP/1.1 400 Bad\r\n')
    expect(await client.ask('GET', world.keyOn(1))).toMatch(/^-ERR shard redis-2 .*malformed/)
    expect(await client.ask('SET', world.keyOn(0), '1')).toBe(OK)
  })

  test('by silence fails each command after its time, and the late replies reach nobody', async () => {
    const late: (() => void)[] = []
    const slow = await tinyShard()
    slow.behaviour = (args, socket) => {
      if (args[0] === 'PING') return '+PONG\r\n'
      if (args[0] === 'SET') return slow.answer(args)
      late.push(() => socket.write(slow.answer(args)))
      return undefined
    }
    await using world = await startWorld([slow, await tinyShard()], { timeoutMs: 150 })
    using client = await rawClient(world.port)
    const key = world.keyOn(0)
    await client.ask('SET', key, 'late')
    expect(await client.ask('GET', key)).toMatch(/^-ERR shard redis-1 .*no answer within 150 ms/)
    for (const answer of late.splice(0)) answer()
    client.send(['SET', key, 'new'], ['SET', world.keyOn(1), 'other'])
    expect(await client.next(2)).toEqual([OK, OK])
  })
})

describe('a client', () => {
  test('that sends what is no RESP is told so behind its replies, and closed; nothing of it is forwarded', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    client.socket.write(`${encodeCommand(['SET', 'a', '1'])}*1\r\n$x\r\n${encodeCommand(['SET', 'b', '1'])}`)
    expect(await client.next(2)).toEqual([OK, '-ERR Protocol error: invalid bulk length\r\n'])
    await client.untilClosed()
    expect(world.shards.flatMap(({ commands }) => commands)).toEqual([['SET', 'a', '1']])
  })

  test('that announces ten gigabytes is refused at once', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    client.socket.write('*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10000000000\r\n')
    expect(await client.next()).toEqual(['-ERR Protocol error: invalid bulk length\r\n'])
    await client.untilClosed()
  })

  test('that asks an unknown command is told so, and its connection stays', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    expect(await client.ask('NONSENSE', 'a b')).toMatch(
      /^-ERR unknown command 'NONSENSE', with args beginning with: 'a b'/,
    )
    expect(await client.ask('PING')).toBe('+PONG\r\n')
    expect(await client.ask('GET')).toBe("-ERR wrong number of arguments for 'get' command\r\n")
  })

  test('that is one too many is told so, and let go of whatever it does', async () => {
    await using world = await startWorld([await tinyShard()], { clients: 1 })
    using first = await rawClient(world.port)
    expect(await first.ask('PING')).toBe('+PONG\r\n')
    // Its own side stays open.
    const second = connect({ port: world.port, host: '127.0.0.1', allowHalfOpen: true })
    const said = once(second, 'data')
    second.on('error', () => undefined)
    expect(String((await said)[0])).toBe('-ERR max number of clients reached\r\n')
    const writing = setInterval(() => second.write('PING\r\n'), 5)
    await until(() => second.destroyed, 'the end of the connection')
    clearInterval(writing)
  })

  test('that does not read is read no further, and dropped at the limit, while others are served', async () => {
    await using world = await startWorld(await three(), {
      limits: { replyBytes: 4 * 1024 * 1024, pendingBytes: 256 * 1024 },
    })
    using greedy = await rawClient(world.port)
    using other = await rawClient(world.port)
    await other.ask('SET', 'large', 'x'.repeat(100_000))
    greedy.socket.pause()
    let sent = 0
    while (!greedy.closed && sent < 20_000) {
      greedy.send(['GET', 'large'])
      sent += 1
      if (sent % 50 === 0) expect(await other.ask('PING')).toBe('+PONG\r\n')
    }
    // Paused, its commands stay where they are.
    expect(world.shards.reduce((sum, { commands }) => sum + commands.length, 0)).toBeLessThan(3_000)
  })

  test('that takes nothing of its replies for too long is dropped, also below the limit', async () => {
    await using world = await startWorld(await three(), { limits: { stallMs: 300 } })
    using greedy = await rawClient(world.port)
    using other = await rawClient(world.port)
    await other.ask('SET', 'large', 'x'.repeat(8_000_000))
    greedy.socket.pause()
    greedy.send(['GET', 'large'])
    await until(() => world.closed.includes('it does not read its replies'), 'the end of the greedy one')
    expect(await other.ask('PING')).toBe('+PONG\r\n')
  })

  test('that ends its side gets all its replies before the end', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    client.send(...Array.from({ length: 100 }, (_, at) => ['SET', `k${at}`, '1']), ['MGET', 'k1', 'k2', 'k3'])
    client.socket.end()
    const replies = await client.next(101)
    expect(replies.at(-1)).toBe('*3\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n')
    await client.untilClosed()
  })

  test('may say QUIT, and is told OK before the end', async () => {
    await using world = await startWorld(await three())
    using client = await rawClient(world.port)
    client.send(['SET', 'a', '1'], ['QUIT'], ['SET', 'b', '1'])
    expect(await client.next(2)).toEqual([OK, OK])
    await client.untilClosed()
    expect(world.shards.flatMap(({ commands }) => commands)).toEqual([['SET', 'a', '1']])
  })

  test('must say who it is where users are asked for', async () => {
    const users = {
      required: true,
      check: (user: string, password: string) => user === 'app' && password === 'secret',
    }
    await using world = await startWorld(await three(), { users })
    using client = await rawClient(world.port)
    expect(await client.ask('GET', 'a')).toBe('-NOAUTH Authentication required.\r\n')
    expect(await client.ask('AUTH', 'app', 'wrong')).toMatch(/^-WRONGPASS/)
    expect(await client.ask('AUTH', 'secret')).toMatch(/^-WRONGPASS/)
    expect(await client.ask('HELLO', '3')).toMatch(/^-NOAUTH HELLO/)
    expect(await client.ask('AUTH', 'app', 'secret')).toBe(OK)
    expect(await client.ask('GET', 'a')).toBe('$-1\r\n')
    expect(await client.ask('ACL', 'WHOAMI')).toBe('$3\r\napp\r\n')
  })
})

test('a topology can be changed under load, and no reply is lost or wrong', async () => {
  const shards = await three()
  await using world = await startWorld(shards)
  const more = [...shards, await tinyShard()]
  const next = topologyOf(more)
  using client = await rawClient(world.port)
  const homes = [0, 1, 2, 3]
  const candidates = Array.from({ length: 10_000 }, (_, index) => `key:${index}`)
  const keys = homes.flatMap((home) => candidates.find((key) => next.ring.indexOfKey(key) === home) ?? [])
  expect(keys).toHaveLength(4)
  let stop = false
  const asking = (async () => {
    let count = 0
    while (!stop) {
      expect(await client.ask('SET', keys[count % keys.length] ?? '', String(count))).toBe(OK)
      count += 1
    }
    return count
  })()
  await delay(50)
  const before = world.proxy.topology
  world.proxy.useTopology(next)
  await until(() => (more[3]?.commands.length ?? 0) > 0, 'a key at the new shard')
  stop = true
  expect(await asking).toBeGreaterThan(10)
  for (const shard of before.shards) shard.close('replaced')
  for (const shard of next.shards) shard.close('test')
  await more[3]?.[Symbol.asyncDispose]()
})
