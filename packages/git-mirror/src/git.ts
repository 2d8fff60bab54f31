import { type ChildProcess, spawn } from 'node:child_process'
import type { Access } from './access.ts'
import { type AccessEnvironment, accessEnvironment, type Setting } from './access-environment.ts'
import { GitError, gitError } from './git-error.ts'

export interface GitOptions {
  /** Name or path of the program. */
  readonly program?: string
  /** What git inherits: PATH, HOME, proxies, SSH_AUTH_SOCK and the like. Of GIT_* only what concerns TLS, HTTP and SSH. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Git configuration beside and above ours. */
  readonly settings?: readonly Setting[]
  /** Told of each process when it has ended. */
  readonly onProcess?: (report: ProcessReport) => void
}

export interface ProcessReport {
  /** What git was asked: `fetch`, `ls-remote`. */
  readonly command: string
  readonly ms: number
  readonly error?: GitError
}

export interface RunOptions {
  /** Kills the process and all that it has started. */
  readonly signal: AbortSignal
  /** The directory that it works for, by which it is known if it outlives this program. */
  readonly directory: string
  /** Where it runs, `directory` by default. */
  readonly cwd?: string
  readonly access?: Access
  readonly settings?: readonly Setting[]
  readonly variables?: Readonly<Record<string, string>>
}

/** Runs git programs, one at a time or several. */
export interface Git {
  /**
   * Resolves with what it wrote to standard output, at most 64 MiB.
   * @throws GitError when it cannot be started, is aborted, or ends with another code than 0
   */
  run(args: readonly string[], options: RunOptions): Promise<string>
}

/** The variable by which a git process that outlived its program is known again; its value is the directory. */
export const directoryMark = 'OUTRIDER_GIT_DIRECTORY'

const mostOutput = 64 * 2 ** 20
const mostSaid = 64 * 2 ** 10

/** What every process gets; what the user sets comes after it. */
const ownSettings: readonly Setting[] = [
  // Its own housekeeping would run at moments that nobody chose.
  ['gc.auto', '0'],
  ['gc.autoDetach', 'false'],
  ['maintenance.auto', 'false'],
  ['gc.pruneExpire', 'now'],
  // Trees are removed by us, also where the directory has come to another path.
  ['gc.worktreePruneExpire', 'never'],
  ['core.logAllRefUpdates', 'false'],
  ['advice.detachedHead', 'false'],
  ['fetch.writeCommitGraph', 'false'],
  ['submodule.recurse', 'false'],
  // A volume mounted into a pod often belongs to root.
  ['safe.directory', '*'],
  // Without these git maps the whole pack of a large repository when it makes a tree of it.
  ['core.packedGitWindowSize', '16m'],
  ['core.packedGitLimit', '64m'],
  // One repack of a large repository took 8.2 GiB with git's defaults.
  ['pack.threads', '2'],
  ['pack.windowMemory', '256m'],
  ['pack.deltaCacheSize', '256m'],
]

/** No user setting lifts these: a repository must not be able to run a program here, or read this machine's files. */
const fixedSettings: readonly Setting[] = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['protocol.allow', 'never'],
  ['protocol.http.allow', 'always'],
  ['protocol.https.allow', 'always'],
  ['protocol.ssh.allow', 'always'],
  ['protocol.git.allow', 'always'],
  // By the user's own address, never by a submodule's.
  ['protocol.file.allow', 'user'],
  ['protocol.ext.allow', 'never'],
]

const fixedVariables: Readonly<Record<string, string>> = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  // A hash is what it says: nobody who can write the directory puts another object in its place.
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_TERMINAL_PROMPT: '0',
  // Empty: no program is asked for a password.
  GIT_ASKPASS: '',
  SSH_ASKPASS: '',
  SSH_ASKPASS_REQUIRE: 'never',
  LC_ALL: 'C',
  LANGUAGE: '',
}

