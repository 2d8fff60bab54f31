import type { IncomingMessage } from 'node:http'
import type { Answer } from './answer.ts'
import { valuesOf } from './headers.ts'

// Letters of a registered name, an IPv4 or a bracketed IPv6 address, and a port.
const HOST = /^(\[[0-9a-f:.]+\]|[\w.~%!$&'()*+,;=-]*)(:\d{0,5})?$/i

/**
 * The answer to a request whose meaning two servers could read differently, or that is not for us; undefined when
 * it may go on. Node's parser has already refused what is not HTTP at all, and Content-Length beside
 * Transfer-Encoding.
 */
export function refusal(req: IncomingMessage): Answer | undefined {
  if (req.httpVersion !== '1.1' && req.httpVersion !== '1.0') {
    return { status: 505, message: 'Only HTTP/1.0 and HTTP/1.1 are spoken here.' }
  }
  return refusedTarget(req) ?? refusedHost(req) ?? refusedCoding(req)
}

function refusedTarget({ url = '', method }: IncomingMessage): Answer | undefined {
  if (url.startsWith('/') || (url === '*' && method === 'OPTIONS')) return undefined
  return { status: 400, message: 'The request target must be a path: this server is not a proxy.' }
}

function refusedHost(req: IncomingMessage): Answer | undefined {
  // RFC 9112 3.2. Of two hosts we might check one and the application use the other.
  const hosts = valuesOf(req.rawHeaders, 'host')
  if (hosts.length > 1 || (hosts.length === 0 && req.httpVersion === '1.1')) {
    return { status: 400, message: 'The request must have exactly one Host header.' }
  }
  if (hosts.every((host) => HOST.test(host))) return undefined
  return { status: 400, message: 'The Host header is malformed.' }
}

function refusedCoding(req: IncomingMessage): Answer | undefined {
  const codings = valuesOf(req.rawHeaders, 'transfer-encoding')
  if (codings.length === 0) return undefined
  // RFC 9112 6.1: faulty framing, a peer of that version may not see the chunks.
  if (req.httpVersion === '1.0') return { status: 400, message: 'HTTP/1.0 has no Transfer-Encoding.' }
  if (onlyChunked(codings)) return undefined
  return { status: 501, message: 'The only Transfer-Encoding understood is chunked.' }
}

/** Whether these Transfer-Encoding lines say `chunked` once and nothing else. */
export function onlyChunked(codings: readonly string[]): boolean {
  return codings.length === 1 && codings[0]?.toLowerCase() === 'chunked'
}
