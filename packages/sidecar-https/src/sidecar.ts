import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import { createServer, type SecureContextOptions, type Server } from 'node:tls'
import {
  createForwarder,
  createUpstream,
  type Forwarder,
  type RequestReport,
  type TunnelReport,
} from '@outrider/http-forward'
import { type ListenAddress, listen } from '@outrider/listen'
import { type CertificateInfo, inspectKeyPair, type KeyPair } from './certificate.ts'
import { allClosed } from './closed.ts'
import { LIMITS, type Limits } from './limits.ts'

export interface HttpsSidecarOptions {
  listen: ListenAddress
  /** `http://host:port`, an origin alone. */
  target: URL
  certificate: KeyPair
  /** From the last byte of a request until the head of its response; then 504. */
  responseTimeoutMs: number
  /** Until the application accepts a connection; then 504. A refused connection is a 502 at once. */
  connectTimeoutMs: number
  onRequest?: (report: RequestReport) => void
  /** Called when an upgraded connection, such as a WebSocket, has ended. */
  onTunnel?: (report: TunnelReport) => void
  /** Called for each connection that failed before it was a TLS connection; `code` says how. */
  onHandshakeError?: (error: Error) => void
  /** Called with the certificate that new connections get from now on. */
  onCertificate?: (info: CertificateInfo) => void
}

export interface HttpsSidecar extends AsyncDisposable {
  /** Where it listens, the port filled in. */
  readonly address: ListenAddress
  /** Connections of clients, those in their handshake included. */
  readonly openConnections: number
  /** Requests and tunnels being served. */
  readonly inFlight: number
  /** Serves another certificate to new connections. Throws, and keeps the old one, when the pair cannot be used. */
  useCertificate(pair: KeyPair): CertificateInfo
  /**
   * Accepts no more connections and closes the idle ones. Resolves when the requests and tunnels in hand are
   * finished and all connections are gone, which a tunnel may put off for ever: dispose to end it.
   */
  drain(): Promise<void>
  /** Cuts off everything at once. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Rejects with the system's error when it cannot listen, and with a plain one when the pair or the target is bad. */
export function startHttpsSidecar(options: HttpsSidecarOptions): Promise<HttpsSidecar> {
  return startWithLimits(options, LIMITS)
}

/** With other limits than the ones that are shipped; for tests. */
export async function startWithLimits(options: HttpsSidecarOptions, limits: Limits): Promise<HttpsSidecar> {
  refuseBadTarget(options.target)
  const sidecar = new TlsSidecar(options, limits)
  try {
    await sidecar.listen()
  } catch (error) {
    await sidecar[Symbol.asyncDispose]()
    throw error
  }
  return sidecar
}

class TlsSidecar implements HttpsSidecar {
  address: ListenAddress
  readonly #options: HttpsSidecarOptions
  readonly #forwarder: Forwarder
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** By peer: the plain connection that is accepted and the secure one that comes of it are two objects. */
  readonly #handshaking = new Map<string, Socket>()
  #pair: PemPair
  #info: CertificateInfo
  #gone: Promise<void> | undefined

