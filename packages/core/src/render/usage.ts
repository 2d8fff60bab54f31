import { type Container, isRequired, type NamedParam } from '../container.ts'
import { oneLine } from '../log.ts'
import { unlessText } from './settings.ts'

const width = 100

/** The text of `--help`: everything that is needed to run the container. */
export function usage(container: Container): string {
  const common = container.params.filter(({ facts }) => !facts.advanced)
  const advanced = container.params.filter(({ facts }) => facts.advanced)
  const ports = Object.entries(container.ports).map(([port, param]) => `  ${port}: set by ${param}`)
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
    ...(ports.length > 0 ? ['Ports:', ...ports, ''] : []),
    ...section(
      'Volumes',
      Object.entries(container.volumes).map(([directory, { help }]) => [directory, help]),
    ),
    ...section(
      'Commands, which start nothing',
      commands.map(([name, command]) => [`${name} ${command.usage}`.trimEnd(), command.summary]),
    ),
    'Other flags, which start nothing:',
    '  --print pod|compose|env|schema   a snippet with the parameters given here',
    '  --probe live|ready               ask a running container; exit code 0 or 1',
    '  --version, --help',
    '',
    `Admin API: GET / /healthz /readyz /metrics /params${pages.join('')}, POST /drain (loopback only).`,
    'Signals: SIGTERM and SIGINT drain, a second one ends at once; SIGHUP looks at watched files now.',
    'Exit codes: 0 drained, 1 failed or cut off at the deadline, 2 wrong parameters.',
    '',
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
  const names = param.facts.secret
    ? `${param.variable} or ${param.variable}_FILE`
    : `${flagWithValue(param)}, ${param.variable}`
  return [`  ${names}`, ...wrap(oneLine(`${param.help} ${standing(param)}`))].join('\n')
}

/** A switch takes no word after it. */
const flagWithValue = ({ flag, kind }: NamedParam): string =>
  kind.schema.type === 'boolean' ? `--[no-]${flag.slice(2)}` : `${flag} <${kind.name}>`

/** What holds when the parameter is not set. */
export function standing({ facts }: NamedParam): string {
  const reloads = facts.reloads ? ' Watched: a change takes effect while running.' : ''
  const shared = facts.shared ? ` ${facts.shared} serves for all containers of a pod.` : ''
  if (isRequired(facts)) return `Required${unlessText(facts)}.${reloads}${shared}`
  return `${facts.default === undefined ? 'Optional.' : `Default: ${facts.default}.`}${reloads}${shared}`
}

function section(title: string, entries: readonly (readonly [string, string])[]): string[] {
  const lines = entries.flatMap(([name, help]) => [`  ${name}`, ...wrap(help)])
  return lines.length > 0 ? [`${title}:`, ...lines, ''] : []
}

function wrap(text: string): string[] {
  const lines: string[] = []
  let line = '     '
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > width) {
      lines.push(line)
      line = '     '
    }
    line += ` ${word}`
  }
  return [...lines, line]
}
