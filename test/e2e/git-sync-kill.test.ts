import { lstat, mkdir, readdir, readFile, readlink, realpath } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  type GitHttpServer,
  runGit,
  type TestRepository,
} from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { Application, inVolume, makeVolume, Origin, SyncContainer } from '../support/git-sync.ts'
import { Program, until } from '../support/program.ts'
import { inRoot } from '../support/workspace.ts'

let origin: Origin
let server: GitHttpServer

beforeAll(async () => {
  origin = await Origin.make()
  server = await origin.serve()
})
afterAll(() => origin[Symbol.asyncDispose]())

/** Forty files that all hold the number of their commit. */
const filesOf = (version: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`dir-${at % 4}/file-${at}`, `${version}`]))

interface Lane {
  readonly name: string
  readonly env: Readonly<Record<string, string>>
  readonly hasSubmodule?: boolean
}

/** What a kill has hit. */
interface Hits {
  kills: number
  /** By whether the link led to the newest commit already. */
  before: number
  after: number
  /** Trees that were not published, locks of git, temporary links, processes of git that lived on. */
  trees: number
  locks: number
  links: number
  orphans: number
}

/** One root in which a process is killed again and again. */
class Scene {
  readonly lane: Lane
  readonly root: string
  readonly hits: Hits = { kills: 0, before: 0, after: 0, trees: 0, locks: 0, links: 0, orphans: 0 }
  readonly #versions = new Map<string, number>()
  readonly #site: TestRepository
  readonly #part: TestRepository | undefined
  #version = 0

  private constructor(lane: Lane, site: TestRepository, part: TestRepository | undefined) {
    this.lane = lane
    this.root = join(origin.directory, `root-${lane.name}`)
    this.#site = site
    this.#part = part
  }

  static async make(lane: Lane): Promise<Scene> {
    const part = lane.hasSubmodule ? await origin.repository(`part-${lane.name}.git`) : undefined
    const scene = new Scene(lane, await origin.repository(`site-${lane.name}.git`), part)
    await mkdir(scene.root)
    return scene
  }

  /** Makes a commit; gives its hash. */
  async commit(): Promise<string> {
    this.#version += 1
    const version = this.#version
    let hash: string
    if (this.#part === undefined) hash = await this.#site.commit(filesOf(version))
    else {
      const part = await this.#part.commit({ file: `${version}` })
      // One commit has both, so that none has files of two versions.
      await this.#site.commit(filesOf(version), { branch: 'draft' })
      const url = server.urlOf(basename(this.#part.directory))
      hash = await this.#site.addSubmodule('part', { url, hash: part }, { branch: 'draft' })
      await this.#site.forcePush('main', hash)
    }
    this.#versions.set(hash, version)
    return hash
  }

  start(): Program {
    return new Program(inRoot('build/images/git-sync/main.js'), {
      GITSYNC_REPO: server.urlOf(basename(this.#site.directory)),
      GITSYNC_REF: 'main',
      GITSYNC_ROOT: this.root,
      GITSYNC_LINK: 'site',
      GITSYNC_PERIOD: '10ms',
      GITSYNC_MAX_FAILURES: '-1',
      GITSYNC_ADMIN: '127.0.0.1:0',
      HOME: this.root,
      ...this.lane.env,
    })
  }

  /** What an application sees: it must be one whole commit of those that were made. */
  async look(): Promise<{ readonly hash: string; readonly version: number | undefined }> {
    const hash = basename(await readlink(join(this.root, 'site')))
    const version = this.#versions.get(hash)
    const files = await textsIn(await realpath(join(this.root, 'site')))
    const expected = this.lane.hasSubmodule ? 41 : 40
    expect({ files: files.length, of: new Set(files) }).toEqual({
      files: expected,
      of: new Set([`${version}`]),
    })
    return { hash, version }
  }

  async note(newest: string): Promise<void> {
    const { hash } = await this.look()
    this.hits.kills += 1
    this.hits[hash === newest ? 'after' : 'before'] += 1
    const names = await readdir(this.root)
    const trees = await readdir(join(this.root, '.worktrees')).catch(() => [])
    const inGit = await readdir(join(this.root, '.git'), { recursive: true }).catch(() => [])
    if (trees.length > 1) this.hits.trees += 1
    if (inGit.some((name) => name.endsWith('.lock'))) this.hits.locks += 1
    if (names.some((name) => name.startsWith('.site.'))) this.hits.links += 1
    if ((await this.orphans()).length > 0) this.hits.orphans += 1
  }

  /** Processes that work in the root. */
  async orphans(): Promise<string[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
    const found = await Promise.all(
      pids.map(async (pid) => {
        const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')
        return environment.includes(`=${this.root}\0`) ? [pid] : []
      }),
    )
    return found.flat()
  }
}

async function textsIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && !entry.name.startsWith('.git'))
  return Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name), 'utf8')))
}

