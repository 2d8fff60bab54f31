import { once } from 'node:events'
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type RequestListener } from 'node:http'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { type RequestOptions, request } from 'node:https'
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { Worker } from 'node:worker_threads'
import type { HandshakeReport } from './handshake.ts'
import type { CertificateInfo, ListenAddress, PipeReport, RequestReport, TunnelReport } from './index.ts'
import { selfSigned } from './self-signed.ts'
import { type HttpsSidecar, type HttpsSidecarOptions, startHttpsSidecar } from './sidecar.ts'

export const CERTIFICATE = selfSigned({ names: ['127.0.0.1', '::1'] })
export const OTHER_CERTIFICATE = selfSigned({ names: ['other.test', '127.0.0.1'] })

/** A real application behind a real sidecar. Disposing fails when a connection to the application is left open. */
export interface World extends AsyncDisposable {
  app: Application
  sidecar: HttpsSidecar
  port: number
  requests: RequestReport[]
  tunnels: TunnelReport[]
  pipes: PipeReport[]
  handshakes: HandshakeReport[]
  handshakeErrors: NodeJS.ErrnoException[]
  certificates: CertificateInfo[]
}

export type Tuning = Partial<HttpsSidecarOptions>

export async function startWorld(app: Application, tuning: Tuning = {}): Promise<World> {
  const world = {
    requests: [] as RequestReport[],
    tunnels: [] as TunnelReport[],
    pipes: [] as PipeReport[],
    handshakes: [] as HandshakeReport[],
    handshakeErrors: [] as NodeJS.ErrnoException[],
    certificates: [] as CertificateInfo[],
  }
  const sidecar = await startHttpsSidecar({
    listen: { host: '127.0.0.1', port: 0 },
    target: tuning.target ?? app.target,
    ...(tuning.certificates === undefined && { certificate: CERTIFICATE }),
    responseTimeoutMs: 10_000,
    connectTimeoutMs: 5_000,
    onRequest: (report) => world.requests.push(report),
    onTunnel: (report) => world.tunnels.push(report),
    onPipe: (report) => world.pipes.push(report),
    onHandshake: (report) => {
      world.handshakes.push(report)
      if (report.error !== undefined) world.handshakeErrors.push(report.error)
    },
    onCertificates: ([info]) => {
      if (info !== undefined) world.certificates.push(info)
    },
    ...tuning,
  })
  return {
    ...world,
    app,
    sidecar,
    port: portOf(sidecar),
    async [Symbol.asyncDispose]() {
      try {
        await sidecar[Symbol.asyncDispose]()
        await until(() => app.connections === 0, 'no connection to the application is left')
        if (sidecar.inFlight !== 0 || sidecar.openConnections !== 0)
          throw new Error('the sidecar has not ended')
      } finally {
        await app[Symbol.asyncDispose]()
      }
    },
  }
}

/** The reports of requests, once there are so many. A client may have its response a moment before. */
export async function reports(world: World, count = 1): Promise<RequestReport[]> {
  await until(() => world.requests.length >= count, `${count} reports`)
  return world.requests
}

/** How connections have begun, once there are so many. */
export async function outcomes(world: World, count = 1): Promise<string[]> {
  const told = () => world.handshakes.map(({ outcome }) => outcome)
  await until(
    () => world.handshakes.length >= count,
    () => `${count} handshakes after ${told()}`,
  )
  return told()
}

export function portOf(sidecar: HttpsSidecar): number {
  return 'port' in sidecar.address ? sidecar.address.port : 0
}

/** A server on loopback, and the connections it has. */
export class Application implements AsyncDisposable {
  readonly server: Server
  readonly sockets = new Set<Socket>()
  accepted = 0

