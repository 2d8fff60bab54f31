import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { createPipe, type Pipe, type PipeOptions, type PipeReport } from './pipe.ts'
import { Application, CERTIFICATE, closedPort, settled, tcpApp, unaccepting, until } from './test-support.ts'

type Kind = 'TCP' | 'TLS'
type Tuning = Partial<PipeOptions> & { clients?: Kind; upstreams?: Kind; port?: number }

/** A pipe in front of an application. Disposing fails when a socket is left open. */
interface World extends AsyncDisposable {
  pipe: Pipe
  app: Application
  reports: PipeReport[]
  /** The sockets that the pipe was given. */
  accepted: Socket[]
  client: () => Promise<Peer>
}

async function startWorld(serve: (socket: Socket) => void, tuning: Tuning = {}): Promise<World> {
  const { clients = 'TCP', upstreams = 'TCP', port, ...options } = tuning
  const app = await appOf(upstreams, serve)
  const reports: PipeReport[] = []
  const pipe = createPipe({
    connect: () => dial(upstreams, port ?? app.port),
    connectTimeoutMs: 5_000,
    idleMs: 10_000,
    halfClosedMs: 10_000,
    onEnd: (report) => reports.push(report),
    ...options,
  })
  const accepted: Socket[] = []
  const front = await appOf(clients, (socket) => {
    accepted.push(socket)
    pipe.serve(socket)
  })
  const peers: Peer[] = []
  return {
    pipe,
    app,
    reports,
    accepted,
    client: async () => {
      const socket = dial(clients, front.port)
      const peer = new Peer(socket)
      peers.push(peer)
      // One that is reset at once may learn of that before it learns that it was connected.
      await once(socket, clients === 'TLS' ? 'secureConnect' : 'connect').catch(() => undefined)
      return peer
    },
    async [Symbol.asyncDispose]() {
      try {
        for (const { socket } of peers) socket.destroy()
        for (const socket of app.sockets) socket.destroy()
        await until(() => pipe.open === 0, 'every client of the pipe is gone')
        await until(() => front.connections === 0, 'no socket of a client is left')
        expect(reports).toHaveLength(accepted.length)
      } finally {
        await front[Symbol.asyncDispose]()
        await app[Symbol.asyncDispose]()
      }
    },
  }
}

function appOf(kind: Kind, serve: (socket: Socket) => void): Promise<Application> {
  if (kind === 'TCP') return new Application(createServer({ allowHalfOpen: true }, serve)).listen()
  const server = createTlsServer({ ...CERTIFICATE, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    serve(socket)
  })
  return new Application(server).listen()
}

function dial(kind: Kind, port: number): Socket {
  const options = { port, host: '127.0.0.1', allowHalfOpen: true, rejectUnauthorized: false }
  return kind === 'TCP' ? connectTcp(options) : connectTls(options)
}

/** One end of a connection, and what has become of it. */
class Peer {
  readonly socket: Socket
  readonly chunks: Buffer[] = []
  fate: 'open' | 'ended' | 'closed' | 'lost' = 'open'

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {
      this.fate = 'lost'
    })
    socket.on('end', () => {
      this.fate = 'ended'
    })
    socket.on('close', () => {
      if (this.fate !== 'lost') this.fate = socket.readableEnded ? 'closed' : 'lost'
    })
  }

  listen(): this {
    this.socket.on('data', (chunk: Buffer) => this.chunks.push(chunk))
    return this
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks)
  }

  async until(text: string): Promise<void> {
    await until(
      () => this.received.includes(text),
      () => `"${text}" in ${JSON.stringify(this.received.toString('latin1'))}`,
    )
  }

  async untilFate(...fates: Peer['fate'][]): Promise<void> {
    await until(
      () => fates.includes(this.fate),
      () => `the connection is ${fates.join(' or ')}, not ${this.fate}`,
    )
  }
}

/** An application that takes down its side of the connections it accepts. */
function peersInto(peers: Peer[]): (socket: Socket) => void {
  return (socket) => peers.push(new Peer(socket).listen())
}

async function first<T>(things: readonly T[], awaited: string): Promise<T> {
  await until(() => things.length > 0, awaited)
  const [thing] = things
  if (thing === undefined) throw new Error(`no ${awaited}`)
  return thing
}

const report = (world: World) => first(world.reports, 'the report')
const echo = (socket: Socket) => void socket.pipe(socket)

// Both kernels of a loopback connection may hold megabytes; nothing near what is poured in.
const BUFFERED = 24 * 2 ** 20

/** Writes 256 MiB as fast as they are taken, and gives how much that was until now. */
function pour(socket: Socket): () => number {
  let sent = 0
  const more = () => {
    while (sent < 256 * 2 ** 20 && !socket.destroyed) {
      sent += 65_536
      if (!socket.write(Buffer.alloc(65_536))) break
    }
    socket.once('drain', more)
  }
  more()
  return () => sent
}

