import { type Container, namesOf } from '../container.ts'
import { namesOfOlder, type Retired } from '../older-names.ts'

/** A name of before, and what it means by now. */
export interface OlderName {
  readonly names: readonly string[]
  readonly now: string
}

/** All older names of a container, those that do nothing any more last. */
export const olderNamesOf = ({ params, retired }: Container): readonly OlderName[] => [
  ...params.flatMap((param) =>
    (param.facts.formerly ?? []).map((former) => ({ names: namesOfOlder(former), now: namesOf(param) })),
  ),
  ...retired.map((each) => ({
    names: namesOfOlder(each),
    now: `${fateOf(each)}: ${each.why}`,
  })),
]

function fateOf({ refused }: Retired): string {
  if (typeof refused === 'function') return 'nothing, or refused'
  return refused ? 'refused' : 'nothing'
}
