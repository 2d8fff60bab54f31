import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import { request } from 'node:https'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { ask, httpApp, open, rawClient, reports, settled, startWorld, tcpApp, until } from './test-support.ts'

const MIB = 1024 * 1024
/** What kernel, TLS and stream buffers of four sockets on loopback may hold of a body that nobody reads. */
const BUFFERED = 24 * MIB

function post(port: number, headers: Record<string, string | number> = {}): ClientRequest {
  const outgoing = request({
    host: '127.0.0.1',
    port,
    method: 'POST',
    headers,
    rejectUnauthorized: false,
    agent: false,
  })
  outgoing.on('error', () => undefined)
  return outgoing
}

async function responseTo(outgoing: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return response
}

/** Writes 64 MiB as fast as they are taken, and counts. */
function pour(into: ClientRequest | ServerResponse, count: (bytes: number) => void): void {
  const chunk = Buffer.alloc(64 * 1024)
  let left = 1024
  const more = () => {
    while (left > 0 && !into.destroyed) {
      left -= 1
      count(chunk.length)
      if (!into.write(chunk)) return void into.once('drain', more)
    }
    if (left === 0) into.end()
  }
  more()
}

describe('a response', () => {
  test('begins at the client before the application has written a byte of its body', async () => {
    let res: ServerResponse | undefined
    await using world = await startWorld(
      await httpApp((_, response) => {
        res = response
        response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders()
      }),
    )
    const response = await open(world.port)
    expect(response.headers['content-type']).toBe('text/event-stream')
    res?.end('data: 1\n\n')
    expect(await text(response)).toBe('data: 1\n\n')
  })

  test('arrives event by event, each as soon as it is written', async () => {
    let res: ServerResponse | undefined
    await using world = await startWorld(
      await httpApp((_, response) => {
        res = response
        response.write('data: 0\n\n')
      }),
    )
    const response = (await open(world.port)).setEncoding('utf8')
    for (let count = 0; count < 5; count += 1) {
      expect(await once(response, 'data')).toEqual([`data: ${count}\n\n`])
      if (count < 4) res?.write(`data: ${count + 1}\n\n`)
    }
    res?.end()
    await once(response, 'end')
  })

  test('is written by the application no faster than the client reads it', async () => {
    let written = 0
    await using world = await startWorld(await httpApp((_, res) => pour(res, (bytes) => (written += bytes))))
    const response = await open(world.port)
    response.pause()
    expect(await settled(() => written)).toBeLessThan(BUFFERED)
    let read = 0
    for await (const chunk of response) read += (chunk as Buffer).length
    expect(read).toBe(64 * MIB)
  })

  test('of many mebibytes arrives byte for byte', async () => {
    const content = randomBytes(8 * MIB)
    await using world = await startWorld(await httpApp((_, res) => res.end(content)))
    const hash = createHash('sha256')
    for await (const chunk of await open(world.port)) hash.update(chunk as Buffer)
    expect(hash.digest('hex')).toBe(createHash('sha256').update(content).digest('hex'))
  })

  test('has its trailers at the end, without what a trailer may not say', async () => {
    await using world = await startWorld(
      await httpApp((_, res) => {
        res.writeHead(200, { Trailer: 'X-Sum' }).write('content')
        res.addTrailers({ 'X-Sum': '42', Connection: 'close' })
        res.end()
      }),
    )
    const { body, trailers } = await ask(world.port)
    expect([body, trailers]).toEqual(['content', { 'x-sum': '42' }])
  })
})

