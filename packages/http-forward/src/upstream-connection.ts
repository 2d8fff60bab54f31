import type { Socket } from 'node:net'
import { BodyReader, type BodySink } from './body.ts'
import type { Deadlines, Expiring } from './deadlines.ts'
import { CLOSE, Head, KEEP_ALIVE } from './head.ts'
import type { Limits } from './limits.ts'
import { Outbox, scarce } from './outbox.ts'
import { type Owner, SLAB_BYTES, Slab } from './slab.ts'
import { type Upstream, UpstreamFault, UpstreamTimeout } from './upstream.ts'

/** Who is told of a response, in this order: `interim` any number of times, `response`, `data`, `end`. */
export interface ResponseSink {
  /** Whether the response to this request never has a body. */
  readonly bodiless: boolean
  /** Whether the client still owes bytes of the request that can be sent: the application is not to blame. */
  readonly owesBody: boolean
  /** Whether somebody wants the response, however long it takes. */
  readonly awaited: boolean
  interim(head: Head): void
  /** Protocols are switched; the connection and what has come on it are the receiver's. */
  switched(head: Head, socket: Socket, rest: Buffer): void
  /** @param length bytes of content; -1 when that is not known; 0 also where there can be none */
  response(head: Head, length: number): void
  /** @param owner whose memory it is after the call */
  data(bytes: Buffer, start: number, end: number, owner: Owner): void
  end(trailers: string): void
  /** All that has arrived together has been told. */
  flush(): void
  /** The connection takes bytes again. */
  drained(): void
  /** The response will not come, or not come whole. `untouched` when no byte of it has come. */
  lost(error: Error, untouched: boolean): void
}

/** From this many bytes in one read on, the next ones get memory that is passed on instead of copied. */
const BULK_BYTES = 16 * 1024

// Each read is used up before the next one of any connection, so that all can share the memory.
const shared = Buffer.allocUnsafeSlow(SLAB_BYTES)
const sharedPart = shared.subarray(0, 2 * BULK_BYTES)

type State = 'connecting' | 'head' | 'body' | 'idle' | 'switched' | 'closed'

/** A connection to an application: one request at a time. */
export class UpstreamConnection implements Expiring, BodySink {
  readonly upstream: Upstream
  /** Of the upstream when it was opened. */
  readonly #epoch: number
  deadline: number
  /** Whether an earlier request was answered on it: then the application may close it at any moment. */
  reused = false
  /** Whether it has ever been there. */
  connected = false
  readonly #limits: Limits
  readonly #responseLimits: Limits
  readonly #deadlines: Deadlines
  readonly #withheld: readonly string[]
  readonly #onClose: (connection: UpstreamConnection) => void
  readonly #socket: Socket
  readonly #outbox: Outbox
  #state: State = 'connecting'
  #sink: ResponseSink | undefined
  #head: Head | undefined
  #partial: Buffer | undefined
  #body: BodyReader | undefined
  /** Whether it was given something to send since the last flush. */
  #told = false
  #touched = false
  #reusable = false
  #slab: Slab | undefined
  #bulk = false
  #paused = false
  #error: Error | undefined
  #owner: Owner = false
  #ended = false
  #trailers = ''

  /**
   * @param streamed whether bytes are read by events, which a connection that may be switched needs
   * @param preamble written before anything else
   */
  constructor(
    upstream: Upstream,
    sink: ResponseSink,
    limits: Limits,
    deadlines: Deadlines,
    withheld: readonly string[],
    streamed: boolean,
    preamble: Buffer | undefined,
    onClose: (connection: UpstreamConnection) => void,
  ) {
    this.upstream = upstream
    this.#epoch = upstream.epoch
    this.#sink = sink
    this.#limits = limits
    this.#responseLimits = { ...limits, headBytes: limits.responseHeadBytes, headerCount: 4096 }
    this.#deadlines = deadlines
    this.#withheld = withheld
    this.#onClose = onClose
    this.deadline = deadlines.in(upstream.options.connectTimeoutMs)
    deadlines.add(this)
    this.#socket = streamed
      ? upstream.connect()
      : upstream.connect({
          buffer: () => this.#nextMemory(),
          callback: (length, memory) => this.#onRead(memory as Buffer, length),
        })
    this.#outbox = new Outbox(this.#socket, () => this.#onDrain())
    this.#watch(streamed, preamble)
  }

  /** Takes another request; only between two of them. */
  begin(sink: ResponseSink): void {
    this.#sink = sink
    this.reused = true
    this.#await()
  }

