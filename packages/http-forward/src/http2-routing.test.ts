import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  block,
  constants,
  END_HEADERS,
  FRAME,
  frame,
  frameClient,
  GET,
  type Http2Client,
  http2Client,
  replyOf,
  startWorld,
  uint32,
} from './http2-test-support.ts'
import type { Failure, Request, Upstream } from './index.ts'
import { namedApp, onHeads, refusing, scriptedApp, tcpApp, until } from './test-support.ts'

interface Told {
  app: string
  method: string
  url: string
  raw: string[]
  trailers: string[]
  body: string
}

/** What a named application was told. */
async function told(
  client: Http2Client,
  headers: Record<string, string | string[]> = {},
  body?: string | Buffer,
): Promise<Told> {
  const reply = await client.ask(headers, body)
  expect(reply).toMatchObject({ status: 200, code: 0 })
  return JSON.parse(reply.body) as Told
}

const valuesOf = ({ raw }: Told, name: string) =>
  raw.filter((_, at) => at % 2 === 1 && raw[at - 1]?.toLowerCase() === name)

/** Gives connections these addresses in turn. */
function addressed(...addresses: string[]) {
  return () => ({ address: addresses.shift() ?? '198.51.100.1' })
}

describe('a request over HTTP/2 is routed', () => {
  it.each<[string, (request: Request) => string | undefined, Record<string, string | string[]>]>([
    ['path', ({ path }) => path.split('/')[1], { ':path': '/second/x?y=/first/' }],
    ['query', ({ target }) => target.split('?')[1], { ':path': '/first?second' }],
    ['host', ({ host }) => host?.split('.')[0], { ':authority': 'second.test' }],
    ['header', ({ headers }) => headers.get('x-tenant'), { 'x-tenant': 'second' }],
    ['cookie', (request) => request.cookie('app'), { cookie: 'a=first; app=second' }],
    [
      'cookie in a crumb of its own',
      (request) => request.cookie('app'),
      { cookie: ['a=first', 'app=second'] },
    ],
    ['method', ({ method }) => (method === 'PUT' ? 'second' : 'first'), { ':method': 'PUT' }],
  ])('by its %s', async (_, choose, headers) => {
    await using second = await namedApp('second')
    const app = await namedApp('first')
    const upstreams = new Map([['second', second.upstream]])
    const { upstream } = app
    await using world = await startWorld(app, {
      route: (request) => ({ upstream: upstreams.get(choose(request) ?? '') ?? upstream }),
    })
    using client = await http2Client(world.port)
    expect((await told(client, headers)).app).toBe('second')
    expect((await told(client)).app).toBe('first')
  })

  it('by the address of its client, which is the same for all of a connection', async () => {
    await using second = await namedApp('second')
    const app = await namedApp('first')
    const upstreams = new Map([['192.0.2.2', second.upstream]])
    const { upstream } = app
    const route = ({ client }: Request) => ({ upstream: upstreams.get(client.address ?? '') ?? upstream })
    await using world = await startWorld(app, { route }, addressed('192.0.2.1', '192.0.2.2'))
    using one = await http2Client(world.port)
    using other = await http2Client(world.port)
    const forged = { 'x-forwarded-for': '192.0.2.2' }
    const all = await Promise.all([told(one), told(other), told(one, forged), told(other)])
    expect(all.map(({ app }) => app)).toEqual(['first', 'second', 'first', 'second'])
    expect(world.requests.map(({ clientAddress }) => clientAddress).sort()).toEqual([
      ...['192.0.2.1', '192.0.2.1', '192.0.2.2', '192.0.2.2'],
    ])
  })

  it('to another path, with headers set and taken away', async () => {
    const app = await namedApp('app')
    const { upstream } = app
    await using world = await startWorld(app, {
      route: () => ({ upstream, target: '/inner?1', headers: { 'X-Set': 'ours', 'X-Gone': undefined } }),
    })
    using client = await http2Client(world.port)
    const seen = await told(client, { ':path': '/outer', 'x-set': ['a', 'b'], 'x-gone': '1', 'x-kept': '1' })
    expect(seen.url).toBe('/inner?1')
    expect([valuesOf(seen, 'x-set'), valuesOf(seen, 'x-gone')]).toEqual([['ours'], []])
    expect(valuesOf(seen, 'x-kept')).toEqual(['1'])
  })
})

