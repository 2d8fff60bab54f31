import { decimal } from './decimal.ts'
import { bulkSize, encodeCommand } from './encode.ts'
import { splitInline } from './inline-command.ts'

/** What a command may be. */
export interface CommandLimits {
  /** Bytes of one argument; Redis calls it proto-max-bulk-len. */
  readonly bulkBytes: number
  /** Arguments of one command, its name among them. */
  readonly args: number
  /** Bytes of an inline command, and of the line that announces a count or a length. */
  readonly inlineBytes: number
  /** Bytes of one command in all; at most 2^31 - 1. */
  readonly commandBytes: number
}

export const COMMAND_LIMITS: CommandLimits = {
  bulkBytes: 536_870_912,
  args: 1_048_576,
  inlineBytes: 65_536,
  commandBytes: 1_073_741_824,
}

/**
 * - `command`: one is complete, `length` bytes from `start`
 * - `empty`: `length` bytes that say nothing, as an empty line or `*0`: pass over them, nothing answers them
 * - `more`: it goes on behind `end`
 * - `fault`: not the protocol, or beyond a limit: say `fault` to the client and close, as Redis does
 */
export type CommandProgress = 'command' | 'empty' | 'more' | 'fault'

const NUL = 0
const LF = 0x0a
const CR = 0x0d
const DOLLAR = 0x24
const STAR = 0x2a
const ZERO = 0x30

// What Redis grants to a client before it has said who it is.
const UNAUTHENTICATED_ARGS = 10
const UNAUTHENTICATED_BULK_BYTES = 16_384

const FEW_ARGS = 64
const MANY_ARGS = 1_024
const NONE = Buffer.alloc(0)

/** Of a line: neither its end nor too many bytes have come. */
const UNKNOWN = -1
const TOO_LONG = -2

const NO_CRLF = 'expected CRLF'

/**
 * Reads the commands of one client, multibulk and inline, wherever the reads of the network have cut them, with the
 * verdicts of Redis 7 (`processMultibulkBuffer`, `processInlineBuffer` of its networking.c) and one exception: Redis
 * does not look at the bytes that end a line or an argument. Here they are CR LF, since a command goes on as it came,
 * and where it ends must not depend on who reads it.
 */
export class CommandReader {
  /** What Redis says about it, without `ERR`. Empty as long as nothing is wrong; stays, once it is not. */
  fault = ''
  /** Bytes of the command, its framing included. */
  length = 0
  /** Arguments, the name of the command among them. */
  argc = 0
  /** Whether it came as a line: then it goes on as `encoded`, and `argStart` and `argEnd` are offsets in that. */
  inline = false
  /** The multibulk form of an inline command. */
  encoded: Buffer = NONE
  /**
   * After `more`: how many bytes from `start` on are known to be needed, or -1. It is what the client announces, up to
   * the limits: a buffer of this size saves copying, but is memory that the client has not paid for.
   */
  wanted = -1
  /** False keeps commands to 10 arguments of 16 KiB, as Redis does until AUTH. To be set between commands. */
  authenticated = true

  #limits: CommandLimits = COMMAND_LIMITS
  #begun = false
  /** Offset from `start` of what is to be read next: a line, or an argument whose length is known. */
  #at = 0
  /** Offset from `start` up to which a line has no end. */
  #seen = 0
  /** Of the argument that is being read, or -1 before its length is known. */
  #bulk = -1
  #complete = 0
  /** Start and end of each argument. */
  #args = new Int32Array(2 * FEW_ARGS)

  constructor(limits: Partial<CommandLimits> = {}) {
    this.limits = { ...COMMAND_LIMITS, ...limits }
  }

  get limits(): CommandLimits {
    return this.#limits
  }

  /**
   * To be set between commands.
   * @throws RangeError where `commandBytes` is beyond what offsets can hold
   */
  set limits(limits: CommandLimits) {
    if (limits.commandBytes > 0x7fffffff)
      throw new RangeError(`commandBytes is ${limits.commandBytes}: it must be at most 2147483647`)
    this.#limits = limits
  }

