import { execFile } from 'node:child_process'

/** What a program gets to know of the machine: where programs are, and no configuration of git. */
export const BARE_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/nonexistent',
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
}

export interface RunOptions {
  readonly cwd?: string
  /** Added to the bare environment. */
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
}

/** Runs a program to its end; gives stdout, or an error with all that it said. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      {
        ...(options.cwd !== undefined && { cwd: options.cwd }),
        env: { ...BARE_ENVIRONMENT, ...options.env },
        maxBuffer: 256 * 1024 * 1024,
        timeout: 60_000,
      },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout)
        else reject(new Error(`${error.message}\n${stdout}`, { cause: { error, stderr } }))
      },
    )
    // A program that has ended already reads no more of it.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input ?? '')
  })
}

/** Real git without any configuration of the machine's. */
export const runGit = (args: readonly string[], options?: RunOptions): Promise<string> =>
  run('git', args, options)

/** Settings for git as its environment carries them. */
export function gitSettings(settings: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(settings)
  return {
    GIT_CONFIG_COUNT: String(entries.length),
    ...Object.fromEntries(
      entries.flatMap(([key, value], index) => [
        [`GIT_CONFIG_KEY_${index}`, key],
        [`GIT_CONFIG_VALUE_${index}`, value],
      ]),
    ),
  }
}
