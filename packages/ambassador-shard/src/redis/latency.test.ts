import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Latency } from './latency.ts'

const NOW = 1_000_000
const WINDOW_MS = 30_000
/** Milliseconds from less than a microsecond to two minutes, each magnitude as likely as the others. */
const time = fc
  .tuple(fc.integer({ min: -4, max: 4 }), fc.double({ min: 1, max: 10, noNaN: true }))
  .map(([exponent, digits]) => Math.min(120_000, digits * 10 ** exponent))
const replies = fc.array(fc.tuple(fc.integer({ min: 1, max: 50 }), time), { minLength: 1, maxLength: 60 })
const share = fc.double({ min: 0.001, max: 1, noNaN: true })

/** The least time within which such a share of the replies came. */
function exactly(all: readonly (readonly [number, number])[], wanted: number): number {
  const sorted = [...all].sort(([, a], [, b]) => a - b)
  let left = wanted * sorted.reduce((sum, [count]) => sum + count, 0)
  for (const [count, ms] of sorted) {
    left -= count
    if (left <= 0) return ms
  }
  return sorted.at(-1)?.[1] ?? 0
}

describe('latency', () => {
  test('is an upper bound of what it was, and at most a fourth and 2 us more', () => {
    fc.assert(
      fc.property(replies, share, (all, wanted) => {
        const latency = new Latency()
        for (const [count, ms] of all) latency.add(count, ms, NOW)
        const [bound = 0] = latency.quantiles([wanted], NOW)
        const exact = exactly(all, wanted)
        expect(bound).toBeGreaterThanOrEqual(exact)
        expect(bound).toBeLessThanOrEqual(exact * 1.25 + 0.002)
      }),
      { numRuns: 1_000 },
    )
  })

  test('grows with the share that is asked for', () => {
    fc.assert(
      fc.property(replies, fc.array(share, { minLength: 2, maxLength: 6 }), (all, shares) => {
        const latency = new Latency()
        for (const [count, ms] of all) latency.add(count, ms, NOW)
        const sorted = [...shares].sort((a, b) => a - b)
        const bounds = latency.quantiles(sorted, NOW)
        expect(bounds).toEqual([...bounds].sort((a, b) => a - b))
      }),
    )
  })

  test('is that of the last 30 to 60 seconds, and what is counted since the start stays', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(40_000), fc.constantFrom(1, 10, 100, 1_000)), {
          minLength: 1,
          maxLength: 40,
        }),
        fc.nat(100_000),
        (steps, wait) => {
          const latency = new Latency()
          let now = NOW
          const seen: [number, number][] = []
          for (const [pause, ms] of steps) {
            now += pause
            latency.add(1, ms, now)
            seen.push([now, ms])
          }
          now += wait
          const [most = 0] = latency.quantiles([1], now)
          const since = (age: number): number =>
            Math.max(0, ...seen.filter(([at]) => now - at <= age).map(([, ms]) => ms))
          expect(most).toBeGreaterThanOrEqual(since(WINDOW_MS))
          expect(most).toBeLessThanOrEqual(since(2 * WINDOW_MS) * 1.25 + 0.002)
          expect(latency.count).toBe(steps.length)
          expect(latency.totalMs).toBe(steps.reduce((sum, [, ms]) => sum + ms, 0))
        },
      ),
    )
  })

  test('is 0 where there were no replies', () => {
    expect(new Latency().quantiles([0.5, 0.99], NOW)).toEqual([0, 0])
  })
})
