import type { Socket } from 'node:net'
import {
  type Answer,
  BAD_GATEWAY,
  CONNECT_REFUSED,
  checkHeaderName,
  GATEWAY_TIMEOUT,
  headerLine,
  OVERLOADED,
  type RenderedAnswer,
  ROUTE_FAILED,
  render,
  TOO_LARGE,
  UNREACHABLE,
} from './answer.ts'
import { dateLine } from './date.ts'
import type { ForwardedLines } from './forwarded.ts'
import { type Fault, type Head, isHost, UPGRADE, without } from './head.ts'
import type { Limits } from './limits.ts'
import type { Pool } from './pool.ts'
import type { Outcome, RequestReport, TunnelReport } from './report.ts'
import { originForm, type Request, Response } from './request.ts'
import type { Forward, HeaderChanges, Respond, Route } from './route.ts'
import { Shadow, type ShadowReport } from './shadow.ts'
import type { Owner } from './slab.ts'
import { newRequestId, newTraceparent, TRACEPARENT } from './trace.ts'
import type { Upstream } from './upstream.ts'
import { UpstreamTimeout } from './upstream.ts'
import type { ResponseSink, UpstreamConnection } from './upstream-connection.ts'

/** Where the response of one exchange goes, and the body of its request comes from. */
export interface Downstream {
  readonly version: string
  readonly forwarded: ForwardedLines
  readonly pool: Pool
  /** Whether its peer may speak for clients before it. */
  readonly trusted: boolean
  interim(status: number, reason: string, lines: string): void
  /** @param length bytes of content; -1 when not known @param bodiless whether none is sent all the same */
  head(status: number, reason: string, lines: string, length: number, bodiless: boolean): void
  data(bytes: Buffer, start: number, end: number, owner: Owner): void
  end(trailers: string): void
  /** False when it takes no more for now: `Exchange.clientDrained` tells. */
  flush(): boolean
  /** Ends the response so that the client cannot take it for a whole one. */
  cut(): void
  /** No further request shall come after this one. */
  closeAfter(): void
  /** Whether the body may be told to the exchange. */
  openBody(open: boolean): void
  switched(head: Head, socket: Socket, rest: Buffer): void
  /** The exchange is over and nothing more will be written. */
  over(): void
}

/** What all exchanges of a forwarder share. */
export interface Context {
  readonly route: Route
  readonly limits: Limits
  /** Lines that each response gets, each with its end. */
  readonly responseLines: string
  readonly via: string | undefined
  readonly createTraceparent: boolean
  readonly createRequestId: boolean
  onRequest(report: RequestReport): void
  onTunnel(report: TunnelReport): void
  onShadow(report: ShadowReport): void
  /** Under way. */
  shadows: number
  /** Of HTTP/2, in all. */
  streams: number
  /** Whether all is being cut off. */
  closing: boolean
}

/** Before one final response. Nothing holds back who sends more. */
const INTERIMS_MOST = 100

const BODILESS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'DELETE', 'CONNECT'])
const BODY_UNEXPECTED = new Set(['GET', 'DELETE', 'OPTIONS', 'TRACE'])
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** One request on its way to an application, and its response on its way back. */
export class Exchange implements ResponseSink {
  readonly request: Request
  /** The Sec-WebSocket-Accept with which the application must agree, where the key is not the client's own. */
  accept: string | undefined
  readonly #head: Head
  readonly #context: Context
  readonly #downstream: Downstream
  readonly #started = performance.now()
  readonly #hasBody: boolean
  #route: Forward | undefined
  #upstream: Upstream | undefined
  #connection: UpstreamConnection | undefined
  #shadow: Shadow | undefined
  #attempts = 0
  #upgrade = false
  /** Whether all of the request has come. */
  #received: boolean
  /** Whether the rest of the body is thrown away. */
  #dropped = false
  #bodySent = false
  /** Whether it was sent anew because a kept connection was closed meanwhile. */
  #repeated = false
  #awaitsContinue = false
  #interims = 0
  #headSent = false
  #responded = false
  #settled = false
  #status = 0
  #bytesIn = 0
  #bytesOut = 0
  #outcome: Outcome = 'complete'
  #error: Error | undefined
  #requestId: string | undefined
  #traceparent: string | undefined
  #finished = false

