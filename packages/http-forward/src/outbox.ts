import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { Owner } from './slab.ts'

/** Smaller pieces are copied and joined, because a system call costs more; larger ones are sent as they are. */
const SMALL = 4 * 1024
/** More than this does not wait for the end of the turn. */
const SOON_MOST = 16 * 1024
/** What a slow reader may leave lying at most, but for the piece that goes beyond it. */
const QUEUE_MOST = 128 * 1024

// Written one after the other, they find the process on the other side awake: waking it for each one costs as much as the
// rest of the system call.
let waiting: Outbox[] = []
let flushing: Outbox[] = []

function flushWaiting(): void {
  const boxes = waiting
  waiting = flushing
  flushing = boxes
  for (const box of boxes) box.flush()
  boxes.length = 0
}

/** Joins what one turn of the event loop writes to a socket. */
export class Outbox {
  readonly #socket: Writable
  /** Whether larger pieces are joined too; TLS and HTTP/2 would copy them for that. */
  readonly #gathers: boolean
  #text = ''
  #corked = false
  #open = true
  #waits = false

  constructor(socket: Writable) {
    this.#socket = socket
    this.#gathers = socket instanceof Socket && !(socket instanceof TLSSocket)
  }

  /** Latin-1. */
  text(text: string): void {
    this.#text += text
  }

  bytes(bytes: Buffer, start: number, end: number, owner: Owner): void {
    if (end - start <= SMALL) {
      this.#text += bytes.toString('latin1', start, end)
      return
    }
    const socket = this.#socket
    if (this.#gathers && !this.#corked) {
      this.#corked = true
      socket.cork()
    }
    if (this.#text !== '') this.#flushText()
    const slice = bytes.subarray(start, end)
    if (owner === true) {
      this.#wrote(socket.write(slice))
    } else if (owner === false) {
      this.#wrote(socket.write(Buffer.from(slice)))
    } else {
      owner.hold()
      this.#wrote(socket.write(slice, owner.release))
    }
  }

  /** Writes at the end of this turn of the event loop, together with others. Gives whether the socket takes more. */
  flushSoon(): boolean {
    if (!this.#open || this.#text.length > SOON_MOST) return this.flush()
    if (!this.#waits && (this.#corked || this.#text !== '')) {
      this.#waits = true
      if (waiting.push(this) === 1) setImmediate(flushWaiting)
    }
    return this.#open
  }

  /** Whether the socket takes more; when not, its 'drain' tells. */
  flush(): boolean {
    this.#waits = false
    if (this.#text !== '') this.#flushText()
    if (this.#corked) {
      this.#corked = false
      this.#socket.uncork()
    }
    return this.#open
  }

  /** The socket has emitted 'drain'. */
  drained(): void {
    this.#open = true
  }

  get open(): boolean {
    return this.#open
  }

  #flushText(): void {
    const text = this.#text
    this.#text = ''
    this.#wrote(this.#socket.write(text, 'latin1'))
  }

  #wrote(wanted: boolean): void {
    // A 'drain' comes only after a write that was not wanted.
    this.#open = wanted || this.#socket.writableLength < QUEUE_MOST
  }
}
