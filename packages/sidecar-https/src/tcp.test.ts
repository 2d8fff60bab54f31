import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, expect, test } from 'vitest'
import { compileAllow } from './allow.ts'
import { createCa } from './test-ca.ts'
import {
  Application,
  closedPort,
  handshake,
  OTHER_CERTIFICATE,
  rawClient,
  startWorld,
  type Tuning,
  tcpApp,
  until,
  type World,
} from './test-support.ts'

const directory = mkdtempSync(join(tmpdir(), 'tcp-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

const tcp = { mode: 'tcp' } as const

/** A protocol in which the server speaks first, as SMTP does. */
const mail = (socket: Socket): void => {
  socket.write('220 ready\r\n')
  socket.on('data', (chunk) => {
    if (String(chunk).startsWith('QUIT')) socket.end('221 bye\r\n')
    else socket.write('250 ok\r\n')
  })
}

const serving = async (tuning: Tuning = {}): Promise<World> =>
  startWorld(await tcpApp(mail), { ...tcp, ...tuning })

/** A whole session, from the greeting of the server to its goodbye. */
async function session(port: number): Promise<string> {
  using client = await rawClient(port)
  await client.until('220 ready')
  client.socket.write('HELO me\r\n')
  await client.until('250 ok')
  client.socket.write('QUIT\r\n')
  await client.untilClosed()
  return client.received
}

const SESSION = '220 ready\r\n250 ok\r\n221 bye\r\n'

/** What comes on a connection that is closed. */
async function untilClosed(port: number): Promise<string> {
  using client = await rawClient(port)
  await client.untilClosed()
  return client.received
}

test('a protocol in which the server speaks first passes', async () => {
  await using world = await serving()
  expect(await session(world.port)).toBe(SESSION)
  await until(() => world.pipes.length === 1, 'the report')
  expect(world.pipes).toMatchObject([
    { outcome: 'closed', bytesFromClient: 15, bytesToClient: SESSION.length },
  ])
  expect(world.requests).toEqual([])
})

test('a target may be tcp://host:port', async () => {
  await using app = await tcpApp(mail)
  await using world = await startWorld(app, { ...tcp, target: `tcp://127.0.0.1:${app.port}` })
  expect(await session(world.port)).toBe(SESSION)
})

test('a target may be unix:/path', async () => {
  const path = join(directory, 'app.sock')
  const server = createServer()
  const app = new Application(server)
  server.on('connection', mail)
  server.listen(path)
  await once(server, 'listening')
  await using world = await startWorld(app, { ...tcp, target: `unix:${path}` })
  expect(await session(world.port)).toBe(SESSION)
})

test('a target may be https://host:port, whose certificate is verified', async () => {
  const ca = createCa('servers')
  const app = await new Application(createTlsServer(ca.issue({ ip: ['127.0.0.1'] }), mail)).listen()
  const target = `https://127.0.0.1:${app.port}`
  await using world = await startWorld(app, { ...tcp, target, targetTls: { ca: ca.cert } })
  expect(await session(world.port)).toBe(SESSION)
  world.sidecar.useTargetTls({ ca: createCa('others').cert })
  expect(await untilClosed(world.port)).toBe('')
  await until(() => world.pipes.length === 2, 'the reports')
  expect(world.pipes[1]).toMatchObject({ outcome: 'connect-failed', bytesToClient: 0 })
})

test('many mebibytes pass both ways byte for byte', async () => {
  const sent = randomBytes(8 * 1024 * 1024)
  const app = await tcpApp((socket) => void socket.pipe(socket))
  await using world = await startWorld(app, tcp)
  const socket = await handshake(world.port, { allowHalfOpen: true })
  socket.end(sent)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  expect(Buffer.concat(chunks).equals(sent)).toBe(true)
})

test('the end of one direction passes, and the other goes on', async () => {
  const app = await new Application(
    createServer({ allowHalfOpen: true }, (socket) => {
      let asked = ''
      socket.on('data', (chunk) => {
        asked += chunk
      })
      socket.on('end', () => socket.end(`you said ${asked}`))
    }),
  ).listen()
  await using world = await startWorld(app, tcp)
  using client = await rawClient(world.port, { allowHalfOpen: true })
  client.socket.end('all')
  await client.until('you said all')
})

test('what looks like HTTP passes unread and unchanged', async () => {
  let seen = ''
  const app = await tcpApp((socket) => {
    socket.on('data', (chunk) => {
      seen += chunk.toString('latin1')
    })
  })
  await using world = await startWorld(app, tcp)
  using client = await rawClient(world.port)
  const bytes = 'GET /  HTTP/9\r\nhost : a\r\nX-Forwarded-For: 6.6.6.6\n\n\0\xff'
  client.socket.write(bytes, 'latin1')
  await until(() => seen.length === bytes.length, 'the bytes')
  expect(seen).toBe(bytes)
})

test('no protocol is agreed on with a client that names some', async () => {
  await using world = await serving()
  using client = await rawClient(world.port, { ALPNProtocols: ['h2', 'http/1.1'] })
  await client.until('220 ready')
  expect(client.socket.alpnProtocol).toBe(false)
})

test('an application that is not there costs the connection', async () => {
  await using app = await tcpApp(mail)
  await using world = await startWorld(app, { ...tcp, target: `tcp://127.0.0.1:${await closedPort()}` })
  expect(await untilClosed(world.port)).toBe('')
  await until(() => world.pipes.length === 1, 'the report')
  expect(world.pipes).toMatchObject([{ outcome: 'connect-failed', error: { code: 'ECONNREFUSED' } }])
})

test('an application that vanishes costs the connection, and is told as such', async () => {
  const app = await tcpApp((socket) => {
    socket.write('half')
    socket.once('data', () => socket.resetAndDestroy())
  })
  await using world = await startWorld(app, tcp)
  using client = await rawClient(world.port)
  await client.until('half')
  client.socket.write('x')
  await client.untilClosed()
  await until(() => world.pipes.length === 1, 'the report')
  expect(world.pipes).toMatchObject([{ outcome: 'upstream-lost' }])
})

test('a connection on which no byte moves is closed after its time', async () => {
  await using world = await serving({ limits: { pipeIdleMs: 200 } })
  using client = await rawClient(world.port)
  await client.untilClosed()
  await until(() => world.pipes.length === 1, 'the report')
  expect(world.pipes).toMatchObject([{ outcome: 'idle' }])
})

test('other certificates leave open connections alone', async () => {
  await using world = await serving()
  using client = await rawClient(world.port)
  await client.until('220 ready')
  world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })
  client.socket.write('HELO me\r\n')
  await client.until('250 ok')
})

