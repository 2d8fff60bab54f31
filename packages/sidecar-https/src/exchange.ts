import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Answer, BAD_GATEWAY, GATEWAY_TIMEOUT, sendAnswer } from './answer.ts'
import { responseHeaders, trailerPairs, valuesOf } from './headers.ts'
import { onlyChunked } from './refuse.ts'
import type { Outcome, RequestReport } from './report.ts'
import { announcesBody, requestHead } from './request-head.ts'
import { type Upstream, UpstreamTimeout } from './upstream.ts'

/** Where an upgraded connection goes on. */
export interface Switch {
  response: IncomingMessage
  socket: Socket
  head: Buffer
}

export interface ExchangeOptions {
  req: IncomingMessage
  res: ServerResponse
  upstream: Upstream
  responseTimeoutMs: number
  clientAddress: string | undefined
  /** The client waits for 100 Continue before it sends the body. */
  expectsContinue: boolean
  /** Given for a request to switch protocols; called instead of `onDone` when the application agrees. */
  onSwitch?: (switched: Switch, report: RequestReport) => void
  /** Given for a request that must not go on. */
  refused?: Answer | undefined
  /** Whether the response shall say `Connection: close`. */
  closing: () => boolean
  /** Called once, when nothing more will be written to `res`. */
  onDone: (report: RequestReport) => void
}

interface Failure {
  outcome: Outcome
  error: Error
}

// Sends a head by itself. flushHeaders() would write its bytes above ASCII as UTF-8, two for one.
const NOTHING = Buffer.alloc(0)

const BODY_UNEXPECTED = new Set(['GET', 'DELETE', 'OPTIONS', 'TRACE'])
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** One request on its way to the application, and its response on its way back. */
export class Exchange {
  readonly #options: ExchangeOptions
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  readonly #started = performance.now()
  readonly #hasBody: boolean
  #request: ClientRequest | undefined
  #response: IncomingMessage | undefined
  #responseTimer: NodeJS.Timeout | undefined
  #awaitsContinue: boolean
  #failure: Failure | undefined
  #done = false

  constructor(options: ExchangeOptions) {
    this.#options = options
    this.#req = options.req
    this.#res = options.res
    this.#hasBody = options.onSwitch === undefined && announcesBody(options.req)
    this.#awaitsContinue = options.expectsContinue
  }

  start(): void {
    // 'finish' comes first when all is written, 'close' alone when the connection is gone.
    this.#res.once('finish', () => this.#finish(true))
    this.#res.once('close', () => this.#finish(false))
    // A write to a connection that is just gone; 'close' tells of it.
    this.#res.on('error', () => undefined)
    this.#res.on('timeout', () => this.#onSilentConnection())
    const { refused } = this.#options
    if (refused) this.refuse(refused, new Error(refused.message))
    else this.#send('pooled')
  }

  /** Whether the client still owes a part of the request. */
  get bodyPending(): boolean {
    return this.#hasBody && !this.#req.complete
  }

  /** Ends the exchange with an answer of ours, or by cutting the connection when a response has begun. */
  refuse(answer: Answer, error: Error): void {
    this.#fail('refused', error, answer)
  }

  /** Reads the rest of the request and throws it away. `onEnd` is called when it has come, or never will. */
  discardBody(onEnd: () => void): void {
    this.#req.unpipe()
    this.#req.resume()
    this.#req.once('close', onEnd)
  }

