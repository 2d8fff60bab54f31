import { describe, expect, it } from 'vitest'
import { Continuum } from './continuum.ts'
import { createRing } from './distribution.ts'
import { explain } from './explain.ts'
import type { Ring } from './ring.ts'
import { named, someKeys } from './test-support.ts'

const three = [{ name: '127.0.0.1:8081' }, { name: '127.0.0.1:8082' }, { name: '127.0.0.1:8083' }]

// One that is met again and again before the others.
const lopsided = three.map((server, at) => ({ ...server, weight: at === 0 ? 60 : 1 }))

function continuumOf({ placement }: Ring): Continuum {
  if (placement instanceof Continuum) return placement
  throw new Error('not a ring of points')
}

function successorsOf(ring: Ring, key: string, count: number): number[] {
  const bytes = Buffer.from(key)
  return ring.successors(bytes, 0, bytes.length, count)
}

describe('hash of nginx', () => {
  const ring = createRing({ distribution: 'nginx', servers: three })

  it.each([
    ['/', 2],
    ['/a', 1],
    ['apple', 0],
  ])('holds %s where nginx does', (key, index) => {
    expect(ring.indexOfKey(key)).toBe(index)
  })

  it('counts a server as often as it weighs, in the order of the list', () => {
    const weighted = createRing({
      distribution: 'nginx',
      servers: three.map((server, at) => ({ ...server, weight: at + 1 })),
    })
    for (const key of someKeys(50)) {
      const { value, index } = explain(weighted, key)
      expect(index).toBe([0, 1, 1, 2, 2, 2][Number(value) % 6])
    }
  })

  it('goes on by the hash of the number of the try and the key, until twenty were in vain', () => {
    const uneven = createRing({ distribution: 'nginx', servers: lopsided })
    const owner = (sum: number) => [0, 1, 2].find((_, at) => sum % 62 < ([60, 61, 62][at] ?? 0)) ?? -1
    const hash = (text: string) => Number(explain(uneven, text).value)
    for (const key of someKeys(500)) {
      const found = new Set([owner(hash(key))])
      const [first = 0] = found
      let sum = hash(key)
      for (let again = 1, vain = 0; vain <= 20 && found.size < 3; again += 1) {
        sum += hash(`${again}${key}`)
        if (found.has(owner(sum))) vain += 1
        found.add(owner(sum))
      }
      expect(successorsOf(uneven, key, 3)).toEqual([...found.add((first + 1) % 3).add((first + 2) % 3)])
    }
  })
})

describe('hash of nginx, consistent', () => {
  const ring = createRing({ distribution: 'nginx-consistent', servers: three })

  it('has its points', () => {
    const { points, owners } = continuumOf(ring)
    expect([points.length, points[0], owners[0]]).toEqual([480, 858133, 0])
  })

  it.each([
    ['/', 2048036570, 2],
    ['/a', 1775591697, 1],
    ['apple', 2838625055, 0],
  ])('holds %s at the point %d', (key, point, index) => {
    expect(explain(ring, key)).toMatchObject({ point, index })
  })

  it('has 160 points for each unit of weight', () => {
    const weighted = createRing({
      distribution: 'nginx-consistent',
      servers: three.map((server, at) => ({ ...server, weight: at + 1 })),
    })
    const counts = [0, 0, 0]
    for (const owner of continuumOf(weighted).owners) counts[owner] = (counts[owner] ?? 0) + 1
    expect(counts).toEqual([160, 320, 480])
  })

  it.each([
    ['unix:/run/a.sock', 'UNIX:/run/a.sock'],
    ['a', 'a:'],
  ])('%s and %s have the same points: of them one keeps all', (name, other) => {
    const both = createRing({ distribution: 'nginx-consistent', servers: [{ name }, { name: other }] })
    expect(continuumOf(both).points).toHaveLength(160)
    expect(both.idle).toEqual([other])
  })

  it.each([
    ['unix:/run/a.sock', '/run/a.sock\0'],
    ['unix:/run/a:1', '/run/a:1\0'],
    ['backend.example', 'backend.example\0'],
    ['[::1]:80', '[::1]\x0080'],
    ['::1', ':\x001'],
    ['a:80b', 'a:80b\0'],
  ])('of %s it hashes %j', (name, text) => {
    const { points } = continuumOf(createRing({ distribution: 'nginx-consistent', servers: [{ name }] }))
    const bytes = Buffer.concat([Buffer.from(text), Buffer.alloc(4)])
    const first = Number(
      explain(createRing({ distribution: 'nginx-consistent', servers: three }), bytes).value,
    )
    expect(points).toContain(first)
  })

  it('goes on along the ring, and by the order of the list after twenty points in vain', () => {
    const uneven = createRing({ distribution: 'nginx-consistent', servers: lopsided })
    const { points, owners } = continuumOf(uneven)
    for (const key of someKeys(2000)) {
      const place = points.indexOf(explain(uneven, key).point ?? -1)
      const met = Array.from({ length: 21 }, (_, step) => owners[(place + step) % points.length] ?? 0)
      const first = met[0] ?? 0
      const expected = [...new Set([...met, (first + 1) % 3, (first + 2) % 3])]
      expect(successorsOf(uneven, key, 3)).toEqual(expected)
    }
  })
})

describe.each(['nginx', 'nginx-consistent'] as const)('%s', (distribution) => {
  it('gives empty keys to one server after the other, by weight', () => {
    const servers = [{ name: 'a', weight: 5 }, { name: 'b' }, { name: 'c' }]
    const ring = createRing({ distribution, servers })
    const turns = Array.from({ length: 14 }, () => ring.indexOfKey(''))
    expect(turns.map((index) => 'abc'[index]).join('')).toBe('aabacaaaabacaa')
  })

  it('names each server once as successor of any key', () => {
    const ring = createRing({ distribution, servers: named('s', 40) })
    for (const key of ['', ...someKeys(20)]) {
      expect(successorsOf(ring, key, 40).sort((a, b) => a - b)).toEqual([...new Array(40).keys()])
    }
  })
})
