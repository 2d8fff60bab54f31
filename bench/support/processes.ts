import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'

/** A program to start, with its own environment on top of `PATH` alone. */
export interface Command {
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** What is measured runs on one core, all that loads it and answers it on another. */
export type Core = 'measured' | 'load'

// Not everyone's PATH has the folders where Debian puts servers.
const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']

/** Where a program is installed. */
export function programPath(name: string): string | undefined {
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Whether the measured processes have a core of their own. */
export const pinned = cpus().length > 1 && programPath('taskset') !== undefined

/** Where the processes run, for the reader: `others` are those that are not measured. */
export const placement = (others: string): string =>
  pinned
    ? `the proxy, one process, on one, ${others} on the other.`
    : 'all processes wherever the system puts them, which makes the figures less steady.'

const pinning: Readonly<Record<Core, readonly string[]>> = {
  load: ['taskset', '--cpu-list', '0'],
  measured: ['taskset', '--cpu-list', '1'],
}

const groups = new Set<number>()
const directories = new Set<string>()

// Groups, since nginx and hitch have workers, which would outlive a master that is killed.
process.on('exit', () => {
  for (const group of groups) kill(group)
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
})
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

function kill(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/** A program and its children as one process group, which ends with the bench at the latest. */
export class Program implements AsyncDisposable {
  readonly pid: number
  /** All of its standard output, once it has ended. */
  readonly output: Promise<string>
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  readonly #ended: Promise<unknown>
  #complaints = ''

  constructor({ program, args, env }: Command, core: Core) {
    const [first = '', ...rest] = [...(pinned ? pinning[core] : []), programPath(program) ?? program, ...args]
    this.#child = spawn(first, rest, {
      detached: true,
      env: { PATH: folders.join(':'), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.pid = this.#child.pid ?? 0
    if (this.pid > 0) groups.add(this.pid)
    this.#child.on('error', ({ message }) => (this.#complaints += message))
    this.#child.stderr.setEncoding('utf8').on('data', (complaint: string) => {
      this.#complaints = (this.#complaints + complaint).slice(-2_000)
    })
    this.output = text(this.#child.stdout)
    this.#ended = once(this.#child, 'close').catch(() => undefined)
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null || this.pid === 0
  }

  /** The end of its error output. */
  get complaints(): string {
    return this.#complaints.trim()
  }

  /**
   * Its standard output, when it ends well within that many seconds.
   * @throws Error with the end of its error output
   */
  async result(seconds: number): Promise<string> {
    const late = setTimeout(() => kill(this.pid), seconds * 1000)
    const output = await this.output
    await this.#ended
    clearTimeout(late)
    if (this.#child.exitCode === 0) return output
    if (this.#child.signalCode !== null) throw new Error(`the load did not end within ${seconds} s`)
    throw new Error(`${this.#child.spawnfile} ended with ${this.#child.exitCode}: ${this.complaints}`)
  }

  /** Lets it end by itself, which a process must do to write its profile. */
  async terminate(): Promise<void> {
    this.#child.kill('SIGTERM')
    const late = setTimeout(() => kill(this.pid), 20_000)
    await this.#ended
    clearTimeout(late)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.pid > 0) kill(this.pid)
    await this.#ended
    groups.delete(this.pid)
  }
}

/** A folder that goes away with the bench. */
export function temporaryDirectory(parent = tmpdir()): string {
  const directory = mkdtempSync(join(parent, 'outrider-bench-'))
  directories.add(directory)
  return directory
}
