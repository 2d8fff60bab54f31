import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as readText } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { defineContainer } from './container.ts'
import type { Address } from './kinds.ts'
import { address, secret, text, url } from './kinds.ts'
import { type StartedContainer, startContainer } from './testing.ts'
import { version } from './version.ts'

const hostile = `<script>alert("1")</script>'`

const box = defineContainer({
  name: 'test-box',
  pattern: 'sidecar',
  summary: 'Does nothing for the application beside it.',
  contract: [],
  admin: 9999,
  params: {
    listen: address('Where to listen.', { default: '127.0.0.1:0' }),
    label: text('What to say.', { optional: true }),
    password: secret('The password.', { optional: true }),
    upstream: url('Where to send.', { optional: true }),
  },
  ports: { http: 'listen' },
  metrics: {},
  async start({ notice, params, gate, onScrape }) {
    notice('remark').set(params.label ?? 'none')
    const closable = gate('upstream', 'not connected yet')
    if (params.label !== 'closed') closable.open()
    onScrape(() => {
      if (params.label === 'broken') throw new Error('hunter2 in a stack')
    })
    return { addresses: { http: { host: '127.0.0.1', port: 8080 } }, async [Symbol.asyncDispose]() {} }
  },
})

const start = (env: Record<string, string> = {}) => startContainer(box, env)
const json = async (response: Promise<Response>): Promise<unknown> => (await response).json()

/** Sends bytes and gives all that comes back until the server closes. */
async function raw(at: Address, bytes: string): Promise<string> {
  const socket = 'path' in at ? connect(at.path) : connect(at.port, at.host)
  socket.end(bytes)
  return readText(socket)
}

/** Whether the drain has been asked for by now. */
async function drainAsked({ drainRequested }: StartedContainer): Promise<boolean> {
  return Promise.race([
    drainRequested.then(() => true),
    new Promise<boolean>((done) => setImmediate(done, false)),
  ])
}

/** Containers without IPv6 exist. */
const ipv6 = Object.values(networkInterfaces()).some((each) => each?.some((at) => at.address === '::1'))

/** An address of this machine that is not loopback. */
const outside = Object.values(networkInterfaces())
  .flat()
  .find((each) => each?.family === 'IPv4' && !each.internal)?.address

describe('GET /healthz', () => {
  it('answers 200', async () => {
    await using started = await start()
    const response = await started.ask('/healthz')
    expect([response.status, await response.json()]).toEqual([200, { status: 'ok' }])
  })

  it('does not depend on readiness', async () => {
    await using started = await start({ TEST_BOX_LABEL: 'closed' })
    expect((await started.ask('/healthz')).status).toBe(200)
  })
})

describe('GET /readyz', () => {
  it('answers 200 with every gate and notice', async () => {
    await using started = await start()
    const response = await started.ask('/readyz')
    expect([response.status, await response.json()]).toEqual([
      200,
      {
        ready: true,
        gates: { start: { open: true }, drain: { open: true }, upstream: { open: true } },
        notices: { remark: 'none' },
      },
    ])
  })

  it('answers 503 with each closed gate and why', async () => {
    await using started = await start({ TEST_BOX_LABEL: 'closed' })
    const response = await started.ask('/readyz')
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({
      ready: false,
      gates: { upstream: { open: false, reason: 'not connected yet' } },
    })
  })
})

describe('GET /params', () => {
  it('gives each value and its source', async () => {
    await using started = await start({ TEST_BOX_LABEL: 'a' })
    expect(await json(started.ask('/params'))).toEqual({
      listen: { value: '127.0.0.1:0', source: 'environment' },
      label: { value: 'a', source: 'environment' },
      password: { value: null, source: 'unset' },
      upstream: { value: null, source: 'unset' },
      admin: { value: '127.0.0.1:0', source: 'environment' },
      drain: { value: '10s', source: 'default' },
      logLevel: { value: 'info', source: 'default' },
      logFormat: { value: 'json', source: 'default' },
    })
  })

  it.each(['/', '/params', '/readyz', '/metrics', '/nowhere'])('%s shows no secret', async (path) => {
    await using started = await start({
      TEST_BOX_PASSWORD: 'hunter2',
      TEST_BOX_UPSTREAM: 'http://user:hunter2@host',
    })
    for (const accept of ['application/json', 'text/html', 'application/openmetrics-text']) {
      expect(await (await started.ask(path, { headers: { accept } })).text()).not.toContain('hunter2')
    }
  })
})

