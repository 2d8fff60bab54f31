import {
  access,
  chmod,
  mkdtemp,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createGit, type MirrorEvent, RefusedAddress } from '@outrider/git-mirror'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeRepository, type TestRepository } from '../../git-mirror/src/git-servers-test-support.ts'
import type { HookReport } from './hook-runner.ts'
import { type RepositorySettings, type RepositorySync, startRepository } from './repository.ts'
import type { SyncReport } from './sync-loop.ts'
import { serve } from './test-support.ts'

let base: string
let origin: TestRepository
const started: RepositorySync[] = []
const syncs: SyncReport[] = []
const hooks: HookReport[] = []
const events: MirrorEvent[] = []
const fileErrors: Error[] = []

beforeEach(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), 'outrider-repository-')))
  origin = await makeRepository(join(base, 'origin.git'))
  for (const list of [syncs, hooks, events, fileErrors]) list.length = 0
})
afterEach(async () => {
  await Promise.all(started.splice(0).map((sync) => sync[Symbol.asyncDispose]()))
  await rm(base, { recursive: true, force: true })
})

/** Syncs when it is triggered, and once at the start. */
function start(own: Partial<RepositorySettings> = {}): RepositorySync {
  const root = join(base, 'root')
  const settings: RepositorySettings = {
    ...{
      name: 'default',
      root,
      directory: root,
      link: join(root, 'site'),
      repo: origin.directory,
      ref: 'HEAD',
    },
    ...{ periodMs: 3_600_000, initPeriodMs: 3_600_000, timeoutMs: 60_000 },
    ...{ maxFailures: -1, initMaxFailures: -1, isOneTime: false },
    ...own,
  }
  const sync = startRepository(settings, {
    git: createGit({ environment: { PATH: process.env['PATH'], HOME: base } }),
    environment: { PATH: process.env['PATH'] ?? '', OWN: 'mine' },
    access: async () => ({}),
    onSync: (report) => syncs.push(report),
    onEvent: (event) => events.push(event),
    onHook: (report) => hooks.push(report),
    onFileError: (error) => fileErrors.push(error),
  })
  started.push(sync)
  return sync
}

async function end(sync: RepositorySync): Promise<void> {
  started.splice(started.indexOf(sync), 1)
  await sync[Symbol.asyncDispose]()
}

/** Resolves when so many syncs have been reported. */
const synced = (count: number) => expect.poll(() => syncs.length, { timeout: 15_000 }).toBe(count)

async function program(script: string): Promise<string> {
  const file = join(base, `hook-${Math.random().toString(36).slice(2)}`)
  await writeFile(file, `#!/bin/sh\n${script}\n`)
  await chmod(file, 0o755)
  return file
}

const hookOf = async (script: string) => ({
  command: await program(script),
  timeoutMs: 30_000,
  backoffMs: 1_000,
})

const textOf = (name: string): Promise<string> => readFile(join(base, name), 'utf8').catch(() => '')
const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

const published = async (): Promise<string> => basename(await readlink(join(base, 'root/site')))

describe('the hook after publishing', () => {
  it('runs once for each hash, in its tree, with it in its environment, and once for each start of a process', async () => {
    const one = await origin.commit({ a: '1' })
    const execHook = await hookOf(`echo "$GITSYNC_HASH $OWN $(cat a) $PWD" >>'${base}/ran'`)
    const line = (hash: string, text: string) => `${hash} mine ${text} ${base}/root/.worktrees/${hash}\n`
    const sync = start({ execHook })
    await expect.poll(() => textOf('ran')).toBe(line(one, '1'))
    sync.trigger()
    await synced(2)
    const two = await origin.commit({ a: '2' })
    sync.trigger()
    await expect.poll(() => textOf('ran')).toBe(line(one, '1') + line(two, '2'))
    await end(sync)
    start({ execHook })
    await expect.poll(() => textOf('ran')).toBe(line(one, '1') + line(two, '2').repeat(2))
    expect(hooks.map(({ outcome, hash }) => [outcome, hash])).toEqual(
      [one, two, two].map((hash) => ['success', hash]),
    )
  })

  it('that fails is run again, and holds up no sync', async () => {
    await origin.commit({ a: '1' })
    const sync = start({ execHook: await hookOf(`echo x >>'${base}/ran'; test -e '${base}/good'`) })
    await expect.poll(() => hooks.length).toBeGreaterThan(0)
    expect(hooks[0]).toMatchObject({ name: 'exechook', outcome: 'error' })
    sync.trigger()
    await synced(2)
    expect(sync.status().state).toBe('current')
    await writeFile(join(base, 'good'), '')
    await expect.poll(() => hooks.at(-1)?.outcome, { timeout: 10_000 }).toBe('success')
  })

  it('is told where to run when the tree of the same commit has come to another place', async () => {
    await origin.commit({ 'x/a': '1', 'y/b': '2' })
    const sparseCheckoutFile = join(base, 'sparse')
    await writeFile(sparseCheckoutFile, '/x/\n')
    const execHook = await hookOf(`test -e y/b`)
    const sync = start({ execHook, sparseCheckoutFile })
    await expect.poll(() => hooks.length).toBeGreaterThan(0)
    await writeFile(sparseCheckoutFile, '/y/\n')
    sync.trigger()
    await expect.poll(() => hooks.at(-1)?.outcome, { timeout: 10_000 }).toBe('success')
  })

  it('is ended with all when it is disposed of', async () => {
    await origin.commit({ a: '1' })
    const sync = start({ execHook: await hookOf(`echo $$ >'${base}/pid'; exec sleep 1000`) })
    await expect.poll(() => textOf('pid')).not.toBe('')
    await end(sync)
    const pid = Number(await textOf('pid'))
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })
})

