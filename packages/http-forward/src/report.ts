/**
 * How a request ended: `complete`, answered by the application to the last byte; `client-aborted`, the client left
 * or stalled; `cut-off`, by closing the forwarder; `upstream-failed`, the application was unreachable, broke off or spoke no HTTP; `upstream-timeout`, it
 * let a deadline pass; `refused`, the request was malformed, oversize, too slow or not for us; `answered`, by the
 * route itself.
 */
export type Outcome =
  | 'complete'
  | 'client-aborted'
  | 'cut-off'
  | 'upstream-failed'
  | 'upstream-timeout'
  | 'refused'
  | 'answered'

/** Why a request, or a whole connection of HTTP/2, was refused. */
export type Refusal =
  | 'malformed'
  | 'too-slow'
  | 'body-too-large'
  | 'target-too-long'
  | 'head-too-large'
  | 'flood'
  | 'unsupported'
  | 'overloaded'
  | 'route-failed'

/** From the status of a request whose outcome is `refused`. */
export function refusalOf(status: number): Refusal {
  return REFUSALS.get(status) ?? 'malformed'
}

const REFUSALS: ReadonlyMap<number, Refusal> = new Map([
  [408, 'too-slow'],
  [413, 'body-too-large'],
  [414, 'target-too-long'],
  [429, 'flood'],
  [431, 'head-too-large'],
  [500, 'route-failed'],
  [501, 'unsupported'],
  [503, 'overloaded'],
  [504, 'route-failed'],
  [505, 'unsupported'],
])

export interface RequestReport {
  /** `-` when the request could not be read. */
  readonly method: string
  /** As it went on; `-` when the request could not be read. */
  readonly target: string
  /** Major and minor version that the client speaks, such as `1.1` or `2`. */
  readonly version: string
  /** What the client was told; 499 when it left before, 503 when it was cut off before. */
  readonly status: number
  readonly durationMs: number
  /** Bytes of content that came of the request and went of the response. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly outcome: Outcome
  /** Why, where the outcome is neither `complete` nor `answered`; for the log, not for the client. */
  readonly error: Error | undefined
  /** Of the client, as its connection has it. */
  readonly clientAddress: string | undefined
  /** What a trusted client has said of those before it (X-Forwarded-For). */
  readonly forwardedFor: string | undefined
  /** Where it went last; undefined when it went nowhere. */
  readonly upstream: string | undefined
  /** Value of the traceparent that went on (W3C Trace Context). */
  readonly traceparent: string | undefined
  /** Value of the X-Request-Id that went on. */
  readonly requestId: string | undefined
}

/** Of what is no request that could be read, or of a whole connection: nothing went anywhere. */
export function unreadReport(
  version: string,
  status: number,
  bytesOut: number,
  error: Error,
  clientAddress: string | undefined,
): RequestReport {
  return {
    method: '-',
    target: '-',
    version,
    status,
    durationMs: 0,
    bytesIn: 0,
    bytesOut,
    outcome: 'refused',
    error,
    clientAddress,
    forwardedFor: undefined,
    upstream: undefined,
    traceparent: undefined,
    requestId: undefined,
  }
}

/** `closed`: both sides ended; the others: one side vanished, and the other was cut off for it. */
export type TunnelOutcome = 'closed' | 'client-lost' | 'upstream-lost'

export interface TunnelReport {
  readonly durationMs: number
  readonly bytesFromClient: number
  readonly bytesToClient: number
  readonly outcome: TunnelOutcome
}