describe('of a client before it', () => {
  const forged = {
    ':authority': 'example.test',
    'x-forwarded-for': ['10.0.0.1', '10.0.0.2'],
    'x-forwarded-proto': 'http',
    'x-forwarded-host': 'outer.test',
    'x-real-ip': '10.0.0.1',
    forwarded: 'for=10.0.0.1',
  }
  const trusting = { trusted: (address: string | undefined) => address === '192.0.2.1' }

  it('a trusted proxy that speaks HTTP/2 is believed, and its own address added', async () => {
    await using world = await startWorld(await namedApp('app'), trusting, addressed('192.0.2.1'))
    using client = await http2Client(world.port)
    for (let turn = 0; turn < 2; turn += 1) {
      const seen = await told(client, forged)
      expect(valuesOf(seen, 'x-forwarded-for')).toEqual(['10.0.0.1, 10.0.0.2, 192.0.2.1'])
      expect(valuesOf(seen, 'x-forwarded-proto')).toEqual(['http'])
      expect(valuesOf(seen, 'x-forwarded-host')).toEqual(['outer.test'])
      expect(valuesOf(seen, 'x-real-ip')).toEqual(['10.0.0.1'])
      expect(valuesOf(seen, 'forwarded')).toEqual([
        'for=10.0.0.1, for=192.0.2.1;host="example.test";proto=https',
      ])
    }
    const silent = await told(client, { ':authority': 'example.test' })
    expect(valuesOf(silent, 'x-forwarded-for')).toEqual(['192.0.2.1'])
    expect(valuesOf(silent, 'x-forwarded-proto')).toEqual(['https'])
  })

  it('nobody else who speaks HTTP/2 is believed', async () => {
    await using world = await startWorld(await namedApp('app'), trusting, addressed('192.0.2.2'))
    using client = await http2Client(world.port)
    const seen = await told(client, forged)
    expect(valuesOf(seen, 'x-forwarded-for')).toEqual(['192.0.2.2'])
    expect(valuesOf(seen, 'x-forwarded-proto')).toEqual(['https'])
    expect(valuesOf(seen, 'x-forwarded-host')).toEqual(['example.test'])
    expect(valuesOf(seen, 'x-real-ip')).toEqual([])
    expect(valuesOf(seen, 'forwarded')).toEqual(['for=192.0.2.2;host="example.test";proto=https'])
  })

  it('facts of its connection stand in each request over HTTP/2, and no client says them itself', async () => {
    await using world = await startWorld(await namedApp('app'), { withheld: ['X-Role'] }, () => ({
      headers: { 'X-Client-Name': 'true name' },
    }))
    using client = await http2Client(world.port)
    const lies = { 'x-client-name': 'forged', x_client_name: 'forged', 'x-role': 'admin' }
    const seen = JSON.parse((await client.ask({ ':method': 'POST', ...lies }, 'x', lies)).body) as Told
    expect(JSON.stringify(seen)).not.toMatch(/forged|admin/)
    expect(valuesOf(seen, 'x-client-name')).toEqual(['true name'])
  })
})

const FAILED = 'HTTP/1.1 503 No\r\nContent-Length: 6\r\nX-Bad: 1\r\n\r\nfailed'

