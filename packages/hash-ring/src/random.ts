import { Distinct, type Placement, type Trace } from './placement.ts'

/** As twemproxy (nc_random.c): any server for each key, whatever it weighs, and another one the next time. */
export class Random implements Placement {
  readonly hashName = undefined
  readonly shares: readonly number[]

  constructor(servers: number) {
    this.shares = new Array<number>(servers).fill(1 / servers)
  }

  indexOf(): number {
    return Math.floor(Math.random() * this.shares.length)
  }

  successors(_bytes: Uint8Array, _start: number, _end: number, count: number): number[] {
    const distinct = new Distinct(this.shares.length, count)
    const first = this.indexOf()
    distinct.add(first)
    return distinct.fillFrom(first)
  }

  trace(): Trace {
    return { value: undefined, point: undefined }
  }
}
