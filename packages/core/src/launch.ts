import { type AdminServer, startAdmin } from './admin.ts'
import {
  type Container,
  type Context,
  type Ending,
  namesIn,
  namesOf,
  type Params,
  type Running,
} from './container.ts'
import { cutOffMs, type DrainOutcome, drainWithin, within } from './drain.ts'
import { type Followed, type FollowKit, follow, followDirectory, reloadMetrics } from './follow.ts'
import { Readiness } from './gates.ts'
import { type Address, formatAddress } from './kinds.ts'
import { listenersOf } from './listeners.ts'
import { createLog, type Log } from './log.ts'
import { MetricRegistry, type MetricSpecs } from './metrics.ts'
import { olderVariables } from './older-names.ts'
import { Pages } from './pages.ts'
import { type Redaction, redactionOf } from './redaction.ts'
import { isGiven, type Resolved } from './resolve.ts'
import type { AskableSignal } from './signals.ts'
import { version } from './version.ts'
import type { Watching } from './watch.ts'

/** A container at work in this process. Disposing ends it at once. */
export interface Launched extends AsyncDisposable {
  readonly addresses: Readonly<Record<string, Address>>
  readonly admin: Address
  readonly log: Log
  /** Resolves when somebody asks for the drain at `POST /drain`. */
  readonly drainRequested: Promise<void>
  /** Not ready at once, then as `drainWithin`. Further calls wait for the first. */
  drain(): Promise<DrainOutcome>
  /** How it ended by itself; most never do. What is left is to dispose of it. */
  readonly ended: Promise<Ending>
  /** Looks at all watched files now. */
  checkFiles(): Promise<void>
}

/** A start that failed for a reason the user can mend; the message is for them. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

export interface LaunchOptions {
  readonly write: (line: string) => void
  /** Aborts a start that waits for something. */
  readonly signal?: AbortSignal
  /** Called at `POST /drain`, which may come during the start. */
  readonly onDrain?: () => void
  /** Calls the handler at each such signal to the process. */
  readonly onSignal?: (name: AskableSignal, handler: () => void) => void
  /** Of this process; what of it belongs to the container is not handed on. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Where others take out secrets as well; what the container hides is added to it. */
  readonly redaction?: Redaction
}

