import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { cutOff } from '@outrider/http-forward'

/**
 * `closed`: both sides ended, or the pipe was closed; `client-lost` and `upstream-lost`: that side vanished,
 * and the other was cut off for it; `idle`: a deadline of silence passed; `connect-failed`: the upstream was
 * never reached.
 */
export type PipeOutcome = 'closed' | 'client-lost' | 'upstream-lost' | 'idle' | 'connect-failed'

export interface PipeReport {
  /** From `serve()` until both sockets were closed. */
  durationMs: number
  /** Given to the upstream, without the preamble. */
  bytesFromClient: number
  /** Taken from the upstream. */
  bytesToClient: number
  outcome: PipeOutcome
  /** Why, where the outcome is not `closed`; none where a peer just vanished or fell silent. */
  error: Error | undefined
}

export interface PipeOptions {
  /** Starts a connection to the upstream. A TLS one is ready when its handshake is done. */
  connect: () => Socket
  connectTimeoutMs: number
  /** A client from and to which no byte moves is cut off with its upstream. More than 0. */
  idleMs: number
  /** How long the other direction may be silent when one has ended. More than 0. */
  halfClosedMs: number
  /** What the upstream hears before the first byte of the client. To throw refuses the client. */
  preamble?: (client: Socket) => Buffer | undefined
  onEnd: (report: PipeReport) => void
}

export interface Pipe {
  /** Clients whose end is not reported yet. */
  readonly open: number
  /**
   * The client is accepted, its TLS handshake done, and nobody reads it. It is not read before the upstream
   * is there.
   */
  serve(client: Socket): void
  /**
   * Resolves when no client is left. What shall listen no more and close what lasts too long is up to the
   * caller.
   */
  drain(): Promise<void>
  /** Cuts all clients off, and from now on every new one. */
  close(): void
}

/** Carries bytes between each client and an upstream connection of its own. */
export function createPipe(options: PipeOptions): Pipe {
  const pairs = new Map<Socket, Pair>()
  let isClosed = false
  return {
    get open() {
      return pairs.size
    },
    serve(client) {
      const pair = new Pair(client, options, () => pairs.delete(client))
      pairs.set(client, pair)
      if (isClosed) pair.cut('closed')
    },
    async drain() {
      // Those that come meanwhile take part in the loop.
      for (const pair of pairs.values()) await pair.gone
    },
    close() {
      isClosed = true
      for (const pair of pairs.values()) pair.cut('closed')
    },
  }
}

/** A client and its upstream. */
class Pair {
  readonly gone: Promise<void>
  readonly #client: Socket
  readonly #upstream: Socket
  readonly #options: PipeOptions
  readonly #started = performance.now()
  #connected = false
  #preambleBytes = 0
  #outcome: PipeOutcome | undefined
  #error: Error | undefined

  constructor(client: Socket, options: PipeOptions, onGone: () => void) {
    this.#client = client
    this.#options = options
    this.#upstream = startConnecting(options.connect)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.gone = promise
    let open = 2
    const closed = () => {
      open -= 1
      if (open > 0) return
      resolve()
      onGone()
      options.onEnd(this.#report())
    }
    this.#watch(client, closed)
    this.#watch(this.#upstream, closed)
    this.#awaitConnection()
  }

  /** The first outcome counts. */
  cut(outcome: PipeOutcome): void {
    this.#outcome ??= outcome
    cutOff(this.#client)
    cutOff(this.#upstream)
  }

  #watch(socket: Socket, closed: () => void): void {
    socket.allowHalfOpen = true
    socket.setNoDelay(true)
    socket.on('timeout', () => this.cut('idle'))
    socket.on('error', (error) => {
      if (this.#outcome === undefined) this.#error ??= error
    })
    const onClose = () => {
      const ended = socket.readableEnded && socket.writableFinished
      if (!(ended && this.#connected)) this.cut(this.#lossOf(socket))
      closed()
    }
    // A client may be gone before it gets here.
    if (socket.closed) queueMicrotask(onClose)
    else socket.once('close', onClose)
  }

  #lossOf(socket: Socket): PipeOutcome {
    if (socket === this.#client) return 'client-lost'
    return this.#connected ? 'upstream-lost' : 'connect-failed'
  }

  #awaitConnection(): void {
    const upstream = this.#upstream
    const { connectTimeoutMs } = this.#options
    const expire = () =>
      upstream.destroy(new Error(`no connection to the upstream within ${connectTimeoutMs} ms`))
    const timer = setTimeout(expire, connectTimeoutMs)
    upstream.once('close', () => clearTimeout(timer))
    upstream.once(upstream instanceof TLSSocket ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      this.#join()
    })
  }

  #join(): void {
    const client = this.#client
    const upstream = this.#upstream
    const { idleMs, halfClosedMs, preamble } = this.#options
    try {
      const bytes = preamble?.(client)
      this.#preambleBytes = bytes?.length ?? 0
      if (bytes !== undefined) upstream.write(bytes)
    } catch (error) {
      this.#error = asError(error)
      this.cut('connect-failed')
      return
    }
    this.#connected = true
    client.setTimeout(idleMs)
    // A peer that has ended and waits for nothing would otherwise leave the other half open for ever.
    const shorterMs = Math.min(idleMs, halfClosedMs)
    client.once('end', () => upstream.setTimeout(shorterMs))
    upstream.once('end', () => client.setTimeout(shorterMs))
    client.pipe(upstream)
    upstream.pipe(client)
  }

  #report(): PipeReport {
    const upstream = this.#upstream
    return {
      durationMs: performance.now() - this.#started,
      bytesFromClient: Math.max(0, upstream.bytesWritten - this.#preambleBytes),
      bytesToClient: upstream.bytesRead,
      outcome: this.#outcome ?? 'closed',
      error: this.#error,
    }
  }
}

// What connect() throws goes the way of a refused connection.
function startConnecting(connect: () => Socket): Socket {
  try {
    return connect()
  } catch (error) {
    return new Socket().destroy(asError(error))
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
