import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { addressMatcher } from './cidr.ts'
import { ask, httpApp, outcomes, startWorld, until, type World } from './test-support.ts'

const hello = () => httpApp((_, res) => res.end('hello'))

/** A first flight of TLS, as a client sends it. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const far = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _, done) => {
        resolve(chunk)
        done()
      },
    })
    connectTls({ socket: far, rejectUnauthorized: false }).on('error', () => undefined)
  })
}

/** Connects, says these bytes, and is gone after so many turns of the event loop. */
async function comeAndGo(world: World, bytes: Uint8Array, turns: number, how: 'end' | 'destroy' | 'reset') {
  const socket: Socket = connect(world.port, '127.0.0.1').on('error', () => undefined)
  await once(socket, 'connect')
  if (bytes.length > 0) socket.write(bytes)
  for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  if (how === 'reset') socket.resetAndDestroy()
  else if (how === 'destroy') socket.destroy()
  else socket.resume().end()
  if (!socket.closed) await once(socket, 'close')
}

test('three thousand clients that leave in the middle of the handshake leave nothing behind', async () => {
  await using world = await startWorld(await hello())
  const first = await clientHello()
  const ways = ['end', 'destroy', 'reset'] as const
  for (let round = 0; round < 60; round += 1) {
    const gone = Array.from({ length: 50 }, (_, index) => {
      const bytes = first.subarray(0, Math.floor((index / 49) * first.length))
      return comeAndGo(world, bytes, index % 7, ways[(round + index) % 3] ?? 'end')
    })
    await Promise.all(gone)
    if (round % 20 === 0) expect((await ask(world.port)).body).toBe('hello')
  }
  await until(() => world.sidecar.openConnections === 0, 'no connection')
  const told = await outcomes(world, 3003)
  expect(told).toHaveLength(3003)
  expect(new Set(told)).toEqual(new Set(['ok', 'closed']))
  expect((await ask(world.port)).body).toBe('hello')
})

test('a thousand clients that leave at once behind a PROXY header leave nothing behind', async () => {
  await using world = await startWorld(await hello(), { proxyFrom: addressMatcher(['127.0.0.1']) })
  const header = Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 5555 443\r\n')
  const first = Buffer.concat([header, await clientHello()])
  const ways = ['end', 'destroy', 'reset'] as const
  for (let round = 0; round < 20; round += 1) {
    const gone = Array.from({ length: 50 }, (_, index) => {
      const bytes = first.subarray(0, Math.floor((index / 49) * first.length))
      return comeAndGo(world, bytes, index % 5, ways[(round + index) % 3] ?? 'end')
    })
    await Promise.all(gone)
  }
  await until(() => world.sidecar.openConnections === 0, 'no connection')
  const told = await outcomes(world, 1000)
  expect(told).toHaveLength(1000)
  expect(new Set(told)).toEqual(new Set(['closed', 'bad-proxy-header']))
})

test('five hundred clients that leave as soon as they are connected by TLS leave nothing behind', async () => {
  await using world = await startWorld(await hello())
  for (let round = 0; round < 25; round += 1) {
    const gone = Array.from({ length: 20 }, async (_, index) => {
      const raw = connect(world.port, '127.0.0.1').on('error', () => undefined)
      const secure = connectTls({ socket: raw, rejectUnauthorized: false }).on('error', () => undefined)
      await once(secure, 'secureConnect')
      if (index % 2 === 0) secure.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      if (index % 3 === 0) raw.resetAndDestroy()
      else secure.destroy()
      if (!raw.closed) await once(raw, 'close')
    })
    await Promise.all(gone)
  }
  await until(() => world.sidecar.openConnections === 0 && world.sidecar.inFlight === 0, 'no connection')
  expect(await outcomes(world, 500)).toHaveLength(500)
  expect((await ask(world.port)).body).toBe('hello')
})
