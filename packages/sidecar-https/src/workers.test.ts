import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { KeyPair } from './certificate.ts'
import type { CertificateInfo, HandshakeReport, PipeReport, RequestReport, TunnelReport } from './index.ts'
import { createCa } from './test-ca.ts'
import {
  type Application,
  ask,
  CERTIFICATE,
  type ClientOptions,
  closedPort,
  handshake,
  httpApp,
  OTHER_CERTIFICATE,
  open,
  portOf,
  rawClient,
  tcpApp,
  until,
} from './test-support.ts'
import { packed } from './worker-messages.ts'
import { type HttpsWorkers, type HttpsWorkersOptions, startHttpsWorkers } from './workers.ts'

/** The threads that this process has started, in their order. */
let threads: Worker[]
const onWorker = (thread: Worker) => void threads.push(thread)
beforeEach(() => {
  threads = []
  process.on('worker', onWorker)
})
afterEach(() => void process.off('worker', onWorker))

interface World extends AsyncDisposable {
  readonly app: Application
  readonly sidecar: HttpsWorkers
  readonly port: number
  readonly requests: RequestReport[]
  readonly tunnels: TunnelReport[]
  readonly pipes: PipeReport[]
  readonly handshakes: HandshakeReport[]
  readonly certificates: CertificateInfo[]
  readonly failures: Error[]
}

/** Two threads before an application. Disposing fails when a thread or a connection is left. */
async function startWorld(app: Application, tuning: Partial<HttpsWorkersOptions> = {}): Promise<World> {
  const told = {
    requests: [] as RequestReport[],
    tunnels: [] as TunnelReport[],
    pipes: [] as PipeReport[],
    handshakes: [] as HandshakeReport[],
    certificates: [] as CertificateInfo[],
    failures: [] as Error[],
  }
  const options: HttpsWorkersOptions = {
    listen: { host: '127.0.0.1', port: 0 },
    target: app.target.href,
    certificate: CERTIFICATE,
    responseTimeoutMs: 10_000,
    connectTimeoutMs: 5_000,
    onRequest: (report) => told.requests.push(report),
    onTunnel: (report) => told.tunnels.push(report),
    onPipe: (report) => told.pipes.push(report),
    onHandshake: (report) => told.handshakes.push(report),
    onCertificates: (infos) => told.certificates.push(...infos),
    onFailure: (error) => told.failures.push(error),
    ...tuning,
  }
  const earlier = threads.length
  const sidecar = await startHttpsWorkers(options, 2).catch(async (error: unknown) => {
    await app[Symbol.asyncDispose]()
    throw error
  })
  const own = threads.slice(earlier)
  return {
    ...told,
    app,
    sidecar,
    port: portOf(sidecar),
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]()
      await until(() => app.connections === 0, 'no connection to the application')
      await app[Symbol.asyncDispose]()
      if (sidecar.inFlight !== 0 || sidecar.openConnections !== 0)
        throw new Error('the sidecar has not ended')
      if (own.some(({ threadId }) => threadId !== -1)) throw new Error('a thread is left')
    },
  }
}

const hello = () => httpApp((_, res) => res.end('hello'))

/** Does something again and again until both threads have had connections, and at least so often. */
async function onBoth<T>(world: World, least: number, once: () => Promise<T>): Promise<T[]> {
  const before = world.sidecar.accepted
  const results: T[] = []
  const served = () => world.sidecar.accepted.every((count, index) => count > (before[index] ?? 0))
  while (results.length < least || !served()) {
    if (results.length > 500) throw new Error(`one thread got it all: ${world.sidecar.accepted}`)
    results.push(await once())
  }
  return results
}

async function servedNames(port: number, options: ClientOptions = {}): Promise<string> {
  const socket = await handshake(port, options)
  const { subjectaltname } = socket.getPeerCertificate()
  socket.resume().end()
  await once(socket, 'close')
  return subjectaltname ?? ''
}

/** What a client needs to resume its session. Of TLS 1.3 it comes behind the handshake. */
async function sessionOf(port: number, options: ClientOptions = {}): Promise<Buffer> {
  const socket = await handshake(port, options)
  const later = socket.getProtocol() === 'TLSv1.3'
  const session = later ? ((await once(socket, 'session')) as [Buffer])[0] : socket.getSession()
  socket.destroy()
  if (session === undefined) throw new Error('there is no session')
  return session
}

async function resumes(port: number, session: Buffer, options: ClientOptions = {}): Promise<boolean> {
  const socket = await handshake(port, { ...options, session })
  const reused = socket.isSessionReused()
  socket.resume().end()
  await once(socket, 'close')
  return reused
}

