import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** A container that runs as a process of its own. */
export interface Child {
  /** Name of a port, `admin` among them, to where it listens, as text. */
  readonly addresses: Readonly<Record<string, string>>
  /** The errors that it has logged, and what it has said on stderr. */
  words(): string
  /** Resolves with the exit code when it ends, asked for or not. */
  readonly ended: Promise<number>
  drain(): void
  kill(): void
}

/** Whatever the environment says: the log is what this program reads. */
const readable = ['--log-level', 'info', '--log-format', 'json']
/** The last words of a container that are kept. */
const mostWords = 20

/**
 * Starts a container, whose log says where it listens; rejects with its last words when it ends before that.
 * @param env all of its environment
 */
export async function startChild(
  program: readonly string[],
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<Child> {
  const [file = '', ...before] = program
  // In a process group of its own, so that Ctrl-C reaches this program alone, which then drains the child once. The IPC
  // channel tells the child when this program has gone, however it went.
  const child = spawn(file, [...before, ...args, ...readable], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
    env,
  })
  const ended = new Promise<number>((resolve, reject) => {
    child.once('close', (code) => resolve(code ?? 1))
    child.once('error', reject)
  })
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('no pipes to the container')
  const words: string[] = []
  const say = (line: string) => {
    words.push(line)
    if (words.length > mostWords) words.shift()
  }
  createInterface(stderr).on('line', say)
  const started = new Promise<Record<string, string>>((resolve) => {
    createInterface(stdout).on('line', (line) => {
      const event = parseEvent(line)
      if (event.msg === 'started') resolve(event.addresses ?? {})
      if (event.level === 'error') say(`${event.msg}: ${event.error ?? ''}`)
    })
  })
  const failed = ended.then((code) => {
    throw new Error(words.join('\n') || `ended with code ${code} before it had started`)
  })
  const addresses = await Promise.race([started, failed])
  failed.catch(() => undefined)
  return {
    addresses,
    ended,
    words: () => words.join('\n'),
    drain: () => void child.kill('SIGTERM'),
    kill: () => void child.kill('SIGKILL'),
  }
}

interface LogEvent {
  readonly level?: string
  readonly msg?: string
  readonly error?: string
  readonly addresses?: Record<string, string>
}

function parseEvent(line: string): LogEvent {
  try {
    return JSON.parse(line) as LogEvent
  } catch {
    return {}
  }
}
