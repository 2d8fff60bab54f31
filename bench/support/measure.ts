import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../../test/support/program.ts'
import type { Common, Subject } from '../peers/subject.ts'
import type { Load, LoadResult, Target } from './load.ts'
import { type Core, Program } from './processes.ts'
import { usageOf } from './usage.ts'

/** What one proxy did under one load. */
export interface Measurement extends LoadResult {
  /** User and system time of all its processes for one request, microseconds. */
  readonly cpuUs: number
  readonly perSecond: number
  /** RssAnon of all its processes under load, bytes. */
  readonly privateBytes: number
}

/** What answers behind the proxy. */
export interface Application {
  /** Whether an answer of it comes from that port of loopback. */
  answersAt(port: number): Promise<boolean>
  /** Makes it ready for the load, once it answers. */
  prepare?(): Promise<void>
  /** How many requests have come to it so far. */
  served(): Promise<number>
  /** What it has seen that the load must not do; it makes the figures worth nothing. */
  complaints?(): Promise<readonly string[]>
}

/** A load, and what it takes to measure it. */
export interface Job {
  readonly load: Load
  readonly seconds: number
  readonly warmUpSeconds: number
  readonly tls: boolean
  readonly application: Application
  /** How many requests come to the application for one of the clients'; undefined when the load says how many those were. */
  readonly countedPerRequest: number | undefined
  /** Why the proxy cannot be measured, asked when it serves. */
  readonly refusal: ((port: number) => Promise<string | undefined>) | undefined
  /** Where the subject runs: by itself, unless it is to run beside its load. */
  readonly core?: Core
}

/**
 * Starts the proxy, loads it, and ends it. CPU time and requests are read at two moments of steady load, so that neither
 * the start nor the opening of the connections counts.
 * @throws Error that says what did not work
 */
export async function measure<S extends Common>(
  subject: Subject<S>,
  setting: S,
  job: Job,
): Promise<Measurement> {
  const { load, tls, application } = job
  await using program = new Program(await subject.prepare(setting), job.core ?? 'measured')
  await until(`${subject.name} to serve`, () => {
    if (program.hasEnded) throw new Error(`did not start: ${program.complaints.slice(-300)}`)
    return application.answersAt(setting.port)
  })
  const refusal = await job.refusal?.(setting.port)
  if (refusal !== undefined) throw new Error(refusal)
  await application.prepare?.()
  const target = { port: setting.port, tls, directory: setting.directory }
  if (load.needsWarmUp) await load.run(target, job.warmUpSeconds)
  // A load of so many requests may be through too early, and is longer the next time.
  const measured = (await loaded(program, target, job)) ?? (await loaded(program, target, job))
  if (measured === undefined) throw new Error('the load ended before it was measured')
  if (program.hasEnded) throw new Error(`died under load: ${program.complaints.slice(-300)}`)
  const complaints = [...measured.complaints, ...((await application.complaints?.()) ?? [])]
  if (setting.nodeArgs.length > 0) await program.terminate()
  return { ...measured, complaints }
}

/** Nothing, when the load was through before half of the time. */
async function loaded(
  program: Program,
  target: Target,
  { load, seconds, application, countedPerRequest }: Job,
): Promise<Measurement | undefined> {
  const servedBefore = await application.served()
  const running = load.run(target, seconds)
  // A generator that fails ends the wait; so does one that is through, and what is measured is the shorter.
  const pause = (ms: number) => Promise.race([delay(ms), running])
  const sample = async () => {
    const atMs = performance.now()
    return { ...usageOf(program.pid), served: await application.served(), atMs }
  }
  await pause(load.settleMs)
  const before = await sample()
  await pause(seconds * 1000)
  const after = await sample()
  const result = await running
  const tookMs = after.atMs - before.atMs
  if (tookMs < seconds * 500) return undefined
  const counted = countedPerRequest ?? ((await application.served()) - servedBefore) / (result.requests ?? 0)
  const requests = (after.served - before.served) / counted
  return {
    ...result,
    cpuUs: (after.cpuNs - before.cpuNs) / 1000 / requests,
    perSecond: (1000 * requests) / tookMs,
    privateBytes: after.privateBytes,
  }
}
