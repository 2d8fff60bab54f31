import type { Socket } from 'node:net'
import { type Answer, faultAnswer, render, TOO_SLOW } from './answer.ts'
import { BodyReader, type BodySink } from './body.ts'
import { cutOff } from './cut-off.ts'
import type { Deadlines, Expiring } from './deadlines.ts'
import { type Context, type Downstream, Exchange } from './exchange.ts'
import { type Client, ForwardedLines } from './forwarded.ts'
import { CLOSE, type Fault, Head, KEEP_ALIVE } from './head.ts'
import { Outbox } from './outbox.ts'
import type { Pool } from './pool.ts'
import { unreadReport } from './report.ts'
import { Request } from './request.ts'
import type { Owner } from './slab.ts'
import { openTunnel } from './tunnel.ts'

/**
 * `head`: a request is awaited or arriving; `exchange`: one is being served; `discard`: it is answered, and the rest of
 * its body is thrown away; `linger`: the last answer is out, and what still comes is thrown away; `tunnel`: the
 * connection belongs to another protocol.
 */
type State = 'head' | 'exchange' | 'discard' | 'linger' | 'tunnel' | 'closed'

/** `again`: there may be more to do; `more`: bytes are missing; `wait`: these bytes have to wait. */
type Step = 'again' | 'more' | 'wait'

/** Windows in which a client may take no whole piece of a response. */
const STANDSTILLS_MOST = 3

/** How much of further requests is read while one is being served. */
const READ_AHEAD_BYTES = 16 * 1024

/** Up to which a client that is not read is looked after. */
const PEEK_MOST = 64 * 1024

const CR = 0x0d
const LF = 0x0a

export interface ClientOptions {
  readonly context: Context
  readonly deadlines: Deadlines
  readonly pool: Pool
  readonly client: Client
  readonly trusted: boolean
  /** Lower-case names of headers that are not taken from clients. */
  readonly withheld: readonly string[]
  onClose(connection: ClientConnection): void
}

/** A connection of a client that speaks HTTP/1.1: one exchange at a time, in the order of the requests. */
export class ClientConnection implements Downstream, BodySink, Expiring {
  readonly forwarded: ForwardedLines
  readonly pool: Pool
  readonly trusted: boolean
  deadline: number
  readonly #socket: Socket
  readonly #context: Context
  readonly #deadlines: Deadlines
  readonly #client: Client
  readonly #withheld: readonly string[]
  readonly #onClose: (connection: ClientConnection) => void
  readonly #outbox: Outbox
  #state: State = 'head'
  #head: Head | undefined
  /** Bytes of the client that have not been used, from `#restAt` on; it is not read while there are some. */
  #rest: Buffer | undefined
  #restAt = 0
  #exchange: Exchange | undefined
  #body: BodyReader | undefined
  #bodyOpen = true
  #pumping = false
  #paused = false
  #ended = false
  #draining = false
  #requests = 0
  #minor = 1
  #keepAlive = true
  /** How the response's end is told: by its length or not at all, by chunks, or by the end of the connection. */
  #framing: 'counted' | 'chunked' | 'close' = 'counted'
  #windowBytes = 0
  /** Pieces of the response, and how many they were when the client had ended its side. */
  #sent = 0
  #sentBefore = 0
  /** Of content, in all. */
  #sentBytes = 0
  #takenBefore = 0
  #standstills = 0
  /** Bytes that were still to be written when the connection was ended, or a window later. */
  #left = 0

