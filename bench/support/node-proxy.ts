import { readFileSync } from 'node:fs'
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'

/** What http-proxy and httpxy have in common. */
interface ProxyLibrary {
  createProxyServer(options: { target: string; agent: Agent; xfwd: boolean }): {
    web(request: IncomingMessage, response: ServerResponse): unknown
    on(event: 'error', listener: (error: Error) => void): unknown
  }
}

/** A proxy made with such a library: `node node-proxy.ts <package> <port> <port of the application> [<cert> <key>]`. */
const [library = '', port, application, cert, key] = process.argv.slice(2)
// By a name that the compiler does not know, because the packages need not be installed. One is CommonJS, one is not.
const loaded: ProxyLibrary & { default?: ProxyLibrary } = await import(library)
const { createProxyServer } = loaded.default ?? loaded
const proxy = createProxyServer({
  target: `http://127.0.0.1:${application}`,
  agent: new Agent({ keepAlive: true }),
  xfwd: true,
})
proxy.on('error', (error) => console.error(String(error)))
const serve = (request: IncomingMessage, response: ServerResponse): void => void proxy.web(request, response)
const server =
  cert === undefined || key === undefined
    ? createServer(serve)
    : createSecureServer({ cert: readFileSync(cert), key: readFileSync(key) }, serve)
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 })
