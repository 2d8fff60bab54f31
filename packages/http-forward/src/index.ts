export type { Answer } from './answer.ts'
export { cutOff } from './cut-off.ts'
export type { Client } from './forwarded.ts'
export {
  type ConnectionFacts,
  createForwarder,
  type Forwarder,
  type ForwarderOptions,
  plainAddress,
} from './forwarder.ts'
export { LIMITS, type Limits } from './limits.ts'
export {
  type Outcome,
  type Refusal,
  type RequestReport,
  refusalOf,
  type TunnelOutcome,
  type TunnelReport,
} from './report.ts'
export type { Request, Response } from './request.ts'
export type { Failure, Forward, HeaderChanges, Respond, Route } from './route.ts'
export type { ShadowReport } from './shadow.ts'
export { createUpstream, type Upstream, type UpstreamOptions, type UpstreamTls } from './upstream.ts'
