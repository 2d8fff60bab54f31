import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import type { Addresses, Fixture, MakeFixture, Outage, WatchedFiles } from '@outrider/core/testing'
import { CommandReader, encodeBulk, encodeCommand, encodeSimple, ReplyScanner } from '@outrider/resp'

/** What the contract tests of this container stand on: servers that speak Redis, and a client. */
export const fixture: MakeFixture = async () => {
  const shards = [new TinyServer('one'), new TinyServer('two')] as const
  const silent = new TinyServer('silent', () => undefined)
  const garbage = new TinyServer('garbage', () => 'HTTP/1.1 400 Bad Request\r\n\r\n')
  const loading = new TinyServer('loading', () => '-LOADING Redis is loading the dataset in memory\r\n')
  const materials = [createMaterial('one'), createMaterial('two')] as const
  const secured = materials.map((material, index) => new TinyServer(`secured-${index}`, undefined, material))
  const all = [...shards, silent, garbage, loading, ...secured]
  await Promise.all(all.map((server) => server.listen()))
  const list = (servers: readonly TinyServer[]) =>
    servers.map((server, index) => `127.0.0.1:${server.port}:1 shard-${index}`).join(',')
  return {
    env: {
      AMBASSADOR_SHARD_SERVERS: list(shards),
      AMBASSADOR_SHARD_MAX_REPLIES: '4MiB',
      AMBASSADOR_SHARD_HOT_KEYS: '0',
    },
    contradiction: {
      env: { AMBASSADOR_SHARD_SHARD_NAME: 'redis.internal' },
      says: /has no effect without AMBASSADOR_SHARD_SHARD_TLS/,
    },
    async work(at) {
      using client = await Client.connect(at)
      const keys = Array.from({ length: 10 }, (_, index) => `work:${index}`)
      for (const key of keys) await client.expect(['SET', key, `of ${key}`], '+OK\r\n')
      for (const key of keys) {
        const value = `of ${key}`
        await client.expect(['GET', key], `$${value.length}\r\n${value}\r\n`)
      }
    },
    async beginWork(at) {
      const client = await Client.connect(at)
      const reply = client.ask('GET', SLOW)
      reply.catch(() => undefined)
      const server = await Promise.race(shards.map(async (shard) => shard.asked()))
      return {
        finish: async () => {
          server.release()
          const text = await reply
          client[Symbol.dispose]()
          if (text !== '$4\r\nslow\r\n') throw new Error(`the reply was ${JSON.stringify(text)}`)
        },
      }
    },
    files: [topologyFiles(shards), userFiles, tlsFiles(secured, materials, list(secured))],
    outages: [
      ...[silent, garbage, loading].map(
        (server): Outage => ({
          name: server.name,
          env: { AMBASSADOR_SHARD_SERVERS: list([server]), AMBASSADOR_SHARD_CONNECT_TIMEOUT: '300ms' },
          check: expectError,
        }),
      ),
      {
        name: 'nobody listens',
        env: { AMBASSADOR_SHARD_SERVERS: '127.0.0.1:1:1 nobody' },
        check: expectError,
      },
      {
        name: 'a name that does not resolve',
        env: {
          AMBASSADOR_SHARD_SERVERS: 'redis.invalid:6379:1 nowhere',
          AMBASSADOR_SHARD_CONNECT_TIMEOUT: '2s',
        },
        check: expectError,
      },
    ],
    flood: async (at) => {
      using client = await Client.connect(at)
      client.socket.pause()
      const before = shards.reduce((sum, { written }) => sum + written, 0)
      for (let sent = 0; sent < 1_000 && !client.socket.destroyed; sent += 1) {
        client.socket.write(encodeCommand(['GET', LARGE]))
        if (sent % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      }
      await new Promise((resolve) => setTimeout(resolve, 500))
      return shards.reduce((sum, { written }) => sum + written, 0) - before
    },
    hostile: [
      '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$-5\r\n',
      '*-1000000000000\r\n',
      '*2\r\n$3\r\nGET\r\n$10000000000\r\n',
      '*1\r\n*1\r\n*1\r\n',
      '$5\r\nhello\r\n',
      '"unbalanced\r\n',
      Buffer.concat([encodeCommand(['SET', 'hostile', 'x']), Buffer.from('*1\r\n$x\r\n')]),
    ],
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((server) => server[Symbol.asyncDispose]()))
    },
  } satisfies Fixture
}

const SLOW = 'the slow one'
const LARGE = 'the large one'
const LARGE_VALUE = Buffer.alloc(256 * 1024, 'x')

const topologyFiles = (shards: readonly TinyServer[]): WatchedFiles => ({
  params: ['topology'],
  env: { AMBASSADOR_SHARD_SERVERS: '' },
  good: [{ topology: topologyOf(shards[0]) }, { topology: topologyOf(shards[1]) }],
  bad: { topology: 'shards:\n  - name: one\n    address: nowhere\n' },
  async observe(at) {
    using client = await Client.connect(at)
    return await client.ask('GET', 'who')
  },
})

const topologyOf = (shard: TinyServer | undefined): string =>
  `shards:\n  - name: ${shard?.name}\n    address: 127.0.0.1:${shard?.port}\n`

const userFiles: WatchedFiles = {
  params: ['users'],
  good: [{ users: 'first: secret\n' }, { users: 'second: secret\n' }],
  bad: { users: 'third: "#no digest"\n' },
  async observe(at) {
    const seen: string[] = []
    for (const name of ['first', 'second', 'third']) {
      using client = await Client.connect(at)
      if ((await client.ask('AUTH', name, 'secret')) === '+OK\r\n') seen.push(name)
    }
    return seen.join()
  },
}