it('the webhook is called once for each hash', async () => {
  const calls: unknown[] = []
  const { url } = await serve((request, response) => {
    calls.push([request.method, request.headers['gitsync-hash']])
    response.end()
  })
  const one = await origin.commit({ a: '1' })
  const webhook = { url: url.href, method: 'POST', successStatus: 200, timeoutMs: 5_000, backoffMs: 1_000 }
  const sync = start({ webhook })
  await expect.poll(() => calls).toEqual([['POST', one]])
  sync.trigger()
  await synced(2)
  const two = await origin.commit({ a: '2' })
  sync.trigger()
  await expect
    .poll(() => calls)
    .toEqual([
      ['POST', one],
      ['POST', two],
    ])
})

describe('files that tell of syncs', () => {
  it('one is touched at the first sync and at each change, and at nothing else', async () => {
    await origin.commit({ a: '1' })
    const sync = start({ touchFile: 'deep/touched' })
    const file = join(base, 'root/deep/touched')
    const touchedAt = () =>
      stat(file).then(
        (stats) => stats.mtimeMs,
        () => 0,
      )
    await expect.poll(touchedAt).toBeGreaterThan(0)
    const first = await touchedAt()
    sync.trigger()
    await synced(2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await touchedAt()).toBe(first)
    await origin.commit({ a: '2' })
    sync.trigger()
    await expect.poll(touchedAt).toBeGreaterThan(first)
    await end(sync)
    await unlink(file)
    start({ touchFile: 'deep/touched' })
    await expect.poll(touchedAt).toBeGreaterThan(0)
  })

  it('another has the last error while there is one', async () => {
    await origin.commit({ a: '1' })
    const sync = start({ errorFile: 'error', ref: 'next' })
    const file = join(base, 'root/error')
    await expect.poll(() => isThere(file)).toBe(true)
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({
      Err: expect.stringContaining('the remote has no next'),
      Args: { failCount: 1 },
    })
    await origin.commit({ a: '2' }, { branch: 'next' })
    sync.trigger()
    await expect.poll(() => isThere(file)).toBe(false)
    expect(fileErrors).toEqual([])
  })

  it('that cannot be written fail no sync', async () => {
    await origin.commit({ a: '1' })
    await writeFile(join(base, 'file'), '')
    const sync = start({ touchFile: join(base, 'file/touched'), errorFile: join(base, 'file/error') })
    await expect.poll(() => fileErrors.length).toBe(2)
    expect(sync.status().state).toBe('current')
  })
})