describe('an attempt for HTTP/2 that fails', () => {
  it.each([
    ['GET', undefined],
    ['POST', 'a body'],
    ['PUT', 'z'.repeat(300_000)],
  ])('by a refused connection goes to the next application, body and all (%s)', async (method, body) => {
    const app = await namedApp('second')
    const [dead, alive] = [refusing(), app.upstream]
    const failures: Failure[] = []
    await using world = await startWorld(app, {
      route: () => ({
        upstream: dead,
        retry(failure) {
          failures.push(failure)
          return alive
        },
      }),
    })
    using client = await http2Client(world.port)
    const seen = await told(client, { ':method': method }, body)
    expect(seen).toMatchObject({ app: 'second', method })
    expect(seen.body === (body ?? '')).toBe(true)
    expect(failures).toMatchObject([{ attempt: 1, upstream: dead, error: { code: 'ECONNREFUSED' } }])
    await until(() => world.requests.length === 1, 'the report')
    expect(world.requests).toMatchObject([{ outcome: 'complete', upstream: alive.name }])
  })

  it('by a status of 500 or more goes on, and of the failed response nothing is seen', async () => {
    await using bad = await scriptedApp(FAILED)
    const app = await namedApp('good')
    const [first, second] = [bad.upstream, app.upstream]
    const statuses: unknown[] = []
    await using world = await startWorld(app, {
      route: () => ({
        upstream: first,
        retry({ status, attempt }) {
          statuses.push(status)
          return attempt < 3 ? first : second
        },
      }),
    })
    using client = await http2Client(world.port)
    const reply = await client.ask()
    expect(reply).toMatchObject({ status: 200, code: 0, headers: { 'x-app': 'good' } })
    expect(JSON.stringify(reply)).not.toMatch(/failed|x-bad/)
    expect(statuses).toEqual([503, 503, 503])
  })

  it('before its body has begun leaves the body to the next application', async () => {
    await using bad = await scriptedApp(FAILED)
    const app = await namedApp('good')
    const [upstream, next] = [bad.upstream, app.upstream]
    await using world = await startWorld(app, { route: () => ({ upstream, retry: () => next }) })
    using client = await http2Client(world.port)
    const stream = client.open({ ':method': 'PUT' }, false)
    const reply = replyOf(stream)
    await until(() => app.accepted === 1, 'the second attempt')
    stream.end('the body')
    expect(JSON.parse((await reply).body)).toMatchObject({ app: 'good', body: 'the body' })
  })

  it.each<[string, (socket: Socket) => void, number]>([
    ['the application answers 503', (socket) => void socket.write(FAILED), 503],
    ['the application is gone', (socket) => void socket.destroy(), 502],
  ])('is not repeated once a part of its body was sent, and %s', async (_, fail, status) => {
    await using bad = await tcpApp((socket) => {
      let seen = ''
      socket.on('data', (bytes) => {
        seen += bytes.toString('latin1')
        if (seen.includes('begun')) fail(socket)
      })
    })
    const app = await namedApp('good')
    const [upstream, next] = [bad.upstream, app.upstream]
    await using world = await startWorld(app, { route: () => ({ upstream, retry: () => next }) })
    using client = await http2Client(world.port)
    const stream = client.open({ ':method': 'PUT' }, false)
    stream.write('begun')
    expect((await replyOf(stream)).status).toBe(status)
    expect(app.accepted).toBe(0)
  })

  it('is not repeated when it was a POST, which the application may have acted upon', async () => {
    await using bad = await scriptedApp(FAILED)
    const app = await namedApp('good')
    const [upstream, next] = [bad.upstream, app.upstream]
    await using world = await startWorld(app, { route: () => ({ upstream, retry: () => next }) })
    using client = await http2Client(world.port)
    expect(await client.ask({ ':method': 'POST' })).toMatchObject({ status: 503, body: 'failed' })
    expect(app.accepted).toBe(0)
  })

  it('takes no other stream of its connection along', async () => {
    const app = await namedApp('good')
    const [dead, good] = [refusing(), app.upstream]
    await using world = await startWorld(app, {
      route: ({ path }): { upstream: Upstream } => ({ upstream: path === '/dead' ? dead : good }),
    })
    using client = await http2Client(world.port)
    const paths = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? '/dead' : '/good'))
    const replies = await Promise.all(paths.map((path) => client.ask({ ':path': path })))
    expect(replies.map(({ status, code }) => [status, code])).toEqual(
      paths.map((path) => [path === '/dead' ? 502 : 200, 0]),
    )
  })
})

