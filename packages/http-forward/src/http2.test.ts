import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request as requestTls } from 'node:https'
import { describe, expect, it } from 'vitest'
import {
  block,
  constants,
  END_HEADERS,
  END_STREAM,
  FRAME,
  type FrameClient,
  frame,
  frameClient,
  GET,
  type Http2Client,
  http2Client,
  replyOf,
  settled,
  startWorld,
  type World,
} from './http2-test-support.ts'
import type { Respond, Route } from './index.ts'
import { httpApp, onHeads, scriptedApp, tcpApp, until } from './test-support.ts'

const DENIED = { status: 403, message: 'No.' }

/** Says what it was asked. */
const mirror = () =>
  httpApp((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (bytes: Buffer) => chunks.push(bytes))
    req.on('end', () =>
      res.end(
        JSON.stringify({
          method: req.method,
          url: req.url,
          raw: req.rawHeaders,
          headers: req.headers,
          trailers: req.rawTrailers,
          body: Buffer.concat(chunks).toString('latin1'),
        }),
      ),
    )
  })

async function asked(client: Http2Client, headers: Record<string, string | string[]>, body?: string) {
  return JSON.parse(Buffer.from((await client.ask(headers, body)).body, 'latin1').toString())
}

describe('a request over HTTP/2', () => {
  it('reaches the application as HTTP/1.1, with its method, path and host', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    const seen = await asked(client, { ':path': '/a%20b?c=d', ':authority': 'example.test:8443' })
    expect(seen).toMatchObject({ method: 'GET', url: '/a%20b?c=d', body: '' })
    expect(seen.headers.host).toBe('example.test:8443')
    expect(seen.headers['transfer-encoding']).toBeUndefined()
  })

  it('with a body of unknown length arrives in chunks, whole', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    const seen = await asked(client, { ':method': 'POST' }, 'some text')
    expect(seen.body).toBe('some text')
    expect(seen.headers['transfer-encoding']).toBe('chunked')
  })

  it('with a Content-Length keeps it', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    const seen = await asked(client, { ':method': 'PUT', 'content-length': '4' }, 'four')
    expect(seen.body).toBe('four')
    expect(seen.headers['content-length']).toBe('4')
    expect(seen.headers['transfer-encoding']).toBeUndefined()
  })

  it('with a method that expects a body but has none says so', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    expect((await asked(client, { ':method': 'POST' })).headers['content-length']).toBe('0')
  })

  it('brings its trailers along, but not those that may not be headers', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    const reply = await client.ask({ ':method': 'POST' }, 'x', { 'x-sum': '1', 'content-type': 'a/b' })
    expect(JSON.parse(reply.body).trailers).toEqual(['x-sum', '1'])
  })

  it('has its cookie crumbs joined to one header', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    const { raw } = await asked(client, { cookie: ['a=1', 'b=2', 'c=3'] })
    const at = raw.findIndex((name: string) => name.toLowerCase() === 'cookie')
    expect(raw[at + 1]).toBe('a=1; b=2; c=3')
    expect(raw.filter((name: string) => name.toLowerCase() === 'cookie')).toHaveLength(1)
  })

  it('keeps repeated headers apart, and bytes above ASCII as they are', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    const { raw } = await asked(client, { 'x-many': ['1', '2'], 'x-latin': 'caf\u00e9\u00a0' })
    expect(raw.filter((_: string, index: number) => raw[index - 1] === 'x-many')).toEqual(['1', '2'])
    expect(raw[raw.indexOf('x-latin') + 1]).toBe('caf\u00e9\u00a0')
  })

  it('is told apart by X-Forwarded headers of ours, not by its own', async () => {
    await using world = await startWorld(await mirror(), {}, () => ({ address: '192.0.2.7' }))
    using client = await http2Client(world.port)
    const { headers } = await asked(client, {
      ':authority': 'example.test',
      'x-forwarded-for': '10.0.0.1',
      x_forwarded_for: '10.0.0.1',
      forwarded: 'for=10.0.0.1',
    })
    expect(headers['x-forwarded-for']).toBe('192.0.2.7')
    expect(headers['x-forwarded-proto']).toBe('https')
    expect(headers['x-forwarded-host']).toBe('example.test')
    expect(headers['x-forwarded-port']).toBe('443')
    expect(headers.forwarded).toBe('for=192.0.2.7;host="example.test";proto=https')
    expect(headers.x_forwarded_for).toBeUndefined()
  })

  it('does not pass TE on, which is between two neighbours', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    expect((await asked(client, { te: 'trailers' })).headers.te).toBeUndefined()
  })

  it('is reported with version 2, and named so in Via', async () => {
    await using world = await startWorld(await mirror(), { via: 'outrider' })
    using client = await http2Client(world.port)
    const { headers } = await asked(client, { ':path': '/there' })
    expect(headers.via).toBe('2 outrider')
    expect(world.requests).toMatchObject([
      { method: 'GET', target: '/there', version: '2', status: 200, outcome: 'complete' },
    ])
  })

  it('waits for the decision of a route that takes its time, body and all', async () => {
    const app = await mirror()
    const { upstream } = app
    await using world = await startWorld(app, {
      route: async () => {
        await new Promise((resolve) => setTimeout(resolve, 20))
        return { upstream }
      },
    })
    using client = await http2Client(world.port)
    expect((await asked(client, { ':method': 'POST' }, 'late')).body).toBe('late')
  })

  it('for OPTIONS * arrives as such', async () => {
    await using world = await startWorld(await mirror())
    using client = await http2Client(world.port)
    expect((await asked(client, { ':method': 'OPTIONS', ':path': '*' })).url).toBe('*')
  })

  it('is answered by the route where that has an answer', async () => {
    await using world = await startWorld(await mirror(), {
      route: () => ({ respond: { status: 403, message: 'No.', headers: { 'X-Why': 'rule' } } }),
    })
    using client = await http2Client(world.port)
    const reply = await client.ask({ ':method': 'POST' }, 'x'.repeat(200_000))
    expect(reply).toMatchObject({ status: 403, body: 'No.\n', code: 0 })
    expect(reply.headers['x-why']).toBe('rule')
  })

  const nothing = (value: unknown) => value as Respond
  it.each<[string, Route]>([
    [
      'throws',
      () => {
        throw new Error('a secret')
      },
    ],
    ['rejects', () => Promise.reject(new Error('a secret'))],
    ['gives nothing', () => nothing(undefined)],
    ['gives a status that is none', () => ({ respond: { status: 99, message: 'a secret' } })],
    [
      'gives a header that breaks out of its line',
      () => ({ respond: { ...DENIED, headers: { A: 'a\r\nB: c' } } }),
    ],
  ])('is a 500 when the route %s, whose reason only the report has', async (_, route) => {
    await using world = await startWorld(await mirror(), {
      route: (request) => (request.path === '/fine' ? { respond: DENIED } : route(request)),
    })
    using client = await http2Client(world.port)
    const [reply, fine] = await Promise.all([
      client.ask({ ':method': 'POST' }, 'a body'),
      client.ask({ ':path': '/fine' }),
    ])
    expect(reply).toMatchObject({ status: 500, code: 0 })
    expect(JSON.stringify(reply)).not.toMatch(/secret|"b"/)
    expect(fine).toMatchObject({ status: 403, body: 'No.\n', code: 0 })
    await until(() => world.requests.length === 2, 'both reports')
    expect(world.requests.find(({ target }) => target === '/')).toMatchObject({
      status: 500,
      outcome: 'refused',
      error: expect.any(Error),
    })
  })

  it('is reported with the bytes of its content, both ways', async () => {
    await using world = await startWorld(await httpApp((req, res) => void req.pipe(res)))
    using client = await http2Client(world.port)
    await client.ask({ ':method': 'POST' }, 'z'.repeat(100_000), { 'x-sum': '1' })
    await client.ask({ ':method': 'PUT', 'content-length': '4' }, 'four')
    await client.ask()
    await until(() => world.requests.length === 3, 'the reports')
    expect(world.requests.map(({ bytesIn, bytesOut }) => [bytesIn, bytesOut])).toEqual([
      [100_000, 100_000],
      [4, 4],
      [0, 0],
    ])
  })

  it('is served by a connection of its own where a preamble goes before it', async () => {
    await using app = await tcpApp((socket) => {
      onHeads(socket, (head) => {
        const body = head.startsWith('PROXY 1\r\nGET ') ? 'preamble' : 'none'
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
      })
    })
    await using world = await startWorld(app, {}, () => ({ preamble: Buffer.from('PROXY 1\r\n') }))
    using client = await http2Client(world.port)
    expect((await client.ask()).body).toBe('preamble')
    client.session.destroy()
    await until(() => app.sockets.size === 0, 'the end of the connection that belonged to this client')
  })
})

