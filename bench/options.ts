import { parseArgs } from 'node:util'

/** What the command line of `npm run bench` asks for. */
export interface BenchOptions {
  /** Measurements of each proxy under each load; for `churn`, how often the connections are opened, at least twice. */
  readonly rounds: number
  /** How long a measurement takes, whole seconds; for `git-sync` also how many pushes and how large a repository. */
  readonly seconds: number
  readonly warmUpSeconds: number
  /** How long `churn` goes on with clients that come and go. */
  readonly minutes: number
  /** How many idle connections `churn` holds. */
  readonly connections: number
  /** Names of workloads; undefined for all. */
  readonly only: readonly string[] | undefined
  /** Names of proxies; undefined for all. */
  readonly subjects: readonly string[] | undefined
  /** Whether to say what our own programs spend their time on. */
  readonly profile: boolean
  /** Whether nothing was asked for but the usual, which is what docs/benchmarks.md shows. */
  readonly complete: boolean
}

/**
 * Parses `<name> ... [--seconds 4] [--rounds 2] [--quick] [--only a,b] [--subjects a,b] [--profile]`, for `https` and
 * `shard`, `[--minutes 3] [--connections 10000] [--rounds 2]`, for `churn`, and `[--seconds 4] [--rounds 2] [--only a,b]`,
 * for `git-sync`.
 * @throws Error that names what is wrong
 */
export function parseOptions(args: readonly string[]): { names: string[]; options: BenchOptions } {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      minutes: { type: 'string' },
      connections: { type: 'string' },
      only: { type: 'string' },
      subjects: { type: 'string' },
      quick: { type: 'boolean' },
      profile: { type: 'boolean' },
    },
  })
  const { quick = false, profile = false } = values
  const only = values.only?.split(',')
  const subjects = values.subjects?.split(',')
  const options = {
    rounds: count('rounds', values.rounds ?? (quick ? '1' : '2')),
    seconds: count('seconds', values.seconds ?? (quick ? '2' : '4')),
    warmUpSeconds: quick ? 1 : 2,
    minutes: count('minutes', values.minutes ?? '3'),
    connections: count('connections', values.connections ?? '10000'),
    only,
    subjects,
    profile,
    complete: Object.keys(values).length === 0,
  }
  return { names: positionals, options }
}

/**
 * Those that were asked for by name; all, when nothing was.
 * @throws Error that names the unknown ones
 */
export function select<T extends { readonly name: string }>(
  option: string,
  all: readonly T[],
  asked: readonly string[] | undefined,
): readonly T[] {
  const names = all.map(({ name }) => name)
  const unknown = asked?.filter((name) => !names.includes(name)) ?? []
  if (unknown.length > 0) throw new Error(`${option} ${unknown.join(',')}: there are ${names.join(', ')}`)
  return asked === undefined ? all : all.filter(({ name }) => asked.includes(name))
}

function count(name: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new Error(`--${name} is ${text}: give a whole number from 1`)
}