export function createGit({
  program = 'git',
  environment = {},
  settings = [],
  onProcess,
}: GitOptions = {}): Git {
  const inherited = Object.fromEntries(
    Object.entries(environment).filter(
      ([name]) => !name.startsWith('GIT_') || /^GIT_(SSL|HTTP|PROXY|SSH)_?/.test(name),
    ),
  )
  return {
    async run(args, options) {
      const command = args.find((arg) => !arg.startsWith('-')) ?? ''
      const access = accessEnvironment(options.access ?? {})
      const all = [
        ...ownSettings,
        ...settings,
        ...access.settings,
        ...(options.settings ?? []),
        ...fixedSettings,
      ]
      const env = {
        ...inherited,
        ...fixedVariables,
        ...access.variables,
        [directoryMark]: options.directory,
        ...configVariables(all),
        ...options.variables,
      }
      const begun = performance.now()
      const report = (error?: GitError) =>
        onProcess?.({ command, ms: performance.now() - begun, ...(error !== undefined && { error }) })
      try {
        const output = await execute(program, args, command, options, env, access)
        report()
        return output
      } catch (error) {
        if (error instanceof GitError) report(error)
        throw error
      }
    },
  }
}

/** Configuration as git-config(1) takes it from the environment. */
function configVariables(settings: readonly Setting[]): Record<string, string> {
  const variables: Record<string, string> = { GIT_CONFIG_COUNT: String(settings.length) }
  for (const [index, [key, value]] of settings.entries()) {
    variables[`GIT_CONFIG_KEY_${index}`] = key
    variables[`GIT_CONFIG_VALUE_${index}`] = value
  }
  return variables
}

async function execute(
  program: string,
  args: readonly string[],
  command: string,
  { signal, directory, cwd = directory }: RunOptions,
  env: Readonly<Record<string, string | undefined>>,
  { secrets }: AccessEnvironment,
): Promise<string> {
  if (signal.aborted) throw abortedError(command, signal)
  // A group of its own, so that ssh and index-pack end with it.
  const child: ChildProcess = spawn(program, args, {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // Listens before anything else: one that cannot be started for lack of file descriptors has no pipes either.
  const ended = ending(child, program, command, cwd)
  const abort = () => killGroup(child)
  signal.addEventListener('abort', abort, { once: true })
  const output: Buffer[] = []
  let size = 0
  let said = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > mostOutput) killGroup(child)
    else output.push(chunk)
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString('latin1')).slice(-mostSaid)
  })
  try {
    const { code, killedBy } = await ended
    if (signal.aborted) throw abortedError(command, signal)
    if (size > mostOutput) throw new GitError(command, 'output', `git ${command} wrote more than 64 MiB`)
    if (code === 0) return Buffer.concat(output).toString('utf8')
    const how =
      code === null ? `was ended by ${killedBy}${memoryHint(killedBy)}` : `failed with exit code ${code}`
    const text = withoutSecrets(Buffer.from(said, 'latin1').toString('utf8'), secrets)
    throw gitError(command, { exitCode: code ?? undefined, how }, text)
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

interface Ending {
  readonly code: number | null
  readonly killedBy: NodeJS.Signals | null
}

function ending(child: ChildProcess, program: string, command: string, cwd: string): Promise<Ending> {
  return new Promise((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT'
      const why = missing ? `${program} is not there, or ${cwd} is not; install git` : error.message
      reject(
        new GitError(
          command,
          missing ? 'missing-program' : 'other',
          `git ${command} cannot be started: ${why}`,
        ),
      )
    })
    // Not 'close': a grandchild that holds the pipes must not keep this waiting.
    child.on('exit', (code, killedBy) => {
      const settle = () => resolve({ code, killedBy })
      const grace = setTimeout(() => {
        killGroup(child)
        child.stdout?.destroy()
        child.stderr?.destroy()
      }, 2_000)
      child.once('close', () => {
        clearTimeout(grace)
        settle()
      })
    })
  })
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}

function abortedError(command: string, signal: AbortSignal): GitError {
  const reason: unknown = signal.reason
  const why = reason instanceof Error ? reason.message : 'it was told to stop'
  return new GitError(command, 'aborted', `git ${command} was ended: ${why}`)
}

/** Git repeats addresses in its errors, and servers repeat what they like. */
function withoutSecrets(said: string, secrets: readonly string[]): string {
  const masked = said.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@:]+(:[^\s/@]*)?@/gi, '$1***@')
  // One may be the beginning of another.
  return secrets
    .filter((secret) => secret.length >= 3)
    .toSorted((a, b) => b.length - a.length)
    .reduce((text, secret) => text.replaceAll(secret, '***'), masked)
}

const memoryHint = (killedBy: NodeJS.Signals | null): string =>
  killedBy === 'SIGKILL' ? ', which the system sends to who uses more memory than the container may have' : ''
