import { type Arguments, arityFault, type Command, hasArity, isWord } from './command.ts'
import { BLOCKING, WRITE } from './command-table.ts'

const KEPT = 64

/** What `keysOf` finds; one is used again and again. */
export class KeyList {
  /** Positions of the keys among the arguments; the first `count` are valid. */
  positions = new Int32Array(KEPT)
  count = 0
  /** The error where the command could never be valid, as Redis writes it behind the `-`; otherwise ''. */
  fault = ''
  /**
   * Whether it touches more than its keys: `patterns` for SORT, whose BY or GET names keys by a pattern; `database`
   * for COPY into another database.
   */
  reach: 'keys' | 'patterns' | 'database' = 'keys'
  /** Whether it may wait for a key: BLPOP and its like, XREAD and XREADGROUP with BLOCK. */
  blocks = false

  /** Makes room, and gives up what a huge command has needed. */
  reset(command: Command, argc: number): void {
    this.count = 0
    this.fault = ''
    this.reach = 'keys'
    this.blocks = (command.flags & BLOCKING) !== 0
    const length = this.positions.length
    if (argc > length) this.positions = new Int32Array(Math.max(argc, length * 2))
    else if (length > 64 * KEPT && argc <= KEPT) this.positions = new Int32Array(KEPT)
  }
}

const SYNTAX = 'ERR syntax error'
const NOT_INTEGER = 'ERR value is not an integer or out of range'
const TOO_MANY = "ERR Number of keys can't be greater than number of args"
const NUMKEYS_POSITIVE = 'ERR numkeys should be greater than 0'
const SHA_LENGTH = 40

const word = (text: string): Buffer => Buffer.from(text)
const STREAMS = word('streams')
const BLOCK = word('block')
const COUNT = word('count')
const GROUP = word('group')
const NOACK = word('noack')
const ASC = word('asc')
const DESC = word('desc')
const ALPHA = word('alpha')
const LIMIT = word('limit')
const STORE = word('store')
const STOREDIST = word('storedist')
const BY = word('by')
const GET = word('get')
const DB = word('db')
const KEYS = word('keys')
const AUTH = word('auth')
const AUTH2 = word('auth2')
const REPLACE = word('replace')
const COPY = word('copy')

/**
 * Finds all keys of a command by the rules Redis itself reads it by; `COMMAND GETKEYS` only searches for words, and
 * takes a consumer named `streams` for the option. Gives their number, also in `out.count`, or -1 with `out.fault`
 * where Redis would refuse the command whatever the keys hold. `start` is the first byte of the command in `bytes`.
 */
export function keysOf(
  command: Command,
  args: Arguments,
  bytes: Uint8Array,
  start: number,
  out: KeyList,
): number {
  const argc = args.argc
  out.reset(command, argc)
  if (!hasArity(command, argc)) return fail(out, arityFault(command))
  if (command.singleKey !== 0) {
    out.positions[0] = command.singleKey
    out.count = 1
    return 1
  }
  switch (command.keys.rule) {
    case 'none':
      return 0
    case 'pairs':
      if (argc % 2 === 0) return fail(out, arityFault(command))
      return ranged(command, argc, out)
    case 'range':
      return ranged(command, argc, out)
    case 'script':
    case 'sha':
    case 'function':
      return script(command, args, bytes, start, out)
    case 'zset':
    case 'pop':
    case 'card':
      return numbered(command, args, bytes, start, out)
    case 'streams':
      return streams(command, args, bytes, start, out)
    case 'sort':
      return sort(command, args, bytes, start, out)
    case 'georadius':
      return georadius(command, args, bytes, start, out)
    case 'copy':
      return copy(command, args, bytes, start, out)
    case 'migrate':
      return migrate(command, args, bytes, start, out)
  }
}

function fail(out: KeyList, fault: string): number {
  out.count = 0
  out.fault = fault
  return -1
}

function push(out: KeyList, position: number): number {
  out.positions[out.count] = position
  out.count += 1
  return out.count
}

function pushAll(out: KeyList, first: number, end: number, step: number): number {
  for (let at = first; at < end; at += step) push(out, at)
  return out.count
}

function ranged({ keys }: Command, argc: number, out: KeyList): number {
  const end = keys.last < 0 ? argc + keys.last + 1 : keys.last + 1
  return pushAll(out, keys.first, end, keys.step)
}

