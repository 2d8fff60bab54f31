import { NAME, ODD, PLAIN, TARGET, VALUE } from './characters.ts'

/** Why a message is refused, and with which status where it is a request. */
export interface Fault {
  readonly status: number
  readonly reason: string
}

/** What the head of a message may be; sizes in bytes. */
export interface HeadLimits {
  headBytes: number
  uriBytes: number
  headerCount: number
}

export type Progress = 'more' | 'done' | 'fault'

const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20
const TAB = 0x09
const COLON = 0x3a
const COMMA = 0x2c

/** Bits of `Head.connection`: the options of the Connection header. */
export const CLOSE = 1
export const KEEP_ALIVE = 2
export const UPGRADE = 4

// Of a message that loses these by `Connection: host`, two servers would see two different ones.
const FRAMING = new Set(['host', 'content-length', 'transfer-encoding'])

// RFC 9110 7.6.1, with the names of RFC 2616 that old peers still send.
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** The form in which CGI, WSGI and their like see a name: `X_User` and `X-User` are one header to them. */
export function plainName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-')
}

/** What a client could say about itself to an application that believes its proxy. */
export function isForged(name: string): boolean {
  // `Proxy` becomes HTTP_PROXY in a CGI environment (httpoxy, CVE-2016-5385).
  return name.startsWith('x-forwarded-') || name === 'forwarded' || name === 'x-real-ip' || name === 'proxy'
}

/**
 * The head of one HTTP/1.1 message (RFC 9112 2 to 6), read strictly and in one pass, wherever the reads of the
 * network have cut it: what has two readings has none. Positions are offsets from the first byte of the head.
 */
export class Head {
  /** The head as it came, to the empty line and with it; set once it is complete. */
  text = ''
  /** Bytes of the head, once it is complete. */
  length = 0
  fault: Fault | undefined
  /** 1 for HTTP/1.1, 0 for HTTP/1.0. */
  minor = 1
  /** Of a response. */
  status = 0
  /** Of the body, or -1 where there is no Content-Length. */
  contentLength = -1
  chunked = false
  /** CLOSE, KEEP_ALIVE and UPGRADE. */
  connection = 0
  /** Whether `Expect: 100-continue` was said. */
  expectsContinue = false
  /** Whether there is a Date. */
  dated = false

  readonly #isRequest: boolean
  /** Whether the client may speak for the one before it: its X-Forwarded- headers are kept. */
  readonly #trusted: boolean
  /** Further names, as `plainName` gives them, that are not passed on. */
  readonly #withheld: readonly string[]
  #line = 0
  #fields = 0
  #methodEnd = 0
  #targetEnd = 0
  #reasonAt = 0
  #startEnd = 0
  /** Ranges of lines that do not go on: start, end, start, end. */
  #cuts: number[] | undefined
  #listed: string[] | undefined
  #hosts = 0
  #hostAt = 0
  #hostEnd = 0
  #upgradeAt = 0
  #upgradeEnd = 0
  #traces = 0
  #traceAt = 0
  #traceEnd = 0
  #codings = 0
  #headers: Map<string, string> | undefined
  #kept: string | undefined
  #method: string | undefined

  constructor(isRequest: boolean, trusted = false, withheld: readonly string[] = NONE) {
    this.#isRequest = isRequest
    this.#trusted = trusted
    this.#withheld = withheld
  }

  /**
   * Reads on. `start` is the first byte of the head in `bytes`, each time, though what lies before the line that was
   * incomplete is not looked at again.
   */
  read(bytes: Uint8Array, start: number, end: number, limits: HeadLimits): Progress {
    // What lies behind the limit must not decide what is said about the head.
    const stop = Math.min(end, start + limits.headBytes)
    let progress: Progress | 'line' = 'line'
    if (this.#startEnd === 0) {
      progress = this.#isRequest
        ? this.#readRequestLine(bytes, start, stop, limits)
        : this.#readStatusLine(bytes, start, stop)
    }
    while (progress === 'line') progress = this.#readField(bytes, start, stop, limits)
    if (progress === 'more' && stop - start >= limits.headBytes)
      return this.#fail(431, 'the head is too large')
    return progress
  }

  /** Sets the text; `bytes` as for the last `read`. Gives 'fault' where the fields contradict each other. */
  finish(bytes: Buffer, start: number): Progress {
    this.text = bytes.toString('latin1', start, start + this.length)
    return this.#isRequest ? this.#checkRequest() : this.#checkResponse()
  }

