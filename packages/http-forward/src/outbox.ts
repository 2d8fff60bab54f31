import type { Writable } from 'node:stream'

/** Smaller pieces are copied and joined, because a system call costs more; larger ones are sent as they are. */
const SMALL = 4 * 1024
/** More than this does not wait for the end of the turn. */
const SOON_MOST = 16 * 1024

// Written one after the other, they find the process on the other side awake: waking it for each one costs as much as the
// rest of the system call.
const waiting: Outbox[] = []

function flushWaiting(): void {
  for (let index = 0; index < waiting.length; index += 1) waiting[index]?.flush()
  waiting.length = 0
}

/** Joins what one turn of the event loop writes to a socket. */
export class Outbox {
  readonly #socket: Writable
  #text = ''
  #corked = false
  #open = true
  #waits = false

  constructor(socket: Writable) {
    this.#socket = socket
  }

  /** Latin-1. */
  text(text: string): void {
    this.#text += text
  }

  /** @param owned whether the memory stays as it is until it has been written */
  bytes(bytes: Buffer, start: number, end: number, owned: boolean): void {
    if (end - start <= SMALL) {
      this.#text += bytes.toString('latin1', start, end)
      return
    }
    if (this.#text !== '') {
      this.#cork()
      this.#flushText()
    }
    const slice = bytes.subarray(start, end)
    this.#open = this.#socket.write(owned ? slice : Buffer.from(slice))
  }

  /** Writes at the end of this turn of the event loop, together with others. Gives whether the socket takes more. */
  flushSoon(): boolean {
    if (this.#corked || this.#text.length > SOON_MOST) return this.flush()
    if (!this.#waits && this.#text !== '') {
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

  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
  }

  #flushText(): void {
    const text = this.#text
    this.#text = ''
    this.#open = this.#socket.write(text, 'latin1')
  }
}