describe('a response over HTTP/2', () => {
  it('has its status, its headers in lower case, repeated ones apart and no connection headers', async () => {
    await using world = await startWorld(
      await scriptedApp(
        'HTTP/1.1 201 Made\r\nX-One: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nKeep-Alive: timeout=5\r\n' +
          'Connection: X-Hop\r\nX-Hop: 1\r\nX-Latin: \u00e9\r\nHTTP2-Settings: x\r\nContent-Length: 2\r\n\r\nhi',
      ),
    )
    using client = await http2Client(world.port)
    const { status, headers, body } = await client.ask()
    expect(status).toBe(201)
    expect(body).toBe('hi')
    expect(headers['x-one']).toBe('1')
    expect(headers['set-cookie']).toEqual(['a', 'b'])
    expect(headers['x-latin']).toBe('\u00e9')
    expect(headers['content-length']).toBe('2')
    for (const name of ['connection', 'keep-alive', 'x-hop', 'transfer-encoding', 'http2-settings']) {
      expect(headers[name]).toBeUndefined()
    }
  })

  it('with the same header twice, where one is expected, is passed on', async () => {
    await using world = await startWorld(
      await scriptedApp(
        'HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n',
      ),
    )
    using client = await http2Client(world.port)
    expect(await client.ask()).toMatchObject({ status: 200, code: 0 })
  })

  it('in chunks has its trailers', async () => {
    await using world = await startWorld(
      await scriptedApp(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n yo\r\n0\r\nX-Sum: 7\r\nHost: no\r\n\r\n',
      ),
    )
    using client = await http2Client(world.port)
    const reply = await client.ask()
    expect(reply).toMatchObject({ status: 200, body: 'hi yo', code: 0 })
    expect(Object.keys(reply.trailers)).toEqual(['x-sum'])
    expect(reply.trailers['x-sum']).toBe('7')
  })

  it('that ends with its connection is whole', async () => {
    await using world = await startWorld(
      await tcpApp((socket) => onHeads(socket, () => socket.end('HTTP/1.0 200 OK\r\n\r\nuntil the end'))),
    )
    using client = await http2Client(world.port)
    expect(await client.ask()).toMatchObject({ status: 200, body: 'until the end', code: 0 })
  })

  it('to HEAD has the length and no content', async () => {
    await using world = await startWorld(await scriptedApp('HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n'))
    using client = await http2Client(world.port)
    const reply = await client.ask({ ':method': 'HEAD' })
    expect(reply).toMatchObject({ status: 200, body: '', code: 0 })
    expect(reply.headers['content-length']).toBe('42')
  })

  it.each([204, 205, 304])('with status %i has no content', async (status) => {
    await using world = await startWorld(
      await scriptedApp(`HTTP/1.1 ${status} Fine\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n`),
    )
    using client = await http2Client(world.port)
    const reply = await client.ask()
    expect(reply).toMatchObject({ status, body: '', code: 0 })
    expect(reply.headers.etag).toBe('"1"')
  })

  it('is preceded by its early hints', async () => {
    await using world = await startWorld(
      await scriptedApp(
        'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi',
      ),
    )
    using client = await http2Client(world.port)
    const reply = await client.ask()
    expect(reply).toMatchObject({ status: 200, body: 'hi' })
    expect(reply.interim).toMatchObject([{ status: 103, headers: { link: '</a>' } }])
  })

  it('asks for the body of a client that expects 100, before that is sent', async () => {
    const app = await httpApp((req, res) => req.pipe(res))
    await using world = await startWorld(app)
    using client = await http2Client(world.port)
    const stream = client.open({ ':method': 'POST', expect: '100-continue' }, false)
    const reply = replyOf(stream)
    await once(stream, 'continue')
    stream.end('now')
    expect(await reply).toMatchObject({ status: 200, body: 'now' })
  })

  it('that comes while the body is still on its way is whole, and the client is told to stop', async () => {
    await using world = await startWorld(
      await scriptedApp('HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno'),
    )
    using client = await http2Client(world.port)
    const stream = client.open({ ':method': 'POST' }, false)
    stream.write('x')
    expect(await replyOf(stream)).toMatchObject({ status: 413, body: 'no', code: 0 })
    await until(() => world.forwarder.inFlight === 0, 'the end of the stream')
    expect((await client.ask()).status).toBe(413)
  })

  it('of the route, with a status that HTTP/2 does not know, resets the stream too', async () => {
    await using world = await startWorld(await mirror(), {
      route: () => ({ respond: { status: 777, message: 'What?' } }),
    })
    using client = await http2Client(world.port)
    expect(await client.ask()).toMatchObject({ status: 0, code: constants.NGHTTP2_INTERNAL_ERROR })
  })

  it('with a status that HTTP/2 does not know resets the stream', async () => {
    await using world = await startWorld(await scriptedApp('HTTP/1.1 777 What\r\nContent-Length: 0\r\n\r\n'))
    using client = await http2Client(world.port)
    expect(await client.ask()).toMatchObject({ status: 0, code: constants.NGHTTP2_INTERNAL_ERROR })
    expect(world.requests).toMatchObject([{ outcome: 'upstream-failed' }])
  })

  it('that breaks off resets the stream, and no other', async () => {
    await using world = await startWorld(
      await tcpApp((socket) =>
        onHeads(socket, (head) => {
          if (head.includes('/half')) {
            socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', () => socket.destroy())
          } else setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole'), 50)
        }),
      ),
    )
    using client = await http2Client(world.port)
    const whole = client.ask()
    const half = await client.ask({ ':path': '/half' })
    expect(half.code).toBe(constants.NGHTTP2_INTERNAL_ERROR)
    expect(await whole).toMatchObject({ status: 200, body: 'whole', code: 0 })
  })

  it.each([
    'Content-Length: 9\r\n\r\nhalf',
    'Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
    'X: 1\r\n\r\nhalf',
  ])('that breaks off has no end: %j', async (rest) => {
    await using world = await startWorld(
      await tcpApp((socket) =>
        onHeads(socket, () => socket.write(`HTTP/1.1 200 OK\r\n${rest}`, () => socket.resetAndDestroy())),
      ),
    )
    using client = await frameClient(world.port)
    client.greet()
    client.get(1)
    await until(() => client.of(FRAME.reset, 1).length === 1, 'the reset')
    expect(client.of(FRAME.reset, 1)[0]?.payload.readUInt32BE()).toBe(constants.NGHTTP2_INTERNAL_ERROR)
    const ends = client.frames.filter(
      ({ type, flags }) => type <= FRAME.headers && (flags & END_STREAM) !== 0,
    )
    expect(ends).toEqual([])
  })

  it('of an application that is no HTTP is a 502', async () => {
    await using world = await startWorld(await scriptedApp('nonsense\r\n\r\n'))
    using client = await http2Client(world.port)
    expect((await client.ask()).status).toBe(502)
  })
})

