import type { Socket } from 'node:net'
import { encodeCommand, type Protocol, ReplyScanner } from '@outrider/resp'
import type { Latency } from './latency.ts'
import { Outbox } from './outbox.ts'
import { NOBODY, type ReplySink } from './reply-sink.ts'
import type { ShardAddress, UpstreamCounts, UpstreamLimits } from './upstream.ts'

/** Replies that are awaited in a row by the same sink. */
class Awaited {
  sink: ReplySink = NOBODY
  count = 0
  since = 0
  next: Awaited | undefined
}

const JOINED_MS = 20
const KEEP_ALIVE_MS = 30_000

// What comes is used up before anything else is read, so that one memory serves all connections: allocated anew for each
// read it would keep the garbage collector busy.
const INPUT = Buffer.allocUnsafeSlow(64 * 1024)

// The most that wait at once in a row of turns; an object for each command would cost as much as its parsing.
const KEPT_MOST = 4_096
const unused: Awaited[] = []

/** Of a connection that one client has for itself. */
export interface Owner {
  onClose(reason: string): void
  /** Who gets what nobody has asked for (RESP3). */
  readonly pushes: ReplySink
  /** Who gets replies to nothing, as messages are in RESP2. */
  readonly unasked: ReplySink | undefined
  /** Whether replies may take as long as they like. */
  readonly timeless: boolean
}

export interface ShardConnectionOptions {
  readonly address: ShardAddress
  readonly protocol: Protocol
  readonly limits: UpstreamLimits
  /** Added to. */
  readonly counts: UpstreamCounts
  readonly latency: Latency
  /** It answers. */
  onReady(): void
  /** A deadline has passed, or a reply says that the server cannot. @param reason for the log */
  onTrouble(reason: string): void
  /** Replies have come that say nothing of the kind. */
  onHealth(): void
  /** It is gone. @param reason for the log */
  onClose(connection: ShardConnection, reason: string): void
}

/** One connection to a shard, on which the commands of many clients follow each other without waiting. */
export class ShardConnection {
  protocol: Protocol
  /** Whether the shard has ever answered on it. */
  reached = false
  /** Who has it for himself. */
  owner: Owner | undefined
  readonly #options: ShardConnectionOptions
  readonly #socket: Socket
  readonly #outbox: Outbox
  readonly #scanner = new ReplyScanner()
  #first: Awaited | undefined
  #last: Awaited | undefined
  #state: 'connecting' | 'ready' | 'closed' = 'connecting'
  readonly #opened = performance.now()
  /** When a reply has ended last: one that goes on for ever is none. */
  #answered = 0
  /** Replies that are awaited. */
  #awaited = 0
  /** Who goes on when it takes more. */
  #crowd: (() => void)[] = []
  #reason = ''

