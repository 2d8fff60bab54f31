import { METHODS } from 'node:http'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  bytesOf,
  echoApp,
  inTurns,
  line,
  pairs,
  path,
  request,
  type Seen,
  type Sent,
  sendAll,
} from './differential-test-support.ts'
import { parseResponses, type RawResponse, startProxy } from './test-support.ts'

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
  const framing = /^(connection|keep-alive|transfer-encoding|content-length):/i
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
