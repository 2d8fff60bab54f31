/** One way to choose servers for keys. Keys are ranges of bytes, servers indexes; no call of `indexOf` allocates. */
export interface Placement {
  /** What hashes the keys; undefined where nothing does. */
  readonly hashName: string | undefined
  /** The share of all hashes that each server has, by index; their sum is 1. */
  readonly shares: readonly number[]
  indexOf(bytes: Uint8Array, start: number, end: number): number
  /** So many distinct servers, as they stand in for each other; `indexOf`'s first. The count is 1 at least. */
  successors(bytes: Uint8Array, start: number, end: number, count: number): number[]
  /** How the server of a key is found, for people to look at. */
  trace(bytes: Uint8Array, start: number, end: number): Trace
}

export interface Trace {
  /** Hash of the key. */
  readonly value: number | bigint | undefined
  /** The point that the hash leads to: on a ring, or in a table. */
  readonly point: number | undefined
}

/** The distinct indexes found so far, to which one that is new is added. */
export class Distinct {
  readonly found: number[] = []
  readonly #seen: Uint8Array
  readonly #wanted: number

  constructor(servers: number, count: number) {
    this.#seen = new Uint8Array(servers)
    this.#wanted = Math.min(count, servers)
  }

  get isFull(): boolean {
    return this.found.length >= this.#wanted
  }

  /** Whether the index is new. */
  add(index: number): boolean {
    if (this.#seen[index] === 1) return false
    this.#seen[index] = 1
    this.found.push(index)
    return true
  }

  /** Fills up by the order of the servers, from the one after an index. */
  fillFrom(index: number): number[] {
    for (let step = 1; !this.isFull && step <= this.#seen.length; step += 1) {
      this.add((index + step) % this.#seen.length)
    }
    return this.found
  }
}
