import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'

/** Takes one line of progress, for the person who waits. */
export type Say = (line: string) => void

/** A program that runs: its output as it comes, and its end. */
export interface Running {
  stdout: Readable
  /**
   * Resolves at exit code 0.
   * @throws Error with the command, its exit code and the end of its error output; or that it is not installed.
   */
  done: Promise<void>
  stop(): void
}

/** Starts a program. `input` is its standard input, empty by default. */
export function start(command: string, args: string[], input: Readable | string = ''): Running {
  const child = spawn(command, args)
  // A program may end without reading all of its input: its exit code then tells what happened, not the broken pipe.
  child.stdin.on('error', () => {})
  if (typeof input === 'string') child.stdin.end(input)
  else input.pipe(child.stdin)
  const stderr = text(child.stderr)
  const done = once(child, 'close').then(
    async ([code, signal]) => {
      if (code === 0) return
      throw new Error(
        `${command} ${args.join(' ')}: ended with ${signal ?? code}\n${lastLines(await stderr)}`,
      )
    },
    (error: Error) => {
      throw new Error(`cannot run ${command}: ${error.message}; install it, or put it on the PATH`)
    },
  )
  return { stdout: child.stdout, done, stop: () => child.kill() }
}

/**
 * Runs a program to its end and gives its standard output, without surrounding white space.
 * @throws Error as {@link Running.done}
 */
export async function run(command: string, args: string[], input?: Readable | string): Promise<string> {
  const running = start(command, args, input)
  const [output] = await Promise.all([text(running.stdout), running.done])
  return output.trim()
}

/** Whether a program runs to exit code 0. */
export async function succeeds(command: string, args: string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  )
}

/** Says what begins, and how long it took if that was over a second. */
export async function step<T>(say: Say, what: string, work: () => Promise<T>): Promise<T> {
  const begin = performance.now()
  say(`${what} ...`)
  const result = await work()
  const seconds = (performance.now() - begin) / 1000
  if (seconds > 1) say(`${what}: ${seconds.toFixed(1)} s`)
  return result
}

function lastLines(output: string): string {
  return output.trimEnd().split('\n').slice(-20).join('\n')
}
