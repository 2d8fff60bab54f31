/**
 * How a request ended: `complete`, answered by the application to the last byte; `client-aborted`, the client left
 * or stalled; `upstream-failed`, the application was unreachable, broke off or spoke no HTTP; `upstream-timeout`, it
 * let a deadline pass; `refused`, the request was malformed, oversize, too slow or not for us.
 */
export type Outcome = 'complete' | 'client-aborted' | 'upstream-failed' | 'upstream-timeout' | 'refused'

export interface RequestReport {
  /** `-` when the request could not be read. */
  method: string
  /** What the client was told; 499 when it left before. */
  status: number
  durationMs: number
  outcome: Outcome
  /** Why, where the outcome is not `complete`; for the log, not for the client. */
  error: Error | undefined
}

/** `closed`: both sides ended; the others: one side vanished, and the other was cut off for it. */
export type TunnelOutcome = 'closed' | 'client-lost' | 'upstream-lost'

export interface TunnelReport {
  durationMs: number
  bytesFromClient: number
  bytesToClient: number
  outcome: TunnelOutcome
}
