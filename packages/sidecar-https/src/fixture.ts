import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer, request } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import type { Addresses, FileSet, Fixture, MakeFixture, Outage, WatchedFiles } from '@outrider/core/testing'
import { type KeyPair, selfSigned } from './index.ts'
import { createCa } from './test-ca.ts'

/** What the contract tests of this container stand on: a real application and a real client. */
export const fixture: MakeFixture = async () => {
  const app = new LegacyApplication()
  const securedApp = new LocalServer(createHttpsServer(SECURED_APP, sayClient))
  await Promise.all([app.listen(), securedApp.listen()])
  const broken = brokenApplications.map(({ serve }) => new LocalServer(createTcpServer(serve)))
  await Promise.all(broken.map((server) => server.listen()))
  return {
    env: { SIDECAR_HTTPS_TARGET: app.origin },
    contradiction: {
      env: { SIDECAR_HTTPS_CERT: '/same.pem', SIDECAR_HTTPS_KEY: '/same.pem' },
      says: /same file/,
    },
    async work(at) {
      const { status, body } = await get(at, '/')
      if (status !== 200 || body !== 'hello') throw new Error(`expected 200 hello, got ${status} ${body}`)
    },
    async beginWork(at) {
      const { ended } = await open(at, '/slow')
      return {
        finish: async () => {
          app.release()
          if ((await ended) !== 'first last') throw new Error('the response was cut off')
        },
      }
    },
    files: [
      certificateFiles,
      pkcs12Files(),
      directoryFiles,
      clientFiles,
      targetFiles(securedApp),
      ticketKeyFiles,
    ],
    outages: [
      ...brokenApplications.map(({ name, check }, index) => ({
        name,
        env: { SIDECAR_HTTPS_TARGET: broken[index]?.origin ?? '', SIDECAR_HTTPS_RESPONSE_TIMEOUT: '300ms' },
        check,
      })),
      {
        name: 'nobody listens',
        env: { SIDECAR_HTTPS_TARGET: 'http://127.0.0.1:1' },
        check: (at) => expectStatus(at, 502),
      },
      {
        name: 'a name that does not resolve',
        env: {
          SIDECAR_HTTPS_TARGET: 'http://application.invalid:8080',
          SIDECAR_HTTPS_UNSAFE_TARGET: 'true',
          SIDECAR_HTTPS_CONNECT_TIMEOUT: '2s',
        },
        check: (at) => expectStatus(at, 502, 504),
      },
    ],
    flood: async (at) => {
      const { response } = await open(at, '/flood')
      response.pause()
      return app.floodedBytes()
    },
    hostile: ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', Buffer.from('16030100ff010000fb0303ffff', 'hex')],
    async [Symbol.asyncDispose]() {
      await Promise.all([app, securedApp, ...broken].map((server) => server[Symbol.asyncDispose]()))
    },
  } satisfies Fixture
}

const ca = createCa('fixture')
const servedName = async (at: Addresses): Promise<string> => (await handshake(at)).subjectaltname ?? ''

const certificateFiles: WatchedFiles = {
  params: ['cert', 'key'],
  good: [certificateFor('one.test'), certificateFor('two.test')],
  bad: { cert: 'this is no certificate', key: 'nor is this a key' },
  observe: servedName,
}

const pkcs12Files = (): WatchedFiles => ({
  params: ['pkcs12'],
  env: { SIDECAR_HTTPS_PKCS12_PASSWORD: 'pkcs12-password' },
  good: [pkcs12Of(certificateFor('one.test')), pkcs12Of(certificateFor('two.test'))],
  bad: { pkcs12: 'this is no PKCS#12 file' },
  observe: servedName,
})

const directoryFiles: WatchedFiles = {
  params: ['certs'],
  directory: 'certs',
  good: [pemOf(certificateFor('one.test')), pemOf(certificateFor('two.test'))],
  bad: { 'some.crt': certificateFor('three.test').cert, 'some.key': 'this is no key' },
  observe: servedName,
}

const clientAuthorities = [createCa('one'), createCa('two')] as const
const clients = clientAuthorities.map((authority) => authority.issue({ cn: 'client', client: true }))

const clientFiles: WatchedFiles = {
  params: ['clientCa', 'clientCrl'],
  env: { SIDECAR_HTTPS_CLIENT_AUTH: 'required', SIDECAR_HTTPS_ALLOW_ALL: 'true' },
  good: [
    { clientCa: clientAuthorities[0].cert, clientCrl: clientAuthorities[0].crl([]) },
    { clientCa: clientAuthorities[1].cert, clientCrl: clientAuthorities[1].crl([]) },
  ],
  bad: { clientCa: 'this is no certificate', clientCrl: clientAuthorities[0].crl([]) },
  async observe(at) {
    const letIn = await Promise.all(
      clients.map(({ cert, key }) =>
        get(at, '/', { cert, key }).then(
          () => 'in',
          () => 'out',
        ),
      ),
    )
    return letIn.join()
  },
}

