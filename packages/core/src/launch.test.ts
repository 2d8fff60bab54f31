import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Context, defineContainer, type Params, type Running } from './container.ts'
import type { Address } from './kinds.ts'
import { address, secret, text } from './kinds.ts'
import { type Launched, launch, StartError } from './launch.ts'
import type { MetricSpecs } from './metrics.ts'
import { resolve } from './resolve.ts'
import { aged } from './test-support.ts'
import { startContainer } from './testing.ts'
import { watchFiles } from './watch.ts'

type Given = Context<Params, MetricSpecs>

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]()
})

/** A container whose start is what the test says. */
const box = (start: (context: Given) => Promise<Running<'http'>>) =>
  defineContainer({
    name: 'test-box',
    pattern: 'sidecar',
    summary: 'Does what a test wants.',
    contract: [],
    admin: 9999,
    params: {
      listen: address('Where to listen.', { default: '127.0.0.1:0' }),
      label: text('What to say.', { default: 'nothing' }),
      password: secret('The password.', { optional: true }),
    },
    ports: { http: 'listen' },
    metrics: {},
    start: (context) => start(context as unknown as Given),
  })

const idle: Running<'http'> = { async [Symbol.asyncDispose]() {} }
const idleWith = (more: Partial<Running<'http'>>): Running<'http'> => ({ ...idle, ...more })

interface Begun {
  readonly events: Record<string, unknown>[]
  readonly launched: Promise<Launched>
  ask(path: string, init?: RequestInit): Promise<Response>
}

/** Launches on a port that is known before the start is over. */
async function begin(container: ReturnType<typeof box>, signal?: AbortSignal): Promise<Begun> {
  const port = await freePort()
  const env = { TEST_BOX_ADMIN: `127.0.0.1:${port}` }
  const resolution = resolve(container, { argv: [], env, readFile: String })
  if (!resolution.ok) throw new Error(resolution.problems.join())
  const events: Record<string, unknown>[] = []
  const write = (line: string) => void events.push(JSON.parse(line) as Record<string, unknown>)
  const launched = launch(container, resolution.resolved, { write, ...(signal && { signal }) })
  launched.then(
    (value) => open.push(value),
    () => undefined,
  )
  const ask = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init)
  await expect
    .poll(
      () =>
        ask('/healthz').then(
          ({ status }) => status,
          () => 0,
        ),
      { timeout: 10_000 },
    )
    .toBe(200)
  return { events, launched, ask }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const port = portOf(server)
  server.close()
  await once(server, 'close')
  return port
}

function portOf(server: Server): number {
  const bound = server.address()
  if (typeof bound !== 'object' || bound === null) throw new Error('not listening')
  return bound.port
}

const accepts = (at: Address): Promise<boolean> =>
  new Promise((done) => {
    const socket = 'path' in at ? connect(at.path) : connect(at.port, at.host)
    socket.on('connect', () => done(true)).on('error', () => done(false))
    socket.on('close', () => socket.destroy())
    socket.unref()
  })

const readiness = async (answer: Promise<Response>) => {
  const response = await answer
  return { status: response.status, report: await response.json() }
}

describe('while the start waits for something outside', () => {
  const pending = () => {
    const release = Promise.withResolvers<Running<'http'>>()
    return { container: box(() => release.promise), release }
  }

  it('the container is alive', async () => {
    const { container, release } = pending()
    const { ask, launched } = await begin(container)
    expect((await ask('/healthz')).status).toBe(200)
    release.resolve(idle)
    await launched
  })

  it('it is not ready, and the gate says that it is starting', async () => {
    const { container, release } = pending()
    const { ask, launched } = await begin(container)
    expect(await readiness(ask('/readyz'))).toMatchObject({
      status: 503,
      report: {
        ready: false,
        gates: { start: { open: false, reason: 'the container is starting' }, drain: { open: true } },
      },
    })
    release.resolve(idle)
    await launched
  })

  it('it is ready as soon as the start is over', async () => {
    const { container, release } = pending()
    const { ask, launched } = await begin(container)
    release.resolve(idle)
    await launched
    expect((await ask('/readyz')).status).toBe(200)
  })

  it('aborting reaches the start', async () => {
    const stop = new AbortController()
    const container = box(
      ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
    )
    const { launched } = await begin(container, stop.signal)
    stop.abort()
    await expect(launched).rejects.toThrow('aborted')
  })
})

