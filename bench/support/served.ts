import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../../test/support/program.ts'
import { paths } from '../peers/application.ts'
import type { Setting, Subject } from '../peers/subject.ts'
import { freePort, statusOf } from './probes.ts'
import { Program } from './processes.ts'
import { descriptorsOf, usageOf } from './usage.ts'

/** Longer than unused connections to the application are kept, which the sidecar does for 4 s. */
const settleMs = 15_000

/** A proxy that runs and has answered once, to be looked at from outside. */
export class Served implements AsyncDisposable {
  readonly port: number
  readonly #program: Program
  readonly #admin: number
  readonly #name: string

  private constructor(subject: Subject, program: Program, port: number, admin: number) {
    this.#name = subject.name
    this.#program = program
    this.port = port
    this.#admin = admin
  }

  /** @throws Error that says what it complained of */
  static async start(subject: Subject, setting: Omit<Setting, 'port'>): Promise<Served> {
    const [port, admin] = [await freePort(), await freePort()]
    const { env, ...command } = await subject.prepare({ ...setting, port })
    const program = new Program({ ...command, env: { ...env, ...patient(admin, setting) } }, 'measured')
    const served = new Served(subject, program, port, admin)
    await until(`${subject.name} to serve`, async () => {
      served.assertAlive()
      return (await statusOf(port, paths.small, true)) === 200
    })
    return served
  }

  get group(): number {
    return this.#program.pid
  }

  get privateBytes(): number {
    this.assertAlive()
    return usageOf(this.group).privateBytes
  }

  get descriptors(): number {
    return descriptorsOf(this.group)
  }

  /** Its descriptors as soon as they are no more than `expected`, or else after longer than pools keep theirs. */
  async settledDescriptors(expected = 0): Promise<number> {
    const begun = performance.now()
    while (this.descriptors > expected && performance.now() - begun < settleMs) await delay(200)
    return this.descriptors
  }

  /** Of the sidecar, by its metrics. */
  async openConnections(): Promise<number> {
    // A connection of its own, since a descriptor that is kept would be counted.
    const outgoing = request({ host: '127.0.0.1', port: this.#admin, path: '/metrics', agent: false }).end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    return Number(/^outrider_sidecar_https_open_connections (\d+)/m.exec(await text(response))?.[1])
  }

  reload(): void {
    process.kill(this.group, 'SIGHUP')
  }

  assertAlive(): void {
    if (this.#program.hasEnded)
      throw new Error(`${this.#name} has ended: ${this.#program.complaints.slice(-300)}`)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]()
  }
}

// What the peer of the sidecar does not need for the other benches; nginx ignores it.
const patient = (admin: number, { connections = 0 }: Omit<Setting, 'port'>): Record<string, string> => ({
  SIDECAR_HTTPS_ADMIN: `127.0.0.1:${admin}`,
  SIDECAR_HTTPS_MAX_CONNECTIONS: String(Math.max(20_000, 2 * connections)),
  SIDECAR_HTTPS_HEAD_TIMEOUT: '1h',
})
