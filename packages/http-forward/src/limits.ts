import type { ChunkLimits } from './body.ts'
import type { HeadLimits } from './head.ts'

/** What one client, one connection or one message may cost. All times are milliseconds, all sizes bytes. */
export interface Limits extends HeadLimits, ChunkLimits {
  /** From the acceptance of a connection, or the first byte of a further request, until its head is there; then 408. */
  headMs: number
  /** Of a connection between two requests. */
  idleMs: number
  /** The window in which `minBodyRate` is measured, and in which a client must take something of a response. */
  stallMs: number
  /** Bytes a second of a request's body that a client must send at least; then 408. */
  minBodyRate: number
  /** Of the body of a request; then 413. */
  bodyBytes: number
  /** After which a connection is closed, between two requests. */
  requestsPerConnection: number
  responseHeadBytes: number
  /** Until what is left of a request that is answered already has come; then the connection is closed. */
  lingerMs: number
  /** Until a route has decided. */
  routeMs: number
  /** To applications, in all, those between two requests included; a request that needs one more gets a 503. */
  upstreamConnections: number
  /** Requests at the same time of which a shadow gets a copy; others go without. */
  shadows: number
  /** One side has ended: how long the other may be silent. */
  halfClosedMs: number
  /** The client has ended its side in the middle of a response: how long until the next piece of it. */
  abandonedMs: number
  tcpKeepAliveMs: number
  /** Of one HTTP/2 connection, at the same time; more are refused (RFC 9113 5.1.2). */
  streams: number
  /** Of all HTTP/2 connections; each has its share, which shrinks as they fill. More are refused. */
  streamsInAll: number
  /** What a client may send on one HTTP/2 stream ahead of the application. */
  streamWindowBytes: number
  /**
   * What of one connection may be under way. node:http2 allows more as soon as it comes, so that the windows of the
   * streams bound what waits here.
   */
  sessionWindowBytes: number
  /** Of one HTTP/2 connection; with more in use, new streams are refused. */
  sessionBytes: number
  /**
   * Streams of one HTTP/2 connection that are reset before their response begins, in 10 s: with more, and with more
   * than half of all, the connection is closed.
   */
  resets: number
  /** PING and SETTINGS frames of one HTTP/2 connection in 10 s; with more, it is closed. */
  controlFrames: number
  /** Empty DATA frames and invalid ones of one HTTP/2 connection, ever; with more, it is closed. */
  badFrames: number
}

export const LIMITS: Limits = {
  // Slowloris: a head that arrives byte by byte holds a connection for ever.
  headMs: 10_000,
  headBytes: 16 * 1024,
  uriBytes: 8 * 1024,
  headerCount: 256,
  // Longer than the 60 s after which common load balancers drop their idle side, so that they close first.
  idleMs: 75_000,
  // Silence of the application (server-sent events) is not measured by this.
  stallMs: 60_000,
  // Slower than any modem: it is meant for clients that hold a connection by a byte now and then.
  minBodyRate: 240,
  bodyBytes: Number.POSITIVE_INFINITY,
  requestsPerConnection: Number.POSITIVE_INFINITY,
  // Responses are the application's own, and a few of them set many cookies.
  responseHeadBytes: 64 * 1024,
  extensionBytes: 16 * 1024,
  trailerBytes: 8 * 1024,
  // Closing with unread bytes makes the kernel send a reset, which can overtake the answer.
  lingerMs: 5_000,
  routeMs: 10_000,
  // A stream of HTTP/2 costs its client next to nothing, and each has a connection here.
  upstreamConnections: 4_096,
  shadows: 1_000,
  halfClosedMs: 60_000,
  abandonedMs: 1_000,
  tcpKeepAliveMs: 60_000,
  // As Envoy advises for the edge. A paused stream holds at most its window, and a connection 6.4 MB.
  streams: 100,
  // Half of the connections to applications, so that clients of HTTP/1.1 always find some.
  streamsInAll: 2_048,
  streamWindowBytes: 64 * 1024,
  sessionWindowBytes: 1024 * 1024,
  sessionBytes: 10_000_000,
  // Rapid reset (CVE-2023-44487), and resets that the server is made to send (CVE-2025-8671). Each costs a connection to
  // the application. A browser that leaves a page resets at most all its streams, and a map that is dragged loads
  // most of what it asks for.
  resets: 200,
  // A keep-alive of once in a second, and some for measuring the way (CVE-2019-9512, CVE-2019-9515).
  controlFrames: 500,
  // CVE-2019-9518. Some libraries end a body by one.
  badFrames: 200,
}
