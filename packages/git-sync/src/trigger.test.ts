import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { HttpLimits } from './http-limits.ts'
import { startTrigger, type Trigger, type TriggerReport } from './trigger.ts'

const SECRET = 's3cret'
const BEARER = { authorization: `Bearer ${SECRET}` }

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

class World implements AsyncDisposable {
  readonly trigger: Trigger
  readonly triggered: ('all' | readonly string[])[]
  readonly reports: TriggerReport[]
  readonly errors: Error[]

  constructor(trigger: Trigger, triggered: World['triggered'], reports: TriggerReport[], errors: Error[]) {
    this.trigger = trigger
    this.triggered = triggered
    this.reports = reports
    this.errors = errors
  }

  get port(): number {
    return 'port' in this.trigger.address ? this.trigger.address.port : 0
  }

  get outcomes(): string[] {
    return this.reports.map(({ outcome, form }) => `${outcome} ${form}`)
  }

  async ask(
    path: string,
    headers: OutgoingHttpHeaders = {},
    body: string | Buffer = '',
    method = 'POST',
  ): Promise<Answer> {
    const outgoing = request({ host: '127.0.0.1', port: this.port, path, method, headers, agent: false })
    outgoing.on('error', () => undefined)
    outgoing.end(body)
    const [response]: IncomingMessage[] = await once(outgoing, 'response')
    if (response === undefined) throw new Error('no response')
    return { status: response.statusCode, headers: response.headers, body: await text(response) }
  }

  connect(): Socket {
    return connect(this.port, '127.0.0.1').on('error', () => undefined)
  }

  /** What comes for these bytes until the connection is closed. */
  async raw(bytes: string): Promise<string> {
    const socket = this.connect()
    socket.write(bytes, 'latin1')
    return text(socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.trigger[Symbol.asyncDispose]()
    expect(this.errors).toEqual([])
  }
}

interface Given {
  readonly limits?: Partial<HttpLimits>
  readonly path?: string
}

async function startWorld({ limits, path }: Given = {}): Promise<World> {
  const triggered: World['triggered'] = []
  const reports: TriggerReport[] = []
  const errors: Error[] = []
  const trigger = await startTrigger({
    listen: path === undefined ? { host: '127.0.0.1', port: 0 } : { path },
    secrets: ['old', SECRET],
    isKnown: (name) => ['app', 'team/docs'].includes(name),
    onTrigger: (repositories) => triggered.push(repositories),
    onRequest: (report) => reports.push(report),
    onError: (error) => errors.push(error),
    ...(limits !== undefined && { limits }),
  })
  return new World(trigger, triggered, reports, errors)
}

const signed = (body: string, secret = SECRET): OutgoingHttpHeaders => ({
  'X-GitHub-Event': 'push',
  'X-Hub-Signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
})

function standard(body: string, id = 'msg_1', at = Date.now()): OutgoingHttpHeaders {
  const timestamp = String(Math.floor(at / 1_000))
  const signature = createHmac('sha256', SECRET).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
}

describe('a request with a token', () => {
  test('syncs all repositories', async () => {
    await using world = await startWorld()
    expect(await world.ask('/sync', BEARER)).toMatchObject({ status: 202, body: '{"status":"syncing"}\n' })
    expect(world.triggered).toEqual(['all'])
  })

  test.each([
    ['/sync/app', 'app'],
    ['/sync/app?from=ci', 'app'],
    ['/sync/team%2Fdocs', 'team/docs'],
  ])('at %s syncs the one that is named', async (path, name) => {
    await using world = await startWorld()
    expect((await world.ask(path, BEARER)).status).toBe(202)
    expect(world.triggered).toEqual([[name]])
  })

  test('syncs each time', async () => {
    await using world = await startWorld()
    for (let count = 0; count < 3; count += 1) await world.ask('/sync', BEARER)
    expect(world.triggered).toEqual(['all', 'all', 'all'])
  })

  test('is heard on a Unix socket', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'trigger-'))
    const path = join(directory, 'socket')
    await using world = await startWorld({ path })
    const outgoing = request({ socketPath: path, path: '/sync', method: 'POST', headers: BEARER }).end()
    const [response]: IncomingMessage[] = await once(outgoing, 'response')
    expect(response?.resume().statusCode).toBe(202)
    expect(world.reports).toEqual([{ outcome: 'accepted', form: 'bearer', from: undefined }])
    await rm(directory, { recursive: true })
  })
})

