/** Who waits for replies of a shard. */
export interface ReplySink {
  /** Bytes of its replies, in their order, so many of which end in them. The memory is lent for the call. */
  reply(bytes: Buffer, start: number, end: number, ended: number): void
  /** So many of its replies will not come. @param reason what is said to the client, with its code */
  lost(count: number, reason: string): void
}

/** Throws replies away. */
export const NOBODY: ReplySink = {
  reply: () => undefined,
  lost: () => undefined,
}

/** Gives replies, which come one at a time, as a whole. */
export class WholeReplies implements ReplySink {
  readonly #take: (bytes: Buffer) => void
  readonly #onLost: (reason: string) => void
  readonly #gathers: (bytes: number) => boolean
  #pieces: Buffer[] = []

  /** @param gathers asked before bytes are kept: whether anybody waits for them */
  constructor(
    take: (bytes: Buffer) => void,
    onLost: (reason: string) => void = () => undefined,
    gathers: (bytes: number) => boolean = () => true,
  ) {
    this.#take = take
    this.#onLost = onLost
    this.#gathers = gathers
  }

  reply(bytes: Buffer, start: number, end: number, ended: number): void {
    if (!this.#gathers(end - start)) {
      this.#pieces = []
      return
    }
    const piece = Buffer.from(bytes.subarray(start, end))
    this.#pieces.push(piece)
    if (ended === 0) return
    const whole = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces)
    this.#pieces = []
    this.#take(whole)
  }

  lost(_count: number, reason: string): void {
    this.#pieces = []
    this.#onLost(reason)
  }
}
