import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  connect,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
  type Settings,
} from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls'
import { selfSigned } from '../../sidecar-https/src/self-signed.ts'
import {
  type ConnectionFacts,
  createForwarder,
  type Forwarder,
  type ForwarderOptions,
  type RequestReport,
  type ShadowReport,
  type TunnelReport,
} from './index.ts'
import { type Application, until } from './test-support.ts'

const CERTIFICATE = selfSigned({ names: ['127.0.0.1'] })

/** A real application behind a real proxy over TLS. Disposing fails when a connection of either side is left over. */
export interface World extends AsyncDisposable {
  app: Application
  forwarder: Forwarder
  port: number
  requests: RequestReport[]
  tunnels: TunnelReport[]
  shadows: ShadowReport[]
  sockets: Set<TLSSocket>
}

export async function startWorld(
  app: Application,
  options: Partial<ForwarderOptions> = {},
  facts: (socket: Socket) => ConnectionFacts = () => ({}),
): Promise<World> {
  const requests: RequestReport[] = []
  const tunnels: TunnelReport[] = []
  const shadows: ShadowReport[] = []
  const sockets = new Set<TLSSocket>()
  const { upstream } = app
  const forwarder = createForwarder({
    route: () => ({ upstream }),
    onRequest: (report) => requests.push(report),
    onTunnel: (report) => tunnels.push(report),
    onShadow: (report) => shadows.push(report),
    ...options,
  })
  const server = createServer({ ...CERTIFICATE, ALPNProtocols: ['h2', 'http/1.1'] }, (socket) => {
    sockets.add(socket)
    socket.allowHalfOpen = true
    socket.on('close', () => sockets.delete(socket))
    forwarder.serve(socket, facts(socket))
  })
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    app,
    forwarder,
    port: (server.address() as AddressInfo).port,
    requests,
    tunnels,
    shadows,
    sockets,
    async [Symbol.asyncDispose]() {
      try {
        const closed = new Promise((resolve) => server.close(resolve))
        await until(() => forwarder.connections === 0 && forwarder.inFlight === 0, 'the end of all clients')
        // Closes what is idle: what then is left is in use for nobody.
        await forwarder.drain()
        await until(() => app.sockets.size === 0, 'the end of all connections to the application')
        await closed
      } finally {
        forwarder.close()
        await app[Symbol.asyncDispose]()
      }
    },
  }
}

export interface Reply {
  status: number
  headers: IncomingHttpHeaders
  /** Statuses of the interim responses. */
  interim: { status: number; headers: IncomingHttpHeaders }[]
  trailers: IncomingHttpHeaders
  /** Latin-1. */
  body: string
  /** With which code the stream was closed. */
  code: number
}

/** A client that speaks HTTP/2 as node:http2 does. */
export class Http2Client implements Disposable {
  readonly session: ClientHttp2Session
  goaway: number | undefined
  closed = false

  constructor(session: ClientHttp2Session) {
    this.session = session
    session.on('error', () => undefined)
    session.on('goaway', (code) => {
      this.goaway = code
    })
    session.on('close', () => {
      this.closed = true
    })
  }

  open(headers: OutgoingHttpHeaders = {}, endStream = true): ClientHttp2Stream {
    const stream = this.session.request({ ':path': '/', ...headers }, { endStream })
    stream.on('error', () => undefined)
    return stream
  }

  /** One request and its response, whole or not. */
  async ask(
    headers: OutgoingHttpHeaders = {},
    body?: string | Buffer,
    trailers?: OutgoingHttpHeaders,
  ): Promise<Reply> {
    const given = { ':path': '/', ...headers }
    const stream = this.session.request(given, {
      endStream: body === undefined,
      waitForTrailers: trailers !== undefined,
    })
    stream.on('error', () => undefined)
    stream.on('wantTrailers', () => stream.sendTrailers(trailers ?? {}))
    if (body !== undefined) stream.end(body)
    return await replyOf(stream)
  }

  [Symbol.dispose](): void {
    this.session.destroy()
  }
}

export async function replyOf(stream: ClientHttp2Stream): Promise<Reply> {
  const reply: Reply = { status: 0, headers: {}, interim: [], trailers: {}, body: '', code: 0 }
  stream.on('response', (headers: IncomingHttpHeaders & IncomingHttpStatusHeader) => {
    reply.status = headers[':status'] ?? 0
    reply.headers = headers
  })
  stream.on('headers', (headers: IncomingHttpHeaders & IncomingHttpStatusHeader) => {
    reply.interim.push({ status: headers[':status'] ?? 0, headers })
  })
  stream.on('trailers', (headers: IncomingHttpHeaders) => {
    reply.trailers = headers
  })
  stream.on('data', (bytes: Buffer) => {
    reply.body += bytes.toString('latin1')
  })
  stream.on('error', () => undefined)
  if (!stream.destroyed) await new Promise((resolve) => stream.on('close', resolve))
  reply.code = stream.rstCode
  return reply
}

