import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
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
  http2Client,
  startWorld,
  uint32,
  type World,
} from './http2-test-support.ts'
import { type Application, httpApp, onHeads, RawClient, tcpApp, until } from './test-support.ts'

const POST: readonly string[] = [':method', 'POST', ...GET.slice(2)]
const silent = () => tcpApp((socket) => void socket.resume())

/** Counts what reaches it, and says hello. */
function counting(): Promise<Application & { asked: string[] }> {
  const asked: string[] = []
  const app = httpApp((req, res) => {
    asked.push(`${req.method} ${req.url} ${req.headers.host}`)
    req.resume()
    res.end('hello')
  })
  return app.then((started) => Object.assign(started, { asked }))
}

async function refused(fields: readonly string[]): Promise<string> {
  const app = await counting()
  await using world = await startWorld(app)
  using client = await frameClient(world.port)
  client.greet()
  client.send(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, block(...fields)))
  await until(
    () => client.of(FRAME.reset, 1).length + client.of(FRAME.headers, 1).length > 0,
    'a reset or an answer',
  )
  const [answer] = client.of(FRAME.headers, 1)
  expect(app.asked).toEqual([])
  // The connection is none the worse for it.
  client.get(3)
  await until(() => client.of(FRAME.headers, 3).length === 1 && app.asked.length === 1, 'a good request')
  expect(client.of(FRAME.goaway)).toEqual([])
  return answer === undefined ? 'reset' : 'answered'
}

