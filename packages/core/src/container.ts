import { arityOf } from './arity.ts'
import type { BaseName } from './base-images.ts'
import { found } from './checks.ts'
import type { Commands } from './command.ts'
import { reloadMetrics } from './follow.ts'
import type { Gate, Notice } from './gates.ts'
import type { Section } from './html.ts'
import type { Facts, Param } from './kinds.ts'
import { type Address, address, duration, oneOf } from './kinds.ts'
import type { Log } from './log.ts'
import { type MetricSpec, type MetricSpecs, type Metrics, metricPrefix } from './metrics.ts'
import { flagOf, isKubernetesServiceVariable, prefixOf, variableOf } from './naming.ts'
import { checkOlderNames, type Retired } from './older-names.ts'
import type { PageSpec, PageSpecs } from './pages.ts'
import type { AskableSignal } from './signals.ts'
import type { FileContents } from './watch.ts'

export type Params = Readonly<Record<string, Param>>
/** The patterns of the book that a container can follow. */
export type Pattern = 'sidecar' | 'ambassador' | 'adapter' | 'serving' | 'batch'

export type Values<P extends Params> = { readonly [K in keyof P]: P[K] extends Param<infer T> ? T : never }

type AddressKeys<P extends Params> = {
  [K in keyof P & string]: P[K] extends Param<infer T>
    ? [T] extends [Address | undefined]
      ? K
      : never
    : never
}[keyof P & string]

/** What `start` returns: the mechanism at work. Disposing cuts off whatever is still in hand. */
export interface Running<O extends string = string> extends AsyncDisposable {
  /** Where each declared port that is in use really listens, with the port that the system chose for `:0`. */
  readonly addresses?: Readonly<Partial<Record<O, Address>>>
  /** Accepts nothing new; resolves when the work in hand is finished. May be cut short by disposing. */
  drain?(): Promise<void>
  /**
   * Settles when it is over by itself, before anybody asked for the drain: disposed of, the process then ends with 0, or
   * with 1 where it has failed. A rejection is a crash.
   */
  readonly ended?: Promise<Ending>
}

/** How a container ended by itself. */
export type Ending = 'done' | 'failed'

/** How users set a parameter: `SIDECAR_HTTPS_TARGET (--target)`. */
export type NameOf<P extends Params> = (param: (keyof P | keyof CommonValues) & string) => string

/** Whether the user set the parameter; false when the value is its default. */
export type Given<P extends Params> = (param: (keyof P | keyof CommonValues) & string) => boolean

/**
 * Looks for one contradiction between values that are right one by one, and yields a sentence for each that it finds.
 * It is given up silently where it reads a value that is wrong by itself, so that the others are told beside that.
 */
export type Check<P extends Params> = (
  values: Values<P> & CommonValues,
  nameOf: NameOf<P>,
  given: Given<P>,
) => Iterable<string>

/** What a container takes that depends on its values, for the snippets. */
export interface Needs {
  /** MiB that it may take, about; Infinity where the values set no bound. */
  readonly memory?: number
  /** Seconds that it may take until it is ready for the first time; a minute without. */
  readonly readyWithin?: number
  /** Whether it ends by itself and the application begins after it: an init container. */
  readonly endsByItself?: boolean
  /** Those of `volumes` from which nothing is read. */
  readonly unread?: readonly string[]
}

/** A directory that is mounted, and where snippets take it from. */
export interface Volume {
  readonly help: string
  /** `shared` is empty at first: the container writes there, and the application reads at the same path. */
  readonly from: 'secret' | 'configMap' | 'shared'
}

