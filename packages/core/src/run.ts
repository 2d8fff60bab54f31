import { readFileSync, statSync } from 'node:fs'
import { commandIn, demanding, MissingParam, takes, withoutRequirements, wordsOf } from './command.ts'
import { type Container, isRequired, type NamedParam, namesIn } from './container.ts'
import { cutOffMs, within } from './drain.ts'
import { formatAddress } from './kinds.ts'
import { type Launched, launch, StartError } from './launch.ts'
import { createLog, type Log, oneLine, redactor } from './log.ts'
import { type ProbeKind, probe, probeKinds } from './probe.ts'
import { redactionOf } from './redaction.ts'
import { type PrintKind, printKinds, renderPrint } from './render/print.ts'
import { commandUsage, manual, usage } from './render/usage.ts'
import { type Inputs, isGiven, type Resolution, type Resolved, resolve, setIn } from './resolve.ts'
import { type AskableSignal, askableSignals } from './signals.ts'
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
    readFile: (path) => readText(path, largestValueMiB),
  }
  // A log reader that went away or a full disk must not end the service.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
  const stop = stopController()
  const { argv } = inputs
  const command = commandIn(container, argv)
  if (command !== undefined) return runCommand(container, command, inputs, stop.signal)
  if (asksForHelp(container, argv)) return print(usage(container))
  if (asksFor(container, argv, 'man')) return print(manual(container))
  if (asksFor(container, argv, 'version'))
    return print(`${container.name} ${version} (node ${process.version})\n`)
  const question = argv.findIndex((arg) => /^--(print|probe)(=|$)/.test(arg))
  if (question >= 0) return answer(container, inputs, question)
  const resolution = resolve(container, inputs)
  if (!resolution.ok) return refuse(container, resolution.problems)
  return serve(container, resolution.resolved, stop, inputs.env)
}

async function serve(
  container: Container,
  resolved: Resolved,
  stop: AbortController,
  environment: Inputs['env'],
): Promise<never> {
  // One that nobody asks for would end the process, or open a port for a debugger; as process 1 it would do nothing.
  for (const name of askableSignals) process.on(name, () => undefined)
  const onSignal = (name: AskableSignal, handler: () => void) => void process.on(name, handler)
  const write = (line: string) => void process.stdout.write(line)
  const { logLevel: level, logFormat: format } = resolved.values
  const redaction = redactionOf(resolved.secrets)
  const log = createLog({ container: container.name, level, format, redact: redaction.redact, write })
  const crash = (error: unknown): never => {
    log.error('crashed', { error: stackOf(error) })
    return process.exit(exitCodes.failed)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  const stopped = new Promise<'stopped'>((done) =>
    stop.signal.addEventListener('abort', () => done('stopped')),
  )
  let launched: Launched | undefined
  try {
    const onDrain = () => stop.abort()
    const launching = launch(container, resolved, {
      write,
      signal: stop.signal,
      onDrain,
      onSignal,
      environment,
      redaction,
    })
    const start = await Promise.race([launching, stopped])
    if (start === 'stopped') return abandon(launching)
    launched = start
  } catch (error) {
    return failStart(log, error)
  }
  const end = await Promise.race([launched.ended.catch(crash), stopped])
  const outcome = end === 'stopped' ? await launched.drain() : end
  await within(Promise.resolve(launched[Symbol.asyncDispose]()), cutOffMs, undefined)
  return exit(outcome === 'finished' || outcome === 'done' ? exitCodes.ok : exitCodes.failed)
}

/** Told to stop before the start was over: nothing is in hand, but what the start has made is cleaned up. */
async function abandon(launching: Promise<Launched>): Promise<never> {
  const gone = launching.then(async (launched) => launched[Symbol.asyncDispose]()).catch(() => undefined)
  await within(gone, cutOffMs, undefined)
  return exit(exitCodes.ok)
}

/** What the user can mend is said in one line; anything else is a defect of ours and needs its stack. */
function failStart(log: Log, error: unknown): Promise<never> {
  log.error('start failed', { error: error instanceof StartError ? error.message : stackOf(error) })
  return exit(exitCodes.failed)
}

const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error)

/** Aborts at the first SIGTERM or SIGINT, or when the program that started this one has gone; the second ends at once. */
function stopController(): AbortController {
  const stop = new AbortController()
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(exitCodes.failed)
    stop.abort()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  if (process.channel) process.once('disconnect', () => stop.abort())
  return stop
}

/** Something asked that starts nothing: its answer on stdout, what is wrong on stderr. */
async function runCommand(
  container: Container,
  name: string,
  inputs: Inputs,
  stopped: AbortSignal,
): Promise<never> {
  const command = container.commands[name]
  const { flags, args } = wordsOf(container, inputs.argv.slice(1))
  if (asksForHelp(container, flags)) return print(commandUsage(container, name))
  const resolution = resolve(withoutRequirements(container), { ...inputs, argv: flags })
  if (!resolution.ok) return refuse(container, resolution.problems)
  if (command === undefined || !takes(command.usage, args.length)) {
    const given = args.length === 0 ? 'nothing is given' : `${args.length} given`
    if (command !== undefined)
      process.stderr.write(`${container.name} ${name}: takes ${command.usage || 'nothing'}, and ${given}\n\n`)
    process.stderr.write(commandUsage(container, name))
    return exit(exitCodes.misconfigured)
  }
  const { values, params, secrets } = resolution.resolved
  stopped.addEventListener('abort', () => process.exit(exitCodes.failed))
  const redact = redactor(secrets)
  try {
    const { text, code = exitCodes.ok } = await command.run({
      args,
      params: demanding(container, values),
      given: (param) => params.some((each) => each.name === param && isGiven(each)),
      nameOf: (param) => namesIn(container.params, param),
      readFile: readArgumentFile,
    })
    process.stdout.write(redact(text === '' || text.endsWith('\n') ? text : `${text}\n`))
    return exit(code)
  } catch (error) {
    if (error instanceof MissingParam) return refuse(container, [error.message])
    const why = error instanceof StartError ? oneLine(redact(error.message)) : redact(stackOf(error))
    process.stderr.write(`${container.name}: ${why}\n`)
    return exit(exitCodes.failed)
  }
}

