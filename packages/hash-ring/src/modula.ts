import type { KeyHash } from './key-hash.ts'
import type { Placement, Trace } from './placement.ts'
import { type RingServer, twemproxyOrder } from './server.ts'
import { WeightTable } from './weight-table.ts'

/** Hash modulo the length of a table of servers: an even split, of which nearly all moves with each change. */
export class Modula implements Placement {
  readonly shares: readonly number[]
  readonly #table: WeightTable
  readonly #hash: KeyHash

  constructor(table: WeightTable, hash: KeyHash) {
    this.#table = table
    this.#hash = hash
    this.shares = table.shares(hash.range)
  }

  get hashName(): string {
    return this.#hash.name
  }

  indexOf(bytes: Uint8Array, start: number, end: number): number {
    return this.#table.at(this.#place(bytes, start, end))
  }

  /** Those that follow in the table. */
  successors(bytes: Uint8Array, start: number, end: number, count: number): number[] {
    return this.#table.from(this.#place(bytes, start, end), count)
  }

  trace(bytes: Uint8Array, start: number, end: number): Trace {
    return { value: this.#hash.of(bytes, start, end) >>> 0, point: this.#place(bytes, start, end) }
  }

  #place(bytes: Uint8Array, start: number, end: number): number {
    return (this.#hash.of(bytes, start, end) >>> 0) % this.#table.total
  }
}

/** As twemproxy (nc_modula.c): each server as often as it weighs, in the order of twemproxy's names. */
export function modula(servers: readonly RingServer[], hash: KeyHash): Modula {
  return new Modula(new WeightTable(servers, twemproxyOrder(servers)), hash)
}

/** As libmemcached: the servers as they are listed, each once. */
export function libmemcachedModula(servers: readonly RingServer[], hash: KeyHash): Modula {
  const once = servers.map(({ name }) => ({ name }))
  return new Modula(new WeightTable(once, [...servers.keys()]), hash)
}