describe.each<[Kind, Kind]>([
  ['TCP', 'TCP'],
  ['TLS', 'TCP'],
  ['TLS', 'TLS'],
])('a pipe from %s to %s', (clients, upstreams) => {
  const kinds = { clients, upstreams }

  test('carries 10 MiB both ways unchanged and counts them', async () => {
    const bytes = Buffer.from(Uint32Array.from({ length: 2.5 * 2 ** 20 }, (_, index) => index).buffer)
    await using world = await startWorld(echo, kinds)
    const client = (await world.client()).listen()
    client.socket.end(bytes)
    await client.untilFate('closed')
    expect(client.received.equals(bytes)).toBe(true)
    expect(await report(world)).toMatchObject({
      outcome: 'closed',
      error: undefined,
      bytesFromClient: bytes.length,
      bytesToClient: bytes.length,
    })
  })

  test('lets the client end first and be answered still', async () => {
    const peers: Peer[] = []
    await using world = await startWorld(peersInto(peers), kinds)
    const client = (await world.client()).listen()
    client.socket.end('last words')
    const app = await first(peers, 'connection')
    await app.until('last words')
    await app.untilFate('ended')
    app.socket.write('answer')
    await client.until('answer')
    app.socket.end('.')
    await client.untilFate('closed')
    expect(client.received.toString()).toBe('answer.')
    expect(await report(world)).toMatchObject({ outcome: 'closed', bytesFromClient: 10, bytesToClient: 7 })
  })

  test('lets the upstream end first and be told more still', async () => {
    const peers: Peer[] = []
    await using world = await startWorld(peersInto(peers), kinds)
    const client = (await world.client()).listen()
    const app = await first(peers, 'connection')
    app.socket.end('bye')
    await client.untilFate('ended')
    expect(client.received.toString()).toBe('bye')
    client.socket.end('and this')
    await app.untilFate('closed')
    expect(app.received.toString()).toBe('and this')
    expect(await report(world)).toMatchObject({ outcome: 'closed', bytesFromClient: 8, bytesToClient: 3 })
  })

  test('lets the client send no faster than the upstream reads', async () => {
    await using world = await startWorld((socket) => socket.pause(), kinds)
    const client = await world.client()
    expect(await settled(pour(client.socket))).toBeLessThan(BUFFERED)
  })

  test('lets the upstream send no faster than the client reads', async () => {
    const sent: (() => number)[] = []
    await using world = await startWorld((socket) => sent.push(pour(socket)), kinds)
    await world.client()
    expect(await settled(await first(sent, 'connection'))).toBeLessThan(BUFFERED)
  })

  test('tells the upstream its preamble before the first byte of the client, and counts it not', async () => {
    const peers: Peer[] = []
    const seen: (string | undefined)[] = []
    await using world = await startWorld(peersInto(peers), {
      ...kinds,
      preamble: (client) => {
        seen.push(client.remoteAddress)
        return Buffer.from('preamble;')
      },
    })
    const client = await world.client()
    client.socket.end('hello')
    const app = await first(peers, 'connection')
    await app.untilFate('ended')
    expect(app.received.toString()).toBe('preamble;hello')
    app.socket.end()
    expect(await report(world)).toMatchObject({ outcome: 'closed', bytesFromClient: 5 })
    expect(seen).toEqual(['127.0.0.1'])
  })

  test('cuts off both sides that are silent', async () => {
    const peers: Peer[] = []
    await using world = await startWorld(peersInto(peers), { ...kinds, idleMs: 150 })
    const client = (await world.client()).listen()
    // Of TLS a Node client does not notice the missing goodbye.
    await client.untilFate(clients === 'TLS' ? 'ended' : 'lost')
    const app = await first(peers, 'connection')
    await app.untilFate(upstreams === 'TLS' ? 'ended' : 'lost')
    expect(await report(world)).toMatchObject({ outcome: 'idle', error: undefined })
  })
})

