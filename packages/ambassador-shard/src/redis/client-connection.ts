import type { Socket } from 'node:net'
import { CommandReader, encodeError, encodeSimple, type Protocol } from '@outrider/resp'
import { Backlog } from './backlog.ts'
import { clientLine } from './client-line.ts'
import { type Command, commandOf, hasArity, isForeign, lookup, unknownFault } from './command.ts'
import { KeyList, keysOf } from './command-keys.ts'
import { CROSSSLOT, FOREIGN_DATABASE, FOREIGN_PATTERNS, type KeylessRule } from './command-policy.ts'
import { NO_AUTH } from './command-table.ts'
import type { HotCache } from './hot-cache.ts'
import { askInTurn } from './in-turn.ts'
import { Join, joinFanOut } from './join.ts'
import { answerLocally, type LocalHost, type Session } from './local.ts'
import { Outbox } from './outbox.ts'
import { Pinned } from './pinned.ts'
import { type ReplySink, WholeReplies } from './reply-sink.ts'
import { scan } from './scan.ts'
import type { Shard } from './shard.ts'
import type { ShardConnection } from './shard-connection.ts'
import { MadeSlot, PassSlot, type Slot, type SlotOwner } from './slot.ts'
import { split } from './split.ts'
import type { Topology } from './topology.ts'
import type { Upstream } from './upstream.ts'

/** What clients may cost. Bytes. */
export interface ClientLimits {
  /** Of replies that a client does not read; beyond it, it is dropped. */
  readonly replyBytes: number
  /** Of replies in all, and replies, for which a client may wait until it is read no further. */
  readonly pendingBytes: number
  readonly pendingReplies: number
  /** Of one argument of a command. */
  readonly valueBytes: number
  /** Milliseconds for which a client may take nothing of what is written to it. */
  readonly stallMs: number
}

export const CLIENT_LIMITS: ClientLimits = {
  replyBytes: 64 * 1024 * 1024,
  pendingBytes: 1024 * 1024,
  pendingReplies: 4_096,
  valueBytes: 512 * 1024 * 1024,
  stallMs: 60_000,
}

/** What a client needs of the ambassador. */
export interface ClientHost extends LocalHost {
  readonly limits: ClientLimits
  readonly topology: Topology
  /** Where GET of hot keys is answered; undefined where every command is asked of its shard. */
  readonly cache: HotCache | undefined
  /** Commands that could not be sent to their shard. */
  forwardErrors: number
  /** Commands that were split, and their parts. */
  fragments: number
  /** @param isError whether it did not leave by itself */
  onClose(client: ClientConnection, reason: string, isError: boolean): void
  onCommands(count: number): void
}

/** One command as it lies in memory. Offsets of arguments count from `start`. */
export interface Frame {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly args: CommandReader
  /** When it came, as `performance.now`. */
  readonly now: number
}

/** Said to a client that is one too many. */
export const TOO_MANY = encodeError('ERR max number of clients reached')

/** A client, whose replies come in the order of its commands, whichever shards they are of. */
export class ClientConnection implements SlotOwner, Session {
  readonly id: number
  /** Kept, as a socket that is destroyed has none any more. */
  readonly address: string
  protocol: Protocol = 2
  user: string | undefined
  name = ''
  libName = ''
  libVersion = ''
  replies: 'on' | 'off' | 'skip' = 'on'
  readonly #socket: Socket
  readonly #host: ClientHost
  readonly #outbox: Outbox
  readonly #reader: CommandReader
  readonly #keys = new KeyList()
  readonly #pinned: Pinned
  readonly #connected = performance.now()
  /** When bytes have come last. */
  #heard = this.#connected
  /** Bytes that have not been used. */
  readonly #rest = new Backlog()
  #first: Slot | undefined
  #last: Slot | undefined
  #slots = 0
  #heldBytes = 0
  #paused = false
  /** Whether the client has said all it has to say. */
  #ended = false
  /** Whether nothing more is read, and the connection ends behind the replies that are awaited. */
  #ending = false
  #closed = false
  #lastCommand = ''

