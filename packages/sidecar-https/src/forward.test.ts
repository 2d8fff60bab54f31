import type { IncomingMessage, ServerResponse } from 'node:http'
import { Agent } from 'node:https'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import {
  ask,
  exchangeRaw,
  httpApp,
  rawClient,
  reports,
  scriptedApp,
  startWorld,
  until,
} from './test-support.ts'

/** Answers with what it saw. */
async function echo(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const body = await text(req)
  res.end(
    JSON.stringify({
      method: req.method,
      url: req.url,
      rawHeaders: req.rawHeaders,
      trailers: req.trailers,
      body,
    }),
  )
}

interface Seen {
  method: string
  url: string
  rawHeaders: string[]
  trailers: Record<string, string>
  body: string
}

const seenIn = (body: string): Seen => JSON.parse(body) as Seen

function values(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name)
}

describe('requests', () => {
  test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])(
    '%s passes with its body',
    async (method) => {
      await using world = await startWorld(await httpApp(echo))
      const { status, body } = await ask(world.port, '/a/b?c=%20d&e', {
        method,
        body: 'content',
        headers: { 'Content-Length': 7 },
      })
      expect(status).toBe(200)
      expect(seenIn(body)).toMatchObject({ method, url: '/a/b?c=%20d&e', body: 'content' })
    },
  )

  test.each(['GET', 'POST', 'DELETE'])('%s passes with a chunked body', async (method) => {
    await using world = await startWorld(await httpApp(echo))
    const { body } = await ask(world.port, '/', {
      method,
      body: 'content',
      headers: { 'Transfer-Encoding': 'chunked' },
    })
    expect(seenIn(body)).toMatchObject({ method, body: 'content' })
  })

  test.each(['GET', 'POST', 'DELETE'])('%s passes without a body, and stays without', async (method) => {
    await using world = await startWorld(await httpApp(echo))
    const answer = await exchangeRaw(
      world.port,
      `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    )
    const { rawHeaders, body } = seenIn(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1))
    expect(body).toBe('')
    expect(values(rawHeaders, 'transfer-encoding')).toEqual([])
    expect(values(rawHeaders, 'content-length')).toEqual(method === 'POST' ? ['0'] : [])
  })

  test('HEAD has the head of a GET and no body', async () => {
    await using world = await startWorld(
      await httpApp((_, res) => res.setHeader('Content-Length', 5).end('hello')),
    )
    const { status, headers, body } = await ask(world.port, '/', { method: 'HEAD' })
    expect([status, headers['content-length'], body]).toEqual([200, '5', ''])
  })

  test.each([204, 304])('%d passes without a body, and the connection goes on', async (code) => {
    await using world = await startWorld(
      await httpApp((req, res) =>
        req.url === '/next' ? res.end('next') : res.writeHead(code, { ETag: '"x"' }).end(),
      ),
    )
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const first = await ask(world.port, '/', { agent })
    expect([first.status, first.headers.etag, first.body]).toEqual([code, '"x"', ''])
    expect((await ask(world.port, '/next', { agent })).body).toBe('next')
    expect(world.sidecar.openConnections).toBe(1)
    agent.destroy()
  })

  test.each(['//a//../b', '/%2e%2E/%00?x=[]{}|\\^`"<>', '/a;b=c#d', '/?'])(
    'the target %s is passed on byte for byte',
    async (target) => {
      await using world = await startWorld(await httpApp(echo))
      const answer = await exchangeRaw(
        world.port,
        `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      )
      expect(answer).toContain(`"url":${JSON.stringify(target)}`)
    },
  )

  test('OPTIONS * passes', async () => {
    await using world = await startWorld(await httpApp(echo))
    const answer = await exchangeRaw(world.port, 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    expect(answer).toContain('"url":"*"')
  })

  test('connections to the application are kept and shared by clients', async () => {
    await using world = await startWorld(await httpApp(echo))
    for (let count = 0; count < 10; count += 1) await ask(world.port)
    expect(world.app.accepted).toBe(1)
  })
})

describe('what the application is told about the client', () => {
  test('is address, protocol, host and port of the connection', async () => {
    await using world = await startWorld(await httpApp(echo))
    const { rawHeaders } = seenIn((await ask(world.port)).body)
    expect(values(rawHeaders, 'x-forwarded-for')).toEqual(['127.0.0.1'])
    expect(values(rawHeaders, 'x-forwarded-proto')).toEqual(['https'])
    expect(values(rawHeaders, 'x-forwarded-host')).toEqual([`127.0.0.1:${world.port}`])
    expect(values(rawHeaders, 'x-forwarded-port')).toEqual([`${world.port}`])
  })

  test('is never what the client says of itself', async () => {
    await using world = await startWorld(await httpApp(echo))
    const forged = ['X-Forwarded-For', '6.6.6.6', 'x-forwarded-for', '6.6.6.7', 'X-Forwarded-Proto', 'http']
    forged.push('X-Forwarded-Host', 'evil.test', 'X-Forwarded-Port', '1', 'Forwarded', 'for=6.6.6.6')
    forged.push('X-Real-IP', '6.6.6.6', 'X_Forwarded_For', '6.6.6.6', 'Connection', 'X-Forwarded-For')
    const { rawHeaders } = seenIn(
      (await ask(world.port, '/', { headers: ['Host', 'a.test', ...forged] })).body,
    )
    expect(rawHeaders.join(' ')).not.toMatch(/6\.6\.6|evil|http\b/)
    expect(values(rawHeaders, 'x-forwarded-for')).toEqual(['127.0.0.1'])
    expect(values(rawHeaders, 'x-forwarded-port')).toEqual(['443'])
  })

  test('is a plain IPv4 address also when the listener speaks both', async () => {
    await using world = await startWorld(await httpApp(echo), { listen: { host: '::', port: 0 } })
    const { rawHeaders } = seenIn((await ask(world.port)).body)
    expect(values(rawHeaders, 'x-forwarded-for')).toEqual(['127.0.0.1'])
  })

  test('is an IPv6 address when the client has one', async () => {
    await using world = await startWorld(await httpApp(echo), { listen: { host: '::1', port: 0 } })
    const { rawHeaders } = seenIn((await ask(world.port, '/', { host: '::1' })).body)
    expect(values(rawHeaders, 'x-forwarded-for')).toEqual(['::1'])
    expect(values(rawHeaders, 'x-forwarded-host')).toEqual([`[::1]:${world.port}`])
  })
})

describe('header lines', () => {
  test('of a request reach the application with their order, case, duplicates and bytes', async () => {
    await using world = await startWorld(await httpApp(echo))
    const sent = [
      'HOST',
      'Example.Test:8443',
      'x-B',
      '1',
      'X-a',
      '',
      'x-b',
      'caf\u00e9',
      'Cookie',
      'a=1',
      'cookie',
      'b=2',
    ]
    for (const method of ['GET', 'POST']) {
      const { rawHeaders } = seenIn((await ask(world.port, '/', { method, headers: sent })).body)
      expect(rawHeaders.slice(0, sent.length)).toEqual(sent)
    }
  })

  test('of a response reach the client with their order, case, duplicates and bytes', async () => {
    const sent = ['set-COOKIE', 'a=1', 'X-b', 'caf\u00e9', 'Set-Cookie', 'b=2', 'x-B', '', 'Date', 'then']
    await using world = await startWorld(
      await httpApp((_, res) => res.writeHead(200, sent).end(Buffer.from('x'))),
    )
    for (const method of ['GET', 'HEAD']) {
      const { rawHeaders } = await ask(world.port, '/', { method })
      expect(rawHeaders.slice(0, sent.length)).toEqual(sent)
    }
  })

  test('of a request that concern the connection stay here', async () => {
    await using world = await startWorld(await httpApp(echo))
    const headers = [
      'Host',
      'a',
      'Connection',
      'X-Mine, keep-alive',
      'X-Mine',
      '1',
      'Keep-Alive',
      'timeout=1',
    ]
    headers.push('TE', 'trailers', 'Proxy-Authorization', 'Basic x')
    const { rawHeaders } = seenIn((await ask(world.port, '/', { headers })).body)
    const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
    expect(names).toEqual([
      'host',
      'x-forwarded-for',
      'x-forwarded-proto',
      'x-forwarded-host',
      'x-forwarded-port',
      'forwarded',
    ])
  })

  test('of a response that concern the connection stay here', async () => {
    const head =
      'Connection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=1\r\nUpgrade: h2c\r\nContent-Length: 2'
    await using world = await startWorld(await scriptedApp(`HTTP/1.1 200 OK\r\n${head}\r\n\r\nok`, 'end'))
    const agent = new Agent({ keepAlive: true })
    const { headers } = await ask(world.port, '/', { agent })
    expect(headers).toMatchObject({ 'content-length': '2' })
    expect(headers).not.toHaveProperty('connection')
    expect(headers).not.toHaveProperty('x-mine')
    expect(headers).not.toHaveProperty('upgrade')
    agent.destroy()
  })

  test('of a response pass by the thousand', async () => {
    const many = Array.from({ length: 2_500 }, (_, index) => `x${index}: \r\n`).join('')
    await using world = await startWorld(
      await scriptedApp(`HTTP/1.1 200 OK\r\nContent-Length: 0\r\n${many}\r\n`),
    )
    const answer = await exchangeRaw(world.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    expect(answer).toContain('\r\nx2499: \r\n')
  })

  test('of a request pass by the thousand', async () => {
    await using world = await startWorld(await httpApp(echo), {
      limits: { headBytes: 64 * 1024, headerCount: 3_000 },
    })
    const many = Array.from({ length: 2_500 }, (_, index) => [`x${index}`, '']).flat()
    const { rawHeaders } = seenIn((await ask(world.port, '/', { headers: ['Host', 'a', ...many] })).body)
    expect(rawHeaders).toContain('x2499')
  })
})

describe('responses', () => {
  test('status and reason pass as they are', async () => {
    await using world = await startWorld(
      await scriptedApp('HTTP/1.1 299 Odd But Fine\r\nContent-Length: 0\r\n\r\n'),
    )
    expect(await exchangeRaw(world.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 299 Odd But Fine\r\n/,
    )
  })

  test('that end with their connection are whole', async () => {
    await using world = await startWorld(await scriptedApp('HTTP/1.0 200 OK\r\n\r\nuntil the end', 'end'))
    expect((await ask(world.port)).body).toBe('until the end')
  })

  test('without a date get one, as RFC 9110 6.6.1 demands', async () => {
    await using world = await startWorld(await scriptedApp('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'))
    expect((await ask(world.port)).headers.date).toMatch(/ GMT$/)
  })

  test('are reported with method, status and outcome', async () => {
    await using world = await startWorld(await httpApp((_, res) => res.writeHead(404).end()))
    await ask(world.port, '/', { method: 'PUT', body: 'x' })
    await until(() => world.requests.length === 1, 'a report')
    expect(world.requests[0]).toMatchObject({
      method: 'PUT',
      status: 404,
      outcome: 'complete',
      error: undefined,
    })
    expect(world.requests[0]?.durationMs).toBeGreaterThan(0)
  })
})

describe('a client of HTTP/1.0', () => {
  test('gets a response that ends with the connection, not chunks', async () => {
    await using world = await startWorld(
      await httpApp((_, res) => res.write('first ', () => res.end('last'))),
    )
    const answer = await exchangeRaw(world.port, 'GET / HTTP/1.0\r\n\r\n')
    expect(answer).not.toMatch(/transfer-encoding/i)
    expect(answer).toMatch(/\r\n\r\nfirst last$/)
  })

  test('may send a body and keep its connection', async () => {
    await using world = await startWorld(
      await httpApp(async (req, res) => {
        const body = await text(req)
        res.setHeader('Content-Length', body.length).end(body)
      }),
    )
    using client = await rawClient(world.port)
    for (const body of ['one', 'two']) {
      client.socket.write(`POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n${body}`)
      await client.until(`\r\n\r\n${body}`)
    }
    expect(client.received).toMatch(/connection: keep-alive/i)
  })

  test('without a Host gets through with that of the application, and nothing is said of its own', async () => {
    await using world = await startWorld(await httpApp(echo))
    const answer = await exchangeRaw(world.port, 'GET / HTTP/1.0\r\n\r\n')
    expect(answer).toContain(`"Host","127.0.0.1:${world.app.port}"`)
    expect(answer).not.toMatch(/forwarded-host|forwarded-port/i)
  })
})

describe('pipelined requests', () => {
  test('are answered in order, one at a time, with their bodies', async () => {
    let serving = 0
    let most = 0
    await using world = await startWorld(
      await httpApp(async (req, res) => {
        serving += 1
        most = Math.max(most, serving)
        const body = await text(req)
        setTimeout(
          () => {
            serving -= 1
            res.end(`[${req.url} ${body}]`)
          },
          req.url === '/0' ? 30 : 0,
        )
      }),
    )
    const requests = Array.from({ length: 30 }, (_, index) =>
      index % 3 === 0
        ? `POST /${index} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n`
        : `GET /${index} HTTP/1.1\r\nHost: a\r\n\r\n`,
    )
    const last = 'GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    const answer = await exchangeRaw(world.port, requests.join('') + last)
    const bodies = [...answer.matchAll(/\[(\S+) (\w*)\]/g)].map(([, url, body]) => `${url} ${body}`)
    expect(bodies).toEqual([
      ...requests.map((_, index) => `/${index} ${index % 3 === 0 ? 'body' : ''}`),
      '/last ',
    ])
    expect(most).toBe(1)
  })

  test('are all answered, however many they are, since they are read no faster', async () => {
    await using world = await startWorld(await httpApp((req, res) => res.end(`[${req.url}]`)))
    const filler = 'c'.repeat(500)
    const paths = Array.from({ length: 2_000 }, (_, index) => `/${index}`)
    const requests = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\nCookie: ${filler}\r\n`)
    const answer = await exchangeRaw(world.port, `${requests.join('\r\n')}Connection: close\r\n\r\n`)
    expect([...answer.matchAll(/\[(\S+)\]/g)].map(([, path]) => path)).toEqual(paths)
  })

  test('without end stop being read while the first is not answered', async () => {
    await using world = await startWorld(await httpApp(() => undefined))
    using client = await rawClient(world.port)
    const flood = `GET / HTTP/1.1\r\nHost: a\r\nCookie: ${'c'.repeat(500)}\r\n\r\n`.repeat(1_000)
    for (let count = 0; count < 100; count += 1) client.socket.write(flood)
    await until(() => world.app.accepted === 1, 'the first request')
    const { writableLength } = client.socket
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(client.socket.writableLength).toBeGreaterThan(0)
    expect(client.socket.writableLength).toBe(writableLength)
    expect(world.app.accepted).toBe(1)
    expect(world.sidecar.inFlight).toBeLessThan(512)
  })

  test('by the thousand in one packet are served one by one', async () => {
    let most = 0
    let running = 0
    await using world = await startWorld(
      await httpApp((_, res) => {
        running += 1
        most = Math.max(most, running)
        setImmediate(() => {
          running -= 1
          res.end('ok')
        })
      }),
    )
    using client = await rawClient(world.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2_000))
    await reports(world, 2_000)
    expect(most).toBe(1)
    expect(world.app.accepted).toBe(1)
  })
})