it('a start that is aborted before it begins is told so', async () => {
  const { launched } = await begin(
    box(async ({ signal }) => {
      expect(signal.aborted).toBe(true)
      return idle
    }),
    AbortSignal.abort(),
  )
  await launched
})

describe('a start that fails', () => {
  const failing = box(() => Promise.reject(new Error('no upstream')))

  it('rejects with the reason', async () => {
    await expect(startContainer(failing)).rejects.toThrow('no upstream')
  })

  it('leaves nothing listening', async () => {
    const release = Promise.withResolvers<Running<'http'>>()
    const { launched, ask } = await begin(box(() => release.promise))
    release.reject(new Error('no upstream'))
    await expect(launched).rejects.toThrow('no upstream')
    await expect(ask('/healthz')).rejects.toThrow('fetch failed')
  })

  it('aborts what the start began', async () => {
    let given: AbortSignal | undefined
    const container = box(async ({ signal }) => {
      given = signal
      throw new Error('no upstream')
    })
    await expect(startContainer(container)).rejects.toThrow('no upstream')
    expect(given?.aborted).toBe(true)
  })

  it('leaves no watcher of files', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'launch-'))
    const path = join(directory, 'rules')
    writeFileSync(path, 'one')
    let loads = 0
    const container = box(async ({ follow }) => {
      await follow('rules', ['label'], () => ++loads)
      throw new Error('no upstream')
    })
    await expect(startContainer(container, { TEST_BOX_LABEL: path })).rejects.toThrow('no upstream')
    // When another watcher has seen two changes, one that had been left would have seen the first.
    const seen: string[] = []
    await using _ = await watchFiles([path], {
      onChange: (contents) => void seen.push(String(contents.get(path))),
    })
    for (const content of ['two', 'three']) {
      writeFileSync(path, content)
      await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(content)
    }
    expect(loads).toBe(1)
    rmSync(directory, { recursive: true })
  })
})

describe('an address that cannot be listened on', () => {
  const listening = box(async ({ params }) => {
    const server = createServer()
    const listen = params['listen'] as Address
    if ('path' in listen) server.listen(listen.path)
    else server.listen(listen.port, listen.host)
    await once(server, 'listening')
    return idleWith({
      async [Symbol.asyncDispose]() {
        server.close()
      },
    })
  })

  it.each([
    ['TEST_BOX_LISTEN', '--listen'],
    ['TEST_BOX_ADMIN', '--admin'],
  ])(
    'in use by another program: the message names %s and %s, the address and the remedy',
    async (variable, flag) => {
      const other = createServer().listen(0, '127.0.0.1')
      await once(other, 'listening')
      const taken = `127.0.0.1:${portOf(other)}`
      const start = startContainer(listening, { [variable]: taken })
      await expect(start).rejects.toThrow(
        new StartError(
          `${variable} (${flag}): ${taken} is in use by another program: stop that one or choose another address`,
        ),
      )
      await expect(start).rejects.toBeInstanceOf(StartError)
      other.close()
    },
  )

  it.each([
    ['198.51.100.1:8080', 'TEST_BOX_LISTEN (--listen): 198.51.100.1:8080 is no address of this machine'],
    ['no-such-host.invalid:0', 'TEST_BOX_LISTEN (--listen): no-such-host.invalid:0 names an unknown host'],
  ])('%s', async (value, message) => {
    await expect(startContainer(listening, { TEST_BOX_LISTEN: value })).rejects.toThrow(message)
  })

  it('a Unix socket that is in use', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'launch-'))
    const path = join(directory, 'app.sock')
    const other = createServer().listen(path)
    await once(other, 'listening')
    await expect(startContainer(listening, { TEST_BOX_LISTEN: `unix:${path}` })).rejects.toThrow(
      `TEST_BOX_LISTEN (--listen): unix:${path} is in use by another program`,
    )
    other.close()
    await once(other, 'close')
    rmSync(directory, { recursive: true })
  })

  it('an error that is not about listening stays what it is', async () => {
    const error = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', port: 1 })
    await expect(startContainer(box(() => Promise.reject(error)))).rejects.toBe(error)
  })
})

