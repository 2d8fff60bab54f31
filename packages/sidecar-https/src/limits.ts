/** What one client, one connection or one message may cost. All times are milliseconds, all sizes bytes. */
export interface Limits {
  handshakeMs: number
  headMs: number
  headCheckMs: number
  requestHeadBytes: number
  responseHeadBytes: number
  stallMs: number
  idleMs: number
  lingerMs: number
  halfClosedMs: number
  tcpKeepAliveMs: number
  poolIdleMs: number
  pipelinedPause: number
  pipelinedMost: number
}

export const LIMITS: Limits = {
  // Connecting and saying nothing is the cheapest way to hold a descriptor and a TLS state.
  handshakeMs: 10_000,
  // Slowloris: a head that arrives byte by byte holds a connection for ever.
  headMs: 10_000,
  // How often heads are checked against headMs; so one may live this much longer.
  headCheckMs: 1_000,
  requestHeadBytes: 16 * 1024,
  // Responses are the application's own, and a few of them set many cookies.
  responseHeadBytes: 64 * 1024,
  // A client that owes body bytes, or reads none of the response, holds a connection of the application too.
  // Silence of the application (server-sent events) is not measured by this.
  stallMs: 60_000,
  // Longer than the 60 s after which common load balancers drop their idle side, so that they close first.
  idleMs: 75_000,
  // How long the rest of a body is read and thrown away after an early answer: closing with unread bytes makes
  // the kernel send a reset, which can overtake the answer.
  lingerMs: 5_000,
  // A tunnel of which one direction has ended may be idle this long in the other.
  halfClosedMs: 60_000,
  tcpKeepAliveMs: 60_000,
  // Below the 5 s after which a Node application closes an idle connection; a request that is not idempotent
  // cannot be repeated when it meets that moment.
  poolIdleMs: 4_000,
  // Requests of one connection waiting for the one before, at which it is no longer read.
  pipelinedPause: 8,
  // Requests may be so small that thousands are in what was read already: then the connection is cut.
  pipelinedMost: 512,
}