describe('a malformed request over HTTP/2 never reaches the application', () => {
  const cases: [string, readonly string[]][] = [
    ['Connection', [...GET, 'connection', 'close']],
    ['Keep-Alive', [...GET, 'keep-alive', '5']],
    ['Proxy-Connection', [...GET, 'proxy-connection', 'x']],
    ['Transfer-Encoding', [...GET, 'transfer-encoding', 'chunked']],
    ['Upgrade', [...GET, 'upgrade', 'websocket']],
    ['TE other than trailers', [...GET, 'te', 'gzip']],
    ['a name in upper case', [...GET, 'X-Upper', '1']],
    [
      'a line break in the path',
      [':method', 'GET', ':scheme', 'https', ':path', '/ HTTP/1.1\r\nx: y', ':authority', 'a'],
    ],
    ['a space in the path', [':method', 'GET', ':scheme', 'https', ':path', '/a b', ':authority', 'a']],
    ['an empty path', [':method', 'GET', ':scheme', 'https', ':path', '', ':authority', 'a']],
    ['an absolute path', [':method', 'GET', ':scheme', 'https', ':path', 'http://b/', ':authority', 'a']],
    ['* for GET', [':method', 'GET', ':scheme', 'https', ':path', '*', ':authority', 'a']],
    ['a space in the method', [':method', 'GET /x', ':scheme', 'https', ':path', '/', ':authority', 'a']],
    ['no method', [':scheme', 'https', ':path', '/', ':authority', 'a']],
    ['no path', [':method', 'GET', ':scheme', 'https', ':authority', 'a']],
    ['no scheme', [':method', 'GET', ':path', '/', ':authority', 'a']],
    ['another scheme', [':method', 'GET', ':scheme', 'ftp', ':path', '/', ':authority', 'a']],
    ['no host', [':method', 'GET', ':scheme', 'https', ':path', '/']],
    ['an empty authority', [':method', 'GET', ':scheme', 'https', ':path', '/', ':authority', '']],
    ['user information in the authority', [...GET.slice(0, 6), ':authority', 'me@a']],
    ['two pseudo-headers of a name', [...GET, ':path', '/b']],
    ['an unknown pseudo-header', [...GET, ':colour', 'red']],
    ['a pseudo-header behind a header', [...GET.slice(0, 6), 'x', '1', ':authority', 'a']],
    ['a Host that is not the authority', [...GET, 'host', 'other.test']],
    ['two Hosts', [...GET.slice(0, 6), 'host', 'a', 'host', 'b']],
    ['a Content-Length that is no number', [...GET, 'content-length', '+1']],
    ['two Content-Lengths', [...GET, 'content-length', '0', 'content-length', '0']],
    ['a Content-Length without content', [...GET, 'content-length', '5']],
    ['a protocol without CONNECT', [...GET, ':protocol', 'websocket']],
    ['CONNECT with a path', [':method', 'CONNECT', ':path', '/', ':authority', 'a:1']],
    ['an expectation that is unknown', [...GET, 'expect', 'x']],
  ]
  it.each(cases)('with %s', async (_, fields) => {
    expect(await refused(fields)).toMatch(/reset|answered/)
  })

  const dropped: [string, string, string][] = [
    ['a line break in a value', 'x-a', '1\r\nx-b: 2'],
    ['a bare line feed in a value', 'x-a', '1\nx-b: 2'],
    ['a null byte in a value', 'x-a', '1\0'],
    ['a colon in a name', 'x-a:y', '1'],
    ['a space in a name', 'x-a y', '1'],
    ['a line break in a name', 'x-a\r\nx-b', '1'],
  ]
  it.each(dropped)('or at least not the header with %s', async (_, name, value) => {
    let raw: string[] | undefined
    await using world = await startWorld(
      await httpApp((req, res) => {
        raw = req.rawHeaders
        res.end()
      }),
    )
    using client = await frameClient(world.port)
    client.greet()
    client.get(1, name, value)
    await until(
      () => client.of(FRAME.reset, 1).length + client.of(FRAME.headers, 1).length > 0,
      'a reset or an answer',
    )
    expect(raw?.filter((text) => text.startsWith('x-')) ?? []).toEqual([])
  })

  it('with more content than its Content-Length, whose connection to the application is not used again', async () => {
    const app = await counting()
    await using world = await startWorld(app)
    using client = await frameClient(world.port)
    client.greet()
    client.send(
      frame(FRAME.headers, END_HEADERS, 1, block(...POST, 'content-length', '2')),
      frame(FRAME.data, END_STREAM, 1, Buffer.from('hi GET / HTTP/1.1\r\n\r\n')),
    )
    await client.untilClosed()
    using other = await http2Client(world.port)
    expect((await other.ask({ ':path': '/good' })).body).toBe('hello')
    expect(app.asked.filter((line) => !line.startsWith('POST / '))).toEqual([
      `GET /good 127.0.0.1:${world.port}`,
    ])
  })

  it('with less content than its Content-Length is not completed', async () => {
    const app = await counting()
    await using world = await startWorld(app)
    using client = await frameClient(world.port)
    client.greet()
    client.send(
      frame(FRAME.headers, END_HEADERS, 1, block(...POST, 'content-length', '9')),
      frame(FRAME.data, END_STREAM, 1, Buffer.from('hi')),
    )
    await until(() => client.of(FRAME.reset, 1).length === 1, 'the reset')
    await until(() => world.forwarder.inFlight === 0, 'none in flight')
  })
})

