import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytesOf, echoApp, inTurns, pairs, request, type Sent, sendAll } from './differential-test-support.ts'
import { Application, parseResponses, startProxy } from './test-support.ts'

const PEERS = ['http-proxy', 'httpxy'] as const
type Peer = (typeof PEERS)[number]

/** What both packages have in common. */
interface ProxyLibrary {
  createProxyServer(options: { target: string; xfwd: boolean; agent: false }): {
    web(request: IncomingMessage, response: ServerResponse): unknown
    on(event: 'error', listener: (error: Error, request: unknown, response: ServerResponse) => void): unknown
  }
}

/** Without an agent, so that what it gets wrong on one connection does no harm to the next request. */
async function startPeer(peer: string, target: string): Promise<Application> {
  // By a name that the compiler does not know: one of the packages has no types.
  const loaded: ProxyLibrary & { default?: ProxyLibrary } = await import(peer)
  const proxy = (loaded.default ?? loaded).createProxyServer({ target, xfwd: true, agent: false })
  proxy.on('error', (_error, _request, response) => response.destroy())
  return new Application(createServer((req, res) => void proxy.web(req, res))).listen()
}

// --- what is compared

/** All that one request came to, by what it is about: `request header x-a` is one that the application saw. */
type Result = ReadonlyMap<string, string>

/** Repeated fields are joined (RFC 9110 5.3), because node:http gives them so to the peers, without case and order. */
function joined(kind: string, fields: readonly (readonly [string, string])[]): [string, string][] {
  const result = new Map<string, string>()
  for (const [name, value] of fields) {
    const what = `${kind} ${name.toLowerCase()}`
    const before = result.get(what)
    result.set(
      what,
      before === undefined ? value : `${before}${what.endsWith(' cookie') ? ';' : ','} ${value}`,
    )
  }
  return [...result].map(([what, value]) => [what, value.trim()])
}

function fieldOf(line: string): [string, string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon), line.slice(colon + 1).trim()]
}

type Echo = Awaited<ReturnType<typeof echoApp>>

async function resultOf(port: number, sent: Sent, id: number, { seen }: Echo): Promise<Result> {
  const [response] = parseResponses(await sendAll(port, bytesOf(sent, id, true)), [sent.method])
  const asked = seen.get(String(id))
  seen.delete(String(id))
  const result = new Map<string, string>()
  if (asked !== undefined) {
    result.set('request method', asked.method ?? '')
    result.set('request target', asked.url ?? '')
    result.set('request body', asked.body)
    for (const [what, value] of joined('request header', asked.headers)) result.set(what, value)
    for (const [what, value] of joined('request trailer', pairs(asked.trailers))) result.set(what, value)
  }
  if (response !== undefined) {
    result.set('response status', String(response.status))
    result.set('response body', response.body)
    for (const [what, value] of joined('response header', response.lines.map(fieldOf)))
      result.set(what, value)
    for (const [what, value] of joined('response trailer', response.trailers.map(fieldOf)))
      result.set(what, value)
  }
  return result
}

interface Difference {
  readonly what: string
  readonly ours: string | undefined
  readonly theirs: string | undefined
}

function differencesOf(ours: Result, theirs: Result): Difference[] {
  return [...new Set([...ours.keys(), ...theirs.keys()])]
    .map((what) => ({ what, ours: ours.get(what), theirs: theirs.get(what) }))
    .filter((difference) => difference.ours !== difference.theirs)
}

// --- where a peer is wrong, or has another policy

interface Rule {
  /** What it does, and the forwarder does not. */
  readonly title: string
  readonly peers: readonly Peer[]
  readonly excuses: (difference: Difference, sent: Sent) => boolean
  /** A request with which this can be seen. */
  readonly example: Sent
}

const HOST = 'Host: app.test:81'
const GET: Sent = {
  method: 'GET',
  target: '/',
  minor: 1,
  lines: [HOST],
  body: undefined,
  deed: { status: 200, framing: 'length', content: '', trailers: false },
}
const CHUNKS = { chunked: true, pieces: ['abc'], trailers: [], expect: false }

