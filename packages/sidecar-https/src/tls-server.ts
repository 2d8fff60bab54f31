import { constants } from 'node:crypto'
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls'
import { type CertificateInfo, checkAuthorities, type KeyPair } from './certificate.ts'
import type { NamedPair } from './certificate-directory.ts'
import { type CertificateStore, createCertificateStore } from './certificate-store.ts'
import { UnknownName } from './handshake.ts'
import { TICKET_ROTATION_MS, TicketKeys } from './tickets.ts'

/** What clients are shown. */
export interface Certificates {
  /** For clients that ask for no name, or for one of which there is no certificate. */
  readonly fallback?: KeyPair | undefined
  /** Chosen by the name that a client asks for. */
  readonly named?: readonly NamedPair[] | undefined
}

/** What certificates of clients are checked against. */
export interface ClientAuthorities {
  /** PEM, any number of them; undefined when none is trusted, because keys are pinned. */
  readonly ca?: string | Buffer | undefined
  /** PEM, one each: OpenSSL reads no more than the first of a text. */
  readonly crls?: readonly string[] | undefined
}

export interface TlsServerOptions {
  readonly certificates: Certificates
  /** Whether clients are refused that ask for no name, or for one of which there is no certificate. */
  readonly strictNames?: boolean | undefined
  /** Given where clients are asked for certificates. */
  readonly authorities?: ClientAuthorities | undefined
  /** `TLSv1.2` by default. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined
  /** In OpenSSL's notation; forward secrecy and authenticated encryption alone by default. */
  readonly ciphers?: string | undefined
  /** In OpenSSL's notation, such as `X25519:P-256`. */
  readonly curves?: string | undefined
  /** See `TICKET_KEY_BYTES`; made here when not given. */
  readonly ticketKeys?: Buffer | undefined
  /** How long keys that are made here are used; 12 hours by default. */
  readonly ticketRotationMs?: number | undefined
  /** Protocols by preference (ALPN); none when empty. */
  readonly protocols: readonly string[]
  readonly handshakeMs: number
}

// Forward secrecy and authenticated encryption alone.
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/**
 * Does TLS on connections that are given to its `server` by the event `connection`, with certificates, authorities and
 * ticket keys that can be changed under it. Certificates of clients are asked for and not judged.
 */
export class TlsServer {
  readonly server: Server
  readonly #options: TlsServerOptions
  readonly #tickets: TicketKeys
  #certificates: Certificates
  #authorities: ClientAuthorities | undefined
  #store: CertificateStore
  /** Of the certificate in use without a name, to see whether it changes. */
  #shown: string

  constructor(options: TlsServerOptions) {
    this.#options = options
    if (options.authorities?.ca !== undefined) checkAuthorities(options.authorities.ca)
    this.#certificates = options.certificates
    this.#authorities = options.authorities
    this.#store = this.#newStore()
    this.#store.replace(options.certificates.named ?? [], options.certificates.fallback)
    const withoutName = this.#withoutName()
    this.#shown = fingerprint(withoutName)
    const { ticketKeys } = options
    this.#tickets = new TicketKeys(undefined, options.ticketRotationMs ?? TICKET_ROTATION_MS, (keys) =>
      this.server.setTicketKeys(keys),
    )
    this.server = usable(() =>
      createServer({
        ...this.#context(withoutName),
        ALPNProtocols: [...options.protocols],
        handshakeTimeout: options.handshakeMs,
        requestCert: options.authorities !== undefined,
        // Judged by whoever gets the connection, who can say why it is refused.
        rejectUnauthorized: false,
        ticketKeys: this.#tickets.current,
        ...(this.#byName ? { SNICallback: this.#sniCallback() } : {}),
      }),
    )
    if (ticketKeys !== undefined) this.#tickets.use(ticketKeys)
  }

  /** The certificates in use, the one without a name first. */
  get infos(): CertificateInfo[] {
    return this.#store.infos()
  }

