import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'

/** Who hangs longer than this is gone all the same. */
const patienceMs = 5_000
const addresses = 32
let visits = 0

/** Connects from one of several addresses of loopback, since one of them has ports for some thousand a minute only. */
export function arrive(port: number): Socket {
  const localAddress = `127.0.0.${2 + (visits++ % addresses)}`
  return connect({ host: '127.0.0.1', port, localAddress }).on('error', () => undefined)
}

/** Connects, does something, and is gone afterwards in one of several ways, whatever came of it. */
export async function visit(port: number, act: (raw: Socket) => Promise<unknown>): Promise<void> {
  const raw = arrive(port)
  const closed = new Promise<void>((resolve) => raw.once('close', () => resolve()))
  const late = setTimeout(() => raw.destroy(), patienceMs)
  await Promise.race([act(raw).catch(() => undefined), closed])
  leave(raw)
  await closed
  clearTimeout(late)
}

function leave(raw: Socket): void {
  const way = visits % 3
  if (way === 0) raw.destroy()
  else if (way === 1) raw.resetAndDestroy()
  else {
    raw.resume().end()
    setTimeout(() => raw.destroy(), 50)
  }
}

/** Finishes the handshake. Never settles when the connection ends before that. */
export async function secure(raw: Socket, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ socket: raw, rejectUnauthorized: false, ...options })
  socket.on('error', () => undefined)
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  return socket
}

/** Resolves when something of the answer is there. */
export async function beginning(socket: Socket): Promise<void> {
  await once(socket, 'data')
}
