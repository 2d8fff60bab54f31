import { once } from 'node:events'
import { request as requestPlain } from 'node:http'
import { request as requestSecure } from 'node:https'
import { createServer } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'

/** A port of loopback on which nobody listens. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port is free on 127.0.0.1')
  return address.port
}

/** The status that a GET gets, or undefined when nothing answers. */
export function statusOf(port: number, path: string, tls: boolean): Promise<number | undefined> {
  const target = { host: '127.0.0.1', port, path, agent: false, timeout: 2_000 }
  return new Promise((resolve) => {
    const outgoing = tls ? requestSecure({ ...target, rejectUnauthorized: false }) : requestPlain(target)
    outgoing
      .on('response', (response) => resolve(response.resume().statusCode))
      .on('timeout', () => outgoing.destroy())
      .on('error', () => resolve(undefined))
      .on('close', () => resolve(undefined))
      .end()
  })
}

/** Whether it speaks HTTP/2 over TLS. */
export async function speaksH2(port: number): Promise<boolean> {
  const socket = await handshake(port, { ALPNProtocols: ['h2'] })
  socket?.destroy()
  return socket?.alpnProtocol === 'h2'
}

/** Whether a client that comes back with its TLS 1.3 session is spared the full handshake. */
export async function resumes(port: number): Promise<boolean> {
  const first = await handshake(port)
  if (first === undefined) return false
  const session = new Promise<Buffer | undefined>((resolve) => {
    first.once('session', resolve).once('close', () => resolve(undefined))
  })
  // Tickets come after the handshake, with the response at the latest.
  first.resume().write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  const ticket = await session
  first.destroy()
  if (ticket === undefined) return false
  const second = await handshake(port, { session: ticket })
  const reused = second?.isSessionReused() ?? false
  second?.destroy()
  return reused
}

function handshake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ...options,
    })
    socket.once('secureConnect', () => resolve(socket))
    socket.on('error', () => socket.destroy())
    socket.once('close', () => resolve(undefined))
  })
}
