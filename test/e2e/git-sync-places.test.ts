import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { GitHttpServer, TestRepository } from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { Application, inVolume, makeVolume, Origin, SyncContainer } from '../support/git-sync.ts'
import { until } from '../support/program.ts'

let origin: Origin
let server: GitHttpServer
let site: TestRepository

beforeAll(async () => {
  origin = await Origin.make()
  server = await origin.serve()
})
afterAll(() => origin[Symbol.asyncDispose]())

beforeEach(async () => {
  site = await origin.repository('site.git')
})

/** Forty files that all hold the number of their commit. */
const filesOf = (version: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`dir-${at % 4}/file-${at}`, `${version}\n`]))

const whole = (version: number): string => `40 ${version}`
/** Says how many files there are of which versions. */
const count = 'cat dir-*/file-* | sort | uniq -c | awk "{ print \\$1, \\$2 }"'

const env = () => ({
  GITSYNC_REPO: server.urlOf('site.git'),
  GITSYNC_LINK: 'site',
  GITSYNC_PERIOD: '200ms',
  GITSYNC_MAX_FAILURES: '-1',
  GITSYNC_SYNC_ON_SIGNAL: 'SIGHUP',
})

describe('on a volume in memory', () => {
  it('that is full it says so, leaves the published tree whole, and goes on when there is room', async () => {
    await using volume = await makeVolume('4m')
    const first = await site.commit(filesOf(1))
    await using sync = new SyncContainer({ volume, env: { ...env(), GITSYNC_ERROR_FILE: 'error.json' } })
    await sync.published(first)
    await using application = await Application.start(volume)
    // To the last byte.
    await sync.sh('dd if=/dev/zero of=/git/filler bs=4k 2>/dev/null || true; df /git | grep -q "100%"')
    const second = await site.commit(filesOf(2))
    expect(await sync.failed()).toMatch(/make room/)
    expect(await sync.metric('errors_total', { kind: 'no-space' })).toBeGreaterThan(0)
    expect(await application.sh(`cd /srv/data/site; ${count}; git status --porcelain`)).toBe(whole(1))
    expect(await sync.sh('readlink /git/site')).toBe(`.worktrees/${first}`)
    await sync.sh('rm /git/filler')
    await sync.kill('SIGHUP')
    await sync.published(second)
    expect(await application.sh(`cd /srv/data/site; ${count}`)).toBe(whole(2))
    expect(await sync.sh('cd /git; ls -A . .worktrees; git -C .git count-objects -v | grep garbage')).toBe(
      `.:\n.git\n.outrider.lock\n.worktrees\nsite\n\n.worktrees:\n${second}\ngarbage: 0\nsize-garbage: 0`,
    )
  })

  it('that is too small for a commit it leaves nothing of it behind', async () => {
    await using volume = await makeVolume('4m')
    const first = await site.commit(filesOf(1))
    await using sync = new SyncContainer({ volume, env: env() })
    await sync.published(first)
    const free = () => sync.sh("df -k /git | awk 'NR == 2 { print $4 }'")
    const before = Number(await free())
    // The pack has room, and the tree beside it has none.
    await site.commit({ large: randomBytes(2_200_000) })
    for (let left = 3; left > 0; left -= 1) {
      expect(await sync.failed()).toMatch(/make room/)
      await sync.kill('SIGHUP')
    }
    expect(await sync.sh(`cd /git/site; ${count}`)).toBe(whole(1))
    const second = await site.commit({ large: null, ...filesOf(2) })
    await sync.published(second)
    expect(await sync.sh(`cd /git/site; ${count}`)).toBe(whole(2))
    expect(before - Number(await free())).toBeLessThan(200)
  })

  it('that is full from the start it says so', async () => {
    await using volume = await makeVolume('64k')
    await site.commit(filesOf(1))
    await using sync = new SyncContainer({ volume, env: env(), args: ['--one-time'] })
    expect(await sync.failed()).toMatch(/make room/)
    expect(await sync.metric('errors_total', { kind: 'no-space' })).toBeGreaterThan(0)
  })
})

describe('where it may not write', () => {
  it.each([
    ['a volume that is mounted read-only', 'read-only', ':ro', '', []],
    ['a root outside of volumes', 'read-only', '', '', ['--root=/data/sync']],
    ['a volume of another user', 'permission', '', 'chown 0:0 .; chmod 755 .', []],
  ])('it says so: %s', async (_, kind, mode, prepare, args) => {
    await site.commit(filesOf(1))
    await using volume = await makeVolume()
    if (prepare !== '') await inVolume(volume, prepare, '0:0')
    await using sync = new SyncContainer({
      env: env(),
      args,
      mounts: [`${volume.name}:/git:nocopy${mode.replace(':', ',')}`],
    })
    expect(await sync.failed()).toMatch(
      kind === 'read-only' ? /mount the volume so that it can be written/ : /fsGroup/,
    )
    expect(await sync.metric('errors_total', { kind })).toBeGreaterThan(0)
  })

  it.each([
    ['directory', 'mkdir site; echo mine > site/file', 'cat site/file'],
    ['file', 'echo mine > site', 'cat site'],
  ])('a %s at the place of the link is left alone', async (_, make, look) => {
    await site.commit(filesOf(1))
    await using volume = await makeVolume()
    await inVolume(volume, make)
    await using sync = new SyncContainer({ volume, env: env() })
    expect(await sync.failed()).toMatch(/is there, which is not removed; move it away/)
    expect(await inVolume(volume, look)).toBe('mine')
    await inVolume(volume, 'rm -r site')
    await sync.kill('SIGHUP')
    await sync.logged('published')
  })
})

