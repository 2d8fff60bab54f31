import {
  createForwarder,
  type Forwarder,
  type Request,
  type RequestReport,
  type Respond,
} from '@outrider/http-forward'
import type { ListenAddress } from '@outrider/listen'
import { Entrance } from './entrance.ts'
import type { HandshakeReport } from './handshake.ts'
import { LIMITS, type Limits } from './limits.ts'

export interface RedirectOptions {
  readonly listen: ListenAddress
  /** The port that clients dial for HTTPS; it is left out of the address when it is 443. */
  readonly httpsPort: number
  /** Peers at whose connections a PROXY header, version 1 or 2, comes first. */
  readonly proxyFrom?: (address: string | undefined) => boolean
  readonly limits?: Partial<Limits>
  readonly onRequest?: (report: RequestReport) => void
  /** Called for each connection that is not let in: `too-many`, `bad-proxy-header`, `closed` or `failed`. */
  readonly onRefused?: (report: HandshakeReport) => void
}

export interface Redirect extends AsyncDisposable {
  /** Where it listens, the port filled in. */
  readonly address: ListenAddress
  readonly openConnections: number
  /** Accepts no more connections; resolves when all are gone. */
  drain(): Promise<void>
}

/** Answers each plain request with 308 to the same address by HTTPS. Rejects with the system's error on listening. */
export async function startRedirect(options: RedirectOptions): Promise<Redirect> {
  const redirect = new PlainRedirect(options)
  await redirect.listen()
  return redirect
}

class PlainRedirect implements Redirect {
  readonly #entrance: Entrance
  readonly #forwarder: Forwarder

  constructor({ listen, httpsPort, proxyFrom, limits, onRequest, onRefused }: RedirectOptions) {
    const bounds = { ...LIMITS, ...limits }
    this.#forwarder = createForwarder({
      route: (request) => toHttps(request, httpsPort),
      limits: bounds,
      ...(onRequest && { onRequest }),
    })
    this.#entrance = new Entrance({
      listen,
      limits: bounds,
      proxyFrom,
      allowHalfOpen: true,
      onArrival: ({ socket, address }) =>
        this.#forwarder.serve(socket, address === undefined ? {} : { address }),
      onRefused: (report) => onRefused?.(report),
    })
  }

  listen(): Promise<void> {
    return this.#entrance.listen()
  }

  get address(): ListenAddress {
    return this.#entrance.address
  }

  get openConnections(): number {
    return this.#entrance.open
  }

  async drain(): Promise<void> {
    const gone = this.#entrance.close()
    await this.#forwarder.drain()
    await gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = this.#entrance.close()
    this.#forwarder.close()
    this.#entrance.cut()
    await gone
  }
}

function toHttps({ host = '', target }: Request, httpsPort: number): Respond {
  const name = host.replace(/:\d*$/, '')
  if (name === '' || target === '*') {
    return { respond: { status: 400, message: 'This address is served by HTTPS only.' } }
  }
  const location = `https://${name}${httpsPort === 443 ? '' : `:${httpsPort}`}${target}`
  return { respond: { status: 308, message: `Moved to ${location}`, headers: { Location: location } } }
}
