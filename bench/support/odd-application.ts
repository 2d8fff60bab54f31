import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { largeBytes } from '../peers/application.ts'

/** Answers `/` and `/large`, breaks its answer to `/broken` off, and never gives one to `/never`. */
export interface OddApplication extends Disposable {
  readonly port: number
}

/** On loopback, in this process. Takes uploads whole, and sends back what comes on upgraded connections. */
export async function oddApplication(): Promise<OddApplication> {
  const large = Buffer.alloc(largeBytes, 'large ')
  const server = createServer((request, response) => answer(request, response, large))
  server.on('upgrade', (_, socket) => {
    socket.on('error', () => socket.destroy())
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    socket.pipe(socket)
  })
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 })
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.dispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function answer(request: IncomingMessage, response: ServerResponse, large: Buffer): void {
  request.on('error', () => undefined)
  response.on('error', () => undefined)
  if (request.url === '/never') return
  if (request.url === '/broken') {
    response.writeHead(200, { 'Content-Length': 1_000 }).write('only this', () => response.destroy())
    return
  }
  request.resume().on('end', () => response.end(request.url === '/large' ? large : 'small'))
}
