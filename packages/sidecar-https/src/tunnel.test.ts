import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import {
  Application,
  closedPort,
  handshake,
  OTHER_CERTIFICATE,
  rawClient,
  reports,
  settled,
  startWorld,
  until,
  type World,
} from './test-support.ts'

/** A real WebSocket application that says back what it hears. */
async function webSocketApp(): Promise<{ app: Application; server: WebSocketServer }> {
  const http = createServer((_, res) => res.end('hello'))
  const server = new WebSocketServer({ server: http })
  server.on('connection', (socket) => {
    socket.on('error', () => undefined)
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  return { app: await new Application(http).listen(), server }
}

async function openWebSocket(world: World, path = '/', protocols: string[] = []): Promise<WebSocket> {
  const socket = new WebSocket(`wss://127.0.0.1:${world.port}${path}`, protocols, {
    rejectUnauthorized: false,
  })
  socket.on('error', () => undefined)
  await once(socket, 'open')
  return socket
}

/** An application that switches to a protocol of raw bytes. */
async function switchingApp(
  onSwitch: (socket: Duplex, head: Buffer) => void,
  tail = '',
): Promise<Application> {
  const http = createServer((_, res) => res.end('hello'))
  http.on('upgrade', (req, socket: Duplex, head: Buffer) => {
    socket.on('error', () => undefined)
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${req.headers.upgrade}\r\n\r\n${tail}`,
    )
    onSwitch(socket, head)
  })
  return new Application(http).listen()
}

const UPGRADE = 'GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n'

async function tunnelReports(world: World): Promise<World['tunnels']> {
  await until(() => world.tunnels.length === 1, 'the report of a tunnel')
  return world.tunnels
}

describe('a WebSocket', () => {
  test('carries text and binary messages of all sizes both ways', async () => {
    const { app } = await webSocketApp()
    await using world = await startWorld(app)
    const socket = await openWebSocket(world)
    for (const size of [0, 1, 125, 126, 65_536, 3_000_000]) {
      const message = Buffer.alloc(size, 'x')
      socket.send(message)
      const [data, binary] = (await once(socket, 'message')) as [Buffer, boolean]
      expect([message.equals(data), binary]).toEqual([true, true])
    }
    socket.send('grüße')
    expect(String((await once(socket, 'message'))[0])).toBe('grüße')
    socket.close()
    await once(socket, 'close')
  })

  test('passes close codes both ways, and is reported when it has ended', async () => {
    const { app, server } = await webSocketApp()
    await using world = await startWorld(app)
    const first = await openWebSocket(world)
    const [peer] = server.clients
    first.close(4001, 'client')
    expect((await once(peer ?? first, 'close')).map(String)).toEqual(['4001', 'client'])
    expect(await tunnelReports(world)).toMatchObject([{ outcome: 'closed' }])
    const second = await openWebSocket(world)
    for (const client of server.clients) client.close(4002, 'server')
    expect((await once(second, 'close')).map(String)).toEqual(['4002', 'server'])
  })

  test('is asked for with path, subprotocol and forwarded headers, and reported as 101', async () => {
    const { app, server } = await webSocketApp()
    await using world = await startWorld(app)
    const asked = once(server, 'connection')
    const socket = await openWebSocket(world, '/chat?room=1', ['v2', 'v1'])
    const [, req] = (await asked) as [unknown, { url: string; headers: Record<string, string> }]
    expect(socket.protocol).toBe('v2')
    expect(req.url).toBe('/chat?room=1')
    expect(req.headers).toMatchObject({ 'x-forwarded-proto': 'https', 'x-forwarded-for': '127.0.0.1' })
    expect(await reports(world)).toMatchObject([{ method: 'GET', status: 101, outcome: 'complete' }])
    expect(world.sidecar.inFlight).toBe(1)
    socket.terminate()
  })

  test('refused by the application gets its answer, body and all', async () => {
    const http = createServer()
    const server = new WebSocketServer({
      server: http,
      verifyClient: (_, done) => done(false, 403, 'not you', { 'X-Why': 'because' }),
    })
    await using world = await startWorld(await new Application(http).listen())
    const socket = new WebSocket(`wss://127.0.0.1:${world.port}/`, { rejectUnauthorized: false })
    socket.on('error', () => undefined)
    const [, response] = (await once(socket, 'unexpected-response')) as [
      unknown,
      import('node:http').IncomingMessage,
    ]
    expect([response.statusCode, response.headers['x-why']]).toEqual([403, 'because'])
    let body = ''
    for await (const chunk of response) body += String(chunk)
    expect(body).toBe('not you')
    expect(await reports(world)).toMatchObject([{ status: 403, outcome: 'complete' }])
    server.close()
  })

  test('survives a change of the certificate', async () => {
    const { app } = await webSocketApp()
    await using world = await startWorld(app)
    const socket = await openWebSocket(world)
    world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })
    socket.send('still here')
    expect(String((await once(socket, 'message'))[0])).toBe('still here')
    socket.close()
    await once(socket, 'close')
  })

  test('of an application that is not there is a 502', async () => {
    const target = new URL(`http://127.0.0.1:${await closedPort()}`)
    const { app } = await webSocketApp()
    await using world = await startWorld(app, { target })
    const socket = new WebSocket(`wss://127.0.0.1:${world.port}/`, { rejectUnauthorized: false })
    await expect(once(socket, 'open')).rejects.toThrow(/502/)
  })
})