describe('what is too large over HTTP/2', () => {
  it('in its head is a 431', async () => {
    await using world = await startWorld(await silent())
    using client = await http2Client(world.port)
    expect(await client.ask({ 'x-large': 'x'.repeat(17 * 1024) })).toMatchObject({ status: 431 })
    expect(world.requests).toMatchObject([{ status: 431, outcome: 'refused', version: '2' }])
  })

  it('in the number of headers is a 431', async () => {
    await using world = await startWorld(await silent())
    using client = await http2Client(world.port)
    const many = Object.fromEntries(Array.from({ length: 260 }, (_, index) => [`x-${index}`, '1']))
    expect(await client.ask(many)).toMatchObject({ status: 431 })
  })

  it('in its target is a 414', async () => {
    await using world = await startWorld(await silent())
    using client = await http2Client(world.port)
    expect(await client.ask({ ':path': `/${'x'.repeat(9 * 1024)}` })).toMatchObject({ status: 414 })
  })

  it('by far in its head is reset', async () => {
    await using world = await startWorld(await silent())
    using client = await frameClient(world.port)
    client.greet()
    await until(() => client.of(FRAME.settings).length > 0, 'SETTINGS')
    // Not more than the frame may have, each time: what is large is what they stand for.
    const fields = Array.from({ length: 40 }, (_, index) => [`x-${index}`, 'y'.repeat(1024)]).flat()
    const bytes = block(...GET, ...fields)
    client.send(
      frame(FRAME.headers, END_STREAM, 1, bytes.subarray(0, 16_000)),
      frame(FRAME.continuation, 0, 1, bytes.subarray(16_000, 32_000)),
      frame(FRAME.continuation, END_HEADERS, 1, bytes.subarray(32_000)),
    )
    await until(() => client.of(FRAME.reset, 1).length === 1, 'the reset')
    expect(world.app.sockets.size).toBe(0)
  })

  it('in its body is a 413', async () => {
    await using world = await startWorld(await silent(), { limits: { bodyBytes: 10 } })
    using client = await http2Client(world.port)
    expect(await client.ask({ ':method': 'POST' }, 'x'.repeat(11))).toMatchObject({ status: 413 })
    expect(await client.ask({ ':method': 'POST', 'content-length': '11' }, 'x'.repeat(11))).toMatchObject({
      status: 413,
    })
  })

  it('in its trailers is a 431', async () => {
    await using world = await startWorld(await silent())
    using client = await http2Client(world.port)
    const reply = await client.ask({ ':method': 'POST' }, 'x', { 'x-large': 'x'.repeat(9 * 1024) })
    expect(reply).toMatchObject({ status: 431 })
  })
})

/** Sends until the connection is closed. */
async function flood(client: FrameClient, next: (round: number) => Buffer[]): Promise<void> {
  for (let round = 0; round < 3_000 && !client.closed && client.of(FRAME.goaway).length === 0; round += 1) {
    client.send(...next(round))
    if (round % 20 === 19) await delay(2)
  }
}

function resetRequest(stream: number): Buffer[] {
  return [
    frame(FRAME.headers, END_HEADERS | END_STREAM, stream, block(...GET)),
    frame(FRAME.reset, 0, stream, uint32(constants.NGHTTP2_CANCEL)),
  ]
}

async function stillServes(world: World): Promise<void> {
  using other = await http2Client(world.port)
  expect((await other.ask()).status).toBe(200)
}

