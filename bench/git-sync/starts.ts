import { readFileSync } from 'node:fs'
import type { Command } from '../support/processes.ts'

/** Programs that were started. */
export interface Starts {
  /** Of them the commands of git, as somebody gives them. */
  readonly commands: number
  /** With what git starts for a command of its own. */
  readonly programs: number
}

/** The command under strace, which writes each start of a program into the file. */
export const traced =
  (file: string) =>
  ({ program, args, env }: Command): Command => ({
    program: 'strace',
    args: [
      ...[
        '--follow-forks',
        '--seccomp-bpf',
        '--absolute-timestamps=format:unix,precision:us',
        '-qq',
        '-z',
        '--interruptible=waiting',
      ],
      ...['--trace=execve', '--signal=none', `--output=${file}`, '--', program, ...args],
    ],
    ...(env !== undefined && { env }),
  })

/** The starts between two moments, ms since 1970. */
export function startsIn(file: string, from: number, to: number): Starts {
  const started = readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, seconds, program = ''] = /^\d+ +([\d.]+) execve\("([^"]+)"/.exec(line) ?? []
      const at = Number(seconds) * 1000
      return at >= from && at < to ? [program] : []
    })
  // What git starts itself is in a directory of its own.
  return { commands: started.filter(isCommand).length, programs: started.length }
}

const isCommand = (program: string): boolean => program.endsWith('/git') && !program.includes('/git-core/')
