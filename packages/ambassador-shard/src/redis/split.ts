import type { ClientConnection, Frame } from './client-connection.ts'
import type { Command } from './command.ts'
import type { KeyList } from './command-keys.ts'
import type { SplitJoin } from './command-policy.ts'
import { Join, joinSplit } from './join.ts'
import type { Shard } from './shard.ts'

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
  /** For each shard, the places of its keys among all keys. */
  const places = new Map<Shard, number[]>()
  for (let place = 0; place < keys.count; place += 1) {
    const position = keys.positions[place] ?? 0
    const shard = topology.locate(bytes, start + args.argStart(position), start + args.argEnd(position))
    const own = places.get(shard)
    if (own === undefined) places.set(shard, [place])
    else own.push(place)
  }
  const [only] = places.keys()
  if (only !== undefined && places.size === 1) {
    client.forward(frame, only, command)
    return
  }
  const all = [...places.values()]
  const join = new Join(client.made(), all.length, (parts) => joinSplit(how, parts, all))
  let part = 0
  for (const [shard, own] of places) {
    const positions = own.map((place) => keys.positions[place] ?? 0)
    client.send(shard, command, join.sink(shard, part), piece(frame, positions, command.keys.step), now)
    part += 1
  }
  client.onFragments(part)
}

const CR = 0x0d
const DOLLAR = 0x24

/** The command with a part of its keys, each with what belongs to it: `step` arguments. */
function piece({ bytes, start, args }: Frame, positions: readonly number[], step: number): Buffer {
  const header = `*${1 + positions.length * step}\r\n`
  // What stands before the first argument is its length, and before that the count.
  const name = lengthAt(bytes, start + args.argStart(0))
  const nameEnd = start + args.argEnd(0) + 2
  let size = header.length + nameEnd - name
  for (const position of positions)
    size += start + args.argEnd(position + step - 1) + 2 - lengthAt(bytes, start + args.argStart(position))
  const command = Buffer.allocUnsafe(size)
  let at = command.write(header, 0, 'latin1')
  at += bytes.copy(command, at, name, nameEnd)
  for (const position of positions) {
    const from = lengthAt(bytes, start + args.argStart(position))
    at += bytes.copy(command, at, from, start + args.argEnd(position + step - 1) + 2)
  }
  return command
}

/** Where the line begins that tells the length of an argument. */
function lengthAt(bytes: Buffer, argument: number): number {
  let at = argument - 3
  while (bytes[at] !== DOLLAR || bytes[argument - 2] !== CR) at -= 1
  return at
}
