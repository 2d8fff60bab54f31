import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type Addresses, onFreePorts } from '@outrider/core/testing'
import { expect } from 'vitest'
import { forEveryContainer, line } from '../support/contract.ts'
import { type Program, until } from '../support/program.ts'
import { descriptors, listeningOn, socketCount } from '../support/sockets.ts'

forEveryContainer((subject) => {
  line(11, 'it is ready as soon as it says "started", waiting for nothing outside', async () => {
    for (const { env = {}, ready = true } of subject.fixture.outages) {
      if (!ready) continue
      const program = await subject.start(env)
      expect((await program.ask('/readyz')).status).toBe(200)
    }
  })

  line(
    11,
    'while it must wait for something outside, it has started, and says what it waits for',
    async () => {
      for (const { env = {}, ready = true } of subject.fixture.outages) {
        if (ready) continue
        const program = await subject.start(env)
        expect(await closedGates(program)).not.toEqual([])
      }
    },
  )

  line(12, 'SIGTERM: no new work is accepted, work in hand is finished whole, exit 0', async () => {
    const program = await subject.start()
    const at = await program.addresses()
    const work = await subject.fixture.beginWork(at)
    program.signal('SIGTERM')
    await program.logged('draining')
    await until('new work refused', () =>
      subject.fixture.work(at).then(
        () => false,
        () => true,
      ),
    )
    await work.finish()
    expect(await program.ended()).toBe(0)
  })

  line(12, 'SIGTERM with nothing in hand ends it with 0, and so does SIGINT', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const program = await subject.start()
      await subject.fixture.work(await program.addresses())
      program.signal(signal)
      expect(await program.ended()).toBe(0)
    }
  })

  line(12, 'work that outlasts the drain is cut off, exit 1', async () => {
    const program = await subject.start({ [`${subject.container.prefix}DRAIN`]: '300ms' })
    const work = await subject.fixture.beginWork(await program.addresses())
    program.signal('SIGTERM')
    expect(await program.ended()).toBe(1)
    await expect(work.finish()).rejects.toThrow()
  })

  line(12, 'a second signal ends it at once', async () => {
    const program = await subject.start({ [`${subject.container.prefix}DRAIN`]: '1h' })
    await subject.fixture.beginWork(await program.addresses())
    program.signal('SIGTERM')
    await program.logged('draining')
    program.signal('SIGTERM')
    expect(await program.ended()).toBe(1)
  })

  line(
    12,
    'it serves until it is told to stop, as a native sidecar must while the application drains',
    async () => {
      const program = await subject.start()
      const at = await program.addresses()
      program.signal('SIGHUP')
      await subject.fixture.work(at)
      expect((await program.ask('/readyz')).status).toBe(200)
    },
  )

  line(13, 'the client is answered, whatever is wrong with the upstream', async () => {
    for (const { name, env = {}, check } of subject.fixture.outages) {
      const program = await subject.start(env)
      const at = await program.addresses()
      await program.ask('/healthz')
      const before = socketCount(program.pid)
      for (let round = 0; round < 3; round++) {
        await check(at).catch((error: Error) => expect.fail(`${name}: ${error.message}`))
      }
      expect((await program.ask('/healthz')).status).toBe(200)
      await until(
        `nothing left behind by ${name}`,
        async () => (await program.ask('/healthz')).ok && socketCount(program.pid) <= before,
      )
    }
  })

  line(14, 'a peer that does not read pauses the one that sends', async () => {
    if (subject.fixture.flood === undefined) return
    const program = await subject.start()
    expect(await subject.fixture.flood(await program.addresses())).toBeLessThan(32 * 2 ** 20)
  })

  line(14, 'a thousand idle connections, and as many that come and go, leave nothing behind', async () => {
    const program = await subject.start()
    const at = await program.addresses()
    await subject.fixture.work(at)
    const before = socketCount(program.pid)
    const idle = await openAll(at, 1000)
    await subject.fixture.work(at)
    for (const socket of idle) socket.destroy()
    for (let round = 0; round < 10; round++)
      for (const socket of await openAll(at, 100)) socket.resetAndDestroy()
    await until('all connections gone', () => socketCount(program.pid) <= before)
    await subject.fixture.work(at)
  })

  line(14, 'twenty reloads leave no descriptor behind', async () => {
    const [files] = subject.fixture.files ?? []
    if (files === undefined) return
    const { program, place } = await subject.startOnFiles(files)
    const at = await program.addresses()
    let seen = await files.observe(at)
    const before = descriptors(program.pid).length
    for (let round = 1; round <= 20; round++) {
      place(files.good[round % 2 === 0 ? 0 : 1])
      // Looks at once, without waiting for the quiet after the change.
      program.signal('SIGHUP')
      seen = await until('the other files in use', async () => {
        const now = await files.observe(at)
        return now !== seen && now
      })
    }
    await until('as many descriptors as before', () => descriptors(program.pid).length <= before)
  })

  line(15, 'each line of the log is a JSON object with time, level, container and msg', async () => {
    const program = await subject.start({ LOG_LEVEL: 'debug' })
    await subject.fixture.work(await program.addresses())
    program.signal('SIGTERM')
    await program.ended()
    const events = program.events()
    expect(events.length).toBeGreaterThan(2)
    for (const event of events) {
      expect(event).toMatchObject({ container: subject.container.name, msg: expect.any(String) })
      expect(event['level']).toMatch(/^(debug|info|warn|error)$/)
      expect(event['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    }
    expect(program.stderr).toBe('')
  })

  line(15, 'LOG_FORMAT=text is for people, LOG_LEVEL=error is silent while all is well', async () => {
    const text = subject.program({
      ...subject.fixture.env,
      ...onFreePorts(subject.container),
      LOG_FORMAT: 'text',
    })
    await until('a line of text', () => / info +started/.test(text.stdout))
    text.signal('SIGTERM')
    await text.ended()
    const silent = subject.program({
      ...subject.fixture.env,
      ...onFreePorts(subject.container),
      LOG_LEVEL: 'error',
    })
    await until('it serves', () => listeningOn(silent.pid).length > 0)
    silent.signal('SIGTERM')
    await silent.ended()
    expect(silent.stdout).toBe('')
  })
})

/** The gates for which it is not ready. */
async function closedGates(program: Program): Promise<readonly string[]> {
  const response = await program.ask('/readyz')
  expect(response.status).toBe(503)
  const { gates } = (await response.json()) as { gates: Record<string, { open: boolean }> }
  return Object.entries(gates).flatMap(([name, { open }]) => (open ? [] : name))
}

/** Opens connections to every port that is not the admin API's. */
async function openAll(at: Addresses, count: number): Promise<Socket[]> {
  const targets = Object.entries(at).flatMap(([name, address]) =>
    name === 'admin' || 'path' in address ? [] : [address],
  )
  const opened = targets.flatMap(({ host, port }) => Array.from({ length: count }, () => connect(port, host)))
  await Promise.all(
    opened.map(async (socket) => {
      await once(socket, 'connect')
      socket.on('error', () => undefined)
    }),
  )
  return opened
}
