import type { Socket } from 'node:net'
import type { Protocol } from '@outrider/resp'
import { type Owner, ShardConnection } from './shard-connection.ts'

/** How a shard is reached. */
export interface ShardAddress {
  /** For errors and pages: `host:port` or a path. */
  readonly text: string
  readonly username?: string
  readonly password?: string
  /** Opens a connection; names are resolved anew each time. */
  connect(): Socket
}

export interface ShardOptions {
  /** What is hashed, and what errors name. */
  readonly name: string
  readonly address: ShardAddress
  readonly connectTimeoutMs: number
  readonly timeoutMs: number
  /** How long a shard that was not reached is left alone at first, and at most. */
  readonly backoffMs: number
  readonly backoffMostMs: number
  onState(shard: Shard, up: boolean, reason: string): void
}

/** Connections of single clients that are kept for the next one. */
const UNUSED_MOST = 64

/** Counts since the start. */
export interface ShardCounts {
  requests: number
  replies: number
  failures: number
  connects: number
}

/** A server with a part of the keys, and the connections that all clients share. */
export class Shard {
  readonly name: string
  readonly options: ShardOptions
  readonly counts: ShardCounts = { requests: 0, replies: 0, failures: 0, connects: 0 }
  /** Called with the time that replies took. */
  onReplies: (count: number, milliseconds: number) => void = () => undefined
  #shared: [ShardConnection | undefined, ShardConnection | undefined] = [undefined, undefined]
  readonly #own = new Set<ShardConnection>()
  #failures = 0
  #retryAt = 0
  #reason = ''
  #up = true

  constructor(options: ShardOptions) {
    this.name = options.name
    this.options = options
  }

  get up(): boolean {
    return this.#up
  }

  /** Why it is down. */
  get reason(): string {
    return this.#reason
  }

  get inFlight(): number {
    return this.#shared.reduce((sum, connection) => sum + (connection?.inFlight ?? 0), 0)
  }

  /** Connections, those of single clients included. */
  get connections(): number {
    return this.#own.size + this.#shared.filter((connection) => connection !== undefined).length
  }

  /** What is said to a client whose command was not, or not wholly, answered. */
  fault(reason: string): string {
    return `ERR shard ${this.name} (${this.options.address.text}): ${reason}`
  }

  /** The connection that all share; undefined while the shard is left alone. */
  shared(protocol: Protocol, now: number): ShardConnection | undefined {
    const connection = this.#shared[protocol - 2]
    if (connection !== undefined) return connection
    if (now < this.#retryAt) return undefined
    const opened = this.#open(protocol)
    // It may have failed at once.
    if (!opened.closed) this.#shared[protocol - 2] = opened
    return opened
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

  /** Takes back a connection on which nothing is awaited, and whose state is that of a new one. */
  giveBack(connection: ShardConnection): void {
    connection.owner = undefined
    if (connection.closed) return
    if (this.#unused.length < UNUSED_MOST && connection.inFlight === 0) this.#unused.push(connection)
    else connection.destroy('it is not needed any more')
  }

  readonly #unused: ShardConnection[] = []

  /** Gives up what is overdue. */
  tick(now: number): void {
    for (const connection of this.#shared) connection?.tick(now)
    for (const connection of this.#own) connection.tick(now)
  }

  /** Cuts off all connections. */
  close(reason: string): void {
    for (const connection of [...this.#shared, ...this.#own]) connection?.destroy(reason)
  }

  #open(protocol: Protocol): ShardConnection {
    this.counts.connects += 1
    const { address, connectTimeoutMs, timeoutMs } = this.options
    return new ShardConnection({
      address,
      protocol,
      connectTimeoutMs,
      timeoutMs,
      onReady: () => this.#succeed(),
      onClose: (connection, reason) => {
        if (this.#own.delete(connection)) {
          const at = this.#unused.indexOf(connection)
          if (at >= 0) this.#unused.splice(at, 1)
          connection.owner?.onClose(reason)
          return
        }
        if (this.#shared[protocol - 2] === connection) this.#shared[protocol - 2] = undefined
        this.#fail(reason)
      },
      onReplies: (count, milliseconds) => {
        this.counts.replies += count
        this.onReplies(count, milliseconds)
      },
    })
  }

  #succeed(): void {
    this.#failures = 0
    this.#retryAt = 0
    this.#reason = ''
    if (this.#up) return
    this.#up = true
    this.options.onState(this, true, '')
  }

  #fail(reason: string): void {
    const { backoffMs, backoffMostMs } = this.options
    this.counts.failures += 1
    this.#reason = reason
    // A connection that has worked is opened again at once: shards close idle ones, and restart.
    this.#retryAt =
      this.#failures === 0
        ? 0
        : performance.now() + Math.min(backoffMostMs, backoffMs * 2 ** (this.#failures - 1))
    this.#failures += 1
    if (this.#failures < 2 || !this.#up) return
    this.#up = false
    this.options.onState(this, false, reason)
  }
}
