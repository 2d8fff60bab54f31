import type { Container } from '../container.ts'
import {
  drainOf,
  type GivenParam,
  imageOf,
  type Mount,
  mountsOf,
  type Port,
  portsOf,
  settingsOf,
  unmountedOf,
  unsetSecretsOf,
  valuesOf,
  yamlText,
} from './settings.ts'

/**
 * A compose service that shares the network of the service `app`, as the containers of a pod do. Before one that ends by
 * itself the application does not start.
 */
export function compose(container: Container, given: readonly GivenParam[] = []): string {
  const settings = settingsOf(container, given)
  const drain = drainOf(container, given)
  const unmounted = unmountedOf(container, given)
  // What listens on loopback cannot be published.
  const ports = portsOf(container, given).filter(({ isLoopback }) => !isLoopback)
  const mounts = mountsOf(container, given)
  const shared = mounts.filter(({ from }) => from === 'shared')
  const { endsByItself = false } = container.needs(valuesOf(container, given))
  const after = endsByItself
    ? ['    depends_on:', `      ${container.name}: { condition: service_completed_successfully }`]
    : []
  const lines = [
    ...(endsByItself ? headOfInit : headOfSidecar(ports)),
    'services:',
    ...(shared.length > 0 || endsByItself ? ['  app:', ...after] : []),
    ...(shared.length > 0 ? ['    volumes:'] : []),
    ...shared.map((mount) => `      - ${mounted(mount, true)}`),
    `  ${container.name}:`,
    `    image: ${imageOf(container)}`,
    ...(endsByItself ? [] : ['    network_mode: service:app']),
    '    read_only: true',
    '    cap_drop: [ALL]',
    '    security_opt: ["no-new-privileges:true"]',
    `    restart: ${endsByItself ? 'on-failure' : 'unless-stopped'}`,
    `    # Longer than the drain of ${drain.shown}, so that it is never cut short.`,
    `    stop_grace_period: ${drain.seconds + 5}s`,
  ]
  const unset = unsetSecretsOf(container, given)
  if (settings.length > 0 || unset.length > 0) {
    lines.push(settings.length > 0 ? '    environment:' : '    # environment:')
    for (const { variable, value, secret } of settings) {
      if (unmounted.has(variable)) lines.push('      # Nothing here mounts this path.')
      // Compose would expand a dollar sign.
      const plain = yamlText(value.replaceAll('$', '$$$$'))
      lines.push(
        secret
          ? `      ${variable}_FILE: /run/secrets/${variable.toLowerCase()}`
          : `      ${variable}: ${plain}`,
      )
    }
    if (unset.length > 0) lines.push('      # A secret, where it is needed, in a file that is mounted:')
    for (const variable of unset)
      lines.push(`      # ${variable}_FILE: /run/secrets/${variable.toLowerCase()}`)
  }
  const secrets = settings.filter(({ secret }) => secret).map(({ variable }) => variable.toLowerCase())
  if (secrets.length > 0) lines.push(`    secrets: [${secrets.join(', ')}]`)
  if (mounts.length > 0) lines.push('    volumes:')
  for (const mount of mounts)
    lines.push(`      # ${mount.help}`, `      - ${mounted(mount, mount.from !== 'shared')}`)
  if (shared.length > 0) lines.push('volumes:', ...shared.map(({ name }) => `  ${name}:`))
  if (secrets.length > 0)
    lines.push('secrets:', ...secrets.flatMap((name) => [`  ${name}:`, `    file: ./${name}`]))
  return `${lines.join('\n')}\n`
}

const use = '# Use beside your own file: docker compose -f compose.yaml -f this-file.yaml up.'

const headOfInit = [`${use} The service app`, '# starts when this one has ended well.']

const headOfSidecar = (ports: readonly Port[]): readonly string[] => [
  `${use} It shares the network of the service`,
  `# app${ports.length > 0 ? ', which publishes the ports of both:' : '.'}`,
  ...(ports.length > 0 ? ['#   app:', '#     ports:'] : []),
  ...ports.map(({ port }) => `#       - "${port}:${port}"`),
]

/** What is not shared is beside the compose file, in a directory of the same name. */
const mounted = ({ name, directory, from }: Mount, readOnly: boolean): string =>
  yamlText(
    `${from === 'shared' ? name : `.${directory}`}:${directory}${readOnly ? ':ro' : ''}`.replaceAll(
      '$',
      '$$$$',
    ),
  )
