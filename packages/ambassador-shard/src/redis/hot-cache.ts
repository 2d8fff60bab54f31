import type { Protocol } from '@outrider/resp'
import type { Frame } from './client-connection.ts'
import type { Command } from './command.ts'
import { KeyList, keysOf } from './command-keys.ts'
import { READONLY } from './command-table.ts'
import type { Shard } from './shard.ts'

/** Keys of each shard that may be kept. */
const KEPT_KEYS = 16
/** Larger values are not kept. */
const KEPT_BYTES = 64 * 1024
const LOOK_EVERY_MS = 500

/** What is known of a key that is asked for often. */
export class HotEntry {
  /** Replies to GET, by protocol, and until when they are given. */
  readonly #replies: [Buffer | undefined, Buffer | undefined] = [undefined, undefined]
  readonly #until: [number, number] = [0, 0]
  /** Grows with each write: what was asked for before is not kept any more. */
  version = 0

  find(protocol: Protocol, now: number): Buffer | undefined {
    return now < (this.#until[protocol - 2] ?? 0) ? this.#replies[protocol - 2] : undefined
  }

  /** @param version what it was when the reply was asked for */
  fill(protocol: Protocol, version: number, reply: Buffer, until: number): void {
    if (version !== this.version || reply[0] === MINUS || reply.length > KEPT_BYTES) return
    this.#replies[protocol - 2] = reply
    this.#until[protocol - 2] = until
  }

  forget(): void {
    this.version += 1
    this.#until.fill(0)
  }
}

const MINUS = 0x2d

/**
 * Answers GET of hot keys for a short time without asking their shard. Whoever writes through this ambassador reads what
 * he has written; what others have written is seen `maxAgeMs` late at most, and so is what a transaction has.
 */
export class HotCache {
  readonly maxAgeMs: number
  /** Answers given from it. */
  hits = 0
  #entries = new Map<string, HotEntry>()
  #lookAt = 0
  readonly #keys = new KeyList()

  constructor(maxAgeMs: number) {
    this.maxAgeMs = maxAgeMs
  }

  /** Learns which keys are hot: those that are asked for more than once while an answer would be kept. */
  tick(shards: readonly Shard[], now: number): void {
    if (now < this.#lookAt) return
    this.#lookAt = now + LOOK_EVERY_MS
    const least = Math.max(2000 / this.maxAgeMs, 20)
    const entries = new Map<string, HotEntry>()
    for (const shard of shards) {
      for (const { bytes, perSecond } of shard.hot.hottest(KEPT_KEYS, now)) {
        if (perSecond >= least) entries.set(bytes, this.#entries.get(bytes) ?? new HotEntry())
      }
    }
    this.#entries = entries
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0
  }

  entryOf(bytes: Buffer, start: number, end: number): HotEntry | undefined {
    return this.#entries.get(bytes.toString('latin1', start, end))
  }

  /** Forgets what a command writes. */
  see({ args, bytes, start }: Frame, command: Command): void {
    if (command.name === 'exec' || command.policy.kind === 'fan-out') {
      for (const entry of this.#entries.values()) entry.forget()
      return
    }
    // Scripts have no flag that says whether they write.
    if (command.keys.rule === 'none' || (command.flags & READONLY) !== 0) return
    const count = keysOf(command, args, bytes, start, this.#keys)
    for (let at = 0; at < count; at += 1) {
      const position = this.#keys.positions[at] ?? 0
      this.entryOf(bytes, start + args.argStart(position), start + args.argEnd(position))?.forget()
    }
  }
}