describe('a shadow of a request over HTTP/2', () => {
  /** Keeps all that comes, and answers once it ends with this. */
  const keeping = async (end: string, response: string) => {
    const kept = { bytes: '' }
    const app = await tcpApp((socket) => {
      socket.on('data', (piece) => {
        kept.bytes += piece.toString('latin1')
        if (kept.bytes.endsWith(end)) socket.write(response)
      })
    })
    return { app, kept }
  }

  it('gets the same bytes as the application, trailers and all, and nothing of its response is seen', async () => {
    const answered = (status: number, sum: string) =>
      `HTTP/1.1 ${status} S\r\nTransfer-Encoding: chunked\r\nX-From: ${sum}\r\n\r\n4\r\n${sum}\r\n0\r\nX-Sum: ${sum}\r\n\r\n`
    const real = await keeping('\r\n0\r\nx-sum: 1\r\n\r\n', answered(200, 'real'))
    const copy = await keeping('\r\n0\r\nx-sum: 1\r\n\r\n', answered(500, 'copy'))
    await using shadow = copy.app
    const [upstream, other] = [real.app.upstream, shadow.upstream]
    await using world = await startWorld(real.app, { route: () => ({ upstream, shadow: other }) })
    using client = await http2Client(world.port)
    const reply = await client.ask({ ':method': 'POST', 'x-a': 'b' }, 'z'.repeat(200_000), { 'x-sum': '1' })
    expect(reply).toMatchObject({ status: 200, body: 'real', trailers: { 'x-sum': 'real' }, code: 0 })
    expect(JSON.stringify(reply)).not.toContain('copy')
    await until(() => world.shadows.length === 1, 'the report of the shadow')
    expect(world.shadows).toMatchObject([{ status: 500, error: undefined }])
    expect(copy.kept.bytes.length).toBeGreaterThan(200_000)
    expect(copy.kept.bytes === real.kept.bytes).toBe(true)
  })

  it('gets a body of a known length by that length', async () => {
    const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
    const real = await keeping('the end', answer)
    const copy = await keeping('the end', answer)
    await using shadow = copy.app
    const [upstream, other] = [real.app.upstream, shadow.upstream]
    await using world = await startWorld(real.app, { route: () => ({ upstream, shadow: other }) })
    using client = await http2Client(world.port)
    const headers = { ':method': 'PUT', 'content-length': '7' }
    expect((await client.ask(headers, 'the end')).status).toBe(200)
    await until(() => world.shadows.length === 1, 'the report of the shadow')
    expect(copy.kept.bytes).toMatch(/\r\nContent-Length: 7\r\n(.*\r\n)?\r\nthe end$/s)
    expect(copy.kept.bytes).toBe(real.kept.bytes)
  })

  it('that takes nothing is given up, and the request goes on', async () => {
    await using deaf = await tcpApp((socket) => socket.pause())
    const app = await namedApp('app')
    const [upstream, shadow] = [app.upstream, deaf.upstream]
    await using world = await startWorld(app, { route: () => ({ upstream, shadow }) })
    using client = await http2Client(world.port)
    const body = 'b'.repeat(16 * 1024 * 1024)
    expect((await told(client, { ':method': 'POST' }, body)).body === body).toBe(true)
    await until(() => world.shadows.length === 1, 'the report of the shadow')
    expect(world.shadows[0]).toMatchObject({ status: undefined, error: expect.any(Error) })
  })

  it('that never answers is waited for by nobody', async () => {
    await using stuck = await tcpApp((socket) => socket.resume())
    const app = await namedApp('app')
    const [upstream, shadow] = [app.upstream, stuck.upstream]
    await using world = await startWorld(app, { route: () => ({ upstream, shadow }) })
    using client = await http2Client(world.port)
    for (let turn = 0; turn < 30; turn += 1) {
      expect(await told(client, { ':method': 'POST' }, `body ${turn}`)).toMatchObject({
        body: `body ${turn}`,
      })
    }
    await until(() => world.forwarder.inFlight === 0, 'the end of all requests')
    expect(world.requests.filter(({ outcome }) => outcome === 'complete')).toHaveLength(30)
    expect([world.shadows, stuck.sockets.size]).toEqual([[], 30])
  })

  it('is let go of when the client resets its stream in the middle of the body', async () => {
    await using copy = await tcpApp((socket) => socket.resume())
    const app = await tcpApp((socket) => socket.resume())
    const [upstream, shadow] = [app.upstream, copy.upstream]
    await using world = await startWorld(app, { route: () => ({ upstream, shadow }) })
    using client = await frameClient(world.port)
    client.greet()
    client.send(
      frame(FRAME.headers, END_HEADERS, 1, block(':method', 'POST', ...GET.slice(2))),
      frame(FRAME.data, 0, 1, Buffer.from('half')),
    )
    await until(() => copy.sockets.size === 1 && app.sockets.size === 1, 'both connections')
    client.send(frame(FRAME.reset, 0, 1, uint32(constants.NGHTTP2_CANCEL)))
    await until(() => copy.sockets.size === 0 && app.sockets.size === 0, 'the end of both connections')
    expect(world.shadows).toMatchObject([{ status: undefined, error: expect.any(Error) }])
  })
})

