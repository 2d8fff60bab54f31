import { encodeCommand, encodeSimple } from '@outrider/resp'
import type { ClientConnection } from './client-connection.ts'
import { NOBODY, WholeReplies } from './reply-sink.ts'
import type { Shard } from './shard.ts'
import type { ShardConnection } from './shard-connection.ts'

const OK = encodeSimple('OK')
const MONITOR = encodeCommand(['MONITOR'])
const MINUS = 0x2d

/** A client that sees the commands of all shards, as one stream of lines; it has a connection of its own to each. */
export class Monitor {
  readonly #client: ClientConnection
  readonly #shards: readonly Shard[]
  readonly #onEnd: () => void
  readonly #connections = new Set<ShardConnection>()
  #state: 'starting' | 'on' | 'ended' = 'starting'
  /** Shards that have not said OK. */
  #left: number

  /** @param onEnd called when it could not start, or ends */
  constructor(client: ClientConnection, shards: readonly Shard[], onEnd: () => void) {
    this.#client = client
    this.#shards = shards
    this.#onEnd = onEnd
    this.#left = shards.length
  }

  /** Whether these are the shards it sees. */
  sees(shards: readonly Shard[]): boolean {
    return shards.length === this.#shards.length && shards.every((shard) => this.#shards.includes(shard))
  }

  /** Says OK when every shard has said so; nothing else of the client is done before. */
  start(now: number): void {
    this.#client.hold()
    for (const shard of this.#shards) if (this.#state === 'starting') this.#open(shard, now)
  }

  leave(reason: string): void {
    this.#state = 'ended'
    for (const connection of this.#connections) connection.destroy(reason)
    this.#connections.clear()
    this.#onEnd()
  }

  #open(shard: Shard, now: number): void {
    const connection = shard.own(this.#client.protocol, {
      onClose: (reason) => {
        if (this.#connections.delete(connection)) this.#fail(shard, reason)
      },
      pushes: NOBODY,
      unasked: this.#client.messages((line) => {
        // The client would take one that comes before OK for the answer.
        if (this.#state === 'on') this.#client.message(line)
      }),
      timeless: false,
    })
    if (connection.closed) {
      this.#fail(shard, shard.reason)
      return
    }
    this.#connections.add(connection)
    shard.counts.requests += 1
    const answer = new WholeReplies(
      (bytes) => this.#take(shard, bytes),
      (reason) => this.#fail(shard, reason),
    )
    connection.send(answer, MONITOR, 0, MONITOR.length, 1, now)
  }

  #take(shard: Shard, answer: Buffer): void {
    if (answer[0] === MINUS) {
      this.#fail(shard, answer.toString('latin1', 1, answer.length - 2))
      return
    }
    this.#left -= 1
    if (this.#left > 0) return
    this.#state = 'on'
    this.#client.answer(OK)
    this.#client.release()
  }

  #fail(shard: Shard, reason: string): void {
    const state = this.#state
    if (state === 'ended') return
    const fault = shard.fault(reason)
    this.leave(fault)
    if (state === 'on') {
      // A stream that lacks a shard would not show it.
      this.#client.destroy(fault)
      return
    }
    this.#client.fail(fault)
    this.#client.release()
  }
}
