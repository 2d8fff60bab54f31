import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2'
import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import {
  block,
  constants,
  END_HEADERS,
  FRAME,
  frame,
  frameClient,
  type Http2Client,
  http2Client,
  replyOf,
  startWorld,
  uint32,
} from './http2-test-support.ts'
import { type Application, httpApp, scriptedApp, tcpApp, until } from './test-support.ts'

const CONNECT = {
  ':method': 'CONNECT',
  ':protocol': 'websocket',
  ':scheme': 'https',
  ':authority': 'example.test',
}

/** Sends back what it gets, and remembers the requests that opened it. */
async function echo(): Promise<Application & { opened: NodeJS.Dict<string | string[]>[] }> {
  const app = await httpApp((_req, res) => res.writeHead(426).end('a WebSocket is expected'))
  const opened: NodeJS.Dict<string | string[]>[] = []
  const server = new WebSocketServer({
    noServer: true,
    handleProtocols: (protocols) => [...protocols][0] ?? false,
  })
  app.server.on('upgrade', (request, socket, head) => {
    opened.push({ ...request.headers, url: request.url })
    server.handleUpgrade(request, socket, head, (client) => {
      client.on('message', (data, isBinary) => client.send(data, { binary: isBinary }))
    })
  })
  return Object.assign(app, { opened })
}

async function opened(client: Http2Client, more: OutgoingHttpHeaders = {}): Promise<ClientHttp2Stream> {
  const stream = client.open({ ...CONNECT, ...more }, false)
  const [headers] = await once(stream, 'response')
  expect(headers[':status']).toBe(200)
  return stream
}

/** An application that agrees to what it is asked, and then has the bare connection. */
function scriptedTunnel(serve: (socket: Socket) => void): Promise<Application> {
  return tcpApp((socket) => {
    let head = ''
    socket.on('data', function read(piece) {
      head += piece.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      socket.off('data', read)
      const agreed = `Upgrade: websocket\r\nSec-WebSocket-Accept: ${acceptOf(head)}`
      socket.write(`HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n${agreed}\r\n\r\n`)
      serve(socket)
    })
  })
}

/** A masked message of less than 126 bytes (RFC 6455 5.2). */
function message(text: string): Buffer {
  const mask = Buffer.from([1, 2, 3, 4])
  const bytes = Buffer.from(text).map((byte, index) => byte ^ (mask[index % 4] ?? 0))
  return Buffer.concat([Buffer.from([0x81, 0x80 | bytes.length]), mask, bytes])
}