describe('a response to HTTP/2', () => {
  it('has its headers changed by who has seen it', async () => {
    const app = await scriptedApp(
      'HTTP/1.1 201 Made\r\nX-Old: 1\r\nX-Gone: 2\r\nx-old: 3\r\nX-Kept: 4\r\nContent-Length: 2\r\n\r\nhi',
    )
    const { upstream } = app
    const seen: unknown[] = []
    await using world = await startWorld(app, {
      route: () => ({
        upstream,
        onResponse({ status, headers }) {
          seen.push([status, headers.get('x-old')])
          return { 'X-Old': 'new', 'X-Gone': undefined, 'X-Added': 'caf\xe9' }
        },
      }),
    })
    using client = await http2Client(world.port)
    const { status, headers, body } = await client.ask()
    expect([status, body, seen]).toEqual([201, 'hi', [[201, '1, 3']]])
    expect(headers).toMatchObject({ 'x-old': 'new', 'x-added': 'caf\xe9', 'x-kept': '4' })
    expect(headers['x-gone']).toBeUndefined()
  })

  it.each<[string, Record<string, string>]>([
    ['a value breaks out of its line', { 'X-A': 'a\r\nX-B: b' }],
    ['a name is that of the framing', { 'Content-Length': '1' }],
    ['a name is one of HTTP/2 itself', { ':status': '200' }],
  ])('is a 502 when of its changes %s', async (_, changes) => {
    const app = await namedApp('app')
    const { upstream } = app
    await using world = await startWorld(app, { route: () => ({ upstream, onResponse: () => changes }) })
    using client = await http2Client(world.port)
    const reply = await client.ask()
    expect(reply).toMatchObject({ status: 502, code: 0 })
    expect(reply.headers['x-b']).toBeUndefined()
    await until(() => world.requests.length === 1, 'the report')
    expect(world.requests).toMatchObject([{ outcome: 'upstream-failed', error: expect.any(Error) }])
  })

  it('carries the headers that all responses get, also when it is the answer of the route', async () => {
    const app = await scriptedApp('HTTP/1.1 200 OK\r\nSERVER: x\r\nserver: y\r\nContent-Length: 0\r\n\r\n')
    const { upstream } = app
    await using world = await startWorld(app, {
      route: ({ path }) => (path === '/own' ? { respond: { status: 200, message: '' } } : { upstream }),
      responseHeaders: { Server: 'me' },
    })
    using client = await http2Client(world.port)
    for (const path of ['/', '/own'])
      expect((await client.ask({ ':path': path })).headers['server']).toBe('me')
  })
})

