import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { HotKeys, SAMPLE_ONE_IN, Sampler } from './hot-keys.ts'

/** How many keys are told apart at the same time. */
const COUNTED = 64
const WINDOW_MS = 10_000

function take(hot: HotKeys, key: string | Buffer, times = 1): void {
  const bytes = Buffer.concat([Buffer.from('before'), Buffer.from(key), Buffer.from('behind')])
  for (let left = times; left > 0; left -= 1) hot.take(bytes, 6, bytes.length - 6)
}

/** Keys to how often they are thought to have been taken, of the first window. */
function countsOf(hot: HotKeys): Map<string, number> {
  // After ten seconds exactly, so that rates are tenths of counts.
  const all = hot.hottest(1_000, performance.now() + WINDOW_MS)
  return new Map(all.map(({ bytes, perSecond }) => [bytes, Math.round((perSecond * 10) / SAMPLE_ONE_IN)]))
}

/** Numbers of keys, few of them often and many of them seldom. */
const stream = fc.array(
  fc.oneof({ weight: 3, arbitrary: fc.nat(5) }, { weight: 2, arbitrary: fc.nat(400) }),
  { minLength: 1, maxLength: 3_000 },
)

beforeEach(() => {
  // The clock stands still, so that rates are exact.
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('hot keys', () => {
  test('are never counted too high, and too low by a 64th of all at most; whoever has more than that is there', () => {
    fc.assert(
      fc.property(stream, (numbers) => {
        const hot = new HotKeys()
        const exact = new Map<string, number>()
        for (const number of numbers) {
          const key = `key:${number}`
          take(hot, key)
          exact.set(key, (exact.get(key) ?? 0) + 1)
        }
        const counts = countsOf(hot)
        const error = numbers.length / COUNTED
        for (const [key, count] of counts) {
          expect(count).toBeLessThanOrEqual(exact.get(key) ?? 0)
          expect(count).toBeGreaterThanOrEqual((exact.get(key) ?? 0) - error)
        }
        for (const [key, count] of exact) if (count > error + 1) expect(counts.has(key)).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  test('are exact as long as there are no more than are told apart, and the hottest comes first', () => {
    const hot = new HotKeys()
    for (let key = 0; key < COUNTED; key += 1) take(hot, `key:${key}`, 2 + key)
    const counts = [...countsOf(hot)]
    expect(counts).toEqual(
      Array.from({ length: COUNTED }, (_, at) => [`key:${COUNTED - 1 - at}`, 2 + COUNTED - 1 - at]),
    )
    expect(hot.top(3, performance.now()).map(({ key }) => key)).toEqual(['key:63', 'key:62', 'key:61'])
  })

  test('are those of the last 10 to 20 seconds', () => {
    const hot = new HotKeys()
    const begun = performance.now()
    const keysAt = (now: number): string[] => hot.top(10, now).map(({ key }) => key)
    take(hot, 'old', 100)
    hot.tick(begun + WINDOW_MS + 1)
    take(hot, 'new', 10)
    expect(keysAt(begun + WINDOW_MS + 1)).toEqual(['old', 'new'])
    hot.tick(begun + 2 * WINDOW_MS + 2)
    expect(keysAt(begun + 2 * WINDOW_MS + 2)).toEqual(['new'])
    hot.tick(begun + 3 * WINDOW_MS + 3)
    expect(keysAt(begun + 3 * WINDOW_MS + 3)).toEqual([])
  })

  test('that are all alike are not called hot', () => {
    const hot = new HotKeys()
    for (let round = 0; round < 50; round += 1) for (let key = 0; key < 400; key += 1) take(hot, `key:${key}`)
    expect([...countsOf(hot)].every(([, count]) => count <= 50)).toBe(true)
  })

  test('that were seen once are not hot', () => {
    const hot = new HotKeys()
    take(hot, 'once')
    expect(hot.top(10, performance.now())).toEqual([])
  })

  test.each([
    ['text', 'héllo', 'héllo'],
    ['bytes that are no text', Buffer.from([0x61, 0x9f, 0xff]), 'a\\x9f\\xff'],
    ['lines and marks', 'a\r\nb\0\x7f', 'a\\x0d\\x0ab\\x00\\x7f'],
    ['ends of lines beyond ASCII', 'a\u0085b\u2028c', 'a\\x85b\\u2028c'],
    ['what looks like an escape', 'a\\x0d', 'a\\x5cx0d'],
    ['a long one', 'k'.repeat(200), `${'k'.repeat(96)}...`],
    ['one as long as is kept', 'k'.repeat(96), 'k'.repeat(96)],
    ['text that is cut in a letter', `${'k'.repeat(95)}é`.padEnd(200, 'x'), `${'k'.repeat(95)}...`],
    ['the empty one', '', ''],
  ])('are shown on one line: %s', (_, key, shown) => {
    const hot = new HotKeys()
    take(hot, key, 2)
    expect(hot.top(1, performance.now()).map((one) => one.key)).toEqual([shown])
  })

  test('of different lengths are different ones, also where they begin alike', () => {
    const hot = new HotKeys()
    take(hot, 'k'.repeat(150), 5)
    take(hot, 'k'.repeat(151), 3)
    take(hot, 'k'.repeat(96), 2)
    expect(hot.top(10, performance.now()).map(({ perSecond }) => perSecond / SAMPLE_ONE_IN)).toEqual([
      5, 3, 2,
    ])
  })
})

test('one command in so many is looked at, on average, and none twice', () => {
  const sampler = new Sampler()
  let taken = 0
  const commands = 200_000
  for (let left = commands; left > 0; left -= 1) {
    sampler.left -= 1
    if (sampler.left > 0) continue
    sampler.next()
    taken += 1
    expect(sampler.left).toBeGreaterThan(0)
  }
  // Ten times the standard deviation.
  expect(Math.abs(taken - commands / SAMPLE_ONE_IN)).toBeLessThan(500)
})
