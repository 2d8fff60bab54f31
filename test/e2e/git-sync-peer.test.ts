import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type GitHttpServer,
  serveSsh,
  type TestRepository,
} from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { docker } from '../support/docker.ts'
import {
  inVolume,
  makeSecret,
  makeVolume,
  Origin,
  promtool,
  SyncContainer,
  type Volume,
} from '../support/git-sync.ts'
import { until } from '../support/program.ts'
import { inRoot } from '../support/workspace.ts'

let origin: Origin
let server: GitHttpServer
let site: TestRepository
let hash: string

beforeAll(async () => {
  origin = await Origin.make()
  server = await origin.serve()
})
afterAll(() => origin[Symbol.asyncDispose]())

beforeEach(async () => {
  site = await origin.repository('dags.git')
  hash = await site.commit({ 'dag.py': 'first' })
})

/** As `emptyDir` of a pod whose `fsGroup` is that of the user whom the images of the peer have. */
async function makePeerVolume(): Promise<Volume> {
  const volume = await makeVolume()
  await inVolume(volume, 'chown 0:65533 .; chmod 2777 .', '0:0')
  return volume
}
const user = '65533:65533'

const said = (sync: SyncContainer, level: string) => sync.events().filter((event) => event['level'] === level)

describe('the variables of version 3, as the chart of Airflow has set them', () => {
  const chart = () => ({
    GIT_SYNC_REV: 'HEAD',
    GIT_SYNC_BRANCH: 'main',
    GIT_SYNC_REPO: server.urlOf('dags.git'),
    GIT_SYNC_DEPTH: '1',
    GIT_SYNC_ROOT: '/git',
    GIT_SYNC_DEST: 'repo',
    GIT_SYNC_ADD_USER: 'true',
    GIT_SYNC_WAIT: '0.2',
    GIT_SYNC_MAX_SYNC_FAILURES: '0',
  })

  it('start and sync, with warnings only', async () => {
    await using volume = await makePeerVolume()
    await using sync = new SyncContainer({ volume, user, env: chart() })
    await sync.published(hash)
    const next = await site.commit({ 'dag.py': 'second' })
    await sync.published(next)
    expect(await sync.sh('readlink /git/repo; cat /git/repo/dag.py')).toBe(`.worktrees/${next}\nsecond`)
    expect(said(sync, 'error')).toEqual([])
    expect(said(sync, 'warn').length).toBeGreaterThan(5)
    for (const warning of said(sync, 'warn')) expect(warning).toMatchObject({ msg: 'deprecated' })
  })

  it('end after one sync where that is set', async () => {
    await using volume = await makePeerVolume()
    await using sync = new SyncContainer({ volume, user, env: { ...chart(), GIT_SYNC_ONE_TIME: 'true' } })
    expect(await sync.ended()).toBe(0)
    expect(await inVolume(volume, 'cat repo/dag.py')).toBe('first')
  })

  it('read a private repository with user and password', async () => {
    const auth = { username: 'airflow', password: 'a-password' }
    const guarded = await origin.serve({ auth })
    await using volume = await makePeerVolume()
    const login = { GIT_SYNC_USERNAME: auth.username, GIT_SYNC_PASSWORD: auth.password }
    const env = { ...chart(), GIT_SYNC_REPO: guarded.urlOf('dags.git'), GIT_SYNC_ONE_TIME: 'true', ...login }
    await using sync = new SyncContainer({ volume, user, env })
    expect(await sync.ended()).toBe(0)
    expect(sync.stdout).not.toContain(auth.password)
  })
})

