import {
  type Container,
  documentedMetrics,
  isRequired,
  metricPrefixOf,
  type NamedParam,
} from '../container.ts'
import { flagOf } from '../naming.ts'
import { adminRoutes } from './admin-routes.ts'
import { compose } from './compose.ts'
import { code, table } from './markdown.ts'
import { olderNamesOf } from './older-names.ts'
import { pod } from './pod.ts'
import { imageOf, portsOf, settingsOf } from './settings.ts'

/** The whole README of a container's package; `notes` is its hand-written NOTES.md. */
export function readme(container: Container, notes: string): string {
  const advanced = container.params.filter(({ facts }) => facts.advanced)
  const sections = [
    `# ${container.name}\n\n${container.summary}`,
    `*An Outrider ${container.pattern}. This page is generated from its definition; the notes at the end are written by hand.*`,
    quickStart(container),
    `## Parameters\n\n${parameters(container.params.filter(({ facts }) => !facts.advanced))}`,
    'Set a parameter by its environment variable, by its flag, or by a file that `<VARIABLE>_FILE` names. A flag wins over ' +
      'the environment; an empty value counts as unset; a secret has no flag. All mistakes are listed at once, with exit code 2.',
    advanced.length > 0 ? `### Advanced parameters\n\n${parameters(advanced)}` : '',
    olderNames(container),
    `## Ports\n\n${ports(container)}`,
    volumes(container),
    adminApi(container),
    commands(container),
    `## Metrics\n\n${metrics(container)}`,
    contract(container),
    notes.trim(),
  ]
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`
}

function quickStart(container: Container): string {
  // A secret without a value comes from the environment of the caller.
  const settings = settingsOf(container).map(({ variable, value, secret }) =>
    secret ? ` -e ${variable}` : ` -e ${variable}=${shellWord(value)}`,
  )
  return [
    '## Quick start',
    'As a process, in this repository after `npm ci`:',
    fence('sh', `npx outrider ${container.name} --help`),
    `There its admin API is for all who reach the machine, unless you set \`--admin 127.0.0.1:${container.adminPort}\`. What starts it as a service should start \`node_modules/.bin/outrider\`, without npx in between.`,
    'As a container that shares the network of the container `my-app`, which publishes the ports:',
    fence(
      'sh',
      `docker run --rm --read-only --cap-drop ALL --network container:my-app${settings.join('')} ${imageOf(container)}`,
    ),
    'In a compose stack, beside the service `app`:',
    fence('yaml', compose(container)),
    'In a pod:',
    fence('yaml', pod(container)),
    `As a module: \`npm run pack\` in the repository makes the packages and prints the \`npm install\` for your project; how to use it stands in the notes below.`,
  ].join('\n\n')
}

const shellWord = (text: string): string =>
  /^[\w./:@,+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

const fence = (language: string, body: string): string => `\`\`\`${language}\n${body.trimEnd()}\n\`\`\``

const parameters = (params: readonly NamedParam[]): string =>
  table(
    ['Variable', 'Flag', 'Kind', 'Default', 'Meaning'],
    params.map(({ variable, flag, kind, facts, help }) => [
      `\`${variable}\``,
      facts.secret
        ? '-'
        : [flag, ...(facts.short === undefined ? [] : [`-${facts.short}`])].map(code).join(', '),
      kind.name,
      isRequired(facts) ? required(facts.unless) : facts.default === undefined ? '-' : code(facts.default),
      [
        help,
        facts.secret ? `Secret: also by \`${variable}_FILE\`.` : '',
        facts.reloads ? 'Watched: a change takes effect while running.' : '',
        facts.repeats ? 'The flag may be given many times.' : '',
        facts.shared ? `\`${facts.shared}\` serves for all containers of a pod.` : '',
      ]
        .filter((part) => part !== '')
        .join(' '),
    ]),
  )

function olderNames(container: Container): string {
  const rows = olderNamesOf(container).map(({ names, now }) => [names.map(code).join(', '), now])
  if (rows.length === 0) return ''
  return [
    '### Older names',
    'They are taken as well, with a warning, and win over the names of today where both are set.',
    table(['Old', 'Now'], rows),
  ].join('\n\n')
}

function ports(container: Container): string {
  const rows = portsOf(container).map(({ name, port }) => [
    name,
    String(port),
    `\`${container.params.find((param) => param.name === (container.ports[name] ?? 'admin'))?.variable ?? ''}\``,
  ])
  return table(['Port', 'By default', 'Set by'], rows)
}

function volumes(container: Container): string {
  const rows = Object.entries(container.volumes).map(([directory, { help }]) => [`\`${directory}\``, help])
  return rows.length > 0 ? `## Volumes\n\n${table(['Directory', 'Use'], rows)}` : ''
}

const adminApi = (container: Container): string =>
  `## Admin API\n\nOn port ${container.adminPort}:\n\n${table(
    ['Route', 'Answer'],
    adminRoutes(container).map(([route, answer]) => [code(route), answer]),
  )}`

function commands(container: Container): string {
  const rows = Object.entries(container.commands).map(([name, { usage, summary }]) => [
    `\`${`${name} ${usage}`.trimEnd()}\``,
    summary,
  ])
  if (rows.length === 0) return ''
  return [
    '## Commands',
    `They start nothing, and take the parameters above: \`npx outrider ${container.name} <command>\`, or \`docker run --rm ${imageOf(container)} <command>\` with the files that they name mounted. \`<command> --help\` says how each is used.`,
    table(['Command', 'Answer'], rows),
  ].join('\n\n')
}

const metrics = (container: Container): string =>
  table(
    ['Name', 'Type', 'Labels', 'Meaning'],
    documentedMetrics(container).map(({ name, type, labels, help }) => [
      `\`${metricPrefixOf(container)}${name}\``,
      type,
      labels.map((label) => `\`${label}\``).join(', '),
      help,
    ]),
  )

function contract(container: Container): string {
  const own = container.contract.map((line) => `- ${line}`).join('\n')
  return `## Contract\n\nWhat every Outrider container promises stands in [the container contract](../../docs/container-contract.md). This one adds:\n\n${own}`
}

const required = (unless: string | undefined): string =>
  unless === undefined ? '**required**' : `**required** unless ${code(flagOf(unless))}`