describe('a WebSocket over HTTP/2 (RFC 8441)', () => {
  it('is announced to clients', async () => {
    await using world = await startWorld(await echo())
    using client = await http2Client(world.port)
    expect(client.session.remoteSettings.enableConnectProtocol).toBe(true)
  })

  it('carries messages both ways to an application that knows HTTP/1.1 alone', async () => {
    const app = await echo()
    await using world = await startWorld(app)
    using client = await http2Client(world.port)
    const stream = await opened(client, { ':path': '/chat?room=1', origin: 'https://example.test' })
    let received = Buffer.alloc(0)
    stream.on('data', (bytes: Buffer) => (received = Buffer.concat([received, bytes])))
    stream.write(message('one'))
    await until(() => received.includes('one'), 'the first message')
    stream.write(message('two'))
    await until(() => received.includes('two'), 'the second message')
    expect(app.opened).toMatchObject([
      {
        url: '/chat?room=1',
        host: 'example.test',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        origin: 'https://example.test',
        'x-forwarded-proto': 'https',
      },
    ])
    expect(world.forwarder.inFlight).toBe(1)
    stream.end()
    await until(() => world.tunnels.length === 1, 'the report of the tunnel')
    expect(world.requests).toMatchObject([{ method: 'GET', status: 200, version: '2', outcome: 'complete' }])
    expect(world.tunnels[0]?.bytesFromClient).toBe(2 * message('one').length)
    expect(world.tunnels[0]?.bytesToClient).toBe(10)
    expect(world.forwarder.inFlight).toBe(0)
  })

  it('agrees on a subprotocol, and shows nothing of the handshake of HTTP/1.1', async () => {
    await using world = await startWorld(await echo())
    using client = await http2Client(world.port)
    const stream = client.open({ ...CONNECT, 'sec-websocket-protocol': 'chat' }, false)
    const [headers] = await once(stream, 'response')
    expect(headers['sec-websocket-protocol']).toBe('chat')
    for (const name of ['upgrade', 'connection', 'sec-websocket-accept'])
      expect(headers[name]).toBeUndefined()
    stream.close(constants.NGHTTP2_CANCEL)
  })

  it('has a key of ours, whatever the client says', async () => {
    const app = await echo()
    await using world = await startWorld(app)
    using client = await http2Client(world.port)
    const stream = await opened(client, { 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' })
    expect(app.opened[0]?.['sec-websocket-key']).toMatch(/^[A-Za-z0-9+/]{22}==$/)
    expect(app.opened[0]?.['sec-websocket-key']).not.toBe('AAAAAAAAAAAAAAAAAAAAAA==')
    stream.close(constants.NGHTTP2_CANCEL)
  })

  it('carries many megabytes both ways, neither side faster than the other reads', async () => {
    const bytes = Buffer.alloc(8 * 1024 * 1024, 'a long stream of bytes ')
    await using world = await startWorld(await scriptedTunnel((socket) => void socket.pipe(socket)))
    using client = await http2Client(world.port)
    const stream = await opened(client)
    const hash = createHash('sha256')
    let count = 0
    stream.on('data', (piece: Buffer) => {
      count += piece.length
      hash.update(piece)
    })
    stream.end(bytes)
    await until(
      () => count === bytes.length,
      () => `all bytes, of which ${count} came`,
    )
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
    await until(() => world.tunnels.length === 1, 'the report of the tunnel')
    expect(world.tunnels).toMatchObject([
      { outcome: 'closed', bytesFromClient: bytes.length, bytesToClient: bytes.length },
    ])
  })

  it('that the application refuses gets its answer', async () => {
    await using world = await startWorld(
      await scriptedApp('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno'),
    )
    using client = await http2Client(world.port)
    expect(await replyOf(client.open(CONNECT, false))).toMatchObject({ status: 403, body: 'no', code: 0 })
    await until(() => world.forwarder.inFlight === 0, 'none in flight')
  })

  it.each(['Sec-WebSocket-Accept: AAAA', 'X: 1'])('is a 502 when the application says %j', async (line) => {
    await using world = await startWorld(
      await scriptedApp(
        `HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${line}\r\n\r\n`,
      ),
    )
    using client = await http2Client(world.port)
    expect((await replyOf(client.open(CONNECT, false))).status).toBe(502)
  })

  it('with another protocol is a 501, and so is a plain CONNECT', async () => {
    await using world = await startWorld(await echo())
    using client = await http2Client(world.port)
    expect((await replyOf(client.open({ ...CONNECT, ':protocol': 'connect-udp' }, false))).status).toBe(501)
    const plain = client.session.request({ ':method': 'CONNECT', ':authority': 'a.test:443' })
    expect((await replyOf(plain)).status).toBe(501)
  })

  it.each([constants.NGHTTP2_CANCEL, constants.NGHTTP2_NO_ERROR])(
    'that the client resets with code %i is lost for the application too',
    async (code) => {
      await using world = await startWorld(await echo())
      using client = await http2Client(world.port)
      const stream = await opened(client)
      stream.close(code)
      await until(() => world.app.sockets.size === 0, 'the end at the application')
      await until(() => world.tunnels.length === 1, 'the report of the tunnel')
      expect(world.tunnels).toMatchObject([{ outcome: 'client-lost' }])
    },
  )

  it('that the client resets with NO_ERROR, with bytes waiting for it, is not waited for', async () => {
    await using world = await startWorld(
      await scriptedTunnel((socket) => socket.end(Buffer.alloc(100_000))),
      { limits: { stallMs: 200 } },
    )
    using client = await frameClient(world.port)
    client.greet()
    const fields = [...Object.entries(CONNECT), [':path', '/']].flat()
    client.send(frame(FRAME.headers, END_HEADERS, 1, block(...fields)))
    await until(() => client.of(FRAME.data, 1).length > 3, 'as much as the window lets in')
    client.send(frame(FRAME.reset, 0, 1, uint32(constants.NGHTTP2_NO_ERROR)))
    await until(() => world.tunnels.length === 1, 'the report of the tunnel')
  })

  it('whose application dies is reset, not ended', async () => {
    await using world = await startWorld(await echo())
    using client = await http2Client(world.port)
    const stream = await opened(client)
    for (const socket of world.app.sockets) socket.resetAndDestroy()
    expect((await replyOf(stream)).code).toBe(constants.NGHTTP2_INTERNAL_ERROR)
    await until(() => world.tunnels.length === 1, 'the report of the tunnel')
    expect(world.tunnels).toMatchObject([{ outcome: 'upstream-lost' }])
    expect(client.closed).toBe(false)
  })

  it('is not cut off by draining, nor for being idle', async () => {
    await using world = await startWorld(await echo(), {
      limits: { idleMs: 100, stallMs: 100, headMs: 100, lingerMs: 100 },
    })
    using client = await http2Client(world.port)
    const stream = await opened(client)
    let received = ''
    stream.on('data', (bytes: Buffer) => (received += bytes.toString('latin1')))
    const drained = world.forwarder.drain()
    await until(() => client.goaway !== undefined, 'GOAWAY')
    await new Promise((resolve) => setTimeout(resolve, 600))
    stream.write(message('still here'))
    await until(() => received.includes('still here'), 'the message')
    stream.end()
    await drained
  })
})

function acceptOf(head: string): string {
  const key = /sec-websocket-key: (\S+)/i.exec(head)?.[1] ?? ''
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}
