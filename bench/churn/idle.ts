import { table } from '@outrider/core/render'
import type { BenchOptions } from '../options.ts'
import { nodeHttps } from '../peers/node-https.ts'
import type { Setting, Subject } from '../peers/subject.ts'
import { IdleClients } from '../support/idle-clients.ts'
import { mib, settledMemory } from '../support/memory.ts'
import { RegularClient } from '../support/regular-client.ts'
import { Served } from '../support/served.ts'
import { type Finding, type Growth, growthText, isFlat } from './growth.ts'

/** One proxy that held idle connections some times; private memory in bytes. */
interface Held {
  readonly name: string
  readonly remark: string
  readonly before: number
  readonly rounds: readonly { readonly peak: number; readonly after: number }[]
  readonly descriptors: { readonly before: number; readonly after: number }
  readonly lost: number
  readonly client: RegularClient
}

/**
 * Holds that many finished handshakes of clients who then say nothing, closes them, and does it all again. The first
 * of the subjects is ours; the faults are its own.
 */
export async function idle(
  subjects: readonly Subject[],
  settingOf: (name: string) => Omit<Setting, 'port'>,
  { connections, rounds }: Pick<BenchOptions, 'connections' | 'rounds'>,
): Promise<Finding> {
  const all: Held[] = []
  for (const subject of subjects) {
    all.push(await hold(subject, settingOf(`idle-${subject.name}`), connections, Math.max(2, rounds)))
  }
  return {
    section: sectionOf(all, connections),
    faults: all.slice(0, 1).flatMap((own) => faultsOf(own, all)),
  }
}

async function hold(
  subject: Subject,
  setting: Omit<Setting, 'port'>,
  connections: number,
  count: number,
): Promise<Held> {
  await using served = await Served.start(subject, setting)
  const before = await settledMemory(served.group)
  const descriptorsBefore = served.descriptors
  console.log(`idle, ${subject.name}: ${mib(before)} before`)
  const rounds: { peak: number; after: number }[] = []
  let lost = 0
  await using client = new RegularClient(served.port)
  for (let round = 1; round <= count; round++) {
    let peak: number
    {
      await using clients = new IdleClients(served.port)
      await clients.open(connections)
      const held = served.descriptors
      peak = await settledMemory(served.group)
      lost += clients.lost
      console.log(`idle, ${subject.name}: ${mib(peak)} with ${held} descriptors, ${client.summary}`)
    }
    const after = await settledMemory(served.group)
    console.log(`idle, ${subject.name}: ${mib(after)} after round ${round}, ${client.summary}`)
    rounds.push({ peak, after })
  }
  await client[Symbol.asyncDispose]()
  const descriptors = { before: descriptorsBefore, after: await served.settledDescriptors(descriptorsBefore) }
  return { name: subject.name, remark: subject.remark, before, rounds, descriptors, lost, client }
}

const growthOf = ({ rounds }: Held): Growth => ({
  from: rounds.at(-2)?.after ?? Number.NaN,
  to: rounds.at(-1)?.after ?? Number.NaN,
})

/** More than a bare server of Node, whose malloc is the same, has grown by. */
function growsByItself(held: Held, all: readonly Held[]): boolean {
  const bare = all.find(({ name }) => name === nodeHttps.name)
  const { from, to } = bare === undefined ? { from: 0, to: 0 } : growthOf(bare)
  return !isFlat(growthOf(held), Math.max(0, to - from))
}

function faultsOf(held: Held, all: readonly Held[]): string[] {
  const { name, descriptors, lost, client } = held
  return [
    ...(growsByItself(held, all) ? ['memory grows by more than that of a bare server'] : []),
    ...(descriptors.after <= descriptors.before ? [] : ['descriptors are left']),
    ...(lost === 0 ? [] : [`${lost} idle connections were ended`]),
    ...(client.failed === 0 ? [] : [`of the regular client's requests ${client.failed} failed`]),
  ].map((fault) => `idle, ${name}: ${fault}`)
}

function sectionOf(all: readonly Held[], connections: number): string {
  const count = connections.toLocaleString('en')
  const rows = all.map((held) => {
    const { name, remark, before, rounds, descriptors, client } = held
    const each = (peak: number) => `${((peak - before) / 1024 / connections).toFixed(1)} KiB`
    return [
      `${name} (${remark})`,
      mib(before),
      rounds.map(({ peak }) => `${mib(peak)} (${each(peak)} each)`).join(', then '),
      rounds.map(({ after }) => mib(after)).join(', then '),
      growthText(growthOf(held)),
      `${descriptors.before}, ${descriptors.after}`,
      client.summary,
    ]
  })
  const head = ['proxy', 'before', `with ${count} open`, 'with all closed', 'last to the one before']
  return [
    `### ${count} idle connections over TLS`,
    '',
    'Handshakes are finished, no request follows; then all are closed, and it begins again. The regular client makes a new',
    'connection for each request. What Node takes for connections and gives back, glibc finds a use for only by and by: in',
    'rounds that follow each other memory grows ever less, in a bare server too, and only more growth than there is ours.',
    '',
    table([...head, 'descriptors before, after', 'the regular client'], rows),
    '',
  ].join('\n')
}
