import type { Container, NamedParam } from './container.ts'

/**
 * An older name of a parameter. It is still taken, with a warning, and wins over the names of today; a variable only over
 * the variable of today, since a flag is meant for this start.
 */
export interface Former {
  readonly variable?: string
  /** With its dashes; of a secret it may be that of today, which is refused otherwise. */
  readonly flag?: string
  /**
   * Makes the text that the names of today would have: `15` to `15s`. An empty one counts as unset. Throws an Error whose
   * message begins with "must be".
   */
  readonly says?: (text: string) => string
}

/** A name that does nothing any more: there is a warning, or none of it is taken. */
export interface Retired {
  readonly variable?: string
  /** With its dashes. */
  readonly flag?: string
  /** Whether a word follows the flag. */
  readonly takesValue: boolean
  /** Why, and what to do about it: the end of a sentence. */
  readonly why: string
  /** A problem, instead of a warning; a function says of which texts. */
  readonly refused: boolean | ((text: string) => boolean)
}

/** What is said of a name that does nothing any more, where it is set to `text`. */
export function retiredSaying(
  name: string,
  { refused, why }: Retired,
  text: string,
): { readonly isProblem: boolean; readonly sentence: string } {
  const isProblem = typeof refused === 'function' ? refused(text) : refused
  const what = isProblem ? 'is no longer there' : 'does nothing any more'
  return { isProblem, sentence: `${name} ${what}: ${why}` }
}

/** The flags and variables of an older name. */
export const namesOfOlder = ({ flag, variable }: Former | Retired): readonly string[] =>
  [flag, variable].filter((name) => name !== undefined)

/** The variables that were taken before, under whatever names. */
export const olderVariables = ({
  params,
  retired,
}: Pick<Container, 'params' | 'retired'>): readonly string[] =>
  [...params.flatMap(({ facts }) => facts.formerly ?? []), ...retired].flatMap(
    ({ variable }) => variable ?? [],
  )

/** Checks that each older name can be given, and that none is another name as well; `runner` are flags of every container. */
export function checkOlderNames(
  container: string,
  params: readonly NamedParam[],
  retired: readonly Retired[],
  runner: readonly string[],
): void {
  const fail = (why: string): never => {
    throw new Error(`${container}: ${why}`)
  }
  const taken = new Set([
    ...params.flatMap(({ variable, flag }) => [variable, `${variable}_FILE`, flag]),
    ...runner,
  ])
  const formers = params.flatMap(({ flag, facts }) =>
    (facts.formerly ?? []).map((former) => ({ former, own: facts.secret ? flag : undefined })),
  )
  for (const { former, own } of [...formers, ...retired.map((former) => ({ former, own: undefined }))]) {
    const names = namesOfOlder(former)
    if (names.length === 0) fail('an older name needs a flag or a variable')
    for (const name of names) {
      if (!(name === former.flag ? /^--[a-z][a-z0-9-]*$/ : /^[A-Z][A-Z0-9_]*$/).test(name))
        fail(`the older name "${name}" must be like --name or NAME`)
      if (taken.has(name) && name !== own) fail(`${name} would mean two things`)
      taken.add(name)
    }
  }
}
