import { createServer } from 'node:net'
import { createForwarder, createUpstream } from '@outrider/http-forward'

/** A proxy of plain HTTP on loopback: `node plain-proxy.ts <port> <port of the application>`. */
const [port, application] = process.argv.slice(2)
const upstream = createUpstream(`http://127.0.0.1:${application}`)
const forwarder = createForwarder({ route: () => ({ upstream }) })
const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => forwarder.serve(socket))
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 })

// A profile is written when a process ends by itself.
process.on('SIGTERM', () => process.exit())
