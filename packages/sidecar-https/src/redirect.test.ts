import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import type { RequestReport } from './index.ts'
import { type Redirect, type RedirectOptions, startRedirect } from './redirect.ts'
import { tcpApp, until } from './test-support.ts'

interface World extends AsyncDisposable {
  redirect: Redirect
  port: number
  reports: RequestReport[]
}

async function startWorld(options: Partial<RedirectOptions> = {}): Promise<World> {
  const reports: RequestReport[] = []
  const redirect = await startRedirect({
    listen: { host: '127.0.0.1', port: 0 },
    httpsPort: 443,
    onRequest: (report) => reports.push(report),
    ...options,
  })
  return {
    redirect,
    reports,
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
  socket.end(bytes)
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

describe('the listener', () => {
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
