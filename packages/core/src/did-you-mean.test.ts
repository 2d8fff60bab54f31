import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { editDistance, nearest } from './did-you-mean.ts'

describe('editDistance', () => {
  const word = fc.string({ maxLength: 12 })

  it.each([
    ['', '', 0],
    ['abc', '', 3],
    ['kitten', 'sitting', 3],
    ['flaw', 'lawn', 2],
  ])('%j to %j is %i', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance)
  })

  it('is the same both ways, zero only between equals, and at most the longer length', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b)
        expect(distance).toBe(editDistance(b, a))
        expect(distance === 0).toBe(a === b)
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length))
      }),
    )
  })
})

describe('nearest', () => {
  it.each([
    ['--lnk', ['--link'], '--link'],
    ['--foo', ['--root'], undefined],
    ['--brnhc', ['--branch'], undefined],
    ['--brnch', ['--branch'], '--branch'],
    ['--hots', ['--root', '--host'], undefined],
    ['--max-sync-falurs', ['--max-sync-failures'], '--max-sync-failures'],
  ])('of %s among %j is %s: the shorter a name, the fewer mistakes in it', (name, known, meant) => {
    expect(nearest(name, known, '--')).toBe(meant)
  })
})
