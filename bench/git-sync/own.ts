import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { until } from '../../test/support/program.ts'
import { containerCommand } from '../support/bundled.ts'
import { freePort } from '../support/probes.ts'
import { type Command, Program } from '../support/processes.ts'
import type { Remote } from './origins.ts'
import type { Place } from './place.ts'
import { branch } from './repository.ts'

export const ownName = 'git-sync'
/** What is published in a root. */
export const linkName = 'current'

const secret = 'of-the-bench-alone'

/** The container that keeps the remote's branch in the root of a place; more settings without their prefix. */
export const ownCommand = (
  { url, ownEnv }: Remote,
  { home, root }: Place,
  settings: Readonly<Record<string, string>>,
): Promise<Command> =>
  containerCommand(ownName, [], {
    HOME: home,
    GITSYNC_REPO: url,
    GITSYNC_REF: branch,
    GITSYNC_ROOT: root,
    GITSYNC_LINK: linkName,
    GITSYNC_LOG_LEVEL: 'warn',
    ...ownEnv,
    ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [`GITSYNC_${name}`, value])),
  })

/** The same with a copy of Node, whose pages nobody else shares: not the bench, nor the servers. */
export function unshared({ program, ...rest }: Command, { home }: Place): Command {
  const copy = join(home, 'node')
  copyFileSync(program, copy)
  return { ...rest, program: copy }
}

/** The container at work, after its first sync. */
export class OwnProgram implements AsyncDisposable {
  readonly #program: Program
  readonly #admin: number
  readonly #trigger: number

  private constructor(program: Program, admin: number, trigger: number) {
    this.#program = program
    this.#admin = admin
    this.#trigger = trigger
  }

  /** @param around takes the command, as `strace` does */
  static async start(
    remote: Remote,
    place: Place,
    period: string,
    around: (command: Command) => Command = (command) => command,
  ): Promise<OwnProgram> {
    const [admin, trigger] = [await freePort(), await freePort()]
    const command = await ownCommand(remote, place, {
      PERIOD: period,
      ADMIN: `127.0.0.1:${admin}`,
      TRIGGER_BIND: `127.0.0.1:${trigger}`,
      TRIGGER_SECRET: secret,
    })
    const own = new OwnProgram(new Program(around(command), 'measured'), admin, trigger)
    await until('the first sync', async () => {
      const { hasEnded, output, complaints } = own.#program
      if (hasEnded) throw new Error(`${ownName} has ended: ${complaints}${await output}`)
      return (await own.syncs('published').catch(() => 0)) === 1
    })
    return own
  }

  get pid(): number {
    return this.#program.pid
  }

  /** How many syncs there have been of that result. */
  async syncs(outcome: 'published' | 'unchanged'): Promise<number> {
    const metrics = await this.#ask('GET', this.#admin, '/metrics')
    const line = new RegExp(`^outrider_git_sync_syncs_total{.*outcome="${outcome}".*} (\\d+)`, 'm')
    return Number(line.exec(metrics)?.[1] ?? 0)
  }

  /** Asks for a sync as a forge does. */
  async trigger(): Promise<void> {
    await this.#ask('POST', this.#trigger, '/sync')
  }

  async #ask(method: string, port: number, path: string): Promise<string> {
    const headers = { authorization: `Bearer ${secret}` }
    const outgoing = request({ host: '127.0.0.1', port, method, path, headers, agent: false }).end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const body = await text(response)
    if ((response.statusCode ?? 500) >= 300) throw new Error(`${method} ${path}: ${body}`)
    return body
  }

  /** By a signal it can see, since its processes of git are groups of their own. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.terminate()
    await this.#program[Symbol.asyncDispose]()
  }
}
