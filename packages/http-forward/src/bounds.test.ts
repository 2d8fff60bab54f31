import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { createForwarder, createUpstream, type Forward } from './index.ts'
import {
  ask,
  namedApp,
  onHeads,
  RawClient,
  rawClient,
  refusing,
  reports,
  scriptedApp,
  startProxy,
  tcpApp,
  until,
} from './test-support.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n'

describe('connections to applications', () => {
  test('are bounded: a request that needs one more gets 503, and is served when one is free', async () => {
    const held: Socket[] = []
    await using app = await tcpApp((socket) => onHeads(socket, () => void held.push(socket)))
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }), limits: { upstreamConnections: 2 } })
    using first = await rawClient(proxy.port)
    using second = await rawClient(proxy.port)
    first.send(`${GET}\r\n`)
    second.send(`${GET}\r\n`)
    await until(() => held.length === 2, 'two requests at the application')
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 503 })
    expect(proxy.requests).toMatchObject([{ status: 503, outcome: 'refused' }])
    for (const socket of held) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    await first.until('ok')
    await second.until('ok')
    const third = ask(proxy.port, GET)
    await until(() => held.length === 3, 'the third request')
    held[2]?.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    expect(await third).toMatchObject({ status: 200 })
  })

  test('that are unused make room for another application', async () => {
    await using one = await namedApp('one')
    await using two = await namedApp('two')
    const upstreams = { '/one': one.upstream, '/two': two.upstream }
    await using proxy = await startProxy({
      route: ({ path }) => ({ upstream: upstreams[path === '/one' ? '/one' : '/two'] }),
      limits: { upstreamConnections: 1 },
    })
    for (const path of ['/one', '/two', '/one', '/two']) {
      const response = await ask(proxy.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n`)
      expect(response).toMatchObject({ status: 200 })
      expect(response.headers.get('x-app')).toBe(path.slice(1))
    }
  })

  test('that are unused and belong to another client make room too', async () => {
    await using app = await namedApp('app')
    const { upstream } = app
    await using proxy = await startProxy(
      { route: () => ({ upstream }), limits: { upstreamConnections: 3 } },
      () => ({ preamble: Buffer.alloc(0) }),
    )
    const clients: RawClient[] = []
    for (let index = 0; index < 6; index += 1) {
      const client = await rawClient(proxy.port)
      clients.push(client)
      client.send(`${GET}\r\n`)
      await client.until('HTTP/1.1 200 ')
    }
    for (const client of clients) client.socket.destroy()
  })

  test('of tunnels count until they are closed', async () => {
    await using app = await tcpApp((socket) =>
      onHeads(socket, (head) => {
        if (head.includes('Upgrade')) {
          socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n')
          socket.on('end', () => socket.end())
        } else {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        }
      }),
    )
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }), limits: { upstreamConnections: 1 } })
    using client = await rawClient(proxy.port)
    client.send(`${GET}Connection: Upgrade\r\nUpgrade: chat\r\n\r\n`)
    await client.until('101')
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 503 })
    client.socket.end()
    await client.untilClosed()
    await until(() => app.sockets.size === 0, 'the end of the tunnel at the application')
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 200 })
  })
})

describe('a silent application', () => {
  test('gets no more time by what a client sends behind its request', async () => {
    await using app = await tcpApp((socket) => socket.resume())
    const upstream = createUpstream(`http://127.0.0.1:${app.port}`, { responseTimeoutMs: 150 })
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    using client = await rawClient(proxy.port)
    client.send(`${GET}\r\n`)
    const more = setInterval(() => client.send('G'), 20)
    await client.until('504').finally(() => clearInterval(more))
  })

  test('gets no more time by a client that does not wait to be asked for its body, and sends it slowly', async () => {
    await using app = await tcpApp((socket) => socket.resume())
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }), limits: { stallMs: 100 } })
    using client = await rawClient(proxy.port)
    client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n')
    const more = setInterval(() => client.send('x'), 20)
    await client.until('408').finally(() => clearInterval(more))
  })
})

describe('interim responses', () => {
  const flood = (count: number) =>
    scriptedApp(
      `${'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(count)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`,
    )

  test.each([
    [100, 'HTTP/1.1 200 OK'],
    [101, 'HTTP/1.1 502 Bad Gateway'],
  ])('may be a hundred: after %i comes %s', async (count, status) => {
    await using app = await flood(count)
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    using client = await rawClient(proxy.port)
    client.send(`${GET}\r\n`)
    await client.until(status)
  })
})

