import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { compileAllow } from './allow.ts'
import { addressMatcher } from './cidr.ts'
import { type ProxyHeader, proxyHeaderV2, readProxyHeader } from './proxy-protocol.ts'
import { createCa } from './test-ca.ts'
import {
  Application,
  ask,
  askHttp2,
  type ClientOptions,
  closedPort,
  handshake,
  httpApp,
  outcomes,
  RawClient,
  rawClient,
  startWorld,
  type Tuning,
  until,
  type World,
} from './test-support.ts'

const ca = createCa('clients')
const trusting = { proxyFrom: addressMatcher(['127.0.0.1']) }
const V1 = Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 5555 443\r\n')
const V1_IPV6 = Buffer.from('PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n')
const V2 = proxyHeaderV2({
  source: { address: '203.0.113.7', port: 5555 },
  destination: { address: '192.0.2.1', port: 443 },
})
const LOCAL = proxyHeaderV2({})

const echoing = () => httpApp(({ headers }, res) => res.end(String(headers['x-forwarded-for'])))
const serving = async (tuning: Tuning = {}): Promise<World> =>
  startWorld(await echoing(), { ...trusting, ...tuning })

/** A TLS connection behind these bytes, which leave together with the first of its handshake. */
async function behind(port: number, header: Uint8Array, options: ClientOptions = {}): Promise<RawClient> {
  const raw = connect(port, '127.0.0.1')
  raw.on('error', () => undefined)
  const [near, far] = duplexPair()
  far.once('data', (first: Buffer) => {
    raw.write(Buffer.concat([header, first]))
    far.pipe(raw)
    raw.pipe(far)
  })
  raw.on('close', () => far.destroy())
  const socket: TLSSocket = connectTls({ socket: near, rejectUnauthorized: false, ...options })
  socket.on('close', () => raw.destroy())
  await Promise.race([
    once(socket, 'secureConnect'),
    once(raw, 'close').then(() => Promise.reject(new Error('the connection was closed'))),
  ])
  return new RawClient(socket)
}

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