describe('a request', () => {
  test.each([{ 'Content-Length': 10 }, { 'Transfer-Encoding': 'chunked' }])(
    'with %o reaches the application before its end',
    async (headers) => {
      const app = await httpApp((req, res) => {
        req.once('data', (chunk: Buffer) => res.write(`[${chunk}]`))
        req.once('end', () => res.end('end'))
      })
      await using world = await startWorld(app)
      const outgoing = post(world.port, headers)
      outgoing.write('first')
      const response = (await responseTo(outgoing)).setEncoding('utf8')
      expect(await once(response, 'data')).toEqual(['[first]'])
      outgoing.end('later')
      expect(await text(response)).toBe('end')
    },
  )

  test('and its response may flow at the same time', async () => {
    await using world = await startWorld(await httpApp((req, res) => void req.pipe(res)))
    const outgoing = post(world.port)
    outgoing.write('0')
    const response = (await responseTo(outgoing)).setEncoding('utf8')
    for (let count = 0; count < 5; count += 1) {
      expect(await once(response, 'data')).toEqual([`${count}`])
      if (count < 4) outgoing.write(`${count + 1}`)
    }
    outgoing.end()
    await once(response, 'end')
  })

  test('is sent by the client no faster than the application reads it', async () => {
    let sent = 0
    let req: IncomingMessage | undefined
    const app = await httpApp((incoming, res) => {
      req = incoming
      incoming.pause()
      incoming.once('end', () => res.end('all'))
    })
    await using world = await startWorld(app)
    const outgoing = post(world.port)
    pour(outgoing, (bytes) => (sent += bytes))
    expect(await settled(() => sent)).toBeLessThan(BUFFERED)
    let read = 0
    req?.on('data', (chunk: Buffer) => (read += chunk.length)).resume()
    expect(await text(await responseTo(outgoing))).toBe('all')
    expect(read).toBe(64 * MIB)
  })

  test('of many mebibytes arrives byte for byte', async () => {
    const content = randomBytes(8 * MIB)
    await using world = await startWorld(
      await httpApp(async (req, res) => {
        const hash = createHash('sha256')
        for await (const chunk of req) hash.update(chunk as Buffer)
        res.end(hash.digest('hex'))
      }),
    )
    const { body } = await ask(world.port, '/', { method: 'PUT', body: content })
    expect(body).toBe(createHash('sha256').update(content).digest('hex'))
  })

  test('has its trailers at the end, without what the application would believe', async () => {
    await using world = await startWorld(
      await httpApp(async (req, res) => res.end(JSON.stringify([await text(req), req.trailers]))),
    )
    const outgoing = post(world.port, { Trailer: 'X-Sum' })
    outgoing.write('content')
    outgoing.addTrailers({ 'X-Sum': '42', 'X-Forwarded-For': '6.6.6.6' })
    outgoing.end()
    expect(JSON.parse(await text(await responseTo(outgoing)))).toEqual(['content', { 'x-sum': '42' }])
  })
})

describe('Expect: 100-continue', () => {
  const EXPECTING = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n'

  test('waits for the application to ask for the body', async () => {
    const app = await httpApp(async (req, res) => res.end(await text(req)))
    let expected: (() => void) | undefined
    app.server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
      expected = () => {
        res.writeContinue()
        app.server.emit('request', req, res)
      }
    })
    await using world = await startWorld(app)
    using client = await rawClient(world.port)
    client.socket.write(EXPECTING)
    await until(() => expected !== undefined, 'the head at the application')
    expect(client.received).toBe('')
    expected?.()
    await client.until('HTTP/1.1 100 Continue\r\n\r\n')
    client.socket.write('content')
    await client.until('\r\n\r\ncontent')
  })

  test('is answered by the application without the body', async () => {
    const app = await httpApp(() => undefined)
    app.server.on('checkContinue', (_, res: ServerResponse) => res.writeHead(413).end('too large'))
    await using world = await startWorld(app)
    using client = await rawClient(world.port)
    client.socket.write(EXPECTING)
    await client.until('too large')
    expect(client.received).toMatch(/^HTTP\/1\.1 413 /)
    // The body was never asked for, so nobody can tell what the next bytes are.
    await client.untilClosed()
  })

  test('of a silent application ends in 504 at the deadline', async () => {
    await using world = await startWorld(await tcpApp((socket) => socket.resume()), {
      responseTimeoutMs: 100,
    })
    using client = await rawClient(world.port)
    client.socket.write(EXPECTING)
    await client.until('HTTP/1.1 504 ')
  })

  test('of something else is refused', async () => {
    await using world = await startWorld(await httpApp((_, res) => res.end()))
    expect((await ask(world.port, '/', { headers: { Expect: 'miracles' } })).status).toBe(417)
    expect(world.app.accepted).toBe(0)
  })
})