test('a client without a certificate that the rules allow does not reach the application', async () => {
  const ca = createCa('clients')
  const clientAuth = { mode: 'required', ca: ca.cert, allow: compileAllow({ cn: ['admin'] }) } as const
  await using world = await serving({ clientAuth })
  expect(await untilClosed(world.port).catch(() => '')).toBe('')
  expect(world.app.accepted).toBe(0)
  const { cert, key } = ca.issue({ cn: 'admin', client: true })
  using client = await rawClient(world.port, { cert, key })
  await client.until('220 ready')
})

test('draining accepts no more, and waits for the open connections until they end', async () => {
  await using world = await serving()
  using client = await rawClient(world.port)
  await client.until('220 ready')
  let gone = false
  const drained = world.sidecar.drain().then(() => {
    gone = true
  })
  await expect(handshake(world.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  client.socket.write('HELO me\r\n')
  await client.until('250 ok')
  expect([gone, world.sidecar.inFlight]).toEqual([false, 1])
  client.socket.write('QUIT\r\n')
  await drained
  expect(client.received).toBe(SESSION)
})

test('disposing cuts what is open', async () => {
  await using world = await serving()
  using client = await rawClient(world.port)
  await client.until('220 ready')
  await world.sidecar[Symbol.asyncDispose]()
  await client.untilClosed()
  expect(world.sidecar.openConnections).toBe(0)
})
