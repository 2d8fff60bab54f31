import {
  elements,
  encodeCommand,
  encodeNull,
  encodeSimple,
  type Reply,
  ReplyScanner,
  readReply,
} from '@outrider/resp'
import { type ClientConnection, type ClientHost, type Frame, QUEUED } from './client-connection.ts'
import { arityFault, type Command, hasArity, unknownFault } from './command.ts'
import { KeyList, keysOf } from './command-keys.ts'
import {
  CROSSSLOT,
  FOREIGN_DATABASE,
  FOREIGN_EVENTS,
  FOREIGN_PATTERNS,
  isKeyspaceEvent,
} from './command-policy.ts'
import { NO_AUTH } from './command-table.ts'
import { NOBODY, type ReplySink } from './reply-sink.ts'
import type { Shard } from './shard.ts'
import type { ShardConnection } from './shard-connection.ts'
import { PassSlot, type SlotOwner } from './slot.ts'

/**
 * - `none`: the client shares its connections with others
 * - `watching`: it has a connection of its own since WATCH, to which the commands for that shard go
 * - `queueing`: between MULTI and EXEC
 * - `subscribed`: messages come on a connection of its own
 */
type Mode = 'none' | 'watching' | 'queueing' | 'subscribed'

const OK = encodeSimple('OK')
const MULTI = encodeCommand(['MULTI'])
const DISCARD = encodeCommand(['DISCARD'])
const QUEUED_MOST_BYTES = 64 * 1024 * 1024
const IN_SUBSCRIBED: ReadonlySet<string> = new Set([
  ...['subscribe', 'unsubscribe', 'psubscribe', 'punsubscribe', 'ssubscribe', 'sunsubscribe'],
  ...['ping', 'quit', 'reset'],
])

const IN_TRANSACTION: ReadonlySet<string> = new Set(['ping', 'echo', 'time'])

/** The connection to a shard that a client has for itself: for a transaction, for waiting, for messages. */
export class Pinned {
  readonly #client: ClientConnection
  readonly #host: ClientHost
  readonly #keys = new KeyList()
  #mode: Mode = 'none'
  #shard: Shard | undefined
  #connection: ShardConnection | undefined
  /** Whether something queued was refused, so that EXEC must fail. */
  #dirty = false
  /** Commands queued before the shard of the transaction is known. */
  #early: Buffer[] = []
  #earlyBytes = 0
  #queued = 0
  #subscriptions = 0

  constructor(client: ClientConnection, host: ClientHost) {
    this.#client = client
    this.#host = host
  }

  /** Whether commands have to come here before they go anywhere. */
  get active(): boolean {
    return this.#mode !== 'none'
  }

  /** Whether it waits for a key, as BLPOP does. */
  get waits(): boolean {
    return this.#mode === 'none' && this.#connection !== undefined
  }

  get subscriptions(): number {
    return this.#subscriptions
  }

  /** Commands since MULTI, or -1. */
  get queued(): number {
    return this.#mode === 'queueing' ? this.#queued : -1
  }

