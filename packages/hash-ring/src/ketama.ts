import { Continuum, checkPointCount, type Points } from './continuum.ts'
import type { KeyHash } from './key-hash.ts'
import { digest, md5 } from './md5.ts'
import { type RingServer, twemproxyOrder, weightOf } from './server.ts'

const f32 = Math.fround

/**
 * The ring of twemproxy (nc_ketama.c) and of weighted libmemcached, bit for bit: their arithmetic is in single
 * precision, which leaves each of 25 equal servers with 156 points where others have 160. twemproxy's servers are in
 * the order of their names, which matters where two points are equal.
 *
 * twemproxy has room for names of 82 bytes; what it does with longer ones nobody can tell.
 */
export function ketama(servers: readonly RingServer[], hash: KeyHash): Continuum {
  return build(servers, hash, twemproxyOrder(servers), ketamaDigests)
}

/** How many digests of four points a server has, of so much weight among so many servers. */
export function ketamaDigests(weight: number, total: number, servers: number): number {
  const quarter = f32(f32(f32(f32(weight) / f32(total)) * 160) / 4)
  return Math.floor(f32(f32(quarter * f32(servers)) + 1e-10))
}

/** The ring of libketama (ketama.c), which multiplies in double precision and rounds once. */
export function libketama(servers: readonly RingServer[], hash: KeyHash): Continuum {
  return build(servers, hash, [...servers.keys()], libketamaDigests)
}

export function libketamaDigests(weight: number, total: number, servers: number): number {
  return Math.floor(f32(f32(f32(weight) / f32(total)) * 40 * servers))
}

/** Four points for each of the digests of `name-0`, `name-1` and so on. */
function build(
  servers: readonly RingServer[],
  hash: KeyHash,
  order: readonly number[],
  digestsOf: (weight: number, total: number, servers: number) => number,
): Continuum {
  checkPointCount(servers.length * 160)
  const total = servers.reduce((sum, server) => sum + weightOf(server), 0)
  const points: Points = { values: [], owners: [] }
  for (const index of order) {
    const server = servers[index]
    if (server === undefined) continue
    const digests = digestsOf(weightOf(server), total, servers.length)
    for (let number = 0; number < digests; number += 1) {
      const text = Buffer.from(`${server.name}-${number}`)
      md5(text, 0, text.length)
      for (const word of digest) {
        points.values.push(word >>> 0)
        points.owners.push(index)
      }
    }
  }
  return new Continuum(hash, servers.length, points)
}
