import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { selfSigned } from '@outrider/sidecar-https'
import { until } from '../test/support/program.ts'
import { type BenchOptions, select } from './options.ts'
import { application, paths, requestsServed } from './peers/application.ts'
import type { Setting } from './peers/subject.ts'
import { comparison } from './support/comparison.ts'
import { installPrograms, versionOf } from './support/install.ts'
import { measure } from './support/measure.ts'
import { freePort, statusOf } from './support/probes.ts'
import { Program, placement, temporaryDirectory } from './support/processes.ts'
import { hottest, profiling } from './support/profile.ts'
import { inTurns } from './support/turns.ts'
import { workloads } from './workloads.ts'

const generators = [
  { name: 'nginx-light', program: 'nginx' },
  { name: 'wrk', program: 'wrk' },
  { name: 'nghttp2-client', program: 'h2load' },
]

const terms = { unit: 'request', reference: 'nginx' }

/** The sidecar and the forwarder beside the proxies that they replace, in turns on the same core. */
export async function https(options: BenchOptions): Promise<string> {
  const { rounds, seconds, warmUpSeconds } = options
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
    const job = {
      ...workload,
      seconds,
      warmUpSeconds,
      application: {
        answersAt: async (port: number) => (await statusOf(port, paths.small, workload.tls)) === 200,
        served: () => requestsServed(upstream),
      },
    }
    const outcomes = await inTurns(
      subjects,
      { name: workload.name, rounds, directory },
      async (subject, own) => measure(subject, { ...base, directory: own, port: await freePort() }, job),
    )
    if (options.profile) console.log(`\n${hottest(profiles)}\n`)
    sections.push(`### ${workload.title}\n\n${workload.remark}\n\n${comparison(outcomes, terms)}\n`)
  }
  const versions = await Promise.all(programs.map(versionOf))
  return [
    `Medians of ${rounds} rounds in turns, ${seconds} s each, on ${cpus().length} cores: ${placement('clients and application')}`,
    `CPU is the user and system time of all processes of the proxy, by the requests that it had answered; a ratio is the`,
    `median of the ratios to nginx in the same round. Private memory is RssAnon under load. Certificates are P-256. The`,
    `application is nginx, plain HTTP on loopback. Node ${process.version}, ${[...new Set(versions)].join(', ')}.`,
    '',
    ...sections,
  ].join('\n')
}

function writeCertificate(directory: string): NonNullable<Setting['tls']> {
  const { cert, key } = selfSigned({ names: ['127.0.0.1'] })
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
  const pair = join(directory, 'pair.pem')
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  writeFileSync(pair, key + cert)
  return { ...files, pair }
}
