import { setTimeout as delay } from 'node:timers/promises'
import { table } from '@outrider/core/render'
import { sidecarHttps } from '../peers/sidecar-https.ts'
import type { Setting } from '../peers/subject.ts'
import { median } from '../report.ts'
import { habits } from '../support/habits.ts'
import { mib, settledMemory } from '../support/memory.ts'
import { RegularClient } from '../support/regular-client.ts'
import { Served } from '../support/served.ts'
import { type Finding, type Growth, growthText, isFlat } from './growth.ts'

const sampleMs = 10_000
/** Until heap, pools and the caches of TLS have the size that such clients take. */
const warmUpMs = 30_000
const atATime = 48
/** For the last of them to leave. */
const patienceMs = 10_000
/** The idle timeout of the sidecar, and what it waits for a goodbye. */
const idleMs = 85_000
/** Of a hundred connections a second. */
const perHour = 360_000

/** Clients that break off in every phase, as fast as they can, for so many minutes. */
export async function comeAndGo(setting: Omit<Setting, 'port'>, minutes: number): Promise<Finding> {
  await using served = await Served.start(sidecarHttps, setting)
  const before = await settledMemory(served.group)
  const descriptorsBefore = served.descriptors
  await using client = new RegularClient(served.port)
  const crowd = new Crowd(served.port)
  console.log(`come and go: ${mib(before)} before`)
  await delay(warmUpMs)
  const warmedUp = crowd.gone
  const begun = performance.now()
  const samples: number[] = []
  while (samples.length < (minutes * 60_000) / sampleMs) {
    await delay(begun + (samples.length + 1) * sampleMs - performance.now())
    const { privateBytes } = served
    samples.push(privateBytes)
    const count = `${crowd.gone - warmedUp} connections, ${await served.openConnections()} open`
    console.log(
      `come and go: ${(samples.length * sampleMs) / 1000} s, ${count}, ${mib(privateBytes)}, ${client.summary}`,
    )
  }
  const seconds = (performance.now() - begun) / 1000
  const connections = crowd.gone - warmedUp
  await crowd.disperse()
  await client[Symbol.asyncDispose]()
  // What node:http2 does not notice is gone when the idle timeout is over.
  await delay(idleMs)
  const descriptors = await served.settledDescriptors(descriptorsBefore)
  const open = await served.openConnections()
  const after = await settledMemory(served.group)
  console.log(`come and go: ${open} open, ${descriptors} descriptors and ${mib(after)} when all are gone`)

  const third = Math.max(1, Math.floor(samples.length / 3))
  const growth = { from: median(samples.slice(0, third)), to: median(samples.slice(-third)) }
  const descriptorsOf = { before: descriptorsBefore, after: descriptors }
  return findingOf({
    minutes,
    seconds,
    connections,
    before,
    growth,
    after,
    open,
    descriptors: descriptorsOf,
    client,
  })
}

/** Private memory is in bytes. */
interface Came {
  readonly minutes: number
  readonly seconds: number
  readonly connections: number
  readonly before: number
  readonly growth: Growth
  readonly after: number
  readonly open: number
  readonly descriptors: { readonly before: number; readonly after: number }
  readonly client: RegularClient
}

function findingOf(came: Came): Finding {
  const { open, descriptors, growth, client } = came
  return {
    section: sectionOf(came),
    faults: [
      ...(isFlat(growth) ? [] : ['memory grows']),
      ...(descriptors.after <= descriptors.before ? [] : ['descriptors are left']),
      ...(open === 0 ? [] : [`${open} connections are left`]),
      ...(client.failed === 0 ? [] : [`of the regular client's requests ${client.failed} failed`]),
    ].map((fault) => `come and go: ${fault}`),
  }
}

function sectionOf({
  minutes,
  seconds,
  connections,
  before,
  growth,
  after,
  open,
  descriptors,
  client,
}: Came): string {
  const rows = [
    ['connections', `${connections.toLocaleString('en')}, ${Math.round(connections / seconds)} a second`],
    ['private memory before', mib(before)],
    ['median of the first third', mib(growth.from)],
    ['median of the last third', mib(growth.to)],
    ['last to first', growthText(growth)],
    ['by the connections between the two', perConnection(growth, (connections * 2) / 3)],
    ['private memory when all are gone', mib(after)],
    ['open connections when all are gone', String(open)],
    ['descriptors before, after', `${descriptors.before}, ${descriptors.after}`],
    ['the regular client', client.summary],
  ]
  return [
    '### Clients that come and go',
    '',
    `sidecar-https alone, for ${minutes} min, by ${atATime} clients at a time, as fast as they can, after ${warmUpMs / 1000} s that do not count. An`,
    `hour of a hundred connections a second would be ${perHour.toLocaleString('en')}: this is ${(connections / perHour).toFixed(2)} of it. All end by FIN, by closing`,
    'with data unread, or by RST. In turns, a client',
    '',
    ...habits.map(({ name }) => `- ${name}`),
    '',
    table(['', 'sidecar-https'], rows),
    '',
  ].join('\n')
}

const perConnection = ({ from, to }: Growth, connections: number): string =>
  `${((to - from) / connections).toFixed(0)} bytes`

/** Clients who take the habits in turns. */
class Crowd {
  gone = 0
  #next = 0
  #dispersing = false
  readonly #clients: Promise<void>[]

  constructor(port: number) {
    this.#clients = Array.from({ length: atATime }, () => this.#live(port))
  }

  async #live(port: number): Promise<void> {
    while (!this.#dispersing) {
      await habits[this.#next++ % habits.length]?.live(port)
      this.gone++
    }
  }

  async disperse(): Promise<void> {
    this.#dispersing = true
    await Promise.race([Promise.all(this.#clients), delay(patienceMs)])
  }
}
