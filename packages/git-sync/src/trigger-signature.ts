import { createHash, createHmac, type Hash, type Hmac, timingSafeEqual } from 'node:crypto'
import { signingKey, startSignature } from './standard-webhooks.ts'

/** How a request says that it may; where it says so in several ways, the one that tells most about its sender. */
export type SignatureForm = 'gitea' | 'github' | 'standard-webhooks' | 'gitlab' | 'bearer' | 'none'

export interface Verdict {
  readonly valid: boolean
  readonly form: SignatureForm
  /** What a repetition of the request has, too; none where nothing tells one from a new request. */
  readonly marks: readonly string[]
}

/** One request: its body goes in piece by piece, as it came. */
export interface Verification {
  update(bytes: Buffer): void
  finish(): Verdict
}

/** Each name in small letters with all that a request has of it, as `headersDistinct` of node:http. */
export type Headers = Readonly<Record<string, readonly string[] | undefined>>

/** How far the clock of a sender may be off, and how long a captured request is of use. Seconds. */
const TOLERANCE_S = 300

/**
 * Verifies the webhooks of forges, and our own tokens. A request must have at least one form of proof, and all that it has
 * must be right, as otherwise who forges it would choose the weakest.
 */
export class SignatureVerifier {
  readonly #secrets: readonly Secret[]
  readonly #now: () => number

  /**
   * @param secrets any of which may have been used, so that one can be replaced by another
   * @param now milliseconds since 1970
   * @throws Error where there is none, or one cannot be used
   */
  constructor(secrets: readonly string[], now: () => number = Date.now) {
    if (secrets.length === 0 || secrets.includes('')) throw new Error('a secret must not be empty')
    this.#secrets = secrets.map(secretOf)
    this.#now = now
  }

