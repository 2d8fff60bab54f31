import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { GitHttpServer, TestRepository } from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { processStatus } from '../support/docker.ts'
import { makeSecret, makeVolume, Origin, SyncContainer, type Volume } from '../support/git-sync.ts'
import { type LogEvent, until } from '../support/program.ts'

let origin: Origin
let server: GitHttpServer
let site: TestRepository

beforeAll(async () => {
  origin = await Origin.make()
  server = await origin.serve({ auth: { username: 'reader', password: 'a-repo-password' } })
})
afterAll(() => origin[Symbol.asyncDispose]())

beforeEach(async () => {
  site = await origin.repository('site.git')
})

/** Commits a program beside a file that holds the version; gives the hash. */
const commit = (version: string, script: string): Promise<string> =>
  site.commit(async (tree) => {
    await writeFile(join(tree, 'version'), `${version}\n`)
    await writeFile(join(tree, 'hook.sh'), `#!/bin/sh\n${script}\n`)
    await chmod(join(tree, 'hook.sh'), 0o755)
  })

const hooked = (volume: Volume, env: Readonly<Record<string, string>> = {}, mounts: readonly string[] = []) =>
  new SyncContainer({
    volume,
    mounts,
    env: {
      GITSYNC_REPO: server.urlOf('site.git'),
      GITSYNC_USERNAME: 'reader',
      GITSYNC_PASSWORD: 'a-repo-password',
      GITSYNC_PERIOD: '200ms',
      GITSYNC_EXECHOOK_COMMAND: './hook.sh',
      ...env,
    },
  })

const hookDone = (sync: SyncContainer, hash: string): Promise<LogEvent> =>
  until(`the hook for ${hash}; the log: ${sync.stdout}`, () =>
    sync
      .events()
      .find((event) => /^hook (done|failed)$/.test(String(event['msg'])) && event['hash'] === hash),
  )

/** The processes in a container, one a line: state and name. */
const processes = (sync: SyncContainer): Promise<string> =>
  sync.sh(`for status in /proc/[0-9]*/status; do
    awk '$1 == "Name:" { name = $2 } $1 == "State:" { print $2, name }' $status || true; done 2>/dev/null`)

const zombies = async (sync: SyncContainer): Promise<string[]> =>
  (await processes(sync)).split('\n').filter((line) => line.startsWith('Z'))

it('a script of the repository runs in the new tree, once for each commit, with the hash and without a secret', async () => {
  await using volume = await makeVolume()
  const script =
    'echo "$GITSYNC_HASH $(cat version) $(pwd) $# $(cat /git/site.git/version)" >> /git/calls; env > /git/env'
  const first = await commit('one', script)
  await using sync = hooked(volume, {
    GITSYNC_TRIGGER_BIND: '127.0.0.1:0',
    GITSYNC_TRIGGER_SECRET: 'a-trigger-secret',
    GITSYNC_WEBHOOK_SECRET: 'a-webhook-secret',
    TOOL_SETTING: 'kept',
  })
  expect(await hookDone(sync, first)).toMatchObject({ msg: 'hook done', hook: 'exechook' })
  const second = await commit('two', script)
  expect(await hookDone(sync, second)).toMatchObject({ msg: 'hook done' })
  const call = (hash: string, version: string) => `${hash} ${version} /git/.worktrees/${hash} 0 ${version}`
  expect(await sync.sh('cat /git/calls')).toBe(`${call(first, 'one')}\n${call(second, 'two')}`)
  const environment = await sync.sh('cat /git/env')
  expect(environment).toContain('TOOL_SETTING=kept')
  expect(environment).toContain('HOME=/tmp')
  expect(environment).not.toMatch(/password|secret/i)
})

it('a mounted script runs, too, and before publishing when that is asked: where it fails, the old tree stays', async () => {
  await using volume = await makeVolume()
  const check = '#!/bin/sh\necho "$(cat /git/site.git/version 2>&1)" > /git/before\ngrep -q good version'
  await using hooks = await makeSecret({ check }, { mode: '555' })
  const good = await commit('good', 'true')
  await using sync = hooked(
    volume,
    { GITSYNC_PRE_PUBLISH_EXECHOOK_COMMAND: '/hooks/check', GITSYNC_PRE_PUBLISH_EXECHOOK_BACKOFF: '1s' },
    [`${hooks.name}:/hooks:ro`],
  )
  await sync.published(good)
  const bad = await commit('bad', 'true')
  expect(await hookDone(sync, bad)).toMatchObject({ msg: 'hook failed', hook: 'pre-publish-exechook' })
  expect(await sync.sh('cat /git/before /git/site.git/version')).toBe('good\ngood')
  const better = await commit('good again', 'true')
  await sync.published(better)
  expect(await sync.sh('cat /git/site.git/version; ls /git/.worktrees | wc -l')).toBe('good again\n1')
})

it('a hook that hangs is ended with all that it has started, and holds up no sync', async () => {
  await using volume = await makeVolume()
  const hanging = await commit('hanging', 'trap "" TERM; sleep 1000 & sleep 1000')
  await using sync = hooked(volume, { GITSYNC_EXECHOOK_TIMEOUT: '4s' })
  await sync.published(hanging)
  await until('the hook', async () => (await processes(sync)).includes('sleep'))
  const next = await commit('next', 'true')
  await sync.published(next)
  expect(await processes(sync)).toContain('sleep')
  const failure = await hookDone(sync, hanging)
  expect(failure).toMatchObject({
    msg: 'hook failed',
    error: expect.stringContaining('did not end within 4s'),
  })
  expect(await hookDone(sync, next)).toMatchObject({ msg: 'hook done' })
  await until('the end of its processes', async () => !(await processes(sync)).includes('sleep'))
  expect(await zombies(sync)).toEqual([])
})

it('a hook that floods its output takes no memory, and the log has the last of it when it fails', async () => {
  await using volume = await makeVolume()
  const hash = await commit(
    'flood',
    'head -c 300000000 /dev/zero | tr "\\0" x; echo; echo the reason >&2; exit 3',
  )
  await using sync = hooked(volume)
  const failure = await hookDone(sync, hash)
  expect(failure).toMatchObject({
    error: expect.stringContaining('exit code 3'),
    output: expect.stringMatching(/x\nthe reason$/),
  })
  expect(String(failure['output']).length).toBeLessThan(4_200)
  expect(sync.stdout.length).toBeLessThan(20_000)
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(await processStatus(sync.name))?.[1]
  expect(Number(peak)).toBeLessThan(200 * 1024)
})

it('what hooks leave running is left alone, and what they leave dead is reaped', async () => {
  await using volume = await makeVolume()
  const hash = await commit(
    'daemon',
    `
    sleep 0.2 & sleep 0.3 &
    (setsid sleep 0.4 >/dev/null 2>&1 &)
    (setsid sleep 1000 >/dev/null 2>&1 </dev/null &)`,
  )
  await using sync = hooked(volume)
  expect(await hookDone(sync, hash)).toMatchObject({ msg: 'hook done' })
  await until('the end of those that end', async () => (await processes(sync)).match(/sleep/g)?.length === 1)
  expect(await zombies(sync)).toEqual([])
  await sync.kill('SIGTERM')
  expect(await sync.ended()).toBe(0)
})
