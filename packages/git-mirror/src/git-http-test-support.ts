import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { createCa, type TestCa } from '../../sidecar-https/src/test-ca.ts'
import { BARE_ENVIRONMENT, runGit } from './run-git-test-support.ts'

/** Which part of git's conversation: what the server can do (before protocol v2 also its refs), its refs, or a pack. */
export type GitHttpKind = 'advertise' | 'refs' | 'pack' | 'other'

export interface GitHttpRequest {
  readonly method: string
  /** Without a query. */
  readonly path: string
  readonly kind: GitHttpKind
  readonly headers: IncomingHttpHeaders
  /** The number of its connection, from 1. */
  readonly connection: number
}

/** What goes wrong, with the requests named by `on`: all of them unless said otherwise. */
export type Fault = { readonly on?: readonly GitHttpKind[] } & (
  | { readonly kind: 'hang' | 'hang-after-headers' }
  /** Answers as it should, but not before. */
  | { readonly kind: 'hold'; readonly until: Promise<void> }
  /** Cuts the connection after so many bytes of a body, those of packs unless `on` says otherwise. */
  | { readonly kind: 'cut'; readonly bytes: number }
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** A page to log in at, with status 200. */
  | { readonly kind: 'html' }
  /** To the same path elsewhere: at another origin, or at this server, below `/moved`. */
  | { readonly kind: 'redirect'; readonly to?: string; readonly status?: number }
  | { readonly kind: 'slow'; readonly bytes: number; readonly everyMs: number }
  /** In place of the list of refs. */
  | { readonly kind: 'endless-refs' }
  /** Cuts a connection at its second request, as servers do with one that has been idle for long. */
  | { readonly kind: 'cut-reused' }
  /** This body with status 200 and git's content type. */
  | { readonly kind: 'body'; readonly body: string; readonly headers?: Readonly<Record<string, string>> }
)

export interface BasicAuth {
  readonly username: string
  readonly password: string
}

export interface GitHttpOptions {
  /** Where to listen; 127.0.0.1 unless given. */
  readonly host?: string
  readonly auth?: BasicAuth
  /** With a certificate for 127.0.0.1 and localhost of this authority, or of one made for it. */
  readonly tls?: boolean | TestCa
  /** A lower-case name and a value without which requests are refused. */
  readonly requiredHeader?: readonly [name: string, value: string]
  /** How long a connection may be idle; 5 s unless given. */
  readonly keepAliveMs?: number
}

/** Smart HTTP by real `git http-backend` for the repositories in a directory. */
export async function serveHttp(directory: string, options: GitHttpOptions = {}): Promise<GitHttpServer> {
  const home = await mkdtemp(join(tmpdir(), 'git-http-'))
  const backend = join((await runGit(['--exec-path'])).trim(), 'git-http-backend')
  const ca = options.tls === true ? createCa('Test CA') : options.tls || undefined
  const issued = ca?.issue({ cn: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] })
  const tuning = { keepAliveTimeout: options.keepAliveMs ?? 5_000 }
  const server = issued === undefined ? createServer(tuning) : createTlsServer({ ...tuning, ...issued })
  if (ca !== undefined) await writeFile(join(home, 'ca.crt'), ca.cert)
  server.listen(0, options.host ?? '127.0.0.1')
  await once(server, 'listening')
  return new GitHttpServer(server, { directory, home, backend, ca }, options)
}

interface Question {
  readonly request: IncomingMessage
  readonly path: string
  readonly query: string
  readonly body: Buffer
}

interface Surroundings {
  readonly directory: string
  readonly home: string
  readonly backend: string
  readonly ca: TestCa | undefined
}

export class GitHttpServer implements AsyncDisposable {
  /** What a client must say from now on; undefined lets everybody in. */
  auth: BasicAuth | undefined
  requiredHeader: readonly [name: string, value: string] | undefined
  /** What goes wrong from now on. */
  fault: Fault | undefined
  /** False makes it a server that has never heard of protocol v2. */
  protocolV2 = true
  /** All since the start, also those that were refused. */
  readonly requests: GitHttpRequest[] = []
  /** How many connections there have been. */
  connections = 0
  /** How many bytes of bodies there have been. */
  readonly bytes = { received: 0, sent: 0 }
  /** The authority behind the server's certificate. */
  readonly ca: TestCa | undefined
  /** PEM with its certificate. */
  readonly caFile: string
  readonly #server: Server
  readonly #surroundings: Surroundings
  readonly #sockets = new Map<Socket, { readonly number: number; requests: number }>()
  readonly #children = new Set<ChildProcess>()
  readonly #closing = new AbortController()

