import { assertKnown, knownOnly } from './checks.ts'
import { type CommonValues, type Container, isRequired, type NamedParam, namesOf } from './container.ts'
import { nearest, suggestion } from './did-you-mean.ts'
import { readFlags } from './flags.ts'
import { sharedAddresses } from './listeners.ts'
import { oneLine, redactor } from './log.ts'
import { commonPrefix, flagOf, isKubernetesServiceVariable, variableOfFlag } from './naming.ts'
import { olderVariables, retiredSaying } from './older-names.ts'
import { quote } from './quote.ts'
import { olderOf, olderText, refusal, shownText, type Word, type Words, wordsOf } from './words.ts'

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
  /** What should be set in another way, or not at all, one sentence each. */
  readonly warnings: readonly string[]
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
  const retired = retiredVariables(container, env)
  const problems = [...flags.problems, ...strangers.problems, ...retired.problems]
  const warnings = [...flags.warnings, ...retired.warnings, ...misspeltOlder(container, env)]
  // Of these it is not known what their user wants them to be.
  const unknown = new Set([...flags.doubtful, ...strangers.doubtful])
  const params: ResolvedParam[] = []
  const secrets: string[] = []
  const words = new Map(container.params.map((param) => [param.name, wordsOf(param, flags, env)]))
  for (const param of container.params) {
    const own = words.get(param.name) ?? { flag: undefined, older: [] }
    const other = container.params.find(({ name }) => name === param.facts.unless)
    const isReplaced = other !== undefined && isSet(other, words.get(other.name), env)
    const older = own.older.flat()
    const hidden = [own.flag, ...older].flatMap((word) => secretsIn(param, word?.written ?? []))
    const found = find(param, isReplaced, own, env, readFile)
    if (!('problems' in found)) hidden.push(...secretsIn(param, found.text === undefined ? [] : [found.text]))
    secrets.push(...new Set(hidden))
    const redact = redactor(hidden)
    warnings.push(...older.map((word) => olderText(param, word)))
    if ('problems' in found) {
      problems.push(...found.problems.map(redact))
      unknown.add(param.name)
      continue
    }
    const { text, source, at = namesOf(param), written = [text ?? ''] } = found
    try {
      const value = text === undefined ? undefined : param.kind.parse(text)
      const shown = text === undefined ? null : shownText(param, text)
      const { name, variable, flag } = param
      params.push({ name, variable, flag, value, shown, source })
    } catch (error) {
      problems.push(refusal(param, at, written, redact((error as Error).message)))
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
  problems.push(...contradictions, ...sharedAddresses(container, values))
  if (problems.length > 0) return { ok: false, problems: problems.map(oneLine) }
  return { ok: true, resolved: { values, params, secrets, warnings: warnings.map(oneLine) } }
}

/** Whether the user set it. */
export const isGiven = ({ source }: { readonly source: string }): boolean =>
  source !== 'default' && source !== 'unset'

/** Whether anything stands at a name of a parameter, before it is known whether that is right. */
export function setIn(container: Container, { argv, env }: Inputs): (param: NamedParam) => boolean {
  const flags = readFlags(container, argv)
  return (param) => isSet(param, wordsOf(param, flags, env), env)
}

const isSet = (param: NamedParam, words: Words | undefined, env: Inputs['env']): boolean =>
  Boolean(words?.flag || words?.older.length || env[param.variable] || fileOf(param, env))

/** The path that `<VARIABLE>_FILE` holds, where that belongs to this parameter. */
const fileOf = ({ variable, facts }: NamedParam, env: Inputs['env']): string | undefined =>
  (facts.fileParam === undefined && env[`${variable}_FILE`]) || undefined

/** The texts of a secret, or the credentials inside of URLs. */
const secretsIn = ({ facts, kind }: NamedParam, texts: readonly string[]): readonly string[] =>
  texts.flatMap((text) => [...(facts.secret ? [text] : []), ...(kind.secrets?.(text) ?? [])])

type Found =
  | {
      readonly text: string | undefined
      readonly source: Source
      /** The name, where it is not one of today's own. */
      readonly at?: string
      /** What the user wrote, where `text` is made of it. */
      readonly written?: readonly string[]
    }
  | { readonly problems: readonly string[] }

const taken = ({ source, written, text }: Word, at?: string): Found => ({
  text,
  source,
  written,
  ...(at !== undefined && { at }),
})

function find(
  param: NamedParam,
  isReplaced: boolean,
  words: Words,
  env: Inputs['env'],
  readFile: Inputs['readFile'],
): Found {
  const { variable, facts } = param
  const file = fileOf(param, env)
  const plain = env[variable] || undefined
  const older = olderOf(param, words)
  const problems = [...older.problems, ...(words.flag?.problem === undefined ? [] : [words.flag.problem])]
  if (problems.length > 0) return { problems }
  if (file !== undefined && plain !== undefined) {
    return { problems: [`${variable} and ${variable}_FILE are both set: unset one of them`] }
  }
  const olderFlag = older.word?.source === 'flag' ? older.word : undefined
  // Only one flag stands above another: what is written on the command line is meant for this start.
  const word = olderFlag ?? words.flag ?? older.word
  if (word !== undefined) return taken(word, word === words.flag ? undefined : word.at)
  if (plain !== undefined) return { text: plain, source: 'environment' }
  if (file !== undefined) return readValueFile(param, file, readFile)
  const shared = facts.shared === undefined ? undefined : env[facts.shared] || undefined
  if (shared !== undefined && facts.shared !== undefined)
    return { text: shared, source: 'environment', at: facts.shared }
  if (facts.default !== undefined) return { text: facts.default, source: 'default' }
  if (!isRequired(facts) || isReplaced) return { text: undefined, source: 'unset' }
  return { problems: [requirement(param)] }
}

/** What is said of a parameter that is required and not set. */
export function requirement(param: NamedParam): string {
  const { example, unless } = param.facts
  const instead = unless === undefined ? '' : ` unless ${flagOf(unless)} is set`
  const hint = example === undefined ? '' : ` For example ${param.variable}=${example}`
  return `${namesOf(param)} is required${instead}. ${param.help.replace(/\.$/, '')}.${hint}`
}

function readValueFile({ variable, facts }: NamedParam, path: string, readFile: Inputs['readFile']): Found {
  // What is no absolute path may be the secret itself, put into the wrong variable.
  const hide = redactor(facts.secret && !path.startsWith('/') ? [path] : [])
  const named = `${variable}_FILE names ${quote(hide(path))}`
  try {
    // Editors and `kubectl create secret --from-file` leave a line break that nobody means.
    const text = readFile(path).replace(/\r?\n$/, '')
    return text === '' ? { problems: [`${named}, which is empty`] } : { text, source: 'file' }
  } catch (error) {
    return { problems: [`${named}, which cannot be read: ${hide((error as Error).message)}`] }
  }
}

/** What is wrong with variables that set nothing. */
interface Misspelt {
  readonly problems: readonly string[]
  /** Names of the parameters that are probably meant. */
  readonly doubtful: readonly string[]
}

function unknownVariables(container: Container, env: Inputs['env']): Misspelt {
  const owners = new Map(
    container.params.flatMap(({ name, variable, facts }) => [
      [variable, name],
      ...(facts.fileParam === undefined ? [[`${variable}_FILE`, name] as const] : []),
    ]),
  )
  const older = new Set(olderVariables(container))
  // What a flag of before would be called as a variable is what people try.
  const like = new Map([...owners.keys()].map((name) => [name, name]))
  for (const { variable, facts } of container.params) {
    for (const { flag } of facts.formerly ?? []) {
      const name = flag === undefined ? variable : variableOfFlag(container.prefix, flag)
      if (!like.has(name)) like.set(name, variable)
    }
  }
  const strangers = Object.keys(env)
    .filter((name) => env[name])
    .filter((name) => name.startsWith(container.prefix) && !owners.has(name) && !older.has(name))
    .filter((name) => !isKubernetesServiceVariable(name))
    .map((name) => ({ name, meant: like.get(nearest(name, like.keys(), container.prefix) ?? '') }))
  return {
    problems: strangers.map(
      ({ name, meant }) => `${name} is no parameter of ${container.name}${suggestion(meant)}`,
    ),
    doubtful: strangers.flatMap(({ meant = '' }) => owners.get(meant) ?? []),
  }
}

/** A warning for each variable that is almost one of before: without our prefix it may be that of another program. */
function misspeltOlder(container: Container, env: Inputs['env']): readonly string[] {
  const formers = new Map(
    container.params.flatMap((param) =>
      (param.facts.formerly ?? []).flatMap(({ variable }) =>
        variable === undefined ? [] : [[variable, param] as const],
      ),
    ),
  )
  const prefix = commonPrefix([...formers.keys()])
  if (prefix === undefined) return []
  const known = new Set(olderVariables(container))
  const like = [...formers.keys()].filter((former) => former.startsWith(prefix))
  return Object.keys(env)
    .filter((name) => env[name] && name.startsWith(prefix) && !name.startsWith(container.prefix))
    .filter((name) => !known.has(name) && !isKubernetesServiceVariable(name))
    .flatMap((name) => {
      const former = nearest(name, like, prefix) ?? ''
      const param = formers.get(former)
      return param === undefined
        ? []
        : [`${name} is not taken: did you mean ${namesOf(param)}, which was ${former}?`]
    })
}

function retiredVariables({ retired }: Container, env: Inputs['env']) {
  const set = retired.flatMap((each) => {
    const text = each.variable === undefined ? undefined : env[each.variable]
    return each.variable === undefined || !text ? [] : [retiredSaying(each.variable, each, text)]
  })
  return {
    problems: set.filter(({ isProblem }) => isProblem).map(({ sentence }) => sentence),
    warnings: set.filter(({ isProblem }) => !isProblem).map(({ sentence }) => sentence),
  }
}