  get method(): string {
    this.#method ??= methodOf(this.text, this.#methodEnd)
    return this.#method
  }

  /** The request target as sent. */
  get target(): string {
    return this.text.slice(this.#methodEnd + 1, this.#targetEnd)
  }

  /** The request line as sent, with its end. */
  get startLine(): string {
    return this.text.slice(0, this.#startEnd)
  }

  get reason(): string {
    return this.#reasonAt === 0 ? '' : this.text.slice(this.#reasonAt, this.#startEnd - 2)
  }

  /** The value of the only Host line; undefined without one. */
  get host(): string | undefined {
    return this.#hosts === 0 ? undefined : this.text.slice(this.#hostAt, this.#hostEnd)
  }

  /** The protocol of the Upgrade header. */
  get upgrade(): string {
    return this.text.slice(this.#upgradeAt, this.#upgradeEnd)
  }

  /** The value of the only traceparent line (W3C Trace Context); undefined without one. */
  get traceparent(): string | undefined {
    return this.#traces === 1 ? this.text.slice(this.#traceAt, this.#traceEnd) : undefined
  }

  /** The lines that go on, each with its end; case, order and duplicates as they came. */
  get kept(): string {
    this.#kept ??= this.#keptLines()
    return this.#kept
  }

  /** Values by lower-case name as they came, those of repeated lines joined by a comma (cookies by a semicolon). */
  get headers(): ReadonlyMap<string, string> {
    this.#headers ??= fieldsOf(this.text.slice(this.#startEnd, this.length - 2))
    return this.#headers
  }

  #keptLines(): string {
    const { text } = this
    let kept = ''
    let from = this.#startEnd
    if (this.#cuts !== undefined) {
      for (let index = 0; index < this.#cuts.length; index += 2) {
        kept += text.slice(from, this.#cuts[index])
        from = this.#cuts[index + 1] ?? from
      }
    }
    kept += text.slice(from, this.length - 2)
    return this.#listed === undefined ? kept : without(kept, this.#listed)
  }

  #fail(status: number, reason: string): Progress {
    this.fault ??= { status, reason }
    return 'fault'
  }

  #readRequestLine(bytes: Uint8Array, start: number, stop: number, limits: HeadLimits): Progress | 'line' {
    let at = start
    while (at < stop && NAME[bytes[at] ?? 0] !== 0) at += 1
    if (at === stop) return 'more'
    if (bytes[at] !== SPACE || at === start) return this.#fail(400, 'the request line is malformed')
    this.#methodEnd = at - start
    at += 1
    const target = at
    const longest = target + limits.uriBytes
    while (at < stop && at <= longest && TARGET[bytes[at] ?? 0] !== 0) at += 1
    if (at > longest) return this.#fail(414, 'the request target is too long')
    if (at === stop) return 'more'
    if (bytes[at] !== SPACE || at === target) return this.#fail(400, 'the request target is malformed')
    this.#targetEnd = at - start
    at += 1
    // "HTTP/1.1" CR LF
    for (let index = 0; index < VERSION.length; index += 1) {
      if (at + index === stop) return 'more'
      if (bytes[at + index] !== VERSION.charCodeAt(index)) return this.#badVersion(bytes, at, index, stop)
    }
    at += VERSION.length
    if (at === stop) return 'more'
    const minor = bytes[at] ?? 0
    if (minor !== 0x30 && minor !== 0x31)
      return this.#badVersion(bytes, at - VERSION.length, VERSION.length, stop)
    this.minor = minor - 0x30
    if (at + 1 === stop) return 'more'
    if (bytes[at + 1] !== CR) return this.#fail(400, 'the request line is malformed')
    if (at + 2 === stop) return 'more'
    if (bytes[at + 2] !== LF) return this.#fail(400, 'a carriage return stands alone')
    this.#line = at + 3 - start
    this.#startEnd = this.#line
    return 'line'
  }

  // Some version of HTTP that is not spoken, as opposed to something that is no version.
  #badVersion(bytes: Uint8Array, at: number, good: number, stop: number): Progress {
    if (good < 5) return this.#fail(400, 'the request line is malformed')
    for (let index = good; index < 8; index += 1) {
      if (at + index === stop) return 'more'
      const byte = bytes[at + index] ?? 0
      const fits = index === 6 ? byte === 0x2e : byte >= 0x30 && byte <= 0x39
      if (!fits) return this.#fail(400, 'the request line is malformed')
    }
    return this.#fail(505, 'only HTTP/1.0 and HTTP/1.1 are spoken here')
  }

