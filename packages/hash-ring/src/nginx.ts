import { Continuum, checkPointCount, type Points } from './continuum.ts'
import { CRC32_START, crc32Byte, crc32State } from './crc.ts'
import { keyHash } from './key-hash.ts'
import { Distinct, type Placement, type Trace } from './placement.ts'
import { RoundRobin } from './round-robin.ts'
import { type RingServer, weightOf } from './server.ts'
import { WeightTable } from './weight-table.ts'

// After so many tries in vain nginx goes on by round robin.
const TRIES = 20

const firstHash = keyHash('crc32')
const ringHash = keyHash('crc32a')

/** `hash key;` of nginx's upstream, as in Cache::Memcached. An empty key goes round robin. */
export class NginxHash implements Placement {
  readonly hashName = firstHash.name
  readonly shares: readonly number[]
  readonly #table: WeightTable
  readonly #roundRobin: RoundRobin

  constructor(servers: readonly RingServer[]) {
    this.#table = new WeightTable(servers, [...servers.keys()])
    this.#roundRobin = new RoundRobin(servers)
    this.shares = this.#table.shares(firstHash.range)
  }

  indexOf(bytes: Uint8Array, start: number, end: number): number {
    if (start === end) return this.#roundRobin.next()
    return this.#table.at(firstHash.of(bytes, start, end) % this.#table.total)
  }

  /** Each further one by the hash of the number of the try and the key, added to the hashes before. */
  successors(bytes: Uint8Array, start: number, end: number, count: number): number[] {
    const distinct = new Distinct(this.shares.length, count)
    const first = this.indexOf(bytes, start, end)
    distinct.add(first)
    let hash = firstHash.of(bytes, start, end)
    let vain = start === end ? TRIES + 1 : 0
    for (let again = 1; !distinct.isFull && vain <= TRIES; again += 1) {
      hash = (hash + rehash(again, bytes, start, end)) >>> 0
      if (!distinct.add(this.#table.at(hash % this.#table.total))) vain += 1
    }
    return distinct.fillFrom(first)
  }

  trace(bytes: Uint8Array, start: number, end: number): Trace {
    const value = firstHash.of(bytes, start, end)
    return { value, point: value % this.#table.total }
  }
}

function rehash(again: number, bytes: Uint8Array, start: number, end: number): number {
  let state = CRC32_START
  for (const digit of String(again)) state = crc32Byte(state, digit.charCodeAt(0))
  return (~crc32State(state, bytes, start, end) >> 16) & 0x7fff
}

/** `hash key consistent;` of nginx's upstream, as in Cache::Memcached::Fast. An empty key goes round robin. */
export class NginxConsistent extends Continuum {
  readonly #roundRobin: RoundRobin

  constructor(servers: readonly RingServer[]) {
    super(ringHash, servers.length, pointsOf(servers))
    this.#roundRobin = new RoundRobin(servers)
  }

  override indexOf(bytes: Uint8Array, start: number, end: number): number {
    return start === end ? this.#roundRobin.next() : super.indexOf(bytes, start, end)
  }

  override successors(bytes: Uint8Array, start: number, end: number, count: number): number[] {
    const distinct = new Distinct(this.servers, count)
    const first = this.indexOf(bytes, start, end)
    distinct.add(first)
    if (start < end) this.walk(this.find(ringHash.of(bytes, start, end) >>> 0), TRIES, distinct)
    return distinct.fillFrom(first)
  }
}

/** 160 points for each unit of weight, each hashed from the one before; equal ones are dropped but for the first. */
function pointsOf(servers: readonly RingServer[]): Points {
  checkPointCount(160 * servers.reduce((sum, server) => sum + weightOf(server), 0))
  const owners = new Map<number, number>()
  for (const [index, server] of servers.entries()) {
    const base = baseOf(server.name)
    let point = 0
    for (let number = 0; number < 160 * weightOf(server); number += 1) {
      let state = base
      for (let shift = 0; shift < 32; shift += 8) state = crc32Byte(state, (point >>> shift) & 0xff)
      point = ~state >>> 0
      if (!owners.has(point)) owners.set(point, index)
    }
  }
  return { values: [...owners.keys()], owners: [...owners.values()] }
}

/** The state of CRC-32 after host, a zero and port of a server as nginx's configuration writes it. */
function baseOf(text: string): number {
  const socket = /^unix:/i.test(text)
  const [, host, port = ''] = (socket ? null : /^(.*):(\d*)$/s.exec(text)) ?? []
  const bytes = Buffer.from(`${host ?? (socket ? text.slice('unix:'.length) : text)}\0${port}`)
  return crc32State(CRC32_START, bytes, 0, bytes.length)
}
