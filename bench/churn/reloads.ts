import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { table } from '@outrider/core/render'
import { selfSigned } from '@outrider/sidecar-https'
import { until } from '../../test/support/program.ts'
import { sidecarHttps } from '../peers/sidecar-https.ts'
import type { Setting } from '../peers/subject.ts'
import { mib, settledMemory } from '../support/memory.ts'
import { RegularClient } from '../support/regular-client.ts'
import { Served } from '../support/served.ts'
import { arrive, secure } from '../support/visit.ts'
import { type Finding, type Growth, growthText, isFlat } from './growth.ts'

const half = 500

/** Another certificate a thousand times, each used by a client. */
export async function reloads(setting: Omit<Setting, 'port'> & { readonly tls: Files }): Promise<Finding> {
  await using served = await Served.start(sidecarHttps, setting)
  const before = await settledMemory(served.group)
  const descriptorsBefore = served.descriptors
  console.log(`reloads: ${mib(before)} before`)
  await using client = new RegularClient(served.port)
  const halves: number[] = []
  while (halves.length < 2) {
    for (let count = 0; count < half; count++) {
      const fingerprint = writeCertificate(setting.tls)
      served.reload()
      await until('the new certificate', async () => (await servedFingerprint(served.port)) === fingerprint)
    }
    halves.push(await settledMemory(served.group))
    console.log(`reloads: ${mib(served.privateBytes)} after ${halves.length * half}, ${client.summary}`)
  }
  await client[Symbol.asyncDispose]()
  const descriptors = await served.settledDescriptors(descriptorsBefore)
  const [from = Number.NaN, to = Number.NaN] = halves
  const growth: Growth = { from, to }
  const rows = [
    ['private memory before', mib(before)],
    [`after ${half}`, mib(from)],
    [`after ${2 * half}`, mib(to)],
    ['second half', growthText(growth)],
    ['descriptors before, after', `${descriptorsBefore}, ${descriptors}`],
    ['the regular client', client.summary],
  ]
  return {
    section: [
      `### ${(2 * half).toLocaleString('en')} reloads`,
      '',
      'sidecar-https alone: each time a new certificate and key are written, and SIGHUP is sent; a client has seen each of them.',
      '',
      table(['', 'sidecar-https'], rows),
      '',
    ].join('\n'),
    faults: [
      ...(isFlat(growth) ? [] : ['memory grows']),
      ...(descriptors <= descriptorsBefore ? [] : ['descriptors are left']),
      ...(client.failed === 0 ? [] : [`of the regular client's requests ${client.failed} failed`]),
    ].map((fault) => `reloads: ${fault}`),
  }
}

type Files = NonNullable<Setting['tls']>

/** Writes a new pair in place; gives the fingerprint of its certificate. */
export function writeCertificate(files: Files): string {
  const { cert, key } = selfSigned({ names: ['127.0.0.1'] })
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  return new X509Certificate(cert).fingerprint256
}

async function servedFingerprint(port: number): Promise<string> {
  const raw = arrive(port)
  const gone = new Promise<undefined>((resolve) => raw.once('close', () => resolve(undefined)))
  const socket = await Promise.race([secure(raw), gone])
  const fingerprint = socket?.getPeerCertificate().fingerprint256 ?? ''
  raw.destroy()
  // A short pause, since the certificate is asked for until it is there.
  await delay(1)
  return fingerprint
}