describe('GET /', () => {
  it('is JSON for programs', async () => {
    await using started = await start()
    const response = await started.ask('/')
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await response.json()).toMatchObject({
      container: 'test-box',
      pattern: 'sidecar',
      summary: 'Does nothing for the application beside it.',
      version,
      readiness: { ready: true },
      addresses: { http: '127.0.0.1:8080' },
      params: { drain: { value: '10s', source: 'default' } },
      links: ['/healthz', '/readyz', '/metrics', '/params'],
    })
  })

  it('is a page for browsers', async () => {
    await using started = await start()
    const response = await started.ask('/', {
      headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' },
    })
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(await response.text()).toMatch(/^<!doctype html>/)
  })

  it('shows hostile text of a parameter and a notice only as text', async () => {
    await using started = await start({ TEST_BOX_LABEL: hostile })
    const page = await (await started.ask('/', { headers: { accept: 'text/html' } })).text()
    expect(page).not.toContain('<script')
    expect(page.split('&#60;script&#62;')).toHaveLength(3)
  })

  it('has only links that answer', async () => {
    await using started = await start()
    const { links } = (await json(started.ask('/'))) as { links: string[] }
    for (const link of links) expect((await started.ask(link)).status).toBe(200)
  })
})

describe('every answer', () => {
  it.each([
    ['GET', '/'],
    ['GET', '/healthz'],
    ['GET', '/metrics'],
    ['GET', '/nowhere'],
    ['POST', '/params'],
    ['GET', '/drain'],
  ])(
    '%s %s is not cached, not sniffed, not framed, and does not say what serves it',
    async (method, path) => {
      await using started = await start()
      const { headers } = await started.ask(path, { method })
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('content-security-policy')).toContain("default-src 'none'")
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
      expect(headers.get('x-powered-by')).toBeNull()
      expect(headers.get('access-control-allow-origin')).toBeNull()
    },
  )
})

describe('methods and paths', () => {
  it.each(['/', '/healthz', '/readyz', '/metrics', '/params'])(
    'HEAD %s answers as GET, without a body',
    async (path) => {
      await using started = await start()
      const response = await started.ask(path, { method: 'HEAD' })
      expect([response.status, await response.text()]).toEqual([200, ''])
    },
  )

  it.each([
    ['POST', '/healthz', 'GET, HEAD'],
    ['DELETE', '/', 'GET, HEAD'],
    ['OPTIONS', '/params', 'GET, HEAD'],
    ['PUT', '/metrics', 'GET, HEAD'],
    ['GET', '/drain', 'POST'],
    ['HEAD', '/drain', 'POST'],
    ['OPTIONS', '/drain', 'POST'],
  ])('%s %s is 405 and told what is allowed: %s', async (method, path, allowed) => {
    await using started = await start()
    const response = await started.ask(path, { method })
    expect([response.status, response.headers.get('allow')]).toEqual([405, allowed])
  })

  it('an unknown path is 404 with the known ones', async () => {
    await using started = await start()
    const response = await started.ask('/nowhere')
    expect([response.status, await response.json()]).toEqual([
      404,
      { error: 'known paths: / /healthz /readyz /metrics /params /drain' },
    ])
  })

  it('a 404 does not repeat the path', async () => {
    await using started = await start()
    expect(await (await started.ask('/%3Cscript%3E')).text()).not.toContain('script')
  })
})

