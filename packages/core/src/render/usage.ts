import {
  type Container,
  documentedMetrics,
  isRequired,
  metricPrefixOf,
  type NamedParam,
  namesOf,
} from '../container.ts'
import { listenersOf } from '../listeners.ts'
import { oneLine } from '../log.ts'
import { adminRoutes } from './admin-routes.ts'
import { olderNamesOf } from './older-names.ts'
import { unlessText } from './settings.ts'

const width = 100

/** The text of `--help`: everything that is needed to run the container. */
export function usage(container: Container): string {
  const common = container.params.filter(({ facts }) => !facts.advanced)
  const advanced = container.params.filter(({ facts }) => facts.advanced)
  const ports = [...listenersOf(container)].map(([port, param]) => `  ${port}: set by ${namesOf(param)}`)
  const commands = Object.entries(container.commands)
  const pages = Object.keys(container.pages).map((path) => ` ${path}`)
  return [
    `${container.name}: ${container.summary}`,
    '',
    `Usage: ${container.name} [--flag value ...]`,
    ...(commands.length > 0 ? [`       ${container.name} <command> [argument ...] [--flag value ...]`] : []),
    'A parameter is set by its flag, its environment variable, or a file that <VARIABLE>_FILE names.',
    '',
    'Parameters:',
    ...common.map(describe),
    '',
    'Advanced parameters:',
    ...advanced.map(describe),
    '',
    'Ports:',
    ...ports,
    '',
    ...section(
      'Volumes',
      Object.entries(container.volumes).map(([directory, { help }]) => [directory, help]),
    ),
    ...section(
      'Commands, which start nothing',
      commands.map(([name, command]) => [`${name} ${command.usage}`.trimEnd(), command.summary]),
    ),
    ...(olderNamesOf(container).length > 0
      ? ['Older names are taken as well, with a warning: see --man.', '']
      : []),
    'Other flags, which start nothing:',
    '  --print pod|compose|env|schema   a snippet with the parameters given here',
    '  --probe live|ready               ask a running container; exit code 0 or 1',
    '  --man                            the whole manual',
    '  --version, --help',
    '',
    `Admin API: GET / /healthz /readyz /metrics /params${pages.join('')}, POST /drain (loopback only).`,
    'Signals: SIGTERM and SIGINT drain, a second one ends at once; SIGHUP looks at watched files now.',
    'Exit codes: 0 drained or done, 1 failed or cut off at the deadline, 2 wrong parameters.',
    '',
  ].join('\n')
}

/** The text of `--man`: that of `--help`, and all else that is known of the container. */
export function manual(container: Container): string {
  const promises = container.contract.flatMap((line) => wrap(line, '  - ', '    '))
  return [
    usage(container),
    ...section(
      'Older names, each with a warning, and what to set instead',
      olderNamesOf(container).map(({ names, now }) => [names.join(', '), now]),
    ),
    ...section('Admin API', adminRoutes(container)),
    ...section(
      'Metrics',
      documentedMetrics(container).map(({ name, type, labels, help }) => [
        `${metricPrefixOf(container)}${name}${labels.length > 0 ? `{${labels.join(', ')}}` : ''} (${type})`,
        help,
      ]),
    ),
    ...(promises.length > 0 ? ['Contract, beyond that of every Outrider container:', ...promises, ''] : []),
  ].join('\n')
}

/** The text of `<command> --help`. */
export function commandUsage(container: Container, name: string): string {
  const { usage: args = '', summary = '' } = container.commands[name] ?? {}
  return [
    `${container.name} ${name}: ${summary}`,
    '',
    `Usage: ${[container.name, name, ...(args === '' ? [] : [args])].join(' ')} [--flag value ...]`,
    `It starts nothing. The flags and variables are those of the container: see ${container.name} --help.`,
    ...(args === '' ? [] : ['An argument that begins with a dash stands after --.']),
    '',
  ].join('\n')
}

function describe(param: NamedParam): string {
  const { secret, short } = param.facts
  const names = secret
    ? `${param.variable} or ${param.variable}_FILE`
    : `${short === undefined ? '' : `-${short}, `}${flagWithValue(param)}, ${param.variable}`
  return [`  ${names}`, ...wrap(oneLine(`${param.help} ${standing(param)}`))].join('\n')
}

/** A switch takes no word after it. */
const flagWithValue = ({ flag, kind }: NamedParam): string =>
  kind.schema.type === 'boolean' ? `--[no-]${flag.slice(2)}` : `${flag} <${kind.name}>`

/** What holds when the parameter is not set. */
export function standing({ facts }: NamedParam): string {
  const reloads = facts.reloads ? ' Watched: a change takes effect while running.' : ''
  const shared = facts.shared ? ` ${facts.shared} serves for all containers of a pod.` : ''
  const repeats = facts.repeats ? ' The flag may be given many times.' : ''
  const more = `${reloads}${shared}${repeats}`
  if (isRequired(facts)) return `Required${unlessText(facts)}.${more}`
  return `${facts.default === undefined ? 'Optional.' : `Default: ${facts.default}.`}${more}`
}

function section(title: string, entries: readonly (readonly [string, string])[]): string[] {
  const lines = entries.flatMap(([name, help]) => [`  ${name}`, ...wrap(help)])
  return lines.length > 0 ? [`${title}:`, ...lines, ''] : []
}

/** Lines of a text that begins with `first`, the others with `indent`. */
function wrap(text: string, first = '      ', indent = first): string[] {
  const lines: string[] = []
  let line = first
  for (const word of text.split(' ')) {
    if (line.length + word.length > width) {
      lines.push(line.trimEnd())
      line = indent
    }
    line += `${word} `
  }
  return [...lines, line.trimEnd()]
}
