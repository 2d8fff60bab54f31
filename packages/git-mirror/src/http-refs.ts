import { once } from 'node:events'
import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { LsRefsError, lsRefsRequest, type ObjectFormat, RefList } from './ls-refs.ts'
import { PktLineReader } from './pkt-line.ts'
import type { RemoteRef } from './remote-ref.ts'

export interface HttpRefsOptions {
  /** PEM of the authorities to trust in place of the well-known ones. */
  readonly ca?: string | Buffer
  /** False trusts any certificate. */
  readonly verify?: boolean
  /** How long an exchange may take; 10 s unless given. */
  readonly timeoutMs?: number
}

/** Asks an http or https remote for the hashes of refs by one exchange, without a process. */
export interface HttpRefs extends AsyncDisposable {
  /**
   * The refs at the remote among these, HEAD and whole names. Undefined where only git itself can tell, or can say what
   * is wrong; then this one does not ask for some calls: 1, 2, 4 and so on up to 64 after failures in a row.
   * @throws the signal's reason, nothing else
   */
  list(
    names: readonly string[],
    options: {
      readonly credential?: { readonly username: string; readonly password: string }
      readonly signal: AbortSignal
    },
  ): Promise<readonly RemoteRef[] | undefined>
}

const REQUEST_TYPE = 'application/x-git-upload-pack-request'
const RESULT_TYPE = 'application/x-git-upload-pack-result'
const MOST_BYTES = 16 * 1024 * 1024
const MOST_LINES = 100_000
const LONGEST_LINE = 16 * 1024
const LONGEST_NAME = 4 * 1024
const MOST_CALLS_OFF = 64
/** A server that says how long it keeps connections is believed when that is shorter. */
const IDLE_MS = 120_000

/**
 * Knows protocol v2 over the given URL and nothing else: no redirects, proxies, cookies or client certificates. A URL of
 * another scheme gives undefined at each call.
 */
export function openHttpRefs(url: string, options: HttpRefsOptions = {}): HttpRefs {
  return new Exchanges(url, options)
}

type Answer =
  | { readonly outcome: 'refs'; readonly refs: readonly RemoteRef[] }
  | { readonly outcome: 'empty' | 'unexpected' | 'gone' }

class Exchanges implements HttpRefs {
  readonly #target: RequestOptions | undefined
  readonly #options: HttpRefsOptions
  #client: Promise<Client> | undefined
  #format: ObjectFormat = 'sha1'
  #failures = 0
  #callsOff = 0
  #isClosed = false

  constructor(url: string, options: HttpRefsOptions) {
    this.#target = targetOf(url)
    this.#options = options
  }

