import { encodeCommand, encodeNullArray, encodeSimple, type Protocol } from '@outrider/resp'
import { Backlog } from './backlog.ts'
import { type ClientConnection, type ClientHost, type Frame, QUEUED } from './client-connection.ts'
import { arityFault, type Command, hasArity, unknownFault } from './command.ts'
import { KeyList, keysOf } from './command-keys.ts'
import { CROSSSLOT, FOREIGN_DATABASE, FOREIGN_PATTERNS } from './command-policy.ts'
import { OwnConnection } from './own-connection.ts'
import type { Shard } from './shard.ts'

const OK = encodeSimple('OK')
const MULTI = encodeCommand(['MULTI'])
const EXEC = encodeCommand(['EXEC'])
const DISCARD = encodeCommand(['DISCARD'])
const UNWATCH = encodeCommand(['UNWATCH'])
const EARLY_MOST_BYTES = 64 * 1024 * 1024
/** Of those that the ambassador answers, the ones that a shard answers in the same way. */
const LOCAL_QUEUED: ReadonlySet<string> = new Set(['ping', 'echo', 'time'])

/** What a client has begun by WATCH or MULTI, on a connection of its own to the one shard that it belongs to. */
export class Transaction {
  readonly #client: ClientConnection
  readonly #host: ClientHost
  readonly #onEnd: () => void
  readonly #keys = new KeyList()
  #own: OwnConnection | undefined
  /** Whether MULTI was said, so that commands are queued. */
  #queueing = false
  /** Whether something queued was refused or is not known to be queued, so that EXEC must fail. */
  #dirty = false
  /** Whether keys were placed anew since it has begun. */
  #stale = false
  #watches = false
  /** Commands queued before the shard of the transaction is known. */
  readonly #early = new Backlog()
  /** Where each of them ends. */
  #earlyEnds: number[] = []
  /** Whether the shard was told of MULTI. */
  #begun = false
  #queued = 0
  /** Whether replies may be awaited of other connections while it watches. */
  #elsewhere = false

  /** @param onEnd called when the client shares its connections again */
  constructor(client: ClientConnection, host: ClientHost, onEnd: () => void) {
    this.#client = client
    this.#host = host
    this.#onEnd = onEnd
  }

  get queueing(): boolean {
    return this.#queueing
  }

  /** Commands since MULTI, or -1. */
  get queued(): number {
    return this.#queueing ? this.#queued : -1
  }

  /** Its connection, once the shard is known. */
  get own(): OwnConnection | undefined {
    return this.#own
  }

  speak(protocol: Protocol): void {
    this.#own?.speak(protocol)
  }

  /** The keys are placed anew: what it watches or has queued may be elsewhere. */
  onPlacement(): void {
    this.#stale = true
  }

  /** @param clean whether its connection can serve another client */
  end(reason: string, clean = false): void {
    this.#own?.leave(reason, clean)
    this.#own = undefined
    this.#onEnd()
  }

  // --- watching

  watch({ bytes, start, end, now }: Frame, shard: Shard): void {
    this.#watches = true
    this.#acquire(shard).pass(bytes, start, end, now)
  }

  unwatch(now: number): void {
    this.#leaveWith(UNWATCH, now)
  }

