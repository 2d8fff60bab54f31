import { encodeSimple } from '@outrider/resp'
import type { ClientConnection, ClientHost, Frame } from './client-connection.ts'
import { arityFault, type Command, hasArity, unknownFault } from './command.ts'
import { KeyList, keysOf } from './command-keys.ts'
import { CROSSSLOT, FOREIGN_EVENTS, isKeyspaceEvent, type Pin } from './command-policy.ts'
import { NO_AUTH } from './command-table.ts'
import { Monitor } from './monitor.ts'
import { OwnConnection } from './own-connection.ts'
import type { Shard } from './shard.ts'
import { pong, Subscriber, unsubscribed } from './subscriber.ts'
import { Transaction } from './transaction.ts'

const OK = encodeSimple('OK')
const IN_SUBSCRIBED: ReadonlySet<string> = new Set([
  ...['subscribe', 'unsubscribe', 'psubscribe', 'punsubscribe', 'ssubscribe', 'sunsubscribe'],
  ...['ping', 'quit', 'reset'],
])

/** A command that waits for one of its keys, as BLPOP does. */
interface Waiting {
  readonly own: OwnConnection
  readonly keys: readonly Buffer[]
}

/** What a client has connections to shards of its own for: a transaction, waiting for a key, messages, monitoring. */
export class Pinned {
  readonly #client: ClientConnection
  readonly #host: ClientHost
  readonly #keys = new KeyList()
  #transaction: Transaction | undefined
  #waiting: Waiting | undefined
  #subscriber: Subscriber | undefined
  #monitor: Monitor | undefined

  constructor(client: ClientConnection, host: ClientHost) {
    this.#client = client
    this.#host = host
  }

  /** Whether commands have to come here before they go anywhere. */
  get active(): boolean {
    return this.#transaction !== undefined || this.#subscriber !== undefined || this.#monitor !== undefined
  }

  /** Whether it waits for a key. */
  get waits(): boolean {
    return this.#waiting !== undefined
  }

  get subscriptions(): Subscriber['counts'] {
    return this.#subscriber?.counts ?? NO_SUBSCRIPTIONS
  }

  /** Commands since MULTI, or -1. */
  get queued(): number {
    return this.#transaction?.queued ?? -1
  }

  get monitors(): boolean {
    return this.#monitor !== undefined
  }

  /** The keys are placed anew: what it relies on may be elsewhere. */
  onPlacement(): void {
    const { topology } = this.#host
    const [subscriber, waiting] = [this.#subscriber, this.#waiting]
    this.#transaction?.onPlacement()
    if (subscriber !== undefined && (subscriber.counts.s > 0 || subscriber.shard !== topology.pubsub))
      this.#client.destroy('the channels are placed anew: subscribe again')
    else if (this.#monitor?.sees(topology.all) === false)
      this.#client.destroy('there are other shards: ask MONITOR again')
    else if (waiting?.keys.some((key) => topology.homeOf(key, 0, key.length) !== waiting.own.shard))
      waiting.own.leave('its keys are placed anew: ask again', false)
  }

  leave(reason: string): void {
    this.#transaction?.end(reason)
    this.#waiting?.own.leave(reason, false)
    this.#waiting = undefined
    this.#subscriber?.leave(reason)
    this.#monitor?.leave(reason)
  }

  /** False when it has to wait for the replies to the commands before it. */
  handle(frame: Frame, command: Command | undefined): boolean {
    const client = this.#client
    const transaction = this.#transaction
    const isLast = isEnd(frame, command)
    if (transaction?.queueing && !isLast) return transaction.queue(frame, command)
    const fault = this.#faultOf(frame, command)
    if (command === undefined || fault !== '') {
      client.fail(fault)
      return true
    }
    const { policy } = command
    if (isLast) {
      if (client.busyBefore) return false
      this.leave(command.title)
      return client.dispatch(frame, command)
    }
    if (command.name === 'hello') return this.#hello(frame, command)
    if (command.name === 'ping' && this.#subscriber !== undefined && client.protocol === 2) {
      client.answer(pong(frame))
      return true
    }
    if (policy.kind === 'pinned') return this.#handlePinned(frame, command, policy.to)
    if (transaction === undefined) return client.dispatch(frame, command)
    const count = policy.kind === 'route' ? this.#count(frame, command) : 0
    const shard =
      count > 0 && this.#keys.reach === 'keys' ? this.#host.topology.shardOf(frame, this.#keys) : undefined
    return transaction.route(frame, shard, () => client.dispatch(frame, command))
  }

  /** Why a command is refused, whatever it would do; '' where it is not. */
  #faultOf({ args, bytes, start }: Frame, command: Command | undefined): string {
    const client = this.#client
    if (command === undefined) return unknownFault(args, bytes, start)
    if (!hasArity(command, args.argc)) return arityFault(command)
    if (client.user === undefined && (command.flags & NO_AUTH) === 0) return 'NOAUTH Authentication required.'
    const { name, title, policy } = command
    // Messages of RESP2 look like replies.
    if (this.#subscriber !== undefined && client.protocol === 2 && !IN_SUBSCRIBED.has(name))
      return `${name === 'exec' ? 'EXECABORT Transaction discarded because of:' : 'ERR'} Can't execute '${name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`
    if (this.#monitor !== undefined && policy.kind !== 'local' && name !== 'monitor')
      return `ERR ${title} is refused while monitoring; use another connection, or RESET`
    return ''
  }

  #handlePinned(frame: Frame, command: Command, to: Pin): boolean {
    switch (to) {
      case 'transaction':
        return this.#transact(frame, command)
      case 'keys':
        return this.#wait(frame, command)
      case 'pubsub':
      case 'channels':
        return this.#subscribe(frame, command)
      case 'every-shard':
        return this.#watchAll(frame)
    }
  }

  /** Connections of its own follow, or the client would get what it does not speak. */
  #hello(frame: Frame, command: Command): boolean {
    const client = this.#client
    if (!client.dispatch(frame, command)) return false
    this.#transaction?.speak(client.protocol)
    this.#subscriber?.speak(client.protocol)
    return true
  }

  // --- transactions

  #transact(frame: Frame, command: Command): boolean {
    const client = this.#client
    const transaction = this.#transaction
    switch (command.name) {
      case 'exec':
      case 'discard':
        client.fail(`ERR ${command.title} without MULTI`)
        return true
      case 'unwatch':
        if (transaction === undefined) client.answer(OK)
        else transaction.unwatch(frame.now)
        return true
      case 'multi':
        if (client.busyBefore) return false
        this.#begin().multi()
        return true
      default: {
        if (client.busyBefore) return false
        const shard = this.#shardOf(frame, command)
        if (shard === undefined) return true
        if (transaction?.own !== undefined && shard !== transaction.own.shard) client.fail(CROSSSLOT)
        else this.#begin().watch(frame, shard)
        return true
      }
    }
  }

