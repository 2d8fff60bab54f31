import { createHmac, generateKeyPairSync } from 'node:crypto'
import { lstat, mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../../../test/support/program.ts'
import { resolve } from '../../core/src/resolve.ts'
import { makeGpgSigner, makeSshSigner, run } from '../../git-mirror/src/git-servers-test-support.ts'
import container from './container.ts'
import { peerOptions } from './index.ts'
import { ask, filesIn, logged, metric, Scene, TOKEN } from './scene-test-support.ts'
import { serve } from './test-support.ts'

let scene: Scene

beforeEach(async () => {
  scene = await Scene.make()
})
afterEach(() => scene[Symbol.asyncDispose]())

it('The link is relative, is replaced by a rename, and the last element of its target is the hash of the commit.', async () => {
  const first = await scene.commit('0')
  const program = scene.program({ GITSYNC_PERIOD: '10ms' })
  await scene.shows(first)
  const target = await readlink(scene.link)
  expect(isAbsolute(target)).toBe(false)
  expect(target.split('/').at(-1)).toBe(first)
  // From another process there is no moment at which it is not there.
  let isOver = false
  const looks = (async () => {
    const seen = new Set<string>()
    while (!isOver) {
      seen.add((await readlink(scene.link)).split('/').at(-1) ?? '')
    }
    return seen
  })()
  for (let round = 1; round <= 10; round++) await scene.shows(await scene.commit(`${round}`))
  isOver = true
  expect([...(await looks)]).toEqual([...scene.versions.keys()])
  program.signal('SIGTERM')
  expect(await program.ended()).toBe(0)
})

it('Whatever fails, the published tree stays whole.', async () => {
  const server = await scene.serve()
  const { repository } = scene
  const own = join(scene.root, '.git')
  const [hook, refusal] = [join(scene.base, 'hook'), join(scene.base, 'refusal')]
  await writeFile(hook, `#!/bin/sh\ntest ! -e ${refusal}\n`, { mode: 0o755 })
  const first = await scene.commit('first')
  const running = await scene.start({
    GITSYNC_REPO: server.urlOf('site.git'),
    GITSYNC_PERIOD: '50ms',
    GITSYNC_SYNC_TIMEOUT: '1s',
    GITSYNC_PRE_PUBLISH_EXECHOOK_COMMAND: hook,
  })
  await scene.shows(first)
  const faults: Readonly<Record<string, (next: string) => unknown>> = {
    'the server fails': () => (server.fault = { kind: 'status', status: 500 }),
    'the server hangs': () => (server.fault = { kind: 'hang' }),
    'the pack is cut': () => (server.fault = { kind: 'cut', bytes: 100 }),
    'the server wants a password': () => (server.auth = { username: 'a', password: 'b' }),
    'the branch is gone': () => repository.setHead('refs/heads/nowhere'),
    'a hook refuses': () => writeFile(refusal, ''),
    'an object is damaged': async (next) =>
      repository.damage(await repository.rev(`${next}:index.html`), 'corrupt'),
  }
  for (const [name, damage] of Object.entries(faults)) {
    const before = await scene.whole()
    const failures = logged(running, 'sync failed')
    // Of the branch that is followed only once the fault is there.
    const lost = await scene.commit(name, { branch: 'next' })
    await damage(lost)
    await repository.forcePush('main', lost)
    await until(`the failure where ${name}`, () => logged(running, 'sync failed') > failures)
    expect(await scene.whole()).toBe(before)
    server.fault = undefined
    server.auth = undefined
    await repository.setHead('refs/heads/main')
    await repository.forcePush('main', before)
    await rm(refusal, { force: true })
    await scene.publish(running, `after it where ${name}`)
  }
  const remains = ['index.lock', 'shallow.lock', 'HEAD.lock', 'config.lock']
  for (const file of remains) await writeFile(join(own, file), '')
  await scene.publish(running, 'with locks that a crash has left')
  await writeFile(join(own, 'config'), '[broken')
  await scene.publish(running, 'with a repository that cannot be used')
  await rm(own, { recursive: true, maxRetries: 10 })
  await scene.publish(running, 'without its repository')
}, 60_000)

it('Killed at any instant, it leaves a link to one whole commit, and the next start clears away the rest.', async () => {
  const seen = new Set<string>()
  let longest = 0
  for (let round = 0; round <= 6; round++) {
    const begun = performance.now()
    const program = scene.program({ GITSYNC_PERIOD: '10ms' })
    await program.logged('started')
    const hash = await scene.commit(`${round}`)
    if (round === 0 || round === 6) await scene.shows(hash)
    else await new Promise((resolve) => setTimeout(resolve, Math.random() * longest))
    longest = Math.max(longest, performance.now() - begun)
    program.signal('SIGKILL')
    await program.ended()
    seen.add(await scene.whole())
  }
  expect(seen.size).toBeGreaterThan(1)
  // What only an unlucky moment would leave.
  await writeFile(join(scene.root, '.git', 'shallow.lock'), '')
  await mkdir(join(scene.root, '.worktrees', '0'.repeat(40)))
  const last = await scene.commit('the last')
  const program = scene.program()
  await scene.shows(last)
  await until(
    'the end of the cleaning',
    async () => (await readdir(join(scene.root, '.worktrees'))).length === 1,
  )
  expect((await readdir(scene.root)).toSorted()).toEqual(['.git', '.outrider.lock', '.worktrees', 'site'])
  expect(await readdir(join(scene.root, '.git'))).not.toContain('shallow.lock')
  await run('git', ['fsck', '--strict'], { cwd: scene.root })
  program.signal('SIGTERM')
  expect(await program.ended()).toBe(0)
}, 60_000)

it('An idle poll starts at most one process of git.', async () => {
  const server = await scene.serve()
  const hash = await scene.commit('idle')
  for (const [repo, processes] of [
    [scene.repository.directory, 1],
    [server.urlOf('site.git'), 0],
  ] as const) {
    const running = await scene.start({ GITSYNC_REPO: repo, GITSYNC_PERIOD: '10ms' })
    await scene.shows(hash)
    const idle = () => metric(running, 'syncs_total', 'outcome="unchanged"')
    await until('a first idle poll', async () => (await idle()) > 0)
    const before = [await idle(), await metric(running, 'git_processes_total')] as const
    await until('twenty of them', async () => (await idle()) >= before[0] + 20)
    const started = (await metric(running, 'git_processes_total')) - before[1]
    const polls = (await idle()) - before[0]
    // One may have been at work when they were counted.
    expect(started).toBeGreaterThanOrEqual(processes * (polls - 1))
    expect(started).toBeLessThanOrEqual(processes * (polls + 1))
    await running[Symbol.asyncDispose]()
  }
})

it('A push is published at once by a signed trigger, and a trigger that is forged or repeated does nothing.', async () => {
  const hash = await scene.commit('before')
  const running = await scene.start()
  await scene.shows(hash)
  const push = (body: string, secret = TOKEN) => {
    const signature = createHmac('sha256', secret).update(body).digest('hex')
    return ask(running, {
      headers: { 'x-github-event': 'push', 'x-hub-signature-256': `sha256=${signature}` },
      body,
    })
  }
  const next = await scene.commit('pushed')
  expect(await push('{"ref":"refs/heads/main"}')).toBe(202)
  await scene.shows(next)
  await until('the end of the sync', async () => (await metric(running, 'syncs_total')) === 2)
  const later = await scene.commit('later')
  expect(await push('{"ref":"refs/heads/main","forged":true}', 'another secret')).toBe(401)
  expect(await push('{"ref":"refs/heads/main"}')).toBe(200)
  expect(await ask(running, { headers: {} })).toBe(401)
  expect(await ask(running, { headers: { authorization: 'Bearer wrong' } })).toBe(401)
  expect(await metric(running, 'triggers_total', 'form="github",outcome="replayed"')).toBe(1)
  expect(await metric(running, 'triggers_total', 'outcome="unauthorized"')).toBe(3)
  expect(await push('{"ref":"refs/heads/main","after":"later"}')).toBe(202)
  await scene.shows(later)
  await until('no more syncs than triggers', async () => (await metric(running, 'syncs_total')) === 3)
})

it('It is not ready before the first sync, nor when the last success is too long ago.', async () => {
  const server = await scene.serve()
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  server.fault = { kind: 'hold', until: held }
  await scene.commit('first')
  const running = await scene.start({
    GITSYNC_REPO: server.urlOf('site.git'),
    GITSYNC_PERIOD: '100ms',
    GITSYNC_READY_MAX_AGE: '1s',
  })
  const isReady = async () => (await running.ask('/readyz')).status === 200
  expect(await isReady()).toBe(false)
  expect(await (await running.ask('/readyz')).text()).toContain('not synced yet: default')
  release()
  await until('ready', isReady)
  server.fault = { kind: 'status', status: 500 }
  await until('not ready', async () => !(await isReady()))
  expect(await (await running.ask('/readyz')).text()).toContain(
    'the last successful sync of default is more than 1 s ago',
  )
  expect((await running.ask('/healthz')).status).toBe(200)
  server.fault = undefined
  await ask(running)
  await until('ready again', isReady)
})

it('Only what allowed signers have signed is published, where signers are given.', async () => {
  const [trusted, stranger] = await Promise.all(
    ['trusted', 'stranger'].map((name) => makeSshSigner(join(scene.base, name))),
  )
  if (trusted === undefined || stranger === undefined) throw new Error('two signers')
  const gpg = scene.keep(await makeGpgSigner(join(scene.base, 'gpg')))
  const [signers, keys] = [join(scene.base, 'signers'), join(scene.base, 'keys')]
  await writeFile(signers, trusted.publicKey)
  await writeFile(keys, gpg.publicKey)
  for (const [env, sign] of [
    [{ GITSYNC_VERIFY_SSH_ALLOWED_SIGNERS: signers }, trusted],
    [{ GITSYNC_VERIFY_GPG_KEYS: keys }, gpg],
  ] as const) {
    const first = await scene.commit('signed', { sign })
    const running = await scene.start(env)
    await scene.shows(first)
    for (const other of [undefined, stranger]) {
      const failures = logged(running, 'sync failed')
      await scene.commit(`by ${other === undefined ? 'nobody' : 'a stranger'}`, other && { sign: other })
      await ask(running)
      await until('a refusal', () => logged(running, 'sync failed') > failures)
      expect(await scene.whole()).toBe(first)
    }
    expect(await metric(running, 'errors_total', 'kind="unsigned"')).toBe(2)
    const next = await scene.commit('signed again', { sign })
    await ask(running)
    await scene.shows(next)
    await running[Symbol.asyncDispose]()
  }
})

it('Credentials are never in arguments, logs, errors or on disk.', async () => {
  const server = await scene.serve()
  const url = server.urlOf('site.git')
  const file = join(scene.base, 'password')
  const traced = join(scene.base, 'traced-git')
  const hook = join(scene.base, 'hook')
  // Git tells the arguments of all that it starts, too.
  await writeFile(traced, `#!/bin/sh\nGIT_TRACE=${scene.base}/trace exec git "$@"\n`, { mode: 0o755 })
  await writeFile(hook, `#!/bin/sh\nenv > ${scene.base}/hook-environment\n`, { mode: 0o755 })
  const askpass = await serve((_, response) =>
    response.end(`username=user\npassword=${secretOf('askpass')}\n`),
  )
  const github = await serve((_, response) =>
    response
      .writeHead(201)
      .end(JSON.stringify({ token: secretOf('github'), expires_at: new Date(Date.now() + 3_600_000) })),
  )
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const ways: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    variable: { GITSYNC_USERNAME: 'user', GITSYNC_PASSWORD: secretOf('variable') },
    file: { GITSYNC_USERNAME: 'user', GITSYNC_PASSWORD_FILE: file },
    url: { GITSYNC_REPO: url.replace('//', `//user:${encodeURIComponent(secretOf('url'))}@`) },
    askpass: { GITSYNC_ASKPASS_URL: askpass.url.href },
    list: {
      GITSYNC_CREDENTIAL: JSON.stringify([
        { url: server.origin, username: 'user', password: secretOf('list') },
      ]),
    },
    github: {
      GITSYNC_GITHUB_BASE_URL: github.url.href,
      GITSYNC_GITHUB_APP_PRIVATE_KEY: pem,
      GITSYNC_GITHUB_APP_APPLICATION_ID: '1',
      GITSYNC_GITHUB_APP_INSTALLATION_ID: '1',
    },
  }
  for (const [way, env] of Object.entries(ways)) {
    const password = secretOf(way)
    const username = way === 'github' ? 'x-access-token' : 'user'
    await writeFile(file, secretOf('file'))
    server.auth = { username, password }
    const first = await scene.commit(way)
    const program = scene.program({
      GITSYNC_REPO: url,
      GITSYNC_GIT: traced,
      GITSYNC_EXECHOOK_COMMAND: hook,
      GITSYNC_ERROR_FILE: 'error',
      GITSYNC_PERIOD: '100ms',
      LOG_LEVEL: 'debug',
      ...env,
    })
    await scene.shows(first)
    await program.logged('hook done')
    // Refused, it is told as an error.
    server.auth = { username, password: 'another' }
    await program.logged('sync failed')
    const pages = ['/', '/params', '/metrics', '/readyz', '/status']
    const shown = await Promise.all(pages.map(async (path) => (await program.ask(path)).text()))
    const own = await readFile(`/proc/${program.pid}/cmdline`, 'utf8')
    program.signal('SIGTERM')
    await program.ended()
    await rm(file)
    const basic = Buffer.from(`${username}:${password}`).toString('base64')
    const [, keyLine = ''] = pem.split('\n')
    for (const secret of [password, encodeURIComponent(password), basic, keyLine]) {
      const texts = { way, own, shown: shown.join(), stdout: program.stdout, stderr: program.stderr }
      for (const [place, text] of Object.entries(texts))
        expect({ place, is: text.includes(secret) }).toEqual({ place, is: false })
      // With what git was told to do and the environment of the hook.
      expect(await run('sh', ['-c', 'grep -rlF -- "$0" . || true', secret], { cwd: scene.base })).toBe('')
    }
    const trace = await readFile(join(scene.base, 'trace'), 'utf8')
    expect(trace).toContain('git fetch')
    expect(trace).toMatch(/remote-http/)
    await rm(scene.root, { recursive: true })
  }
}, 60_000)

