import { mkdtemp, readdir, readFile, readlink, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type StartedContainer, startContainer } from '@outrider/core/testing'
import { Program, until } from '../../../test/support/program.ts'
import {
  type GitHttpServer,
  makeRepository,
  serveHttp,
  type TestRepository,
} from '../../git-mirror/src/git-servers-test-support.ts'
import container from './container.ts'

export const TOKEN = 'the-token-of-the-trigger'

type Env = Readonly<Record<string, string>>

/** A repository, the root into which it is published as `site`, and containers at work on them. */
export class Scene implements AsyncDisposable {
  readonly base: string
  readonly root: string
  readonly link: string
  readonly repository: TestRepository
  /** Contents of all commits that `commit` has made, by hash. */
  readonly versions = new Map<string, Readonly<Record<string, string>>>()
  readonly #stack = new AsyncDisposableStack()

  private constructor(base: string, repository: TestRepository) {
    this.base = base
    this.root = join(base, 'root')
    this.link = join(this.root, 'site')
    this.repository = repository
  }

  static async make(): Promise<Scene> {
    const base = await realpath(await mkdtemp(join(tmpdir(), 'outrider-scene-')))
    return new Scene(base, await makeRepository(join(base, 'repositories', 'site.git')))
  }

  /** What is disposed of with it, the last first. */
  keep<T extends AsyncDisposable>(part: T): T {
    return this.#stack.use(part)
  }

  async serve(options?: Parameters<typeof serveHttp>[1]): Promise<GitHttpServer> {
    return this.keep(await serveHttp(join(this.base, 'repositories'), options))
  }

  /** Another repository beside it. */
  sibling(name: string): Promise<TestRepository> {
    return makeRepository(join(this.base, 'repositories', `${name}.git`))
  }

  /** A few files that all hold the text; gives the hash. */
  async commit(text: string, options?: Parameters<TestRepository['commit']>[1]): Promise<string> {
    const files = Object.fromEntries(['index.html', 'deep/a', 'deep/er/b'].map((path) => [path, text]))
    const hash = await this.repository.commit(files, options)
    this.versions.set(hash, files)
    return hash
  }

  /** In this process: of the repository's directory, by hand alone. */
  async start(env: Env = {}): Promise<StartedContainer> {
    return this.keep(await startContainer(container, { ...this.env, ...env }))
  }

  /** The same in a process of its own, with nothing of this one's environment but its PATH. */
  program(env: Env = {}, args: readonly string[] = []): Program {
    const main = fileURLToPath(new URL('main.ts', import.meta.url))
    const own = { ...this.env, GITSYNC_ADMIN: '127.0.0.1:0', GITSYNC_TRIGGER_BIND: '127.0.0.1:0' }
    return this.keep(new Program(main, { ...own, ...env }, args))
  }

  get env(): Env {
    return {
      GITSYNC_REPO: this.repository.directory,
      GITSYNC_ROOT: this.root,
      GITSYNC_LINK: 'site',
      GITSYNC_PERIOD: '1h',
      GITSYNC_MAX_FAILURES: '-1',
      GITSYNC_TRIGGER_SECRET: TOKEN,
    }
  }

  /** What an application sees, which must be one whole commit; gives its hash. */
  async whole(): Promise<string> {
    const hash = basename(await readlink(this.link))
    const [expected, found] = [this.versions.get(hash), await filesIn(this.link)]
    if (JSON.stringify(sorted(expected ?? {})) !== JSON.stringify(sorted(found)))
      throw new Error(`${hash} shows ${JSON.stringify(found)}`)
    return hash
  }

  /** Waits until this commit is published, and is whole. */
  async shows(hash: string): Promise<void> {
    await until(`the publication of ${hash}`, async () => (await targetOf(this.link)) === hash)
    if ((await this.whole()) !== hash) throw new Error(`${hash} was replaced at once`)
  }

  /** Commits a text, asks for a sync, and waits until it is published. */
  async publish(running: StartedContainer, text: string): Promise<string> {
    const hash = await this.commit(text)
    await ask(running)
    await this.shows(hash)
    return hash
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
    await rm(this.base, { recursive: true, force: true })
  }
}

const targetOf = (link: string): Promise<string | undefined> => readlink(link).then(basename, () => undefined)

const sorted = (files: Readonly<Record<string, string>>): readonly (readonly [string, string])[] =>
  Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1))

/** Texts by path, of all but what git itself keeps. */
export async function filesIn(directory: string): Promise<Record<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile() && entry.name !== '.git')
    .map((entry) => join(entry.parentPath, entry.name))
  const texts = await Promise.all(paths.map(async (path) => readFile(path, 'utf8')))
  return Object.fromEntries(paths.map((path, index) => [relative(directory, path), texts[index] ?? '']))
}

type Requests = Pick<RequestInit, 'headers' | 'body'> & { readonly path?: string }

/** Asks for a sync as a program does; gives the status. */
export async function ask(
  { addresses }: Pick<StartedContainer, 'addresses'>,
  { path = '/sync', headers = { authorization: `Bearer ${TOKEN}` }, body }: Requests = {},
): Promise<number> {
  const { trigger } = addresses
  if (trigger === undefined || 'path' in trigger) throw new Error('it listens on TCP')
  const init = { method: 'POST', headers, ...(body !== undefined && { body }) }
  return (await fetch(`http://127.0.0.1:${trigger.port}${path}`, init)).status
}

/** The sum of a metric's values, over all labels or those that are given as text. */
export async function metric(
  asked: { ask(path: string): Promise<Response> },
  name: string,
  labels = '',
): Promise<number> {
  const rows = (await (await asked.ask('/metrics')).text()).split('\n')
  const found = rows.filter((row) => row.startsWith(`outrider_git_sync_${name}`) && row.includes(labels))
  return found.reduce((sum, row) => sum + Number(row.split(' ').at(-1)), 0)
}

/** How often something was logged. */
export const logged = ({ events }: StartedContainer, msg: string): number =>
  events.filter((event) => event['msg'] === msg).length
