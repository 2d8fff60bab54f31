import type { Socket } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createUpstream } from './index.ts'
import {
  httpApp,
  onHeads,
  parseResponses,
  rawClient,
  sendSplit,
  startProxy,
  tcpApp,
  until,
} from './test-support.ts'

/** Says back what it was sent, by length or by chunks. */
const echoApp = () =>
  httpApp((req, res) => {
    const pieces: Buffer[] = []
    req.on('data', (piece: Buffer) => pieces.push(piece))
    req.on('end', () => {
      const body = Buffer.concat(pieces)
      if (body.length % 2 === 0)
        res.setHeader('Content-Length', Buffer.byteLength(`${req.url}=`) + body.length)
      res.setHeader('X-Token', req.url ?? '')
      res.write(Buffer.from(`${req.url}=`))
      res.end(body)
    })
  })

// Bodies that would be requests and responses if they were read as such.
const content = fc.oneof(
  fc.constant(''),
  fc.string({ unit: fc.nat(255).map((byte) => String.fromCharCode(byte)), maxLength: 300 }),
  fc.constantFrom(
    'GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nstolen!',
    '0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n',
    '\r\n\r\n',
  ),
  fc.integer({ min: 5_000, max: 200_000 }).map((size) => 'z'.repeat(size)),
)
const message = fc.record({
  method: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE'),
  body: content,
  chunk: fc.nat(100),
  gap: fc.constantFrom('', '\r\n', '\r\n\r\n'),
})
const client = fc.record({
  messages: fc.array(message, { minLength: 2, maxLength: 6 }),
  cuts: fc.array(fc.nat(1_500), { maxLength: 8 }),
})

interface Message {
  method: string
  body: string
  chunk: number
  gap: string
}

