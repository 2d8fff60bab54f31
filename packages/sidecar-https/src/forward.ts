import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import {
  type Answer,
  answerToParserError,
  CONNECT_REFUSED,
  EXPECTATION_FAILED,
  sendRawAnswer,
  UPGRADE_REFUSED,
} from './answer.ts'
import { allClosed } from './closed.ts'
import { ClientConnection } from './connection.ts'
import { Exchange } from './exchange.ts'
import type { Limits } from './limits.ts'
import { refusal } from './refuse.ts'
import type { RequestReport, TunnelReport } from './report.ts'
import { openTunnel } from './tunnel.ts'
import { Upstream } from './upstream.ts'

export interface ForwarderOptions {
  target: URL
  responseTimeoutMs: number
  connectTimeoutMs: number
  limits: Limits
  onRequest: (report: RequestReport) => void
  onTunnel: (report: TunnelReport) => void
}

/** Speaks HTTP/1.1 on connections that others accept, and passes on what comes to the application. */
export interface Forwarder {
  /** Requests and tunnels being served. */
  readonly inFlight: number
  /** Takes over a connection whose handshake is done. */
  serve(socket: TLSSocket): void
  /** Ends each connection as soon as nothing is in hand on it. */
  drain(): void
  /** Resolves when no connection is left. */
  ended(): Promise<void>
  /** Gives back what is not a client's connection; those are cut off by who accepted them. */
  close(): void
}

export function createForwarder(options: ForwarderOptions): Forwarder {
  return new HttpForwarder(options)
}

class HttpForwarder implements Forwarder {
  readonly #options: ForwarderOptions
  readonly #upstream: Upstream
  readonly #connections = new Map<Duplex, ClientConnection>()
  readonly #server: Server
  #draining = false

