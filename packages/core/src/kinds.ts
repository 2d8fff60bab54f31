import { isIP } from 'node:net'
import { credentialsIn, maskCredentials } from './credentials.ts'
import type { Former } from './older-names.ts'

/** The part of JSON Schema that our kinds need (draft 2020-12). */
export interface JsonSchema {
  readonly type?: 'string' | 'integer' | 'boolean' | 'array' | 'object'
  readonly description?: string
  readonly default?: string
  readonly enum?: readonly string[]
  readonly pattern?: string
  readonly format?: string
  readonly writeOnly?: boolean
}

/** How the text of a parameter becomes a value. `parse` throws an Error whose message begins with "must be". */
export interface Kind<T> {
  readonly name: string
  readonly parse: (text: string) => T
  readonly schema: JsonSchema
  /** The text as it may be shown to people: credentials inside a URL are masked. */
  readonly show?: (text: string) => string
  /** What in the text is secret, where `show` masks something: no output may hold it. */
  readonly secrets?: (text: string) => readonly string[]
}

export interface Facts {
  /** Written as a user types it and parsed by the same parser. */
  readonly default?: string
  /** Set in snippets and quick starts; required parameters need one that works in the contract tests. */
  readonly example?: string
  readonly optional?: true
  /** Required, but where this other parameter is set in its place. */
  readonly unless?: string
  /** Environment or `<VARIABLE>_FILE` only, never a flag; redacted everywhere. */
  readonly secret?: true
  /** Listed in the second table of the README. */
  readonly advanced?: true
  /** It names a directory, not a file. */
  readonly directory?: true
  /** Of a path: the container writes there, so snippets share its directory with the application. */
  readonly written?: true
  /** The files it names are watched; a change takes effect while running. */
  readonly reloads?: true
  /** An unprefixed variable that serves when the prefixed one is not set, for the containers of one pod. */
  readonly shared?: string
  /** Names that it had before: see `Former`. */
  readonly formerly?: readonly Former[]
  /** One letter, `v` for `-v 5` and `-v=5` beside the whole flag. */
  readonly short?: string
  /**
   * Lets the flag be given many times, and makes of its texts the one that the variable would have; also where it is given
   * once. Throws an Error whose message begins with "must be".
   */
  readonly repeats?: (texts: readonly string[]) => string
  /** The parameter, a path, to which `<VARIABLE>_FILE` belongs. Its file is the container's to read. */
  readonly fileParam?: string
}

/** A parameter of a container; `T` includes `undefined` when it is optional. */
export interface Param<out T = unknown> {
  readonly kind: Kind<unknown>
  readonly help: string
  readonly facts: Facts
  /** Only for inference; never present at run time. */
  readonly value?: T
}

/** A kind applied to one sentence and its facts makes a parameter. */
export interface ParamFactory<T> {
  (
    help: string,
    facts: Facts & ({ readonly optional: true } | { readonly unless: string }),
  ): Param<T | undefined>
  (help: string, facts?: Facts): Param<T>
  readonly kind: Kind<T>
}

/** Makes the parameter factory of a kind; containers may define kinds of their own with it. */
export function kindOf<T>(kind: Kind<T>, implied: Facts = {}): ParamFactory<T> {
  const make = (help: string, facts: Facts = {}): Param<T> => ({
    kind,
    help,
    facts: { ...implied, ...facts },
  })
  return Object.assign(make, { kind })
}

/** Any text of at least one character. */
export const text: ParamFactory<string> = kindOf({
  name: 'text',
  parse: (value) => value,
  schema: { type: 'string' },
})

/** A text that no log line, error, page or metric ever shows. */
export const secret: ParamFactory<string> = kindOf(text.kind, { secret: true })

/** On and off in turn. */
export const switchWords: readonly string[] = ['true', 'false', '1', '0', 'yes', 'no', 'on', 'off']