describe('a route', () => {
  test('that does not decide is a 504, and the next request of another client is served', async () => {
    await using app = await namedApp('app')
    const { upstream } = app
    await using proxy = await startProxy({
      route: ({ path }) => (path === '/never' ? new Promise<Forward>(() => undefined) : { upstream }),
      limits: { routeMs: 50 },
    })
    const response = await ask(proxy.port, 'POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n', 'abc')
    expect(response).toMatchObject({ status: 504 })
    expect(await reports(proxy)).toMatchObject([{ outcome: 'refused', status: 504 }])
    expect(proxy.requests[0]?.error?.message).toContain('not decided within 50 ms')
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 200 })
  })

  test('that decides after its time is not followed', async () => {
    await using app = await namedApp('app')
    const { upstream } = app
    const late = Promise.withResolvers<Forward>()
    await using proxy = await startProxy({ route: () => late.promise, limits: { routeMs: 30 } })
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 504 })
    late.resolve({ upstream })
    await delay(20)
    expect(app.accepted).toBe(0)
    expect(proxy.requests).toHaveLength(1)
  })
})

describe('a shadow', () => {
  test('whose response does not end in time is cut off', async () => {
    await using app = await namedApp('app')
    await using shadow = await scriptedApp('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc')
    const upstream = app.upstream
    const other = createUpstream(`http://127.0.0.1:${shadow.port}`, { responseTimeoutMs: 50 })
    await using proxy = await startProxy({ route: () => ({ upstream, shadow: other }) })
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 200 })
    await until(() => proxy.shadows.length === 1, 'the report of the shadow')
    expect(proxy.shadows).toMatchObject([{ status: undefined, error: { name: 'UpstreamTimeout' } }])
    await until(() => shadow.sockets.size === 0, 'the end of its connection')
  })

  test('is left out where there are as many as may be, and the request is served', async () => {
    await using app = await namedApp('app')
    await using silent = await tcpApp((socket) => socket.resume())
    const [upstream, other] = [app.upstream, silent.upstream]
    await using proxy = await startProxy({
      route: () => ({ upstream, shadow: other }),
      limits: { shadows: 2 },
    })
    for (let index = 0; index < 3; index += 1) {
      expect(await ask(proxy.port, GET)).toMatchObject({ status: 200 })
    }
    expect(proxy.shadows).toMatchObject([{ error: { message: 'there are 2 shadows, as many as may be' } }])
    for (const socket of silent.sockets) socket.destroy()
    await until(() => proxy.shadows.length === 3, 'the reports of the others')
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 200 })
    expect(proxy.shadows).toHaveLength(3)
  })

  test('without room for its connection is left out, and the request is served', async () => {
    await using app = await namedApp('app')
    const [upstream, other] = [app.upstream, refusing()]
    await using proxy = await startProxy({
      route: ({ path }) => (path === '/' ? { upstream, shadow: other } : { upstream }),
      limits: { upstreamConnections: 1 },
    })
    // The shadow goes first, and takes the only place.
    await ask(proxy.port, GET)
    await until(() => proxy.shadows.length === 1, 'the report of the shadow')
    expect(await ask(proxy.port, 'GET /plain HTTP/1.1\r\nHost: a\r\n')).toMatchObject({ status: 200 })
  })
})

describe('a client that leaves while nobody wants what it sends', () => {
  test('behind more requests than are read ahead is noticed while the response is silent', async () => {
    await using app = await tcpApp((socket) =>
      onHeads(socket, () => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n')),
    )
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }), limits: { stallMs: 60 } })
    const client = new RawClient((await rawClient(proxy.port)).socket)
    client.send(`${GET}\r\n`)
    await client.until('200')
    client.send(`${GET}X: ${'x'.repeat(1_000)}\r\n\r\n`.repeat(40))
    await delay(50)
    client.socket.resetAndDestroy()
    expect(await reports(proxy)).toMatchObject([{ outcome: 'client-aborted' }])
    await until(() => app.sockets.size === 0, 'the end of the request at the application')
  })

  test('in the middle of a body that the application does not read is noticed', async () => {
    await using app = await tcpApp((socket) => {
      socket.once('data', () => {
        socket.pause()
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n')
      })
    })
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }), limits: { stallMs: 60 } })
    using client = await rawClient(proxy.port)
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n')
    await client.until('200')
    // Until nobody takes more, and then what the system itself still takes.
    const bytes = Buffer.alloc(64 * 1024)
    while (client.socket.writableLength < 4 * 1024 * 1024) client.socket.write(bytes)
    await delay(100)
    client.socket.resetAndDestroy()
    expect(await reports(proxy)).toMatchObject([{ outcome: 'client-aborted' }])
  })
})