const tlsFiles = (
  secured: readonly TinyServer[],
  materials: readonly Material[],
  servers: string,
): WatchedFiles => ({
  params: ['shardCa', 'shardCert', 'shardKey'],
  env: {
    AMBASSADOR_SHARD_SERVERS: servers,
    AMBASSADOR_SHARD_SHARD_TLS: 'true',
    AMBASSADOR_SHARD_SHARD_NAME: 'shard.test',
  },
  good: [filesOf(materials[0]), filesOf(materials[1])],
  bad: { ...filesOf(materials[0]), shardCa: 'this is no certificate' },
  // Each of them is reached with its own authority alone.
  async observe(at) {
    using client = await Client.connect(at)
    const seen = new Set<string>()
    for (let number = 0; number < 20; number += 1) {
      const reply = await client.ask('GET', `{${number}}who`)
      const name = secured.find((server) => reply.includes(`\r\n${server.name}\r\n`))?.name
      if (name !== undefined) seen.add(name)
    }
    return [...seen].sort().join()
  },
})

const filesOf = (material: Material | undefined) => ({
  shardCa: material?.cert ?? '',
  shardCert: material?.cert ?? '',
  shardKey: material?.key ?? '',
})

interface Material {
  readonly cert: string
  readonly key: string
}

/** A certificate that is its own authority. */
function createMaterial(name: string): Material {
  const directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  try {
    const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:shard.test', '-days', '2'],
        ...['-keyout', key, '-out', cert],
      ],
      { stdio: 'ignore' },
    )
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const takenOf = ({ bytesWritten, writableLength }: Socket): number => bytesWritten - writableLength

/** Speaks enough Redis: it keeps values, knows its name as the value of `who`, and answers one key late. */
class TinyServer implements AsyncDisposable {
  readonly name: string
  #writtenBefore = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #values = new Map<string, string>()
  readonly #behaviour: (() => string | undefined) | undefined
  #late: (() => void)[] = []
  #onAsked: (() => void)[] = []

  constructor(name: string, behaviour?: () => string | undefined, material?: Material) {
    this.name = name
    this.#behaviour = behaviour
    this.#server =
      material === undefined
        ? createServer((socket) => this.#serve(socket))
        : createTlsServer(material, (socket) => this.#serve(socket))
    this.#server.on('tlsClientError', () => undefined)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Bytes that clients have taken, not what waits here for them to read on. */
  get written(): number {
    return [...this.#sockets].reduce((sum, socket) => sum + takenOf(socket), this.#writtenBefore)
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Resolves once somebody waits for the slow key. */
  asked(): Promise<this> {
    return new Promise((resolve) => {
      const tell = () => resolve(this)
      if (this.#late.length > 0) tell()
      else this.#onAsked.push(tell)
    })
  }

  release(): void {
    for (const answer of this.#late.splice(0)) answer()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#writtenBefore += takenOf(socket)
    })
    const reader = new CommandReader()
    let rest = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes])
      let at = 0
      while (reader.read(rest, at, rest.length) === 'command') {
        const args: string[] = []
        for (let index = 0; index < reader.argc; index += 1)
          args.push(rest.toString('latin1', at + reader.argStart(index), at + reader.argEnd(index)))
        at += reader.length
        const answer = this.#behaviour === undefined ? this.#answer(args, socket) : this.#behaviour()
        if (answer !== undefined) socket.write(answer)
      }
      rest = rest.subarray(at)
    })
  }

  #answer([name = '', key = '', value = '']: readonly string[], socket: Socket): string | Buffer | undefined {
    if (name === 'PING') return encodeSimple('PONG')
    if (name === 'SET') {
      this.#values.set(key, value)
      return encodeSimple('OK')
    }
    if (name !== 'GET') return `-ERR unknown command '${name}'\r\n`
    if (key === LARGE) return encodeBulk(LARGE_VALUE)
    if (key.endsWith('who')) return encodeBulk(this.name)
    if (key === SLOW) {
      this.#late.push(() => socket.write(encodeBulk('slow')))
      for (const tell of this.#onAsked.splice(0)) tell()
      return undefined
    }
    const found = this.#values.get(key)
    return found === undefined ? '$-1\r\n' : encodeBulk(Buffer.from(found, 'latin1'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

class Client implements Disposable {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #wake: () => void = () => undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#wake()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => this.#wake())
  }

  static async connect({ redis }: Addresses): Promise<Client> {
    if (redis === undefined || 'path' in redis) throw new Error('the fixture speaks TCP')
    const socket = connect({ ...redis, noDelay: true })
    await once(socket, 'connect')
    return new Client(socket)
  }

  /** Sends a command and gives its reply as text. */
  async ask(...args: readonly string[]): Promise<string> {
    this.socket.write(encodeCommand(args))
    for (;;) {
      const end = new ReplyScanner().scan(this.#received, 0, this.#received.length)
      if (end >= 0) {
        const reply = this.#received.toString('latin1', 0, end)
        this.#received = this.#received.subarray(end)
        return reply
      }
      if (this.socket.closed) throw new Error('the connection has ended')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async expect(args: readonly string[], expected: string): Promise<void> {
    const reply = await this.ask(...args)
    if (reply !== expected) throw new Error(`${args.join(' ')} was answered by ${JSON.stringify(reply)}`)
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

async function expectError(at: Addresses): Promise<void> {
  using client = await Client.connect(at)
  const reply = await client.ask('GET', 'a')
  if (!/^-(ERR shard |LOADING )/.test(reply)) throw new Error(`the reply was ${JSON.stringify(reply)}`)
}
