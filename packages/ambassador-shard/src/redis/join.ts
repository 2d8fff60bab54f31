import {
  elements,
  encodeArrayHeader,
  encodeBulk,
  encodeError,
  encodeInteger,
  encodeMapHeader,
  encodeSimple,
  encodeVerbatim,
  type Protocol,
  type Reply,
  readReply,
} from '@outrider/resp'
import type { FanOutJoin, SplitJoin } from './command-policy.ts'
import { joinInfo } from './info.ts'
import { joinStrings } from './join-strings.ts'
import { type ReplySink, WholeReplies } from './reply-sink.ts'
import type { Shard } from './shard.ts'
import type { MadeSlot } from './slot.ts'

/** What one shard has answered. */
export interface Part {
  readonly shard: Pick<Shard, 'name' | 'fault'>
  /** One whole reply. */
  readonly bytes: Buffer
  /** Whether it is not the shard's own: no answer has come. */
  readonly isLost: boolean
}

const MINUS = 0x2d
const OK = encodeSimple('OK')

export const isError = (bytes: Buffer): boolean => bytes[0] === MINUS

/** An error reply without its mark and end. */
const errorText = (bytes: Buffer): string => bytes.toString('utf8', 1, bytes.length - 2)

/** Who takes the one reply of one shard, or why there is none, as a part of what fills a slot. */
export function partSink(shard: Shard, slot: MadeSlot, take: (part: Part) => void): ReplySink {
  return new WholeReplies(
    (bytes) => take({ shard, bytes, isLost: false }),
    (reason) => take({ shard, bytes: encodeError(shard.fault(reason)), isLost: true }),
    (bytes) => slot.gathers(bytes),
  )
}

/** Waits for the answers of several shards, and fills a slot with what they come to together. */
export class Join {
  readonly #slot: MadeSlot
  readonly #parts: (Part | undefined)[]
  readonly #finish: (parts: readonly Part[]) => Buffer
  #left: number

  constructor(slot: MadeSlot, count: number, finish: (parts: readonly Part[]) => Buffer) {
    this.#slot = slot
    this.#parts = new Array<Part | undefined>(count).fill(undefined)
    this.#left = count
    this.#finish = finish
  }

