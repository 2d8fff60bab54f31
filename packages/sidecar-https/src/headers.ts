/** Header lines as `rawHeaders` has them: name, value, name, value; case, order and duplicates kept. */
export type RawHeaders = readonly string[]

/** What is known of the client without believing it. */
export interface ClientFacts {
  /** Undefined on a Unix socket. */
  address: string | undefined
  /** The Host header as sent. */
  host: string | undefined
}

// RFC 9110 7.6.1, with the names of RFC 2616 that old peers still send. Transfer-Encoding is written anew by the
// side that sends, Upgrade by the code that switches protocols.
const HOP_BY_HOP = new Set([
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

// A message cannot lose these by `Connection: host`; without them it means something else.
const FRAMING = new Set(['host', 'content-length'])

/** Lines of the request as the application gets them: hop-by-hop and forged lines left out, our own added. */
export function requestHeaders(raw: RawHeaders, client: ClientFacts): string[] {
  const headers = withoutHopByHop(raw, isForged)
  if (client.address !== undefined) headers.push('X-Forwarded-For', client.address)
  headers.push('X-Forwarded-Proto', 'https')
  if (client.host !== undefined) {
    // The port the client dialled, not the one we listen on: behind a Service or a published port the two differ,
    // and applications build absolute links from this.
    const port = /:(\d+)$/.exec(client.host)?.[1] ?? '443'
    headers.push('X-Forwarded-Host', client.host, 'X-Forwarded-Port', port)
  }
  return headers
}

/** Lines of the response as the client gets them. */
export function responseHeaders(raw: RawHeaders, status: number): string[] {
  // RFC 9110 8.6: none in a 204; a client might wait for those bytes.
  return withoutHopByHop(raw, (name) => status === 204 && name === 'content-length')
}

/** Trailers that may go on; some applications merge them into the headers, so the same names are left out. */
export function trailerPairs(raw: RawHeaders): [string, string][] {
  const kept = withoutHopByHop(raw, (name) => FRAMING.has(name) || isForged(name))
  return [...pairs(kept)]
}

/** Values of every line called `name` (lower case). */
export function valuesOf(raw: RawHeaders, name: string): string[] {
  const values: string[] = []
  for (const [key, value] of pairs(raw)) if (key.toLowerCase() === name) values.push(value)
  return values
}

function withoutHopByHop(raw: RawHeaders, drop: (name: string) => boolean): string[] {
  const listed = connectionOptions(raw)
  const kept: string[] = []
  for (const [key, value] of pairs(raw)) {
    const name = key.toLowerCase()
    // CGI, WSGI and Rack turn both signs into one: `X_Forwarded_For` would arrive as the header we vouch for,
    // and `Content_Length` as a second length.
    const plain = name.replaceAll('_', '-')
    if (HOP_BY_HOP.has(plain) || drop(plain)) continue
    if (plain !== name && FRAMING.has(plain)) continue
    if (listed.has(name) && !FRAMING.has(name)) continue
    kept.push(key, value)
  }
  return kept
}

// `Proxy` becomes HTTP_PROXY in a CGI environment (httpoxy, CVE-2016-5385).
function isForged(name: string): boolean {
  return name.startsWith('x-forwarded-') || name === 'forwarded' || name === 'x-real-ip' || name === 'proxy'
}

function connectionOptions(raw: RawHeaders): Set<string> {
  const options = valuesOf(raw, 'connection').flatMap((value) => value.split(','))
  return new Set(options.map((option) => option.trim().toLowerCase()))
}

export function* pairs(raw: RawHeaders): Generator<[string, string]> {
  for (let index = 0; index + 1 < raw.length; index += 2) yield [raw[index] ?? '', raw[index + 1] ?? '']
}
