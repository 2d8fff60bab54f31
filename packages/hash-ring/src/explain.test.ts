import { expect, it } from 'vitest'
import { createRing } from './distribution.ts'
import { explain } from './explain.ts'
import { named, someKeys } from './test-support.ts'

it('a key of a ring is explained from its tag to the share of its server', () => {
  const ring = createRing({ distribution: 'ketama', servers: named('server', 4), tag: '{}' })
  const explanation = explain(ring, 'user{apple}')
  expect(explanation).toEqual({
    key: 'user{apple}',
    part: 'apple',
    hash: 'fnv1a_64',
    value: 1488911807,
    point: 1491449930,
    server: 'server1',
    index: 0,
    share: ring.placement.shares[0],
  })
  expect(explanation.share).toBeGreaterThan(0.2)
})

it('a key of a Redis Cluster is explained by its slot', () => {
  const ring = createRing({ distribution: 'redis-cluster', servers: named('s', 3) })
  expect(explain(ring, 'a{foo}')).toMatchObject({
    part: 'foo',
    hash: 'slot',
    value: 12182,
    point: 16383,
    index: 2,
  })
})

it('a key of a rendezvous has a hash of 64 bits and no point', () => {
  const ring = createRing({ distribution: 'rendezvous', servers: named('s', 4) })
  expect(explain(ring, 'apple')).toMatchObject({ hash: 'murmur64a', value: expect.any(BigInt), share: 0.25 })
  expect(explain(ring, 'apple').point).toBeUndefined()
})

it('a key of random has no home', () => {
  const ring = createRing({ distribution: 'random', servers: named('s', 4) })
  expect(explain(ring, 'apple')).toEqual({ key: 'apple', part: 'apple' })
})

it('it explains what indexOf says, also of bytes that are no text', () => {
  for (const distribution of ['ketama', 'modula', 'nginx', 'rendezvous', 'jump'] as const) {
    const ring = createRing({ distribution, servers: named('s', 7) })
    for (const key of [...someKeys(50), Uint8Array.of(0xff, 0, 0x80)]) {
      const { index, server } = explain(ring, key)
      expect(index).toBe(ring.indexOfKey(key))
      expect(server).toBe(ring.servers[index ?? -1]?.name)
    }
  }
})
