export {
  type Outcome,
  type Refusal,
  type RequestReport,
  refusalOf,
  type TunnelOutcome,
  type TunnelReport,
} from '@outrider/http-forward'
export type { ListenAddress } from '@outrider/listen'
export { type Allow, type AllowRules, compileAllow } from './allow.ts'
export { type CertificateInfo, checkAuthorities, inspectKeyPair, type KeyPair } from './certificate.ts'
export { type NamedPair, pairsIn } from './certificate-directory.ts'
export { addressMatcher } from './cidr.ts'
export type { HandshakeOutcome, HandshakeReport } from './handshake.ts'
export { LIMITS, type Limits } from './limits.ts'
export type { PipeOutcome, PipeReport } from './pipe.ts'
export { readPkcs12 } from './pkcs12.ts'
export { type Redirect, type RedirectOptions, startRedirect } from './redirect.ts'
export { type Crl, readCrls } from './revocation.ts'
export { selfSigned } from './self-signed.ts'
export { optionsOf, type SidecarReports, type SidecarSettings } from './settings.ts'
export { type ClientAuth, type HttpsSidecar, type HttpsSidecarOptions, startHttpsSidecar } from './sidecar.ts'
export { TICKET_KEY_BYTES } from './tickets.ts'
export type { Certificates, ClientAuthorities } from './tls-server.ts'
// Threads are at '@outrider/sidecar-https/workers', so that who has none does not load them.
export type { HttpsWorkers, HttpsWorkersOptions } from './workers.ts'
