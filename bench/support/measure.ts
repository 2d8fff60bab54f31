import { until } from '../../test/support/program.ts'
import { paths, requestsServed } from '../peers/application.ts'
import type { Setting, Subject } from '../peers/subject.ts'
import type { Load, LoadResult } from './load.ts'
import { statusOf } from './probes.ts'
import { Program } from './processes.ts'
import { usageOf } from './usage.ts'

/** What one proxy did under one load. */
export interface Measurement extends LoadResult {
  /** User and system time of all its processes for one request, microseconds. */
  readonly cpuUs: number
  readonly perSecond: number
  /** RssAnon of all its processes under load, bytes. */
  readonly privateBytes: number
}

/** A load, and what it takes to measure it. */
export interface Job {
  readonly load: Load
  readonly seconds: number
  readonly warmUpSeconds: number
  /** How many requests the application counts for one of the clients'. */
  readonly countedPerRequest: number
  /** Why the proxy cannot be measured, asked when it serves. */
  readonly refusal: ((port: number) => Promise<string | undefined>) | undefined
}

/**
 * Starts the proxy, loads it, and ends it. CPU time and requests are read at two moments of steady load, so that neither
 * the start nor the opening of the connections counts.
 * @throws Error that says what did not work
 */
export async function measure(subject: Subject, setting: Setting, job: Job): Promise<Measurement> {
  const { load, seconds } = job
  const tls = setting.tls !== undefined
  await using program = new Program(await subject.prepare(setting), 'measured')
  await until(`${subject.name} to serve`, async () => {
    if (program.hasEnded) throw new Error(`did not start: ${program.complaints.slice(-300)}`)
    return (await statusOf(setting.port, paths.small, tls)) === 200
  })
  const refusal = await job.refusal?.(setting.port)
  if (refusal !== undefined) throw new Error(refusal)
  const target = { port: setting.port, tls, directory: setting.directory }
  if (load.needsWarmUp) await load.run(target, job.warmUpSeconds)
  const running = load.run(target, seconds)
  const [before, after] = await Promise.race([
    samples(program, setting.upstream, load.settleMs, seconds),
    // A generator that fails ends the wait; one that succeeds never ends before the samples are taken.
    running.then(() => new Promise<never>(() => undefined)),
  ])
  const result = await running
  if (program.hasEnded) throw new Error(`died under load: ${program.complaints.slice(-300)}`)
  if (setting.nodeArgs.length > 0) await program.terminate()
  const requests = (after.served - before.served) / job.countedPerRequest
  return {
    ...result,
    cpuUs: (after.cpuNs - before.cpuNs) / 1000 / requests,
    perSecond: (1000 * requests) / (after.atMs - before.atMs),
    privateBytes: after.privateBytes,
  }
}

async function samples(program: Program, upstream: number, settleMs: number, seconds: number) {
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
  const sample = async () => {
    const usage = usageOf(program.pid)
    return { ...usage, served: await requestsServed(upstream), atMs: performance.now() }
  }
  await pause(settleMs)
  const before = await sample()
  await pause(seconds * 1000)
  return [before, await sample()] as const
}