it('the variables of versions 3 and 4 together, as the chart sets them now, sync over SSH', async () => {
  const ssh = origin.keep(await serveSsh(origin.directory))
  const files = {
    ssh: readFileSync(ssh.keyFile, 'utf8'),
    known_hosts: readFileSync(ssh.knownHostsFile, 'utf8'),
  }
  await using secret = await makeSecret(files, { mode: '440', group: 65533 })
  await using volume = await makePeerVolume()
  const url = ssh.urlOf('dags.git')
  const pairs = {
    SSH: 'true',
    REPO: url,
    DEPTH: '1',
    ROOT: '/git',
    ADD_USER: 'true',
    ONE_TIME: 'true',
  }
  const env = {
    ...Object.fromEntries(
      Object.entries(pairs).flatMap(([name, value]) => [
        [`GIT_SYNC_${name}`, value],
        [`GITSYNC_${name}`, value],
      ]),
    ),
    GIT_SSH_KEY_FILE: '/etc/git-secret/ssh',
    GITSYNC_SSH_KEY_FILE: '/etc/git-secret/ssh',
    GIT_KNOWN_HOSTS: 'true',
    GITSYNC_SSH_KNOWN_HOSTS: 'true',
    GIT_SSH_KNOWN_HOSTS_FILE: '/etc/git-secret/known_hosts',
    GITSYNC_SSH_KNOWN_HOSTS_FILE: '/etc/git-secret/known_hosts',
    GIT_SYNC_REV: 'HEAD',
    GITSYNC_REF: 'main',
    GIT_SYNC_BRANCH: 'main',
    GIT_SYNC_DEST: 'repo',
    GITSYNC_LINK: 'repo',
    GIT_SYNC_WAIT: '60',
    GITSYNC_PERIOD: '5s',
    GIT_SYNC_MAX_SYNC_FAILURES: '0',
    GITSYNC_MAX_FAILURES: '0',
  }
  await using sync = new SyncContainer({ volume, user, env, mounts: [`${secret.name}:/etc/git-secret:ro`] })
  expect(await sync.ended()).toBe(0)
  expect(said(sync, 'error')).toEqual([])
  expect(await inVolume(volume, 'cat repo/dag.py')).toBe('first')
})

