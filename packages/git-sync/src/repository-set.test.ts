import { mkdtemp, readFile, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createGit } from '@outrider/git-mirror'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { until } from '../../../test/support/program.ts'
import { makeRepository, type TestRepository } from '../../git-mirror/src/git-servers-test-support.ts'
import { type RepositorySettings, startRepository } from './repository.ts'
import { RepositorySet, type Wanted } from './repository-set.ts'
import type { SyncReport } from './sync-loop.ts'
import { serve } from './test-support.ts'

let base: string
let repository: TestRepository
let set: RepositorySet

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'outrider-set-'))
  repository = await makeRepository(join(base, 'site.git'))
  set = new RepositorySet()
})
afterEach(async () => {
  await set[Symbol.asyncDispose]()
  await rm(base, { recursive: true, force: true })
})

/** One that is synced from the local repository, unless it says another. */
function wanted(name: string, own: Partial<RepositorySettings> = {}, onSync?: (report: SyncReport) => void) {
  const settings: RepositorySettings = {
    ...{ name, root: base, directory: join(base, name), link: join(base, `${name}-link`) },
    ...{ repo: repository.directory, ref: 'HEAD' },
    ...{ periodMs: 3_600_000, initPeriodMs: 3_600_000, timeoutMs: 60_000 },
    ...{ maxFailures: -1, initMaxFailures: -1, isOneTime: false },
    ...own,
  }
  const ignore = () => undefined
  const around = {
    git: createGit({ environment: { PATH: process.env['PATH'] ?? '' } }),
    environment: {},
    access: async () => ({}),
    ...{ onSync: onSync ?? ignore, onEvent: ignore, onHook: ignore, onFileError: ignore },
  }
  return {
    name,
    identity: JSON.stringify(settings),
    start: () => startRepository(settings, around),
  } satisfies Wanted
}

const nowhere = () => join(base, 'nowhere.git')
const stateOf = (name: string) => set.statuses().find((status) => status.name === name)?.state

it('begins nothing once all were told to stop', async () => {
  await repository.commit({ file: 'one' })
  await set.apply([wanted('first')])
  await set.stop()
  await set.apply([wanted('first'), wanted('second')])
  expect(set.has('second')).toBe(false)
})

it('begins nothing that was to take the place of one that is still ending when all are disposed of', async () => {
  await repository.commit({ file: 'one' })
  await set.apply([wanted('first')])
  const applied = set.apply([wanted('first', { depth: 1 }), wanted('second')])
  await set[Symbol.asyncDispose]()
  await applied
  expect(set.statuses()).toEqual([])
})

it('has ended when the last that was not done is taken away', async () => {
  await repository.commit({ file: 'one' })
  const [done, failing] = [
    wanted('done', { isOneTime: true }),
    wanted('failing', { isOneTime: true, repo: nowhere() }),
  ]
  await set.apply([done, failing])
  await until('both', () => stateOf('done') === 'current' && stateOf('failing') === 'failing')
  await set.apply([done])
  expect(await set.ended).toBe('done')
})

it('two that exchange their links show what is theirs in the end', async () => {
  const hash = await repository.commit({ file: 'one' })
  const other = await makeRepository(join(base, 'other.git'))
  const otherHash = await other.commit({ file: 'other' })
  const [one, two] = [join(base, 'one'), join(base, 'two')]
  const apply = (first: string, second: string) =>
    set.apply([
      wanted('a', { link: first, initPeriodMs: 50, periodMs: 50 }),
      wanted('b', { link: second, repo: other.directory, initPeriodMs: 50, periodMs: 50 }),
    ])
  const shown = async () =>
    Promise.all([one, two].map((link) => readlink(link).then(basename, () => undefined)))
  await apply(one, two)
  await until('both', async () => (await shown()).join() === `${hash},${otherHash}`)
  await apply(two, one)
  await until('the exchange', async () => (await shown()).join() === `${otherHash},${hash}`)
  expect(await readFile(join(two, 'file'), 'utf8')).toBe('one')
})