/** What a container is given to work with. */
export interface Context<P extends Params, M extends MetricSpecs, G extends string = never> {
  readonly params: Values<P>
  readonly given: Given<P>
  readonly metrics: Metrics<M>
  /** Calls `update` before each scrape of the metrics. */
  readonly onScrape: (update: () => void) => void
  readonly log: Log
  /** A named condition of readiness, closed until opened. */
  readonly gate: (name: string, reason: string) => Gate
  /** A remark on `/readyz` and the page that does not close readiness. */
  readonly notice: (name: string) => Notice
  readonly nameOf: NameOf<P>
  /**
   * Serves one of `pages` from now on. Each time, `data` gives what it says, for programs as JSON, and `show` makes of
   * that what people see; without it they see the JSON. Text needs no escaping, and secrets are taken out of both.
   */
  readonly page: <T>(path: G, data: () => T | Promise<T>, show?: (data: T) => readonly Section[]) => void
  /**
   * Loads the files that parameters name, now and again whenever their content changes. `apply` gets the contents by
   * path and throws or rejects to refuse them: at start that ends the start, later the last good ones stay and log,
   * metric and `/readyz` say so. One call at a time. Resolves with what the first gave.
   */
  readonly follow: <T>(
    name: string,
    params: readonly (keyof P & string)[],
    apply: (contents: FileContents) => T | Promise<T>,
  ) => Promise<T>
  /**
   * The same for all files in the directory that a parameter names and one level below it, by path relative to it.
   * A directory that is missing, too large or holds a file that cannot be read is refused like what `apply` refuses.
   */
  readonly followDirectory: <T>(
    name: string,
    param: keyof P & string,
    apply: (files: ReadonlyMap<string, Buffer>) => T | Promise<T>,
  ) => Promise<T>
  /** Aborted when the drain begins. */
  readonly signal: AbortSignal
  /** Calls `handler` at each such signal to the process, until the drain begins. SIGHUP looks at watched files as well. */
  readonly onSignal: (name: AskableSignal, handler: () => void) => void
  /** What programs that it starts may inherit: the environment of this process without the variables of the container. */
  readonly environment: Readonly<Record<string, string>>
  /** Takes a secret that became known while running out of logs, pages and readiness from now on: the last hundred. */
  readonly hide: (secret: string) => void
}

export interface Definition<
  P extends Params,
  M extends MetricSpecs,
  O extends string,
  G extends string = never,
> {
  readonly name: string
  readonly pattern: Pattern
  /** One sentence with a verb: what it does for the application beside it. */
  readonly summary: string
  /** Promises of this container beyond the common contract; each is the title of a test. */
  readonly contract: readonly string[]
  /** Default port of the admin API, distinct across all containers. */
  readonly admin: number
  /** Prefix of the environment variables where it is not the name in capitals. */
  readonly prefix?: string
  readonly params: P
  /** Names that its users may still set, and that do nothing any more. */
  readonly retired?: readonly Retired[]
  /** Takes `-name value` for `--name value` where the name has two letters or more, as programs in Go do. */
  readonly singleDash?: boolean
  /** Name of a port to the address parameter that sets it. */
  readonly ports?: Readonly<Record<O, AddressKeys<P>>>
  /** What its image stands on where that is not the common base: one with the programs that it starts. */
  readonly base?: BaseName
  /** Directory in the image to what the user mounts there; with a text alone it is from a Secret. */
  readonly volumes?: Readonly<Record<string, string | Volume>>
  readonly metrics: M
  /** Pages that it adds to its admin API, by path. */
  readonly pages?: Readonly<Record<G, PageSpec>>
  /** What else it can be asked, by name. */
  readonly commands?: Commands<P>
  readonly checks?: readonly Check<P>[]
  /** Without it, 256 MiB, a minute and all volumes. */
  needs?(values: Values<P>): Needs
  start(context: Context<P, M, G>): Promise<Running<O>>
}

/** Parameters that every container has. */
export const commonParams = (admin: number) =>
  ({
    admin: address('Where the admin API listens: health, readiness, metrics, parameters.', {
      default: `0.0.0.0:${admin}`,
    }),
    drain: duration('How long work in hand may go on after SIGTERM before it is cut off.', {
      default: '10s',
    }),
    logLevel: oneOf(
      'debug',
      'info',
      'warn',
      'error',
    )('Least level that is logged.', {
      default: 'info',
      advanced: true,
      shared: 'LOG_LEVEL',
    }),
    logFormat: oneOf('json', 'text')('One JSON object a line, or text for people.', {
      default: 'json',
      advanced: true,
      shared: 'LOG_FORMAT',
    }),
  }) as const

