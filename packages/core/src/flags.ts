import { parseArgs } from 'node:util'
import type { Container, NamedParam } from './container.ts'
import { maskCredentials } from './credentials.ts'
import { nearest, suggestion } from './did-you-mean.ts'
import { type Retired, retiredSaying } from './older-names.ts'
import { quote } from './quote.ts'

/** What a command line says. */
export interface Flags {
  /** The texts that each flag was given, in their order, by the flag; also by its older names. */
  readonly texts: ReadonlyMap<string, readonly string[]>
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
  /** Names of the parameters that are probably meant, or are given in a way that is refused. */
  readonly doubtful: readonly string[]
}

/** A flag that is known. */
interface Known {
  readonly flag: string
  readonly takesValue: boolean
  readonly short?: string | undefined
  readonly param?: NamedParam
  readonly retired?: Retired
}

const isSwitch = ({ kind }: NamedParam): boolean => kind.schema.type === 'boolean'

function knownFlags({ params, retired }: Container): readonly Known[] {
  const own = params.map((param) => ({
    flag: param.flag,
    takesValue: !isSwitch(param),
    short: param.facts.short,
    param,
  }))
  const older = params.flatMap((param) =>
    (param.facts.formerly ?? []).flatMap(({ flag }) =>
      flag === undefined || flag === param.flag ? [] : [{ flag, takesValue: !isSwitch(param), param }],
    ),
  )
  const gone = retired.flatMap((each) =>
    each.flag === undefined ? [] : [{ flag: each.flag, takesValue: each.takesValue, retired: each }],
  )
  return [...own, ...older, ...gone]
}

/** A secret has no flag, unless there was one before. */
const isRefused = ({ flag, facts }: NamedParam): boolean =>
  facts.secret === true && facts.formerly?.some((former) => former.flag === flag) !== true

/** A command line in its parts; their `index` is that of `words`, which are as many as those of `argv`. */
export function tokensOf(container: Container, argv: readonly string[]) {
  const known = knownFlags(container)
  const words = container.singleDash ? withTwoDashes(known, argv) : [...argv]
  const options = Object.fromEntries(
    known.map(({ flag, takesValue, short }) => [
      flag.slice(2),
      {
        type: takesValue ? ('string' as const) : ('boolean' as const),
        ...(short !== undefined && { short }),
      },
    ]),
  )
  const { tokens } = parseArgs({ args: words, options, strict: false, tokens: true })
  return { words, tokens }
}

const oneDash = /^-([a-z][a-z0-9-]+)(=|$)/

/** `-name=value` as `--name=value`; a letter alone is that of a short flag. */
function withTwoDashes(known: readonly Known[], argv: readonly string[]): string[] {
  const flags = new Set(known.map(({ flag }) => flag))
  const end = argv.indexOf('--')
  return argv.map((word, index) => {
    const [, name = ''] = oneDash.exec(word) ?? []
    return (end < 0 || index < end) && flags.has(`--${name}`) ? `-${word}` : word
  })
}

/** Values of unknown and of secret flags are never repeated: a misspelt flag may carry a password. */
export function readFlags(container: Container, argv: readonly string[]): Flags {
  const texts = new Map<string, string[]>()
  const problems: string[] = []
  const warnings: string[] = []
  const doubtful: string[] = []
  const known = knownFlags(container)
  const byName = new Map(known.map((each) => [each.flag.slice(2), each]))
  const { words, tokens } = tokensOf(container, argv)
  // Until the next known flag, what follows may be the rest of a value that has spaces, or of a password that begins with
  // a dash: it is a problem of its own only where there is none already, and is shown only where nothing secret went before.
  let before: Known | 'told' | undefined
  for (const token of tokens) {
    if (token.kind !== 'option' || !isFlag(token, words, byName.get(token.name))) {
      if (before === undefined) problems.push(strayProblem(container, words, token.index))
      else if (before !== 'told')
        problems.push(`${before.flag} takes one word: quote a value that has spaces`)
      before = 'told'
      continue
    }
    const negated = token.name.startsWith('no-') && !byName.has(token.name)
    const found = byName.get(negated ? token.name.slice(3) : token.name)
    const value = isShort(token) ? token.value?.replace(/^=/, '') : token.value
    if (found === undefined || (negated && (found.takesValue || found.retired !== undefined))) {
      const open = known.flatMap(({ flag, param }) =>
        param === undefined || param.facts.secret ? [] : [[flag, param] as const],
      )
      const like = new Map(open)
      const meant = like.get(nearest(token.rawName, like.keys(), '--') ?? '')
      problems.push(`${token.rawName} is no flag of ${container.name}${suggestion(meant?.flag)}`)
      if (meant !== undefined) doubtful.push(meant.name)
      before = 'told'
      continue
    }
    const { flag, param, retired } = found
    const mistake = (problem: string) => {
      problems.push(problem)
      if (param !== undefined) doubtful.push(param.name)
    }
    before = param?.facts.secret ? found : undefined
    if (param !== undefined && isRefused(param)) {
      mistake(
        `${flag} is a secret, which the process list would show: set ${param.variable} or ${param.variable}_FILE`,
      )
      before = 'told'
    } else if (negated && value !== undefined) {
      mistake(`${token.rawName} takes no value`)
    } else if (found.takesValue && (value === undefined || isFlagTaken(token, container))) {
      mistake(`${flag} needs a value: ${flag} <${param?.kind.name ?? 'text'}>`)
      before = 'told'
    } else if (retired !== undefined) {
      const { isProblem, sentence } = retiredSaying(flag, retired, value ?? '')
      if (value !== '') (isProblem ? problems : warnings).push(sentence)
      if (found.takesValue) before = found
    } else if (texts.has(flag) && param?.facts.repeats === undefined) {
      mistake(`${flag} is given twice`)
    } else {
      texts.set(flag, [...(texts.get(flag) ?? []), value ?? String(!negated)])
    }
  }
  return { texts, problems, warnings, doubtful }
}

interface Token {
  readonly rawName: string
  readonly index: number
  readonly value?: string | undefined
  readonly inlineValue?: boolean | undefined
}

const isShort = ({ rawName }: Token): boolean => !rawName.startsWith('--')

/** `-v` and `-v=5`, but not `-v5` or `-verbose`, which `parseArgs` takes for one letter and its value, or for many. */
function isFlag(token: Token, argv: readonly string[], found: Known | undefined): boolean {
  const { rawName, index } = token
  const arg = argv[index] ?? ''
  return (
    !isShort(token) || (rawName === `-${found?.short}` && (arg === rawName || arg.startsWith(`${rawName}=`)))
  )
}

/** `--name --password=...`: the flag after it is no value, and must not be shown as one. */
const isFlagTaken = ({ inlineValue, value = '' }: Token, { singleDash }: Container): boolean =>
  inlineValue === false && (value.startsWith('--') || (singleDash && oneDash.test(value)))

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
