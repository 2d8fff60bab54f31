import { execFile } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { SignatureVerifier } from './trigger-signature.ts'
import { createWebhook, type WebhookOptions } from './webhook.ts'

interface Received {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly distinct: NodeJS.Dict<string[]>
  readonly body: string
}

interface Receiver extends AsyncDisposable {
  readonly origin: string
  readonly received: Received[]
}

async function listening(server: Server, received: Received[] = []): Promise<Receiver> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const sockets = new Set<{ destroy(): void }>()
  server.on('connection', (socket) => sockets.add(socket))
  return {
    origin: `http://127.0.0.1:${port}`,
    received,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Keeps what it gets, and answers it. */
function receiver(
  respond: (response: ServerResponse) => void = (response) => response.end(),
): Promise<Receiver> {
  const received: Received[] = []
  const listener: RequestListener = async (request, response) => {
    const { method, url, headers, headersDistinct: distinct } = request
    received.push({ method, url, headers, distinct, body: await text(request) })
    respond(response)
  }
  return listening(createServer(listener), received)
}

const PUBLICATION = { hash: 'cafe', publishedAt: new Date('2026-01-02T03:04:05.678Z') }

function call(
  url: string,
  options: Partial<WebhookOptions> = {},
  signal = new AbortController().signal,
): Promise<void> {
  const webhook = createWebhook({
    url,
    method: 'POST',
    successStatus: 200,
    timeoutMs: 10_000,
    repository: 'https://git.test/app.git',
    ref: 'main',
    ...options,
  })
  return webhook(PUBLICATION, signal)
}

async function messageOf(failing: Promise<void>): Promise<string> {
  const error: unknown = await failing.catch((thrown: unknown) => thrown)
  if (error instanceof Error) return error.message
  throw new Error('it did not fail')
}

describe('a webhook', () => {
  test('is a request with the hash in a header, and no body', async () => {
    await using world = await receiver()
    await call(`${world.origin}/hook?x=1`)
    expect(world.received).toMatchObject([
      {
        method: 'POST',
        url: '/hook?x=1',
        body: '',
        headers: { 'gitsync-hash': 'cafe', 'content-length': '0' },
      },
    ])
  })

  test.each(['GET', 'PUT', 'PATCH', 'DELETE', 'NOTIFY'])('may be a %s', async (method) => {
    await using world = await receiver()
    await call(world.origin, { method })
    expect(world.received).toMatchObject([{ method, body: '', headers: { 'gitsync-hash': 'cafe' } }])
  })

  test('sends the user and the password of its URL', async () => {
    await using world = await receiver()
    await call(world.origin.replace('//', '//us%40er:p%2Fw@'))
    expect(world.received[0]?.headers.authorization).toBe(`Basic ${btoa('us@er:p/w')}`)
  })

  test('has succeeded as soon as the status is there, whether the rest of the answer comes or not', async () => {
    await using world = await receiver((response) =>
      response.writeHead(200, { 'Content-Length': 9 }).write('x'),
    )
    await call(world.origin)
  })

  test('does not read an answer for ever', async () => {
    let closed: Promise<unknown> = Promise.resolve()
    await using world = await receiver((response) => {
      closed = once(response, 'close')
      const write = (): void => {
        while (!response.destroyed && response.write('x'.repeat(10_000)));
      }
      response.on('drain', write)
      write()
    })
    await call(world.origin, { timeoutMs: 600_000 })
    await closed
  })

  test.each(['ftp://a.test', 'a.test', '', 'file:///etc/passwd'])('cannot be at %j', (url) => {
    expect(() => call(url)).toThrow('must begin with http:// or https://')
  })

  test.each(['', 'PO ST', 'GET\r\nX: y'])('cannot be a %j', (method) => {
    expect(() => call('http://a.test', { method })).toThrow('must be one word')
  })
})

describe('the status of success', () => {
  test.each([
    [200, 200],
    [204, 204],
    [404, 404],
  ])('%d is met by %d', async (successStatus, status) => {
    await using world = await receiver((response) => response.writeHead(status).end())
    await call(world.origin, { successStatus })
  })

  test('is exactly that, and others of success say how to set it', async () => {
    await using world = await receiver((response) => response.writeHead(204).end())
    expect(await messageOf(call(world.origin))).toBe(
      `the webhook at ${world.origin} answered 204, and 200 is awaited: set the success status to 204 if that is right`,
    )
  })

  test.each([
    [401, 'see what credentials it wants'],
    [500, 'its own log says why'],
  ])('is not %d, and the error says what to do', async (status, remedy) => {
    await using world = await receiver((response) => response.writeHead(status).end())
    expect(await messageOf(call(world.origin))).toMatch(`answered ${status}, and 200 is awaited: ${remedy}`)
  })

  test('is not that of a redirect, which is not followed', async () => {
    await using other = await receiver()
    const location = `${other.origin.replace('//', '//user:secret@')}/hook/secret`
    await using world = await receiver((response) => response.writeHead(307, { location }).end())
    const message = await messageOf(call(world.origin))
    expect(message).toMatch(`answered 307, and 200 is awaited: redirects are not followed`)
    expect(message).toContain(other.origin)
    expect(message).not.toContain('secret')
    expect(other.received).toEqual([])
  })
})

describe.each([0, -1])('with %d as the status of success', (successStatus) => {
  test('any answer is success', async () => {
    await using world = await receiver((response) => response.writeHead(500).end())
    await call(world.origin, { successStatus })
    while (world.received.length === 0) await new Promise(setImmediate)
  })

  test('no answer is success, too', async () => {
    await using world = await receiver(() => undefined)
    await call(world.origin, { successStatus, timeoutMs: 600_000 })
    while (world.received.length === 0) await new Promise(setImmediate)
    expect(world.received).toMatchObject([{ headers: { 'gitsync-hash': 'cafe' } }])
  })

  test('nobody who listens is a failure', async () => {
    const gone = await receiver()
    await gone[Symbol.asyncDispose]()
    expect(await messageOf(call(gone.origin, { successStatus }))).toMatch('refused the connection')
  })
})

describe('a webhook that fails', () => {
  test('names where nobody listens, and what to look at', async () => {
    const gone = await receiver()
    await gone[Symbol.asyncDispose]()
    expect(await messageOf(call(gone.origin))).toBe(
      `the webhook at ${gone.origin} refused the connection: see whether it runs, and at this port (ECONNREFUSED)`,
    )
  })

  test('says when the name is unknown', async () => {
    expect(await messageOf(call('http://nosuch.invalid'))).toMatch('has a name that cannot be resolved')
  })

  test('ends at its deadline', async () => {
    await using world = await receiver(() => undefined)
    expect(await messageOf(call(world.origin, { timeoutMs: 100 }))).toBe(
      `the webhook at ${world.origin} did not answer within 0.1s: see whether it is there, or raise the timeout`,
    )
  })

  test('ends when aborted', async () => {
    await using world = await receiver(() => undefined)
    const controller = new AbortController()
    const message = messageOf(call(world.origin, {}, controller.signal))
    while (world.received.length === 0) await new Promise(setImmediate)
    controller.abort()
    expect(await message).toMatch('was not waited for: all is being stopped')
  })

  test.each([
    ['', 'closed the connection without an answer'],
    ['hello\r\n\r\n', 'did not answer with HTTP'],
    [
      'HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
      'closed the connection without an answer',
    ],
  ])('says what is wrong with the answer %j', async (bytes, reason) => {
    await using world = await listening(
      createTcpServer((socket) => void socket.on('error', () => undefined).end(bytes)),
    )
    expect(await messageOf(call(world.origin))).toContain(reason)
  })

  test('keeps what is secret in its URL', async () => {
    await using world = await receiver((response) => response.writeHead(500).end())
    const url = `${world.origin.replace('//', '//user:secret@')}/services/secret?token=secret`
    expect(await messageOf(call(url))).not.toContain('secret')
  })
})

describe('with a secret', () => {
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

  test('the body says what was published', async () => {
    await using world = await receiver()
    await call(world.origin, { secret })
    const [{ body = '', headers = {} } = {}] = world.received
    expect(JSON.parse(body)).toEqual({
      repository: 'https://git.test/app.git',
      ref: 'main',
      hash: 'cafe',
      published_at: '2026-01-02T03:04:05.678Z',
    })
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'gitsync-hash': 'cafe' })
  })

  test('it is signed as GitHub signs, and by Standard Webhooks', async () => {
    await using world = await receiver()
    await call(world.origin, { secret })
    const [{ body = '', headers = {} } = {}] = world.received
    const id = String(headers['webhook-id'])
    const timestamp = String(headers['webhook-timestamp'])
    const key = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64')
    expect(headers['x-hub-signature-256']).toBe(
      `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
    )
    expect(headers['webhook-signature']).toBe(
      `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`,
    )
    expect(Math.abs(Date.now() / 1_000 - Number(timestamp))).toBeLessThan(60)
  })

  test('the trigger of another one of us takes it', async () => {
    await using world = await receiver()
    await call(world.origin, { secret })
    const [{ body = '', distinct = {} } = {}] = world.received
    const verification = new SignatureVerifier([secret]).begin(distinct)
    verification.update(Buffer.from(body))
    expect(verification.finish()).toMatchObject({ valid: true })
  })

  test('each attempt at one publication has the same identifier, and each publication another', async () => {
    await using world = await receiver()
    await call(world.origin, { secret })
    await call(world.origin, { secret })
    await call(world.origin, { secret, ref: 'other' })
    const ids = world.received.map(({ headers }) => headers['webhook-id'])
    expect(ids[0]).toBe(ids[1])
    expect(ids[0]).not.toBe(ids[2])
    expect(ids[0]).toMatch(/^msg_[\w-]{27}$/)
  })

  test('the body has no password', async () => {
    await using world = await receiver()
    await call(world.origin, { secret, repository: 'https://user:p4ss@git.test/app.git' })
    expect(JSON.parse(world.received[0]?.body ?? '')).toMatchObject({
      repository: 'https://git.test/app.git',
    })
  })

  test('an address that is no URL stands there as it is', async () => {
    await using world = await receiver()
    await call(world.origin, { secret, repository: 'git@git.test:app.git' })
    expect(JSON.parse(world.received[0]?.body ?? '')).toMatchObject({ repository: 'git@git.test:app.git' })
  })

  test('which cannot be used it is refused', () => {
    expect(() => call('http://a.test', { secret: 'whsec_p@ss' })).toThrow(
      /^a secret that begins with whsec_ must/,
    )
  })
})

describe('over TLS', () => {
  const run = promisify(execFile)

  /** Calls a receiver whose certificate is its own authority, from a process of its own. */
  async function callOverTls(environment: (certificate: string) => Record<string, string>): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'webhook-'))
    const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    const names = ['-subj', '/CN=receiver', '-addext', 'subjectAltName=IP:127.0.0.1']
    const files = ['-keyout', key, '-out', certificate]
    await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', ...names, ...files])
    const server = createHttpsServer(
      { key: await readFile(key), cert: await readFile(certificate) },
      (_, response) => response.end(),
    )
    await using world = await listening(server)
    const script = `
      import { createWebhook } from ${JSON.stringify(new URL('webhook.ts', import.meta.url).href)}
      const url = ${JSON.stringify(world.origin.replace('http:', 'https:'))}
      const options = { url, method: 'POST', successStatus: 200, timeoutMs: 10_000, repository: 'r', ref: 'main' }
      const publication = { hash: 'cafe', publishedAt: new Date() }
      await createWebhook(options)(publication, new AbortController().signal).then(
        () => console.log('done'),
        (error) => console.log(error.message),
      )`
    const env = { PATH: '/usr/bin:/bin', ...environment(certificate) }
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { env })
    await rm(directory, { recursive: true })
    return stdout.trim()
  }

  test('the authorities are those of the system', async () => {
    expect(await callOverTls((certificate) => ({ SSL_CERT_FILE: certificate }))).toBe('done')
  })

  test('and those that are added to them', async () => {
    expect(await callOverTls((certificate) => ({ NODE_EXTRA_CA_CERTS: certificate }))).toBe('done')
  })

  test('a certificate of another is refused, with what to do', async () => {
    expect(await callOverTls(() => ({}))).toMatch(
      /^the webhook at https:\/\/127\.0\.0\.1:\d+ has a certificate of no known authority: name a file with it in NODE_EXTRA/,
    )
  })

  test('a receiver that speaks none is told as such', async () => {
    await using world = await receiver()
    expect(await messageOf(call(world.origin.replace('http:', 'https:')))).toMatch(
      'does not speak TLS as it should',
    )
  })
})
