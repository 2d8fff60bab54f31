import { createServer, METHODS } from 'node:http'
import { connect } from 'node:net'
import fc from 'fast-check'
import { Application, until } from './test-support.ts'

/** What the application does, told by the request itself. */
export interface Deed {
  status: number
  framing: 'length' | 'chunked' | 'close'
  content: string
  trailers: boolean
}

export interface Sent {
  method: string
  target: string
  minor: 0 | 1
  /** Without those of the framing. */
  lines: readonly string[]
  /** Pieces of the body, sent by length or by chunks; undefined for none. */
  body:
    | { chunked: boolean; pieces: readonly string[]; trailers: readonly string[]; expect: boolean }
    | undefined
  deed: Deed
}

export interface Seen {
  method: string | undefined
  url: string | undefined
  headers: [string, string][]
  body: string
  trailers: string[]
}

export const pairs = (raw: readonly string[]): [string, string][] =>
  raw.flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as [string, string]] : []))

/** Keeps what it sees by the number of the request, and what its parser refuses. */
export async function echoApp() {
  const seen = new Map<string, Seen>()
  const state = { refused: 0 }
  const server = createServer((req, res) => {
    let body = ''
    req.setEncoding('latin1').on('data', (text: string) => (body += text))
    req.on('end', () => {
      const { method, url, rawHeaders, rawTrailers } = req
      seen.set(String(req.headers['x-id']), {
        method,
        url,
        headers: pairs(rawHeaders),
        body,
        trailers: rawTrailers,
      })
      const deed = JSON.parse(String(req.headers['x-deed'] ?? '{"status":200,"framing":"length"}')) as Deed
      // Not a string: node:http would write the head in the encoding of the content.
      const content = Buffer.from(`${deed.content ?? ''}${JSON.stringify({ method, body: body.length })}`)
      res.statusCode = deed.status
      // One moment for all, so that it can be compared.
      res.setHeader('Date', 'Sat, 01 Jan 2000 00:00:00 GMT')
      res.setHeader('X-Twice', ['a', 'b'])
      res.setHeader('x-CASE', 'caf\xe9')
      if (deed.status !== 204 && deed.status !== 304) {
        if (deed.framing === 'length') res.setHeader('Content-Length', content.length)
        if (deed.framing === 'close') res.setHeader('Connection', 'close').removeHeader('Transfer-Encoding')
        if (deed.framing === 'chunked') {
          if (deed.trailers) res.addTrailers({ 'X-Sum': '42', 'x-b': '' })
          res.write(content.subarray(0, 7))
          res.write(content.subarray(7, 9))
          return void setImmediate(() => res.end(content.subarray(9)))
        }
      }
      res.end(content)
    })
  })
  server.on('clientError', (_, socket) => {
    state.refused += 1
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
  })
  return { app: await new Application(server).listen(), seen, state }
}

/** @param last whether it is to end its connection */
export function bytesOf(sent: Sent, id: number, last: boolean): string {
  const { method, target, minor, lines, body, deed } = sent
  const own = [`X-Id: ${id}`, `X-Deed: ${JSON.stringify(deed)}`]
  if (last && minor === 1) own.push('Connection: close, x-listed')
  if (!last && minor === 0) own.push('Connection: keep-alive')
  let content = ''
  if (body?.chunked) {
    own.push('Transfer-Encoding: chunked')
    for (const piece of body.pieces) content += `${piece.length.toString(16)};ext=1\r\n${piece}\r\n`
    content += `0\r\n${body.trailers.map((line) => `${line}\r\n`).join('')}\r\n`
  } else if (body !== undefined) {
    content = body.pieces.join('')
    own.push(`Content-Length: ${content.length}`)
  }
  if (body?.expect) own.push('Expect: 100-continue')
  return `${method} ${target} HTTP/1.${minor}\r\n${[...lines, ...own].join('\r\n')}\r\n\r\n${content}`
}