describe('an upgrade', () => {
  test('to any protocol passes what is sent behind the two heads at once', async () => {
    let heard = ''
    const app = await switchingApp((socket, head) => {
      heard += head.toString()
      socket.on('data', (chunk) => (heard += String(chunk)))
    }, 'early bytes of the server')
    await using world = await startWorld(app)
    using client = await rawClient(world.port)
    client.socket.write(`${UPGRADE}early bytes of the client`)
    await client.until('\r\n\r\nearly bytes of the server')
    await until(() => heard === 'early bytes of the client', 'what the client sent')
    expect(client.received).toMatch(
      /^HTTP\/1\.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n/,
    )
  })

  test('leaves each direction open until that side ends it', async () => {
    let peer: Duplex | undefined
    let heard = ''
    const app = await switchingApp((socket) => {
      peer = socket
      socket.on('data', (chunk) => (heard += String(chunk)))
      socket.on('end', () => (heard += '[end]'))
    })
    await using world = await startWorld(app)
    using client = await rawClient(world.port, { allowHalfOpen: true })
    client.socket.write(UPGRADE)
    await client.until('\r\n\r\n')
    client.socket.end('last words')
    await until(() => heard === 'last words[end]', 'the end of one direction')
    peer?.write('answer')
    await client.until('answer')
    peer?.end('.')
    await client.until('answer.')
    await client.untilClosed()
    expect(client.ended).toBe(true)
    expect(await tunnelReports(world)).toMatchObject([
      { outcome: 'closed', bytesFromClient: 10, bytesToClient: 7 },
    ])
  })

  test('may be ended by the application first', async () => {
    let heard = ''
    const app = await switchingApp((socket) => {
      socket.end('bye')
      socket.on('data', (chunk) => (heard += String(chunk)))
    })
    await using world = await startWorld(app)
    using client = await rawClient(world.port, { allowHalfOpen: true })
    client.socket.write(UPGRADE)
    await until(() => client.ended, 'the end of one direction')
    client.socket.end('and this')
    await until(() => heard === 'and this', 'what the client sent')
    await client.untilClosed()
  })

  test('of which one side has ended does not stay for ever', async () => {
    const app = await switchingApp((socket) => socket.resume())
    await using world = await startWorld(app, { limits: { halfClosedMs: 100 } })
    using client = await rawClient(world.port, { allowHalfOpen: true })
    client.socket.write(UPGRADE)
    await client.until('\r\n\r\n')
    client.socket.end()
    await client.untilClosed()
    expect(await tunnelReports(world)).toMatchObject([{ outcome: 'upstream-lost' }])
    expect(world.sidecar.openConnections).toBe(0)
    for (const socket of app.sockets) socket.destroy()
  })

  test('whose client leaves ends the connection to the application', async () => {
    const app = await switchingApp((socket) => socket.resume().on('end', () => socket.end()))
    await using world = await startWorld(app)
    using client = await rawClient(world.port)
    client.socket.write(UPGRADE)
    await client.until('\r\n\r\n')
    client.socket.destroy()
    await until(() => world.app.connections === 0, 'the connection to the application is closed')
    await tunnelReports(world)
    expect(world.sidecar.inFlight).toBe(0)
  })

  test('whose client dies resets the connection to the application', async () => {
    let fate = ''
    const app = await switchingApp((socket) => {
      socket.resume().on('error', (error: NodeJS.ErrnoException) => {
        fate = error.code ?? ''
      })
    })
    await using world = await startWorld(app)
    const tcp = connectTcp(world.port, '127.0.0.1')
    using client = await rawClient(world.port, { socket: tcp })
    client.socket.write(UPGRADE)
    await client.until('\r\n\r\n')
    tcp.resetAndDestroy()
    await until(() => fate === 'ECONNRESET', 'the application notices')
    expect(await tunnelReports(world)).toMatchObject([{ outcome: 'client-lost' }])
  })

  test('whose application dies closes the connection to the client', async () => {
    let peer: Socket | undefined
    const app = await switchingApp((socket) => {
      peer = socket as Socket
    })
    await using world = await startWorld(app)
    using client = await rawClient(world.port)
    client.socket.write(UPGRADE)
    await client.until('\r\n\r\n')
    peer?.resetAndDestroy()
    await client.untilClosed()
    expect(await tunnelReports(world)).toMatchObject([{ outcome: 'upstream-lost' }])
  })

  test.each(['client', 'application'])('lets no side send faster than the %s reads', async (slow) => {
    let sent = 0
    const pour = (socket: Duplex) => {
      const more = (): void => {
        while (sent < 256 * 2 ** 20 && socket.write(Buffer.alloc(65_536))) sent += 65_536
        socket.once('drain', more)
      }
      more()
    }
    const app = await switchingApp((socket) => {
      if (slow === 'client') pour(socket)
      else socket.pause()
    })
    await using world = await startWorld(app)
    const client = await handshake(world.port)
    client.on('error', () => undefined)
    client.write(UPGRADE)
    await once(client, 'readable')
    if (slow === 'application') pour(client)
    expect(await settled(() => sent)).toBeLessThan(24 * 2 ** 20)
    client.destroy()
    for (const socket of app.sockets) socket.resume()
  })

  test('behind another request waits for its turn', async () => {
    const app = await switchingApp((socket) => socket.resume())
    await using world = await startWorld(app)
    using client = await rawClient(world.port)
    client.socket.write(`GET / HTTP/1.1\r\nHost: a\r\n\r\n${UPGRADE}`)
    await client.until(' 101 ')
    expect(client.received).toMatch(/^HTTP\/1\.1 [^1]/)
  })

  test.each([
    ['a body', UPGRADE.replace('Host', 'Content-Length: 5\r\nHost').replace('GET', 'POST').concat('hello')],
    ['HTTP/1.0', UPGRADE.replace('HTTP/1.1', 'HTTP/1.0\r\nConnection: keep-alive')],
  ])('with %s is an ordinary request, in which it stands for nothing', async (_, bytes) => {
    const seen: string[] = []
    const http = createServer((req, res) => {
      seen.push(`${req.headers.upgrade}`)
      req.resume().on('end', () => res.end('plain'))
    })
    await using world = await startWorld(await new Application(http).listen())
    using client = await rawClient(world.port)
    client.socket.write(bytes)
    await client.until('plain')
    expect(seen).toEqual(['undefined'])
  })

  test('that is malformed is refused', async () => {
    const app = await switchingApp((socket) => socket.resume())
    await using world = await startWorld(app)
    using client = await rawClient(world.port)
    client.socket.write(UPGRADE.replace('Host: a', 'Host: a\r\nHost: b'))
    await client.until('HTTP/1.1 400 ')
    await client.untilClosed()
    expect(app.accepted).toBe(0)
  })

  test('that is not answered is a 504 at the deadline', async () => {
    const http = createServer()
    http.on('upgrade', (_, socket: Duplex) =>
      socket
        .on('error', () => undefined)
        .resume()
        .on('end', () => socket.end()),
    )
    await using world = await startWorld(await new Application(http).listen(), { responseTimeoutMs: 100 })
    using client = await rawClient(world.port)
    client.socket.write(UPGRADE)
    await client.until('HTTP/1.1 504 ')
  })
})