describe('a sync that is to happen once', () => {
  it('is done when its hooks are, too', async () => {
    await origin.commit({ a: '1' })
    const execHook = await hookOf(`sleep 0.2; echo x >>'${base}/ran'`)
    expect(await start({ isOneTime: true, execHook }).ended).toBe('done')
    expect(await textOf('ran')).toBe('x\n')
    expect(syncs).toHaveLength(1)
  })

  it('has failed where a hook has, which is run once', async () => {
    const hash = await origin.commit({ a: '1' })
    const execHook = await hookOf(`echo x >>'${base}/ran'; exit 3`)
    expect(await start({ isOneTime: true, execHook }).ended).toBe('failed')
    expect(await textOf('ran')).toBe('x\n')
    expect(await published()).toBe(hash)
  })

  it('has failed after as many failures as are allowed', async () => {
    const sync = start({ isOneTime: true, initMaxFailures: 2, initPeriodMs: 10 })
    expect(await sync.ended).toBe('failed')
    expect(syncs.map(({ outcome }) => outcome)).toEqual(['failed', 'failed'])
  })

  it('has failed where the hook before publishing refuses, however often it may fail', async () => {
    await origin.commit({ a: '1' })
    const prePublishHook = { ...(await hookOf('exit 1')), backoffMs: 1 }
    expect(await start({ isOneTime: true, prePublishHook, initMaxFailures: 3 }).ended).toBe('failed')
    expect(await isThere(join(base, 'root/site'))).toBe(false)
    expect(syncs).toHaveLength(3)
  })

  it('has its files when it is over', async () => {
    await origin.commit({ a: '1' })
    const done = start({ isOneTime: true, touchFile: 'touched' })
    await done.ended
    await end(done)
    expect(await isThere(join(base, 'root/touched'))).toBe(true)
    const failed = start({ isOneTime: true, ref: 'nowhere', errorFile: 'error', initMaxFailures: 1 })
    await failed.ended
    await end(failed)
    expect(await isThere(join(base, 'root/error'))).toBe(true)
  })
})

describe('the hook before publishing', () => {
  it('that refuses keeps the old tree, is asked again, and ends nothing however often it refuses', async () => {
    const hash = await origin.commit({ a: '1' })
    const prePublishHook = {
      ...(await hookOf(`echo "$GITSYNC_HASH" >>'${base}/asked'; test -e '${base}/good' || grep -q 1 a`)),
      backoffMs: 10,
    }
    const sync = start({ prePublishHook, maxFailures: 1 })
    await synced(1)
    const next = await origin.commit({ a: '2' })
    sync.trigger()
    await expect.poll(() => syncs.length, { timeout: 15_000 }).toBeGreaterThan(4)
    expect(await published()).toBe(hash)
    const { state, error, failures, hash: shown } = sync.status()
    expect({ state, shown }).toEqual({ state: 'failing', shown: hash })
    expect(failures).toBeGreaterThan(2)
    expect(error).toContain('the hook before publishing failed')
    expect(new Set((await textOf('asked')).trim().split('\n'))).toEqual(new Set([hash, next]))
    expect(hooks.at(-1)).toMatchObject({ name: 'pre-publish-exechook', outcome: 'error', hash: next })
    await writeFile(join(base, 'good'), '')
    await expect.poll(() => sync.status().state, { timeout: 15_000 }).toBe('current')
    expect(await published()).toBe(next)
    expect(sync.status()).toMatchObject({ failures: 0, error: undefined })
  })

  it('is not asked again for a tree that is published already', async () => {
    await origin.commit({ a: '1' })
    const prePublishHook = await hookOf(`echo x >>'${base}/asked'`)
    const sync = start({ prePublishHook })
    await synced(1)
    sync.trigger()
    await synced(2)
    await end(sync)
    start({ prePublishHook })
    await synced(3)
    expect(await textOf('asked')).toBe('x\n')
  })

  it('that is too slow for the sync is ended, and the old tree stays', async () => {
    await origin.commit({ a: '1' })
    const prePublishHook = await hookOf('exec sleep 1000')
    start({ prePublishHook, timeoutMs: 1_000 })
    await synced(1)
    expect(syncs[0]).toMatchObject({
      outcome: 'failed',
      error: expect.objectContaining({ message: expect.stringContaining('longer than its timeout of 1 s') }),
    })
    expect(await isThere(join(base, 'root/site'))).toBe(false)
  })
})

