import { Continuum, type Points } from './continuum.ts'
import { wideCrc16 } from './crc.ts'
import { HashTag } from './hash-tag.ts'
import type { KeyHash } from './key-hash.ts'
import type { RingServer } from './server.ts'

export const CLUSTER_SLOTS = 16_384

const slotHash: KeyHash = {
  name: 'slot',
  range: CLUSTER_SLOTS,
  of: (bytes, start, end) => wideCrc16(bytes, start, end) & (CLUSTER_SLOTS - 1),
  equals: (other) => other === slotHash,
}

const tag = new HashTag('{}')

/** The slot of a key in a Redis Cluster: CRC-16 of the part between `{` and `}`, where there is one, or of it all. */
export function clusterSlot(bytes: Uint8Array, start: number, end: number): number {
  tag.find(bytes, start, end)
  return slotHash.of(bytes, tag.start, tag.end)
}

/**
 * The servers by their `slots`; where none has any, ranges of equal size as `redis-cli --cluster create` deals them
 * out. It is a ring whose points are the ends of the ranges.
 * @throws Error that names a range out of bounds, or a slot that nobody or more than one serves
 */
export function clusterSlots(servers: readonly RingServer[]): Continuum {
  const given = servers.some(({ slots }) => slots !== undefined)
  const owners = given ? ownersOf(servers) : evenly(servers.length)
  const points: Points = { values: [], owners: [] }
  for (const [slot, owner] of owners.entries()) {
    if (owners[slot + 1] === owner) continue
    points.values.push(slot)
    points.owners.push(owner)
  }
  return new Continuum(slotHash, servers.length, points)
}

// redis-cli counts in single precision.
function evenly(servers: number): Int32Array {
  const owners = new Int32Array(CLUSTER_SLOTS)
  const size = Math.fround(CLUSTER_SLOTS / servers)
  let from = 0
  let cursor = 0
  for (let index = 0; index < servers; index += 1) {
    const last = Math.round(Math.fround(Math.fround(cursor + size) - 1))
    const to = index === servers - 1 ? CLUSTER_SLOTS : Math.max(last, from) + 1
    owners.fill(index, from, to)
    from = to
    cursor = Math.fround(cursor + size)
  }
  return owners
}

function ownersOf(servers: readonly RingServer[]): Int32Array {
  const owners = new Int32Array(CLUSTER_SLOTS).fill(-1)
  for (const [index, { name, slots = [] }] of servers.entries()) {
    for (const [from, to] of slots) {
      if (
        !(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to < CLUSTER_SLOTS)
      ) {
        throw new Error(
          `server ${name} has the slots ${from}-${to}: must be a range within 0-${CLUSTER_SLOTS - 1}`,
        )
      }
      for (let slot = from; slot <= to; slot += 1) {
        const owner = owners[slot] ?? -1
        if (owner >= 0) {
          throw new Error(
            `slot ${slot} is given to ${servers[owner]?.name} and to ${name}: must be one of them`,
          )
        }
        owners[slot] = index
      }
    }
  }
  const free = owners.indexOf(-1)
  if (free >= 0) throw new Error(`slot ${free} has no server: all of 0-${CLUSTER_SLOTS - 1} must be given`)
  return owners
}
