import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Switch } from './exchange.ts'
import { pairs, responseHeaders } from './headers.ts'
import type { Limits } from './limits.ts'
import type { TunnelOutcome, TunnelReport } from './report.ts'

export interface TunnelOptions {
  client: Socket
  /** What the client sent behind its request. */
  clientHead: Buffer
  switched: Switch
  limits: Limits
  onEnd: (report: TunnelReport) => void
}

/** Tells the client that protocols are switched and carries bytes both ways until both sides are gone. */
export function openTunnel({ client, clientHead, switched, limits, onEnd }: TunnelOptions): void {
  const app = switched.socket
  const started = performance.now()
  const sentBefore = app.bytesWritten
  const receivedBefore = app.bytesRead - switched.head.length
  let lost: TunnelOutcome | undefined
  let open = 2

  const watch = (socket: Socket, cutOther: () => void, loss: TunnelOutcome) => {
    socket.allowHalfOpen = true
    socket.setTimeout(0)
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.once('close', () => {
      if (!(socket.readableEnded && socket.writableFinished)) {
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
      bytesFromClient: app.bytesWritten - sentBefore,
      bytesToClient: app.bytesRead - receivedBefore,
      outcome: lost ?? 'closed',
    })
  }

  // What is lost on one side shall look lost on the other, not ended. TLS has no reset, but a missing goodbye.
  const cutApp = () => {
    // A socket that has sent its end cannot be reset.
    if (app.writableEnded) app.destroy()
    else app.resetAndDestroy()
  }
  const cutClient = () => client.destroy()
  watch(client, cutApp, 'client-lost')
  watch(app, cutClient, 'upstream-lost')
  // A peer that has ended and waits for nothing would otherwise leave the other half open for ever.
  client.once('end', () => app.setTimeout(limits.halfClosedMs, cutApp))
  app.once('end', () => client.setTimeout(limits.halfClosedMs, cutClient))
  client.write(switchingHead(switched), 'latin1')
  if (clientHead.length > 0) client.unshift(clientHead)
  if (switched.head.length > 0) app.unshift(switched.head)
  client.pipe(app)
  app.pipe(client)
}

function switchingHead({ response }: Switch): string {
  const status = response.statusCode ?? 101
  const lines = [`HTTP/1.1 ${status} ${response.statusMessage || STATUS_CODES[status]}`]
  lines.push('Connection: Upgrade', `Upgrade: ${response.headers.upgrade ?? ''}`)
  for (const [name, value] of pairs(responseHeaders(response.rawHeaders, status)))
    lines.push(`${name}: ${value}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}
