import { createHash, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { SecureContext } from 'node:tls'
import { type CertificateInfo, inspectKeyPair, type KeyPair } from './certificate.ts'
import type { NamedPair } from './certificate-directory.ts'

export interface CertificateStoreOptions {
  /** Makes the context of a pair. Called once for as long as the pair is in the store, when a client first needs it. */
  context(pair: KeyPair): SecureContext
  /** Whether clients that ask for no name, or for none of ours, are refused. */
  strict: boolean
}

/** Certificates by the name that a client asks for (RFC 6066 section 3). */
export interface CertificateStore {
  /**
   * Holds these and no others. The default, for clients that ask for nothing of ours, is `fallback`, which is also found
   * by its own names, or else the first by name. Several may have the same name when their types of key differ; of two
   * with the same type that one counts which comes first: `fallback`, then by name.
   *
   * Throws an Error that names all bad pairs, and then nothing has changed. That OpenSSL finds a key too weak shows
   * later, in `contextFor`, except for the default.
   */
  replace(entries: readonly NamedPair[], fallback?: KeyPair): void
  /**
   * For the server name of a client: the exact DNS name of a certificate, in any case of letters and with or without a
   * dot at its end, then a wildcard for its first label, then the default. The common name does not count (RFC 9525),
   * nor do addresses, which are never asked for. `undefined` when there is no certificate at all; `abort` when `strict`
   * and there is none of that name. Throws an Error that names the pair when OpenSSL refuses it.
   *
   * `signatures`, what `getSharedSigalgs()` of the socket gives in an `SNICallback`, best first, choose between
   * certificates of one name by the type of their keys: that callback may hand over only one, because Node copies a
   * single certificate out of the context. Without them RSA is chosen, which all clients know. They do not tell of a
   * client of TLS 1.2 that takes ECDSA signatures and only RSA cipher suites.
   */
  contextFor(
    servername: string | false | undefined,
    signatures?: readonly string[],
  ): SecureContext | undefined | 'abort'
  /** Of all pairs, the default first. */
  infos(): CertificateInfo[]
}

export function createCertificateStore(options: CertificateStoreOptions): CertificateStore {
  return new Store(options)
}

/** A pair that has been found good. */
interface Entry {
  readonly name: string
  readonly pair: KeyPair
  readonly info: CertificateInfo
  /** `rsa`, `ec`, `ed25519` and so on. */
  readonly keyType: string
  /** There is one from the first use on. A failure is kept too: trying again for each client would be for nothing. */
  made: SecureContext | Error | undefined
}

/** What OpenSSL calls the signatures that a type of key makes. */
const SIGNATURES: Readonly<Record<string, RegExp>> = {
  rsa: /^RSA(-PSS)?\+/,
  'rsa-pss': /^RSA-PSS\+/,
  ec: /^ECDSA\+/,
  ed25519: /^Ed25519\+/,
  ed448: /^Ed448\+/,
}

class Store implements CertificateStore {
  readonly #options: CertificateStoreOptions
  /** By the digest of their content. */
  #entries: ReadonlyMap<string, Entry> = new Map()
  #byName: ReadonlyMap<string, readonly Entry[]> = new Map()
  #default: readonly Entry[] = []

  constructor(options: CertificateStoreOptions) {
    this.#options = options
  }

  replace(entries: readonly NamedPair[], fallback?: KeyPair): void {
    const sorted = entries.toSorted((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)))
    const all = fallback === undefined ? sorted : [{ ...fallback, name: 'the default' }, ...sorted]
    const checked = this.#check(all)
    const byName = entriesByName(checked.values())
    const [first] = checked.values()
    if (first !== undefined && !this.#options.strict) this.#contextOf(first)
    this.#entries = checked
    this.#byName = byName
    this.#default = first === undefined ? [] : (byName.get(dnsNames(first)[0] ?? '') ?? [first])
  }

  contextFor(
    servername: string | false | undefined,
    signatures: readonly string[] = [],
  ): SecureContext | undefined | 'abort' {
    const found = this.#find(servername || '')
    if (found === undefined && this.#options.strict) return 'abort'
    const entry = chosen(found ?? this.#default, signatures)
    return entry && this.#contextOf(entry)
  }

  infos(): CertificateInfo[] {
    return [...this.#entries.values()].map((entry) => entry.info)
  }

  #find(servername: string): readonly Entry[] | undefined {
    const name = servername.toLowerCase().replace(/\.$/, '')
    const dot = name.indexOf('.')
    return this.#byName.get(name) ?? (dot > 0 ? this.#byName.get(`*${name.slice(dot)}`) : undefined)
  }

  #contextOf(entry: Entry): SecureContext {
    entry.made ??= this.#make(entry)
    if (entry.made instanceof Error) throw entry.made
    return entry.made
  }

  #make({ name, pair }: Entry): SecureContext | Error {
    try {
      return this.#options.context(pair)
    } catch (error) {
      return new Error(`${name} cannot be used for TLS: ${messageOf(error)}`)
    }
  }

  /**
   * By content; the same pair in two files is one. What was held before is taken over with its context: each lives
   * until the garbage collector comes by, with memory that it does not count (nodejs/node#66002).
   */
  #check(pairs: readonly NamedPair[]): Map<string, Entry> {
    const entries = new Map<string, Entry>()
    const problems: string[] = []
    for (const { name, cert, key } of pairs) {
      const id = idOf({ cert, key })
      if (entries.has(id)) continue
      try {
        const known = this.#entries.get(id)
        entries.set(id, known === undefined ? inspected(name, { cert, key }) : { ...known, name })
      } catch (error) {
        problems.push(`${name}: ${messageOf(error)}`)
      }
    }
    if (problems.length > 0) throw new Error(problems.join('; '))
    return entries
  }
}

function inspected(name: string, pair: KeyPair): Entry {
  const info = inspectKeyPair(pair)
  const { asymmetricKeyType = '' } = new X509Certificate(pair.cert).publicKey
  return { name, pair, info, keyType: asymmetricKeyType, made: undefined }
}

/** Each DNS name with its entries, the first of each type of key. */
function entriesByName(entries: Iterable<Entry>): Map<string, Entry[]> {
  const byName = new Map<string, Entry[]>()
  for (const entry of entries) {
    for (const name of dnsNames(entry)) {
      const others = byName.get(name) ?? []
      if (!others.some(({ keyType }) => keyType === entry.keyType)) others.push(entry)
      byName.set(name, others)
    }
  }
  return byName
}

function chosen(entries: readonly Entry[], signatures: readonly string[]): Entry | undefined {
  if (entries.length < 2) return entries[0]
  for (const signature of signatures) {
    const entry = entries.find(({ keyType }) => SIGNATURES[keyType]?.test(signature))
    if (entry !== undefined) return entry
  }
  return entries.find(({ keyType }) => keyType === 'rsa') ?? entries[0]
}

const dnsNames = ({ info }: Entry): string[] =>
  info.names.filter((name) => isIP(name) === 0).map((name) => name.toLowerCase().replace(/\.$/, ''))

function idOf({ cert, key }: KeyPair): string {
  const digest = (part: Buffer | string) => createHash('sha256').update(part).digest('base64')
  return digest(cert) + digest(key)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