describe('a webhook of a forge', () => {
  test('syncs, and its body goes to the signature as it came', async () => {
    await using world = await startWorld()
    const body = '{"ref": "refs/heads/é"}\r\n'
    expect((await world.ask('/sync', signed(body), body)).status).toBe(202)
    expect(world.outcomes).toEqual(['accepted github'])
  })

  test('may be large, and come in chunks', async () => {
    await using world = await startWorld()
    const body = 'x'.repeat(5 * 1024 * 1024)
    const headers = { ...signed(body), 'Transfer-Encoding': 'chunked' }
    expect((await world.ask('/sync', headers, body)).status).toBe(202)
  })

  test('that comes again is known, and syncs nothing', async () => {
    await using world = await startWorld()
    await world.ask('/sync', signed('{}'), '{}')
    expect(await world.ask('/sync', signed('{}'), '{}')).toMatchObject({
      status: 200,
      body: '{"status":"already received"}\n',
    })
    expect(world.triggered).toEqual(['all'])
    expect(world.outcomes).toEqual(['accepted github', 'replayed github'])
  })

  test('that comes again under another header is known, too', async () => {
    await using world = await startWorld()
    await world.ask('/sync', signed('{}'), '{}')
    const signature = createHmac('sha256', SECRET).update('{}').digest('hex').toUpperCase()
    expect((await world.ask('/sync', { 'X-Gitea-Signature': signature }, '{}')).status).toBe(200)
  })

  test('is new for each repository that it is sent for', async () => {
    await using world = await startWorld()
    for (const path of ['/sync', '/sync/app', '/sync/team%2Fdocs']) await world.ask(path, signed('{}'), '{}')
    expect(world.triggered).toEqual(['all', ['app'], ['team/docs']])
  })

  test('is known by its identifier where it has one', async () => {
    await using world = await startWorld()
    await world.ask('/sync', standard('{}', 'a'), '{}')
    await world.ask('/sync', standard('{}', 'b'), '{}')
    expect((await world.ask('/sync', standard('{}', 'a', Date.now() - 60_000), '{}')).status).toBe(200)
    expect(world.outcomes).toEqual([
      'accepted standard-webhooks',
      'accepted standard-webhooks',
      'replayed standard-webhooks',
    ])
  })

  test('that is captured and sent later is refused', async () => {
    await using world = await startWorld()
    expect((await world.ask('/sync', standard('{}', 'a', Date.now() - 301_000), '{}')).status).toBe(401)
  })

  test('which only tries whether somebody is there is answered, and syncs nothing', async () => {
    await using world = await startWorld()
    const headers = { ...signed('{}'), 'X-GitHub-Event': 'ping' }
    expect((await world.ask('/sync', headers, '{}')).status).toBe(200)
    expect(world.triggered).toEqual([])
    expect(world.outcomes).toEqual(['ping github'])
  })

  test('which tries that without a signature is refused', async () => {
    await using world = await startWorld()
    expect((await world.ask('/sync', { 'X-GitHub-Event': 'ping' }, '{}')).status).toBe(401)
  })
})

