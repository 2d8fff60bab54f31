import { COMMANDS, type Command } from './command.ts'
import type { Policy } from './command-policy.ts'
import { type KeySpec, WRITE } from './command-table.ts'

/** The whole table of commands for the documentation: a table in Markdown, by name, without its heading. */
export function commandTableMarkdown(): string {
  const rows = COMMANDS.filter(isSent)
    .sort((a, b) => (a.title < b.title ? -1 : 1))
    .map((command) =>
      cells(command.title, command.since, keysText(command), policyText(command.policy), remark(command)),
    )
  return [
    cells('Command', 'Since', 'Keys', 'Policy', 'Remark'),
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}

/** A container alone is not a command, save COMMAND. */
function isSent({ subcommands, arity }: Command): boolean {
  return subcommands === undefined || arity === -1
}

function cells(...texts: string[]): string {
  return `| ${texts.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`
}

/** Positions of the keys, the name of the command being 0. */
function keysText({ flags, keys, singleKey }: Command): string {
  if (singleKey !== 0) return String(singleKey)
  switch (keys.rule) {
    case 'none':
      return ''
    case 'range':
    case 'copy':
      return rangeText(keys)
    case 'pairs':
      return '1, 3, 5 ...'
    case 'script':
    case 'sha':
    case 'function':
    case 'zset':
    case 'pop':
    case 'card':
      return `${keys.first === 0 ? '' : `${keys.first}, `}as many as ${keys.numkeys} says, behind it`
    case 'streams':
      return 'first half behind STREAMS'
    case 'sort':
      return (flags & WRITE) === 0 ? '1' : '1, behind STORE'
    case 'georadius':
      return '1, behind STORE or STOREDIST'
    case 'migrate':
      return '3, or all behind KEYS'
  }
}

function rangeText({ first, last }: KeySpec): string {
  if (last > 0) return `${first}, ${last}`
  const text = `${first}, ${first + 1} ...`
  return last === -1 ? text : `${text} without the last argument`
}

function policyText(policy: Policy): string {
  switch (policy.kind) {
    case 'split':
    case 'fan-out':
      return `${policy.kind}: ${policy.join}`
    case 'pinned':
      return `pinned: ${policy.to}`
    case 'keyless':
      return `keyless: ${policy.rule}`
    case 'route':
    case 'local':
    case 'refuse':
      return policy.kind
  }
}

function remark(command: Command): string {
  const { policy } = command
  const held = policy.kind === 'route' || (policy.kind === 'pinned' && policy.to === 'keys')
  const several = held && /\D/.test(keysText(command))
  return [several ? 'all keys on one shard' : '', policy.remark].filter((text) => text !== '').join('; ')
}
