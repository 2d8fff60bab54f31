import { createRing, type Ring } from '@outrider/hash-ring'
import { describe, expect, test } from 'vitest'
import { shardAddress } from './address.ts'
import { SAMPLE_ONE_IN } from './hot-keys.ts'
import { Shard } from './shard.ts'
import { Topology } from './topology.ts'

const NAMES = ['redis-1', 'redis-2', 'redis-3']
const KEYS = Array.from({ length: 500 }, (_, at) => `${at}:key`)

const ringOf = (names: readonly string[]): Ring =>
  createRing({ distribution: 'ketama', servers: names.map((name) => ({ name })) })

/** Shards that nobody connects to, down and up as a test wants it. */
const shardsOf = (names: readonly string[]): Shard[] =>
  names.map(
    (name) =>
      new Shard({
        ...{ name, address: shardAddress({ host: '127.0.0.1', port: 1 }) },
        ...{ connectTimeoutMs: 1_000, timeoutMs: 1_000, backoffMs: 10, backoffMostMs: 20 },
        onState: () => undefined,
      }),
  )

/** Names of the shards of all keys. */
const homes = (topology: Topology): string[] =>
  KEYS.map((key) => topology.locate(Buffer.from(`>${key}<`), 1, key.length + 1).name)
const placed = (names: readonly string[]): string[] => {
  const ring = ringOf(names)
  return KEYS.map((key) => names[ring.indexOfKey(key)] ?? '')
}

function ejecting(): { topology: Topology; down: (...names: string[]) => boolean; ejected: () => string[] } {
  const shards = shardsOf(NAMES)
  const topology = new Topology(ringOf(NAMES), shards, {
    ringOf: (live) => ringOf(live.map((index) => NAMES[index] ?? '')),
  })
  return {
    topology,
    down(...names) {
      for (const shard of shards) shard.primary.up = !names.includes(shard.name)
      return topology.settle()
    },
    ejected: () => shards.filter(({ ejected }) => ejected).map(({ name }) => name),
  }
}

describe('keys of a shard that is down', () => {
  test('stay where they are', () => {
    const shards = shardsOf(NAMES)
    const topology = new Topology(ringOf(NAMES), shards)
    for (const shard of shards) shard.primary.up = shard.name !== 'redis-2'
    expect(topology.settle()).toBe(false)
    expect(homes(topology)).toEqual(placed(NAMES))
  })

  test('are placed as the ring of the others says where it is ejected, and are back with it', () => {
    const { topology, down, ejected } = ejecting()
    expect(down()).toBe(false)
    expect(homes(topology)).toEqual(placed(NAMES))
    expect(down('redis-2')).toBe(true)
    expect(ejected()).toEqual(['redis-2'])
    expect(homes(topology)).toEqual(placed(['redis-1', 'redis-3']))
    expect(down('redis-2')).toBe(false)
    expect(down('redis-2', 'redis-3')).toBe(true)
    expect(homes(topology)).toEqual(placed(['redis-1']))
    expect(down('redis-3')).toBe(true)
    expect(ejected()).toEqual(['redis-3'])
    expect(homes(topology)).toEqual(placed(['redis-1', 'redis-2']))
    expect(down()).toBe(true)
    expect(ejected()).toEqual([])
    expect(homes(topology)).toEqual(placed(NAMES))
  })

  test('stay where they are when all are down: there is nobody to place them among', () => {
    const { topology, down, ejected } = ejecting()
    down('redis-1', 'redis-2')
    expect(down(...NAMES)).toBe(true)
    expect(homes(topology)).toEqual(placed(NAMES))
    expect(ejected()).toEqual([])
    expect(down(...NAMES)).toBe(false)
  })

  test('are not ejected in a new topology in which all are down', () => {
    const { topology, down } = ejecting()
    down('redis-2')
    const [, second] = topology.shards
    if (second === undefined) throw new Error('three')
    const next = new Topology(ringOf(['redis-2']), [second], { ringOf: () => ringOf(['redis-2']) })
    next.settle()
    expect(second.ejected).toBe(false)
  })

  test('count each ejection, and since when it is', () => {
    const { topology, down } = ejecting()
    const [, second] = topology.shards
    for (let round = 0; round < 3; round += 1) {
      down('redis-2')
      expect(second?.ejectedAt).toBeGreaterThan(0)
      down()
      expect(second?.ejectedAt).toBe(0)
    }
    expect(second?.ejections).toBe(3)
  })

  test('go to the gutter as its own ring says, at once, and are back with their shard', () => {
    const spares = ['spare-1', 'spare-2']
    const gutter = new Topology(ringOf(spares), shardsOf(spares))
    const shards = shardsOf(NAMES)
    const topology = new Topology(ringOf(NAMES), shards, { gutter })
    expect(topology.all.map(({ name }) => name)).toEqual([...NAMES, ...spares])
    expect(topology.isSingle).toBe(false)
    expect(homes(topology)).toEqual(placed(NAMES))
    const [, second] = shards
    if (second === undefined) throw new Error('three')
    second.primary.up = false
    const inGutter = placed(spares)
    expect(homes(topology)).toEqual(
      placed(NAMES).map((name, at) => (name === 'redis-2' ? inGutter[at] : name)),
    )
    // Whoever relies on where its keys were has to be told, each time once.
    expect([topology.settle(), topology.settle()]).toEqual([true, false])
    second.primary.up = true
    expect(homes(topology)).toEqual(placed(NAMES))
    expect([topology.settle(), topology.settle()]).toEqual([true, false])
  })
})

describe('a topology', () => {
  test('has hot keys with the shard that is asked for them, from a sample', () => {
    const topology = new Topology(ringOf(NAMES), shardsOf(NAMES))
    const key = Buffer.from('hot')
    for (let left = 400 * SAMPLE_ONE_IN; left > 0; left -= 1) topology.locate(key, 0, key.length)
    const hot = topology.shards.flatMap(({ name, hot }) =>
      hot.top(10, performance.now()).map((one) => ({ name, ...one })),
    )
    const [name] = [ringOf(NAMES).indexOfKey('hot')].map((index) => NAMES[index])
    expect(hot).toEqual([{ name, key: 'hot', perSecond: expect.any(Number) }])
    // Of so many in a second at most, with what chance makes of it.
    expect((hot[0]?.perSecond ?? 0) / SAMPLE_ONE_IN).toBeGreaterThan(300)
    expect((hot[0]?.perSecond ?? 0) / SAMPLE_ONE_IN).toBeLessThan(500)
  })

  test('has one shard for publish and subscribe, and no key is hot for it', () => {
    const topology = new Topology(ringOf(NAMES), shardsOf(NAMES))
    const { pubsub } = topology
    for (let left = 100 * SAMPLE_ONE_IN; left > 0; left -= 1) expect(topology.pubsub).toBe(pubsub)
    expect(topology.shards.flatMap(({ hot }) => hot.top(10, performance.now()))).toEqual([])
  })
})
