import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import {
  block,
  constants,
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  frameClient,
  GET,
  http2Client,
  replyOf,
  startWorld,
  uint32,
} from './http2-test-support.ts'
import { httpApp, onHeads, tcpApp, until } from './test-support.ts'

const silent = () => tcpApp((socket) => void socket.resume())
const hello = () => httpApp((_req, res) => res.end('hello'))
/** Answers with a head and then a piece every few milliseconds, for ever. */
const endless = () =>
  httpApp((_req, res) => {
    const timer = setInterval(() => res.write('tick'), 5)
    res.on('close', () => clearInterval(timer))
  })

describe('a client that leaves', () => {
  it.each(['idle', 'served', 'waiting'])(
    'by the end of its connection alone, %s, is noticed',
    async (when) => {
      const app = httpApp((req, res) => {
        if (req.url === '/') res.end('hello')
      })
      await using world = await startWorld(await app)
      using client = await frameClient(world.port)
      client.greet()
      await until(() => client.of(FRAME.settings).length > 0, 'the settings')
      if (when === 'served') {
        client.get(1)
        await until(() => client.of(FRAME.data, 1).length > 0, 'the response')
      } else if (when === 'waiting') {
        const fields = GET.map((field) => (field === '/' ? '/never' : field))
        client.send(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, block(...fields)))
        await until(() => world.app.sockets.size === 1, 'the request at the application')
      }
      client.socket.end()
      await until(() => world.forwarder.connections === 0, 'the end of the connection')
    },
  )

  it('without a word while a response is silent is given up when it answers no PING', async () => {
    await using world = await startWorld(await silent(), { limits: { stallMs: 40 } })
    using client = await frameClient(world.port)
    client.greet()
    client.get(1)
    await until(() => client.of(FRAME.ping).length === 1, 'a PING')
    await client.untilClosed()
    expect(world.requests).toMatchObject([{ outcome: 'client-aborted' }])
  })

  it('is told from one that is slow, to whom the PING has not come yet', async () => {
    await using world = await startWorld(await endless(), { limits: { stallMs: 40 } })
    using client = await frameClient(world.port)
    client.greet()
    client.get(1)
    await until(() => client.of(FRAME.ping).length === 1, 'a PING')
    const before = client.of(FRAME.data, 1).length
    await until(() => client.of(FRAME.data, 1).length > before + 60, 'many more pieces, and no end')
    expect(client.closed).toBe(false)
    client.socket.destroy()
  })

  it('is told from one that waits, who answers each PING', async () => {
    const waiting: (() => void)[] = []
    await using world = await startWorld(
      await tcpApp((socket) =>
        onHeads(socket, () =>
          waiting.push(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')),
        ),
      ),
      { limits: { stallMs: 40 } },
    )
    using client = await http2Client(world.port)
    let pings = 0
    client.session.on('ping', () => (pings += 1))
    const reply = client.ask()
    await until(() => pings >= 4, 'four PINGs')
    for (const answer of waiting) answer()
    expect(await reply).toMatchObject({ status: 200, body: 'ok' })
  })

  it.each([constants.NGHTTP2_CANCEL, constants.NGHTTP2_NO_ERROR])(
    'by a reset with code %i before the response cancels the request at the application',
    async (code) => {
      await using world = await startWorld(await silent())
      using client = await frameClient(world.port)
      client.greet()
      client.get(1)
      await until(() => world.app.sockets.size === 1, 'the request at the application')
      client.send(frame(FRAME.reset, 0, 1, uint32(code)))
      await until(() => world.app.sockets.size === 0, 'the end of the request at the application')
      await until(() => world.forwarder.inFlight === 0, 'none in flight')
      expect(world.requests).toMatchObject([{ status: 499, outcome: 'client-aborted' }])
      expect(client.closed).toBe(false)
    },
  )

  it.each([constants.NGHTTP2_CANCEL, constants.NGHTTP2_NO_ERROR])(
    'by a reset with code %i in the middle of its body does not pass half of it off as a whole',
    async (code) => {
      let seen = ''
      let ended = false
      await using world = await startWorld(
        await tcpApp((socket) => {
          socket.on('data', (bytes) => (seen += bytes.toString('latin1')))
          socket.on('end', () => (ended = true))
        }),
      )
      using client = await frameClient(world.port)
      client.greet()
      const fields = [':method', 'POST', ...GET.slice(2)]
      client.send(
        frame(FRAME.headers, END_HEADERS, 1, block(...fields)),
        frame(FRAME.data, 0, 1, Buffer.from('half')),
      )
      await until(() => seen.includes('half'), 'the half')
      client.send(frame(FRAME.reset, 0, 1, uint32(code)))
      await until(() => world.app.sockets.size === 0, 'the end of the request at the application')
      expect(seen.endsWith('0\r\n\r\n')).toBe(false)
      expect(seen.slice(seen.indexOf('\r\n\r\n') + 4)).toBe('4\r\nhalf\r\n')
      expect(ended || world.requests[0]?.outcome === 'client-aborted').toBe(true)
    },
  )

  it.each([8 * 1024 * 1024, 100_000])(
    'by a reset with NO_ERROR while %i bytes wait for it is not waited for',
    async (size) => {
      await using world = await startWorld(await httpApp((_req, res) => void res.end(Buffer.alloc(size))), {
        limits: { stallMs: 200 },
      })
      using client = await frameClient(world.port)
      client.greet()
      client.get(1)
      await until(() => client.of(FRAME.data, 1).length > 3, 'as much as the window lets in')
      client.send(frame(FRAME.reset, 0, 1, uint32(constants.NGHTTP2_NO_ERROR)))
      await until(() => world.forwarder.inFlight === 0, 'none in flight')
      await until(() => world.requests.length === 1, 'the report')
      expect(client.closed).toBe(false)
    },
  )

  it('in the middle of a response cancels it at the application, and no other', async () => {
    await using world = await startWorld(await endless())
    using client = await http2Client(world.port)
    const [one, two] = [client.open(), client.open()]
    await Promise.all([once(one, 'data'), once(two, 'data')])
    one.close(constants.NGHTTP2_CANCEL)
    await until(() => world.app.sockets.size === 1, 'the end of one request at the application')
    await once(two, 'data')
    expect(world.requests).toMatchObject([{ status: 200, outcome: 'client-aborted' }])
  })

  it('with its connection cancels all its requests', async () => {
    await using world = await startWorld(await silent())
    using client = await http2Client(world.port)
    for (let count = 0; count < 5; count += 1) client.open()
    await until(() => world.app.sockets.size === 5, 'five requests at the application')
    client.session.socket.destroy()
    await until(() => world.app.sockets.size === 0, 'the end of all of them')
    await until(() => world.requests.length === 5, 'five reports')
    expect(new Set(world.requests.map(({ outcome }) => outcome))).toEqual(new Set(['client-aborted']))
  })

  it('before its HTTP/2 has begun leaves nothing', async () => {
    await using world = await startWorld(await silent())
    using client = await frameClient(world.port)
    client.socket.destroy()
    await until(() => world.forwarder.connections === 0, 'the end of the connection')
  })
})