  begin(headers: Headers): Verification {
    const secrets = this.#secrets
    const checks = [
      bodySignature(headers, secrets),
      standardSignature(headers, secrets, this.#now() / 1_000),
      gitlabToken(headers, secrets),
      bearerToken(headers, secrets),
    ].filter((check) => check !== undefined)
    return {
      update(bytes) {
        for (const { hashes } of checks) for (const hash of hashes) hash.update(bytes)
      },
      finish() {
        // All of them, so that time does not tell which one was wrong.
        const results = checks.map((check) => check.finish())
        const right = results.filter((result) => result !== undefined)
        return {
          valid: checks.length > 0 && right.length === checks.length,
          form: checks[0]?.form ?? 'none',
          marks: right.flat(),
        }
      },
    }
  }
}

interface Secret {
  readonly text: string
  readonly digest: Buffer
  /** For Standard Webhooks; forges take the text as it is. */
  readonly key: Buffer
}

const secretOf = (text: string): Secret => ({ text, digest: sha256(text), key: signingKey(text) })

const sha256 = (bytes: string | Buffer): Buffer => createHash('sha256').update(bytes).digest()

/** One form of proof that a request has. */
interface Check {
  readonly form: SignatureForm
  /** That take the body. */
  readonly hashes: readonly (Hash | Hmac)[]
  /** Marks; undefined where it is wrong. */
  finish(): readonly string[] | undefined
}

const BODY_SIGNATURES: readonly (readonly [string, SignatureForm, string])[] = [
  ['x-gitea-signature', 'gitea', ''],
  ['x-forgejo-signature', 'gitea', ''],
  ['x-gogs-signature', 'gitea', ''],
  ['x-hub-signature-256', 'github', 'sha256='],
]

/** Of GitHub, Gitea, Forgejo and Gogs, who all sign the body alone, in hexadecimal. */
function bodySignature(headers: Headers, secrets: readonly Secret[]): Check | undefined {
  // Gitea sends them without a signature where it has no secret.
  const present = BODY_SIGNATURES.filter(([name, , prefix]) => !isAbsent(headers[name], prefix))
  const [first] = present
  if (first === undefined) return undefined
  const claims = present.map(([name, , prefix]) => bytesOf(only(headers[name]), prefix, 'hex'))
  const hashes = secrets.map(({ text }) => createHmac('sha256', text))
  return {
    form: first[1],
    hashes,
    finish() {
      const signatures = hashes.map((hash) => hash.digest())
      const found = claims.map((claim) => matchOf(signatures, [claim]))
      // The bytes and not the text, as the same signature has many spellings and several names.
      return found.includes(undefined)
        ? undefined
        : found.map((signature) => `body:${signature?.toString('hex')}`)
    },
  }
}

const isAbsent = (values: readonly string[] = [], prefix: string): boolean =>
  values.every((value) => value === '' || value === prefix)

/** Standard Webhooks, which GitLab's signing tokens are, too. */
function standardSignature(headers: Headers, secrets: readonly Secret[], nowS: number): Check | undefined {
  if (headers['webhook-signature'] === undefined) return undefined
  const id = only(headers['webhook-id']) ?? ''
  const timestamp = only(headers['webhook-timestamp']) ?? ''
  const versions = (only(headers['webhook-signature']) ?? '').split(' ')
  const claims = versions
    .filter((text) => text.startsWith('v1,'))
    .map((text) => bytesOf(text, 'v1,', 'base64'))
  // A dot in the identifier would make two requests of one signature.
  const sound = /^[\x21-\x2d\x2f-\x7e]{1,256}$/.test(id) && /^\d{1,12}$/.test(timestamp)
  const recent = Math.abs(nowS - Number(timestamp)) <= TOLERANCE_S
  const hashes = secrets.map(({ key }) => startSignature(key, id, timestamp))
  return {
    form: 'standard-webhooks',
    hashes,
    finish() {
      const found = matchOf(
        hashes.map((hash) => hash.digest()),
        claims,
      )
      return found !== undefined && sound && recent ? [`id:${id}`] : undefined
    },
  }
}

/** GitLab's older way, the secret itself. */
function gitlabToken(headers: Headers, secrets: readonly Secret[]): Check | undefined {
  if (headers['x-gitlab-token'] === undefined) return undefined
  const right = isSecret(only(headers['x-gitlab-token']), secrets)
  const event = only(headers['x-gitlab-event-uuid'])
  const hash = createHash('sha256').update(`${event}\n`)
  return {
    form: 'gitlab',
    hashes: [hash],
    finish() {
      const digest = hash.digest('hex')
      if (!right) return undefined
      return event === undefined ? [] : [`event:${digest}`]
    },
  }
}

/** Our own. Other schemes are left to what stands before us. */
function bearerToken(headers: Headers, secrets: readonly Secret[]): Check | undefined {
  const values = headers['authorization'] ?? []
  if (!values.some((value) => /^bearer\b/i.test(value))) return undefined
  const right = isSecret(/^bearer +(.+)$/i.exec(only(values) ?? '')?.[1], secrets)
  return { form: 'bearer', hashes: [], finish: () => (right ? [] : undefined) }
}

/** Of a header that stands there once: two are two opinions. */
const only = (values: readonly string[] = []): string | undefined =>
  values.length === 1 ? values[0] : undefined

const SHAPES = { hex: /^[0-9a-f]{64}$/i, base64: /^[A-Za-z0-9+/]{43}=$/ }

/** The 32 bytes of a signature; zeros where it is none, which no signature is. */
function bytesOf(value: string | undefined, prefix: string, encoding: 'hex' | 'base64'): Buffer {
  const text = value?.startsWith(prefix) ? value.slice(prefix.length) : ''
  return SHAPES[encoding].test(text) ? Buffer.from(text, encoding) : Buffer.alloc(32)
}

/** The signature that one of the claims is. Compares all, in constant time. */
function matchOf(signatures: readonly Buffer[], claims: readonly Buffer[]): Buffer | undefined {
  let found: Buffer | undefined
  for (const claim of claims)
    for (const signature of signatures) if (timingSafeEqual(signature, claim)) found = signature
  return found
}

/** Digests have one length, so that time does not tell that of the secret. */
function isSecret(value: string | undefined, secrets: readonly Secret[]): boolean {
  // Each character of a header stands for a byte, and those of a secret for UTF-8.
  const digest = sha256(Buffer.from(value ?? '', 'latin1'))
  const digests = secrets.map((secret) => secret.digest)
  return matchOf(digests, [digest]) !== undefined
}