const secretOf = (way: string): string => `pass/word+of ${way}`

/** Texts that are no default; without one, `true`. What an older flag says is another text today. */
const samples: Readonly<Record<string, string | readonly [text: string, today: string]>> = {
  repo: 'https://git.example/site.git',
  ref: 'next',
  depth: '7',
  filter: 'blob:none',
  submodules: 'off',
  root: '/srv',
  link: 'here',
  gitGc: 'aggressive',
  git: '/opt/git',
  gitConfig: 'a.b:c',
  gitConfigAdd: 'a.b:c',
  credential: '{"url":"https://git.example","username":"a","password":"b"}',
  syncOnSignal: 'USR1',
  webhookMethod: 'PUT',
  verbose: '6',
  sshKnownHosts: 'false',
  ...Object.fromEntries(
    ['maxFailures', 'initMaxFailures', 'webhookSuccessStatus'].map((name) => [name, '-1']),
  ),
  ...Object.fromEntries(['githubAppApplicationId', 'githubAppInstallationId'].map((name) => [name, '12'])),
  ...Object.fromEntries(
    ['webhookUrl', 'askpassUrl', 'githubBaseUrl'].map((name) => [name, 'https://other.example/']),
  ),
  ...Object.fromEntries(['errorFile', 'touchFile', 'sparseCheckoutFile'].map((name) => [name, '/a/file'])),
  ...Object.fromEntries(
    ['passwordFile', 'sshKeyFile', 'sshKnownHostsFile', 'githubAppPrivateKeyFile'].map((name) => [
      name,
      '/b/file',
    ]),
  ),
  httpBind: ':1234',
  ...Object.fromEntries(
    ['period', 'initPeriod', 'syncTimeout', 'staleWorktreeTimeout'].map((name) => [name, '1m30.5s']),
  ),
  ...Object.fromEntries(
    ['exechook', 'prePublishExechook', 'webhook'].flatMap((name) => [
      [`${name}Timeout`, '1.5s'],
      [`${name}Backoff`, '2m'],
    ]),
  ),
  '--wait': ['1.5', '1.5s'],
  '--timeout': ['90', '90s'],
  '--rev': 'next',
}

