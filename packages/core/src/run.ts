import { readFileSync, statSync } from 'node:fs'
import type { Container } from './container.ts'
import { type Launched, launch, StartError } from './launch.ts'
import { createLog, type Log } from './log.ts'
import { type ProbeKind, probe, probeKinds } from './probe.ts'
import { type PrintKind, printKinds, renderPrint } from './render/print.ts'
import { usage } from './render/usage.ts'
import { type Inputs, type Resolution, type Resolved, resolve } from './resolve.ts'
import { version } from './version.ts'

/** What the process ends with. */
const exitCodes = { ok: 0, failed: 1, misconfigured: 2 } as const

export interface RunOptions {
  readonly argv?: readonly string[]
  readonly env?: Inputs['env']
}

/**
 * Runs a container as this process: the only place that reads the environment, handles signals and exits. As process 1
 * of an image nothing else would: signals without a handler are ignored there, so the handlers come before all else.
 */
export async function run(container: Container, options: RunOptions = {}): Promise<never> {
  const inputs: Inputs = {
    argv: options.argv ?? process.argv.slice(2),
    env: options.env ?? process.env,
    readFile: readValueFile,
  }
  // A log reader that went away or a full disk must not end the service.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
  const { argv } = inputs
  if (argv.includes('--help') || argv.includes('-h')) return print(usage(container))
  if (argv.includes('--version')) return print(`${container.name} ${version} (node ${process.version})\n`)
  const question = argv.findIndex((arg) => /^--(print|probe)(=|$)/.test(arg))
  if (question >= 0) return answer(container, inputs, question)
  const resolution = resolve(container, inputs)
  if (!resolution.ok) return refuse(container, resolution.problems)
  return serve(container, resolution.resolved)
}

async function serve(container: Container, resolved: Resolved): Promise<never> {
  const write = (line: string) => void process.stdout.write(line)
  const { logLevel: level, logFormat: format } = resolved.values
  const log = createLog({ container: container.name, level, format, secrets: resolved.secrets, write })
  const stop = stopSignal()
  const crash = (error: unknown) => {
    log.error('crashed', { error: stackOf(error) })
    process.exit(exitCodes.failed)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  const stopped = new Promise<'stopped'>((done) => stop.addEventListener('abort', () => done('stopped')))
  let launched: Launched | undefined
  process.on('SIGHUP', () => void launched?.checkFiles().catch(crash))
  try {
    const start = await Promise.race([launch(container, resolved, { write, signal: stop }), stopped])
    // Nothing is in hand before the start is over.
    if (start === 'stopped') return process.exit(exitCodes.ok)
    launched = start
    await Promise.race([stopped, launched.drainRequested])
    const outcome = await launched.drain()
    await launched[Symbol.asyncDispose]()
    return process.exit(outcome === 'finished' ? exitCodes.ok : exitCodes.failed)
  } catch (error) {
    return failStart(log, error)
  }
}

/** What the user can mend is said in one line; anything else is a defect of ours and needs its stack. */
function failStart(log: Log, error: unknown): never {
  log.error('start failed', { error: error instanceof StartError ? error.message : stackOf(error) })
  return process.exit(exitCodes.failed)
}

const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error)

/** Aborts at the first SIGTERM or SIGINT, or when the program that started this one has gone; the second ends at once. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(exitCodes.failed)
    stop.abort()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  if (process.channel) process.once('disconnect', () => stop.abort())
  return stop.signal
}

/** `--probe live|ready` and `--print pod|compose|env|schema`, which start nothing. */
async function answer(container: Container, inputs: Inputs, index: number): Promise<never> {
  const [flag = '', inline] = (inputs.argv[index] ?? '').split('=', 2)
  const asked = inline ?? inputs.argv[index + 1]
  const rest = inputs.argv.filter((_, at) => at !== index && (inline !== undefined || at !== index + 1))
  const resolution = resolveLeniently(container, { ...inputs, argv: rest })
  if (flag === '--probe') {
    const kind = probeKinds.find((candidate) => candidate === asked)
    if (kind === undefined) return refuse(container, [`--probe must be one of ${probeKinds.join(', ')}`])
    if (!resolution.ok) return refuse(container, resolution.problems)
    return report(kind, resolution.resolved)
  }
  const kind: PrintKind | undefined = printKinds.find((candidate) => candidate === asked)
  if (kind === undefined) return refuse(container, [`--print must be one of ${printKinds.join(', ')}`])
  if (!resolution.ok) return refuse(container, resolution.problems)
  return print(renderPrint(kind, container, resolution.resolved.params))
}

async function report(kind: ProbeKind, resolved: Resolved): Promise<never> {
  const { ok, detail } = await probe(kind, resolved.values.admin)
  process.stdout.write(`${detail.trimEnd()}\n`)
  return process.exit(ok ? exitCodes.ok : exitCodes.failed)
}

/** Required parameters get stand-ins: a health check does not repeat the flags of the container that it asks. */
function resolveLeniently(container: Container, inputs: Inputs): Resolution {
  const missing = container.params.filter(({ facts }) => facts.default === undefined && !facts.optional)
  const standIns = Object.fromEntries(
    missing.map(({ variable, facts }) => [variable, facts.example ?? 'secret']),
  )
  const env = Object.fromEntries(Object.entries(inputs.env).filter(([, value]) => value !== ''))
  for (const { variable } of missing) if (env[`${variable}_FILE`] !== undefined) delete standIns[variable]
  return resolve(container, { ...inputs, env: { ...standIns, ...env } })
}

function refuse(container: Container, problems: readonly string[]): never {
  process.stderr.write(problems.map((problem) => `${container.name}: ${problem}\n`).join(''))
  return process.exit(exitCodes.misconfigured)
}

function print(text: string): never {
  process.stdout.write(text)
  return process.exit(exitCodes.ok)
}

const largestValueFile = 1 << 20

function readValueFile(path: string): string {
  if (statSync(path).size > largestValueFile) throw new Error('it is larger than 1 MiB')
  return readFileSync(path, 'utf8')
}