describe('POST /drain', () => {
  it('from loopback asks for the drain', async () => {
    await using started = await start()
    const response = await started.ask('/drain', { method: 'POST' })
    expect([response.status, await response.json()]).toEqual([202, { status: 'draining' }])
    expect(await drainAsked(started)).toBe(true)
  })

  it.runIf(ipv6)('from IPv6 loopback asks for the drain', async () => {
    await using started = await start({ TEST_BOX_ADMIN: '[::1]:0' })
    expect((await started.ask('/drain', { method: 'POST' })).status).toBe(202)
  })

  it.runIf(ipv6)('from IPv4 loopback through an IPv6 socket asks for the drain', async () => {
    await using started = await start({ TEST_BOX_ADMIN: ':0' })
    const { admin } = started
    if ('path' in admin) throw new Error('not a Unix socket')
    const response = await fetch(`http://127.0.0.1:${admin.port}/drain`, { method: 'POST' })
    expect(response.status).toBe(202)
  })

  it('through a Unix socket asks for the drain', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'admin-'))
    await using started = await start({ TEST_BOX_ADMIN: `unix:${join(directory, 'admin.sock')}` })
    const answer = await raw(started.admin, 'POST /drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 202 /)
    rmSync(directory, { recursive: true })
  })

  it.each([
    ['Origin', { origin: 'http://127.0.0.1' }],
    ['Origin: null', { origin: 'null' }],
    ['Sec-Fetch-Site', { 'sec-fetch-site': 'cross-site' }],
    ['Sec-Fetch-Site: same-origin, after DNS rebinding', { 'sec-fetch-site': 'same-origin' }],
  ])('of a web page, known by %s, is 403 and does nothing', async (_, named) => {
    await using started = await start()
    const { admin } = started
    const lines = Object.entries(named).map(([name, value]) => `${name}: ${value}\r\n`)
    const answer = await raw(
      admin,
      `POST /drain HTTP/1.1\r\nHost: x\r\n${lines.join('')}Connection: close\r\n\r\n`,
    )
    expect(answer).toMatch(/^HTTP\/1\.1 403 /)
    expect(await drainAsked(started)).toBe(false)
  })

  describe.skipIf(outside === undefined)('from an address that is not loopback', () => {
    const fromOutside = async (headers: string) => {
      await using started = await start({ TEST_BOX_ADMIN: '0.0.0.0:0' })
      const { admin } = started
      if ('path' in admin) throw new Error('not a Unix socket')
      const at = { host: outside ?? '', port: admin.port }
      const answer = await raw(at, `POST /drain HTTP/1.1\r\nHost: x\r\n${headers}Connection: close\r\n\r\n`)
      return { answer, asked: await drainAsked(started) }
    }

    it('is 403 and does nothing', async () => {
      const { answer, asked } = await fromOutside('')
      expect(answer).toMatch(/^HTTP\/1\.1 403 /)
      expect(asked).toBe(false)
    })

    it.each(['X-Forwarded-For: 127.0.0.1', 'Forwarded: for=127.0.0.1', 'X-Real-IP: ::1', 'Host: localhost'])(
      'is 403 whatever a header claims: %s',
      async (header) => {
        expect((await fromOutside(`${header}\r\n`)).answer).not.toMatch(/^HTTP\/1\.1 2/)
      },
    )

    // A reset connection has no address any more when its request is handled.
    it('does nothing when the client has reset the connection already', async () => {
      await using started = await start({ TEST_BOX_ADMIN: '0.0.0.0:0' })
      const { admin } = started
      if ('path' in admin) throw new Error('not a Unix socket')
      for (let attempt = 0; attempt < 20; attempt++) {
        const socket = connect(admin.port, outside)
        await once(socket, 'connect')
        socket.write('POST /drain HTTP/1.1\r\nHost: x\r\n\r\n')
        socket.resetAndDestroy()
        // The answer to a later request shows that the one before it has been handled.
        expect((await started.ask('/healthz')).status).toBe(200)
      }
      expect(await drainAsked(started)).toBe(false)
    })
  })
})

describe('bad requests', () => {
  it.each([
    ['no HTTP', 'hello\r\n\r\n'],
    ['TLS', '\u0016\u0003\u0001\u0002\u0000'],
    ['two lengths', 'POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    [
      'length and chunks',
      'POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    ['a space before the colon', 'GET / HTTP/1.1\r\nHost : x\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['a head of more than 16 KiB', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`],
  ])('%s: an error, and the next client is served', async (_, bytes) => {
    await using started = await start()
    expect(await raw(started.admin, bytes)).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect((await started.ask('/healthz')).status).toBe(200)
    expect(await drainAsked(started)).toBe(false)
  })

  it.each(['/%', '/%zz', '/%c0%ae', '/..%2f..%2fetc%2fpasswd', '//', '/?a=%', `/${'x'.repeat(8000)}`])(
    'the path %s gives no stack trace',
    async (path) => {
      await using started = await start()
      const answer = await raw(started.admin, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      expect(answer).toMatch(/^HTTP\/1\.1 [24]\d\d /)
      expect(answer).not.toMatch(/\bat |node_modules|\.ts/)
    },
  )

  it('an error of ours is 500 and says nothing of what it was', async () => {
    await using started = await start({ TEST_BOX_LABEL: 'broken' })
    const response = await started.ask('/metrics')
    expect([response.status, await response.json()]).toEqual([500, { error: 'internal error' }])
  })

  it('a body is not read', async () => {
    await using started = await start()
    const response = await started.ask('/drain', {
      method: 'POST',
      body: '{"broken',
      headers: { 'content-type': 'application/json' },
    })
    expect(response.status).toBe(202)
  })
})

it('a client that sends nothing is cut off, so that probes get through', { timeout: 30_000 }, async () => {
  await using started = await start()
  const { admin } = started
  if ('path' in admin) throw new Error('not a Unix socket')
  const socket = connect(admin.port, admin.host)
  socket.on('error', () => undefined)
  socket.resume()
  await once(socket, 'close', { signal: AbortSignal.timeout(15_000) })
})