  constructor(server: Server) {
    this.server = server
    server.on('connection', (socket: Socket) => {
      this.accepted += 1
      this.sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.sockets.delete(socket))
    })
  }

  get connections(): number {
    return this.sockets.size
  }

  get target(): URL {
    return new URL(`http://127.0.0.1:${this.port}`)
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  async listen(port = 0): Promise<this> {
    this.server.listen(port, '127.0.0.1')
    await once(this.server, 'listening')
    return this
  }

  /** Cuts every connection and stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve))
    for (const socket of this.sockets) socket.destroy()
    await closed
  }
}

export function httpApp(listener: RequestListener): Promise<Application> {
  const server = createServer({ maxHeaderSize: 128 * 1024 }, listener)
  server.maxHeadersCount = 0
  return new Application(server).listen()
}

/** An application that is not bound to HTTP. */
export function tcpApp(serve: (socket: Socket) => void): Promise<Application> {
  return new Application(createTcpServer(serve)).listen()
}

/** Answers the head of every request with these very bytes. */
export function scriptedApp(
  response: string,
  then: 'keep' | 'end' | 'destroy' = 'keep',
): Promise<Application> {
  return tcpApp((socket) => {
    let seen = ''
    socket.on('data', (chunk) => {
      seen += chunk.toString('latin1')
      for (let end = seen.indexOf('\r\n\r\n'); end >= 0; end = seen.indexOf('\r\n\r\n')) {
        seen = seen.slice(end + 4)
        socket.write(response, 'latin1', () => {
          if (then === 'end') socket.end()
          if (then === 'destroy') socket.destroy()
        })
      }
    })
  })
}

/** A port on which nobody listens. */
export async function closedPort(): Promise<number> {
  const app = await tcpApp(() => undefined)
  const { port } = app
  await app[Symbol.asyncDispose]()
  return port
}

// A thread that listens and then sleeps: the kernel lets in the few connections that its queue holds.
const UNACCEPTING = `
  const { createServer } = require('node:net')
  const { parentPort, workerData } = require('node:worker_threads')
  const server = createServer().listen({ ...workerData, backlog: 1 }, () => {
    parentPort.postMessage(server.address())
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })`

/** An address on which connecting takes for ever, or on a Unix socket is put off by the system. */
export async function unaccepting(
  listen: ListenAddress = { host: '127.0.0.1', port: 0 },
): Promise<AsyncDisposable & { port: number }> {
  const thread = new Worker(UNACCEPTING, { eval: true, workerData: listen })
  const [address] = (await once(thread, 'message')) as [AddressInfo | string]
  const target = typeof address === 'string' ? { path: address } : { host: '127.0.0.1', port: address.port }
  const sockets = Array.from({ length: 4 }, () => connectTcp(target).on('error', () => undefined))
  await settled(() => sockets.filter((socket) => !socket.connecting).length)
  return {
    port: typeof address === 'string' ? 0 : address.port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await thread.terminate()
    },
  }
}

export interface Reply {
  status: number
  headers: IncomingMessage['headers']
  rawHeaders: string[]
  trailers: IncomingMessage['trailers']
  body: string
}

export type Asked = RequestOptions & { body?: string | Buffer; headers?: OutgoingHttpHeaders | string[] }

/** One request on a connection of its own, unless an agent is given; rejects when the response is cut off. */
export async function ask(port: number, path = '/', options: Asked = {}): Promise<Reply> {
  const response = await open(port, path, options)
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    trailers: response.trailers,
    body: Buffer.concat(chunks).toString(),
  }
}

/** Resolves with the head of the response. */
export async function open(
  port: number,
  path = '/',
  { body, ...options }: Asked = {},
): Promise<IncomingMessage> {
  const outgoing = request({
    host: '127.0.0.1',
    port,
    path,
    rejectUnauthorized: false,
    agent: false,
    ...options,
  })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return response
}

/** The same by HTTP/2. */
export async function askHttp2(
  port: number,
  headers: OutgoingHttpHeaders = {},
  options: ConnectionOptions = {},
): Promise<{ status: number; body: string }> {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, ...options })
  try {
    const failed = once(session, 'close').then(() => Promise.reject(new Error('the connection was closed')))
    const stream = session.request({ ':path': '/', ...headers })
    const [[head]] = (await Promise.race([Promise.all([once(stream, 'response')]), failed])) as [
      [IncomingHttpHeaders & { ':status'?: number }],
    ]
    failed.catch(() => undefined)
    return { status: head[':status'] ?? 0, body: await text(stream) }
  } finally {
    session.destroy()
  }
}

/** A TLS connection whose handshake is done, and what has come on it. */
export class RawClient implements Disposable {
  readonly socket: TLSSocket
  received = ''
  ended = false
  closed = false

  constructor(socket: TLSSocket) {
    this.socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      this.received += text
    })
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('error', () => undefined)
  }

  /** Waits for a piece of text in what has come. */
  async until(text: string): Promise<void> {
    await until(
      () => this.received.includes(text),
      () => `"${text}" in ${JSON.stringify(this.received)}`,
    )
  }

  async untilClosed(): Promise<void> {
    await until(
      () => this.closed,
      () => `the connection closed after ${JSON.stringify(this.received)}`,
    )
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

export async function rawClient(port: number, options: ClientOptions = {}): Promise<RawClient> {
  return new RawClient(await handshake(port, options))
}

/** The types of Node forget that a TLS connection may be half open too. */
export type ClientOptions = ConnectionOptions & { allowHalfOpen?: boolean }

/** Rejects when the handshake fails. */
export async function handshake(port: number, options: ClientOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options })
  await once(socket, 'secureConnect')
  return socket
}

/** Sends these very bytes on a connection of their own and gives all that comes until it is closed. */
export async function exchangeRaw(port: number, bytes: string): Promise<string> {
  using client = await rawClient(port)
  client.socket.write(bytes, 'latin1')
  await client.untilClosed()
  return client.received
}

/** Waits until a condition holds; fails after 10 s with what was awaited. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  awaited: string | (() => string),
): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await condition())) {
    if (Date.now() > deadline) {
      throw new Error(`waited in vain for: ${typeof awaited === 'string' ? awaited : awaited()}`)
    }
    await delay(5)
  }
}

/** Waits until a number has stopped growing, and gives it. */
export async function settled(value: () => number): Promise<number> {
  let before = -1
  while (value() !== before) {
    before = value()
    await delay(400)
  }
  return before
}
