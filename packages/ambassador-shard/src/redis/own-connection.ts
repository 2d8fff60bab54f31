import type { Protocol } from '@outrider/resp'
import type { ClientConnection } from './client-connection.ts'
import { NOBODY } from './reply-sink.ts'
import type { Shard } from './shard.ts'
import type { ShardConnection } from './shard-connection.ts'
import { PassSlot } from './slot.ts'

/** Who is told what becomes of a connection. */
export interface OwnConnectionEvents {
  /** It is gone, and not by `leave`. @param reached whether the shard had answered on it at all */
  onLost(reason: string, reached: boolean): void
  /** The client was told that a reply will not come, though what it is to may still be carried out. */
  onOverdue(): void
}

/** A connection to one shard that a client has for itself; the replies pass through, in the order of its commands. */
export class OwnConnection {
  readonly shard: Shard
  /** Whether replies may take as long as they like. */
  timeless = false
  readonly #client: ClientConnection
  readonly #events: OwnConnectionEvents
  #connection: ShardConnection | undefined
  /** Why it is gone. */
  #reason = ''

  constructor(client: ClientConnection, shard: Shard, events: OwnConnectionEvents) {
    this.#client = client
    this.shard = shard
    this.#events = events
    const isTimeless = (): boolean => this.timeless
    const connection = shard.own(client.protocol, {
      onClose: (reason) => {
        if (this.#connection !== connection) return
        this.#connection = undefined
        this.#reason = reason
        events.onLost(reason, connection.reached)
      },
      pushes: NOBODY,
      unasked: undefined,
      get timeless() {
        return isTimeless()
      },
    })
    if (connection.closed) this.#reason = shard.reason
    else this.#connection = connection
  }

  /** Sends one command. @param then called behind its reply, or when that will not come */
  pass(bytes: Buffer, start: number, end: number, now: number, then?: () => void): void {
    const [client, shard, connection] = [this.#client, this.shard, this.#connection]
    if (connection === undefined) {
      this.#events.onOverdue()
      client.fail(shard.fault(this.#reason))
      then?.()
      return
    }
    const owner = client.replies === 'on' ? client : client.muted
    if (client.replies === 'skip') client.replies = 'on'
    const slot = new OwnSlot(owner, shard, connection, then)
    slot.onOverdue = () => this.#events.onOverdue()
    client.append(slot)
    slot.count = 1
    shard.counts.requests += 1
    connection.send(slot, bytes, start, end, 1, now)
    client.crowd(connection)
  }

  /** Sends what the client has not asked for. */
  tell(bytes: Buffer, now: number): void {
    this.shard.counts.requests += 1
    this.#connection?.send(NOBODY, bytes, 0, bytes.length, 1, now)
  }

  speak(protocol: Protocol): void {
    this.#connection?.speak(protocol)
  }

  /** @param clean whether it can serve another client */
  leave(reason: string, clean: boolean): void {
    const connection = this.#connection
    if (connection === undefined) return
    this.#connection = undefined
    this.#reason = reason
    if (clean) this.shard.giveBack(connection)
    else connection.destroy(reason)
  }
}

class OwnSlot extends PassSlot {
  onOverdue: () => void = () => undefined

  override lost(count: number, reason: string): void {
    this.onOverdue()
    super.lost(count, reason)
  }
}