const MIB = 1024 * 1024

describe('a large body over HTTP/2', () => {
  const content = Buffer.alloc(8 * MIB, 'the quick brown fox jumps over the lazy dog')

  it('arrives unchanged in both directions', async () => {
    await using world = await startWorld(await httpApp((req, res) => req.pipe(res)))
    using client = await http2Client(world.port)
    const reply = await client.ask({ ':method': 'POST' }, content)
    expect(reply.body.length).toBe(content.length)
    expect(sha(reply.body)).toBe(sha(content.toString('latin1')))
  })

  it('waits at the client while the application does not read', async () => {
    let took = 0
    let go: () => void = () => undefined
    await using world = await startWorld(
      await httpApp((req, res) => {
        go = () => {
          req.on('data', (bytes: Buffer) => (took += bytes.length))
          req.on('end', () => res.end('done'))
        }
      }),
    )
    using client = await http2Client(world.port)
    const stream = client.open({ ':method': 'POST', 'content-length': String(4 * content.length) }, false)
    const reply = replyOf(stream)
    let sent = 0
    for (let count = 0; count < 4; count += 1) stream.write(content, () => (sent += content.length))
    stream.end()
    expect(await settled(() => sent)).toBeLessThan(4 * content.length)
    go()
    expect((await reply).body).toBe('done')
    expect(took).toBe(4 * content.length)
  })

  it('waits at the application while the client does not read', async () => {
    let written = 0
    await using world = await startWorld(
      await httpApp((_req, res) => {
        const push = () => {
          while (written < 64 * MIB) {
            written += MIB
            if (!res.write(content.subarray(0, MIB))) {
              res.once('drain', push)
              return
            }
          }
          res.end()
        }
        push()
      }),
    )
    using client = await http2Client(world.port)
    const stream = client.open()
    await once(stream, 'response')
    expect(await settled(() => written)).toBeLessThan(32 * MIB)
    let took = 0
    stream.on('data', (bytes: Buffer) => (took += bytes.length))
    await once(stream, 'end')
    expect(took).toBe(64 * MIB)
  })
})

