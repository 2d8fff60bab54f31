import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer, type ServerOptions } from 'node:https'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createCa } from '../../sidecar-https/src/test-ca.ts'
import {
  createForwarder,
  createUpstream,
  type Forward,
  type Respond,
  type Route,
  type Upstream,
} from './index.ts'
import {
  Application,
  ask,
  exchangeRaw,
  httpApp,
  namedApp,
  onHeads,
  parseResponses,
  RawClient,
  rawClient,
  refusing,
  reports,
  scriptedApp,
  startProxy,
  tcpApp,
  until,
} from './test-support.ts'

interface Told {
  app: string
  method: string
  url: string
  body: string
  trailers: string[]
  headers: [string, string][]
}

/** What a named application was told. */
async function told(port: number, head: string, body = ''): Promise<Told> {
  const response = await ask(port, head, body)
  expect(response.status).toBe(200)
  const { raw, ...rest } = JSON.parse(response.body) as Told & { raw: string[] }
  const headers = raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1]] as [string, string]] : []))
  return { ...rest, headers }
}

const valuesOf = ({ headers }: Told, name: string) =>
  headers.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value)

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n'
const POST = 'POST / HTTP/1.1\r\nHost: a\r\n'

describe('a route', () => {
  test('chooses among applications by path, header, cookie and address', async () => {
    await using first = await namedApp('first')
    await using second = await namedApp('second')
    const upstreams = [first.upstream, second.upstream]
    const choose = (text: string | undefined): Forward => {
      const hash =
        createHash('sha256')
          .update(text ?? '')
          .digest()[0] ?? 0
      return { upstream: upstreams[hash % 2] as Upstream }
    }
    const seen: (string | undefined)[] = []
    await using proxy = await startProxy({
      route(request) {
        const { path, headers, client, method, target, host } = request
        seen.push(`${method} ${target} ${host} ${client.address} ${client.secure}`)
        if (path === '/by-cookie') return choose(request.cookie('session'))
        if (path === '/by-header') return choose(headers.get('x-tenant'))
        if (path === '/by-address') return choose(client.address)
        return { upstream: upstreams[path.startsWith('/second/') ? 1 : 0] as Upstream }
      },
    })
    const appOf = async (path: string, lines = '') =>
      (await told(proxy.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines}`)).app
    expect(await appOf('/first/x')).toBe('first')
    expect(await appOf('/second/x?y')).toBe('second')
    for (const name of ['Cookie: a=b; session=%; c=d', 'Cookie: a=b\r\nCookie: session=%']) {
      const apps = await Promise.all(
        [...'abcdefgh'].map((id) => appOf('/by-cookie', `${name.replace('%', id)}\r\n`)),
      )
      expect(new Set(apps).size).toBe(2)
      expect(await appOf('/by-cookie', `${name.replace('%', 'a')}\r\n`)).toBe(apps[0])
    }
    const tenants = await Promise.all([...'abcdefgh'].map((id) => appOf('/by-header', `X-Tenant: ${id}\r\n`)))
    expect(new Set(tenants).size).toBe(2)
    expect(await appOf('/by-address')).toBe(await appOf('/by-address'))
    expect(seen[1]).toBe('GET /second/x?y a 127.0.0.1 false')
  })

  test('may take its time, while the body waits', async () => {
    await using app = await namedApp('app')
    const { upstream } = app
    await using proxy = await startProxy({
      async route() {
        await delay(30)
        return { upstream }
      },
    })
    const body = 'b'.repeat(300_000)
    expect((await told(proxy.port, `${POST}Content-Length: ${body.length}\r\n`, body)).body).toBe(body)
  })

  test('whose client has left meanwhile leads nowhere', async () => {
    await using app = await namedApp('app')
    const { upstream } = app
    let decide = (_: Forward) => undefined as unknown
    await using proxy = await startProxy({ route: () => new Promise((resolve) => (decide = resolve)) })
    using client = await rawClient(proxy.port)
    client.send(`${GET}\r\n`)
    await until(() => proxy.forwarder.inFlight === 1, 'the request')
    client.socket.destroy()
    expect(await reports(proxy)).toMatchObject([{ outcome: 'client-aborted', status: 499 }])
    decide({ upstream })
    await delay(20)
    expect(app.accepted).toBe(0)
  })

  const wrong = (value: unknown) => value as Forward
  test.each<[string, Route]>([
    [
      'throws',
      () => {
        throw new Error('secret')
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret'))],
    ['rejects with nothing', () => Promise.reject()],
    ['gives nothing', () => wrong(undefined)],
    ['gives null in time', async () => wrong(null)],
    ['gives neither application nor answer', () => wrong({})],
    ['gives an application that it does not have', () => wrong({ upstream: undefined })],
    ['gives an application that it does not have in time', async () => wrong({ upstream: undefined })],
    [
      'answers with a header that breaks out',
      () => ({ respond: { status: 200, message: 'x', headers: { A: 'b\r\nC: d' } } }),
    ],
    [
      'answers with a length of its own',
      () => ({ respond: { status: 200, message: 'x', headers: { 'content-length': '9' } } }),
    ],
    ['answers with an interim status', () => ({ respond: { status: 100, message: 'x' } })],
    ['answers with no status', () => ({ respond: { status: Number.NaN, message: 'x' } })],
  ])('that %s is a 500 without the reason', async (_, route) => {
    await using proxy = await startProxy({ route })
    const { status, body } = await ask(proxy.port, GET)
    expect(status).toBe(500)
    expect(body).not.toContain('secret')
    expect(await reports(proxy)).toMatchObject([{ status: 500, outcome: 'refused' }])
  })

  test('may answer itself, as text or as JSON, and the connection goes on', async () => {
    await using proxy = await startProxy({
      route: (): Respond => ({ respond: { status: 418, message: 'caf\u00e9', headers: { 'X-Pot': 'tea' } } }),
    })
    using client = await rawClient(proxy.port)
    client.send(`${POST}Content-Length: 3\r\n\r\nabc${GET}Accept: application/json\r\n\r\n`)
    client.send(`HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    await client.untilClosed()
    const [text, json, head] = parseResponses(client.received, ['POST', 'GET', 'HEAD'])
    expect(Buffer.from(text?.body ?? '', 'latin1').toString()).toBe('caf\u00e9\n')
    expect(text?.headers.get('x-pot')).toBe('tea')
    expect(JSON.parse(Buffer.from(json?.body ?? '', 'latin1').toString())).toMatchObject({
      status: 418,
      message: 'caf\u00e9',
    })
    expect(head).toMatchObject({ status: 418, body: '' })
    expect(await reports(proxy, 3)).toMatchObject(Array(3).fill({ outcome: 'answered', upstream: undefined }))
  })

  test.each([204, 304])('may answer %d, which has no body', async (status) => {
    await using proxy = await startProxy({ route: () => ({ respond: { status, message: 'x' } }) })
    const response = await ask(proxy.port, GET)
    expect([response.status, response.headers.has('content-length'), response.body]).toEqual([
      status,
      false,
      '',
    ])
  })

  test('is not asked about what is no request', async () => {
    let asked = 0
    await using proxy = await startProxy({
      route: () => {
        asked += 1
        return { respond: { status: 200, message: '' } }
      },
    })
    await exchangeRaw(proxy.port, 'GET / HTTP/1.1\r\n\r\n')
    await exchangeRaw(proxy.port, 'GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n')
    await exchangeRaw(proxy.port, 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(asked).toBe(0)
  })
})

/** A proxy in front of one application. */
async function inFront(
  forward: (upstream: Upstream) => Forward,
  options: Parameters<typeof startProxy>[0] | object = {},
) {
  const app = await namedApp('app')
  const { upstream } = app
  const proxy = await startProxy({ ...options, route: () => forward(upstream) })
  return {
    app,
    proxy,
    port: proxy.port,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

describe('a route changes', () => {
  test('headers: sets one in place of all of its name, takes one away', async () => {
    await using world = await inFront((upstream) => ({
      upstream,
      headers: { 'X-A': 'new', 'x-b': undefined, Host: 'inner' },
    }))
    const seen = await told(world.port, `${GET}x-a: 1\r\nX-A: 2\r\nX-B: 3\r\nX-C: 4\r\n`)
    expect(valuesOf(seen, 'x-a')).toEqual(['new'])
    expect(valuesOf(seen, 'x-b')).toEqual([])
    expect(valuesOf(seen, 'x-c')).toEqual(['4'])
    expect(valuesOf(seen, 'host')).toEqual(['inner'])
    expect(valuesOf(seen, 'x-forwarded-host')).toEqual(['a'])
  })

  test.each<[string, Record<string, string | undefined>]>([
    ['a value that breaks out of its line', { 'X-A': 'a\r\nX-B: b' }],
    ['a value with a zero byte', { 'X-A': 'a\0b' }],
    ['a value beyond Latin-1', { 'X-A': '\u20ac' }],
    ['a name that is none', { 'X A': 'a' }],
    ['a name that breaks out of its line', { 'X: a\r\nB': 'b' }],
    ['another length', { 'Content-Length': '1' }],
    ['no length', { 'content-length': undefined }],
    ['another framing', { 'Transfer-Encoding': 'chunked' }],
    ['an upgrade', { Connection: 'Upgrade' }],
  ])('headers, but %s is a 500 that reaches nobody', async (_, headers) => {
    await using world = await inFront((upstream) => ({ upstream, headers }))
    expect((await ask(world.port, `${POST}Content-Length: 5\r\n`, 'hello')).status).toBe(500)
    expect(world.app.accepted).toBe(0)
  })

  test('the target', async () => {
    await using world = await inFront((upstream) => ({ upstream, target: '/inner?x=1' }))
    expect(
      await told(world.port, 'PUT /outer HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n', 'b'),
    ).toMatchObject({
      ...{ method: 'PUT', url: '/inner?x=1', body: 'b' },
    })
    expect((await told(world.port, 'GET http://b/outer HTTP/1.1\r\nHost: a\r\n')).url).toBe('/inner?x=1')
  })

  test.each(['inner', '', 'http://b/', '/a b', '/a\r\nX: y', '/\u00e9'])(
    'the target, but %j is a 500',
    async (target) => {
      await using world = await inFront((upstream) => ({ upstream, target }))
      expect((await ask(world.port, GET)).status).toBe(500)
      expect(world.app.accepted).toBe(0)
    },
  )

  test('the headers of a response, once it has seen them', async () => {
    let seen: unknown
    await using world = await inFront((upstream) => ({
      upstream,
      onResponse({ status, headers }) {
        seen = [status, headers.get('x-app')]
        return { 'X-App': undefined, 'X-New': 'yes' }
      },
    }))
    const { headers } = await ask(world.port, GET)
    expect([headers.has('x-app'), headers.get('x-new')]).toEqual([false, 'yes'])
    expect(seen).toEqual([200, 'app'])
  })

  test.each<[string, Forward['onResponse']]>([
    [
      'throws',
      () => {
        throw new Error('secret')
      },
    ],
    ['breaks out of a line', () => ({ 'X-A': 'a\r\n\r\n<script>' })],
    ['sets a length', () => ({ 'Content-Length': '1' })],
  ])('nothing by an observer that %s: that is a 502', async (_, onResponse) => {
    await using world = await inFront((upstream) => ({ upstream, ...(onResponse && { onResponse }) }))
    const { status, body } = await ask(world.port, GET)
    expect(status).toBe(502)
    expect(body).not.toContain('secret')
  })
})

describe('an attempt that fails', () => {
  test('by a connection that is refused goes to the application that the route names then', async () => {
    await using app = await namedApp('second')
    const [dead, alive] = [refusing(), app.upstream]
    const failures: unknown[] = []
    await using proxy = await startProxy({
      route: () => ({
        upstream: dead,
        retry(failure) {
          failures.push([
            failure.attempt,
            failure.upstream === dead,
            failure.error instanceof Error,
            failure.status,
          ])
          return alive
        },
      }),
    })
    expect(await told(proxy.port, GET)).toMatchObject({ app: 'second' })
    expect(await told(proxy.port, `${POST}Content-Length: 5\r\n`, 'hello')).toMatchObject({
      app: 'second',
      body: 'hello',
    })
    expect(failures).toEqual(Array(2).fill([1, true, true, undefined]))
    expect(await reports(proxy, 2)).toMatchObject(
      Array(2).fill({ outcome: 'complete', upstream: alive.name }),
    )
  })

  test('by a status of 500 or more goes on, and of the failed response nothing is seen', async () => {
    await using bad = await scriptedApp('HTTP/1.1 503 No\r\nContent-Length: 6\r\nX-Bad: 1\r\n\r\nfailed')
    await using good = await namedApp('good')
    const [first, second] = [bad.upstream, good.upstream]
    const statuses: unknown[] = []
    await using proxy = await startProxy({
      route: () => ({
        upstream: first,
        retry: ({ status, attempt }) => {
          statuses.push(status)
          return attempt < 3 ? first : second
        },
      }),
    })
    const text = await exchangeRaw(proxy.port, `${GET}Connection: close\r\n\r\n`)
    expect(text).not.toMatch(/failed|X-Bad/)
    expect(parseResponses(text, ['GET'])).toMatchObject([{ status: 200 }])
    expect(statuses).toEqual([503, 503, 503])
  })

  test('leaves it to the next application whether the client may continue', async () => {
    await using bad = await scriptedApp('HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n')
    await using good = await namedApp('good')
    const [upstream, other] = [bad.upstream, good.upstream]
    await using proxy = await startProxy({ route: () => ({ upstream, retry: () => other }) })
    using client = await rawClient(proxy.port)
    client.send(
      'PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
    )
    await client.until('HTTP/1.1 100 Continue\r\n\r\n')
    client.send('hello')
    await client.untilClosed()
    const [response] = parseResponses(client.received, ['PUT'])
    expect(JSON.parse(response?.body ?? '')).toMatchObject({ app: 'good', body: 'hello' })
  })

  test('is the answer when the route gives up, or fails itself', async () => {
    await using bad = await scriptedApp('HTTP/1.1 503 No\r\nContent-Length: 6\r\n\r\nfailed')
    const { upstream } = bad
    let asked = 0
    const retry = () => {
      asked += 1
      if (asked > 1) throw new Error('no idea')
      return undefined
    }
    await using proxy = await startProxy({ route: () => ({ upstream, retry }) })
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 503, body: 'failed' })
    expect(await ask(proxy.port, GET)).toMatchObject({ status: 503, body: 'failed' })
    expect(asked).toBe(2)
  })

  test.each([
    ['POST has been sent', 'POST', 'Content-Length: 0\r\n', ''],
    ['a part of the body has been sent', 'PUT', 'Content-Length: 5\r\n', 'hello'],
  ])('is not repeated when %s', async (_, method, lines, body) => {
    await using bad = await tcpApp((socket) => onHeads(socket, () => setTimeout(() => socket.destroy(), 20)))
    await using good = await namedApp('good')
    const [upstream, other] = [bad.upstream, good.upstream]
    await using proxy = await startProxy({ route: () => ({ upstream, retry: () => other }) })
    expect((await ask(proxy.port, `${method} / HTTP/1.1\r\nHost: a\r\n${lines}`, body)).status).toBe(502)
    expect(good.accepted).toBe(0)
  })

  test('is not repeated when a part of the response has come', async () => {
    await using bad = await tcpApp((socket) => onHeads(socket, () => socket.end('HTTP/1.1 200 OK\r\nX: ')))
    await using good = await namedApp('good')
    const [upstream, other] = [bad.upstream, good.upstream]
    await using proxy = await startProxy({ route: () => ({ upstream, retry: () => other }) })
    expect((await ask(proxy.port, GET)).status).toBe(502)
    expect(good.accepted).toBe(0)
  })
})

describe('a request that meets the end of a kept connection', () => {
  test('is repeated once, on a new connection, however many are kept', async () => {
    let [primed, dropped] = [0, 0]
    const waiting: (() => void)[] = []
    await using app = await tcpApp((socket) =>
      onHeads(socket, (head) => {
        if (head.startsWith('GET /prime ')) {
          primed += 1
          waiting.push(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nprimed'))
        } else {
          dropped += 1
          socket.destroy()
        }
      }),
    )
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    const primes = Array.from({ length: 5 }, () => ask(proxy.port, 'GET /prime HTTP/1.1\r\nHost: a\r\n'))
    await until(() => primed === 5, '5 requests at the same time')
    for (const answer of waiting) answer()
    await Promise.all(primes)
    await reports(proxy, 5)
    expect((await ask(proxy.port, GET)).status).toBe(502)
    expect([dropped, app.accepted]).toEqual([2, 6])
  })

  test('is not repeated without the end of its empty chunks, which the next client would have to pay', async () => {
    let puts = 0
    await using app = await httpApp((req, res) => {
      if (req.method === 'PUT' && ++puts === 1) req.socket.destroy()
      else res.end(`${req.method} ${req.url}`)
    })
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    expect((await ask(proxy.port, GET)).body).toBe('GET /')
    const put = await ask(
      proxy.port,
      'PUT /put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n',
      '0\r\n\r\n',
    )
    expect([200, 502]).toContain(put.status)
    expect(await ask(proxy.port, 'GET /next HTTP/1.1\r\nHost: a\r\n')).toMatchObject({
      status: 200,
      body: 'GET /next',
    })
  })
})

test('a connection is kept behind a 304 that tells the length of what it does not send', async () => {
  await using app = await scriptedApp('HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n')
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  for (let turn = 0; turn < 3; turn += 1) expect((await ask(proxy.port, GET)).status).toBe(304)
  expect(app.accepted).toBe(1)
})

test('of several protocols that a client offers the application may choose one', async () => {
  let asked = ''
  await using app = await tcpApp((socket) =>
    onHeads(socket, (head) => {
      asked = head
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      socket.removeAllListeners('data').pipe(socket)
    }),
  )
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  using client = await rawClient(proxy.port)
  client.send(`${GET}Connection: Upgrade\r\nUpgrade: websocket, x\r\n\r\n`)
  await client.until('\r\n\r\n')
  expect(asked).toContain('\r\nUpgrade: websocket, x\r\n')
  expect(client.received).toMatch(/^HTTP\/1\.1 101 .*\r\nUpgrade: websocket\r\n/s)
  client.send('any bytes')
  await client.until('any bytes')
})

test('what is pipelined behind a response that breaks off is not asked for', async () => {
  const asked: string[] = []
  const waiting: (() => void)[] = []
  await using app = await tcpApp((socket) =>
    onHeads(socket, (head) => {
      const [, path = ''] = head.split(' ')
      const answer = () => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      if (path === '/prime') {
        waiting.push(answer)
        return
      }
      asked.push(path)
      if (path === '/broken') socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
      else answer()
    }),
  )
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  const paths = ['/prime', '/broken', '/behind', '/other']
  const [prime = '', broken, behind, other = ''] = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n`)
  // Connections that are kept already, on which it would arrive before its client is gone.
  const primes = Array.from({ length: 3 }, () => ask(proxy.port, prime))
  await until(() => waiting.length === 3, '3 requests at the same time')
  for (const answer of waiting) answer()
  await Promise.all(primes)
  await reports(proxy, 3)
  expect(await exchangeRaw(proxy.port, `${broken}\r\n${behind}\r\n`)).toMatch(/half$/)
  expect((await ask(proxy.port, other)).body).toBe('ok')
  expect(asked).toEqual(['/broken', '/other'])
})

describe('a shadow', () => {
  const route = (app: Application, shadow: Application) => {
    const [upstream, other] = [app.upstream, shadow.upstream]
    return () => ({ upstream, shadow: other })
  }

  test('gets the same bytes as the application, and its response is thrown away', async () => {
    const bytes: [string, string] = ['', '']
    const keep = (index: 0 | 1, status: number) =>
      tcpApp((socket) => {
        socket.on('data', (piece) => {
          bytes[index] += piece.toString('latin1')
          if (bytes[index].endsWith('X-Sum: 1\r\n\r\n'))
            socket.write(`HTTP/1.1 ${status} S\r\nContent-Length: 1\r\n\r\n${index}`)
        })
      })
    await using app = await keep(0, 200)
    await using shadow = await keep(1, 500)
    await using proxy = await startProxy({ route: route(app, shadow) })
    const response = await ask(
      proxy.port,
      `${POST}X-A: b\r\nTransfer-Encoding: chunked\r\n`,
      `3\r\nabc\r\n${(9_000).toString(16)}\r\n${'z'.repeat(9_000)}\r\n0\r\nX-Sum: 1\r\n\r\n`,
    )
    expect(response).toMatchObject({ status: 200, body: '0' })
    await until(() => proxy.shadows.length === 1, 'the report of the shadow')
    expect(bytes[1]).toBe(bytes[0])
    expect(proxy.shadows).toMatchObject([{ status: 500, error: undefined }])
  })

  test.each<[string, (socket: Socket) => void]>([
    ['dead', (socket) => socket.destroy()],
    ['silent', () => undefined],
    ['deaf', (socket) => socket.pause()],
    ['talking nonsense', (socket) => socket.resume().write('nonsense')],
    [
      'switching protocols',
      (socket) => socket.resume().write('HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
    ],
    [
      'endless',
      (socket) => {
        socket.resume().write('HTTP/1.1 200 OK\r\n\r\n')
        const more = () => {
          while (!socket.destroyed && socket.write(Buffer.alloc(60_000)));
        }
        socket.on('drain', more)
        more()
      },
    ],
  ])('that is %s changes nothing for the client', async (_, serve) => {
    await using app = await namedApp('app')
    await using shadow = await tcpApp(serve)
    await using proxy = await startProxy({ route: route(app, shadow) })
    const body = 'b'.repeat(3_000_000)
    const seen = await told(proxy.port, `${POST}Content-Length: ${body.length}\r\n`, body)
    expect(seen.body === body).toBe(true)
    expect((await told(proxy.port, GET)).app).toBe('app')
  })

  test('whose response has no end is let go of, with its status', async () => {
    await using app = await namedApp('app')
    await using shadow = await tcpApp((socket) => {
      socket.resume().write('HTTP/1.1 201 OK\r\n\r\n')
      const more = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(60_000)));
      }
      socket.on('drain', more)
      more()
    })
    await using proxy = await startProxy({ route: route(app, shadow) })
    await ask(proxy.port, GET)
    await until(() => shadow.sockets.size === 0, 'the end of the connection to the shadow')
    expect(proxy.shadows).toMatchObject([{ status: 201, error: undefined }])
  })

  test('gets one copy, however often the request itself is repeated', async () => {
    const copies: string[] = []
    await using bad = await scriptedApp('HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n')
    await using good = await namedApp('good')
    await using copy = await tcpApp((socket) =>
      onHeads(socket, (head) => {
        copies.push(head)
        socket.write('HTTP/1.1 204 No\r\n\r\n')
      }),
    )
    const [upstream, next, shadow] = [bad.upstream, good.upstream, copy.upstream]
    await using proxy = await startProxy({
      route: () => ({ upstream, shadow, retry: ({ attempt }) => (attempt < 3 ? upstream : next) }),
    })
    expect((await told(proxy.port, GET)).app).toBe('good')
    await until(() => proxy.shadows.length === 1, 'the report of the shadow')
    expect((await told(proxy.port, GET)).app).toBe('good')
    await until(() => proxy.shadows.length === 2, 'the report of the second shadow')
    expect(copies).toHaveLength(2)
  })

  test('that does not exist changes nothing either', async () => {
    await using app = await namedApp('app')
    const [upstream, dead] = [app.upstream, refusing()]
    await using proxy = await startProxy({ route: () => ({ upstream, shadow: dead }) })
    expect((await told(proxy.port, GET)).app).toBe('app')
    await until(() => proxy.shadows.length === 1, 'the report of the shadow')
    expect(proxy.shadows).toMatchObject([{ status: undefined, error: { code: 'ECONNREFUSED' } }])
  })

  test.each([
    ['refused early', 'HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\n', 'b'.repeat(90)],
    ['malformed', '', 'zz'],
  ])(
    'that got half a body, because it was %s, gets the next request on another connection',
    async (_, early, rest) => {
      await using app = await tcpApp((socket) => onHeads(socket, () => socket.write(early)))
      const heads: string[] = []
      let answer = () => undefined as unknown
      await using shadow = await tcpApp((socket) =>
        onHeads(socket, (head) => {
          heads.push(head.slice(0, head.indexOf(' HTTP')))
          answer = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
          if (head.startsWith('GET')) answer()
        }),
      )
      const [upstream, other] = [app.upstream, shadow.upstream]
      await using proxy = await startProxy({
        route: ({ path }) => (path === '/plain' ? { upstream: other } : { upstream, shadow: other }),
      })
      using client = await rawClient(proxy.port)
      const framing =
        early === ''
          ? 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'
          : 'Content-Length: 100\r\n\r\n0123456789'
      client.send(`POST /shadowed HTTP/1.1\r\nHost: a\r\n${framing}`)
      await until(() => heads.length === 1, 'the head at the shadow')
      if (early !== '') await client.until('HTTP/1.1 400')
      client.send(rest)
      if (early !== '') for (const socket of app.sockets) socket.write('no')
      await until(() => proxy.requests.length === 1, 'the report')
      answer()
      await until(() => proxy.shadows.length === 1, 'the report of the shadow')
      await ask(proxy.port, 'GET /plain HTTP/1.1\r\nHost: a\r\n')
      expect(heads).toEqual(['POST /shadowed', 'GET /plain'])
    },
  )
})

describe('about the client', () => {
  const forged =
    'X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n' +
    'Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n'

  test('an application is told nothing that the client says, unless the client is trusted', async () => {
    await using world = await inFront((upstream) => ({ upstream }))
    const seen = await told(world.port, `GET / HTTP/1.1\r\nHost: a.test:81\r\n${forged}`)
    expect(seen.headers).toEqual([
      ['Host', 'a.test:81'],
      ['X-Forwarded-For', '127.0.0.1'],
      ['X-Forwarded-Proto', 'http'],
      ['X-Forwarded-Host', 'a.test:81'],
      ['X-Forwarded-Port', '81'],
      ['Forwarded', 'for=127.0.0.1;host="a.test:81";proto=http'],
    ])
  })

  test.each([
    ['the address of IPv4 that it has on a socket of IPv6', '::', ['127.0.0.1'], 'for=127.0.0.1'],
    ['the address of IPv6', '::1', ['::1'], 'for="[::1]"'],
    ['no address on a Unix socket, which has none', 'unix', [], 'for=unknown'],
  ])('an application is told %s', async (_, place, addresses, element) => {
    await using app = await namedApp('app')
    const { upstream } = app
    const folder = await mkdtemp(join(tmpdir(), 'forward-'))
    const path = join(folder, 'client.sock')
    const asked: unknown[] = []
    const forwarder = createForwarder({
      route(request) {
        asked.push(request.client.address)
        return { upstream }
      },
    })
    const server = createServer({ allowHalfOpen: true }, (socket) => forwarder.serve(socket))
    server.listen(place === 'unix' ? { path } : { host: place, port: 0 })
    await once(server, 'listening')
    try {
      const { port } = (place === 'unix' ? {} : server.address()) as { port?: number }
      const to = port === undefined ? { path } : { port, host: place === '::' ? '127.0.0.1' : place }
      using client = new RawClient(connect(to))
      client.send(`${GET}Connection: close\r\n\r\n`)
      await client.untilClosed()
      const [response] = parseResponses(client.received, ['GET'])
      const { raw } = JSON.parse(response?.body ?? '') as { raw: string[] }
      expect(raw.filter((_, at) => raw[at - 1] === 'X-Forwarded-For')).toEqual(addresses)
      expect(raw[raw.indexOf('Forwarded') + 1]).toBe(`${element};host="a";proto=http`)
      expect(asked).toEqual([addresses[0]])
    } finally {
      forwarder.close()
      server.close()
      await rm(folder, { recursive: true })
    }
  })

  test('a trusted proxy is believed, and its own address added', async () => {
    const asked: unknown[] = []
    const trusted = (address: string | undefined) => asked.push(address) > 0
    await using world = await inFront((upstream) => ({ upstream }), { trusted })
    const seen = await told(world.port, `GET / HTTP/1.1\r\nHost: a\r\n${forged}X-Forwarded-For: 7.7.7.7\r\n`)
    expect(valuesOf(seen, 'x-forwarded-for')).toEqual(['6.6.6.6, 7.7.7.7, 127.0.0.1'])
    expect(valuesOf(seen, 'forwarded')).toEqual(['for=6.6.6.6, for=127.0.0.1;host="a";proto=http'])
    expect(valuesOf(seen, 'x-forwarded-proto')).toEqual(['ftp'])
    expect(valuesOf(seen, 'x-forwarded-host')).toEqual(['evil'])
    expect(valuesOf(seen, 'x-forwarded-port')).toEqual(['1'])
    expect(valuesOf(seen, 'x-real-ip')).toEqual(['6.6.6.6'])
    expect(valuesOf(seen, 'x_forwarded_for')).toEqual([])
    expect(asked).toEqual(['127.0.0.1'])
  })

  test('a trusted proxy that says nothing is completed', async () => {
    await using world = await inFront((upstream) => ({ upstream }), { trusted: () => true })
    const seen = await told(world.port, GET)
    expect(valuesOf(seen, 'x-forwarded-for')).toEqual(['127.0.0.1'])
    expect(valuesOf(seen, 'x-forwarded-port')).toEqual(['80'])
    expect(valuesOf(seen, 'forwarded')).toEqual(['for=127.0.0.1;host="a";proto=http'])
  })

  test('a trusted proxy that forbids to pass on what it says is completed too', async () => {
    await using world = await inFront((upstream) => ({ upstream }), { trusted: () => true })
    const lines = 'Connection: X-Forwarded-Proto\r\nX-Forwarded-Proto: https\r\n'
    expect(valuesOf(await told(world.port, GET + lines), 'x-forwarded-proto')).toEqual(['http'])
  })

  test('facts of its connection stand in each request, and no client says them itself', async () => {
    await using app = await namedApp('app')
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }), withheld: ['X_Role'] }, () => ({
      address: '2001:db8::1',
      headers: { 'X-Client-Name': 'true name' },
    }))
    const body = '0\r\nX-Client-Name: forged\r\nX-Sum: 1\r\nX-Role: admin\r\n\r\n'
    const lines = 'X-Client-Name: forged\r\nx_client_name: forged\r\nX-Role: admin\r\nx_ROLE: admin\r\n'
    const seen = await told(proxy.port, `${POST}${lines}Transfer-Encoding: chunked\r\n`, body)
    expect(JSON.stringify(seen)).not.toMatch(/forged|admin/)
    expect(valuesOf(seen, 'x-client-name')).toEqual(['true name'])
    expect(valuesOf(seen, 'x-forwarded-for')).toEqual(['2001:db8::1'])
    expect(valuesOf(seen, 'forwarded')).toEqual(['for="[2001:db8::1]";host="a";proto=http'])
    expect(seen.trailers).toEqual(['X-Sum', '1'])
  })
})

describe('each message', () => {
  test('is marked by Via, both ways and by the version of its sender, when that is wanted', async () => {
    await using world = await inFront((upstream) => ({ upstream }), { via: 'me' })
    const response = await ask(world.port, 'GET / HTTP/1.0\r\nVia: 1.1 before\r\n')
    expect(response.headers.get('via')).toBe('1.1 me')
    expect(response.body).toContain('"Via","1.1 before"')
    expect(response.body).toContain('"Via","1.0 me"')
    await using plain = await inFront((upstream) => ({ upstream }))
    expect((await ask(plain.port, GET)).headers.has('via')).toBe(false)
  })

  const TRACE = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  test('has a traceparent: its own where that is valid, a new one else', async () => {
    await using world = await inFront((upstream) => ({ upstream }), { createTraceparent: true })
    const kept = await told(world.port, `${GET}traceparent: ${TRACE}\r\ntracestate: a=b\r\n`)
    expect([valuesOf(kept, 'traceparent'), valuesOf(kept, 'tracestate')]).toEqual([[TRACE], ['a=b']])
    for (const lines of [
      '',
      ...[
        TRACE.replace(/a/g, '0'),
        TRACE.replace(/b/g, '0'),
        TRACE.toUpperCase(),
        `${TRACE}-x`,
        'nonsense',
      ].map((value) => `Traceparent: ${value}\r\nTracestate: a=b\r\n`),
      `traceparent: ${TRACE}\r\ntraceparent: ${TRACE}\r\n`,
    ]) {
      const seen = await told(world.port, GET + lines)
      const [created, ...more] = valuesOf(seen, 'traceparent')
      expect(created).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
      expect([more, valuesOf(seen, 'tracestate')]).toEqual([[], []])
      expect(world.proxy.requests.at(-1)?.traceparent).toBe(created)
    }
  })

  test('keeps whatever traceparent it has when none is to be created', async () => {
    await using world = await inFront((upstream) => ({ upstream }))
    expect(valuesOf(await told(world.port, `${GET}traceparent: x\r\n`), 'traceparent')).toEqual(['x'])
    expect(valuesOf(await told(world.port, GET), 'traceparent')).toEqual([])
  })

  test('has an id, which only those choose who are trusted', async () => {
    for (const trusted of [false, true]) {
      await using world = await inFront((upstream) => ({ upstream }), {
        createRequestId: true,
        trusted: () => trusted,
      })
      const [fresh, ...more] = valuesOf(await told(world.port, GET), 'x-request-id')
      expect([fresh, more]).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), []])
      expect(world.proxy.requests[0]?.requestId).toBe(fresh)
      const [sent] = valuesOf(await told(world.port, `${GET}X-Request-ID: mine\r\n`), 'x-request-id')
      expect(sent === 'mine').toBe(trusted)
      expect(world.proxy.requests[1]?.requestId).toBe(sent)
    }
  })

  test('is reported with the bytes of its content alone, both ways', async () => {
    await using app = await httpApp((req, res) => {
      req.resume().on('end', () => {
        if (req.url === '/chunks') res.write('12')
        res.end('34567')
      })
    })
    const { upstream } = app
    await using proxy = await startProxy({
      route: ({ path }) => (path === '/own' ? { respond: { status: 200, message: 'yes' } } : { upstream }),
    })
    const rows: [string, string, number, number][] = [
      [
        'POST /chunks',
        'Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 1\r\n\r\n',
        4,
        7,
      ],
      ['PUT /', 'Content-Length: 3\r\n\r\nabc', 3, 5],
      ['GET /', '\r\n', 0, 5],
      ['HEAD /', '\r\n', 0, 0],
      ['GET /own', '\r\n', 0, 'yes\n'.length],
    ]
    for (const [start, rest] of rows)
      await exchangeRaw(proxy.port, `${start} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${rest}`)
    const told = (await reports(proxy, rows.length)).map((report) => [
      ...[`${report.method} ${report.target}`, report.bytesIn, report.bytesOut],
    ])
    expect(told).toEqual(rows.map(([start, , bytesIn, bytesOut]) => [start, bytesIn, bytesOut]))
  })

  test('carries the headers that all responses get, in place of what the application says', async () => {
    await using app = await scriptedApp(
      'HTTP/1.1 200 OK\r\nSERVER: x\r\nserver: y\r\nX-Keep: 1\r\nContent-Length: 0\r\n\r\n',
    )
    const { upstream } = app
    await using proxy = await startProxy({
      route: ({ path }) => (path === '/own' ? { respond: { status: 200, message: '' } } : { upstream }),
      responseHeaders: { Server: 'me' },
    })
    for (const [head, status] of [
      [GET, 200],
      [GET.replace('/', '/own'), 200],
      ['GET ftp:x HTTP/1.1\r\nHost: a\r\n', 400],
      ['nonsense\r\n', 400],
    ] as const) {
      const response = await ask(proxy.port, head)
      expect(response.status).toBe(status)
      expect(response.lines.filter((line) => /^server:/i.test(line))).toEqual(['Server: me'])
    }
  })
})

test.each([{ A: 'b\r\nc' }, { 'A B': 'c' }, { 'Content-Length': '1' }])(
  'headers of all responses that could break them are refused at once: %j',
  (responseHeaders) => {
    expect(() =>
      createForwarder({ route: () => ({ respond: { status: 200, message: '' } }), responseHeaders }),
    ).toThrow()
  },
)

describe('a limit', () => {
  test('on the requests of a connection closes it after the last', async () => {
    await using world = await inFront((upstream) => ({ upstream }), { limits: { requestsPerConnection: 2 } })
    const text = await exchangeRaw(world.port, `${GET}\r\n`.repeat(5))
    const responses = parseResponses(text, Array(5).fill('GET'))
    expect(responses.map(({ headers }) => headers.get('connection'))).toEqual([undefined, 'close'])
  })

  test('on bodies is a 413: at once by the length, and by the chunks as they come', async () => {
    await using world = await inFront((upstream) => ({ upstream }), { limits: { bodyBytes: 10 } })
    expect((await ask(world.port, `${POST}Content-Length: 11\r\n`)).status).toBe(413)
    expect(world.app.accepted).toBe(0)
    expect(
      (
        await ask(
          world.port,
          `${POST}Transfer-Encoding: chunked\r\n`,
          '6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n',
        )
      ).status,
    ).toBe(413)
    expect((await told(world.port, `${POST}Content-Length: 10\r\n`, '0123456789')).body).toBe('0123456789')
    expect(
      (await told(world.port, `${POST}Transfer-Encoding: chunked\r\n`, 'a\r\n0123456789\r\n0\r\n\r\n')).body,
    ).toBe('0123456789')
  })

  test('on the head of a response is a 502, and the connection to the application is dropped', async () => {
    await using app = await tcpApp((socket) =>
      onHeads(socket, (head) => {
        const size = Number(/^GET \/(\d+) /.exec(head)?.[1])
        const begin = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: '
        socket.write(`${begin.padEnd(size - 4, 'x')}\r\n\r\n`)
      }),
    )
    const { upstream } = app
    await using proxy = await startProxy({
      route: () => ({ upstream }),
      limits: { responseHeadBytes: 30_000 },
    })
    const sized = (bytes: number) => ask(proxy.port, `GET /${bytes} HTTP/1.1\r\nHost: a\r\n`)
    const whole = await sized(29_000)
    expect([whole.status, whole.headers.get('x')?.length]).toEqual([200, 29_000 - 43])
    expect((await sized(31_000)).status).toBe(502)
    expect(await reports(proxy, 2)).toMatchObject([{ outcome: 'complete' }, { outcome: 'upstream-failed' }])
    await until(() => app.sockets.size === 0, 'the end of the connection')
  })

  test('on the time for a head holds from the first byte, also of a later one, and idle time is another', async () => {
    await using world = await inFront((upstream) => ({ upstream }), {
      limits: { headMs: 80, idleMs: 10_000 },
    })
    expect(await exchangeRaw(world.port, 'GET / HT')).toMatch(/^HTTP\/1\.1 408 /)
    using client = await rawClient(world.port)
    client.send(`${GET}\r\n`)
    await client.until('"app"')
    await delay(200)
    expect(client.ended).toBe(false)
    client.send('GET / HTTP/1.1\r\n')
    await client.until('HTTP/1.1 408 ')
    await client.untilClosed()
  })

  test('on the time for a head holds for the first connection after any quiet', async () => {
    await using world = await inFront((upstream) => ({ upstream }), { limits: { headMs: 150 } })
    await told(world.port, GET)
    await until(() => world.proxy.forwarder.connections === 0, 'the end of the connection')
    for (const socket of world.app.sockets) socket.destroy()
    await delay(400)
    using client = await rawClient(world.port)
    await delay(60)
    client.send(`${GET}Connection: close\r\n\r\n`)
    await client.untilClosed()
    expect(parseResponses(client.received, ['GET'])).toMatchObject([{ status: 200 }])
  })

  test('on idle time closes a connection without a word, also one that sends empty lines', async () => {
    await using world = await inFront((upstream) => ({ upstream }), {
      limits: { headMs: 10_000, idleMs: 80 },
    })
    using client = await rawClient(world.port)
    client.send(`${GET}\r\n`)
    await client.until('"app"')
    const { received } = client
    const sending = setInterval(() => client.send('\r\n'), 10)
    await client.untilClosed().finally(() => clearInterval(sending))
    expect(client.received).toBe(received)
  })

  test('on the rate of a body is a 408 to who is slower', async () => {
    await using world = await inFront((upstream) => ({ upstream }), {
      limits: { stallMs: 100, minBodyRate: 1_000 },
    })
    using slow = await rawClient(world.port)
    slow.send(`${POST}Content-Length: 100000\r\n\r\n`)
    const sending = setInterval(() => slow.send('b'), 20)
    await slow.until('HTTP/1.1 408 ').finally(() => clearInterval(sending))
    expect(await reports(world.proxy)).toMatchObject([{ status: 408, outcome: 'refused' }])
    using fast = await rawClient(world.port)
    fast.send(`${POST}Connection: close\r\nContent-Length: 3000\r\n\r\n`)
    for (let piece = 0; piece < 30; piece += 1) {
      fast.send('b'.repeat(100))
      await delay(15)
    }
    await fast.untilClosed()
    expect(parseResponses(fast.received, ['POST'])).toMatchObject([{ status: 200 }])
  })

  test('on the rate of a body does not count while the application waits to be connected or to ask for it', async () => {
    await using app = await tcpApp((socket) => {
      let seen = ''
      socket.once('data', () => setTimeout(() => socket.write('HTTP/1.1 100 Continue\r\n\r\n'), 280))
      socket.on('data', (bytes) => {
        seen += bytes.toString()
        if (seen.endsWith('end')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
      })
    })
    const { upstream } = app
    await using proxy = await startProxy({
      route: () => ({ upstream }),
      limits: { stallMs: 300, minBodyRate: 200 },
    })
    using client = await rawClient(proxy.port)
    client.send(`${POST}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 203\r\n\r\n`)
    await client.until('100 Continue')
    await delay(150)
    client.send(`${'b'.repeat(200)}end`)
    await client.untilClosed()
    expect(parseResponses(client.received, ['POST'])).toMatchObject([{ status: 200 }])
  })

  test.each(['close', 'keep-alive'])(
    'on waiting for a goodbye does not cut off who is slow to read the last response (%s)',
    async (connection) => {
      // More than the system takes, so that much is left to write when nothing else is left to do.
      const size = 32 * 1024 * 1024
      const respond = { status: 200, message: 'z'.repeat(size) }
      await using proxy = await startProxy({
        route: () => ({ respond }),
        limits: { lingerMs: 50, idleMs: 50 },
      })
      using client = await rawClient(proxy.port)
      let bytes = 0
      client.socket.removeAllListeners('data')
      client.socket.on('data', (text: string) => (bytes += text.length)).pause()
      client.send(`${GET}Connection: ${connection}\r\n\r\n`)
      await reports(proxy)
      await delay(300)
      client.socket.resume()
      await client.untilClosed()
      expect([bytes > size, client.ended, client.error]).toEqual([true, true, undefined])
    },
  )

  test('on waiting for a goodbye does not keep who reads nothing', async () => {
    const respond = { status: 200, message: 'z'.repeat(32 * 1024 * 1024) }
    await using proxy = await startProxy({
      route: () => ({ respond }),
      limits: { lingerMs: 50, idleMs: 50, stallMs: 100 },
    })
    using client = await rawClient(proxy.port)
    client.socket.pause()
    client.send(`${GET}Connection: close\r\n\r\n`)
    await reports(proxy)
    const talking = setInterval(() => client.send('x'), 10)
    await until(() => proxy.forwarder.connections === 0, 'the end of the connection').finally(() =>
      clearInterval(talking),
    )
  })
})

describe('a client that ends its half of the connection', () => {
  const slowApp = () =>
    httpApp((_, res) => {
      setTimeout(() => res.write('first,'), 60)
      setTimeout(() => res.end('last'), 120)
    })

  test('behind its last request gets the response', async () => {
    await using app = await slowApp()
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    using client = await rawClient(proxy.port, true)
    client.socket.end(`${GET}Connection: close\r\n\r\n`)
    await until(() => client.ended, 'the end')
    expect(parseResponses(client.received, ['GET'])).toMatchObject([{ status: 200, body: 'first,last' }])
    client.socket.destroy()
  })

  test('is given up when the response does not go on', async () => {
    await using app = await tcpApp((socket) => onHeads(socket, () => undefined))
    const { upstream } = app
    await using proxy = await startProxy({
      route: () => ({ upstream }),
      limits: { halfClosedMs: 60, abandonedMs: 60 },
    })
    using client = await rawClient(proxy.port, true)
    client.socket.end(`${GET}Connection: close\r\n\r\n`)
    await client.untilClosed()
    expect(await reports(proxy)).toMatchObject([{ outcome: 'client-aborted' }])
    await until(() => app.sockets.size === 0, 'the end of the request')
  })

  test.each([
    ['that would be followed by others', `${GET}\r\n`],
    ['whose body is missing', `${POST}Connection: close\r\nContent-Length: 5\r\n\r\nhe`],
  ])('behind a request %s has left', async (_, text) => {
    await using app = await slowApp()
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    using client = await rawClient(proxy.port, true)
    client.send(text)
    await until(() => app.sockets.size === 1, 'the request')
    client.socket.end()
    await client.untilClosed()
    expect(await reports(proxy)).toMatchObject([{ outcome: 'client-aborted' }])
  })

  test('in the middle of a head is not answered', async () => {
    await using proxy = await startProxy({ route: () => ({ respond: { status: 200, message: '' } }) })
    using client = await rawClient(proxy.port, true)
    client.socket.end('GET / HTTP/1.1\r\nHo')
    await client.untilClosed()
    expect([client.received, proxy.requests]).toEqual(['', []])
  })
})

test('half a response that would end with its connection is reset, never ended', async () => {
  await using app = await tcpApp((socket) =>
    onHeads(socket, () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
      setTimeout(() => socket.destroy(), 30)
    }),
  )
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  using client = await rawClient(proxy.port)
  client.send('GET / HTTP/1.0\r\n\r\n')
  await client.untilClosed()
  expect([client.ended, client.error?.code]).toEqual([true, undefined])
  await using chunky = await tcpApp((socket) =>
    onHeads(socket, () => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n')
      setTimeout(() => socket.destroy(), 30)
    }),
  )
  const other = chunky.upstream
  await using second = await startProxy({ route: () => ({ upstream: other }) })
  using old = await rawClient(second.port)
  old.send('GET / HTTP/1.0\r\n\r\n')
  await old.untilClosed()
  expect([old.ended, old.error?.code]).toEqual([false, 'ECONNRESET'])
})

test('empty lines before a request are skipped, however many and wherever cut', async () => {
  await using world = await inFront((upstream) => ({ upstream }))
  using client = await rawClient(world.port)
  for (const piece of ['\r', '\n\r\n', '\r', `\n${GET}\r\n\r`, `\n\r\n${GET}Connection: close\r\n\r\n`]) {
    client.send(piece)
    await delay(10)
  }
  await client.untilClosed()
  expect(parseResponses(client.received, ['GET', 'GET']).map(({ status }) => status)).toEqual([200, 200])
})

test('OPTIONS of a whole server goes on as an asterisk (RFC 9112 3.2.4)', async () => {
  await using world = await inFront((upstream) => ({ upstream }))
  for (const target of ['*', 'http://a', 'HTTPS://a:81'])
    expect((await told(world.port, `OPTIONS ${target} HTTP/1.1\r\nHost: a\r\n`)).url).toBe('*')
  expect((await told(world.port, 'OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n')).url).toBe('/')
  expect((await told(world.port, 'GET http://a HTTP/1.1\r\nHost: a\r\n')).url).toBe('/')
})

test('closing is not reported as if the clients had left', async () => {
  await using app = await httpApp((req, res) => {
    if (req.url === '/begun') res.write('begun')
  })
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  using waiting = await rawClient(proxy.port)
  using begun = await rawClient(proxy.port)
  waiting.send(`${GET}\r\n`)
  begun.send('GET /begun HTTP/1.1\r\nHost: a\r\n\r\n')
  await begun.until('begun')
  await until(() => app.sockets.size === 2, 'both requests')
  proxy.forwarder.close()
  const told = await reports(proxy, 2)
  expect(told.map(({ outcome, status }) => [outcome, status]).sort()).toEqual([
    ['cut-off', 200],
    ['cut-off', 503],
  ])
})

test('draining ends idle connections at once, and the others after their response', async () => {
  let answer = () => undefined as unknown
  await using app = await httpApp((_, res) => (answer = () => res.end('done')))
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  using idle = await rawClient(proxy.port)
  using busy = await rawClient(proxy.port)
  busy.send(`${GET}\r\n`)
  await until(() => app.sockets.size === 1 && proxy.forwarder.connections === 2, 'the request')
  const drained = Promise.all([proxy.forwarder.drain(), proxy.forwarder.drain()])
  await idle.untilClosed()
  expect(proxy.forwarder.inFlight).toBe(1)
  answer()
  await busy.untilClosed()
  expect(parseResponses(busy.received, ['GET'])).toMatchObject([{ body: 'done' }])
  expect(busy.received).toContain('Connection: close')
  await drained
  await until(() => app.sockets.size === 0, 'no connection to the application is left')
})

test('draining does not wait for a further request behind an upload that was answered early', async () => {
  await using app = await httpApp((_, res) => res.end('early'))
  const { upstream } = app
  await using proxy = await startProxy({
    route: () => ({ upstream }),
    limits: { idleMs: 60_000, lingerMs: 60_000 },
  })
  using client = await rawClient(proxy.port)
  client.send(`${POST}Content-Length: 20\r\n\r\n0123456789`)
  await client.until('early')
  await reports(proxy)
  const drained = proxy.forwarder.drain()
  client.send('0123456789')
  await client.untilClosed()
  await drained
})

test('draining is not put off by a client that always has a further request ready', async () => {
  let answer = () => undefined as unknown
  await using app = await httpApp((req, res) => {
    if (req.url === '/0') answer = () => res.end('first')
    else res.end('further')
  })
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  using client = await rawClient(proxy.port)
  const requests = Array.from({ length: 50 }, (_, index) => `GET /${index} HTTP/1.1\r\nHost: a\r\n\r\n`)
  client.send(requests.join(''))
  await until(() => app.sockets.size === 1, 'the first request')
  const drained = proxy.forwarder.drain()
  await until(() => answer() !== undefined, 'the first answer')
  await client.untilClosed()
  await drained
  const methods = requests.map(() => 'GET')
  expect(parseResponses(client.received, methods).length).toBeLessThanOrEqual(2)
  expect(client.received).toContain('Connection: close')
})

describe('an application', () => {
  const listening = async (server: ReturnType<typeof createHttpServer>, path: string) => {
    await new Promise<void>((resolve) => server.listen(path, resolve))
  }

  test('may listen on a Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'forward-'))
    const server = createHttpServer((req, res) => res.end(`host ${req.headers.host}`))
    const path = join(folder, 'app.sock')
    try {
      await listening(server, path)
      const upstream = createUpstream(`unix:${path}`)
      await using proxy = await startProxy({ route: () => ({ upstream }) })
      expect((await ask(proxy.port, GET)).body).toBe('host a')
      expect((await ask(proxy.port, 'GET / HTTP/1.0\r\n')).body).toBe('host localhost')
      const missing = createUpstream(`unix:${path}.missing`)
      await using other = await startProxy({ route: () => ({ upstream: missing }) })
      expect((await ask(other.port, GET)).status).toBe(502)
    } finally {
      server.close()
      await rm(folder, { recursive: true })
    }
  })

  const ca = createCa('authority')
  const other = createCa('other')
  const secure = (options: ServerOptions) =>
    new Application(
      createHttpsServer(options, (req, res) => {
        res.end(`${req.headers.host} ${'getPeerCertificate' in req.socket}`)
      }),
    ).listen()
  const named = ca.issue({ cn: 'app', dns: ['app.test'], ip: ['127.0.0.1'] })
  const shown = ca.issue({ cn: 'client', client: true })

  test.each<[string, Parameters<typeof createUpstream>[1], object, number]>([
    ['its certificate is from the authority and for its address', { tls: { ca: ca.cert } }, {}, 200],
    ['its certificate is for the name that is wanted', { tls: { ca: ca.cert, name: 'app.test' } }, {}, 200],
    ['not when its certificate is for another name', { tls: { ca: ca.cert, name: 'other.test' } }, {}, 502],
    ['not when its certificate is from another authority', { tls: { ca: other.cert } }, {}, 502],
    ['not when its certificate is from nobody the system knows', {}, {}, 502],
    [
      'it wants a certificate and gets it',
      { tls: { ca: ca.cert, cert: shown.cert, key: shown.key } },
      { requestCert: true, ca: ca.cert },
      200,
    ],
    [
      'not when it wants a certificate and gets none',
      { tls: { ca: ca.cert } },
      { requestCert: true, ca: ca.cert },
      502,
    ],
  ])('may speak TLS: %s', async (_, options, server, status) => {
    await using app = await secure({ cert: named.cert, key: named.key, ...server })
    const upstream = createUpstream(`https://127.0.0.1:${app.port}`, options)
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    // Twice, the second time with a session that is resumed or a connection that is kept.
    for (let turn = 0; turn < 2; turn += 1) {
      expect((await ask(proxy.port, GET)).status).toBe(status)
      for (const socket of app.sockets) socket.destroy()
    }
  })

  test('is left by connections that are unused for as long as was said', async () => {
    await using long = await namedApp('long')
    await using short = await namedApp('short')
    const upstreams = new Map([
      ['/long', createUpstream(long.upstream.name, { idleMs: 60_000 })],
      ['/short', createUpstream(short.upstream.name, { idleMs: 100 })],
    ])
    await using proxy = await startProxy({
      route: ({ path }) => ({ upstream: upstreams.get(path) as Upstream }),
    })
    for (const path of ['/long', '/short', '/long', '/short'])
      await told(proxy.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n`)
    await until(() => short.sockets.size === 0, 'the end of the short one')
    expect([long.sockets.size, long.accepted]).toEqual([1, 1])
    expect((await told(proxy.port, 'GET /short HTTP/1.1\r\nHost: a\r\n')).app).toBe('short')
  })

  test('has no more unused connections than was said, and these are used again', async () => {
    const waiting: (() => void)[] = []
    await using app = await httpApp((_, res) => waiting.push(() => res.end('ok')))
    const upstream = createUpstream(app.upstream.name, { idleMost: 2, idleMs: 60_000 })
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    const together = async (count: number) => {
      const asked = Array.from({ length: count }, () => ask(proxy.port, GET))
      await until(() => waiting.length === count, `${count} requests at the same time`)
      for (const answer of waiting.splice(0)) answer()
      for (const { status } of await Promise.all(asked)) expect(status).toBe(200)
    }
    await together(5)
    await until(() => app.sockets.size === 2, 'the end of all but two')
    await together(2)
    expect([app.sockets.size, app.accepted]).toEqual([2, 5])
  })

  test('gets what is written first on a connection, and each client has its own', async () => {
    const seen: string[] = []
    await using app = await tcpApp((socket) => {
      const index = seen.push('') - 1
      socket.on('data', (bytes) => {
        seen[index] += bytes.toString()
        if (bytes.includes('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      })
    })
    const { upstream } = app
    let client = 0
    await using proxy = await startProxy({ route: () => ({ upstream }) }, () => ({
      preamble: Buffer.from(`PREAMBLE ${++client}\r\n`),
    }))
    using first = await rawClient(proxy.port)
    using second = await rawClient(proxy.port)
    for (const raw of [first, second, first]) {
      raw.received = ''
      raw.send(`${GET}\r\n`)
      await raw.until('ok')
    }
    expect(seen.map((text) => text.match(/PREAMBLE \d|GET/g))).toEqual([
      ['PREAMBLE 1', 'GET', 'GET'],
      ['PREAMBLE 2', 'GET'],
    ])
    first.socket.destroy()
    await until(() => app.sockets.size === 1, 'the end of the connection of the first')
  })

  test.each(['nonsense', 'ftp://a', 'http://a/path', 'http://u:p@a', 'unix:', 'unix:\0', 'http://'])(
    'cannot be at %j',
    (target) => expect(() => createUpstream(target)).toThrow(/target/),
  )
})
