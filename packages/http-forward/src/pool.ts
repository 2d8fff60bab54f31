import type { Deadlines } from './deadlines.ts'
import type { Limits } from './limits.ts'
import type { Upstream } from './upstream.ts'
import { type ResponseSink, UpstreamConnection } from './upstream-connection.ts'

/** What all pools of a forwarder have open. */
export interface Load {
  connections: number
  readonly pools: Set<Pool>
}

/** The connections to the applications, the unused ones kept for the next request. */
export class Pool {
  readonly #limits: Limits
  readonly #load: Load
  readonly #deadlines: Deadlines
  readonly #preamble: Buffer | undefined
  readonly #withheld: readonly string[]
  readonly #open = new Set<UpstreamConnection>()
  readonly #idle = new Map<Upstream, UpstreamConnection[]>()
  #closed = false
  readonly #onClose = (connection: UpstreamConnection) => this.#remove(connection)

  /**
   * @param withheld lower-case names of headers of responses that are not passed on
   * @param preamble written first on each connection
   */
  constructor(
    limits: Limits,
    load: Load,
    deadlines: Deadlines,
    withheld: readonly string[],
    preamble: Buffer | undefined,
  ) {
    this.#limits = limits
    this.#load = load
    this.#deadlines = deadlines
    this.#withheld = withheld
    this.#preamble = preamble
    load.pools.add(this)
  }

  /**
   * The connection used last, because the application is the least likely to close that one; or a new one. Undefined
   * when there are as many as may be.
   */
  take(upstream: Upstream, sink: ResponseSink): UpstreamConnection | undefined {
    let connection = this.#idle.get(upstream)?.pop()
    while (connection?.outdated) {
      connection.destroy()
      connection = this.#idle.get(upstream)?.pop()
    }
    if (connection === undefined) return this.fresh(upstream, sink, false)
    connection.begin(sink)
    return connection
  }

  /**
   * A new one; undefined when there are as many as may be.
   * @param streamed whether the connection may be switched to another protocol
   */
  fresh(upstream: Upstream, sink: ResponseSink, streamed: boolean): UpstreamConnection | undefined {
    if (this.#load.connections >= this.#limits.upstreamConnections) this.#makeRoom()
    if (this.#load.connections >= this.#limits.upstreamConnections) return undefined
    this.#load.connections += 1
    const connection = new UpstreamConnection(
      upstream,
      sink,
      this.#limits,
      this.#deadlines,
      this.#withheld,
      streamed,
      this.#preamble,
      this.#onClose,
    )
    this.#open.add(connection)
    return connection
  }

  /** Takes back a connection whose response has ended; closes it when nothing may follow on it. */
  giveBack(connection: UpstreamConnection): void {
    const { upstream } = connection
    const idle = this.#idle.get(upstream) ?? []
    const full = idle.length >= upstream.options.idleMost
    if (this.#closed || full || connection.outdated || !connection.reusable || !connection.idle) {
      connection.destroy()
      return
    }
    if (idle.push(connection) === 1) this.#idle.set(upstream, idle)
    connection.rest()
  }

  /** Cuts off all of them. */
  close(): void {
    this.#closed = true
    this.#load.pools.delete(this)
    for (const connection of this.#open) connection.destroy()
  }

  #makeRoom(): void {
    for (const pool of this.#load.pools) if (pool.closeUnused()) return
  }

  /** Closes one connection that is not in use; false when there is none. */
  closeUnused(): boolean {
    for (const [longestUnused] of this.#idle.values()) {
      if (longestUnused === undefined) continue
      longestUnused.destroy()
      return true
    }
    return false
  }

  #remove(connection: UpstreamConnection): void {
    if (this.#open.delete(connection)) this.#load.connections -= 1
    const idle = this.#idle.get(connection.upstream)
    if (idle === undefined) return
    const at = idle.lastIndexOf(connection)
    if (at >= 0) idle.splice(at, 1)
    if (idle.length === 0) this.#idle.delete(connection.upstream)
  }
}
