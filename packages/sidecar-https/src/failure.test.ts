import { spawn } from 'node:child_process'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import {
  Application,
  ask,
  closedPort,
  exchangeRaw,
  httpApp,
  open,
  rawClient,
  reports,
  scriptedApp,
  startWorld,
  tcpApp,
  unaccepting,
  until,
} from './test-support.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

describe('an application that is not there', () => {
  test('is a 502 at once', async () => {
    const target = new URL(`http://127.0.0.1:${await closedPort()}`)
    await using world = await startWorld(await httpApp(() => undefined), { target })
    const { status, body } = await ask(world.port)
    expect([status, body]).toEqual([502, 'The application could not be reached.\n'])
    expect(await reports(world)).toMatchObject([
      { status: 502, outcome: 'upstream-failed', error: { code: 'ECONNREFUSED' } },
    ])
  })

  test('is a 502 under a name that does not resolve', async () => {
    await using world = await startWorld(await httpApp(() => undefined), {
      target: new URL('http://app.invalid'),
    })
    expect((await ask(world.port)).status).toBe(502)
  })

  test('is a 502 to a client that has a body to send, and its connection goes on', async () => {
    const app = await httpApp((_, res) => res.end('up'))
    const { port } = app
    await using world = await startWorld(app)
    await app[Symbol.asyncDispose]()
    using client = await rawClient(world.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n')
    await client.until('HTTP/1.1 502 ')
    await using _again = await new Application(createServer((_, res) => res.end('up'))).listen(port)
    client.socket.write(`hello${GET}`)
    await client.until('\r\n\r\nup')
    await world.sidecar[Symbol.asyncDispose]()
  })

  test.each([
    ['application/json', 'application/json'],
    ['application/problem+json, */*', 'application/json'],
    ['text/html', 'text/plain; charset=utf-8'],
    [undefined, 'text/plain; charset=utf-8'],
  ])('is told to a client that accepts %s in %s', async (accept, type) => {
    const target = new URL(`http://127.0.0.1:${await closedPort()}`)
    await using world = await startWorld(await httpApp(() => undefined), { target })
    const { headers, body } = await ask(world.port, '/', { headers: accept === undefined ? {} : { accept } })
    expect(headers).toMatchObject({ 'content-type': type, 'cache-control': 'no-store' })
    if (type === 'application/json')
      expect(JSON.parse(body)).toMatchObject({ status: 502, error: 'Bad Gateway' })
    expect(body).not.toMatch(/127\.0\.0\.1|ECONN/)
  })

  test('has no body in the answer to HEAD', async () => {
    const target = new URL(`http://127.0.0.1:${await closedPort()}`)
    await using world = await startWorld(await httpApp(() => undefined), { target })
    const answer = await exchangeRaw(world.port, 'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 502 .*\r\n\r\n$/s)
  })
})

describe('an application that is slow', () => {
  test('is a 504 at the deadline, and the request to it is cancelled', async () => {
    await using world = await startWorld(await httpApp(() => undefined), { responseTimeoutMs: 100 })
    const { status, body } = await ask(world.port)
    expect([status, body]).toEqual([504, 'The application did not respond in time.\n'])
    expect(await reports(world)).toMatchObject([{ status: 504, outcome: 'upstream-timeout' }])
    await until(() => world.app.connections === 0, 'the request is cancelled')
  })

  test('may take its time once its response has begun', async () => {
    await using world = await startWorld(
      await httpApp((_, res) => {
        res.write('begin ')
        setTimeout(() => res.end('end'), 400)
      }),
      { responseTimeoutMs: 100 },
    )
    expect((await ask(world.port)).body).toBe('begin end')
  })

  test('may take longer than a connection to it may be idle', async () => {
    const app = await httpApp((_, res) => {
      setTimeout(() => res.write('begin '), 200)
      setTimeout(() => res.end('end'), 400)
    })
    await using world = await startWorld(app, { limits: { poolIdleMs: 50 } })
    expect((await ask(world.port)).body).toBe('begin end')
    await until(() => app.connections === 0, 'the idle connection is closed')
  })

  test('is not blamed for a client that takes its time to send the body', async () => {
    await using world = await startWorld(await httpApp(async (req, res) => res.end(await text(req))), {
      responseTimeoutMs: 100,
    })
    using client = await rawClient(world.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n')
    for (const letter of 'body') {
      await new Promise((resolve) => setTimeout(resolve, 150))
      client.socket.write(letter)
    }
    await client.until('\r\n\r\nbody')
  })

  test('has its whole time from the last byte of the request', async () => {
    const app = await httpApp((req, res) => {
      req.resume().on('end', () => setTimeout(() => res.end('punctual'), 400))
    })
    await using world = await startWorld(app, { responseTimeoutMs: 600 })
    using client = await rawClient(world.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n')
    setTimeout(() => client.socket.write('body'), 400)
    await client.until('punctual')
  })

  test('is a 504 when it does not read the body', async () => {
    await using world = await startWorld(await tcpApp((socket) => socket.pause()), { responseTimeoutMs: 100 })
    using client = await rawClient(world.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n')
    client.socket.write(Buffer.alloc(32 * 1024 * 1024))
    await client.until('HTTP/1.1 504 ')
    client.socket.destroy()
    for (const socket of world.app.sockets) socket.resume()
  })

  test('to accept a connection is a 504 at that deadline', async () => {
    await using app = await unaccepting()
    const target = new URL(`http://127.0.0.1:${app.port}`)
    await using world = await startWorld(await httpApp(() => undefined), { target, connectTimeoutMs: 200 })
    expect((await ask(world.port)).status).toBe(504)
    const [report] = await reports(world)
    expect(report).toMatchObject({
      outcome: 'upstream-timeout',
      error: { message: 'no connection within 200 ms' },
    })
  })
})

describe('an application that breaks off', () => {
  const BROKEN = [
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart'],
    ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n'],
    ['half a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\npart'],
  ] as const

  test.each(BROKEN)('in a body of %s never looks like the end of it', async (_, response) => {
    for (const then of ['end', 'destroy'] as const) {
      await using world = await startWorld(await scriptedApp(response, then))
      await expect(ask(world.port)).rejects.toThrow(/aborted/)
      expect(await reports(world)).toMatchObject([{ status: 200, outcome: 'upstream-failed' }])
    }
  })

  // The end of the connection is the end of the body for such a client: only the TLS layer can tell the two apart.
  test.each([
    ['without the goodbye of TLS to a client of HTTP/1.0', 'destroy', true],
    ['as opposed to one that ends, which says goodbye', 'end', false],
  ] as const)('is passed on %s', async (_, then, cut) => {
    const body = cut ? '4\r\npart\r\n' : '4\r\npart\r\n0\r\n\r\n'
    const app = await scriptedApp(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`, then)
    await using world = await startWorld(app)
    const client = spawn('openssl', ['s_client', '-quiet', '-connect', `127.0.0.1:${world.port}`])
    client.stdin.write('GET / HTTP/1.0\r\n\r\n')
    const [received, complaint] = await Promise.all([text(client.stdout), text(client.stderr)])
    expect(received).toMatch(/\r\n\r\npart$/)
    expect(complaint.includes('unexpected eof')).toBe(cut)
  })

  test.each([
    ['before a byte', ''],
    ['in the head', 'HTTP/1.1 200 OK\r\nContent-Le'],
  ])('%s is a 502', async (_, bytes) => {
    await using world = await startWorld(
      await tcpApp((socket) => socket.once('data', () => socket.end(bytes))),
    )
    expect((await ask(world.port)).status).toBe(502)
  })

  test('is a 502 also to a client that is still sending', async () => {
    await using world = await startWorld(
      await tcpApp((socket) => socket.once('data', () => socket.destroy())),
    )
    using client = await rawClient(world.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n')
    await client.until('HTTP/1.1 502 ')
    client.socket.write('3\r\nend\r\n0\r\n\r\n')
    await until(() => world.sidecar.inFlight === 0, 'the request ended')
    expect(world.sidecar.openConnections).toBe(1)
  })
})

describe('an application that does not speak HTTP properly', () => {
  test.each([
    ['nonsense', '220 mail.test ESMTP\r\n'],
    ['a status without a number', 'HTTP/1.1 abc OK\r\n\r\n'],
    ['a status below 100', 'HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n'],
    ['a control character in its reason', 'HTTP/1.1 200 a\x01b\r\nContent-Length: 0\r\n\r\n'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok'],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    [
      'a switch nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
    ],
    ['a head without end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}`],
  ])('(%s) is a 502', async (_, response) => {
    await using world = await startWorld(await scriptedApp(response))
    const { status } = await ask(world.port)
    expect(status).toBe(502)
    expect(await reports(world)).toMatchObject([{ status: 502, outcome: 'upstream-failed' }])
  })

  test('(one response too many) gives no client the response of another', async () => {
    const twice = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright'
    let late: Socket | undefined
    const app = await tcpApp((socket) =>
      socket.on('data', () => {
        late ??= socket
        socket.write(twice)
      }),
    )
    await using world = await startWorld(app)
    expect((await ask(world.port)).body).toBe('right')
    late?.write(twice.replace('right', 'wrong'))
    await until(() => late?.destroyed === true, 'the connection is given up')
    expect((await ask(world.port)).body).toBe('right')
  })

  test('(two responses at once) gives no client the response of another', async () => {
    const [right, wrong] = ['right', 'wrong'].map(
      (word) => `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n${word}`,
    )
    await using world = await startWorld(await scriptedApp(`${right}${wrong}`))
    for (let count = 0; count < 3; count += 1) {
      const body = await ask(world.port).then(
        (reply) => reply.body,
        () => 'cut',
      )
      expect(body).not.toBe('wrong')
    }
  })
})

describe('a kept connection that the application closes as we use it', () => {
  /** Answers the first request of each connection, and closes at the second without an answer. */
  function forgetful(): Promise<Application> {
    return tcpApp((socket) => {
      let requests = 0
      socket.on('data', () => {
        requests += 1
        if (requests > 1) socket.destroy()
        else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      })
    })
  }

  test.each(['GET', 'HEAD', 'OPTIONS', 'DELETE', 'PUT'])(
    'costs %s nothing: it is sent once more',
    async (method) => {
      await using world = await startWorld(await forgetful())
      expect((await ask(world.port)).status).toBe(200)
      expect((await ask(world.port, '/', { method, headers: { 'Content-Length': 0 } })).status).toBe(200)
      expect(world.app.accepted).toBe(2)
      expect(world.requests.map(({ outcome }) => outcome)).toEqual(['complete', 'complete'])
    },
  )

  test('costs POST a 502, because it may have been done', async () => {
    await using world = await startWorld(await forgetful())
    await ask(world.port)
    expect((await ask(world.port, '/', { method: 'POST' })).status).toBe(502)
    expect(world.app.accepted).toBe(1)
  })

  test('costs a request with a body a 502, because the body is gone', async () => {
    await using world = await startWorld(await forgetful())
    await ask(world.port)
    expect((await ask(world.port, '/', { method: 'PUT', body: 'x' })).status).toBe(502)
    expect(world.app.accepted).toBe(1)
  })

  test('is no reason to repeat when a part of the response has come', async () => {
    let requests = 0
    const app = await tcpApp((socket) =>
      socket.on('data', () => {
        requests += 1
        if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        else socket.end('HTTP/1.1 200')
      }),
    )
    await using world = await startWorld(app)
    await ask(world.port)
    expect((await ask(world.port)).status).toBe(502)
    expect(requests).toBe(2)
  })

  test('is sent once more only once', async () => {
    let requests = 0
    const app = await tcpApp((socket) =>
      socket.on('data', () => {
        requests += 1
        if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        else socket.destroy()
      }),
    )
    await using world = await startWorld(app)
    await ask(world.port)
    expect((await ask(world.port)).status).toBe(502)
    expect(requests).toBe(3)
  })

  test('costs nothing when the application has been restarted', async () => {
    const listener = (_: IncomingMessage, res: ServerResponse) => void res.end('ok')
    const app = await httpApp(listener)
    const { port } = app
    await using world = await startWorld(app)
    await Promise.all(Array.from({ length: 8 }, () => ask(world.port)))
    await app[Symbol.asyncDispose]()
    await using again = await new Application(createServer(listener)).listen(port)
    const replies = await Promise.all(Array.from({ length: 8 }, () => ask(world.port)))
    expect(replies.map(({ status }) => status)).toEqual(Array(8).fill(200))
    await world.sidecar[Symbol.asyncDispose]()
    await until(() => again.connections === 0, 'no connection is left')
  })
})

test('a client that reads nothing is cut off after a while', async () => {
  await using world = await startWorld(
    await httpApp((_, res) => {
      const more = (): void => {
        while (!res.destroyed && res.write(Buffer.alloc(65_536)));
        res.once('drain', more)
      }
      more()
    }),
    { limits: { stallMs: 300 } },
  )
  const response = await open(world.port)
  response.on('error', () => undefined)
  response.pause()
  expect(await reports(world)).toMatchObject([
    { status: 200, outcome: 'client-aborted', error: { message: /stalled/ } },
  ])
})

test('a client that stops in the middle of its body gets 408 after a while', async () => {
  await using world = await startWorld(await httpApp(() => undefined), { limits: { stallMs: 100 } })
  using client = await rawClient(world.port)
  client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo')
  await client.until('HTTP/1.1 408 ')
  await client.untilClosed()
  expect(await reports(world)).toMatchObject([{ status: 408, outcome: 'refused' }])
})

test('a client that waits for a silent stream is not cut off', async () => {
  let res: ServerResponse | undefined
  await using world = await startWorld(
    await httpApp((_, response) => {
      res = response
      response.write('begin ')
    }),
    { limits: { stallMs: 50 } },
  )
  const response = await open(world.port)
  await new Promise((resolve) => setTimeout(resolve, 300))
  res?.end('end')
  expect(await text(response)).toBe('begin end')
})