function script({ keys }: Command, args: Arguments, bytes: Uint8Array, start: number, out: KeyList): number {
  const at = keys.numkeys
  const count = integerAt(args, bytes, start, at)
  if (count >= 0 && count <= args.argc - at - 1) return pushAll(out, at + 1, at + 1 + count, 1)
  if (keys.rule === 'sha' && args.argEnd(1) - args.argStart(1) !== SHA_LENGTH)
    return fail(out, 'NOSCRIPT No matching script. Please use EVAL.')
  if (count > 0) return fail(out, TOO_MANY)
  if (count < 0) return fail(out, "ERR Number of keys can't be negative")
  return fail(out, keys.rule === 'function' ? 'ERR Bad number of keys provided' : NOT_INTEGER)
}

function numbered(command: Command, args: Arguments, bytes: Uint8Array, start: number, out: KeyList): number {
  const { rule, numkeys, first } = command.keys
  const count = integerAt(args, bytes, start, numkeys)
  if (rule === 'zset' && Number.isNaN(count)) return fail(out, NOT_INTEGER)
  if (!(count >= 1)) {
    const needed = `ERR at least 1 input key is needed for '${command.name}' command`
    return fail(out, rule === 'zset' ? needed : NUMKEYS_POSITIVE)
  }
  // Behind the keys of LMPOP and its like stands, at least, the end from which to take.
  const most = args.argc - numkeys - (rule === 'pop' ? 2 : 1)
  if (count > most) return fail(out, rule === 'card' ? TOO_MANY : SYNTAX)
  if (first !== 0) push(out, first)
  return pushAll(out, numkeys + 1, numkeys + 1 + count, 1)
}

function streams(command: Command, args: Arguments, bytes: Uint8Array, start: number, out: KeyList): number {
  const argc = args.argc
  const grouping = (command.flags & WRITE) !== 0
  let grouped = false
  let blocks = false
  for (let at = 1; at < argc; at += 1) {
    const more = argc - at - 1
    if (more >= 1 && is(args, bytes, start, at, BLOCK)) {
      at += 1
      const timeout = integerAt(args, bytes, start, at)
      if (Number.isNaN(timeout)) return fail(out, 'ERR timeout is not an integer or out of range')
      if (timeout < 0) return fail(out, 'ERR timeout is negative')
      blocks = true
    } else if (more >= 1 && is(args, bytes, start, at, COUNT)) {
      at += 1
      if (Number.isNaN(integerAt(args, bytes, start, at))) return fail(out, NOT_INTEGER)
    } else if (more >= 1 && is(args, bytes, start, at, STREAMS)) {
      if (more % 2 !== 0) return fail(out, UNBALANCED)
      if (grouping && !grouped) return fail(out, 'ERR Missing GROUP option for XREADGROUP')
      out.blocks = blocks
      return pushAll(out, at + 1, at + 1 + more / 2, 1)
    } else if (more >= 2 && is(args, bytes, start, at, GROUP)) {
      if (!grouping) return fail(out, onlyGrouping('GROUP'))
      at += 2
      grouped = true
    } else if (is(args, bytes, start, at, NOACK)) {
      if (!grouping) return fail(out, onlyGrouping('NOACK'))
    } else {
      return fail(out, SYNTAX)
    }
  }
  return fail(out, SYNTAX)
}

const UNBALANCED = "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."

function onlyGrouping(option: string): string {
  return `ERR The ${option} option is only supported by XREADGROUP. You called XREAD instead.`
}

function sort(command: Command, args: Arguments, bytes: Uint8Array, start: number, out: KeyList): number {
  const argc = args.argc
  const stores = (command.flags & WRITE) !== 0
  let store = 0
  for (let at = 2; at < argc; at += 1) {
    const more = argc - at - 1
    if (more >= 2 && is(args, bytes, start, at, LIMIT)) {
      const first = integerAt(args, bytes, start, at + 1)
      const count = integerAt(args, bytes, start, at + 2)
      if (Number.isNaN(first) || Number.isNaN(count)) return fail(out, NOT_INTEGER)
      at += 2
    } else if (stores && more >= 1 && is(args, bytes, start, at, STORE)) {
      at += 1
      store = at
    } else if (more >= 1 && (is(args, bytes, start, at, BY) || is(args, bytes, start, at, GET))) {
      at += 1
      if (hasStar(args, bytes, start, at)) out.reach = 'patterns'
    } else if (
      !is(args, bytes, start, at, ASC) &&
      !is(args, bytes, start, at, DESC) &&
      !is(args, bytes, start, at, ALPHA)
    ) {
      return fail(out, SYNTAX)
    }
  }
  push(out, 1)
  return store === 0 ? 1 : push(out, store)
}

