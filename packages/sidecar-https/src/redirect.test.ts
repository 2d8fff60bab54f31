import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { addressMatcher } from './cidr.ts'
import type { HandshakeReport } from './handshake.ts'
import type { RequestReport } from './index.ts'
import { proxyHeaderV2 } from './proxy-protocol.ts'
import { type Redirect, type RedirectOptions, startRedirect } from './redirect.ts'
import { tcpApp, until } from './test-support.ts'

interface World extends AsyncDisposable {
  redirect: Redirect
  port: number
  reports: RequestReport[]
  refused: HandshakeReport[]
}

async function startWorld(options: Partial<RedirectOptions> = {}): Promise<World> {
  const reports: RequestReport[] = []
  const refused: HandshakeReport[] = []
  const redirect = await startRedirect({
    listen: { host: '127.0.0.1', port: 0 },
    httpsPort: 443,
    onRequest: (report) => reports.push(report),
    onRefused: (report) => refused.push(report),
    ...options,
  })
  return {
    redirect,
    reports,
    refused,
    port: 'port' in redirect.address ? redirect.address.port : 0,
    [Symbol.asyncDispose]: () => redirect[Symbol.asyncDispose](),
  }
}

interface Answer {
  status: number | undefined
  location: string | undefined
  body: string
}

async function ask(
  port: number,
  path: string,
  host = 'app.test',
  method = 'GET',
  body = '',
): Promise<Answer> {
  const headers = { host, ...(body !== '' && { 'content-length': body.length }) }
  const outgoing = request({ host: '127.0.0.1', port, path, method, agent: false, headers }).end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const { statusCode: status, headers: answered } = response
  return { status, location: answered.location, body: await text(response) }
}