export type CommonValues = Values<ReturnType<typeof commonParams>>

/** A parameter with the names by which users set it. */
export interface NamedParam extends Param {
  readonly name: string
  readonly variable: string
  readonly flag: string
}

/** A finished definition: what the resolver, the renderers and the runner work on. */
export interface Container {
  readonly name: string
  readonly pattern: Pattern
  readonly summary: string
  readonly contract: readonly string[]
  readonly prefix: string
  /** Own parameters first, then the common ones. */
  readonly params: readonly NamedParam[]
  readonly retired: readonly Retired[]
  readonly singleDash: boolean
  readonly ports: Readonly<Record<string, string>>
  readonly base: BaseName
  readonly volumes: Readonly<Record<string, Volume>>
  readonly metrics: MetricSpecs
  readonly pages: PageSpecs
  readonly commands: Commands<Params>
  readonly adminPort: number
  /** Every contradiction, one sentence each. */
  check(values: Readonly<Record<string, unknown>>, given: (param: string) => boolean): Iterable<string>
  needs(values: Readonly<Record<string, unknown>>): Needs
  start(context: Context<Params, MetricSpecs, string>): Promise<Running>
}

/** Checks a definition once, at import: a container with a bad default or a clashing name must not load. */
export function defineContainer<
  const P extends Params,
  const M extends MetricSpecs,
  const O extends string = never,
  const G extends string = never,
>(definition: Definition<P, M, O, G>): Container {
  const prefix = definition.prefix ?? prefixOf(definition.name)
  if (!prefix.endsWith('_')) throw new Error(`${definition.name}: prefix "${prefix}" must end in _`)
  if ('admin' in (definition.ports ?? {})) throw new Error(`${definition.name}: no port may be called admin`)
  const common = commonParams(definition.admin)
  for (const name of Object.keys(common)) {
    if (name in definition.params)
      throw new Error(`${definition.name}: every container has "${name}" already`)
  }
  const named = (name: string, param: Param): NamedParam => ({
    ...param,
    name,
    variable: variableOf(prefix, name),
    flag: flagOf(name),
  })
  const params = Object.entries<Param>({ ...definition.params, ...common }).map(([name, param]) =>
    named(name, param),
  )
  for (const param of params) checkParam(definition.name, param)
  for (const { name, facts } of params) {
    if (facts.unless === undefined || params.some((other) => other.name === facts.unless)) continue
    throw new Error(
      `${definition.name}: "${name}" is required unless "${facts.unless}", which is no parameter`,
    )
  }
  const retired = definition.retired ?? []
  checkOlderNames(definition.name, params, retired, runnerFlags.map(flagOf))
  const taken = new Map(params.map((param) => [param.variable, param]))
  for (const { name, variable, facts } of params) {
    const file = taken.get(`${variable}_FILE`)
    if (file?.name !== facts.fileParam)
      throw new Error(`${definition.name}: ${variable}_FILE would mean two things`)
    if (facts.fileParam !== undefined && file?.kind.name !== 'path')
      throw new Error(`${definition.name}: "${facts.fileParam}" must be a path`)
    if (
      facts.short !== undefined &&
      params.some((other) => other.name !== name && other.facts.short === facts.short)
    )
      throw new Error(`${definition.name}: -${facts.short} would mean two things`)
    if (isKubernetesServiceVariable(variable)) {
      throw new Error(
        `${definition.name}: Kubernetes may set ${variable}; call parameter "${name}" something else`,
      )
    }
  }
  const pages: PageSpecs = definition.pages ?? {}
  for (const path of Object.keys(pages)) checkPage(definition.name, path)
  const commands = definition.commands ?? {}
  for (const [name, { usage }] of Object.entries(commands)) checkCommand(definition.name, name, usage)
  return {
    name: definition.name,
    pattern: definition.pattern,
    summary: definition.summary,
    contract: definition.contract,
    prefix,
    params,
    retired,
    singleDash: definition.singleDash ?? false,
    ports: definition.ports ?? {},
    base: definition.base ?? 'base',
    volumes: Object.fromEntries(
      Object.entries(definition.volumes ?? {}).map(([directory, volume]) => [directory, volumeOf(volume)]),
    ),
    metrics: definition.metrics,
    pages,
    commands: commands as unknown as Commands<Params>,
    adminPort: definition.admin,
    // The resolver made these values by the very parsers that P is inferred from.
    *check(values, given) {
      const nameOf = (param: string) => namesIn(params, param)
      for (const check of definition.checks ?? []) {
        yield* found(() => check(values as Values<P> & CommonValues, nameOf, given))
      }
    },
    needs: (values) => definition.needs?.(values as Values<P>) ?? {},
    start: (context) => definition.start(context as unknown as Context<P, M, G>),
  }
}

