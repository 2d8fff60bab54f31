import { encodeArrayHeader, encodeBulk, encodeCommand, encodeSimple } from '@outrider/resp'
import { describe, expect, test } from 'vitest'
import {
  type RawClient,
  rawClient,
  startWorld,
  type TinyShard,
  tinyShard,
  until,
  type World,
} from './proxy-test-support.ts'

const MIB = 1024 * 1024
const LARGE = 'x'.repeat(MIB)
const PONG = encodeSimple('PONG')

/** Sends until the ambassador has taken nothing more for a while, or all is gone. */
async function push(client: RawClient, command: Buffer, times: number): Promise<void> {
  const { socket } = client
  let left = times
  let taken = -1
  const timer = setInterval(() => {
    while (left > 0 && socket.writableLength < MIB) {
      socket.write(command)
      left -= 1
    }
  }, 1)
  let quiet = 0
  await until(() => {
    const now = socket.bytesWritten - socket.writableLength
    quiet = now === taken ? quiet + 1 : 0
    taken = now
    return quiet > 100 || (left === 0 && socket.writableLength === 0)
  }, 'the end of what is taken')
  clearInterval(timer)
}

describe('a shard that does not read', () => {
  /** It takes nothing behind the first SET. */
  async function deaf(): Promise<TinyShard> {
    const shard = await tinyShard()
    shard.behaviour = (args, socket) => {
      if (args[0] === 'SET') socket.pause()
      return shard.answer(args)
    }
    return shard
  }

  test('pauses who writes to it, instead of filling the memory', async () => {
    const shard = await deaf()
    await using world = await startWorld([shard])
    using client = await rawClient(world.port)
    await push(client, encodeCommand(['SET', 'key', LARGE]), 64)
    const waiting = world.proxy.topology.shards[0]?.primary.waitingBytes ?? 0
    expect(waiting).toBeLessThan(4 * MIB)
    for (const socket of shard.sockets) socket.resume()
    shard.behaviour = undefined
    const replies = await client.next(2)
    expect(replies).toEqual(['+OK\r\n', '+OK\r\n'])
  })

  test('is written to again as soon as it reads, and every command is answered', async () => {
    const shard = await deaf()
    await using world = await startWorld([shard])
    using client = await rawClient(world.port)
    const count = 40
    client.socket.write(
      Buffer.concat(Array.from({ length: count }, () => encodeCommand(['SET', 'key', LARGE]))),
    )
    await until(() => (world.proxy.topology.shards[0]?.primary.waitingBytes ?? 0) > MIB, 'what waits')
    for (const socket of shard.sockets) socket.resume()
    shard.behaviour = undefined
    expect(await client.next(count)).toEqual(new Array<string>(count).fill('+OK\r\n'))
    expect(await client.ask('GET', 'key')).toHaveLength(LARGE.length + 12)
  })
})

test('replies for a client that was dropped are not gathered any more', async () => {
  const reply = encodeBulk(LARGE)
  const silent = await tinyShard((args) => (args[0] === 'PING' ? PONG : undefined))
  const large = await tinyShard((args) => (args[0] === 'PING' ? PONG : reply))
  await using world = await startWorld([silent, large], { limits: { replyBytes: 8 * MIB } })
  using client = await rawClient(world.port)
  const before = process.memoryUsage().arrayBuffers
  client.send(
    ['GET', world.keyOn(0)],
    ...Array.from({ length: 200 }, (): string[] => ['GET', world.keyOn(1)]),
  )
  await until(() => world.closed.length === 1, 'its end')
  await until(() => world.proxy.topology.shards[1]?.inFlight === 0, 'all replies')
  expect(world.closed).toEqual(['it waits for too many replies'])
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * MIB)
})

test.each([
  [
    'MGET',
    (world: World) => ['MGET', ...[0, 1].flatMap((shard) => [0, 1].map((at) => world.keyOn(shard, at)))],
  ],
  ['KEYS', () => ['KEYS', '*']],
])(
  'replies that %s joins count before all of them are there, and are not gathered for nobody',
  async (_, ask) => {
    const large = encodeBulk('x'.repeat(32 * MIB))
    const reply = Buffer.concat([encodeArrayHeader(2), large, large])
    const silent = await tinyShard((args) => (args[0] === 'PING' ? PONG : undefined))
    const ready = await tinyShard((args) => (args[0] === 'PING' ? PONG : reply))
    await using world = await startWorld([silent, ready], { limits: { replyBytes: 4 * MIB } })
    using client = await rawClient(world.port)
    const before = process.memoryUsage().arrayBuffers
    client.send(ask(world))
    await until(() => world.closed.length === 1, 'its end')
    expect(world.closed).toEqual(['it waits for too many replies'])
    await until(() => world.proxy.topology.shards[1]?.inFlight === 0, 'the reply')
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * MIB)
  },
)

test.each(['2', '3'])('a message of RESP%s without an end is not gathered for ever', async (protocol) => {
  const endless = `${protocol === '2' ? '*' : '>'}1000000000\r\n`
  const elements = '$8\r\nabcdefgh\r\n'.repeat(10_000)
  const shard = await tinyShard(([name], socket) => {
    if (name === 'HELLO') return '%0\r\n'
    if (name !== 'SUBSCRIBE') return PONG
    const go = (): void => {
      let goesOn = true
      while (goesOn && !socket.destroyed) goesOn = socket.write(elements)
    }
    socket.on('drain', go)
    socket.write(endless)
    go()
    return undefined
  })
  await using world = await startWorld([shard], { limits: { replyBytes: 4 * MIB } })
  using client = await rawClient(world.port)
  await client.ask('HELLO', protocol)
  client.send(['SUBSCRIBE', 'a'])
  await client.untilClosed()
  expect(world.closed).toEqual([`a message has more than ${4 * MIB} bytes`])
})