describe('an answer that comes before the request has ended', () => {
  test('is delivered, and the connection goes on behind the rest of the body', async () => {
    await using world = await startWorld(
      await httpApp((req, res) => {
        if (req.method === 'GET') res.end('next')
        else res.writeHead(413, { 'Content-Length': 9 }).end('too large')
      }),
    )
    using client = await rawClient(world.port)
    client.socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${8 * MIB}\r\n\r\n`)
    await client.until('too large')
    client.socket.write(Buffer.alloc(8 * MIB))
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.until('next')
    expect(world.requests[0]).toMatchObject({ status: 413, outcome: 'complete' })
  })

  test('is delivered also when the application stops reading, and closes', async () => {
    let finish = () => {}
    const app = await tcpApp((socket) => {
      socket.once('data', () => {
        socket.pause()
        socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo ')
        finish = () => {
          socket.write('large')
          socket.resetAndDestroy()
        }
      })
    })
    await using world = await startWorld(app)
    using client = await rawClient(world.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin')
    await client.until('too ')
    // Had this still gone to the application, the write would have failed before the rest of the answer is read.
    client.socket.write(Buffer.alloc(1_000))
    finish()
    await client.until('large')
    expect(await reports(world)).toMatchObject([{ status: 413, outcome: 'complete' }])
  })

  test('does not let its sender go on for ever', async () => {
    await using world = await startWorld(await httpApp((_, res) => res.writeHead(413).end()), {
      limits: { lingerMs: 100 },
    })
    using client = await rawClient(world.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin')
    await client.until('HTTP/1.1 413 ')
    await client.untilClosed()
    await until(() => world.app.connections === 0, 'the half-sent request is given up')
  })
})

describe('a client that leaves', () => {
  test('before the response cancels the request to the application', async () => {
    let left = false
    await using world = await startWorld(await httpApp((_, res) => res.on('close', () => (left = true))))
    using client = await rawClient(world.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => world.app.connections === 1, 'the request at the application')
    client.socket.destroy()
    await until(() => left, 'the application notices')
    expect(await reports(world)).toMatchObject([{ status: 499, outcome: 'client-aborted' }])
  })

  test('in the middle of the response cancels it', async () => {
    let left = false
    await using world = await startWorld(
      await httpApp((_, res) => res.on('close', () => (left = true)).write('data: 1\n\n')),
    )
    const response = await open(world.port)
    response.destroy()
    await until(() => left, 'the application notices')
    expect(await reports(world)).toMatchObject([{ status: 200, outcome: 'client-aborted' }])
  })

  test('in the middle of its request is not taken for one that ended it', async () => {
    let outcome = ''
    await using world = await startWorld(
      await httpApp((req) => {
        text(req).then(
          () => (outcome = 'whole'),
          () => (outcome = 'cut'),
        )
      }),
    )
    const outgoing = post(world.port, { 'Transfer-Encoding': 'chunked' })
    outgoing.write('begin')
    await until(() => world.app.connections === 1, 'the request at the application')
    outgoing.destroy()
    await until(() => outcome !== '', 'the application notices')
    expect(outcome).toBe('cut')
  })

  test('by ending its half of the connection counts as gone', async () => {
    await using world = await startWorld(await httpApp(() => undefined))
    using client = await rawClient(world.port, { allowHalfOpen: true })
    client.socket.end('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(await reports(world)).toMatchObject([{ status: 499, outcome: 'client-aborted' }])
  })

  test('takes its pipelined requests along', async () => {
    await using world = await startWorld(await httpApp(() => undefined))
    using client = await rawClient(world.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(3))
    await until(() => world.app.accepted === 1, 'the first request at the application')
    client.socket.destroy()
    await until(() => world.sidecar.inFlight === 0, 'none in hand')
    expect(world.app.accepted).toBe(1)
  })
})