  /** Who takes the reply of a shard. */
  sink(shard: Shard, index: number): ReplySink {
    return partSink(shard, this.#slot, (part) => this.take(index, part))
  }

  take(index: number, part: Part): void {
    if (this.#parts[index] !== undefined) return
    this.#parts[index] = part
    this.#left -= 1
    if (this.#left > 0) return
    this.#slot.fill(this.#finish(this.#parts.filter((one) => one !== undefined)))
  }
}

/**
 * The answer to a command that was split by its keys.
 * @param places for each part, the places of its elements in the answer
 */
export function joinSplit(
  join: SplitJoin,
  parts: readonly Part[],
  places: readonly (readonly number[])[],
): Buffer {
  switch (join) {
    case 'array':
      return joinArray(parts, places)
    case 'sum':
      return plainSum(parts) ?? combine(parts, sum)
    case 'ok':
      return parts.every(({ bytes }) => bytes.equals(OK)) ? OK : combine(parts, () => OK)
  }
}

/** The sum of integers that a number holds exactly; undefined where the parts are others. */
function plainSum(parts: readonly Part[]): Buffer | undefined {
  let total = 0
  for (const { bytes } of parts) {
    const { length } = bytes
    if (length < 4 || length > PLAIN_INTEGER || bytes[0] !== COLON) return undefined
    let value = 0
    for (let at = 1; at < length - 2; at += 1) {
      const digit = (bytes[at] ?? 0) - ZERO
      if (digit < 0 || digit > 9) return undefined
      value = value * 10 + digit
    }
    total += value
  }
  return Number.isSafeInteger(total) ? encodeInteger(total) : undefined
}

/** Bytes of the reply of fifteen digits. */
const PLAIN_INTEGER = 18
const COLON = 0x3a
const ZERO = 0x30

/** One element for each key; those of a shard that failed are its error. */
function joinArray(parts: readonly Part[], places: readonly (readonly number[])[]): Buffer {
  const strings = joinStrings(
    parts.map(({ bytes }) => bytes),
    places,
  )
  return strings ?? joinElements(parts, places)
}

function joinElements(parts: readonly Part[], places: readonly (readonly number[])[]): Buffer {
  const count = places.reduce((total, own) => total + own.length, 0)
  const found = new Array<Buffer>(count + 1)
  found[0] = encodeArrayHeader(count)
  for (const [index, { shard, bytes }] of parts.entries()) {
    const own = places[index] ?? []
    const ranges = isError(bytes) ? undefined : elements(bytes, 0, bytes.length)
    const failed =
      ranges?.length === 2 * own.length
        ? undefined
        : isError(bytes)
          ? bytes
          : encodeError(shard.fault('its answer has another number of elements'))
    for (const [at, place] of own.entries()) {
      found[place + 1] = failed ?? bytes.subarray(ranges?.[2 * at], ranges?.[2 * at + 1])
    }
  }
  return Buffer.concat(found)
}

/** The answer to a command that went to all shards. */
export function joinFanOut(
  join: Exclude<FanOutJoin, 'scan'>,
  parts: readonly Part[],
  protocol: Protocol,
): Buffer {
  const [only] = parts
  if (only !== undefined && parts.length === 1) return only.bytes
  switch (join) {
    case 'sum':
      return combine(parts, sum)
    case 'least':
      return combine(parts, (values) => encodeInteger(values.map(integer).reduce((a, b) => (b < a ? b : a))))
    case 'ok-all':
      return combine(parts, () => OK)
    case 'any-ok':
      return parts.find(({ bytes }) => !isError(bytes))?.bytes ?? parts[0]?.bytes ?? OK
    case 'same':
      return combine(parts, () => same(parts))
    case 'concat':
      return combine(parts, (values, raw) => concat(values, raw))
    case 'sum-pairs':
      return combine(parts, (values) => sumPairs(values))
    case 'all-booleans':
      return combine(parts, (values) => allBooleans(values))
    case 'info':
      return combine(answers(parts), (values) =>
        encodeVerbatim(joinInfo(values.map(textOf), missing(parts)), protocol),
      )
    case 'config':
      return combine(answers(parts), (values, answered) => joinConfig(answered, values, protocol))
  }
}

/** Those without errors, or all where there are none: clients begin with INFO, and must not need every shard for it. */
function answers(parts: readonly Part[]): readonly Part[] {
  const answered = parts.filter(({ bytes }) => !isError(bytes))
  return answered.length === 0 ? parts : answered
}

const missing = (parts: readonly Part[]): string[] =>
  parts.filter(({ bytes }) => isError(bytes)).map(({ shard }) => shard.name)

/** Joins the values, or gives the error of the first that failed, with the names of all that did. */
function combine(
  parts: readonly Part[],
  finish: (values: Reply[], parts: readonly Part[]) => Buffer,
): Buffer {
  const failed = parts.filter(({ bytes }) => isError(bytes))
  const [first] = failed
  if (first !== undefined) {
    // What all refuse, such as a wrong argument, is no matter of shards.
    if (failed.length === parts.length && parts.every(({ bytes }) => bytes.equals(first.bytes)))
      return first.bytes
    const names = failed.map(({ shard }) => shard.name).join(', ')
    const others = failed.length === parts.length ? '' : '; the others did it'
    return encodeError(
      `${errorText(first.bytes)} (${failed.length} of ${parts.length} shards failed: ${names}${others})`,
    )
  }
  const values: Reply[] = []
  for (const { shard, bytes } of parts) {
    const value = readReply(bytes, 0, bytes.length)
    if (value === undefined) return encodeError(shard.fault('its answer cannot be read'))
    values.push(value)
  }
  return finish(values, parts)
}

const integer = (value: Reply): bigint => (value.type === 'integer' ? BigInt(value.value) : 0n)

const sum = (values: readonly Reply[]): Buffer =>
  encodeInteger(values.map(integer).reduce((total, value) => total + value, 0n))

function same(parts: readonly Part[]): Buffer {
  const [first] = parts
  const other = parts.find(({ bytes }) => first !== undefined && !bytes.equals(first.bytes))
  if (first === undefined || other === undefined) return first?.bytes ?? OK
  const show = ({ shard, bytes }: Part): string =>
    `${shard.name} says ${bytes
      .toString('utf8', 0, Math.min(bytes.length, 100))
      .replace(/[\r\n]+/g, ' ')
      .trim()}`
  return encodeError(`ERR the shards differ: ${show(first)}; ${show(other)}`)
}

const elementsOf = (value: Reply): readonly Reply[] =>
  value.type === 'array' || value.type === 'set' || value.type === 'push' ? value.elements : []

function concat(values: readonly Reply[], parts: readonly Part[]): Buffer {
  const count = values.reduce((total, value) => total + elementsOf(value).length, 0)
  const pieces: Buffer[] = [encodeArrayHeader(count)]
  for (const { bytes } of parts) {
    const ranges = elements(bytes, 0, bytes.length) ?? []
    const [from, to] = [ranges[0], ranges.at(-1)]
    if (from !== undefined && to !== undefined) pieces.push(bytes.subarray(from, to))
  }
  return Buffer.concat(pieces)
}

function textOf(value: Reply | undefined): string {
  return value !== undefined && 'bytes' in value ? value.bytes.toString() : ''
}

function sumPairs(values: readonly Reply[]): Buffer {
  const [first] = values
  const names = first === undefined ? [] : elementsOf(first).filter((_, at) => at % 2 === 0)
  const pieces: Buffer[] = [encodeArrayHeader(names.length * 2)]
  for (const [at, name] of names.entries()) {
    const total = values.reduce(
      (sofar, value) => sofar + integer(elementsOf(value)[2 * at + 1] ?? NOTHING),
      0n,
    )
    pieces.push(encodeBulk('bytes' in name ? name.bytes : ''), encodeInteger(total))
  }
  return Buffer.concat(pieces)
}

const NOTHING: Reply = { type: 'null' }

function allBooleans(values: readonly Reply[]): Buffer {
  const count = Math.min(...values.map((value) => elementsOf(value).length))
  const pieces: Buffer[] = [encodeArrayHeader(count)]
  for (let at = 0; at < count; at += 1) {
    const everywhere = values.every((value) => integer(elementsOf(value)[at] ?? NOTHING) === 1n)
    pieces.push(encodeInteger(everywhere ? 1 : 0))
  }
  return Buffer.concat(pieces)
}

function joinConfig(parts: readonly Part[], values: readonly Reply[], protocol: Protocol): Buffer {
  const settings = values.map(settingsOf)
  const names = new Set(settings.flatMap((own) => [...own.keys()]))
  const pieces: Buffer[] = [encodeMapHeader(names.size, protocol)]
  for (const name of names) {
    const own = settings.map((all) => all.get(name) ?? '')
    const alike = own.every((value) => value === own[0])
    const value = alike ? (own[0] ?? '') : own.map((one, at) => `${parts[at]?.shard.name}=${one}`).join(' ')
    pieces.push(encodeBulk(name), encodeBulk(value))
  }
  return Buffer.concat(pieces)
}

function settingsOf(value: Reply): Map<string, string> {
  if (value.type === 'map') return new Map(value.entries.map(([name, own]) => [textOf(name), textOf(own)]))
  const list = elementsOf(value)
  const settings = new Map<string, string>()
  for (let at = 0; at + 1 < list.length; at += 2) settings.set(textOf(list[at]), textOf(list[at + 1]))
  return settings
}
