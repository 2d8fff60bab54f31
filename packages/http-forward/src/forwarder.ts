import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { headerLine } from './answer.ts'
import { ClientConnection } from './client-connection.ts'
import { Deadlines } from './deadlines.ts'
import type { Context } from './exchange.ts'
import type { Client } from './forwarded.ts'
import { plainName } from './head.ts'
import { ClientSession } from './http2-session.ts'
import { LIMITS, type Limits } from './limits.ts'
import { type Load, Pool } from './pool.ts'
import type { RequestReport, TunnelReport } from './report.ts'
import type { Route } from './route.ts'
import type { ShadowReport } from './shadow.ts'

export interface ForwarderOptions {
  readonly route: Route
  /** Those that are not given have the values of `LIMITS`. */
  readonly limits?: Partial<Limits>
  /** Whether the peer at this address may say for whom it speaks (X-Forwarded-For, Forwarded); nobody may by default. */
  readonly trusted?: (address: string | undefined) => boolean
  /** Names of headers that are not taken from clients, because the application believes them. */
  readonly withheld?: readonly string[]
  /** Set on each response, in place of what the application says. */
  readonly responseHeaders?: Readonly<Record<string, string>>
  /** The name under which it puts itself into Via (RFC 9110 7.6.3); not at all by default. */
  readonly via?: string
  /** Whether a request without a valid traceparent gets one. One that has it always keeps it. */
  readonly createTraceparent?: boolean
  /** Whether each request gets an X-Request-Id, in place of what clients say that are not trusted. */
  readonly createRequestId?: boolean
  /** Called once for each request, when nothing more will be written for it. */
  readonly onRequest?: (report: RequestReport) => void
  /** Called when an upgraded connection, such as a WebSocket, has ended. */
  readonly onTunnel?: (report: TunnelReport) => void
  readonly onShadow?: (report: ShadowReport) => void
}

/** What is known of a connection beside its socket. */
export interface ConnectionFacts {
  /** The client's address, where it is not the peer's. */
  readonly address?: string
  /** Set on each request of the connection; clients cannot set these themselves. */
  readonly headers?: Readonly<Record<string, string>>
  /** Written first on each connection to an application, which then serves this client alone (PROXY protocol). */
  readonly preamble?: Buffer
}

export interface Forwarder {
  /**
   * Speaks HTTP on an accepted connection until it is closed: HTTP/2 where TLS has agreed on it (ALPN `h2`), HTTP/1.1
   * elsewhere. The handshake of TLS must be done.
   */
  serve(socket: Socket, facts?: ConnectionFacts): void
  /** Connections of clients. */
  readonly connections: number
  /** Requests and tunnels being served. */
  readonly inFlight: number
  /** Closes the idle connections, and the others after what they have in hand. Resolves when all are gone. */
  drain(): Promise<void>
  /** Cuts off everything at once. */
  close(): void
}

export function createForwarder(options: ForwarderOptions): Forwarder {
  const limits: Limits = { ...LIMITS, ...options.limits }
  const deadlines = new Deadlines(shortest(limits))
  let responseLines = ''
  for (const [name, value] of Object.entries(options.responseHeaders ?? {}))
    responseLines += headerLine(name, value)
  const context: Context = {
    route: options.route,
    limits,
    responseLines,
    via: options.via,
    createTraceparent: options.createTraceparent ?? false,
    createRequestId: options.createRequestId ?? false,
    onRequest: options.onRequest ?? (() => undefined),
    onTunnel: options.onTunnel ?? (() => undefined),
    onShadow: options.onShadow ?? (() => undefined),
    shadows: 0,
    streams: 0,
    closing: false,
  }
  const withheldOfResponses = Object.keys(options.responseHeaders ?? {}).map(plainName)
  const withheld = (options.withheld ?? []).map(plainName)
  const trusted = options.trusted ?? (() => false)
  const load: Load = { connections: 0, pools: new Set() }
  const shared = new Pool(limits, load, deadlines, withheldOfResponses, undefined)
  const connections = new Set<ClientConnection | ClientSession>()
  let draining = false
  const waiting: (() => void)[] = []

  return {
    serve(socket, facts = {}) {
      // Its 'close' may have been told to others already.
      if (socket.destroyed) return
      const peer = plainAddress(socket.remoteAddress)
      const secure = 'encrypted' in socket
      const headers = facts.headers
      const client: Client = {
        address: facts.address ?? peer,
        secure,
        ...(headers === undefined ? {} : { headers }),
      }
      const own =
        facts.preamble === undefined
          ? undefined
          : new Pool(limits, load, deadlines, withheldOfResponses, facts.preamble)
      const facility = {
        context,
        deadlines,
        pool: own ?? shared,
        client,
        trusted: trusted(client.address),
        withheld: headers === undefined ? withheld : [...withheld, ...Object.keys(headers).map(plainName)],
        onClose: (closed: ClientConnection | ClientSession) => {
          own?.close()
          connections.delete(closed)
          if (connections.size === 0) for (const resolve of waiting.splice(0)) resolve()
        },
      }
      let connection: ClientConnection | ClientSession
      try {
        connection = isHttp2(socket)
          ? new ClientSession(socket, facility)
          : new ClientConnection(socket, facility)
      } catch {
        // node:http2 takes over no socket whose system handle is gone.
        own?.close()
        socket.destroy()
        return
      }
      connections.add(connection)
      if (draining) connection.drain()
    },
    get connections() {
      return connections.size
    },
    get inFlight() {
      let count = 0
      for (const connection of connections) {
        count += connection instanceof ClientSession ? connection.inFlight : Number(connection.busy)
      }
      return count
    },
    async drain() {
      draining = true
      for (const connection of connections) connection.drain()
      if (connections.size > 0) await new Promise<void>((resolve) => waiting.push(resolve))
      // Shadows of requests that have ended may still be under way, and nobody waits for these.
      shared.close()
    },
    close() {
      context.closing = true
      for (const connection of connections) connection.destroy()
      shared.close()
    },
  }
}

function isHttp2(socket: Socket): socket is TLSSocket {
  return socket instanceof TLSSocket && socket.alpnProtocol === 'h2'
}

/** Without the prefix that an IPv4 address has on an IPv6 socket. */
export function plainAddress(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:(?=\d+\.)/, '')
}

function shortest(limits: Limits): number {
  return Math.min(limits.headMs, limits.idleMs, limits.stallMs, limits.lingerMs, limits.abandonedMs)
}