/** A switch, off unless set. */
export const flag: ParamFactory<boolean> = kindOf(
  {
    name: 'flag',
    parse(value) {
      const index = switchWords.indexOf(value.toLowerCase())
      if (index < 0) throw new Error('must be true or false')
      return index % 2 === 0
    },
    schema: { type: 'boolean' },
  },
  { default: 'false' },
)

/** A whole number from `min` to `max`. */
export function integerBetween(min: number, max: number): ParamFactory<number> {
  const bounded = min > Number.MIN_SAFE_INTEGER || max < Number.MAX_SAFE_INTEGER
  const must = `must be a whole number${bounded ? ` from ${min} to ${max}` : ''}`
  return kindOf({
    name: 'integer',
    parse(value) {
      const number = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN
      if (!Number.isSafeInteger(number) || number < min || number > max) throw new Error(must)
      return number
    },
    schema: { type: 'integer' },
  })
}

export const integer: ParamFactory<number> = integerBetween(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)

const durationUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
/** Node fires timers beyond 2^31-1 ms at once, so a longer duration would mean the opposite of what it says. */
const longestTimerMs = 2 ** 31 - 1

/** A time with its unit, `500ms` or `1m30s`, as milliseconds; at most 24 days. */
export const duration: ParamFactory<number> = kindOf({
  name: 'duration',
  parse(value) {
    if (value === '0') return 0
    if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(value)) {
      throw new Error('must be a time with its unit, such as 500ms, 10s, 1m30s or 2h')
    }
    let total = 0
    for (const [, amount, unit] of value.matchAll(/([\d.]+)(ms|s|m|h|d)/g)) {
      total += Number(amount) * durationUnits[unit as keyof typeof durationUnits]
    }
    if (total > longestTimerMs) throw new Error('must be at most 24 days')
    return Math.round(total)
  },
  schema: { type: 'string', pattern: '^(0|(\\d+(\\.\\d+)?(ms|s|m|h|d))+)$' },
})

const byteUnits: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}

/** A size with its unit, `64KiB` or `10MB`, as a number of bytes. */
export const bytes: ParamFactory<number> = kindOf({
  name: 'bytes',
  parse(value) {
    if (value === '0') return 0
    const [, amount, unit] = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(value) ?? []
    const factor = unit === undefined ? undefined : byteUnits[unit]
    const size = Math.round(Number(amount) * (factor ?? Number.NaN))
    if (!Number.isSafeInteger(size))
      throw new Error('must be a size with its unit, such as 512B, 64KiB or 10MB')
    return size
  },
  schema: { type: 'string', pattern: '^(0|\\d+(\\.\\d+)?([kKMG]?B|[KMG]iB?))$' },
})

/** Where to listen or connect. `host` is empty for "all addresses" (`:8080`). */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string }

/** `sun_path` holds 108 bytes with its closing NUL (unix(7)); longer ones would be cut without an error. */
const longestSocketPath = 107
const hostName = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?$/

export const address: ParamFactory<Address> = kindOf({
  name: 'address',
  parse(value): Address {
    if (value.startsWith('unix:')) return { path: socketPath(value.slice('unix:'.length)) }
    const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(value) ?? []
    const host = bracketed ?? plain ?? ''
    const port = Number(digits)
    const known = bracketed === undefined ? host === '' || isHost(host) : isIP(host) === 6
    if (digits === undefined || !known || port > 65535) {
      throw new Error('must be host:port, :port, [IPv6]:port or unix:/path, such as 127.0.0.1:8080')
    }
    return { host, port }
  },
  schema: { type: 'string', pattern: '^(unix:/.*|(\\[[^\\]]+\\]|[^:\\[\\]]*):\\d{1,5})$' },
})

/** All-numeric last labels are addresses, so `256.1.1.1` is a mistake and not a name (WHATWG URL, "ends in a number"). */
const isHost = (host: string): boolean =>
  isIP(host) === 4 || (hostName.test(host) && !/(^|\.)\d+\.?$/.test(host))