  constructor(server: Server, surroundings: Surroundings, options: GitHttpOptions) {
    this.#server = server
    this.#surroundings = surroundings
    this.auth = options.auth
    this.requiredHeader = options.requiredHeader
    this.ca = surroundings.ca
    this.caFile = join(surroundings.home, 'ca.crt')
    server.on('connection', (socket: Socket) => {
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
      // A TLS socket is another one than that which carries it.
      if (surroundings.ca === undefined) this.#count(socket)
      else this.#sockets.set(socket, { number: 0, requests: 0 })
    })
    server.on('secureConnection', (socket: Socket) => {
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
      this.#count(socket)
    })
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#serve(request, response).catch(() => response.destroy())
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get origin(): string {
    return `${this.ca === undefined ? 'http' : 'https'}://127.0.0.1:${this.port}`
  }

  /** The address of a repository in the directory. */
  urlOf(name: string): string {
    return `${this.origin}/${name}`
  }

  /** How many requests there have been for a path. */
  count(path: string): number {
    return this.requests.filter((request) => request.path === path).length
  }

  /** How many connections are open. */
  get open(): number {
    return this.#sockets.size
  }

  /** Cuts every connection. */
  cutAll(): void {
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  /** Cuts every connection and stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#closing.abort()
    this.cutAll()
    await Promise.all(Array.from(this.#children, end))
    await closed
    await rm(this.#surroundings.home, { recursive: true, force: true })
  }

  #count(socket: Socket): void {
    this.connections += 1
    this.#sockets.set(socket, { number: this.connections, requests: 0 })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const socket = this.#sockets.get(request.socket) ?? { number: 0, requests: 0 }
    socket.requests += 1
    const body = await buffer(request)
    this.bytes.received += body.length
    const url = new URL(request.url ?? '/', 'http://any')
    const path = url.pathname.replace(/^\/moved\//, '/')
    const moved = path !== url.pathname
    const kind = kindOf(path, request, body)
    this.requests.push({
      method: request.method ?? '',
      path: url.pathname,
      kind,
      headers: request.headers,
      connection: socket.number,
    })
    const fault = this.#faultFor(kind, moved)
    if (fault?.kind === 'hang') return
    if (fault?.kind === 'hold') await fault.until
    if (response.destroyed) return
    if (fault?.kind === 'cut-reused' && socket.requests > 1) {
      request.socket.destroy()
      return
    }
    if (!this.#letsIn(request, response)) return
    if (fault !== undefined && (await this.#misbehaves(fault, kind, request, response))) return
    await this.#ask({ request, path, query: url.search.slice(1), body }, response, fault)
  }

  #faultFor(kind: GitHttpKind, moved: boolean): Fault | undefined {
    const { fault } = this
    if (fault === undefined || (moved && fault.kind === 'redirect')) return undefined
    const on = fault.on ?? (fault.kind === 'cut' ? ['pack'] : undefined)
    return on === undefined || on.includes(kind) ? fault : undefined
  }

  #letsIn(request: IncomingMessage, response: ServerResponse): boolean {
    const [name, value] = this.requiredHeader ?? []
    if (name !== undefined && request.headers[name] !== value) {
      response.writeHead(403, { 'content-type': 'text/plain' }).end('a header is missing\n')
      return false
    }
    if (this.auth === undefined) return true
    const { username, password } = this.auth
    const expected = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
    if (request.headers.authorization === expected) return true
    response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end()
    return false
  }

  /** Whether the fault was the whole answer. */
  async #misbehaves(
    fault: Fault,
    kind: GitHttpKind,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<boolean> {
    switch (fault.kind) {
      case 'status':
        response.writeHead(fault.status, fault.headers).end()
        return true
      case 'html':
        response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>\n<h1>Log in</h1>\n')
        return true
      case 'body':
        response.writeHead(200, { 'content-type': typeOf(kind), ...fault.headers }).end(fault.body)
        return true
      case 'redirect': {
        const location = `${fault.to ?? `${this.origin}/moved`}${request.url}`
        response.writeHead(fault.status ?? 302, { location }).end()
        return true
      }
      case 'endless-refs': {
        const v2 = request.headers['git-protocol'] === 'version=2' && this.protocolV2
        if (kind !== 'refs' && (kind !== 'advertise' || v2)) return false
        response.writeHead(200, { 'content-type': typeOf(kind) })
        if (kind === 'advertise') response.write(`${packet('# service=git-upload-pack\n')}0000`)
        await pump(endlessRefs(), response, (chunk) => (this.bytes.sent += chunk.length))
        return true
      }
      default:
        return false
    }
  }

  /** Has the real server answer. */
  async #ask(question: Question, response: ServerResponse, fault: Fault | undefined): Promise<void> {
    const { request, path, query, body } = question
    const header = (name: string) => String(request.headers[name] ?? '')
    const child = spawn(this.#surroundings.backend, [], {
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
      env: {
        ...BARE_ENVIRONMENT,
        GIT_PROJECT_ROOT: this.#surroundings.directory,
        GIT_HTTP_EXPORT_ALL: '1',
        REQUEST_METHOD: request.method ?? '',
        PATH_INFO: path,
        QUERY_STRING: query,
        REMOTE_ADDR: '127.0.0.1',
        CONTENT_TYPE: header('content-type'),
        CONTENT_LENGTH: String(body.length),
        HTTP_CONTENT_ENCODING: header('content-encoding'),
        ...(this.protocolV2 && { GIT_PROTOCOL: header('git-protocol') }),
      },
    })
    this.#children.add(child)
    child.on('close', () => this.#children.delete(child))
    response.on('close', () => void end(child))
    // It may end without having read all.
    child.stdin.on('error', () => undefined)
    child.stdin.end(body)
    const rest = await headOf(child.stdout, response)
    if (fault?.kind === 'hang-after-headers') {
      response.flushHeaders()
      return
    }
    let left = fault?.kind === 'cut' ? fault.bytes : Number.POSITIVE_INFINITY
    const cut = async function* () {
      for await (const chunk of rest) {
        yield chunk.subarray(0, left)
        left -= chunk.length
        if (left < 0) return
      }
    }
    const slowed = fault?.kind === 'slow' ? slow(cut(), fault, this.#closing.signal) : cut()
    await pump(slowed, response, (chunk) => (this.bytes.sent += chunk.length))
    // What was written is sent before the connection is cut.
    if (left < 0) response.write('', () => request.socket.destroySoon())
    else response.end()
  }
}

function kindOf(path: string, request: IncomingMessage, body: Buffer): GitHttpKind {
  if (path.endsWith('/info/refs')) return 'advertise'
  if (!path.endsWith('/git-upload-pack')) return 'other'
  const text = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
  return text.includes('command=ls-refs') ? 'refs' : 'pack'
}

const typeOf = (kind: GitHttpKind): string =>
  `application/x-git-upload-pack-${kind === 'advertise' ? 'advertisement' : 'result'}`

/** Takes the head of a CGI answer from a stream and gives what follows. */
async function headOf(stream: Readable, response: ServerResponse): Promise<AsyncIterable<Buffer>> {
  const chunks: AsyncIterator<Buffer> = stream.iterator()
  let seen = Buffer.alloc(0)
  let end = -1
  while (end < 0) {
    const { value, done } = await chunks.next()
    if (done) throw new Error('git http-backend gave no head')
    seen = Buffer.concat([seen, value])
    end = seen.indexOf('\r\n\r\n')
  }
  for (const line of seen.toString('latin1', 0, end).split('\r\n')) {
    const [name = '', value = ''] = line.split(/: (.*)/)
    if (name === 'Status') response.statusCode = Number.parseInt(value, 10)
    else response.setHeader(name, value)
  }
  return (async function* () {
    yield seen.subarray(end + 4)
    yield* { [Symbol.asyncIterator]: () => chunks }
  })()
}

async function* slow(
  chunks: AsyncIterable<Buffer>,
  { bytes, everyMs }: { readonly bytes: number; readonly everyMs: number },
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += bytes) {
      await delay(everyMs, undefined, { signal })
      yield chunk.subarray(at, at + bytes)
    }
  }
}

async function* endlessRefs(): AsyncGenerator<Buffer> {
  for (let from = 0; ; from += 500) {
    const line = (_: unknown, index: number) =>
      packet(`${'1'.repeat(40)} refs/heads/endless-${from + index}\n`)
    yield Buffer.from(Array.from({ length: 500 }, line).join(''))
  }
}

const packet = (text: string): string => (text.length + 4).toString(16).padStart(4, '0') + text

/** Writes no faster than the client reads, and stops when it has gone. */
async function pump(
  chunks: AsyncIterable<Buffer>,
  response: ServerResponse,
  onSent: (chunk: Buffer) => void,
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  for await (const chunk of chunks) {
    if (response.destroyed) return
    onSent(chunk)
    if (!response.write(chunk)) await once(response, 'drain', { signal: gone.signal })
  }
}

/** Ends a process and those that it has started. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has ended in the meantime.
  }
  await once(child, 'close')
}