function sha(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex')
}

describe('many streams of one connection', () => {
  it('are served at the same time, each with its own answer', async () => {
    let most = 0
    let now = 0
    await using world = await startWorld(
      await httpApp((req, res) => {
        now += 1
        most = Math.max(most, now)
        setTimeout(
          () => {
            now -= 1
            res.end(req.url)
          },
          20 + (Number(req.url?.slice(1)) % 7) * 5,
        )
      }),
    )
    using client = await http2Client(world.port)
    const replies = await Promise.all(
      Array.from({ length: 90 }, async (_, index) => (await client.ask({ ':path': `/${index}` })).body),
    )
    expect(replies).toEqual(Array.from({ length: 90 }, (_, index) => `/${index}`))
    expect(most).toBeGreaterThan(10)
    expect(world.forwarder.connections).toBe(1)
  })

  it('count as in flight, one by one', async () => {
    const held: (() => void)[] = []
    await using world = await startWorld(await httpApp((_req, res) => held.push(() => res.end())))
    using client = await http2Client(world.port)
    const replies = [client.ask(), client.ask(), client.ask()]
    await until(() => held.length === 3, 'three requests')
    expect(world.forwarder.inFlight).toBe(3)
    for (const release of held) release()
    await Promise.all(replies)
    await until(() => world.forwarder.inFlight === 0, 'none in flight')
  })
})