describe('the start-up log line', () => {
  it('gives the addresses, and each value and its source', async () => {
    const container = box(async () => idleWith({ addresses: { http: { host: '127.0.0.1', port: 8080 } } }))
    await using started = await startContainer(container, { TEST_BOX_LABEL: 'hello' })
    expect(started.events).toEqual([
      expect.objectContaining({
        level: 'info',
        msg: 'started',
        addresses: { admin: expect.stringMatching(/^127\.0\.0\.1:\d+$/), http: '127.0.0.1:8080' },
        params: expect.objectContaining({
          label: { value: 'hello', source: 'environment' },
          drain: { value: '10s', source: 'default' },
          password: { value: null, source: 'unset' },
        }),
      }),
    ])
  })

  it('shows no secret', async () => {
    await using started = await startContainer(
      box(async () => idle),
      { TEST_BOX_PASSWORD: 'hunter2' },
    )
    expect(JSON.stringify(started.events)).not.toContain('hunter2')
    expect(started.events[0]).toMatchObject({ params: { password: { value: '[redacted]' } } })
  })

  it("is the mechanism's log too, with secrets redacted", async () => {
    const container = box(async ({ log, params }) => {
      log.info('connecting', { password: params['password'] })
      return idle
    })
    await using started = await startContainer(container, { TEST_BOX_PASSWORD: 'hunter2' })
    expect(started.events[0]).toMatchObject({ msg: 'connecting', password: '[redacted]' })
  })

  it('is left out by LOG_LEVEL=error', async () => {
    await using started = await startContainer(
      box(async () => idle),
      { LOG_LEVEL: 'error' },
    )
    expect(started.events).toEqual([])
  })
})

describe('older names', () => {
  const start = (env: Record<string, string>) => startContainer(aged, { AGED_BOX_REPO: '/repo', ...env })

  it('are warned about before the start is over, with a message that never varies', async () => {
    await using started = await start({ OLD_BOX_REPO: '/old', AGED_BOX_LEGACY: 'x' })
    expect(started.events).toMatchObject([
      { level: 'warn', msg: 'deprecated', warning: expect.stringMatching(/^AGED_BOX_LEGACY does nothing/) },
      { level: 'warn', msg: 'deprecated', warning: expect.stringMatching(/^OLD_BOX_REPO is deprecated/) },
      { msg: 'started', params: { repo: { value: '/old', source: 'environment' } } },
    ])
  })

  it('are not spoken of where none is set', async () => {
    await using started = await start({})
    expect(started.events).toMatchObject([{ msg: 'started' }])
  })
})

describe('a secret that becomes known while running', () => {
  it('is taken out of the log, pages and readiness from then on', async () => {
    const container = defineContainer({
      name: 'test-box',
      pattern: 'sidecar',
      summary: 'Fetches a token.',
      contract: [],
      admin: 9999,
      params: {},
      metrics: {},
      pages: { '/status': { title: 'Status', help: 'How it is.' } },
      async start({ log, gate, hide, notice, page }) {
        gate('sync', 'refused with token-1').close('still refused with token-1')
        notice('sync').set('token-1 is refused')
        page('/status', () => ({ tried: 'token-1' }))
        hide('token-1')
        log.info('fetched', { token: 'token-1' })
        return idle
      },
    })
    await using started = await startContainer(container)
    expect(started.events[0]).toMatchObject({ msg: 'fetched', token: '[redacted]' })
    for (const path of ['/', '/readyz', '/status', '/status?format=html']) {
      const text = await (await started.ask(path)).text()
      expect(text).toContain('[redacted]')
      expect(text).not.toContain('token-1')
    }
  })
})

