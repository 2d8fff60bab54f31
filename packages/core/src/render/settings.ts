import { posix } from 'node:path'
import { baseImages } from '../base-images.ts'
import { type Container, isRequired, type NamedParam, type Volume } from '../container.ts'
import { type Address, address, duration, type Facts } from '../kinds.ts'
import { listenersOf } from '../listeners.ts'
import { oneLine } from '../log.ts'
import { flagOf } from '../naming.ts'
import { isGiven } from '../resolve.ts'

/** A variable to set in a snippet; a secret's value is never known to a renderer. */
export interface Setting {
  readonly variable: string
  readonly value: string
  readonly secret: boolean
}

/** What a resolved parameter tells a renderer. */
export interface GivenParam {
  readonly name: string
  readonly shown: string | null
  readonly source: string
  /** Where it is missing, it is parsed from `shown`. */
  readonly value?: unknown
}

/** What a snippet sets: what the user gave, and every parameter that has an example. */
export function settingsOf(container: Container, given: readonly GivenParam[] = []): Setting[] {
  const byName = new Map(given.map((param) => [param.name, param]))
  return container.params.flatMap(({ name, variable, facts }): Setting[] => {
    const param = byName.get(name)
    const set = param !== undefined && isGiven(param)
    if (!set && !isRequired(facts) && facts.example === undefined) return []
    const other = facts.unless === undefined ? undefined : byName.get(facts.unless)
    if (!set && other !== undefined && isGiven(other)) return []
    return [
      { variable, value: (set ? param.shown : null) ?? facts.example ?? '', secret: facts.secret === true },
    ]
  })
}

/** ` unless --topology`, for a parameter that another may replace. */
export const unlessText = ({ unless }: Facts): string =>
  unless === undefined ? '' : ` unless ${flagOf(unless)}`

/**
 * The parameters of a list of all variables. A secret is there by the variable of its file, so one whose file is a
 * parameter of its own is left to that.
 */
export const listedParams = ({ params }: Container): readonly NamedParam[] =>
  params.filter(({ facts }) => !facts.secret || facts.fileParam === undefined)

/** The variables of secrets that need not be set, and are not. */
export function unsetSecretsOf(container: Container, given: readonly GivenParam[] = []): readonly string[] {
  const set = new Set(settingsOf(container, given).map(({ variable }) => variable))
  return container.params
    .filter(({ facts, variable }) => facts.secret && !set.has(variable))
    .map(({ variable }) => variable)
}

/** A directory that is mounted into the container, by the user or to share it with the application. */
export interface Mount {
  /** That of its volume, as Kubernetes takes it: letters, digits and dashes, at most 63 of them. */
  readonly name: string
  readonly directory: string
  /** What it holds, as sentences. */
  readonly help: string
  /** Whether it is one of the container, and not a path that was given: without that it does not start. */
  readonly isVolume: boolean
  readonly from: Volume['from']
}

interface GivenPath {
  readonly path: string
  /** Which of the directories to mount would hold it. */
  readonly directory: string
  readonly param: NamedParam
}

/** The volumes that are used, and the directories of the paths given outside of them. */
export function mountsOf(container: Container, given: readonly GivenParam[] = []): readonly Mount[] {
  const paths = givenPaths(container, given)
  const unread = container.needs(valuesOf(container, given)).unread ?? []
  const mounts = new Map(
    Object.entries(container.volumes).filter(
      ([volume]) => !unread.includes(volume) || paths.some(({ path }) => isWithin(volume, path)),
    ),
  )
  // A mount inside of a Secret that is mounted cannot be made: the shorter ones first.
  for (const { directory } of paths.toSorted((a, b) => a.directory.length - b.directory.length)) {
    const held = [...mounts.keys()].some((mount) => isWithin(mount, directory))
    if (held || !isMountable(directory)) continue
    const isWritten = paths.some(({ path, param }) => param.facts.written && isWithin(directory, path))
    mounts.set(directory, { help: '', from: isWritten ? 'shared' : 'secret' })
  }
  const names = volumeNames(container, [...mounts.keys()])
  return [...mounts].map(([directory, { help, from }], index) => {
    const held = paths.filter(({ path }) => isWithin(directory, path))
    const deep = held.some(({ path }) => posix.relative(directory, path).includes('/'))
    const sentences = [
      oneLine(help),
      held.length > 0 ? `Holds ${held.map((path) => heldText(directory, path)).join(', ')}.` : '',
      deep && from !== 'shared' ? `A ${kindNames[from]} has what is in a folder by items with a path.` : '',
    ]
    return {
      name: names[index] ?? '',
      directory,
      help: sentences.filter((sentence) => sentence !== '').join(' '),
      isVolume: directory in container.volumes,
      from,
    }
  })
}

function volumeNames(container: Container, directories: readonly string[]): readonly string[] {
  const taken = new Set<string>()
  return directories.map((directory, index) => {
    const letters = directory.toLowerCase().replace(/[^a-z0-9]/g, '')
    const name = `${container.name}-${letters}`.slice(0, 60)
    const unique = letters === '' || taken.has(name) ? `${container.name}-${index}` : name
    taken.add(unique)
    return unique
  })
}