  /** The keys are placed anew: what it relies on may be elsewhere. */
  onPlacement(): void {
    if (this.#mode === 'none') return
    if (this.#mode === 'subscribed') this.#client.destroy('the channels are placed anew: subscribe again')
    else this.#dirty = true
  }

  /** @param clean whether its connection can serve another client */
  leave(reason: string, clean = false): void {
    this.#mode = 'none'
    this.#dirty = false
    this.#early = []
    this.#earlyBytes = 0
    this.#queued = 0
    this.#subscriptions = 0
    this.#confirming = 0
    const [connection, shard] = [this.#connection, this.#shard]
    this.#connection = undefined
    this.#shard = undefined
    if (connection === undefined) return
    if (clean) shard?.giveBack(connection)
    else connection.destroy(reason)
  }

  /** False when it has to wait for the replies to the commands before it. */
  handle(frame: Frame, command: Command | undefined): boolean {
    if (this.#mode === 'queueing') return this.#queue(frame, command)
    if (this.#mode === 'subscribed') return this.#whileSubscribed(frame, command)
    const client = this.#client
    if (command === undefined) {
      client.fail(unknownFault(frame.args, frame.bytes, frame.start))
      return true
    }
    if (client.user === undefined && (command.flags & NO_AUTH) === 0) {
      client.fail('NOAUTH Authentication required.')
      return true
    }
    const { policy } = command
    if (policy.kind !== 'pinned') return this.#whileWatching(frame, command)
    if (!hasArity(command, frame.args.argc)) {
      client.fail(arityFault(command))
      return true
    }
    switch (policy.to) {
      case 'transaction':
        return this.#transact(frame, command)
      case 'keys':
        return this.#wait(frame, command)
      case 'pubsub':
      case 'channels':
        return this.#subscribe(frame, command)
      case 'every-shard':
        client.fail('ERR MONITOR is not served yet; send it to each shard itself')
        return true
    }
  }

  // --- transactions

  #transact(frame: Frame, command: Command): boolean {
    const client = this.#client
    switch (command.name) {
      case 'multi':
        if (client.busyBefore) return false
        this.#mode = 'queueing'
        client.answer(OK)
        return true
      case 'exec':
      case 'discard':
        client.fail(`ERR ${command.title} without MULTI`)
        return true
      case 'unwatch':
        if (client.busyBefore) return false
        this.leave('UNWATCH')
        client.answer(OK)
        return true
      default:
        return this.#watch(frame, command)
    }
  }

  #watch(frame: Frame, command: Command): boolean {
    const client = this.#client
    if (client.busyBefore) return false
    const shard = this.#shardOf(frame, command)
    if (shard === undefined) return true
    if (this.#shard !== undefined && shard !== this.#shard) {
      client.fail(CROSSSLOT)
      return true
    }
    this.#acquire(shard)
    this.#mode = 'watching'
    this.#pass(frame, shard)
    return true
  }

  /** What goes to the watched shard follows the WATCH on its connection, or it could overtake it. */
  #whileWatching(frame: Frame, command: Command): boolean {
    const client = this.#client
    if (command.name === 'reset') {
      if (client.busyBefore) return false
      this.leave(command.title)
      return client.dispatch(frame, command)
    }
    if (!client.busyBefore) this.#elsewhere = false
    if (command.policy.kind === 'route' && !this.#elsewhere) {
      const count = keysOf(command, frame.args, frame.bytes, frame.start, this.#keys)
      if (count > 0 && this.#keys.reach === 'keys') {
        const shard = this.#host.topology.shardOf(frame, this.#keys)
        if (shard === this.#shard && shard !== undefined) {
          this.#pass(frame, shard)
          return true
        }
      }
    }
    // Another connection: neither may overtake the other.
    if (client.busyBefore) return false
    this.#elsewhere = true
    return client.dispatch(frame, command)
  }

  /** Whether replies may be awaited of other connections while it watches. */
  #elsewhere = false

  #queue(frame: Frame, command: Command | undefined): boolean {
    const client = this.#client
    if (command === undefined) return this.#refuse(unknownFault(frame.args, frame.bytes, frame.start))
    if (!hasArity(command, frame.args.argc)) {
      if (command.name !== 'exec') return this.#refuse(arityFault(command))
      // Redis gives up a transaction whose EXEC it refuses.
      if (client.busyBefore) return false
      this.leave('EXEC was refused')
      client.fail(arityFault(command))
      return true
    }
    switch (command.name) {
      case 'exec':
        return this.#exec()
      case 'discard':
        // The replies to what was queued come on the connection that is given up.
        if (client.busyBefore) return false
        this.#connection?.send(NOBODY, DISCARD, 0, DISCARD.length, 1, frame.now)
        this.leave('DISCARD')
        client.answer(OK)
        return true
      case 'multi':
        // As in Redis, the transaction goes on behind these two.
        client.fail('ERR MULTI calls can not be nested')
        return true
      case 'watch':
        client.fail('ERR WATCH inside MULTI is not allowed')
        return true
      case 'unwatch':
        return this.#hold(frame)
      case 'quit':
      case 'reset':
        if (client.busyBefore) return false
        this.leave(command.title)
        return client.dispatch(frame, command)
    }
    const { policy } = command
    if (policy.kind === 'refuse') return this.#refuse(policy.error)
    const count = keysOf(command, frame.args, frame.bytes, frame.start, this.#keys)
    if (count < 0) return this.#refuse(this.#keys.fault)
    if (policy.kind === 'pinned' && policy.to !== 'keys')
      return this.#refuse(`ERR ${command.title} is not allowed in transactions`)
    // At the shard these would change the connection, which goes on to serve others, or tell of it.
    if (policy.kind === 'local' && !IN_TRANSACTION.has(command.name))
      return this.#refuse(`ERR ${command.title} is not allowed in transactions`)
    const { isSingle } = this.#host.topology
    if (policy.kind === 'keyless' && policy.rule === 'pubsub' && !isSingle)
      return this.#refuse(
        `ERR ${command.title} goes to the shard of all channels, a transaction to that of its keys; send it outside of MULTI`,
      )
    if (policy.kind === 'fan-out' && !isSingle)
      return this.#refuse(
        `ERR ${command.title} asks every shard, a transaction has one; send it outside of MULTI`,
      )
    if (this.#keys.reach === 'database') return this.#refuse(FOREIGN_DATABASE)
    if (this.#keys.reach === 'patterns' && !isSingle) return this.#refuse(FOREIGN_PATTERNS)
    if (count === 0 && policy.kind === 'route' && !isSingle) return this.#refuse(policy.withoutKeys)
    if (count === 0) return this.#hold(frame)
    const shard = this.#host.topology.shardOf(frame, this.#keys)
    if (shard === undefined || (this.#shard !== undefined && shard !== this.#shard))
      return this.#refuse(CROSSSLOT)
    if (this.#shard === undefined) this.#acquire(shard)
    this.#begin(shard, frame.now)
    this.#queued += 1
    this.#pass(frame, shard)
    return true
  }

  /** Where the transaction goes is known: what was queued before goes first. */
  #begin(shard: Shard, now: number): void {
    const connection = this.#connection
    if (connection === undefined || this.#begun) return
    this.#begun = true
    shard.counts.requests += 1
    connection.send(NOBODY, MULTI, 0, MULTI.length, 1, now)
    for (const bytes of this.#early) connection.send(NOBODY, bytes, 0, bytes.length, 1, now)
    this.#early = []
    this.#earlyBytes = 0
  }

  #begun = false

  /** Queues what has no key: on its connection, or here until there is one. */
  #hold(frame: Frame): boolean {
    this.#queued += 1
    const { bytes, start, end } = frame
    if (this.#shard !== undefined && this.#begun) {
      this.#pass(frame, this.#shard)
      return true
    }
    this.#earlyBytes += end - start
    if (this.#earlyBytes > QUEUED_MOST_BYTES) return this.#refuse('ERR the transaction is too large')
    this.#early.push(Buffer.from(bytes.subarray(start, end)))
    this.#client.answer(QUEUED)
    return true
  }

  #refuse(fault: string): boolean {
    this.#dirty = true
    this.#client.fail(fault)
    return true
  }

  #exec(): boolean {
    const client = this.#client
    // Its own replies pass through the connection that is about to be given up.
    if (client.busyBefore) return false
    const now = performance.now()
    if (this.#dirty) {
      this.leave('the transaction was refused')
      client.fail('EXECABORT Transaction discarded because of previous errors.')
      return true
    }
    const shard = this.#shard ?? this.#host.topology.shards[0]
    if (shard === undefined) return true
    if (this.#shard === undefined) this.#acquire(shard)
    this.#begin(shard, now)
    const exec = encodeCommand(['EXEC'])
    this.#passBytes(exec, shard, now, () => this.leave('EXEC', true))
    // What follows is no part of the transaction, and may be for another shard.
    if (client.busyBefore) client.holdUntilAnswered()
    return true
  }

  // --- waiting

  /** A command that may wait for a key has a connection of its own; the client itself waits as it would at Redis. */
  #wait(frame: Frame, command: Command): boolean {
    const client = this.#client
    const count = keysOf(command, frame.args, frame.bytes, frame.start, this.#keys)
    if (count < 0) {
      client.fail(this.#keys.fault)
      return true
    }
    const shard = this.#host.topology.shardOf(frame, this.#keys)
    if (shard === undefined) {
      client.fail(CROSSSLOT)
      return true
    }
    if (!this.#keys.blocks && this.#mode === 'none') {
      client.forward(frame, shard, command)
      return true
    }
    if (client.busyBefore) return false
    if (this.#mode === 'watching') {
      if (shard !== this.#shard) client.fail(CROSSSLOT)
      else this.#pass(frame, shard)
      return true
    }
    this.#acquire(shard, true)
    const { bytes, start, end, now } = frame
    this.#passBytes(Buffer.from(bytes.subarray(start, end)), shard, now, () => this.leave('answered', true))
    client.holdUntilAnswered()
    return true
  }

  // --- messages

  #subscribe(frame: Frame, command: Command): boolean {
    const client = this.#client
    const { args, bytes, start } = frame
    const { topology } = this.#host
    if (command.name.endsWith('unsubscribe')) {
      client.answer(this.#unsubscribed(frame, command))
      return true
    }
    let shard: Shard | undefined = topology.pubsub
    if (command.name === 'ssubscribe') {
      shard = this.#shardOf(frame, command)
      if (shard === undefined) return true
    } else if (!topology.isSingle) {
      for (let at = 1; at < args.argc; at += 1) {
        if (!isKeyspaceEvent(bytes, start + args.argStart(at), start + args.argEnd(at))) continue
        client.fail(FOREIGN_EVENTS)
        return true
      }
    }
    if (shard === undefined) return true
    if (this.#mode === 'subscribed' && shard !== this.#shard) {
      client.fail(CROSSSLOT)
      return true
    }
    if (this.#mode !== 'subscribed') {
      if (client.busyBefore) return false
      if (this.#mode === 'watching') this.leave('it subscribes')
      this.#acquire(shard, true)
      this.#mode = 'subscribed'
    }
    this.#say(frame, true)
    return true
  }

  #whileSubscribed(frame: Frame, command: Command | undefined): boolean {
    const client = this.#client
    if (command === undefined) {
      client.fail(unknownFault(frame.args, frame.bytes, frame.start))
      return true
    }
    if (!hasArity(command, frame.args.argc)) {
      client.fail(arityFault(command))
      return true
    }
    if (!IN_SUBSCRIBED.has(command.name)) {
      // RESP3 tells messages from replies, so that commands may go on, but for those that need the connection, too.
      if (client.protocol === 2)
        client.fail(
          `ERR Can't execute '${command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`,
        )
      else if (command.policy.kind === 'pinned')
        client.fail(`ERR ${command.title} is refused while subscribed; use another connection`)
      else return client.dispatch(frame, command)
      return true
    }
    if (command.name === 'quit' || command.name === 'reset') {
      this.leave(command.title)
      return client.dispatch(frame, command)
    }
    if (command.name === 'ping' && client.protocol === 3) return client.dispatch(frame, command)
    if (command.name === 'ping' || command.name.endsWith('unsubscribe'))
      this.#say(frame, command.name !== 'ping')
    else return this.#subscribe(frame, command)
    return true
  }

  /** Unsubscribing where nothing is subscribed is answered all the same. */
  #unsubscribed({ args, bytes, start }: Frame, { name }: Command): Buffer {
    const { protocol } = this.#client
    const mark = protocol === 3 ? '>' : '*'
    const pieces: Buffer[] = []
    const channels = Math.max(1, args.argc - 1)
    for (let at = 1; at <= channels; at += 1) {
      pieces.push(Buffer.from(`${mark}3\r\n$${name.length}\r\n${name}\r\n`))
      if (at >= args.argc) pieces.push(encodeNull(protocol))
      else {
        const channel = bytes.subarray(start + args.argStart(at), start + args.argEnd(at))
        pieces.push(Buffer.from(`$${channel.length}\r\n`), Buffer.from(channel), Buffer.from('\r\n'))
      }
      pieces.push(Buffer.from(':0\r\n'))
    }
    return Buffer.concat(pieces)
  }

  #say({ args, bytes, start, end, now }: Frame, confirmed: boolean): void {
    if (confirmed) {
      // They come among the messages, and whatever is said next must come behind them.
      this.#confirming += Math.max(1, args.argc - 1)
      this.#client.hold()
    }
    this.#connection?.send(this.#messages, bytes, start, end, 1, now)
  }

  /** Confirmations that have not come. */
  #confirming = 0

  #held: Buffer[] = []

  /** All that comes on the connection of a subscriber; in RESP2 messages are replies like others. */
  readonly #messages: ReplySink = {
    reply: (bytes, start, end, ended) => {
      this.#held.push(Buffer.from(bytes.subarray(start, end)))
      if (ended === 0) return
      const whole = Buffer.concat(this.#held)
      this.#held = []
      const scanner = new ReplyScanner()
      // Several may have come at once, and each may be what is waited for.
      for (let at = 0; at < whole.length; ) {
        const next = scanner.scan(whole, at, whole.length)
        if (next < 0) return
        this.#message(whole.subarray(at, next))
        at = next
      }
    },
    lost: () => undefined,
  }

  #message(bytes: Buffer): void {
    this.#client.message(bytes)
    const left = subscriptionsIn(bytes)
    if (left === undefined) return
    this.#subscriptions = left
    this.#confirming -= 1
    if (this.#confirming > 0) return
    if (left === 0 && this.#mode === 'subscribed') this.leave('nothing is subscribed')
    this.#client.release()
  }

  // --- the connection

  #acquire(shard: Shard, free = false): void {
    if (this.#connection !== undefined && this.#shard === shard) return
    this.#shard = shard
    this.#begun = false
    const connection = shard.own(this.#client.protocol, {
      onClose: (reason) => this.#lost(connection, reason),
      onPush: (bytes) => this.#message(bytes),
      timeless: free,
      // Messages of RESP2 come without a command.
      unasked: this.#messages,
    })
    this.#connection = connection
  }

  #lost(connection: ShardConnection, reason: string): void {
    if (this.#connection !== connection) return
    const shard = this.#shard
    const mode = this.#mode
    this.#connection = undefined
    // Whoever waits for messages, or has watched keys, would wait in vain.
    if (mode === 'subscribed' || mode === 'watching') this.#client.destroy(shard?.fault(reason) ?? reason)
    else if (mode === 'queueing') {
      this.#dirty = true
      this.#shard = undefined
    } else this.leave(reason)
  }

  #pass(frame: Frame, shard: Shard): void {
    const { bytes, start, end, now } = frame
    this.#passBytes(Buffer.from(bytes.subarray(start, end)), shard, now)
  }

  #passBytes(bytes: Buffer, shard: Shard, now: number, then?: () => void): void {
    const client = this.#client
    const connection = this.#connection
    if (connection === undefined || connection.closed) {
      this.#dirty = true
      client.fail(shard.fault(shard.reason))
      then?.()
      return
    }
    const slot = new PassSlot(client.replies === 'on' ? client : this.#muted, shard, connection, then)
    if (client.replies === 'skip') client.replies = 'on'
    client.append(slot)
    slot.count = 1
    shard.counts.requests += 1
    connection.send(slot, bytes, 0, bytes.length, 1, now)
  }

  /** For replies that the client does not want: they have their turn, but are not written. */
  readonly #muted: SlotOwner = {
    write: () => undefined,
    writeOwn: () => undefined,
    held: () => undefined,
    breakOff: (reason) => this.#client.breakOff(reason),
    advance: () => this.#client.advance(),
  }

  #shardOf(frame: Frame, command: Command): Shard | undefined {
    const count = keysOf(command, frame.args, frame.bytes, frame.start, this.#keys)
    if (count < 0) {
      this.#client.fail(this.#keys.fault)
      return undefined
    }
    const shard = this.#host.topology.shardOf(frame, this.#keys)
    if (shard === undefined) this.#client.fail(CROSSSLOT)
    return shard
  }
}

/** How many subscriptions a confirmation leaves; undefined where it is a message. */
function subscriptionsIn(bytes: Buffer): number | undefined {
  const name = /^[*>]3\r\n\$\d+\r\n([ps]?(?:un)?subscribe)\r\n/.exec(bytes.toString('latin1', 0, 40))
  if (name === null) return undefined
  const ranges = elements(bytes, 0, bytes.length)
  const [from, to] = [ranges?.[4], ranges?.[5]]
  const count: Reply | undefined =
    from === undefined || to === undefined ? undefined : readReply(bytes, from, to)
  return count?.type === 'integer' ? Number(count.value) : undefined
}
