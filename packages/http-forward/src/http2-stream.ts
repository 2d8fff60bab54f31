import { createHash } from 'node:crypto'
import { constants, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { faultAnswer, render, TOO_SLOW } from './answer.ts'
import { trailerLines } from './body.ts'
import type { Deadlines, Expiring } from './deadlines.ts'
import { type Context, type Downstream, Exchange } from './exchange.ts'
import type { Client, ForwardedLines } from './forwarded.ts'
import { type Fault, Head, without } from './head.ts'
import { headersOf, streamHead, trailerFields } from './http2-head.ts'
import { Outbox } from './outbox.ts'
import type { Pool } from './pool.ts'
import { unreadReport } from './report.ts'
import { Request } from './request.ts'
import type { Owner } from './slab.ts'
import { openTunnel } from './tunnel.ts'

/** What the streams of one connection share, and whom they tell. */
export interface StreamHost {
  readonly context: Context
  readonly deadlines: Deadlines
  readonly pool: Pool
  readonly client: Client
  readonly trusted: boolean
  readonly withheld: readonly string[]
  readonly forwarded: ForwardedLines
  /** Grows with what the client takes of the connection. */
  readonly bytesTaken: number
  /** A stream was reset before its response began, and not by us. */
  onReset(): void
  onStreamClose(stream: ClientStream): void
}

// RFC 6455 1.3.
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** Windows that a response may be at a standstill while others of its connection get on. */
const PATIENCE = 4

const NOTHING_FOLLOWS = { endStream: true, sendDate: false }
const CONTENT_FOLLOWS = { endStream: false, sendDate: false }
const TRAILERS_MAY_FOLLOW = { waitForTrailers: true, sendDate: false }

const OWNER = Symbol('owner')
/** One function for all streams finds by this what it is about: closures for each would cost more than the request. */
type Owned = ServerHttp2Stream & { [OWNER]?: ClientStream }

/** One request of a client that speaks HTTP/2, and its response. */
export class ClientStream implements Downstream, Expiring {
  readonly version = '2'
  readonly forwarded: ForwardedLines
  readonly pool: Pool
  readonly trusted: boolean
  deadline: number
  readonly #stream: Owned
  readonly #host: StreamHost
  readonly #outbox: Outbox
  #exchange: Exchange | undefined
  /** Whether the client has said all it has to say. */
  #ended = false
  /** Bytes that are missing of a Content-Length; -1 when there is none. */
  #left = -1
  #requestTrailers = ''
  #bodyOpen = false
  #reading = false
  #windowBytes = 0
  /** Whether its body was wanted in all of the window. */
  #windowWhole = true
  /** Whether a response has begun. */
  #answered = false
  #contentFollows = false
  #awaitsTrailers = false
  #trailers = ''
  #tunnel = false
  #lost = false
  /** Whether the stream takes nothing more. */
  #over = false
  #sentBytes = 0
  #takenBytes = 0
  #takenByAll = 0
  #standstills = 0

  constructor(stream: ServerHttp2Stream, host: StreamHost) {
    this.#stream = stream
    this.#host = host
    this.forwarded = host.forwarded
    this.pool = host.pool
    this.trusted = host.trusted
    this.#outbox = new Outbox(stream, () => this.drained())
    this.deadline = host.deadlines.in(host.context.limits.stallMs)
    host.deadlines.add(this)
    this.#stream[OWNER] = this
    stream.on('error', ignore)
    stream.on('aborted', onAborted)
    stream.on('close', onClose)
    stream.on('drain', onDrain)
  }

  /** @param fields names and values in turn @param ended whether nothing follows */
  begin(fields: readonly string[], ended: boolean): void {
    const { context, client, withheld } = this.#host
    this.#ended = ended
    if (this.#stream.closed) {
      this.aborted()
      return
    }
    const asked = streamHead(fields, ended)
    if ('reason' in asked) {
      this.#refuse(asked)
      return
    }
    const head = new Head(true, this.trusted, withheld)
    const bytes = Buffer.from(asked.text, 'latin1')
    const complete =
      head.read(bytes, 0, bytes.length, context.limits) === 'done' && head.finish(bytes, 0) === 'done'
    if (!complete || head.fault !== undefined || head.length !== bytes.length) {
      this.#refuse(head.fault ?? { status: 400, reason: 'the request is malformed' })
      return
    }
    if (ended && head.contentLength > 0) {
      this.#refuse({ status: 400, reason: 'the body is shorter than its Content-Length' })
      return
    }
    this.#left = head.contentLength
    if (asked.hasBody) this.#stream.on('trailers', onTrailers)
    const exchange = new Exchange(head, asked.hasBody, new Request(head, client), context, this)
    if (asked.key !== undefined) exchange.accept = proofOf(asked.key)
    this.#exchange = exchange
    exchange.start()
    exchange.flushRequest()
  }

  /** Whether the client has yet to take what was written. */
  get waits(): boolean {
    return this.#stream.bufferSize > 0
  }

  /** Gives the request up, such as for a connection that is closed. */
  refuseStream(): void {
    this.#over = true
    this.#stream.close(constants.NGHTTP2_REFUSED_STREAM)
  }

  // --- reading

  openBody(open: boolean): void {
    if (this.#bodyOpen === open || this.#over) return
    this.#bodyOpen = open
    this.#windowWhole = false
    if (!open) {
      this.#stream.pause()
    } else if (this.#reading) {
      this.#stream.resume()
    } else {
      this.#reading = true
      this.#stream.on('end', onEnd)
      this.#stream.on('data', onData)
    }
  }

  bodyData(bytes: Buffer): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    this.#windowBytes += bytes.length
    if (this.#left >= 0) {
      this.#left -= bytes.length
      if (this.#left < 0) {
        exchange.bodyFault({ status: 400, reason: 'the body is longer than its Content-Length' })
        return
      }
    }
    exchange.requestData(bytes, 0, bytes.length)
    exchange.flushRequest()
  }

  trailers(fields: readonly string[]): void {
    const { context, withheld } = this.#host
    const lines = trailerFields(fields)
    const kept = lines === undefined ? undefined : trailerLines(lines, withheld)
    if (kept === undefined) {
      this.#exchange?.bodyFault({ status: 400, reason: 'a trailer is malformed' })
    } else if (lines !== undefined && lines.length > context.limits.trailerBytes) {
      this.#exchange?.bodyFault({ status: 431, reason: 'the trailers are too large' })
    } else {
      this.#requestTrailers = kept
    }
  }

  bodyEnd(): void {
    // A reset with NO_ERROR ends what can be read like the end of the body, which it is not.
    if (this.#stream.closed) {
      this.aborted()
      return
    }
    this.#ended = true
    const exchange = this.#exchange
    if (this.#left > 0) {
      exchange?.bodyFault({ status: 400, reason: 'the body is shorter than its Content-Length' })
      return
    }
    exchange?.requestEnd(this.#requestTrailers)
    exchange?.flushRequest()
  }

  // --- writing

  // Methods of a stream that is gone throw, and of its end we hear a moment later.
  get #isGone(): boolean {
    return this.#over || this.#stream.closed || this.#stream.destroyed
  }

  interim(status: number, _reason: string, lines: string): void {
    if (this.#isGone) return
    const headers = headersOf(lines)
    headers[':status'] = status
    if (status === 100) this.#windowWhole = false
    this.#stream.additionalHeaders(headers)
  }

  head(status: number, _reason: string, lines: string, length: number, bodiless: boolean): void {
    if (this.#isGone) return
    if (status > 599) {
      // RFC 9110 15 knows none above, and node:http2 refuses them.
      this.#exchange?.unsayable(new Error(`the status ${status} is not known to HTTP/2`))
      if (!this.#over) this.#reset()
      return
    }
    const headers = headersOf(lines)
    headers[':status'] = status
    // RFC 9110 15.3.6: a 205 has no content.
    const none = bodiless || length === 0 || status === 205
    if (length >= 0 && status !== 205) headers['content-length'] = String(length)
    this.#answered = true
    this.#contentFollows = !none
    this.#awaitsTrailers = !none && length < 0
    if (this.#awaitsTrailers) this.#stream.on('wantTrailers', onWantTrailers)
    const options = none ? NOTHING_FOLLOWS : length < 0 ? TRAILERS_MAY_FOLLOW : CONTENT_FOLLOWS
    this.#stream.respond(headers, options)
  }

  data(bytes: Buffer, start: number, end: number, owner: Owner): void {
    if (this.#over || !this.#contentFollows) return
    this.#sentBytes += end - start
    this.#outbox.bytes(bytes, start, end, owner)
  }

  end(trailers: string): void {
    if (this.#over) return
    this.#trailers = trailers
    if (!this.#contentFollows) return
    this.#outbox.flush()
    this.#stream.end()
  }

  wantTrailers(): void {
    if (this.#isGone) return
    this.#stream.sendTrailers(headersOf(this.#trailers))
    this.#awaitsTrailers = false
    // They are sent by setImmediate too.
    if (!this.#ended) setImmediate(closeStream, this.#stream)
  }

  flush(): boolean {
    return this.#over || this.#outbox.flush()
  }

  drained(): void {
    this.#outbox.drained()
    this.#exchange?.clientDrained()
  }

  cut(): void {
    this.#reset()
  }

  /** The fault is of one stream, and others of the connection are none the worse for it. */
  closeAfter(): void {}

  over(): void {
    this.#exchange = undefined
    if (this.#over || this.#ended) return
    // RFC 9113 8.1: with the response complete, the client is told to keep the rest of the request to itself.
    if (this.#reading) this.#stream.resume()
    if (!this.#awaitsTrailers) closeStream(this.#stream)
  }

  switched(head: Head, upstream: Socket, rest: Buffer): void {
    this.#exchange = undefined
    if (this.#isGone) {
      upstream.destroy()
      return
    }
    this.#tunnel = true
    this.#answered = true
    const headers = headersOf(without(head.kept, ['sec-websocket-accept']))
    headers[':status'] = 200
    this.#stream.respond(headers, CONTENT_FOLLOWS)
    openTunnel({
      client: this.#stream,
      cutClient: () => this.#reset(),
      isClientLost: () => this.#lost || this.#stream.rstCode !== constants.NGHTTP2_NO_ERROR,
      clientRest: Buffer.alloc(0),
      upstream,
      upstreamRest: rest,
      limits: this.#host.context.limits,
      onEnd: (report) => this.#host.context.onTunnel(report),
    })
  }

  // By an error: node:http2 ends a stream properly before it closes it by a code, and half a response would look whole.
  #reset(): void {
    this.#over = true
    this.#stream.destroy(new Error('the stream is cut'))
  }

  #refuse(fault: Fault): void {
    const { context, client } = this.#host
    const { status, reason, lines, body } = render(faultAnswer(fault), undefined)
    this.head(status, reason, lines + context.responseLines, body.length, false)
    this.data(body, 0, body.length, true)
    this.end('')
    this.over()
    context.onRequest(
      unreadReport(this.version, status, body.length, new Error(fault.reason), client.address),
    )
  }

  // --- the client

  expire(): void {
    const { stallMs } = this.#host.context.limits
    this.deadline = this.#host.deadlines.in(stallMs)
    // node:http2 waits for ever for the last write on a stream that was reset with NO_ERROR after we had ended it.
    if (this.#stream.closed) {
      this.#reset()
      return
    }
    if (this.#tunnel) return
    if (this.#isStalled()) {
      this.#giveUp(new Error('the client has stalled'))
      return
    }
    this.#expireBody(stallMs)
  }

  #expireBody(windowMs: number): void {
    const exchange = this.#exchange
    if (exchange === undefined || !exchange.owesBody || !this.#bodyOpen) return
    const enough = (this.#host.context.limits.minBodyRate * windowMs) / 1000
    const came = this.#windowBytes
    const whole = this.#windowWhole
    this.#windowBytes = 0
    this.#windowWhole = true
    // For the time in which nobody wanted its body the client is not to blame.
    if (whole && came < Math.max(1, enough)) exchange.refuse(TOO_SLOW, new Error('the client has stalled'))
  }

  // A slow line that many streams share leaves each of them at a standstill now and then.
  #isStalled(): boolean {
    const waiting = this.#stream.bufferSize
    const taken = this.#sentBytes - waiting
    const takenByAll = this.#host.bytesTaken
    const still = waiting > 0 && taken === this.#takenBytes
    const allStill = takenByAll === this.#takenByAll
    this.#takenBytes = taken
    this.#takenByAll = takenByAll
    this.#standstills = still ? this.#standstills + 1 : 0
    return this.#standstills > (allStill ? 1 : PATIENCE)
  }

  #giveUp(error: Error): void {
    this.#reset()
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.clientLost(error)
  }

  /** The client has reset the stream, or has broken a rule so that nghttp2 did, or the connection is gone. */
  aborted(): void {
    if (this.#over) return
    this.#over = true
    this.#lost = true
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.clientLost(new Error('the client has left'))
    if (!this.#answered) this.#host.onReset()
    // A reset with NO_ERROR would look like an end to a tunnel. For the others node:http2 does it, or `expire`.
    if (this.#tunnel) setImmediate(destroyStream, this.#stream)
  }

  closed(): void {
    if (this.#exchange !== undefined || !this.#answered) this.aborted()
    this.#over = true
    this.#outbox.close()
    this.#host.deadlines.delete(this)
    this.#host.onStreamClose(this)
  }
}

function proofOf(key: string): string {
  return createHash('sha1').update(key).update(WEBSOCKET_GUID).digest('base64')
}

// Only once all of it is written: when a stream is destroyed that was closed before, node:http2 sends no reset for it,
// lets go of its data, and then writes empty frames for it without end.
function closeStream(stream: ServerHttp2Stream): void {
  if (stream.writableFinished) closeWritten.call(stream)
  else stream.once('finish', closeWritten)
}

function closeWritten(this: ServerHttp2Stream): void {
  if (!this.closed && !this.destroyed) this.close(constants.NGHTTP2_NO_ERROR)
}

function destroyStream(stream: ServerHttp2Stream): void {
  stream.destroy()
}

function ignore(): void {}

function onAborted(this: Owned): void {
  this[OWNER]?.aborted()
}

function onClose(this: Owned): void {
  this[OWNER]?.closed()
}

function onDrain(this: Owned): void {
  this[OWNER]?.drained()
}

function onData(this: Owned, bytes: Buffer): void {
  this[OWNER]?.bodyData(bytes)
}

function onEnd(this: Owned): void {
  this[OWNER]?.bodyEnd()
}

function onTrailers(this: Owned, _headers: unknown, _flags: number, fields: string[]): void {
  this[OWNER]?.trailers(fields)
}

function onWantTrailers(this: Owned): void {
  this[OWNER]?.wantTrailers()
}