  #await(): void {
    this.#state = 'head'
    this.#head = undefined
    this.#touched = false
    this.#reusable = false
    this.deadline = this.#deadlines.in(this.upstream.options.responseTimeoutMs)
  }

  get connecting(): boolean {
    return this.#state === 'connecting'
  }

  /** Whether the application was verified by material that is no longer in use. */
  get outdated(): boolean {
    return this.#epoch !== this.upstream.epoch
  }

  get idle(): boolean {
    return this.#state === 'idle'
  }

  text(text: string): void {
    this.#told = true
    this.#outbox.text(text)
  }

  bytes(bytes: Buffer, start: number, end: number): void {
    this.#told = true
    this.#outbox.bytes(bytes, start, end, true)
  }

  /** Whether it takes more; when not, `drained` tells. */
  flush(): boolean {
    // The application is given its time from the last byte on.
    if (this.#told && this.#state === 'head')
      this.deadline = this.#deadlines.in(this.upstream.options.responseTimeoutMs)
    this.#told = false
    return this.#outbox.flushSoon()
  }

  get writable(): boolean {
    return this.#state !== 'connecting' && this.#outbox.open
  }

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#socket.resume()
  }

  /** Waits for the next request. The caller has seen the end of the response, and that it may be kept. */
  rest(): void {
    this.#sink = undefined
    this.#state = 'idle'
    this.deadline = this.#deadlines.in(this.upstream.options.idleMs)
    // A TLS connection may have told the end of the response after it was paused.
    this.resume()
  }

  /** Whether another request can follow the one whose response has ended. */
  get reusable(): boolean {
    return this.#reusable
  }

  /** Ends it without telling its sink, unless it belongs to another protocol by now. */
  destroy(): void {
    if (this.#state === 'switched') return
    this.#sink = undefined
    this.#socket.destroy()
    this.#forget()
  }

  expire(): void {
    const { connectTimeoutMs, responseTimeoutMs } = this.upstream.options
    if (this.#state === 'connecting') {
      this.#lose(new UpstreamTimeout(`no connection within ${connectTimeoutMs} ms`))
    } else if (this.#state === 'head') {
      if (this.#sink?.owesBody) this.deadline = this.#deadlines.in(responseTimeoutMs)
      else this.#lose(new UpstreamTimeout(`no response within ${responseTimeoutMs} ms`))
    } else if (this.#state === 'idle') {
      this.destroy()
    } else if (this.#state === 'body' && this.#sink?.awaited === false) {
      this.#lose(new UpstreamTimeout(`no end of the response within ${responseTimeoutMs} ms`))
    } else {
      this.deadline = Number.POSITIVE_INFINITY
    }
  }

  #watch(streamed: boolean, preamble: Buffer | undefined): void {
    const socket = this.#socket
    if (preamble !== undefined) socket.write(preamble)
    socket.once(this.upstream.ready, () => {
      if (this.#state !== 'connecting') return
      this.connected = true
      socket.setKeepAlive(true, this.#limits.tcpKeepAliveMs)
      this.#await()
      this.#sink?.drained()
    })
    socket.on('drain', () => this.#onDrain())
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.on('end', () => this.#onEnd())
    socket.on('close', () => this.#lose(this.#error ?? new UpstreamFault('the connection was closed')))
    if (streamed) socket.on('data', (bytes: Buffer) => this.#take(bytes, bytes.length, true))
  }

  #onDrain(): void {
    this.#outbox.drained()
    this.#sink?.drained()
  }

  #nextMemory(): Buffer {
    // Asked once more after the read in which it was closed.
    if (this.#state === 'closed') return shared
    if (scarce()) this.#bulk = false
    // Nothing of the last read is on its way any more.
    if (this.#bulk && this.#slab?.shared === false) return this.#slab.memory
    this.#slab?.release()
    this.#slab = this.#bulk ? Slab.take() : undefined
    return this.#slab?.memory ?? (scarce() ? sharedPart : shared)
  }

  #onRead(memory: Buffer, length: number): boolean {
    this.#bulk = length >= BULK_BYTES
    this.#take(memory, length, this.#slab ?? false)
    return !this.#paused
  }

  #take(bytes: Buffer, length: number, owner: Owner): void {
    this.#owner = owner
    let at = 0
    while (at >= 0 && at < length && (this.#state === 'head' || this.#state === 'body')) {
      at = this.#state === 'head' ? this.#readHead(bytes, at, length) : this.#readBody(bytes, at, length)
    }
    const sink = this.#sink
    if (this.#ended) {
      this.#ended = false
      // Only now, because what is left over would be taken for the response to whoever is next on this connection.
      if (at < length) this.#reusable = false
      sink?.end(this.#trailers)
    } else if (at >= 0 && at < length && this.#state === 'idle') {
      this.destroy()
    }
    sink?.flush()
  }

  #readHead(bytes: Buffer, at: number, end: number): number {
    this.#touched = true
    let source = bytes
    let start = at
    let stop = end
    if (this.#partial !== undefined) {
      source = Buffer.concat([this.#partial, bytes.subarray(at, end)])
      start = 0
      stop = source.length
    }
    this.#head ??= new Head(false, false, this.#withheld)
    const head = this.#head
    let progress = head.read(source, start, stop, this.#responseLimits)
    if (progress === 'more') {
      this.#partial = Buffer.from(source.subarray(start, stop))
      return end
    }
    if (progress === 'done') progress = head.finish(source, start)
    if (progress === 'fault') {
      this.#lose(new UpstreamFault(`the response is malformed: ${head.fault?.reason}`))
      return -1
    }
    this.#head = undefined
    this.#partial = undefined
    const after = start + head.length
    const content = this.#onHead(head, source, after, stop, source === bytes ? this.#owner : true)
    return end - (stop - after - content)
  }

  /** Gives how many bytes of content it has passed on. */
  #onHead(head: Head, source: Buffer, at: number, stop: number, owner: Owner): number {
    const sink = this.#sink
    if (sink === undefined) return 0
    if (head.status === 101) {
      this.#state = 'switched'
      this.#sink = undefined
      const rest = Buffer.from(source.subarray(at, stop))
      this.#socket.pause()
      this.#socket.removeAllListeners('data')
      this.#socket.removeAllListeners('end')
      this.#socket.removeAllListeners('drain')
      this.#socket.removeAllListeners('close')
      this.#socket.once('close', () => this.#onClose(this))
      this.#forget()
      sink.switched(head, this.#socket, rest)
      return stop - at
    }
    if (head.status < 200) {
      sink.interim(head)
      return 0
    }
    this.deadline = sink.awaited
      ? Number.POSITIVE_INFINITY
      : this.#deadlines.in(this.upstream.options.responseTimeoutMs)
    const none = sink.bodiless || head.status === 204 || head.status === 304
    const announced = head.chunked || head.contentLength > 0
    const kept = head.minor === 1 ? (head.connection & CLOSE) === 0 : (head.connection & KEEP_ALIVE) !== 0
    // Careless applications send the body that they announce where there can be none: it would be the next response.
    // Of a 304 the length is that of what is not sent (RFC 9110 8.6).
    const dubious = head.status === 304 ? head.chunked : none && announced
    this.#reusable = kept && !dubious
    if (none || head.contentLength === 0) {
      sink.response(head, none ? head.contentLength : 0)
      this.#finish('')
      return 0
    }
    const { contentLength } = head
    if (contentLength > 0 && contentLength <= stop - at) {
      sink.response(head, contentLength)
      this.#sink?.data(source, at, at + contentLength, owner)
      this.#finish('')
      return contentLength
    }
    this.#state = 'body'
    if (contentLength < 0 && !head.chunked) this.#reusable = false
    const framing = head.chunked ? 'chunked' : contentLength < 0 ? 'close' : contentLength
    this.#body = new BodyReader(framing, this, this.#limits, this.#withheld)
    sink.response(head, contentLength)
    return 0
  }

  #readBody(bytes: Buffer, at: number, end: number): number {
    const body = this.#body
    if (body === undefined) return -1
    const next = body.read(bytes, at, end)
    if (next < 0) this.#lose(new UpstreamFault(`the response is malformed: ${body.fault?.reason}`))
    return next
  }

  bodyData(bytes: Buffer, start: number, end: number): void {
    this.#sink?.data(bytes, start, end, this.#owner)
  }

  bodyEnd(trailers: string): void {
    this.#body = undefined
    this.#finish(trailers)
  }

  #finish(trailers: string): void {
    if (this.#state === 'closed') return
    this.#state = 'idle'
    this.#ended = true
    this.#trailers = trailers
  }

  #onEnd(): void {
    if (this.#state === 'body' && this.#body?.untilClose) {
      this.#reusable = false
      const sink = this.#sink
      this.#body = undefined
      this.destroy()
      sink?.end('')
      sink?.flush()
      return
    }
    // A response that is complete counts; one that is not never will be.
    this.#lose(new UpstreamFault('the connection was closed before the end of the response'))
  }

  #lose(error: Error): void {
    if (this.#state === 'closed' || this.#state === 'switched') return
    const sink = this.#sink
    const untouched = !this.#touched
    this.destroy()
    sink?.lost(error, untouched)
  }

  #forget(): void {
    if (this.#state === 'closed') return
    if (this.#state !== 'switched') this.#state = 'closed'
    this.#slab?.release()
    this.#slab = undefined
    this.#outbox.close()
    this.#deadlines.delete(this)
    if (this.#state === 'closed') this.#onClose(this)
  }
}
