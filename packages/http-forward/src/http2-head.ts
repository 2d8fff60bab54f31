import { randomBytes } from 'node:crypto'
import type { OutgoingHttpHeaders } from 'node:http2'
import type { Fault } from './head.ts'

/** A request of HTTP/2 as the head of HTTP/1.1 that says the same, so that one reader judges both. */
export interface StreamHead {
  /** Latin-1. */
  readonly text: string
  /** Whether content follows. */
  readonly hasBody: boolean
  /** The Sec-WebSocket-Key that was made up, where a WebSocket is asked for. */
  readonly key: string | undefined
}

// RFC 9113 8.2.2: they belong to a connection of HTTP/1.1, and a message with one is malformed.
const CONNECTION_SPECIFIC = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])
const PSEUDO = new Set([':method', ':path', ':authority', ':scheme', ':protocol'])
// RFC 9113 8.2.1: lower case alone.
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
// Whatever else is wrong with a value, it must not end its line: what follows would be read as another header.
const BREAK = /[\0\r\n]/

/**
 * Writes the fields of a request (RFC 9113 8.3), names and values in turn, as a head. What HTTP/1.1 itself forbids is
 * left to its reader.
 * @param ended whether nothing follows
 */
export function streamHead(fields: readonly string[], ended: boolean): StreamHead | Fault {
  const pseudo = new Map<string, string>()
  let lines = ''
  let cookie: string | undefined
  let host: string | undefined
  let counted = false
  let versioned = false
  let regular = false
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? ''
    const value = fields[index + 1] ?? ''
    if (BREAK.test(value)) return malformed('a header has a forbidden character')
    if (name.startsWith(':')) {
      if (regular || !PSEUDO.has(name) || pseudo.has(name)) {
        return malformed('a pseudo-header is unknown, repeated or late')
      }
      pseudo.set(name, value)
      continue
    }
    regular = true
    switch (name) {
      case 'cookie':
        // RFC 9113 8.2.3: cookies come in crumbs, and an application of HTTP/1.1 expects one line.
        cookie = cookie === undefined ? value : `${cookie}; ${value}`
        continue
      case 'host':
        if (host !== undefined) return malformed('the request must have exactly one Host header')
        host = value
        continue
      case 'te':
        if (value.toLowerCase() !== 'trailers') return malformed('TE can only be trailers')
        continue
      case 'content-length':
        counted = true
        break
      case 'sec-websocket-key':
        if (pseudo.get(':method') === 'CONNECT') continue
        break
      case 'sec-websocket-version':
        versioned = true
        break
    }
    if (!NAME.test(name)) return malformed('the name of a header is malformed')
    if (CONNECTION_SPECIFIC.has(name)) return malformed(`HTTP/2 has no ${name} header`)
    lines += `${name}: ${value}\r\n`
  }
  if (cookie !== undefined) lines += `cookie: ${cookie}\r\n`
  const authority = pseudo.get(':authority')
  if (authority === '') return malformed('the authority is empty')
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase()) {
    return malformed('the authority and the Host header differ')
  }
  host = authority ?? host
  if (host !== undefined) lines = `Host: ${host}\r\n${lines}`
  const method = pseudo.get(':method')
  if (method === undefined) return malformed('the request has no method')
  if (method === 'CONNECT') return connectHead(pseudo, lines, counted, versioned)
  if (pseudo.has(':protocol')) return malformed('a protocol needs CONNECT')
  const target = targetOf(pseudo, method)
  if (typeof target !== 'string') return target
  if (!ended && !counted) lines += 'Transfer-Encoding: chunked\r\n'
  return { text: `${method} ${target} HTTP/1.1\r\n${lines}\r\n`, hasBody: !ended, key: undefined }
}

function targetOf(pseudo: ReadonlyMap<string, string>, method: string): string | Fault {
  const scheme = pseudo.get(':scheme')
  if (scheme !== 'https' && scheme !== 'http') return malformed('the scheme is not http or https')
  const path = pseudo.get(':path') ?? ''
  // An absolute target would name another host than the one that was checked.
  if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) {
    return malformed('the path does not begin with a slash')
  }
  return path
}

function connectHead(
  pseudo: ReadonlyMap<string, string>,
  lines: string,
  counted: boolean,
  versioned: boolean,
): StreamHead | Fault {
  // What follows is the tunnel's: a length would be told to the application, which would wait for that much.
  if (counted) return malformed('CONNECT has no Content-Length')
  const protocol = pseudo.get(':protocol')
  if (protocol === undefined) {
    // RFC 9113 8.5.
    if (pseudo.has(':path') || pseudo.has(':scheme')) return malformed('CONNECT has no path')
    const text = `CONNECT ${pseudo.get(':authority') ?? ''} HTTP/1.1\r\n${lines}\r\n`
    return { text, hasBody: false, key: undefined }
  }
  if (protocol !== 'websocket') {
    return { status: 501, reason: 'the only protocol of CONNECT understood is websocket' }
  }
  const target = targetOf(pseudo, 'CONNECT')
  if (typeof target !== 'string') return target
  // RFC 8441 5: the key and its proof are of HTTP/1.1 alone.
  const key = randomBytes(16).toString('base64')
  const version = versioned ? '' : 'Sec-WebSocket-Version: 13\r\n'
  const asked = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${key}\r\n${version}`
  return { text: `GET ${target} HTTP/1.1\r\n${lines}${asked}\r\n`, hasBody: false, key }
}

/** The fields of trailers as lines, each with its end; undefined when they are malformed. */
export function trailerFields(fields: readonly string[]): string | undefined {
  let lines = ''
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? ''
    const value = fields[index + 1] ?? ''
    if (!NAME.test(name) || BREAK.test(value)) return undefined
    lines += `${name}: ${value}\r\n`
  }
  return lines
}

/** The lines of a response, each with its end, as node:http2 takes them. */
export function headersOf(lines: string): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = Object.create(null)
  let at = 0
  while (at < lines.length) {
    const end = lines.indexOf('\r\n', at)
    const colon = lines.indexOf(':', at)
    const name = lines.slice(at, colon).toLowerCase()
    const value = trimmed(lines, colon + 1, end)
    at = end + 2
    if (CONNECTION_SPECIFIC.has(name) || name === 'te' || name === 'http2-settings') continue
    const before = headers[name]
    if (before === undefined) headers[name] = value
    else if (Array.isArray(before)) before.push(value)
    else headers[name] = [String(before), value]
  }
  return headers
}

// Not String.trim, which takes the byte A0 for a space.
function trimmed(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09

const malformed = (reason: string): Fault => ({ status: 400, reason })
