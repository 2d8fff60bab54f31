import { mkdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { comeAndGo } from './churn/come-and-go.ts'
import { margin } from './churn/growth.ts'
import { idle } from './churn/idle.ts'
import { reloads, writeCertificate } from './churn/reloads.ts'
import type { BenchOptions } from './options.ts'
import { nginx } from './peers/nginx.ts'
import { nodeHttps } from './peers/node-https.ts'
import { sidecarHttps } from './peers/sidecar-https.ts'
import { installPrograms, lackOf, versionOf } from './support/install.ts'
import { mib } from './support/memory.ts'
import { oddApplication } from './support/odd-application.ts'
import { temporaryDirectory } from './support/processes.ts'

const peers = [sidecarHttps, nodeHttps, nginx]

/** Whether memory stays where it is: idle connections, clients that come and go, reloads. A process for each. */
export async function churn(options: BenchOptions): Promise<string> {
  const programs = peers.flatMap(({ debian }) => debian ?? [])
  await installPrograms(programs)
  const directory = temporaryDirectory()
  const file = (name: string) => join(directory, name)
  const tls = { cert: file('cert.pem'), key: file('key.pem'), pair: file('pair.pem') }
  writeCertificate(tls)
  using application = await oddApplication()
  const settingOf = (name: string) => {
    mkdirSync(file(name))
    return {
      directory: file(name),
      upstream: application.port,
      tls,
      concurrency: 64,
      connections: options.connections,
      nodeArgs: [],
    }
  }
  const there = peers.filter((peer) => lackOf(peer) === undefined)
  const found = [
    await idle(there, settingOf, options),
    await comeAndGo(settingOf('come-and-go'), options.minutes),
    await reloads(settingOf('reloads')),
  ]
  const faults = found.flatMap((finding) => finding.faults)
  if (faults.length > 0) process.exitCode = 1
  const versions = await Promise.all(programs.map(versionOf))
  return [
    `On ${cpus().length} cores, the application and all clients in one Node process. Private memory is RssAnon, when it has not`,
    `fallen for 12 s, but under load at the moment. "Flat" is not more than ${mib(margin)} above the earlier moment.`,
    `Node ${process.version}, ${versions.join(', ')}.`,
    '',
    ...found.map(({ section }) => section),
    faults.length === 0 ? 'All of it held.' : `**Not held**: ${faults.join('; ')}.`,
    '',
  ].join('\n')
}
