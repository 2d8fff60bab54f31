import { afterEach, beforeEach, expect, it } from 'vitest'
import type { GitHttpServer, TestRepository } from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { docker, inspect } from '../support/docker.ts'
import { inVolume, makeSecret, makeVolume, Origin, SyncContainer } from '../support/git-sync.ts'
import { until } from '../support/program.ts'

const secrets = {
  url: 'in-the-url/%"\'$` \u00f6',
  credential: 'of-a-submodule/%"\'$` \u00f6',
  file: 'of-a-file/%"\'$` \u00f6',
  trigger: 'of-triggers/%"\'$` \u00f6',
  webhook: 'of-webhooks/%"\'$` \u00f6',
  header: 'of-a-header',
}
const users = { url: 'first', credential: 'second', file: 'third' }

/** As it is, and as URLs, JSON and headers of HTTP have it. */
const spellings = Object.entries(secrets).flatMap(([name, secret]) => {
  const user = name in users ? users[name as keyof typeof users] : ''
  const base64 = (text: string) => Buffer.from(text).toString('base64')
  const spelt = [secret, encodeURIComponent(secret), encodeURI(secret), JSON.stringify(secret).slice(1, -1)]
  return [...spelt, base64(secret), ...(user === '' ? [] : [base64(`${user}:${secret}`)])]
})
const found = (text: string): string[] => spellings.filter((spelling) => text.includes(spelling))

let origin: Origin
let outer: GitHttpServer
let inner: GitHttpServer
let deep: GitHttpServer
let whole: TestRepository
let hash: string

beforeEach(async () => {
  origin = await Origin.make()
  const serve = (name: keyof typeof users) =>
    origin.serve({ auth: { username: users[name], password: secrets[name] } })
  outer = await serve('url')
  inner = await serve('credential')
  deep = await serve('file')
  const parts = await Promise.all(['one', 'two'].map((name) => origin.repository(`${name}.git`)))
  whole = await origin.repository('whole.git')
  await whole.commit({ 'whole.txt': 'a whole' })
  for (const [index, part] of parts.entries()) {
    const url = [inner.urlOf('one.git'), deep.urlOf('two.git')][index] ?? ''
    const part_ = { url, hash: await part.commit({ 'part.txt': `part ${index}` }) }
    hash = await whole.addSubmodule(`part-${index}`, part_)
  }
})
afterEach(() => origin[Symbol.asyncDispose]())

/** Command lines of all processes in a container. */
const commandLines = (sync: SyncContainer): Promise<string> =>
  sync.sh('for file in /proc/[0-9]*/cmdline; do tr "\\0" " " < $file || true; echo; done 2>/dev/null')

it('no secret is in command lines, logs, pages, metrics, the engine or the volume', async () => {
  await using volume = await makeVolume()
  await using mounted = await makeSecret({ password: `${secrets.file}\n` }, { mode: '400', group: 65532 })
  const repo = new URL(outer.urlOf('whole.git'))
  repo.username = users.url
  repo.password = encodeURIComponent(secrets.url)
  // Slow enough to be looked at.
  for (const server of [outer, inner]) server.fault = { kind: 'slow', on: ['pack'], bytes: 40, everyMs: 100 }
  await using sync = new SyncContainer({
    volume,
    mounts: [`${mounted.name}:/credentials:ro`],
    env: {
      GITSYNC_REPO: repo.href,
      GITSYNC_CREDENTIAL: JSON.stringify([
        { url: inner.origin, username: users.credential, password: secrets.credential },
        { url: deep.origin, username: users.file, 'password-file': '/credentials/password' },
      ]),
      GITSYNC_TRIGGER_BIND: '127.0.0.1:0',
      GITSYNC_TRIGGER_SECRET: secrets.trigger,
      GITSYNC_WEBHOOK_URL: 'http://127.0.0.1:1/',
      GITSYNC_WEBHOOK_SECRET: secrets.webhook,
      GITSYNC_GIT_CONFIG: `http.extraHeader:"X-Token: ${secrets.header}"`,
      GITSYNC_ERROR_FILE: 'error.json',
      GITSYNC_PERIOD: '200ms',
      GITSYNC_MAX_FAILURES: '-1',
      GITSYNC_VERBOSE: '9',
      LOG_LEVEL: 'debug',
    },
  })
  const lines: string[] = []
  const seen = (what: string) =>
    until(`${what} among the processes`, async () => {
      lines.push(await commandLines(sync))
      return lines.at(-1)?.includes(what)
    })
  await sync.logged('started')
  await seen(`git-remote-http origin ${outer.urlOf('whole.git')}`)
  await seen(`git-remote-http origin ${inner.urlOf('one.git')}`)
  await sync.published(hash)
  // Where they must be, they would be found.
  const environment = await sync.sh('cat /proc/[0-9]*/environ 2>/dev/null || true')
  expect(found(environment)).toEqual(expect.arrayContaining([secrets.trigger, secrets.webhook]))
  await until('a webhook', () => sync.events().some(({ msg }) => msg === 'hook failed'))
  const pages = async () => {
    const paths = ['/', '/params', '/status', '/metrics', '/readyz']
    const accepts = ['text/html', 'application/json']
    const asked = paths.flatMap((path) => accepts.map((accept) => sync.ask(path, { headers: { accept } })))
    return (await Promise.all((await Promise.all(asked)).map((answer) => answer.text()))).join('\n')
  }
  const whileItWorks = await pages()
  // What is wrong with a password is told without it.
  outer.auth = { username: users.url, password: 'another' }
  expect(await sync.failed()).toMatch(/check user, password/)
  const whileItFails = await pages()
  expect(whileItFails).toContain('check user, password')
  const errorFile = await sync.sh('cat /git/error.json')
  expect(errorFile).toContain('check user, password')

  const configuration = (await inspect(sync.name, '.Config')) as Record<string, unknown>
  const engine = JSON.stringify([
    { ...configuration, Env: [] },
    await inspect(sync.name, '.Args'),
    await inspect(sync.name, '.HostConfig'),
    await inspect(sync.name, '.State'),
  ])
  const files = await inVolume(volume, 'cat .git/config $(find .git/modules -name config)')
  expect(files).toContain(outer.urlOf('whole.git'))
  const archive = Buffer.from(await inVolume(volume, 'tar -c . | base64'), 'base64').toString()
  const log = await docker('logs', sync.name)
  const places = {
    lines: lines.join('\n'),
    whileItWorks,
    whileItFails,
    errorFile,
    engine,
    files,
    archive,
    log,
    errors: sync.stderr,
  }
  expect(Object.fromEntries(Object.entries(places).map(([place, text]) => [place, found(text)]))).toEqual(
    Object.fromEntries(Object.keys(places).map((place) => [place, []])),
  )
})
