// A legacy application: plain HTTP, on loopback. It believes the header that says who the client is, because only the
// sidecar can set it.
const { createServer } = require('node:http')

createServer((request, response) => {
  const client = request.headers['x-forwarded-client-cert'] ?? 'a client without a certificate'
  response.setHeader('content-type', 'text/plain')
  response.end(`Hello from ${request.url}, asked by ${client}\n`)
}).listen(8080, '127.0.0.1')

process.on('SIGTERM', () => process.exit(0))
