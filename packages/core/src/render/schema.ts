import type { Container } from '../container.ts'
import { isRequired } from '../container.ts'
import { switchWords } from '../kinds.ts'

/** JSON Schema (draft 2020-12) of the environment of a container, keyed by variable. */
export function schema(container: Container): string {
  const properties = container.params.map((param) => {
    const { kind, facts, help, variable } = param
    const description = facts.advanced ? `${help} (advanced)` : help
    return [
      variable,
      {
        ...kind.schema,
        // An environment holds text; the kind's own pattern says which text.
        type: 'string',
        description,
        ...(facts.default === undefined ? {} : { default: facts.default }),
        ...(facts.example === undefined ? {} : { examples: [facts.example] }),
        ...(facts.secret ? { writeOnly: true } : {}),
        ...(kind.schema.type === 'boolean' ? { enum: switchWords } : {}),
      },
    ]
  })
  const document = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: container.name,
    description: container.summary,
    type: 'object',
    properties: Object.fromEntries(properties),
    // A secret may come by <VARIABLE>_FILE instead.
    required: container.params
      .filter(({ facts }) => isRequired(facts) && !facts.secret && facts.unless === undefined)
      .map(({ variable }) => variable),
  }
  return `${JSON.stringify(document, null, 2)}\n`
}
