import type { Socket } from 'node:net'
import { PAGE_BYTES, Page } from './page.ts'

/** Larger pieces are copied on their own: a page would not hold them. */
const LARGE = PAGE_BYTES / 2

// One system call for each socket and turn of the event loop, however many commands or replies it carries.
let waiting: Outbox[] = []
let flushing: Outbox[] = []
let isFlushing = false

function flushWaiting(): void {
  const boxes = waiting
  waiting = flushing
  flushing = boxes
  isFlushing = true
  for (const box of boxes) if (!box.ripe()) waiting.push(box)
  isFlushing = false
  boxes.length = 0
  if (waiting.length > 0) setImmediate(flushWaiting)
}

/** Turns of the event loop for which output waits for what is expected to follow it. */
const PATIENCE = 2

/** Joins what one turn of the event loop writes to a socket. */
export class Outbox {
  readonly #socket: Socket
  #page: Page | undefined
  #length = 0
  #waits = false
  #turns = 0
  /** Whether more will follow soon, such as the replies of other shards: then one write may carry all. */
  expects = false

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Bytes that are not with the system yet. */
  get waitingBytes(): number {
    return this.#length + this.#socket.writableLength
  }

  /** Copies bytes; they go out at the end of this turn. */
  bytes(bytes: Buffer, start: number, end: number): void {
    const size = end - start
    if (size > PAGE_BYTES - this.#length) {
      this.#flushPage()
      if (size > LARGE) {
        this.#socket.write(Buffer.from(bytes.subarray(start, end)))
        return
      }
    }
    const page = this.#pageFor(this.#length + size)
    bytes.copy(page.memory, this.#length, start, end)
    this.#length += size
    this.#await()
  }

  /** The page, in which there is room for so many bytes in all. */
  #pageFor(bytes: number): Page {
    const page = this.#page
    if (page !== undefined && bytes <= page.memory.length) return page
    const taken = Page.take(bytes)
    if (page !== undefined) {
      page.memory.copy(taken.memory, 0, 0, this.#length)
      page.release()
    }
    this.#page = taken
    return taken
  }

  /** Takes bytes over, which nobody may change any more. */
  own(bytes: Buffer): void {
    if (bytes.length <= LARGE) {
      this.bytes(bytes, 0, bytes.length)
      return
    }
    this.#flushPage()
    this.#socket.write(bytes)
  }

  /** Flushes at the end of a turn; gives false where it is worth waiting one more. */
  ripe(): boolean {
    if (this.expects && this.#turns < PATIENCE && this.#length < LARGE && this.#page !== undefined) {
      this.#turns += 1
      return false
    }
    this.flush()
    return true
  }

  flush(): void {
    this.#waits = false
    this.#turns = 0
    this.#flushPage()
  }

  #await(): void {
    if (this.#waits) return
    this.#waits = true
    if (waiting.push(this) === 1 && !isFlushing) setImmediate(flushWaiting)
  }

  #flushPage(): void {
    const page = this.#page
    if (page === undefined) return
    this.#page = undefined
    this.#socket.write(page.memory.subarray(0, this.#length))
    this.#length = 0
    // Mostly the system has taken it at once. A callback that says so would cost a tick for each write, so what a slow
    // reader leaves waiting is given up to the garbage collector instead.
    if (this.#socket.writableLength === 0) page.release()
  }
}
