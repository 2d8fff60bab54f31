import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import {
  type ConnectionFacts,
  createForwarder,
  createUpstream,
  type Forwarder,
  plainAddress,
  type RequestReport,
  type TunnelReport,
  type Upstream,
  type UpstreamTls,
} from '@outrider/http-forward'
import type { ListenAddress } from '@outrider/listen'
import { type Access, createAccess } from './access.ts'
import type { Allow } from './allow.ts'
import { type CertificateInfo, checkAuthorities, type KeyPair } from './certificate.ts'
import { type Arrival, Entrance } from './entrance.ts'
import { failureOf, type HandshakeReport } from './handshake.ts'
import { LIMITS, type Limits } from './limits.ts'
import { createPipe, type Pipe, type PipeReport } from './pipe.ts'
import {
  type Certificates,
  type ClientAuthorities,
  fingerprints,
  TlsServer,
  type TlsServerOptions,
} from './tls-server.ts'

/** Whether and how clients have to show certificates. */
export interface ClientAuth extends ClientAuthorities {
  /** `optional`: a client may come without one; one that is shown must be good in either case. */
  readonly mode: 'optional' | 'required'
  /** Who is let in with a good one; see `compileAllow`. */
  readonly allow: Allow
}

export interface HttpsSidecarOptions
  extends Pick<
    TlsServerOptions,
    'strictNames' | 'minVersion' | 'ciphers' | 'curves' | 'ticketKeys' | 'ticketRotationMs'
  > {
  readonly listen: ListenAddress
  /** `http://host:port`, `https://host:port` or `unix:/path`; with `mode: 'tcp'` also `tcp://host:port`. */
  readonly target: URL | string
  /** For clients that ask for no name, or for one that `certificates` does not have. */
  readonly certificate?: KeyPair
  /** Chosen by the name that a client asks for. */
  readonly certificates?: Certificates['named']
  readonly clientAuth?: ClientAuth
  /** `http` by default. `tcp`: what is in the connections is not looked at. */
  readonly mode?: 'http' | 'tcp'
  /** Whether HTTP/2 is offered; it is by default. */
  readonly http2?: boolean
  /** From the last byte of a request until the head of its response; then 504. */
  readonly responseTimeoutMs: number
  /** Until the application accepts a connection; then 504. A refused connection is a 502 at once. */
  readonly connectTimeoutMs: number
  /** For a target of `https:`. */
  readonly targetTls?: UpstreamTls
  /** Peers at whose connections a PROXY header, version 1 or 2, comes first. Such a client is whom it names. */
  readonly proxyFrom?: (address: string | undefined) => boolean
  /** Whether connections to the application begin with a PROXY header, version 2. Each then serves one client. */
  readonly proxySend?: boolean
  /** Clients who may say for whom they speak (X-Forwarded-For, Forwarded). */
  readonly trusted?: (address: string | undefined) => boolean
  /** The header that tells the application of a verified client; `X-Forwarded-Client-Cert` by default. */
  readonly identityHeader?: string
  /** Value of Strict-Transport-Security. */
  readonly hsts?: string
  /** The name under which it puts itself into Via. */
  readonly via?: string
  readonly createTraceparent?: boolean
  readonly createRequestId?: boolean
  /** Those that are not given have the values of `LIMITS`. */
  readonly limits?: Partial<Limits>
  readonly onRequest?: (report: RequestReport) => void
  /** Called when an upgraded connection, such as a WebSocket, has ended. */
  readonly onTunnel?: (report: TunnelReport) => void
  /** Called when a connection of `mode: 'tcp'` has ended. */
  readonly onPipe?: (report: PipeReport) => void
  /** Called once for each connection, when it is known how it begins. */
  readonly onHandshake?: (report: HandshakeReport) => void
  /** Called with the certificates that new connections get from now on. */
  readonly onCertificates?: (infos: readonly CertificateInfo[]) => void
  /** Called with `openConnections` when it has changed. */
  readonly onConnections?: (open: number) => void
}