describe('a client that is slow', () => {
  const quick = { headMs: 200, idleMs: 200, stallMs: 200, lingerMs: 200 }

  it('to begin HTTP/2 is let go', async () => {
    await using world = await startWorld(await silent(), { limits: { headMs: 200 } })
    using client = await frameClient(world.port)
    await client.untilClosed()
  })

  it('to send its body is told 408, and its other streams go on', async () => {
    await using world = await startWorld(
      await httpApp((req, res) => (req.method === 'GET' ? res.end('hello') : req.resume())),
      { limits: { stallMs: 300 } },
    )
    using client = await http2Client(world.port)
    const stream = client.open({ ':method': 'POST' }, false)
    stream.write('x')
    expect(await replyOf(stream)).toMatchObject({ status: 408, code: 0 })
    expect(await client.ask()).toMatchObject({ status: 200, body: 'hello' })
  })

  it('is not blamed for what the application leaves unread', async () => {
    await using world = await startWorld(
      await httpApp((req, res) => {
        setTimeout(() => req.on('end', () => res.end('late')).resume(), 1_000)
      }),
      { limits: { stallMs: 100 } },
    )
    using client = await http2Client(world.port)
    expect(await client.ask({ ':method': 'POST' }, Buffer.alloc(16 * 1024 * 1024))).toMatchObject({
      status: 200,
      body: 'late',
    })
  })

  it('to take its response is given up', async () => {
    await using world = await startWorld(
      await httpApp((_req, res) => void res.end(Buffer.alloc(8 * 1024 * 1024))),
      { limits: quick },
    )
    using client = await http2Client(world.port)
    const stream = client.open()
    await once(stream, 'response')
    await until(() => world.requests.length === 1, 'the report')
    expect(world.requests).toMatchObject([{ status: 200, outcome: 'client-aborted' }])
    await until(() => world.forwarder.inFlight === 0, 'none in flight')
  })

  it('to take the end of a response that is complete at the application is given up too', async () => {
    await using world = await startWorld(
      await httpApp((_req, res) => void res.end(Buffer.alloc(60 * 1024))),
      { limits: quick },
    )
    using client = await http2Client(world.port, { initialWindowSize: 1024 })
    const stream = client.open()
    await once(stream, 'response')
    await until(() => world.requests.length === 1, 'the report')
    await until(() => world.forwarder.inFlight === 0, 'none in flight')
  })

  it('to ask again is let go, by a GOAWAY', async () => {
    await using world = await startWorld(await hello(), { limits: quick })
    using client = await frameClient(world.port)
    client.greet()
    client.get(1)
    expect(await client.goaway()).toBe(constants.NGHTTP2_NO_ERROR)
    await client.untilClosed()
  })

  it('while the application is silent is not let go', async () => {
    await using world = await startWorld(
      await httpApp((_req, res) => void setTimeout(() => res.end('at last'), 1_500)),
      { limits: quick },
    )
    using client = await http2Client(world.port)
    expect(await client.ask()).toMatchObject({ status: 200, body: 'at last' })
  })
})

