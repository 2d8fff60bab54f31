import { type RingServer, weightOf } from './server.ts'

/** A table in which each server stands as often as it weighs, without being written out. */
export class WeightTable {
  /** Length of the table. */
  readonly total: number
  readonly #order: readonly number[]
  /** Where each server ends, in the order of the table; exclusive. */
  readonly #ends: Int32Array

  /** @param order the indexes of the servers as they stand in the table */
  constructor(servers: readonly RingServer[], order: readonly number[]) {
    let total = 0
    this.#order = order
    this.#ends = Int32Array.from(order, (index) => {
      total += weightOf(servers[index] ?? { name: '' })
      return total
    })
    this.total = total
  }

  /** The index of the server at a place. */
  at(place: number): number {
    return this.#order[this.#position(place)] ?? 0
  }

  /** So many servers in the order of the table, from the one at a place. */
  from(place: number, count: number): number[] {
    const position = this.#position(place)
    return [...this.#order.slice(position), ...this.#order.slice(0, position)].slice(0, count)
  }

  /** The share of each server, by index, of the hashes from 0 up to a range, which are taken modulo the total. */
  shares(range: number): number[] {
    const shares = new Array<number>(this.#order.length).fill(0)
    const rounds = Math.floor(range / this.total)
    const left = range % this.total
    let from = 0
    for (const [place, to] of this.#ends.entries()) {
      const once = Math.max(0, Math.min(to, left) - from)
      shares[this.#order[place] ?? 0] = (rounds * (to - from) + once) / range
      from = to
    }
    return shares
  }

  #position(place: number): number {
    let low = 0
    let high = this.#ends.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ends[middle] ?? 0) <= place) low = middle + 1
      else high = middle
    }
    return low
  }
}