  /** Throws an Error that names what is wrong, and then nothing has changed. */
  useCertificates(certificates: Certificates): CertificateInfo[] {
    const next = { ...this.#certificates, ...certificates }
    const before = fingerprints(this.#store.infos())
    this.#store.replace(next.named ?? [], next.fallback)
    this.#certificates = next
    const withoutName = this.#withoutName()
    const shown = fingerprint(withoutName)
    // Each context lives until the garbage collector comes by, with memory it does not count (nodejs/node#66002): a
    // watcher that reports files without a change must not cost one.
    if (shown !== this.#shown) this.#show(withoutName)
    this.#shown = shown
    // A client that resumes a session would not see the new certificate.
    if (fingerprints(this.#store.infos()) !== before) this.#tickets.forget()
    return this.#store.infos()
  }

  /** Sessions of before are not resumed: their clients are not asked again. Throws as `useCertificates`. */
  useAuthorities(authorities: ClientAuthorities): void {
    if (authorities.ca !== undefined) checkAuthorities(authorities.ca)
    const before = this.#authorities
    this.#authorities = authorities
    try {
      const store = this.#newStore()
      store.replace(this.#certificates.named ?? [], this.#certificates.fallback)
      this.#show(this.#withoutName())
      this.#store = store
    } catch (error) {
      this.#authorities = before
      throw error
    }
    this.#tickets.forget()
  }

  useTicketKeys(keys: Buffer): void {
    this.#tickets.use(keys)
  }

  stop(): void {
    this.#tickets.stop()
  }

  get #byName(): boolean {
    return this.#options.strictNames === true || this.#options.certificates.named !== undefined
  }

  #newStore(): CertificateStore {
    const strict = this.#options.strictNames ?? false
    return createCertificateStore({ strict, context: (pair) => createSecureContext(this.#context(pair)) })
  }

  #withoutName(): KeyPair | undefined {
    if (this.#options.strictNames) return undefined
    const { fallback, named = [] } = this.#certificates
    return fallback ?? named.toSorted((a, b) => (a.name < b.name ? -1 : 1))[0]
  }

  #show(pair: KeyPair | undefined): void {
    usable(() => this.server.setSecureContext(this.#context(pair)))
    // A new context begins with keys of its own.
    this.server.setTicketKeys(this.#tickets.current)
  }

  #context(pair: KeyPair | undefined): SecureContextOptions {
    const { ca, crls } = this.#authorities ?? {}
    const { minVersion = 'TLSv1.2', ciphers = CIPHERS, curves } = this.#options
    return {
      ...(pair && { cert: pair.cert, key: pair.key }),
      ...(this.#authorities && { ca: ca ?? [] }),
      ...(crls && crls.length > 0 && { crl: [...crls] }),
      ...(curves !== undefined && { ecdhCurve: curves }),
      minVersion,
      ciphers,
      // Without it OpenSSL resumes no session in which it has asked for a certificate.
      sessionIdContext: 'outrider',
      // A client of TLS 1.2 could make us do handshakes without end on one connection.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    }
  }

  #sniCallback(): (name: string, done: (error: Error | null, context?: SecureContext) => void) => void {
    const contextFor = (name: string, signatures: string[]) => this.#store.contextFor(name, signatures)
    return function (this: unknown, name, done) {
      try {
        const context = contextFor(name, signaturesOf(this))
        if (context === 'abort') done(new UnknownName(`there is no certificate for ${JSON.stringify(name)}`))
        else done(null, context)
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)))
      }
    }
  }
}

// Node calls it on the socket, which its documentation does not promise.
function signaturesOf(socket: unknown): string[] {
  const known = socket instanceof Object && 'getSharedSigalgs' in socket
  return known ? (socket as TLSSocket).getSharedSigalgs() : []
}

/** Tells whether certificates have changed. */
export const fingerprints = (infos: readonly CertificateInfo[]): string =>
  infos.map(({ fingerprint256 }) => fingerprint256).join()

const fingerprint = (pair: KeyPair | undefined): string => (pair ? `${pair.cert}\n${pair.key}` : '')

// What a pair looks like is checked before; this is what OpenSSL has against it, such as a key that is too short.
function usable<T>(use: () => T): T {
  try {
    return use()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`the certificate cannot be used for TLS: ${reason}`)
  }
}
