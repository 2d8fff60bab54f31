import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ListenAddress } from '@outrider/listen'
import { answer, type HttpEndpoint, type HttpLimits, startHttpEndpoint } from './http-limits.ts'
import { Replays } from './replays.ts'
import { type SignatureForm, SignatureVerifier, type Verdict } from './trigger-signature.ts'

/**
 * - `accepted`: a sync was asked for
 * - `ping`: a forge has tried whether somebody is there
 * - `replayed`: it was accepted before
 * - `unauthorized`: its proof is missing or wrong
 * - `unknown`: of a repository that is not synced
 * - `too-large`: of its body
 * - `malformed`: not what this endpoint is for
 * - `draining`: there are no syncs any more
 */
export type TriggerOutcome =
  | 'accepted'
  | 'ping'
  | 'replayed'
  | 'unauthorized'
  | 'unknown'
  | 'too-large'
  | 'malformed'
  | 'draining'

export interface TriggerReport {
  readonly outcome: TriggerOutcome
  readonly form: SignatureForm
  /** The address of who sent it; undefined on a Unix socket. */
  readonly from: string | undefined
}

export interface TriggerOptions {
  readonly listen: ListenAddress
  /** Any of which may have been used. */
  readonly secrets: readonly string[]
  readonly isKnown: (repository: string) => boolean
  /** Called for each request that may; it must merge what comes in floods. */
  readonly onTrigger: (repositories: 'all' | readonly string[]) => void
  readonly onRequest?: (report: TriggerReport) => void
  readonly onError: (error: Error) => void
  readonly limits?: Partial<HttpLimits>
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

export interface Trigger extends AsyncDisposable {
  readonly address: ListenAddress
  /** Further requests are told to come again. */
  drain(): void
}

/** Pushes of many commits are large, and who sends more than this is no forge. */
const BODY_BYTES = 5 * 1024 * 1024
const RETRY_AFTER_S = 10

/**
 * Listens for requests to sync.
 *
 *     POST /sync          all repositories
 *     POST /sync/<name>   one of them
 *
 * @throws Error where a secret cannot be used; the system's error on listening
 */
export async function startTrigger(options: TriggerOptions): Promise<Trigger> {
  const handler = new TriggerHandler(options)
  const endpoint: HttpEndpoint = await startHttpEndpoint({
    listen: options.listen,
    ...(options.limits !== undefined && { limits: options.limits }),
    handle: (request, response) => handler.handle(request, response),
    onMalformed: () => options.onRequest?.({ outcome: 'malformed', form: 'none', from: undefined }),
    onError: options.onError,
  })
  return {
    address: endpoint.address,
    drain() {
      handler.draining = true
    },
    [Symbol.asyncDispose]: () => endpoint[Symbol.asyncDispose](),
  }
}

/** What a request gets. Nothing in it tells of repositories or secrets. */
interface Reply {
  readonly outcome: TriggerOutcome
  readonly status: number
  readonly says: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string | number>>
}

const UNAUTHORIZED: Reply = {
  outcome: 'unauthorized',
  status: 401,
  says: { error: 'the request has no valid signature or token' },
  headers: { 'WWW-Authenticate': 'Bearer' },
}
const DRAINING: Reply = {
  outcome: 'draining',
  status: 503,
  says: { error: 'this process is about to end' },
  headers: { 'Retry-After': RETRY_AFTER_S },
}
const TOO_LARGE: Reply = {
  outcome: 'too-large',
  status: 413,
  says: { error: `a body may have ${BODY_BYTES / 2 ** 20} MiB` },
}
const malformed = (status: number, error: string, headers = {}): Reply => ({
  outcome: 'malformed',
  status,
  says: { error },
  headers,
})

class TriggerHandler {
  draining = false
  readonly #options: TriggerOptions
  readonly #verifier: SignatureVerifier
  readonly #replays = new Replays()

