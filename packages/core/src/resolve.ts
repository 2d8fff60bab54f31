import { parseArgs } from 'node:util'
import { assertKnown, knownOnly } from './checks.ts'
import { type CommonValues, type Container, isRequired, type NamedParam, namesOf } from './container.ts'
import { maskCredentials } from './credentials.ts'
import { oneLine, redactor } from './log.ts'
import { flagOf, isKubernetesServiceVariable } from './naming.ts'

export type Source = 'flag' | 'environment' | 'file' | 'default' | 'unset'

/** A parameter after resolving: its value, where it came from, and the text that may be shown. */
export interface ResolvedParam {
  readonly name: string
  readonly variable: string
  readonly flag: string
  readonly value: unknown
  readonly shown: string | null
  readonly source: Source
}

export interface Resolved {
  readonly values: Readonly<Record<string, unknown>> & CommonValues
  readonly params: readonly ResolvedParam[]
  /** What must not appear in any output. */
  readonly secrets: readonly string[]
}

export type Resolution =
  | { readonly ok: true; readonly resolved: Resolved }
  | { readonly ok: false; readonly problems: readonly string[] }

export interface Inputs {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Reads the file that a `<VARIABLE>_FILE` names; throws when it cannot. */
  readonly readFile: (path: string) => string
}

/** Turns flags, environment and files into values, or into every problem at once. */
export function resolve(container: Container, { argv, env, readFile }: Inputs): Resolution {
  const flags = readFlags(container, argv)
  const strangers = unknownVariables(container, env)
  const problems = [...flags.problems, ...strangers.problems]
  // Of these it is not known what their user wants them to be.
  const unknown = new Set([...flags.doubtful, ...strangers.doubtful])
  const params: ResolvedParam[] = []
  const secrets: string[] = []
  const isSet = ({ name, variable }: NamedParam): boolean =>
    Boolean(flags.values.get(name) || env[variable] || env[`${variable}_FILE`])
  for (const param of container.params) {
    const other = container.params.find(({ name }) => name === param.facts.unless)
    const isReplaced = other !== undefined && isSet(other)
    const found = find(param, isReplaced, flags.values.get(param.name), env, readFile)
    if ('problem' in found) {
      problems.push(found.problem)
      unknown.add(param.name)
      continue
    }
    const hidden = secretsIn(param, found.text)
    secrets.push(...hidden)
    try {
      const value = found.text === undefined ? undefined : param.kind.parse(found.text)
      const { name, variable, flag } = param
      params.push({ name, variable, flag, value, shown: shownText(param, found.text), source: found.source })
    } catch (error) {
      const shown = shownText(param, found.text)
      const why = redactor(hidden)((error as Error).message)
      problems.push(`${found.variable ?? namesOf(param)} is ${quote(shown ?? '')} but ${why}`)
      unknown.add(param.name)
    }
  }
  // Each value was made by its own parameter's parser, which is where the types come from.
  const values = Object.fromEntries(params.map(({ name, value }) => [name, value])) as Resolved['values']
  const given = (name: string) => {
    assertKnown(name, unknown)
    return params.some((param) => param.name === name && isGiven(param))
  }
  const contradictions = [...container.check(knownOnly(values, unknown), given)].map(redactor(secrets))
  problems.push(...contradictions)
  if (problems.length > 0) return { ok: false, problems: problems.map(oneLine) }
  return { ok: true, resolved: { values, params, secrets } }
}

/** Whether the user set it. */
export const isGiven = ({ source }: { readonly source: string }): boolean =>
  source !== 'default' && source !== 'unset'

const quote = (shown: string): string =>
  JSON.stringify(shown.length > 200 ? `${shown.slice(0, 200)}...` : shown)

function shownText({ facts, kind }: NamedParam, text: string | undefined): string | null {
  if (text === undefined) return null
  return facts.secret ? '[redacted]' : (kind.show?.(text) ?? text)
}