  /**
   * What goes to the watched shard follows the WATCH on its connection, or it could overtake it. False when it has to
   * wait for the replies to the commands before it.
   * @param shard of its keys, if it has any
   */
  route({ bytes, start, end, now }: Frame, shard: Shard | undefined, elsewhere: () => boolean): boolean {
    const [own, { busyBefore }] = [this.#own, this.#client]
    if (!busyBefore) this.#elsewhere = false
    if (own !== undefined && own.shard === shard && !this.#elsewhere) {
      own.pass(bytes, start, end, now)
      return true
    }
    // Another connection: neither may overtake the other.
    if (busyBefore) return false
    this.#elsewhere = true
    return elsewhere()
  }

  // --- queueing

  multi(): void {
    this.#queueing = true
    this.#client.answer(OK)
  }

  /** False when it has to wait for the replies to the commands before it. */
  queue(frame: Frame, command: Command | undefined): boolean {
    const client = this.#client
    if (command === undefined) return this.#refuse(unknownFault(frame.args, frame.bytes, frame.start))
    if (!hasArity(command, frame.args.argc)) {
      if (command.name !== 'exec') return this.#refuse(arityFault(command))
      // Redis gives up a transaction whose EXEC it refuses.
      if (client.busyBefore) return false
      this.end('EXEC was refused')
      client.fail(arityFault(command))
      return true
    }
    switch (command.name) {
      case 'exec':
        return this.#exec(frame.now)
      case 'discard':
        // The replies to what was queued come on the connection that is given up.
        if (client.busyBefore) return false
        this.#leaveWith(this.#begun ? DISCARD : UNWATCH, frame.now)
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
    }
    const fault = this.#faultOf(frame, command)
    if (fault !== '') return this.#refuse(fault)
    if (this.#keys.count === 0) return this.#hold(frame)
    const shard = this.#host.topology.shardOf(frame, this.#keys)
    if (shard === undefined || (this.#own !== undefined && shard !== this.#own.shard))
      return this.#refuse(CROSSSLOT)
    const own = this.#acquire(shard)
    this.#begin(own, frame.now)
    this.#pass(own, frame)
    return true
  }

  /** Why a command cannot be part of a transaction; '' where it can. */
  #faultOf({ args, bytes, start }: Frame, command: Command): string {
    const { policy, title } = command
    if (policy.kind === 'refuse') return policy.error
    const count = keysOf(command, args, bytes, start, this.#keys)
    if (count < 0) return this.#keys.fault
    if (policy.kind === 'pinned' && policy.to !== 'keys') return `ERR ${title} is not allowed in transactions`
    // At the shard these would change the connection, which goes on to serve others, or tell of it.
    if (policy.kind === 'local' && !LOCAL_QUEUED.has(command.name))
      return `ERR ${title} is not allowed in transactions`
    if (this.#keys.reach === 'database') return FOREIGN_DATABASE
    if (this.#host.topology.isSingle) return ''
    if (policy.kind === 'keyless' && policy.rule === 'pubsub')
      return `ERR ${title} goes to the shard of all channels, a transaction to that of its keys; send it outside of MULTI`
    if (policy.kind === 'fan-out')
      return `ERR ${title} asks every shard, a transaction has one; send it outside of MULTI`
    if (this.#keys.reach === 'patterns') return FOREIGN_PATTERNS
    return count === 0 && policy.kind === 'route' ? policy.withoutKeys : ''
  }

  /** Where the transaction goes is known: what was queued before goes first. */
  #begin(own: OwnConnection, now: number): void {
    if (this.#begun) return
    this.#begun = true
    own.tell(MULTI, now)
    let at = 0
    for (const end of this.#earlyEnds) {
      own.tell(this.#early.bytes.subarray(at, end), now)
      at = end
    }
    this.#early.clear()
    this.#earlyEnds = []
  }

  /** Queues what has no key: on its connection, or here until there is one. */
  #hold(frame: Frame): boolean {
    if (this.#own !== undefined && this.#begun) {
      this.#pass(this.#own, frame)
      return true
    }
    const { bytes, start, end } = frame
    if (this.#early.length + end - start > EARLY_MOST_BYTES)
      return this.#refuse('ERR the transaction is too large')
    this.#early.add(bytes.subarray(start, end), -1)
    this.#earlyEnds.push(this.#early.length)
    this.#queued += 1
    this.#client.answer(QUEUED)
    return true
  }

  #pass(own: OwnConnection, { bytes, start, end, now }: Frame): void {
    this.#queued += 1
    own.pass(bytes, start, end, now)
  }

  #refuse(fault: string): boolean {
    this.#dirty = true
    this.#client.fail(fault)
    return true
  }

  #exec(now: number): boolean {
    const client = this.#client
    // Its own replies pass through the connection that is about to be given up.
    if (client.busyBefore) return false
    if (this.#dirty || this.#stale) {
      const isRetried = this.#watches && !this.#dirty
      this.end('the transaction was refused')
      // Whoever watches knows what to do when keys have changed: all of it again.
      if (isRetried) client.answer(encodeNullArray(client.protocol))
      else client.fail('EXECABORT Transaction discarded because of previous errors.')
      return true
    }
    const { shards } = this.#host.topology
    const shard = this.#own?.shard ?? shards.find(({ up }) => up) ?? shards[0]
    if (shard === undefined) return true
    const own = this.#acquire(shard)
    this.#begin(own, now)
    this.#passLast(own, EXEC, now)
    return true
  }

  // --- the connection

  #acquire(shard: Shard): OwnConnection {
    this.#own ??= new OwnConnection(this.#client, shard, {
      onLost: (reason, reached) => this.#lost(shard, reason, reached),
      onOverdue: () => {
        this.#dirty = this.#queueing
      },
    })
    return this.#own
  }

  #lost(shard: Shard, reason: string, reached: boolean): void {
    if (this.#queueing) {
      this.#dirty = true
      this.#own = undefined
      this.#begun = false
    } else if (this.#stale) {
      // EXEC is refused anyway, so that all is done again.
      this.#own = undefined
    } else if (reached) {
      // Whoever has watched keys would take them for unchanged.
      this.#client.destroy(shard.fault(reason))
    } else this.end(reason)
  }

  /** Undoes what the connection holds, so that it can serve others. */
  #leaveWith(command: Buffer, now: number): void {
    if (this.#own !== undefined) {
      this.#passLast(this.#own, command, now)
      return
    }
    this.end('nothing was begun')
    this.#client.answer(OK)
  }

  #passLast(own: OwnConnection, command: Buffer, now: number): void {
    const client = this.#client
    own.pass(command, 0, command.length, now, () => this.end('done', true))
    // What follows is no part of the transaction, and may be for another shard.
    if (client.busyBefore) client.holdUntilAnswered()
  }
}
