import { cpus } from 'node:os'
import { address } from '@outrider/core'
import { table } from '@outrider/core/render'
import { type Addresses, type Fixture, onFreePorts } from '@outrider/core/testing'
import { buildImages } from '../docker/images.ts'
import { docker, dockerResult, processStatus } from '../test/support/docker.ts'
import { until } from '../test/support/program.ts'
import { type ContainerPackage, containerPackages } from '../test/support/workspace.ts'
import { median } from './report.ts'

const rounds = 7
/** After this long without work nothing of the start is left but what stays. */
const settleMs = 2_000
const mib = 2 ** 20

interface Footprint {
  readonly privateBytes: number
  readonly residentBytes: number
  readonly readyMs: number
}

/** What each container costs while it has nothing to do, beside a bare `node:http` server on the same base. */
export async function footprint(): Promise<string> {
  const sizes = await buildImages(undefined, () => undefined)
  const bare: Footprint[] = []
  const measured = new Map<string, Footprint[]>()
  const packs = await containerPackages()
  for (let round = 0; round < rounds; round++) {
    bare.push(await measure(bareServer))
    for (const pack of packs) {
      const own = measured.get(pack.container.name) ?? []
      measured.set(pack.container.name, [...own, await measureContainer(pack)])
    }
  }
  const base = medians(bare)
  const rows = packs.map(({ container }) => {
    const own = medians(measured.get(container.name) ?? [])
    const added = sizes.images.find(({ name }) => name === container.name)?.added ?? Number.NaN
    return [
      container.name,
      ...figures(own),
      `${(added / 1024).toFixed(0)} KiB`,
      `${(own.privateBytes / base.privateBytes).toFixed(2)} x`,
    ]
  })
  const refusals = await Promise.all(
    packs.map(({ container }) => refusalMs(container.name, container.prefix)),
  )
  return [
    `Idle, in the image, after one unit of work; medians of ${rounds} rounds on ${cpus().length} cores, Node ${process.version}.`,
    `${sizes.bases.map(({ tag, size }) => `${tag} is ${(size / mib).toFixed(1)} MiB`).join(', ')};`,
    '"adds" is what an image has on top of its base. Private memory is RssAnon: the rest of the resident memory is the Node',
    'binary, which all containers of a machine share. "Ready" is from',
    "the engine's start of the process until it serves.",
    '',
    table(
      ['container', 'private memory', 'resident', 'ready', 'adds', 'private, to bare'],
      [['bare `node:http` server', ...figures(base), '-', '1.00 x'], ...rows],
    ),
    '',
    `Wrong parameters are refused with exit code 2 after ${Math.max(...refusals)} ms (median), the engine's own time included.`,
    '',
  ].join('\n')
}

const figures = ({ privateBytes, residentBytes, readyMs }: Footprint): string[] => [
  `${(privateBytes / mib).toFixed(1)} MiB`,
  `${(residentBytes / mib).toFixed(1)} MiB`,
  `${readyMs} ms`,
]

const medians = (all: readonly Footprint[]): Footprint => ({
  privateBytes: median(all.map(({ privateBytes }) => privateBytes)),
  residentBytes: median(all.map(({ residentBytes }) => residentBytes)),
  readyMs: median(all.map(({ readyMs }) => readyMs)),
})

interface Subject {
  readonly args: readonly string[]
  /** Does one unit of work, given the event that it logged at its start. */
  work(started: Record<string, unknown>): Promise<void>
}

const bareScript = `
  require('node:http').createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1', function () {
    console.log(JSON.stringify({ msg: 'started', time: new Date().toISOString(), port: this.address().port }))
  })`

const bareServer: Subject = {
  args: ['--entrypoint', '/usr/bin/node', 'outrider/base', '--eval', bareScript],
  work: async ({ port }) => void (await (await fetch(`http://127.0.0.1:${port}`)).text()),
}

async function measureContainer({ container, makeFixture }: ContainerPackage): Promise<Footprint> {
  const fixture: Fixture = await makeFixture()
  const env = { ...onFreePorts(container), ...fixture.env }
  const settings = Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`])
  try {
    return await measure({
      args: [...settings, `outrider/${container.name}`],
      work: ({ addresses }) => fixture.work(parseAddresses(addresses as Record<string, string>)),
    })
  } finally {
    await fixture[Symbol.asyncDispose]()
  }
}

const parseAddresses = (texts: Readonly<Record<string, string>>): Addresses =>
  Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, address.kind.parse(text)]))

async function measure({ args, work }: Subject): Promise<Footprint> {
  const restrictions = ['--read-only', '--cap-drop', 'ALL', '--network', 'host']
  const id = await docker('run', '--detach', ...restrictions, ...args)
  try {
    const started = await until('its start', async () => eventOf(await docker('logs', id)))
    await work(started)
    await new Promise((resolve) => setTimeout(resolve, settleMs))
    const begun = await docker('inspect', '--format', '{{.State.StartedAt}}', id)
    const status = await processStatus(id)
    const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1])
    return {
      privateBytes: kib('RssAnon') * 1024,
      residentBytes: kib('VmRSS') * 1024,
      readyMs: Date.parse(String(started['time'])) - Date.parse(begun),
    }
  } finally {
    await docker('rm', '--force', '--volumes', id)
  }
}

function eventOf(log: string): Record<string, unknown> | undefined {
  const line = log.split('\n').find((text) => text.includes('"msg":"started"'))
  return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>)
}

async function refusalMs(name: string, prefix: string): Promise<number> {
  const times: number[] = []
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now()
    const { code } = await dockerResult('run', '--rm', '--env', `${prefix}DRAIN=10`, `outrider/${name}`)
    if (code !== 2) throw new Error(`${name} ended with ${code}`)
    times.push(performance.now() - begun)
  }
  return Math.round(median(times))
}
