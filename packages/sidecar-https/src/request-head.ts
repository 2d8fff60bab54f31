import type { IncomingMessage } from 'node:http'
import { requestHeaders, valuesOf } from './headers.ts'
import type { RequestHead } from './upstream.ts'

export interface Circumstances {
  clientAddress: string | undefined
  /** The authority of the target, such as `127.0.0.1:8080`. */
  targetHost: string
  /** Whether to ask for the protocol that the client asks for. */
  upgrade: boolean
}

const BODILESS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'DELETE'])

/** The head that the application gets. */
export function requestHead(req: IncomingMessage, circumstances: Circumstances): RequestHead {
  const { rawHeaders, headers, method = 'GET', url = '/' } = req
  const lines = requestHeaders(rawHeaders, { address: circumstances.clientAddress, host: headers.host })
  // HTTP/1.0 needs no host; the request that goes on is of HTTP/1.1 and does.
  if (headers.host === undefined) lines.unshift('Host', circumstances.targetHost)
  // The framing is written out, because Node's own choice loses the body of a DELETE.
  if (headers['transfer-encoding'] !== undefined) lines.push('Transfer-Encoding', 'chunked')
  else if (headers['content-length'] === undefined && !BODILESS.has(method)) lines.push('Content-Length', '0')
  if (circumstances.upgrade) lines.push('Connection', 'Upgrade', 'Upgrade', headers.upgrade ?? '')
  return { method, path: url, headers: lines }
}

/** Whether the framing headers say that bytes follow the head. */
export function announcesBody({ rawHeaders }: IncomingMessage): boolean {
  const [length] = valuesOf(rawHeaders, 'content-length')
  return (
    valuesOf(rawHeaders, 'transfer-encoding').length > 0 || (length !== undefined && Number(length) !== 0)
  )
}
