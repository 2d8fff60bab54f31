import { type Container, isRequired } from '../container.ts'
import { duration } from '../kinds.ts'

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
}

/** What a snippet sets: what the user gave, and every parameter that has an example. */
export function settingsOf(container: Container, given: readonly GivenParam[] = []): Setting[] {
  const byName = new Map(given.map((param) => [param.name, param]))
  return container.params.flatMap(({ name, variable, facts }): Setting[] => {
    const param = byName.get(name)
    const set = param !== undefined && param.source !== 'default' && param.source !== 'unset'
    if (!set && !isRequired(facts) && facts.example === undefined) return []
    return [
      { variable, value: (set ? param.shown : null) ?? facts.example ?? '', secret: facts.secret === true },
    ]
  })
}

/** The program of every image, as it is asked something. */
export const entryPoint = ['/usr/bin/node', '/app/main.js'] as const

/**
 * The same as it runs for long. The space for young objects, MiB, of which V8 takes three: with its usual 16 a container
 * under load is forty MiB larger, and no faster.
 */
export const servingEntryPoint = ['/usr/bin/node', '--max-semi-space-size=2', '/app/main.js'] as const

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

/** A host port of an address as its user wrote it, or undefined for a Unix socket. */
export const portOf = (addressText: string): number | undefined =>
  addressText.startsWith('unix:') ? undefined : Number(addressText.slice(addressText.lastIndexOf(':') + 1))

/** The port numbers that a container listens on, with the admin API last. */
export function portsOf(
  container: Container,
  given: readonly GivenParam[] = [],
): { name: string; port: number }[] {
  const params = { ...container.ports, admin: 'admin' }
  return Object.entries(params).flatMap(([name, paramName]) => {
    const param = container.params.find((candidate) => candidate.name === paramName)
    const shown = given.find((candidate) => candidate.name === paramName)?.shown
    const port = portOf(shown ?? param?.facts.default ?? param?.facts.example ?? 'unix:')
    return port === undefined ? [] : [{ name, port }]
  })
}

/** Quotes a text for YAML where it would not be read back as the same text; JSON leaves some characters that YAML forbids. */
export const yamlText = (text: string): string =>
  /^[A-Za-z/][\w./:@,+=-]*[\w/]$/.test(text) && !/^(true|false|yes|no|on|off|null)$/i.test(text)
    ? text
    : JSON.stringify(text).replace(
        /[\u007f-\u009f\u2028\u2029\ufeff]/g,
        (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
      )
