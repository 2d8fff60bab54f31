import { encodeNull } from '@outrider/resp'
import type { ClientConnection, Frame } from './client-connection.ts'
import type { Command } from './command.ts'
import { isError, type Part, partSink } from './join.ts'
import type { Shard } from './shard.ts'

/**
 * Which shard answers a command without keys:
 *
 * - `any`: the first that can be reached, since all say the same.
 * - `random`: one by chance that has something to say; null when none has, an error when one of them cannot be asked.
 */
export function askInTurn(
  client: ClientConnection,
  { bytes, start, end, now }: Frame,
  command: Command,
  rule: 'any' | 'random',
): void {
  const copy = Buffer.from(bytes.subarray(start, end))
  const slot = client.made()
  const shards = rule === 'any' ? upFirst(client.topology.shards) : fromAny(client.topology.shards)
  const nothing = encodeNull(client.protocol)
  const goesOn = ({ bytes: answer, isLost }: Part): boolean =>
    isLost || (rule === 'random' && (isError(answer) || answer.equals(nothing)))
  let fault: Buffer | undefined
  const ask = (turn: number): void => {
    const shard = shards[turn]
    if (shard === undefined) {
      slot.fill(fault ?? nothing)
      return
    }
    const sink = partSink(shard, slot, (part) => {
      if (!goesOn(part)) {
        slot.fill(part.bytes)
        return
      }
      if (isError(part.bytes)) fault ??= part.bytes
      ask(turn + 1)
    })
    // Its own time for each, or one that is well would be late as soon as it is asked.
    client.send(shard, command, sink, copy, turn === 0 ? now : performance.now())
  }
  ask(0)
}

const upFirst = (shards: readonly Shard[]): Shard[] => [
  ...shards.filter(({ up }) => up),
  ...shards.filter(({ up }) => !up),
]

function fromAny(shards: readonly Shard[]): Shard[] {
  const first = Math.floor(Math.random() * shards.length)
  return [...shards.slice(first), ...shards.slice(0, first)]
}
