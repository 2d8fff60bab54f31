import type { TLSSocket } from 'node:tls'
import { LARGEST_CERTIFICATE, tooLarge } from './identity.ts'

/**
 * How the beginning of a connection went. `ok`; `resumed`, with an earlier session; `timeout`; `closed` by the client;
 * `not-tls`; `no-agreement` on a version, cipher or curve; `unknown-name`, no certificate for the name asked for;
 * `no-certificate` and `bad-certificate` of a client that must show a good one; `denied`, a good one that no rule
 * allows; `bad-proxy-header`; `too-many` connections; `failed` otherwise.
 */
export type HandshakeOutcome =
  | 'ok'
  | 'resumed'
  | 'timeout'
  | 'closed'
  | 'not-tls'
  | 'no-agreement'
  | 'unknown-name'
  | 'no-certificate'
  | 'bad-certificate'
  | 'denied'
  | 'bad-proxy-header'
  | 'too-many'
  | 'failed'

export interface HandshakeReport {
  readonly outcome: HandshakeOutcome
  /** Of the client, as far as it is known. */
  readonly address: string | undefined
  /** Why, where the outcome is not `ok` or `resumed`. */
  readonly error: Error | undefined
}

/** Marks that a client asked for a name of which there is no certificate. */
export class UnknownName extends Error {
  override readonly name = 'UnknownName'
}

const NO_AGREEMENT =
  /UNSUPPORTED_PROTOCOL|NO_SHARED_CIPHER|NO_SUITABLE|VERSION_TOO_LOW|UNKNOWN_PROTOCOL|NO_SHARED_GROUP|ALERT_PROTOCOL_VERSION|HANDSHAKE_FAILURE|NO_APPLICATION_PROTOCOL/
const NOT_TLS =
  /HTTP_REQUEST|HTTPS_PROXY_REQUEST|WRONG_VERSION_NUMBER|BAD_RECORD_TYPE|PACKET_LENGTH|RECORD_TOO_SMALL/

/**
 * How a handshake failed, and why: OpenSSL says only of itself what went wrong when a certificate is too large.
 *
 * @param asked whether clients are asked for certificates
 */
export function failureOf(
  error: Error,
  socket: TLSSocket,
  asked: boolean,
): { outcome: HandshakeOutcome; error: Error } {
  const shown = socket.getPeerX509Certificate()?.raw.length
  if (shown !== undefined && shown > LARGEST_CERTIFICATE) {
    return { outcome: 'bad-certificate', error: tooLarge(shown) }
  }
  const excessive = 'code' in error && error.code === 'ERR_SSL_EXCESSIVE_MESSAGE_SIZE'
  // The hello, which may be too large as well, has been read once signatures are agreed on.
  if (asked && excessive && shown === undefined && socket.getSharedSigalgs().length > 0) {
    return { outcome: 'bad-certificate', error: new Error(CHAIN_TOO_LARGE, { cause: error }) }
  }
  return { outcome: outcomeOf(error), error }
}

// SSL_CTX_set_max_cert_list(3); Node gives no way to set it.
const CHAIN_TOO_LARGE =
  'the certificates of the client have, with their chain, more than the 102400 bytes that are read'

function outcomeOf(error: Error): HandshakeOutcome {
  if (error instanceof UnknownName) return 'unknown-name'
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return 'timeout'
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'closed'
  if (NO_AGREEMENT.test(code)) return 'no-agreement'
  if (NOT_TLS.test(code)) return 'not-tls'
  return 'failed'
}
