import { type Container, isRequired, type NamedParam } from '../container.ts'
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
  const older = container.params.flatMap((param) =>
    olderVariables(param).map((name) => {
      const description = `Older name of ${param.variable}.`
      const secret = param.facts.secret ? { writeOnly: true } : {}
      return [name, { type: 'string', description, deprecated: true, ...secret }]
    }),
  )
  // A secret may come by <VARIABLE>_FILE instead.
  const required = container.params.filter(
    ({ facts }) => isRequired(facts) && !facts.secret && facts.unless === undefined,
  )
  const choices = required
    .filter((param) => olderVariables(param).length > 0)
    .map((param) => ({
      anyOf: [param.variable, ...olderVariables(param)].map((name) => ({ required: [name] })),
    }))
  const document = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: container.name,
    description: container.summary,
    type: 'object',
    properties: Object.fromEntries([...properties, ...older]),
    required: required.filter((param) => olderVariables(param).length === 0).map(({ variable }) => variable),
    ...(choices.length > 0 ? { allOf: choices } : {}),
  }
  return `${JSON.stringify(document, null, 2)}\n`
}

const olderVariables = ({ facts }: NamedParam): readonly string[] =>
  (facts.formerly ?? []).flatMap(({ variable }) => variable ?? [])