describe('with another container on the same volume', () => {
  it('it refuses with the name of the other, and takes over at once when that was killed', async () => {
    await using volume = await makeVolume()
    const first = await site.commit(filesOf(1))
    await using one = new SyncContainer({ volume, env: env(), options: ['--hostname', 'the-first'] })
    await one.published(first)
    await using other = new SyncContainer({ volume, env: env(), options: ['--hostname', 'the-second'] })
    expect(await other.failed()).toMatch(/^\/git is in use by process \d+ on the-first since 2/)
    expect(await other.metric('errors_total', { kind: 'locked' })).toBeGreaterThan(0)
    const second = await site.commit(filesOf(2))
    await one.published(second)
    await one.kill('SIGKILL')
    const third = await site.commit(filesOf(3))
    await other.kill('SIGHUP')
    await other.published(third)
    expect(other.failures().every((text) => text.includes('on the-first'))).toBe(true)
    expect(await inVolume(volume, `cd site; ${count}`)).toBe(whole(3))
  })

  it('of several that start at once one syncs, and the others take over one after the other', async () => {
    await using volume = await makeVolume()
    await site.commit(filesOf(1))
    const all = Array.from({ length: 3 }, () => new SyncContainer({ volume, env: env() }))
    try {
      // Before that a signal would end it.
      await Promise.all(all.map((sync) => sync.logged('started')))
      const running = new Set(all)
      for (let version = 2; version <= 4; version += 1) {
        const hash = await site.commit(filesOf(version))
        const holder = await until('one that publishes', async () => {
          for (const sync of running) await sync.kill('SIGHUP').catch(() => undefined)
          return [...running].find((sync) =>
            sync.events().some((event) => event['hash'] === hash && event['msg'] === 'published'),
          )
        })
        expect(await inVolume(volume, `cd site; ${count}`)).toBe(whole(version))
        running.delete(holder)
        await holder.kill('SIGKILL')
      }
      expect(all.flatMap((sync) => sync.failures()).filter((text) => !text.includes('is in use by'))).toEqual(
        [],
      )
    } finally {
      await Promise.all(all.map((sync) => sync[Symbol.asyncDispose]()))
    }
  })
})

it('a link on another file system leads to the volume, for who mounts both where they are', async () => {
  await using volume = await makeVolume()
  await using links = await makeVolume('1m')
  const first = await site.commit(filesOf(1))
  const mounts = [`${links.name}:/published`]
  await using sync = new SyncContainer({
    volume,
    mounts,
    env: { ...env(), GITSYNC_LINK: '/published/here/site' },
  })
  await sync.published(first)
  const second = await site.commit(filesOf(2))
  await sync.published(second)
  const options = ['--volume', `${links.name}:/published:ro`, '--volume', `${volume.name}:/git:ro`]
  await using application = await Application.start(volume, options)
  expect(await application.sh(`readlink /published/here/site; cd /published/here/site; ${count}`)).toBe(
    `../../git/.worktrees/${second}\n${whole(2)}`,
  )
  expect(await application.sh('ls -A /published/here')).toBe('site')
})

describe('while an application holds the tree that is replaced', () => {
  it('what it has open it can read on, what it opens anew is the new tree, and nothing is left of the old one', async () => {
    await using volume = await makeVolume()
    const first = await site.commit(filesOf(1))
    await using sync = new SyncContainer({ volume, env: env() })
    await sync.published(first)
    await using application = await Application.start(volume, ['--tmpfs', '/tmp'])
    const holding = application.sh(`
      cd -P /srv/data/site; exec 3< dir-0/file-0
      echo > /tmp/holds
      until [ -e /tmp/go ]; do sleep 0.1; done
      cat <&3; cd /srv/data/site; ${count}`)
    await until('the application', () => application.sh('ls /tmp/holds').catch(() => undefined))
    const second = await site.commit(filesOf(2))
    await sync.published(second)
    await application.sh('touch /tmp/go')
    expect(await holding).toBe(`1\n${whole(2)}`)
    expect(await sync.sh('ls /git/.worktrees')).toBe(second)
    expect(sync.events().filter(({ level }) => level !== 'info')).toEqual([])
  })

  it('with a time for old trees to stay, whoever follows the link reads one whole commit, each time', async () => {
    await using volume = await makeVolume()
    await site.commit(filesOf(0))
    await using sync = new SyncContainer({ volume, env: { ...env(), GITSYNC_STALE_WORKTREE_TIMEOUT: '3s' } })
    await sync.logged('published')
    await using application = await Application.start(volume, ['--tmpfs', '/tmp'])
    const reading = application.sh(`
      until [ -e /tmp/enough ]; do cd -P /srv/data/site; ${count}; done 2>&1 | sort | uniq -c`)
    for (let version = 1; version <= 10; version += 1) {
      const hash = await site.commit(filesOf(version))
      await sync.kill('SIGHUP')
      await sync.published(hash)
    }
    await application.sh('touch /tmp/enough')
    const looks = (await reading).split('\n').map((line) => /^ *(\d+) (.*)$/.exec(line)?.slice(1) ?? [line])
    for (const [, look] of looks) expect(look).toMatch(/^40 \d+$/)
    expect(looks.length).toBeGreaterThan(5)
  })
})
