import { expect, it } from 'vitest'
import { forEachBounded } from './for-each-bounded.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('all items are worked on, in their order, and never more at a time than the limit', async () => {
  const begun: number[] = []
  let running = 0
  let most = 0
  await forEachBounded([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
    begun.push(item)
    running += 1
    most = Math.max(most, running)
    await turn()
    running -= 1
  })
  expect(begun).toEqual([1, 2, 3, 4, 5, 6, 7])
  expect(most).toBe(3)
})

it('the first error is thrown when what had begun is over, and nothing begins after it', async () => {
  const begun: number[] = []
  const ended: number[] = []
  const work = forEachBounded([1, 2, 3, 4, 5, 6], 2, async (item) => {
    begun.push(item)
    await turn()
    if (item === 1) throw new Error('one')
    await turn()
    ended.push(item)
  })
  await expect(work).rejects.toThrow('one')
  expect(begun).toEqual([1, 2])
  expect(ended).toEqual([2])
})

it('nothing to do is done', async () => {
  await forEachBounded([], 4, () => Promise.reject(new Error('no item')))
})