const ticketKeyFiles: WatchedFiles = {
  params: ['ticketKeys'],
  good: [{ ticketKeys: Buffer.alloc(48, 1) }, { ticketKeys: Buffer.alloc(48, 2) }],
  bad: { ticketKeys: 'these are not 48 bytes' },
  observe: async (at) => {
    const socket = connect({ ...tcp(at), rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
    await once(socket, 'secureConnect')
    // Tickets begin with the name of their key.
    const name = socket.getTLSTicket()?.toString('hex', 0, 16)
    socket.destroy()
    return name ?? ''
  },
}

const SECURED_APP = {
  ...ca.issue({ ip: ['127.0.0.1'] }),
  ca: ca.cert,
  requestCert: true,
  rejectUnauthorized: false,
}

function sayClient({ socket }: IncomingMessage, response: ServerResponse): void {
  const { subject } = (socket as TLSSocket).getPeerCertificate()
  response.end(String(subject?.CN))
}

function targetFiles(app: LocalServer): WatchedFiles {
  const shown = (cn: string): FileSet => {
    const { cert, key } = ca.issue({ cn, client: true })
    return { targetCa: ca.cert, targetCert: cert, targetKey: key }
  }
  return {
    params: ['targetCa', 'targetCert', 'targetKey'],
    env: { SIDECAR_HTTPS_TARGET: app.origin.replace('http:', 'https:') },
    good: [shown('one'), shown('two')],
    bad: { ...shown('three'), targetCa: 'this is no certificate' },
    observe: async (at) => (await get(at, '/')).body,
  }
}

/** A server of any kind on loopback that can be closed with its connections. */
class LocalServer implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

class LegacyApplication extends LocalServer {
  #flooded = 0
  #slow: ServerResponse | undefined

  constructor() {
    super(createServer((request, response) => this.#answer(request, response)))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === '/slow') {
      response.write('first ')
      this.#slow = response
    } else if (request.url === '/flood') {
      this.#flood(response)
    } else {
      response.end('hello')
    }
  }

  release(): void {
    this.#slow?.end('last')
  }

  #flood(response: ServerResponse): void {
    const chunk = Buffer.alloc(65_536)
    const more = () => {
      while (!response.destroyed && response.write(chunk)) this.#flooded += chunk.length
    }
    response.on('drain', more)
    more()
  }

  /** The bytes that were taken, once no more are. */
  async floodedBytes(): Promise<number> {
    let before = -1
    while (this.#flooded !== before) {
      before = this.#flooded
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    return this.#flooded
  }
}

type Serve = (socket: Socket) => void

const brokenApplications: readonly { name: string; serve: Serve; check: Outage['check'] }[] = [
  {
    name: 'an application that accepts and never answers',
    serve: () => undefined,
    check: (at) => expectStatus(at, 504),
  },
  {
    name: 'an application that answers something else than HTTP',
    serve: (socket) => socket.once('data', () => socket.end('220 mail.test ESMTP\r\n')),
    check: (at) => expectStatus(at, 502),
  },
  {
    name: 'an application that closes without an answer',
    serve: (socket) => socket.once('data', () => socket.destroy()),
    check: (at) => expectStatus(at, 502),
  },
  {
    name: 'an application that dies in the middle of its answer',
    serve: (socket) =>
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this', () => socket.destroy())
      }),
    check: async (at) => {
      const outcome = await get(at, '/').then(
        () => 'whole',
        () => 'cut',
      )
      if (outcome !== 'cut') throw new Error('half an answer was passed off as a whole one')
    },
  },
]

function certificateFor(name: string): Record<'cert' | 'key', string> {
  return selfSigned({ names: [name] })
}

function pemOf({ cert, key }: Record<'cert' | 'key', string>): FileSet {
  return { 'some.crt': cert, 'some.key': key }
}

function pkcs12Of({ cert, key }: KeyPair): FileSet {
  const directory = mkdtempSync(join(tmpdir(), 'fixture-'))
  try {
    writeFileSync(join(directory, 'both.pem'), `${key}${cert}`)
    const passwords = ['-passout', 'pass:pkcs12-password']
    execFileSync('openssl', ['pkcs12', '-export', '-in', 'both.pem', '-out', 'both.p12', ...passwords], {
      cwd: directory,
    })
    return { pkcs12: readFileSync(join(directory, 'both.p12')) }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function tcp({ https }: Addresses): { host: string; port: number } {
  if (https === undefined || 'path' in https) throw new Error('the fixture speaks TCP')
  return { host: https.host, port: https.port }
}

interface Opened {
  readonly response: IncomingMessage
  /** The whole body; rejects when it was cut off. */
  readonly ended: Promise<string>
}

function open(at: Addresses, path: string, options: ConnectionOptions = {}): Promise<Opened> {
  const asked = { ...tcp(at), path, rejectUnauthorized: false, agent: false, ...options }
  return new Promise((resolve, reject) => {
    const outgoing = request(asked, (response) => {
      let body = ''
      const ended = new Promise<string>((done, cut) => {
        response.on('end', () => done(body))
        response.on('error', cut)
      })
      ended.catch(() => undefined)
      if (path !== '/flood') response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      resolve({ response, ended })
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

async function get(
  at: Addresses,
  path: string,
  options: ConnectionOptions = {},
): Promise<{ status: number | undefined; body: string }> {
  const { response, ended } = await open(at, path, options)
  return { status: response.statusCode, body: await ended }
}

async function expectStatus(at: Addresses, ...expected: number[]): Promise<void> {
  const { status } = await get(at, '/')
  if (status === undefined || !expected.includes(status))
    throw new Error(`expected ${expected}, got ${status}`)
}

async function handshake(at: Addresses): Promise<ReturnType<TLSSocket['getPeerCertificate']>> {
  const socket = connect({ ...tcp(at), rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerCertificate()
  socket.destroy()
  return certificate
}