describe('HTTP/1.1 and HTTP/2 give the same', () => {
  const cases: [string, Record<string, string>, string | undefined][] = [
    ['GET', { accept: 'text/html' }, undefined],
    ['POST', { 'content-type': 'text/plain' }, 'a body'],
    ['PUT', { 'content-length': '3' }, 'abc'],
    ['DELETE', { 'x-empty': '' }, undefined],
    ['HEAD', {}, undefined],
    ['OPTIONS', { origin: 'https://example.test' }, undefined],
    ['PATCH', { 'x_odd.name': '1', 'x-forwarded-for': '1.2.3.4', 'proxy-authorization': 'x' }, 'p'],
    ['QUERY', { cookie: 'a=1; b=2' }, 'q'],
  ]
  it.each(cases)('for %s %j', async (method, headers, body) => {
    await using world = await startWorld(
      await httpApp((req, res) => {
        let text = ''
        req.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')))
        req.on('end', () => {
          // A client of HTTP/1.1 adds the length of a short body itself.
          const framing = ['transfer-encoding', 'content-length']
          const names = Object.entries(req.headers).filter(([name]) => !framing.includes(name))
          res.setHeader('X-Seen', JSON.stringify(names.sort()))
          res.setHeader('Date', 'Sat, 01 Jan 2000 00:00:00 GMT')
          res.statusCode = method === 'DELETE' ? 204 : 200
          res.end(JSON.stringify([req.method, req.url, text]))
        })
      }),
    )
    using client = await http2Client(world.port)
    const second = await client.ask(
      { ':method': method, ':path': '/same?1', ':authority': 'example.test', ...headers },
      body,
    )
    const first = await askFirst(world, method, { host: 'example.test', ...headers }, body)
    const lines = Object.fromEntries(Object.entries(second.headers).filter(([name]) => name !== ':status'))
    expect({ status: second.status, headers: lines, body: second.body }).toEqual(first)
  })
})