describe('a flood over HTTP/2 ends its connection, and no other is the worse for it:', () => {
  it('requests that are reset at once (CVE-2023-44487)', async () => {
    await using world = await startWorld(await httpApp((_req, res) => void setTimeout(() => res.end(), 50)))
    using client = await frameClient(world.port)
    client.greet()
    // Each batch is waited for: faster ones are stopped by node:http2 alone.
    const ended = () => client.closed || client.of(FRAME.goaway).length > 0
    for (let stream = 1, batch = 1; stream < 3_000 && !ended(); batch += 1) {
      for (const last = stream + 40; stream < last; stream += 2) client.send(...resetRequest(stream))
      client.send(frame(FRAME.ping, 0, 0, Buffer.alloc(8)))
      await until(() => client.of(FRAME.ping).length === batch || ended(), 'the answer to a ping')
    }
    expect(await client.goaway()).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    await client.untilClosed()
    expect(world.requests.filter(({ status }) => status === 429)).toMatchObject([
      { outcome: 'refused', error: new Error('too many streams were reset') },
    ])
    await stillServes(world)
  })

  it('requests that are reset at once, faster than they can be looked at', async () => {
    await using world = await startWorld(await httpApp((_req, res) => void setTimeout(() => res.end(), 50)))
    using client = await frameClient(world.port)
    client.greet()
    await flood(client, (round) => resetRequest(2 * round + 1))
    expect(await client.goaway()).not.toBe(constants.NGHTTP2_NO_ERROR)
    await client.untilClosed()
    await stillServes(world)
  })

  it('requests that make the server reset them (CVE-2025-8671)', async () => {
    await using world = await startWorld(await httpApp((_req, res) => void setTimeout(() => res.end(), 50)))
    using client = await frameClient(world.port)
    client.greet()
    await flood(client, (round) => [
      frame(FRAME.headers, END_HEADERS | END_STREAM, 2 * round + 1, block(...GET)),
      frame(FRAME.window, 0, 2 * round + 1, uint32(0)),
    ])
    expect(await client.goaway()).not.toBe(constants.NGHTTP2_NO_ERROR)
    await client.untilClosed()
    await stillServes(world)
  })

  it('but not a browser that leaves a page with all its requests open', async () => {
    await using world = await startWorld(
      await httpApp((req, res) => (req.url === '/hang' ? undefined : res.end('hello'))),
    )
    using client = await http2Client(world.port)
    const hanging = Array.from({ length: 90 }, () => client.open({ ':path': '/hang' }))
    await until(() => world.app.sockets.size === 90, 'all at the application')
    for (const stream of hanging) stream.close(constants.NGHTTP2_CANCEL)
    expect((await client.ask()).status).toBe(200)
    expect(client.goaway).toBeUndefined()
  })

  it('pings (CVE-2019-9512)', async () => {
    await using world = await startWorld(await counting())
    using client = await frameClient(world.port)
    client.greet()
    await flood(client, () => [frame(FRAME.ping, 0, 0, Buffer.alloc(8))])
    expect(await client.goaway()).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    await client.untilClosed()
    await stillServes(world)
  })

  it('settings (CVE-2019-9515)', async () => {
    await using world = await startWorld(await counting())
    using client = await frameClient(world.port)
    client.greet()
    await flood(client, () => [frame(FRAME.settings, 0, 0)])
    expect(await client.goaway()).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    await client.untilClosed()
    await stillServes(world)
  })

  it('pings whose answers are not read', async () => {
    await using world = await startWorld(await counting(), { limits: { lingerMs: 200 } })
    using client = await frameClient(world.port)
    client.greet()
    client.socket.pause()
    for (let count = 0; count < 2_000; count += 1) {
      client.send(frame(FRAME.ping, 0, 0, Buffer.alloc(8)))
    }
    await until(() => world.forwarder.connections === 0, 'the end of the connection')
    await stillServes(world)
  })

  it('empty DATA frames (CVE-2019-9518)', async () => {
    await using world = await startWorld(
      await httpApp((req, res) => (req.method === 'GET' ? res.end() : req.resume())),
    )
    using client = await frameClient(world.port)
    client.greet()
    client.send(frame(FRAME.headers, END_HEADERS, 1, block(...POST)))
    await flood(client, () => [frame(FRAME.data, 0, 1)])
    expect(await client.goaway()).not.toBe(constants.NGHTTP2_NO_ERROR)
    await client.untilClosed()
    await stillServes(world)
  })

  it('CONTINUATION frames without an end (CVE-2024-27316)', async () => {
    await using world = await startWorld(await counting())
    using client = await frameClient(world.port)
    client.greet()
    client.send(frame(FRAME.headers, END_STREAM, 1, block(...GET)))
    let sent = 0
    await flood(client, (round) => {
      sent += 1
      return [frame(FRAME.continuation, 0, 1, block(`x-${round}`, 'y'.repeat(1_000)))]
    })
    expect(await client.goaway()).not.toBe(constants.NGHTTP2_NO_ERROR)
    await client.untilClosed()
    expect(sent).toBeLessThan(3_000)
    await stillServes(world)
  })

  it('one entry of the header table named again and again (an HPACK bomb)', async () => {
    await using world = await startWorld(await counting())
    using client = await frameClient(world.port)
    client.greet()
    // RFC 7541 6.2.1: a literal that is indexed, and then 16 000 references of one byte to it.
    const large = Buffer.concat([Buffer.from([0x40]), block('x-large', 'y'.repeat(3_900)).subarray(1)])
    client.send(
      frame(FRAME.headers, END_STREAM, 1, Buffer.concat([block(...GET), large])),
      frame(FRAME.continuation, END_HEADERS, 1, Buffer.alloc(16_000, 0x80 | 62)),
    )
    await until(() => client.of(FRAME.reset, 1).length === 1 || client.closed, 'the reset')
    await stillServes(world)
  })

  it('window updates and priorities, which are merely looked at', async () => {
    await using world = await startWorld(await counting())
    using client = await frameClient(world.port)
    client.greet()
    for (let count = 0; count < 2_000; count += 1) {
      client.send(
        frame(FRAME.priority, 0, 1, Buffer.concat([uint32(0), Buffer.from([1])])),
        frame(FRAME.window, 0, 0, uint32(1)),
      )
    }
    client.get(1)
    await until(() => client.of(FRAME.headers, 1).length === 1, 'the response')
    await stillServes(world)
  })
})

