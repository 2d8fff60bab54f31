import { elements, encodeArrayHeader, encodeBulk, encodeError, readReply } from '@outrider/resp'
import type { ClientConnection, Frame } from './client-connection.ts'
import type { Command } from './command.ts'
import { isError, Join, type Part } from './join.ts'

const LARGEST = 2n ** 64n - 1n

/**
 * SCAN of one shard after the other. The cursor of the client is that of the shard times the number of shards, plus
 * the index of the shard: 0 begins and ends, as it does for one Redis.
 */
export function scan(client: ClientConnection, frame: Frame, scanned: Command): void {
  const { bytes, start, end, args, now } = frame
  const { shards } = client.topology
  const text = bytes.toString('latin1', start + args.argStart(1), start + args.argEnd(1))
  // Redis takes no text for 0, too.
  if (!/^\d{0,20}$/.test(text) || BigInt(text) > LARGEST) {
    client.fail('ERR invalid cursor')
    return
  }
  const count = BigInt(shards.length)
  const cursor = BigInt(text)
  const index = Number(cursor % count)
  const shard = shards[index]
  if (shard === undefined) return
  const command = Buffer.concat([
    encodeArrayHeader(args.argc),
    encodeBulk('SCAN'),
    encodeBulk(String(cursor / count)),
    bytes.subarray(start + args.argEnd(1) + 2, end),
  ])
  const join = new Join(client.made(), 1, ([part]) => answer(part, index, shards.length))
  client.send(shard, scanned, join.sink(shard, 0), command, now)
}

function answer(part: Part | undefined, index: number, count: number): Buffer {
  if (part === undefined || isError(part.bytes)) return part?.bytes ?? encodeError('ERR no answer')
  const { bytes, shard } = part
  const [from, to, listFrom, listTo] = elements(bytes, 0, bytes.length) ?? []
  const cursor = from === undefined || to === undefined ? undefined : readReply(bytes, from, to)
  const text = cursor?.type === 'bulk' ? cursor.bytes.toString('latin1') : ''
  if (!/^\d{1,20}$/.test(text) || listFrom === undefined)
    return encodeError(shard.fault('its answer cannot be read'))
  const own = BigInt(text)
  const next = own === 0n ? (index + 1 < count ? BigInt(index + 1) : 0n) : own * BigInt(count) + BigInt(index)
  return Buffer.concat([encodeArrayHeader(2), encodeBulk(String(next)), bytes.subarray(listFrom, listTo)])
}
