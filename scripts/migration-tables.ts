import type { Container } from '@outrider/core'
import { table } from '@outrider/core/render'
import type { PeerOption } from '@outrider/git-sync'

/** The options of git-sync 3 and 4, one by one, and what they are here, in Markdown. */
export function migrationTables(
  container: Container,
  options: readonly PeerOption[],
): { readonly v3: string; readonly v4: string } {
  const row = (option: PeerOption, variables: readonly string[], value: string) => [
    option.flag === undefined ? '' : code(option.flag),
    variables.map(code).join(', '),
    value === '' ? '' : code(value),
    here(container, option, value),
    option.since === 'main'
      ? ['after 4.7.1', option.note].filter((text) => text !== '').join('; ')
      : option.note,
  ]
  const v4 = options.map((option) => row(option, listed(option.variable), option.default))
  const v3 = options
    .filter(({ since }) => since === 'v3')
    .map((option) => {
      const { deprecated, variable, formers, default: value, before = value } = option
      return row(option, deprecated ? listed(variable) : formers, before)
    })
  const head = ['Flag there', 'Variable there', 'Default there', 'Here', 'Note']
  return { v3: table(head, v3), v4: table(head, v4) }
}

const code = (text: string): string => `\`${text}\``

const listed = (text: string | undefined): readonly string[] => (text === undefined ? [] : [text])

function here({ params, retired }: Container, option: PeerOption, value: string): string {
  const old = retired.find(({ flag }) => flag !== undefined && flag === option.flag)
  if (old !== undefined) return old.refused ? 'refused' : 'nothing, with a warning'
  const param = params.find(({ name }) => name === option.ours)
  if (param === undefined) return 'the same'
  const { flag, variable, facts } = param
  const name = option.deprecated
    ? `${code(facts.secret ? variable : flag)}; the old name is taken, with a warning`
    : 'the same'
  const { default: ours = '' } = facts
  // In version 4 the default of an older name is that nothing is said by it.
  const isOther = value !== ours && !(option.deprecated && value === option.default)
  return isOther ? `${name}; default ${code(ours)}` : name
}
