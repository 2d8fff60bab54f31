import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
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
    '1 000 reloads leave no growth: the second half costs no more memory than the first has',
    async () => {
      const [files] = subject.fixture.files ?? []
      if (files === undefined) return
      const { program, place } = await subject.startOnFiles(files)
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

/** Where connections are limited, to as many as are opened here. */
const roomFor20k = ({ params }: Container): Record<string, string> =>
  Object.fromEntries(
    params.filter(({ name }) => name === 'maxConnections').map(({ variable }) => [variable, '20000']),
  )

async function openSome(host: string, port: number, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, host))
  await Promise.all(
    sockets.map(async (socket) => {
      await once(socket, 'connect')
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
