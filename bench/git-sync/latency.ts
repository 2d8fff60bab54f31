import { readFileSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { table } from '@outrider/core/render'
import { until } from '../../test/support/program.ts'
import { ratioText } from '../support/comparison.ts'
import { Program } from '../support/processes.ts'
import { Arrivals } from './arrival.ts'
import type { Remote } from './origins.ts'
import { linkName, OwnProgram, ownName } from './own.ts'
import { makePlace, type Place } from './place.ts'
import { branch, type Repository } from './repository.ts'
import { everySecond, PacedScript, plainLoop, type Script } from './scripts.ts'

export interface LatencySetting {
  readonly repository: Repository
  readonly remote: Remote
  readonly directory: string
  /** Of each kind. */
  readonly pushes: number
}

/** Milliseconds, one for each push. */
type Times = readonly number[]

/** How long pushes take until they are published. */
export async function latency(setting: LatencySetting): Promise<string> {
  const triggered = await byTrigger(setting)
  const loop = await polledByLoop(setting)
  const own = await polledByOwn(setting)
  const rows = [
    row('git alone: fetch, reset in place', triggered.inPlace, triggered.newTree),
    row('git alone: fetch, new worktree', triggered.newTree, triggered.newTree),
    row(`${ownName}, triggered`, triggered.own, triggered.newTree),
    row(`${plainLoop.name}, every second`, loop, loop),
    row(`${ownName}, every second`, own, loop),
  ]
  const head = ['what publishes', 'p50', 'p99', 'p50 to git', 'p99 to git']
  return [...notes(setting), '', table(head, rows), ''].join('\n')
}

const notes = ({ pushes }: LatencySetting): string[] => [
  '### From a push to what is published',
  '',
  `By http, ${pushes} pushes of one changed file for each row but those of git alone, so that p99 is the slowest. A push is the moment`,
  'at which the branch moves at the server. git-sync has published when the link is another one, the loop when its branch',
  'has moved, which it does after the files. A trigger is `POST /sync` right after the push. What git alone needs is the time',
  'of the commands by themselves, for the same pushes, after git-sync had done: `git fetch --depth 1`, and either',
  '`git reset --hard` in place, as in the loop, or `git worktree add`, since git-sync makes a whole new tree for each commit;',
  'this is the measure for the trigger. Every second: the pushes are spread evenly over the second after the one before',
  'was published.',
]

const row = (name: string, times: Times, git: Times): string[] => [
  name,
  `${quantile(times, 0.5).toFixed(0)} ms`,
  `${quantile(times, 0.99).toFixed(0)} ms`,
  ratioText(quantile(times, 0.5) / quantile(git, 0.5)),
  ratioText(quantile(times, 0.99) / quantile(git, 0.99)),
]

function quantile(values: Times, part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
}

async function polledByOwn(setting: LatencySetting): Promise<Times> {
  using place = makePlace(setting.directory, 'poll-own')
  await using _program = await OwnProgram.start(setting.remote, place, '1s')
  using arrivals = ownIn(place)
  return await polled(setting, ownName, arrivals)
}

async function polledByLoop(setting: LatencySetting): Promise<Times> {
  using place = makePlace(setting.directory, 'poll-loop')
  await using loop = new Program(everySecond(plainLoop, setting.remote, place), 'measured')
  const branches = join(place.root, 'tree/.git/refs/heads')
  const look = () => fileText(join(branches, branch))
  await until('the first clone of the loop', () => {
    if (loop.hasEnded) throw new Error(`${plainLoop.name} has ended: ${loop.complaints}`)
    return look()
  })
  using arrivals = new Arrivals(branches, look)
  return await polled(setting, plainLoop.name, arrivals)
}

async function polled(
  { repository, pushes }: LatencySetting,
  name: string,
  arrivals: Arrivals,
): Promise<Times> {
  const times: number[] = []
  while (times.length < pushes) {
    await delay((1000 * (times.length + 0.5)) / pushes)
    const pushed = performance.now()
    times.push((await arrivals.of(repository.push())) - pushed)
  }
  console.log(`every second, ${name}: ${Math.round(quantile(times, 0.5))} ms`)
  return times
}

async function byTrigger({ repository, remote, directory, pushes }: LatencySetting) {
  using ownPlace = makePlace(directory, 'trigger-own')
  using gitPlace = makePlace(directory, 'trigger-git')
  await using own = await OwnProgram.start(remote, ownPlace, '1h')
  await using git = new PacedScript(gitAlone, remote, gitPlace)
  using arrivals = ownIn(ownPlace)
  const times: { readonly own: number; readonly inPlace: number; readonly newTree: number }[] = []
  while (times.length < pushes) {
    const published = await own.syncs('published')
    const pushed = performance.now()
    const hash = repository.push()
    const [arrived] = await Promise.all([arrivals.of(hash), own.trigger()])
    // What it clears away afterwards must not be in the way of the others.
    await until('the end of the sync', async () => (await own.syncs('published')) > published)
    const [seconds = ''] = await git.poll(1)
    const [begun = 0, fetched = 0, added = 0, done = 0] = seconds.split(' ').map(Number)
    const newTree = 1000 * (added - begun)
    const inPlace = 1000 * (fetched - begun + done - added)
    times.push({ own: arrived - pushed, inPlace, newTree })
  }
  return {
    own: times.map((time) => time.own),
    inPlace: times.map(({ inPlace }) => inPlace),
    newTree: times.map(({ newTree }) => newTree),
  }
}

const clock = '$EPOCHREALTIME'
/** Says when it began, and when it had done each of three commands. */
const gitAlone: Script = {
  ...plainLoop,
  poll: [
    `says=${clock}`,
    `git fetch --quiet --depth 1 origin ${branch}`,
    `says="$says ${clock}"`,
    'git worktree add --quiet --detach ../new FETCH_HEAD',
    `says="$says ${clock}"`,
    'git reset --quiet --hard FETCH_HEAD',
    `says="$says ${clock}"`,
    'git worktree remove --force ../new',
  ].join(' && '),
  shell: 'bash',
}

const ownIn = ({ root }: Place): Arrivals =>
  new Arrivals(root, () => basename(readlinkSync(join(root, linkName))))

function fileText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}
