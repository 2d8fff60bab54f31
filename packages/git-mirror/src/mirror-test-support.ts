import { lstat, mkdtemp, readdir, readFile, readlink, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createGit, type GitOptions, type ProcessReport } from './git.ts'
import { makeRepository, type TestRepository } from './git-repository-test-support.ts'
import {
  type Mirror,
  type MirrorEvent,
  type MirrorOptions,
  openMirror,
  type SyncOptions,
  type SyncResult,
} from './mirror.ts'

/** A repository, and a root into which mirrors publish it. */
export class MirrorScene implements AsyncDisposable {
  readonly base: string
  readonly root: string
  readonly link: string
  readonly repository: TestRepository
  /** What git was asked since the last look at it. */
  readonly processes: ProcessReport[] = []
  readonly events: MirrorEvent[] = []
  readonly mirrors: Mirror[] = []

  constructor(base: string, repository: TestRepository) {
    this.base = base
    this.root = join(base, 'root')
    this.link = join(this.root, 'site')
    this.repository = repository
  }

  open(options: Partial<MirrorOptions> = {}, gitOptions: GitOptions = {}): Mirror {
    const git = createGit({
      environment: { PATH: process.env['PATH'], HOME: this.base },
      onProcess: (report) => this.processes.push(report),
      ...gitOptions,
    })
    const mirror = openMirror({
      git,
      directory: this.root,
      link: this.link,
      repo: this.repository.directory,
      ref: 'HEAD',
      onEvent: (event) => this.events.push(event),
      ...options,
    })
    this.mirrors.push(mirror)
    return mirror
  }

  /** The commands of git since the last call. */
  commands(): string[] {
    return this.processes.splice(0).map(({ command }) => command)
  }

  eventTypes(): string[] {
    return this.events.splice(0).map(({ type }) => type)
  }

  /** What an application sees, which must be one whole commit. */
  async published(): Promise<{ readonly hash: string; readonly files: Readonly<Record<string, string>> }> {
    const target = await readlink(this.link)
    return { hash: basename(target), files: await filesIn(await realpath(this.link)) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.mirrors.map((mirror) => mirror[Symbol.asyncDispose]()))
    await rm(this.base, { recursive: true, force: true })
  }
}

export async function makeScene(): Promise<MirrorScene> {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'outrider-mirror-')))
  return new MirrorScene(base, await makeRepository(join(base, 'repository.git')))
}

/** A sync that must end within a minute. */
export const sync = (mirror: Mirror, options: Partial<SyncOptions> = {}): Promise<SyncResult> =>
  mirror.sync({ signal: AbortSignal.timeout(60_000), ...options })

/** Texts by path, of all but what git itself keeps. */
export async function filesIn(directory: string, inside = ''): Promise<Record<string, string>> {
  const files: Record<string, string> = {}
  for (const name of await readdir(join(directory, inside))) {
    if (name === '.git') continue
    const path = inside === '' ? name : `${inside}/${name}`
    const stat = await lstat(join(directory, path))
    if (stat.isDirectory()) Object.assign(files, await filesIn(directory, path))
    else if (stat.isSymbolicLink()) files[path] = `-> ${await readlink(join(directory, path))}`
    else files[path] = await readFile(join(directory, path), 'utf8')
  }
  return files
}
