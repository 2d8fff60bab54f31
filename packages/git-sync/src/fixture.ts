import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import type { Address, Addresses, Fixture, MakeFixture, Outage, WatchedFiles } from '@outrider/core/testing'
import {
  makeRepository,
  serveHttp,
  type TestRepository,
} from '../../git-mirror/src/git-servers-test-support.ts'
import type { RepositoryStatus } from './index.ts'

/** What the contract tests of this container stand on: a repository behind real git, and an application that is told. */
export const fixture: MakeFixture = async () => {
  const directory = await mkdtemp(join(tmpdir(), 'outrider-git-sync-'))
  const repositories = join(directory, 'repositories')
  const rootOf = (name: string) => join(directory, 'roots', name)
  const repository = await makeRepository(join(repositories, 'site.git'))
  const versions = [await commit(repository, 'one'), await commit(repository, 'two')] as const
  const serve = (tls = false) => serveHttp(repositories, { tls })
  const servers = await Promise.all([serve(), serve(), serve(), serve(true)])
  const [server, silent, failing, untrusted] = servers
  silent.fault = { kind: 'hang' }
  failing.fault = { kind: 'status', status: 500 }
  const application = await Application.start()
  let turn = 0
  /** Who is told of a commit finds it whole, where the files are within reach. */
  const expectPublished = async (at: Addresses, { hash, name }: Version, link: string) => {
    const isTold = () => application.hashes.at(-1) === hash
    await until(`the publication of ${name}`, async () => isTold() || !(await isThere(at)))
    if (!isTold()) throw new Error(`it ended without publishing ${name}`)
    if (link.startsWith(directory)) await expectFiles(link, name)
  }
  const outage = (name: string, env: Readonly<Record<string, string>>): Outage => ({
    name,
    ready: false,
    env: { GITSYNC_ROOT: rootOf(name.replaceAll(' ', '-')), ...env },
    check: expectNoSync,
  })
  return {
    env: {
      GITSYNC_REPO: server.urlOf('site.git'),
      GITSYNC_ROOT: rootOf('own'),
      GITSYNC_PERIOD: '1h',
      GITSYNC_MAX_FAILURES: '-1',
      GITSYNC_GIT_GC: 'off',
      GITSYNC_STALE_WORKTREE_TIMEOUT: '1h',
      // Each cannot be without the other.
      GITSYNC_TRIGGER_BIND: '127.0.0.1:0',
      GITSYNC_TRIGGER_SECRET: SECRET,
      GITSYNC_WEBHOOK_URL: application.url,
    },
    places: ['GITSYNC_ROOT'],
    besideSecrets: {
      password: { GITSYNC_USERNAME: 'somebody' },
      githubAppPrivateKey: {
        GITSYNC_GITHUB_APP_CLIENT_ID: 'app',
        GITSYNC_GITHUB_APP_INSTALLATION_ID: '1',
        GITSYNC_GITHUB_BASE_URL: application.url,
      },
    },
    contradiction: {
      env: { GITSYNC_REPOSITORIES: '/repositories.yaml' },
      says: /both set: put all into the table/,
    },
    async work(at) {
      const version = versions[turn++ % 2 === 0 ? 0 : 1]
      await point(repository, version.hash)
      await askForSync(at)
      const [{ link }] = await statusesOf(at)
      await expectPublished(at, version, link)
    },
    async beginWork(at) {
      const [{ link }] = await syncedAt(at)
      const packs = () => server.requests.filter(({ kind }) => kind === 'pack').length
      const before = packs()
      // With one that was fetched before there would be no pack to hold.
      const version = await commit(repository, `number ${before}`)
      const { promise: held, resolve: release } = Promise.withResolvers<void>()
      server.fault = { kind: 'hold', on: ['pack'], until: held }
      await askForSync(at)
      await until('the question for a pack', () => packs() > before)
      return {
        finish: () => {
          server.fault = undefined
          release()
          return expectPublished(at, version, link)
        },
      }
    },
    files: [tableFiles(server.urlOf('site.git'), versions)],
    outages: [
      outage('refuses connections', { GITSYNC_REPO: 'http://127.0.0.1:1/site.git' }),
      outage('hangs', { GITSYNC_REPO: silent.urlOf('site.git'), GITSYNC_SYNC_TIMEOUT: '300ms' }),
      outage('fails', { GITSYNC_REPO: failing.urlOf('site.git') }),
      outage('is not trusted', { GITSYNC_REPO: untrusted.urlOf('site.git') }),
      outage('has no such ref', { GITSYNC_REF: 'nowhere' }),
      outage('has gone from the disk', { GITSYNC_REPO: join(directory, 'gone.git') }),
    ],
    hostile,
    async [Symbol.asyncDispose]() {
      await Promise.all([application, ...servers].map((each) => each[Symbol.asyncDispose]()))
      await rm(directory, { recursive: true, force: true })
    },
  } satisfies Fixture
}

const SECRET = 'the-secret-of-the-trigger'
const FILES = 10

/** With the right token: what is malformed must not pass for it. */
const hostile = [
  `POST /sync HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer ${SECRET}\r\n\r\n`,
  `POST /sync HTTP/1.1\r\nHost: a\r\nHost: b\r\nAuthorization: Bearer ${SECRET}\r\n\r\n`,
  `POST /sync HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${SECRET}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx`,
  `POST /sync HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${SECRET}\r\nContent-Length: -1\r\n\r\n`,
  `POST /sync HTTP/1.1\r\nHost: a\r\nX-Hub-Signature-256: sha256=${'\x00'.repeat(64)}\r\n\r\n`,
  `POST /sync HTTP/1.1\r\nHost: a\r\nX-Hub-Signature-256: sha256=${'0'.repeat(100_000)}\r\n\r\n`,
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
]