/** What Kubernetes calls the objects that volumes come from. */
export const kindNames = { secret: 'Secret', configMap: 'ConfigMap' } as const

/** The variables whose path is in no directory that could be mounted. */
export function unmountedOf(container: Container, given: readonly GivenParam[] = []): ReadonlySet<string> {
  const mounts = mountsOf(container, given)
  const lost = givenPaths(container, given).filter(
    ({ path }) => !mounts.some(({ directory }) => isWithin(directory, path)),
  )
  return new Set(lost.map(({ param }) => param.variable))
}

function givenPaths(container: Container, given: readonly GivenParam[]): readonly GivenPath[] {
  const byName = new Map(given.filter(isGiven).map((param) => [param.name, param.shown]))
  return container.params.flatMap((param) => {
    const shown = param.kind.name === 'path' ? byName.get(param.name) : undefined
    if (shown === undefined || shown === null) return []
    const path = posix.normalize(shown).replace(/(?<=.)\/$/, '')
    return [{ path, directory: param.facts.directory ? path : posix.dirname(path), param }]
  })
}

function heldText(directory: string, { path, param }: GivenPath): string {
  const name = oneLine(posix.relative(directory, path))
  if (!param.facts.directory) return `${name} (${param.variable})`
  return name === '' ? `the files of ${param.variable}` : `the files of ${name} (${param.variable})`
}

const isWithin = (directory: string, path: string): boolean =>
  path === directory || path.startsWith(`${directory}/`)

/**
 * What the image has itself would be hidden by a mount, what is relative has no place, and a colon is what separates the
 * parts of a mount in compose.
 */
const isMountable = (directory: string): boolean =>
  /^\/[^:]*$/.test(directory) &&
  !/^\/(|app|etc|etc\/ssl|home|opt|root|run|srv|tmp|var)$/.test(directory) &&
  !/^\/(app|bin|boot|dev|etc\/ssl|lib[0-9a-z]*|proc|sbin|sys|usr)(\/|$)/.test(directory)

/** The values of all parameters; of a secret only what may be shown. */
export function valuesOf(
  container: Container,
  given: readonly GivenParam[] = [],
): Readonly<Record<string, unknown>> {
  const byName = new Map(given.map((param) => [param.name, param]))
  return Object.fromEntries(
    container.params.map(({ name, kind, facts }) => {
      const param = byName.get(name)
      const text = param === undefined ? facts.default : (param.shown ?? undefined)
      if (facts.secret || text === undefined) return [name, text]
      return [name, param !== undefined && 'value' in param ? param.value : kind.parse(text)]
    }),
  )
}

/** The program of every image, as it is asked something. */
export const entryPoint = ['/usr/bin/node', '/app/main.js'] as const

/**
 * The same as it runs for long. The space for young objects, MiB, of which V8 takes three: with its usual 16 a container
 * under load is forty MiB larger, and no faster. One thread helps V8, of its usual four, each of which has memory of its own.
 */
export const servingEntryPoint = ({ base }: Container): readonly string[] => [
  ...baseImages[base].init,
  '/usr/bin/node',
  '--max-semi-space-size=2',
  '--v8-pool-size=1',
  '/app/main.js',
]

/** The deadline of the drain, as its user wrote it and in seconds. */
export function drainOf(
  container: Container,
  given: readonly GivenParam[] = [],
): { readonly shown: string; readonly seconds: number } {
  const drain = container.params.find(({ name }) => name === 'drain')
  const shown = given.find(({ name }) => name === 'drain')?.shown ?? drain?.facts.default ?? '0'
  return { shown, seconds: Math.ceil(duration.kind.parse(shown) / 1000) }
}

/** The image of a container. */
export const imageOf = (container: Container): string => `outrider/${container.name}`

export interface Port {
  readonly name: string
  readonly port: number
  /** Only what shares the network of the container reaches it. */
  readonly isLoopback: boolean
}

/** The ports that a container listens on, with the admin API last. */
export function portsOf(container: Container, given: readonly GivenParam[] = []): readonly Port[] {
  return [...listenersOf(container)].flatMap(([name, param]) => {
    const shown = given.find((candidate) => candidate.name === param.name)?.shown
    const text = shown ?? param.facts.default ?? param.facts.example ?? 'unix:/'
    const at = address.kind.parse(text)
    return 'path' in at ? [] : [{ name, port: at.port, isLoopback: isLoopback(at) }]
  })
}

const isLoopback = (at: Address): boolean =>
  'host' in at && (/^127\.|^::1$/.test(at.host) || /^(.+\.)?localhost$/i.test(at.host))

/** Quotes a text for YAML where it would not be read back as the same text; JSON leaves some characters that YAML forbids. */
export const yamlText = (text: string): string =>
  /^([A-Za-z]|\.?\/)[\w./:@,+=-]*[\w/]$/.test(text) && !/^(true|false|yes|no|on|off|null)$/i.test(text)
    ? text
    : JSON.stringify(text).replace(
        /[\u007f-\u009f\u2028\u2029\ufeff]/g,
        (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
      )