const lanes: readonly Lane[] = [
  { name: 'plain', env: {} },
  { name: 'submodule', env: { GITSYNC_GIT_GC: 'auto' }, hasSubmodule: true },
  { name: 'partial', env: { GITSYNC_FILTER: 'blob:none', GITSYNC_STALE_WORKTREE_TIMEOUT: '100ms' } },
]
const killsOfEach = 110

it('killed at 330 random instants it leaves one whole commit each time, and in the end nothing else', async () => {
  const scenes = await Promise.all(lanes.map((lane) => Scene.make(lane)))
  await Promise.all(
    scenes.map(async (scene) => {
      // How long it takes decides in which time the kills lie.
      const first = await scene.commit()
      let usual = await timeToPublish(scene, first)
      for (let left = killsOfEach; left > 0; left -= 1) {
        const newest = await scene.commit()
        if (left % 20 === 0) usual = await timeToPublish(scene, newest)
        const instant = Math.random() * usual * 1.2
        await using program = scene.start()
        await delay(instant)
        // At times with the processes of git, as when a container ends, at times without, as when it lacks memory.
        if (left % 2 === 0) for (const pid of await scene.orphans()) kill(Number(pid))
        program.signal('SIGKILL')
        await program.ended()
        await scene.note(newest)
      }
    }),
  )
  for (const scene of scenes) {
    const newest = await scene.commit()
    await using program = scene.start()
    await publication(program, newest)
    expect((await scene.look()).hash).toBe(newest)
    await expectClean(scene, newest)
    program.signal('SIGTERM')
    expect(await program.ended()).toBe(0)
    expect((await readdir(scene.root)).sort()).toEqual(['.git', '.worktrees', 'site'])
  }
  const total = (hit: keyof Hits): number => scenes.reduce((sum, { hits }) => sum + hits[hit], 0)
  console.log(
    `${total('kills')} kills: ${total('before')} before the switch, ${total('after')} after it; ${total('trees')} left a ` +
      `tree beside the published one, ${total('locks')} locks of git, ${total('links')} a temporary link, ` +
      `${total('orphans')} processes of git that lived on`,
  )
  expect(total('kills')).toBe(lanes.length * killsOfEach)
  for (const hit of ['before', 'after', 'trees', 'locks', 'orphans'] as const)
    expect([hit, total(hit)]).not.toEqual([hit, 0])
}, 300_000)

/** From the start of a process, in milliseconds. */
async function timeToPublish(scene: Scene, hash: string): Promise<number> {
  const begun = performance.now()
  await using program = scene.start()
  await publication(program, hash)
  return performance.now() - begun
}

