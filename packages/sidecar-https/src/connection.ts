import type { TLSSocket } from 'node:tls'
import { type Answer, sendRawAnswer } from './answer.ts'
import type { Exchange } from './exchange.ts'
import type { Limits } from './limits.ts'

/** A connection of a client: one exchange at a time, the pipelined ones waiting in order. */
export class ClientConnection {
  readonly socket: TLSSocket
  /** Without the prefix that an IPv4 address has on an IPv6 socket. */
  readonly address: string | undefined
  readonly #limits: Limits
  readonly #waiting: Exchange[] = []
  #current: Exchange | 'tunnel' | undefined
  #fault: Answer | undefined
  #quietAt = 0
  #draining = false

  constructor(socket: TLSSocket, limits: Limits) {
    this.socket = socket
    this.address = socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '')
    this.#limits = limits
  }

  /** Requests in hand: being served, or waiting for the one before. */
  get inFlight(): number {
    return this.#waiting.length + (this.#current === undefined ? 0 : 1)
  }

  /** Whether a response written now is the last of a connection that shall close. */
  get closing(): boolean {
    return this.#draining && this.#waiting.length === 0
  }

  // One at a time: a client may pipeline a read behind the write that it must see, and without a limit a thousand
  // requests in one packet would open a thousand connections to the application.
  submit(exchange: Exchange): void {
    // A head that was given up for its slowness may still come to its end.
    if (this.#fault) return
    if (this.#current === undefined) {
      this.#start(exchange)
      return
    }
    const waiting = this.#waiting.push(exchange)
    if (waiting >= this.#limits.pipelinedMost) this.socket.destroy()
    // Behind the ticks of this turn, in which Node resumes the socket for each message that has ended; but before
    // the next turn, because the system may give dozens of chunks in one.
    else if (waiting >= this.#limits.pipelinedPause) queueMicrotask(() => this.#pauseIfCrowded())
  }

  #pauseIfCrowded(): void {
    if (this.#waiting.length >= this.#limits.pipelinedPause) this.socket.pause()
  }

  #start(exchange: Exchange): void {
    this.#current = exchange
    exchange.start()
  }

  /** The exchange in hand has said its last byte. */
  release(): void {
    const ended = this.#current
    if (ended !== undefined && ended !== 'tunnel' && ended.bodyPending && !this.socket.destroyed) {
      this.#discardBody(ended)
    } else {
      this.#next()
    }
  }

  becomeTunnel(): void {
    this.#current = 'tunnel'
  }

  #discardBody(ended: Exchange): void {
    const timer = setTimeout(() => this.socket.destroy(), this.#limits.lingerMs)
    ended.discardBody(() => {
      clearTimeout(timer)
      this.#next()
    })
  }

  #next(): void {
    this.#current = undefined
    if (this.socket.destroyed) {
      this.#waiting.length = 0
      return
    }
    this.#quietAt = this.socket.bytesRead
    const next = this.#waiting.shift()
    if (next) {
      if (this.#waiting.length < this.#limits.pipelinedPause) this.socket.resume()
      this.#start(next)
    } else if (this.#fault) {
      sendRawAnswer(this.socket, this.#fault, this.#limits.lingerMs)
    } else if (this.#draining) {
      this.socket.destroySoon()
    }
  }

  /**
   * Bytes came that are no request: answers when the responses before it are out, and closes. False when they
   * belong to a request that reports its end itself, or were answered before.
   */
  fail(answer: Answer, error: Error): boolean {
    if (this.#fault) return false
    this.#fault = answer
    const current = this.#current
    if (current === undefined) {
      sendRawAnswer(this.socket, answer, this.#limits.lingerMs)
    } else if (current !== 'tunnel' && current.bodyPending) {
      current.refuse(answer, error)
      return false
    }
    return true
  }

  /** Closes when nothing is in hand, and else after it. A request of which a part has come is let in. */
  drain(): void {
    this.#draining = true
    if (this.inFlight === 0 && this.socket.bytesRead === this.#quietAt) this.socket.destroySoon()
  }
}
