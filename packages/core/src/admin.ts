import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { listen } from '@outrider/listen'
import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response } from 'express'
import { adminPage, ownPage } from './admin-page.ts'
import type { Container } from './container.ts'
import type { Readiness } from './gates.ts'
import { type Address, formatAddress } from './kinds.ts'
import type { Log } from './log.ts'
import { type MetricRegistry, openMetricsContentType, textContentType } from './metrics.ts'
import { preferred } from './negotiate.ts'
import type { PageSpec, Pages } from './pages.ts'
import type { ResolvedParam } from './resolve.ts'
import { version } from './version.ts'

export interface AdminOptions {
  readonly container: Container
  readonly params: readonly ResolvedParam[]
  readonly listen: Address
  readonly readiness: Readiness
  readonly registry: MetricRegistry
  readonly pages: Pages
  readonly log: Log
  /** Filled in by the start. */
  readonly addresses: Readonly<Record<string, Address>>
  readonly onDrain: () => void
}

export interface AdminServer extends AsyncDisposable {
  readonly address: Address
}

/** What `GET /` answers as JSON and shows as a page. */
export interface Overview {
  readonly container: string
  readonly pattern: string
  readonly summary: string
  readonly version: string
  readonly readiness: ReturnType<Readiness['report']>
  readonly addresses: Readonly<Record<string, string>>
  readonly params: Readonly<Record<string, { readonly value: string | null; readonly source: string }>>
  readonly links: readonly string[]
}

/** Slow or idle clients of the admin API must not keep probes out. */
const headTimeoutMs = 5_000
const requestTimeoutMs = 10_000
const maxConnections = 256
/** How often the timeouts are looked at; Node's default of 30 s would make them that much longer. */
const checkMs = 1_000