function bytesOf({ method, body, chunk, gap }: Message, token: string, last: boolean): string {
  let text = `${gap}${method} ${token} HTTP/1.1\r\nHost: a\r\n${last ? 'Connection: close\r\n' : ''}`
  if (body === '') return `${text}\r\n`
  if (chunk === 0) return `${text}Content-Length: ${body.length}\r\n\r\n${body}`
  text += 'Transfer-Encoding: chunked\r\n\r\n'
  const size = Math.max(chunk, Math.ceil(body.length / 20))
  for (let at = 0; at < body.length; at += size) {
    const piece = body.slice(at, at + size)
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`
  }
  return `${text}0\r\n\r\n`
}

test('each of many requests on many connections gets its own response, whatever they carry and wherever they are cut', async () => {
  await using app = await echoApp()
  await using proxy = await startProxy({ route: () => ({ upstream: upstream }) })
  const upstream = app.upstream
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(client, { minLength: 1, maxLength: 5 }), async (clients) => {
      run += 1
      await Promise.all(
        clients.map(async ({ messages, cuts }, number) => {
          const tokens = messages.map((_, index) => `/run${run}/client${number}/${index}`)
          const text = messages.map((message, index) =>
            bytesOf(message, tokens[index] ?? '', index === messages.length - 1),
          )
          using raw = await rawClient(proxy.port)
          await sendSplit(raw.socket, text.join(''), cuts)
          await raw.untilClosed()
          const methods = messages.map(({ method }) => method)
          const responses = parseResponses(raw.received, methods)
          expect(responses.map(({ headers }) => headers.get('x-token'))).toEqual(tokens)
          for (const [index, { method, body }] of messages.entries())
            expect(responses[index]?.body).toBe(method === 'HEAD' ? '' : `${tokens[index]}=${body}`)
        }),
      )
    }),
    { numRuns: 60 },
  )
}, 60_000)

// --- an application that does what it should not

const FAKE = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSTOLEN'
const OK = 'HTTP/1.1 200 OK\r\n'

const right = (token: string, socket: Socket) =>
  void socket.write(`${OK}Content-Length: ${token.length}\r\n\r\n${token}`)

/** By what an application answers a request, each in one write. */
const DEEDS: Record<string, (token: string, socket: Socket) => void> = {
  right,
  chunks: (token, socket) =>
    socket.write(
      `${OK}Transfer-Encoding: chunked\r\n\r\n${token.length.toString(16)}\r\n${token}\r\n0\r\n\r\n`,
    ),
  twoResponses: (token, socket) =>
    socket.write(`${OK}Content-Length: ${token.length}\r\n\r\n${token}${FAKE}`),
  manyResponses: (token, socket) =>
    socket.write(`${OK}Content-Length: ${token.length}\r\n\r\n${token}${FAKE.repeat(5_000)}`),
  surplus: (token, socket) => socket.write(`${OK}Content-Length: ${token.length}\r\n\r\n${token}STOLEN`),
  surplusLine: (token, socket) => socket.write(`${OK}Content-Length: ${token.length}\r\n\r\n${token}\r\n`),
  behindChunks: (token, socket) =>
    socket.write(
      `${OK}Transfer-Encoding: chunked\r\n\r\n${token.length.toString(16)}\r\n${token}\r\n0\r\n\r\n${FAKE}`,
    ),
  emptyThenBody: (token, socket) =>
    socket.write(`${OK}X-Token: ${token}\r\nContent-Length: 0\r\n\r\n${FAKE}`),
  noContent: (token, socket) => socket.write(`HTTP/1.1 204 No Content\r\nX-Token: ${token}\r\n\r\n${FAKE}`),
  noContentWithLength: (token, socket) =>
    socket.write(
      `HTTP/1.1 204 No Content\r\nX-Token: ${token}\r\nContent-Length: ${FAKE.length}\r\n\r\n${FAKE}`,
    ),
  notModified: (token, socket) =>
    socket.write(
      `HTTP/1.1 304 Not Modified\r\nX-Token: ${token}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${FAKE}`,
    ),
  notModifiedWithLength: (token, socket) =>
    socket.write(`HTTP/1.1 304 Not Modified\r\nX-Token: ${token}\r\nContent-Length: 99\r\n\r\n`),
  bodyBehindNoContent: (token, socket) => {
    socket.write(`HTTP/1.1 204 No Content\r\nX-Token: ${token}\r\nContent-Length: ${FAKE.length}\r\n\r\n`)
    // What it has announced comes when it looks like the next response.
    socket.removeAllListeners('data').on('data', () => socket.write(FAKE))
  },
  cutShort: (token, socket) => socket.end(`${OK}Content-Length: ${token.length + 9}\r\n\r\n${token}`),
  cutHead: (token, socket) => socket.end(`${OK}X-Token: ${token}\r\nContent-Le`),
  cutChunks: (token, socket) => socket.end(`${OK}Transfer-Encoding: chunked\r\n\r\nff\r\n${token}`),
  untilEnd: (token, socket) => socket.end(`${OK}\r\n${token}`),
  interimFirst: (token, socket) =>
    socket.write(
      `HTTP/1.1 103 Early Hints\r\nLink: </${token}>\r\n\r\n${OK}Content-Length: ${token.length}\r\n\r\n${token}`,
    ),
  interimWithBody: (token, socket) =>
    socket.write(
      `HTTP/1.1 103 Early Hints\r\nContent-Length: 6\r\n\r\nSTOLEN${OK}Content-Length: ${token.length}\r\n\r\n`,
    ),
  onlyInterims: (_, socket) => socket.end('HTTP/1.1 100 Continue\r\n\r\n'.repeat(100)),
  twoLengths: (token, socket) =>
    socket.write(`${OK}Content-Length: ${token.length}\r\nContent-Length: 0\r\n\r\n${token}`),
  lengthAndChunks: (_, socket) =>
    socket.write(`${OK}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${FAKE}`),
  switched: (_, socket) =>
    socket.write(`HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n${FAKE}`),
  nothing: (_, socket) => socket.destroy(),
  slow: (token, socket) => {
    const text = `${OK}Content-Length: ${token.length}\r\n\r\n${token}`
    socket.write(text.slice(0, 20))
    setTimeout(() => socket.write(text.slice(20)), 3)
  },
}

/** Heads say in their path what is to be done: `/deed/token`. */
const evilApp = () =>
  tcpApp((socket) => {
    onHeads(socket, (head) => {
      const [, deed = '', token = ''] = /^\S+ \/(\w+)\/(\S+) /.exec(head) ?? []
      DEEDS[deed]?.(token, socket)
    })
  })

describe('from an application that says too much, too little or nonsense', () => {
  test('no client gets a byte of what is meant for another, nor of what is meant for none', async () => {
    await using app = await evilApp()
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    const asked = fc.record({
      deed: fc.constantFrom(...Object.keys(DEEDS)),
      method: fc.constantFrom('GET', 'GET', 'POST', 'HEAD'),
    })
    let run = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(asked, { minLength: 1, maxLength: 6 }), { minLength: 2, maxLength: 8 }),
        async (clients) => {
          run += 1
          await Promise.all(
            clients.map(async (requests, number) => {
              const own = `T${run}x${number}`
              const text = requests.map(({ deed, method }, index) => {
                const close = index === requests.length - 1 ? 'Connection: close\r\n' : ''
                const length = method === 'POST' ? 'Content-Length: 0\r\n' : ''
                return `${method} /${deed}/${own}x${index}x HTTP/1.1\r\nHost: a\r\n${length}${close}\r\n`
              })
              using raw = await rawClient(proxy.port)
              raw.send(text.join(''))
              await raw.untilClosed()
              expect(raw.received).not.toContain('STOLEN')
              let latest = -1
              for (const [, run, client, index] of raw.received.matchAll(/T(\d+)x(\d+)x(\d+)x/g)) {
                expect(`T${run}x${client}`).toBe(own)
                expect(Number(index)).toBeGreaterThanOrEqual(latest)
                latest = Number(index)
              }
            }),
          )
        },
      ),
      { numRuns: 100 },
    )
    await until(() => proxy.forwarder.inFlight === 0, 'the end of all requests')
  }, 60_000)

  test.each(Object.keys(DEEDS))('(%s) the next request is answered right', async (deed) => {
    await using app = await evilApp()
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    for (const method of ['GET', 'HEAD', 'POST']) {
      using first = await rawClient(proxy.port)
      first.send(`${method} /${deed}/first HTTP/1.1\r\nHost: a\r\n\r\n`)
      await until(() => proxy.requests.length > 0, 'the end of the first request')
      proxy.requests.length = 0
      using second = await rawClient(proxy.port)
      second.send('GET /right/second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      await second.untilClosed()
      expect(parseResponses(second.received, ['GET'])).toMatchObject([{ status: 200, body: 'second' }])
      proxy.requests.length = 0
    }
  })

  test.each(Object.keys(DEEDS).filter((deed) => !['cutShort', 'cutChunks'].includes(deed)))(
    '(%s) the request behind it in the same packet is answered right',
    async (deed) => {
      await using app = await evilApp()
      const { upstream } = app
      await using proxy = await startProxy({ route: () => ({ upstream }) })
      using raw = await rawClient(proxy.port)
      raw.send(`GET /${deed}/first HTTP/1.1\r\nHost: a\r\n\r\n`)
      raw.send('GET /right/second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      await raw.untilClosed()
      const [, second] = parseResponses(raw.received, ['GET', 'GET'])
      expect(second).toMatchObject({ status: 200, body: 'second' })
    },
  )

  test.each([FAKE, 'x', 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n'])(
    'and a connection on which it says %j unasked is not used again',
    async (late) => {
      await using app = await evilApp()
      // It is not for its age that the connection goes.
      const upstream = createUpstream(`http://127.0.0.1:${app.port}`, { idleMs: 60_000 })
      await using proxy = await startProxy({ route: () => ({ upstream }) })
      using raw = await rawClient(proxy.port)
      raw.send('GET /right/first HTTP/1.1\r\nHost: a\r\n\r\n')
      await raw.until('first')
      expect(app.sockets.size).toBe(1)
      for (const socket of app.sockets) socket.write(late)
      await until(() => app.sockets.size === 0, 'the end of that connection')
      raw.send('GET /right/second HTTP/1.1\r\nHost: a\r\n\r\n')
      await raw.until('second')
      expect(parseResponses(raw.received, ['GET', 'GET'], false).map(({ body }) => body)).toEqual([
        'first',
        'second',
      ])
      expect(app.accepted).toBe(2)
    },
  )
})