describe('a container that ends by itself', () => {
  it.each(['done', 'failed'] as const)('says so: %s', async (outcome) => {
    await using started = await startContainer(box(async () => idleWith({ ended: Promise.resolve(outcome) })))
    expect(await started.ended).toBe(outcome)
    expect(started.events.at(-1)).toMatchObject({ msg: 'ended', outcome })
  })

  it('may be told to drain after that', async () => {
    await using started = await startContainer(box(async () => idleWith({ ended: Promise.resolve('done') })))
    await started.ended
    expect(await started.drain()).toBe('finished')
  })

  it('rejects where it breaks', async () => {
    const broken = Promise.withResolvers<never>()
    await using started = await startContainer(box(async () => idleWith({ ended: broken.promise })))
    broken.reject(new Error('a defect'))
    await expect(started.ended).rejects.toThrow('a defect')
  })

  it('while it drains is no news', async () => {
    const over = Promise.withResolvers<'failed'>()
    await using started = await startContainer(box(async () => idleWith({ ended: over.promise })))
    const drained = started.drain()
    over.resolve('failed')
    await started.ended
    expect(await drained).toBe('finished')
    expect(started.events).not.toContainEqual(expect.objectContaining({ msg: 'ended' }))
  })
})

describe('a signal that a container asks for', () => {
  it('is told, each time, until the drain begins', async () => {
    let told = 0
    await using started = await startContainer(
      box(async ({ onSignal }) => {
        onSignal('SIGUSR1', () => void told++)
        return idle
      }),
    )
    started.signal('SIGUSR1')
    started.signal('SIGUSR1')
    started.signal('SIGUSR2')
    expect(told).toBe(2)
    await started.drain()
    started.signal('SIGUSR1')
    expect(told).toBe(2)
  })

  it('may be SIGHUP, which looks at the watched files as well', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'launch-'))
    const path = join(directory, 'rules')
    writeFileSync(path, 'one')
    let told = 0
    const container = box(async ({ follow, onSignal }) => {
      await follow('rules', ['label'], () => undefined)
      onSignal('SIGHUP', () => void told++)
      return idle
    })
    await using started = await startContainer(container, { TEST_BOX_LABEL: path })
    writeFileSync(path, 'two')
    started.signal('SIGHUP')
    expect(told).toBe(1)
    await expect
      .poll(() => started.events.map(({ msg }) => msg), { timeout: 10_000 })
      .toContain('rules reloaded')
    rmSync(directory, { recursive: true })
  })
})

describe('given', () => {
  const asked = async (env: Record<string, string>) => {
    let answer: unknown
    const container = box(async ({ given }) => {
      answer = given('label')
      return idle
    })
    await using _ = await startContainer(container, env)
    return answer
  }

  it('is true for what the user set, even to the default', async () => {
    expect(await asked({ TEST_BOX_LABEL: 'nothing' })).toBe(true)
  })

  it('is false for a default', async () => {
    expect(await asked({})).toBe(false)
  })
})

it.each(['start', 'drain'])('a container cannot take the gate called %s', async (name) => {
  const container = box(async ({ gate }) => {
    gate(name, 'x')
    return idle
  })
  await expect(startContainer(container)).rejects.toThrow(`gate "${name}" exists already`)
})

it('a closed gate of the container keeps it from being ready after the start', async () => {
  const container = box(async ({ gate }) => {
    gate('upstream', 'not connected yet')
    return idle
  })
  await using started = await startContainer(container)
  expect(await readiness(started.ask('/readyz'))).toMatchObject({
    status: 503,
    report: { gates: { start: { open: true }, upstream: { open: false, reason: 'not connected yet' } } },
  })
})