/** All that comes until the connection is closed. */
export async function sendAll(port: number, text: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  let received = ''
  let closed = false
  socket.setEncoding('latin1').on('data', (piece: string) => (received += piece))
  socket.on('error', () => undefined).on('close', () => (closed = true))
  socket.write(text, 'latin1')
  await until(
    () => closed,
    () =>
      `the end of ${JSON.stringify(text.slice(0, 3_000))} after ${JSON.stringify(received.slice(0, 3_000))}`,
  )
  return received
}

/** Works on so many items at the same time. */
export async function inTurns<T>(
  items: readonly T[],
  width: number,
  work: (item: T, index: number) => Promise<void>,
) {
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const index = next++
      await work(items[index] as T, index)
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
}

// --- the requests

const visible = 'abcXYZ019-_.~!$&\'()*+,;=:@/?%#[]{}|^`"<>\\'
const name = fc
  .string({ unit: fc.constantFrom(...'abcXYZ019-'), minLength: 1, maxLength: 10 })
  .map((text) => `x-t${text}`)
const value = fc.string({ unit: fc.constantFrom(...visible, ' ', '\t', '\x80', '\xff'), maxLength: 20 })
export const line = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(name, value).map(([name, value]) => `${name}: ${value}`) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...['Cookie: a=1', 'Accept: */*', 'Accept-Encoding: gzip', 'TE: trailers', 'X-Forwarded-For: 6.6.6.6'],
      ...['X_Forwarded_Host: evil', 'Forwarded: for=6.6.6.6', 'Keep-Alive: timeout=5', 'Proxy-Connection: x'],
      ...[
        'x-listed: gone',
        'X-Real-IP: 6.6.6.6',
        'Proxy: evil',
        'Trailer: X-Sum',
        'Range: bytes=0-1',
        'empty:',
      ],
    ),
  },
)
export const path = fc
  .string({ unit: fc.constantFrom(..."abcXYZ019-_.~!$&'()*+,;=:@/?%[]{}|^`"), maxLength: 20 })
  .map((text) => `/${text}`)
const piece = fc.string({
  unit: fc.nat(255).map((byte) => String.fromCharCode(byte)),
  minLength: 1,
  maxLength: 60,
})
const content = fc.oneof(
  { weight: 9, arbitrary: fc.string({ maxLength: 30 }).map((text) => text.replace(/[^ -~]/g, '')) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 60_000 }).map((size) => 'z'.repeat(size)) },
)
const deed = fc.record({
  status: fc.constantFrom(200, 201, 204, 206, 301, 304, 404, 409, 500, 503),
  framing: fc.constantFrom<Deed['framing']>('length', 'chunked', 'close'),
  content: content.map((text) => text.slice(0, 300)),
  trailers: fc.boolean(),
})
const body = fc.record({
  chunked: fc.boolean(),
  pieces: fc.array(
    fc.oneof(
      { weight: 8, arbitrary: piece },
      { weight: 1, arbitrary: content.filter((text) => text !== '') },
    ),
    { maxLength: 4 },
  ),
  trailers: fc.array(fc.constantFrom('X-Sum: 1', 'x-sum: \xff', 'Host: evil', 'X-Forwarded-For: 6.6.6.6'), {
    maxLength: 3,
  }),
  expect: fc.boolean(),
})
const methods = METHODS.filter((method) => method !== 'CONNECT')

export const request: fc.Arbitrary<Sent> = fc
  .record({
    method: fc.oneof(
      fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'),
      fc.constantFrom(...methods),
    ),
    form: fc.constantFrom('path', 'path', 'path', 'absolute', 'asterisk'),
    path,
    minor: fc.constantFrom<0 | 1>(1, 1, 1, 0),
    host: fc.boolean(),
    lines: fc.array(line, { maxLength: 6 }),
    body: fc.option(body, { nil: undefined }),
    deed,
  })
  .map(({ form, path, host, ...sent }) => {
    let target = form === 'absolute' ? `http://app.test:81${path}` : path
    if (form === 'asterisk' && sent.method === 'OPTIONS') target = '*'
    const lines = host || sent.minor === 1 ? ['Host: app.test:81', ...sent.lines] : sent.lines
    // In HTTP/1.0 nobody understands chunks.
    const body = sent.body && { ...sent.body, chunked: sent.body.chunked && sent.minor === 1 }
    return { ...sent, target, lines, body }
  })