/** `--probe live|ready` and `--print pod|compose|env|schema`, which start nothing. */
async function answer(container: Container, inputs: Inputs, index: number): Promise<never> {
  const [flag = '', inline] = (inputs.argv[index] ?? '').split('=', 2)
  const asked = inline ?? inputs.argv[index + 1]
  const rest = inputs.argv.filter((_, at) => at !== index && (inline !== undefined || at !== index + 1))
  if (flag === '--probe') {
    const kind = probeKinds.find((candidate) => candidate === asked)
    if (kind === undefined) return refuse(container, [`--probe must be one of ${probeKinds.join(', ')}`])
    const resolution = resolveAdmin(container, { ...inputs, argv: rest })
    if (!resolution.ok) return refuse(container, resolution.problems)
    return report(kind, resolution.resolved)
  }
  const resolution = resolveLeniently(container, { ...inputs, argv: rest })
  const kind: PrintKind | undefined = printKinds.find((candidate) => candidate === asked)
  if (kind === undefined) return refuse(container, [`--print must be one of ${printKinds.join(', ')}`])
  if (!resolution.ok) return refuse(container, resolution.problems)
  return print(renderPrint(kind, container, resolution.resolved.params))
}

async function report(kind: ProbeKind, resolved: Resolved): Promise<never> {
  const { admin } = resolved.values
  const { ok, detail } = await probe(kind, admin)
  process.stdout.write(ok ? `${detail.trimEnd()}\n` : `${formatAddress(admin)}: ${detail.trimEnd()}\n`)
  return exit(ok ? exitCodes.ok : exitCodes.failed)
}

/** A health check asks a container that runs, whatever the other variables say by now, and does not repeat its flags. */
function resolveAdmin(container: Container, inputs: Inputs): Resolution {
  const params = container.params.map((param): NamedParam => {
    if (param.name === 'admin') return param
    const { default: _, ...facts } = param.facts
    return { ...param, facts: { ...facts, optional: true } }
  })
  const admin = container.params.filter(({ name }) => name === 'admin').map(({ variable }) => variable)
  const env = Object.entries(inputs.env).filter(([name]) => admin.includes(name.replace(/_FILE$/, '')))
  return resolve({ ...container, params, check: () => [] }, { ...inputs, env: Object.fromEntries(env) })
}

/** Required parameters get stand-ins, so that a snippet can be printed before anything is set. */
function resolveLeniently(container: Container, inputs: Inputs): Resolution {
  const isSet = setIn(container, inputs)
  const missing = container.params.filter((param) => {
    const other = container.params.find(({ name }) => name === param.facts.unless)
    return isRequired(param.facts) && !isSet(param) && !(other !== undefined && isSet(other))
  })
  const standIns = Object.fromEntries(
    missing.map(({ variable, facts }) => [variable, facts.example ?? 'secret']),
  )
  const env = Object.fromEntries(Object.entries(inputs.env).filter(([, value]) => value !== ''))
  return resolve(container, { ...inputs, env: { ...standIns, ...env } })
}

const asksFor = ({ singleDash }: Container, flags: readonly string[], name: string): boolean =>
  flags.includes(`--${name}`) || (singleDash && flags.includes(`-${name}`))

const asksForHelp = (container: Container, flags: readonly string[]): boolean =>
  asksFor(container, flags, 'help') || flags.some((flag) => flag === '-h' || flag === '-?')

function refuse(container: Container, problems: readonly string[]): Promise<never> {
  process.stderr.write(problems.map((problem) => `${container.name}: ${problem}\n`).join(''))
  return exit(exitCodes.misconfigured)
}

function print(text: string): Promise<never> {
  process.stdout.write(text)
  return exit(exitCodes.ok)
}

/** Ends the process when all that was written has gone out, which on a pipe may take a while, or never happen. */
async function exit(code: number): Promise<never> {
  const flushed = [process.stdout, process.stderr].map(
    (stream) => new Promise<void>((resolve) => stream.write('', () => resolve())),
  )
  await within(Promise.all(flushed), cutOffMs, undefined)
  return process.exit(code)
}

function readArgumentFile(path: string): string {
  try {
    return readText(path, largestArgumentMiB)
  } catch (error) {
    throw new StartError(`${path} cannot be read: ${(error as Error).message}`)
  }
}

const largestValueMiB = 1
/** As large as a watched file may be. */
const largestArgumentMiB = 16

function readText(path: string, largestMiB: number): string {
  const stat = statSync(path)
  // /dev/zero has no size and no end; a pipe such as the shell's <(command) is welcome.
  if (!stat.isFile() && !stat.isFIFO()) throw new Error('it is no file')
  if (stat.size > largestMiB * 2 ** 20) throw new Error(`it is larger than ${largestMiB} MiB`)
  return readFileSync(path, 'utf8')
}
