import { decimal } from './decimal.ts'
import { isDigit, isDouble } from './double.ts'

/** What a reply may be. A server stays within them for all that a client can make it say. */
export interface ReplyLimits {
  /** Aggregates within each other; Lua's stack lets a script answer with nearly 8000. */
  readonly depth: number
  /** Elements of one aggregate; of a map, pairs. */
  readonly elements: number
  /** Bytes of one string; more than what Redis keeps as a value, for the sake of DUMP and Lua. */
  readonly bulkBytes: number
  /** Bytes of a status, an error or a big number. */
  readonly lineBytes: number
}

export const REPLY_LIMITS: ReplyLimits = {
  depth: 8_192,
  elements: 4_294_967_295,
  bulkBytes: 4_294_967_295,
  lineBytes: 65_536,
}

type State =
  /** Before the first byte of a reply or of an element. */
  | 'type'
  /** Within the line that begins an element; what has come of it is kept. */
  | 'line'
  /** Within a status or an error. */
  | 'text'
  /** Before the sign of a big number. */
  | 'sign'
  | 'number'
  | 'line-lf'
  /** Before the format of a verbatim string, which a colon ends. */
  | 'format'
  | 'body'
  | 'body-cr'
  | 'body-lf'
  /** Before a piece of a streamed string. */
  | 'piece'
  /** Behind the last byte of an element. */
  | 'done'

const LF = 0x0a
const CR = 0x0d
const BANG = 0x21
const HASH = 0x23
const DOLLAR = 0x24
const PERCENT = 0x25
const OPEN = 0x28
const STAR = 0x2a
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const COLON = 0x3a
const SEMICOLON = 0x3b
const EQUALS = 0x3d
const GREATER = 0x3e
const QUESTION = 0x3f
const UNDERSCORE = 0x5f
const LOWER_F = 0x66
const LOWER_T = 0x74
const BAR = 0x7c
const TILDE = 0x7e

// What begins with a line of its own, that is not text.
const TYPES = new Uint8Array(256)
for (const type of Buffer.from('$:*%~>|_#,!=.')) TYPES[type] = 1

// Lengths, integers and doubles have at most 20 and 25 bytes where Redis writes them.
const MOST_LINE = 62

/**
 * Finds where the replies of a server end, RESP2 and RESP3, without building values. It takes the stream as it comes:
 * what has been scanned can go on at once, and nothing of it is kept but the beginning of a line that was cut.
 */
export class ReplyScanner {
  /** What is wrong with the stream; empty as long as nothing is. Stays: where the next reply begins is unknown. */
  fault = ''
  /** First byte of the reply that is being read, or was last read; its attributes come before it. */
  type = 0
  /** Whether that is a push: no request waits for it. */
  push = false

  readonly #limits: ReplyLimits
  #state: State = 'type'
  /** Bytes of a string that have not come. */
  #left = 0
  /** Bytes of a status, error or number so far; of a streamed string; of a format. */
  #count = 0
  /** Whether pieces of a streamed string go on. */
  #streamed = false
  /** Whether an attribute has just ended: something must follow that it belongs to. */
  #attributed = false
  #depth = 0
  /** For each open aggregate: elements that have not come, or -1 less those that have come where a dot ends it. */
  #pending = new Float64Array(8)
  /** The first byte of each. */
  #kinds = new Uint8Array(8)
  readonly #line = new Uint8Array(MOST_LINE + 2)
  #lineLength = 0

  constructor(limits: Partial<ReplyLimits> = {}) {
    this.#limits = { ...REPLY_LIMITS, ...limits }
  }

