import { createServer, METHODS } from 'node:http'
import { connect } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Application, parseResponses, type RawResponse, startProxy, until } from './test-support.ts'

/** What the application does, told by the request itself. */
interface Deed {
  status: number
  framing: 'length' | 'chunked' | 'close'
  content: string
  trailers: boolean
}

interface Sent {
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

interface Seen {
  method: string | undefined
  url: string | undefined
  headers: [string, string][]
  body: string
  trailers: string[]
}

const pairs = (raw: readonly string[]): [string, string][] =>
  raw.flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as [string, string]] : []))

/** Keeps what it sees by the number of the request, and what its parser refuses. */
async function echoApp() {
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

function bytesOf(sent: Sent, id: number, last: boolean): string {
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
async function sendAll(port: number, text: string): Promise<string> {
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

async function inTurns<T>(
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
const line = fc.oneof(
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
const path = fc
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

const request: fc.Arbitrary<Sent> = fc
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

// --- the documented policy

const HOP_BY_HOP =
  /^(connection|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|expect|content-length)$/i
const FORGED = /^(x[-_]forwarded[-_].*|forwarded|x-real-ip|proxy)$/i

/** What the application must have seen, given what it sees without the proxy; the lines of the proxy set aside. */
function expectedSeen(seen: Seen, sent: Sent, last: boolean): Seen {
  const listed = last && sent.minor === 1 ? /^x-listed$/i : /^$/
  const stays = ([name]: [string, string]) =>
    !HOP_BY_HOP.test(name) && !FORGED.test(name) && !listed.test(name)
  const trailers = pairs(seen.trailers).filter(([name]) => !/^(host|x-forwarded-for)$/i.test(name))
  return {
    ...seen,
    url: seen.url?.replace('http://app.test:81', ''),
    headers: seen.headers.filter(stays),
    trailers: trailers.flat(),
  }
}

function withoutOurs(seen: Seen, sent: Sent): Seen {
  const named = sent.lines.some((line) => line.startsWith('Host:'))
  const ours = ([name]: [string, string]) =>
    HOP_BY_HOP.test(name) || FORGED.test(name) || (!named && name === 'Host')
  return { ...seen, headers: seen.headers.filter((pair) => !ours(pair)) }
}

const headerOf = (seen: Seen, name: string) =>
  seen.headers.find(([other]) => other.toLowerCase() === name)?.[1]

/** What a client makes of a response. */
function meaning(response: RawResponse | undefined, minor: number) {
  if (response === undefined) return undefined
  const framing = /^(connection|keep-alive|transfer-encoding|content-length|date):/i
  return {
    status: response.status,
    lines: response.lines.filter((line) => !framing.test(line)),
    body: response.body,
    trailers: minor === 1 ? response.trailers : [],
  }
}

test('requests have the same meaning through the forwarder and without it', async () => {
  const { app, seen } = await echoApp()
  await using upstream = app
  await using proxy = await startProxy({ route: () => ({ upstream: upstream.upstream }) })
  const sequences = fc.sample(fc.array(request, { minLength: 1, maxLength: 6 }), {
    numRuns: 700,
    seed: 20_241,
  })
  expect(sequences.flat().length).toBeGreaterThan(2_000)

  await inTurns(sequences, 16, async (sequence, index) => {
    // Only the last one may end the connection: node:http answers nothing behind that, the forwarder does.
    const requests = sequence.map((asked, place) => {
      const last = place === sequence.length - 1
      // Nor may a later one expect to continue: node:http says so in the middle of the response before it.
      const sent = asked.body && place > 0 ? { ...asked, body: { ...asked.body, expect: false } } : asked
      if (last) return sent
      const status = sent.minor === 0 && [204, 304].includes(sent.deed.status) ? 200 : sent.deed.status
      const framing = sent.minor === 0 || sent.deed.framing === 'close' ? 'length' : sent.deed.framing
      return { ...sent, deed: { ...sent.deed, status, framing } }
    })
    const idOf = (place: number) => index * 10 + place
    const text = requests
      .map((sent, place) => bytesOf(sent, idOf(place), place === requests.length - 1))
      .join('')
    const methods = requests.map(({ method }) => method)

    const straight = parseResponses(await sendAll(app.port, text), methods)
    const plain = requests.map((_, place) => seen.get(String(idOf(place))))
    for (const place of requests.keys()) seen.delete(String(idOf(place)))
    const forwarded = parseResponses(await sendAll(proxy.port, text), methods)

    for (const [place, sent] of requests.entries()) {
      const last = place === requests.length - 1
      const before = plain[place]
      const after = seen.get(String(idOf(place)))
      if (before === undefined || after === undefined)
        throw new Error(`request ${idOf(place)} did not arrive: ${text}`)
      expect(withoutOurs(after, sent)).toEqual(withoutOurs(expectedSeen(before, sent, last), sent))
      expect(headerOf(after, 'x-forwarded-for')).toBe('127.0.0.1')
      expect(headerOf(after, 'transfer-encoding')).toBe(headerOf(before, 'transfer-encoding'))
      if (sent.body !== undefined)
        expect(headerOf(after, 'content-length')).toBe(headerOf(before, 'content-length'))
      expect(meaning(forwarded[place], sent.minor)).toEqual(meaning(straight[place], sent.minor))
      const length = straight[place]?.headers.get('content-length')
      if (length !== undefined) expect(forwarded[place]?.headers.get('content-length')).toBe(length)
    }
  })
}, 60_000)

describe('what node:http refuses', () => {
  const SENTINEL = '\r\n\r\nGET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  const head = fc
    .tuple(fc.constantFrom('GET', 'DELETE', 'OPTIONS'), path, fc.array(line, { maxLength: 4 }))
    .map(([method, path, lines]) => [`${method} ${path} HTTP/1.1`, 'Host: a', ...lines].join('\r\n'))
  const malformed = fc
    .tuple(
      head,
      fc.array(
        fc.tuple(
          fc.nat(200),
          fc.constantFrom(0, 1, 2),
          fc.oneof(fc.nat(255), fc.constantFrom(0, 9, 10, 11, 13, 32, 47, 58, 127, 128, 255)),
        ),
        { minLength: 1, maxLength: 3 },
      ),
    )
    .map(([text, changes]) => {
      let result = text
      for (const [place, kind, byte] of changes) {
        const at = place % (result.length + 1)
        const added = kind === 0 ? '' : String.fromCharCode(byte)
        result = result.slice(0, at) + added + result.slice(at + (kind === 2 ? 0 : 1))
      }
      return result
    })

  // Methods are open to extension (RFC 9110 9.1), node:http knows a list of them.
  const unknownMethod = (text: string) => {
    const method = /^(?:\r\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+) /.exec(text)?.[1]
    return method !== undefined && !METHODS.includes(method)
  }

  test('is refused by the forwarder too, and does not reach the application', async () => {
    const straight = await echoApp()
    const behind = await echoApp()
    await using first = straight.app
    await using second = behind.app
    await using proxy = await startProxy({ route: () => ({ upstream: second.upstream }) })
    let refused = 0
    await inTurns(fc.sample(malformed, { numRuns: 1_500, seed: 7 }), 1, async (text) => {
      const before = straight.state.refused
      await sendAll(first.port, text + SENTINEL)
      if (straight.state.refused === before) return
      refused += 1
      if (unknownMethod(text)) return
      const accepted = second.accepted
      const answer = await sendAll(proxy.port, text + SENTINEL)
      expect(answer, text).toMatch(/^HTTP\/1\.1 (400|417|431|501|505) /)
      expect([second.accepted, behind.state.refused], text).toEqual([accepted, 0])
    })
    expect(refused).toBeGreaterThan(300)
  }, 60_000)

  test('for an unknown method is passed on', async () => {
    const straight = await echoApp()
    await using app = straight.app
    await using proxy = await startProxy({ route: () => ({ upstream: app.upstream }) })
    const text = 'BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    expect(await sendAll(proxy.port, text)).toMatch(/^HTTP\/1\.1 400 /)
    expect(straight.state.refused).toBe(1)
  })

  test.each([
    ['a length and chunks', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'Content-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a length with a sign', 'Content-Length: +1\r\n\r\na'],
    ['an empty length', 'Content-Length: \r\n\r\n'],
    ['a coding behind chunks', 'Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n'],
    ['no coding but chunks', 'Transfer-Encoding: gzip\r\n\r\n'],
    ['a chunk size that is no number', 'Transfer-Encoding: chunked\r\n\r\nz\r\n\r\n'],
    ['a chunk without size', 'Transfer-Encoding: chunked\r\n\r\n\r\n'],
    ['a chunk that is too long', 'Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n'],
    ['a chunk that ends with a line feed', 'Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n'],
    ['a space behind a chunk size', 'Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n'],
    ['a malformed trailer', 'Transfer-Encoding: chunked\r\n\r\n0\r\nX : a\r\n\r\n'],
    ['too large a head', `X: ${'a'.repeat(20_000)}\r\n\r\n`],
    ['extensions without end', `Transfer-Encoding: chunked\r\n\r\n1;${'a'.repeat(20_000)}\r\n`],
  ])('(%s) is no complete request for the application either', async (_, rest) => {
    const straight = await echoApp()
    await using app = straight.app
    await using proxy = await startProxy({ route: () => ({ upstream: app.upstream }) })
    const text = `POST / HTTP/1.1\r\nHost: a\r\nX-Id: 1\r\n${rest}`
    await sendAll(app.port, text)
    expect([straight.state.refused, straight.seen.size]).toEqual([1, 0])
    expect(await sendAll(proxy.port, text)).toMatch(/^HTTP\/1\.1 (400|413|431|501) /)
    expect(straight.seen.size).toBe(0)
  })
})
