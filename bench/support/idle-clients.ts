import type { TLSSocket } from 'node:tls'
import { arrive, secure } from './visit.ts'

/** So many handshakes at a time. */
const step = 100

/** Clients that have finished their handshakes and say nothing. */
export class IdleClients implements AsyncDisposable {
  readonly #port: number
  readonly #sockets: TLSSocket[] = []
  /** Those that the server has ended. */
  lost = 0
  #leaving = false

  constructor(port: number) {
    this.#port = port
  }

  /** @throws Error when a connection is not made */
  async open(count: number): Promise<void> {
    while (this.#sockets.length < count) {
      const missing = Math.min(step, count - this.#sockets.length)
      this.#sockets.push(...(await Promise.all(Array.from({ length: missing }, () => this.#one()))))
    }
  }

  #one(): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const raw = arrive(this.#port)
      raw.once('error', reject)
      raw.once('close', () => {
        if (!this.#leaving) this.lost++
        reject(new Error('ended within the handshake'))
      })
      // Read, or their end would not be seen.
      void secure(raw).then((socket) => resolve(socket.resume()))
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaving = true
    const closed = this.#sockets.map(
      (socket) =>
        new Promise((resolve) => (socket.closed ? resolve(undefined) : socket.once('close', resolve))),
    )
    for (const socket of this.#sockets.splice(0)) socket.destroy()
    await Promise.all(closed)
  }
}
