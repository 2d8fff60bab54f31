import { bytesOf, type Ring } from './ring.ts'

/** Why a key is where it is. */
export interface Explanation {
  readonly key: string
  /** What of the key is hashed. */
  readonly part: string
  /** Name of the hash; undefined for `random`. */
  readonly hash: string | undefined
  readonly value: number | bigint | undefined
  /** The point of the ring, or place in the table, that the hash leads to, where there is one. */
  readonly point: number | undefined
  /** Its server; undefined for `random`, where it has none. */
  readonly server: string | undefined
  readonly index: number | undefined
  /** The share of all hashes that this server has, 0 to 1. */
  readonly share: number | undefined
}

export function explain(ring: Ring, key: string | Uint8Array): Explanation {
  const bytes = bytesOf(key)
  ring.tag?.find(bytes, 0, bytes.length)
  const { start, end } = ring.tag ?? { start: 0, end: bytes.length }
  const { placement } = ring
  const index = placement.hashName === undefined ? undefined : ring.indexOf(bytes, 0, bytes.length)
  return {
    key: textOf(bytes, 0, bytes.length),
    part: textOf(bytes, start, end),
    hash: placement.hashName,
    ...placement.trace(bytes, start, end),
    server: index === undefined ? undefined : ring.servers[index]?.name,
    index,
    share: index === undefined ? undefined : placement.shares[index],
  }
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.subarray(start, end)).toString()
}
