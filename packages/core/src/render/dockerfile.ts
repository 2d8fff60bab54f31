import { type Container, isRequired } from '../container.ts'
import { oneLine } from '../log.ts'
import { definitionOf } from './definition.ts'
import { entryPoint, listedParams, portsOf, servingEntryPoint, unlessText } from './settings.ts'

/** The Dockerfile of a container's image; its build context holds one folder with the bundle for each container. */
export function dockerfile(container: Container, version: string): string {
  const labels = {
    'org.opencontainers.image.title': `outrider/${container.name}`,
    'org.opencontainers.image.description': container.summary,
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.licenses': 'Apache-2.0',
    'io.outrider.definition': definitionOf(container),
  }
  const lines = [
    `# Generated from packages/${container.name}/src/container.ts by "npm run generate"; do not edit.`,
    `ARG BASE_IMAGE=outrider/${container.base}:latest`,
    'FROM $BASE_IMAGE',
    `COPY ${container.name}/ /app/`,
    '',
    ...portsOf(container).flatMap(({ name, port }) => [`# ${name}`, `EXPOSE ${port}`]),
    '',
    ...Object.entries(container.volumes).flatMap(([directory, { help }]) => [
      `# ${oneLine(help)}`,
      `VOLUME ["${directory}"]`,
    ]),
    '',
    '# What can be set, with what holds when it is not:',
    ...listedParams(container).flatMap(({ variable, help, facts }) => [
      `# ${oneLine(help)}`,
      `#ENV ${variable}${facts.secret ? '_FILE' : ''}=${oneLine(facts.default ?? '')}${isRequired(facts) ? ` (required${unlessText(facts)})` : ''}`,
    ]),
    '',
    ...Object.entries(labels).map(([name, value]) => `LABEL ${name}=${quoted(value)}`),
    '',
    'USER 65532:65532',
    'STOPSIGNAL SIGTERM',
    'HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \\',
    `  CMD ${JSON.stringify([...entryPoint, '--probe', 'ready'])}`,
    `ENTRYPOINT ${JSON.stringify(servingEntryPoint(container))}`,
  ]
  return `${lines.join('\n').replaceAll(/\n\n+/g, '\n\n')}\n`
}

/** A Dockerfile expands variables inside double quotes but not inside single ones, and knows no escape in those. */
const quoted = (value: string): string =>
  value.includes("'") ? `"${value.replace(/["\\$]/g, '\\$&')}"` : `'${value}'`