  async list(
    names: readonly string[],
    { credential, signal }: Parameters<HttpRefs['list']>[1],
  ): Promise<readonly RemoteRef[] | undefined> {
    signal.throwIfAborted()
    if (this.#target === undefined || this.#isClosed) return undefined
    if (names.some((name) => Buffer.byteLength(name) > LONGEST_NAME)) return undefined
    if (this.#callsOff > 0) {
      this.#callsOff -= 1
      return undefined
    }
    const wanted = names.filter((name) => name === 'HEAD' || name.startsWith('refs/'))
    // Without a prefix the server would list everything.
    if (wanted.length === 0) return []
    this.#client ??= clientFor(this.#target, this.#options)
    const client = await this.#client
    const ask = () => this.#exchange(client, wanted, credential, signal)
    let answer = await ask()
    if (answer.outcome === 'gone' && !signal.aborted) answer = await ask()
    signal.throwIfAborted()
    if (answer.outcome === 'refs') {
      this.#failures = 0
      return answer.refs
    }
    // So ends git's answer when the object format is another than was said, and also where it knows no protocol v2.
    if (answer.outcome === 'empty') this.#format = this.#format === 'sha1' ? 'sha256' : 'sha1'
    this.#callsOff = Math.min(2 ** this.#failures, MOST_CALLS_OFF)
    this.#failures += 1
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    const client = await this.#client
    client?.agent.destroy()
  }

  async #exchange(
    { request: open, agent }: Client,
    names: readonly string[],
    credential: { readonly username: string; readonly password: string } | undefined,
    signal: AbortSignal,
  ): Promise<Answer> {
    if (this.#isClosed) return { outcome: 'unexpected' }
    const stop = new AbortController()
    let sent: ClientRequest | undefined
    const end = () => {
      stop.abort()
      sent?.destroy()
    }
    const timer = setTimeout(end, this.#options.timeoutMs ?? 10_000)
    signal.addEventListener('abort', end, { once: true })
    let hasAnswer = false
    try {
      const body = lsRefsRequest(names, this.#format)
      sent = open({
        ...this.#target,
        agent,
        method: 'POST',
        headers: {
          // Some servers know git by it.
          'user-agent': 'git/2.0 (outrider)',
          'git-protocol': 'version=2',
          'content-type': REQUEST_TYPE,
          'content-length': Buffer.byteLength(body),
          accept: RESULT_TYPE,
          'cache-control': 'no-cache',
          pragma: 'no-cache',
          ...(credential !== undefined && { authorization: basic(credential) }),
        },
      })
      // It may fail again after its first error has been seen.
      sent.on('error', () => undefined)
      const answered = once(sent, 'response', { signal: stop.signal }) as Promise<[IncomingMessage]>
      sent.end(body)
      const [response] = await answered
      hasAnswer = true
      if (isList(response)) return await read(response, names)
    } catch {
      // The server may close a connection that was idle just when it is used again.
      if (sent?.reusedSocket && !hasAnswer && !stop.signal.aborted) return { outcome: 'gone' }
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
    }
    // Nothing may follow on a connection whose answer was not read to its end.
    sent?.destroy()
    return { outcome: 'unexpected' }
  }
}

interface Client {
  readonly request: (options: RequestOptions) => ClientRequest
  readonly agent: Agent
}

/** Loads what speaks TLS, megabytes that others do without. */
async function clientFor(target: RequestOptions, { ca, verify }: HttpRefsOptions): Promise<Client> {
  const common = { keepAlive: true, maxFreeSockets: 1, timeout: IDLE_MS }
  if (target.protocol === 'http:') return { request, agent: new Agent(common) }
  const https = await import('node:https')
  const trust = { ...(ca !== undefined && { ca }), rejectUnauthorized: verify ?? true }
  return { request: https.request, agent: new https.Agent({ ...common, ...trust }) }
}

/** Undefined for what is no plain address of a repository at an HTTP server. */
function targetOf(text: string): RequestOptions | undefined {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    return undefined
  return {
    protocol: url.protocol,
    hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port,
    path: `${url.pathname.replace(/\/$/, '')}/git-upload-pack`,
  }
}

const basic = ({ username, password }: { readonly username: string; readonly password: string }): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`

const isList = ({ statusCode, headers }: IncomingMessage): boolean =>
  statusCode === 200 &&
  headers['content-type'] === RESULT_TYPE &&
  (headers['content-encoding'] ?? 'identity') === 'identity'

/** @throws when it is no answer to `ls-refs`, too long, or cut */
async function read(response: IncomingMessage, names: readonly string[]): Promise<Answer> {
  const reader = new PktLineReader(LONGEST_LINE)
  const list = new RefList(names)
  let bytes = 0
  let lines = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    for (const line of reader.read(chunk)) {
      lines += 1
      list.add(line)
    }
    if (bytes > MOST_BYTES || lines > MOST_LINES) throw new LsRefsError('too long a list')
  }
  if (bytes === 0) return { outcome: 'empty' }
  if (!list.isComplete || !reader.isBetweenLines) throw new LsRefsError('the list is cut')
  return { outcome: 'refs', refs: list.refs }
}