/** Of a message to a thread nobody knows when it is heard. */
async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await condition())) if (Date.now() > deadline) throw new Error('waited in vain')
}

const isOther = (names: string): boolean => names.includes('other.test')
const bytesOf = ({ cert, key }: KeyPair): KeyPair => ({ cert: Buffer.from(cert), key: Buffer.from(key) })

describe('the start of threads', () => {
  test('lets all of them serve the one port', async () => {
    await using world = await startWorld(await hello())
    const replies = await onBoth(world, 40, () => ask(world.port))
    expect(replies.every(({ status, body }) => status === 200 && body === 'hello')).toBe(true)
    expect(world.sidecar.accepted).toHaveLength(2)
    expect(world.sidecar.accepted.reduce((a, b) => a + b)).toBe(replies.length)
  })

  test('gives all of them the port that the system chose', async () => {
    await using world = await startWorld(await hello())
    expect(world.sidecar.address).toEqual({ host: '127.0.0.1', port: expect.any(Number) })
    expect(world.port).toBeGreaterThan(0)
    expect((await ask(world.port)).status).toBe(200)
  })

  test('at a port in use is refused with the error of the system, which names the port', async () => {
    const other = await tcpApp((socket) => socket.destroy())
    const listen = { host: '127.0.0.1', port: other.port }
    const started = startWorld(await hello(), { listen })
    await expect(started).rejects.toMatchObject({ code: 'EADDRINUSE', port: other.port })
    await other[Symbol.asyncDispose]()
    expect(threads.every(({ threadId }) => threadId === -1)).toBe(true)
  })

  test('at a port that the threads of another sidecar share is refused too', async () => {
    await using world = await startWorld(await hello())
    const started = startWorld(await hello(), { listen: { host: '127.0.0.1', port: world.port } })
    await expect(started).rejects.toMatchObject({ code: 'EADDRINUSE' })
    expect((await ask(world.port)).status).toBe(200)
  })

  test('at an address that only a thread finds out not to be one is refused with the error of the system', async () => {
    const started = startWorld(await hello(), { listen: { host: '192.0.2.1', port: 0 } })
    await expect(started).rejects.toMatchObject({ code: 'EADDRNOTAVAIL', address: '192.0.2.1' })
  })

  test('on a socket file is refused', async () => {
    const started = startWorld(await hello(), { listen: { path: '/tmp/never.sock' } })
    await expect(started).rejects.toThrow('several threads cannot share the socket /tmp/never.sock')
  })

  test('with a certificate that cannot be used is refused before there is a thread', async () => {
    const certificate = { ...CERTIFICATE, key: OTHER_CERTIFICATE.key }
    await expect(startWorld(await hello(), { certificate })).rejects.toThrow('does not belong')
    expect(threads).toEqual([])
  })

  test('with rules that cannot be used is refused', async () => {
    const clientAuth = { mode: 'required', allow: {} } as const
    await expect(startWorld(await hello(), { clientAuth })).rejects.toThrow('there is none')
  })
})