it('what is told of a sync stands in its files when it is disposed of', async () => {
  const errorFile = join(base, 'deep', 'error')
  const failed = Promise.withResolvers<SyncReport>()
  // A directory that cannot be made, so that disposing has nothing else to wait for.
  const directory = join(repository.directory, 'HEAD', 'under-a-file')
  await set.apply([wanted('bad', { errorFile, directory }, failed.resolve)])
  await failed.promise
  await set[Symbol.asyncDispose]()
  expect(JSON.parse(await readFile(errorFile, 'utf8'))).toMatchObject({ Args: { failCount: 1 } })
})

it('each call of the webhook for a commit says the same, also where it was published before this process began', async () => {
  await repository.commit({ file: 'one' })
  await set.apply([wanted('site')])
  await until('the publication', () => stateOf('site') === 'current')
  await set.apply([])
  const ids: unknown[] = []
  const { url } = await serve(({ headers }, response) => {
    ids.push(headers['webhook-id'])
    response.writeHead(500).end()
  })
  const webhook = {
    url: url.href,
    method: 'POST',
    successStatus: 200,
    timeoutMs: 10_000,
    backoffMs: 10,
    secret: 's',
  }
  await set.apply([wanted('site', { webhook })])
  await until('three calls', () => ids.length >= 3)
  expect(new Set(ids).size).toBe(1)
})

it('those that are the same go on with what they have in hand, and those that have changed start anew', async () => {
  await repository.commit({ file: 'one' })
  const reports: string[] = []
  const same = wanted('same', {}, () => reports.push('same'))
  await set.apply([same, wanted('other', {}, () => reports.push('other'))])
  await until('both', () => reports.length === 2)
  const changed = wanted('other', { depth: 2 }, () => reports.push('changed'))
  await set.apply([same, changed])
  await until('the changed one', () => reports.includes('changed'))
  set.trigger(['same'])
  await until('the same one', () => reports.length === 4)
  expect(reports.toSorted()).toEqual(['changed', 'other', 'same', 'same'])
  expect(set.statuses().map(({ name }) => name)).toEqual(['same', 'other'])
})

it('those that are gone are ended, and nothing is told of them any more', async () => {
  await repository.commit({ file: 'one' })
  await set.apply([wanted('first'), wanted('second')])
  await set.apply([wanted('second')])
  expect(set.has('first')).toBe(false)
  expect(set.statuses().map(({ name }) => name)).toEqual(['second'])
  // What it had locked is free.
  await set.apply([wanted('second'), wanted('third', { directory: join(base, 'first') })])
  await until('the third', () => stateOf('third') === 'current')
})

it('triggers those that are named, or all', async () => {
  await repository.commit({ file: 'one' })
  const reports: string[] = []
  const told = () => reports.toSorted().join('')
  await set.apply(['a', 'b'].map((name) => wanted(name, {}, () => reports.push(name))))
  await until('both', () => told() === 'ab')
  set.trigger(['b', 'nobody'])
  await until('b', () => told() === 'abb')
  set.trigger('all')
  await until('all', () => told() === 'aabbb')
})

it('has ended as done when all that are to happen once are, and not before', async () => {
  await repository.commit({ file: 'one' })
  let ending: string | undefined
  void set.ended.then((each) => {
    ending = each
  })
  const [one, two] = [wanted('one', { isOneTime: true }), wanted('two', { isOneTime: true, ref: 'later' })]
  await set.apply([one, two])
  await until('the first', () => stateOf('one') === 'current' && stateOf('two') === 'failing')
  expect(ending).toBeUndefined()
  await repository.commit({ file: 'two' }, { branch: 'later' })
  set.trigger('all')
  expect(await set.ended).toBe('done')
})

it('has ended as failed as soon as one has', async () => {
  await repository.commit({ file: 'one' })
  await set.apply([wanted('good'), wanted('bad', { repo: nowhere(), initMaxFailures: 1 })])
  expect(await set.ended).toBe('failed')
})

it('one that cannot be started is told, and keeps no other from it', async () => {
  await repository.commit({ file: 'one' })
  const applied = set.apply([wanted('bad', { repo: 'ext::x' }), wanted('good')])
  await expect(applied).rejects.toThrow('transport program')
  await until('the good one', () => stateOf('good') === 'current')
  expect(set.has('bad')).toBe(false)
})
