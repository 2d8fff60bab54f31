import type { Container } from '../container.ts'
import { documentedMetrics, metricPrefixOf } from '../container.ts'

/** The definition as JSON, carried by the image as the label `io.outrider.definition`, so that `docker inspect` documents it. */
export function definitionOf(container: Container): string {
  const { name, pattern, summary, contract, ports, volumes } = container
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
  // Written as escapes, so that the text needs no quoting in a Dockerfile: it expands `$` and has no escape for `'`.
  return JSON.stringify({ name, pattern, summary, contract, params, ports, volumes, metrics: described })
    .replaceAll("'", '\\u0027')
    .replaceAll('$', '\\u0024')
}
