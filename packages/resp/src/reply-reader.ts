import { ReplyScanner } from './reply-scanner.ts'

/** Keys and values in the order of the server; a key may be any reply. */
export type Entries = readonly (readonly [Reply, Reply])[]

/** The value of a reply. What is text is a piece of the bytes that were read, not a copy. */
export type Reply = (
  | { readonly type: 'simple'; readonly bytes: Buffer }
  /** Code and message, of `-` and `!` alike. */
  | { readonly type: 'error'; readonly bytes: Buffer }
  /** A bigint beyond what a number holds exactly. */
  | { readonly type: 'integer'; readonly value: number | bigint }
  | { readonly type: 'bulk'; readonly bytes: Buffer }
  | { readonly type: 'null' }
  | { readonly type: 'array'; readonly elements: readonly Reply[] }
  | { readonly type: 'set'; readonly elements: readonly Reply[] }
  | { readonly type: 'push'; readonly elements: readonly Reply[] }
  | { readonly type: 'map'; readonly entries: Entries }
  | { readonly type: 'double'; readonly value: number }
  | { readonly type: 'boolean'; readonly value: boolean }
  /** @property format three letters: txt or mkd */
  | { readonly type: 'verbatim'; readonly format: string; readonly bytes: Buffer }
  | { readonly type: 'bignumber'; readonly value: bigint }
) & { readonly attributes?: Entries }

// What is looked into is shallow; deeper ones only pass through.
const DEPTH = 128

/** The value of the one reply that these bytes are; undefined where they are none, or one of more than 128 levels. */
export function readReply(bytes: Buffer, start: number, end: number): Reply | undefined {
  const scanner = new ReplyScanner({ depth: DEPTH })
  return scanner.scan(bytes, start, end) === end ? new Reader(bytes, start).read() : undefined
}

/**
 * Where the elements of an aggregate lie: start and end of each, one after the other; of a map, keys and values in
 * turn. So that they can be joined in another order, or with those of other replies, as they are. Undefined where the
 * bytes are not one complete reply that has elements: an error, a null, a string.
 */
export function elements(bytes: Buffer, start: number, end: number): number[] | undefined {
  if (new ReplyScanner().scan(bytes, start, end) !== end) return undefined
  const scanner = new ReplyScanner()
  const next = (from: number) => scanner.scan(bytes, from, end)
  let at = start
  while (bytes[at] === BAR) {
    const line = bytes.indexOf('\r\n', at)
    let left = 2 * Number(bytes.toString('latin1', at + 1, line))
    at = line + 2
    for (; left > 0; left -= 1) at = next(at)
  }
  if (!AGGREGATES.has(bytes[at] ?? 0) || bytes[at + 1] === MINUS) return undefined
  const ranges: number[] = []
  at = bytes.indexOf('\r\n', at) + 2
  while (at < end && bytes[at] !== DOT) {
    const from = at
    at = next(at)
    ranges.push(from, at)
  }
  return ranges
}

const MINUS = 0x2d
const DOT = 0x2e
const BAR = 0x7c
const AGGREGATES: ReadonlySet<number> = new Set(Buffer.from('*%~>'))

/** Reads what a scanner has found to be complete. */
class Reader {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  read(): Reply {
    let attributes: Entries | undefined
    while (this.#bytes[this.#at] === BAR) {
      const entries = this.#entries(this.#line().toString('latin1', 1))
      attributes = attributes === undefined ? entries : [...attributes, ...entries]
    }
    const reply = this.#value()
    return attributes === undefined ? reply : { ...reply, attributes }
  }

  #value(): Reply {
    const line = this.#line()
    const text = line.toString('latin1', 1)
    switch (String.fromCharCode(line[0] ?? 0)) {
      case '+':
        return { type: 'simple', bytes: line.subarray(1) }
      case '-':
        return { type: 'error', bytes: line.subarray(1) }
      case ':': {
        const value = Number(text)
        return { type: 'integer', value: Number.isSafeInteger(value) ? value : BigInt(text) }
      }
      case '$':
        return text === '-1' ? { type: 'null' } : { type: 'bulk', bytes: this.#string(text) }
      case '!':
        return { type: 'error', bytes: this.#string(text) }
      case '=': {
        const bytes = this.#string(text)
        return { type: 'verbatim', format: bytes.toString('latin1', 0, 3), bytes: bytes.subarray(4) }
      }
      case '*':
        return text === '-1' ? { type: 'null' } : { type: 'array', elements: this.#elements(text) }
      case '~':
        return { type: 'set', elements: this.#elements(text) }
      case '>':
        return { type: 'push', elements: this.#elements(text) }
      case '%':
        return { type: 'map', entries: this.#entries(text) }
      case ',':
        return { type: 'double', value: doubleOf(text) }
      case '#':
        return { type: 'boolean', value: text === 't' }
      case '(':
        return { type: 'bignumber', value: BigInt(text) }
      default:
        return { type: 'null' }
    }
  }

  /** The next line, without its end. */
  #line(): Buffer {
    const from = this.#at
    const to = this.#bytes.indexOf('\r\n', from)
    this.#at = to + 2
    return this.#bytes.subarray(from, to)
  }

  #string(length: string): Buffer {
    if (length !== '?') {
      const from = this.#at
      this.#at += Number(length) + 2
      return this.#bytes.subarray(from, this.#at - 2)
    }
    const pieces: Buffer[] = []
    for (;;) {
      const piece = this.#string(this.#line().toString('latin1', 1))
      // The last piece is empty and has no end of its own.
      if (piece.length === 0) {
        this.#at -= 2
        return Buffer.concat(pieces)
      }
      pieces.push(piece)
    }
  }

  #elements(count: string): Reply[] {
    const elements: Reply[] = []
    while (this.#goesOn(count, elements.length)) elements.push(this.read())
    return elements
  }

  #entries(count: string): [Reply, Reply][] {
    const entries: [Reply, Reply][] = []
    while (this.#goesOn(count, entries.length)) entries.push([this.read(), this.read()])
    return entries
  }

  #goesOn(count: string, length: number): boolean {
    if (count !== '?') return length < Number(count)
    if (this.#bytes[this.#at] !== DOT) return true
    this.#at += 3
    return false
  }
}

function doubleOf(text: string): number {
  if (text.endsWith('nan')) return Number.NaN
  if (text.endsWith('inf')) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  return Number(text)
}