/** What a container's pages list: its own metrics, and those of its watched files. */
export const documentedMetrics = (container: Container): readonly MetricSpec[] => [
  ...Object.values(container.metrics),
  ...(container.params.some(({ facts }) => facts.reloads) ? Object.values(reloadMetrics) : []),
]

/** The prefix of a container's metrics: `outrider_sidecar_https_`. */
export const metricPrefixOf = (container: Container): string => metricPrefix(container.name)

/** What `run` takes for itself. */
const runnerFlags = ['help', 'man', 'version', 'print', 'probe']

/** `SIDECAR_HTTPS_TARGET (--target)`: both names, because either may be where the mistake is. */
export const namesOf = ({ variable, flag, facts }: NamedParam): string =>
  facts.secret ? variable : `${variable} (${flag})`

/** The names of one of the parameters; throws when there is none of that name. */
export function namesIn(params: readonly NamedParam[], name: string): string {
  const param = params.find((candidate) => candidate.name === name)
  if (param === undefined) throw new Error(`no parameter is called ${name}`)
  return namesOf(param)
}

const volumeOf = (volume: string | Volume): Volume =>
  typeof volume === 'string' ? { help: volume, from: 'secret' } : volume

/** What every admin API has. */
const takenPaths = ['/healthz', '/readyz', '/metrics', '/params', '/drain']

function checkPage(container: string, path: string): void {
  // One segment, so that relative links lead from each page to each.
  if (!/^\/[a-z][a-z0-9-]*$/.test(path)) throw new Error(`${container}: page "${path}" must be like /status`)
  if (takenPaths.includes(path)) throw new Error(`${container}: every container has "${path}" already`)
}

function checkCommand(container: string, name: string, usage: string): void {
  const fail = (why: string): never => {
    throw new Error(`${container}: command "${name}" ${why}`)
  }
  if (!/^[a-z][a-z0-9-]*$/.test(name)) fail('must be named in kebab-case')
  if (arityOf(usage) === undefined) fail(`has the usage "${usage}", which must be like <a> [b] or <a>...`)
}

function checkParam(container: string, param: NamedParam): void {
  const fail = (why: string): never => {
    throw new Error(`${container}: parameter "${param.name}" ${why}`)
  }
  const { facts } = param
  if (!/^[a-z][A-Za-z0-9]*$/.test(param.name)) fail('must be named in camelCase')
  if (runnerFlags.includes(param.name)) fail(`would never be read: ${param.flag} has a meaning of its own`)
  if (facts.short !== undefined && (facts.secret || !/^[A-Za-gi-z]$/.test(facts.short)))
    fail(`cannot have the short flag "${facts.short}"`)
  if (facts.default !== undefined && facts.secret)
    fail('is a secret and has a default, which everybody would know')
  if (facts.default !== undefined && facts.optional) fail('is optional and has a default: choose one')
  if (facts.unless !== undefined && (facts.default !== undefined || facts.optional))
    fail('is required unless another is set, so it has no default and is not optional')
  if (isRequired(facts) && facts.example === undefined && !facts.secret)
    fail('is required, so it needs an example')
  for (const fact of ['default', 'example'] as const) {
    const value = facts[fact]
    if (value === undefined) continue
    try {
      param.kind.parse(value)
    } catch (error) {
      fail(`has the ${fact} "${value}", which ${(error as Error).message}`)
    }
  }
}

/** No default and not optional means required. */
export const isRequired = (facts: Facts): boolean => facts.default === undefined && !facts.optional