describe('a side that is lost', () => {
  test('by a reset of the client resets the upstream', async () => {
    const peers: Peer[] = []
    await using world = await startWorld(peersInto(peers))
    const client = await world.client()
    const app = await first(peers, 'connection')
    client.socket.resetAndDestroy()
    await app.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'client-lost', error: { code: 'ECONNRESET' } })
  })

  test('by a reset of the upstream resets the client', async () => {
    const peers: Peer[] = []
    await using world = await startWorld(peersInto(peers))
    const client = (await world.client()).listen()
    const app = await first(peers, 'connection')
    app.socket.resetAndDestroy()
    await client.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'upstream-lost', error: { code: 'ECONNRESET' } })
  })

  test('in the middle of what it is told is reset, although the upstream has ended', async () => {
    const peers: Peer[] = []
    await using world = await startWorld(peersInto(peers), { halfClosedMs: 300 })
    const client = await world.client()
    const app = await first(peers, 'connection')
    const served = await first(world.accepted, 'client')
    let sent = 0
    // Just until the kernel takes no more: what waits behind it is too little to hold up the end.
    while (served.writableLength === 0) {
      app.socket.write(Buffer.alloc(16_384))
      sent += 16_384
      while (served.bytesWritten < sent) await setImmediate()
    }
    app.socket.end()
    expect(await report(world)).toMatchObject({ outcome: 'idle' })
    expect(served.writableEnded).toBe(true)
    client.listen()
    await client.untilFate('lost')
    expect(client.received.length).toBeLessThan(sent)
  })

  test('by a client that leaves before the upstream is reached ends the attempt', async () => {
    await using nobody = await unaccepting()
    await using world = await startWorld(echo, { port: nobody.port })
    const client = await world.client()
    await until(() => world.pipe.open === 1, 'the client is served')
    client.socket.resetAndDestroy()
    expect(await report(world)).toMatchObject({
      outcome: 'client-lost',
      bytesFromClient: 0,
      bytesToClient: 0,
    })
  })

  test('before it is served is reported too', async () => {
    await using world = await startWorld(echo)
    const client = new Peer(connectTcp(world.app.port, '127.0.0.1'))
    client.socket.destroy()
    await client.untilFate('lost')
    world.accepted.push(client.socket)
    world.pipe.serve(client.socket)
    expect(await report(world)).toMatchObject({ outcome: 'client-lost' })
  })
})

describe('silence', () => {
  test('is not counted while bytes pass in one direction alone', async () => {
    await using world = await startWorld(
      (socket) => {
        const timer = setInterval(() => socket.write('.'), 50)
        socket.resume().on('close', () => clearInterval(timer))
      },
      { idleMs: 400 },
    )
    const client = (await world.client()).listen()
    await until(() => client.received.length >= 20, 'more than the idle time of ticks')
    expect(world.reports).toEqual([])
  })

  test.each(['client', 'upstream'])('after the end of the %s is bounded on its own', async (ender) => {
    const peers: Peer[] = []
    await using world = await startWorld(peersInto(peers), { halfClosedMs: 150 })
    const client = (await world.client()).listen()
    const app = await first(peers, 'connection')
    if (ender === 'client') client.socket.end()
    else app.socket.end()
    expect(await report(world)).toMatchObject({ outcome: 'idle' })
    const other = ender === 'client' ? app : client
    // Who has seen the end of a connection reads no more, and learns of a reset when it writes.
    other.socket.write('anybody there?')
    await other.untilFate('lost')
  })

  test('after an end is allowed as long as the other direction speaks', async () => {
    await using world = await startWorld(
      (socket) => {
        const timer = setInterval(() => socket.write('.'), 50)
        socket.resume().on('close', () => clearInterval(timer))
      },
      { halfClosedMs: 400 },
    )
    const client = (await world.client()).listen()
    client.socket.end()
    await until(() => client.received.length >= 20, 'more than the half-closed time of ticks')
    expect(world.reports).toEqual([])
  })
})

describe('an upstream that is not reached', () => {
  test('because it refuses costs the client its connection', async () => {
    await using world = await startWorld(echo, { port: await closedPort() })
    const client = (await world.client()).listen()
    await client.untilFate('lost')
    expect(await report(world)).toMatchObject({
      outcome: 'connect-failed',
      error: { code: 'ECONNREFUSED' },
      bytesFromClient: 0,
      bytesToClient: 0,
    })
  })

  test('in time costs the client its connection', async () => {
    await using nobody = await unaccepting()
    await using world = await startWorld(echo, { port: nobody.port, connectTimeoutMs: 100 })
    const client = (await world.client()).listen()
    await client.untilFate('lost')
    const { outcome, error } = await report(world)
    expect([outcome, error?.message]).toEqual([
      'connect-failed',
      'no connection to the upstream within 100 ms',
    ])
  })

  test('because its TLS handshake stalls is not reached in time', async () => {
    const silent = await tcpApp((socket) => socket.resume())
    await using world = await startWorld(echo, { upstreams: 'TLS', port: silent.port, connectTimeoutMs: 100 })
    const client = (await world.client()).listen()
    await client.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'connect-failed' })
    await silent[Symbol.asyncDispose]()
  })

  test('because its certificate is not trusted is told nothing', async () => {
    const peers: Peer[] = []
    const app = await appOf('TLS', peersInto(peers))
    await using world = await startWorld(echo, { connect: () => connectTls(app.port, '127.0.0.1') })
    const client = (await world.client()).listen()
    client.socket.write('secret')
    await client.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'connect-failed', bytesFromClient: 0 })
    expect(peers.map((peer) => peer.received.length).filter((bytes) => bytes > 0)).toEqual([])
    await app[Symbol.asyncDispose]()
  })

  test('because connect() throws costs the client its connection', async () => {
    const error = new Error('no address')
    await using world = await startWorld(echo, {
      connect: () => {
        throw error
      },
    })
    const client = (await world.client()).listen()
    await client.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'connect-failed', error })
  })

  test('because its preamble cannot be made is told nothing', async () => {
    const peers: Peer[] = []
    const error = new Error('too large')
    await using world = await startWorld(peersInto(peers), {
      preamble: () => {
        throw error
      },
    })
    const client = (await world.client()).listen()
    client.socket.write('hello')
    await client.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'connect-failed', error, bytesFromClient: 0 })
    const app = await first(peers, 'connection')
    await app.untilFate('lost')
    expect(app.received.length).toBe(0)
  })

  test('yet has no client read on its behalf', async () => {
    await using nobody = await unaccepting()
    await using world = await startWorld(echo, { port: nobody.port })
    const client = await world.client()
    const sent = pour(client.socket)
    const served = await first(world.accepted, 'client')
    await settled(sent)
    // What Node reads ahead of anybody's asking.
    expect(served.bytesRead).toBeLessThanOrEqual(2 * 65_536)
    world.pipe.close()
  })
})

