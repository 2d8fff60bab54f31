import { createServer, type Server, type Socket } from 'node:net'
import {
  createForwarder,
  type Forwarder,
  type Request,
  type RequestReport,
  type Respond,
} from '@outrider/http-forward'
import { type ListenAddress, listen } from '@outrider/listen'
import { Admission } from './admission.ts'
import { LIMITS, type Limits } from './limits.ts'

export interface RedirectOptions {
  readonly listen: ListenAddress
  /** The port that clients dial for HTTPS; it is left out of the address when it is 443. */
  readonly httpsPort: number
  readonly limits?: Partial<Limits>
  readonly onRequest?: (report: RequestReport) => void
}

export interface Redirect extends AsyncDisposable {
  /** Where it listens, the port filled in. */
  readonly address: ListenAddress
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
  address: ListenAddress
  readonly #server: Server
  readonly #forwarder: Forwarder

  constructor({ listen, httpsPort, limits, onRequest }: RedirectOptions) {
    this.address = listen
    const bounds = { ...LIMITS, ...limits }
    const admission = new Admission(bounds)
    this.#forwarder = createForwarder({
      route: (request) => toHttps(request, httpsPort),
      limits: bounds,
      ...(onRequest && { onRequest }),
    })
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (socket: Socket) => {
      const { remoteAddress } = socket
      if (admission.enter(remoteAddress) !== undefined) return void socket.destroy()
      socket.once('close', () => admission.leave(remoteAddress))
      this.#forwarder.serve(socket)
    })
  }

  async listen(): Promise<void> {
    this.address = await listen(this.#server, this.address)
    // Such as EMFILE on accept: one connection fails, not the listener.
    this.#server.on('error', () => undefined)
  }

  async drain(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await this.#forwarder.drain()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#forwarder.close()
    await closed
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