  constructor(options: HttpsSidecarOptions, limits: Limits) {
    this.address = options.listen
    this.#options = options
    this.#info = inspectKeyPair(options.certificate)
    const pair = toText(options.certificate)
    this.#pair = pair
    this.#server = usable(() => createTlsServer(pair, limits))
    const upstream = createUpstream(options.target, {
      responseTimeoutMs: options.responseTimeoutMs,
      connectTimeoutMs: options.connectTimeoutMs,
      idleMs: limits.poolIdleMs,
    })
    this.#forwarder = createForwarder({
      route: () => ({ upstream }),
      limits,
      onRequest: (report) => options.onRequest?.(report),
      onTunnel: (report) => options.onTunnel?.(report),
    })
    this.#watchConnections()
  }

  async listen(): Promise<void> {
    this.address = await listen(this.#server, this.#options.listen)
    // Such as EMFILE on accept: one connection fails, not the sidecar.
    this.#server.on('error', (error) => this.#options.onHandshakeError?.(error))
    this.#options.onCertificate?.(this.#info)
  }

  get openConnections(): number {
    return this.#sockets.size
  }

  get inFlight(): number {
    return this.#forwarder.inFlight
  }

  useCertificate(certificate: KeyPair): CertificateInfo {
    const info = inspectKeyPair(certificate)
    const pair = toText(certificate)
    // Each context lives until the garbage collector comes by, with memory it does not count (nodejs/node#66002):
    // a watcher that reports files without a change must not cost one.
    if (pair.cert === this.#pair.cert && pair.key === this.#pair.key) return info
    usable(() => this.#server.setSecureContext(contextOptions(pair)))
    this.#pair = pair
    this.#info = info
    this.#options.onCertificate?.(info)
    return info
  }

  drain(): Promise<void> {
    const gone = this.#stopAccepting()
    // Nothing was asked on them yet, so a client loses nothing by connecting again elsewhere.
    for (const socket of this.#handshaking.values()) socket.destroy()
    void this.#forwarder.drain()
    return gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = this.#stopAccepting()
    for (const socket of this.#sockets) socket.destroy()
    this.#forwarder.close()
    await gone
  }

  #stopAccepting(): Promise<void> {
    this.#gone ??= this.#untilGone()
    return this.#gone
  }

  async #untilGone(): Promise<void> {
    // The error of closing what does not listen is of no use to anybody.
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await allClosed(this.#sockets)
  }

  #watchConnections(): void {
    this.#server.on('connection', (socket: Socket) => {
      const peer = peerOf(socket)
      this.#sockets.add(socket)
      this.#handshaking.set(peer, socket)
      socket.once('close', () => {
        this.#sockets.delete(socket)
        if (this.#handshaking.get(peer) === socket) this.#handshaking.delete(peer)
      })
    })
    this.#server.on('secureConnection', (socket) => {
      this.#handshaking.delete(peerOf(socket))
      // Not before: a handshake whose client has gone would wait for its deadline.
      socket.allowHalfOpen = true
      this.#forwarder.serve(socket)
    })
    this.#server.on('tlsClientError', (error, socket) => {
      // Node leaves a connection open whose time for the handshake is over.
      socket.destroy()
      this.#options.onHandshakeError?.(error)
    })
  }
}

interface PemPair {
  cert: string
  key: string
}

const toText = ({ cert, key }: KeyPair): PemPair => ({ cert: cert.toString(), key: key.toString() })

// Forward secrecy and authenticated encryption alone.
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

function contextOptions(pair: PemPair): SecureContextOptions {
  return {
    cert: pair.cert,
    key: pair.key,
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    // A client of TLS 1.2 could make us do handshakes without end on one connection.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  }
}

function createTlsServer(pair: PemPair, limits: Limits): Server {
  return createServer({
    ...contextOptions(pair),
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: limits.handshakeMs,
    noDelay: true,
    // Finds the peers of silent tunnels and streams that have lost their power or their network.
    keepAlive: true,
    keepAliveInitialDelay: limits.tcpKeepAliveMs,
  })
}

// What the pair looks like is checked before; this is what OpenSSL has against it, such as a key that is too short.
function usable<T>(use: () => T): T {
  try {
    return use()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`the certificate cannot be used for TLS: ${reason}`)
  }
}

// Peers on a Unix socket have no address: there, a handshake that is not finished may be missed by drain(), which
// then waits for its time limit.
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

function refuseBadTarget(target: URL): void {
  const bare = target.pathname === '/' && target.search === '' && target.hash === ''
  if (target.protocol === 'http:' && bare && target.username === '' && target.password === '') return
  // The origin only: the rest may hold a password.
  throw new Error(`the target ${target.origin} must be http://host:port and nothing more`)
}