  #send(how: 'pooled' | 'fresh'): void {
    const { upstream, clientAddress, onSwitch } = this.#options
    const upgrade = onSwitch !== undefined
    let request: ClientRequest
    try {
      const head = requestHead(this.#req, { clientAddress, targetHost: upstream.authority, upgrade })
      request = upstream.open(head, upgrade || this.#mustBeAlone ? 'fresh' : how)
    } catch (error) {
      this.refuse({ status: 400, message: 'The request cannot be forwarded.' }, asError(error))
      return
    }
    this.#request = request
    this.#listenTo(request)
    this.#startResponseTimer()
    if (this.#hasBody) this.#sendBody(request)
    else request.end()
  }

  #listenTo(request: ClientRequest): void {
    let bytesBefore = 0
    request.once('socket', (socket) => {
      bytesBefore = socket.bytesRead
    })
    request.on('error', (error) => {
      const untouched = request.reusedSocket && request.socket?.bytesRead === bytesBefore
      if (untouched && this.#mayRepeat(error)) this.#send('fresh')
      else this.#onUpstreamError(error)
    })
    request.once('response', (response) => this.#relay(request, response))
    request.once('continue', () => this.#continue())
    // An application that switches protocols unasked ends here without an error.
    request.once('close', () => {
      if (request !== this.#request || this.#response) return
      this.#onUpstreamError(new Error('the connection was closed without a response'))
    })
    this.#listenForSwitch(request)
  }

  // Some applications leave the body of a GET unread and take it for the next request, and some send a body after HEAD
  // that would be taken for the next response: on a shared connection either would reach another client. Said to be the
  // last one, the application closes after it.
  get #mustBeAlone(): boolean {
    const method = this.#req.method ?? ''
    return method === 'HEAD' || (this.#hasBody && BODY_UNEXPECTED.has(method))
  }

  #sendBody(request: ClientRequest): void {
    // The head goes ahead of the body: the application may answer 100 or 413 to it alone.
    request.write(NOTHING)
    this.#req.once('end', () => {
      const trailers = trailerPairs(this.#req.rawTrailers)
      if (trailers.length > 0 && !request.destroyed) request.addTrailers(trailers)
    })
    this.#req.pipe(request)
    // Each piece of the body that moves shows that neither side has stopped.
    this.#req.on('data', () => this.#responseTimer?.refresh())
  }

  #startResponseTimer(): void {
    this.#stopResponseTimer()
    const { responseTimeoutMs } = this.#options
    this.#responseTimer = setTimeout(() => {
      if (this.#owesBodyNow()) this.#responseTimer?.refresh()
      else this.#onUpstreamError(new UpstreamTimeout(`no response within ${responseTimeoutMs} ms`))
    }, responseTimeoutMs)
  }

  #stopResponseTimer(): void {
    clearTimeout(this.#responseTimer)
    this.#responseTimer = undefined
  }

  // As opposed to an application that does not take the body, or has not said 100 Continue.
  #owesBodyNow(): boolean {
    return this.bodyPending && !this.#awaitsContinue && this.#request?.writableNeedDrain === false
  }

