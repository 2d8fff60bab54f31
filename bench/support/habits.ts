import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from 'node:http2'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { beginning, secure, visit } from './visit.ts'

/** What a client does on one connection until it is gone. */
export interface Habit {
  readonly name: string
  /** Resolves when the connection is closed, and never rejects. */
  live(port: number): Promise<void>
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
const post = (headers: string, body: string): string =>
  `POST /upload HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n\r\n${body}`
const upgrade =
  'GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

const firstFlight = await clientHello()
let session: Buffer | undefined
let lives = 0

/** All of them, in turns: breaking off in every phase, and what wears a proxy out. */
export const habits: readonly Habit[] = [
  plain('connects and leaves', () => Promise.resolve()),
  plain('leaves within the first flight', (raw) =>
    written(raw, firstFlight.subarray(0, lives++ % firstFlight.length)),
  ),
  plain('leaves after the first flight', async (raw) => {
    await written(raw, firstFlight)
    if (lives++ % 2 === 0) await beginning(raw)
  }),
  plain('speaks plain HTTP', (raw) => written(raw, get('/'))),
  secured('leaves after the handshake', () => Promise.resolve()),
  secured('leaves within a head', (socket) => written(socket, 'GET / HTTP/1.1\r\nHo')),
  secured('sends nonsense', async (socket) => {
    await written(socket, 'nonsense\r\n\r\n')
    await beginning(socket)
  }),
  secured('asks three times', async (socket) => {
    for (let count = 0; count < 3; count++) {
      await written(socket, get('/'))
      await beginning(socket)
    }
  }),
  secured('asks three times at once and leaves', (socket) => written(socket, get('/').repeat(3))),
  secured('leaves before the response', (socket) => written(socket, get('/never'))),
  secured('sees its response broken off', async (socket) => {
    const ended = once(socket.resume(), 'close')
    await written(socket, get('/broken'))
    await ended
  }),
  secured('leaves within the response', async (socket) => {
    await written(socket, get('/large'))
    await beginning(socket)
  }),
  secured('reads slowly', async (socket) => {
    await written(socket, get('/large'))
    for (let count = 0; count < 5; count++) {
      await beginning(socket)
      socket.pause()
      await delay(40)
      socket.resume()
    }
  }),
  secured('leaves within an upload', async (socket) => {
    await written(socket, post('Content-Length: 100000', 'b'.repeat(40_000)))
    await delay(5)
  }),
  secured('leaves within a chunk', (socket) =>
    written(socket, post('Transfer-Encoding: chunked', '4\r\nhalf\r\nff\r\nhalf')),
  ),
  secured('drops a WebSocket', async (socket) => {
    await written(socket, upgrade)
    await beginning(socket)
    await written(socket, 'frames '.repeat(1_000))
    await beginning(socket)
  }),
  http2('resets streams', async (client) => {
    const streams = ['/', '/large', '/never', '/broken', '/large', '/never'].map((path) => open(client, path))
    await once(streams[1] ?? client, 'data')
    for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL)
    await finished(open(client, '/'))
  }),
  http2('leaves with streams open', async (client) => {
    const [, large] = ['/never', '/large', '/upload'].map((path) => open(client, path))
    await once(large ?? client, 'data')
  }),
  http2('leaves within an upload of HTTP/2', async (client) => {
    const stream = watched(client.request({ ':method': 'POST', ':path': '/upload' }))
    await written(stream, 'b'.repeat(20_000))
  }),
  http2('drops a WebSocket over HTTP/2', async (client) => {
    if (!client.remoteSettings.enableConnectProtocol) await once(client, 'remoteSettings')
    const pseudo = { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/socket' }
    const stream = watched(client.request({ ...pseudo, ':authority': 'localhost' }))
    await once(stream, 'response')
    await written(stream, 'frames')
  }),
]

function plain(name: string, act: (raw: Socket) => Promise<unknown>): Habit {
  const connected = async (raw: Socket) => {
    await once(raw, 'connect')
    await act(raw)
  }
  return { name, live: (port) => visit(port, connected) }
}

/** Every second of them resumes a session. */
function secured(name: string, act: (socket: Socket) => Promise<unknown>): Habit {
  const agreed = async (raw: Socket) => {
    const socket = await secure(raw, lives++ % 2 === 0 && session !== undefined ? { session } : {})
    socket.on('session', (ticket) => (session = ticket))
    await act(socket)
  }
  return { name, live: (port) => visit(port, agreed) }
}

function http2(name: string, act: (client: ClientHttp2Session) => Promise<unknown>): Habit {
  const agreed = async (raw: Socket) => {
    const socket = await secure(raw, { ALPNProtocols: ['h2'] })
    const client = connectHttp2('https://localhost', { createConnection: () => socket })
    client.on('error', () => undefined)
    await act(client)
  }
  return { name, live: (port) => visit(port, agreed) }
}

const open = (client: ClientHttp2Session, path: string): ClientHttp2Stream =>
  watched(client.request({ ':path': path }))

const watched = (stream: ClientHttp2Stream): ClientHttp2Stream => stream.on('error', () => undefined)

const finished = (stream: ClientHttp2Stream): Promise<unknown> => once(stream.resume(), 'end')

const written = (stream: Duplex, bytes: string | Uint8Array): Promise<void> =>
  new Promise((resolve) => stream.write(bytes, () => resolve()))

/** What a client of TLS says first. */
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