describe('who may not', () => {
  const attempts: [string, string, OutgoingHttpHeaders][] = [
    ['has nothing to show', '/sync', {}],
    ['has a wrong token', '/sync', { authorization: 'Bearer wrong' }],
    ['has a wrong signature', '/sync', signed('{}', 'wrong')],
    ['has a signature that is none', '/sync', { 'X-Hub-Signature-256': 'x' }],
    ['has an old signature', '/sync', standard('{}', 'a', 0)],
    ['has something right and something wrong', '/sync', { ...BEARER, ...signed('{}', 'wrong') }],
    ['asks for a repository', '/sync/app', {}],
    ['asks for one that is not there', '/sync/nosuch', {}],
  ]

  test.each(attempts)('learns nothing: who %s', async (_, path, headers) => {
    await using world = await startWorld()
    const { status, headers: got, body } = await world.ask(path, headers, '{}')
    expect(status).toBe(401)
    expect(body).toBe('{"error":"the request has no valid signature or token"}\n')
    expect({ ...got, date: '' }).toEqual({
      'cache-control': 'no-store',
      connection: 'close',
      'content-length': '56',
      'content-type': 'application/json',
      date: '',
      'www-authenticate': 'Bearer',
      'x-content-type-options': 'nosniff',
    })
    expect(world.triggered).toEqual([])
    expect(world.reports).toMatchObject([{ outcome: 'unauthorized', from: '127.0.0.1' }])
  })

  test('is a web page, whatever it has', async () => {
    await using world = await startWorld()
    for (const header of [{ origin: 'http://evil.test' }, { 'sec-fetch-site': 'cross-site' }])
      expect((await world.ask('/sync', { ...BEARER, ...header })).status).toBe(403)
    expect(world.triggered).toEqual([])
  })
})

