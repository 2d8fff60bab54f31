import type { Writable } from 'node:stream'

/** Smaller pieces are copied and joined, because a system call costs more; larger ones are sent as they are. */
const SMALL = 4 * 1024

/** Joins what one turn of the event loop writes to a socket. */
export class Outbox {
  readonly #socket: Writable
  #text = ''
  #corked = false
  #open = true

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

  /** Whether the socket takes more; when not, its 'drain' tells. */
  flush(): boolean {
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