interface Version {
  readonly name: string
  readonly hash: string
}

/** Some files that all hold the name. */
async function commit(repository: TestRepository, name: string): Promise<Version> {
  const files = Array.from({ length: FILES }, (_, index) => [`part-${index % 2}/file-${index}`, name])
  return { name, hash: await repository.commit(Object.fromEntries(files)) }
}

/** What a push does, without a process. */
async function point(repository: TestRepository, hash: string): Promise<void> {
  const ref = join(repository.directory, 'refs/heads/main')
  await writeFile(`${ref}.lock`, `${hash}\n`)
  await rename(`${ref}.lock`, ref)
}

async function expectFiles(link: string, name: string): Promise<void> {
  const entries = await readdir(link, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && entry.name !== '.git')
  const found = await Promise.all(files.map((file) => readFile(join(file.parentPath, file.name), 'utf8')))
  if (found.length !== FILES || found.some((content) => content !== name))
    throw new Error(`${link} shows ${JSON.stringify(found)} and not ${FILES} times ${name}`)
}

const tableFiles = (repo: string, [one, two]: readonly [Version, Version]): WatchedFiles => ({
  params: ['repositories'],
  env: { GITSYNC_REPO: '' },
  good: [
    { repositories: tableOf(repo, { first: one, second: two }) },
    { repositories: tableOf(repo, { first: two, third: one }) },
  ],
  bad: { repositories: 'repositories:\n  - name: first\n    repo: ext::sh\n' },
  async observe(at) {
    const statuses = await syncedAt(at)
    const shown = statuses.map(async ({ name, link }) => [name, await readFile(join(link, 'part-0/file-0'))])
    return (await Promise.all(shown)).join()
  },
})

const tableOf = (repo: string, refs: Readonly<Record<string, Version>>): string =>
  [
    'repositories:',
    ...Object.entries(refs).map(
      ([name, { hash }]) => `  - { name: ${name}, repo: '${repo}', ref: ${hash}, link: ${name} }`,
    ),
    '',
  ].join('\n')

/** Syncs when it is told to; hears of what is published, and answers nothing else. */
class Application implements AsyncDisposable {
  /** Of all publications that it was told of. */
  readonly hashes: string[] = []
  readonly #server: Server

  private constructor() {
    this.#server = createServer(({ headers }, response) => {
      const { 'gitsync-hash': hash } = headers
      if (typeof hash === 'string') this.hashes.push(hash)
      response.writeHead(hash === undefined ? 404 : 200).end()
    })
  }

  static async start(): Promise<Application> {
    const application = new Application()
    application.#server.listen(0, '127.0.0.1')
    await once(application.#server, 'listening')
    return application
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }
}

interface Answer {
  readonly status: number
  readonly body: string
}

/** On a connection that is closed after, since the tests count what is left open. */
async function ask(
  address: Address | undefined,
  path: string,
  options: { readonly method?: string; readonly headers?: OutgoingHttpHeaders } = {},
): Promise<Answer> {
  if (address === undefined || 'path' in address) throw new Error('the fixture speaks TCP')
  const outgoing = request({ ...address, path, agent: false, ...options }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode ?? 0, body: await text(response) }
}

async function askForSync({ trigger }: Addresses): Promise<void> {
  const headers = { authorization: `Bearer ${SECRET}` }
  const { status, body } = await ask(trigger, '/sync', { method: 'POST', headers })
  if (status !== 202) throw new Error(`POST /sync was answered by ${status} ${body}`)
}

type Statuses = readonly [RepositoryStatus, ...RepositoryStatus[]]

/** Of the repositories, once there are some. */
async function statusesOf({ admin }: Addresses): Promise<Statuses> {
  return await until('repositories', async () => {
    const { body } = await ask(admin, '/status')
    const { repositories } = JSON.parse(body) as { readonly repositories: readonly RepositoryStatus[] }
    const [first, ...others] = repositories
    return first !== undefined && [first, ...others]
  })
}

/** The same once each was synced. */
const syncedAt = (at: Addresses): Promise<Statuses> =>
  until('the first sync', async () => {
    const statuses = await statusesOf(at)
    return statuses.every(({ lastSuccess }) => lastSuccess !== undefined) && statuses
  })

/** It takes the question, and says why it does not become ready. */
async function expectNoSync(at: Addresses): Promise<void> {
  await askForSync(at)
  const { status, body } = await ask(at['admin'], '/readyz')
  const { gates } = JSON.parse(body) as {
    readonly gates: Readonly<Record<string, { readonly open: boolean }>>
  }
  if (status !== 503 || gates['sync']?.open !== false)
    throw new Error(`/readyz was answered by ${status} ${body}`)
}

const isThere = ({ admin }: Addresses): Promise<boolean> =>
  ask(admin, '/healthz').then(
    () => true,
    () => false,
  )

async function until<T>(what: string, look: () => T | false | Promise<T | false>): Promise<T> {
  const deadline = Date.now() + 15_000
  for (;;) {
    const found = await look()
    if (found !== false) return found
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await delay(5)
  }
}
