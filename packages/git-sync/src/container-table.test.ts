import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { until } from '../../../test/support/program.ts'
import { resolve } from '../../core/src/resolve.ts'
import { makeGpgSigner, makeSshSigner } from '../../git-mirror/src/git-servers-test-support.ts'
import container from './container.ts'
import { ask, logged, metric, Scene } from './scene-test-support.ts'
import { serve } from './test-support.ts'

let scene: Scene

beforeEach(async () => {
  scene = await Scene.make()
})
afterEach(() => scene[Symbol.asyncDispose]())

/** With what is said of each entry beside its name and repository. */
async function table(entries: Readonly<Record<string, string>>): Promise<Readonly<Record<string, string>>> {
  const file = join(scene.base, 'repositories.yaml')
  const { directory } = scene.repository
  const rows = Object.entries(entries).map(
    ([name, more]) => `  - { name: ${name}${/\brepo:/.test(more) ? '' : `, repo: ${directory}`}${more} }\n`,
  )
  await writeFile(file, `repositories:\n${rows.join('')}`)
  return { GITSYNC_REPO: '', GITSYNC_LINK: '', GITSYNC_REPOSITORIES: file }
}

it('an error file beside a table is refused, as each entry would delete what another has written', async () => {
  const env = { ...(await table({ site: '' })), GITSYNC_ERROR_FILE: 'error.json' }
  await expect(scene.start(env)).rejects.toThrow(
    'GITSYNC_ERROR_FILE (--error-file) and GITSYNC_REPOSITORIES (--repositories) are both set',
  )
})

it('an entry that names its own signers of one kind keeps those of the other', async () => {
  const ssh = await makeSshSigner(join(scene.base, 'ssh'))
  const gpg = scene.keep(await makeGpgSigner(join(scene.base, 'gpg')))
  const [signers, keys] = [join(scene.base, 'signers'), join(scene.base, 'keys')]
  await writeFile(signers, ssh.publicKey)
  await writeFile(keys, gpg.publicKey)
  const hash = await scene.commit('by OpenPGP', { sign: gpg })
  const env = await table({ site: `, link: site, verify-ssh-allowed-signers: ${signers}` })
  await scene.start({ ...env, GITSYNC_VERIFY_GPG_KEYS: keys })
  await scene.shows(hash)
})

it('an askpass URL beside a table is refused, as its password would be sent to the hosts of all entries', async () => {
  const env = { ...(await table({ site: '' })), GITSYNC_ASKPASS_URL: 'http://localhost:1/' }
  await expect(scene.start(env)).rejects.toThrow(
    'GITSYNC_ASKPASS_URL (--askpass-url) and GITSYNC_REPOSITORIES',
  )
})

it('of a table, only the entries at the host of GitHub are opened by the tokens of an app', async () => {
  const hash = await scene.commit('private')
  const server = await scene.serve()
  server.auth = { username: 'x-access-token', password: 'the-token' }
  const api = await serve((_, response) => {
    const body = { token: 'the-token', expires_at: new Date(Date.now() + 3_600_000).toISOString() }
    response.writeHead(201).end(JSON.stringify(body))
  })
  const own = server.urlOf('site.git')
  const strange = own.replace('127.0.0.1', 'localhost')
  const running = await scene.start({
    ...(await table({ own: `, repo: '${own}', link: site`, strange: `, repo: '${strange}', link: other` })),
    GITSYNC_GITHUB_APP_PRIVATE_KEY: generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }).privateKey,
    GITSYNC_GITHUB_APP_CLIENT_ID: 'app',
    GITSYNC_GITHUB_APP_INSTALLATION_ID: '1',
    GITSYNC_GITHUB_BASE_URL: api.url.href,
  })
  await scene.shows(hash)
  await until('the refusal', async () => (await metric(running, 'errors_total', 'repository="strange"')) > 0)
})

it('before its first success nothing is called too old', async () => {
  const running = await scene.start({
    GITSYNC_REPO: join(scene.base, 'nowhere.git'),
    GITSYNC_READY_MAX_AGE: '2h',
  })
  await until('the failure', () => logged(running, 'sync failed') > 0)
  const { gates } = (await (await running.ask('/readyz')).json()) as { gates: Record<string, unknown> }
  expect(gates).toMatchObject({ freshness: { open: true }, sync: { open: false } })
})

it('each line of the secret of triggers is one, whatever ends it', async () => {
  const running = await scene.start({ GITSYNC_TRIGGER_SECRET: 'one\r\ntwo\r\n' })
  for (const secret of ['one', 'two'])
    expect(await ask(running, { headers: { authorization: `Bearer ${secret}` } })).toBe(202)
})

it('durations of years, which the peer takes, are taken: trees stay as long, and what waits does for 24 days', () => {
  const argv = ['period', 'sync-timeout', 'stale-worktree-timeout'].map((name) => `--${name}=87600h`)
  const resolution = resolve(container, { argv, env: { GITSYNC_REPO: '/a' }, readFile: () => '' })
  const timer = 2 ** 31 - 1
  expect(resolution).toMatchObject({
    resolved: {
      values: { period: timer, syncTimeout: timer, staleWorktreeTimeout: 87_600 * 3_600_000 },
    },
  })
})
