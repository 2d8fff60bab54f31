import { type NamedParam, namesOf } from './container.ts'
import type { Flags } from './flags.ts'
import { quote } from './quote.ts'

/** What the user wrote at one name of a parameter. */
export interface Word {
  /** The flag or variable. */
  readonly at: string
  readonly source: 'flag' | 'environment'
  readonly written: readonly string[]
  /** What its variable of today would hold; undefined where `problem` says why there is no such text. */
  readonly text?: string
  readonly problem?: string
}

/** What stands at the flag of a parameter, and at each of its older names that is set. */
export interface Words {
  readonly flag: Word | undefined
  /** One list for each `Former`, its flag before its variable. */
  readonly older: readonly (readonly Word[])[]
}

export function wordsOf(
  param: NamedParam,
  flags: Flags,
  env: Readonly<Record<string, string | undefined>>,
): Words {
  const { secret, formerly = [], repeats } = param.facts
  const joined = (texts: readonly string[]) => repeats?.(texts) ?? texts.join('')
  const byFlag = (at: string, says?: (text: string) => string) =>
    word(param, { at, source: 'flag', written: flags.texts.get(at) ?? [] }, says, joined)
  const older = formerly.map(({ flag, variable, says }) => [
    flag === undefined ? undefined : byFlag(flag, says),
    variable === undefined
      ? undefined
      : word(param, { at: variable, source: 'environment', written: [env[variable] ?? ''] }, says),
  ])
  return {
    // Where it is given, that is an older way.
    flag: secret ? undefined : byFlag(param.flag),
    older: older.map((pair) => pair.filter((each) => each !== undefined)).filter((pair) => pair.length > 0),
  }
}

/** Empty texts count as unset. */
function word(
  param: NamedParam,
  given: Pick<Word, 'at' | 'source' | 'written'>,
  says = (text: string) => text,
  joined = (texts: readonly string[]) => texts.join(''),
): Word | undefined {
  const written = given.written.filter((text) => text !== '')
  try {
    const texts = written.map(says).filter((text) => text !== '')
    const text = texts.length === 0 ? '' : joined(texts)
    return text === '' ? undefined : { ...given, written, text }
  } catch (error) {
    return { ...given, written, problem: refusal(param, given.at, written, (error as Error).message) }
  }
}

/** The older name that counts; undefined where none is set. What is wrong with them is told beside it. */
export function olderOf(
  param: NamedParam,
  { older }: Words,
): { readonly word?: Word; readonly problems: readonly string[] } {
  const problems = older.flat().flatMap(({ problem }) => problem ?? [])
  const firsts = older.flatMap((pair) => pair.slice(0, 1))
  const word = firsts.find(({ source }) => source === 'flag') ?? firsts[0]
  const rival = firsts.find(({ text }) => text !== word?.text)
  if (problems.length > 0 || word === undefined) return { problems }
  if (rival === undefined) return { word, problems }
  const names = firsts.map(({ at }) => at).filter((at) => at !== word.at)
  return {
    problems: [`${[word.at, ...names].join(' and ')} contradict each other: set ${namesOf(param)} instead`],
  }
}

/** What is said of an older name that is set. */
export const olderText = (param: NamedParam, { at, source }: Word): string =>
  param.facts.secret && source === 'flag'
    ? `${at} is a secret, which the process list shows: set ${param.variable} or ${param.variable}_FILE`
    : `${at} is deprecated: set ${namesOf(param)}`

/** `WAIT (--wait) is "x" but must be a time`. */
export const refusal = (param: NamedParam, at: string, written: readonly string[], why: string): string =>
  `${at} is ${written.map((text) => quote(shownText(param, text))).join(' and ')} but ${why}`

/** A text as it may be shown. */
export const shownText = ({ facts, kind }: NamedParam, text: string): string =>
  facts.secret ? '[redacted]' : (kind.show?.(text) ?? text)
