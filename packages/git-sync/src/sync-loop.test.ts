import type { Mirror, SyncOptions, SyncResult } from '@outrider/git-mirror'
import { afterEach, describe, expect, it } from 'vitest'
import {
  backoffMs,
  HookRefusal,
  type SyncLoop,
  type SyncLoopOptions,
  type SyncReport,
  startSyncLoop,
} from './sync-loop.ts'

const loops: SyncLoop[] = []
afterEach(async () => {
  await Promise.all(loops.splice(0).map((loop) => loop[Symbol.asyncDispose]()))
})

const tree = { hash: 'a'.repeat(40), path: '/x' }
const unchanged: SyncResult = { outcome: 'unchanged', tree, isPinned: false }

/** A loop over syncs that do what they are told, and what it reported. */
function loopOver(
  sync: (options: SyncOptions, count: number) => Promise<SyncResult>,
  options: Partial<SyncLoopOptions> = {},
): { loop: SyncLoop; reports: SyncReport[]; count: () => number } {
  let count = 0
  const reports: SyncReport[] = []
  const mirror: Mirror = {
    published: undefined,
    sync: (syncOptions) => sync(syncOptions, ++count),
    async [Symbol.asyncDispose]() {},
  }
  const loop = startSyncLoop({
    mirror,
    periodMs: 10,
    initPeriodMs: 10,
    timeoutMs: 60_000,
    maxFailures: 0,
    initMaxFailures: 0,
    isOneTime: false,
    access: async () => ({}),
    onSync: (report) => reports.push(report),
    ...options,
  })
  loops.push(loop)
  return { loop, reports, count: () => count }
}

const fails = () => Promise.reject(new Error('no'))

