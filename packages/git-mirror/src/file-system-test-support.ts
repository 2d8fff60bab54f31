import {
  type ChildProcess,
  execFileSync,
  type SpawnOptions,
  type StdioOptions,
  spawn,
} from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A temporary directory, and what is mounted in it and runs in it; all of it ends with it. */
export class Scratch implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), 'outrider-'))
  readonly #mounts: string[] = []
  readonly #protected: string[] = []
  readonly #children: ChildProcess[] = []

  at(...names: string[]): string {
    return join(this.path, ...names)
  }

  /** Mounts a small volume over a directory; needs root. */
  mount(path: string, options = 'size=1m'): void {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path])
    this.#mounts.push(path)
  }

  remount(path: string, options: string): void {
    execFileSync('mount', ['-o', `remount,${options}`, path])
  }

  /** Mounts a volume that knows no symbolic links, sockets, modes, nor upper from lower case. */
  async mountFlat(path: string): Promise<void> {
    const device = openSync('/dev/fuse', 'r+')
    const stdio: StdioOptions = ['ignore', 'inherit', 'inherit', device]
    const text = `import { serveFlatVolume } from ${moduleAt('./flat-volume-test-support.ts')}; serveFlatVolume(3)`
    const server = spawn(process.execPath, ['--input-type=module', '--eval', text], { stdio })
    this.#children.push(server)
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0'
    const mount = spawn('mount', ['-i', '-t', 'fuse', '-o', options, 'flat', path], { stdio })
    closeSync(device)
    const [code] = await once(mount, 'close')
    if (code !== 0) throw new Error(`mount ended with ${code}`)
    this.#mounts.push(path)
  }

  /** Makes a file withstand even root, with all that is in it. */
  protect(path: string): void {
    execFileSync('chattr', ['-R', '+i', path])
    this.#protected.push(path)
  }

  /** Runs a module's text as a process of its own, which talks by `process.send`. */
  node(text: string, options: SpawnOptions = {}, before: readonly string[] = []): Child {
    const [command = '', ...args] = [...before, process.execPath, '--input-type=module', '--eval', text]
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], ...options })
    this.#children.push(child)
    return new Child(child)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await new Child(child).kill()
    for (const path of this.#protected) execFileSync('chattr', ['-R', '-i', path])
    // Lazily, since a test that has failed may hold files open.
    for (const path of this.#mounts.reverse()) execFileSync('umount', ['--lazy', path])
    // Paths in it may be longer than Node's own removal can name.
    execFileSync('rm', ['-rf', this.path])
  }
}

export class Child {
  readonly process: ChildProcess
  readonly #messages: unknown[] = []
  readonly #waiting: ((message: unknown) => void)[] = []

  constructor(process: ChildProcess) {
    this.process = process
    process.on('message', (message) => {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#messages.push(message)
      else waiting(message)
    })
    // Who waits for what a dead process would say is told so.
    process.on('close', () => {
      for (const waiting of this.#waiting.splice(0)) waiting('ended')
    })
  }

  get hasEnded(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null
  }

  /** What it has sent next; `ended` when nothing comes any more. */
  async said(): Promise<unknown> {
    if (this.#messages.length > 0) return this.#messages.shift()
    if (this.hasEnded) return 'ended'
    return await new Promise((resolve) => this.#waiting.push(resolve))
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.hasEnded) return
    const closed = once(this.process, 'close')
    this.process.kill(signal)
    await closed
  }
}

/** A path as `import` takes it. */
export const moduleAt = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href)

/**
 * A command in front of another that makes system calls fail with EPERM, as volumes do that have no sockets or symbolic
 * links (seccomp(2)).
 */
export function refusing(...calls: readonly (keyof typeof callNumbers)[]): readonly string[] {
  const numbers = calls.flatMap((call) => callNumbers[call][process.arch === 'arm64' ? 1 : 0])
  const script = `
    my @calls = (${numbers.join(',')});
    my $program = pack('SCCL', 0x20, 0, 0, 0);
    $program .= pack('SCCL', 0x15, 0, 1, $_) . pack('SCCL', 0x06, 0, 0, 0x00050001) for @calls;
    $program .= pack('SCCL', 0x06, 0, 0, 0x7fff0000);
    my $filter = pack('S x6 P', length($program) / 8, $program);
    my $prctl = ${process.arch === 'arm64' ? 167 : 157};
    syscall($prctl, 38, 1, 0, 0, 0) == 0 or die $!;
    syscall($prctl, 22, 2, $filter) == 0 or die $!;
    exec @ARGV or die $!;`
  return ['perl', '-e', script]
}

/** By processor: x64, arm64. */
const callNumbers = {
  bind: [[49], [200]],
  symlink: [[88, 266], [36]],
} as const satisfies Readonly<Record<string, readonly [readonly number[], readonly number[]]>>
