import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { table } from '@outrider/core/render'
import { until } from '../../test/support/program.ts'
import type { Finding } from '../churn/growth.ts'
import { median } from '../report.ts'
import { ratioText } from '../support/comparison.ts'
import { programPath } from '../support/processes.ts'
import type { Remote, Servers, Transport } from './origins.ts'
import { OwnProgram, ownName } from './own.ts'
import { makePlace, type Place } from './place.ts'
import { cpuNsOf } from './process-tree.ts'
import { PacedScript, peerSequence, plainLoop, type Script } from './scripts.ts'
import { type Starts, startsIn, traced } from './starts.ts'

export interface IdleSetting {
  readonly servers: Servers
  /** Of the repository. */
  readonly name: string
  readonly directory: string
  readonly rounds: number
  readonly seconds: number
}

/** What polls. */
interface Subject {
  readonly name: string
  readonly transport: Transport
  /** Milliseconds of one poll. */
  cpuMs(remote: Remote, place: Place, seconds: number): Promise<number>
  /** Of one poll. */
  starts(remote: Remote, place: Place): Promise<Starts>
}

/** What came of it; one figure for each round. */
interface Outcome {
  readonly subject: Subject
  readonly cpuMs: readonly number[]
  /** Undefined where nothing counts them. */
  readonly starts: Starts | undefined
}

const transports: readonly Transport[] = ['http', 'https', 'ssh', 'file']
const subjects = transports.flatMap((transport) => [
  own(transport),
  scripted(plainLoop, transport),
  ...(transport === 'http' ? [scripted(peerSequence, transport)] : []),
])

/** Of git's own commands at a poll that finds nothing new. */
const most = 1
const periodMs = 100
/** Polls of a script for each second that is asked for. */
const pollsPerSecond = 10
/** Polls under strace. */
const tracedPolls = 10

/** What a poll costs that finds nothing new. */
export async function idle(setting: IdleSetting): Promise<Finding> {
  const outcomes: Outcome[] = []
  for (const subject of subjects) outcomes.push(await measure(subject, setting))
  const rows = outcomes.map(({ subject: { name, transport }, cpuMs, starts }) => {
    const loop = outcomes.find(({ subject }) => isOf(subject, plainLoop.name, transport))?.cpuMs ?? []
    const ratio = median(cpuMs.map((each, round) => each / (loop[round] ?? Number.NaN)))
    const isMissed = name === ownName && (starts?.commands ?? 0) > most
    const commands = String(starts?.commands ?? '-')
    return [
      `${transport}: ${name}`,
      isMissed ? `**${commands}**` : commands,
      String(starts?.programs ?? '-'),
      `${median(cpuMs).toFixed(2)} ms`,
      ratioText(ratio),
    ]
  })
  const faults = outcomes
    .filter(({ subject, starts }) => subject.name === ownName && (starts?.commands ?? 0) > most)
    .map(({ subject }) => `an idle poll by ${subject.transport} takes more than ${most} command of git`)
  const head = ['poll', 'commands of git', 'programs in all', 'CPU', `to ${plainLoop.name}`]
  return { section: [...notes(setting), '', table(head, rows), ''].join('\n'), faults }
}

const isOf = (subject: Subject, name: string, transport: Transport): boolean =>
  subject.name === name && subject.transport === transport

const notes = ({ rounds, seconds }: IdleSetting): string[] => [
  '### A poll that finds nothing new',
  '',
  `Medians of ${rounds} rounds. git-sync polls every ${periodMs} ms for ${seconds} s, the others ${pollsPerSecond * seconds} times one right after another, without`,
  'the `sleep` between. CPU is the user and system time of the process and of all it starts, by the polls. That of the',
  "server does not count, but by `file` the server's part is one of these processes. Commands of git are those that are",
  'given; programs in all are also those that git starts for them, as strace sees it in a run of its own. To reach: at',
  `most ${most} command of git for each poll of git-sync.`,
  '',
  `- ${plainLoop.name}: \`${plainLoop.poll}\``,
  `- ${peerSequence.name}: what kubernetes/git-sync v4 asks of git at such a poll, without the program around it;`,
  `  \`$tree\` is the worktree: \`${peerSequence.poll}\``,
]

async function measure(subject: Subject, setting: IdleSetting): Promise<Outcome> {
  const { servers, directory, rounds, seconds } = setting
  const remote = servers.remote(subject.transport, setting.name)
  const title = `idle-${subject.transport}-${subject.name}`
  const cpuMs: number[] = []
  while (cpuMs.length < rounds) {
    using place = makePlace(directory, `${title}-${cpuMs.length}`)
    cpuMs.push(await subject.cpuMs(remote, place, seconds))
  }
  using place = makePlace(directory, `${title}-traced`)
  const starts = programPath('strace') === undefined ? undefined : await subject.starts(remote, place)
  console.log(`${title}: ${starts?.programs} programs, CPU ${cpuMs.map((ms) => ms.toFixed(2)).join(', ')} ms`)
  return { subject, cpuMs, starts }
}

function own(transport: Transport): Subject {
  return {
    name: ownName,
    transport,
    async cpuMs(remote, place, seconds) {
      await using program = await OwnProgram.start(remote, place, `${periodMs}ms`)
      await delay(1000)
      const polls = await program.syncs('unchanged')
      // To ask it costs as well.
      const before = cpuNsOf(program.pid)
      await delay(1000 * seconds)
      const after = cpuNsOf(program.pid)
      return (after - before) / 1e6 / ((await program.syncs('unchanged')) - polls)
    },
    async starts(remote, place) {
      const file = join(place.home, 'trace')
      const counted = async () => {
        await using program = await OwnProgram.start(remote, place, `${periodMs}ms`, traced(file))
        const first = await pollsFrom(program, 1)
        const from = Date.now()
        const last = await pollsFrom(program, first + tracedPolls)
        return { from, to: Date.now(), polls: last - first }
      }
      const { from, to, polls } = await counted()
      return perPoll(startsIn(file, from, to), polls)
    },
  }
}

function scripted(script: Script, transport: Transport): Subject {
  return {
    name: script.name,
    transport,
    async cpuMs(remote, place, seconds) {
      await using program = new PacedScript(script, remote, place)
      const polls = pollsPerSecond * seconds
      await program.poll(Math.ceil(polls / 4))
      const before = cpuNsOf(program.pid)
      await program.poll(polls)
      return (cpuNsOf(program.pid) - before) / 1e6 / polls
    },
    async starts(remote, place) {
      const file = join(place.home, 'trace')
      const counted = async () => {
        await using program = new PacedScript(script, remote, place, traced(file))
        await program.poll(1)
        const from = Date.now()
        await program.poll(tracedPolls)
        return { from, to: Date.now() }
      }
      const { from, to } = await counted()
      return perPoll(startsIn(file, from, to), tracedPolls)
    },
  }
}

/** How many polls there have been, right after the one with which they are so many, so that none is half done. */
async function pollsFrom(program: OwnProgram, least: number): Promise<number> {
  const before = await program.syncs('unchanged')
  return await until('polls of the container', async () => {
    const polls = await program.syncs('unchanged')
    return polls > before && polls >= least && polls
  })
}

// Under strace the clock of the one may be a little behind that of the other.
const perPoll = ({ commands, programs }: Starts, polls: number): Starts => ({
  commands: Math.round((10 * commands) / polls) / 10,
  programs: Math.round((10 * programs) / polls) / 10,
})
