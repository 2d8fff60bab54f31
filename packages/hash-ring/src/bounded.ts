import type { Ring } from './ring.ts'
import { weightOf } from './server.ts'

/**
 * Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018), over any ring: no server has more
 * than `factor` times its fair share of what is under way, rounded up. A key whose server is full goes to the next one
 * that is not; the others stay where they are.
 */
export class BoundedLoad {
  readonly ring: Ring
  /** What is under way at each server, by index. */
  readonly loads: Int32Array
  /** What is under way at all of them. */
  total = 0
  readonly #factor: number
  /** Share of the weight, by index; 0 of servers to which no key goes. */
  readonly #fair: Float64Array

  /** @param factor 1 is a perfect split and much moving about; 1.25 to 2 are usual */
  constructor(ring: Ring, factor: number) {
    if (!(factor >= 1)) throw new Error(`load factor ${factor}: must be a number from 1, such as 1.25`)
    this.ring = ring
    this.#factor = factor
    this.loads = new Int32Array(ring.servers.length)
    const { shares } = ring.placement
    this.#fair = Float64Array.from(ring.servers, (server, at) => (shares[at] === 0 ? 0 : weightOf(server)))
    const total = this.#fair.reduce((sum, weight) => sum + weight, 0)
    for (const [at, weight] of this.#fair.entries()) this.#fair[at] = weight / total
  }

  /** The server for one more piece of work on a key; `release` it when it is done. */
  take(bytes: Uint8Array, start: number, end: number): number {
    const home = this.ring.indexOf(bytes, start, end)
    if (this.#hasRoom(home)) return this.#add(home)
    const others = this.ring.successors(bytes, start, end, this.ring.servers.length)
    return this.#add(others.find((index) => this.#hasRoom(index)) ?? home)
  }

  release(index: number): void {
    const load = this.loads[index] ?? 0
    if (load === 0) throw new Error(`server ${index} is released more often than it was taken`)
    this.loads[index] = load - 1
    this.total -= 1
  }

  /** What a server may have under way when one more comes in. */
  capacity(index: number): number {
    return Math.ceil(this.#factor * (this.total + 1) * (this.#fair[index] ?? 0))
  }

  #hasRoom(index: number): boolean {
    return (this.loads[index] ?? 0) < this.capacity(index)
  }

  #add(index: number): number {
    this.loads[index] = (this.loads[index] ?? 0) + 1
    this.total += 1
    return index
  }
}
