import type { TLSSocket } from 'node:tls'
import type { ConnectionFacts } from '@outrider/http-forward'
import type { Allow } from './allow.ts'
import { xfcc } from './client-cert-header.ts'
import type { HandshakeOutcome } from './handshake.ts'
import { type Identity, readIdentity } from './identity.ts'
import { type ProxyAddress, type ProxyHeader, proxyHeaderV2 } from './proxy-protocol.ts'
import type { ClientAuthorities } from './tls-server.ts'

interface ClientRules extends Pick<ClientAuthorities, 'ca'> {
  readonly mode: 'optional' | 'required'
  readonly allow: Allow
}

export interface AccessOptions {
  readonly clientAuth?: ClientRules
  readonly identityHeader?: string
  readonly proxySend?: boolean
}

export interface Refusal {
  readonly outcome: HandshakeOutcome
  readonly error: Error
}

/** Decides which clients are served, and what the application is told of them. */
export interface Access {
  admit(
    socket: TLSSocket,
    address: string | undefined,
    proxy: ProxyHeader | undefined,
  ): ConnectionFacts | Refusal
}

export function createAccess({
  clientAuth,
  identityHeader = 'X-Forwarded-Client-Cert',
  proxySend = false,
}: AccessOptions): Access {
  return {
    admit(socket, address, proxy) {
      const known = clientAuth === undefined ? undefined : identify(socket, clientAuth)
      if (known !== undefined && 'outcome' in known) return known
      return {
        ...(address !== undefined && { address }),
        ...(known && { headers: { [identityHeader]: described(known, clientAuth) } }),
        ...(proxySend && { preamble: preambleOf(socket, proxy, known) }),
      }
    },
  }
}

// Of a key that is pinned only the key is known: its owner may write any names beside it.
const described = (identity: Identity, rules: ClientRules | undefined): string =>
  rules !== undefined && needsChain(rules) ? xfcc(identity) : `Hash=${identity.fingerprint256}`

// With authorities a pin does not excuse from their verification, nor from their revocation lists.
const needsChain = ({ allow, ca }: ClientRules): boolean => allow.needsChain || ca !== undefined

function identify(socket: TLSSocket, rules: ClientRules): Identity | Refusal | undefined {
  const { mode, allow } = rules
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) {
    if (mode === 'optional') return undefined
    return { outcome: 'no-certificate', error: new Error('the client has shown no certificate') }
  }
  if (needsChain(rules) && !socket.authorized) {
    const reason = `the certificate of the client is not accepted: ${socket.authorizationError}`
    return { outcome: 'bad-certificate', error: new Error(reason) }
  }
  let identity: Identity
  try {
    identity = readIdentity(certificate.raw)
  } catch (error) {
    return { outcome: 'bad-certificate', error: error instanceof Error ? error : new Error(String(error)) }
  }
  // OpenSSL checks no times again when a session is resumed.
  if (needsChain(rules) && identity.notAfter.getTime() < Date.now()) {
    return { outcome: 'bad-certificate', error: new Error('the certificate of the client has ended') }
  }
  const decision = allow(identity)
  if (decision.allowed) return identity
  return { outcome: 'denied', error: new Error(decision.reason) }
}

function preambleOf(
  socket: TLSSocket,
  proxy: ProxyHeader | undefined,
  identity: Identity | undefined,
): Buffer {
  const certificate = identity === undefined ? undefined : socket.getPeerX509Certificate()?.raw
  const describe = (withCertificate: boolean) =>
    proxyHeaderV2({
      source: proxy?.source ?? end(socket.remoteAddress, socket.remotePort),
      destination: proxy?.destination ?? end(socket.localAddress, socket.localPort),
      alpn: socket.alpnProtocol || undefined,
      authority: nameOf(socket),
      tls: {
        version: socket.getProtocol() ?? 'TLSv1.2',
        resumed: socket.isSessionReused(),
        cipher: socket.getCipher().standardName,
        ...(identity && {
          client: {
            verified: true,
            commonName: identity.commonNames[0]?.slice(0, NAME_MOST),
            ...(withCertificate && { certificate }),
          },
        }),
      },
    })
  // Readers of the format need not take more; our own does not.
  return describe(certificate !== undefined && certificate.length < CERTIFICATE_MOST)
}

/** Of a certificate in a header of 4 096 bytes, with room for the rest. */
const CERTIFICATE_MOST = 3_000
/** Of a common name; RFC 5280 allows 64 characters. */
const NAME_MOST = 256

const end = (address: string | undefined, port: number | undefined): ProxyAddress | undefined =>
  address === undefined || port === undefined ? undefined : { address, port }

// Of a server's socket Node's types know no name.
function nameOf(socket: TLSSocket): string | undefined {
  const name: unknown = Reflect.get(socket, 'servername')
  return typeof name === 'string' && name !== '' ? name : undefined
}
