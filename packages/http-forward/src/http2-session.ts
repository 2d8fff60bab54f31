import {
  constants,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { ClientOptions } from './client-connection.ts'
import type { Deadlines, Expiring } from './deadlines.ts'
import type { Context } from './exchange.ts'
import { type Client, ForwardedLines } from './forwarded.ts'
import { ClientStream, type StreamHost } from './http2-stream.ts'
import type { Limits } from './limits.ts'
import type { Pool } from './pool.ts'
import { unreadReport } from './report.ts'

export interface SessionOptions extends Omit<ClientOptions, 'onClose'> {
  onClose(session: ClientSession): void
}

/** How often a client with streams open is asked whether it is there. */
const PROBE_MS = 15_000
/** Windows in which one to whom bytes of responses wait may take none: of a large piece only the end shows. */
const SLOW_WINDOWS = 3

/** A connection may have so large a part of the streams that are free. */
const SHARE = 8

/** In which floods are counted. */
const FLOOD_WINDOW_MS = 10_000

/** A connection of a client that speaks HTTP/2 (RFC 9113): many exchanges at a time, one on each stream. */
export class ClientSession implements Expiring, StreamHost {
  readonly context: Context
  readonly deadlines: Deadlines
  readonly pool: Pool
  readonly client: Client
  readonly trusted: boolean
  readonly withheld: readonly string[]
  readonly forwarded: ForwardedLines
  deadline: number
  readonly #socket: TLSSocket
  readonly #session: ServerHttp2Session
  readonly #onClose: (session: ClientSession) => void
  readonly #streams = new Set<ClientStream>()
  #requests = 0
  /** Whether the client's first SETTINGS have come. */
  #begun = false
  #calmed = false
  #gone = false
  /** Whether an answer to a PING of ours is awaited. */
  #pinging = false
  /** Bytes the client had taken when that was looked at last. */
  #takenBefore = 0
  /** When they had last become more. */
  #takenAt = 0
  #windowEnd = 0
  #streamsInWindow = 0
  #resets = 0
  #controlFrames = 0

  /** Throws when the socket is gone already. */
  constructor(socket: TLSSocket, options: SessionOptions) {
    this.#socket = socket
    this.context = options.context
    this.deadlines = options.deadlines
    this.pool = options.pool
    this.client = options.client
    this.trusted = options.trusted
    this.withheld = options.withheld
    this.forwarded = new ForwardedLines(options.client)
    this.#onClose = options.onClose
    const { limits } = this.context
    // An end without GOAWAY node:http2 takes for no end, and would keep the connection for ever.
    socket.once('end', () => this.destroy())
    // Makes Node tell of an end that has come already.
    socket.read(0)
    this.#session = performServerHandshake(socket, settingsOf(limits))
    this.#session.setLocalWindowSize(limits.sessionWindowBytes)
    this.deadline = this.deadlines.in(limits.headMs)
    this.deadlines.add(this)
    this.#watch()
  }

  /** Streams being served. */
  get inFlight(): number {
    return this.#streams.size
  }

  get bytesTaken(): number {
    return this.#socket.bytesWritten
  }

  /** Tells the client to open no more streams (GOAWAY), and closes it when those that are open have ended. */
  drain(): void {
    this.#session.close()
    if (this.#streams.size === 0) this.deadline = this.deadlines.in(this.context.limits.lingerMs)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #watch(): void {
    const session = this.#session
    session.on('stream', (stream, _headers, flags, fields) => this.#onStream(stream, flags, fields))
    session.on('ping', () => this.#onControlFrame())
    session.on('remoteSettings', () => {
      // It does speak HTTP/2. What is opened ahead of need, as browsers do, is waited for; more settings buy no time.
      if (!this.#begun && this.#requests === 0) this.deadline = this.deadlines.in(this.context.limits.idleMs)
      this.#begun = true
      this.#onControlFrame()
    })
    session.on('error', (error: NodeJS.ErrnoException) => {
      // As opposed to what the system says of the connection, or the client of itself.
      const broken = error.code?.startsWith('ERR_HTTP2') === true && error.code !== 'ERR_HTTP2_SESSION_ERROR'
      if (broken && !this.#calmed) this.#report(400, error)
    })
    session.on('close', () => this.#onGone())
  }

  #onStream(stream: ServerHttp2Stream, flags: number, fields: string[]): void {
    const { limits } = this.context
    this.#requests += 1
    this.#startWindow()
    this.#streamsInWindow += 1
    if (this.#streams.size === 0) this.#awaitProbe()
    const served = new ClientStream(stream, this)
    this.#streams.add(served)
    this.context.streams += 1
    if (this.#calmed) {
      served.refuseStream()
    } else if (!this.#hasShare()) {
      served.refuseStream()
      this.#report(503, new Error('there are as many streams as may be'))
    } else served.begin(fields, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0)
    if (this.#requests >= limits.requestsPerConnection) this.drain()
  }

  // The fewer are free, the fewer one connection may have, so that some are always left for another one.
  #hasShare(): boolean {
    const free = this.context.limits.streamsInAll - this.context.streams
    return free >= 0 && this.#streams.size <= Math.max(1, free / SHARE)
  }

  onStreamClose(stream: ClientStream): void {
    if (this.#streams.delete(stream)) this.context.streams -= 1
    if (this.#streams.size > 0) return
    const { idleMs, lingerMs } = this.context.limits
    const ending = this.#session.closed || this.#session.destroyed
    this.deadline = this.deadlines.in(ending ? lingerMs : idleMs)
  }

  expire(): void {
    if (this.#streams.size > 0) this.#probe()
    else if (this.#session.closed || this.#session.destroyed) this.destroy()
    else this.drain()
  }

  // After a write of its own frames that has failed, node:http2 reads no more and tells nobody.
  #probe(): void {
    const { stallMs } = this.context.limits
    const { now } = this.deadlines
    const taken = this.bytesTaken
    if (taken !== this.#takenBefore) this.#takenAt = now
    this.#takenBefore = taken
    // The answer may wait behind megabytes of a response that a slow client is taking.
    const patience = this.#hasWaiting() ? SLOW_WINDOWS * stallMs : 0
    if (this.#session.destroyed || (this.#pinging && now - this.#takenAt > patience)) {
      this.destroy()
      return
    }
    if (!this.#pinging) {
      this.#pinging = true
      this.#session.ping(() => {
        this.#pinging = false
      })
    }
    this.#awaitProbe()
  }

  #awaitProbe(): void {
    this.deadline = this.deadlines.in(Math.min(this.context.limits.stallMs, PROBE_MS))
  }

  #hasWaiting(): boolean {
    for (const stream of this.#streams) if (stream.waits) return true
    return false
  }

  onReset(): void {
    if (this.#session.destroyed) return
    this.#startWindow()
    this.#resets += 1
    const { resets } = this.context.limits
    if (this.#resets > resets && this.#resets * 2 > this.#streamsInWindow) {
      this.#calm('too many streams were reset')
    }
  }

  #onControlFrame(): void {
    this.#startWindow()
    this.#controlFrames += 1
    if (this.#controlFrames > this.context.limits.controlFrames) this.#calm('too many control frames came')
  }

  #startWindow(): void {
    if (this.deadlines.now < this.#windowEnd) return
    this.#windowEnd = this.deadlines.now + FLOOD_WINDOW_MS
    this.#streamsInWindow = this.#streams.size
    this.#resets = 0
    this.#controlFrames = 0
  }

  #calm(reason: string): void {
    if (this.#calmed) return
    this.#calmed = true
    const error = new Error(reason)
    this.#report(429, error)
    // Not from within nghttp2, which calls for each frame.
    setImmediate(() => {
      this.#session.destroy(error, constants.NGHTTP2_ENHANCE_YOUR_CALM)
      if (!this.#gone) this.deadline = this.deadlines.in(this.context.limits.lingerMs)
    })
  }

  // Of the connection as a whole, for which no response says why it has ended.
  #report(status: number, error: Error): void {
    this.context.onRequest(unreadReport('2', status, 0, error, this.client.address))
  }

  #onGone(): void {
    if (this.#gone) return
    this.#gone = true
    this.deadlines.delete(this)
    this.#onClose(this)
  }
}

function settingsOf(limits: Limits): NonNullable<Parameters<typeof performServerHandshake>[1]> {
  return {
    settings: {
      maxConcurrentStreams: limits.streams,
      initialWindowSize: limits.streamWindowBytes,
      // Twice of what is accepted, so that a little too much gets an answer (431) and only a lot a reset.
      maxHeaderListSize: 2 * limits.headBytes,
      enableConnectProtocol: true,
    },
    // What applications say is bounded by `responseHeadBytes`; nghttp2 counts some bytes more for each header.
    maxSendHeaderBlockLength: 8 * limits.responseHeadBytes,
    maxHeaderListPairs: 2 * limits.headerCount,
    maxSessionMemory: Math.max(1, Math.ceil(limits.sessionBytes / 1_000_000)),
    maxSessionInvalidFrames: limits.badFrames,
    maxSettings: 32,
    // Applications repeat headers that should be there once; a client is told what they say.
    strictSingleValueFields: false,
  }
}
