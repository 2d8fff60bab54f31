import {
  elements,
  encodeArrayHeader,
  encodeBulk,
  encodeError,
  encodeInteger,
  encodeNull,
  encodePushHeader,
  type Protocol,
  type Reply,
  readReply,
} from '@outrider/resp'
import type { ClientConnection, Frame } from './client-connection.ts'
import type { ReplySink } from './reply-sink.ts'
import type { Shard } from './shard.ts'
import type { ShardConnection } from './shard-connection.ts'

const STAR = 0x2a
const MINUS = 0x2d
const GREATER = 0x3e

/** What is subscribed to; the letter that its commands begin with. */
type Kind = '' | 'p' | 's'

/** A client that is subscribed: all its channels are of one shard, and messages come on a connection of its own. */
export class Subscriber {
  readonly shard: Shard
  /** Channels, patterns, and channels of shards. */
  readonly counts: Readonly<Record<Kind, number>>
  readonly #counts: Record<Kind, number> = { '': 0, p: 0, s: 0 }
  readonly #client: ClientConnection
  readonly #onEnd: () => void
  /** Takes messages, confirmations and refusals. */
  readonly #messages: ReplySink
  #connection: ShardConnection | undefined
  /** Confirmations that have not come. */
  #confirming = 0
  #deadline: NodeJS.Timeout | undefined

  /** @param onEnd called when nothing is subscribed any more */
  constructor(client: ClientConnection, shard: Shard, onEnd: () => void) {
    this.#client = client
    this.shard = shard
    this.counts = this.#counts
    this.#onEnd = onEnd
    this.#messages = client.messages((bytes) => this.#take(bytes))
    const connection = shard.own(client.protocol, {
      onClose: (reason) => {
        if (this.#connection === connection) this.#lost(reason)
      },
      pushes: this.#messages,
      unasked: this.#messages,
      timeless: true,
    })
    if (!connection.closed) this.#connection = connection
  }

  /** Sends what changes the subscriptions; nothing else of the client is done before it is confirmed. */
  say({ args, bytes, start, end, now }: Frame, name: string): void {
    const [client, connection] = [this.#client, this.#connection]
    if (connection === undefined) {
      client.fail(this.shard.fault(this.shard.reason))
      this.leave('it could not be opened')
      return
    }
    // Without channels it ends all of its kind, and says so for each.
    const kind = kindIn(name)
    this.#confirming = args.argc > 1 ? args.argc - 1 : Math.max(1, this.#counts[kind])
    client.hold()
    const { timeoutMs } = this.shard.primary.limits
    const giveUp = (): void => connection.destroy(`no answer within ${timeoutMs} ms`)
    this.#deadline = setTimeout(giveUp, timeoutMs)
    this.shard.counts.requests += 1
    // Confirmations come among the messages, so no reply is awaited.
    connection.send(this.#messages, bytes, start, end, 0, now)
  }

  speak(protocol: Protocol): void {
    this.#connection?.speak(protocol)
  }

  leave(reason: string): void {
    const connection = this.#connection
    this.#connection = undefined
    clearTimeout(this.#deadline)
    connection?.destroy(reason)
    this.#onEnd()
  }

  #take(bytes: Buffer): void {
    const client = this.#client
    // After HELLO 2 the shard goes on in RESP3 for as long as it has not heard of it.
    if (client.protocol === 2 && bytes[0] === GREATER) bytes[0] = STAR
    client.message(bytes)
    if (bytes[0] === MINUS) this.#settle()
    else if (this.#confirm(bytes)) {
      this.#confirming -= 1
      if (this.#confirming <= 0) this.#settle()
    }
  }

  /** Takes what a confirmation says of the subscriptions that are left; false for a message. */
  #confirm(bytes: Buffer): boolean {
    const name = /^[*>]3\r\n\$\d+\r\n([ps]?(?:un)?subscribe)\r\n/.exec(bytes.toString('latin1', 0, 40))?.[1]
    if (name === undefined) return false
    const ranges = elements(bytes, 0, bytes.length)
    const [from, to] = [ranges?.[4], ranges?.[5]]
    const count: Reply | undefined =
      from === undefined || to === undefined ? undefined : readReply(bytes, from, to)
    const left = count?.type === 'integer' ? Number(count.value) : 0
    const kind = kindIn(name)
    // Channels and patterns are counted together, channels of shards apart.
    const others = kind === 's' ? 0 : this.#counts[kind === 'p' ? '' : 'p']
    this.#counts[kind] = left - others
    return true
  }

  #settle(): void {
    this.#confirming = 0
    clearTimeout(this.#deadline)
    const { '': channels, p, s } = this.#counts
    if (channels + p + s === 0) this.leave('nothing is subscribed')
    this.#client.release()
  }

  #lost(reason: string): void {
    const [client, fault] = [this.#client, this.shard.fault(reason)]
    const { '': channels, p, s } = this.#counts
    this.#connection = undefined
    if (channels + p + s > 0) {
      // It would wait for messages in vain.
      client.destroy(fault)
      return
    }
    client.fail(fault)
    this.#settle()
  }
}

/** Unsubscribing where nothing is subscribed is answered all the same. */
export function unsubscribed({ args, bytes, start }: Frame, name: string, protocol: Protocol): Buffer {
  const pieces: Buffer[] = []
  for (let at = 1; at < Math.max(2, args.argc); at += 1) {
    const channel =
      at < args.argc
        ? encodeBulk(bytes.subarray(start + args.argStart(at), start + args.argEnd(at)))
        : encodeNull(protocol)
    pieces.push(encodePushHeader(3, protocol), encodeBulk(name), channel, encodeInteger(0))
  }
  return Buffer.concat(pieces)
}

/** The answer to PING among messages of RESP2. */
export function pong({ args, bytes, start }: Frame): Buffer {
  if (args.argc > 2) return encodeError("ERR wrong number of arguments for 'ping' command")
  const text = args.argc < 2 ? '' : bytes.subarray(start + args.argStart(1), start + args.argEnd(1))
  return Buffer.concat([encodeArrayHeader(2), encodeBulk('pong'), encodeBulk(text)])
}

function kindIn(name: string): Kind {
  if (name.startsWith('p')) return 'p'
  return name.startsWith('ss') || name.startsWith('sun') ? 's' : ''
}
