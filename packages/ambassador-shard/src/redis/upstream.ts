import type { OnReadOpts, Socket } from 'node:net'
import { encodeCommand, type Protocol } from '@outrider/resp'
import { Latency } from './latency.ts'
import type { ReplySink } from './reply-sink.ts'
import { type Owner, ShardConnection } from './shard-connection.ts'

/** How a server is reached. */
export interface ShardAddress {
  /** For errors and pages: `host:port` or a path. */
  readonly text: string
  readonly username?: string
  readonly password?: string
  /** The database in which the keys are; 0 where it is left out. */
  readonly db?: number
  /** Opens a connection, which reads into the memory that it is given; names are resolved anew each time. */
  connect(onread: OnReadOpts): Socket
}

export interface UpstreamLimits {
  readonly connectTimeoutMs: number
  /** Of each command. */
  readonly timeoutMs: number
  /** So many failures in a row make a server one that is down: broken connections, deadlines passed. */
  readonly failureLimit: number
  /** How long a server that is down is left alone before it is tried again, at first and at most. */
  readonly backoffMs: number
  readonly backoffMostMs: number
  /** Whether the errors OOM, BUSY and LOADING are failures, too, as they are for twemproxy. */
  readonly countErrors: boolean
}

/** Connections of single clients that are kept for the next one. */
const UNUSED_MOST = 64

const PING = encodeCommand(['PING'])

/** Counts since the start. */
export interface UpstreamCounts {
  requests: number
  replies: number
  requestBytes: number
  replyBytes: number
  failures: number
  eofs: number
  timeouts: number
  connects: number
}

/** One server, and the connections to it that all clients share. */
export class Upstream {
  /** Of the shard it is a server of. */
  readonly name: string
  readonly address: ShardAddress
  readonly limits: UpstreamLimits
  readonly counts: UpstreamCounts = {
    ...{ requests: 0, replies: 0, requestBytes: 0, replyBytes: 0 },
    ...{ failures: 0, eofs: 0, timeouts: 0, connects: 0 },
  }
  readonly latency = new Latency()
  /** Whether commands are sent to it; as long as it is not, somebody tries whether it is back. */
  up = true
  /** Why it is down, or why its last connection broke. */
  reason = ''
  readonly #onState: (upstream: Upstream) => void
  #shared: [ShardConnection | undefined, ShardConnection | undefined] = [undefined, undefined]
  readonly #own = new Set<ShardConnection>()
  readonly #unused: ShardConnection[] = []
  #failures = 0
  #downs = 0
  #retryAt = 0
  #closed = false

  /** @param onState called when it goes down or is back */
  constructor(
    name: string,
    address: ShardAddress,
    limits: UpstreamLimits,
    onState: (upstream: Upstream) => void,
  ) {
    this.name = name
    this.address = address
    this.limits = limits
    this.#onState = onState
  }

