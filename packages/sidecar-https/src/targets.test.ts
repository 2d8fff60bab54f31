import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createHttpsServer, type ServerOptions } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { createCa, type Issued } from './test-ca.ts'
import {
  Application,
  ask,
  askHttp2,
  httpApp,
  RawClient,
  reports,
  startWorld,
  type Tuning,
  until,
  type World,
} from './test-support.ts'

const directory = mkdtempSync(join(tmpdir(), 'targets-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

const ca = createCa('servers')
const others = createCa('others')
const own = ca.issue({ cn: 'app', dns: ['app.test'], ip: ['127.0.0.1'] })

/** An application behind TLS that says the name that it was asked for and the common name of its client. */
function securedApp(options: ServerOptions = own): Promise<Application> {
  const asking = { ...options, ca: ca.cert, requestCert: true, rejectUnauthorized: false }
  const server = createHttpsServer(asking, ({ socket, headers }, res) => {
    const { subject } = (socket as TLSSocket).getPeerCertificate()
    const name = Reflect.get(socket, 'servername') || 'no name'
    res.end(`${name}, ${subject?.CN ?? 'nobody'}, ${headers['x-forwarded-for']}`)
  })
  server.on('tlsClientError', (_, socket) => socket.destroy())
  return new Application(server).listen()
}

async function serving(app: Application, tuning: Tuning = {}): Promise<World> {
  return startWorld(app, { target: `https://127.0.0.1:${app.port}`, targetTls: { ca: ca.cert }, ...tuning })
}

/** Resets the connection of a client in the middle of a WebSocket, and waits until the application knows. */
async function vanishFromWebSocket(world: World, sockets: WebSocketServer): Promise<void> {
  let left = 0
  sockets.on('connection', (socket) => {
    socket.on('error', () => undefined).on('close', () => (left += 1))
    socket.send('hello')
  })
  const raw = connect(world.port, '127.0.0.1')
  const secure = connectTls({ socket: raw, rejectUnauthorized: false }).on('error', () => undefined)
  secure.write(
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  using client = new RawClient(secure)
  await client.until('hello')
  raw.resetAndDestroy()
  await until(() => left === 1, 'the end of the WebSocket at the application')
  await until(() => world.tunnels.length === 1, 'the report')
  expect(world.tunnels).toMatchObject([{ outcome: 'client-lost' }])
}

describe('an https target', () => {
  test('is asked, over HTTP/1.1 and HTTP/2, when its authority is trusted', async () => {
    await using world = await serving(await securedApp())
    expect((await ask(world.port)).body).toBe('no name, nobody, 127.0.0.1')
    expect((await askHttp2(world.port)).body).toBe('no name, nobody, 127.0.0.1')
  })

  test('is asked by the name that its certificate must have', async () => {
    await using world = await serving(await securedApp(), { targetTls: { ca: ca.cert, name: 'app.test' } })
    expect((await ask(world.port)).body).toBe('app.test, nobody, 127.0.0.1')
  })

  test('is shown the certificate that it asks for', async () => {
    const { cert, key } = ca.issue({ cn: 'sidecar', client: true })
    await using world = await serving(await securedApp(), { targetTls: { ca: ca.cert, cert, key } })
    expect((await ask(world.port)).body).toBe('no name, sidecar, 127.0.0.1')
  })

  test.each<[string, Issued, Tuning['targetTls'], RegExp]>([
    ['has another name', own, { ca: ca.cert, name: 'other.test' }, /ALTNAME_INVALID/],
    ['has another address', ca.issue({ ip: ['127.0.0.9'] }), { ca: ca.cert }, /ALTNAME_INVALID/],
    ['has another authority', own, { ca: others.cert }, /UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET/],
    ['has none of the common authorities', own, {}, /UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET/],
    [
      'has an expired certificate',
      ca.issue({ ip: ['127.0.0.1'], days: 1 / 86_400 }),
      { ca: ca.cert },
      /EXPIRED/,
    ],
    [
      'has a certificate of a client',
      ca.issue({ ip: ['127.0.0.1'], client: true }),
      { ca: ca.cert },
      /PURPOSE/,
    ],
  ])('that %s is a 502, and is sent nothing', async (_, pair, targetTls, code) => {
    await using world = await serving(await securedApp(pair), { targetTls: targetTls ?? {} })
    const { status, body } = await ask(world.port, '/secret')
    expect(status).toBe(502)
    const [report] = await reports(world)
    expect(report).toMatchObject({ outcome: 'upstream-failed', error: { code: expect.stringMatching(code) } })
    // What is wrong inside is not for clients.
    expect(body).not.toMatch(/certificate|127\.0\.0\.1/)
  })

  test('that speaks no TLS is a 502', async () => {
    await using world = await serving(await httpApp((_, res) => res.end('plain')))
    expect((await ask(world.port)).status).toBe(502)
  })

  test('is sent WebSocket connections too', async () => {
    const server = createHttpsServer(own)
    const sockets = new WebSocketServer({ server })
    sockets.on('connection', (socket) => socket.on('message', (message) => socket.send(`echo ${message}`)))
    await using world = await serving(await new Application(server).listen())
    const socket = new WebSocket(`wss://127.0.0.1:${world.port}`, { rejectUnauthorized: false })
    await once(socket, 'open')
    socket.send('there')
    expect(String((await once(socket, 'message'))[0])).toBe('echo there')
    socket.close()
    await once(socket, 'close')
  })

  test('is told by a closed connection of a WebSocket client that vanishes', async () => {
    const server = createHttpsServer(own)
    const sockets = new WebSocketServer({ server })
    await using world = await serving(await new Application(server).listen())
    await vanishFromWebSocket(world, sockets)
  })
})

describe('other material for an https target', () => {
  const client = (cn: string) => {
    const { cert, key } = ca.issue({ cn, client: true })
    return { ca: ca.cert, cert, key }
  }

  test('is used by the next request: a kept connection of before is not', async () => {
    await using world = await serving(await securedApp(), { targetTls: client('one') })
    for (let round = 0; round < 2; round += 1) expect((await ask(world.port)).body).toContain('one')
    expect(world.app.accepted).toBe(1)
    world.sidecar.useTargetTls(client('two'))
    for (let round = 0; round < 2; round += 1) expect((await ask(world.port)).body).toContain('two')
    expect(world.app.accepted).toBe(2)
  })

  test('in which the authority is no longer trusted ends in 502, whatever was trusted before', async () => {
    await using world = await serving(await securedApp())
    expect((await ask(world.port)).status).toBe(200)
    world.sidecar.useTargetTls({ ca: others.cert })
    expect((await ask(world.port)).status).toBe(502)
  })

  test('does not cut off a response in hand, after which its connection is closed', async () => {
    const app = await new Application(
      createHttpsServer(own, (_, res) => {
        res.write('first ')
        setTimeout(() => res.end('last'), 100)
      }),
    ).listen()
    await using world = await serving(app)
    const asked = ask(world.port)
    while (app.connections === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    world.sidecar.useTargetTls({ ca: ca.cert })
    expect((await asked).body).toBe('first last')
    expect((await ask(world.port)).body).toBe('first last')
    expect(app.accepted).toBe(2)
  })

  test.each<[string, Tuning['targetTls'], RegExp]>([
    ['without an authority that can be read', { ca: 'nonsense' }, /^the authorities cannot be used/],
    ['with an empty one', { ca: '' }, /^the authorities cannot be used/],
    ['with the key of another', { cert: own.cert, key: others.key }, /key/],
    ['with a certificate that is none', { cert: 'nonsense', key: own.key }, /./],
  ])('%s is refused, and the old one stays', async (_, bad, message) => {
    await using world = await serving(await securedApp(), { targetTls: client('one') })
    expect(() => world.sidecar.useTargetTls(bad ?? {})).toThrow(message)
    expect((await ask(world.port)).body).toContain('one')
    await using app = await securedApp()
    await expect(serving(app, { targetTls: bad ?? {} })).rejects.toThrow(message)
  })
})

test('a unix target is asked, with WebSocket connections too', async () => {
  const path = join(directory, 'app.sock')
  const server = createServer(({ headers }, res) => res.end(`${headers.host} ${headers['x-forwarded-for']}`))
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) => socket.send('hello'))
  const app = new Application(server)
  server.listen(path)
  await once(server, 'listening')
  await using world = await startWorld(app, { target: `unix:${path}` })
  expect((await ask(world.port, '/', { headers: { host: 'app.test' } })).body).toBe('app.test 127.0.0.1')
  const socket = new WebSocket(`wss://127.0.0.1:${world.port}`, { rejectUnauthorized: false })
  expect(String((await once(socket, 'message'))[0])).toBe('hello')
  socket.terminate()
  await once(socket, 'close')
})

test('a unix target is told by a closed connection of a WebSocket client that vanishes', async () => {
  const path = join(directory, 'tunnel.sock')
  const server = createServer()
  const app = new Application(server)
  const sockets = new WebSocketServer({ server })
  server.listen(path)
  await once(server, 'listening')
  await using world = await startWorld(app, { target: `unix:${path}` })
  await vanishFromWebSocket(world, sockets)
})

test('a unix target that is not there is a 502', async () => {
  await using app = await httpApp(() => undefined)
  await using world = await startWorld(app, { target: `unix:${join(directory, 'nobody.sock')}` })
  expect((await ask(world.port)).status).toBe(502)
})
