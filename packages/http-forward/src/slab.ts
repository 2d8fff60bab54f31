/** How much is read at once where much comes. */
export const SLAB_BYTES = 64 * 1024

/** Unused ones that are kept. */
const KEPT_MOST = 64

const unused: Slab[] = []

/**
 * Memory to read into that is used again once all that was read from it is written: allocated anew for each read it would
 * keep the garbage collector busy, which a body of a mebibyte then costs as much as its encryption.
 */
export class Slab {
  readonly memory: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #holders = 0
  /** Lets go once; a property, so that it can be a callback as it is. */
  readonly release = (): void => {
    this.#holders -= 1
    if (this.#holders === 0 && unused.length < KEPT_MOST) unused.push(this)
  }

  /** A slab that the caller holds. */
  static take(): Slab {
    const slab = unused.pop() ?? new Slab()
    slab.#holders = 1
    return slab
  }

  /** Whether somebody besides the caller holds it. */
  get shared(): boolean {
    return this.#holders > 1
  }

  /** Keeps it as it is until one more `release`. */
  hold(): void {
    this.#holders += 1
  }
}

/** To whom memory belongs: true, to whoever has it; false, to its lender, who takes it back after the call. */
export type Owner = Slab | boolean
