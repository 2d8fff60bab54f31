import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'

/** A bare server that waits for ever for a request: `node node-https.ts <port> <cert> <key>`. */
const [port, cert = '', key = ''] = process.argv.slice(2)
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (_, response) =>
  response.end('small'),
)
server.headersTimeout = 0
server.requestTimeout = 0
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 })