function georadius(
  command: Command,
  args: Arguments,
  bytes: Uint8Array,
  start: number,
  out: KeyList,
): number {
  const argc = args.argc
  let store = 0
  for (let at = -command.arity; at < argc - 1; at += 1) {
    if (is(args, bytes, start, at, STORE) || is(args, bytes, start, at, STOREDIST)) {
      at += 1
      store = at
    } else if (is(args, bytes, start, at, COUNT)) {
      at += 1
    }
  }
  // An option that does not exist is left to the shard: Redis speaks of the type of the key first.
  push(out, 1)
  return store === 0 ? 1 : push(out, store)
}

function copy(command: Command, args: Arguments, bytes: Uint8Array, start: number, out: KeyList): number {
  for (let at = 3; at < args.argc; at += 1) {
    if (at + 1 < args.argc && is(args, bytes, start, at, DB)) {
      // Whatever follows, it is not for this database; Redis speaks of its number before the next option.
      out.reach = 'database'
      break
    }
    if (!is(args, bytes, start, at, REPLACE)) return fail(out, SYNTAX)
  }
  return ranged(command, args.argc, out)
}

function migrate(command: Command, args: Arguments, bytes: Uint8Array, start: number, out: KeyList): number {
  const argc = args.argc
  for (let at = 6; at < argc; at += 1) {
    const more = argc - at - 1
    if (more >= 1 && is(args, bytes, start, at, AUTH)) {
      at += 1
    } else if (more >= 2 && is(args, bytes, start, at, AUTH2)) {
      at += 2
    } else if (is(args, bytes, start, at, KEYS)) {
      if (args.argEnd(3) !== args.argStart(3)) return fail(out, KEYS_AND_KEY)
      return pushAll(out, at + 1, argc, 1)
    } else if (!is(args, bytes, start, at, COPY) && !is(args, bytes, start, at, REPLACE)) {
      return fail(out, SYNTAX)
    }
  }
  return ranged(command, argc, out)
}

const KEYS_AND_KEY = 'ERR When using MIGRATE KEYS option, the key argument must be set to the empty string'

function is(args: Arguments, bytes: Uint8Array, start: number, index: number, expected: Buffer): boolean {
  return isWord(bytes, start + args.argStart(index), start + args.argEnd(index), expected)
}

function hasStar(args: Arguments, bytes: Uint8Array, start: number, index: number): boolean {
  const end = start + args.argEnd(index)
  for (let at = start + args.argStart(index); at < end; at += 1) if (bytes[at] === STAR) return true
  return false
}

const STAR = 0x2a
const MINUS = 0x2d
const ZERO = 0x30
/** Characters of the longest 64-bit integer, -9223372036854775808. */
const LONGEST = 20
const HIGHEST = 2n ** 63n

/**
 * A 64-bit integer as strictly as Redis reads one: no `+`, no space, no zero in front, no `-0`; otherwise NaN. Beyond
 * 2^53 it is rounded.
 */
function integerAt(args: Arguments, bytes: Uint8Array, start: number, index: number): number {
  const from = start + args.argStart(index)
  const end = start + args.argEnd(index)
  if (end - from === 1 && bytes[from] === ZERO) return 0
  if (end - from > LONGEST) return Number.NaN
  const negative = bytes[from] === MINUS
  const digits = negative ? from + 1 : from
  if (digits >= end || bytes[digits] === ZERO) return Number.NaN
  let value = 0
  for (let at = digits; at < end; at += 1) {
    const digit = (bytes[at] ?? 0) - ZERO
    if (digit < 0 || digit > 9) return Number.NaN
    value = value * 10 + digit
  }
  if (value > Number.MAX_SAFE_INTEGER && !fits(bytes, digits, end, negative)) return Number.NaN
  return negative ? -value : value
}

function fits(bytes: Uint8Array, from: number, to: number, negative: boolean): boolean {
  let value = 0n
  for (let at = from; at < to; at += 1) value = value * 10n + BigInt((bytes[at] ?? 0) - ZERO)
  return negative ? value <= HIGHEST : value < HIGHEST
}
