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
/** Below this nobody counts what waits, because asking to be told of each write costs more than a small response. */
const COUNTED_FROM = 16 * 1024
/** What all slow readers together may leave lying; beyond it each may have one write on its way. */
const PLENTY = 32 * 1024 * 1024

let waitingBytes = 0

/** Whether so much waits for slow readers that there must be no more of it. */
export function scarce(): boolean {
  return waitingBytes > PLENTY
}

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
  readonly #onRelief: () => void
  /** Whether larger pieces are joined too; TLS and HTTP/2 would copy them for that. */
  readonly #gathers: boolean
  #text = ''
  #corked = false
  #open = true
  #waits = false
  /** Counted writes that are on their way, and their bytes. */
  #unwritten = 0
  #unwrittenBytes = 0
  #starved = false

  /** @param onRelief called where it is open again without a 'drain' of the socket */
  constructor(socket: Writable, onRelief: () => void) {
    this.#socket = socket
    this.#onRelief = onRelief
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
      this.#write(slice, undefined)
    } else if (owner === false) {
      this.#write(Buffer.from(slice), undefined)
    } else {
      owner.hold()
      this.#write(slice, owner.release)
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
    this.#starved = false
  }

  /** The socket is gone, which need not tell of each write. */
  close(): void {
    waitingBytes -= this.#unwrittenBytes
    this.#unwrittenBytes = 0
    this.#starved = false
  }

  get open(): boolean {
    return this.#open
  }

  #flushText(): void {
    const text = this.#text
    this.#text = ''
    this.#write(text, undefined)
  }

  #write(piece: string | Buffer, release: (() => void) | undefined): void {
    const socket = this.#socket
    const { length } = piece
    if (socket.writableLength + length <= COUNTED_FROM) {
      this.#wrote(release === undefined ? socket.write(piece, 'latin1') : socket.write(piece, release))
      return
    }
    this.#unwritten += 1
    this.#unwrittenBytes += length
    waitingBytes += length
    this.#wrote(
      socket.write(piece, 'latin1', () => {
        release?.()
        this.#written(length)
      }),
    )
  }

  #wrote(wanted: boolean): void {
    // Who was told once that it is closed waits to be told that it is open.
    if (this.#unwritten > 0 && scarce()) this.#starved = true
    // A 'drain' comes only after a write that was not wanted.
    this.#open = !this.#starved && (wanted || this.#socket.writableLength < QUEUE_MOST)
  }

  #written(length: number): void {
    this.#unwritten -= 1
    // All of them are let go of at once when it is closed.
    if (this.#unwrittenBytes === 0) return
    this.#unwrittenBytes -= length
    waitingBytes -= length
    if (!this.#starved || this.#unwritten > 0) return
    this.#starved = false
    this.#open = true
    this.#onRelief()
  }
}