describe('the status', () => {
  it('is that it starts, until the first sync has ended', async () => {
    const hash = await origin.commit({ a: '1' })
    const before = Date.now()
    const sync = start()
    expect(sync.status()).toEqual({
      ...{
        name: 'default',
        repo: origin.directory,
        ref: 'HEAD',
        link: join(base, 'root/site'),
        state: 'starting',
      },
      ...{ hash: undefined, lastSuccess: undefined, lastChange: undefined, failures: 0 },
      ...{ error: undefined, ahead: undefined, isPinned: false },
    })
    await synced(1)
    const { state, hash: shown, lastSuccess = 0, lastChange, ahead } = sync.status()
    expect({ state, shown, ahead }).toEqual({ state: 'current', shown: hash, ahead: undefined })
    expect(lastSuccess).toBeGreaterThanOrEqual(before)
    expect(lastChange).toBe(lastSuccess)
  })

  it('tells the last success and the last change apart, and forgets neither when it fails', async () => {
    await origin.commit({ a: '1' })
    const sync = start({ ref: 'main' })
    await synced(1)
    const { lastChange } = sync.status()
    await new Promise((resolve) => setTimeout(resolve, 5))
    sync.trigger()
    await synced(2)
    const { lastSuccess = 0 } = sync.status()
    expect(sync.status().lastChange).toBe(lastChange)
    expect(lastSuccess).toBeGreaterThan(lastChange ?? 0)
    await origin.deleteRef('refs/heads/main')
    sync.trigger()
    await synced(3)
    expect(sync.status()).toMatchObject({ state: 'failing', failures: 1, lastSuccess, lastChange })
  })

  it('has what the remote has and is not published, and since when that is known, until it is', async () => {
    await origin.commit({ a: '1' })
    const prePublishHook = await hookOf(`test -e '${base}/good' || grep -q 1 a`)
    const sync = start({ prePublishHook })
    await synced(1)
    const first = await origin.commit({ a: '2' })
    sync.trigger()
    await synced(2)
    const { ahead } = sync.status()
    expect(ahead?.hash).toBe(first)
    await new Promise((resolve) => setTimeout(resolve, 5))
    const second = await origin.commit({ a: '3' })
    sync.trigger()
    await synced(3)
    expect(sync.status().ahead).toEqual({ hash: second, since: ahead?.since })
    await writeFile(join(base, 'good'), '')
    sync.trigger()
    await synced(4)
    expect(sync.status().ahead).toBeUndefined()
  })

  it('never has the published commit as one that is not', async () => {
    await origin.commit({ 'x/a': '1' })
    const sparseCheckoutFile = join(base, 'sparse')
    await writeFile(sparseCheckoutFile, '/x/\n')
    const prePublishHook = await hookOf(`test -e x`)
    const sync = start({ prePublishHook, sparseCheckoutFile })
    await synced(1)
    await writeFile(sparseCheckoutFile, '/y/\n')
    sync.trigger()
    await synced(2)
    expect(sync.status()).toMatchObject({ state: 'failing', ahead: undefined })
  })

  it('tells a ref that is a hash', async () => {
    const sync = start({ ref: await origin.commit({ a: '1' }) })
    await synced(1)
    expect(sync.status()).toMatchObject({ state: 'current', isPinned: true })
  })
})

describe('its end', () => {
  it('told to stop, it waits for the sync in hand, and begins nothing more', async () => {
    const hash = await origin.commit({ a: '1' })
    const prePublishHook = await hookOf(`echo x >'${base}/began'; sleep 0.5`)
    const sync = start({ prePublishHook, periodMs: 10 })
    await expect.poll(() => textOf('began')).not.toBe('')
    const stopped = sync.stop()
    sync.trigger()
    await stopped
    expect(await published()).toBe(hash)
    expect(syncs).toHaveLength(1)
    expect(await isThere(join(base, 'root/.outrider.lock'))).toBe(false)
  })

  it('disposed of, it ends the sync in hand, and the root is free at once', async () => {
    await origin.commit({ a: '1' })
    const first = start({ prePublishHook: await hookOf(`echo x >'${base}/began'; exec sleep 1000`) })
    await expect.poll(() => textOf('began')).not.toBe('')
    await end(first)
    expect(syncs).toEqual([])
    start()
    await synced(1)
    expect(syncs[0]).toMatchObject({ outcome: 'published' })
  })

  it('by itself comes after as many failures in a row as are allowed, and never for a repository that is to go on', async () => {
    await origin.commit({ a: '1' })
    const sync = start({ ref: 'main', maxFailures: 2, periodMs: 10 })
    await expect.poll(() => syncs.length, { timeout: 15_000 }).toBeGreaterThan(2)
    await origin.deleteRef('refs/heads/main')
    expect(await sync.ended).toBe('failed')
    expect(sync.status()).toMatchObject({ state: 'failing', failures: 2 })
  })
})

it('an address that must not reach git is refused before anything is begun', async () => {
  expect(() => start({ repo: 'ext::sh -c x' })).toThrow(RefusedAddress)
  expect(await isThere(join(base, 'root'))).toBe(false)
})