describe('a request over HTTP/2 is traced', () => {
  const TRACE = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`

  it('by the traceparent it has, where that is valid, and else by a new one', async () => {
    await using world = await startWorld(await namedApp('app'), { createTraceparent: true })
    using client = await http2Client(world.port)
    const kept = await told(client, { traceparent: TRACE, tracestate: 'a=b' })
    expect([valuesOf(kept, 'traceparent'), valuesOf(kept, 'tracestate')]).toEqual([[TRACE], ['a=b']])
    for (const headers of [{}, { traceparent: TRACE.replace(/a/g, '0'), tracestate: 'a=b' }]) {
      const seen = await told(client, headers)
      expect(valuesOf(seen, 'traceparent')).toEqual([
        expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/),
      ])
      expect(valuesOf(seen, 'traceparent')).not.toEqual([TRACE.replace(/a/g, '0')])
      expect(valuesOf(seen, 'tracestate')).toEqual([])
      await until(() => world.requests.at(-1)?.traceparent === valuesOf(seen, 'traceparent')[0], 'its report')
    }
  })

  it('by an id, which only those choose who are trusted, and which is another for each stream', async () => {
    await using world = await startWorld(
      await namedApp('app'),
      { createRequestId: true, trusted: (address) => address === '192.0.2.1' },
      addressed('192.0.2.1', '192.0.2.2'),
    )
    using trusted = await http2Client(world.port)
    using stranger = await http2Client(world.port)
    const mine = { 'x-request-id': 'mine' }
    expect(valuesOf(await told(trusted, mine), 'x-request-id')).toEqual(['mine'])
    const seen = await Promise.all([
      told(stranger, mine),
      told(stranger, mine),
      told(stranger),
      told(trusted),
    ])
    const ids = seen.flatMap((one) => valuesOf(one, 'x-request-id'))
    expect(ids).toEqual(Array(4).fill(expect.stringMatching(/^[0-9a-f]{32}$/)))
    expect(new Set(ids).size).toBe(4)
    await until(() => world.requests.length === 5, 'the reports')
    expect(world.requests.map(({ requestId }) => requestId).sort()).toEqual(['mine', ...ids].sort())
  })

  it('by the same ids in each of its attempts and in its shadow', async () => {
    const heads: string[] = []
    const noting = (response: string) =>
      tcpApp((socket) =>
        onHeads(socket, (head) => {
          heads.push(head)
          socket.write(response)
        }),
      )
    await using bad = await noting(FAILED)
    await using copy = await noting('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    const app = await noting('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    const [upstream, next, shadow] = [bad.upstream, app.upstream, copy.upstream]
    await using world = await startWorld(app, {
      createTraceparent: true,
      createRequestId: true,
      route: () => ({ upstream, shadow, retry: () => next }),
    })
    using client = await http2Client(world.port)
    expect((await client.ask()).status).toBe(200)
    await until(() => heads.length === 3 && world.requests.length === 1, 'three heads and the report')
    for (const name of ['traceparent', 'X-Request-Id']) {
      const values = heads.map((head) => new RegExp(`\r\n${name}: (\\S+)\r\n`).exec(head)?.[1])
      expect(values).toEqual(Array(3).fill(expect.stringMatching(/^[0-9a-f-]+$/)))
      expect(new Set(values).size).toBe(1)
    }
  })
})

describe('interim responses over HTTP/2', () => {
  it('come in their order, as they are but for the headers of the connection', async () => {
    await using world = await startWorld(
      await scriptedApp(
        'HTTP/1.1 102 Processing\r\n\r\n' +
          'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nKeep-Alive: x\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n' +
          'HTTP/1.1 103 Early Hints\r\nLink: </c>\r\n\r\n' +
          'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi',
      ),
    )
    using client = await http2Client(world.port)
    const reply = await client.ask()
    expect(reply).toMatchObject({ status: 200, body: 'hi', code: 0 })
    expect(reply.interim.map(({ status, headers }) => [status, headers['link']])).toEqual([
      [102, undefined],
      [103, '</a>, </b>'],
      [103, '</c>'],
    ])
    for (const { headers } of reply.interim)
      for (const name of ['keep-alive', 'connection', 'x-hop']) expect(headers[name]).toBeUndefined()
  })

  it('come while the body is still on its way', async () => {
    await using world = await startWorld(
      await tcpApp((socket) => {
        let seen = ''
        socket.on('data', (bytes) => {
          if (seen === '') socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n')
          seen += bytes.toString('latin1')
          if (seen.endsWith('0\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi')
        })
      }),
    )
    using client = await http2Client(world.port)
    const stream = client.open({ ':method': 'POST' }, false)
    const reply = replyOf(stream)
    stream.write('half')
    await once(stream, 'headers')
    stream.end('whole')
    expect(await reply).toMatchObject({ status: 200, body: 'hi', interim: [{ status: 103 }], code: 0 })
  })

  it('of 100 do not come to who has not asked for one', async () => {
    await using world = await startWorld(
      await scriptedApp('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'),
    )
    using client = await http2Client(world.port)
    const stream = client.open()
    let continued = 0
    stream.on('continue', () => (continued += 1))
    expect(await replyOf(stream)).toMatchObject({ status: 200, body: 'hi', interim: [] })
    expect(continued).toBe(0)
  })
})