/** The text of a secret, or the credentials inside a URL. */
function secretsIn({ facts, kind }: NamedParam, text: string | undefined): readonly string[] {
  if (text === undefined) return []
  const credentials = kind.secrets?.(text) ?? []
  return facts.secret ? [text, ...credentials] : credentials
}

type Found =
  /** `variable` where it is not the parameter's own. */
  | { readonly text: string | undefined; readonly source: Source; readonly variable?: string }
  | { readonly problem: string }

function find(
  param: NamedParam,
  isReplaced: boolean,
  flag: string | undefined,
  env: Inputs['env'],
  readFile: Inputs['readFile'],
): Found {
  const { variable, facts } = param
  const file = env[`${variable}_FILE`] || undefined
  const plain = env[variable] || undefined
  if (file !== undefined && plain !== undefined) {
    return { problem: `${variable} and ${variable}_FILE are both set: unset one of them` }
  }
  if (flag !== undefined && flag !== '') return { text: flag, source: 'flag' }
  if (plain !== undefined) return { text: plain, source: 'environment' }
  if (file !== undefined) return readValueFile(param, file, readFile)
  const shared = facts.shared === undefined ? undefined : env[facts.shared] || undefined
  if (shared !== undefined && facts.shared !== undefined)
    return { text: shared, source: 'environment', variable: facts.shared }
  if (facts.default !== undefined) return { text: facts.default, source: 'default' }
  if (!isRequired(facts) || isReplaced) return { text: undefined, source: 'unset' }
  return { problem: requirement(param) }
}

/** What is said of a parameter that is required and not set. */
export function requirement(param: NamedParam): string {
  const { example, unless } = param.facts
  const instead = unless === undefined ? '' : ` unless ${flagOf(unless)} is set`
  const hint = example === undefined ? '' : `, for example ${param.variable}=${example}`
  return `${namesOf(param)} is required${instead}: ${param.help.replace(/\.$/, '')}${hint}`
}

function readValueFile({ variable, facts }: NamedParam, path: string, readFile: Inputs['readFile']): Found {
  // What is no absolute path may be the secret itself, put into the wrong variable.
  const hide = redactor(facts.secret && !path.startsWith('/') ? [path] : [])
  const named = `${variable}_FILE names ${quote(hide(path))}`
  try {
    // Editors and `kubectl create secret --from-file` leave a line break that nobody means.
    const text = readFile(path).replace(/\r?\n$/, '')
    return text === '' ? { problem: `${named}, which is empty` } : { text, source: 'file' }
  } catch (error) {
    return { problem: `${named}, which cannot be read: ${hide((error as Error).message)}` }
  }
}

interface Misspelt {
  readonly problems: readonly string[]
  /** Names of the parameters that are probably meant, or are given in a way that is refused. */
  readonly doubtful: readonly string[]
}

function unknownVariables(container: Container, env: Inputs['env']): Misspelt {
  const owners = new Map(
    container.params.flatMap(({ name, variable }) => [
      [variable, name],
      [`${variable}_FILE`, name],
    ]),
  )
  const known = [...owners.keys()]
  const strangers = Object.keys(env)
    .filter((name) => env[name])
    .filter((name) => name.startsWith(container.prefix) && !owners.has(name))
    .filter((name) => !isKubernetesServiceVariable(name))
    .map((name) => ({ name, meant: nearest(name, known, container.prefix) }))
  return {
    problems: strangers.map(
      ({ name, meant }) => `${name} is no parameter of ${container.name}${suggestion(meant)}`,
    ),
    doubtful: strangers.flatMap(({ meant = '' }) => owners.get(meant) ?? []),
  }
}

interface Flags extends Misspelt {
  readonly values: ReadonlyMap<string, string>
}

