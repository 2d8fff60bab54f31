import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { type ProbeEndpoint, type ProbeEndpointOptions, startProbeEndpoint } from './probe-endpoint.ts'

interface World extends AsyncDisposable {
  readonly endpoint: ProbeEndpoint
  readonly errors: Error[]
  ask(path: string, method?: string): Promise<Answer>
}

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

async function startWorld(options: Partial<ProbeEndpointOptions> = {}): Promise<World> {
  const errors: Error[] = []
  const endpoint = await startProbeEndpoint({
    listen: { host: '127.0.0.1', port: 0 },
    pprof: false,
    onError: (error) => errors.push(error),
    ...options,
  })
  const { address } = endpoint
  const port = 'port' in address ? address.port : 0
  return {
    endpoint,
    errors,
    async ask(path, method = 'GET') {
      const outgoing = request({ host: '127.0.0.1', port, path, method, agent: false }).end()
      const [response]: IncomingMessage[] = await once(outgoing, 'response')
      if (response === undefined) throw new Error('no response')
      return { status: response.statusCode, headers: response.headers, body: await text(response) }
    },
    [Symbol.asyncDispose]: () => endpoint[Symbol.asyncDispose](),
  }
}

const PATHS = [
  '/',
  '/healthz',
  '/any/path?x',
  '/metrics',
  '/debug/pprof/',
  '/debug/pprof/profile',
  '/debug/pprof/heap',
]

describe('a probe', () => {
  test.each(PATHS)('at %s is a 503 before the first sync', async (path) => {
    await using world = await startWorld()
    expect(await world.ask(path)).toMatchObject({ status: 503, body: '' })
  })

  test.each(PATHS)('at %s is a 200 with no body after it, for ever', async (path) => {
    await using world = await startWorld()
    world.endpoint.markSynced()
    for (let count = 0; count < 3; count += 1)
      expect(await world.ask(path)).toMatchObject({
        status: 200,
        body: '',
        headers: { 'content-length': '0' },
      })
  })

  test.each(['HEAD', 'POST', 'OPTIONS'])('may be a %s', async (method) => {
    await using world = await startWorld()
    world.endpoint.markSynced()
    expect((await world.ask('/', method)).status).toBe(200)
  })
})

describe('metrics', () => {
  test('are there before the first sync', async () => {
    await using world = await startWorld({ metrics: () => 'a 1\n' })
    expect(await world.ask('/metrics?x')).toMatchObject({
      status: 200,
      body: 'a 1\n',
      headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    })
  })

  test('that cannot be read are a 500, of which the caller is told', async () => {
    const failure = new Error('no metrics')
    await using world = await startWorld({ metrics: () => Promise.reject(failure) })
    expect(await world.ask('/metrics')).toMatchObject({ status: 500, body: '' })
    expect(world.errors).toEqual([failure])
    expect((await world.ask('/')).status).toBe(503)
  })
})

describe('profiles', () => {
  test.each(['/debug/pprof/', '/debug/pprof'])('are linked at %s', async (path) => {
    await using world = await startWorld({ pprof: true })
    const { status, headers, body } = await world.ask(path)
    expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
    expect([...body.matchAll(/href="([^"]+)"/g)].map(([, link]) => link)).toEqual([
      '/debug/pprof/profile?seconds=30',
      '/debug/pprof/heap?seconds=30',
    ])
  })

  test('of the processor are in the format of V8', async () => {
    await using world = await startWorld({ pprof: true })
    const { status, headers, body } = await world.ask('/debug/pprof/profile?seconds=1')
    expect([status, headers['content-disposition']]).toEqual([
      200,
      'attachment; filename="git-sync.cpuprofile"',
    ])
    expect(JSON.parse(body)).toMatchObject({
      nodes: expect.any(Array),
      samples: expect.any(Array),
      timeDeltas: expect.any(Array),
    })
  })

  test('of the heap are in the format of V8', async () => {
    await using world = await startWorld({ pprof: true })
    const { status, headers, body } = await world.ask('/debug/pprof/heap?seconds=1')
    expect([status, headers['content-disposition']]).toEqual([
      200,
      'attachment; filename="git-sync.heapprofile"',
    ])
    expect(JSON.parse(body)).toMatchObject({
      head: { callFrame: expect.any(Object) },
      samples: expect.any(Array),
    })
  })

  test.each(['0', '61', '999999', '-1', '1.5', 'x', ''])('of %j seconds are refused', async (seconds) => {
    await using world = await startWorld({ pprof: true })
    expect(await world.ask(`/debug/pprof/profile?seconds=${seconds}`)).toMatchObject({
      status: 400,
      body: 'seconds must be a whole number from 1 to 60\n',
    })
  })

  test('are taken one at a time', async () => {
    await using world = await startWorld({ pprof: true })
    const answers = await Promise.all([
      world.ask('/debug/pprof/profile?seconds=1'),
      world.ask('/debug/pprof/profile?seconds=1'),
      world.ask('/debug/pprof/heap?seconds=1'),
    ])
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409])
  })

  test('end when who wanted them has left, and then others may have one', async () => {
    await using world = await startWorld({ pprof: true })
    const { address } = world.endpoint
    const port = 'port' in address ? address.port : 0
    const outgoing = request({ host: '127.0.0.1', port, path: '/debug/pprof/profile?seconds=60' }).end()
    outgoing.on('error', () => undefined)
    while ((await world.ask('/debug/pprof/heap?seconds=1')).status !== 409);
    outgoing.destroy()
    while ((await world.ask('/debug/pprof/heap?seconds=1')).status !== 200);
  })

  test('may take longer than a connection may be silent', async () => {
    await using world = await startWorld({ pprof: true, limits: { idleMs: 200 } })
    expect((await world.ask('/debug/pprof/profile?seconds=1')).status).toBe(200)
  })

  test('are given up where all is closed', async () => {
    const world = await startWorld({ pprof: true })
    const asked = world.ask('/debug/pprof/profile?seconds=60').catch((error: unknown) => error)
    while ((await world.ask('/debug/pprof/heap?seconds=1')).status !== 409);
    await world[Symbol.asyncDispose]()
    expect(await asked).toMatchObject({ code: 'ECONNRESET' })
  })
})
