import { encodeArrayHeader, encodeError } from '@outrider/resp'
import type { ClientConnection, Frame } from './client-connection.ts'
import type { Command } from './command.ts'
import type { KeyList } from './command-keys.ts'
import type { SplitJoin } from './command-policy.ts'
import { joinSplit, type Part } from './join.ts'
import type { ReplySink } from './reply-sink.ts'
import type { Shard } from './shard.ts'
import type { ShardConnection } from './shard-connection.ts'
import type { MadeSlot } from './slot.ts'

/** Splits a command by its keys into one for each shard, and joins what they answer. */
export function split(
  client: ClientConnection,
  frame: Frame,
  how: SplitJoin,
  keys: KeyList,
  command: Command,
): void {
  const { topology } = client
  const { bytes, start, args, now } = frame
  const fragments = new Map<Shard, Fragment>()
  for (let place = 0; place < keys.count; place += 1) {
    const position = keys.positions[place] ?? 0
    const shard = topology.locate(bytes, start + args.argStart(position), start + args.argEnd(position))
    const known = fragments.get(shard)
    if (known !== undefined) {
      known.places.push(place)
    } else {
      fragments.set(shard, new Fragment(shard, place))
    }
  }
  const [only] = fragments.keys()
  if (only !== undefined && fragments.size === 1) {
    client.forward(frame, only, command)
    return
  }
  const whole = new Whole(client.made(), how, [...fragments.values()])
  for (const [shard, fragment] of fragments) {
    fragment.whole = whole
    const connection = client.connectionFor(shard, command)
    if (connection === undefined) {
      fragment.lost(1, shard.reason)
      continue
    }
    send(connection, frame, keys, fragment.places, command.keys.step)
    connection.expect(fragment, 1, now)
    client.crowd(connection)
  }
  client.onFragments(fragments.size)
}

/** The part of a command that is for one shard, and what that has answered. */
class Fragment implements Part, ReplySink {
  readonly shard: Shard
  /** Of its keys among all keys. */
  readonly places: number[]
  bytes: Buffer = NOTHING
  isLost = false
  whole: Whole | undefined
  #begun: Buffer[] | undefined

  constructor(shard: Shard, place: number) {
    this.shard = shard
    this.places = [place]
  }

  reply(bytes: Buffer, start: number, end: number, ended: number): void {
    if (!this.whole?.gathers(end - start)) {
      this.#begun = undefined
      return
    }
    // The memory is lent.
    const piece = Buffer.from(bytes.subarray(start, end))
    if (ended === 0) {
      this.#begun ??= []
      this.#begun.push(piece)
      return
    }
    this.bytes = this.#begun === undefined ? piece : Buffer.concat([...this.#begun, piece])
    this.whole?.arrive()
  }

  lost(_count: number, reason: string): void {
    this.bytes = encodeError(this.shard.fault(reason))
    this.isLost = true
    this.whole?.arrive()
  }
}

const NOTHING = Buffer.alloc(0)

/** Waits for all fragments, and fills a slot with what they come to together. */
class Whole {
  readonly #slot: MadeSlot
  readonly #how: SplitJoin
  readonly #fragments: readonly Fragment[]
  #left: number

  constructor(slot: MadeSlot, how: SplitJoin, fragments: readonly Fragment[]) {
    this.#slot = slot
    this.#how = how
    this.#fragments = fragments
    this.#left = fragments.length
  }

  gathers(bytes: number): boolean {
    return this.#slot.gathers(bytes)
  }

  arrive(): void {
    this.#left -= 1
    if (this.#left > 0) return
    const places = this.#fragments.map((fragment) => fragment.places)
    this.#slot.fill(joinSplit(this.#how, this.#fragments, places))
  }
}

const LF = 0x0a
const FEW = 256
const HEADERS = Array.from({ length: FEW }, (_, count) => encodeArrayHeader(count))

/** Sends the command with a part of its keys, each with what belongs to it: `step` arguments. */
function send(
  connection: ShardConnection,
  { bytes, start, args }: Frame,
  { positions }: KeyList,
  places: readonly number[],
  step: number,
): void {
  const count = 1 + places.length * step
  const header = HEADERS[count] ?? encodeArrayHeader(count)
  connection.write(header, 0, header.length)
  // Behind the count of the arguments stands the first of them, and behind each one the next.
  let from = start
  while (bytes[from] !== LF) from += 1
  from += 1
  let to = start + args.argEnd(0) + 2
  for (const place of places) {
    const position = positions[place] ?? 0
    const next = start + args.argEnd(position - 1) + 2
    if (next !== to) {
      connection.write(bytes, from, to)
      from = next
    }
    to = start + args.argEnd(position + step - 1) + 2
  }
  connection.write(bytes, from, to)
}