/** Values of unknown and of secret flags are never repeated: a misspelt flag may carry a password. */
function readFlags(container: Container, argv: readonly string[]): Flags {
  const values = new Map<string, string>()
  const problems: string[] = []
  const unsure: string[] = []
  const byFlag = new Map(container.params.map((param) => [param.flag.slice(2), param]))
  const options = flagOptions(container)
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, tokens: true })
  // Until the next known flag, what follows may be the rest of a password that has spaces or begins with a dash.
  let doubtful = false
  for (const token of tokens) {
    if (token.kind !== 'option' || !token.rawName.startsWith('--')) {
      if (!doubtful) problems.push(strayProblem(container, argv, token.index))
      doubtful = true
      continue
    }
    const negated = token.name.startsWith('no-') && !byFlag.has(token.name)
    const param = byFlag.get(negated ? token.name.slice(3) : token.name)
    doubtful = param === undefined || param.facts.secret === true
    if (param === undefined || (negated && !isSwitch(param))) {
      const known = [...byFlag.values()].filter(({ facts }) => !facts.secret)
      const flags = known.map(({ flag }) => flag)
      const meant = nearest(token.rawName, flags, '--')
      problems.push(`${token.rawName} is no flag of ${container.name}${suggestion(meant)}`)
      unsure.push(...known.filter(({ flag }) => flag === meant).map(({ name }) => name))
    } else if (param.facts.secret) {
      unsure.push(param.name)
      problems.push(
        `${param.flag} is a secret, which the process list would show: set ${param.variable} or ${param.variable}_FILE`,
      )
    } else if (negated && token.value !== undefined) {
      unsure.push(param.name)
      problems.push(`${token.rawName} takes no value`)
    } else if (!isSwitch(param) && (token.value === undefined || isFlagTaken(token))) {
      doubtful = true
      unsure.push(param.name)
      problems.push(`${param.flag} needs a value: ${param.flag} <${param.kind.name}>`)
    } else if (values.has(param.name)) {
      unsure.push(param.name)
      problems.push(`${param.flag} is given twice`)
    } else {
      values.set(param.name, token.value ?? String(!negated))
    }
  }
  return { values, problems, doubtful: unsure }
}

/** `--name --password=...`: the flag after it is no value, and must not be shown as one. */
const isFlagTaken = (token: {
  readonly value?: string | undefined
  readonly inlineValue?: boolean | undefined
}) => token.inlineValue === false && token.value?.startsWith('--') === true

const isSwitch = (param: NamedParam): boolean => param.kind.schema.type === 'boolean'

/** The flags of a container, for `parseArgs`. */
export const flagOptions = (
  container: Container,
): Readonly<Record<string, { readonly type: 'boolean' | 'string' }>> =>
  Object.fromEntries(
    container.params.map((param) => [param.flag.slice(2), { type: isSwitch(param) ? 'boolean' : 'string' }]),
  )

/** A word where a flag should be; the first one may have been meant as a command. */
function strayProblem(container: Container, argv: readonly string[], index: number): string {
  const word = strayText(argv[index])
  const commands = Object.keys(container.commands)
  return index > 0 || commands.length === 0 || word.startsWith('"-')
    ? `${word} is no flag: flags look like --name value`
    : `${word} is no command of ${container.name}, whose commands are: ${commands.join(', ')}; flags look like --name value`
}

/** `password=...` without its dashes must not show what follows. */
const strayText = (arg = ''): string => quote(maskCredentials(arg).replace(/=.*/s, '=...'))

const suggestion = (meant: string | undefined): string =>
  meant === undefined ? '; see --help' : `: did you mean ${meant}?`

function nearest(name: string, known: readonly string[], prefix: string): string | undefined {
  // Names come from outside and the distance is quadratic.
  const [best] = (name.length > 128 ? [] : known)
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .filter(({ candidate, distance }) => distance <= Math.max(2, (candidate.length - prefix.length) / 4))
    .sort((a, b) => a.distance - b.distance)
  return best?.candidate
}

/** Levenshtein distance. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const substitution = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current[column] = Math.min(substitution, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1)
    }
    previous = current
  }
  return previous[b.length] ?? 0
}
