import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../../test/support/program.ts'
import { type Command, Program } from '../support/processes.ts'
import type { Remote } from './origins.ts'
import type { Place } from './place.ts'
import { branch } from './repository.ts'

/** Commands of git as somebody writes them into a shell script. */
export interface Script {
  readonly name: string
  /** Once, in an empty directory; `$REPO` is the address. It may change to another. */
  readonly prepare: string
  /** Each time. */
  readonly poll: string
  /** What runs it; `sh` unless given. */
  readonly shell?: string
}

/** What is in many a sidecar and cron job. */
export const plainLoop: Script = {
  name: 'git loop',
  prepare: `git clone --quiet --depth 1 --branch ${branch} "$REPO" tree && cd tree`,
  poll: `git fetch --quiet --depth 1 origin ${branch} && git reset --quiet --hard FETCH_HEAD`,
}

const peerFetch = `git fetch "$REPO" ${branch} --verbose --no-progress --prune --no-auto-gc --depth 1`

/** What kubernetes/git-sync v4 asks of git while nothing changes, in its order, without the program around it. */
export const peerSequence: Script = {
  name: "v4's sequence, replayed",
  prepare: [
    'git config --global gc.autoDetach false',
    'git config --global gc.pruneExpire now',
    "git config --global credential.helper 'cache --timeout 3600'",
    'git config --global core.askPass true',
    "git config --global safe.directory '*'",
    'git init --quiet -b git-sync',
    'git remote add origin "$REPO"',
    peerFetch,
    "hash=$(git rev-parse 'FETCH_HEAD^{}')",
    'git reset --quiet --soft "$hash" --',
    'tree="$PWD/.worktrees/$hash"',
    'git worktree add --force --detach "$tree" "$hash" --no-checkout',
    'git -C "$tree" reset --quiet --hard "$hash" --',
  ].join(' && '),
  poll: [
    'git rev-parse --show-toplevel',
    'git fsck --no-progress --connectivity-only',
    'git remote get-url origin',
    peerFetch,
    "git rev-parse 'FETCH_HEAD^{}'",
    'git -C "$tree" rev-parse HEAD',
    'git -C "$tree" fsck --no-progress --connectivity-only',
  ].join(' && '),
}

/** The command that runs a script again and again, a second after the last time has ended. */
export const everySecond = ({ prepare, poll }: Script, remote: Remote, place: Place): Command =>
  shell(`${prepare}\nwhile sleep 1; do ${poll}; done`, remote, place)

/** A script that polls when it is told to, without a process that waits. */
export class PacedScript implements AsyncDisposable {
  readonly #program: Program
  readonly #pace: number
  readonly #polls: string

  /** @param around takes the command, as `strace` does */
  constructor(script: Script, remote: Remote, place: Place, around = (command: Command) => command) {
    const pace = join(place.home, 'pace')
    this.#polls = join(place.home, 'polls')
    execFileSync('mkfifo', [pace])
    writeFileSync(this.#polls, '')
    // For both, so that opening it waits for nobody.
    this.#pace = openSync(pace, constants.O_RDWR)
    const poll = `{ ${script.poll}; } && echo "\${says:-}" >> '${this.#polls}' || exit 1`
    const loop = `${script.prepare}\nwhile read -r _; do ${poll}; done < '${pace}'`
    this.#program = new Program(around(shell(loop, remote, place, script.shell)), 'measured')
  }

  get pid(): number {
    return this.#program.pid
  }

  /** Polls so many times, one right after another. @returns what `$says` was each time */
  async poll(times: number): Promise<readonly string[]> {
    const before = this.#said().length
    writeSync(this.#pace, '\n'.repeat(times))
    for (let done = before; done < before + times; done = this.#said().length)
      await until('polls of the script', () => {
        if (this.#program.hasEnded) throw new Error(`the script has ended: ${this.#program.complaints}`)
        return this.#said().length > done
      })
    return this.#said().slice(before)
  }

  #said(): readonly string[] {
    return readFileSync(this.#polls, 'utf8').split('\n').slice(0, -1)
  }

  /** By a signal, so that what runs around it ends in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.terminate()
    await this.#program[Symbol.asyncDispose]()
    closeSync(this.#pace)
  }
}

/** A command for a whole script. */
export const shell = (
  script: string,
  { url, gitEnv }: Remote,
  { home, root }: Place,
  program = 'sh',
): Command => ({
  program,
  args: ['-c', `cd '${root}' && ${script}`],
  env: { HOME: home, REPO: url, ...gitEnv },
})
