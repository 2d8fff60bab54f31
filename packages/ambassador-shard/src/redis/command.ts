import { type Policy, policyOf } from './command-policy.ts'
import { COMMAND_ROWS, type CommandRow, type KeySpec, READONLY } from './command-table.ts'

/**
 * The arguments of one command, the name being argument 0: offsets of the first byte and of that behind the last,
 * from the first byte of the command. `CommandReader` of `@outrider/resp` is one.
 */
export interface Arguments {
  readonly argc: number
  argStart(index: number): number
  argEnd(index: number): number
}

/** One command of Redis, or one subcommand, or a container of subcommands. */
export interface Command {
  /** In small letters, as Redis writes it in errors: `get`, `config|get`. */
  readonly name: string
  /** As users write it: `GET`, `CONFIG GET`. */
  readonly title: string
  /** The Redis that had it first. */
  readonly since: string
  /** Exact number of arguments with the name, or, negated, the lowest. */
  readonly arity: number
  /** Bits of WRITE, READONLY, BLOCKING, PUBSUB, ADMIN, NO_AUTH. */
  readonly flags: number
  readonly keys: KeySpec
  /** Position of the key of a command that has exactly one, always there; 0 otherwise. */
  readonly singleKey: number
  /** Whether it goes to the shard of its one key as it comes, and nothing else is to be looked at. */
  readonly passes: boolean
  /** Whether replicas may answer it. */
  readonly spreads: boolean
  readonly policy: Policy
  readonly subcommands: CommandIndex | undefined
}

const FIRST_SLOTS = 8

/** Commands by the bytes of their names, without regard to case. */
export class CommandIndex {
  readonly #names: (Buffer | undefined)[]
  readonly #commands: (Command | undefined)[]
  readonly #mask: number
  #longest = 0

  constructor(commands: ReadonlyMap<string, Command>) {
    let slots = FIRST_SLOTS
    while (slots < commands.size * 4) slots *= 2
    this.#mask = slots - 1
    this.#names = new Array<Buffer | undefined>(slots).fill(undefined)
    this.#commands = new Array<Command | undefined>(slots).fill(undefined)
    for (const [name, command] of commands) this.#add(Buffer.from(name), command)
  }

  #add(name: Buffer, command: Command): void {
    let slot = hashOf(name, 0, name.length) & this.#mask
    while (this.#names[slot] !== undefined) slot = (slot + 1) & this.#mask
    this.#names[slot] = name
    this.#commands[slot] = command
    this.#longest = Math.max(this.#longest, name.length)
  }

  find(bytes: Uint8Array, from: number, to: number): Command | undefined {
    if (to - from > this.#longest) return undefined
    let slot = hashOf(bytes, from, to) & this.#mask
    for (;;) {
      const name = this.#names[slot]
      if (name === undefined) return undefined
      if (isWord(bytes, from, to, name)) return this.#commands[slot]
      slot = (slot + 1) & this.#mask
    }
  }
}

function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = to - from
  for (let at = from; at < to; at += 1) hash = Math.imul(hash ^ ((bytes[at] ?? 0) | 0x20), 0x01000193)
  return hash ^ (hash >>> 15)
}

/** Whether a range of bytes is a word, given in small letters, without regard to case. */
export function isWord(bytes: Uint8Array, from: number, to: number, word: Uint8Array): boolean {
  const length = word.length
  if (to - from !== length) return false
  for (let at = 0; at < length; at += 1) {
    const expected = word[at] ?? 0
    const byte = bytes[from + at] ?? 0
    // Only of a letter the bit 0x20 is case: `@` is not a small backquote.
    if (byte !== expected && ((byte | 0x20) !== expected || expected < 0x61 || expected > 0x7a)) return false
  }
  return true
}

// A cursor is worth nothing at another server, and what touches a key is meant for the eviction of the primary.
const AT_THE_PRIMARY: ReadonlySet<string> = new Set([
  ...['scan', 'hscan', 'sscan', 'zscan', 'keys', 'dbsize', 'randomkey', 'touch', 'xread'],
])

