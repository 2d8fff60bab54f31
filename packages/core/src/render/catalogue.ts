import type { Container } from '../container.ts'
import { table } from './markdown.ts'
import { portsOf } from './settings.ts'

/** The table of all containers in the root README. */
export const catalogue = (containers: readonly Container[]): string =>
  table(
    ['Container', 'Pattern', 'What it does', 'Ports'],
    containers.map((container) => [
      `[${container.name}](packages/${container.name}/README.md)`,
      container.pattern,
      container.summary,
      portsOf(container)
        .map(({ name, port }) => `${name} ${port}`)
        .join(', '),
    ]),
  )