  /** Offset of an argument, from the start of the command or within `encoded`; `index` is less than `argc`. */
  argStart(index: number): number {
    return this.#args[2 * index] ?? 0
  }

  /** Offset just behind it. */
  argEnd(index: number): number {
    return this.#args[2 * index + 1] ?? 0
  }

  /**
   * Reads one command. `start` is its first byte in `bytes`, each time, also when more of it has come: what has been
   * read is not read again. Afterwards the next command begins `length` bytes later.
   */
  read(bytes: Uint8Array, start: number, end: number): CommandProgress {
    if (this.fault !== '') return 'fault'
    if (!this.#begun) {
      if (start >= end) return this.#more(-1)
      this.release()
      this.#begun = true
      this.#at = 0
      this.#seen = 0
      this.inline = bytes[start] !== STAR
    }
    if (this.inline) return this.#readInline(bytes, start, end)
    if (this.#at === 0) {
      const progress = this.#readCount(bytes, start, end)
      if (progress !== 'command') return progress
    }
    return this.#readArguments(bytes, start, end)
  }

  /** Gives up the memory of a huge command. The next `read` does it too; a client that is idle need not keep it. */
  release(): void {
    if (this.#args.length > 2 * MANY_ARGS) this.#args = new Int32Array(2 * FEW_ARGS)
    this.encoded = NONE
  }

  #more(wanted: number): CommandProgress {
    this.wanted = wanted
    return 'more'
  }

