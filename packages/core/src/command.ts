import { arityOf } from './arity.ts'
import { assertKnown } from './checks.ts'
import {
  type Container,
  type Given,
  isRequired,
  type NamedParam,
  type NameOf,
  type Params,
  type Values,
} from './container.ts'
import { tokensOf } from './flags.ts'
import { requirement } from './resolve.ts'

/** Something to ask that starts nothing: `outrider <container> <command> [argument ...]`. */
export interface Command<P extends Params> {
  /** Its arguments: `<key>...`, `<old> <new>`, `[file]`; empty where it takes none. */
  readonly usage: string
  /** One sentence with a verb. */
  readonly summary: string
  run(input: CommandInput<P>): CommandAnswer | Promise<CommandAnswer>
}

/** What a command works on. A `StartError` ends it with exit code 1, in one line. */
export interface CommandInput<P extends Params> {
  /** As many as `usage` says. */
  readonly args: readonly string[]
  /** What is required and not set is refused only when it is read, as at a start. */
  readonly params: Values<P>
  readonly given: Given<P>
  readonly nameOf: NameOf<P>
  /** Throws a `StartError` that says which file cannot be read, and why. */
  readonly readFile: (path: string) => string
}

export interface CommandAnswer {
  /** For stdout. */
  readonly text: string
  /** The exit code, 0 by default. */
  readonly code?: number
}

export type Commands<P extends Params> = Readonly<Record<string, Command<P>>>

/** The command that a command line begins with. */
export const commandIn = (container: Container, argv: readonly string[]): string | undefined =>
  argv.slice(0, 1).find((word) => Object.hasOwn(container.commands, word))

/** What follows the name of a command: flags of the container, and its own arguments. */
export interface Words {
  readonly flags: readonly string[]
  readonly args: readonly string[]
}

/** Words that belong to no flag are arguments, and so is everything after `--`. */
export function wordsOf(container: Container, argv: readonly string[]): Words {
  const { tokens } = tokensOf(container, argv)
  const args = tokens.filter((token) => token.kind === 'positional')
  const own = new Set(args.map(({ index }) => index))
  const end = tokens.find((token) => token.kind === 'option-terminator')?.index
  return {
    flags: argv.filter((_, index) => !own.has(index) && index !== end),
    args: args.map(({ value }) => value),
  }
}

export function takes(usage: string, count: number): boolean {
  const { least, most } = arityOf(usage) ?? { least: 0, most: 0 }
  return count >= least && count <= most
}

/** The same container with nothing required; a check that reads what is missing is given up. */
export function withoutRequirements(container: Container): Container {
  const required = new Set(container.params.filter(({ facts }) => isRequired(facts)).map(({ name }) => name))
  const params = container.params.map(
    (param): NamedParam =>
      required.has(param.name) ? { ...param, facts: { ...param.facts, optional: true } } : param,
  )
  const check: Container['check'] = (values, given) =>
    container.check(
      onRead(values, (name, value) => {
        if (value === undefined) assertKnown(name, required)
      }),
      given,
    )
  return { ...container, params, check }
}

/** A parameter that a command reads, is required and not set. */
export class MissingParam extends Error {
  override readonly name = 'MissingParam'
}

/** Values that complain, as a start would, where one is read that is required and not set. */
export function demanding<V extends object>(container: Container, values: V): V {
  return onRead(values, (name, value) => {
    const param = container.params.find((candidate) => candidate.name === name)
    if (value !== undefined || param === undefined || !isRequired(param.facts)) return
    const { unless = '' } = param.facts
    if (Reflect.get(values, unless) === undefined) throw new MissingParam(requirement(param))
  })
}

function onRead<V extends object>(values: V, see: (name: string, value: unknown) => void): V {
  return new Proxy(values, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof name === 'string') see(name, value)
      return value
    },
  })
}
