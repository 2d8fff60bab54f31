import type { Container } from '../container.ts'
import { oneLine } from '../log.ts'
import { drainOf, type GivenParam, imageOf, portsOf, settingsOf, yamlText } from './settings.ts'

/** A compose service that shares the network of the service `app`, as the containers of a pod do. */
export function compose(container: Container, given: readonly GivenParam[] = []): string {
  const settings = settingsOf(container, given)
  const drain = drainOf(container, given)
  const lines = [
    '# Use beside your own file: docker compose -f compose.yaml -f this-file.yaml up. The service app, whose network it',
    '# shares, publishes the ports of both:',
    '#   app:',
    '#     ports:',
    ...portsOf(container, given).map(({ port }) => `#       - "${port}:${port}"`),
    'services:',
    `  ${container.name}:`,
    `    image: ${imageOf(container)}`,
    '    network_mode: service:app',
    '    read_only: true',
    '    cap_drop: [ALL]',
    '    security_opt: ["no-new-privileges:true"]',
    '    restart: unless-stopped',
    `    # Longer than the drain of ${drain.shown}, so that it is never cut short.`,
    `    stop_grace_period: ${drain.seconds + 5}s`,
  ]
  if (settings.length > 0) {
    lines.push('    environment:')
    for (const { variable, value, secret } of settings) {
      // Compose would expand a dollar sign.
      const plain = yamlText(value.replaceAll('$', '$$$$'))
      lines.push(
        secret
          ? `      ${variable}_FILE: /run/secrets/${variable.toLowerCase()}`
          : `      ${variable}: ${plain}`,
      )
    }
  }
  const secrets = settings.filter(({ secret }) => secret).map(({ variable }) => variable.toLowerCase())
  if (secrets.length > 0) lines.push(`    secrets: [${secrets.join(', ')}]`)
  const volumes = Object.entries(container.volumes)
  if (volumes.length > 0) {
    lines.push('    volumes:')
    for (const [directory, help] of volumes)
      lines.push(`      # ${oneLine(help)}`, `      - .${directory}:${directory}:ro`)
  }
  if (secrets.length > 0)
    lines.push('secrets:', ...secrets.flatMap((name) => [`  ${name}:`, `    file: ./${name}`]))
  return `${lines.join('\n')}\n`
}