  /**
   * Scans what comes next of the stream, and gives the offset just behind the first reply that ends there. -1 when
   * none does and all was taken, or when `fault` says what is wrong.
   */
  scan(bytes: Uint8Array, start: number, end: number): number {
    if (this.fault !== '') return -1
    let at = start
    while (at < end) {
      switch (this.#state) {
        case 'type': {
          const type = bytes[at] ?? 0
          if (this.#depth === 0) {
            this.type = type
            this.push = type === GREATER
          }
          if (type === PLUS || type === MINUS || type === OPEN) {
            this.#state = type === OPEN ? 'sign' : 'text'
            this.#count = 0
            at += 1
            break
          }
          at = this.#beginLine(bytes, at, end, TYPES[type] === 1)
          if (at < 0) return -1
          break
        }
        case 'body':
          if (this.#left > end - at) {
            this.#left -= end - at
            return -1
          }
          at += this.#left
          this.#state = 'body-cr'
          if (at + 1 < end && bytes[at] === CR && bytes[at + 1] === LF) {
            at += 2
            this.#endString()
          }
          break
        case 'piece':
          at = this.#beginLine(bytes, at, end, bytes[at] === SEMICOLON)
          if (at < 0) return -1
          break
        case 'line':
          at = this.#resumeLine(bytes, at, end)
          if (at < 0) return -1
          break
        case 'text': {
          let to = at
          while (to < end && bytes[to] !== CR && bytes[to] !== LF) to += 1
          at = this.#endText(bytes, at, to, end)
          if (at < 0) return -1
          break
        }
        case 'sign':
          if (bytes[at] === MINUS) at += 1
          this.#state = 'number'
          break
        case 'number': {
          let to = at
          while (to < end && isDigit(bytes[to])) to += 1
          at = this.#endText(bytes, at, to, end)
          if (at < 0) return -1
          break
        }
        case 'line-lf':
          if (bytes[at] !== LF) return this.#fail('a line ends without LF')
          at += 1
          this.#state = 'done'
          break
        case 'format':
          // Three letters, then the colon.
          this.#count += 1
          if (this.#count === 4) {
            if (bytes[at] !== COLON) return this.#fail('the format of a verbatim string is malformed')
            this.#state = 'body'
          }
          at += 1
          break
        case 'body-cr':
          if (bytes[at] !== CR) return this.#fail('a string is longer than its length')
          this.#state = 'body-lf'
          at += 1
          break
        case 'body-lf':
          if (bytes[at] !== LF) return this.#fail('a string is longer than its length')
          at += 1
          this.#endString()
          break
      }
      if (this.#state === 'done' && this.#endElement()) return at
      if (this.fault !== '') return -1
    }
    return -1
  }

  #fail(reason: string): -1 {
    this.fault = reason
    return -1
  }

