import { type RingServer, weightOf } from './server.ts'

/** nginx's smooth weighted round robin: of weights 5, 1, 1 it makes a a b a c a a. */
export class RoundRobin {
  readonly #weights: readonly number[]
  readonly #current: number[]
  readonly #total: number

  constructor(servers: readonly RingServer[]) {
    this.#weights = servers.map(weightOf)
    this.#current = servers.map(() => 0)
    this.#total = this.#weights.reduce((sum, weight) => sum + weight, 0)
  }

  next(): number {
    let best = 0
    for (const [index, weight] of this.#weights.entries()) {
      this.#current[index] = (this.#current[index] ?? 0) + weight
      if ((this.#current[index] ?? 0) > (this.#current[best] ?? 0)) best = index
    }
    this.#current[best] = (this.#current[best] ?? 0) - this.#total
    return best
  }
}
