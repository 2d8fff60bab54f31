import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Throttle, throttle } from './throttle.ts'

let said: [string, number, number | undefined][]
let floods: Throttle<string>

beforeEach(() => {
  vi.useFakeTimers()
  said = []
  floods = throttle(10_000, (...words) => said.push(words))
})
afterEach(() => {
  floods[Symbol.dispose]()
  vi.useRealTimers()
})

it('the first event is said at once', () => {
  floods.add('a')
  expect(said).toEqual([['a', 1, undefined]])
})

it('those that follow are said as one, the last, with their number', () => {
  for (const event of ['a', 'b', 'c', 'd']) floods.add(event)
  expect(said).toHaveLength(1)
  vi.advanceTimersByTime(10_000)
  expect(said.slice(1)).toEqual([['d', 3, 10_000]])
})

it('a flood that goes on is said once in each span', () => {
  for (let second = 0; second < 60; second++) {
    floods.add('a')
    vi.advanceTimersByTime(1_000)
  }
  expect(said.map(([, count]) => count)).toEqual([1, 9, 10, 10, 10, 10, 10])
})

it('nothing is said of a span in which nothing came, and what comes after it is said at once', () => {
  floods.add('a')
  vi.advanceTimersByTime(30_000)
  expect(said).toHaveLength(1)
  floods.add('b')
  expect(said.slice(1)).toEqual([['b', 1, undefined]])
})

it('no timer is left when nothing comes any more', () => {
  floods.add('a')
  floods.add('b')
  vi.advanceTimersByTime(20_000)
  expect(vi.getTimerCount()).toBe(0)
})

it('what is left is said at the end, and no timer stays', () => {
  floods.add('a')
  vi.advanceTimersByTime(4_000)
  floods.add('b')
  floods[Symbol.dispose]()
  expect(said.slice(1)).toEqual([['b', 1, 4_000]])
  expect(vi.getTimerCount()).toBe(0)
})
