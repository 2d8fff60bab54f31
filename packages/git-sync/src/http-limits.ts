import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ListenAddress, listen } from '@outrider/listen'

/** What clients of a small HTTP endpoint may cost. All times are milliseconds. */
export interface HttpLimits {
  /** With more, the oldest is closed: who is answered at once is gone, and who stays says nothing. */
  readonly connections: number
  readonly headMs: number
  /** For all of a request. */
  readonly requestMs: number
  /** Without a byte in either direction. */
  readonly idleMs: number
}

export const HTTP_LIMITS: HttpLimits = { connections: 64, headMs: 5_000, requestMs: 30_000, idleMs: 10_000 }

export interface HttpEndpointOptions {
  readonly listen: ListenAddress
  readonly limits?: Partial<HttpLimits>
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>
  /** Called for what is no request of HTTP, or whose head did not come in time. */
  readonly onMalformed?: () => void
  /** Called where a connection could not be accepted or a request not be answered. */
  readonly onError: (error: Error) => void
}

export interface HttpEndpoint extends AsyncDisposable {
  /** Where it listens, the port filled in. */
  readonly address: ListenAddress
}

/** How often the limits of time are looked at. */
const CHECK_MS = 1_000

/** Listens for HTTP, one request a connection. Rejects with the system's error on listening. */
export async function startHttpEndpoint(options: HttpEndpointOptions): Promise<HttpEndpoint> {
  const { handle, onMalformed, onError } = options
  const limits = { ...HTTP_LIMITS, ...options.limits }
  const server = createServer({
    headersTimeout: limits.headMs,
    requestTimeout: limits.requestMs,
    connectionsCheckingInterval: Math.min(limits.headMs, CHECK_MS),
  })
  // Who sends a thousand at once and reads no answer would fill the memory.
  server.maxRequestsPerSocket = 1
  server.timeout = limits.idleMs
  const responses = new WeakMap<Duplex, ServerResponse>()
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      // RFC 9112, 3.2: two Host fields are two opinions on who is asked.
      const hosts = request.headersDistinct['host'] ?? []
      if (hosts.length <= 1) return await handle(request, response)
      onMalformed?.()
      answer(request, response, { status: 400 })
    } catch (error) {
      onError(error instanceof Error ? error : new Error(String(error)))
      answer(request, response, { status: 500 })
    }
  }
  server.on('request', (request, response) => {
    responses.set(request.socket, response)
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    void serve(request, response)
  })
  server.on('clientError', (error, socket) => {
    const status = statusOf(error)
    // Of a request that is being handled, its handler finds that it breaks off.
    if (status !== undefined && !responses.has(socket)) onMalformed?.()
    if (status === undefined || responses.get(socket)?.headersSent) socket.destroy()
    else
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () =>
        socket.destroy(),
      )
  })
  const open = new Set<Socket>()
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    const [oldest] = open
    if (open.size > limits.connections) oldest?.destroy()
  })
  const address = await listen(server, options.listen)
  // A failure to accept one connection (EMFILE) must not end the process.
  server.on('error', onError)
  return {
    address,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

/** What a request that is none is answered; undefined where its client has left. */
function statusOf(error: Error): string | undefined {
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'HPE_HEADER_OVERFLOW') return '431 Request Header Fields Too Large'
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return '408 Request Timeout'
  return code.startsWith('HPE_') ? '400 Bad Request' : undefined
}

export interface Answer {
  readonly status: number
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string
}

/** For what is left of a request that is answered already. */
const LINGER_MS = 1_000

/** Answers once; a further answer is passed over. */
export function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body = '' }: Answer,
): void {
  if (response.headersSent || response.destroyed) return
  response.writeHead(status, {
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  })
  if (request.complete) {
    response.end(body)
    return
  }
  // Closing with unread bytes makes the kernel send a reset, which can overtake the answer.
  response.flushHeaders()
  response.write(body)
  const end = (): void => void response.end()
  const linger = setTimeout(end, LINGER_MS)
  request.once('end', end)
  request.once('close', () => clearTimeout(linger))
  request.resume()
}