describe('drain', () => {
  test('waits for every client, and ends none', async () => {
    await using world = await startWorld(echo)
    const clients = [await world.client(), await world.client()]
    let drained = false
    await until(() => world.pipe.open === 2, 'both are served')
    const draining = world.pipe.drain().then(() => {
      drained = true
    })
    for (const client of clients) {
      client.listen().socket.write('still here')
      await client.until('still here')
    }
    clients[0]?.socket.end()
    await until(() => world.pipe.open === 1, 'one has ended')
    expect(drained).toBe(false)
    clients[1]?.socket.end()
    await draining
    expect(world.reports.map(({ outcome }) => outcome)).toEqual(['closed', 'closed'])
  })

  test('of nobody is done at once', async () => {
    await using world = await startWorld(echo)
    await world.pipe.drain()
    expect(world.pipe.open).toBe(0)
  })
})

describe('close', () => {
  test('cuts off every client and its upstream, and is no loss', async () => {
    const peers: Peer[] = []
    await using world = await startWorld(peersInto(peers))
    const client = (await world.client()).listen()
    const app = await first(peers, 'connection')
    world.pipe.close()
    await world.pipe.drain()
    await client.untilFate('lost')
    await app.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'closed', error: undefined })
  })

  test('cuts off a client whose end is on its way', async () => {
    const peers: Peer[] = []
    const upstreams: Socket[] = []
    await using world = await startWorld(peersInto(peers), {
      connect: () => {
        const socket = dial('TCP', world.app.port)
        upstreams.push(socket)
        return socket
      },
    })
    const client = (await world.client()).listen()
    const app = await first(peers, 'connection')
    const upstream = await first(upstreams, 'upstream')
    await until(() => upstream.listenerCount('end') > 1, 'both are joined')
    // Behind the listener by which the pipe ends the client.
    upstream.once('end', () => world.pipe.close())
    app.socket.end()
    await world.pipe.drain()
    await client.untilFate('ended', 'lost')
    expect(await report(world)).toMatchObject({ outcome: 'closed' })
  })

  test('cuts off Unix sockets', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'pipe-'))
    const path = join(directory, 'app.sock')
    const peers: Peer[] = []
    const server = createServer(peersInto(peers)).listen(path)
    await once(server, 'listening')
    await using world = await startWorld(echo, { connect: () => connectTcp(path) })
    const local = new Peer(connectTcp(path)).listen()
    await until(() => peers.length === 1, 'a client on a Unix socket')
    world.accepted.push(local.socket)
    world.pipe.serve(local.socket)
    await until(() => peers.length === 2, 'its upstream')
    world.pipe.close()
    await world.pipe.drain()
    expect(await report(world)).toMatchObject({ outcome: 'closed', error: undefined })
    await Promise.all(peers.map((peer) => peer.untilFate('closed')))
    server.close()
    await rm(directory, { recursive: true })
  })

  test('cuts off a client that is still waiting for its upstream', async () => {
    await using nobody = await unaccepting()
    await using world = await startWorld(echo, { port: nobody.port })
    const client = (await world.client()).listen()
    await until(() => world.pipe.open === 1, 'the client is served')
    world.pipe.close()
    await client.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'closed' })
  })

  test('lets nobody in afterwards', async () => {
    await using world = await startWorld(echo)
    world.pipe.close()
    const client = (await world.client()).listen()
    await client.untilFate('lost')
    expect(await report(world)).toMatchObject({ outcome: 'closed', bytesFromClient: 0 })
  })
})
