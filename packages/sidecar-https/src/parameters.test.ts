import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request as requestPlain, type ServerResponse } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type StartedContainer, startContainer } from '@outrider/core/testing'
import { afterAll, describe, expect, test } from 'vitest'
import container from './container.ts'
import { readIdentity } from './identity.ts'
import { readProxyHeader } from './proxy-protocol.ts'
import { selfSigned } from './self-signed.ts'
import { createCa, type Issued } from './test-ca.ts'
import {
  Application,
  ask,
  askHttp2,
  exchangeRaw,
  handshake,
  httpApp,
  rawClient,
  tcpApp,
  unaccepting,
  until,
} from './test-support.ts'

const directory = mkdtempSync(join(tmpdir(), 'parameters-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** Parameters by the end of their variable. */
type Params = Readonly<Record<string, string>>

const variables = (params: Params): Record<string, string> =>
  Object.fromEntries(Object.entries(params).map(([name, value]) => [`SIDECAR_HTTPS_${name}`, value]))

interface Running extends AsyncDisposable {
  started: StartedContainer
  port: number
}

const HEADERS = (req: IncomingMessage, res: ServerResponse) => {
  req.resume().on('end', () => res.end(JSON.stringify(req.headers)))
}

/** The container in front of an application that says which headers it was sent, unless there is another one. */
async function run(params: Params = {}, given?: Application): Promise<Running> {
  const app = given ?? (await httpApp(HEADERS))
  const env = variables({ TARGET: app.target.origin, ...params })
  const started = await startContainer(container, env).catch(async (error: unknown) => {
    await app[Symbol.asyncDispose]()
    throw error
  })
  const { https } = started.addresses
  return {
    started,
    port: https !== undefined && 'port' in https ? https.port : 0,
    async [Symbol.asyncDispose]() {
      await started[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

function file(name: string, content: string | Uint8Array): string {
  writeFileSync(join(directory, name), content)
  return join(directory, name)
}

const ca = createCa('authority')
const pairFiles = (name: string, { cert, key }: { cert: string; key: string }) => ({
  cert: file(`${name}.crt`, cert),
  key: file(`${name}.key`, key),
})

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
const silentApp = () => httpApp(() => undefined)

describe('a limit is that of its parameter:', () => {
  test('RESPONSE_TIMEOUT', async () => {
    await using running = await run({ RESPONSE_TIMEOUT: '200ms' }, await silentApp())
    expect((await ask(running.port)).status).toBe(504)
  })

  test('CONNECT_TIMEOUT', async () => {
    await using busy = await unaccepting()
    const TARGET = `http://127.0.0.1:${busy.port}`
    await using running = await run({ TARGET, CONNECT_TIMEOUT: '200ms' })
    expect((await ask(running.port)).status).toBe(504)
  })

  test('HANDSHAKE_TIMEOUT', async () => {
    await using running = await run({ HANDSHAKE_TIMEOUT: '200ms' })
    const socket = connect(running.port, '127.0.0.1').on('error', () => undefined)
    await once(socket.resume(), 'close')
  })

  test.each<[string, Params, string, number]>([
    ['HEAD_TIMEOUT', { HEAD_TIMEOUT: '200ms' }, 'GET / HTTP/1.1\r\n', 408],
    [
      'STALL_TIMEOUT',
      { STALL_TIMEOUT: '200ms' },
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n',
      408,
    ],
    ['MAX_HEAD', { MAX_HEAD: '1KiB' }, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(1024)}\r\n\r\n`, 431],
    ['MAX_URI', { MAX_URI: '1KiB' }, `GET /${'x'.repeat(1024)} HTTP/1.1\r\nHost: a\r\n\r\n`, 414],
    ['MAX_HEADERS', { MAX_HEADERS: '3' }, 'GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n', 431],
    ['MAX_BODY', { MAX_BODY: '1KiB' }, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n', 413],
    [
      'MAX_BODY, for chunks too',
      { MAX_BODY: '1KiB' },
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n${'x'.repeat(1025)}\r\n0\r\n\r\n`,
      413,
    ],
  ])('%s', async (_, params, bytes, status) => {
    await using running = await run(params)
    expect(statusOf(await exchangeRaw(running.port, bytes))).toBe(status)
  })

  test('MIN_BODY_RATE', async () => {
    const slowly = async (params: Params): Promise<number> => {
      await using running = await run({ STALL_TIMEOUT: '300ms', ...params })
      using client = await rawClient(running.port)
      client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nConnection: close\r\n\r\n')
      const sending = setInterval(() => client.socket.writable && client.socket.write('x'), 100)
      await client.untilClosed().finally(() => clearInterval(sending))
      return statusOf(client.received)
    }
    expect(await Promise.all([slowly({ MIN_BODY_RATE: '1' }), slowly({ MIN_BODY_RATE: '1000' })])).toEqual([
      200, 408,
    ])
  })

  test.each<[string, Params, string]>([
    ['IDLE_TIMEOUT', { IDLE_TIMEOUT: '200ms' }, GET],
    ['MAX_REQUESTS', { MAX_REQUESTS: '2' }, GET + GET],
  ])('%s', async (_, params, bytes) => {
    await using running = await run(params)
    expect((await exchangeRaw(running.port, bytes)).match(/HTTP\/1\.1 200/g)).toHaveLength(
      bytes.length / GET.length,
    )
  })

  test('TCP_IDLE_TIMEOUT', async () => {
    await using running = await run({ MODE: 'tcp', TCP_IDLE_TIMEOUT: '200ms' }, await tcpApp(() => undefined))
    expect(await exchangeRaw(running.port, 'x')).toBe('')
    await until(
      async () => (await metrics(running)).includes('pipes_total{outcome="idle"} 1'),
      'the outcome of the pipe',
    )
  })

  test.each(['MAX_CONNECTIONS', 'MAX_CONNECTIONS_PER_ADDRESS'])('%s', async (name) => {
    await using running = await run({ [name]: '1' })
    using _first = await rawClient(running.port)
    await expect(handshake(running.port)).rejects.toThrow()
    expect(await metrics(running)).toContain('handshakes_total{outcome="too-many"} 1')
  })

  test('MAX_UPSTREAM_CONNECTIONS', async () => {
    const silent = await tcpApp((socket) => void socket.resume())
    await using running = await run({ MAX_UPSTREAM_CONNECTIONS: '1' }, silent)
    using client = await rawClient(running.port)
    client.socket.write(GET)
    await until(() => silent.sockets.size === 1, 'the first request')
    using other = await rawClient(running.port)
    other.socket.write(GET)
    await other.until('HTTP/1.1 503 ')
  })

  test('MAX_STREAMS', async () => {
    await using running = await run({ MAX_STREAMS: '7' })
    const session = connectHttp2(`https://127.0.0.1:${running.port}`, { rejectUnauthorized: false })
    await once(session, 'remoteSettings')
    expect(session.remoteSettings.maxConcurrentStreams).toBe(7)
    session.destroy()
  })
})

describe('TLS is that of its parameters:', () => {
  test.each<[string, Params, Parameters<typeof handshake>[1]]>([
    ['MIN_TLS', { MIN_TLS: '1.3' }, { maxVersion: 'TLSv1.2' }],
    [
      'CIPHERS',
      { CIPHERS: 'ECDHE-ECDSA-AES256-GCM-SHA384' },
      { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
    ],
    ['CURVES', { CURVES: 'P-384' }, { ecdhCurve: 'P-256' }],
    ['HTTP2', { HTTP2: 'false' }, { ALPNProtocols: ['h2'] }],
    ['STRICT_NAMES', { STRICT_NAMES: 'true' }, { servername: 'nobody.test' }],
  ])('%s', async (_, params, options) => {
    await using plain = await run()
    ;(await handshake(plain.port, options)).destroy()
    await using running = await run(params)
    await expect(handshake(running.port, options)).rejects.toThrow()
  })

  test('PKCS12 with PKCS12_PASSWORD', async () => {
    const { cert, key } = selfSigned({ names: ['pkcs12.test'] })
    file('both.pem', key + cert)
    const args = ['-in', 'both.pem', '-out', 'both.p12', '-passout', 'pass:s3cret']
    execFileSync('openssl', ['pkcs12', '-export', ...args], { cwd: directory })
    const PKCS12 = join(directory, 'both.p12')
    await using running = await run({ PKCS12, PKCS12_PASSWORD: 's3cret' })
    const socket = await handshake(running.port)
    expect(socket.getPeerCertificate().subjectaltname).toContain('pkcs12.test')
    socket.destroy()
    await expect(run({ PKCS12, PKCS12_PASSWORD: 'wr0ng' })).rejects.toThrow(/SIDECAR_HTTPS_PKCS12.*password/s)
    await expect(run({ PKCS12, PKCS12_PASSWORD: 'wr0ng' })).rejects.not.toThrow(/wr0ng/)
  })

  test('TICKET_KEYS and TICKET_ROTATION', async () => {
    const nameOf = async ({ port }: Running): Promise<string | undefined> => {
      const socket = await handshake(port, { maxVersion: 'TLSv1.2' })
      const ticket = socket.getTLSTicket()
      socket.destroy()
      return ticket?.toString('hex', 0, 16)
    }
    const keys = randomBytes(48)
    await using shared = await run({ TICKET_KEYS: file('ticket.keys', keys), TICKET_ROTATION: '10ms' })
    expect(await nameOf(shared)).toBe(keys.toString('hex', 0, 16))
    await using rotating = await run({ TICKET_ROTATION: '10ms' })
    const first = await nameOf(rotating)
    await until(async () => (await nameOf(rotating)) !== first, 'other keys')
    await expect(run({ TICKET_KEYS: file('short.keys', 'short') })).rejects.toThrow(
      /48 bytes.*openssl rand 48/,
    )
  })
})

describe('clients are told apart by the parameters:', () => {
  const client = ca.issue({
    client: true,
    cn: 'one',
    ou: 'ops',
    dns: ['one.test'],
    uri: ['spiffe://test/one'],
    ip: ['10.0.0.1'],
  })
  const stranger = ca.issue({ client: true, cn: 'two' })
  const told = async ({ port }: Running, { cert, key }: Issued): Promise<unknown> =>
    ask(port, '/', { cert, key }).then(
      ({ body }) => (JSON.parse(body) as Record<string, unknown>)['x-forwarded-client-cert'],
      () => 'refused',
    )
  const required = { CLIENT_AUTH: 'required', CLIENT_CA: file('ca.crt', ca.cert) }

  test.each<[string, string]>([
    ['ALLOW_CN', 'zero,one'],
    ['ALLOW_OU', 'dev,ops'],
    ['ALLOW_DNS', '*.test'],
    ['ALLOW_URI', 'spiffe://test/*'],
    ['ALLOW_IP', '10.0.0.1'],
    ['ALLOW_SPKI', readIdentity(client.der).spkiPins],
  ])('%s', async (name, value) => {
    await using running = await run({ ...required, [name]: value })
    expect(await told(running, client)).toMatch(/^Hash=.*CN=one/)
    expect(await told(running, stranger)).toBe('refused')
  })

  test('ALLOW_ALL and CLIENT_CRL', async () => {
    const CLIENT_CRL = file('ca.crl', ca.crl([stranger.serial]))
    await using running = await run({ ...required, ALLOW_ALL: 'true', CLIENT_CRL })
    expect(await told(running, client)).toMatch(/^Hash=/)
    expect(await told(running, stranger)).toBe('refused')
    expect(await metrics(running)).toMatch(/^outrider_sidecar_https_crl_next_update_seconds \d{10}/m)
  })

  test('ALLOW_SPKI without CLIENT_CA', async () => {
    const ALLOW_SPKI = readIdentity(client.der).spkiPins
    await using running = await run({ CLIENT_AUTH: 'required', ALLOW_SPKI })
    expect(await told(running, client)).toMatch(/^Hash=[0-9a-f]{64}$/)
    expect(await told(running, stranger)).toBe('refused')
  })

  test('CLIENT_CRL that is out of date, which /readyz says', async () => {
    const CLIENT_CRL = file('old.crl', ca.crl([], { nextUpdate: new Date(Date.now() - 60_000) }))
    await using running = await run({ ...required, ALLOW_ALL: 'true', CLIENT_CRL })
    expect(await told(running, client)).toBe('refused')
    expect(await (await running.started.ask('/readyz')).text()).toContain('out of date')
  })

  test('CLIENT_CA that holds no certificate ends the start', async () => {
    const CLIENT_CA = file('none.crt', 'nothing')
    await expect(run({ ...required, CLIENT_CA, ALLOW_ALL: 'true' })).rejects.toThrow(
      /SIDECAR_HTTPS_CLIENT_CA/,
    )
  })

  test('IDENTITY_HEADER', async () => {
    await using running = await run({ ...required, ALLOW_ALL: 'true', IDENTITY_HEADER: 'X-Who' })
    const { cert, key } = client
    expect(JSON.parse((await ask(running.port, '/', { cert, key })).body)).toMatchObject({
      'x-who': expect.stringMatching(/CN=one/),
    })
  })
})

describe('what passes is changed by the parameters:', () => {
  const headersOf = async (running: Running, headers: Record<string, string> = {}): Promise<unknown> =>
    JSON.parse((await ask(running.port, '/', { headers })).body)

  test('HSTS, in place of what the application says', async () => {
    const app = await httpApp((_, res) => res.setHeader('strict-transport-security', 'max-age=1').end())
    await using running = await run({ HSTS: 'max-age=31536000; includeSubDomains' }, app)
    expect((await ask(running.port)).rawHeaders.filter((_, at) => at % 2 === 1)).not.toContain('max-age=1')
    expect((await ask(running.port)).headers['strict-transport-security']).toBe(
      'max-age=31536000; includeSubDomains',
    )
  })

  test('HSTS, on what the sidecar itself answers too', async () => {
    await using running = await run({ HSTS: 'max-age=9', TARGET: 'http://127.0.0.1:1' })
    expect(await ask(running.port)).toMatchObject({
      status: 502,
      headers: { 'strict-transport-security': 'max-age=9' },
    })
  })

  test('VIA', async () => {
    await using running = await run({ VIA: 'edge' })
    expect(await headersOf(running)).toMatchObject({ via: '1.1 edge' })
    await using without = await run()
    expect(await headersOf(without)).not.toHaveProperty('via')
  })

  test('TRACEPARENT', async () => {
    const valid = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await using passing = await run()
    expect(await headersOf(passing)).not.toHaveProperty('traceparent')
    expect(await headersOf(passing, { traceparent: valid })).toMatchObject({ traceparent: valid })
    await using creating = await run({ TRACEPARENT: 'create' })
    expect(await headersOf(creating)).toMatchObject({ traceparent: expect.stringMatching(/^00-/) })
    expect(await headersOf(creating, { traceparent: valid })).toMatchObject({ traceparent: valid })
  })

  test('REQUEST_ID', async () => {
    await using running = await run({ REQUEST_ID: 'true' })
    expect(await headersOf(running, { 'x-request-id': 'forged' })).toMatchObject({
      'x-request-id': expect.stringMatching(/^[0-9a-f]{32}$/),
    })
  })

  test('TRUSTED_PROXIES', async () => {
    const said = { 'x-forwarded-for': '203.0.113.9' }
    await using trusting = await run({ TRUSTED_PROXIES: '10.0.0.0/8,127.0.0.0/8' })
    expect(await headersOf(trusting, said)).toMatchObject({ 'x-forwarded-for': '203.0.113.9, 127.0.0.1' })
    await using wary = await run({ TRUSTED_PROXIES: '10.0.0.0/8' })
    expect(await headersOf(wary, said)).toMatchObject({ 'x-forwarded-for': '127.0.0.1' })
  })

  test('PROXY_PROTOCOL_FROM and PROXY_PROTOCOL_SEND', async () => {
    const seen: unknown[] = []
    const app = await tcpApp((socket) => {
      readProxyHeader(socket, { timeoutMs: 5_000 }).then(
        ({ source }) => {
          seen.push(source)
          socket.end('HTTP/1.1 204 No Content\r\n\r\n')
        },
        () => socket.destroy(),
      )
    })
    await using running = await run({ PROXY_PROTOCOL_FROM: '127.0.0.1', PROXY_PROTOCOL_SEND: 'true' }, app)
    const raw = connect(running.port, '127.0.0.1')
    raw.write('PROXY TCP4 203.0.113.7 192.0.2.1 5555 443\r\n')
    using client = await rawClient(running.port, { socket: raw })
    client.socket.write(GET)
    await client.until('HTTP/1.1 204')
    expect(seen).toEqual([{ address: '203.0.113.7', port: 5555 }])
  })

  test('TARGET_CA, TARGET_NAME, TARGET_CERT and TARGET_KEY', async () => {
    const own = { ...ca.issue({ dns: ['app.test'] }), ca: ca.cert, requestCert: true }
    const app = await new Application(createHttpsServer(own, (_, res) => res.end('hello'))).listen()
    const { cert, key } = pairFiles('target', ca.issue({ cn: 'sidecar', client: true }))
    const params = {
      TARGET: app.target.origin.replace('http', 'https'),
      TARGET_CA: file('target-ca.crt', ca.cert),
      TARGET_CERT: cert,
      TARGET_KEY: key,
      TARGET_NAME: 'app.test',
    }
    await using running = await run(params, app)
    expect((await ask(running.port)).body).toBe('hello')
    await using other = await run({ ...params, TARGET_NAME: 'other.test' })
    expect((await ask(other.port)).status).toBe(502)
  })

  test('REDIRECT and REDIRECT_TO', async () => {
    await using running = await run({ REDIRECT: '127.0.0.1:0', REDIRECT_TO: '8443' })
    const { redirect } = running.started.addresses
    if (redirect === undefined || 'path' in redirect) throw new Error('it listens on TCP')
    const outgoing = requestPlain({
      ...redirect,
      path: '/a?b',
      agent: false,
      headers: { host: 'app.test' },
    }).end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    response.resume()
    expect([response.statusCode, response.headers.location]).toEqual([308, 'https://app.test:8443/a?b'])
  })

  test('MODE', async () => {
    const app = await tcpApp((socket) => void socket.end('220 ready'))
    await using running = await run({ MODE: 'tcp', TARGET: `tcp://127.0.0.1:${app.port}` }, app)
    expect(await exchangeRaw(running.port, '')).toBe('220 ready')
  })
})

async function metrics({ started }: Running): Promise<string> {
  return (await started.ask('/metrics')).text()
}

describe('metrics', () => {
  test('count requests, refusals, bytes, durations and handshakes', async () => {
    await using running = await run({ MAX_BODY: '1KiB' })
    const { body } = await ask(running.port, '/', { method: 'POST', body: 'x'.repeat(1000) })
    await ask(running.port, '/', { method: 'POST', headers: { 'content-length': '2000' } }).catch(
      () => undefined,
    )
    await askHttp2(running.port)
    await exchangeRaw(running.port, 'nonsense\r\n\r\n')
    const find = (text: string, name: string): number =>
      Number(new RegExp(`^outrider_sidecar_https_${name} (\\S+)$`, 'm').exec(text)?.[1])
    await until(
      async () => find(await metrics(running), 'request_duration_seconds_count') === 4,
      'four requests in the metrics',
    )
    const text = await metrics(running)
    const value = (name: string): number => find(text, name)
    expect(value('requests_total{code="2xx",outcome="complete"}')).toBe(2)
    expect(value('requests_total{code="4xx",outcome="refused"}')).toBe(2)
    expect(value('refusals_total{reason="body-too-large"}')).toBe(1)
    expect(value('refusals_total{reason="malformed"}')).toBe(1)
    expect(value('request_bytes_total')).toBe(1000)
    expect(value('response_bytes_total')).toBeGreaterThan(body.length)
    expect(value('handshakes_total{outcome="ok"}')).toBe(4)
    expect(value('requests_in_flight')).toBe(0)
    expect(value('certificate_self_signed')).toBe(1)
    expect(value('certificate_not_after_seconds{name="localhost"}')).toBeGreaterThan(Date.now() / 1000)
    expect(value('config_last_reload_successful{file="certificate"}')).toBe(1)
  })
})

describe('the redirect in the metrics', () => {
  const V1 = 'PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n'
  const redirectOf = ({ started }: Running): { host: string; port: number } => {
    const { redirect } = started.addresses
    if (redirect === undefined || 'path' in redirect) throw new Error('it listens on TCP')
    return redirect
  }
  const open = (running: Running) =>
    connect(redirectOf(running))
      .on('error', () => undefined)
      .resume()

  test('has its open connections among those of the TLS listener', async () => {
    await using running = await run({ REDIRECT: '127.0.0.1:0' })
    using _secure = await rawClient(running.port)
    const plain = open(running)
    await until(async () => (await metrics(running)).includes('open_connections 2\n'), 'two connections')
    plain.destroy()
    await until(async () => (await metrics(running)).includes('open_connections 1\n'), 'one connection')
  })

  test('has the connections that it refuses by their outcome, and a line of each in the log', async () => {
    const params = {
      REDIRECT: '127.0.0.1:0',
      MAX_CONNECTIONS: '1',
      PROXY_PROTOCOL_FROM: '127.0.0.1',
      LOG_LEVEL: 'debug',
    }
    await using running = await run(params)
    const first = open(running)
    await until(async () => (await metrics(running)).includes('open_connections 1\n'), 'the first')
    await once(open(running), 'close')
    expect(await metrics(running)).toContain('handshakes_total{outcome="too-many"} 1\n')
    first.write('GET / HTTP/1.1\r\n')
    await once(first, 'close')
    expect(await metrics(running)).toContain('handshakes_total{outcome="bad-proxy-header"} 1\n')
    const lines = running.started.events.filter(({ msg }) => msg === 'connection to the redirect refused')
    expect(lines).toMatchObject([
      { outcome: 'too-many', address: '127.0.0.1' },
      { outcome: 'bad-proxy-header', address: '127.0.0.1' },
    ])
  })

  test('has its requests, in the log with the address that the PROXY header names', async () => {
    const params = { REDIRECT: '127.0.0.1:0', PROXY_PROTOCOL_FROM: '127.0.0.1', ACCESS_LOG: 'true' }
    await using running = await run(params)
    const socket = connect(redirectOf(running))
    socket.end(`${V1}GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    expect(statusOf(await text(socket))).toBe(308)
    const lines = () => running.started.events.filter(({ msg }) => msg === 'request')
    await until(() => lines().length === 1, 'the line')
    expect(lines()).toMatchObject([{ client: '203.0.113.7', status: 308, outcome: 'answered' }])
    expect(await metrics(running)).toContain('requests_total{code="3xx",outcome="answered"} 1\n')
  })
})

describe('the access log', () => {
  test('has a line for each request, without its query and without headers', async () => {
    await using running = await run({ ACCESS_LOG: 'true', TRACEPARENT: 'create', REQUEST_ID: 'true' })
    const headers = { authorization: 'Bearer s3cret', cookie: 'session=s3cret' }
    await ask(running.port, '/path?token=s3cret', { method: 'POST', headers, body: 's3cret' })
    const lines = () => running.started.events.filter(({ msg }) => msg === 'request')
    await until(() => lines().length === 1, 'the line')
    expect(lines()).toEqual([
      expect.objectContaining({
        level: 'info',
        client: '127.0.0.1',
        method: 'POST',
        path: '/path?...',
        version: '1.1',
        status: 200,
        durationMs: expect.any(Number),
        bytesIn: 6,
        bytesOut: expect.any(Number),
        outcome: 'complete',
        traceparent: expect.stringMatching(/^00-/),
        requestId: expect.stringMatching(/^[0-9a-f]{32}$/),
      }),
    ])
    expect(JSON.stringify(running.started.events)).not.toContain('s3cret')
  })

  const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  test.each(['pass', 'create'])(
    'has the traceparent that a client sends, with TRACEPARENT=%s',
    async (mode) => {
      await using running = await run({ ACCESS_LOG: 'true', TRACEPARENT: mode })
      await ask(running.port, '/', { headers: { traceparent: TRACEPARENT } })
      await askHttp2(running.port, { traceparent: TRACEPARENT })
      const lines = () => running.started.events.filter(({ msg }) => msg === 'request')
      await until(() => lines().length === 2, 'the lines')
      expect(lines()).toMatchObject([{ traceparent: TRACEPARENT }, { traceparent: TRACEPARENT }])
    },
  )

  test('has the reason of a request that is refused, and none of others', async () => {
    await using running = await run({ ACCESS_LOG: 'true', MAX_BODY: '1KiB' })
    await ask(running.port, '/', { method: 'POST', headers: { 'content-length': '2000' } }).catch(
      () => undefined,
    )
    await exchangeRaw(running.port, 'nonsense\r\n\r\n')
    await ask(running.port)
    const lines = () => running.started.events.filter(({ msg }) => msg === 'request')
    await until(() => lines().length === 3, 'the lines')
    expect(lines().map(({ status, reason }) => [status, reason])).toEqual([
      [413, 'body-too-large'],
      [400, 'malformed'],
      [200, undefined],
    ])
  })

  test('cannot be forged by what a client sends', async () => {
    await using running = await run({ ACCESS_LOG: 'true' })
    await exchangeRaw(
      running.port,
      'GET /a"}{"level":"error HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    )
    const lines = () => running.started.events.filter(({ msg }) => msg === 'request')
    await until(() => lines().length === 1, 'the line')
    expect(lines()).toMatchObject([{ level: 'info' }])
  })

  test('is not written unless it is asked for', async () => {
    await using running = await run()
    await ask(running.port)
    expect(running.started.events.filter(({ msg }) => msg === 'request')).toEqual([])
  })

  test('tells which client no rule has let in, without its certificate', async () => {
    const { cert, key } = ca.issue({ cn: 'mallory', client: true })
    const params = { CLIENT_AUTH: 'required', CLIENT_CA: file('log-ca.crt', ca.cert), ALLOW_CN: 'admin' }
    await using running = await run(params)
    await ask(running.port, '/', { cert, key }).catch(() => undefined)
    const lines = () => running.started.events.filter(({ msg }) => msg === 'client denied')
    await until(() => lines().length === 1, 'the line')
    expect(JSON.stringify(lines())).toMatch(/127\.0\.0\.1.*CN=mallory/)
    expect(JSON.stringify(lines()).match(/mallory/g)).toHaveLength(1)
  })

  test('tells which client has shown a certificate that is not accepted, and why', async () => {
    const { cert, key, serial } = ca.issue({ cn: 'lost', client: true })
    const params = {
      CLIENT_AUTH: 'required',
      CLIENT_CA: file('revoked-ca.crt', ca.cert),
      CLIENT_CRL: file('revoked.crl', ca.crl([serial])),
      ALLOW_ALL: 'true',
    }
    await using running = await run(params)
    await ask(running.port, '/', { cert, key }).catch(() => undefined)
    const lines = () => running.started.events.filter(({ msg }) => msg === 'client certificate refused')
    await until(() => lines().length === 1, 'the line')
    expect(lines()).toMatchObject([
      { level: 'info', address: '127.0.0.1', error: expect.stringContaining('CERT_REVOKED') },
    ])
  })

  test('has what a trusted proxy says of those before it, and not what others say', async () => {
    const headers = { 'X-Forwarded-For': '203.0.113.7, 198.51.100.1' }
    for (const TRUSTED_PROXIES of ['127.0.0.1', '10.0.0.1']) {
      await using running = await run({ ACCESS_LOG: 'true', TRUSTED_PROXIES })
      await ask(running.port, '/', { headers })
      const lines = () => running.started.events.filter(({ msg }) => msg === 'request')
      await until(() => lines().length === 1, 'the line')
      const trusted = TRUSTED_PROXIES === '127.0.0.1'
      expect(lines()[0]?.['client']).toBe('127.0.0.1')
      expect(lines()[0]?.['forwardedFor']).toBe(trusted ? headers['X-Forwarded-For'] : undefined)
    }
  })
})

describe('the log warns once for many', () => {
  const warned = ({ started }: Running, what: string) =>
    started.events.filter(({ level, msg }) => level === 'warn' && msg === what)

  test('requests that an application which is not there could not answer', async () => {
    const running = await run({ TARGET: 'http://127.0.0.1:1' })
    for (let count = 0; count < 3; count++) expect((await ask(running.port)).status).toBe(502)
    expect(warned(running, 'application unreachable')).toMatchObject([
      { error: expect.stringContaining('ECONNREFUSED'), requests: 1 },
    ])
    await running[Symbol.asyncDispose]()
    expect(warned(running, 'application unreachable').slice(1)).toMatchObject([{ requests: 2 }])
  })

  test('requests that an application answers with nonsense', async () => {
    await using running = await run({}, await tcpApp((socket) => socket.end('nonsense\r\n\r\n')))
    for (let count = 0; count < 3; count++) expect((await ask(running.port)).status).toBe(502)
    expect(warned(running, 'application failed')).toMatchObject([{ requests: 1 }])
  })

  test('requests that an application does not answer in time', async () => {
    await using running = await run({ RESPONSE_TIMEOUT: '50ms' }, await tcpApp((socket) => socket.resume()))
    for (let count = 0; count < 3; count++) expect((await ask(running.port)).status).toBe(504)
    expect(warned(running, 'application too slow')).toMatchObject([{ requests: 1 }])
  })

  test('connections of mode tcp that an application which is not there could not take', async () => {
    await using running = await run({ MODE: 'tcp', TARGET: 'tcp://127.0.0.1:1' })
    for (let count = 0; count < 3; count++) await exchangeRaw(running.port, 'a').catch(() => undefined)
    await until(() => warned(running, 'application unreachable').length > 0, 'the line')
    expect(warned(running, 'application unreachable')).toMatchObject([{ connections: 1 }])
  })

  test('connections that are too many', async () => {
    await using running = await run({ MAX_CONNECTIONS: '1' })
    using _first = await rawClient(running.port)
    for (let count = 0; count < 3; count++) await ask(running.port).catch(() => undefined)
    expect(warned(running, 'connections refused')).toMatchObject([
      { outcome: 'too-many', address: '127.0.0.1', connections: 1 },
    ])
  })
})
