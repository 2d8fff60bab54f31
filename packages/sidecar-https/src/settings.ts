import { type AllowRules, compileAllow } from './allow.ts'
import { addressMatcher } from './cidr.ts'
import type { HttpsSidecarOptions } from './sidecar.ts'
import type { ClientAuthorities } from './tls-server.ts'

/** Whom a sidecar tells of its work. */
export type SidecarReports = Pick<
  HttpsSidecarOptions,
  'onRequest' | 'onTunnel' | 'onPipe' | 'onHandshake' | 'onCertificates'
>

type Compiled = 'target' | 'clientAuth' | 'proxyFrom' | 'trusted'

/** The options of a sidecar as data alone, which may be handed to another thread. */
export interface SidecarSettings
  extends Omit<HttpsSidecarOptions, Compiled | keyof SidecarReports | 'onConnections'> {
  /** As the option of this name. */
  readonly target: string
  readonly clientAuth?: ClientAuthorities & {
    /** As the option of this name. */
    readonly mode: 'optional' | 'required'
    /** See `compileAllow`. */
    readonly allow: AllowRules
  }
  /** Peers at whose connections a PROXY header comes first; see `addressMatcher`. */
  readonly proxyFrom?: readonly string[]
  /** Clients who may say for whom they speak; see `addressMatcher`. */
  readonly trusted?: readonly string[]
}

/** Throws an Error that names the rules or addresses that cannot be used. */
export function optionsOf(settings: SidecarSettings): HttpsSidecarOptions {
  const { clientAuth, proxyFrom, trusted, ...plain } = settings
  return {
    ...plain,
    ...(clientAuth && { clientAuth: { ...clientAuth, allow: compileAllow(clientAuth.allow) } }),
    ...(proxyFrom && { proxyFrom: addressMatcher(proxyFrom) }),
    ...(trusted && { trusted: addressMatcher(trusted) }),
  }
}
