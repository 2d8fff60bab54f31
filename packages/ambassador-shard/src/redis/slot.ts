import { encodeError } from '@outrider/resp'
import type { ReplySink } from './reply-sink.ts'
import type { ShardConnection } from './shard-connection.ts'

/** Who is told of slots: the client whose replies they are. */
export interface SlotOwner {
  /** Writes a piece of the reply whose turn it is. */
  write(bytes: Buffer, start: number, end: number): void
  writeOwn(bytes: Buffer): void
  /** A reply that has begun will have no end. */
  breakOff(reason: string): void
  /** The first slot is complete. */
  advance(): void
  /** Bytes that wait for their turn. */
  held(bytes: number): void
}

/** The place of one reply, or of several in a row from one shard, among those that a client awaits. */
export abstract class Slot {
  next: Slot | undefined
  /** Whether its turn has come. */
  first = false
  abstract readonly complete: boolean
  /** Whether a part of it was written, and nothing else may be. */
  get midway(): boolean {
    return false
  }

  /** Its turn has come: what it holds can go. */
  abstract release(): void

  /** Nobody is there any more whom it could be for: nothing is held. */
  abandon(): void {
    this.release()
  }
}

/** Who is named in errors. */
interface Named {
  fault(reason: string): string
}

/** Replies that pass through as they come, from one shard. */
export class PassSlot extends Slot implements ReplySink {
  /** Replies that have not ended. */
  count = 0
  readonly shard: Named
  readonly connection: ShardConnection
  /** Of one that others may not join. */
  readonly whenDone: (() => void) | undefined
  readonly #owner: SlotOwner
  #held: Buffer[] | undefined
  /** Whether a part of a reply was passed on whose end has not come. */
  #begun = false

  /** @param whenDone called when all its replies have ended */
  constructor(owner: SlotOwner, shard: Named, connection: ShardConnection, whenDone?: () => void) {
    super()
    this.#owner = owner
    this.shard = shard
    this.connection = connection
    this.whenDone = whenDone
  }

  override get midway(): boolean {
    return this.#begun
  }

  get complete(): boolean {
    return this.count === 0
  }

  reply(bytes: Buffer, start: number, end: number, ended: number): void {
    this.count -= ended
    this.#begun = ended === 0
    if (this.count === 0) this.whenDone?.()
    if (this.first) {
      this.#owner.write(bytes, start, end)
      if (this.count === 0) this.#owner.advance()
      return
    }
    this.#held ??= []
    // What was read may be a small piece of a large memory.
    this.#held.push(Buffer.from(bytes.subarray(start, end)))
    this.#owner.held(end - start)
  }

  lost(count: number, reason: string): void {
    if (this.#begun) {
      this.#owner.breakOff(reason)
      return
    }
    const error = encodeError(this.shard.fault(reason))
    for (let left = count; left > 0; left -= 1) this.reply(error, 0, error.length, 1)
  }

  release(): void {
    this.first = true
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return
    for (const bytes of held) {
      this.#owner.held(-bytes.length)
      this.#owner.writeOwn(bytes)
    }
  }
}

/** One reply that is made here, at once or once its parts are there. */
export class MadeSlot extends Slot {
  readonly #owner: SlotOwner
  #bytes: Buffer | undefined
  /** Bytes of parts that wait for the others. */
  #gathered = 0
  #abandoned = false

  constructor(owner: SlotOwner, bytes?: Buffer) {
    super()
    this.#owner = owner
    this.#bytes = bytes
    if (bytes !== undefined) owner.held(bytes.length)
  }

  get complete(): boolean {
    return this.#bytes !== undefined
  }

  /** To be asked before bytes of a part are kept: whether anybody waits for them. */
  gathers(bytes: number): boolean {
    this.#gathered += bytes
    this.#owner.held(bytes)
    return !this.#abandoned
  }

  override abandon(): void {
    this.#abandoned = true
  }

  fill(bytes: Buffer): void {
    if (this.#abandoned) return
    this.#bytes = bytes
    this.#owner.held(bytes.length - this.#gathered)
    if (!this.first) return
    this.release()
    this.#owner.advance()
  }

  release(): void {
    this.first = true
    const bytes = this.#bytes
    if (bytes === undefined) return
    this.#owner.held(-bytes.length)
    this.#owner.writeOwn(bytes)
  }
}
