import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { findProgram, isForeign } from './program-file.ts'

export interface ProgramOptions {
  /** A path, or a name that is looked for in the PATH of `env`. Never a shell's command line: it has no arguments. */
  readonly program: string
  /** The tree that was checked out, in which it runs. */
  readonly directory: string
  readonly hash: string
  /** All of its environment, apart from GITSYNC_HASH. */
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** `refused`: it was not started, as what is there is no program. */
export type ProgramFailure = 'refused' | 'exit' | 'signal' | 'timeout' | 'aborted'

export class ProgramError extends Error {
  readonly failure: ProgramFailure
  /** The last of what it wrote. */
  readonly output: string

  constructor(failure: ProgramFailure, message: string, output: string) {
    super(message)
    this.name = 'ProgramError'
    this.failure = failure
    this.output = output
  }
}

/** Bytes of output that are kept, the last ones. */
const OUTPUT_BYTES = 4_096
/** Between SIGTERM and SIGKILL. */
const GRACE_MS = 2_000
/** How long output is awaited of a program that has ended, as children of it may hold its pipes for ever. */
const REST_MS = 200

/**
 * Runs a program until it ends, and gives the last of what it wrote to its standard output and error. At the deadline, or
 * when aborted, it is ended with all of its process group.
 *
 * @throws ProgramError
 */
export async function runProgram(options: ProgramOptions): Promise<string> {
  const { program, directory, hash, timeoutMs, signal } = options
  if (signal.aborted)
    throw new ProgramError('aborted', `${program} was not started: all is being stopped`, '')
  const env: Record<string, string> = { ...options.env, GITSYNC_HASH: hash }
  const refuse = (error: unknown) => new ProgramError('refused', messageOf(error), '')
  const file = await findProgram(program, directory, env['PATH']).catch((error: unknown) => {
    throw refuse(error)
  })
  const foreign = (await isForeign(file))
    ? ': it is built for another processor than that of this machine'
    : ''
  const child = await started(file, directory, env).catch((error: unknown) => {
    throw refuse(new Error(`${file} cannot be started${foreign || startText(error)}`))
  })
  const output = new Tail(child)
  const stop = new Stop(child, timeoutMs, signal)
  const [code, by] = await once(child, 'exit')
  await output.rest()
  const said = output.text()
  if (stop.cause !== undefined) throw new ProgramError(stop.cause, stopText(stop.cause, options), said)
  if (code === 0) return said
  if (by === null) throw new ProgramError('exit', `${program} ended with exit code ${code}${foreign}`, said)
  throw new ProgramError('signal', `${program} was ended by ${by}${by === 'SIGKILL' ? KILLED : ''}`, said)
}

const KILLED = ', which the system sends to who uses more memory than the container may have'

const stopText = (cause: 'timeout' | 'aborted', { program, timeoutMs }: ProgramOptions): string =>
  cause === 'aborted'
    ? `${program} was ended before it was done: all is being stopped`
    : `${program} did not end within ${timeoutMs / 1_000}s and was ended, with all that it had started: raise the timeout of the hook, or make it faster`

/** That a file is missing which is there is said of its loader. */
const startText = (error: unknown): string =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'
    ? ', as what should load it is not here: link it statically, or use an image that has its C library'
    : `: ${messageOf(error)}`

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

async function started(file: string, cwd: string, env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const child = spawn(file, [], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  await once(child, 'spawn')
  return child
}

/** Ends the group of a process at a deadline or by a signal. */
class Stop {
  cause: 'timeout' | 'aborted' | undefined
  readonly #child: ChildProcess
  readonly #signal: AbortSignal
  readonly #deadline: NodeJS.Timeout
  #grace: NodeJS.Timeout | undefined
  readonly #onAbort = (): void => this.#stop('aborted')

  constructor(child: ChildProcess, timeoutMs: number, signal: AbortSignal) {
    this.#child = child
    this.#signal = signal
    this.#deadline = setTimeout(() => this.#stop('timeout'), timeoutMs)
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#stop('aborted')
    // At once, as the number of the group may be given to others when nobody is left in it.
    child.once('exit', () => {
      if (this.cause !== undefined) this.#kill('SIGKILL')
      clearTimeout(this.#deadline)
      clearTimeout(this.#grace)
      this.#signal.removeEventListener('abort', this.#onAbort)
    })
  }

  #stop(cause: 'timeout' | 'aborted'): void {
    if (this.cause !== undefined) return
    this.cause = cause
    this.#kill('SIGTERM')
    this.#grace = setTimeout(() => this.#kill('SIGKILL'), GRACE_MS)
  }

  #kill(signal: NodeJS.Signals): void {
    const { pid } = this.#child
    if (pid === undefined) return
    try {
      process.kill(-pid, signal)
    } catch {
      // Nobody is left in it.
    }
  }
}

/** The last bytes of what a process writes; all of it is read, so that it never waits. */
class Tail {
  #bytes = Buffer.alloc(0)
  #cut = false
  readonly #child: ChildProcess
  readonly #closed: Promise<void>

  constructor(child: ChildProcess) {
    this.#child = child
    this.#closed = new Promise((resolve) => child.once('close', () => resolve()))
    for (const pipe of [child.stdout, child.stderr]) {
      pipe?.on('data', (bytes: Buffer) => this.#add(bytes))
      pipe?.on('error', () => undefined)
    }
  }

  /** Waits for what a process that has ended has still written, and reads no more. */
  async rest(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, REST_MS)
    })
    await Promise.race([this.#closed, enough])
    clearTimeout(timer)
    this.#child.stdout?.destroy()
    this.#child.stderr?.destroy()
  }

  text(): string {
    const text = this.#bytes.toString().trim()
    return this.#cut ? `… ${text.replace(/^\uFFFD+/, '')}` : text
  }

  #add(bytes: Buffer): void {
    this.#cut ||= this.#bytes.length + bytes.length > OUTPUT_BYTES
    this.#bytes = Buffer.concat([this.#bytes, bytes.subarray(-OUTPUT_BYTES)]).subarray(-OUTPUT_BYTES)
  }
}
