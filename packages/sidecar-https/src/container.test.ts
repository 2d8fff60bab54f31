import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Agent, request } from 'node:https'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'
import { type StartedContainer, startContainer } from '@outrider/core/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import container from './container.ts'
import { selfSigned } from './index.ts'
import { createCa, type TestCa } from './test-ca.ts'

let app: Server
let answer: (request: IncomingMessage, response: ServerResponse) => void
let started: StartedContainer | undefined
let directory: string

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  answer = (_, response) => void response.end('hello')
  app = createServer((incoming, response) => answer(incoming, response)).listen(0, '127.0.0.1')
  await once(app, 'listening')
})
afterEach(async () => {
  await started?.[Symbol.asyncDispose]()
  started = undefined
  app.close()
  app.closeIdleConnections()
  await once(app, 'close')
  rmSync(directory, { recursive: true })
})

const target = (): string => `http://127.0.0.1:${(app.address() as AddressInfo).port}`

async function start(env: Readonly<Record<string, string>> = {}): Promise<StartedContainer> {
  started = await startContainer(container, { SIDECAR_HTTPS_TARGET: target(), ...env })
  return started
}

function port({ addresses }: StartedContainer): number {
  const { https } = addresses
  if (https === undefined || 'path' in https) throw new Error('it listens on TCP')
  return https.port
}

interface Seen {
  readonly status: number | undefined
  readonly body: string
  readonly names: string | undefined
}