  get inFlight(): number {
    let sum = 0
    for (const connection of this.#shared) sum += connection?.inFlight ?? 0
    for (const connection of this.#own) sum += connection.inFlight
    return sum
  }

  /** Bytes that wait to be sent. */
  get waitingBytes(): number {
    let sum = 0
    for (const connection of this.#shared) sum += connection?.waitingBytes ?? 0
    for (const connection of this.#own) sum += connection.waitingBytes
    return sum
  }

  /** Connections, those of single clients included. */
  get connections(): number {
    return this.#own.size + this.#shared.filter((connection) => connection !== undefined).length
  }

  /** What is said to a client whose command was not, or not wholly, answered. */
  fault(reason: string): string {
    return `ERR shard ${this.name} (${this.address.text}): ${reason}`
  }

  /** The connection that all share; undefined while the server is down. */
  shared(protocol: Protocol): ShardConnection | undefined {
    const connection = this.#shared[protocol - 2]
    if (!this.up) return undefined
    return connection ?? this.#openShared(protocol)
  }

  /** One for a single client, who gives it back or destroys it. */
  own(protocol: Protocol, owner: Owner): ShardConnection {
    const at = this.#unused.findLastIndex((connection) => connection.protocol === protocol)
    const [unused] = at < 0 ? [] : this.#unused.splice(at, 1)
    const connection = unused ?? this.#open(protocol)
    connection.owner = owner
    if (!connection.closed) this.#own.add(connection)
    return connection
  }

  /**
   * Takes back a connection on which nothing is awaited, and whose state is that of a new one. False where it is not one
   * of its own.
   */
  giveBack(connection: ShardConnection): boolean {
    if (!this.#own.has(connection)) return false
    connection.owner = undefined
    if (this.#unused.length < UNUSED_MOST && connection.inFlight === 0 && !this.#closed)
      this.#unused.push(connection)
    else connection.destroy('it is not needed any more')
    return true
  }

  /** Connects before somebody asks, so that what is wrong is known early. */
  warm(): void {
    if (this.up && this.#shared[0] === undefined) this.#openShared(2)
  }

  /** Gives up what is overdue, and tries whether it is still there, or back. */
  tick(now: number): void {
    for (const connection of this.#shared) connection?.tick(now)
    for (const connection of this.#own) connection.tick(now)
    // A connection that broke says nothing yet: one more tells, before somebody asks.
    this.warm()
    if (this.up || this.#closed || now < this.#retryAt) return
    this.#retryAt = now + this.#backoff()
    const connection = this.#shared[0] ?? this.#openShared(2)
    // One that is new greets by itself.
    if (connection?.ready) connection.send(this.#probe, PING, 0, PING.length, 1, now)
  }

  readonly #probe: ReplySink = {
    reply: (bytes, start) => {
      if (bytes[start] !== MINUS) this.#succeed()
    },
    lost: () => undefined,
  }

  /** Nothing new is sent to it; what is in flight may end, until `close`. */
  retire(): void {
    this.#closed = true
    for (const connection of [...this.#unused]) connection.destroy('it is not needed any more')
  }

  /** Cuts off all connections. */
  close(reason: string): void {
    this.#closed = true
    for (const connection of [...this.#shared, ...this.#own]) connection?.destroy(reason)
  }

  #openShared(protocol: Protocol): ShardConnection | undefined {
    if (this.#closed) return undefined
    const opened = this.#open(protocol)
    // It may have failed at once.
    if (opened.closed) return undefined
    this.#shared[protocol - 2] = opened
    return opened
  }

  #open(protocol: Protocol): ShardConnection {
    this.counts.connects += 1
    return new ShardConnection({
      address: this.address,
      protocol,
      limits: this.limits,
      counts: this.counts,
      latency: this.latency,
      onReady: () => this.#succeed(),
      onTrouble: (reason) => this.#fail(reason),
      onHealth: () => {
        this.#failures = 0
      },
      onClose: (connection, reason) => {
        if (this.#own.delete(connection)) {
          const at = this.#unused.indexOf(connection)
          if (at >= 0) this.#unused.splice(at, 1)
          connection.owner?.onClose(reason)
          return
        }
        if (this.#shared[protocol - 2] === connection) this.#shared[protocol - 2] = undefined
        // An old server has no RESP3; that says nothing about the clients that speak RESP2.
        if (protocol === 3 && /^(NOPROTO|ERR unknown command)/.test(reason)) this.reason = reason
        else if (!this.#closed) this.#fail(reason)
      },
    })
  }

  #succeed(): void {
    this.#failures = 0
    if (this.up) return
    this.#downs = 0
    this.up = true
    this.reason = ''
    this.#onState(this)
  }

  #fail(reason: string): void {
    this.counts.failures += 1
    this.reason = reason
    this.#failures += 1
    // A connection that has worked may be opened again at once: servers close idle ones, and restart.
    if (this.#failures < this.limits.failureLimit || !this.up) return
    this.up = false
    this.#retryAt = performance.now() + this.#backoff()
    this.#onState(this)
  }

  #backoff(): number {
    const { backoffMs, backoffMostMs } = this.limits
    const exact = Math.min(backoffMostMs, backoffMs * 2 ** Math.min(this.#downs, 30))
    this.#downs += 1
    // Ambassadors that lost the same server together should not come back together.
    return exact * (0.75 + Math.random() / 2)
  }
}

const MINUS = 0x2d