  /** @param hasBody whether bytes of content follow the head */
  constructor(head: Head, hasBody: boolean, request: Request, context: Context, downstream: Downstream) {
    this.#head = head
    this.request = request
    this.#context = context
    this.#downstream = downstream
    this.#hasBody = hasBody
    this.#received = !hasBody
    this.#awaitsContinue = head.expectsContinue && hasBody
  }

  /** Begins; the caller calls `flushRequest` when all that has arrived together has been told. */
  start(): void {
    const refusal = this.#refusal()
    if (refusal !== undefined) {
      this.refuse(refusal, new Error(refusal.message))
      return
    }
    let route: ReturnType<Route>
    try {
      route = this.#context.route(this.request)
    } catch (error) {
      this.#fail('refused', asError(error), ROUTE_FAILED)
      return
    }
    if (!(route instanceof Promise)) {
      this.#follow(route)
      return
    }
    if (!this.#received) this.#downstream.openBody(false)
    const { routeMs } = this.#context.limits
    const late = setTimeout(() => {
      this.#fail('refused', new Error(`the route has not decided within ${routeMs} ms`), GATEWAY_TIMEOUT)
    }, routeMs)
    route
      .finally(() => clearTimeout(late))
      .then(
        (decided) => {
          if (this.#settled) return
          this.#follow(decided)
          this.flushRequest()
        },
        (error) => this.#fail('refused', asError(error), ROUTE_FAILED),
      )
  }

  get settled(): boolean {
    return this.#settled
  }

  #refusal(): Answer | undefined {
    const { method, target } = this.#head
    if (method === 'CONNECT') return CONNECT_REFUSED
    if (!target.startsWith('/') && !(target === '*' && method === 'OPTIONS')) {
      const { authority } = originForm(target)
      if (authority === '' || !isHost(authority)) {
        return { status: 400, message: 'The request target must be a path or an http URL.' }
      }
    }
    if (this.#head.contentLength > this.#context.limits.bodyBytes) return TOO_LARGE
    this.#upgrade = this.#mayUpgrade()
    return undefined
  }

  // RFC 9110 7.8: HTTP/1.0 knows no upgrade, and a server may ignore one.
  #mayUpgrade(): boolean {
    const { connection, upgrade, minor } = this.#head
    if ((connection & UPGRADE) === 0 || upgrade === '' || minor === 0 || !this.#received) return false
    // In a tunnel of HTTP/2 a client could say about itself what it likes (X-Forwarded-For).
    return !/\bh2c\b/i.test(upgrade)
  }

  #follow(route: Forward | Respond): void {
    // Also where no compiler has looked: a throw from here would end the process.
    const given: Partial<Forward & Respond> | undefined = route ?? undefined
    if (typeof given !== 'object' || (given.respond ?? given.upstream) === undefined) {
      this.#fail('refused', new Error('the route gave neither an upstream nor an answer'), ROUTE_FAILED)
      return
    }
    if ('respond' in route) {
      this.#outcome = 'answered'
      this.#settled = true
      this.#answer(route.respond)
      return
    }
    this.#route = route
    if (route.shadow !== undefined && !this.#upgrade) this.#startShadow(route.shadow)
    this.#send(route.upstream)
  }

  #send(upstream: Upstream): void {
    let text: string
    try {
      text = this.#headText(upstream)
    } catch (error) {
      this.#fail('refused', asError(error), ROUTE_FAILED)
      return
    }
    const { pool } = this.#downstream
    const fresh = this.#upgrade || this.#repeated
    const connection = fresh ? pool.fresh(upstream, this, this.#upgrade) : pool.take(upstream, this)
    if (connection === undefined) {
      this.#fail('refused', new Error('there are as many connections to applications as may be'), OVERLOADED)
      return
    }
    this.#upstream = upstream
    this.#attempts += 1
    this.#connection = connection
    connection.text(text)
    if (!this.#received) this.#downstream.openBody(connection.writable)
  }

  #startShadow(upstream: Upstream): void {
    const context = this.#context
    if (context.shadows >= context.limits.shadows) {
      const error = new Error(`there are ${context.shadows} shadows, as many as may be`)
      context.onShadow({ upstream: upstream.name, status: undefined, durationMs: 0, error })
      return
    }
    let text: string
    try {
      text = this.#headText(upstream)
    } catch {
      // The request itself fails of the same.
      return
    }
    const onEnd = (report: ShadowReport) => {
      context.shadows -= 1
      context.onShadow(report)
    }
    context.shadows += 1
    const { pool } = this.#downstream
    this.#shadow = new Shadow(pool, upstream, text, this.bodiless, this.#last, !this.#received, onEnd)
  }

  // Some applications leave the body of a GET unread and take it for the next request, and some send a body after HEAD
  // that would be taken for the next response: on a shared connection either would reach another client.
  get #last(): boolean {
    const { method } = this.#head
    return method === 'HEAD' || (this.#hasBody && BODY_UNEXPECTED.has(method))
  }

  #headText(upstream: Upstream): string {
    const head = this.#head
    const route = this.#route
    const { method } = head
    let { kept } = head
    let start = head.startLine
    let { host } = head
    if (head.minor === 0 || route?.target !== undefined || !start.startsWith(' /', method.length)) {
      start = `${method} ${this.#target} HTTP/1.1\r\n`
      if (host !== this.request.host) {
        host = this.request.host
        kept = `Host: ${host}\r\n${without(kept, ['host'])}`
      }
    }
    let lines: string
    if (this.#downstream.trusted) {
      const appended = this.#downstream.forwarded.appended(head)
      kept = without(kept, appended.replaced)
      lines = appended.lines
    } else {
      lines = this.#downstream.forwarded.lines(host)
    }
    // HTTP/1.0 needs no host; the request that goes on is of HTTP/1.1 and does.
    if (host === undefined) lines = `Host: ${upstream.authority}\r\n${lines}`
    if (this.#context.via !== undefined) lines += `Via: ${this.#downstream.version} ${this.#context.via}\r\n`
    if (head.chunked) lines += 'Transfer-Encoding: chunked\r\n'
    else if (head.contentLength >= 0) lines += `Content-Length: ${head.contentLength}\r\n`
    else if (!BODILESS.has(method)) lines += 'Content-Length: 0\r\n'
    if (this.#awaitsContinue) lines += 'Expect: 100-continue\r\n'
    if (this.#upgrade) lines += `Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`
    else if (this.#last) lines += 'Connection: close\r\n'
    if (this.#context.createTraceparent || this.#context.createRequestId) {
      const traced = this.#traced(kept)
      kept = traced.kept
      lines += traced.lines
    }
    if (route?.headers === undefined) return `${start}${kept}${lines}\r\n`
    return `${start}${changed(kept + lines, route.headers)}\r\n`
  }

  get #target(): string {
    const target = this.#route?.target
    if (target === undefined) return this.request.target
    if (!/^[/*][!-~]*$/.test(target))
      throw new Error(`the target ${JSON.stringify(target)} of the route is no path`)
    return target
  }

  #traced(kept: string): { kept: string; lines: string } {
    let lines = ''
    let rest = kept
    if (this.#context.createTraceparent) {
      const sent = this.#head.traceparent
      this.#traceparent ??= validTrace(sent) ?? newTraceparent()
      if (this.#traceparent !== sent) {
        // The state belongs to the parent that is not believed (W3C Trace Context 3.2).
        rest = without(rest, ['traceparent', 'tracestate'])
        lines += `traceparent: ${this.#traceparent}\r\n`
      }
    }
    if (this.#context.createRequestId) {
      const sent = this.#downstream.trusted ? this.#head.headers.get('x-request-id') : undefined
      this.#requestId ??= sent || newRequestId()
      rest = without(rest, ['x-request-id'])
      lines += `X-Request-Id: ${this.#requestId}\r\n`
    }
    return { kept: rest, lines }
  }

  // --- the request's body, told by the downstream

  requestData(bytes: Buffer, start: number, end: number): void {
    this.#bytesIn += end - start
    // It has not waited, and owes the rest.
    this.#awaitsContinue = false
    if (this.#settled || this.#dropped) return
    if (this.#bytesIn > this.#context.limits.bodyBytes) {
      this.#fail('refused', new Error('the body is too large'), TOO_LARGE)
      return
    }
    const connection = this.#connection
    if (connection === undefined) return
    this.#bodySent = true
    if (!this.#head.chunked) {
      connection.bytes(bytes, start, end)
      this.#shadow?.requestData(bytes, start, end)
      return
    }
    const size = `${(end - start).toString(16)}\r\n`
    connection.text(size)
    connection.bytes(bytes, start, end)
    connection.text('\r\n')
    this.#shadow?.requestText(size)
    this.#shadow?.requestData(bytes, start, end)
    this.#shadow?.requestText('\r\n')
  }

  requestEnd(trailers: string): void {
    this.#received = true
    if (this.#settled || this.#dropped) return
    if (this.#head.chunked) {
      // The end of the chunks is a part of the request too, that a repeated head would lack.
      this.#bodySent = true
      this.#connection?.text(`0\r\n${trailers}\r\n`)
      this.#shadow?.requestText(`0\r\n${trailers}\r\n`)
    }
    this.#shadow?.requestEnded(true)
  }

  /** What has been told so far is sent on. */
  flushRequest(): void {
    this.#shadow?.flushRequest()
    const connection = this.#connection
    if (connection === undefined || this.#settled) return
    if (!connection.flush() && !this.#received && !this.#dropped) this.#downstream.openBody(false)
  }

  readonly awaited = true

  get owesBody(): boolean {
    return !this.#received && !this.#awaitsContinue && this.#connection?.writable === true
  }

  /** Whether the client still has to send a part of the request, wanted or not. */
  get receiving(): boolean {
    return !this.#received
  }

  drained(): void {
    if (this.#settled || this.#received) return
    this.#downstream.openBody(this.#connection?.writable === true || this.#dropped)
  }

  #dropBody(): void {
    if (this.#received || this.#dropped) return
    this.#dropped = true
    // Half a request on a connection that is kept would swallow the next one.
    this.#shadow?.requestEnded(false)
    this.#downstream.openBody(true)
  }

  // --- the response, told by the upstream's connection

  get bodiless(): boolean {
    return this.#head.method === 'HEAD'
  }

  interim(head: Head): void {
    this.#interims += 1
    if (this.#interims > INTERIMS_MOST) {
      this.#loseConnection()
      this.#fail(
        'upstream-failed',
        new Error(`more than ${INTERIMS_MOST} interim responses came`),
        BAD_GATEWAY,
      )
      return
    }
    if (head.status === 100) {
      // Only who asked for it can make sense of it.
      if (!this.#awaitsContinue) return
      this.#awaitsContinue = false
      this.#downstream.interim(100, 'Continue', '')
    } else if (this.#head.minor === 1) {
      this.#downstream.interim(head.status, head.reason, head.kept)
    }
  }

  response(head: Head, length: number): void {
    // Before the client is told not to wait: the next application may still want to be asked.
    if (head.status >= 500 && this.#retried(undefined, head.status)) return
    this.#awaitsContinue = false
    let lines = head.kept
    try {
      const changes = this.#changes(head)
      if (changes !== undefined) lines = changed(lines, changes)
    } catch (error) {
      this.#loseConnection()
      this.#fail('upstream-failed', asError(error), BAD_GATEWAY)
      return
    }
    if (this.#context.via !== undefined) lines += `Via: 1.${head.minor} ${this.#context.via}\r\n`
    // RFC 9110 6.6.1.
    if (!head.dated) lines += dateLine()
    lines += this.#context.responseLines
    this.#status = head.status
    this.#headSent = true
    // An application that refuses a body often stops reading it.
    if (head.status >= 400) this.#dropBody()
    // RFC 9110 15.5.22; HTTP/2 has no such header.
    if (head.status === 426 && head.upgrade !== '' && this.#downstream.version !== '2')
      lines += `Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`
    const none = this.bodiless || head.status === 204 || head.status === 304
    this.#downstream.head(head.status, head.reason, lines, head.status === 204 ? -1 : length, none)
  }

  #changes(head: Head): HeaderChanges | undefined {
    const onResponse = this.#route?.onResponse
    if (onResponse === undefined) return undefined
    return onResponse(new Response(head)) ?? undefined
  }

  data(bytes: Buffer, start: number, end: number, owner: Owner): void {
    if (this.#settled) return
    this.#bytesOut += end - start
    this.#downstream.data(bytes, start, end, owner)
  }

  end(trailers: string): void {
    if (this.#settled) return
    this.#settled = true
    this.#responded = true
    const connection = this.#connection
    this.#connection = undefined
    if (connection !== undefined) {
      if (this.#received && !this.#dropped && !this.#last) this.#downstream.pool.giveBack(connection)
      else connection.destroy()
    }
    this.#shadow?.requestEnded(this.#received)
    this.#downstream.end(trailers)
    this.#finish()
  }

  flush(): void {
    if (!this.#downstream.flush() && !this.#settled) this.#connection?.pause()
  }

  switched(head: Head, socket: Socket, rest: Buffer): void {
    this.#connection = undefined
    // Asked for, and for this protocol: anything else leaves two sides with two ideas of what follows.
    const agreed =
      protocolsOf(this.#head.upgrade).includes(head.upgrade.trim().toLowerCase()) &&
      (this.accept === undefined || head.headers.get('sec-websocket-accept') === this.accept)
    if (!this.#upgrade || !agreed || this.#settled) {
      socket.destroy()
      this.#fail('upstream-failed', new Error('protocols were switched unasked'), BAD_GATEWAY)
      return
    }
    this.#settled = true
    // RFC 8441 5: in HTTP/2 the tunnel is opened by 200.
    this.#status = this.accept === undefined ? 101 : 200
    this.#headSent = true
    this.#report()
    this.#downstream.switched(head, socket, rest)
  }

  lost(error: Error, untouched: boolean): void {
    const connection = this.#connection
    this.#connection = undefined
    if (this.#settled) return
    const timedOut = error instanceof UpstreamTimeout || hasCode(error, 'ETIMEDOUT')
    // The application has closed a kept connection just when we used it: with nothing of a response come, the request
    // was most likely not read, and repeating an idempotent one does no harm (RFC 9110 9.2.2).
    const stale = untouched && connection?.reused === true && !timedOut && !this.#repeated
    if (stale && !this.#bodySent && IDEMPOTENT.has(this.#head.method) && this.#upstream !== undefined) {
      this.#attempts -= 1
      this.#repeated = true
      this.#again(this.#upstream)
      return
    }
    if (untouched && this.#retried(error, undefined, !connection?.connected)) return
    if (timedOut) this.#fail('upstream-timeout', error, GATEWAY_TIMEOUT)
    else this.#fail('upstream-failed', error, connection?.connected === false ? UNREACHABLE : BAD_GATEWAY)
  }

  #retried(error: Error | undefined, status: number | undefined, unsent = false): boolean {
    const route = this.#route
    if (route?.retry === undefined || this.#upstream === undefined || this.#bodySent) return false
    if (!unsent && !IDEMPOTENT.has(this.#head.method)) return false
    let next: Upstream | undefined
    try {
      next = route.retry({ attempt: this.#attempts, upstream: this.#upstream, error, status })
    } catch {
      // A route that fails here has no better idea.
    }
    if (next === undefined) return false
    this.#loseConnection()
    this.#again(next)
    return true
  }

  #again(upstream: Upstream): void {
    this.#send(upstream)
    this.flushRequest()
  }

  #loseConnection(): void {
    this.#connection?.destroy()
    this.#connection = undefined
  }

  // --- the client

  clientDrained(): void {
    this.#connection?.resume()
  }

  /** The client is gone, or has been given up. */
  clientLost(error: Error): void {
    if (this.#outcome === 'complete' && !this.#responded) {
      const { closing } = this.#context
      this.#outcome = closing ? 'cut-off' : 'client-aborted'
      this.#error = closing ? new Error('cut off, because the forwarder was closed') : error
    }
    this.#settled = true
    this.#loseConnection()
    this.#shadow?.requestEnded(this.#received)
    this.#finish()
  }

  /** Ends with an answer of ours, or by cutting the response that has begun. */
  refuse(answer: Answer, error: Error): void {
    this.#fail('refused', error, answer)
  }

  /** The head of the response cannot be said in the client's version of HTTP. */
  unsayable(error: Error): void {
    this.#fail('upstream-failed', error, BAD_GATEWAY)
  }

  /** The framing of the body is broken. */
  bodyFault(fault: Fault): void {
    this.#shadow?.requestEnded(false)
    this.#received = true
    this.#fail('refused', new Error(fault.reason), {
      status: fault.status,
      message: 'The request is malformed.',
    })
    this.#downstream.closeAfter()
  }

  #fail(outcome: Outcome, error: Error, answer: Answer): void {
    if (this.#settled) return
    this.#settled = true
    this.#outcome = outcome
    this.#error = error
    this.#loseConnection()
    this.#shadow?.requestEnded(this.#received)
    this.#dropBody()
    if (this.#headSent) {
      // Never a clean end: it would pass off half a response as a whole one.
      this.#downstream.cut()
      this.#finish()
      return
    }
    if (outcome === 'refused') this.#downstream.closeAfter()
    this.#answer(answer)
  }

  #answer(answer: Answer): void {
    let rendered: RenderedAnswer
    try {
      rendered = render(answer, this.#head.headers.get('accept'))
    } catch (error) {
      this.#outcome = 'refused'
      this.#error = asError(error)
      rendered = render(ROUTE_FAILED, undefined)
    }
    const { status, reason, lines, body } = rendered
    this.#status = status
    this.#headSent = true
    const { bodiless } = this
    const none = bodiless || status === 204 || status === 304
    this.#downstream.head(
      status,
      reason,
      lines + this.#context.responseLines,
      none && !bodiless ? -1 : body.length,
      none,
    )
    if (!none) {
      this.#bytesOut += body.length
      this.#downstream.data(body, 0, body.length, true)
    }
    this.#downstream.end('')
    this.#finish()
    this.#downstream.flush()
  }

  #finish(): void {
    if (this.#finished) return
    this.#report()
    this.#downstream.over()
  }

  #report(): void {
    if (this.#finished) return
    this.#finished = true
    this.#context.onRequest({
      method: this.#head.method,
      target: this.#head.target,
      version: this.#downstream.version,
      status: this.#headSent ? this.#status : this.#outcome === 'cut-off' ? 503 : 499,
      durationMs: performance.now() - this.#started,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      outcome: this.#outcome,
      error: this.#error,
      clientAddress: this.request.client.address,
      forwardedFor: this.#downstream.trusted ? this.#head.headers.get('x-forwarded-for') : undefined,
      upstream: this.#upstream?.name,
      traceparent: this.#traceparent ?? validTrace(this.#head.traceparent),
      requestId: this.#requestId,
    })
  }
}

function changed(lines: string, changes: HeaderChanges): string {
  const names = Object.keys(changes).map((name) => name.toLowerCase())
  for (const name of names) checkHeaderName(name)
  let result = without(lines, names)
  for (const [name, value] of Object.entries(changes))
    if (value !== undefined) result += headerLine(name, value)
  return result
}

const validTrace = (sent: string | undefined): string | undefined =>
  sent !== undefined && TRACEPARENT.test(sent) ? sent : undefined

const protocolsOf = (upgrade: string): string[] =>
  upgrade.split(',').map((protocol) => protocol.trim().toLowerCase())

function hasCode(error: Error, code: string): boolean {
  return 'code' in error && error.code === code
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