it('The flags and variables of kubernetes/git-sync mean what they mean there.', () => {
  const withoutChecks = { ...container, check: () => [] }
  const resolved = (argv: readonly string[], env: Readonly<Record<string, string>>) => {
    const repo = { GITSYNC_REPO: '/repository' }
    const resolution = resolve(withoutChecks, { argv, env: { ...repo, ...env }, readFile: () => '' })
    if (!resolution.ok) throw new Error(resolution.problems.join('\n'))
    return resolution.resolved
  }
  for (const option of peerOptions) {
    const { flag, variable, formers, deprecated, ours } = option
    if (ours === undefined) continue
    const param = container.params.find(({ name }) => name === ours)
    if (param === undefined) throw new Error(`there is no ${ours}`)
    if (!deprecated) {
      const names = { flag: flag ?? param.flag, variable: variable ?? param.variable }
      expect(param).toMatchObject(names)
      // What its image sets.
      const byDefault = ours === 'root' ? '/git' : option.default
      expect([ours, param.facts.default ?? '']).toEqual([ours, byDefault])
    }
    const sample = samples[flag ?? ''] ?? samples[ours] ?? 'true'
    const [text, today] = typeof sample === 'string' ? [sample, sample] : sample
    const expected = [ours, resolved([], { [param.variable]: today }).values[ours]]
    expect(expected).not.toEqual([ours, undefined])
    if (flag !== undefined) {
      const { values, warnings } = resolved([`${flag}=${text}`], {})
      expect([ours, values[ours]]).toEqual(expected)
      expect(warnings.length).toBe(deprecated ? 1 : 0)
    }
    for (const name of [...formers, ...(deprecated && variable !== undefined ? [variable] : [])]) {
      // Of two, there the older one counts.
      const { values, warnings } = resolved([], {
        [name]: text,
        [param.variable]: param.facts.default ?? today,
      })
      expect([ours, values[ours]]).toEqual(expected)
      expect(warnings).toEqual([expect.stringContaining(`${name} is deprecated: set ${param.variable}`)])
    }
  }
})

