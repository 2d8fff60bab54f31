import type { Limits } from './limits.ts'

/** Counts the connections in all and by address. */
export class Admission {
  readonly #limits: Pick<Limits, 'connections' | 'connectionsPerAddress'>
  readonly #byAddress = new Map<string, number>()
  #open = 0

  constructor(limits: Pick<Limits, 'connections' | 'connectionsPerAddress'>) {
    this.#limits = limits
  }

  /**
   * Counts a connection in; gives why not, when it is one too many. Who is let in calls `leave` at the end, with the
   * address that it was counted for.
   */
  enter(address: string | undefined): string | undefined {
    if (this.#open >= this.#limits.connections) {
      return `there are ${this.#open} connections, as many as may be`
    }
    const refused = this.assign(address)
    if (refused === undefined) this.#open += 1
    return refused
  }

  /** Counts one that has entered without an address for this one; gives why not, as `enter`. */
  assign(address: string | undefined): string | undefined {
    if (address === undefined) return undefined
    const own = this.#byAddress.get(address) ?? 0
    if (own >= this.#limits.connectionsPerAddress) {
      return `there are ${own} connections from ${address}, as many as may be`
    }
    this.#byAddress.set(address, own + 1)
    return undefined
  }

  leave(address: string | undefined): void {
    this.#open -= 1
    if (address === undefined) return
    const left = (this.#byAddress.get(address) ?? 1) - 1
    if (left === 0) this.#byAddress.delete(address)
    else this.#byAddress.set(address, left)
  }
}
