import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { type HookReport, HookRunner } from './hook-runner.ts'

const tree = (hash: string) => ({ hash, path: `/tree/${hash}` })

/** A hook of which each run ends when and how the test says. */
class Hook {
  readonly runs: Run[] = []
  readonly reports: HookReport[] = []
  most = 0
  readonly runner: HookRunner
  #open = 0

  constructor(backoffMs = 0) {
    this.runner = new HookRunner({
      name: 'exechook',
      backoffMs,
      run: async (hash, path, signal) => {
        this.#open += 1
        this.most = Math.max(this.most, this.#open)
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        this.runs.push({ hash, path, signal, succeed: resolve, fail: () => reject(new Error('it failed')) })
        await promise.finally(() => {
          this.#open -= 1
        })
      },
      onRun: (report) => this.reports.push(report),
    })
  }

  get hashes(): string[] {
    return this.runs.map(({ hash }) => hash)
  }

  run(index: number): Run {
    const run = this.runs[index]
    if (run === undefined) throw new Error(`there were ${this.runs.length} runs only`)
    return run
  }

  async until(count: number): Promise<void> {
    while (this.runs.length < count) await setImmediate()
  }

  async settle(index: number, how: 'succeed' | 'fail'): Promise<void> {
    const before = this.reports.length
    this.run(index)[how]()
    while (this.reports.length === before) await setImmediate()
  }
}

interface Run {
  readonly hash: string
  readonly path: string
  readonly signal: AbortSignal
  succeed(): void
  fail(): void
}

/** Longer than any test. */
const LONG = 600_000

describe('a hook runs', () => {
  test('for the first hash that is said, with its tree', async () => {
    const hook = new Hook()
    hook.runner.request(tree('a'))
    expect(hook.runs).toMatchObject([{ hash: 'a', path: '/tree/a' }])
    await hook.settle(0, 'succeed')
    await hook.runner.stop()
  })

  test('once for each new hash, however often it is said', async () => {
    const hook = new Hook()
    for (const hash of ['a', 'a', 'b', 'b']) {
      hook.runner.request(tree(hash))
      const index = hook.runs.length - 1
      if (hook.reports.length < hook.runs.length) await hook.settle(index, 'succeed')
    }
    expect(hook.hashes).toEqual(['a', 'b'])
  })

  test('again for a hash that is back', async () => {
    const hook = new Hook()
    for (const [index, hash] of ['a', 'b', 'a'].entries()) {
      hook.runner.request(tree(hash))
      await hook.settle(index, 'succeed')
    }
    expect(hook.hashes).toEqual(['a', 'b', 'a'])
  })

  test('never twice at the same time', async () => {
    const hook = new Hook()
    hook.runner.request(tree('a'))
    hook.runner.request(tree('b'))
    await hook.settle(0, 'succeed')
    await hook.until(2)
    await hook.settle(1, 'succeed')
    expect(hook.most).toBe(1)
  })

  test('only for the last of the hashes that came while it ran', async () => {
    const hook = new Hook()
    for (const hash of ['a', 'b', 'c', 'd']) hook.runner.request(tree(hash))
    await hook.settle(0, 'succeed')
    await hook.until(2)
    await hook.settle(1, 'succeed')
    expect(hook.hashes).toEqual(['a', 'd'])
  })

  test('not again for a hash that came and went while it ran', async () => {
    const hook = new Hook()
    for (const hash of ['a', 'b', 'a']) hook.runner.request(tree(hash))
    await hook.settle(0, 'succeed')
    await hook.runner.stop()
    expect(hook.hashes).toEqual(['a'])
  })

  test('for a hash that is said in the very moment in which it ends', async () => {
    const hook = new Hook()
    hook.runner.request(tree('a'))
    const { promise, resolve } = Promise.withResolvers<void>()
    void promise.then(() => hook.runner.request(tree('b')))
    resolve()
    hook.run(0).succeed()
    await hook.until(2)
    expect(hook.hashes).toEqual(['a', 'b'])
  })
})

describe('a run that failed', () => {
  test('is repeated until it succeeds', async () => {
    const hook = new Hook()
    hook.runner.request(tree('a'))
    for (const [index, how] of (['fail', 'fail', 'succeed'] as const).entries()) {
      await hook.until(index + 1)
      await hook.settle(index, how)
    }
    hook.runner.request(tree('a'))
    await hook.runner.stop()
    expect(hook.hashes).toEqual(['a', 'a', 'a'])
  })

  test('waits for its backoff, whoever says the same hash again', async () => {
    const hook = new Hook(LONG)
    hook.runner.request(tree('a'))
    await hook.settle(0, 'fail')
    hook.runner.request(tree('a'))
    await setImmediate()
    expect(hook.hashes).toEqual(['a'])
    await hook.runner.stop()
  })

  test('is in the tree that was said last, as the one before may be gone', async () => {
    const hook = new Hook()
    hook.runner.request(tree('a'))
    hook.runner.request({ hash: 'a', path: '/tree/again/a' })
    await hook.settle(0, 'fail')
    await hook.until(2)
    expect(hook.runs.map(({ path }) => path)).toEqual(['/tree/a', '/tree/again/a'])
    await hook.settle(1, 'succeed')
  })

  test('gives way to a newer hash at once', async () => {
    const hook = new Hook(LONG)
    hook.runner.request(tree('a'))
    await hook.settle(0, 'fail')
    hook.runner.request(tree('b'))
    await hook.until(2)
    expect(hook.hashes).toEqual(['a', 'b'])
    await hook.settle(1, 'succeed')
  })

  test('is not repeated where a newer hash came while it ran', async () => {
    const hook = new Hook(LONG)
    hook.runner.request(tree('a'))
    hook.runner.request(tree('b'))
    await hook.settle(0, 'fail')
    await hook.until(2)
    expect(hook.hashes).toEqual(['a', 'b'])
    await hook.settle(1, 'succeed')
  })

  test('has undone the hash before it, which runs again when it is back', async () => {
    const hook = new Hook(LONG)
    hook.runner.request(tree('a'))
    await hook.settle(0, 'succeed')
    hook.runner.request(tree('b'))
    await hook.settle(1, 'fail')
    hook.runner.request(tree('a'))
    await hook.until(3)
    expect(hook.hashes).toEqual(['a', 'b', 'a'])
    await hook.settle(2, 'succeed')
  })
})

describe('one run alone', () => {
  test('resolves when it succeeded', async () => {
    const hook = new Hook()
    const once = hook.runner.runOnce(tree('a'))
    hook.run(0).succeed()
    await once
    expect(hook.reports).toMatchObject([{ hash: 'a', outcome: 'success' }])
  })

  test('rejects when it failed, and is not repeated', async () => {
    const hook = new Hook()
    const once = hook.runner.runOnce(tree('a'))
    hook.run(0).fail()
    await expect(once).rejects.toThrow('it failed')
    await setImmediate()
    expect(hook.runs).toHaveLength(1)
  })
})

describe('to stop', () => {
  test('waits for the run that is under way, which is not disturbed', async () => {
    const hook = new Hook()
    hook.runner.request(tree('a'))
    let stopped = false
    const stop = hook.runner.stop().then(() => {
      stopped = true
    })
    await setImmediate()
    expect([stopped, hook.run(0).signal.aborted]).toEqual([false, false])
    hook.run(0).succeed()
    await stop
  })

  test('waits for one run alone as well, and begins none after it', async () => {
    const hook = new Hook()
    const once = hook.runner.runOnce(tree('a'))
    const stop = hook.runner.stop().then(() => hook.reports.length)
    await setImmediate()
    hook.run(0).succeed()
    await once
    expect(await stop).toBe(1)
    await expect(hook.runner.runOnce(tree('b'))).rejects.toThrow('stopped')
    expect(hook.hashes).toEqual(['a'])
  })

  test('begins no run that waits', async () => {
    const hook = new Hook()
    hook.runner.request(tree('a'))
    hook.runner.request(tree('b'))
    const stop = hook.runner.stop()
    hook.run(0).succeed()
    await stop
    hook.runner.request(tree('c'))
    await setImmediate()
    expect(hook.hashes).toEqual(['a'])
  })

  test('ends a backoff', async () => {
    const hook = new Hook(LONG)
    hook.runner.request(tree('a'))
    await hook.settle(0, 'fail')
    await hook.runner.stop()
    expect(hook.hashes).toEqual(['a'])
  })

  test('by disposing tells the run that is under way to end', async () => {
    const hook = new Hook()
    hook.runner.request(tree('a'))
    const { signal, fail } = hook.run(0)
    signal.addEventListener('abort', fail)
    await hook.runner[Symbol.asyncDispose]()
    expect(hook.reports).toMatchObject([{ hash: 'a', outcome: 'error' }])
    expect(hook.hashes).toEqual(['a'])
  })
})

test('each run is reported with its hash, its result and its time', async () => {
  const hook = new Hook()
  hook.runner.request(tree('a'))
  await hook.settle(0, 'fail')
  await hook.until(2)
  await hook.settle(1, 'succeed')
  const ms = expect.any(Number)
  expect(hook.reports).toEqual([
    { name: 'exechook', hash: 'a', outcome: 'error', ms, error: new Error('it failed') },
    { name: 'exechook', hash: 'a', outcome: 'success', ms },
  ])
})