  // The application has closed a kept connection just when we used it: with nothing of a response come, the
  // request was most likely not read, and repeating an idempotent one does no harm (RFC 9110 9.2.2).
  #mayRepeat(error: Error): boolean {
    const reset = hasCode(error, 'ECONNRESET') || hasCode(error, 'EPIPE')
    return reset && !this.#hasBody && !this.#settled && IDEMPOTENT.has(this.#req.method ?? '')
  }

  get #settled(): boolean {
    return this.#done || this.#failure !== undefined
  }

  #continue(): void {
    if (!this.#awaitsContinue || this.#settled) return
    this.#awaitsContinue = false
    this.#res.writeContinue()
  }

  #relay(request: ClientRequest, response: IncomingMessage): void {
    this.#stopResponseTimer()
    this.#response = response
    response.on('error', (error) => this.#onUpstreamError(error))
    if (this.#settled) return void request.destroy()
    // With another coding taken off by nobody, the client would take coded bytes for the content.
    const codings = valuesOf(response.rawHeaders, 'transfer-encoding')
    if (codings.length > 0 && !onlyChunked(codings)) {
      this.#onUpstreamError(new Error(`the response has Transfer-Encoding: ${codings.join(', ')}`))
      return
    }
    try {
      this.#writeHead(response)
    } catch (error) {
      // Such as a status below 100.
      this.#onUpstreamError(asError(error))
      return
    }
    // An application that refuses a body often stops reading it, and closes: what was written then would fail and
    // take the answer with it.
    if (response.statusCode !== undefined && response.statusCode >= 400) this.#dropBody(request)
    response.once('end', () => this.#onResponseEnd(request, response))
    response.pipe(this.#res)
  }

  #writeHead({ statusCode = 502, statusMessage, rawHeaders }: IncomingMessage): void {
    const lines = responseHeaders(rawHeaders, statusCode)
    if (this.#options.closing()) lines.push('Connection', 'close')
    this.#res.writeHead(statusCode, statusMessage, lines)
    // A stream of events may begin long before its first event.
    this.#res.write(NOTHING)
  }

  #onResponseEnd(request: ClientRequest, response: IncomingMessage): void {
    if (!response.complete) return
    const trailers = trailerPairs(response.rawTrailers)
    if (trailers.length > 0 && this.#res.chunkedEncoding) this.#res.addTrailers(trailers)
    // Answered before it has read everything: the rest would keep the connection for ever.
    if (!request.writableFinished) {
      this.#dropBody(request)
      request.destroy()
    }
  }

  #dropBody(request: ClientRequest): void {
    if (!this.#hasBody) return
    this.#req.unpipe(request)
    this.#req.resume()
  }

  #listenForSwitch(request: ClientRequest): void {
    const { onSwitch } = this.#options
    if (onSwitch === undefined) return
    request.once('upgrade', (response, socket, head) => {
      if (this.#settled) return void socket.destroy()
      this.#done = true
      this.#stopResponseTimer()
      onSwitch({ response, socket, head }, this.#report(101, 'complete', undefined))
    })
  }

  #onUpstreamError(error: Error): void {
    const timedOut = error instanceof UpstreamTimeout || hasCode(error, 'ETIMEDOUT')
    if (timedOut) this.#fail('upstream-timeout', error, GATEWAY_TIMEOUT)
    else this.#fail('upstream-failed', error, BAD_GATEWAY)
  }

  #fail(outcome: Outcome, error: Error, answer: Answer): void {
    // A response that has come whole counts, whatever its connection suffers afterwards.
    if (this.#settled || (this.#res.headersSent && this.#response?.complete)) return
    this.#failure = { outcome, error }
    this.#stopResponseTimer()
    if (this.#request) this.#dropBody(this.#request)
    this.#request?.destroy()
    if (this.#res.headersSent) {
      // Never a clean end: it would pass off half a response as a whole one.
      this.#res.destroy()
    } else {
      const close = outcome === 'refused' || this.#options.closing()
      sendAnswer(this.#res, this.#req.headers.accept, answer, close)
    }
  }

  // Nothing has moved on the client's connection for the time of Limits.stallMs.
  #onSilentConnection(): void {
    const { socket } = this.#req
    const error = new Error('the client has stalled')
    if (this.#owesBodyNow() && !this.#res.headersSent) {
      this.refuse({ status: 408, message: 'The request took too long to arrive.' }, error)
    } else if (this.#owesBodyNow() || socket.writableLength > 0) {
      this.#failure ??= { outcome: 'client-aborted', error }
      socket.destroy()
    } else {
      socket.setTimeout(socket.timeout ?? 0)
    }
  }

  #finish(whole: boolean): void {
    if (this.#done) return
    this.#done = true
    this.#stopResponseTimer()
    if (!whole) this.#request?.destroy()
    const status = this.#res.headersSent ? this.#res.statusCode : 499
    const left: Failure = { outcome: 'client-aborted', error: new Error('the client has left') }
    const failure = this.#failure ?? (whole ? undefined : left)
    this.#options.onDone(this.#report(status, failure?.outcome ?? 'complete', failure?.error))
  }

  #report(status: number, outcome: Outcome, error: Error | undefined): RequestReport {
    const durationMs = performance.now() - this.#started
    return { method: this.#req.method ?? '-', status, durationMs, outcome, error }
  }
}

function hasCode(error: Error, code: string): boolean {
  return 'code' in error && error.code === code
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