describe('beside its contract', () => {
  it('a table of repositories is followed: entries come, go and change, and the others go on as they are', async () => {
    const hashes = [await scene.commit('one'), await scene.commit('two')] as const
    const file = join(scene.base, 'repositories.yaml')
    const write = (refs: Readonly<Record<string, string>>) =>
      writeFile(
        file,
        `repositories:\n${Object.entries(refs)
          .map(
            ([name, ref]) =>
              `  - { name: ${name}, repo: ${scene.repository.directory}, ref: ${ref}, link: ${name} }\n`,
          )
          .join('')}`,
      )
    await write({ stays: hashes[0], changes: hashes[0], goes: hashes[0] })
    const table = { GITSYNC_REPO: '', GITSYNC_LINK: '', GITSYNC_REPOSITORIES: file }
    const running = await scene.start({ ...table, GITSYNC_MAX_FAILURES: '' })
    const shown = async () => {
      const { repositories } = (await (await running.ask('/status')).json()) as {
        repositories: { name: string; link: string; lastSuccess?: number }[]
      }
      if (repositories.some(({ lastSuccess }) => lastSuccess === undefined)) return ''
      const texts = repositories.map(
        async ({ name, link }) => `${name}=${await readFile(join(link, 'index.html'), 'utf8')}`,
      )
      return (await Promise.all(texts)).toSorted().join(' ')
    }
    await until('all', async () => (await shown()) === 'changes=one goes=one stays=one')
    const syncs = () => metric(running, 'syncs_total', 'repository="stays"')
    const before = await syncs()
    await write({ stays: hashes[0], changes: hashes[1], comes: hashes[1] })
    await until('the others', async () => (await shown()) === 'changes=two comes=two stays=one')
    expect(await syncs()).toBe(before)
    expect(await ask(running, { path: '/sync/comes' })).toBe(202)
    expect(await ask(running, { path: '/sync/goes' })).toBe(404)
    await write({ 'Not a name': hashes[0] })
    await until('the refusal', () =>
      running.events.some(({ error }) => /line 2.*name is "Not a name"/.test(String(error))),
    )
    expect(await shown()).toBe('changes=two comes=two stays=one')
    expect((await running.ask('/readyz')).status).toBe(200)
  })

  it('one of several that fails leaves the others alone, and closes readiness', async () => {
    const hash = await scene.commit('good')
    const file = join(scene.base, 'repositories.yaml')
    await writeFile(
      file,
      `repositories:
  - { name: good, repo: ${scene.repository.directory}, link: site }
  - { name: bad, repo: ${scene.base}/nowhere.git }
`,
    )
    const table = { GITSYNC_REPO: '', GITSYNC_LINK: '', GITSYNC_REPOSITORIES: file }
    const running = await scene.start({ ...table, GITSYNC_MAX_FAILURES: '' })
    await scene.shows(hash)
    await until('the failure', async () => (await metric(running, 'errors_total', 'repository="bad"')) > 0)
    expect((await running.ask('/readyz')).status).toBe(503)
    await scene.publish(running, 'still good')
  })

  it('GITSYNC_PUBLISH=copy publishes a directory with plain files, and removes those that are gone', async () => {
    await scene.repository.commit({ 'index.html': 'first', 'gone.html': 'first' })
    const running = await scene.start({ GITSYNC_PUBLISH: 'copy' })
    const shows = (files: Readonly<Record<string, string>>) =>
      until('the copy', async () => {
        const found = await filesIn(scene.link).catch(() => ({}))
        return JSON.stringify(found) === JSON.stringify(files)
      })
    await shows({ 'gone.html': 'first', 'index.html': 'first' })
    expect((await lstat(scene.link)).isDirectory()).toBe(true)
    await scene.repository.commit({ 'index.html': 'second', 'gone.html': null })
    await ask(running)
    await shows({ 'index.html': 'second' })
    expect(await readdir(scene.link)).toEqual(['index.html'])
  })

  it('a hook before publishing sees the new tree, and where it fails the old one stays', async () => {
    const hook = join(scene.base, 'hook')
    await writeFile(hook, '#!/bin/sh\ngrep -q good index.html\n', { mode: 0o755 })
    const first = await scene.commit('good')
    const running = await scene.start({
      GITSYNC_PRE_PUBLISH_EXECHOOK_COMMAND: hook,
      GITSYNC_MAX_FAILURES: '0',
    })
    await scene.shows(first)
    await scene.commit('bad')
    await ask(running)
    await until('the refusal', async () => (await metric(running, 'errors_total', 'kind="hook"')) === 1)
    expect(await scene.whole()).toBe(first)
    await scene.publish(running, 'good again')
  })

  it('two processes in one root do not disturb each other: the second says so, and takes over from the first', async () => {
    const hash = await scene.commit('first')
    const first = await scene.start()
    await scene.shows(hash)
    const second = await scene.start({ GITSYNC_PERIOD: '50ms' })
    await until('the failure', async () => (await metric(second, 'errors_total', 'kind="locked"')) > 0)
    await first[Symbol.asyncDispose]()
    await scene.shows(await scene.commit('second'))
  })

  it('a drain ends what is in hand and begins no more', async () => {
    const server = await scene.serve()
    const before = await scene.commit('before')
    const running = await scene.start({ GITSYNC_REPO: server.urlOf('site.git') })
    await scene.shows(before)
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    server.fault = { kind: 'hold', on: ['pack'], until: held }
    const packs = () => server.requests.filter(({ kind }) => kind === 'pack').length
    const known = packs()
    const hash = await scene.commit('in hand')
    await ask(running)
    await until('the question for a pack', () => packs() > known)
    const drained = running.drain()
    expect(await ask(running)).toBe(503)
    release()
    expect(await drained).toBe('finished')
    expect(await scene.whole()).toBe(hash)
  })

  it('a repository that goes leaves no connection behind', async () => {
    const server = await scene.serve({ keepAliveMs: 60_000 })
    const file = join(scene.base, 'repositories.yaml')
    await scene.commit('one')
    const write = (name: string) =>
      writeFile(
        file,
        `repositories: [{ name: ${name}, repo: '${server.urlOf('site.git')}', link: ${name} }]\n`,
      )
    await write('first')
    const table = { GITSYNC_REPO: '', GITSYNC_LINK: '', GITSYNC_REPOSITORIES: file }
    const running = await scene.start(table)
    for (const name of ['first', 'second', 'third']) {
      await write(name)
      await until(name, async () => (await metric(running, 'syncs_total', `repository="${name}"`)) > 0)
    }
    await until('the end of the others', () => server.open <= 1)
  })
})
