import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onFreePorts } from '@outrider/core/testing'
import container from '@outrider/sidecar-https/container'
import { type Browser, chromium, type Page } from 'playwright-core'
import type { StartedTestContainer } from 'testcontainers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { logOf, RidingContainer } from '../support/docker.ts'
import { until } from '../support/program.ts'

let browser: Browser

beforeAll(async () => {
  const executablePath = execFileSync('bash', ['-c', 'command -v chromium || command -v google-chrome'], {
    encoding: 'utf8',
  }).trim()
  browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
  })
})
afterAll(() => browser.close())

for (const { protocol, http2, version } of [
  { protocol: 'http/1.1', http2: 'false', version: '1.1' },
  { protocol: 'h2', http2: 'true', version: '2' },
]) {
  describe(`a browser over ${protocol}`, () => {
    let app: Application
    let sidecar: StartedTestContainer
    let page: Page
    let origin: string

    beforeEach(async () => {
      app = await startApplication()
      // On the host's network, as the parts of a pod share theirs.
      sidecar = await new RidingContainer('outrider/sidecar-https')
        .withNetworkMode('host')
        .withEnvironment({
          ...onFreePorts(container),
          SIDECAR_HTTPS_TARGET: app.url,
          SIDECAR_HTTPS_HTTP2: http2,
          SIDECAR_HTTPS_ACCESS_LOG: 'true',
        })
        .start()
      origin = `https://localhost:${await portOf(sidecar)}`
      page = await browser.newPage({ ignoreHTTPSErrors: true })
      await page.goto(`${origin}/`)
    })
    afterEach(async () => {
      await page.close()
      await sidecar.stop()
      await app.close()
    })

    /** The line of the access log for a path, once it is there. */
    const logged = (path: string) =>
      until(`the request of ${path}`, async () =>
        (await logOf(sidecar)).find((event) => event['msg'] === 'request' && event['path'] === path),
      )

    it('loads a page with what belongs to it', async () => {
      expect(await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")).toBe(
        protocol,
      )
      expect(await page.title()).toBe('A legacy application')
      await page.waitForFunction('window.ran === 32')
      const parts = `performance.getEntriesByType('resource')
        .filter(({ name }) => name.includes('/part/')).map((part) => part.nextHopProtocol)`
      expect(await page.evaluate(parts)).toEqual(Array<string>(32).fill(protocol))
      expect((await logged('/part/31.js'))['version']).toBe(version)
    })

    it('uploads and downloads a body whole', async () => {
      const sum = await page.evaluate(`(async () => {
        const body = new Uint8Array(4 * 2 ** 20).map((_, index) => index % 251)
        const response = await fetch('/echo', { method: 'POST', body })
        const back = new Uint8Array(await response.arrayBuffer())
        return back.length === body.length && back.every((byte, index) => byte === body[index])
      })()`)
      expect(sum).toBe(true)
    })

    it('speaks by a WebSocket in both directions, and hears why it was closed', async () => {
      const heard = await page.evaluate(`new Promise((resolve, reject) => {
        const socket = new WebSocket(location.origin.replace('https', 'wss') + '/socket', ['chat'])
        const heard = []
        socket.binaryType = 'arraybuffer'
        socket.onopen = () => {
          heard.push('open ' + socket.protocol)
          socket.send('text')
          socket.send(new Uint8Array(100_000).fill(7))
          socket.send('please close')
        }
        socket.onmessage = ({ data }) => heard.push(typeof data === 'string' ? data : data.byteLength)
        socket.onerror = () => reject(new Error('the WebSocket failed'))
        socket.onclose = ({ code, reason, wasClean }) => resolve([...heard, code, reason, wasClean])
      })`)
      expect(heard).toEqual(['open chat', 'text', 100_000, 4001, 'as you wish', true])
      // RFC 8441 in HTTP/2: a stream of the page's own connection, not a connection of HTTP/1.1 beside it.
      expect(await logged('/socket')).toMatchObject({ version, status: version === '2' ? 200 : 101 })
    })

    it('hears each event of a stream when it is sent', async () => {
      // The application sends the next event only when it is told that the one before has arrived.
      const heard = await page.evaluate(`new Promise((resolve, reject) => {
        const source = new EventSource('/events')
        const heard = []
        source.onerror = () => reject(new Error('the stream broke off'))
        source.onmessage = ({ data }) => {
          heard.push(data)
          if (heard.length < 5) return void fetch('/next', { method: 'POST' })
          source.close()
          resolve(heard)
        }
      })`)
      expect(heard).toEqual(['event 1', 'event 2', 'event 3', 'event 4', 'event 5'])
      // The application is told that nobody listens any more.
      await until('the end of the stream', () => app.listeners() === 0)
      expect((await logged('/events'))['outcome']).toBe('client-aborted')
    })
  })
}

/** Where the sidecar listens for HTTPS. */
async function portOf(sidecar: StartedTestContainer): Promise<string> {
  const started = (await logOf(sidecar)).find(({ msg }) => msg === 'started')
  const addresses = started?.['addresses'] as Record<string, string> | undefined
  return /\d+$/.exec(addresses?.['https'] ?? '')?.[0] ?? ''
}

interface Application {
  readonly url: string
  /** Clients of its event stream. */
  listeners(): number
  close(): Promise<void>
}

/** Plain HTTP on loopback. */
async function startApplication(): Promise<Application> {
  const streams = new Set<ServerResponse>()
  let events = 0
  const say = (response: ServerResponse) => response.write(`data: event ${++events}\n\n`)
  const server: Server = createServer((request, response) => {
    const { url = '' } = request
    if (url === '/') {
      const parts = Array.from({ length: 32 }, (_, part) => `<script src="/part/${part}.js"></script>`)
      response.setHeader('content-type', 'text/html')
      response.end(`<!doctype html><title>A legacy application</title>${parts.join('')}`)
    } else if (url.startsWith('/part/')) {
      response.setHeader('content-type', 'text/javascript')
      response.end(`window.ran = (window.ran ?? 0) + 1 // ${'x'.repeat(20_000)}`)
    } else if (url === '/echo') {
      request.pipe(response)
    } else if (url === '/events') {
      response.setHeader('content-type', 'text/event-stream')
      streams.add(response)
      response.on('close', () => streams.delete(response))
      say(response)
    } else if (url === '/next') {
      for (const stream of streams) say(stream)
      response.end()
    } else {
      response.writeHead(404).end()
    }
  })
  const sockets = new WebSocketServer({ server, path: '/socket', handleProtocols: () => 'chat' })
  sockets.on('connection', (socket) => {
    socket.on('message', (data, binary) => {
      if (!binary && String(data) === 'please close') socket.close(4001, 'as you wish')
      else socket.send(data, { binary })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    listeners: () => streams.size,
    async close() {
      sockets.close()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
