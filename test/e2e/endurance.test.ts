import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Container } from '@outrider/core'
import { expect } from 'vitest'
import { forEveryContainer, line } from '../support/contract.ts'
import { type Program, until } from '../support/program.ts'
import { descriptors, socketCount } from '../support/sockets.ts'

const mib = 2 ** 20

forEveryContainer((subject) => {
  line(
    14,
    '10 000 idle connections leave nothing behind, and clients are served meanwhile',
    async () => {
      const program = await subject.start(roomFor20k(subject.container))
      const at = await program.addresses()
      const targets = Object.entries(at).flatMap(([port, address]) =>
        port === 'admin' || 'path' in address ? [] : [address],
      )
      await subject.fixture.work(at)
      const before = socketCount(program.pid)
      for (let wave = 0; wave < 2; wave++) {
        const idle: Socket[] = []
        for (const { host, port } of targets) {
          while (idle.length < 10_000) idle.push(...(await openSome(host, port, 500)))
        }
        await subject.fixture.work(at)
        for (const socket of idle) socket.destroy()
        await until('all of them gone', () => socketCount(program.pid) <= before)
      }
      await subject.fixture.work(at)
    },
    240_000,
  )

  line(
    14,
    '2 000 idle connections whose TLS handshakes are finished leave nothing behind: the same once more adds no memory',
    async () => {
      if (!('https' in subject.container.ports)) return
      const program = await subject.start(roomForIdle(subject.container))
      const at = await program.addresses()
      const { https } = at
      if (https === undefined || 'path' in https) throw new Error('it listens on no port')
      await subject.fixture.work(at)
      const before = socketCount(program.pid)
      const after: number[] = []
      // What the first leaves in the allocator is found a use for by and by.
      for (let wave = 0; wave < 3; wave++) {
        const idle: Socket[] = []
        while (idle.length < 2_000) idle.push(...(await openSome(https.host, https.port, 100, true)))
        await until('all of them let in', async () => (await metric(program, openConnections)) >= 2_000)
        await subject.fixture.work(at)
        expect(await metric(program, openConnections)).toBeGreaterThanOrEqual(2_000)
        for (const socket of idle) socket.destroy()
        await until('no connection', async () => (await metric(program, openConnections)) === 0)
        await until('no descriptor more than before', () => socketCount(program.pid) <= before)
        after.push(await metric(program, /^process_private_memory_bytes/))
      }
      const [, second = 0, third = 0] = after
      // Each takes about 50 KiB while it is open: 20 KiB of each that stayed would be more than this.
      expect(third).toBeLessThan(second + 40 * mib)
      await subject.fixture.work(at)
    },
    60_000,
  )

  line(
    14,
    '1 000 reloads leave no growth: the second half costs no more memory than the first has',
    async () => {
      const [files] = subject.fixture.files ?? []
      if (files === undefined) return
      const { program, place } = await subject.startOnFiles(files)
      // What it holds while it works, not at its first instant.
      await files.observe(await program.addresses())
      const opened = descriptors(program.pid).length
      let done = 0
      const reload = async (rounds: number) => {
        for (const last = done + rounds; done < last; ) {
          done++
          place(files.good[done % 2 === 0 ? 0 : 1])
          program.signal('SIGHUP')
          await until(
            `reload ${done}`,
            async () => (await metric(program, /_config_reloads_total\{.*result="taken"\}/)) > done,
          )
        }
      }
      await reload(500)
      const half = await metric(program, /^process_private_memory_bytes/)
      await reload(500)
      expect(await metric(program, /^process_private_memory_bytes/)).toBeLessThan(half + 24 * mib)
      // The connection of the last question may not be gone yet.
      await until('no descriptor more than before', () => descriptors(program.pid).length <= opened)
    },
    240_000,
  )
})

const openConnections = /^\w+_open_connections /

/** Where connections are limited, to as many as are opened here. */
const roomFor20k = (container: Container): Record<string, string> =>
  settings(container, { maxConnections: '20000', maxClients: '20000' })

/** And where one on which nothing is asked would be closed after some seconds, not before the end. */
const roomForIdle = (container: Container): Record<string, string> =>
  settings(container, { maxConnections: '20000', headTimeout: '10m' })

/** The environment for those of the parameters that the container has. */
const settings = ({ params }: Container, values: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    params.flatMap(({ name, variable }) => {
      const value = values[name]
      return value === undefined ? [] : [[variable, value]]
    }),
  )

/** Connects so often at a time; `secure`, with the TLS handshakes finished. */
async function openSome(host: string, port: number, count: number, secure = false): Promise<Socket[]> {
  const open = () => (secure ? connectTls({ port, host, rejectUnauthorized: false }) : connect(port, host))
  const sockets = Array.from({ length: count }, open)
  await Promise.all(
    sockets.map(async (socket) => {
      await once(socket, secure ? 'secureConnect' : 'connect')
      socket.on('error', () => undefined)
    }),
  )
  return sockets
}

/** The value of the one series whose name and labels match. */
async function metric(program: Program, series: RegExp): Promise<number> {
  const text = await (await program.ask('/metrics')).text()
  const row = text.split('\n').find((each) => series.test(each))
  return Number(row?.split(' ').at(-1))
}
