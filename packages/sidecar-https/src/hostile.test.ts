import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { ask, exchangeRaw, httpApp, rawClient, reports, startWorld, until } from './test-support.ts'

const hello = () => httpApp((_, res) => res.end('hello'))

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 0)
}

describe('a request that two servers could read differently never reaches the application:', () => {
  const HEAD = 'POST / HTTP/1.1\r\nHost: a\r\n'
  test.each<[string, string, number]>([
    ['a length and chunks', `${HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['chunks and a length', `${HEAD}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n`, 400],
    ['two different lengths', `${HEAD}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`, 400],
    ['the same length twice', `${HEAD}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`, 400],
    ['a list of lengths', `${HEAD}Content-Length: 3, 3\r\n\r\nabc`, 400],
    ['a signed length', `${HEAD}Content-Length: +3\r\n\r\nabc`, 400],
    ['a hexadecimal length', `${HEAD}Content-Length: 0x3\r\n\r\nabc`, 400],
    ['an endless length', `${HEAD}Content-Length: 99999999999999999999999\r\n\r\nabc`, 400],
    ['an empty length', `${HEAD}Content-Length:\r\n\r\n`, 400],
    ['a space before the colon', `${HEAD}Content-Length : 3\r\n\r\nabc`, 400],
    ['a folded line', `${HEAD}X: a\r\n Content-Length: 3\r\n\r\n`, 400],
    ['a bare line feed in the head', `${HEAD}X: a\nContent-Length: 3\r\n\r\nabc`, 400],
    ['a bare carriage return in a value', `${HEAD}X: a\rb\r\n\r\n`, 400],
    ['a zero byte in a value', `${HEAD}X: a\0b\r\n\r\n`, 400],
    ['a line without a colon', `${HEAD}nonsense\r\n\r\n`, 400],
    ['chunks under a name with vertical tab', `${HEAD}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`, 400],
    ['another coding', `${HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
    ['chunks twice', `${HEAD}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 501],
    ['chunks before another coding', `${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`, 501],
    ['an unknown coding', `${HEAD}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 501],
    ['chunks in HTTP/1.0', 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['a host with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400],
    ['a host with a space', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
    ['a host with an address of a user', 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n', 400],
    ['a list of hosts', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 400],
    ['an absolute target with a user', 'GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['an absolute target without a host', 'GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['an absolute target of another scheme', 'GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a star for another method', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['CONNECT', 'CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n', 501],
    ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a control character in the target', 'GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a method that is no token', 'GE(T / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['an unknown version', 'GET / HTTP/1.2\r\nHost: a\r\n\r\n', 505],
    ['a version that is too high', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505],
    ['no version', 'GET /\r\n\r\n', 400],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['nonsense', '\x16\x03\x01 nonsense\r\n\r\n', 400],
  ])('%s', async (_, bytes, status) => {
    await using world = await startWorld(await hello())
    expect(statusOf(await exchangeRaw(world.port, bytes))).toBe(status)
    expect(world.app.accepted).toBe(0)
    expect(await reports(world)).toMatchObject([{ status, outcome: 'refused' }])
  })

  test.each([
    ['a chunk size that is no number', 'xyz\r\n'],
    ['a signed chunk size', '-1\r\n'],
    ['an endless chunk size', 'fffffffffffffffff\r\n'],
    ['a chunk longer than it says', '3\r\nabcdef\r\n0\r\n\r\n'],
    ['a bare line feed behind the size', '3\nabc\r\n0\r\n\r\n'],
  ])('%s is a 400 and cancels what has reached it', async (_, body) => {
    const cut = { seen: false }
    await using world = await startWorld(
      await httpApp((req) => {
        req.on('error', () => (cut.seen = true)).resume()
      }),
    )
    using client = await rawClient(world.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
    await until(() => world.app.connections === 1, 'the head at the application')
    client.socket.write(body, 'latin1')
    await client.until('HTTP/1.1 400 ')
    await client.untilClosed()
    await until(() => cut.seen, 'the application notices')
    expect(await reports(world)).toMatchObject([{ method: 'POST', status: 400, outcome: 'refused' }])
  })
})

test('CONNECT leaves no connection behind', async () => {
  await using world = await startWorld(await hello(), { limits: { lingerMs: 60_000 } })
  using client = await rawClient(world.port, { allowHalfOpen: true })
  client.socket.write('CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\nbytes meant')
  await client.until('HTTP/1.1 501 ')
  client.socket.end('for b')
  await until(() => world.sidecar.openConnections === 0, 'the connection is gone')
})

describe('the bytes behind a request', () => {
  test('are the next request, not a part of the body', async () => {
    const seen: string[] = []
    await using world = await startWorld(
      await httpApp((req, res) => {
        seen.push(`${req.method} ${req.url}`)
        res.end('ok')
      }),
    )
    const body = '0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
    await exchangeRaw(
      world.port,
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    )
    expect(seen).toEqual(['POST /'])
  })

  test('that are nonsense are answered behind the response to the request', async () => {
    await using world = await startWorld(await hello())
    const answer = await exchangeRaw(world.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 200 .*hello.*HTTP\/1\.1 400 .*malformed\.\n$/s)
    expect(await reports(world, 2)).toMatchObject([
      { status: 200, outcome: 'complete' },
      { status: 400, outcome: 'refused' },
    ])
  })

  test('that are refused are answered behind the response to the request', async () => {
    await using world = await startWorld(await hello())
    const answer = await exchangeRaw(world.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 200 .*hello.*HTTP\/1\.1 400 .*one Host header\.\n$/s)
  })
})

describe('limits', () => {
  test('a head that is too large is a 431', async () => {
    await using world = await startWorld(await hello())
    const answer = await exchangeRaw(
      world.port,
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(1_000_000)}\r\n\r\n`,
    )
    expect(statusOf(answer)).toBe(431)
    expect(await reports(world)).toMatchObject([{ method: '-', status: 431, outcome: 'refused' }])
    expect(world.app.accepted).toBe(0)
  })

  test('a target that is too long is a 414', async () => {
    await using world = await startWorld(await hello())
    expect(statusOf(await exchangeRaw(world.port, `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`))).toBe(414)
  })

  test('extensions of chunks that are too large are a 413', async () => {
    await using world = await startWorld(await httpApp(() => undefined))
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
    expect(statusOf(await exchangeRaw(world.port, `${head}1;${'x'.repeat(20_000)}\r\na\r\n`))).toBe(413)
  })

  test('a head that arrives too slowly is a 408', async () => {
    await using world = await startWorld(await hello(), { limits: { headMs: 200 } })
    using client = await rawClient(world.port)
    const drip = setInterval(() => client.socket.write('X'), 20)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n')
    await client.until('HTTP/1.1 408 ')
    clearInterval(drip)
    await client.untilClosed()
    expect(await reports(world)).toMatchObject([{ status: 408, outcome: 'refused' }])
  })

  test('a head that comes to its end after that is not served', async () => {
    await using world = await startWorld(await hello(), {
      limits: { headMs: 100, lingerMs: 300 },
    })
    using client = await rawClient(world.port, { allowHalfOpen: true })
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n')
    await client.until('HTTP/1.1 408 ')
    client.socket.write('\r\n')
    await until(() => world.sidecar.openConnections === 0, 'the connection is gone')
    expect(world.app.accepted).toBe(0)
    expect(world.requests).toHaveLength(1)
  })

  test('the second head of a connection has the same limit', async () => {
    await using world = await startWorld(await hello(), { limits: { headMs: 200 } })
    using client = await rawClient(world.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.until('hello')
    client.socket.write('GET / HTTP/1.1\r\n')
    await client.until('HTTP/1.1 408 ')
  })

  test('a connection that says nothing is closed without a word', async () => {
    await using world = await startWorld(await hello(), { limits: { headMs: 200 } })
    using client = await rawClient(world.port)
    await client.untilClosed()
    expect(client.received).toBe('')
    expect(world.requests).toEqual([])
  })

  test('a connection that says nothing more is closed', async () => {
    await using world = await startWorld(await hello(), { limits: { idleMs: 100 } })
    using client = await rawClient(world.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.untilClosed()
    expect(client.received).toMatch(/hello$/)
  })

  test('a handshake that is not finished is cut off', async () => {
    await using world = await startWorld(await hello(), { limits: { handshakeMs: 100 } })
    const socket = connect(world.port, '127.0.0.1').on('error', () => undefined)
    socket.resume()
    await once(socket, 'close')
    expect(world.handshakeErrors).toMatchObject([{ code: 'ERR_TLS_HANDSHAKE_TIMEOUT' }])
    await until(() => world.sidecar.openConnections === 0, 'the connection is gone')
  })

  test('a handshake that comes byte by byte is cut off too', async () => {
    await using world = await startWorld(await hello(), { limits: { handshakeMs: 300 } })
    const socket = connect(world.port, '127.0.0.1').on('error', () => undefined)
    socket.write('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'latin1')
    const drip = setInterval(() => socket.write('x'), 20)
    socket.resume()
    await once(socket, 'close')
    clearInterval(drip)
    await until(() => world.handshakeErrors.length === 1, 'a handshake error')
  })

  test('a handshake in time is followed by any silence that the other limits allow', async () => {
    await using world = await startWorld(await hello(), { limits: { handshakeMs: 100 } })
    using client = await rawClient(world.port)
    await new Promise((resolve) => setTimeout(resolve, 300))
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.until('hello')
  })
})

describe('bytes on the TLS port that are no TLS', () => {
  test.each([
    ['plain HTTP', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'ERR_SSL_HTTP_REQUEST'],
    ['nonsense', '\x00\x01\x02\x03\x04\x05\x06\x07\x08', /^ERR_SSL_/],
    ['a record cut off', '\x16\x03\x01\x02\x00', 'ECONNRESET'],
    ['nothing at all', '', 'ECONNRESET'],
  ])('(%s) cost their sender the connection and nobody else anything', async (_, bytes, code) => {
    await using world = await startWorld(await hello())
    const socket = connect(world.port, '127.0.0.1').on('error', () => undefined)
    socket.resume().end(bytes, 'latin1')
    await once(socket, 'close')
    await until(() => world.handshakeErrors.length === 1, 'a handshake error')
    const [error] = world.handshakeErrors
    expect(error?.code).toMatch(code)
    expect((await ask(world.port)).body).toBe('hello')
  })
})
