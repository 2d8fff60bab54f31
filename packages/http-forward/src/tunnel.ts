import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { cutOff } from './cut-off.ts'
import type { Limits } from './limits.ts'
import type { TunnelOutcome, TunnelReport } from './report.ts'

export interface TunnelOptions {
  readonly client: Duplex
  /** Cuts the client's side so that it looks lost, where destroying it would look like its end. */
  readonly cutClient?: () => void
  /** Whether the closed side of the client was lost, where the stream itself does not tell. */
  readonly isClientLost?: () => boolean
  /** What the client has sent behind its request. */
  readonly clientRest: Buffer
  readonly upstream: Socket
  /** What the application has sent behind its response. */
  readonly upstreamRest: Buffer
  readonly limits: Pick<Limits, 'halfClosedMs'>
  readonly onEnd: (report: TunnelReport) => void
}

/** Carries bytes both ways until both sides are gone. */
export function openTunnel(options: TunnelOptions): void {
  const { client, clientRest, upstream, upstreamRest, limits, onEnd } = options
  const started = performance.now()
  const sentBefore = upstream.bytesWritten
  const receivedBefore = upstream.bytesRead - upstreamRest.length
  let lost: TunnelOutcome | undefined
  let open = 2

  const watch = (side: Duplex, cutOther: () => void, loss: TunnelOutcome, isLost: () => boolean) => {
    side.allowHalfOpen = true
    side.on('error', () => undefined)
    side.once('close', () => {
      if (isLost()) {
        lost ??= loss
        cutOther()
      }
      open -= 1
      if (open === 0) report()
    })
  }
  const report = () => {
    onEnd({
      durationMs: performance.now() - started,
      bytesFromClient: upstream.bytesWritten - sentBefore,
      bytesToClient: upstream.bytesRead - receivedBefore,
      outcome: lost ?? 'closed',
    })
  }

  // What is lost on one side shall look lost on the other.
  const cutUpstream = () => cutOff(upstream)
  const cutClient = options.cutClient ?? (() => client.destroy())
  watch(client, cutUpstream, 'client-lost', options.isClientLost ?? (() => isUnfinished(client)))
  watch(upstream, cutClient, 'upstream-lost', () => isUnfinished(upstream))
  // A peer that has ended and waits for nothing would otherwise leave the other half open for ever.
  client.once('end', () => silent(upstream, limits.halfClosedMs, cutUpstream))
  upstream.once('end', () => silent(client, limits.halfClosedMs, cutClient))
  if (clientRest.length > 0) client.unshift(clientRest)
  if (upstreamRest.length > 0) upstream.unshift(upstreamRest)
  client.pipe(upstream)
  upstream.pipe(client)
}

function isUnfinished(side: Duplex): boolean {
  return !(side.readableEnded && side.writableFinished)
}

/** Calls once a side has been silent for so long. */
function silent(side: Duplex & { setTimeout?: Socket['setTimeout'] }, ms: number, then: () => void): void {
  side.setTimeout?.(ms, then)
}