describe('a drain', () => {
  const draining = () => {
    const work = Promise.withResolvers<void>()
    return { work, container: box(async () => idleWith({ drain: () => work.promise })) }
  }

  it('closes readiness at once, while the admin API still answers', async () => {
    const { work, container } = draining()
    await using started = await startContainer(container)
    const outcome = started.drain()
    expect(await readiness(started.ask('/readyz'))).toMatchObject({
      status: 503,
      report: { gates: { drain: { open: false, reason: 'the container is draining' } } },
    })
    expect((await started.ask('/healthz')).status).toBe(200)
    work.resolve()
    await outcome
  })

  it('is finished when the work in hand is', async () => {
    const { work, container } = draining()
    await using started = await startContainer(container)
    const outcome = started.drain()
    work.resolve()
    expect(await outcome).toBe('finished')
  })

  it('is cut off at the deadline', async () => {
    await using started = await startContainer(draining().container, { TEST_BOX_DRAIN: '20ms' })
    expect(await started.drain()).toBe('cut off')
  })

  it('is cut off when the mechanism fails to drain', async () => {
    const container = box(async () => idleWith({ drain: () => Promise.reject(new Error('broken')) }))
    await using started = await startContainer(container)
    expect(await started.drain()).toBe('cut off')
  })

  it('tells the mechanism by its signal', async () => {
    let given: AbortSignal | undefined
    const container = box(async ({ signal }) => {
      given = signal
      return idle
    })
    await using started = await startContainer(container)
    expect(given?.aborted).toBe(false)
    await started.drain()
    expect(given?.aborted).toBe(true)
  })

  it('asked for twice is done once', async () => {
    let drains = 0
    const container = box(async () =>
      idleWith({
        drain: async () => {
          drains++
        },
      }),
    )
    await using started = await startContainer(container)
    expect(await Promise.all([started.drain(), started.drain()])).toEqual(['finished', 'finished'])
    expect(drains).toBe(1)
  })

  it('is in the log, with its deadline and outcome', async () => {
    await using started = await startContainer(box(async () => idle))
    await started.drain()
    expect(started.events.slice(1)).toEqual([
      expect.objectContaining({ msg: 'draining', deadlineMs: 10_000 }),
      expect.objectContaining({ msg: 'drained', outcome: 'finished' }),
    ])
  })

  it('leaves the admin API answering until the container is disposed of', async () => {
    await using started = await startContainer(box(async () => idle))
    await started.drain()
    expect((await started.ask('/healthz')).status).toBe(200)
    expect((await started.ask('/readyz')).status).toBe(503)
  })

  it('is requested by POST /drain, and begun by nobody else', async () => {
    await using started = await startContainer(box(async () => idle))
    await started.ask('/drain', { method: 'POST' })
    await started.drainRequested
    expect((await started.ask('/readyz')).status).toBe(200)
  })

  it('may be requested twice', async () => {
    await using started = await startContainer(box(async () => idle))
    await started.ask('/drain', { method: 'POST' })
    expect((await started.ask('/drain', { method: 'POST' })).status).toBe(202)
  })
})

describe('disposing', () => {
  it('ends the mechanism and the admin API', async () => {
    let disposed = false
    const container = box(async () =>
      idleWith({
        async [Symbol.asyncDispose]() {
          disposed = true
        },
      }),
    )
    const started = await startContainer(container)
    await started[Symbol.asyncDispose]()
    expect(disposed).toBe(true)
    expect(await accepts(started.admin)).toBe(false)
  })

  it('ends the admin API even when the mechanism fails to end', async () => {
    const container = box(async () =>
      idleWith({ [Symbol.asyncDispose]: () => Promise.reject(new Error('stuck')) }),
    )
    const started = await startContainer(container)
    await expect(started[Symbol.asyncDispose]()).rejects.toThrow('stuck')
    expect(await accepts(started.admin)).toBe(false)
  })

  it('ends open connections of the admin API', async () => {
    const started = await startContainer(box(async () => idle))
    const { admin } = started
    if ('path' in admin) throw new Error('not a Unix socket')
    const socket = connect(admin.port, admin.host)
    await once(socket, 'connect')
    socket.resume()
    await Promise.all([once(socket, 'close'), started[Symbol.asyncDispose]()])
  })

  it('aborts the signal', async () => {
    let given: AbortSignal | undefined
    const started = await startContainer(
      box(async ({ signal }) => {
        given = signal
        return idle
      }),
    )
    await started[Symbol.asyncDispose]()
    expect(given?.aborted).toBe(true)
  })
})

it('programs that it starts inherit the environment, but none of its own variables', async () => {
  let seen: Readonly<Record<string, string>> = {}
  const container = box(async ({ environment }) => {
    seen = environment
    return idle
  })
  await using _ = await startContainer(container, { TEST_BOX_PASSWORD: 'hunter2', OTHER: 'yes' })
  expect(seen['OTHER']).toBe('yes')
  expect(Object.values(seen)).not.toContain('hunter2')
})
