import { setTimeout as delay } from 'node:timers/promises'
import { table } from '@outrider/core/render'
import type { Finding } from '../churn/growth.ts'
import { median } from '../report.ts'
import { ratioText } from '../support/comparison.ts'
import { mib } from '../support/memory.ts'
import { type Command, Program } from '../support/processes.ts'
import type { Remote } from './origins.ts'
import { ownCommand, ownName, unshared } from './own.ts'
import { makePlace, type Place } from './place.ts'
import { cpuNsOf, memoryOf } from './process-tree.ts'
import { branch, type Contents } from './repository.ts'
import { shell } from './scripts.ts'

export interface FirstSyncSetting {
  readonly contents: Contents
  readonly remote: Remote
  readonly directory: string
  readonly rounds: number
}

/** Peaks in bytes. */
interface FirstSync {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly pss: number
  readonly anonymous: number
}

interface Subject {
  readonly name: string
  readonly command: (remote: Remote, place: Place) => Command | Promise<Command>
}

const clone: Subject = {
  name: '`git clone --depth 1`',
  // The shell waits, since a process that has ended can be asked nothing.
  command: (remote, place) =>
    shell(`git clone --quiet --depth 1 --branch ${branch} "$REPO" tree; exit $?`, remote, place),
}
const own: Subject = {
  name: `${ownName} --one-time`,
  command: async (remote, place) =>
    unshared(await ownCommand(remote, place, { ONE_TIME: 'true', ADMIN: '127.0.0.1:0' }), place),
}

/** Of the peak to that of git. */
const most = 1.1
const sampleMs = 20

/** What the first sync of a large repository takes, beside git's own clone of it. */
export async function firstSync(setting: FirstSyncSetting): Promise<Finding> {
  const { remote, directory, rounds } = setting
  const syncs: Record<'clone' | 'own', FirstSync[]> = { clone: [], own: [] }
  for (let round = 0; round < rounds; round++)
    for (const [which, { name, command }] of [
      ['clone', clone],
      ['own', own],
    ] as const) {
      // It stays until the end: ext4 makes files more slowly after many were removed.
      const place = makePlace(directory, `first-${which}-${round}`)
      const sync = await measure(await command(remote, place))
      syncs[which].push(sync)
      console.log(`first sync, round ${round + 1} of ${rounds}: ${name} ${figures(sync)}`)
    }
  const ratio = (which: keyof typeof syncs, figure: keyof FirstSync) =>
    median(syncs[which].map((sync, round) => sync[figure] / (syncs.clone[round]?.[figure] ?? Number.NaN)))
  const isTooMuch = ratio('own', 'pss') > most
  const row = (which: keyof typeof syncs, name: string) => {
    const middle = (figure: keyof FirstSync) => median(syncs[which].map((sync) => sync[figure]))
    const memory = ratioText(ratio(which, 'pss'))
    return [
      name,
      mib(middle('pss')),
      which === 'own' && isTooMuch ? `**${memory}**` : memory,
      mib(middle('anonymous')),
      ratioText(ratio(which, 'anonymous')),
      `${middle('seconds').toFixed(1)} s`,
      ratioText(ratio(which, 'seconds')),
      `${middle('cpuSeconds').toFixed(1)} s`,
      ratioText(ratio(which, 'cpuSeconds')),
    ]
  }
  const to = 'to clone'
  const head = ['first sync', 'peak memory', to, 'peak anonymous', to, 'time', to, 'CPU', to]
  const rows = [row('clone', clone.name), row('own', own.name)]
  return {
    section: [...notes(setting), '', table(head, rows), ''].join('\n'),
    faults: isTooMuch ? [`the first sync takes more than ${ratioText(most)} the memory of git`] : [],
  }
}

const figures = ({ seconds, cpuSeconds, pss, anonymous }: FirstSync): string =>
  `${seconds.toFixed(1)} s, ${cpuSeconds.toFixed(1)} s CPU, ${mib(pss)}, anonymous ${mib(anonymous)}`

const notes = ({ contents, rounds }: FirstSyncSetting): string[] => [
  '### The first sync of a large repository',
  '',
  `Medians of ${rounds} rounds in turns, by http: ${contents.texts.toLocaleString('en')} files of text, ${contents.blobs} of ${mib(contents.blobBytes)} of random bytes, ${contents.commits.toLocaleString('en')} commits,`,
  `of which one is fetched. Memory is PSS of all processes of the tree together, Node included, every ${sampleMs} ms: with what is`,
  'mapped of files, such as packs, which the kernel takes back when memory is short. What is anonymous it cannot take. Node',
  'is a copy that no other process shares. Time is from the start of the first process to the end of the last, with the',
  `server's part, which is most of it where it is slow; CPU is without it. To reach: memory of ${ratioText(most)} clone.`,
]

async function measure(command: Command): Promise<FirstSync> {
  const peak = { cpuNs: 0, pss: 0, anonymous: 0 }
  const begun = performance.now()
  await using program = new Program(command, 'measured')
  let endedMs: number | undefined
  const ended = program.result(300).finally(() => (endedMs = performance.now()))
  while (endedMs === undefined) {
    const next = performance.now() + sampleMs
    const { pss, anonymous } = memoryOf(program.pid)
    peak.pss = Math.max(peak.pss, pss)
    peak.anonymous = Math.max(peak.anonymous, anonymous)
    peak.cpuNs = Math.max(peak.cpuNs, cpuNsOf(program.pid))
    await Promise.race([delay(Math.max(1, next - performance.now())), ended]).catch(async (error: Error) => {
      // What the container says is on its standard output.
      throw new Error(`${error.message} ${await program.output}`)
    })
  }
  const { cpuNs, pss, anonymous } = peak
  return { seconds: (endedMs - begun) / 1000, cpuSeconds: cpuNs / 1e9, pss, anonymous }
}