export async function http2Client(port: number, settings: Settings = {}): Promise<Http2Client> {
  const options: ClientSessionOptions & { rejectUnauthorized: boolean; strictSingleValueFields: boolean } = {
    rejectUnauthorized: false,
    settings,
    strictSingleValueFields: false,
  }
  const session = connect(`https://127.0.0.1:${port}`, options)
  const client = new Http2Client(session)
  await once(session, 'remoteSettings')
  return client
}

export interface Frame {
  type: number
  flags: number
  stream: number
  payload: Buffer
}

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const
export const END_STREAM = 1
export const END_HEADERS = 4
const ACK = 1

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A header block (RFC 7541 6.2.2): literals that are not indexed, names and values in turn. */
export function block(...fields: string[]): Buffer {
  const parts: Buffer[] = []
  for (let index = 0; index < fields.length; index += 2) {
    parts.push(Buffer.from([0]), literal(fields[index] ?? ''), literal(fields[index + 1] ?? ''))
  }
  return Buffer.concat(parts)
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
  const prefix = [127]
  let rest = bytes.length - 127
  while (rest >= 128) {
    prefix.push((rest % 128) + 128)
    rest = Math.floor(rest / 128)
  }
  return Buffer.concat([Buffer.from([...prefix, rest]), bytes])
}

export const GET: readonly string[] = [
  ...[':method', 'GET', ':scheme', 'https', ':path', '/', ':authority', 'example.test'],
]

/** A client that says what it likes, frame by frame. */
export class FrameClient implements Disposable {
  readonly socket: TLSSocket
  readonly frames: Frame[] = []
  closed = false
  #seen = Buffer.alloc(0)
  #greeted = false
  #acknowledge = false

  constructor(socket: TLSSocket) {
    this.socket = socket
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
  }

  #read(bytes: Buffer): void {
    this.#seen = Buffer.concat([this.#seen, bytes])
    while (this.#seen.length >= 9) {
      const length = this.#seen.readUIntBE(0, 3)
      if (this.#seen.length < 9 + length) return
      this.frames.push({
        type: this.#seen.readUInt8(3),
        flags: this.#seen.readUInt8(4),
        stream: this.#seen.readUInt32BE(5) & 0x7fffffff,
        payload: this.#seen.subarray(9, 9 + length),
      })
      this.#seen = this.#seen.subarray(9 + length)
      const { type, flags } = this.frames.at(-1) ?? { type: -1, flags: 0 }
      if (type !== FRAME.settings || (flags & ACK) !== 0) continue
      this.#acknowledge = true
      if (this.#greeted) this.#agree()
    }
  }

  greet(): void {
    this.socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    this.send(frame(FRAME.settings, 0, 0))
    this.#greeted = true
    if (this.#acknowledge) this.#agree()
  }

  #agree(): void {
    this.#acknowledge = false
    this.send(frame(FRAME.settings, ACK, 0))
  }

  send(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  get(stream: number, ...more: string[]): void {
    this.send(frame(FRAME.headers, END_HEADERS | END_STREAM, stream, block(...GET, ...more)))
  }

  of(type: number, stream?: number): Frame[] {
    return this.frames.filter((one) => one.type === type && (stream === undefined || one.stream === stream))
  }

  /** The error code of the GOAWAY that came. */
  async goaway(): Promise<number> {
    await until(
      () => this.of(FRAME.goaway).length > 0 || this.closed,
      () => `GOAWAY, after ${this.frames.length} frames`,
    )
    return this.of(FRAME.goaway).at(-1)?.payload.readUInt32BE(4) ?? -1
  }

  async untilClosed(): Promise<void> {
    await until(() => this.closed, 'the end of the connection')
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

export async function frameClient(port: number): Promise<FrameClient> {
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'] })
  await once(socket, 'secureConnect')
  return new FrameClient(socket)
}

/** Waits until a number has stopped growing, and gives it. */
export async function settled(value: () => number): Promise<number> {
  let before = -1
  while (value() !== before) {
    before = value()
    await delay(200)
  }
  return before
}

export { constants }
