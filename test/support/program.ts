import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Address, address } from '@outrider/core'
import type { Addresses } from '@outrider/core/testing'

export type LogEvent = Readonly<Record<string, unknown>>

/** A process whose output is the log of a container. */
export class Logging implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  readonly #exit: Promise<number | NodeJS.Signals>
  #hasEnded = false
  stdout = ''
  stderr = ''

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.#child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.#exit = once(this.#child, 'close').then(([code, signal]: unknown[]) => {
      this.#hasEnded = true
      return typeof code === 'number' ? code : (signal as NodeJS.Signals)
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Whether nothing more will be in its log. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** The log so far; throws where a line is not one JSON object. */
  events(): LogEvent[] {
    return this.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogEvent)
  }

  /** Waits until the log has an event with this message. */
  async logged(msg: string): Promise<LogEvent> {
    return until(`the log event "${msg}"`, () => {
      if (this.#child.exitCode !== null) throw new Error(`ended: ${this.stderr}${this.stdout}`)
      const complete = this.stdout.slice(0, this.stdout.lastIndexOf('\n') + 1)
      return complete
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as LogEvent)
        .find((event) => event['msg'] === msg)
    })
  }

  /** Where it listens, from its start-up log line; `admin` is among them. */
  async addresses(): Promise<Addresses & { readonly admin: Address }> {
    const { addresses } = await this.logged('started')
    const parsed = Object.entries(addresses as Record<string, string>).map(([name, text]) => [
      name,
      address.kind.parse(text),
    ])
    return Object.fromEntries(parsed) as Addresses & { readonly admin: Address }
  }

  /** Asks its admin API, on a connection that is closed after, so that a test can count what else is open. */
  async ask(
    path: string,
    init: { method?: string; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    const { admin } = await this.addresses()
    if ('path' in admin) throw new Error('admin listens on a Unix socket')
    const outgoing = request({ host: admin.host, port: admin.port, path, agent: false, ...init }).end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const headers = Object.entries(response.headers).map(([name, value]): [string, string] => [
      name,
      String(value),
    ])
    return new Response(await buffer(response), { status: response.statusCode ?? 0, headers })
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Resolves with the exit code, or the signal that ended it. */
  ended(): Promise<number | NodeJS.Signals> {
    return this.#exit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exit
  }
}

/** A container's program as a process of its own, as its image runs it. */
export class Program extends Logging {
  constructor(main: string, env: Readonly<Record<string, string>>, args: readonly string[] = []) {
    const { PATH = '' } = process.env
    super(process.execPath, [main, ...args], { PATH, ...env })
  }
}

/** Waits until `look` gives something else than undefined or false; what it throws ends the wait. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = Date.now() + 15_000
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
