import { HEX, NAME, VALUE } from './characters.ts'
import { type Fault, HOP_BY_HOP, isForged, plainName } from './head.ts'

/** Where the bytes of a body go; `end` is exclusive. */
export interface BodySink {
  bodyData(bytes: Buffer, start: number, end: number): void
  /** @param trailers lines that may go on, each with its end */
  bodyEnd(trailers: string): void
}

type ChunkState =
  | 'size'
  | 'extension'
  | 'size-lf'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailer'
  | 'trailer-lf'
  | 'last-lf'

const CR = 0x0d
const LF = 0x0a
// 2^48: digits beyond would lose the exact number.
const MOST_DIGITS = 12

/** How much of a chunked body may be something else than content; bytes. */
export interface ChunkLimits {
  /** Of the extensions of all chunks that have less content than extension (CVE-2024-22019). */
  extensionBytes: number
  trailerBytes: number
}

/** Reads the body of a message, whose framing is known, out of what arrives. */
export class BodyReader {
  /** What is wrong with the framing, once `read` has given -1. */
  fault: Fault | undefined
  finished = false
  readonly #sink: BodySink
  #mode: 'length' | 'chunked' | 'close'
  /** Bytes of the body, or of the chunk, that have not come. */
  #left: number
  #state: ChunkState = 'size'
  #digits = 0
  #overhead = 0
  #trailers = ''
  readonly #limits: ChunkLimits
  readonly #withheld: readonly string[]

  /**
   * @param framing bytes of a Content-Length, more than 0; or `chunked`; or `close`, whose end is the connection's
   * @param withheld names of trailers, as `plainName` gives them, that are not passed on
   */
  constructor(
    framing: number | 'chunked' | 'close',
    sink: BodySink,
    limits: ChunkLimits,
    withheld: readonly string[],
  ) {
    this.#withheld = withheld
    this.#mode = typeof framing === 'number' ? 'length' : framing
    this.#left = typeof framing === 'number' ? framing : 0
    this.#sink = sink
    this.#limits = limits
  }

  /** Whether the end of the connection is the end of the body. */
  get untilClose(): boolean {
    return this.#mode === 'close'
  }

  /** Gives where the body's bytes end in `bytes`, or -1 when they are malformed. */
  read(bytes: Buffer, start: number, end: number): number {
    if (this.#mode === 'chunked') return this.#readChunks(bytes, start, end)
    if (this.#mode === 'close') {
      this.#sink.bodyData(bytes, start, end)
      return end
    }
    const stop = Math.min(end, start + this.#left)
    this.#left -= stop - start
    this.#sink.bodyData(bytes, start, stop)
    if (this.#left === 0) this.#finish()
    return stop
  }

  #finish(): void {
    this.finished = true
    this.#sink.bodyEnd(this.#trailers)
  }

  #fail(reason: string, status = 400): -1 {
    this.fault = { status, reason }
    return -1
  }

  #readChunks(bytes: Buffer, start: number, end: number): number {
    let at = start
    while (at < end) {
      const byte = bytes[at] ?? 0
      switch (this.#state) {
        case 'size': {
          const digit = HEX[byte] ?? 255
          if (digit !== 255) {
            this.#digits += 1
            if (this.#digits > MOST_DIGITS) return this.#fail('a chunk size is too large')
            this.#left = this.#left * 16 + digit
          } else if (this.#digits === 0) {
            return this.#fail('a chunk has no size')
          } else if (byte === CR) {
            this.#state = 'size-lf'
          } else if (byte === 0x3b) {
            this.#state = 'extension'
          } else {
            return this.#fail('a chunk size is malformed')
          }
          at += 1
          break
        }
        case 'extension':
          if (byte === CR) this.#state = 'size-lf'
          else if (VALUE[byte] === 0) return this.#fail('a chunk extension is malformed')
          this.#overhead += 1
          if (this.#overhead > this.#limits.extensionBytes)
            return this.#fail('chunk extensions are too large', 413)
          at += 1
          break
        case 'size-lf':
          if (byte !== LF) return this.#fail('a chunk size is malformed')
          this.#digits = 0
          this.#state = this.#left === 0 ? 'trailer' : 'data'
          if (this.#left === 0 || this.#left > this.#overhead) this.#overhead = 0
          at += 1
          break
        case 'data': {
          const stop = Math.min(end, at + this.#left)
          this.#left -= stop - at
          this.#sink.bodyData(bytes, at, stop)
          at = stop
          if (this.#left === 0) this.#state = 'data-cr'
          break
        }
        case 'data-cr':
          if (byte !== CR) return this.#fail('a chunk is longer than its size')
          this.#state = 'data-lf'
          at += 1
          break
        case 'data-lf':
          if (byte !== LF) return this.#fail('a chunk is longer than its size')
          this.#state = 'size'
          at += 1
          break
        case 'trailer': {
          const from = at
          const stop = Math.min(end, at + this.#limits.trailerBytes - this.#overhead)
          while (at < stop && VALUE[bytes[at] ?? 0] !== 0) at += 1
          this.#trailers += bytes.toString('latin1', from, at)
          this.#overhead += at - from
          if (at === end) break
          if (at === stop) return this.#fail('the trailers are too large', 431)
          if (bytes[at] !== CR) return this.#fail('a trailer is malformed')
          this.#state = this.#trailers === '' || this.#trailers.endsWith('\n') ? 'last-lf' : 'trailer-lf'
          this.#overhead += 1
          at += 1
          break
        }
        case 'trailer-lf':
          if (byte !== LF) return this.#fail('a trailer is malformed')
          this.#trailers += '\r\n'
          this.#state = 'trailer'
          at += 1
          break
        case 'last-lf': {
          if (byte !== LF) return this.#fail('the end of the chunks is malformed')
          if (this.#trailers !== '') {
            const kept = trailerLines(this.#trailers, this.#withheld)
            if (kept === undefined) return this.#fail('a trailer is malformed')
            this.#trailers = kept
          }
          this.#finish()
          return at + 1
        }
      }
    }
    return end
  }
}

// Some applications merge trailers into the headers, so what may not be a header may not be a trailer (RFC 9110 6.5.1).
const FORBIDDEN = new Set([
  ...HOP_BY_HOP,
  'host',
  'content-length',
  'authorization',
  'cookie',
  'set-cookie',
  'content-encoding',
  'content-type',
  'content-range',
  'expect',
  'cache-control',
  'max-forwards',
])

/** The trailers that may go on; undefined when one is malformed. */
export function trailerLines(lines: string, withheld: readonly string[]): string | undefined {
  let kept = ''
  for (const line of lines.split('\r\n').slice(0, -1)) {
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(0, colon))
    if (name === '') return undefined
    for (let index = 0; index < name.length; index += 1)
      if (NAME[name.charCodeAt(index)] === 0) return undefined
    const plain = plainName(name)
    if (!FORBIDDEN.has(plain) && !isForged(plain) && !withheld.includes(plain)) kept += `${line}\r\n`
  }
  return kept
}