describe('a change reaches all threads:', () => {
  test('new certificates', async () => {
    await using world = await startWorld(await hello())
    await onBoth(world, 2, () => servedNames(world.port))
    world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })
    await eventually(async () => (await onBoth(world, 2, () => servedNames(world.port))).every(isOther))
    expect((await onBoth(world, 50, () => servedNames(world.port))).every(isOther)).toBe(true)
    expect(world.certificates.map(({ names }) => names.includes('other.test'))).toEqual([false, true])
  })

  test('certificates given as bytes', async () => {
    await using world = await startWorld(await hello(), { certificate: bytesOf(CERTIFICATE) })
    world.sidecar.useCertificates({ fallback: bytesOf(OTHER_CERTIFICATE) })
    await eventually(async () => (await onBoth(world, 2, () => servedNames(world.port))).every(isOther))
  })

  test('but not a bad certificate, which is refused at once and leaves the old one in all', async () => {
    await using world = await startWorld(await hello())
    const bad = { cert: OTHER_CERTIFICATE.cert, key: CERTIFICATE.key }
    expect(() => world.sidecar.useCertificates({ fallback: bad })).toThrow('does not belong')
    expect((await onBoth(world, 20, () => servedNames(world.port))).some(isOther)).toBe(false)
    expect(world.failures).toEqual([])
  })

  test('authorities of clients', async () => {
    const [old, young] = [createCa('old'), createCa('young')]
    const client = young.issue({ cn: 'client', client: true })
    await using world = await startWorld(await hello(), {
      clientAuth: { mode: 'required', allow: { cn: ['client'] }, ca: old.cert },
    })
    const status = () =>
      ask(world.port, '/', { ...client }).then(
        ({ status }) => status,
        () => 0,
      )
    expect(new Set(await onBoth(world, 10, status))).toEqual(new Set([0]))
    world.sidecar.useAuthorities({ ca: young.cert })
    await eventually(async () => (await onBoth(world, 2, status)).every((code) => code === 200))
    expect(new Set(await onBoth(world, 10, status))).toEqual(new Set([200]))
    expect(() => world.sidecar.useAuthorities({ ca: 'nothing' })).toThrow('the authorities cannot be used')
    expect(new Set(await onBoth(world, 10, status))).toEqual(new Set([200]))
  })
})

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('a session of %s', (maxVersion) => {
  const options = { maxVersion }

  test('is resumed by any thread', async () => {
    await using world = await startWorld(await hello())
    const session = await sessionOf(world.port, options)
    const resumed = await onBoth(world, 20, () => resumes(world.port, session, options))
    expect(resumed).toEqual(resumed.map(() => true))
  })

  test('is forgotten by all at a new certificate', async () => {
    await using world = await startWorld(await hello())
    const session = await sessionOf(world.port, options)
    world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })
    await eventually(async () =>
      (await onBoth(world, 2, () => resumes(world.port, session, options))).every((reused) => !reused),
    )
    expect(await onBoth(world, 20, () => resumes(world.port, session, options))).not.toContain(true)
    const next = await sessionOf(world.port, options)
    expect(await onBoth(world, 20, () => resumes(world.port, next, options))).not.toContain(false)
  })

  test('of a client that is revoked meanwhile is forgotten by all', async () => {
    const ca = createCa('clients')
    const client = ca.issue({ cn: 'client', client: true })
    const own = { ...options, ...client }
    await using world = await startWorld(await hello(), {
      clientAuth: { mode: 'required', allow: { cn: ['client'] }, ca: ca.cert },
    })
    const session = await sessionOf(world.port, own)
    expect(await onBoth(world, 10, () => resumes(world.port, session, own))).not.toContain(false)
    world.sidecar.useAuthorities({ ca: ca.cert, crls: [ca.crl([client.serial])] })
    const served = async () => {
      using connection = await rawClient(world.port, { ...own, session })
      connection.socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      await connection.untilClosed()
      return connection.received !== ''
    }
    const letIn = () => served().catch(() => false)
    await eventually(async () => !(await onBoth(world, 2, letIn)).includes(true))
    expect(await onBoth(world, 20, letIn)).not.toContain(true)
    world.sidecar.useAuthorities({ ca: ca.cert, crls: [ca.crl([])] })
    await eventually(async () => !(await onBoth(world, 2, letIn)).includes(false))
  })

  test('is not forgotten when the same certificate comes again', async () => {
    await using world = await startWorld(await hello())
    const session = await sessionOf(world.port, options)
    world.sidecar.useCertificates({ fallback: CERTIFICATE })
    expect(await onBoth(world, 20, () => resumes(world.port, session, options))).not.toContain(false)
  })

  test('is resumed by a sidecar that has been given the same keys', async () => {
    await using one = await startWorld(await hello())
    await using other = await startWorld(await hello(), { ticketKeys: Buffer.alloc(48, 7) })
    expect(() => one.sidecar.useTicketKeys(Buffer.alloc(47))).toThrow('48 bytes')
    one.sidecar.useTicketKeys(Buffer.alloc(48, 7))
    const session = await sessionOf(other.port, options)
    await eventually(async () =>
      (await onBoth(one, 2, () => resumes(one.port, session, options))).every((reused) => reused),
    )
  })
})

test('keys of sessions change for all threads at a time', async () => {
  await using world = await startWorld(await hello(), { ticketRotationMs: 300 })
  const session = await sessionOf(world.port)
  await eventually(async () =>
    (await onBoth(world, 2, () => resumes(world.port, session))).every((reused) => !reused),
  )
  expect(await onBoth(world, 4, () => resumes(world.port, session))).not.toContain(true)
})

