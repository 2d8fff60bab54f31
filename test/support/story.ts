import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** Resolves with what a command prints. */
export const run = async (command: string, ...args: string[]): Promise<string> =>
  (await execute(command, args)).stdout

/** Runs a command in a container of the example, named as in its files; resolves with what it prints. */
export type In = (container: string, ...command: string[]) => Promise<string>

export type Way = 'compose' | 'pod'

/** What is seen of an example that runs. */
export interface Story {
  readonly images: string[]
  readonly check: (within: In, by: Way) => Promise<void>
  /** Takes back what the check has changed in the files of the example. */
  readonly restore?: () => void
}