describe('the flags of version 4', () => {
  const flags = ({ ref = 'main', period = '200ms' } = {}) => [
    `--repo=${server.urlOf('dags.git')}`,
    `--ref=${ref}`,
    '--root=/git/nested/root',
    '--link=current',
    `--period=${period}`,
    '--init-period=1s',
    '--sync-timeout=60s',
    '--max-failures=-1',
    '--depth=1',
    '--submodules=off',
    '--git-gc=auto',
    '--git-config=user.name:nobody,pack.threads:1',
    '--group-write',
    '--touch-file=touched',
    '--error-file=error.json',
    '--stale-worktree-timeout=1h',
    '--sync-on-signal=SIGHUP',
    '--http-bind=127.0.0.1:0',
    '--http-metrics=true',
    '-v=2',
  ]

  it('start and sync with no warning, with files, modes and probes as there', async () => {
    await using volume = await makePeerVolume()
    server.fault = { kind: 'status', status: 503 }
    await using sync = new SyncContainer({ volume, user, args: flags() })
    const { probes } = await sync.addresses()
    const port = probes !== undefined && 'port' in probes ? probes.port : 0
    const probe = async () => (await fetch(`http://127.0.0.1:${port}/`)).status
    await until('a failure', () => sync.failures()[0])
    expect(await probe()).toBe(503)
    const error = JSON.parse(await sync.sh('cat /git/nested/root/error.json')) as Record<string, unknown>
    expect(Object.keys(error)).toEqual(['Msg', 'Err', 'Args'])
    server.fault = undefined
    await sync.published(hash)
    expect(await probe()).toBe(200)
    const modes = await sync.sh(`cd /git/nested/root; stat -c '%a %n' current/dag.py touched
      ls error.json 2>/dev/null || echo gone; ls -d .worktrees/*`)
    expect(modes).toBe(`664 current/dag.py\n664 touched\ngone\n.worktrees/${hash}`)
    expect(said(sync, 'warn')).toEqual([])
    const next = await site.commit({ 'dag.py': 'second' })
    await sync.published(next)
    // For an hour.
    expect(await sync.sh('ls /git/nested/root/.worktrees | wc -l')).toBe('2')
    const legacy = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    expect(legacy).toMatch(/^git_sync_count_total\{status="success"\} 2$/m)
    expect(legacy).toMatch(/^git_sync_count_total\{status="error"\} [1-9]/m)
    await expectSound(legacy, 'legacy')
    await expectSound(await (await sync.ask('/metrics')).text(), 'ours')
  })

  it('a signal to the container has it sync at once', async () => {
    await using volume = await makePeerVolume()
    await using sync = new SyncContainer({ volume, user, args: flags({ period: '1h' }) })
    await sync.published(hash)
    const next = await site.commit({ 'dag.py': 'second' })
    await sync.kill('SIGHUP')
    await sync.published(next)
  })

  it('a branch, a tag that is moved, an annotated tag and a hash are followed', async () => {
    await site.tag('moving')
    await site.tag('told', { annotated: true })
    await site.branch('next')
    const syncs = await Promise.all(
      ['moving', 'told', 'next', hash].map(async (ref) => {
        const volume = await makePeerVolume()
        return { ref, volume, sync: new SyncContainer({ volume, user, args: flags({ ref }) }) }
      }),
    )
    for (const { sync } of syncs) await sync.published(hash)
    const newer = await site.commit({ 'dag.py': 'second' })
    await site.tag('moving', { target: newer })
    await site.tag('told', { target: newer, annotated: true })
    await site.forcePush('next', newer)
    for (const { ref, sync, volume } of syncs) {
      if (ref !== hash) await sync.published(newer)
      const text = await inVolume(volume, 'cat nested/root/current/dag.py')
      expect([ref, text]).toEqual([ref, ref === hash ? 'first' : 'second'])
      await sync[Symbol.asyncDispose]()
      await volume[Symbol.asyncDispose]()
    }
  })

  it('each start with other flags on the same volume gives what they say', async () => {
    await site.commit({ 'dag.py': 'second' })
    await site.branch('next')
    const next = await site.commit({ 'dag.py': 'of next' }, { branch: 'next' })
    const main = await site.commit({ 'dag.py': 'third' })
    await using volume = await makePeerVolume()
    const start = async (...args: string[]) => {
      const common = [`--repo=${server.urlOf('dags.git')}`, '--root=/git', '--one-time']
      await using sync = new SyncContainer({ volume, user, args: [...common, ...args] })
      expect([args, await sync.ended()]).toEqual([args, 0])
      const look =
        'cd current; git rev-list --count HEAD; git rev-parse HEAD; cat dag.py; echo; ls .. | wc -l'
      return (await inVolume(volume, look, user)).split('\n')
    }
    expect(await start('--link=current', '--depth=1')).toEqual(['1', main, 'third', '1'])
    expect(await start('--link=current', '--depth=0')).toEqual(['3', main, 'third', '1'])
    expect(await start('--link=current', '--ref=next', '--depth=2')).toEqual(['2', next, 'of next', '1'])
    expect(await start('--link=current', `--ref=${hash}`)).toEqual(['1', hash, 'first', '1'])
    expect(await start('--link=current', '--ref=main', '--depth=1')).toEqual(['1', main, 'third', '1'])
  })

  it('a password file is read before each sync, and a webhook is called as there', async () => {
    const auth = { username: 'airflow', password: 'a-first-password' }
    const guarded = await origin.serve({ auth })
    const calls: string[] = []
    const hook = createServer((request, response) => {
      calls.push(`${request.method} ${request.headers['gitsync-hash']}`)
      response.end()
    }).listen(0, '127.0.0.1')
    await once(hook, 'listening')
    const { port } = hook.address() as AddressInfo
    await using volume = await makePeerVolume()
    await using secret = await makeSecret({ password: auth.password }, { mode: '440', group: 65533 })
    const args = flags({ period: '100ms' }).filter((flag) => !flag.startsWith('--repo'))
    await using sync = new SyncContainer({
      volume,
      user,
      mounts: [`${secret.name}:/etc/credentials:ro`],
      args: [
        ...args,
        `--repo=${guarded.urlOf('dags.git')}`,
        `--username=${auth.username}`,
        '--password-file=/etc/credentials/password',
        `--webhook-url=http://127.0.0.1:${port}/`,
      ],
    })
    await sync.published(hash)
    await until('the webhook', () => calls[0])
    expect(calls).toEqual([`POST ${hash}`])
    guarded.auth = { ...auth, password: 'a-second-password' }
    expect(await sync.failed()).toMatch(/check user, password/)
    // As the kubelet does.
    await inVolume(
      secret,
      'cp -a ..1 ..2; printf a-second-password > ..2/password; ln -s ..2 ..new; mv -T ..new ..data; rm -r ..1',
      '0:0',
    )
    const next = await site.commit({ 'dag.py': 'second' })
    await sync.published(next)
    await until('the webhook', () => calls[1])
    expect(calls).toEqual([`POST ${hash}`, `POST ${next}`])
    hook.close()
  })

  it('what lies in the root of others is left alone', async () => {
    await using volume = await makePeerVolume()
    await inVolume(
      volume,
      'mkdir -p nested/root/keep; echo mine > nested/root/keep/file; chmod -R 777 .',
      '0:0',
    )
    await using sync = new SyncContainer({ volume, user, args: flags() })
    await sync.published(hash)
    expect(await sync.sh('cat /git/nested/root/keep/file')).toBe('mine')
  })
})

/** By the measure of a real Prometheus; the names of the peer are what they are. */
async function expectSound(text: string, whose: 'ours' | 'legacy'): Promise<void> {
  const image = 'outrider-test/prometheus'
  const file = inRoot('test/e2e/prometheus.Dockerfile')
  await docker('build', '--quiet', '--tag', image, '--file', file, inRoot('test/support'))
  const { code, complaints } = await promtool(text)
  if (whose === 'ours') expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  // 3 are complaints about names; what cannot be read is 1.
  else expect([0, 3], complaints).toContain(code)
}