  constructor(options: ShardConnectionOptions) {
    this.#options = options
    this.protocol = options.protocol
    this.#socket = options.address.connect({
      buffer: INPUT,
      callback: (length) => {
        this.#read(length === INPUT.length ? INPUT : INPUT.subarray(0, length))
        return true
      },
    })
    this.#outbox = new Outbox(this.#socket)
    this.#greet()
    this.#watch()
  }

  get closed(): boolean {
    return this.#state === 'closed'
  }

  get ready(): boolean {
    return this.#state === 'ready'
  }

  /** Replies that are awaited. */
  get inFlight(): number {
    return this.#awaited
  }

  get waitingBytes(): number {
    return this.#outbox.waitingBytes
  }

  /**
   * Sends whole commands, which `sink` awaits so many replies for.
   * @param now as `performance.now`, of the moment they came
   */
  send(sink: ReplySink, bytes: Buffer, start: number, end: number, count: number, now: number): void {
    this.#outbox.bytes(bytes, start, end)
    this.#options.counts.requestBytes += end - start
    this.#await(sink, count, now)
  }

  /** Calls once when nothing waits to be sent any more, but not when the connection ends before. */
  whenDrained(goOn: () => void): void {
    this.#crowd.push(goOn)
  }

  /** Sends a part of a command; behind its last one comes `expect`. */
  write(bytes: Buffer, start: number, end: number): void {
    this.#outbox.bytes(bytes, start, end)
    this.#options.counts.requestBytes += end - start
  }

  /** Awaits so many replies to what was written. */
  expect(sink: ReplySink, count: number, now: number): void {
    this.#await(sink, count, now)
  }

  #await(sink: ReplySink, count: number, now: number): void {
    if (count === 0) return
    this.#awaited += count
    const last = this.#last
    // Only within a short time, since all that are awaited together share one deadline.
    if (last !== undefined && last.sink === sink && now - last.since < JOINED_MS) {
      last.count += count
      return
    }
    const awaited = unused.pop() ?? new Awaited()
    awaited.sink = sink
    awaited.count = count
    awaited.since = now
    if (last === undefined) this.#first = awaited
    else last.next = awaited
    this.#last = awaited
  }

  #shift(awaited: Awaited): void {
    this.#first = awaited.next
    if (this.#first === undefined) this.#last = undefined
    awaited.next = undefined
    awaited.sink = NOBODY
    if (unused.length < KEPT_MOST) unused.push(awaited)
  }

  destroy(reason: string): void {
    if (this.#reason === '') this.#reason = reason
    this.#socket.destroy()
    this.#lose()
  }

  /** What a server says, which clients are told of, without what it repeats of its greeting. */
  #hide(said: string): string {
    const { password = '' } = this.#options.address
    const [told = ''] = said.split(', with args beginning with', 1)
    // It was read as latin1.
    const secret = Buffer.from(password).toString('latin1')
    return secret === '' ? told : told.replaceAll(secret, '***')
  }

  /** Gives up what is overdue; called every now and then. */
  tick(now: number): void {
    const { connectTimeoutMs, timeoutMs } = this.#options.limits
    const isConnecting = this.#state === 'connecting'
    if (isConnecting && now - this.#opened > connectTimeoutMs) {
      this.destroy(`no connection within ${connectTimeoutMs} ms`)
      return
    }
    const overdue = now - timeoutMs
    const first = this.#first
    if (first === undefined || first.since > overdue || this.owner?.timeless) return
    const reason = `no answer within ${timeoutMs} ms`
    let lost = 0
    for (let awaited: Awaited | undefined = first; awaited !== undefined; awaited = awaited.next) {
      if (awaited.since > overdue) break
      const { sink } = awaited
      if (sink === NOBODY || sink === this.#greeting) continue
      // Its reply may still come, and must not be taken for that of the next one.
      awaited.sink = NOBODY
      lost += awaited.count
      sink.lost(awaited.count, reason)
    }
    this.#options.counts.timeouts += lost
    if (isConnecting) return
    // It does not even answer others.
    if (now - Math.max(this.#answered, first.since) > 2 * timeoutMs)
      this.destroy(`silent for ${2 * timeoutMs} ms`)
    else if (lost > 0 && this.#answered < overdue) this.#options.onTrouble(reason)
  }

  /** Goes on in another protocol; a shard that refuses it loses the connection. */
  speak(protocol: Protocol): void {
    if (protocol === this.protocol) return
    this.protocol = protocol
    this.#say('HELLO', String(protocol))
    this.#await(this.#greeting, 1, performance.now())
  }

  #greet(): void {
    const { username, password, db = 0 } = this.#options.address
    const auth = password === undefined ? [] : [username ?? 'default', password]
    if (this.protocol === 3) this.#say('HELLO', '3', ...(auth.length > 0 ? ['AUTH', ...auth] : []))
    else if (auth.length > 0) this.#say('AUTH', ...(username === undefined ? auth.slice(1) : auth))
    if (db > 0) this.#say('SELECT', String(db))
    // Its answer shows that somebody speaks Redis there.
    this.#say('PING')
    const greeted = this.protocol === 3 || auth.length > 0
    this.#await(this.#greeting, 1 + (greeted ? 1 : 0) + (db > 0 ? 1 : 0), this.#opened)
  }

  #say(...args: string[]): void {
    this.#outbox.own(encodeCommand(args))
  }

  readonly #greeting: ReplySink = {
    reply: (bytes, start, end) => {
      const text = bytes.toString('latin1', start, Math.min(end, start + 200))
      const refusal = /^-([^\r\n]*)/.exec(text) ?? /\r\n-([^\r\n]*)\r\n$/.exec(text)
      if (refusal !== null) {
        this.destroy(this.#hide(refusal[1] ?? ''))
        return
      }
      if (this.#first?.sink === this.#greeting) return
      this.#state = 'ready'
      this.reached = true
      this.#options.onReady()
    },
    lost: () => undefined,
  }

  #watch(): void {
    const socket = this.#socket
    socket.setNoDelay(true)
    socket.on('error', (error) => {
      if (this.#reason === '') this.#reason = reasonOf(error)
    })
    socket.on('end', () => {
      this.#options.counts.eofs += 1
      this.destroy('the shard has closed the connection')
    })
    socket.on('close', () => this.#lose())
    socket.on('drain', () => {
      for (const goOn of this.#crowd.splice(0)) goOn()
    })
    // Whoever waits for a key or for messages would not notice that a host is gone.
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
  }

  #read(bytes: Buffer): void {
    const now = performance.now()
    const { counts, limits } = this.#options
    counts.replyBytes += bytes.length
    const scanner = this.#scanner
    const { length } = bytes
    let at = 0
    /** Begin of what the first sink has not been given, and how many of its replies end in it. */
    let from = 0
    let ended = 0
    let trouble = ''
    while (at < length) {
      const next = scanner.scan(bytes, at, length)
      if (scanner.fault !== '') {
        this.destroy(`malformed: ${this.#hide(scanner.fault)}`)
        return
      }
      if (scanner.push && this.#state !== 'closed') {
        if (ended > 0) {
          this.#give(bytes, from, at, ended, now)
          ended = 0
        }
        this.owner?.pushes.reply(bytes, at, next < 0 ? length : next, next < 0 ? 0 : 1)
        if (next < 0) return
        at = next
        from = next
        continue
      }
      const first = this.#first
      const unasked = this.owner?.unasked
      if (first === undefined && unasked === undefined) {
        this.destroy('it answered what nobody asked')
        return
      }
      if (first === undefined) {
        unasked?.reply(bytes, at, next < 0 ? length : next, next < 0 ? 0 : 1)
        if (next < 0 || this.closed) return
        at = next
        from = next
        continue
      }
      if (next < 0) break
      if (limits.countErrors && scanner.type === MINUS && trouble === '') trouble = troubleIn(bytes, at, next)
      at = next
      ended += 1
      if (ended === first.count) {
        this.#give(bytes, from, at, ended, now)
        if (this.#state === 'closed') return
        from = at
        ended = 0
      }
    }
    if (ended > 0) this.#give(bytes, from, at, ended, now)
    // Apart, so that whoever is given it knows that a reply has begun.
    if (at < length && this.#first !== undefined) this.#give(bytes, at, length, 0, now)
    if (trouble !== '') this.#options.onTrouble(trouble)
    else if (this.#state === 'ready' && this.#answered === now) this.#options.onHealth()
  }

  #give(bytes: Buffer, start: number, end: number, ended: number, now: number): void {
    const first = this.#first
    if (first === undefined) return
    const { sink } = first
    if (ended > 0) {
      this.#awaited -= ended
      this.#answered = now
      if (sink !== NOBODY && sink !== this.#greeting) {
        this.#options.counts.replies += ended
        this.#options.latency.add(ended, now - first.since, now)
      }
    }
    // Before the reply is told, because what it sets off may end this connection, and must not lose it once more.
    first.count -= ended
    if (first.count === 0) this.#shift(first)
    sink.reply(bytes, start, end, ended)
  }

  #lose(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    const reason = this.#reason === '' ? 'the connection was closed' : this.#reason
    this.#crowd = []
    this.#options.onClose(this, reason)
    for (let first = this.#first; first !== undefined; first = this.#first) {
      const { sink, count } = first
      this.#shift(first)
      sink.lost(count, reason)
    }
    this.#awaited = 0
  }
}

const MINUS = 0x2d

/** OpenSSL's own words, without its files and lines. */
function reasonOf(error: Error): string {
  const isOpenSsl = 'library' in error && 'reason' in error && typeof error.reason === 'string'
  return isOpenSsl ? `TLS: ${error.reason}` : error.message
}

/** The error by which a server says that it cannot work, as twemproxy knows them; '' where it is another one. */
function troubleIn(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('latin1', start + 1, Math.min(end - 2, start + 200))
  return /^(OOM|BUSY|LOADING) /.test(text) ? text : ''
}
