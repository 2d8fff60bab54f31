import { describe, expect, it } from 'vitest'
import type { Running } from './container.ts'
import { drainWithin } from './drain.ts'

const ample = 60_000

/** A mechanism that drains as told, and what it was asked for. */
function mechanism(drain?: () => Promise<void>) {
  const calls: string[] = []
  const running: Running = {
    ...(drain && {
      drain: () => {
        calls.push('drain')
        return drain()
      },
    }),
    async [Symbol.asyncDispose]() {
      calls.push('dispose')
    },
  }
  return { running, calls }
}

describe('drainWithin', () => {
  it('is finished when the work in hand is', async () => {
    const work = Promise.withResolvers<void>()
    const { running } = mechanism(() => work.promise)
    const outcome = drainWithin(running, ample)
    work.resolve()
    expect(await outcome).toBe('finished')
  })

  it('cuts off what is not finished at the deadline', async () => {
    const { running } = mechanism(() => new Promise(() => undefined))
    expect(await drainWithin(running, 20)).toBe('cut off')
  })

  it('is finished at once where there is nothing to drain', async () => {
    const { running } = mechanism()
    expect(await drainWithin(running, ample)).toBe('finished')
  })

  it('with a deadline of zero still lets finished work be finished', async () => {
    const { running } = mechanism(async () => undefined)
    expect(await drainWithin(running, 0)).toBe('finished')
  })

  it.each<readonly [string, () => Promise<void>]>([
    ['rejects', () => Promise.reject(new Error('broken'))],
    [
      'throws',
      () => {
        throw new Error('broken')
      },
    ],
  ])('a drain that %s is cut off', async (_, drain) => {
    expect(await drainWithin(mechanism(drain).running, ample)).toBe('cut off')
  })

  it.each<readonly [string, (() => Promise<void>) | undefined]>([
    ['finished', async () => undefined],
    ['rejected', () => Promise.reject(new Error('broken'))],
    [
      'thrown',
      () => {
        throw new Error('broken')
      },
    ],
    ['past its deadline', () => new Promise(() => undefined)],
  ])('disposes once, after the drain is %s', async (_, drain) => {
    const { running, calls } = mechanism(drain)
    await drainWithin(running, 20)
    expect(calls).toEqual(['drain', 'dispose'])
  })

  it('goes on without a mechanism that cannot be cut off', async () => {
    const running: Running = { [Symbol.asyncDispose]: () => new Promise(() => undefined) }
    expect(await drainWithin(running, ample)).toBe('cut off')
  })

  it('a drain that fails after its deadline breaks nothing', async () => {
    const work = Promise.withResolvers<void>()
    const { running } = mechanism(() => work.promise)
    expect(await drainWithin(running, 20)).toBe('cut off')
    work.reject(new Error('too late'))
    // An unhandled rejection would fail the run.
    await new Promise((done) => setImmediate(done))
  })
})
