import type { Container } from '../container.ts'
import { documentedMetrics, metricPrefixOf } from '../container.ts'

/** The definition as JSON, carried by the image as the label `io.outrider.definition`, so that `docker inspect` documents it. */
export function definitionOf(container: Container): string {
  const { name, pattern, summary, contract, ports, pages, retired } = container
  const params = container.params.map(({ name: param, kind, help, facts, variable, flag }) => ({
    name: param,
    kind: kind.name,
    help,
    variable,
    ...(facts.secret ? {} : { flag }),
    ...facts,
  }))
  const described = documentedMetrics(container).map(({ type, name: metric, help, labels }) => ({
    name: metricPrefixOf(container) + metric,
    type,
    help,
    labels,
  }))
  const volumes = Object.entries(container.volumes).map(([directory, { help }]) => [directory, help])
  const commands = Object.entries(container.commands).map(([command, { usage, summary: does }]) => [
    command,
    { usage, summary: does },
  ])
  const parts = {
    ports,
    volumes: Object.fromEntries(volumes),
    metrics: described,
    pages,
    commands: Object.fromEntries(commands),
    ...(retired.length > 0 && {
      retired: retired.map((each) => ({ ...each, refused: each.refused !== false })),
    }),
  }
  // Written as escapes, so that the text needs no quoting in a Dockerfile: it expands `$` and has no escape for `'`.
  return JSON.stringify({ name, pattern, summary, contract, params, ...parts })
    .replaceAll("'", '\\u0027')
    .replaceAll('$', '\\u0024')
}