describe('a connection to the application is not used again', () => {
  const OWN = 'GET /own HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n'

  test('when its client has left in the middle of a body', async () => {
    await using app = await echoApp()
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    for (const framing of ['Content-Length: 99', 'Transfer-Encoding: chunked']) {
      using raw = await rawClient(proxy.port)
      raw.send(`POST /lost HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n8\r\nGET /`)
      await until(() => app.sockets.size === 1, 'the request at the application')
      raw.socket.destroy()
      await until(() => proxy.forwarder.connections === 0, 'the end of the client')
      using other = await rawClient(proxy.port)
      other.send(OWN)
      await other.untilClosed()
      expect(parseResponses(other.received, ['GET'])).toMatchObject([{ body: '/own=' }])
    }
  })

  test('when the response has come before the end of the request', async () => {
    await using app = await httpApp((req, res) => res.end(`${req.url?.slice(1)}`))
    const { upstream } = app
    await using proxy = await startProxy({ route: () => ({ upstream }) })
    using raw = await rawClient(proxy.port)
    raw.send('POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 46\r\n\r\n')
    await raw.until('early')
    raw.send('GET /smuggled HTTP/1.1\r\nHost: evil\r\nX: abcdef\r\n\r\n')
    raw.send('GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    await raw.untilClosed()
    expect(raw.received).not.toContain('smuggled')
    using other = await rawClient(proxy.port)
    other.send(OWN)
    await other.untilClosed()
    expect(parseResponses(other.received, ['GET'])).toMatchObject([{ body: 'own' }])
  })
})