async function get(
  from: StartedContainer,
  options: {
    agent?: Agent | false
    headers?: Record<string, string>
    servername?: string
    cert?: string
    key?: string
  } = {},
): Promise<Seen> {
  const outgoing = request({
    port: port(from),
    host: '127.0.0.1',
    rejectUnauthorized: false,
    agent: false,
    ...options,
  }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const names = (response.socket as TLSSocket).getPeerCertificate().subjectaltname
  return { status: response.statusCode, body: await text(response), names }
}

function certificateFiles(
  name: string,
  validDays = 365,
): Record<'SIDECAR_HTTPS_CERT' | 'SIDECAR_HTTPS_KEY', string> {
  const pair = selfSigned({ names: [name], days: validDays })
  const files = {
    SIDECAR_HTTPS_CERT: join(directory, 'tls.crt'),
    SIDECAR_HTTPS_KEY: join(directory, 'tls.key'),
  }
  writeFileSync(files.SIDECAR_HTTPS_CERT, pair.cert)
  writeFileSync(files.SIDECAR_HTTPS_KEY, pair.key)
  return files
}

/** Requires certificates of this authority for the name admin. */
function clientAuthEnv(ca: TestCa): Record<string, string> {
  const file = join(directory, 'ca.crt')
  writeFileSync(file, ca.cert)
  return {
    SIDECAR_HTTPS_CLIENT_AUTH: 'required',
    SIDECAR_HTTPS_CLIENT_CA: file,
    SIDECAR_HTTPS_ALLOW_CN: 'admin',
  }
}

async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  for (let round = 0; round < 700; round++) {
    if (await what()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('waited in vain')
}

it('A certificate replaced on disk is served to new connections without dropping open ones.', async () => {
  const running = await start(certificateFiles('before.test'))
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  expect((await get(running, { agent })).names).toContain('DNS:before.test')
  certificateFiles('after.test')
  await until(async () => (await get(running)).names?.includes('after.test') === true)
  const [socket] = Object.values(agent.freeSockets).flat()
  expect((await get(running, { agent })).status).toBe(200)
  expect(Object.values(agent.freeSockets).flat()).toEqual([socket])
  agent.destroy()
})

it('A certificate or key that cannot be used never replaces a good one.', async () => {
  const files = certificateFiles('good.test')
  const running = await start(files)
  const refused = () =>
    running.events.filter(({ msg }) => msg === 'certificate not reloaded, the last good one stays').length
  const otherKey = selfSigned({ names: ['other.test'] }).key
  for (const [index, bad] of [otherKey, 'nonsense', ''].entries()) {
    writeFileSync(files.SIDECAR_HTTPS_KEY, bad)
    await until(() => refused() > index)
    expect((await get(running)).names).toContain('DNS:good.test')
  }
  rmSync(files.SIDECAR_HTTPS_KEY)
  await until(() => refused() > 3)
  expect((await get(running)).names).toContain('DNS:good.test')
  const [, secret = ''] = otherKey.split('\n')
  expect(JSON.stringify(running.events)).not.toContain(secret)
})

it('Without a certificate it serves a self-signed one and says so in the log, on the page and in /readyz.', async () => {
  const running = await start()
  expect((await get(running)).names).toContain('DNS:localhost')
  expect(running.events).toContainEqual(
    expect.objectContaining({ level: 'warn', msg: expect.stringContaining('SELF-SIGNED') }),
  )
  const page = await running.ask('/', { headers: { accept: 'text/html' } })
  expect(await page.text()).toContain('SELF-SIGNED')
  expect(await (await running.ask('/readyz')).text()).toContain('SELF-SIGNED')
  expect(await (await running.ask('/metrics')).text()).toContain(
    'outrider_sidecar_https_certificate_self_signed 1',
  )
})

it('Of many certificates each client gets the one for the name that it asks for.', async () => {
  const certs = join(directory, 'certs')
  mkdirSync(certs)
  for (const name of ['one.test', 'two.test']) {
    const pair = selfSigned({ names: [name] })
    writeFileSync(join(certs, `${name}.crt`), pair.cert)
    writeFileSync(join(certs, `${name}.key`), pair.key)
  }
  const running = await start({ SIDECAR_HTTPS_CERTS: certs })
  for (const servername of ['two.test', 'one.test']) {
    expect((await get(running, { servername })).names).toContain(`DNS:${servername}`)
  }
  expect(await (await running.ask('/metrics')).text()).toMatch(
    /certificate_not_after_seconds\{name="two.test"\} \d+/,
  )
})

it('A client without a certificate that the rules allow never reaches the application when certificates are required.', async () => {
  let asked = 0
  answer = (_, response) => {
    asked += 1
    response.end('hello')
  }
  const ca = createCa('clients')
  const other = createCa('others')
  const running = await start(clientAuthEnv(ca))
  const refused = [{}, ca.issue({ cn: 'reader', client: true }), other.issue({ cn: 'admin', client: true })]
  for (const { cert, key } of refused as { cert?: string; key?: string }[]) {
    await expect(get(running, { ...(cert && { cert }), ...(key && { key }) })).rejects.toThrow()
  }
  expect(asked).toBe(0)
  const { cert, key } = ca.issue({ cn: 'admin', client: true })
  expect((await get(running, { cert, key })).status).toBe(200)
  const metrics = await (await running.ask('/metrics')).text()
  for (const outcome of ['no-certificate', 'denied', 'bad-certificate', 'ok']) {
    expect(metrics).toContain(`handshakes_total{outcome="${outcome}"} 1`)
  }
})

it('The application is told who a verified client is; what a client itself says about that is dropped.', async () => {
  answer = ({ headers }, response) => response.end(JSON.stringify(headers['x-forwarded-client-cert'] ?? null))
  const ca = createCa('clients')
  const running = await start({ ...clientAuthEnv(ca), SIDECAR_HTTPS_CLIENT_AUTH: 'optional' })
  const headers = { 'x-forwarded-client-cert': 'Hash=lie', x_forwarded_client_cert: 'Hash=lie' }
  expect((await get(running, { headers })).body).toBe('null')
  const { cert, key } = ca.issue({ cn: 'admin', client: true })
  const told = JSON.parse((await get(running, { headers, cert, key })).body) as string
  expect(told).toMatch(/^Hash=[0-9a-f]{64};Subject="CN=admin"$/)
})

it('A target outside the pod is refused unless it is asked for by name.', async () => {
  const outside = { SIDECAR_HTTPS_TARGET: 'http://app.example:8080' }
  await expect(start(outside)).rejects.toThrow(
    /SIDECAR_HTTPS_TARGET.*outside of this pod.*SIDECAR_HTTPS_UNSAFE_TARGET/,
  )
  await start({ ...outside, SIDECAR_HTTPS_UNSAFE_TARGET: 'true' })
  await started?.[Symbol.asyncDispose]()
  await start({ SIDECAR_HTTPS_TARGET: 'https://app.example:8443' })
})

it('The application sees X-Forwarded-For, -Proto, -Host and -Port of the connection; what a client sent under these names is dropped.', async () => {
  answer = ({ headers }, response) => response.end(JSON.stringify(headers))
  const running = await start()
  const lies = {
    'x-forwarded-for': '6.6.6.6',
    'x-forwarded-proto': 'gopher',
    forwarded: 'for=6.6.6.6',
    host: 'app.test',
  }
  const seen = JSON.parse((await get(running, { headers: lies })).body) as Record<string, string>
  expect(seen).toMatchObject({
    host: 'app.test',
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'app.test',
    'x-forwarded-port': '443',
  })
  expect(JSON.stringify(seen)).not.toMatch(/6\.6\.6\.6|gopher/)
})

it('An application that is not up gets its clients a 502 at once, a slow one a 504 at the deadline.', async () => {
  answer = () => undefined
  const slow = await start({ SIDECAR_HTTPS_RESPONSE_TIMEOUT: '200ms' })
  expect((await get(slow)).status).toBe(504)
  await slow[Symbol.asyncDispose]()
  const down = await start({ SIDECAR_HTTPS_TARGET: 'http://127.0.0.1:1' })
  const { status, body } = await get(down, { headers: { accept: 'application/json' } })
  expect(status).toBe(502)
  expect(JSON.parse(body)).toMatchObject({ error: expect.any(String) })
  expect(await (await down.ask('/metrics')).text()).toMatch(
    /requests_total\{code="5xx",outcome="[a-z-]+"\} 1/,
  )
})

it('WebSocket connections and streams pass in both directions, unbuffered.', async () => {
  const sockets = new WebSocketServer({ server: app })
  sockets.on('connection', (socket) => socket.on('message', (message) => socket.send(`echo ${message}`)))
  let events: ServerResponse | undefined
  answer = (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
    events = response
  }
  const running = await start()
  const socket = new WebSocket(`wss://127.0.0.1:${port(running)}`, { rejectUnauthorized: false })
  await once(socket, 'open')
  socket.send('there')
  const [message] = (await once(socket, 'message')) as [Buffer]
  expect(message.toString()).toBe('echo there')
  socket.close()
  await once(socket, 'close')
  const outgoing = request({
    port: port(running),
    host: '127.0.0.1',
    rejectUnauthorized: false,
    agent: false,
  }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const [chunk] = (await once(response, 'data')) as [Buffer]
  expect(chunk.toString()).toBe('data: first\n\n')
  events?.end()
  await once(response, 'end')
  sockets.close()
})

it('a certificate that is named but not there ends the start with its parameter, and so does one of another key', async () => {
  const files = certificateFiles('good.test')
  await expect(start({ ...files, SIDECAR_HTTPS_CERT: '/nowhere.crt' })).rejects.toThrow(
    /SIDECAR_HTTPS_CERT.*\/nowhere\.crt does not exist/,
  )
  writeFileSync(files.SIDECAR_HTTPS_KEY, selfSigned({ names: ['other.test'] }).key)
  await expect(start(files)).rejects.toThrow(/SIDECAR_HTTPS_KEY \(--key\)/)
})

it('a port in use is said in one line that names the parameter', async () => {
  const taken = target().replace('http://', '')
  const env = { SIDECAR_HTTPS_TARGET: 'http://127.0.0.1:1' }
  await expect(start({ ...env, SIDECAR_HTTPS_LISTEN: taken })).rejects.toThrow(
    `SIDECAR_HTTPS_LISTEN (--listen): ${taken} is in use by another program`,
  )
  await expect(start({ ...env, SIDECAR_HTTPS_ADMIN: taken })).rejects.toThrow('SIDECAR_HTTPS_ADMIN (--admin)')
})

it('a certificate that may not be read ends the start, instead of a self-signed one in its place', async () => {
  const files = certificateFiles('good.test')
  rmSync(files.SIDECAR_HTTPS_CERT)
  symlinkSync(join(directory, 'loop'), join(directory, 'loop'))
  await expect(start({ SIDECAR_HTTPS_CERT: join(directory, 'loop') })).rejects.toThrow(/SIDECAR_HTTPS_CERT/)
})

it('an expired certificate is served, and said to be expired on /readyz', async () => {
  // It begins an hour before it is made.
  const running = await start(certificateFiles('old.test', 1 / 48))
  expect(await (await running.ask('/readyz')).text()).toContain('EXPIRED')
})

it('a request that the application may leave half read never shares its connection with another', async () => {
  // An application that does not read the body of a GET, as some do, and takes it for the next request.
  const seen: string[] = []
  const careless = createTcpServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      const heads = chunk.toString('latin1').match(/(GET|POST) \S+ HTTP\/1\.1/g) ?? []
      for (const head of heads) {
        seen.push(head)
        const body = head.includes('smuggled') ? 'for nobody' : 'mine'
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
      }
    })
  }).listen(0, '127.0.0.1')
  await once(careless, 'listening')
  const running = await start({
    SIDECAR_HTTPS_TARGET: `http://127.0.0.1:${(careless.address() as AddressInfo).port}`,
  })
  const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
  const outgoing = request({
    port: port(running),
    host: '127.0.0.1',
    rejectUnauthorized: false,
    agent: false,
  })
  outgoing.setHeader('content-length', smuggled.length)
  outgoing.end(smuggled)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  response.resume()
  await once(response, 'close')
  for (let round = 0; round < 20; round++) expect((await get(running)).body).toBe('mine')
  await started?.[Symbol.asyncDispose]()
  careless.close()
  await once(careless, 'close')
})

it('an upgrade to cleartext HTTP/2, in which a client could forge headers, is not passed on', async () => {
  answer = ({ headers }, response) => response.end(JSON.stringify(headers))
  const running = await start()
  const outgoing = request({
    port: port(running),
    host: '127.0.0.1',
    rejectUnauthorized: false,
    agent: false,
  })
  outgoing.setHeader('connection', 'Upgrade, HTTP2-Settings')
  outgoing.setHeader('upgrade', 'h2c')
  outgoing.setHeader('http2-settings', 'AAMAAABkAAQAAP__')
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  expect(response.statusCode).toBe(200)
  expect(JSON.parse(await text(response))).not.toHaveProperty('upgrade')
})

it('a certificate that ends while it is served is said to have ended on /readyz', async () => {
  // It begins an hour before it is made, and ends two seconds after.
  const running = await start(certificateFiles('brief.test', (3_600 + 2) / 86_400))
  expect(await (await running.ask('/readyz')).text()).not.toContain('EXPIRED')
  await until(async () => (await (await running.ask('/readyz')).text()).includes('EXPIRED'))
}, 20_000)
