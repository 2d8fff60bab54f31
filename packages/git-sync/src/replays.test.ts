import { expect, test } from 'vitest'
import { Replays } from './replays.ts'

test('knows what it has received', () => {
  const replays = new Replays()
  expect([['a'], ['b'], ['a'], ['b']].map((marks) => replays.receive(marks))).toEqual([
    false,
    false,
    true,
    true,
  ])
})

test('knows what comes with something new', () => {
  const replays = new Replays()
  replays.receive(['a', 'b'])
  expect(replays.receive(['new', 'b'])).toBe(true)
  expect(replays.receive(['new'])).toBe(true)
})

test('never knows what has no marks', () => {
  const replays = new Replays()
  expect([replays.receive([]), replays.receive([])]).toEqual([false, false])
})

test('forgets the oldest when there are too many', () => {
  const replays = new Replays(2)
  for (const mark of ['a', 'b', 'c']) replays.receive([mark])
  expect(replays.receive(['b'])).toBe(true)
  expect(replays.receive(['a'])).toBe(false)
})