  constructor(socket: Socket, id: number, host: ClientHost) {
    this.#socket = socket
    this.id = id
    this.address = addressText(socket.remoteAddress, socket.remotePort)
    this.#host = host
    this.#outbox = new Outbox(socket)
    this.#reader = new CommandReader({ bulkBytes: host.limits.valueBytes })
    this.#pinned = new Pinned(this, host)
    this.user = host.users.required ? undefined : 'default'
    this.#reader.authenticated = this.user !== undefined
    socket.setNoDelay(true)
    socket.on('data', (bytes: Buffer) => this.#onData(bytes))
    socket.on('drain', () => this.#resume())
    socket.on('end', () => this.#end())
    socket.on('error', () => undefined)
    socket.on('close', (failed) => this.#onClose('the client has left', failed))
  }

  get topology(): Topology {
    return this.#host.topology
  }

  /** Whether replies to earlier commands have not come. */
  get busyBefore(): boolean {
    return this.#first !== undefined
  }

  /** Takes no further command before the last one is answered. */
  holdUntilAnswered(): void {
    this.#waiting = true
  }

  /** A message that no command awaits; it may stand between replies, but not in one. */
  message(bytes: Buffer): void {
    if (this.#first?.midway || this.#messages.length > 0) {
      this.#messages.push(bytes)
      this.held(bytes.length)
    } else {
      this.writeOwn(bytes)
    }
  }

  #messages: Buffer[] = []

  /** Who takes messages as a whole; one that is longer than what may wait for the client ends it. */
  messages(take: (bytes: Buffer) => void): ReplySink {
    const { replyBytes } = this.#host.limits
    let length = 0
    const gathers = (bytes: number): boolean => {
      length += bytes
      if (length > replyBytes) this.destroy(`a message has more than ${replyBytes} bytes`)
      return !this.#closed
    }
    const takeWhole = (bytes: Buffer): void => {
      length = 0
      take(bytes)
    }
    return new WholeReplies(takeWhole, undefined, gathers)
  }

  get type(): 'normal' | 'pubsub' {
    const { '': channels, p, s } = this.#pinned.subscriptions
    return channels + p + s > 0 ? 'pubsub' : 'normal'
  }

  describe(): string {
    const now = performance.now()
    const { localAddress, localPort } = this.#socket
    const { id, name, user, protocol, libName, libVersion, address } = this
    const { subscriptions, monitors, queued } = this.#pinned
    return clientLine({
      ...{ id, name, user, protocol, libName, libVersion, address, subscriptions, monitors, queued },
      localAddress: addressText(localAddress, localPort),
      ...{ ageMs: now - this.#connected, idleMs: now - this.#heard },
      ...{ unread: this.#rest.length, unsent: this.#outbox.waitingBytes, lastCommand: this.#lastCommand },
    })
  }

  destroy(reason: string): void {
    this.#socket.destroy()
    this.#onClose(reason, true)
  }

  /** Drops it when it has taken nothing for too long; called every now and then. */
  tick(now: number): void {
    const waiting = this.#socket.writableLength
    const taken = this.#socket.bytesWritten - waiting
    if (waiting === 0 || taken !== this.#taken) {
      this.#taken = taken
      this.#takenAt = now
    } else if (now - this.#takenAt > this.#host.limits.stallMs) {
      this.destroy('it does not read its replies')
    }
  }

  /** Bytes with the system, and since when there are so many. */
  #taken = 0
  #takenAt = performance.now()

  /** The keys are placed anew. */
  onPlacement(): void {
    this.#pinned.onPlacement()
  }

  /** Ends it once all that is awaited has come. */
  drain(): void {
    this.#ending = true
    if (this.#first === undefined) this.#close()
  }

  // --- reading

  #onData(bytes: Buffer): void {
    if (this.#ending || this.#closed) return
    if (this.#rest.length === 0 && !this.#stopped) {
      this.#rest.take(bytes)
      this.#useRest()
      return
    }
    this.#rest.add(bytes, this.#reader.wanted)
    if (this.#stopped) {
      // It is read as long as possible, because only then it shows that a client has left.
      if (this.#rest.length > this.#host.limits.pendingBytes) this.#pause()
      return
    }
    if (this.#rest.length >= this.#reader.wanted) this.#useRest()
  }

  /** Uses up what has come, as far as it may. */
  #useRest(): void {
    const used = this.#read(this.#rest.bytes)
    if (this.#closed || this.#ending) {
      this.#rest.clear()
      return
    }
    this.#rest.use(used)
    if (this.#isFull()) {
      this.#stopped = true
      this.#pause()
    } else if (this.#waiting || this.#holding) this.#stopped = true
  }

  /** Whether what comes is kept for later. */
  #stopped = false
  /** Whether something that is not among the replies is awaited before the next command. */
  #holding = false
  /** Whether a shard that has not answered takes its commands slower than they come. */
  #crowds = false

  /** Takes no further command before `release`. */
  hold(): void {
    this.#holding = true
  }

  release(): void {
    if (!this.#holding) return
    this.#holding = false
    this.#resume()
  }

  #isFull(): boolean {
    const { pendingBytes, pendingReplies } = this.#host.limits
    return (
      this.#crowds ||
      this.#slots >= pendingReplies ||
      this.#heldBytes > pendingBytes ||
      this.#outbox.waitingBytes > pendingBytes
    )
  }

  /** Whether the next command waits until the replies to those before it are there. */
  #waiting = false

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#socket.pause()
  }

  /** Goes on with what waits, as soon as there is room. */
  #resume(): void {
    if (!this.#stopped || this.#closed || this.#holding || this.#isFull()) return
    if (this.#waiting && this.#first !== undefined) return
    this.#stopped = false
    this.#waiting = false
    if (this.#rest.length > 0) this.#useRest()
    if (this.#stopped || this.#closed) return
    if (this.#ended) {
      this.drain()
    } else if (this.#paused) {
      this.#paused = false
      this.#socket.resume()
    }
  }

  /** Gives up to where it was used. */
  #read(bytes: Buffer): number {
    const now = performance.now()
    this.#heard = now
    const reader = this.#reader
    const { topology } = this.#host
    const end = bytes.length
    let at = 0
    let count = 0
    // Commands in a row for the same shard go as one piece.
    let run: Upstream | undefined
    let runStart = 0
    let runCount = 0
    while (at < end) {
      const progress = reader.read(bytes, at, end)
      if (progress === 'more') break
      if (progress === 'empty') {
        if (run !== undefined) this.#pass(run, bytes, runStart, at, runCount, now)
        run = undefined
        at += reader.length
        continue
      }
      if (progress === 'fault') {
        if (run !== undefined) this.#pass(run, bytes, runStart, at, runCount, now)
        this.#refuse(reader.fault)
        return end
      }
      count += 1
      const upstream = this.#upstreamOf(bytes, at, topology)
      if (upstream === undefined) {
        if (run !== undefined) this.#pass(run, bytes, runStart, at, runCount, now)
        run = undefined
        if (!this.#handle(bytes, at, now)) {
          this.#waiting = true
          count -= 1
          break
        }
        if (this.#ending || this.#closed) return end
        if (this.#waiting || this.#holding) {
          at += reader.length
          break
        }
      } else if (upstream === run) {
        runCount += 1
      } else {
        if (run !== undefined) this.#pass(run, bytes, runStart, at, runCount, now)
        run = upstream
        runStart = at
        runCount = 1
      }
      at += reader.length
    }
    if (run !== undefined) this.#pass(run, bytes, runStart, at, runCount, now)
    this.#host.onCommands(count)
    return at
  }

  /** Who gets a command that has one key and nothing special; undefined for every other. */
  #upstreamOf(bytes: Buffer, at: number, topology: Topology): Upstream | undefined {
    const reader = this.#reader
    if (reader.inline || this.user === undefined || this.replies !== 'on' || this.#pinned.active)
      return undefined
    const command = lookup(bytes, at + reader.argStart(0), at + reader.argEnd(0))
    if (command === undefined || !command.passes || !hasArity(command, reader.argc)) return undefined
    // Then each is looked at.
    if (this.#host.cache?.isEmpty === false) return undefined
    const key = command.singleKey
    const shard = topology.locate(bytes, at + reader.argStart(key), at + reader.argEnd(key))
    return this.#upstreamFor(shard, command)
  }

  /** The server of a shard that gets a command. */
  #upstreamFor(shard: Shard, command: Command): Upstream {
    return command.spreads && shard.readers.length > 0 ? shard.reader(this.id) : shard.primary
  }

  /** Sends commands to a server, whose replies pass through. */
  #pass(upstream: Upstream, bytes: Buffer, start: number, end: number, count: number, now: number): void {
    const connection = upstream.shared(this.protocol)
    upstream.counts.requests += count
    if (connection === undefined) {
      this.#host.forwardErrors += count
      const error = encodeError(upstream.fault(upstream.reason))
      for (let left = count; left > 0; left -= 1) this.answer(error)
      return
    }
    const last = this.#last
    let slot: PassSlot
    if (last instanceof PassSlot && last.connection === connection && last.whenDone === undefined) {
      slot = last
    } else {
      slot = new PassSlot(this, upstream, connection)
      this.append(slot)
    }
    slot.count += count
    connection.send(slot, bytes, start, end, count, now)
    this.crowd(connection)
  }

  // --- commands that are not just passed

  /** False when it has to wait for the replies to those before it. */
  #handle(bytes: Buffer, at: number, now: number): boolean {
    const reader = this.#reader
    const source = reader.inline ? reader.encoded : bytes
    const start = reader.inline ? 0 : at
    const frame: Frame = {
      bytes: source,
      start,
      end: reader.inline ? source.length : at + reader.length,
      args: reader,
      now,
    }
    if (isForeign(source, start + reader.argStart(0), start + reader.argEnd(0))) {
      this.destroy('it speaks HTTP')
      return true
    }
    const command = commandOf(reader, source, start)
    const { cache } = this.#host
    if (cache?.isEmpty === false && command !== undefined) cache.see(frame, command)
    this.#lastCommand = command?.name ?? this.#lastCommand
    if (this.#pinned.active || command?.policy.kind === 'pinned') return this.#pinned.handle(frame, command)
    if (command === undefined) {
      this.fail(unknownFault(reader, source, start))
      return true
    }
    return this.dispatch(frame, command)
  }

  /** A command that is known, outside of any transaction. */
  dispatch(frame: Frame, command: Command): boolean {
    const { args, bytes, start } = frame
    if (this.user === undefined && (command.flags & NO_AUTH) === 0) {
      this.fail('NOAUTH Authentication required.')
      return true
    }
    const { policy } = command
    if (policy.kind === 'refuse') {
      this.fail(policy.error)
      return true
    }
    const count = keysOf(command, args, bytes, start, this.#keys)
    if (count < 0) {
      this.fail(this.#keys.fault)
      return true
    }
    switch (policy.kind) {
      case 'local':
        return this.#answerLocally(frame, command)
      case 'split':
        split(this, frame, policy.join, this.#keys, command)
        return true
      case 'fan-out':
        if (policy.join === 'scan') scan(this, frame, command)
        else this.#fanOut(frame, policy.join, command)
        return true
      case 'keyless':
        this.#keyless(frame, policy.rule, command)
        return true
      case 'pinned':
        return this.#pinned.handle(frame, command)
      case 'route':
        this.#route(frame, policy.withoutKeys, command)
        return true
    }
  }

  #route(frame: Frame, withoutKeys: string, command: Command): void {
    const { topology } = this.#host
    const { reach, count } = this.#keys
    if (reach === 'database') this.fail(FOREIGN_DATABASE)
    else if (reach === 'patterns' && !topology.isSingle) this.fail(FOREIGN_PATTERNS)
    else if (count === 0 && !topology.isSingle) this.fail(withoutKeys)
    else {
      const shard = count === 0 ? topology.shards[0] : topology.shardOf(frame, this.#keys)
      if (shard === undefined) this.fail(CROSSSLOT)
      else if (command.name === 'get' && this.#getHot(frame, shard, command)) return
      else this.forward(frame, shard, command)
    }
  }

  /** Answers GET of a hot key, or keeps the answer that comes; false where the key is not hot. */
  #getHot(frame: Frame, shard: Shard, command: Command): boolean {
    const { cache } = this.#host
    if (cache === undefined || cache.isEmpty || this.replies !== 'on') return false
    const { bytes, start, end, args, now } = frame
    const entry = cache.entryOf(bytes, start + args.argStart(1), start + args.argEnd(1))
    if (entry === undefined) return false
    const { protocol } = this
    const kept = entry.find(protocol, now)
    if (kept !== undefined) {
      cache.hits += 1
      this.answer(kept)
      return true
    }
    const { version } = entry
    const until = now + cache.maxAgeMs
    const join = new Join(this.made(), 1, ([part]) => {
      const reply = part?.bytes ?? encodeError('ERR no answer')
      entry.fill(protocol, version, reply, until)
      return reply
    })
    this.send(shard, command, join.sink(shard, 0), Buffer.from(bytes.subarray(start, end)), now)
    return true
  }

  /** Passes one command to a shard. */
  forward({ bytes, start, end, now }: Frame, shard: Shard, command: Command): void {
    const upstream = this.#upstreamFor(shard, command)
    if (this.replies === 'on') {
      this.#pass(upstream, bytes, start, end, 1, now)
      return
    }
    if (this.replies === 'skip') this.replies = 'on'
    const connection = upstream.shared(this.protocol)
    if (connection === undefined) return
    const slot = new PassSlot(this.muted, upstream, connection, () => undefined)
    slot.count = 1
    this.append(slot)
    connection.send(slot, bytes, start, end, 1, now)
    this.crowd(connection)
  }

  /** Sends one command, and gives its reply to a sink of its own. */
  send(shard: Shard, command: Command, sink: ReplySink, bytes: Buffer, now: number): void {
    const connection = this.connectionFor(shard, command)
    if (connection === undefined) {
      sink.lost(1, shard.reason)
      return
    }
    connection.send(sink, bytes, 0, bytes.length, 1, now)
    this.crowd(connection)
  }

  /** What was sent may be more than the shard takes: then the client waits, or its commands would fill the memory. */
  crowd(connection: ShardConnection): void {
    if (this.#crowds || connection.waitingBytes <= this.#host.limits.pendingBytes) return
    this.#crowds = true
    connection.whenDrained(() => {
      this.#crowds = false
      this.#resume()
    })
  }

  /** The connection for one command; undefined while its server is down. */
  connectionFor(shard: Shard, command: Command): ShardConnection | undefined {
    const upstream = this.#upstreamFor(shard, command)
    upstream.counts.requests += 1
    const connection = upstream.shared(this.protocol)
    if (connection === undefined) this.#host.forwardErrors += 1
    return connection
  }

  onFragments(count: number): void {
    this.#host.fragments += count
  }

  #keyless(frame: Frame, rule: KeylessRule, command: Command): void {
    const { topology } = this.#host
    // The one shard passes its answer on as it comes.
    if (rule === 'pubsub' || topology.isSingle) this.forward(frame, topology.pubsub, command)
    else askInTurn(this, frame, command, rule)
  }

  #fanOut({ bytes, start, end, now }: Frame, how: Parameters<typeof joinFanOut>[0], command: Command): void {
    const { shards } = this.#host.topology
    const { protocol } = this
    const copy = Buffer.from(bytes.subarray(start, end))
    const join = new Join(this.made(), shards.length, (parts) => joinFanOut(how, parts, protocol))
    for (const [index, shard] of shards.entries())
      this.send(shard, command, join.sink(shard, index), copy, now)
  }

  #answerLocally({ args, bytes, start }: Frame, command: Command): boolean {
    // It changes how what follows is said, or ends all.
    const changes = command.name === 'hello' || command.name === 'reset'
    if (changes && this.#first !== undefined) return false
    const texts: Buffer[] = []
    for (let at = 0; at < args.argc; at += 1)
      texts.push(Buffer.from(bytes.subarray(start + args.argStart(at), start + args.argEnd(at))))
    const { reply, behind } = answerLocally(command, texts, this, this.#host)
    this.#reader.authenticated = this.user !== undefined
    if (behind === 'reset') this.#reset()
    if (reply.length > 0) this.answer(reply)
    if (behind === 'close') this.drain()
    return true
  }

  #reset(): void {
    this.protocol = 2
    this.name = ''
    this.replies = 'on'
    this.user = this.#host.users.required ? undefined : 'default'
    this.#reader.authenticated = this.user !== undefined
  }

  // --- replies

  /** A reply of ours, in its turn. */
  answer(bytes: Buffer): void {
    if (this.replies !== 'on') {
      if (this.replies === 'skip') this.replies = 'on'
      return
    }
    if (this.#first === undefined) this.writeOwn(bytes)
    else this.append(new MadeSlot(this, bytes))
  }

  fail(text: string): void {
    this.answer(Buffer.from(`-${text.replace(/[\r\n]/g, ' ')}\r\n`, 'latin1'))
  }

  /** The place of a reply that is made later. */
  made(): MadeSlot {
    const slot = new MadeSlot(this.replies === 'on' ? this : this.muted)
    if (this.replies === 'skip') this.replies = 'on'
    this.append(slot)
    return slot
  }

  /** For replies that are not wanted: they have their turn all the same, since what follows may have to wait for it. */
  get muted(): SlotOwner {
    return new Muted(this)
  }

  append(slot: Slot): void {
    this.#slots += 1
    if (this.#last === undefined) this.#first = slot
    else this.#last.next = slot
    this.#last = slot
    if (this.#first === slot) slot.first = true
    this.#outbox.expects = true
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (this.#closed) return
    this.#outbox.bytes(bytes, start, end)
    this.#checkWaiting()
  }

  writeOwn(bytes: Buffer): void {
    if (this.#closed) return
    this.#outbox.own(bytes)
    this.#checkWaiting()
  }

  #checkWaiting(): void {
    if (this.#outbox.waitingBytes > this.#host.limits.replyBytes) this.destroy('it does not read its replies')
  }

  breakOff(reason: string): void {
    this.destroy(`a reply broke off: ${reason}`)
  }

  held(bytes: number): void {
    this.#heldBytes += bytes
    if (this.#heldBytes > this.#host.limits.replyBytes) this.destroy('it waits for too many replies')
  }

  advance(): void {
    if (this.#messages.length > 0) {
      for (const bytes of this.#messages) {
        this.held(-bytes.length)
        this.writeOwn(bytes)
      }
      this.#messages = []
    }
    let slot = this.#first
    while (slot?.complete) {
      this.#slots -= 1
      const next: Slot | undefined = slot.next
      slot.next = undefined
      slot = next
      this.#first = slot
      if (slot === undefined) this.#last = undefined
      else slot.release()
    }
    this.#outbox.expects = slot !== undefined
    // Whatever is left there is given up.
    if (slot === undefined) this.#crowds = false
    if (slot === undefined && this.#ending) this.#close()
    else if (this.#stopped) this.#resume()
  }

  // --- the connection

  /** Says what is wrong, behind the replies that are awaited, and closes. */
  #refuse(fault: string): void {
    this.answer(encodeError(`ERR ${fault}`))
    this.drain()
  }

  #end(): void {
    this.#ended = true
    // Half of a command will never be whole.
    if (!this.#stopped) this.drain()
    // Whoever waits for a key would take it for a client that is gone.
    else if (this.#pinned.waits) this.destroy('the client has left')
  }

  #close(): void {
    this.#pinned.leave('the client has ended')
    this.#outbox.flush()
    this.#socket.end()
    this.#socket.once('finish', () => this.#socket.destroySoon())
  }

  #onClose(reason: string, isError: boolean): void {
    if (this.#closed) return
    this.#closed = true
    this.#rest.clear()
    // What it awaits goes nowhere, and must not be gathered until its turn has come.
    for (let slot = this.#first; slot !== undefined; slot = slot.next) slot.abandon()
    this.#pinned.leave(reason)
    this.#host.onClose(this, reason, isError)
  }
}

class Muted implements SlotOwner {
  readonly #client: ClientConnection

  constructor(client: ClientConnection) {
    this.#client = client
  }

  write(): void {}

  writeOwn(): void {}

  breakOff(reason: string): void {
    this.#client.breakOff(reason)
  }

  advance(): void {
    this.#client.advance()
  }

  held(bytes: number): void {
    this.#client.held(bytes)
  }
}

function addressText(address: string | undefined, port: number | undefined): string {
  return address === undefined ? 'unix' : `${address.replace(/^::ffff:/, '')}:${port}`
}

export const QUEUED = encodeSimple('QUEUED')