/** Every command and container of the table, each with its subcommands behind it. */
export const COMMANDS: readonly Command[] = COMMAND_ROWS.filter(([name]) => !name.includes('|')).flatMap(
  build,
)

const INDEX = new CommandIndex(new Map(COMMANDS.filter(isTop).map((command) => [command.name, command])))

/** The command of that name, which may be a container: without subcommand, without regard to case. */
export function lookup(bytes: Uint8Array, from: number, to: number): Command | undefined {
  return INDEX.find(bytes, from, to)
}

/**
 * The command that was sent, or its subcommand, as Redis resolves it: a container is meant only where nothing follows
 * it. `start` is the first byte of the command in `bytes`.
 */
export function commandOf(args: Arguments, bytes: Uint8Array, start: number): Command | undefined {
  const command = INDEX.find(bytes, start + args.argStart(0), start + args.argEnd(0))
  if (command?.subcommands === undefined || args.argc === 1) return command
  return command.subcommands.find(bytes, start + args.argStart(1), start + args.argEnd(1))
}

export function hasArity({ arity }: Command, argc: number): boolean {
  return arity < 0 ? argc >= -arity : argc === arity
}

/** The error of Redis for a wrong number of arguments. */
export function arityFault({ name }: Command): string {
  // A refused EXEC ends its transaction, and says so.
  const code = name === 'exec' ? 'EXECABORT Transaction discarded because of:' : 'ERR'
  return `${code} wrong number of arguments for '${name}' command`
}

/**
 * Error for a command that `commandOf` does not know, word for word that of Redis, by which ioredis knows a server
 * without HELLO. Encode it as latin1.
 */
export function unknownFault(args: Arguments, bytes: Buffer, start: number): string {
  const text = (index: number, most: number): string => {
    const from = start + args.argStart(index)
    const argument = bytes.toString('latin1', from, Math.min(start + args.argEnd(index), from + most))
    // Redis prints it as a C string, and an error is one line.
    return (argument.split('\0', 1)[0] ?? '').replace(/[\r\n]/g, ' ')
  }
  if (lookup(bytes, start + args.argStart(0), start + args.argEnd(0))?.subcommands !== undefined) {
    return `ERR unknown subcommand '${text(1, SHOWN)}'. Try ${text(0, SHOWN).toUpperCase()} HELP.`
  }
  let shown = ''
  for (let index = 1; index < args.argc && shown.length < SHOWN; index += 1)
    shown += `'${text(index, SHOWN - shown.length)}' `
  return `ERR unknown command '${text(0, SHOWN)}', with args beginning with: ${shown}`
}

const SHOWN = 128

const POST = Buffer.from('post')
const HOST = Buffer.from('host:')

/**
 * Whether a first word is that of an HTTP request. A web page can make a browser POST to a port of its own machine;
 * as Redis does, drop such a connection before a line of its body is taken for a command.
 */
export function isForeign(bytes: Uint8Array, from: number, to: number): boolean {
  return isWord(bytes, from, to, POST) || isWord(bytes, from, to, HOST)
}

function isTop({ name }: Command): boolean {
  return !name.includes('|')
}

function build(row: CommandRow): Command[] {
  const prefix = `${row[0]}|`
  const children = COMMAND_ROWS.filter(([name]) => name.startsWith(prefix)).map((child) => make(child))
  if (children.length === 0) return [make(row)]
  const named = new Map(children.map((child) => [child.name.slice(prefix.length), child]))
  return [make(row, new CommandIndex(named)), ...children]
}

function make([name, since, arity, flags, keys]: CommandRow, subcommands?: CommandIndex): Command {
  const single = keys.rule === 'range' && keys.first === keys.last
  const policy = policyOf(name, keys.rule !== 'none')
  return {
    ...{ name, title: name.toUpperCase().replace('|', ' '), since, arity, flags, keys },
    ...{ singleKey: single ? keys.first : 0, passes: single && policy.kind === 'route' },
    ...{ spreads: (flags & READONLY) !== 0 && !AT_THE_PRIMARY.has(name), policy, subcommands },
  }
}