/** Waits for the end of the sync that publishes a commit. */
const publication = (program: Program, hash: string): Promise<true> =>
  until(`${hash} to be published`, () =>
    program.stdout.includes(`published","repository":"default","hash":"${hash}"`),
  )

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/** Nothing is there but the repository, which is sound, and the published tree. */
async function expectClean(scene: Scene, hash: string): Promise<void> {
  const { root } = scene
  await until('the end of what is only kept for a while', async () => {
    const kept = await Promise.all(['.worktrees', '.git/worktrees'].map((name) => readdir(join(root, name))))
    return kept.every((names) => names.length === 1)
  }).catch(async (error: Error) => {
    const kept = await readdir(join(root, '.git/worktrees'))
    throw new Error(`${error.message} in ${scene.lane.name}, ${hash}: ${kept.join(', ')}`)
  })
  await until('the end of all processes of git', async () => (await scene.orphans()).length === 1)
  const names = (await readdir(root)).filter((name) => name !== '.outrider.lock')
  expect(names.sort()).toEqual(['.git', '.worktrees', 'site'])
  expect(await readdir(join(root, '.worktrees'))).toEqual([hash])
  const inGit = await readdir(join(root, '.git'), { recursive: true })
  const leftovers =
    /\.(lock|keep|new)$|(^|\/)(tmp_|\.tmp-|incoming-|shallow_|\.outrider-|refs_|packs_)|gc\.pid$/
  expect(inGit.filter((name) => leftovers.test(name))).toEqual([])
  expect((await lstat(join(root, 'site'))).isSymbolicLink()).toBe(true)
  const git = (...args: string[]) =>
    runGit(args, { cwd: join(root, 'site'), env: { GIT_NO_LAZY_FETCH: '1', GIT_OPTIONAL_LOCKS: '0' } })
  expect((await git('log', '-1', '--format=%H')).trim()).toBe(hash)
  expect(await git('status', '--porcelain')).toBe('')
  expect(await git('count-objects', '-v')).toMatch(/^garbage: 0$/m)
  expect(await git('fsck', '--no-dangling', '--no-progress')).toBe('')
}

it('a container that is killed 30 times leaves one whole commit each time to the next one', async () => {
  const site = await origin.repository('contained.git')
  await using volume = await makeVolume()
  await using application = await Application.start(volume)
  const env = { GITSYNC_REPO: server.urlOf('contained.git'), GITSYNC_LINK: 'site', GITSYNC_PERIOD: '10ms' }
  const versions = new Map<string, number>()
  const commit = async (version: number): Promise<string> => {
    const hash = await site.commit(filesOf(version))
    versions.set(hash, version)
    return hash
  }
  const seen = new Set<string>()
  {
    const hash = await commit(0)
    await using sync = new SyncContainer({ volume, env })
    await sync.published(hash)
  }
  let newest = ''
  for (let version = 1; version <= 30; version += 1) {
    newest = await commit(version)
    await using sync = new SyncContainer({ volume, env })
    await until('its start', async () => sync.stdout !== '' || undefined)
    await delay(Math.random() * 500)
    await sync.kill('SIGKILL')
    const [target = '', ...numbers] = (
      await application.sh(
        'cd /srv/data; readlink site; cat site/dir-*/file-* | sed "s/./&/"; cat site/dir-*/file-* | wc -c',
      )
    ).split('\n')
    const hash = basename(target)
    const text = `${versions.get(hash)}`
    expect(numbers).toEqual([`${text.repeat(40)}${text.length * 40}`])
    seen.add(hash)
  }
  await using sync = new SyncContainer({ volume, env })
  await sync.published(newest)
  expect(await inVolume(volume, 'ls -A . .worktrees; find . -name "*.lock" -path "./.git/*"')).toBe(
    `.:\n.git\n.outrider.lock\n.worktrees\nsite\n\n.worktrees:\n${newest}`,
  )
  expect(await sync.sh('ls -d /proc/[0-9]* | wc -l')).toMatch(/^[3-7]$/)
  console.log(`30 kills of the container: ${seen.size} of the 31 commits were seen`)
  expect(seen.size).toBeGreaterThan(1)
})
