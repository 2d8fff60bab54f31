import { describe, expect, it } from 'vitest'
import { createRing } from './distribution.ts'
import { someKeys } from './test-support.ts'

const nodes = (count: number) => Array.from({ length: count }, (_, index) => ({ name: `xxx.${index}.yy` }))

// Of mcrouter's own tests.
describe.each([
  ['rendezvous-unweighted' as const, 3, [1, 1, 1]],
  ['rendezvous-unweighted' as const, 343, [45, 291, 132]],
  ['rendezvous' as const, 3, [0, 2, 1]],
  ['rendezvous' as const, 343, [115, 279, 302]],
])('%s over %d servers', (distribution, count, expected) => {
  it('holds keys where mcrouter does', () => {
    const ring = createRing({ distribution, servers: nodes(count) })
    expect(['sample', '', 'mykey'].map((key) => ring.indexOfKey(key))).toEqual(expected)
  })
})

it('weights of 1, 0.5 and 0.1 split keys as in mcrouter', () => {
  const servers = nodes(3).map((server, at) => ({ ...server, weight: [1, 0.5, 0.1][at] ?? 1 }))
  const ring = createRing({ distribution: 'rendezvous', servers })
  const counts = [0, 0, 0]
  for (let key = 0; key < 10_000; key += 1) {
    const index = ring.indexOfKey(`mykey:${key}`)
    counts[index] = (counts[index] ?? 0) + 1
  }
  expect(counts).toEqual([6292, 3118, 590])
  expect(ring.placement.shares.map((share) => Math.round(share * 16))).toEqual([10, 5, 1])
})

it('equal weights choose as no weights do, whatever they are', () => {
  const plain = createRing({ distribution: 'rendezvous', servers: nodes(5) })
  const equal = createRing({
    distribution: 'rendezvous',
    servers: nodes(5).map((server) => ({ ...server, weight: 7 })),
  })
  // Nearly equal ones are weighed by the logarithm, which must decide alike.
  const nearly = createRing({
    distribution: 'rendezvous',
    servers: nodes(5).map((server, at) => ({ ...server, weight: at === 0 ? 1 + 1e-12 : 1 })),
  })
  for (const key of someKeys(2000)) {
    expect([equal.indexOfKey(key), nearly.indexOfKey(key)]).toEqual([
      plain.indexOfKey(key),
      plain.indexOfKey(key),
    ])
  }
})

it('the successors of a key are what would hold it without those before', () => {
  const servers = nodes(6)
  const ring = createRing({ distribution: 'rendezvous', servers })
  for (const key of someKeys(100)) {
    const bytes = Buffer.from(key)
    const order = ring.successors(bytes, 0, bytes.length, 6)
    for (let gone = 0; gone < 6; gone += 1) {
      const left = servers.filter((_, index) => !order.slice(0, gone).includes(index))
      const home = left[createRing({ distribution: 'rendezvous', servers: left }).indexOfKey(key)]
      expect(home).toBe(servers[order[gone] ?? -1])
    }
  }
})