  constructor(options: ForwarderOptions) {
    this.#options = options
    this.#upstream = new Upstream(options.target, options.connectTimeoutMs, options.limits)
    this.#server = createParser(options.limits)
    this.#server.on('request', (req, res) => this.#onRequest(req, res))
    this.#server.on('checkContinue', (req, res) => this.#onRequest(req, res, { expectsContinue: true }))
    this.#server.on('checkExpectation', (req, res) =>
      this.#onRequest(req, res, { refused: EXPECTATION_FAILED }),
    )
    this.#server.on('upgrade', (req, socket, head) => this.#onUpgrade(req, socket, head))
    this.#server.on('connect', (req, socket) => this.#onConnect(req, socket))
    this.#server.on('clientError', (error, socket) => this.#onClientError(error, socket))
  }

  get inFlight(): number {
    let sum = 0
    for (const connection of this.#connections.values()) sum += connection.inFlight
    return sum
  }

  serve(socket: TLSSocket): void {
    const connection = new ClientConnection(socket, this.#options.limits)
    this.#connections.set(socket, connection)
    socket.once('close', () => this.#connections.delete(socket))
    this.#server.emit('connection', socket)
    if (this.#draining) connection.drain()
  }

  drain(): void {
    this.#draining = true
    for (const connection of this.#connections.values()) connection.drain()
  }

  ended(): Promise<void> {
    return allClosed(this.#connections)
  }

  close(): void {
    this.#upstream.close()
    this.#server.close()
  }

  #onRequest(
    req: IncomingMessage,
    res: ServerResponse,
    how: { expectsContinue?: boolean; refused?: Answer } = {},
  ): void {
    const connection = this.#connections.get(req.socket)
    if (!connection) return
    const exchange = new Exchange({
      ...this.#exchangeOptions(connection),
      req,
      res,
      expectsContinue: how.expectsContinue ?? false,
      refused: how.refused ?? refusal(req),
    })
    connection.submit(exchange)
  }

  #onUpgrade(req: IncomingMessage, duplex: Duplex, clientHead: Buffer): void {
    const connection = this.#connections.get(duplex)
    // Pipelined behind other requests: their responses and the new protocol would share the connection.
    if (!connection || connection.inFlight > 0) return void duplex.destroy()
    const { socket } = connection
    const res = new ServerResponse(req)
    const onTimeout = () => res.emit('timeout', socket)
    socket.on('error', () => undefined)
    socket.on('timeout', onTimeout)
    res.shouldKeepAlive = false
    res.assignSocket(socket)
    res.once('finish', () => socket.destroySoon())
    const exchange = new Exchange({
      ...this.#exchangeOptions(connection),
      req,
      res,
      expectsContinue: false,
      refused: refusal(req) ?? (mayUpgrade(req) ? undefined : UPGRADE_REFUSED),
      onSwitch: (switched, report) => {
        res.detachSocket(socket)
        socket.off('timeout', onTimeout)
        connection.becomeTunnel()
        this.#options.onRequest(report)
        openTunnel({
          client: socket,
          clientHead,
          switched,
          limits: this.#options.limits,
          onEnd: (tunnelReport) => this.#options.onTunnel(tunnelReport),
        })
      },
    })
    connection.submit(exchange)
  }

  #exchangeOptions(connection: ClientConnection) {
    return {
      upstream: this.#upstream,
      responseTimeoutMs: this.#options.responseTimeoutMs,
      clientAddress: connection.address,
      closing: () => connection.closing,
      onDone: (report: RequestReport) => {
        this.#options.onRequest(report)
        connection.release()
      },
    }
  }

  #onConnect(req: IncomingMessage, duplex: Duplex): void {
    const connection = this.#connections.get(duplex)
    if (!connection || connection.inFlight > 0) return void duplex.destroy()
    connection.socket.on('error', () => undefined)
    sendRawAnswer(connection.socket, CONNECT_REFUSED, this.#options.limits.lingerMs)
    this.#reportRefused(req.method ?? '-', CONNECT_REFUSED.status, new Error('CONNECT'))
  }

  #onClientError(error: NodeJS.ErrnoException, duplex: Duplex): void {
    const connection = this.#connections.get(duplex)
    const answer = answerToParserError(error.code)
    if (!connection || !answer || !duplex.writable) return void duplex.destroy()
    // A connection opened ahead of need, as browsers do, has done nothing that wants an answer.
    if (connection.socket.bytesRead === 0) return void duplex.destroy()
    if (connection.fail(answer, error)) this.#reportRefused('-', answer.status, error)
  }

  #reportRefused(method: string, status: number, error: Error): void {
    this.#options.onRequest({ method, status, durationMs: 0, outcome: 'refused', error })
  }
}

// Node's HTTP server without its listener: connections are handed to it.
function createParser(limits: Limits): Server {
  const server = createServer({
    insecureHTTPParser: false,
    maxHeaderSize: limits.requestHeadBytes,
    headersTimeout: limits.headMs,
    connectionsCheckingInterval: limits.headCheckMs,
    // A large upload may take its time as long as it moves: see stallMs.
    requestTimeout: 0,
    keepAliveTimeout: limits.idleMs,
    // Ours answers in order.
    requireHostHeader: false,
    shouldUpgradeCallback: mayUpgrade,
  })
  server.timeout = limits.stallMs
  // Node would leave out the headers beyond a number without a word; the size of the head is bounded already.
  server.maxHeadersCount = 0
  server.maxRequestsPerSocket = 0
  // Node begins to check headersTimeout when a server listens, which this one never does.
  server.emit('listening')
  return server
}

// RFC 9110 7.8: HTTP/1.0 knows no upgrade, and a server may ignore one. Node does not read the body of a request to
// upgrade, so that its bytes would be taken for the new protocol.
function mayUpgrade({ httpVersion, headers }: IncomingMessage): boolean {
  const bodiless = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0
  // In a tunnel of HTTP/2 a client could say about itself what it likes (X-Forwarded-For).
  const cleartextHttp2 = /\bh2c\b/i.test(headers.upgrade ?? '')
  return httpVersion === '1.1' && bodiless && !cleartextHttp2
}