  #fail(reason: string): CommandProgress {
    this.fault = `Protocol error: ${reason}`
    return 'fault'
  }

  #end(progress: 'command' | 'empty', length: number): CommandProgress {
    this.#begun = false
    this.length = length
    return progress
  }

  #readCount(bytes: Uint8Array, start: number, end: number): CommandProgress {
    const stop = this.#lineEnd(bytes, start, start, end, CR)
    if (stop === TOO_LONG) return this.#fail('too big mbulk count string')
    if (stop === UNKNOWN) return this.#more(-1)
    const count = decimal(bytes, start + 1, stop)
    // Not a number (NaN) compares false.
    if (!(count <= this.#limits.args)) return this.#fail('invalid multibulk length')
    if (!this.authenticated && count > UNAUTHENTICATED_ARGS)
      return this.#fail('unauthenticated multibulk length')
    if (bytes[stop + 1] !== LF) return this.#fail(NO_CRLF)
    this.#at = stop + 2 - start
    this.#bulk = -1
    this.#complete = 0
    this.argc = Math.max(0, count)
    return count > 0 ? 'command' : this.#end('empty', this.#at)
  }

  #readArguments(bytes: Uint8Array, start: number, end: number): CommandProgress {
    const { argc } = this
    const { bulkBytes, commandBytes } = this.#limits
    let at = start + this.#at
    for (let index = this.#complete; index < argc; index += 1) {
      let bulk = this.#bulk
      if (bulk < 0) {
        // Nearly all lengths have a few digits, and have come as a whole.
        let next = at + 1
        let digit = (bytes[next] ?? 0) - ZERO
        if (next < end && bytes[at] === DOLLAR && digit > 0 && digit <= 9) {
          bulk = 0
          do {
            bulk = bulk * 10 + digit
            next += 1
            digit = (bytes[next] ?? 0) - ZERO
          } while (next < end && digit >= 0 && digit <= 9 && bulk < 1_000_000)
        }
        if (bulk < 0 || next + 1 >= end || bytes[next] !== CR || bytes[next + 1] !== LF) {
          this.#at = at - start
          this.#complete = index
          const progress = this.#readLength(bytes, start, end)
          if (progress !== 'command') return progress
          bulk = this.#bulk
          next = start + this.#at
        } else if (bulk > bulkBytes || (!this.authenticated && bulk > UNAUTHENTICATED_BULK_BYTES)) {
          return this.#badLength(bulk)
        } else {
          next += 2
        }
        at = next
      }
      const stop = at + bulk
      if (stop + 2 - start > commandBytes) return this.#fail(`a command of more than ${commandBytes} bytes`)
      if (stop + 2 > end) {
        this.#at = at - start
        this.#bulk = bulk
        this.#complete = index
        return this.#more(stop + 2 - start)
      }
      if (bytes[stop] !== CR || bytes[stop + 1] !== LF) return this.#fail(NO_CRLF)
      if (2 * index === this.#args.length) this.#grow()
      this.#args[2 * index] = at - start
      this.#args[2 * index + 1] = stop - start
      this.#bulk = -1
      at = stop + 2
    }
    return this.#end('command', at - start)
  }

  /** The line of a length, in whatever state: `command` where `#bulk` is known. */
  #readLength(bytes: Uint8Array, start: number, end: number): CommandProgress {
    const at = start + this.#at
    const stop = this.#lineEnd(bytes, start, at, end, CR)
    if (stop === TOO_LONG) return this.#fail('too big bulk count string')
    if (stop === UNKNOWN) return this.#more(-1)
    if (bytes[at] !== DOLLAR) return this.#fail(`expected '$', got '${shown(bytes[at] ?? 0)}'`)
    const length = decimal(bytes, at + 1, stop)
    const most = this.authenticated ? this.#limits.bulkBytes : UNAUTHENTICATED_BULK_BYTES
    if (!(length >= 0 && length <= Math.min(most, this.#limits.bulkBytes))) return this.#badLength(length)
    if (bytes[stop + 1] !== LF) return this.#fail(NO_CRLF)
    this.#at = stop + 2 - start
    this.#bulk = length
    return 'command'
  }

  #badLength(length: number): CommandProgress {
    return this.#fail(
      length >= 0 && length <= this.#limits.bulkBytes ? 'unauthenticated bulk length' : 'invalid bulk length',
    )
  }

  #readInline(bytes: Uint8Array, start: number, end: number): CommandProgress {
    const stop = this.#lineEnd(bytes, start, start, end, LF)
    if (stop === TOO_LONG) return this.#fail('too big inline request')
    if (stop === UNKNOWN) return this.#more(-1)
    const last = stop > start && bytes[stop - 1] === CR ? stop - 1 : stop
    const args = splitInline(bytes.subarray(start, last))
    if (args === undefined) return this.#fail('unbalanced quotes in request')
    if (args.length > this.#limits.args) return this.#fail('too big inline request')
    this.argc = args.length
    if (args.length === 0) return this.#end('empty', stop + 1 - start)
    this.encoded = encodeCommand(args)
    let behind = this.encoded.length
    while (this.#args.length < 2 * args.length) this.#grow()
    for (let index = args.length - 1; index >= 0; index -= 1) {
      const { length } = args[index] ?? NONE
      this.#args[2 * index] = behind - 2 - length
      this.#args[2 * index + 1] = behind - 2
      behind -= bulkSize(length)
    }
    return this.#end('command', stop + 1 - start)
  }

  /**
   * Where the line that begins at `from` has its CR, with a byte behind it, or its LF. Redis looks for them with
   * `strchr`, which a NUL stops: such a line has no end.
   */
  #lineEnd(bytes: Uint8Array, start: number, from: number, end: number, mark: number): number {
    const { inlineBytes } = this.#limits
    const stop = Math.min(end, from + inlineBytes + 1)
    let at = Math.max(from, start + this.#seen)
    while (at < stop && bytes[at] !== mark && bytes[at] !== NUL) at += 1
    this.#seen = at - start
    if (at < stop && bytes[at] === mark) return mark === LF || at + 1 < end ? at : UNKNOWN
    return end - from > inlineBytes ? TOO_LONG : UNKNOWN
  }

  #grow(): void {
    // What has come decides, not what was announced.
    const larger = new Int32Array(2 * this.#args.length)
    larger.set(this.#args)
    this.#args = larger
  }
}

/** A byte as Redis has it in an error, of which line ends become spaces. */
function shown(byte: number): string {
  return byte === CR || byte === LF ? ' ' : String.fromCharCode(byte)
}
