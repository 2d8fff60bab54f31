/** One element of DER (ITU-T X.690). Both buffers are views of the bytes that were read. */
export interface Element {
  /** The whole identifier octet, such as 0x30 for a SEQUENCE. */
  tag: number
  content: Buffer
  /** Identifier, length and content. */
  der: Buffer
}

/**
 * Reads the elements of one constructed content in their order. Strict: only what DER allows, with tag numbers below
 * 31, as all of X.509 has; work and memory grow with the bytes and not with what they say. Throws an Error with a
 * message that ends the sentence "the certificate is malformed: …".
 */
export class DerReader {
  readonly #bytes: Buffer
  #position = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#position === this.#bytes.length
  }

  /** The tag of the next element, or undefined at the end. */
  get tag(): number | undefined {
    return this.#bytes[this.#position]
  }

  /** The next element, which must have this tag. `name` is for the message. */
  take(tag: number, name: string): Element {
    if (this.done) throw new Error(`${name} is missing`)
    if (this.tag !== tag) throw new Error(`${name} has the tag 0x${hexOf(this.tag)}, not 0x${hexOf(tag)}`)
    return this.next(name)
  }

  /** The next element when it has this tag. */
  optional(tag: number, name: string): Element | undefined {
    return this.tag === tag ? this.next(name) : undefined
  }

  next(name: string): Element {
    const start = this.#position
    const [tag, first] = [this.#bytes[start], this.#bytes[start + 1]]
    if (tag === undefined || first === undefined) throw new Error(`${name} is cut off`)
    if ((tag & 0x1f) === 0x1f) throw new Error(`${name} has a tag of several bytes`)
    const digits = first < 0x80 ? 0 : first & 0x7f
    const length = first < 0x80 ? first : this.#longLength(start + 2, digits, name)
    const from = start + 2 + digits
    const end = from + length
    if (end > this.#bytes.length) throw new Error(`${name} is cut off`)
    this.#position = end
    return { tag, content: this.#bytes.subarray(from, end), der: this.#bytes.subarray(start, end) }
  }

  /** To be called where nothing may follow. */
  end(name: string): void {
    if (!this.done) throw new Error(`${name} has bytes after its end`)
  }

  #longLength(from: number, digits: number, name: string): number {
    // No digits are the indefinite length of BER.
    if (digits === 0) throw new Error(`${name} has a length not in DER`)
    if (digits > 4) throw new Error(`${name} has a length of ${digits} bytes`)
    if (from + digits > this.#bytes.length) throw new Error(`${name} is cut off`)
    const length = this.#bytes.readUIntBE(from, digits)
    if (length < 0x80 || length < 2 ** (8 * (digits - 1))) throw new Error(`${name} has a length not in DER`)
    return length
  }
}

/** The one element that the bytes are; nothing may follow it. */
export function readOne(bytes: Buffer, tag: number, name: string): Element {
  const reader = new DerReader(bytes)
  const element = reader.take(tag, name)
  reader.end(name)
  return element
}

/** From the content of an OBJECT IDENTIFIER to the dotted form, such as `2.5.4.3`. */
export function readOid(content: Buffer): string {
  const last = content.at(-1)
  // RFC 5280 names nothing longer than a dozen bytes; arithmetic on longer numbers would cost more with every byte.
  if (last === undefined || last >= 0x80 || content.length > 64)
    throw new Error('an object identifier is odd')
  const arcs: bigint[] = []
  let arc = 0n
  let fresh = true
  for (const byte of content) {
    if (fresh && byte === 0x80) throw new Error('an object identifier is not in DER')
    arc = arc * 128n + BigInt(byte & 0x7f)
    fresh = byte < 0x80
    if (fresh) {
      arcs.push(arc)
      arc = 0n
    }
  }
  const [joint = 0n, ...rest] = arcs
  const root = joint < 80n ? joint / 40n : 2n
  return [root, joint - root * 40n, ...rest].join('.')
}

/** Of a UTCTime or a GeneralizedTime in the only forms that RFC 5280 4.1.2.5 allows. */
export function readTime({ tag, content }: Element, name: string): Date {
  const digits = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(content.toString('latin1'))
  const [, year = '', month, day, hour, minute, second] = digits ?? []
  if ((tag !== 0x17 || year.length !== 2) && (tag !== 0x18 || year.length !== 4)) {
    throw new Error(`${name} is no UTCTime or GeneralizedTime`)
  }
  const century = Number(year) < 50 ? '20' : '19'
  const text = `${year.length === 4 ? year : century + year}-${month}-${day}T${hour}:${minute}:${second}.000Z`
  const date = new Date(text)
  // The 30th of February is read as a day in March.
  if (Number.isNaN(date.getTime()) || date.toISOString() !== text) throw new Error(`${name} is no date`)
  return date
}

/** Upper-case hexadecimal of an INTEGER's two's complement, without the leading zero that keeps it positive. */
export function readIntegerHex(content: Buffer, name: string): string {
  const [first, second] = content
  if (first === undefined) throw new Error(`${name} is empty`)
  const padded = first === 0 && second !== undefined
  if (padded && second < 0x80) throw new Error(`${name} is not in DER`)
  return content
    .subarray(padded ? 1 : 0)
    .toString('hex')
    .toUpperCase()
}

const hexOf = (tag: number | undefined): string => (tag ?? 0).toString(16).padStart(2, '0')
