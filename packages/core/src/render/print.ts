import type { Container } from '../container.ts'
import { compose } from './compose.ts'
import { env } from './env.ts'
import { pod } from './pod.ts'
import { schema } from './schema.ts'
import type { GivenParam } from './settings.ts'

export const printKinds = ['pod', 'compose', 'env', 'schema'] as const
export type PrintKind = (typeof printKinds)[number]

/** What `--print <kind>` writes, with the parameters that were given beside it. */
export function renderPrint(
  kind: PrintKind,
  container: Container,
  given: readonly GivenParam[] = [],
): string {
  switch (kind) {
    case 'pod':
      return pod(container, given)
    case 'compose':
      return compose(container, given)
    case 'env':
      return env(container, given)
    case 'schema':
      return schema(container)
  }
}
