import { LIMITS as FORWARDING, type Limits as ForwardingLimits } from '@outrider/http-forward'

/** What one client, one connection or one message may cost. All times are milliseconds, all sizes bytes. */
export interface Limits extends ForwardingLimits {
  /** Until the TLS handshake, and the PROXY header before it, are done. */
  handshakeMs: number
  /** How long an unused connection to the application is kept. */
  poolIdleMs: number
  /** Connections of clients, those in their handshake included; more are closed at once. */
  connections: number
  /** Of them, of one address: that of a PROXY header where there is one, and else of the peer. */
  connectionsPerAddress: number
  /** How long a connection may be silent whose bytes are not looked at (`mode: 'tcp'`). */
  pipeIdleMs: number
}

export const LIMITS: Limits = {
  ...FORWARDING,
  // Connecting and saying nothing is the cheapest way to hold a descriptor and a TLS state.
  handshakeMs: 10_000,
  // Below the 5 s after which a Node application closes an idle connection; a request that is not idempotent cannot be
  // repeated when it meets that moment.
  poolIdleMs: 4_000,
  // About 60 KiB each while idle, of the 256 MiB that the snippet of the pod gives.
  connections: 3_000,
  // Behind a load balancer that sends no PROXY header all clients have the same address.
  connectionsPerAddress: Number.POSITIVE_INFINITY,
  pipeIdleMs: 3_600_000,
}