  #readStatusLine(bytes: Uint8Array, start: number, stop: number): Progress | 'line' {
    let at = start
    for (let index = 0; index < VERSION.length; index += 1) {
      if (at + index === stop) return 'more'
      if (bytes[at + index] !== VERSION.charCodeAt(index)) return this.#fail(502, 'it is no HTTP/1.1')
    }
    at += VERSION.length
    if (at + 6 > stop) return 'more'
    const minor = (bytes[at] ?? 0) - 0x30
    if (minor !== 0 && minor !== 1) return this.#fail(502, 'it is no HTTP/1.1')
    this.minor = minor
    if (bytes[at + 1] !== SPACE) return this.#fail(502, 'the status line is malformed')
    let status = 0
    for (let index = at + 2; index < at + 5; index += 1) {
      const digit = (bytes[index] ?? 0) - 0x30
      if (digit < 0 || digit > 9) return this.#fail(502, 'the status is no number of three digits')
      status = status * 10 + digit
    }
    if (status < 100) return this.#fail(502, 'the status is below 100')
    this.status = status
    at += 5
    // The reason may be empty, and careless servers leave out the space before it too.
    if (at < stop && bytes[at] === SPACE) at += 1
    else if (at < stop && bytes[at] !== CR) return this.#fail(502, 'the status is no number of three digits')
    this.#reasonAt = at - start
    while (at < stop && VALUE[bytes[at] ?? 0] !== 0) at += 1
    if (at === stop) return 'more'
    if (bytes[at] !== CR) return this.#fail(502, 'the status line is malformed')
    if (at + 1 === stop) return 'more'
    if (bytes[at + 1] !== LF) return this.#fail(502, 'a carriage return stands alone')
    this.#line = at + 2 - start
    this.#startEnd = this.#line
    return 'line'
  }

  #readField(bytes: Uint8Array, start: number, stop: number, limits: HeadLimits): Progress | 'line' {
    const line = start + this.#line
    let at = line
    let classes = 0
    while (at < stop) {
      const kind = NAME[bytes[at] ?? 0] ?? 0
      if (kind === 0) break
      classes |= kind
      at += 1
    }
    if (at === stop) return 'more'
    const nameEnd = at
    if (bytes[at] !== COLON) return this.#endOrFault(bytes, start, line, at, stop)
    if (at === line) return this.#fail(this.#bad, 'a header has no name')
    at += 1
    while (at < stop && (bytes[at] === SPACE || bytes[at] === TAB)) at += 1
    const value = at
    while (at < stop && VALUE[bytes[at] ?? 0] !== 0) at += 1
    if (at === stop) return 'more'
    if (bytes[at] !== CR) return this.#fail(this.#bad, 'a header has a forbidden character')
    if (at + 1 === stop) return 'more'
    if (bytes[at + 1] !== LF) return this.#fail(this.#bad, 'a carriage return stands alone')
    this.#fields += 1
    if (this.#fields > limits.headerCount) return this.#fail(431, 'there are too many headers')
    let valueEnd = at
    while (valueEnd > value && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)) valueEnd -= 1
    const length = nameEnd - line
    const goesOn =
      classes === PLAIN
        ? this.#understand(bytes, start, line, length, value, valueEnd)
        : !this.#isDisguised(bytes, line, nameEnd, classes)
    if (this.fault !== undefined) return 'fault'
    this.#line = at + 2 - start
    if (!goesOn) this.#cut(line - start, this.#line)
    return 'line'
  }

  #endOrFault(bytes: Uint8Array, start: number, line: number, at: number, stop: number): Progress {
    const byte = bytes[at]
    if (byte === CR && at === line) {
      if (at + 1 === stop) return 'more'
      if (bytes[at + 1] !== LF) return this.#fail(this.#bad, 'a carriage return stands alone')
      this.length = at + 2 - start
      return 'done'
    }
    if (at === line && (byte === SPACE || byte === TAB)) {
      return this.#fail(this.#bad, 'a header is folded over two lines')
    }
    if (byte === SPACE || byte === TAB) return this.#fail(this.#bad, 'a space stands before a colon')
    return this.#fail(this.#bad, 'a header is malformed')
  }

  get #bad(): number {
    return this.#isRequest ? 400 : 502
  }

  #cut(from: number, to: number): void {
    this.#cuts ??= []
    const last = this.#cuts.length - 1
    if (this.#cuts[last] === from) this.#cuts[last] = to
    else this.#cuts.push(from, to)
  }

  // `X_Forwarded_For` would arrive in such an application as the header we vouch for, `Content_Length` as a second length.
  #isDisguised(bytes: Uint8Array, line: number, nameEnd: number, classes: number): boolean {
    if ((classes & ODD) === 0) return false
    const name = plainName(lowerCase(bytes, line, nameEnd))
    if (FRAMING.has(name) || HOP_BY_HOP.has(name) || this.#withheld.includes(name)) return true
    // Also of a proxy that is trusted: it does not disguise what it says, its clients might.
    return this.#isRequest && isForged(name)
  }

  /** Takes note of what a header means here; false where it does not go on. Lengths first: they tell most apart. */
  #understand(
    bytes: Uint8Array,
    start: number,
    line: number,
    length: number,
    value: number,
    valueEnd: number,
  ): boolean {
    switch (length) {
      case 2:
        return !is(bytes, line, 'te')
      case 4:
        if (is(bytes, line, 'host')) {
          this.#hosts += 1
          this.#hostAt = value - start
          this.#hostEnd = valueEnd - start
        } else if (is(bytes, line, 'date')) {
          this.dated = true
        }
        break
      case 5:
        if (this.#isRequest && is(bytes, line, 'proxy')) return false
        break
      case 6:
        if (this.#isRequest && is(bytes, line, 'expect')) {
          if (valueEnd - value === 12 && is(bytes, value, '100-continue')) this.expectsContinue = true
          else this.#fail(417, 'only 100-continue can be expected')
          return false
        }
        break
      case 7:
        if (is(bytes, line, 'trailer')) return false
        if (is(bytes, line, 'upgrade')) {
          this.#upgradeAt = value - start
          this.#upgradeEnd = valueEnd - start
          return false
        }
        break
      case 9:
        if (this.#isForgery(bytes, line, 'forwarded') || this.#isForgery(bytes, line, 'x-real-ip'))
          return false
        break
      case 10:
        if (is(bytes, line, 'connection')) {
          this.#readConnection(bytes, value, valueEnd)
          return false
        }
        if (is(bytes, line, 'keep-alive')) return false
        break
      case 11:
        if (this.#isRequest && is(bytes, line, 'traceparent')) {
          this.#traces += 1
          this.#traceAt = value - start
          this.#traceEnd = valueEnd - start
        }
        break
      case 14:
        if (is(bytes, line, 'content-length')) {
          this.#readLength(bytes, value, valueEnd)
          return false
        }
        break
      case 16:
        if (is(bytes, line, 'proxy-connection')) return false
        break
      case 17:
        if (is(bytes, line, 'transfer-encoding')) {
          this.#codings += 1
          this.chunked = valueEnd - value === 7 && is(bytes, value, 'chunked')
          return false
        }
        break
      case 18:
        if (is(bytes, line, 'proxy-authenticate')) return false
        break
      case 19:
        if (is(bytes, line, 'proxy-authorization')) return false
        break
    }
    if (length >= 12 && this.#isForgery(bytes, line, 'x-forwarded-')) return false
    for (const name of this.#withheld) if (name.length === length && is(bytes, line, name)) return false
    return true
  }

  #isForgery(bytes: Uint8Array, line: number, name: string): boolean {
    return this.#isRequest && !this.#trusted && is(bytes, line, name)
  }

  #readLength(bytes: Uint8Array, value: number, valueEnd: number): void {
    let length = 0
    for (let at = value; at < valueEnd; at += 1) {
      const digit = (bytes[at] ?? 0) - 0x30
      if (digit < 0 || digit > 9) return void this.#fail(this.#bad, 'the Content-Length is no number')
      length = length * 10 + digit
    }
    if (value === valueEnd) return void this.#fail(this.#bad, 'the Content-Length is empty')
    if (length > Number.MAX_SAFE_INTEGER) return void this.#fail(this.#bad, 'the Content-Length is too large')
    if (this.contentLength >= 0) return void this.#fail(this.#bad, 'there are two Content-Length headers')
    this.contentLength = length
  }

  #readConnection(bytes: Uint8Array, value: number, valueEnd: number): void {
    let at = value
    while (at < valueEnd) {
      let from = at
      while (at < valueEnd && bytes[at] !== COMMA) at += 1
      let to = at
      at += 1
      while (from < to && (bytes[from] === SPACE || bytes[from] === TAB)) from += 1
      while (to > from && (bytes[to - 1] === SPACE || bytes[to - 1] === TAB)) to -= 1
      if (to - from === 5 && is(bytes, from, 'close')) this.connection |= CLOSE
      else if (to - from === 10 && is(bytes, from, 'keep-alive')) this.connection |= KEEP_ALIVE
      else if (to - from === 7 && is(bytes, from, 'upgrade')) this.connection |= UPGRADE
      else if (to > from) {
        const name = lowerCase(bytes, from, to)
        if (FRAMING.has(name)) continue
        this.#listed ??= []
        this.#listed.push(name)
      }
    }
  }

  #checkRequest(): Progress {
    // RFC 9112 3.2. Of two hosts we might check one and the application use the other.
    if (this.#hosts > 1 || (this.#hosts === 0 && this.minor === 1)) {
      return this.#fail(400, 'the request must have exactly one Host header')
    }
    if (this.#hosts === 1 && this.host !== knownHost) {
      const { host = '' } = this
      if (!isHost(host)) return this.#fail(400, 'the Host header is malformed')
      knownHost = host
    }
    // RFC 9110 10.1.1: a client of that version does not wait.
    if (this.minor === 0) this.expectsContinue = false
    if (this.#codings === 0) return 'done'
    if (this.contentLength >= 0) {
      return this.#fail(400, 'the request has Content-Length and Transfer-Encoding')
    }
    // RFC 9112 6.1: faulty framing, a peer of that version may not see the chunks.
    if (this.minor === 0) return this.#fail(400, 'HTTP/1.0 has no Transfer-Encoding')
    if (!this.chunked || this.#codings > 1) {
      return this.#fail(501, 'the only Transfer-Encoding understood is chunked')
    }
    return 'done'
  }

  #checkResponse(): Progress {
    if (this.#codings === 0) return 'done'
    if (this.contentLength >= 0) {
      return this.#fail(502, 'the response has Content-Length and Transfer-Encoding')
    }
    if (!this.chunked || this.#codings > 1) {
      return this.#fail(502, 'the only Transfer-Encoding understood is chunked')
    }
    if (this.minor === 0) return this.#fail(502, 'HTTP/1.0 has no Transfer-Encoding')
    return 'done'
  }
}

