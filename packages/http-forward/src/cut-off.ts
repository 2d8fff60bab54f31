import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** Ends a connection so that its peer sees it lost, not ended, where there is a way to say that. */
export function cutOff(socket: Socket): void {
  if (socket.destroyed) return
  // TLS has no reset, but a missing goodbye; a Unix socket has neither, and no address.
  const hasReset = !(socket instanceof TLSSocket || socket.connecting) && socket.remoteFamily !== undefined
  // The system refuses to reset while the end is on its way, and Node would then never close the socket.
  const isEnding = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished
  if (hasReset && !isEnding) socket.resetAndDestroy()
  else socket.destroy()
}