describe('reports', () => {
  test('of requests are complete and come once, whichever thread has served them', async () => {
    const world = await startWorld(await httpApp((req, res) => res.end(`hello ${req.url}`)))
    let sent = 0
    await onBoth(world, 60, () => ask(world.port, `/${sent++}`))
    await world.sidecar.drain()
    const targets = world.requests.map(({ target }) => target)
    expect(targets.toSorted()).toEqual(Array.from({ length: sent }, (_, index) => `/${index}`).toSorted())
    expect(world.handshakes.map(({ outcome }) => outcome)).toEqual(Array(sent).fill('ok'))
    const [report] = world.requests
    expect(report).toMatchObject({
      method: 'GET',
      status: 200,
      outcome: 'complete',
      clientAddress: '127.0.0.1',
    })
    expect(report?.error).toBe(undefined)
    await world[Symbol.asyncDispose]()
  })

  test('come while the threads serve on', async () => {
    await using world = await startWorld(await hello())
    await ask(world.port)
    await until(() => world.requests.length === 1 && world.handshakes.length === 1, 'the reports')
  })

  test('say why a request failed, with the name and the code of the error', async () => {
    const port = await closedPort()
    await using world = await startWorld(await hello(), { target: `http://127.0.0.1:${port}` })
    expect((await ask(world.port)).status).toBe(502)
    await until(() => world.requests.length === 1, 'the report')
    const [{ outcome, error } = { outcome: '', error: undefined }] = world.requests
    expect(outcome).toBe('upstream-failed')
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ code: 'ECONNREFUSED', message: expect.stringContaining(String(port)) })
  })

  test('say why a handshake failed', async () => {
    await using world = await startWorld(await hello(), {
      clientAuth: { mode: 'required', allow: { all: true }, ca: createCa('clients').cert },
    })
    await expect(ask(world.port)).rejects.toThrow()
    await until(() => world.handshakes.length === 1, 'the report')
    expect(world.handshakes[0]).toMatchObject({ outcome: 'no-certificate', address: '127.0.0.1' })
    expect(world.handshakes[0]?.error?.message).toBe('the client has shown no certificate')
  })

  test('of what disposing cuts off come too', async () => {
    const world = await startWorld(await httpApp((_, res) => res.write('begin')))
    const response = await open(world.port)
    const cut = expect(text(response)).rejects.toThrow(/aborted/)
    await world[Symbol.asyncDispose]()
    await cut
    expect(world.requests.map(({ outcome }) => outcome)).toEqual(['cut-off'])
  })

  test('of WebSockets and of connections whose bytes are passed come too when disposing cuts them off', async () => {
    const app = await httpApp((_, res) => res.end())
    const server = new WebSocketServer({ noServer: true })
    app.server.on('upgrade', (req, socket, head) =>
      server.handleUpgrade(req, socket, head, (peer) => peer.on('error', () => undefined)),
    )
    const tunnelled = await startWorld(app)
    const socket = new WebSocket(`wss://127.0.0.1:${tunnelled.port}/`, { rejectUnauthorized: false })
    socket.on('error', () => undefined)
    await once(socket, 'open')
    await tunnelled[Symbol.asyncDispose]()
    expect(tunnelled.tunnels.map(({ outcome }) => outcome)).toEqual(['client-lost'])

    const piped = await startWorld(await tcpApp((peer) => peer.pipe(peer)), { mode: 'tcp' })
    using client = await rawClient(piped.port)
    client.socket.write('ping')
    await client.until('ping')
    await piped[Symbol.asyncDispose]()
    expect(piped.pipes.map(({ outcome }) => outcome)).toEqual(['closed'])
  })

  test('of connections whose bytes are passed come when they have ended', async () => {
    const echo = await tcpApp((socket) => socket.pipe(socket))
    await using world = await startWorld(echo, { mode: 'tcp' })
    using client = await rawClient(world.port)
    client.socket.write('ping')
    await client.until('ping')
    await until(() => world.sidecar.inFlight === 1, 'the connection in flight')
    client.socket.end()
    await client.untilClosed()
    await until(() => world.pipes.length === 1, 'the report')
    expect(world.pipes[0]).toMatchObject({ outcome: 'closed', bytesFromClient: 4, bytesToClient: 4 })
  })
})

test('open connections and requests in flight of all threads are counted together', async () => {
  const waiting: ServerResponse[] = []
  await using world = await startWorld(await httpApp((_, res) => void waiting.push(res)))
  const asked: Promise<unknown>[] = []
  await onBoth(world, 4, async () => {
    const count = asked.push(ask(world.port))
    await until(() => waiting.length === count, 'the request at the application')
  })
  await until(() => world.sidecar.inFlight === asked.length, 'all in flight')
  expect(world.sidecar.openConnections).toBe(asked.length)
  for (const res of waiting) res.end()
  await Promise.all(asked)
  await until(() => world.sidecar.openConnections + world.sidecar.inFlight === 0, 'none left')
})