const namesHost = ({ lines }: Sent) => lines.includes(HOST)
const losesChunks = ({ method, body }: Sent) => /^(DELETE|OPTIONS)$/.test(method) && body?.chunked === true
const withSingleSlashes = (target: string) => {
  const [path = '', ...queries] = target.split('?')
  return [path.replace(/\/+/g, '/'), ...queries].join('?')
}
const escaped = (target: string) =>
  target.replace(/[{}|^`']/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)

const RULES: readonly Rule[] = [
  {
    // RFC 9110 7.6.1: such a header is for the next recipient alone, and so is one that Connection lists.
    title: 'passes on headers of the connection, and those that Connection lists',
    peers: PEERS,
    excuses: ({ what, ours, theirs }) =>
      /^request header (keep-alive|proxy-connection|te|trailer|x-listed)$/.test(what) &&
      ours === undefined &&
      theirs !== undefined,
    example: { ...GET, lines: [HOST, 'Keep-Alive: timeout=5', 'x-listed: gone'] },
  },
  {
    // That it has no agent is our choice for the test.
    title: 'uses a connection to the application once',
    peers: PEERS,
    excuses: ({ what, ours, theirs }) =>
      what === 'request header connection' && ours === undefined && theirs === 'close',
    example: GET,
  },
  {
    // RFC 9110 10.1.1: HTTP/1.0 has no such expectation, and without content there is nothing to wait for.
    title: 'passes on an expectation that asks for nothing',
    peers: PEERS,
    excuses: ({ what, ours, theirs }, { minor, body }) =>
      what === 'request header expect' &&
      ours === undefined &&
      theirs === '100-continue' &&
      (minor === 0 || (body?.chunked === false && body.pieces.length === 0)),
    example: { ...GET, method: 'PUT', body: { chunked: false, pieces: [], trailers: [], expect: true } },
  },
  {
    // node:http sends such a head as UTF-8, without which it would be Latin-1 as it came.
    title: 'changes bytes above ASCII in the headers of a request with an expectation',
    peers: PEERS,
    excuses: ({ what, ours = '', theirs }, { body }) =>
      what.startsWith('request header ') &&
      body?.expect === true &&
      theirs === Buffer.from(ours, 'utf8').toString('latin1'),
    example: { ...GET, method: 'PUT', lines: [HOST, 'x-t: caf\xe9'], body: { ...CHUNKS, expect: true } },
  },
  {
    // By policy: the forwarder believes those alone who are trusted, and writes all of this anew.
    title: 'believes what a client says of itself',
    peers: PEERS,
    excuses: ({ what, ours = '', theirs = '' }) =>
      /^request header (x[-_]forwarded[-_]\w+|forwarded|x-real-ip|proxy)$/.test(what) &&
      /6\.6\.6\.6|evil/.test(theirs) &&
      !/6\.6\.6\.6|evil/.test(ours),
    example: { ...GET, lines: [HOST, 'X-Forwarded-For: 6.6.6.6', 'Proxy: evil'] },
  },
  {
    title: 'leaves Forwarded (RFC 7239) unwritten',
    peers: PEERS,
    excuses: ({ what, ours, theirs }) =>
      what === 'request header forwarded' &&
      theirs === undefined &&
      ours?.startsWith('for=127.0.0.1') === true,
    example: GET,
  },
  {
    title: 'tells the host and port of a request that names none',
    peers: PEERS,
    excuses: ({ what, ours, theirs = '' }, sent) =>
      /^request header x-forwarded-(host|port)$/.test(what) &&
      !namesHost(sent) &&
      ours === undefined &&
      /^(80)?$/.test(theirs),
    example: { ...GET, minor: 0, lines: [] },
  },
  {
    // RFC 9112 3.2.2: the authority of the target is the host, whatever else is said.
    title: 'overlooks the host in the target of a request without Host',
    peers: PEERS,
    excuses: ({ what, ours = '' }, sent) =>
      /^request header (host|x-forwarded-(host|port))$/.test(what) &&
      !namesHost(sent) &&
      sent.target.startsWith('http://app.test:81') &&
      /^(app\.test:)?81$/.test(ours),
    example: { ...GET, minor: 0, lines: [], target: 'http://app.test:81/' },
  },
  {
    title: 'loses trailers',
    peers: PEERS,
    excuses: ({ what, theirs }) => /^re\w+ trailer /.test(what) && theirs === undefined,
    example: {
      ...GET,
      method: 'PUT',
      body: { ...CHUNKS, trailers: ['X-Sum: 1'] },
      deed: { ...GET.deed, framing: 'chunked', trailers: true },
    },
  },
  {
    // Harmless, and not what the client has said.
    title: 'gives a DELETE or OPTIONS without content a length of 0',
    peers: PEERS,
    excuses: ({ what, ours, theirs }, { method, body }) =>
      what === 'request header content-length' &&
      /^(DELETE|OPTIONS)$/.test(method) &&
      body === undefined &&
      ours === undefined &&
      theirs === '0',
    example: { ...GET, method: 'DELETE' },
  },
  {
    // The content goes on behind that length, where the application takes it for the next request.
    title: 'gives a DELETE or OPTIONS in chunks a length of 0 too',
    peers: ['http-proxy'],
    excuses: ({ what }, sent) =>
      losesChunks(sent) &&
      /^(request (body|header (content-length|transfer-encoding))|response (status|body|header .*))$/.test(
        what,
      ),
    example: { ...GET, method: 'DELETE', body: CHUNKS },
  },
  {
    // RFC 9110 7.6: a proxy does not change a path; another one may be allowed where this one is not.
    title: 'joins the slashes of a path',
    peers: ['http-proxy'],
    excuses: ({ what, ours = '', theirs }) => what === 'request target' && theirs === withSingleSlashes(ours),
    example: { ...GET, target: '/a//b?c//d' },
  },
  {
    title: 'escapes characters of a whole URL, and of a path with an @',
    peers: ['http-proxy'],
    excuses: ({ what, ours = '', theirs }, { target }) =>
      what === 'request target' &&
      /^http:|@/.test(target) &&
      theirs !== withSingleSlashes(ours) &&
      theirs === escaped(withSingleSlashes(ours)),
    example: { ...GET, target: "http://app.test:81/a{|}^`'?{" },
  },
  {
    title: 'takes the beginning of a path for a host, when that has two slashes and an @',
    peers: ['http-proxy'],
    excuses: ({ what, ours = '', theirs }) =>
      what === 'request target' &&
      /^\/\/[^@/]+@[^@/]/.test(ours) &&
      theirs !== escaped(withSingleSlashes(ours)),
    example: { ...GET, target: '//a@b/c' },
  },
  {
    // RFC 9112 3.2.4.
    title: 'makes a path of the asterisk',
    peers: PEERS,
    excuses: ({ what, ours, theirs }) => what === 'request target' && ours === '*' && theirs === '/*',
    example: { ...GET, method: 'OPTIONS', target: '*' },
  },
  {
    // RFC 9112 3.2.2.
    title: 'makes a path of a whole URL',
    peers: ['httpxy'],
    excuses: ({ what, ours, theirs }, { target }) =>
      what === 'request target' &&
      target.startsWith('http://app.test:81/') &&
      ours === target.slice('http://app.test:81'.length) &&
      theirs === `/${target}`,
    example: { ...GET, target: 'http://app.test:81/a?b' },
  },
]