describe('the loop', () => {
  it('syncs again after each period', async () => {
    const { count } = loopOver(async () => unchanged)
    await expect.poll(count).toBeGreaterThan(3)
  })

  it('syncs a pinned ref once, and again only when asked', async () => {
    const { loop, count } = loopOver(async () => ({ ...unchanged, isPinned: true }))
    await expect.poll(count).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(count()).toBe(1)
    loop.trigger()
    await expect.poll(count).toBe(2)
  })

  it('merges all triggers during a sync into one more', async () => {
    const first = Promise.withResolvers<SyncResult>()
    const { loop, count } = loopOver(
      (_, number) => (number === 1 ? first.promise : Promise.resolve(unchanged)),
      {
        periodMs: 3_600_000,
      },
    )
    await expect.poll(count).toBe(1)
    for (let round = 0; round < 100; round++) loop.trigger()
    first.resolve(unchanged)
    await expect.poll(count).toBe(2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(count()).toBe(2)
  })

  it('a trigger does not wait for the period, nor for a backoff', async () => {
    const { loop, count } = loopOver((_, number) => (number === 1 ? fails() : Promise.resolve(unchanged)), {
      periodMs: 3_600_000,
      initPeriodMs: 3_600_000,
      initMaxFailures: -1,
    })
    await expect.poll(count).toBe(1)
    loop.trigger()
    await expect.poll(count).toBe(2)
    loop.trigger()
    await expect.poll(count).toBe(3)
  })

  it('ends as done after the first success of a one-time sync', async () => {
    const { loop, count } = loopOver((_, number) => (number < 3 ? fails() : Promise.resolve(unchanged)), {
      isOneTime: true,
      initMaxFailures: 5,
    })
    expect(await loop.ended).toBe('done')
    expect(count()).toBe(3)
  })

  it.each([
    [0, 1],
    [1, 1],
    [3, 3],
  ])('with %i failures allowed it gives up at number %i', async (maxFailures, expected) => {
    const { loop, reports } = loopOver(fails, { initMaxFailures: maxFailures, initPeriodMs: 1 })
    expect(await loop.ended).toBe('failed')
    expect(reports).toHaveLength(expected)
    expect(reports.at(-1)).toMatchObject({ outcome: 'failed', failures: expected, retryMs: undefined })
  })

  it('refusals of a hook do not count for the limit, and do not make the wait after a failure longer', async () => {
    const refuses = () => Promise.reject(new HookRefusal('no', 1))
    const { loop, reports } = loopOver((_, number) => (number <= 5 ? refuses() : fails()), {
      initMaxFailures: 2,
      initPeriodMs: 1,
    })
    expect(await loop.ended).toBe('failed')
    expect(reports).toHaveLength(7)
    const [, , , , , first] = reports
    expect(first).toMatchObject({ outcome: 'failed', failures: 6 })
    expect(first?.outcome === 'failed' && first.retryMs).toBeLessThan(2)
  })

  it('ends at the first refusal of a hook where it is one-time', async () => {
    const refuses = () => Promise.reject(new HookRefusal('no', 1))
    const { loop, reports } = loopOver(refuses, { isOneTime: true })
    expect(await loop.ended).toBe('failed')
    expect(reports).toHaveLength(1)
  })

  it('counts failures after a success anew, and by the other limit', async () => {
    const { loop, reports } = loopOver(
      (_, number) => (number % 2 === 1 ? fails() : Promise.resolve(unchanged)),
      {
        initMaxFailures: 2,
        maxFailures: 2,
        periodMs: 1,
        initPeriodMs: 1,
      },
    )
    await expect.poll(() => reports.length).toBeGreaterThan(6)
    expect(reports.filter(({ outcome }) => outcome === 'failed')).toEqual(
      expect.arrayContaining([expect.objectContaining({ failures: 1 })]),
    )
    await loop.stop()
  })

  it('a sync that takes too long is ended, and the timeout is said', async () => {
    const { reports } = loopOver(
      ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('cut')))),
      { timeoutMs: 20, initMaxFailures: -1 },
    )
    await expect.poll(() => reports.length).toBeGreaterThan(0)
    expect(reports[0]).toMatchObject({
      error: expect.objectContaining({ message: expect.stringContaining('0.02 s') }),
    })
  })

  it('credentials that do not come are no longer awaited than the sync may take', async () => {
    const never = Promise.withResolvers<never>().promise
    const { reports } = loopOver(fails, { access: () => never, timeoutMs: 20 })
    await expect.poll(() => reports.length).toBe(1)
    expect(reports[0]).toMatchObject({
      error: { name: 'SyncTimeout', message: expect.stringContaining('credentials') },
    })
  })

  it('disposing does not wait for credentials', async () => {
    const never = Promise.withResolvers<never>().promise
    const { loop, reports } = loopOver(fails, { access: () => never })
    await loop[Symbol.asyncDispose]()
    expect(reports).toEqual([])
  })

  it('stopping waits for the sync in hand and begins no other', async () => {
    const first = Promise.withResolvers<SyncResult>()
    const { loop, count, reports } = loopOver(() => first.promise)
    await expect.poll(count).toBe(1)
    const stopped = loop.stop()
    loop.trigger()
    first.resolve(unchanged)
    await stopped
    expect(reports).toHaveLength(1)
    expect(count()).toBe(1)
  })

  it('disposing ends the sync in hand', async () => {
    const { loop, count } = loopOver(
      ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('cut')))),
    )
    await expect.poll(count).toBe(1)
    await loop[Symbol.asyncDispose]()
    expect(count()).toBe(1)
  })
})

describe('the backoff', () => {
  it('doubles from the period up to two minutes, spread by a quarter to both sides', () => {
    const waits = [1, 2, 3, 4, 5, 6, 100].map((failures) => backoffMs(10_000, failures, 0.5))
    expect(waits).toEqual([10_000, 20_000, 40_000, 80_000, 120_000, 120_000, 120_000])
    expect([backoffMs(10_000, 1, 0), backoffMs(10_000, 1, 1)]).toEqual([7_500, 12_500])
  })

  it('is never shorter than a longer period', () => {
    expect(backoffMs(600_000, 5, 0.5)).toBe(600_000)
  })
})