async function askFirst(world: World, method: string, headers: Record<string, string>, body?: string) {
  const outgoing = requestTls({
    port: world.port,
    host: '127.0.0.1',
    path: '/same?1',
    method,
    headers,
    rejectUnauthorized: false,
    agent: false,
  })
  outgoing.end(body)
  const [response] = await once(outgoing, 'response')
  let text = ''
  for await (const chunk of response) text += String(chunk)
  const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...lines } = response.headers
  return { status: response.statusCode, headers: lines, body: text }
}

describe('a client of HTTP/2 that is ahead of the application', () => {
  const WINDOW = 64 * 1024
  const part = Buffer.alloc(16 * 1024, 'z')
  const post = (stream: number) =>
    frame(FRAME.headers, END_HEADERS, stream, block(':method', 'POST', ...GET.slice(2)))
  const windowOf = (stream: number) => [0, 1, 2, 3].map(() => frame(FRAME.data, 0, stream, part))
  /** What it may have sent so far on the connection, or on a stream (RFC 9113 6.9). */
  const allowed = (client: FrameClient, stream = 0) =>
    client
      .of(FRAME.window, stream)
      .reduce((sum, { payload }) => sum + payload.readUInt32BE(), stream === 0 ? 65_535 : WINDOW)
  const textOf = (client: FrameClient, stream: number) =>
    Buffer.concat(client.of(FRAME.data, stream).map(({ payload }) => payload)).toString()

  /** Its routes wait for a decision. */
  async function undecided() {
    const app = await httpApp((req, res) => {
      let bytes = 0
      req.on('data', (piece: Buffer) => (bytes += piece.length))
      req.on('end', () => res.end(String(bytes)))
    })
    const { upstream } = app
    const waiting: (() => void)[] = []
    const world = await startWorld(app, {
      route: () => new Promise((resolve) => waiting.push(() => resolve({ upstream }))),
    })
    return { app, world, waiting }
  }

  async function greeted(world: World): Promise<FrameClient> {
    const client = await frameClient(world.port)
    client.greet()
    await until(() => allowed(client) === MIB, 'the window of the connection')
    return client
  }

  it('may send the window of a stream, and more once that is wanted', async () => {
    const { world: started, waiting } = await undecided()
    await using world = started
    using client = await greeted(world)
    client.send(post(1), ...windowOf(1))
    await until(() => waiting.length === 1, 'the request')
    expect(await settled(() => allowed(client, 1))).toBe(WINDOW)
    for (const decide of waiting) decide()
    await until(() => allowed(client, 1) > WINDOW, 'more to be wanted')
    client.send(frame(FRAME.data, END_STREAM, 1, part))
    await until(() => textOf(client, 1) !== '', 'the response')
    expect(textOf(client, 1)).toBe(String(WINDOW + part.length))
  })

  it('is refused when it sends more than the window of a stream all the same', async () => {
    const { app, world: started } = await undecided()
    await using world = started
    using client = await greeted(world)
    client.send(post(1), ...windowOf(1), frame(FRAME.data, 0, 1, Buffer.from('z')))
    expect(await client.goaway()).toBe(constants.NGHTTP2_FLOW_CONTROL_ERROR)
    await client.untilClosed()
    expect(app.accepted).toBe(0)
  })

  it('may send the window of each of its streams, however many they are', async () => {
    const { world: started, waiting } = await undecided()
    await using world = started
    using client = await greeted(world)
    const streams = Array.from({ length: 16 }, (_, index) => 2 * index + 1)
    for (const stream of streams) client.send(post(stream), ...windowOf(stream))
    await until(() => waiting.length === streams.length, 'all requests')
    await settled(() => allowed(client))
    for (const stream of streams) expect(allowed(client, stream)).toBe(WINDOW)
    for (const decide of waiting) decide()
    for (const stream of streams) client.send(frame(FRAME.data, END_STREAM, stream))
    await until(() => streams.every((stream) => textOf(client, stream) !== ''), 'all responses')
    for (const stream of streams) expect(textOf(client, stream)).toBe(String(WINDOW))
  })
})
