import { createServer, type Server, type Socket } from 'node:net'
import { plainAddress } from '@outrider/http-forward'
import { type ListenAddress, listen } from '@outrider/listen'
import { Admission } from './admission.ts'
import { allClosed } from './closed.ts'
import type { HandshakeOutcome, HandshakeReport } from './handshake.ts'
import type { Limits } from './limits.ts'
import { type ProxyHeader, readProxyHeader } from './proxy-protocol.ts'

export interface Arrival {
  readonly socket: Socket
  /** Of the client: as the PROXY header has it, or else the peer's. Undefined on a Unix socket. */
  readonly address: string | undefined
  readonly proxy: ProxyHeader | undefined
}

export interface EntranceOptions {
  readonly listen: ListenAddress
  readonly limits: Pick<Limits, 'connections' | 'connectionsPerAddress' | 'handshakeMs' | 'tcpKeepAliveMs'>
  /** Peers at whose connections a PROXY header comes first. */
  readonly proxyFrom?: ((address: string | undefined) => boolean) | undefined
  readonly allowHalfOpen?: boolean
  /** Called for each connection that is let in, behind its PROXY header. */
  readonly onArrival: (arrival: Arrival) => void
  /** Called for each other one. */
  readonly onRefused: (report: HandshakeReport) => void
  /** Called with `open` when it has changed. */
  readonly onOpen?: ((open: number) => void) | undefined
}

/** Accepts connections, learns whose they are, and lets in no more than may be. */
export class Entrance {
  /** Where it listens, the port filled in. */
  address: ListenAddress
  readonly #options: EntranceOptions
  readonly #server: Server
  readonly #admission: Admission
  readonly #sockets = new Set<Socket>()
  /** Those of them whose PROXY header has not come. */
  readonly #unknown = new Set<Socket>()
  #gone: Promise<void> | undefined

  constructor(options: EntranceOptions) {
    this.address = options.listen
    this.#options = options
    this.#admission = new Admission(options.limits)
    this.#server = createServer(
      {
        noDelay: true,
        // Finds the peers of silent connections that have lost their power or their network.
        keepAlive: true,
        keepAliveInitialDelay: options.limits.tcpKeepAliveMs,
        allowHalfOpen: options.allowHalfOpen ?? false,
      },
      (socket) => this.#accept(socket),
    )
  }

  /** Rejects with the system's error. */
  async listen(): Promise<void> {
    this.address = await listen(this.#server, this.#options.listen)
    // Such as ENOBUFS on accept: one connection fails, not the listener. Out of descriptors (EMFILE) libuv closes them
    // itself and tells nobody.
    this.#server.on('error', (error) => this.#report('failed', undefined, error))
  }

  /** Connections, those whose PROXY header has not come included. */
  get open(): number {
    return this.#sockets.size
  }

  /** Accepts no more, and cuts off those who have not said whose they are. Resolves when all connections are gone. */
  close(): Promise<void> {
    this.#gone ??= this.#untilGone()
    for (const socket of this.#unknown) socket.destroy()
    return this.#gone
  }

  /** Cuts off all that are open. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async #untilGone(): Promise<void> {
    // The error of closing what does not listen is of no use to anybody.
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await allClosed(this.#sockets)
  }

  #accept(socket: Socket): void {
    const peer = plainAddress(socket.remoteAddress)
    // Whether to trust a peer that was gone before it was accepted can no longer be known.
    if (peer === undefined && 'port' in this.address) {
      this.#refuse(socket, 'closed', undefined, new Error('the client has reset its connection'))
      return
    }
    const proxied = this.#options.proxyFrom?.(peer) ?? false
    let counted = proxied ? undefined : peer
    const refused = this.#admission.enter(counted)
    if (refused !== undefined) {
      this.#refuse(socket, 'too-many', peer, new Error(refused))
      return
    }
    this.#sockets.add(socket)
    this.#options.onOpen?.(this.#sockets.size)
    socket.once('close', () => {
      this.#admission.leave(counted)
      this.#sockets.delete(socket)
      this.#options.onOpen?.(this.#sockets.size)
    })
    if (!proxied) {
      this.#options.onArrival({ socket, address: peer, proxy: undefined })
      return
    }
    this.#readHeader(socket, peer, (address) => {
      const tooMany = this.#admission.assign(address)
      if (tooMany === undefined) counted = address
      return tooMany
    })
  }

  /** @param assign gives why not, when the client has too many connections */
  #readHeader(
    socket: Socket,
    peer: string | undefined,
    assign: (address: string | undefined) => string | undefined,
  ): void {
    this.#unknown.add(socket)
    socket.on('error', () => undefined)
    readProxyHeader(socket, { timeoutMs: this.#options.limits.handshakeMs }).then(
      (proxy) => {
        this.#unknown.delete(socket)
        const address = proxy.source?.address ?? peer
        const refused = assign(address)
        if (refused === undefined) this.#options.onArrival({ socket, address, proxy })
        else this.#refuse(socket, 'too-many', address, new Error(refused))
      },
      (error: Error) => {
        this.#unknown.delete(socket)
        this.#refuse(socket, 'bad-proxy-header', peer, error)
      },
    )
  }

  #refuse(socket: Socket, outcome: HandshakeOutcome, address: string | undefined, error: Error): void {
    socket.destroy()
    this.#report(outcome, address, error)
  }

  #report(outcome: HandshakeOutcome, address: string | undefined, error: Error): void {
    this.#options.onRefused({ outcome, address, error })
  }
}
