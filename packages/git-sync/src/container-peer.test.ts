import { mkdir, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../../../test/support/program.ts'
import { run, serveSsh } from '../../git-mirror/src/git-servers-test-support.ts'
import { ask, filesIn, logged, metric, Scene } from './scene-test-support.ts'
import { serve } from './test-support.ts'

let scene: Scene

beforeEach(async () => {
  scene = await Scene.make()
})
afterEach(async () => {
  await scene[Symbol.asyncDispose]()
  process.umask(0o022)
})

/** A program of one line of shell; gives its path. */
async function script(name: string, line: string): Promise<string> {
  const file = join(scene.base, name)
  await writeFile(file, `#!/bin/sh\n${line}\n`, { mode: 0o755 })
  return file
}

const textOf = (path: string): Promise<string> =>
  until(path, () => readFile(path, 'utf8').catch(() => undefined))

describe('--one-time', () => {
  it('ends with 0 after the first sync and its hooks', async () => {
    const hash = await scene.commit('once')
    const hook = await script('hook', `echo $GITSYNC_HASH > ${scene.base}/ran`)
    const program = scene.program({}, ['--one-time', `--exechook-command=${hook}`])
    expect(await program.ended()).toBe(0)
    expect(await scene.whole()).toBe(hash)
    expect(await textOf(join(scene.base, 'ran'))).toBe(`${hash}\n`)
  })

  it('ends with 1 where the sync or a hook has failed, and with 2 for flags that are wrong', async () => {
    await scene.commit('once')
    const hook = await script('hook', 'exit 3')
    const ends = [
      [1, ['--one-time=true', `--exechook-command=${hook}`]],
      [1, ['--one-time', '--ref=nowhere', '--max-failures=0']],
      [2, ['--one-time', '--no-such-flag']],
      [2, ['--one-time', '--period=soon']],
    ] as const
    for (const [code, flags] of ends)
      expect([await scene.program({}, flags).ended(), flags]).toEqual([code, flags])
  })
})

describe('failures in a row', () => {
  it('end it after as many as --max-failures says, a success between them starts anew', async () => {
    const first = await scene.commit('first')
    const running = await scene.start({ GITSYNC_MAX_FAILURES: '2', GITSYNC_PERIOD: '20ms' })
    await scene.shows(first)
    await scene.repository.setHead('refs/heads/nowhere')
    expect(await running.ended).toBe('failed')
    expect(logged(running, 'sync failed')).toBe(2)
    expect(await scene.whole()).toBe(first)
  })

  it('before the first success count by --init-max-failures, at the pace of --init-period', async () => {
    const running = await scene.start({
      GITSYNC_INIT_MAX_FAILURES: '3',
      GITSYNC_INIT_PERIOD: '10ms',
      GITSYNC_MAX_FAILURES: '-1',
    })
    expect(await running.ended).toBe('failed')
    expect(logged(running, 'sync failed')).toBe(3)
  })

  it('end it at the first with 0, which is the default', async () => {
    const running = await scene.start({ GITSYNC_MAX_FAILURES: '' })
    expect(await running.ended).toBe('failed')
    expect(logged(running, 'sync failed')).toBe(1)
  })
})

it('--error-file has Msg, Err and Args while syncs fail; --touch-file changes with each new tree alone', async () => {
  await scene.commit('first')
  await scene.repository.setHead('refs/heads/nowhere')
  const running = await scene.start({
    GITSYNC_ERROR_FILE: 'error.json',
    GITSYNC_TOUCH_FILE: join(scene.base, 'told', 'touched'),
  })
  const error = join(scene.root, 'error.json')
  expect(JSON.parse(await textOf(error))).toEqual({
    Msg: expect.any(String),
    Err: expect.stringContaining('the remote has no HEAD'),
    Args: { failCount: 1, kind: 'no-ref' },
  })
  expect((await stat(error)).mode & 0o777).toBe(0o644)
  await scene.repository.setHead('refs/heads/main')
  await scene.publish(running, 'second')
  await until('no error', async () => !(await readdir(scene.root)).includes('error.json'))
  const touched = async () => (await stat(join(scene.base, 'told', 'touched'))).mtimeMs
  const second = await until('the touch', () => touched().catch(() => undefined))
  await ask(running)
  await until('an idle poll', async () => (await metric(running, 'syncs_total', '"unchanged"')) > 0)
  expect(await touched()).toBe(second)
  await scene.publish(running, 'third')
  await until('the next touch', async () => (await touched()) > second)
})

it('--exechook-command runs in the new tree with GITSYNC_HASH; it is tried again until it succeeds', async () => {
  const told = join(scene.base, 'told')
  const hook = await script('hook', `echo $GITSYNC_HASH $PWD >> ${told}; test $(wc -l < ${told}) -ge 2`)
  const hash = await scene.commit('hooked')
  const running = await scene.start({ GITSYNC_EXECHOOK_COMMAND: hook, GITSYNC_EXECHOOK_BACKOFF: '1s' })
  await until('a success', () => logged(running, 'hook done') === 1)
  const line = `${hash} ${join(scene.root, '.worktrees', hash)}\n`
  expect(await readFile(told, 'utf8')).toBe(line + line)
  expect(logged(running, 'hook failed')).toBe(1)
  expect(await metric(running, 'hook_runs_total', 'hook="exechook",outcome="success"')).toBe(1)
})

it('--webhook-url is called with Gitsync-Hash, by --webhook-method, and must answer with --webhook-success-status', async () => {
  const calls: (string | undefined)[][] = []
  const receiver = await serve(({ method, headers }, response) => {
    calls.push([method, headers['gitsync-hash']?.toString()])
    response.writeHead(calls.length === 1 ? 200 : 204).end()
  })
  const hash = await scene.commit('called')
  const running = await scene.start({
    GITSYNC_WEBHOOK_URL: receiver.url.href,
    GITSYNC_WEBHOOK_METHOD: 'PUT',
    GITSYNC_WEBHOOK_SUCCESS_STATUS: '204',
    GITSYNC_WEBHOOK_BACKOFF: '1s',
  })
  await until('a success', () => logged(running, 'hook done') === 1)
  expect(calls).toEqual([
    ['PUT', hash],
    ['PUT', hash],
  ])
})

it('--http-bind answers 503 until the first sync and then 200, and /metrics under the names of before', async () => {
  const running = await scene.start({ GITSYNC_HTTP_METRICS: 'true' })
  const { probes } = running.addresses
  if (probes === undefined || 'path' in probes) throw new Error('it listens on TCP')
  const probe = (path: string) => fetch(`http://127.0.0.1:${probes.port}${path}`)
  expect((await probe('/any')).status).toBe(503)
  await scene.publish(running, 'first')
  await until('the first sync', async () => (await probe('/')).status === 200)
  const text = await (await probe('/metrics')).text()
  for (const row of [
    'git_sync_count_total{status="success"} 1',
    'git_sync_duration_seconds_sum{status="success"} ',
  ])
    expect(text).toContain(row)
  expect(text).toMatch(/^git_fetch_count_total [1-9]/m)
})

it.each(['SIGHUP', 'hup', '10', 'USR1'])('--sync-on-signal takes %s, and syncs at once', async (name) => {
  const first = await scene.commit('first')
  const running = await scene.start({ GITSYNC_SYNC_ON_SIGNAL: name })
  await scene.shows(first)
  const second = await scene.commit('second')
  running.signal(/hup/i.test(name) ? 'SIGHUP' : 'SIGUSR1')
  await scene.shows(second)
})

it.each([
  ['false', 0o644, 0o755],
  ['true', 0o664, 0o775],
])('--group-write=%s decides who may write what is published', async (groupWrite, file, directory) => {
  const hash = await scene.commit('modes')
  await scene.start({ GITSYNC_GROUP_WRITE: groupWrite })
  await scene.shows(hash)
  const modeOf = async (path: string) => (await stat(join(scene.link, path))).mode & 0o777
  expect([
    await modeOf('index.html'),
    await modeOf('deep/a'),
    await modeOf('deep'),
    await modeOf('deep/er'),
  ]).toEqual([file, file, directory, directory])
})

it('--link is the last part of the repository where it is not given, and may be absolute or nested', async () => {
  const hash = await scene.commit('linked')
  for (const [link, path] of [
    ['', join(scene.root, 'site.git')],
    ['a/nested/link', join(scene.root, 'a/nested/link')],
    [join(scene.base, 'elsewhere'), join(scene.base, 'elsewhere')],
  ] as const) {
    await using running = await scene.start({ GITSYNC_LINK: link })
    const target = await until(path, () => readlink(path).catch(() => undefined))
    expect(target.startsWith('/')).toBe(false)
    expect(target.endsWith(`/${hash}`)).toBe(true)
    expect(await readFile(join(path, 'index.html'), 'utf8')).toBe('linked')
    expect(running.addresses).toBeDefined()
  }
})

it('--stale-worktree-timeout keeps the tree that was replaced', async () => {
  const running = await scene.start({ GITSYNC_STALE_WORKTREE_TIMEOUT: '1h' })
  const [first, second] = [await scene.publish(running, 'first'), await scene.publish(running, 'second')]
  await until('the end of the sync', async () => (await metric(running, 'syncs_total', '"published"')) === 2)
  expect((await readdir(join(scene.root, '.worktrees'))).toSorted()).toEqual([first, second].toSorted())
})

it('--depth is how much of the history there is: 1 by default, 0 for all, also of what was there', async () => {
  for (const text of ['one', 'two', 'three']) await scene.commit(text)
  for (const [depth, root, commits] of [
    ['', 'one', 1],
    ['2', 'other', 2],
    ['0', 'one', 3],
  ] as const) {
    const own = {
      GITSYNC_REPO: `file://${scene.repository.directory}`,
      GITSYNC_ROOT: join(scene.base, root),
    }
    await using running = await scene.start({ ...own, GITSYNC_DEPTH: depth })
    await until('a sync', async () => (await metric(running, 'syncs_total')) > 0)
    const count = await run('git', ['rev-list', '--count', 'HEAD'], {
      cwd: join(scene.base, root, 'site'),
    })
    expect([depth, Number(count)]).toEqual([depth, commits])
  }
})

it('--sparse-checkout-file and --filter bring a part of the tree alone', async () => {
  const server = await scene.serve()
  const patterns = join(scene.base, 'patterns')
  await writeFile(patterns, '/deep/er/\n')
  await scene.commit('sparse')
  const running = await scene.start({
    GITSYNC_REPO: server.urlOf('site.git'),
    GITSYNC_SPARSE_CHECKOUT_FILE: patterns,
    GITSYNC_FILTER: 'blob:none',
  })
  await until('a sync', async () => (await metric(running, 'syncs_total', '"published"')) > 0)
  expect(await filesIn(scene.link)).toEqual({ 'deep/er/b': 'sparse' })
})

describe('submodules', () => {
  const auth = { username: 'user', password: 'of the submodule' }

  it.each([
    ['recursive', ['index.html', 'part/index.html', 'part/inner/index.html']],
    ['shallow', ['index.html', 'part/index.html']],
    ['off', ['index.html']],
  ])('--submodules=%s', async (submodules, files) => {
    const server = await scene.serve()
    const { part, inner } = { part: await scene.sibling('part'), inner: await scene.sibling('inner') }
    const innerHash = await inner.commit({ 'index.html': 'inner' })
    await part.commit({ 'index.html': 'part' })
    const hash = await part.addSubmodule('inner', { url: server.urlOf('inner.git'), hash: innerHash })
    await scene.repository.commit({ 'index.html': 'site' })
    await scene.repository.addSubmodule('part', { url: server.urlOf('part.git'), hash })
    const running = await scene.start({
      GITSYNC_REPO: server.urlOf('site.git'),
      GITSYNC_SUBMODULES: submodules,
    })
    await until('a sync', async () => (await metric(running, 'syncs_total', '"published"')) > 0)
    const found = Object.keys(await filesIn(scene.link)).filter((path) => !path.endsWith('.gitmodules'))
    expect(found.toSorted()).toEqual(files)
  })

  it('have the --credential of their own host', async () => {
    const [server, guarded] = [await scene.serve(), await scene.serve({ auth })]
    const part = await scene.sibling('part')
    const hash = await part.commit({ 'index.html': 'part' })
    await scene.repository.addSubmodule('part', { url: guarded.urlOf('part.git'), hash })
    const running = await scene.start({
      GITSYNC_REPO: server.urlOf('site.git'),
      GITSYNC_CREDENTIAL: JSON.stringify({ url: guarded.origin, ...auth }),
    })
    await until('a sync', async () => (await metric(running, 'syncs_total', '"published"')) > 0)
    expect(await readFile(join(scene.link, 'part/index.html'), 'utf8')).toBe('part')
  })
})

it('--ssh-key-file and --ssh-known-hosts-file open a repository by SSH, and an unknown host is refused', async () => {
  const server = scene.keep(await serveSsh(join(scene.base, 'repositories')))
  const hash = await scene.commit('by SSH')
  const ssh = { GITSYNC_REPO: server.urlOf('site.git'), GITSYNC_SSH_KEY_FILE: server.keyFile }
  const stranger = await scene.start({ ...ssh, GITSYNC_SSH_KNOWN_HOSTS_FILE: '/dev/null' })
  await until('a refusal', async () => (await metric(stranger, 'errors_total', 'kind="host-key"')) === 1)
  await stranger[Symbol.asyncDispose]()
  await using known = await scene.start({ ...ssh, GITSYNC_SSH_KNOWN_HOSTS_FILE: server.knownHostsFile })
  await scene.shows(hash)
  await known[Symbol.asyncDispose]()
  const unchecked = await scene.start({ ...ssh, GITSYNC_SSH_KNOWN_HOSTS: 'false' })
  await scene.publish(unchecked, 'by SSH, unchecked')
})

it('--git, --git-config, --git-config-add and --cookie-file are what git gets', async () => {
  const settings = join(scene.base, 'settings')
  const git = await script('git', `git config --list >> ${settings}; exec git "$@"`)
  const hash = await scene.commit('configured')
  await scene.start({
    GITSYNC_GIT: git,
    GITSYNC_GIT_CONFIG: 'user.name:"a, b",gc.auto:7',
    GITSYNC_GIT_CONFIG_ADD: 'one.two:three',
    GITSYNC_COOKIE_FILE: 'true',
  })
  await scene.shows(hash)
  const found = (await readFile(settings, 'utf8')).split('\n')
  const cookies = 'http.cookiefile=/etc/git-secret/cookie_file'
  expect(found).toEqual(expect.arrayContaining(['user.name=a, b', 'gc.auto=7', 'one.two=three', cookies]))
})

it('a pinned hash is synced once and not asked for again', async () => {
  const hash = await scene.commit('pinned')
  await scene.commit('later')
  const running = await scene.start({ GITSYNC_REF: hash, GITSYNC_PERIOD: '10ms' })
  await scene.shows(hash)
  await until('the end of the sync', async () => (await metric(running, 'syncs_total')) === 1)
  const processes = await metric(running, 'git_processes_total')
  await ask(running)
  await until('a sync that was asked for', async () => (await metric(running, 'syncs_total')) === 2)
  expect(await metric(running, 'git_processes_total')).toBe(processes)
})

it('what older flags and variables say is done, each with a warning', async () => {
  const hash = await scene.commit('older')
  await scene.repository.branch('next', hash)
  await scene.commit('newer')
  const env = { GITSYNC_REF: '', GITSYNC_LINK: '', GITSYNC_PERIOD: '', GITSYNC_MAX_FAILURES: '' }
  const flags = [
    '--branch=next',
    '--rev=HEAD',
    '--wait=1.5',
    '--timeout=30',
    '--max-sync-failures=3',
    '--v=1',
    '--ssh',
  ]
  const program = scene.program({ ...env, GIT_SYNC_DEST: 'site', GIT_SYNC_DEPTH: '1' }, flags)
  await scene.shows(hash)
  const params = (await (await program.ask('/params')).json()) as Record<string, { value: string }>
  const values = ['ref', 'link', 'period', 'syncTimeout', 'maxFailures', 'depth', 'verbose'].map(
    (name) => params[name]?.value,
  )
  expect(values).toEqual(['next', 'site', '1.5s', '30s', '3', '1', '1'])
  const warnings = program.events().filter(({ msg }) => msg === 'deprecated')
  // `--rev=HEAD` has always said nothing.
  expect(warnings).toHaveLength(8)
  const refused = scene.program({ GIT_SYNC_PERMISSIONS: '0755' })
  expect(await refused.ended()).toBe(2)
  expect(refused.stderr).toContain('--group-write')
})

it('flags with one dash, and those of the log, are taken as version 3 did', async () => {
  const hash = await scene.commit('older')
  await scene.repository.branch('next', hash)
  await scene.commit('newer')
  const flags = ['-branch=next', '-one-time', '-logtostderr', '-stderrthreshold', 'INFO', '-v', '2']
  const program = scene.program({ GITSYNC_REF: '', GIT_SYNC_PERMISSIONS: '0' }, flags)
  expect([await program.ended(), program.stderr]).toEqual([0, ''])
  expect(await scene.whole()).toBe(hash)
  const warnings = program.events().filter(({ msg }) => msg === 'deprecated')
  expect(warnings.map(({ warning }) => warning).toSorted()).toEqual([
    '--branch is deprecated: set GITSYNC_REF (--ref)',
    '--logtostderr does nothing any more: the log is on standard output, each line a JSON object',
    '--stderrthreshold does nothing any more: the log is on standard output, each line a JSON object',
    'GIT_SYNC_PERMISSIONS does nothing any more: with --group-write the group may write what is published',
  ])
})

it('a root that is not there is made, and what others keep in it stays', async () => {
  await mkdir(join(scene.root, 'theirs'), { recursive: true })
  await writeFile(join(scene.root, 'theirs', 'file'), 'mine')
  const running = await scene.start()
  await scene.publish(running, 'first')
  expect(await readFile(join(scene.root, 'theirs', 'file'), 'utf8')).toBe('mine')
  const other = await scene.start({ GITSYNC_ROOT: join(scene.base, 'not/yet') })
  await until('a sync', async () => (await metric(other, 'syncs_total', '"published"')) > 0)
})
