import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, linkSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { Agent } from 'node:https'
import { connect, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import {
  Application,
  ask,
  CERTIFICATE,
  handshake,
  httpApp,
  OTHER_CERTIFICATE,
  open,
  rawClient,
  startWorld,
  tcpApp,
  unaccepting,
  until,
} from './test-support.ts'

const directory = mkdtempSync(join(tmpdir(), 'sidecar-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

const hello = () => httpApp((_, res) => res.end('hello'))

async function servedNames(port: number): Promise<string> {
  const socket = await handshake(port)
  const { subjectaltname } = socket.getPeerCertificate()
  // Not destroyed: in TLS 1.3 the last message of the handshake may still be on its way.
  socket.resume().end()
  await once(socket, 'close')
  return subjectaltname ?? ''
}

/** What a client needs to resume a session. */
async function newSession(port: number, options: ConnectionOptions = {}): Promise<Buffer> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  const [[session]] = (await Promise.all([once(socket, 'session'), once(socket, 'secureConnect')])) as [
    [Buffer],
    unknown,
  ]
  socket.destroy()
  return session
}

describe('TLS', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('%s is spoken', async (version) => {
    await using world = await startWorld(await hello())
    const { body } = await ask(world.port, '/', { minVersion: version, maxVersion: version })
    expect(body).toBe('hello')
  })

  test.each(['TLSv1', 'TLSv1.1'] as const)('%s is refused', async (version) => {
    await using world = await startWorld(await hello())
    const old = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' } as const
    await expect(handshake(world.port, old)).rejects.toThrow(/protocol version/)
    expect(world.handshakeErrors).toMatchObject([{ code: 'ERR_SSL_UNSUPPORTED_PROTOCOL' }])
  })

  test.each(['AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-SHA256'])(
    'without forward secrecy or authenticated encryption (%s) is refused',
    async (ciphers) => {
      await using world = await startWorld(await hello())
      await expect(handshake(world.port, { maxVersion: 'TLSv1.2', ciphers })).rejects.toThrow(
        /handshake failure/,
      )
    },
  )

  test('agrees on h2 with a client that prefers it, on http/1.1, and with one that names no protocol', async () => {
    await using world = await startWorld(await hello())
    using both = await rawClient(world.port, { ALPNProtocols: ['h2', 'http/1.1'] })
    using one = await rawClient(world.port, { ALPNProtocols: ['http/1.1'] })
    using none = await rawClient(world.port)
    const agreed = [both, one, none].map(({ socket }) => socket.alpnProtocol)
    expect(agreed).toEqual(['h2', 'http/1.1', false])
  })

  test('refuses a client that speaks nothing but h2 where that is not offered', async () => {
    await using world = await startWorld(await hello(), { http2: false })
    await expect(handshake(world.port, { ALPNProtocols: ['h2'] })).rejects.toThrow(/no application protocol/)
  })

  test('does not renegotiate', async () => {
    await using world = await startWorld(await hello())
    using client = await rawClient(world.port, { maxVersion: 'TLSv1.2' })
    const outcome = await new Promise((resolve) => {
      client.socket.on('error', (error) => resolve(error.message))
      client.socket.renegotiate({}, (error) => resolve(error?.message ?? 'done'))
    })
    expect(outcome).toMatch(/no renegotiation/)
  })

  test('sends the whole chain', async () => {
    const cert = CERTIFICATE.cert + OTHER_CERTIFICATE.cert
    await using world = await startWorld(await hello(), { certificate: { ...CERTIFICATE, cert } })
    const client = spawn('openssl', ['s_client', '-showcerts', '-connect', `127.0.0.1:${world.port}`])
    client.stdin.end()
    const shown = await text(client.stdout)
    for (const certificate of [CERTIFICATE, OTHER_CERTIFICATE]) expect(shown).toContain(certificate.cert)
  })
})

describe('starting', () => {
  test('tells the port that the system chose', async () => {
    await using world = await startWorld(await hello())
    expect(world.sidecar.address).toEqual({ host: '127.0.0.1', port: expect.any(Number) })
    expect(world.port).toBeGreaterThan(0)
  })

  test('tells the certificate', async () => {
    await using world = await startWorld(await hello())
    expect(world.certificates).toMatchObject([{ names: ['localhost', '127.0.0.1', '::1'], selfSigned: true }])
  })

  test('rejects when the address is taken', async () => {
    await using app = await hello()
    const listen = { host: '127.0.0.1', port: app.port }
    await expect(startWorld(app, { listen })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })

  test('rejects a certificate that cannot be used', async () => {
    await using app = await hello()
    const certificate = { cert: CERTIFICATE.cert, key: OTHER_CERTIFICATE.key }
    await expect(startWorld(app, { certificate })).rejects.toThrow(/does not belong/)
  })

  test.each(['http://a/b', 'http://a/?q', 'http://a/#f', 'http://u@a', 'http://u:secret@a', 'ftp://a'])(
    'rejects the target %s, without telling its password',
    async (target) => {
      await using app = await hello()
      const started = startWorld(app, { target: new URL(target) })
      await expect(started).rejects.toThrow(/give an origin such as http:/)
      await expect(started).rejects.not.toThrow(/secret/)
    },
  )

  test('forwards to an application on IPv6', async () => {
    const server = createTcpServer((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 204 OK\r\n\r\n')),
    )
    server.listen(0, '::1')
    await once(server, 'listening')
    const app = new Application(server)
    await using world = await startWorld(app, { target: new URL(`http://[::1]:${app.port}`) })
    expect((await ask(world.port)).status).toBe(204)
  })
})

describe('a Unix socket', () => {
  async function askBy(path: string): Promise<string> {
    const socket = connectTls({ path, rejectUnauthorized: false })
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    return text(socket)
  }

  test('is listened on, and removed at the end', async () => {
    const path = join(directory, 'one.sock')
    const app = await httpApp((req, res) => res.end(`[${req.headers['x-forwarded-for']}]`))
    {
      await using world = await startWorld(app, { listen: { path } })
      expect(world.sidecar.address).toEqual({ path })
      expect(await askBy(path)).toMatch(/\[undefined\]$/)
    }
    expect(existsSync(path)).toBe(false)
  })

  test('left behind by a dead process is replaced', async () => {
    const path = join(directory, 'two.sock')
    const dead = createTcpServer().listen(path)
    await once(dead, 'listening')
    // What close() would remove, a killed process leaves: the file of a socket on which nobody accepts.
    linkSync(path, `${path}.kept`)
    dead.close()
    await once(dead, 'close')
    renameSync(`${path}.kept`, path)
    await using _world = await startWorld(await hello(), { listen: { path } })
    expect(await askBy(path)).toMatch(/hello$/)
  })

  test('has the limit for handshakes too', async () => {
    const path = join(directory, 'limit.sock')
    await using world = await startWorld(await hello(), { listen: { path }, limits: { handshakeMs: 100 } })
    const socket = connect(path).on('error', () => undefined)
    await once(socket.resume(), 'close')
    expect(world.handshakeErrors).toMatchObject([{ code: 'ERR_TLS_HANDSHAKE_TIMEOUT' }])
  })

  test('on which somebody accepts is left to him', async () => {
    const path = join(directory, 'three.sock')
    const other = createTcpServer((socket) => socket.on('error', () => undefined).end('other'))
    other.listen(path)
    await once(other, 'listening')
    await using app = await hello()
    await expect(startWorld(app, { listen: { path } })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    expect(await text(connect(path))).toBe('other')
    other.close()
  })

  test('on which somebody is too busy to accept is left to him', async () => {
    const path = join(directory, 'four.sock')
    await using _busy = await unaccepting({ path })
    await using app = await hello()
    await expect(startWorld(app, { listen: { path } })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    expect(existsSync(path)).toBe(true)
  })

  test('closes at once what finishes its handshake only while draining', async () => {
    const path = join(directory, 'five.sock')
    await using world = await startWorld(await hello(), { listen: { path } })
    const [early, late] = [connect(path), connect(path)]
    await until(() => world.sidecar.openConnections === 2, 'two connections')
    const drained = world.sidecar.drain()
    await until(() => world.sidecar.openConnections === 1, 'one of them cut')
    for (const socket of [early, late]) {
      connectTls({ socket, rejectUnauthorized: false }).on('error', () => undefined)
    }
    await drained
  })

  test('is not made in the place of another file', async () => {
    const path = join(directory, 'precious.txt')
    writeFileSync(path, 'precious')
    await using app = await hello()
    await expect(startWorld(app, { listen: { path } })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    expect(existsSync(path)).toBe(true)
  })
})

describe('another certificate', () => {
  test('is served to new connections, while open ones go on', async () => {
    await using world = await startWorld(await hello())
    using before = await rawClient(world.port)
    expect(world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })[0]?.names).toContain('other.test')
    expect(await servedNames(world.port)).toContain('other.test')
    before.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await before.until('hello')
    expect(world.certificates.map(({ names }) => names.includes('other.test'))).toEqual([false, true])
  })

  test('is served also to a client that resumes an earlier session', async () => {
    await using world = await startWorld(await hello())
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      world.sidecar.useCertificates({ fallback: CERTIFICATE })
      const session = await newSession(world.port, { maxVersion })
      const resumed = await handshake(world.port, { maxVersion, session })
      expect(resumed.isSessionReused()).toBe(true)
      resumed.destroy()
      world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })
      const second = await handshake(world.port, { maxVersion, session })
      expect(second.isSessionReused()).toBe(false)
      expect(second.getPeerCertificate().subjectaltname).toContain('other.test')
      second.destroy()
    }
  })

  test.each([
    ['malformed', { cert: 'nonsense', key: CERTIFICATE.key }],
    ['with the key of another', { cert: OTHER_CERTIFICATE.cert, key: CERTIFICATE.key }],
    ['empty', { cert: '', key: '' }],
  ])('that is %s is refused, and the old one served on', async (_, bad) => {
    await using world = await startWorld(await hello())
    expect(() => world.sidecar.useCertificates({ fallback: bad })).toThrow(/certificate|private key/)
    expect(await servedNames(world.port)).not.toContain('other.test')
    expect(world.certificates).toHaveLength(1)
  })

  test('that is the same, given a thousand times, changes nothing', async () => {
    await using world = await startWorld(await hello())
    const session = await newSession(world.port)
    for (let count = 0; count < 1_000; count += 1) {
      world.sidecar.useCertificates({
        fallback: { cert: Buffer.from(CERTIFICATE.cert), key: Buffer.from(CERTIFICATE.key) },
      })
    }
    // A new context would have new keys for its session tickets.
    const second = await handshake(world.port, { session })
    expect(second.isSessionReused()).toBe(true)
    second.destroy()
    expect(world.certificates).toHaveLength(1)
  })

  test('fifty times under load costs no request', async () => {
    await using world = await startWorld(await hello())
    let over = false
    const load = async (agent: Agent | false): Promise<number> => {
      let count = 0
      for (; !over; count += 1) expect((await ask(world.port, '/', { agent })).body).toBe('hello')
      return count
    }
    const kept = new Agent({ keepAlive: true, maxSockets: 1 })
    const loads = [load(kept), load(false), load(false)]
    for (let count = 1; count <= 50; count += 1) {
      const other = count % 2 === 1
      world.sidecar.useCertificates({ fallback: other ? OTHER_CERTIFICATE : CERTIFICATE })
      expect((await servedNames(world.port)).includes('other.test')).toBe(other)
    }
    over = true
    const counts = await Promise.all(loads)
    kept.destroy()
    for (const count of counts) expect(count).toBeGreaterThan(10)
    await until(() => world.requests.length === counts.reduce((sum, count) => sum + count), 'all reports')
    expect(world.requests.every(({ outcome }) => outcome === 'complete')).toBe(true)
    expect(world.handshakeErrors).toEqual([])
  })
})

describe('draining', () => {
  test('lets a response in hand finish, and says that the connection closes', async () => {
    let res: ServerResponse | undefined
    await using world = await startWorld(
      await httpApp((_, response) => {
        res = response
      }),
    )
    using client = await rawClient(world.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => res !== undefined, 'the request at the application')
    const drained = world.sidecar.drain()
    res?.write('first ')
    await client.until('first ')
    expect(client.received).toMatch(/^connection: close\r$/im)
    res?.end('last')
    await drained
    expect(client.received).toMatch(/last\r\n0\r\n\r\n$/)
    await client.untilClosed()
    expect([world.sidecar.inFlight, world.sidecar.openConnections]).toEqual([0, 0])
  })

  test('lets a response that had begun before finish, and then closes its connection', async () => {
    let res: ServerResponse | undefined
    await using world = await startWorld(
      await httpApp((_, response) => {
        res = response
        response.write('first ')
      }),
    )
    const agent = new Agent({ keepAlive: true })
    const response = await open(world.port, '/', { agent })
    const drained = world.sidecar.drain()
    res?.end('last')
    expect(await text(response)).toBe('first last')
    await drained
    agent.destroy()
  })

  test('closes connections that are idle, used before or not', async () => {
    await using world = await startWorld(await hello())
    using used = await rawClient(world.port)
    using fresh = await rawClient(world.port)
    used.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await used.until('hello')
    await until(() => world.sidecar.inFlight === 0, 'the request ended')
    await world.sidecar.drain()
    await used.untilClosed()
    await fresh.untilClosed()
    expect([used.ended, fresh.ended]).toEqual([true, true])
  })

  test('lets in a request of which a part has come', async () => {
    await using world = await startWorld(await hello())
    using first = await rawClient(world.port)
    using second = await rawClient(world.port)
    second.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await second.until('hello')
    await until(() => world.sidecar.inFlight === 0, 'the request ended')
    for (const { socket } of [first, second]) socket.write('GET /late HTTP/1.1\r\n')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const drained = world.sidecar.drain()
    for (const { socket } of [first, second]) socket.write('Host: a\r\n\r\n')
    await drained
    expect(first.received).toMatch(/hello$/)
    expect(second.received).toMatch(/hello.*hello$/s)
  })

  test('answers what is pipelined', async () => {
    let res: ServerResponse | undefined
    await using world = await startWorld(
      await httpApp((_, response) => {
        res = response
      }),
    )
    using client = await rawClient(world.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2))
    await until(() => res !== undefined, 'the first request at the application')
    const drained = world.sidecar.drain()
    const first = res
    first?.end('one')
    await until(() => res !== first, 'the second request at the application')
    res?.end('two')
    await drained
    expect(client.received).toMatch(/one.*two/s)
    expect(client.received.match(/^connection: close\r$/gim)).toHaveLength(1)
  })

  test('accepts no connection any more', async () => {
    let res: ServerResponse | undefined
    await using world = await startWorld(
      await httpApp((_, response) => {
        res = response
      }),
    )
    const asked = ask(world.port)
    await until(() => res !== undefined, 'the request at the application')
    const drained = world.sidecar.drain()
    await expect(handshake(world.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    res?.end('done')
    expect((await asked).body).toBe('done')
    await drained
  })

  test('does not wait for handshakes', async () => {
    await using world = await startWorld(await hello())
    const socket = connect(world.port, '127.0.0.1').on('error', () => undefined)
    await until(() => world.sidecar.openConnections === 1, 'the connection')
    await world.sidecar.drain()
    expect(world.sidecar.openConnections).toBe(0)
    socket.destroy()
  })

  test('waits for a WebSocket until it closes', async () => {
    await using world = await startWorld(await webSocketApp())
    const socket = await openWebSocket(world.port)
    const drained = world.sidecar.drain()
    socket.send('still here')
    expect(String((await once(socket, 'message'))[0])).toBe('still here')
    expect(world.sidecar.inFlight).toBe(1)
    socket.close()
    await drained
  })

  test('is over at once when disposing cuts a WebSocket', async () => {
    await using world = await startWorld(await webSocketApp())
    const socket = await openWebSocket(world.port)
    const drained = world.sidecar.drain()
    await world.sidecar[Symbol.asyncDispose]()
    await drained
    await until(() => socket.readyState === WebSocket.CLOSED, 'the WebSocket is closed')
  })

  test('may be asked for twice, and disposing too', async () => {
    await using world = await startWorld(await hello())
    await Promise.all([world.sidecar.drain(), world.sidecar.drain()])
    await world.sidecar[Symbol.asyncDispose]()
    await world.sidecar[Symbol.asyncDispose]()
  })
})

test('disposing cuts off what is in hand', async () => {
  await using world = await startWorld(await httpApp((_, res) => res.write('begin')))
  const response = await open(world.port)
  const cut = expect(text(response)).rejects.toThrow(/aborted/)
  await world.sidecar[Symbol.asyncDispose]()
  await cut
})

test('two thousand requests leave nothing behind', async () => {
  await using world = await startWorld(
    await tcpApp((socket) => {
      socket.on('data', (chunk) => {
        for (let count = String(chunk).split('\r\n\r\n').length; count > 1; count -= 1) {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        }
      })
    }),
  )
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  for (let round = 0; round < 100; round += 1) {
    await Promise.all(Array.from({ length: 20 }, () => ask(world.port, '/', { agent })))
  }
  agent.destroy()
  await until(() => world.sidecar.openConnections === 0, 'no connection')
  expect(world.sidecar.inFlight).toBe(0)
  expect(world.app.accepted).toBeLessThanOrEqual(8)
})

async function webSocketApp(): Promise<Application> {
  const app = await httpApp((_, res) => res.end('hello'))
  const server = new WebSocketServer({ noServer: true })
  app.server.on('upgrade', (req, socket, head) => {
    server.handleUpgrade(req, socket, head, (webSocket) => {
      webSocket.on('error', () => undefined)
      webSocket.on('message', (data, binary) => webSocket.send(data, { binary }))
    })
  })
  return app
}

async function openWebSocket(port: number): Promise<WebSocket> {
  const socket = new WebSocket(`wss://127.0.0.1:${port}/`, { rejectUnauthorized: false })
  socket.on('error', () => undefined)
  await once(socket, 'open')
  return socket
}
