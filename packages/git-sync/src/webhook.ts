import { createHash, createHmac } from 'node:crypto'
import http, { type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { signingKey, startSignature } from './standard-webhooks.ts'
import { systemAuthorities } from './system-authorities.ts'

export interface WebhookOptions {
  /** http or https; a user and a password in it are sent as basic authentication. */
  readonly url: string
  readonly method: string
  /** The one status that is success; 0 or less: the request is sent, and how it is answered does not matter. */
  readonly successStatus: number
  /** Of all of it, milliseconds. */
  readonly timeoutMs: number
  /** Signs the requests, which then have a body. */
  readonly secret?: string
  /** Said in that body. */
  readonly repository: string
  readonly ref: string
}

export interface Publication {
  readonly hash: string
  readonly publishedAt: Date
}

/**
 * Tells a receiver what was published. Resolves when it was told.
 *
 * @throws Error which names the receiver, and nothing of its address that may be secret
 */
export type Webhook = (publication: Publication, signal: AbortSignal) => Promise<void>

/** @throws Error where the URL or the secret cannot be used */
export function createWebhook(options: WebhookOptions): Webhook {
  const url = URL.parse(options.url)
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new Error('the URL of a webhook must begin with http:// or https://')
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(options.method))
    throw new Error('the method of a webhook must be one word, such as POST')
  const sign = options.secret === undefined ? undefined : signer(options.secret)
  const { repository, ref } = options
  const content = ({ hash, publishedAt }: Publication): Content => {
    const headers = { 'Gitsync-Hash': hash, 'User-Agent': 'git-sync', Connection: 'close' }
    if (sign === undefined) return { headers, body: '' }
    const at = publishedAt.toISOString()
    const body = JSON.stringify({ repository: withoutUser(repository), ref, hash, published_at: at })
    return { headers: { ...headers, ...sign(body, new Date()) }, body }
  }
  return async (publication, signal) => {
    const deadline = AbortSignal.timeout(options.timeoutMs)
    const ends = AbortSignal.any([deadline, signal])
    try {
      const request = await open(url, { method: options.method, signal: ends }, content(publication))
      await (options.successStatus > 0 ? succeeds(request, options.successStatus) : leaves(request))
    } catch (error) {
      const late = `did not answer within ${options.timeoutMs / 1_000}s: see whether it is there, or raise the timeout`
      const why = signal.aborted ? 'was not waited for: all is being stopped' : reasonOf(error)
      throw new Error(`the webhook at ${url.origin} ${deadline.aborted && !signal.aborted ? late : why}`)
    }
  }
}

interface Content {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Headers by which a receiver can tell that a body is ours, and that it has it already. */
function signer(secret: string): (body: string, now: Date) => Record<string, string> {
  const key = signingKey(secret)
  return (body, now) => {
    // The same for each attempt at the same publication.
    const id = `msg_${createHash('sha256').update(body).digest('base64url').slice(0, 27)}`
    const timestamp = String(Math.floor(now.getTime() / 1_000))
    return {
      'Content-Type': 'application/json',
      'X-Hub-Signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${startSignature(key, id, timestamp).update(body).digest('base64')}`,
    }
  }
}

function withoutUser(repository: string): string {
  const url = URL.parse(repository)
  if (url === null || (url.username === '' && url.password === '')) return repository
  url.username = ''
  url.password = ''
  return url.href
}

/** Sends a request. What speaks TLS is loaded only by those who need it. */
async function open(url: URL, options: RequestOptions, { headers, body }: Content): Promise<ClientRequest> {
  const settings = { ...options, headers, agent: false }
  if (url.protocol === 'http:') return http.request(url, settings).end(body)
  const { request } = await import('node:https')
  return request(url, { ...settings, ...(await systemAuthorities()) }).end(body)
}

function succeeds(request: ClientRequest, status: number): Promise<void> {
  return new Promise((resolve, reject) => {
    onFailure(request, reject)
    request.once('response', (response) => {
      drain(response)
      if (response.statusCode === status) resolve()
      else reject(new Error(statusText(response, status)))
    })
  })
}

/** Resolves when all of it is on its way; its answer is read, so that the receiver is not disturbed. */
function leaves(request: ClientRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    onFailure(request, reject)
    request.once('response', drain)
    request.once('finish', resolve)
  })
}

function onFailure(request: ClientRequest, reject: (error: Error) => void): void {
  request.on('error', reject)
  // An answer that switches protocols ends a request without an error.
  request.once('close', () =>
    reject(new Error('closed the connection without an answer: its own log says why')),
  )
}

const MOST_BYTES = 64 * 1024

/** The deadline of the request ends this, too. */
function drain(response: IncomingMessage): void {
  let bytes = 0
  response.on('error', () => undefined)
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > MOST_BYTES) response.destroy()
  })
}

function statusText({ statusCode = 0, headers }: IncomingMessage, wanted: number): string {
  const answered = `answered ${statusCode}, and ${wanted} is awaited`
  const to = URL.parse(headers.location ?? '')
  if (statusCode >= 300 && statusCode < 400)
    return `${answered}: redirects are not followed, so give the address that it names${to === null ? '' : `, at ${to.origin}`}`
  if (statusCode === 401 || statusCode === 403) return `${answered}: see what credentials it wants`
  if (statusCode >= 200 && statusCode < 300)
    return `${answered}: set the success status to ${statusCode} if that is right`
  return `${answered}: its own log says why`
}

/** Of an error of Node, whose text may have the whole address in it. */
function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const known = REASONS.find(([codes]) => codes.test(code))
  if (known !== undefined) return `${known[1]} (${code})`
  return error instanceof Error && code === '' ? error.message : `failed (${code || String(error)})`
}

const REASONS: readonly (readonly [RegExp, string])[] = [
  [/^ECONNREFUSED$/, 'refused the connection: see whether it runs, and at this port'],
  [/^(ENOTFOUND|EAI_AGAIN)$/, 'has a name that cannot be resolved: see the name, and the DNS of the pod'],
  [/^(ECONNRESET|EPIPE)$/, 'closed the connection without an answer: its own log says why'],
  [/^(EHOSTUNREACH|ENETUNREACH|ETIMEDOUT)$/, 'cannot be reached: see routes and network policies'],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'has a certificate for another name: use the name that it is for'],
  [/^CERT_HAS_EXPIRED$/, 'has a certificate that has expired: renew it'],
  [
    /CERT|ISSUER|SIGNATURE/,
    'has a certificate of no known authority: name a file with it in NODE_EXTRA_CA_CERTS',
  ],
  [/^(EPROTO|ERR_SSL)/, 'does not speak TLS as it should: see whether it is https at all'],
  [/^HPE_/, 'did not answer with HTTP: see the port'],
]