test('slow readers of large responses cost little more than the bound of all of them', async () => {
  const size = 64 * 1024 * 1024
  const chunk = Buffer.alloc(256 * 1024)
  // Unix sockets, because the system keeps megabytes of each TCP connection, and slows all of them down for that.
  const folder = await mkdtemp(join(tmpdir(), 'forward-'))
  const app = createHttpServer((_, res) => {
    res.setHeader('Content-Length', size)
    let left = size
    const more = () => {
      while (left > 0) {
        left -= chunk.length
        if (!res.write(chunk)) return
      }
      res.end()
    }
    res.on('drain', more)
    more()
  }).listen(join(folder, 'app.sock'))
  const upstream = createUpstream(`unix:${join(folder, 'app.sock')}`)
  const forwarder = createForwarder({ route: () => ({ upstream }) })
  const path = join(folder, 'proxy.sock')
  const server = createServer({ allowHalfOpen: true }, (socket) => forwarder.serve(socket)).listen(path)
  await Promise.all([once(app, 'listening'), once(server, 'listening')])
  try {
    const before = process.memoryUsage().arrayBuffers
    // They share the memory they read into, and stop after the first read.
    const onread = { buffer: Buffer.alloc(64), callback: () => false }
    const clients: Socket[] = []
    while (clients.length < 1_000) {
      // So many at once as may wait to be accepted.
      for (let index = 0; index < 100; index += 1) {
        const client = connect({ path, onread }).on('error', () => undefined)
        client.write(`${GET}\r\n`)
        clients.push(client)
      }
      await until(() => forwarder.inFlight === clients.length, 'all requests')
    }
    await delay(500)
    collectGarbage()
    const held = process.memoryUsage().arrayBuffers - before
    // Unbounded, each would hold some 250 KiB.
    expect(held).toBeLessThan(clients.length * 150 * 1024)
    // And a client that reads is served meanwhile.
    const reader = connect({ path })
    let came = 0
    reader.on('data', (bytes) => (came += bytes.length))
    reader.write(`${GET}\r\n`)
    await until(() => came > size, 'a whole response')
    for (const client of [...clients, reader]) client.destroy()
    await until(() => forwarder.connections === 0, 'the end of all connections')
  } finally {
    forwarder.close()
    server.close()
    app.close()
    await rm(folder, { recursive: true })
  }
})

test('the report tells whom a trusted client speaks for, and nobody else', async () => {
  await using app = await namedApp('app')
  const { upstream } = app
  await using trusting = await startProxy({ route: () => ({ upstream }), trusted: () => true })
  await using wary = await startProxy({ route: () => ({ upstream }) })
  for (const proxy of [trusting, wary]) await ask(proxy.port, `${GET}X-Forwarded-For: 9.9.9.1\r\n`)
  expect((await reports(trusting))[0]?.forwardedFor).toBe('9.9.9.1')
  expect((await reports(wary))[0]?.forwardedFor).toBeUndefined()
})

test('an application that was not reached is told from one that answers badly', async () => {
  await using bad = await scriptedApp('nonsense\r\n\r\n')
  const [dead, upstream] = [refusing(), bad.upstream]
  await using proxy = await startProxy({
    route: ({ path }) => ({ upstream: path === '/dead' ? dead : upstream }),
  })
  expect(await ask(proxy.port, 'GET /dead HTTP/1.1\r\nHost: a\r\n')).toMatchObject({
    status: 502,
    body: 'The application could not be reached.\n',
  })
  expect(await ask(proxy.port, GET)).toMatchObject({
    status: 502,
    body: 'The application did not give a valid response.\n',
  })
})

test('a 426 says to which protocol', async () => {
  await using app = await scriptedApp(
    'HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: HTTP/3.0\r\nContent-Length: 0\r\n\r\n',
  )
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  const { status, lines } = await ask(proxy.port, GET)
  expect(status).toBe(426)
  expect(lines).toContain('Upgrade: HTTP/3.0')
  expect(lines).toContain('Connection: Upgrade')
})

test('the report tells the traceparent that the client has sent, where it is a valid one', async () => {
  await using app = await namedApp('app')
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  await ask(proxy.port, `${GET}TraceParent: ${trace}\r\n`)
  await ask(proxy.port, `${GET}traceparent: nonsense\r\n`)
  await ask(proxy.port, `${GET}traceparent: ${trace}\r\ntraceparent: ${trace}\r\n`)
  const [sent, bad, double] = await reports(proxy, 3)
  expect(sent?.traceparent).toBe(trace)
  expect(bad?.traceparent).toBeUndefined()
  expect(double?.traceparent).toBeUndefined()
})