  constructor(options: TriggerOptions) {
    this.#options = options
    this.#verifier = new SignatureVerifier(options.secrets, options.now)
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = targetOf(request.url ?? '')
    const early = this.#refusal(request, target)
    if (early !== undefined || target === undefined) {
      this.#reply(request, response, early ?? malformed(404, 'known paths: /sync /sync/<name>'))
      return
    }
    const verification = this.#verifier.begin(request.headersDistinct)
    const body = await take(request, (bytes) => verification.update(bytes))
    if (body !== 'whole') {
      this.#reply(request, response, body === 'too-large' ? TOO_LARGE : malformed(400, 'the body breaks off'))
      return
    }
    const verdict = verification.finish()
    this.#reply(request, response, this.#decide(request, target, verdict), verdict.form)
  }

  /** What a request is answered whose body does not matter. */
  #refusal({ headers, method }: IncomingMessage, target: Target | undefined): Reply | undefined {
    // A web page would act with what its reader may reach (cross-site request forgery, DNS rebinding).
    if (headers.origin !== undefined || headers['sec-fetch-site'] !== undefined)
      return malformed(403, 'web pages may not ask for this')
    if (target === undefined) return undefined
    if (method !== 'POST') return malformed(405, 'this path answers POST only', { Allow: 'POST' })
    if (this.draining) return DRAINING
    return Number(headers['content-length'] ?? 0) > BODY_BYTES ? TOO_LARGE : undefined
  }

  #decide(request: IncomingMessage, target: Target, { valid, marks }: Verdict): Reply {
    if (!valid) return UNAUTHORIZED
    const { repository } = target
    // Only now, so that nobody else learns which names there are.
    if (repository !== undefined && !this.#options.isKnown(repository))
      return { outcome: 'unknown', status: 404, says: { error: 'there is no such repository' } }
    if (isPing(request)) return { outcome: 'ping', status: 200, says: { status: 'ready' } }
    // What is not accepted comes again, and is none the less new.
    if (this.draining) return DRAINING
    // Of each path, as one push is sent to the hooks of several repositories here, all with the same signature.
    const own = marks.map((mark) => `${repository === undefined ? '' : `/${repository}`} ${mark}`)
    if (this.#replays.receive(own))
      return { outcome: 'replayed', status: 200, says: { status: 'already received' } }
    this.#options.onTrigger(repository === undefined ? 'all' : [repository])
    return { outcome: 'accepted', status: 202, says: { status: 'syncing' } }
  }

  #reply(
    request: IncomingMessage,
    response: ServerResponse,
    reply: Reply,
    form: SignatureForm = 'none',
  ): void {
    this.#options.onRequest?.({ outcome: reply.outcome, form, from: request.socket.remoteAddress })
    answer(request, response, {
      status: reply.status,
      headers: { ...reply.headers, 'Content-Type': 'application/json' },
      body: `${JSON.stringify(reply.says)}\n`,
    })
  }
}

interface Target {
  /** All where there is none. */
  readonly repository?: string
}

function targetOf(url: string): Target | undefined {
  const path = /^[^?#]*/.exec(url)?.[0] ?? ''
  if (path === '/sync') return {}
  const name = /^\/sync\/([^/]+)$/.exec(path)?.[1]
  if (name === undefined) return undefined
  try {
    return { repository: decodeURIComponent(name) }
  } catch {
    return undefined
  }
}

const EVENTS = ['x-github-event', 'x-gitea-event', 'x-forgejo-event', 'x-gogs-event']

const isPing = ({ headers }: IncomingMessage): boolean => EVENTS.some((name) => headers[name] === 'ping')

/** Reads a body that is not kept. */
function take(
  request: IncomingMessage,
  use: (bytes: Buffer) => void,
): Promise<'whole' | 'too-large' | 'broken'> {
  return new Promise((resolve) => {
    let bytes = 0
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes <= BODY_BYTES) {
        use(chunk)
        return
      }
      request.off('data', onData)
      resolve('too-large')
    }
    request.on('data', onData)
    request.once('end', () => resolve('whole'))
    request.once('close', () => resolve('broken'))
  })
}