test('each thread lets in its share of the connections', async () => {
  await using world = await startWorld(await hello(), { limits: { connections: 3 } })
  const sockets = await Promise.all(
    Array.from({ length: 40 }, () => handshake(world.port).catch(() => undefined)),
  )
  await until(() => world.handshakes.length === 40, 'all handshakes')
  expect(world.handshakes.filter(({ outcome }) => outcome === 'ok')).toHaveLength(4)
  expect(world.sidecar.openConnections).toBe(4)
  for (const socket of sockets) socket?.destroy()
})

describe('drain', () => {
  test('finishes the requests in hand of all threads, and then no thread is left', async () => {
    const waiting: ServerResponse[] = []
    await using world = await startWorld(await httpApp((_, res) => void waiting.push(res)))
    const asked: Promise<{ body: string }>[] = []
    await onBoth(world, 4, async () => {
      const count = asked.push(ask(world.port))
      await until(() => waiting.length === count, 'the request at the application')
    })
    const drained = world.sidecar.drain()
    await eventually(() =>
      handshake(world.port).then(
        (socket) => {
          socket.destroy()
          return false
        },
        (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
      ),
    )
    for (const res of waiting) res.end('finished')
    expect((await Promise.all(asked)).map(({ body }) => body)).toEqual(asked.map(() => 'finished'))
    await drained
    expect(threads.map(({ threadId }) => threadId)).toEqual([-1, -1])
    expect(world.requests.filter(({ outcome }) => outcome === 'complete')).toHaveLength(asked.length)
    expect(world.failures).toEqual([])
  })

  test('waits for a WebSocket until it closes', async () => {
    const app = await httpApp((_, res) => res.end())
    const server = new WebSocketServer({ noServer: true })
    app.server.on('upgrade', (req, socket, head) =>
      server.handleUpgrade(req, socket, head, (peer) => peer.on('message', (data) => peer.send(data))),
    )
    await using world = await startWorld(app)
    const socket = new WebSocket(`wss://127.0.0.1:${world.port}/`, { rejectUnauthorized: false })
    await once(socket, 'open')
    const drained = world.sidecar.drain()
    socket.send('still here')
    expect(String((await once(socket, 'message'))[0])).toBe('still here')
    socket.close()
    await drained
    expect(world.tunnels).toHaveLength(1)
  })

  test('is over at once when disposing cuts what is in hand', async () => {
    const world = await startWorld(await httpApp((_, res) => res.write('begin')))
    const response = await open(world.port)
    const cut = expect(text(response)).rejects.toThrow(/aborted/)
    const drained = world.sidecar.drain()
    await world[Symbol.asyncDispose]()
    await Promise.all([cut, drained])
  })

  test('may be asked for twice, and disposing and changes after it too', async () => {
    await using world = await startWorld(await hello())
    await Promise.all([world.sidecar.drain(), world.sidecar.drain()])
    world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })
    await world.sidecar[Symbol.asyncDispose]()
    await world.sidecar[Symbol.asyncDispose]()
    expect(world.failures).toEqual([])
  })
})

describe('a thread that fails', () => {
  test('by ending is told once, and the others end with it', async () => {
    await using world = await startWorld(await hello())
    await threads[0]?.terminate()
    await until(() => threads.every(({ threadId }) => threadId === -1), 'no thread')
    expect(world.failures.map(({ message }) => message)).toEqual([
      'the thread https-1 has ended with exit code 1',
    ])
    await expect(ask(world.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('by an error that nobody catches is told with this error', async () => {
    await using world = await startWorld(await hello())
    threads[1]?.postMessage({ use: 'nonsense' })
    await until(() => threads.every(({ threadId }) => threadId === -1), 'no thread')
    expect(world.failures).toHaveLength(1)
    expect(world.failures[0]?.stack).toContain('worker-messages.ts')
  })

  test('in vain to take a change is told with the reason', async () => {
    await using world = await startWorld(await hello())
    const bad = { cert: OTHER_CERTIFICATE.cert, key: CERTIFICATE.key }
    threads[0]?.postMessage({ use: packed({ certificates: { fallback: bad } }) })
    await until(() => world.failures.length > 0, 'the failure')
    expect(world.failures[0]?.message).toContain('does not belong')
  })

  test('during a drain is told too, and ends it', async () => {
    await using world = await startWorld(await httpApp((_, res) => res.write('begin')))
    const response = await open(world.port)
    const cut = expect(text(response)).rejects.toThrow()
    const drained = world.sidecar.drain()
    await Promise.all(threads.map((thread) => thread.terminate()))
    await Promise.all([cut, drained])
    expect(world.failures).toHaveLength(1)
  })
})