describe('a PROXY header of a trusted peer', () => {
  test.each<[string, Buffer, string]>([
    ['version 1', V1, '203.0.113.7'],
    ['version 1 of IPv6', V1_IPV6, '2001:db8::7'],
    ['version 2', V2, '203.0.113.7'],
    ['version 1 of an unknown client', Buffer.from('PROXY UNKNOWN\r\n'), '127.0.0.1'],
    ['version 2 of the proxy itself', LOCAL, '127.0.0.1'],
  ])('(%s) says for whom X-Forwarded-For speaks', async (_, header, address) => {
    await using world = await serving()
    using client = await behind(world.port, header)
    client.socket.write(GET)
    await client.until(`\r\n\r\n${address}`)
    expect(world.handshakes).toMatchObject([{ outcome: 'ok', address }])
    await until(() => world.requests.length === 1, 'the report')
    expect(world.requests).toMatchObject([{ clientAddress: address }])
  })

  test('is that of its own connection, also where its peer has used one port towards two addresses', async () => {
    await using world = await serving({ listen: { host: '0.0.0.0', port: 0 } })
    const localPort = await closedPort()
    const arrive = async (host: string, client: string) => {
      const raw = connect({ host, port: world.port, localAddress: '127.0.0.1', localPort })
      raw.on('error', () => undefined)
      await once(raw, 'connect')
      raw.write(`PROXY TCP4 ${client} 192.0.2.1 5555 443\r\n`)
      return raw
    }
    const first = await arrive('127.0.0.1', '203.0.113.1')
    const second = await arrive('127.0.0.2', '203.0.113.2')
    await until(() => world.sidecar.openConnections === 2, 'both connections')
    for (const [raw, address] of [
      [first, '203.0.113.1'],
      [second, '203.0.113.2'],
    ] as const) {
      using client = new RawClient(connectTls({ socket: raw, rejectUnauthorized: false }))
      client.socket.write(GET)
      await client.until(`\r\n\r\n${address}`)
    }
  })

  test('may come byte by byte', async () => {
    await using world = await serving()
    const raw = connect({ port: world.port, host: '127.0.0.1', noDelay: true })
    await once(raw, 'connect')
    for (const byte of V1) {
      raw.write(Uint8Array.of(byte))
      await new Promise((resolve) => setImmediate(resolve))
    }
    const socket = connectTls({ socket: raw, rejectUnauthorized: false })
    using client = new RawClient(socket)
    socket.write(GET)
    await client.until('203.0.113.7')
  })

  test.each<[string, Buffer]>([
    ['malformed', Buffer.from('PROXY TCP4 203.0.113.999 192.0.2.1 5555 443\r\n')],
    ['absent', Buffer.alloc(0)],
    ['too long', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`)],
    [
      'of a version that does not exist',
      Buffer.concat([V2.subarray(0, 12), Buffer.from([0x31, 0x11, 0, 0])]),
    ],
  ])('that is %s costs the connection, and its sender is told', async (_, header) => {
    await using world = await serving()
    await expect(behind(world.port, header)).rejects.toThrow()
    expect(world.handshakes).toMatchObject([{ outcome: 'bad-proxy-header', address: '127.0.0.1' }])
    expect(world.handshakes[0]?.error?.message).toMatch(/PROXY protocol/)
  })

  test.each(['', 'PROX', V1.toString('latin1', 0, 30)])(
    'that is slow (%j) costs the connection after the time of a handshake',
    async (part) => {
      await using world = await serving({ limits: { handshakeMs: 100 } })
      const raw = connect(world.port, '127.0.0.1').on('error', () => undefined)
      raw.write(part)
      await once(raw.resume(), 'close')
      expect(world.handshakes).toMatchObject([{ outcome: 'bad-proxy-header' }])
    },
  )

  test('two hundred of which come slowly keep no other client waiting', async () => {
    await using world = await serving()
    const slow = Array.from({ length: 200 }, () =>
      connect(world.port, '127.0.0.1').on('error', () => undefined),
    )
    for (const raw of slow) raw.write(V1.subarray(0, 1 + Math.floor(Math.random() * 30)))
    await until(() => world.sidecar.openConnections === 200, '200 connections')
    for (let round = 0; round < 20; round += 1) {
      using client = await behind(world.port, V2)
      client.socket.write(GET)
      await client.until('203.0.113.7')
    }
    for (const raw of slow) raw.destroy()
    await until(() => world.sidecar.openConnections === 0, 'no connection')
    expect((await outcomes(world, 220)).filter((outcome) => outcome === 'bad-proxy-header')).toHaveLength(200)
  })

  test('that is not finished is not waited for while draining', async () => {
    await using world = await serving()
    const raw = connect(world.port, '127.0.0.1').on('error', () => undefined)
    raw.write('PROXY')
    await until(() => world.sidecar.openConnections === 1, 'the connection')
    await world.sidecar.drain()
    expect(world.sidecar.openConnections).toBe(0)
  })

  test('names who may say for whom it speaks', async () => {
    await using world = await serving({ trusted: addressMatcher(['203.0.113.7']) })
    using client = await behind(world.port, V2)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n')
    await client.until('198.51.100.1, 203.0.113.7')
  })
})

test('a client that resets its connection behind its request is not forwarded without its address', async () => {
  const told: unknown[] = []
  const app = await httpApp(({ headers }, res) => {
    told.push(headers['x-forwarded-for'])
    res.end()
  })
  await using world = await startWorld(app)
  const tries = 50
  for (let turn = 0; turn < tries; turn += 1) {
    // Leaves a connection to the application on which the next request would arrive at once.
    await ask(world.port)
    const raw = connect(world.port, '127.0.0.1').on('error', () => undefined)
    const [near, far] = duplexPair()
    const held: Buffer[] = []
    far.once('data', (hello: Buffer) => {
      raw.write(hello)
      far.on('data', (bytes: Buffer) => held.push(bytes))
    })
    raw.pipe(far)
    const socket = connectTls({ socket: near, rejectUnauthorized: false }).on('error', () => undefined)
    await once(socket, 'secureConnect')
    await new Promise((resolve) => socket.write(GET, resolve))
    await new Promise((resolve) => setImmediate(resolve))
    // The last message of the handshake, the request and the reset arrive together.
    raw.write(Buffer.concat(held))
    raw.resetAndDestroy()
    await once(raw, 'close')
    socket.destroy()
  }
  await outcomes(world, 2 * tries)
  expect(new Set(told)).toEqual(new Set(['127.0.0.1']))
})

describe('a PROXY header of a peer that is not trusted', () => {
  test.each([V1, V2])('is no TLS', async (header) => {
    await using world = await serving({ proxyFrom: addressMatcher(['10.0.0.0/8']) })
    await expect(behind(world.port, header)).rejects.toThrow()
    expect(await outcomes(world)).toEqual(['not-tls'])
    expect((await ask(world.port)).body).toBe('127.0.0.1')
  })
})

/** An application behind a PROXY header, which it reads; `serve` gets what comes then. */
async function proxiedApp(
  serve: (socket: Socket) => void,
): Promise<{ app: Application; received: ProxyHeader[] }> {
  const received: ProxyHeader[] = []
  const server = createServer((socket) => {
    readProxyHeader(socket, { timeoutMs: 5_000 }).then(
      (header) => {
        received.push(header)
        serve(socket)
      },
      () => socket.destroy(),
    )
  })
  return { app: await new Application(server).listen(), received }
}

const answering = (socket: Socket): void => {
  socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'))
}

/** TLVs of a TLV, behind so many bytes. */
function inner(bytes: Buffer | undefined, skip: number): Map<number, string> {
  const found = new Map<number, string>()
  for (let at = skip; bytes !== undefined && at < bytes.length; ) {
    const end = at + 3 + bytes.readUInt16BE(at + 1)
    found.set(bytes.readUInt8(at), bytes.toString('latin1', at + 3, end))
    at = end
  }
  return found
}

describe('a PROXY header that is sent', () => {
  test('tells the application addresses, protocol, name and TLS of the client', async () => {
    const { app, received } = await proxiedApp(answering)
    await using world = await startWorld(app, { proxySend: true })
    using client = await rawClient(world.port, { servername: 'app.test', ALPNProtocols: ['http/1.1'] })
    client.socket.write(GET)
    await client.until('hello')
    expect(received).toMatchObject([
      {
        version: 2,
        command: 'proxy',
        source: { address: '127.0.0.1', port: client.socket.localPort },
        destination: { address: '127.0.0.1', port: world.port },
      },
    ])
    const tlvs = received[0]?.tlvs
    expect([tlvs?.get(1)?.toString(), tlvs?.get(2)?.toString()]).toEqual(['http/1.1', 'app.test'])
    const tls = tlvs?.get(0x20)
    // SSL without a certificate, which therefore is not verified.
    expect(tls?.toString('hex', 0, 5)).toBe('0100000001')
    expect(inner(tls, 5).get(0x21)).toBe('TLSv1.3')
    expect(inner(tls, 5).get(0x23)).toMatch(/^TLS_/)
  })

  test('tells of a verified client certificate, of a resumed session too', async () => {
    const { app, received } = await proxiedApp(answering)
    const clientAuth = { mode: 'required', ca: ca.cert, allow: compileAllow({ all: true }) } as const
    await using world = await startWorld(app, { proxySend: true, clientAuth })
    const { cert, key, der } = ca.issue({ cn: 'admin', client: true })
    const options = { cert, key, maxVersion: 'TLSv1.2' } as const
    const first = await handshake(world.port, options)
    const session = first.getSession()
    first.destroy()
    for (const resumed of [false, true]) {
      using client = await rawClient(world.port, { ...options, ...(resumed && session && { session }) })
      expect(client.socket.isSessionReused()).toBe(resumed)
      client.socket.write(GET)
      await client.until('hello')
    }
    const tls = received.map(({ tlvs }) => tlvs.get(0x20))
    expect(tls.map((each) => each?.toString('hex', 0, 5))).toEqual(['0700000000', '0500000000'])
    for (const each of tls) {
      expect(inner(each, 5).get(0x22)).toBe('admin')
      expect(inner(each, 5).get(0x28)).toBe(der.toString('latin1'))
    }
  })

  test('leaves out a certificate with which it would be longer than others read', async () => {
    const { app, received } = await proxiedApp(answering)
    const clientAuth = { mode: 'required', ca: ca.cert, allow: compileAllow({ all: true }) } as const
    await using world = await startWorld(app, { proxySend: true, clientAuth })
    const dns = Array.from({ length: 200 }, (_, index) => `name-${index}.of.a.client.test`)
    const { cert, key } = ca.issue({ cn: 'many', client: true, dns })
    using client = await rawClient(world.port, { cert, key })
    client.socket.write(GET)
    await client.until('hello')
    const tls = inner(received[0]?.tlvs.get(0x20), 5)
    expect([tls.get(0x22), tls.has(0x28)]).toEqual(['many', false])
  })

  test('leaves out a certificate that is larger than the format can say', async () => {
    const { app, received } = await proxiedApp(answering)
    const clientAuth = { mode: 'required', ca: ca.cert, allow: compileAllow({ all: true }) } as const
    await using world = await startWorld(app, { proxySend: true, clientAuth })
    // Together over what 16 bits can say; alone, the certificate is still let in.
    const cn = 'e'.repeat(3_000)
    const ip = Array.from({ length: 9_950 }, (_, index) => `10.0.${index >> 8}.${index & 255}`)
    const { cert, key, der } = ca.issue({ cn, client: true, ip })
    expect(der.length + cn.length).toBeGreaterThan(0xffff)
    using client = await rawClient(world.port, { cert, key })
    client.socket.write(GET)
    await client.until('hello')
    const tls = inner(received[0]?.tlvs.get(0x20), 5)
    expect([tls.get(0x22), tls.has(0x28)]).toEqual([cn.slice(0, 256), false])
  })

  test('begins each connection to the application, and each serves one client', async () => {
    const { app, received } = await proxiedApp(answering)
    await using world = await startWorld(app, { proxySend: true })
    using one = await rawClient(world.port)
    using two = await rawClient(world.port)
    for (const client of [one, two, one, two]) {
      client.received = ''
      client.socket.write(GET)
      await client.until('hello')
    }
    const ports = received.map(({ source }) => source?.port)
    expect(ports).toEqual([one.socket.localPort, two.socket.localPort])
    expect(app.accepted).toBe(2)
  })

  test('is there for HTTP/2 too, on each connection to the application', async () => {
    const { app, received } = await proxiedApp(answering)
    await using world = await startWorld(app, { proxySend: true })
    expect((await askHttp2(world.port)).body).toBe('hello')
    expect(received[0]?.tlvs.get(1)?.toString()).toBe('h2')
  })

  test('tells what the header said that came in', async () => {
    const { app, received } = await proxiedApp(answering)
    await using world = await startWorld(app, { ...trusting, proxySend: true })
    using client = await behind(world.port, V1_IPV6)
    client.socket.write(GET)
    await client.until('hello')
    expect(received).toMatchObject([
      { source: { address: '2001:db8::7', port: 5555 }, destination: { address: '2001:db8::1', port: 443 } },
    ])
  })

  test('comes before the bytes of a connection that is not looked at', async () => {
    const { app, received } = await proxiedApp((socket) => void socket.pipe(socket))
    await using world = await startWorld(app, { proxySend: true, mode: 'tcp' })
    using client = await rawClient(world.port)
    client.socket.write('any bytes')
    await client.until('any bytes')
    expect(received).toMatchObject([{ command: 'proxy', source: { port: client.socket.localPort } }])
    expect(received[0]?.tlvs.has(1)).toBe(false)
    client.socket.end()
    await until(() => world.pipes.length === 1, 'the report')
    expect(world.pipes).toMatchObject([{ bytesFromClient: 9, bytesToClient: 9, outcome: 'closed' }])
  })
})
