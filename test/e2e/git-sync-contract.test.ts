import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { GitHttpServer, TestRepository } from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { docker, processStatus } from '../support/docker.ts'
import { Application, makeVolume, Origin, SyncContainer } from '../support/git-sync.ts'
import { until } from '../support/program.ts'

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
  site = await origin.repository('site.git')
  hash = await site.commit({ 'index.html': 'first', 'docs/guide.md': 'a guide' })
})

const repo = () => ({ GITSYNC_REPO: server.urlOf('site.git') })

describe('as an init container', () => {
  it('it ends with 0, and another container serves what it has left', async () => {
    await using volume = await makeVolume()
    await using sync = new SyncContainer({ volume, env: repo(), args: ['--one-time', '--link=html'] })
    expect(await sync.ended()).toBe(0)
    const serve = `http.createServer((request, response) =>
      response.end(fs.readFileSync('/usr/share/site/html' + request.url))).listen(8080)`
    const name = `${sync.name}-server`
    await docker(
      ...['run', '--detach', '--name', name, '--label', 'org.testcontainers=true', '--network', 'none'],
      ...['--volume', `${volume.name}:/usr/share/site:ro`, 'node:24-bookworm-slim', 'node', '--eval', serve],
    )
    try {
      const ask =
        "fetch('http://127.0.0.1:8080/index.html').then((answer) => answer.text()).then(console.log)"
      const text = () => docker('exec', name, 'node', '--eval', ask).catch(() => undefined)
      expect(await until('the server', text)).toBe('first')
    } finally {
      await docker('rm', '--force', name)
    }
  })

  it('what is there from before is as good: the remote is asked, and nothing fetched', async () => {
    await using volume = await makeVolume()
    const once = { volume, env: repo(), args: ['--one-time'] }
    await using first = new SyncContainer(once)
    expect(await first.ended()).toBe(0)
    const packs = () => server.requests.filter(({ kind }) => kind === 'pack').length
    const before = packs()
    await using second = new SyncContainer(once)
    expect(await second.ended()).toBe(0)
    expect(second.events().map(({ msg }) => msg)).toContain('already published')
    expect(packs()).toBe(before)
  })

  it.each<[string, { readonly repo?: string; readonly ref?: string }, RegExp]>([
    ['a repository that is not there', { repo: 'none.git' }, /not found.*check the address/],
    ['a ref that is not there', { ref: 'none' }, /the remote has no none/],
    ['a server that is not there', { repo: 'http://127.0.0.1:1/none.git' }, /Failed to connect|ECONNREFUSED/],
  ])('it ends with 1 for %s, and says why', async (_, { repo: name = 'site.git', ref = 'HEAD' }, why) => {
    await using volume = await makeVolume()
    const url = name.includes('://') ? name : server.urlOf(name)
    const env = { GITSYNC_REPO: url, GITSYNC_REF: ref }
    await using sync = new SyncContainer({ volume, env, args: ['--one-time'] })
    expect(await sync.ended()).toBe(1)
    expect(sync.failures()).toHaveLength(1)
    expect(sync.failures()[0]).toMatch(why)
  })

  it('it ends with 2 for wrong parameters, with a line for each and no secret', async () => {
    await using sync = new SyncContainer({
      env: { GITSYNC_REPO: 'ext::sh -c id', GITSYNC_PERIODE: '1s', GITSYNC_PASSWORD: 'a-secret-password' },
      args: ['--one-time', '--depth=-1', '--ref=a..b', '--link=../out', '--period=soon'],
    })
    expect(await sync.ended()).toBe(2)
    const lines = sync.stderr.trim().split('\n')
    const named = ['--repo', 'GITSYNC_PERIODE', '--depth', '--ref', '--period']
    for (const name of named) expect(lines.filter((line) => line.includes(name))).not.toEqual([])
    expect(sync.stderr + sync.stdout).not.toContain('a-secret-password')
    expect(sync.stdout).toBe('')
  })
})

describe('seen from an application that mounts the volume elsewhere and may not write it', () => {
  /** What is promised of the link, of the tree and of what git says of it. */
  const look = async (application: Application) => {
    const said = await application.sh(`cd /srv/data; readlink site.git; cat site.git/.git
      cd site.git; git log -1 --format=%H; git status --porcelain | wc -l; cat index.html`)
    const [target, dotGit, log, changes, text] = said.split('\n')
    return { target, dotGit, log, changes, text }
  }
  const whole = (commit: string, text: string) => ({
    target: `.worktrees/${commit}`,
    dotGit: expect.stringMatching(/^gitdir: \.\.\/\.\.\/\.git\/worktrees\/[^/]+$/),
    log: commit,
    changes: '0',
    text,
  })

  it('the link and the .git file are relative, the hash is the last part, and a plain git works', async () => {
    await using volume = await makeVolume()
    await using sync = new SyncContainer({ volume, env: { ...repo(), GITSYNC_PERIOD: '200ms' } })
    await sync.published(hash)
    await using application = await Application.start(volume)
    expect(await look(application)).toEqual(whole(hash, 'first'))
    const next = await site.commit({ 'index.html': 'second' })
    await sync.published(next)
    expect(await look(application)).toEqual(whole(next, 'second'))
    expect(await application.sh('ls -A /srv/data /srv/data/.worktrees')).toBe(
      `/srv/data:\n.git\n.outrider.lock\n.worktrees\nsite.git\n\n/srv/data/.worktrees:\n${next}`,
    )
  })

  it('another user reads it, too', async () => {
    await using volume = await makeVolume()
    await using sync = new SyncContainer({ volume, env: repo(), args: ['--one-time'] })
    expect(await sync.ended()).toBe(0)
    await using application = await Application.start(volume, ['--user', '1234:1234'])
    expect(await application.sh('cat /srv/data/site.git/docs/guide.md')).toBe('a guide')
    const log = 'git -c safe.directory=* -C /srv/data/site.git log -1 --format=%H'
    expect(await application.sh(log)).toBe(hash)
  })
})

it('without privileges, and with a root that cannot be written', async () => {
  await using volume = await makeVolume()
  await using sync = new SyncContainer({ volume, env: repo() })
  await sync.published(hash)
  const status = await processStatus(sync.name)
  expect(status).toMatch(/^Uid:\s+65532\s+65532\s+65532\s+65532$/m)
  expect(status).toMatch(/^CapEff:\s+0+$/m)
  expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
})