  /** Reads the line that begins at `at`, or keeps what has come of it; gives where to go on, or -1. */
  #beginLine(bytes: Uint8Array, at: number, end: number, known: boolean): number {
    if (!known) return this.#malformed(bytes, at, at + 1)
    const next = this.#readLine(bytes, at, end)
    if (next < 0 && this.fault === '') {
      for (let index = at; index < end; index += 1) this.#line[index - at] = bytes[index] ?? 0
      this.#lineLength = end - at
      this.#state = 'line'
    }
    return next
  }

  /** As `beginLine`, of a line whose beginning was kept. */
  #resumeLine(bytes: Uint8Array, at: number, end: number): number {
    const kept = this.#lineLength
    const room = Math.min(end - at, this.#line.length - kept)
    for (let index = 0; index < room; index += 1) this.#line[kept + index] = bytes[at + index] ?? 0
    this.#lineLength = kept + room
    const next = this.#readLine(this.#line, 0, this.#lineLength)
    return next < 0 ? -1 : at + next - kept
  }

  /** A status, error or number goes on from `at` to `to`; gives where to go on, or -1. */
  #endText(bytes: Uint8Array, at: number, to: number, end: number): number {
    this.#count += to - at
    if (this.#count > this.#limits.lineBytes) {
      return this.#fail(`a line is longer than ${this.#limits.lineBytes} bytes`)
    }
    if (to === end) return to
    if (bytes[to] !== CR) return this.#fail('a line holds a byte that it must not')
    if (this.#state === 'number' && this.#count === 0) return this.#fail('a big number has no digits')
    this.#state = 'line-lf'
    return to + 1
  }

  /** Reads the line that begins at `at`; gives where it ends, or -1 where it has not or is malformed. */
  #readLine(bytes: Uint8Array, at: number, end: number): number {
    const stop = Math.min(end, at + MOST_LINE)
    let to = at + 1
    while (to < stop && bytes[to] !== CR && bytes[to] !== LF) to += 1
    if (to >= stop) return to < at + MOST_LINE ? -1 : this.#malformed(bytes, at, stop)
    if (bytes[to] === LF) return this.#malformed(bytes, at, to)
    if (to + 1 === end) return -1
    if (bytes[to + 1] !== LF) return this.#malformed(bytes, at, to)
    return this.#readElement(bytes, at, to) ? to + 2 : this.#malformed(bytes, at, to)
  }

  #malformed(bytes: Uint8Array, from: number, to: number): -1 {
    // A limit has its own words.
    if (this.fault !== '') return -1
    return this.#fail(`${JSON.stringify(String.fromCharCode(...bytes.subarray(from, to)))} begins no reply`)
  }

  /** Reads the line of an element, from its type on; gives whether it is one. */
  #readElement(bytes: Uint8Array, at: number, to: number): boolean {
    const type = bytes[at] ?? 0
    if (this.#streamed) return type === SEMICOLON && this.#beginPiece(decimal(bytes, at + 1, to))
    this.#state = 'done'
    switch (type) {
      case DOLLAR:
        if (isQuestion(bytes, at, to)) {
          this.#streamed = true
          this.#count = 0
          this.#state = 'piece'
          return true
        }
        return isNull(bytes, at, to) || this.#beginString(decimal(bytes, at + 1, to), 0)
      case COLON:
        return !Number.isNaN(decimal(bytes, at + 1, to))
      case STAR:
        return isNull(bytes, at, to) || this.#begin(type, bytes, at, to)
      case PERCENT:
      case TILDE:
      case GREATER:
      case BAR:
        return this.#begin(type, bytes, at, to)
      case UNDERSCORE:
        return to === at + 1
      case HASH:
        return to === at + 2 && (bytes[at + 1] === LOWER_T || bytes[at + 1] === LOWER_F)
      case COMMA:
        return isDouble(bytes, at + 1, to)
      case BANG:
        return this.#beginString(decimal(bytes, at + 1, to), 0)
      case EQUALS:
        return this.#beginString(decimal(bytes, at + 1, to), 4)
      case DOT:
        return to === at + 1 && this.#endStreamed()
      default:
        return false
    }
  }

  /** @param format bytes of it that go before the string */
  #beginString(length: number, format: number): boolean {
    if (!(length >= format) || this.#isTooLong(length)) return false
    this.#left = length - format
    this.#count = 0
    this.#state = format > 0 ? 'format' : 'body'
    return true
  }

  #beginPiece(length: number): boolean {
    this.#count += length
    if (!(length >= 0) || this.#isTooLong(this.#count)) return false
    this.#left = length
    this.#streamed = length > 0
    this.#state = length > 0 ? 'body' : 'done'
    return true
  }

  #isTooLong(length: number): boolean {
    if (length <= this.#limits.bulkBytes) return false
    this.#fail(`a string has ${length} bytes, more than ${this.#limits.bulkBytes}`)
    return true
  }

  #endString(): void {
    this.#state = this.#streamed ? 'piece' : 'done'
  }

  #begin(type: number, bytes: Uint8Array, at: number, to: number): boolean {
    const endless = isQuestion(bytes, at, to)
    // What a push or an attribute holds is never streamed (RESP3, "Streamed aggregated data types").
    if (endless && (type === GREATER || type === BAR)) return false
    const count = endless ? -1 : decimal(bytes, at + 1, to)
    if (!endless && !(count >= 0)) return false
    if (count === 0) {
      if (type === BAR) this.#endAttribute()
      return true
    }
    const { elements, depth } = this.#limits
    if (count > elements) this.#fail(`an aggregate has ${count} elements, more than ${elements}`)
    if (this.#depth === depth) this.#fail(`aggregates lie within each other, more than ${depth}`)
    if (this.fault !== '') return false
    if (this.#depth === this.#kinds.length) this.#grow()
    this.#pending[this.#depth] = endless ? -1 : count * widthOf(type)
    this.#kinds[this.#depth] = type
    this.#depth += 1
    this.#attributed = false
    this.#state = 'type'
    return true
  }

  #endAttribute(): void {
    this.#attributed = true
    this.#state = 'type'
  }

  /** The dot: whether something can end here. */
  #endStreamed(): boolean {
    const top = this.#depth - 1
    const pending = this.#pending[top] ?? 0
    if (top < 0 || pending >= 0 || this.#attributed) return false
    if ((-1 - pending) % widthOf(this.#kinds[top] ?? 0) !== 0) return false
    this.#depth = top
    return true
  }

  /** An element has ended; gives whether the reply has. */
  #endElement(): boolean {
    this.#state = 'type'
    this.#attributed = false
    while (this.#depth > 0) {
      const top = this.#depth - 1
      const kind = this.#kinds[top] ?? 0
      const pending = (this.#pending[top] ?? 0) - 1
      if (pending !== 0) {
        this.#pending[top] = pending
        if (pending < 0 && -1 - pending > this.#limits.elements * widthOf(kind))
          this.#fail(`an aggregate has more than ${this.#limits.elements} elements`)
        return false
      }
      this.#depth = top
      if (kind === BAR) {
        this.#endAttribute()
        return false
      }
    }
    return true
  }

  #grow(): void {
    const pending = new Float64Array(2 * this.#pending.length)
    const kinds = new Uint8Array(2 * this.#kinds.length)
    pending.set(this.#pending)
    kinds.set(this.#kinds)
    this.#pending = pending
    this.#kinds = kinds
  }
}

/** Replies that one element of an aggregate consists of. */
function widthOf(type: number): number {
  return type === PERCENT || type === BAR ? 2 : 1
}

/** `$?`: the length is not known, the end will be said. */
function isQuestion(bytes: Uint8Array, at: number, to: number): boolean {
  return to === at + 2 && bytes[at + 1] === QUESTION
}

/** `$-1`, `*-1`: what RESP2 has for null. */
function isNull(bytes: Uint8Array, at: number, to: number): boolean {
  return to === at + 3 && bytes[at + 1] === MINUS && bytes[at + 2] === ZERO + 1
}