const rulesOf = (peer: Peer) => RULES.filter(({ peers }) => peers.includes(peer))

/** What ends the whole process of a peer: node:http throws, where nobody catches it, when trailers have no chunks. */
function endsPeer(sent: Sent, peer: Peer): boolean {
  const chunked = sent.body?.chunked === true && !(peer === 'http-proxy' && losesChunks(sent))
  return sent.lines.includes('Trailer: X-Sum') && !chunked
}

async function startBoth(peer: Peer) {
  const stack = new AsyncDisposableStack()
  const echo = await echoApp()
  const { upstream } = stack.use(echo.app)
  const proxy = stack.use(await startProxy({ route: () => ({ upstream }) }))
  const other = stack.use(await startPeer(peer, upstream.name))
  let count = 0
  return {
    async differences(sent: Sent): Promise<Difference[]> {
      const id = count++
      const ours = await resultOf(proxy.port, sent, id, echo)
      // What is missing on both sides would be no difference.
      for (const what of ['request target', 'response status'])
        if (!ours.has(what)) throw new Error(`no ${what} of ${bytesOf(sent, id, true)}`)
      return differencesOf(ours, await resultOf(other.port, sent, id, echo))
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

describe.each(PEERS)('the forwarder and %s', (peer) => {
  test('do the same with well-formed requests and their responses, but for what is listed', async () => {
    await using both = await startBoth(peer)
    const requests = fc.sample(request, { numRuns: 900, seed: 31 }).filter((sent) => !endsPeer(sent, peer))
    expect(requests.length).toBeGreaterThan(700)
    const rules = rulesOf(peer)
    const needed = new Set<Rule>()
    await inTurns(requests, 16, async (sent, index) => {
      const unexcused = (await both.differences(sent)).filter((difference) => {
        const excuses = rules.filter((rule) => rule.excuses(difference, sent))
        for (const rule of excuses) needed.add(rule)
        return excuses.length === 0
      })
      expect(unexcused, bytesOf(sent, index, true)).toEqual([])
    })
    expect(rules.filter((rule) => !needed.has(rule))).toEqual([])
  }, 60_000)
})

const exceptions = PEERS.flatMap((peer) => rulesOf(peer).map((rule) => [peer, rule.title, rule] as const))

test.each(exceptions)('%s %s, and the forwarder does not', async (peer, _, rule) => {
  await using both = await startBoth(peer)
  const excusedByIt = (await both.differences(rule.example)).filter((difference) =>
    rulesOf(peer).every((other) => other.excuses(difference, rule.example) === (other === rule)),
  )
  expect(excusedByIt).not.toEqual([])
})

/** Runs apart, because it ends all that runs beside it. */
const PEER_APART = `
  const { parentPort, workerData } = require('node:worker_threads')
  import(workerData.peer).then((loaded) => {
    const { createProxyServer } = loaded.default ?? loaded
    const proxy = createProxyServer({ target: workerData.target })
    proxy.on('error', (error, request, response) => response.destroy())
    const server = require('node:http').createServer((request, response) => void proxy.web(request, response))
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
  })
`

const TRAILER: Sent = { ...GET, lines: [HOST, 'Trailer: X-Sum'] }

test.each<[Peer, string, Sent]>([
  ['http-proxy', 'a Trailer without chunks', TRAILER],
  ['httpxy', 'a Trailer without chunks', TRAILER],
  [
    'http-proxy',
    'a Trailer and chunks that it loses',
    { ...TRAILER, method: 'DELETE', body: { ...CHUNKS, pieces: [] } },
  ],
])('%s is not asked with %s, which ends its process; the forwarder answers', async (peer, _, sent) => {
  expect(endsPeer(sent, peer)).toBe(true)
  const echo = await echoApp()
  await using app = echo.app
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  expect((await resultOf(proxy.port, sent, 1, echo)).get('response status')).toBe('200')

  const worker = new Worker(PEER_APART, { eval: true, workerData: { peer, target: upstream.name } })
  const failed = new Promise<NodeJS.ErrnoException>((resolve) => worker.once('error', resolve))
  const port = await new Promise<number>((resolve) => worker.once('message', resolve))
  await sendAll(port, bytesOf(sent, 2, true))
  expect((await failed).code).toBe('ERR_HTTP_TRAILER_INVALID')
})