describe('a forwarder that drains', () => {
  it('closes an idle HTTP/2 connection at once', async () => {
    await using world = await startWorld(await hello())
    using client = await http2Client(world.port)
    await client.ask()
    await world.forwarder.drain()
    await until(() => client.closed, 'the end of the connection')
    expect(client.goaway).toBe(constants.NGHTTP2_NO_ERROR)
  })

  it('lets the streams of an HTTP/2 connection finish, takes no more, and then closes it', async () => {
    const held: (() => void)[] = []
    await using world = await startWorld(await httpApp((_req, res) => held.push(() => res.end('whole'))))
    using client = await http2Client(world.port)
    const replies = [client.ask(), client.ask()]
    await until(() => held.length === 2, 'two requests')
    let drained = false
    const drain = world.forwarder.drain().then(() => (drained = true))
    await until(() => client.goaway !== undefined, 'GOAWAY')
    expect(drained).toBe(false)
    for (const release of held) release()
    expect(await Promise.all(replies)).toMatchObject([
      { status: 200, body: 'whole', code: 0 },
      { status: 200, body: 'whole', code: 0 },
    ])
    await drain
    await until(() => client.closed, 'the end of the connection')
  })

  it('closes a connection whose client does not answer the goodbye', async () => {
    await using world = await startWorld(await hello(), { limits: { lingerMs: 100 } })
    using client = await frameClient(world.port)
    client.greet()
    await until(() => client.of(FRAME.settings).length > 0, 'SETTINGS')
    client.socket.pause()
    await world.forwarder.drain()
    expect(world.forwarder.connections).toBe(0)
  })

  it('lets in no connection that comes later', async () => {
    await using world = await startWorld(await hello())
    await world.forwarder.drain()
    using client = await frameClient(world.port)
    client.greet()
    await client.goaway()
    await client.untilClosed()
  })
})

describe('a connection of HTTP/2', () => {
  it('takes no more requests than it may', async () => {
    await using world = await startWorld(await hello(), { limits: { requestsPerConnection: 2 } })
    using client = await http2Client(world.port)
    expect(await Promise.all([client.ask(), client.ask()])).toMatchObject([{ status: 200 }, { status: 200 }])
    await until(() => client.closed, 'the end of the connection')
    expect(client.goaway).toBe(constants.NGHTTP2_NO_ERROR)
  })

  it('is cut off, its requests with it, when the forwarder is closed', async () => {
    await using world = await startWorld(await silent())
    using client = await http2Client(world.port)
    client.open()
    await until(() => world.app.sockets.size === 1, 'the request at the application')
    world.forwarder.close()
    await until(() => client.closed, 'the end of the connection')
  })

  it('refuses more streams at once than it has said', async () => {
    await using world = await startWorld(await silent(), { limits: { streams: 3 } })
    using client = await frameClient(world.port)
    client.greet()
    for (const stream of [1, 3, 5, 7]) {
      client.send(frame(FRAME.headers, END_HEADERS | END_STREAM, stream, block(...GET)))
    }
    await until(() => client.of(FRAME.reset, 7).length === 1, 'the refusal')
    expect(client.of(FRAME.reset, 7)[0]?.payload.readUInt32BE()).toBe(constants.NGHTTP2_REFUSED_STREAM)
    expect(world.forwarder.inFlight).toBe(3)
  })

  it('that is gone before it is served is no harm', async () => {
    await using world = await startWorld(await hello())
    using client = await frameClient(world.port)
    await until(
      () => world.sockets.size === 1,
      () =>
        `the connection ${world.sockets.size} ${client.closed} ${world.forwarder.connections} ${client.frames.length}`,
    )
    const [socket] = world.sockets
    client.socket.destroy()
    await until(() => world.forwarder.connections === 0, 'the end of the connection')
    if (socket !== undefined) world.forwarder.serve(socket)
    await until(() => world.forwarder.connections === 0, 'nothing kept')
  })
})
