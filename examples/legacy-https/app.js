// A legacy application: plain HTTP, on loopback, and nobody wants to touch it.
const { createServer } = require('node:http')

createServer((request, response) => {
  const seen = (name) => request.headers[`x-forwarded-${name}`] ?? 'nothing'
  response.setHeader('content-type', 'text/plain')
  response.end(`Hello from ${request.url}, asked over ${seen('proto')} by ${seen('for')}\n`)
}).listen(8080, '127.0.0.1')

process.on('SIGTERM', () => process.exit(0))