/**
 * GET  /         overview, HTML or JSON
 * GET  /healthz  200 while this process answers
 * GET  /readyz   200, or 503 with the closed gates
 * GET  /metrics  Prometheus text 0.0.4 or OpenMetrics 1.0
 * GET  /params   each parameter's value and source
 * POST /drain    from loopback only
 * GET  /<page>   each page of the container's own, HTML or JSON
 */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const server = createServer(
    {
      headersTimeout: headTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: checkMs,
      keepAliveTimeout: 5_000,
    },
    adminApp(options),
  )
  // One request a connection: who sends a thousand at once and reads no answer would fill the memory.
  server.maxRequestsPerSocket = 1
  server.timeout = requestTimeoutMs
  const open = new Set<Socket>()
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    // The oldest goes, not the newest: a probe is answered at once, and who sits there silently is no probe.
    const [oldest] = open
    if (open.size > maxConnections) oldest?.destroy()
  })
  const address = await listen(server, options.listen)
  // A failure to accept one connection (EMFILE) must not end the process.
  server.on('error', (error) => options.log.warn('the admin API could not accept a connection', { error }))
  return {
    address,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

interface Route {
  readonly method: 'GET' | 'POST'
  readonly handle: RequestHandler
}

function adminApp({
  container,
  params,
  listen,
  readiness,
  registry,
  pages,
  addresses,
  log,
  onDrain,
}: AdminOptions): express.Express {
  const shownParams = () =>
    Object.fromEntries(params.map(({ name, shown, source }) => [name, { value: shown, source }]))
  const links = () => [...pages.paths, '/healthz', '/readyz', '/metrics', '/params']
  const overview = (): Overview => ({
    container: container.name,
    pattern: container.pattern,
    summary: container.summary,
    version,
    readiness: readiness.report(),
    addresses: Object.fromEntries(Object.entries(addresses).map(([name, at]) => [name, formatAddress(at)])),
    params: shownParams(),
    links: links(),
  })
  const pageRoute = (path: string, spec: PageSpec): Route => ({
    method: 'GET',
    handle: async (request, response) => {
      const content = await pages.read(path)
      if (content === undefined) {
        response.status(503).json({ error: `${path} is not there yet` })
        return
      }
      const html = () => {
        const frame = { ...spec, container: container.name, links: links(), refresh: refreshOf(request) }
        const { notices } = readiness.report()
        return ownPage({ ...frame, notices, content, time: new Date() })
      }
      answer(request, response, { json: content.json, html })
    },
  })
  const routes: Readonly<Record<string, Route>> = {
    '/': {
      method: 'GET',
      handle: (request, response) =>
        answer(request, response, { json: overview, html: () => adminPage(overview()) }),
    },
    '/healthz': { method: 'GET', handle: (_, response) => void response.json({ status: 'ok' }) },
    '/readyz': {
      method: 'GET',
      handle: (_, response) => {
        const report = readiness.report()
        response.status(report.ready ? 200 : 503).json(report)
      },
    },
    '/metrics': {
      method: 'GET',
      handle: async (request, response) => {
        const type = preferred(request.headers.accept, ['text/plain', 'application/openmetrics-text'])
        const open = type === 'application/openmetrics-text'
        const body = open ? await registry.openMetrics() : await registry.text()
        response.setHeader('content-type', open ? openMetricsContentType : textContentType)
        response.end(body)
      },
    },
    '/params': { method: 'GET', handle: (_, response) => void response.json(shownParams()) },
    '/drain': {
      method: 'POST',
      handle: (request, response) => {
        if (!isLocalProgram(request, 'path' in listen)) {
          response
            .status(403)
            .json({ error: 'POST /drain is answered on loopback only, and never to a web page' })
          return
        }
        onDrain()
        response.status(202).json({ status: 'draining' })
      },
    },
    ...Object.fromEntries(
      Object.entries(container.pages).map(([path, spec]) => [path, pageRoute(path, spec)]),
    ),
  }
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.use((request, response, next) => {
    // RFC 9112, 3.2: two Host fields are two opinions on who is asked.
    if ((request.headersDistinct['host']?.length ?? 0) > 1) {
      response.status(400).json({ error: 'more than one Host' })
      return
    }
    response.setHeader('cache-control', 'no-store')
    response.setHeader('x-content-type-options', 'nosniff')
    response.setHeader(
      'content-security-policy',
      "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    )
    next()
  })
  for (const [path, { method, handle }] of Object.entries(routes)) {
    if (method === 'GET') app.get(path, handle)
    else app.post(path, handle)
    app.all(path, (_, response) => {
      response.setHeader('allow', method === 'GET' ? 'GET, HEAD' : method)
      response.status(405).json({ error: `${path} answers ${method} only` })
    })
  }
  app.use(
    (_, response) =>
      void response.status(404).json({ error: `known paths: ${Object.keys(routes).join(' ')}` }),
  )
  const onError: ErrorRequestHandler = (error: { status?: unknown }, request, response, _next) => {
    const status =
      typeof error.status === 'number' && error.status >= 400 && error.status < 500 ? error.status : 500
    if (status === 500) log.error('the admin API failed', { path: request.path, error })
    if (response.headersSent) response.destroy()
    else response.status(status).json({ error: status === 500 ? 'internal error' : 'bad request' })
  }
  app.use(onError)
  return app
}

interface Views {
  json(): unknown
  html(): string
}

/** A browser gets HTML and a program JSON, by Accept or by `?format=`, which is easier to type. */
function answer(request: Request, response: Response, { json, html }: Views): void {
  const type = preferred(request.headers.accept, ['application/json', 'text/html'])
  const format = request.query['format'] ?? (type === 'text/html' ? 'html' : 'json')
  if (format === 'html') response.type('html').send(html())
  else if (format === 'json') response.json(json())
  else response.status(400).json({ error: 'format must be html or json' })
}

const REFRESH_S = 5

/** `?refresh=<seconds>`; what is no such number is passed over. */
function refreshOf(request: Request): number {
  const asked = String(request.query['refresh'])
  return /^\d{1,4}$/.test(asked) ? Number(asked) : REFRESH_S
}

/**
 * The address of the connection counts, never a header. A browser on the same machine also comes from loopback, so a
 * request that names an origin is a web page's (cross-site request forgery, DNS rebinding). A connection that its client
 * has reset has no address any more, so only a Unix socket may do without one.
 */
function isLocalProgram({ socket, headers }: Request, onUnixSocket: boolean): boolean {
  const from = socket.remoteAddress ?? ''
  const local = onUnixSocket || from === '::1' || /^(::ffff:)?127\./.test(from)
  return local && headers.origin === undefined && headers['sec-fetch-site'] === undefined
}
