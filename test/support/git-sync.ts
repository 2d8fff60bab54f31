import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type GitHttpServer,
  makeRepository,
  serveHttp,
  type TestRepository,
} from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { docker, dockerResult } from './docker.ts'
import { type LogEvent, Logging, until } from './program.ts'

/** By which what a run has left is found, as that of testcontainers is. */
const label = 'org.testcontainers=true'

const uniqueName = (stem: string): string => `outrider-test-${stem}-${randomBytes(6).toString('hex')}`

/** A volume of the engine. */
export class Volume implements AsyncDisposable {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await until(`the removal of ${this.name}`, async () => {
      const { code } = await dockerResult('volume', 'rm', '--force', this.name)
      return code === 0
    })
  }
}

/**
 * A volume as `emptyDir` of a pod with `fsGroup: 65532` is: who is in that group may write.
 * @param size of a file system in memory; on the disk without
 */
export async function makeVolume(size?: string): Promise<Volume> {
  const memory = ['type=tmpfs', 'device=tmpfs', `o=size=${size},uid=65532,gid=65532,mode=2775`]
  const options = size === undefined ? [] : memory.flatMap((option) => ['--opt', option])
  const volume = new Volume(uniqueName('volume'))
  await docker('volume', 'create', '--label', label, ...options, volume.name)
  if (size === undefined) await inVolume(volume, 'chown 65532:65532 .; chmod 2775 .', '0:0')
  return volume
}

/** Runs a script in a volume, by default as the user who syncs; gives what it prints. */
export const inVolume = (volume: Volume, script: string, user = '65532:65532'): Promise<string> =>
  docker(
    ...['run', '--rm', '--label', label, '--network', 'none', '--user', user, '--workdir', '/srv/data'],
    ...['--volume', `${volume.name}:/srv/data:nocopy`, 'outrider/git', 'sh', '-ec', script],
  )

export interface SecretOptions {
  /** Of its files, octal: `defaultMode` of the pod. */
  readonly mode: string
  /** `fsGroup` of the pod, whose members may then read the files. */
  readonly group?: number
}

/** A volume as the kubelet makes it of a Secret: all belongs to root, and is reached through links. */
export async function makeSecret(
  files: Readonly<Record<string, string>>,
  { mode, group }: SecretOptions,
): Promise<Volume> {
  const volume = new Volume(uniqueName('secret'))
  await docker('volume', 'create', '--label', label, volume.name)
  const write = Object.entries(files).map(([name, text]) => {
    const base64 = Buffer.from(text).toString('base64')
    return `echo ${base64} | base64 -d > ..1/${name}; ln -s ..data/${name} ${name}`
  })
  await inVolume(
    volume,
    `umask 077; mkdir ..1; ln -s ..1 ..data; ${write.join('; ')}
    chmod ${mode} ..1/*; chmod 1777 .; chmod 755 ..1
    ${group === undefined ? '' : `chown -R 0:${group} .; chmod g+r ..1/*; chmod g+rxs . ..1`}`,
    '0:0',
  )
  return volume
}

export interface SyncOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly args?: readonly string[]
  /** Where it syncs; a volume of its own without. */
  readonly volume?: Volume
  /** As `docker run --volume` takes them. */
  readonly mounts?: readonly string[]
  readonly user?: string
  /** More options of `docker run`. */
  readonly options?: readonly string[]
}

/** git-sync from its image as a pod would run it, on the host's network: where the servers of a test are. */
export class SyncContainer extends Logging {
  readonly name: string

  constructor({ env = {}, args = [], volume, mounts = [], user, options = [] }: SyncOptions) {
    const name = uniqueName('git-sync')
    const variables = { GITSYNC_ADMIN: '127.0.0.1:0', ...env }
    super(
      'docker',
      [
        ...['run', '--name', name, '--label', label, '--network', 'host'],
        ...['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges:true'],
        ...(user === undefined ? [] : ['--user', user]),
        ...Object.entries(variables).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
        ...[...(volume === undefined ? [] : [`${volume.name}:/git:nocopy`]), ...mounts].flatMap((mount) => [
          '--volume',
          mount,
        ]),
        ...[...options, 'outrider/git-sync', ...args],
      ],
      process.env,
    )
    this.name = name
  }

  /** The sum of the metric over all that have these labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const text = await (await this.ask('/metrics')).text()
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
    return text
      .split('\n')
      .filter(
        (line) =>
          line.startsWith(`outrider_git_sync_${name}{`) || line.startsWith(`outrider_git_sync_${name} `),
      )
      .filter((line) => wanted.every((pair) => line.includes(pair)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }

  /** Waits until a commit is published. */
  published(hash: string): Promise<LogEvent> {
    return this.#until(`${hash} to be published`, () =>
      this.events().find((event) => /published$/.test(String(event['msg'])) && event['hash'] === hash),
    )
  }

  /** Waits for the next failure; gives its text. */
  async failed(): Promise<string> {
    const seen = this.failures().length
    return this.#until('a failure', () => this.failures()[seen])
  }

  failures(): string[] {
    return this.events()
      .filter(({ msg }) => msg === 'sync failed')
      .map(({ error }) => String(error))
  }

  /** Runs a script in it; gives what it prints. */
  sh(script: string): Promise<string> {
    return docker('exec', this.name, 'sh', '-ec', script)
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    await docker('kill', '--signal', signal, this.name)
  }

  #until<T>(what: string, look: () => T | undefined): Promise<T> {
    const lookWhileItRuns = () => {
      const hasEnded = this.hasEnded
      const found = look()
      if (hasEnded && found === undefined) throw new Error(`it has ended without ${what}`)
      return found
    }
    return until(what, lookWhileItRuns).catch(async (error: Error) => {
      const ended = this.hasEnded ? ` with ${await this.ended()}` : ''
      throw new Error(`${error.message}${ended}; its log:\n${this.stdout}${this.stderr}`)
    })
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await docker('rm', '--force', '--volumes', this.name).catch(() => undefined)
    await super[Symbol.asyncDispose]()
  }
}