describe('HTTP/2 without its agreement', () => {
  it('is not spoken where TLS has agreed on HTTP/1.1', async () => {
    await using world = await startWorld(await silent())
    const socket = connectTls({ host: '127.0.0.1', port: world.port, rejectUnauthorized: false })
    using client = new RawClient(socket)
    client.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    await client.until('HTTP/1.1 505 ')
  })

  it('and what is no HTTP/2 where that was agreed on ends the connection', async () => {
    await using world = await startWorld(await silent())
    using client = await frameClient(world.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.untilClosed()
    expect(world.app.sockets.size).toBe(0)
    await until(() => world.requests.length === 1, 'the report')
    expect(world.requests).toMatchObject([{ status: 400, outcome: 'refused', version: '2' }])
  })
})

describe('streams of HTTP/2 that are open', () => {
  const openAll = (client: FrameClient, count: number) => {
    client.greet()
    for (let index = 0; index < count; index += 1) client.get(2 * index + 1)
  }
  const refusals = (client: FrameClient) =>
    client
      .of(FRAME.reset)
      .filter(({ payload }) => payload.readUInt32BE() === constants.NGHTTP2_REFUSED_STREAM)

  it('are shared: greedy connections leave some for others, however many they are', async () => {
    await using world = await startWorld(await silent(), { limits: { streamsInAll: 64 } })
    const greedy: FrameClient[] = []
    for (let index = 0; index < 12; index += 1) {
      const client = await frameClient(world.port)
      greedy.push(client)
      openAll(client, 30)
      await until(() => refusals(client).length > 0, 'refused streams')
    }
    expect(world.forwarder.inFlight).toBeLessThan(64)
    using other = await frameClient(world.port)
    const before = world.app.sockets.size
    openAll(other, 1)
    await until(() => world.app.sockets.size === before + 1, 'the request of another client')
    expect(world.requests.every(({ status, outcome }) => status === 503 && outcome === 'refused')).toBe(true)
    for (const client of [...greedy, other]) client.socket.destroy()
  })

  it('are there again for others when they are closed', async () => {
    await using world = await startWorld(await httpApp((_req, res) => res.end('hello')), {
      limits: { streamsInAll: 8 },
    })
    for (let round = 0; round < 5; round += 1) {
      const client = await frameClient(world.port)
      openAll(client, 20)
      await until(() => client.of(FRAME.reset).length + client.of(FRAME.data).length >= 20, 'all answers')
      client.socket.destroy()
      await until(() => world.forwarder.inFlight === 0, 'none in flight')
      await stillServes(world)
    }
  })
})

describe('a response with as many headers as may be', () => {
  it('arrives over HTTP/2 too', async () => {
    const app = tcpApp((socket) =>
      onHeads(socket, () => {
        const lines = Array.from({ length: 4_000 }, (_, index) => `a${index}: b\r\n`).join('')
        socket.write(`HTTP/1.1 200 OK\r\n${lines}Content-Length: 2\r\n\r\nok`)
      }),
    )
    await using world = await startWorld(await app)
    const session = connectHttp2(`https://127.0.0.1:${world.port}`, {
      rejectUnauthorized: false,
      maxHeaderListPairs: 10_000,
      settings: { maxHeaderListSize: 1024 * 1024 },
    }).on('error', () => undefined)
    const stream = session.request({ ':path': '/' }).on('error', () => undefined)
    const [headers] = await once(stream, 'response')
    expect(headers[':status']).toBe(200)
    expect(headers['a3999']).toBe('b')
    session.destroy()
  })
})
