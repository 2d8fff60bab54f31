import { Agent, type ClientRequest, request as httpRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Limits } from './limits.ts'

/** The application let a deadline pass. */
export class UpstreamTimeout extends Error {
  override readonly name = 'UpstreamTimeout'
}

export interface RequestHead {
  method: string
  path: string
  /** Name, value, name, value. */
  headers: readonly string[]
}

/** Opens requests to one application, over a pool of kept connections or over a connection of their own. */
export class Upstream {
  /** `host:port` as a Host header has it. */
  readonly authority: string
  readonly #host: string
  readonly #port: number
  readonly #connectTimeoutMs: number
  readonly #limits: Limits
  readonly #pool: Agent

  constructor(target: URL, connectTimeoutMs: number, limits: Limits) {
    this.authority = target.host
    this.#host = target.hostname.replace(/^\[|\]$/g, '')
    this.#port = target.port === '' ? 80 : Number(target.port)
    this.#connectTimeoutMs = connectTimeoutMs
    this.#limits = limits
    this.#pool = new Agent({ keepAlive: true, timeout: limits.poolIdleMs, scheduling: 'lifo' })
  }

  /** The request is not sent before its first write, `flushHeaders()` or `end()`. Throws on an unsendable head. */
  open({ method, path, headers }: RequestHead, how: 'pooled' | 'fresh'): ClientRequest {
    const request = httpRequest({
      ...(how === 'pooled' ? { agent: this.#pool } : { createConnection: () => this.#connect() }),
      host: this.#host,
      port: this.#port,
      method,
      path,
      headers,
      maxHeaderSize: this.#limits.responseHeadBytes,
      insecureHTTPParser: false,
    })
    // Node would leave out the headers beyond a number without a word; the size of the head is bounded already.
    request.maxHeadersCount = 0
    request.once('socket', (socket) => this.#limitConnecting(request, socket))
    return request
  }

  close(): void {
    this.#pool.destroy()
  }

  #connect(): Socket {
    return connect({ host: this.#host, port: this.#port, noDelay: true })
  }

  #limitConnecting(request: ClientRequest, socket: Socket): void {
    if (!socket.connecting) return
    const timeoutMs = this.#connectTimeoutMs
    const expire = () => request.destroy(new UpstreamTimeout(`no connection within ${timeoutMs} ms`))
    const timer = setTimeout(expire, timeoutMs)
    socket.once('connect', () => clearTimeout(timer))
    socket.once('close', () => clearTimeout(timer))
  }
}
