/** What git calls special packets. */
export type Mark = 'flush' | 'delimiter' | 'response-end'

/** The payload of one line, valid until the reader is given more, or a mark. */
export type PktLine = Buffer | Mark

/** The bytes are no pkt-lines (gitprotocol-common(5)), or longer ones than are taken. */
export class PktLineError extends Error {
  override readonly name = 'PktLineError'
}

const HEAD_BYTES = 4
const LONGEST = 65_520
const MARKS = ['flush', 'delimiter', 'response-end'] as const

export const FLUSH = '0000'
export const DELIMITER = '0001'

/** One line as it is sent. */
export function pktLine(text: string): string {
  const length = HEAD_BYTES + Buffer.byteLength(text)
  if (length > LONGEST) throw new PktLineError(`a line of ${length} bytes, at most ${LONGEST} may be`)
  return length.toString(16).padStart(HEAD_BYTES, '0') + text
}

/** Reads pkt-lines from a stream cut anywhere; holds no more than one line. */
export class PktLineReader {
  readonly #maxPayload: number
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #headSeen = 0
  /** What has come of a payload that is not whole yet. */
  #payload: Buffer | undefined
  #payloadSeen = 0

  constructor(maxPayload = LONGEST - HEAD_BYTES) {
    this.#maxPayload = maxPayload
  }

  /** Whether the stream may end here: no line has begun. */
  get isBetweenLines(): boolean {
    return this.#headSeen === 0
  }

  /**
   * The lines that these bytes complete.
   * @throws PktLineError, after which the reader is of no use
   */
  *read(chunk: Buffer): Generator<PktLine> {
    let at = 0
    while (at < chunk.length) {
      if (this.#payload === undefined) {
        const taken = chunk.copy(this.#head, this.#headSeen, at)
        at += taken
        this.#headSeen += taken
        if (this.#headSeen < HEAD_BYTES) return
        const length = this.#lengthOfLine()
        const mark = MARKS[length]
        if (mark !== undefined || length === HEAD_BYTES) {
          this.#headSeen = 0
          yield mark ?? Buffer.alloc(0)
          continue
        }
        const payload = length - HEAD_BYTES
        if (chunk.length - at >= payload) {
          this.#headSeen = 0
          at += payload
          yield chunk.subarray(at - payload, at)
          continue
        }
        this.#payload = Buffer.allocUnsafe(payload)
        this.#payloadSeen = 0
      }
      const payload = this.#payload
      const taken = chunk.copy(payload, this.#payloadSeen, at)
      at += taken
      this.#payloadSeen += taken
      if (this.#payloadSeen < payload.length) return
      this.#payload = undefined
      this.#headSeen = 0
      yield payload
    }
  }

  #lengthOfLine(): number {
    const digits = this.#head.toString('latin1')
    const length = /^[0-9a-f]{4}$/i.test(digits) ? Number.parseInt(digits, 16) : Number.NaN
    const isLine = length >= HEAD_BYTES || length < MARKS.length
    if (!isLine || length > LONGEST)
      throw new PktLineError(`${JSON.stringify(digits)} is no length of a line`)
    if (length - HEAD_BYTES > this.#maxPayload) {
      throw new PktLineError(`a line of ${length} bytes, at most ${this.#maxPayload + HEAD_BYTES} are taken`)
    }
    return length
  }
}
