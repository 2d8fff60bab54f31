import type { IncomingMessage } from 'node:http'
import { requestHeaders, valuesOf } from './headers.ts'
import type { RequestHead } from './upstream.ts'

const BODILESS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'DELETE'])

/** The head that the application gets; `upgrade` when it is asked to switch protocols. */
export function requestHead(
  req: IncomingMessage,
  address: string | undefined,
  upgrade: boolean,
): RequestHead {
  const { rawHeaders, headers, method = 'GET', url = '/' } = req
  const lines = requestHeaders(rawHeaders, { address, host: headers.host })
  // The framing is written out, because Node's own choice loses the body of a DELETE.
  if (headers['transfer-encoding'] !== undefined) lines.push('Transfer-Encoding', 'chunked')
  else if (headers['content-length'] === undefined && !BODILESS.has(method)) lines.push('Content-Length', '0')
  if (upgrade) lines.push('Connection', 'Upgrade', 'Upgrade', headers.upgrade ?? '')
  return { method, path: url, headers: lines }
}

/** Whether the framing headers say that bytes follow the head. */
export function announcesBody({ rawHeaders }: IncomingMessage): boolean {
  const [length] = valuesOf(rawHeaders, 'content-length')
  return (
    valuesOf(rawHeaders, 'transfer-encoding').length > 0 || (length !== undefined && Number(length) !== 0)
  )
}
