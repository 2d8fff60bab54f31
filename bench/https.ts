import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { selfSigned } from '@outrider/sidecar-https'
import { until } from '../test/support/program.ts'
import type { BenchOptions } from './options.ts'
import { application, paths } from './peers/application.ts'
import type { Setting, Subject } from './peers/subject.ts'
import { comparison, type Rounds } from './support/comparison.ts'
import { installPrograms, lackOf, versionOf } from './support/install.ts'
import { type Measurement, measure } from './support/measure.ts'
import { freePort, statusOf } from './support/probes.ts'
import { Program, pinned, temporaryDirectory } from './support/processes.ts'
import { hottest, profiling } from './support/profile.ts'
import { type Workload, workloads } from './workloads.ts'

const generators = [
  { name: 'nginx-light', program: 'nginx' },
  { name: 'wrk', program: 'wrk' },
  { name: 'nghttp2-client', program: 'h2load' },
]

/** The sidecar and the forwarder beside the proxies that they replace, in turns on the same core. */
export async function https(options: BenchOptions): Promise<string> {
  const { rounds, seconds } = options
  const chosen = select('--only', workloads, options.only)
  const every = [...new Set(chosen.flatMap(({ subjects }) => subjects))]
  const wanted = select('--subjects', every, options.subjects)
  const programs = [...generators, ...wanted.flatMap(({ debian }) => debian ?? [])]
  await installPrograms(programs)

  const directory = temporaryDirectory()
  const upstream = await freePort()
  await using served = new Program(application(directory, upstream), 'load')
  await until('nginx as the application', async () => {
    if (served.hasEnded) throw new Error(`nginx as the application: ${served.complaints}`)
    return (await statusOf(upstream, paths.small, false)) === 200
  })
  const tls = writeCertificate(directory)

  const sections: string[] = []
  for (const workload of chosen) {
    const subjects = workload.subjects.filter((subject) => wanted.includes(subject))
    const profiles = join(directory, `profiles-${workload.name}`)
    mkdirSync(profiles)
    const base = {
      upstream,
      tls: workload.tls ? tls : undefined,
      concurrency: workload.concurrency,
      nodeArgs: options.profile ? profiling(profiles) : [],
    }
    const outcomes: Rounds[] = subjects.map((subject) => ({ subject, lack: lackOf(subject), measured: [] }))
    for (let round = 0; round < rounds; round++) {
      for (const { subject, lack, measured } of outcomes) {
        if (lack !== undefined) continue
        const own = join(directory, `${workload.name}-${subject.name}-${round}`)
        mkdirSync(own)
        const setting = { ...base, directory: own, port: await freePort() }
        const outcome = await attempt(subject, setting, workload, options)
        measured.push(outcome)
        console.log(`${workload.name}, round ${round + 1} of ${rounds}: ${subject.name} ${brief(outcome)}`)
      }
    }
    if (options.profile) console.log(`\n${hottest(profiles)}\n`)
    sections.push(`### ${workload.title}\n\n${workload.remark}\n\n${comparison(outcomes)}\n`)
  }
  const versions = await Promise.all(programs.map(versionOf))
  return [
    `Medians of ${rounds} rounds in turns, ${seconds} s each, on ${cpus().length} cores: ${placement}`,
    `CPU is the user and system time of all processes of the proxy, by the requests that it had answered; a ratio is the`,
    `median of the ratios to nginx in the same round. Private memory is RssAnon under load. Certificates are P-256. The`,
    `application is nginx, plain HTTP on loopback. Node ${process.version}, ${[...new Set(versions)].join(', ')}.`,
    '',
    ...sections,
  ].join('\n')
}

function select<T extends { readonly name: string }>(
  option: string,
  all: readonly T[],
  asked: readonly string[] | undefined,
): readonly T[] {
  const names = all.map(({ name }) => name)
  const unknown = asked?.filter((name) => !names.includes(name)) ?? []
  if (unknown.length > 0) throw new Error(`${option} ${unknown.join(',')}: there are ${names.join(', ')}`)
  return asked === undefined ? all : all.filter(({ name }) => asked.includes(name))
}

const placement = pinned
  ? 'the proxy, one process, on one, clients and application on the other.'
  : 'all processes wherever the system puts them, which makes the figures less steady.'

function writeCertificate(directory: string): NonNullable<Setting['tls']> {
  const { cert, key } = selfSigned({ names: ['127.0.0.1'] })
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
  const pair = join(directory, 'pair.pem')
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  writeFileSync(pair, key + cert)
  return { ...files, pair }
}

async function attempt(
  subject: Subject,
  setting: Setting,
  workload: Workload,
  { seconds, warmUpSeconds }: BenchOptions,
): Promise<Measurement | Error> {
  try {
    return await measure(subject, setting, { ...workload, seconds, warmUpSeconds })
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function brief(outcome: Measurement | Error): string {
  if (outcome instanceof Error) return `failed: ${outcome.message}`
  const { cpuUs, perSecond, p99Ms, complaints } = outcome
  const figures = `${cpuUs.toFixed(1)} us, ${perSecond.toFixed(0)}/s, p99 ${p99Ms.toFixed(2)} ms`
  return [figures, ...complaints].join(', ')
}