export interface HttpsSidecar extends AsyncDisposable {
  /** Where it listens, the port filled in. */
  readonly address: ListenAddress
  /** Connections of clients, those in their handshake included. */
  readonly openConnections: number
  /** Requests and tunnels being served; with `mode: 'tcp'`, connections. */
  readonly inFlight: number
  /**
   * Serves other certificates to new connections; what is not given stays. Throws, and keeps the old ones, when one of
   * them cannot be used.
   */
  useCertificates(certificates: Certificates): readonly CertificateInfo[]
  /** Checks the certificates of new clients against others. Throws, and keeps the old ones, when they cannot be used. */
  useAuthorities(authorities: ClientAuthorities): void
  /** Throws when these are no keys of session tickets. */
  useTicketKeys(keys: Buffer): void
  /** For a target of `https:`. Throws when the material cannot be used. */
  useTargetTls(tls: UpstreamTls): void
  /**
   * Accepts no more connections and closes the idle ones. Resolves when the requests and tunnels in hand are
   * finished and all connections are gone, which a tunnel may put off for ever: dispose to end it.
   */
  drain(): Promise<void>
  /** Cuts off everything at once. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Rejects with the system's error when it cannot listen, and with a plain one when an option cannot be used. */
export async function startHttpsSidecar(options: HttpsSidecarOptions): Promise<HttpsSidecar> {
  const sidecar = new TlsSidecar(options)
  try {
    await sidecar.listen()
  } catch (error) {
    await sidecar[Symbol.asyncDispose]()
    throw error
  }
  return sidecar
}

/** One that does not listen yet; it checks already what it is given. */
export class TlsSidecar implements HttpsSidecar {
  readonly #options: HttpsSidecarOptions
  readonly #upstream: Upstream
  readonly #forwarder: Forwarder
  readonly #pipe: Pipe
  readonly #entrance: Entrance
  readonly #tls: TlsServer
  readonly #access: Access
  /** By peer: the plain connection that is accepted and the secure one that comes of it are two objects. */
  readonly #arriving = new Map<string, Arrival>()