/** What comes for these bytes until the connection is closed. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined)
  socket.end(bytes, 'latin1')
  return text(socket)
}

describe('a plain request', () => {
  test.each([
    ['/', 'app.test', 443, 'https://app.test/'],
    ['/a/../b?q=1&r=%2F', 'app.test', 443, 'https://app.test/a/../b?q=1&r=%2F'],
    ['/', 'app.test:80', 443, 'https://app.test/'],
    ['/', 'app.test:8080', 8443, 'https://app.test:8443/'],
    ['/', 'app.test', 8443, 'https://app.test:8443/'],
    ['/x', '[::1]:8080', 8443, 'https://[::1]:8443/x'],
    ['/x', '[::1]', 443, 'https://[::1]/x'],
    ['//evil.test/', 'app.test', 443, 'https://app.test//evil.test/'],
  ])('for %s of %s is sent to port %d there: %s', async (path, host, httpsPort, location) => {
    await using world = await startWorld({ httpsPort })
    expect(await ask(world.port, path, host)).toMatchObject({ status: 308, location })
  })

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])(
    'by %s keeps its method, and its body is not lost on the next one',
    async (method) => {
      await using world = await startWorld()
      expect(await ask(world.port, '/', 'app.test', method, 'a body')).toMatchObject({ status: 308 })
    },
  )

  test('by HEAD has no body', async () => {
    await using world = await startWorld()
    const answer = await raw(world.port, 'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 308 .*\r\nlocation: https:\/\/a\/\r\n.*\r\n\r\n$/is)
  })

  test('in absolute form is sent to the host that it names there', async () => {
    await using world = await startWorld()
    const answer = await raw(
      world.port,
      'GET http://b.test/c HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n',
    )
    expect(answer).toMatch(/\r\nlocation: https:\/\/b\.test\/c\r\n/i)
  })

  test('on a kept connection is answered as the first', async () => {
    await using world = await startWorld()
    const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`
    const answer = await raw(world.port, get('/1') + get('/2') + get('/3', 'Connection: close\r\n'))
    expect(answer.match(/location: .*\d/gi)).toEqual([1, 2, 3].map((each) => `Location: https://a/${each}`))
  })

  test('is reported as answered', async () => {
    await using world = await startWorld()
    await ask(world.port, '/a?q')
    await until(() => world.reports.length === 1, 'the report')
    expect(world.reports).toMatchObject([
      { method: 'GET', target: '/a?q', status: 308, outcome: 'answered', clientAddress: '127.0.0.1' },
    ])
  })
})

describe('a plain request that cannot be sent on', () => {
  test.each([
    ['without a host', 'GET / HTTP/1.1\r\n\r\n'],
    ['with an empty one', 'GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n'],
    ['of HTTP/1.0 without a host', 'GET / HTTP/1.0\r\n\r\n'],
    ['with two', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['with a path in it', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'],
    ['with a user in it', 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n'],
    ['with a line break in it', 'GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n'],
    ['for the server as a whole', 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
    ['that is TLS', '\x16\x03\x01\x02\x00\x01\x00'],
  ])('(%s) is a 400', async (_, bytes) => {
    await using world = await startWorld()
    const answer = await raw(world.port, bytes)
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(answer).not.toMatch(/^location/im)
  })

  test('(too large) is refused as everywhere', async () => {
    await using world = await startWorld({ limits: { headBytes: 1024 } })
    expect((await ask(world.port, '/', 'a'.repeat(2000))).status).toBe(431)
  })
})

describe('behind a proxy that sends PROXY headers', () => {
  const proxyFrom = addressMatcher(['127.0.0.1'])
  const V1 = 'PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n'
  const V2 = proxyHeaderV2({
    source: { address: '2001:db8::7', port: 5555 },
    destination: { address: '2001:db8::1', port: 80 },
  }).toString('latin1')
  const GET = 'GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

  test.each([
    ['version 1', V1, '203.0.113.7'],
    ['version 2', V2, '2001:db8::7'],
    ['an unknown client', 'PROXY UNKNOWN\r\n', '127.0.0.1'],
  ])(
    'a request behind a header (%s) is answered, and reported with the address of it',
    async (_, header, address) => {
      await using world = await startWorld({ proxyFrom })
      expect(await raw(world.port, header + GET)).toMatch(
        /^HTTP\/1\.1 308 .*\r\nlocation: https:\/\/a\/a\r\n/is,
      )
      await until(() => world.reports.length === 1, 'the report')
      expect(world.reports).toMatchObject([{ status: 308, clientAddress: address }])
      expect(world.refused).toEqual([])
    },
  )

  test('a header may come byte by byte, and the request later', async () => {
    await using world = await startWorld({ proxyFrom })
    const socket = connect({ port: world.port, host: '127.0.0.1', noDelay: true })
    const answer = text(socket)
    await once(socket, 'connect')
    for (const byte of V1 + GET) {
      socket.write(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await answer).toMatch(/^HTTP\/1\.1 308/)
  })

  test('a request without a header is not answered, and its sender is told', async () => {
    await using world = await startWorld({ proxyFrom })
    expect(await raw(world.port, GET).catch(() => '')).toBe('')
    expect(world.refused).toMatchObject([{ outcome: 'bad-proxy-header', address: '127.0.0.1' }])
    expect(world.refused[0]?.error?.message).toMatch(/PROXY protocol/)
    expect(world.reports).toEqual([])
  })

  test.each(['', 'PROXY TCP4 '])(
    'a slow header (%j) costs the connection after the time of a handshake',
    async (part) => {
      await using world = await startWorld({ proxyFrom, limits: { handshakeMs: 100 } })
      const socket = connect(world.port, '127.0.0.1').on('error', () => undefined)
      socket.write(part)
      await once(socket.resume(), 'close')
      expect(world.refused).toMatchObject([{ outcome: 'bad-proxy-header' }])
    },
  )

  test('the header of another peer is no request', async () => {
    await using world = await startWorld({ proxyFrom: addressMatcher(['10.0.0.0/8']) })
    expect(await raw(world.port, V1 + GET)).toMatch(/^HTTP\/1\.1 400 /)
  })

  test('connections are counted by the address that the header names', async () => {
    await using world = await startWorld({ proxyFrom, limits: { connectionsPerAddress: 1 } })
    const behind = (address: string): Socket => {
      const socket = connect(world.port, '127.0.0.1').on('error', () => undefined)
      socket.write(`PROXY TCP4 ${address} 192.0.2.1 1 2\r\n`)
      return socket.resume()
    }
    const kept = [behind('203.0.113.1'), behind('203.0.113.2')]
    await until(() => world.redirect.openConnections === 2, 'both clients')
    await once(behind('203.0.113.1'), 'close')
    expect(world.refused).toMatchObject([{ outcome: 'too-many', address: '203.0.113.1' }])
    for (const socket of kept) socket.destroy()
    await until(() => world.redirect.openConnections === 0, 'none')
  })

  test('a header that is not finished is not waited for while draining', async () => {
    await using world = await startWorld({ proxyFrom })
    const socket = connect(world.port, '127.0.0.1').on('error', () => undefined)
    socket.write('PROXY')
    await until(() => world.redirect.openConnections === 1, 'the connection')
    await world.redirect.drain()
    expect(world.redirect.openConnections).toBe(0)
  })
})

describe('the listener', () => {
  test.runIf(process.platform === 'linux')('has TCP look for the peers of silent connections', async () => {
    await using world = await startWorld()
    const socket = connect(world.port, '127.0.0.1')
    await until(() => world.redirect.openConnections === 1, 'the connection')
    // proc(5): the local address, that of the peer, the state (01: established), queues, and the timer (02: keep-alive).
    const port = world.port.toString(16).toUpperCase().padStart(4, '0')
    const timer = new RegExp(`: 0100007F:${port} \\S+ 01 \\S+ (\\d+):`)
    expect(timer.exec(readFileSync('/proc/net/tcp', 'latin1'))?.[1]).toBe('02')
    socket.destroy()
  })

  test('tells of connections that it refuses, and counts those that are open', async () => {
    await using world = await startWorld({ limits: { connections: 1 } })
    const first = connect(world.port, '127.0.0.1').resume()
    await until(() => world.redirect.openConnections === 1, 'the first')
    const second = connect(world.port, '127.0.0.1').on('error', () => undefined)
    await once(second.resume(), 'close')
    expect(world.refused).toEqual([
      {
        outcome: 'too-many',
        address: '127.0.0.1',
        error: new Error('there are 1 connections, as many as may be'),
      },
    ])
    expect(world.redirect.openConnections).toBe(1)
    first.destroy()
    await until(() => world.redirect.openConnections === 0, 'the end of the first')
  })

  test('closes a connection that says nothing', async () => {
    await using world = await startWorld({ limits: { headMs: 100 } })
    const socket = connect(world.port, '127.0.0.1').resume()
    await once(socket, 'close')
  })

  test('has the limits of connections, in all and of one address', async () => {
    for (const limits of [{ connections: 2 }, { connectionsPerAddress: 2 }]) {
      await using world = await startWorld({ limits })
      const open = (): Socket =>
        connect(world.port, '127.0.0.1')
          .on('error', () => undefined)
          .resume()
      const kept = [open(), open()]
      await Promise.all(kept.map((socket) => once(socket, 'connect')))
      await once(open(), 'close')
      expect(kept.map(({ closed }) => closed)).toEqual([false, false])
      kept[0]?.destroy()
      await until(() => kept[0]?.closed === true, 'the end of one')
      for (let answered = false; !answered; )
        answered = await ask(world.port, '/').then(
          () => true,
          () => false,
        )
      kept[1]?.destroy()
    }
  })

  test('when draining closes what is idle, answers what has begun, and accepts no more', async () => {
    await using world = await startWorld()
    const idle = connect(world.port, '127.0.0.1').resume()
    const begun = connect(world.port, '127.0.0.1')
    begun.write('GET / HTTP/1.1\r\n')
    const answer = text(begun)
    await Promise.all([once(idle, 'connect'), once(begun, 'connect')])
    await new Promise((resolve) => setTimeout(resolve, 100))
    const drained = world.redirect.drain()
    if (!idle.closed) await once(idle, 'close')
    await expect(ask(world.port, '/')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    begun.write('Host: a\r\n\r\n')
    expect(await answer).toMatch(/^HTTP\/1\.1 308/)
    await drained
  })

  test('rejects when its address is taken', async () => {
    await using app = await tcpApp(() => undefined)
    const listen = { host: '127.0.0.1', port: app.port }
    await expect(startWorld({ listen })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })

  test('cuts off what is open when it is disposed of', async () => {
    const world = await startWorld()
    const socket = connect(world.port, '127.0.0.1')
      .on('error', () => undefined)
      .resume()
    await once(socket, 'connect')
    await world[Symbol.asyncDispose]()
    if (!socket.closed) await once(socket, 'close')
  })
})
