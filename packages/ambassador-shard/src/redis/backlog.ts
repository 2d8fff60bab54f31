const NOTHING = Buffer.alloc(0)

/** What has come of a client and was not used: one memory that grows with it, so that nothing is copied for each piece. */
export class Backlog {
  #memory: Buffer = NOTHING
  #length = 0

  get length(): number {
    return this.#length
  }

  /** All of it; lent until the next change. */
  get bytes(): Buffer {
    return this.#length === this.#memory.length ? this.#memory : this.#memory.subarray(0, this.#length)
  }

  /** @param wanted how many bytes in all are known to be needed, where that is known */
  add(bytes: Buffer, wanted: number): void {
    const length = this.#length + bytes.length
    if (length > this.#memory.length) {
      // What has come decides, not what was announced.
      const room = wanted < length ? 2 * length : Math.min(wanted, 2 * length)
      const larger = Buffer.allocUnsafeSlow(room)
      this.#memory.copy(larger, 0, 0, this.#length)
      this.#memory = larger
    }
    bytes.copy(this.#memory, this.#length)
    this.#length = length
  }

  /** Gives up what was used. */
  use(count: number): void {
    if (count === 0) return
    // The memory it came in may be much larger, and is gone with it.
    this.#memory = count < this.#length ? Buffer.from(this.bytes.subarray(count)) : NOTHING
    this.#length -= count
  }

  /** Takes memory over while there is nothing else. */
  take(bytes: Buffer): void {
    this.#memory = bytes
    this.#length = bytes.length
  }

  clear(): void {
    this.#memory = NOTHING
    this.#length = 0
  }
}