  constructor(socket: Socket, options: ClientOptions) {
    this.#socket = socket
    this.#context = options.context
    this.#deadlines = options.deadlines
    this.#client = options.client
    this.#withheld = options.withheld
    this.#onClose = options.onClose
    this.pool = options.pool
    this.trusted = options.trusted
    this.forwarded = new ForwardedLines(options.client)
    this.#outbox = new Outbox(socket, () => this.#onDrain())
    this.deadline = this.#deadlines.in(this.#context.limits.headMs)
    this.#deadlines.add(this)
    socket.on('data', (bytes: Buffer) => this.#onData(bytes))
    socket.on('end', () => this.#onEnd())
    socket.on('drain', () => this.#onDrain())
    socket.on('timeout', () => this.#onStall())
    socket.on('error', (error) => this.#onGone(error))
    socket.on('close', () => this.#onGone(new Error('the client has left')))
  }

  get version(): string {
    return this.#minor === 1 ? '1.1' : '1.0'
  }

  /** Whether something is being served. */
  get busy(): boolean {
    return this.#state === 'exchange' || this.#state === 'tunnel'
  }

  /** Closes it when nothing is in hand, and else after that. A request of which a part has come is let in. */
  drain(): void {
    this.#draining = true
    if (this.#state === 'head' && this.#head === undefined && this.#rest === undefined) this.#close()
  }

  destroy(): void {
    // Half a response whose end is that of the connection would look whole; TLS tells by its missing goodbye.
    if (this.#framing === 'close') cutOff(this.#socket)
    else this.#socket.destroy()
  }

  // --- reading

  #onData(bytes: Buffer): void {
    if (this.#state === 'linger' || this.#state === 'closed') return
    if (this.#rest === undefined) {
      this.#rest = bytes
      this.#restAt = 0
    } else {
      this.#rest = Buffer.concat([this.#rest.subarray(this.#restAt), bytes])
      this.#restAt = 0
    }
    this.#pump()
  }

  /** Uses up what has come, as far as the state allows. */
  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    let next: Step = 'again'
    while (next === 'again' && this.#rest !== undefined) next = this.#step(this.#rest)
    this.#pumping = false
    if (this.#state === 'closed' || this.#state === 'tunnel' || this.#state === 'linger') return
    if (this.#mayClose()) {
      this.#close()
      return
    }
    const exchange = this.#exchange
    exchange?.flushRequest()
    this.#outbox.flushSoon()
    this.#read(next !== 'wait' || this.#mayReadAhead())
  }

  #read(wanted: boolean): void {
    if (wanted === !this.#paused) return
    this.#paused = !wanted
    if (wanted) this.#socket.resume()
    else this.#socket.pause()
  }

  // A connection that is not read does not tell that its client has left.
  #mayReadAhead(): boolean {
    return this.#state === 'exchange' && this.#body === undefined && this.#ahead < READ_AHEAD_BYTES
  }

  /** Bytes that have come and wait. */
  get #ahead(): number {
    return this.#rest === undefined ? 0 : this.#rest.length - this.#restAt
  }

  // One more piece in each window, since a client that has left while nobody wants what it sends does not show.
  #peek(): void {
    if (!this.#paused) return
    if (this.#ahead < PEEK_MOST) this.#read(true)
    // Of a connection that was reset the system tells this write too, though TLS does not pass it on.
    else if (this.#outbox.open) this.#socket.write('')
  }

  #step(rest: Buffer): Step {
    switch (this.#state) {
      case 'head':
        // Answers to a client that reads none are not piled up.
        return this.#outbox.open ? this.#stepHead(rest) : 'wait'
      case 'exchange':
      case 'discard':
        return this.#stepBody(rest)
      default:
        this.#rest = undefined
        return 'again'
    }
  }

  #stepHead(rest: Buffer): Step {
    let at = this.#restAt
    if (this.#head === undefined) {
      // RFC 9112 2.2: empty lines before a request are skipped. They buy no time.
      while (rest[at] === CR && rest[at + 1] === LF) at += 2
      this.#restAt = at
      if (at === rest.length) {
        this.#rest = undefined
        return 'again'
      }
      if (rest[at] === CR && at + 1 === rest.length) return 'more'
      this.#head = new Head(true, this.trusted, this.#withheld)
      if (this.#requests > 0) this.deadline = this.#deadlines.in(this.#context.limits.headMs)
    }
    const head = this.#head
    const { limits } = this.#context
    let progress = head.read(rest, at, rest.length, limits)
    if (progress === 'more') {
      // The memory it came in is larger than the piece.
      if (at > 0 || rest.buffer.byteLength > 2 * limits.headBytes) {
        this.#rest = Buffer.from(rest.subarray(at))
        this.#restAt = 0
      }
      return 'more'
    }
    if (progress === 'done') progress = head.finish(rest, at)
    this.#head = undefined
    if (progress === 'fault') {
      this.#refuse(head.fault ?? { status: 400, reason: 'the request is malformed' })
      return 'again'
    }
    this.#restAt = at + head.length
    if (this.#restAt === rest.length) this.#rest = undefined
    this.#begin(head)
    return 'again'
  }

  #begin(head: Head): void {
    const { limits } = this.#context
    this.#requests += 1
    this.#minor = head.minor
    // A client that always has a further request ready would put off the drain for ever.
    this.#keepAlive =
      !this.#draining &&
      !this.#ended &&
      this.#requests < limits.requestsPerConnection &&
      (head.minor === 1 ? (head.connection & CLOSE) === 0 : (head.connection & KEEP_ALIVE) !== 0)
    const hasBody = head.chunked || head.contentLength > 0
    if (hasBody) {
      const framing = head.chunked ? 'chunked' : head.contentLength
      this.#body = new BodyReader(framing, this, limits, this.#withheld)
    }
    this.#bodyOpen = true
    this.#windowBytes = 0
    this.#sent = 0
    this.#state = 'exchange'
    this.deadline = this.#deadlines.in(limits.stallMs)
    const exchange = new Exchange(head, hasBody, new Request(head, this.#client), this.#context, this)
    this.#exchange = exchange
    exchange.start()
  }

  #stepBody(rest: Buffer): Step {
    const body = this.#body
    if (body === undefined || (!this.#bodyOpen && this.#state === 'exchange')) return 'wait'
    const at = this.#restAt
    const next = body.read(rest, at, rest.length)
    if (next < 0) {
      this.#rest = undefined
      this.#body = undefined
      this.#keepAlive = false
      const fault = body.fault ?? { status: 400, reason: 'the body is malformed' }
      if (this.#state === 'exchange') this.#exchange?.bodyFault(fault)
      else this.destroy()
      return 'again'
    }
    this.#windowBytes += next - at
    if (next === rest.length) this.#rest = undefined
    else this.#restAt = next
    return 'again'
  }

  bodyData(bytes: Buffer, start: number, end: number): void {
    if (this.#state === 'exchange') this.#exchange?.requestData(bytes, start, end)
  }

  bodyEnd(trailers: string): void {
    this.#body = undefined
    if (this.#state === 'exchange') this.#exchange?.requestEnd(trailers)
    else if (this.#state === 'discard') this.#next()
  }

  openBody(open: boolean): void {
    if (this.#bodyOpen === open) return
    this.#bodyOpen = open
    if (open) {
      this.#restartWindow()
      this.#pump()
    } else if (!this.#pumping) this.#read(false)
  }

  // For the time in which nobody wanted its body the client is not to blame.
  #restartWindow(): void {
    if (this.#body === undefined || this.#state !== 'exchange') return
    this.#windowBytes = 0
    this.deadline = this.#deadlines.in(this.#context.limits.stallMs)
  }

  // --- writing

  interim(status: number, reason: string, lines: string): void {
    if (status === 100) this.#restartWindow()
    if (this.#minor === 0) return
    this.#outbox.text(`HTTP/1.1 ${status} ${reason}\r\n${lines}\r\n`)
  }

  head(status: number, reason: string, lines: string, length: number, bodiless: boolean): void {
    this.#sent += 1
    let text = `HTTP/1.1 ${status} ${reason}\r\n${lines}`
    this.#framing = 'counted'
    if (length >= 0) {
      text += `Content-Length: ${length}\r\n`
    } else if (!bodiless) {
      this.#framing = this.#minor === 1 ? 'chunked' : 'close'
      if (this.#framing === 'chunked') text += 'Transfer-Encoding: chunked\r\n'
      else this.#keepAlive = false
    }
    if (this.#draining && this.#rest === undefined) this.#keepAlive = false
    if (!this.#keepAlive) text += 'Connection: close\r\n'
    else if (this.#minor === 0) text += 'Connection: keep-alive\r\n'
    this.#outbox.text(`${text}\r\n`)
  }

  data(bytes: Buffer, start: number, end: number, owner: Owner): void {
    this.#sent += 1
    this.#sentBytes += end - start
    if (this.#framing !== 'chunked') {
      this.#outbox.bytes(bytes, start, end, owner)
      return
    }
    this.#outbox.text(`${(end - start).toString(16)}\r\n`)
    this.#outbox.bytes(bytes, start, end, owner)
    this.#outbox.text('\r\n')
  }

  end(trailers: string): void {
    if (this.#framing === 'chunked') this.#outbox.text(`0\r\n${trailers}\r\n`)
    this.#framing = 'counted'
  }

  flush(): boolean {
    const open = this.#outbox.flushSoon()
    // From here on it must take something of what is written, or be given up.
    if (!open) this.#socket.setTimeout(this.#context.limits.stallMs)
    return open
  }

  cut(): void {
    // What is pipelined behind it would be asked for nobody.
    this.#state = 'linger'
    this.#rest = undefined
    this.destroy()
  }

  closeAfter(): void {
    this.#keepAlive = false
  }

  over(): void {
    this.#exchange = undefined
    if (this.#state !== 'exchange') return
    const { limits } = this.#context
    if (!this.#keepAlive) {
      this.#linger()
    } else if (this.#body !== undefined) {
      this.#state = 'discard'
      this.deadline = this.#deadlines.in(limits.lingerMs)
      if (!this.#pumping) this.#pump()
    } else {
      this.#next()
    }
  }

  #next(): void {
    this.#state = 'head'
    this.deadline = this.#deadlines.in(this.#context.limits.idleMs)
    if (this.#mayClose()) this.#close()
    else if (!this.#pumping && (this.#rest !== undefined || this.#paused)) this.#pump()
  }

  // Between two requests of a connection that is to end.
  #mayClose(): boolean {
    const between = this.#state === 'head' && this.#head === undefined && this.#rest === undefined
    return between && !this.#pumping && (this.#ended || this.#draining)
  }

  #close(): void {
    this.#state = 'linger'
    this.#outbox.flush()
    this.#socket.end()
    if (this.#ended) this.#socket.destroySoon()
    if (this.#socket.writableLength === 0) {
      this.#awaitGoodbye()
      return
    }
    // A slow client has its time for what is written, as long as it takes something of it.
    this.#left = this.#socket.writableLength
    this.deadline = this.#deadlines.in(this.#context.limits.stallMs)
    this.#read(false)
    this.#socket.once('finish', () => this.#awaitGoodbye())
  }

  #awaitGoodbye(): void {
    this.deadline = this.#deadlines.in(this.#context.limits.lingerMs)
    this.#read(true)
  }

  // Closing with unread bytes makes the kernel send a reset, which can overtake the answer.
  #linger(): void {
    this.#rest = undefined
    this.#close()
  }

  #refuse(fault: Fault): void {
    this.#answer(faultAnswer(fault), new Error(fault.reason))
  }

  // To what is no request, or not yet.
  #answer(answer: Answer, error: Error): void {
    const { status, reason, lines, body } = render(answer, undefined)
    this.#minor = 1
    this.#keepAlive = false
    this.head(status, reason, lines + this.#context.responseLines, body.length, false)
    this.#outbox.bytes(body, 0, body.length, true)
    this.#context.onRequest(unreadReport('1.1', status, body.length, error, this.#client.address))
    this.#linger()
  }

  // --- the connection

  switched(head: Head, upstream: Socket, rest: Buffer): void {
    this.#exchange = undefined
    this.#state = 'tunnel'
    this.deadline = Number.POSITIVE_INFINITY
    this.#socket.pause()
    for (const event of ['data', 'end', 'drain', 'timeout']) this.#socket.removeAllListeners(event)
    const clientRest = this.#rest?.subarray(this.#restAt) ?? Buffer.alloc(0)
    this.#rest = undefined
    this.#paused = false
    const reason = head.reason === '' ? 'Switching Protocols' : head.reason
    const start = `HTTP/1.1 101 ${reason}\r\nConnection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n${head.kept}\r\n`
    this.#outbox.text(start)
    this.#outbox.flush()
    openTunnel({
      client: this.#socket,
      clientRest,
      upstream,
      upstreamRest: rest,
      limits: this.#context.limits,
      onEnd: (report) => this.#context.onTunnel(report),
    })
  }

  expire(): void {
    const { limits } = this.#context
    switch (this.#state) {
      case 'head':
        if (this.#head !== undefined) this.#answer(TOO_SLOW, new Error('the head has not come in time'))
        // A connection opened ahead of need, as browsers do, has done nothing that wants an answer.
        else this.#close()
        break
      case 'exchange':
        this.#expireExchange(limits.stallMs)
        break
      case 'tunnel':
        this.deadline = Number.POSITIVE_INFINITY
        break
      case 'discard':
        if (this.#socket.writableLength > 0) this.#linger()
        else this.destroy()
        break
      default:
        this.#expireLinger()
    }
  }

  #expireLinger(): void {
    const left = this.#socket.writableLength
    if (left === 0 || left >= this.#left) {
      this.destroy()
      return
    }
    this.#left = left
    this.deadline = this.#deadlines.in(this.#context.limits.stallMs)
  }

  #expireExchange(windowMs: number): void {
    this.deadline = this.#deadlines.in(windowMs)
    const exchange = this.#exchange
    if (exchange === undefined) return
    if (this.#ended) {
      if (this.#sent > this.#sentBefore) {
        this.#waitForRest()
      } else {
        this.#giveUp(new Error('the client has ended its side and the response does not go on'))
      }
      return
    }
    if (this.#standsStill()) {
      this.#giveUp(new Error('the client has stalled'))
      return
    }
    this.#peek()
    if (!exchange.owesBody || !this.#bodyOpen) return
    const enough = (this.#context.limits.minBodyRate * windowMs) / 1000
    const came = this.#windowBytes
    this.#windowBytes = 0
    if (came < Math.max(1, enough)) exchange.refuse(TOO_SLOW, new Error('the client has stalled'))
  }

  #giveUp(error: Error): void {
    const exchange = this.#exchange
    this.#exchange = undefined
    this.#state = 'linger'
    this.#rest = undefined
    exchange?.clientLost(error)
    this.destroy()
  }

  // The timer of the socket is put off by what the client sends too. Of a large piece it shows only the end, so that a
  // slow client gets several windows for it.
  #standsStill(): boolean {
    const taken = this.#sentBytes - this.#socket.writableLength
    this.#standstills = !this.#outbox.open && taken === this.#takenBefore ? this.#standstills + 1 : 0
    this.#takenBefore = taken
    return this.#standstills > STANDSTILLS_MOST
  }

  // The client takes nothing of what is written.
  #onStall(): void {
    if (this.#state !== 'linger' && this.#socket.writableLength === 0) return
    this.#giveUp(new Error('the client has stalled'))
  }

  #onDrain(): void {
    if (this.#state === 'tunnel' || this.#state === 'closed') return
    this.#outbox.drained()
    this.#socket.setTimeout(0)
    this.#exchange?.clientDrained()
    if (this.#state === 'head' && this.#rest !== undefined) this.#pump()
  }

  #onEnd(): void {
    this.#ended = true
    if (this.#state === 'linger') {
      this.#socket.destroySoon()
    } else if (this.#state === 'head' && this.#rest === undefined) {
      this.#close()
    } else if (this.#state === 'head') {
      // Half a request. Nobody waits for an answer to it.
      if (this.#outbox.open) this.destroy()
    } else if (this.#state === 'discard') {
      this.#linger()
    } else if (this.#body !== undefined) {
      this.#giveUp(new Error('the client has left before the end of its request'))
    } else if (this.#keepAlive) {
      // Who would have sent more requests has left. Who said that this is the last one may wait for its answer: only
      // the next write tells.
      this.#giveUp(new Error('the client has left'))
    } else {
      this.#waitForRest()
    }
  }

  #waitForRest(): void {
    const { halfClosedMs, abandonedMs } = this.#context.limits
    this.#sentBefore = this.#sent
    this.deadline = this.#deadlines.in(this.#sent === 0 ? halfClosedMs : abandonedMs)
  }

  #onGone(error: Error): void {
    if (this.#state === 'closed') return
    const tunnel = this.#state === 'tunnel'
    this.#state = 'closed'
    this.#rest = undefined
    this.#outbox.close()
    this.#deadlines.delete(this)
    if (!tunnel) this.#exchange?.clientLost(error)
    this.#onClose(this)
    this.#socket.destroy()
  }
}
