import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { BARE_ENVIRONMENT, run } from './run-git-test-support.ts'
import { makeSshKey } from './signers-test-support.ts'

const SSHD = '/usr/sbin/sshd'

export interface GitSshOptions {
  /** Where to listen; 127.0.0.1 unless given. */
  readonly host?: string
}

/** A real sshd for the repositories in a directory, under the user who runs the tests. */
export async function serveSsh(directory: string, options: GitSshOptions = {}): Promise<GitSshServer> {
  const home = await mkdtemp(join(tmpdir(), 'git-ssh-'))
  const [hostKey, key] = await Promise.all([
    makeSshKey(join(home, 'host-key')),
    makeSshKey(join(home, 'client-key')),
  ])
  const configuration = `
HostKey ${hostKey}
AuthorizedKeysFile ${key}.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
PrintMotd no
PermitUserRC no
LogLevel VERBOSE
AcceptEnv GIT_PROTOCOL
SetEnv ${Object.entries(BARE_ENVIRONMENT)
    .filter(([name]) => name.startsWith('GIT_'))
    .map((entry) => entry.join('='))
    .join(' ')}
`
  await writeFile(join(home, 'sshd_config'), configuration)
  // Run by root, sshd wants an empty directory to lock up a part of itself in.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
  await run(SSHD, ['-t', '-f', join(home, 'sshd_config')])
  const server = new GitSshServer(directory, home)
  await server.listen(options.host ?? '127.0.0.1', await readFile(`${hostKey}.pub`, 'utf8'))
  return server
}

export class GitSshServer implements AsyncDisposable {
  /** Who must log in. */
  readonly user = userInfo().username
  /** The private key that is let in. */
  readonly keyFile: string
  /** Has the server's key, for the names `127.0.0.1` and `localhost`. */
  readonly knownHostsFile: string
  /** What sshd has said. */
  log = ''
  /** How many have connected. */
  connections = 0
  /** Whether new connections are accepted and left without a word. */
  hangs = false
  readonly #directory: string
  readonly #home: string
  readonly #server: Server
  readonly #children = new Set<ChildProcess>()
  readonly #sockets = new Set<Socket>()

  constructor(directory: string, home: string) {
    this.#directory = directory
    this.#home = home
    this.keyFile = join(home, 'client-key')
    this.knownHostsFile = join(home, 'known_hosts')
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket))
  }

  async listen(host: string, hostKey: string): Promise<void> {
    this.#server.listen(0, host)
    await once(this.#server, 'listening')
    const names = ['127.0.0.1', 'localhost'].map((name) => `[${name}]:${this.port}`).join(',')
    await writeFile(this.knownHostsFile, `${names} ${hostKey}`)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** The address of a repository in the directory. */
  urlOf(name: string, host = '127.0.0.1'): string {
    return `ssh://${this.user}@${host}:${this.port}${join(this.#directory, name)}`
  }

  /** For git's GIT_SSH_COMMAND. */
  get command(): string {
    const options = {
      IdentitiesOnly: 'yes',
      StrictHostKeyChecking: 'yes',
      UserKnownHostsFile: this.knownHostsFile,
    }
    const flags = Object.entries(options).map(([name, value]) => `-o ${name}=${value}`)
    return ['ssh', '-F /dev/null', `-i ${this.keyFile}`, ...flags].join(' ')
  }

  /** Cuts every connection and stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(
      Array.from(this.#children, async (child) => {
        const exited = once(child, 'exit')
        // One whose client has gone ends by itself, and so takes its own children along.
        await Promise.race([exited, delay(300)])
        child.kill()
        await exited
      }),
    )
    await closed
    await rm(this.#home, { recursive: true, force: true })
  }

  /** One sshd for each connection, as inetd starts it: so the port is ours, and free for certain. */
  #accept(socket: Socket): void {
    this.connections += 1
    socket.on('error', () => undefined)
    if (this.hangs) {
      this.#sockets.add(socket)
      return
    }
    const child = spawn(SSHD, ['-i', '-e', '-f', join(this.#home, 'sshd_config')], {
      env: BARE_ENVIRONMENT,
      stdio: [socket, socket, 'pipe'],
    })
    this.#children.add(child)
    child.on('exit', () => this.#children.delete(child))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.log += text))
    socket.destroy()
  }
}