/** A container of an application, which sees the volume at /srv/data and may not write it. It has a plain git. */
export class Application implements AsyncDisposable {
  readonly name = uniqueName('application')

  static async start(volume: Volume, options: readonly string[] = []): Promise<Application> {
    const application = new Application()
    await docker(
      ...[
        'run',
        '--detach',
        '--name',
        application.name,
        '--label',
        label,
        '--network',
        'none',
        '--read-only',
      ],
      ...['--volume', `${volume.name}:/srv/data:ro`, ...options, 'outrider/git', 'sleep', 'infinity'],
    )
    return application
  }

  /** Runs a script in it; gives what it prints. */
  sh(script: string): Promise<string> {
    return docker('exec', this.name, 'sh', '-ec', script)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await docker('rm', '--force', '--volumes', this.name)
  }
}

/** Repositories of the machine that runs the tests, which containers reach only through servers. */
export class Origin implements AsyncDisposable {
  readonly directory: string
  readonly #servers: AsyncDisposable[] = []

  private constructor(directory: string) {
    this.directory = directory
  }

  static async make(): Promise<Origin> {
    return new Origin(await mkdtemp(join(tmpdir(), 'outrider-origin-')))
  }

  repository(name: string): Promise<TestRepository> {
    return makeRepository(join(this.directory, name))
  }

  async serve(options: Parameters<typeof serveHttp>[1] = {}): Promise<GitHttpServer> {
    return this.keep(await serveHttp(this.directory, options))
  }

  /** Disposes of it before the repositories. */
  keep<T extends AsyncDisposable>(server: T): T {
    this.#servers.push(server)
    return server
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()))
    // What a killed process has left running may still write.
    await rm(this.directory, { recursive: true, force: true, maxRetries: 10 })
  }
}

/** What promtool says of metrics: nothing when all is well. */
export function promtool(text: string): Promise<{ code: number; complaints: string }> {
  const args = [
    'run',
    '--rm',
    '--interactive',
    '--entrypoint',
    '/usr/bin/promtool',
    'outrider-test/prometheus',
  ]
  return new Promise((resolve) => {
    const child = execFile('docker', [...args, 'check', 'metrics'], (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), complaints: stdout + stderr }),
    )
    child.stdin?.end(text)
  })
}