  constructor(options: HttpsSidecarOptions) {
    this.#options = options
    const limits = { ...LIMITS, ...options.limits }
    this.#upstream = upstreamOf(options, limits)
    this.#access = createAccess(options)
    const http = options.mode !== 'tcp'
    this.#tls = new TlsServer({
      ...options,
      certificates: {
        ...(options.certificate && { fallback: options.certificate }),
        ...(options.certificates && { named: options.certificates }),
      },
      authorities: options.clientAuth,
      protocols: http ? [...(options.http2 === false ? [] : ['h2']), 'http/1.1'] : [],
      handshakeMs: limits.handshakeMs,
    })
    const upstream = this.#upstream
    const route = { upstream }
    this.#forwarder = createForwarder({
      route: () => route,
      limits,
      withheld: [options.identityHeader ?? 'X-Forwarded-Client-Cert'],
      ...(options.trusted && { trusted: options.trusted }),
      ...(options.hsts !== undefined && { responseHeaders: { 'Strict-Transport-Security': options.hsts } }),
      ...(options.via !== undefined && { via: options.via }),
      createTraceparent: options.createTraceparent ?? false,
      createRequestId: options.createRequestId ?? false,
      onRequest: (report) => options.onRequest?.(report),
      onTunnel: (report) => options.onTunnel?.(report),
    })
    this.#pipe = createPipe({
      connect: () => upstream.connect(),
      connectTimeoutMs: options.connectTimeoutMs,
      idleMs: limits.pipeIdleMs,
      halfClosedMs: limits.halfClosedMs,
      preamble: (client) => this.#preambles.get(client),
      onEnd: (report) => options.onPipe?.(report),
    })
    this.#entrance = new Entrance({
      listen: options.listen,
      limits,
      proxyFrom: options.proxyFrom,
      onArrival: (arrival) => this.#beginHandshake(arrival),
      onRefused: (report) => options.onHandshake?.(report),
      onOpen: options.onConnections,
    })
    this.#watchHandshakes()
  }

  readonly #preambles = new WeakMap<Socket, Buffer>()

  async listen(): Promise<void> {
    await this.#entrance.listen()
    this.#options.onCertificates?.(this.#tls.infos)
  }

  get address(): ListenAddress {
    return this.#entrance.address
  }

  get openConnections(): number {
    return this.#entrance.open
  }

  get inFlight(): number {
    return this.#forwarder.inFlight + this.#pipe.open
  }

  useCertificates(certificates: Certificates): readonly CertificateInfo[] {
    const before = fingerprints(this.#tls.infos)
    const infos = this.#tls.useCertificates(certificates)
    if (fingerprints(infos) !== before) this.#options.onCertificates?.(infos)
    return infos
  }

  useAuthorities(authorities: ClientAuthorities): void {
    this.#tls.useAuthorities(authorities)
  }

  useTicketKeys(keys: Buffer): void {
    this.#tls.useTicketKeys(keys)
  }

  useTargetTls(tls: UpstreamTls): void {
    if (tls.ca !== undefined) checkAuthorities(tls.ca)
    this.#upstream.useTls(tls)
  }

  drain(): Promise<void> {
    const gone = this.#stopAccepting()
    // Nothing was asked on them yet, so a client loses nothing by connecting again elsewhere.
    for (const { socket } of this.#arriving.values()) socket.destroy()
    void this.#forwarder.drain()
    return gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = this.#stopAccepting()
    this.#entrance.cut()
    this.#forwarder.close()
    this.#pipe.close()
    await gone
  }

  #stopAccepting(): Promise<void> {
    this.#tls.stop()
    return this.#entrance.close()
  }

  #beginHandshake(arrival: Arrival): void {
    const { socket } = arrival
    const peer = peerOf(socket)
    this.#arriving.set(peer, arrival)
    socket.once('close', () => {
      if (this.#arriving.get(peer) === arrival) this.#arriving.delete(peer)
    })
    this.#tls.server.emit('connection', socket)
  }

  #watchHandshakes(): void {
    this.#tls.server.on('secureConnection', (socket) => this.#secured(socket))
    this.#tls.server.on('tlsClientError', (error, socket) => {
      const { address } = this.#arrived(socket)
      const failure = failureOf(error, socket, this.#options.clientAuth !== undefined)
      // Node leaves a connection open whose time for the handshake is over.
      socket.destroy()
      this.#report({ ...failure, address })
    })
  }

  #arrived(socket: Socket): Pick<Arrival, 'address' | 'proxy'> {
    const peer = peerOf(socket)
    const arrival = this.#arriving.get(peer)
    this.#arriving.delete(peer)
    return arrival ?? { address: plainAddress(socket.remoteAddress), proxy: undefined }
  }

  #secured(socket: TLSSocket): void {
    const { address, proxy } = this.#arrived(socket)
    // A client that has reset its connection meanwhile has no address any more, and what came with the reset would be
    // forwarded as if from nowhere.
    if (socket.remoteAddress === undefined && 'port' in this.address) {
      socket.destroy()
      const error = new Error('the client has reset its connection')
      this.#report({ outcome: 'closed', address: undefined, error })
      return
    }
    const admitted = this.#access.admit(socket, address, proxy)
    if ('outcome' in admitted) {
      socket.destroy()
      this.#report({ ...admitted, address })
      return
    }
    this.#report({ outcome: socket.isSessionReused() ? 'resumed' : 'ok', address, error: undefined })
    // Not before: a handshake whose client has gone would wait for its deadline.
    socket.allowHalfOpen = true
    if (this.#options.mode === 'tcp') this.#servePipe(socket, admitted)
    else this.#forwarder.serve(socket, admitted)
  }

  #servePipe(socket: TLSSocket, { preamble }: ConnectionFacts): void {
    if (preamble !== undefined) this.#preambles.set(socket, preamble)
    this.#pipe.serve(socket)
  }

  #report(report: HandshakeReport): void {
    this.#options.onHandshake?.(report)
  }
}

function upstreamOf(options: HttpsSidecarOptions, limits: Limits): Upstream {
  const text = String(options.target)
  if (options.targetTls?.ca !== undefined) checkAuthorities(options.targetTls.ca)
  const tcp = options.mode === 'tcp' && text.startsWith('tcp://')
  return createUpstream(tcp ? `http${text.slice('tcp'.length)}` : options.target, {
    responseTimeoutMs: options.responseTimeoutMs,
    connectTimeoutMs: options.connectTimeoutMs,
    idleMs: limits.poolIdleMs,
    ...(options.targetTls && { tls: options.targetTls }),
  })
}

// Peers on a Unix socket have no address: there, a handshake that is not finished may be missed by drain(), which
// then waits for its time limit.
function peerOf(socket: Socket): string {
  // A balancer may use one of its ports towards several addresses of ours.
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`
}