describe('a request that is none', () => {
  test.each([
    ['/', 404],
    ['/sync/', 404],
    ['/syncs', 404],
    ['/sync/app/', 404],
    ['/sync/%', 404],
    ['/SYNC', 404],
  ])('for %s is a %d', async (path, status) => {
    await using world = await startWorld()
    expect((await world.ask(path, BEARER)).status).toBe(status)
    expect(world.outcomes).toEqual(['malformed none'])
  })

  test.each(['GET', 'PUT', 'OPTIONS', 'DELETE'])('by %s is a 405 that says what may be', async (method) => {
    await using world = await startWorld()
    const { status, headers } = await world.ask('/sync', BEARER, '', method)
    expect([status, headers.allow]).toEqual([405, 'POST'])
    expect(world.triggered).toEqual([])
  })

  test('of a repository that is not there is a 404, for who may', async () => {
    await using world = await startWorld()
    expect((await world.ask('/sync/nosuch', BEARER)).status).toBe(404)
    expect(world.outcomes).toEqual(['unknown bearer'])
  })

  test('whose body is too large is a 413, by what it says', async () => {
    await using world = await startWorld()
    const head = `POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: ${5 * 1024 * 1024 + 1}\r\n\r\n`
    expect(await world.raw(head)).toMatch(/^HTTP\/1\.1 413 .*5 MiB/s)
    expect(world.outcomes).toEqual(['too-large none'])
  })

  test('whose body is too large is a 413, by what comes', async () => {
    await using world = await startWorld()
    const body = Buffer.alloc(6 * 1024 * 1024)
    const headers = { ...BEARER, 'Transfer-Encoding': 'chunked' }
    expect((await world.ask('/sync', headers, body)).status).toBe(413)
    expect(world.triggered).toEqual([])
  })

  test('whose body is too large is answered also for who reads only when all is sent', async () => {
    await using world = await startWorld()
    const socket = world.connect()
    const body = Buffer.alloc(20 * 1024 * 1024)
    socket.write(`POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`)
    await new Promise((resolve) => socket.write(body, resolve))
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 413 /)
  })

  test('whose body breaks off is counted, and syncs nothing', async () => {
    await using world = await startWorld()
    const socket = world.connect()
    socket.end(
      `POST /sync HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${SECRET}\r\nContent-Length: 9\r\n\r\nx`,
    )
    await text(socket)
    while (world.reports.length === 0) await delay(1)
    expect(world.outcomes).toEqual(['malformed none'])
    expect(world.triggered).toEqual([])
  })

  test.each([
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['two hosts', 'POST /sync HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['no host', 'POST /sync HTTP/1.1\r\n\r\n', 400],
    ['two lengths', 'POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx', 400],
    [
      'a length and chunks',
      'POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      400,
    ],
    ['large headers', `POST /sync HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['a broken chunk', 'POST /sync HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n', 400],
  ])('(%s) is refused', async (_, bytes, status) => {
    await using world = await startWorld()
    expect(await world.raw(bytes)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(world.triggered).toEqual([])
  })

  test('behind another one on the same connection is not heard', async () => {
    await using world = await startWorld()
    const one = `POST /sync HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${SECRET}\r\nContent-Length: 0\r\n\r\n`
    await world.raw(one.repeat(10))
    expect(world.triggered).toEqual(['all'])
  })
})

describe('while draining', () => {
  test('requests are told to come again', async () => {
    await using world = await startWorld()
    world.trigger.drain()
    const { status, headers } = await world.ask('/sync', BEARER)
    expect([status, headers['retry-after']]).toEqual([503, '10'])
    expect(world.triggered).toEqual([])
  })

  test('so is one that has begun before, and it is new when it does', async () => {
    await using world = await startWorld()
    const headers = { ...BEARER, expect: '100-continue' }
    const outgoing = request({ host: '127.0.0.1', port: world.port, path: '/sync', method: 'POST', headers })
    outgoing.flushHeaders()
    await once(outgoing, 'continue')
    world.trigger.drain()
    outgoing.end('x')
    const [response]: IncomingMessage[] = await once(outgoing, 'response')
    expect(response?.resume().statusCode).toBe(503)
  })
})

describe('who is slow', () => {
  test('with a head is told so', async () => {
    await using world = await startWorld({ limits: { headMs: 100 } })
    expect(await world.raw('POST /sync HTTP/1.1\r\nHost: ')).toMatch(/^HTTP\/1\.1 408 /)
    expect(world.outcomes).toEqual(['malformed none'])
  })

  test('with a body is told so', async () => {
    await using world = await startWorld({ limits: { headMs: 100, requestMs: 200 } })
    const report = { outcome: 'malformed', form: 'none' }
    expect(await world.raw('POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx')).toMatch(
      /^HTTP\/1\.1 408 /,
    )
    while (world.reports.length === 0) await delay(1)
    expect(world.reports).toMatchObject([report])
  })

  test('and says nothing is closed', async () => {
    await using world = await startWorld({ limits: { idleMs: 100 } })
    expect(await world.raw('')).toBe('')
  })
})

test('with too many connections the oldest is closed', async () => {
  await using world = await startWorld({ limits: { connections: 2 } })
  const first = world.connect().resume()
  await once(first, 'connect')
  const others = [world.connect(), world.connect()]
  await once(first, 'close')
  expect((await world.ask('/sync', BEARER)).status).toBe(202)
  for (const socket of others) socket.destroy()
})

test('a flood of valid requests is answered, and each is told to the caller', async () => {
  await using world = await startWorld()
  const answers = await Promise.all(Array.from({ length: 50 }, () => world.ask('/sync', BEARER)))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
  expect(world.triggered).toHaveLength(50)
})

test('when disposed of, it closes what is open and hears no more', async () => {
  const world = await startWorld()
  const socket = world.connect().resume()
  await once(socket, 'connect')
  await world[Symbol.asyncDispose]()
  if (!socket.closed) await once(socket, 'close')
  await expect(world.ask('/sync', BEARER).catch((error: unknown) => error)).resolves.toMatchObject({
    code: 'ECONNREFUSED',
  })
})

test('an address that is taken is an error', async () => {
  await using world = await startWorld()
  const taken = startTrigger({
    listen: { host: '127.0.0.1', port: world.port },
    secrets: [SECRET],
    isKnown: () => true,
    onTrigger: () => undefined,
    onError: () => undefined,
  })
  await expect(taken).rejects.toMatchObject({ code: 'EADDRINUSE' })
})

test('a secret that is empty is an error, and nothing listens', async () => {
  const refused = startTrigger({
    listen: { host: '127.0.0.1', port: 0 },
    secrets: [''],
    isKnown: () => true,
    onTrigger: () => undefined,
    onError: () => undefined,
  })
  await expect(refused).rejects.toThrow('a secret must not be empty')
})