  #begin(): Transaction {
    const begun: Transaction = new Transaction(this.#client, this.#host, () => {
      if (this.#transaction === begun) this.#transaction = undefined
    })
    this.#transaction ??= begun
    return this.#transaction
  }

  // --- waiting

  /** A command that may wait for a key has a connection of its own; the client itself waits as it would at Redis. */
  #wait(frame: Frame, command: Command): boolean {
    const client = this.#client
    const transaction = this.#transaction
    const shard = this.#shardOf(frame, command)
    if (shard === undefined) return true
    if (!this.#keys.blocks) {
      const forward = (): boolean => {
        client.forward(frame, shard, command)
        return true
      }
      return transaction === undefined ? forward() : transaction.route(frame, shard, forward)
    }
    if (client.busyBefore) return false
    const { bytes, start, end, args, now } = frame
    const keys = Array.from(this.#keys.positions.subarray(0, this.#keys.count), (position) =>
      Buffer.from(bytes.subarray(start + args.argStart(position), start + args.argEnd(position))),
    )
    const isWatched = transaction?.own?.shard === shard
    const own = isWatched ? transaction.own : this.#open(shard)
    own.timeless = true
    this.#waiting = { own, keys }
    own.pass(bytes, start, end, now, () => {
      own.timeless = false
      this.#waiting = undefined
      if (!isWatched) own.leave('answered', true)
    })
    client.holdUntilAnswered()
    return true
  }

  /** Its replies, or an error in their place, are all that has to be told. */
  #open(shard: Shard): OwnConnection {
    return new OwnConnection(this.#client, shard, { onLost: () => undefined, onOverdue: () => undefined })
  }

  // --- messages

  #subscribe(frame: Frame, command: Command): boolean {
    const client = this.#client
    const { name } = command
    if (client.busyBefore) return false
    // Redis confirms also to those who want no replies.
    if (client.replies === 'skip') client.replies = 'on'
    if (name.endsWith('unsubscribe')) {
      if (this.#subscriber !== undefined) this.#subscriber.say(frame, name)
      else client.message(unsubscribed(frame, name, client.protocol))
      return true
    }
    const shard = name === 'ssubscribe' ? this.#shardOf(frame, command) : this.#shardOfMessages(frame)
    if (shard === undefined) return true
    if (this.#subscriber !== undefined && shard !== this.#subscriber.shard) {
      client.fail(CROSSSLOT)
      return true
    }
    this.#subscriber ??= this.#join(shard)
    this.#subscriber.say(frame, name)
    return true
  }

  #join(shard: Shard): Subscriber {
    const joined: Subscriber = new Subscriber(this.#client, shard, () => {
      if (this.#subscriber === joined) this.#subscriber = undefined
    })
    return joined
  }

  /** Undefined, and said so, where a channel is one of events that every shard tells for itself. */
  #shardOfMessages({ args, bytes, start }: Frame): Shard | undefined {
    const { topology } = this.#host
    if (topology.isSingle) return topology.pubsub
    for (let at = 1; at < args.argc; at += 1) {
      if (!isKeyspaceEvent(bytes, start + args.argStart(at), start + args.argEnd(at))) continue
      this.#client.fail(FOREIGN_EVENTS)
      return undefined
    }
    return topology.pubsub
  }

  #watchAll({ now }: Frame): boolean {
    // As at Redis, one that monitors already is not answered.
    if (this.#monitor !== undefined) return true
    if (this.#client.busyBefore) return false
    const monitor = new Monitor(this.#client, this.#host.topology.all, () => {
      this.#monitor = undefined
    })
    this.#monitor = monitor
    monitor.start(now)
    return true
  }

  // --- keys

  #count({ args, bytes, start }: Frame, command: Command): number {
    return keysOf(command, args, bytes, start, this.#keys)
  }

  /** The shard of a command's keys; undefined, and said so, where there is none. */
  #shardOf(frame: Frame, command: Command): Shard | undefined {
    const count = this.#count(frame, command)
    const shard = count < 0 ? undefined : this.#host.topology.shardOf(frame, this.#keys)
    if (shard === undefined) this.#client.fail(count < 0 ? this.#keys.fault : CROSSSLOT)
    return shard
  }
}

/** Whether a command ends all that the client has begun. */
function isEnd({ args }: Frame, command: Command | undefined): boolean {
  return (command?.name === 'reset' || command?.name === 'quit') && hasArity(command, args.argc)
}

const NO_SUBSCRIPTIONS: Subscriber['counts'] = { '': 0, p: 0, s: 0 }