/** Starts the admin API, then the mechanism: what waits for the outside is alive, but not ready. */
export async function launch(
  container: Container,
  resolved: Resolved,
  {
    write,
    signal,
    onDrain,
    onSignal,
    environment = {},
    redaction = redactionOf(resolved.secrets),
  }: LaunchOptions,
): Promise<Launched> {
  const { values } = resolved
  const { redact } = redaction
  const log = createLog({
    container: container.name,
    level: values.logLevel,
    format: values.logFormat,
    redact,
    write,
  })
  const registry = new MetricRegistry(container.name)
  const readiness = new Readiness(redact)
  const pages = new Pages(redact)
  const started = readiness.gate('start', 'the container is starting')
  const draining = readiness.gate('drain', 'not started')
  draining.open()
  const stop = new AbortController()
  signal?.addEventListener('abort', () => stop.abort(), { once: true })
  if (signal?.aborted) stop.abort()
  const asked = Promise.withResolvers<void>()
  const watchers: Watching<unknown>[] = []
  const addresses: Record<string, Address> = {}
  let running: Running | undefined
  let drained: Promise<DrainOutcome> | undefined
  let admin: AdminServer | undefined

  const end = async () => {
    stop.abort()
    const watched = Promise.all(watchers.map((watcher) => watcher[Symbol.asyncDispose]()))
    // A look at a file system that has gone away may never end.
    await within(watched, cutOffMs, undefined)
    try {
      await running?.[Symbol.asyncDispose]()
    } finally {
      await admin?.[Symbol.asyncDispose]()
    }
  }

  const checkFiles = async () => void (await Promise.all(watchers.map((watcher) => watcher.check())))
  onSignal?.('SIGHUP', () => void checkFiles())
  for (const warning of resolved.warnings) log.warn('deprecated', { warning })
  try {
    admin = await startAdmin({
      container,
      params: resolved.params,
      listen: values.admin,
      readiness,
      registry,
      pages,
      addresses,
      log,
      onDrain: () => {
        asked.resolve()
        onDrain?.()
      },
    })
    running = await container.start(context())
  } catch (error) {
    await end()
    throw explain(container, resolved, error)
  }
  Object.assign(addresses, running.addresses)
  started.open()
  const shown = { admin: admin.address, ...addresses }
  log.info('started', {
    version,
    node: process.version,
    addresses: Object.fromEntries(Object.entries(shown).map(([name, value]) => [name, formatAddress(value)])),
    params: Object.fromEntries(
      resolved.params.map(({ name, shown, source }) => [name, { value: shown, source }]),
    ),
  })

  const drain = async (work: Running): Promise<DrainOutcome> => {
    draining.close('the container is draining')
    stop.abort()
    log.info('draining', { deadlineMs: values.drain })
    const onError = (error: unknown) => log.error('the drain failed', { error })
    const outcome = await drainWithin(work, values.drain, onError)
    // Disposed of already, as far as it could be.
    running = undefined
    log.info('drained', { outcome })
    return outcome
  }
  const work = running
  const ended = (work.ended ?? Promise.withResolvers<Ending>().promise).then((outcome) => {
    if (drained === undefined) log.info('ended', { outcome })
    return outcome
  })
  return {
    addresses,
    admin: admin.address,
    log,
    drainRequested: asked.promise,
    drain: () => (drained ??= drain(work)),
    ended,
    checkFiles,
    [Symbol.asyncDispose]: end,
  }

  function context(): Context<Params, MetricSpecs, string> {
    let reloads: ReturnType<typeof registry.create<typeof reloadMetrics>> | undefined
    const begin = async <T>(
      params: readonly string[],
      followed: (kit: FollowKit) => Promise<Followed<T>>,
    ): Promise<T> => {
      reloads ??= registry.create(reloadMetrics)
      const kit = { log, notice: (remark: string) => readiness.notice(remark), metrics: reloads }
      const names = params.map((param) => namesIn(container.params, param)).join(' and ')
      try {
        const { first, watcher } = await followed(kit)
        watchers.push(watcher)
        return first
      } catch (error) {
        throw new StartError(`${names}: ${(error as Error).message}`)
      }
    }
    return {
      params: values,
      given: (name) => resolved.params.some((param) => param.name === name && isGiven(param)),
      metrics: registry.create(container.metrics),
      onScrape: (update) => registry.onScrape(update),
      log,
      gate: (name, reason) => readiness.gate(name, reason),
      notice: (name) => readiness.notice(name),
      nameOf: (name) => namesIn(container.params, name),
      page: (path, data, show) => pages.serve(path, data, show),
      follow: (name, params, apply) => {
        const paths = params.map((param) => String(values[param]))
        return begin(params, (kit) => follow(name, paths, apply, kit))
      },
      followDirectory: (name, param, apply) =>
        begin([param], (kit) => followDirectory(name, String(values[param]), apply, kit)),
      signal: stop.signal,
      onSignal: (name, handler) =>
        onSignal?.(name, () => {
          if (!stop.signal.aborted) handler()
        }),
      environment: inheritable(container, environment),
      hide: redaction.hide,
    }
  }
}

/** Without what is meant for the container alone, its secrets first of all. */
function inheritable(
  container: Container,
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const { prefix } = container
  const own = new Set(olderVariables(container))
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      value === undefined || name.startsWith(prefix) || own.has(name) ? [] : [[name, value]],
    ),
  )
}

const listenErrors: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use by another program: stop that one or choose another address',
  EACCES: 'is not allowed for this user: choose a port above 1023 or a writable path',
  EADDRNOTAVAIL: 'is no address of this machine: choose one that is',
  ENOTFOUND: 'names an unknown host: choose an address of this machine',
}

/** Says which parameter an error of listening came from, by the address in the error. */
function explain(container: Container, { values }: Resolved, error: unknown): unknown {
  const {
    code = '',
    port,
    address,
    hostname,
  } = error as NodeJS.ErrnoException & Record<'port' | 'address' | 'hostname', unknown>
  const remedy = listenErrors[code]
  const param = [...listenersOf(container).values()].find((candidate) => {
    const value = values[candidate.name]
    if (typeof value !== 'object' || value === null) return false
    if ('path' in value) return value.path === address
    return 'port' in value && 'host' in value && (value.port === port || value.host === hostname)
  })
  if (remedy === undefined || param === undefined) return error
  return new StartError(`${namesOf(param)}: ${formatAddress(values[param.name] as Address)} ${remedy}`)
}
