import { exchange } from './http-exchange.ts'
import { isOneLine } from './one-line.ts'
import { readSecretFile } from './secret-file.ts'

export interface GitHubAppOptions {
  /** `https://api.github.com/`, or `https://<host>/api/v3/` of GitHub Enterprise; with the last slash or without. */
  readonly baseUrl: string
  /** The client id or the application id. */
  readonly issuer: string
  readonly installationId: number
  /** RSA in PEM; a file is read for each token, so it may change. */
  readonly privateKey: { readonly text: string } | { readonly file: string }
  /** HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  readonly proxies?: Readonly<Record<string, string | undefined>>
  /** Called when a token was asked for, which is about once an hour. */
  readonly onRefresh?: (outcome: 'success' | 'error') => void
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

export interface GitHubApp {
  /**
   * The user and password of the installation, renewed when less than 30 seconds of it are left.
   * @throws Error that has neither token nor key
   */
  login(): Promise<{ readonly username: string; readonly password: string }>
}

interface Token {
  readonly text: string
  readonly expires: number
}

const limitMs = 10_000
const renewMs = 30_000

/** Installation tokens of a GitHub App, one at a time however many ask. */
export function createGitHubApp(options: GitHubAppOptions): GitHubApp {
  const { now = Date.now, onRefresh } = options
  let token: Token | undefined
  let pending: Promise<Token> | undefined
  const renew = async (): Promise<Token> => {
    try {
      token = await requestToken(options, now())
      onRefresh?.('success')
      return token
    } catch (error) {
      onRefresh?.('error')
      throw error
    } finally {
      pending = undefined
    }
  }
  const current = async (): Promise<Token> => {
    if (token !== undefined && now() < token.expires - renewMs) return token
    pending ??= renew()
    return await pending
  }
  return {
    async login() {
      const { text } = await current()
      // Any user would do; this is the one that GitHub documents.
      return { username: 'x-access-token', password: text }
    },
  }
}

async function requestToken(options: GitHubAppOptions, now: number): Promise<Token> {
  const { baseUrl, issuer, installationId, privateKey, proxies } = options
  const key = 'text' in privateKey ? privateKey.text : await readSecretFile(privateKey.file)
  const jwt = await signed(issuer, key, now)
  const url = new URL(`app/installations/${installationId}/access_tokens`, `${baseUrl.replace(/\/$/, '')}/`)
  const headers = {
    Authorization: `Bearer ${jwt}`,
    Accept: 'application/vnd.github+json',
    'Content-Length': '0',
  }
  const { status, body } = await exchange({
    ...{ url, method: 'POST', headers, limitMs },
    ...(proxies !== undefined && { proxies }),
  }).catch((error: Error) => {
    throw new Error(`GitHub at ${url.origin} ${error.message}`)
  })
  const fields = fieldsOf(body)
  if (status !== 201) {
    const said = typeof fields['message'] === 'string' ? `: ${quoted(fields['message'], jwt)}` : ''
    throw new Error(
      `GitHub at ${url.origin} gave no token and answered with status ${status}${said}${remedy(status)}`,
    )
  }
  const { token, expires_at: expiresAt } = fields
  const expires = typeof expiresAt === 'string' ? Date.parse(expiresAt) : Number.NaN
  if (typeof token !== 'string' || token === '' || !isOneLine(token) || Number.isNaN(expires)) {
    throw new Error(
      `GitHub at ${url.origin} answered with status 201 without a token and the time of its end`,
    )
  }
  return { text: token, expires }
}

/**
 * A JSON Web Token by which an app shows who it is. Begun a minute ago and ended a minute early, since GitHub's clock
 * may differ and takes ten minutes at most.
 */
async function signed(issuer: string, pem: string, now: number): Promise<string> {
  const { createPrivateKey, sign } = await import('node:crypto')
  const seconds = Math.floor(now / 1000)
  const claims = { iat: seconds - 60, exp: seconds + 540, iss: issuer }
  const text = [{ alg: 'RS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const key = readKey(() => createPrivateKey(pem))
  return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`
}

/** OpenSSL's words help nobody here. */
function readKey(read: () => import('node:crypto').KeyObject): import('node:crypto').KeyObject {
  let type: string | undefined
  try {
    const key = read()
    type = key.asymmetricKeyType
    if (type === 'rsa') return key
  } catch {
    // Told below.
  }
  const found = type === undefined ? 'it is none, or is encrypted' : `it is of the kind ${type}`
  throw new Error(
    `the private key of the GitHub App must be an RSA key in PEM without a passphrase: ${found}`,
  )
}

function fieldsOf(body: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

/** What GitHub says, on one line; a server that repeats the token that it was sent does not bring it into a log. */
const quoted = (said: string, jwt: string): string =>
  JSON.stringify(said.replaceAll(jwt, '***').slice(0, 200)).replaceAll(/\p{Cc}/gu, '?')

function remedy(status: number): string {
  if (status === 401) return '; check the id of the app, its private key and the clock of this machine'
  if (status === 404) return '; check the id of the installation and the base URL'
  return ''
}

/** Whether the tokens of an app are for a repository: the API is at the same host, or at `api.` before its name. */
export function isOfGitHub(repo: string, baseUrl: URL): boolean {
  const url = URL.parse(repo)
  return (
    url !== null && /^https?:$/.test(url.protocol) && url.hostname === baseUrl.hostname.replace(/^api\./, '')
  )
}

/** What was said about a GitHub App. */
export interface GitHubAppSetup {
  readonly clientId?: string | undefined
  readonly applicationId?: number | undefined
  readonly installationId?: number | undefined
  readonly privateKey?: string | undefined
  readonly privateKeyFile?: string | undefined
  /** That of `--username`, which excludes an app. */
  readonly username?: string | undefined
}

/** What is missing or contradicts itself, a text each; nothing where there is no app. 0 is no id. */
export function* gitHubAppFaults(setup: GitHubAppSetup): Generator<string> {
  const { privateKey, privateKeyFile } = setup
  const hasKey = privateKey !== undefined || privateKeyFile !== undefined
  const ids = [setup.clientId, setup.applicationId].filter(Boolean).length
  if (ids === 0 && !setup.installationId && !hasKey) return
  if (ids === 0) yield 'a GitHub App has no id: give its client id or its application id'
  if (ids === 2) yield 'a GitHub App has both a client id and an application id: leave one of them out'
  if (!setup.installationId) yield 'a GitHub App has no installation id: give it'
  if (!hasKey) yield 'a GitHub App has no private key: give it, or a file with it'
  if (privateKey !== undefined && privateKeyFile !== undefined) {
    yield 'a GitHub App has both a private key and a file with one: leave one of them out'
  }
  if (setup.username !== undefined) {
    yield 'a GitHub App and a username are both given: leave one of them out'
  }
}
