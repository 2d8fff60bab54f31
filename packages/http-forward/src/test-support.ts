import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type ConnectionFacts,
  createForwarder,
  createUpstream,
  type Forwarder,
  type ForwarderOptions,
  type RequestReport,
  type ShadowReport,
  type Upstream,
} from './index.ts'

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

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get upstream(): Upstream {
    return createUpstream(`http://127.0.0.1:${this.port}`)
  }

  async listen(): Promise<this> {
    this.server.listen(0, '127.0.0.1')
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
  return new Application(createHttpServer(listener)).listen()
}

/** Says which it is, and what it was asked. */
export function namedApp(name: string): Promise<Application> {
  return httpApp((req, res) => {
    let body = ''
    req.setEncoding('latin1').on('data', (text: string) => (body += text))
    req.on('end', () => {
      res.setHeader('X-App', name)
      res.end(
        JSON.stringify({
          app: name,
          method: req.method,
          url: req.url,
          raw: req.rawHeaders,
          trailers: req.rawTrailers,
          body,
        }),
      )
    })
  })
}

/** An application that is not bound to HTTP. */
export function tcpApp(serve: (socket: Socket) => void): Promise<Application> {
  return new Application(createServer(serve)).listen()
}

/** Calls for each head that arrives on a connection; bodies are not expected. */
export function onHeads(socket: Socket, answer: (head: string) => void): void {
  let seen = ''
  socket.on('data', (bytes) => {
    seen += bytes.toString('latin1')
    for (let end = seen.indexOf('\r\n\r\n'); end >= 0; end = seen.indexOf('\r\n\r\n')) {
      const head = seen.slice(0, end + 4)
      seen = seen.slice(end + 4)
      answer(head)
    }
  })
}

/** Answers the head of every request with these very bytes. */
export function scriptedApp(response: string): Promise<Application> {
  return tcpApp((socket) => onHeads(socket, () => socket.write(response, 'latin1')))
}

/** An upstream on a port on which nobody listens; one that was just freed might be taken by another test. */
export function refusing(): Upstream {
  return createUpstream('http://127.0.0.1:1')
}

/** A proxy on loopback. Disposing fails when it has kept anything. */
export interface Proxy extends AsyncDisposable {
  forwarder: Forwarder
  port: number
  requests: RequestReport[]
  shadows: ShadowReport[]
}

export async function startProxy(
  options: ForwarderOptions,
  facts: (socket: Socket) => ConnectionFacts = () => ({}),
): Promise<Proxy> {
  const requests: RequestReport[] = []
  const shadows: ShadowReport[] = []
  const forwarder = createForwarder({
    onRequest: (report) => requests.push(report),
    onShadow: (report) => shadows.push(report),
    ...options,
  })
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    forwarder.serve(socket, facts(socket)),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    forwarder,
    port: (server.address() as AddressInfo).port,
    requests,
    shadows,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      forwarder.close()
      await closed
      await until(() => forwarder.connections === 0 && forwarder.inFlight === 0, 'the end of the forwarder')
    },
  }
}

/** The reports of requests, once there are so many. A client may have its response a moment before. */
export async function reports(proxy: Proxy, count = 1): Promise<RequestReport[]> {
  await until(() => proxy.requests.length >= count, `${count} reports`)
  return proxy.requests
}

/** A connection, and what has come on it. */
export class RawClient implements Disposable {
  readonly socket: Socket
  received = ''
  ended = false
  closed = false
  error: NodeJS.ErrnoException | undefined

  constructor(socket: Socket) {
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
    socket.on('error', (error) => {
      this.error = error
    })
  }

  send(text: string): void {
    this.socket.write(text, 'latin1')
  }

  /** Waits for a piece of text in what has come. */
  async until(text: string): Promise<void> {
    await until(
      () => this.received.includes(text),
      () => `"${text}" in ${JSON.stringify(this.received.slice(0, 2_000))}`,
    )
  }

  async untilClosed(): Promise<void> {
    await until(
      () => this.closed,
      () => `the connection closed after ${JSON.stringify(this.received.slice(0, 2_000))}`,
    )
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

export async function rawClient(port: number, allowHalfOpen = false): Promise<RawClient> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen, noDelay: true })
  await once(socket, 'connect')
  return new RawClient(socket)
}

