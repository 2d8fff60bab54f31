import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { askRedis } from './ask-redis.ts'
import { startStandInRedis } from './stand-in-redis.ts'

test('a stand-in keeps what it is given, and says what it does not know', async () => {
  await using shard = await startStandInRedis()
  const commands = [['PING'], ['get', 'a'], ['SET', 'a', 'é\r\n'], ['GET', 'a'], ['SET', 'b'], ['DEL', 'a']]
  const replies = await askRedis(new URL(`redis://${shard.address}`), commands, 10_000)
  expect(replies).toEqual([
    ...['+PONG', '$-1', '+OK', '$4\r\né\r\n'],
    ...[expect.stringMatching(/^-ERR this stand-in/), expect.stringMatching(/^-ERR this stand-in/)],
  ])
})

test.each([
  ['ends the connection', (socket: Socket) => socket.end(), 10_000, 'the connection has ended'],
  ['is no Redis', (socket: Socket) => socket.write('HTTP/1.1 400 Bad Request\r\n'), 10_000, 'no Redis: '],
  ['says nothing', () => undefined, 50, 'no answer within 50 ms'],
])('who asks a server that %s is told so', async (_, serve, deadlineMs, says) => {
  const server = createServer(serve).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(`redis://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await expect(askRedis(url, [['PING']], deadlineMs)).rejects.toThrow(says)
  server.close()
})
