import { LIMITS as FORWARDING, type Limits as ForwardingLimits } from '@outrider/http-forward'

/** What one client, one connection or one message may cost. All times are milliseconds, all sizes bytes. */
export interface Limits extends ForwardingLimits {
  handshakeMs: number
  /** How long an unused connection to the application is kept. */
  poolIdleMs: number
}

export const LIMITS: Limits = {
  ...FORWARDING,
  // Connecting and saying nothing is the cheapest way to hold a descriptor and a TLS state.
  handshakeMs: 10_000,
  // Below the 5 s after which a Node application closes an idle connection; a request that is not idempotent cannot be
  // repeated when it meets that moment.
  poolIdleMs: 4_000,
}