/** Sends these very bytes on a connection of their own and gives all that comes until it is closed. */
export async function exchangeRaw(port: number, bytes: string): Promise<string> {
  using client = await rawClient(port)
  client.send(bytes)
  await client.untilClosed()
  return client.received
}

/** One request that asks for the connection to be closed, and its response. */
export async function ask(port: number, head: string, body = ''): Promise<RawResponse> {
  const text = await exchangeRaw(port, `${head}Connection: close\r\n\r\n${body}`)
  const [response] = parseResponses(text, [head.slice(0, head.indexOf(' '))])
  if (response === undefined) throw new Error(`no response in ${JSON.stringify(text)}`)
  return response
}

export interface RawResponse {
  status: number
  /** Lines as they came. */
  lines: string[]
  /** By lower-case name, the last of each. */
  headers: Map<string, string>
  body: string
  trailers: string[]
}

/** Takes apart final responses to requests of these methods; throws where the bytes are not exactly these. */
export function parseResponses(text: string, methods: readonly string[], closed = true): RawResponse[] {
  const responses: RawResponse[] = []
  let rest = text
  for (const method of methods) {
    if (rest === '') break
    let status = 100
    let lines: string[] = []
    while (status < 200) {
      const end = rest.indexOf('\r\n\r\n')
      if (end < 0) throw new Error(`half a head in ${JSON.stringify(rest)}`)
      const [first = '', ...others] = rest.slice(0, end).split('\r\n')
      status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
      if (!(status >= 100)) throw new Error(`no status line: ${JSON.stringify(first)}`)
      lines = others
      rest = rest.slice(end + 4)
    }
    const headers = new Map<string, string>()
    for (const line of lines) {
      const colon = line.indexOf(':')
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
    }
    const response: RawResponse = { status, lines, headers, body: '', trailers: [] }
    responses.push(response)
    if (method === 'HEAD' || status === 204 || status === 304) continue
    const length = headers.get('content-length')
    if (headers.has('transfer-encoding')) {
      rest = takeChunks(rest, response)
    } else if (length !== undefined) {
      response.body = rest.slice(0, Number(length))
      if (response.body.length < Number(length)) throw new Error('half a body')
      rest = rest.slice(Number(length))
    } else {
      if (!closed) throw new Error('a body until the end of a connection that has not ended')
      response.body = rest
      rest = ''
    }
  }
  if (rest !== '') throw new Error(`more than the responses: ${JSON.stringify(rest)}`)
  return responses
}

function takeChunks(text: string, response: RawResponse): string {
  let rest = text
  for (;;) {
    const line = /^([0-9a-f]+)\r\n/.exec(rest)
    if (line === null) throw new Error(`no chunk in ${JSON.stringify(rest)}`)
    rest = rest.slice(line[0].length)
    const size = Number.parseInt(line[1] ?? '', 16)
    if (size === 0) break
    response.body += rest.slice(0, size)
    if (rest.slice(size, size + 2) !== '\r\n') throw new Error('a chunk has no end')
    rest = rest.slice(size + 2)
  }
  const end = rest.startsWith('\r\n') ? 0 : rest.indexOf('\r\n\r\n') + 2
  if (end === 1) throw new Error('the trailers have no end')
  response.trailers = rest
    .slice(0, Math.max(0, end - 2))
    .split('\r\n')
    .filter((line) => line !== '')
  return rest.slice(end + 2)
}

/** Writes text in pieces that arrive one by one. */
export async function sendSplit(socket: Socket, text: string, cuts: readonly number[]): Promise<void> {
  let from = 0
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const to = Math.min(cut, text.length)
    if (to <= from) continue
    socket.write(text.slice(from, to), 'latin1')
    from = to
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (from < text.length) socket.write(text.slice(from), 'latin1')
}

/** Waits until a condition holds; fails after 10 s with what was awaited. */
export async function until(condition: () => boolean, awaited: string | (() => string)): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline) {
      throw new Error(`waited in vain for: ${typeof awaited === 'string' ? awaited : awaited()}`)
    }
    await delay(2)
  }
}