function socketPath(path: string): string {
  if (!path.startsWith('/') || path.includes('\0') || Buffer.byteLength(path) > longestSocketPath) {
    throw new Error(`must be unix: and an absolute path of at most ${longestSocketPath} bytes`)
  }
  return path
}

/** The text of an address, as a user would type it. */
export function formatAddress(value: Address): string {
  if ('path' in value) return `unix:${value.path}`
  return `${value.host.includes(':') ? `[${value.host}]` : value.host}:${value.port}`
}

/** An absolute URL whose scheme is one of `schemes`, written without colon. */
export function urlOf(...schemes: readonly string[]): ParamFactory<URL> {
  const must =
    schemes.length > 0
      ? `must be a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`
      : 'must be a whole URL, such as http://127.0.0.1:8080'
  return kindOf({
    name: 'url',
    parse(value) {
      const parsed = URL.parse(value)
      const fits = schemes.length === 0 || schemes.includes(parsed?.protocol.slice(0, -1) ?? '')
      if (parsed === null || !fits || (schemes.length > 0 && parsed.hostname === '')) throw new Error(must)
      return parsed
    },
    show: maskCredentials,
    secrets: credentialsIn,
    schema: { type: 'string', format: 'uri' },
  })
}

export const url: ParamFactory<URL> = urlOf()

/** A path of the file system, absolute or relative to the working directory. */
export const path: ParamFactory<string> = kindOf({
  name: 'path',
  parse(value) {
    if (value.includes('\0')) throw new Error('must be a path without NUL bytes')
    if (/[\r\n]/.test(value)) throw new Error('must be the path of a file, and this is the content of one')
    return value
  },
  // Somebody who gives the content of a key file must not find it in the log.
  show: (value) => (/[\r\n]/.test(value) ? '[content of a file]' : value),
  secrets: (value) => (/[\r\n]/.test(value) ? [value] : []),
  schema: { type: 'string' },
})

/** A regular expression in JavaScript's syntax, with the `u` flag. */
export const regex: ParamFactory<RegExp> = kindOf({
  name: 'regex',
  parse(value) {
    try {
      return new RegExp(value, 'u')
    } catch (error) {
      throw new Error(`must be a regular expression: ${(error as Error).message}`)
    }
  },
  schema: { type: 'string', format: 'regex' },
})

/** One of the given choices, in any case of letters. */
export function oneOf<const C extends string>(...choices: readonly C[]): ParamFactory<C> {
  return kindOf({
    name: choices.join('|'),
    parse(value) {
      const choice = choices.find((candidate) => candidate.toLowerCase() === value.toLowerCase())
      if (choice === undefined) throw new Error(`must be one of ${choices.join(', ')}`)
      return choice
    },
    schema: { type: 'string', enum: choices },
  })
}

/** Values of another kind, separated by commas. */
export function listOf<T>(factory: ParamFactory<T>): ParamFactory<readonly T[]> {
  const item = factory.kind
  return kindOf({
    name: `${item.name},...`,
    parse: (value) =>
      itemsOf(value).map((part, index) => {
        try {
          if (part === '') throw new Error('must not be empty')
          return item.parse(part)
        } catch (error) {
          throw new Error(`must be a list with commas, and item ${index + 1} ${(error as Error).message}`)
        }
      }),
    show: (value) => shownItems(item, value),
    secrets: (value) => itemsOf(value).flatMap((part) => item.secrets?.(part) ?? []),
    schema: { type: 'string' },
  })
}

const itemsOf = (list: string): string[] => list.split(',').map((part) => part.trim())

/** A password with a comma falls into two items, neither of which shows that it is half of one. */
function shownItems(item: Kind<unknown>, list: string): string {
  const { show } = item
  if (show === undefined) return list
  const parts = itemsOf(list)
  const shown = parts.map((part) => show(part)).join(',')
  return parts.every((part) => parses(item, part)) ? shown : shown.replace(/^.*@/s, '***@')
}

function parses(kind: Kind<unknown>, value: string): boolean {
  try {
    kind.parse(value)
    return true
  } catch {
    return false
  }
}