// A piece of another string is hashed anew for each look into a set.
function methodOf(text: string, end: number): string {
  for (const method of COMMON_METHODS) if (method.length === end && text.startsWith(method)) return method
  return text.slice(0, end)
}

const COMMON_METHODS = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS']

const NONE: readonly string[] = []
const VERSION = 'HTTP/1.'

// Nearly all requests of a moment name the same host.
let knownHost = ''

// Letters of a registered name, an IPv4 or a bracketed IPv6 address, and a port.
const HOST = /^(\[[0-9a-f:.]+\]|[\w.~%!$&'()*+,;=-]*)(:\d{0,5})?$/i

/** Whether a text can stand in a Host header (RFC 9110 7.2). */
export function isHost(text: string): boolean {
  return HOST.test(text)
}

/** Whether the bytes at a place spell a name, which is in lower case, in any case. Only for bytes of names. */
function is(bytes: Uint8Array, at: number, name: string): boolean {
  for (let index = 0; index < name.length; index += 1) {
    if (((bytes[at + index] ?? 0) | 0x20) !== name.charCodeAt(index)) return false
  }
  return true
}

function lowerCase(bytes: Uint8Array, from: number, to: number): string {
  let text = ''
  for (let at = from; at < to; at += 1) text += String.fromCharCode(bytes[at] ?? 0)
  return text.toLowerCase()
}

/** Header lines without those of these lower-case names. */
export function without(lines: string, names: readonly string[]): string {
  // A client can list some thousand names in Connection, and there are hundreds of lines to compare.
  const gone = new Set(names)
  return lines.replace(/([^:\r\n]+):[^\r\n]*\r\n/g, (line, name: string) =>
    gone.has(name.toLowerCase()) ? '' : line,
  )
}

// Not `trimEnd`, which takes a no-break space of Latin-1 away, nor an expression, which many spaces make slow.
function trimmed(value: string): string {
  let end = value.length
  while (end > 0 && (value.charCodeAt(end - 1) === SPACE || value.charCodeAt(end - 1) === TAB)) end -= 1
  return value.slice(0, end)
}

function fieldsOf(lines: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (const [, name = '', value = ''] of lines.matchAll(/([^:\r\n]+):[ \t]*([^\r\n]*)\r\n/g)) {
    const key = name.toLowerCase()
    const before = fields.get(key)
    const own = trimmed(value)
    fields.set(key, before === undefined ? own : `${before}${key === 'cookie' ? '; ' : ', '}${own}`)
  }
  return fields
}
