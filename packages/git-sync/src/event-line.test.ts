import type { MirrorEvent } from '@outrider/git-mirror'
import { expect, it } from 'vitest'
import { eventLine } from './event-line.ts'

const tree = { hash: 'a'.repeat(40), path: '/git/.worktrees/a' }
const paths = Array.from({ length: 50 }, (_, index) => `path-${index}`)

it.each<readonly [MirrorEvent, string, object]>([
  [{ type: 'moved', ref: 'refs/heads/x', hash: 'b' }, 'debug', { ref: 'refs/heads/x', hash: 'b' }],
  [{ type: 'fetched', hash: 'b', ms: 1.6 }, 'debug', { hash: 'b', ms: 2 }],
  [{ type: 'rebuilt', why: 'it was bad' }, 'warn', { why: 'it was bad' }],
  [{ type: 'damaged', tree }, 'warn', { hash: tree.hash }],
  [{ type: 'housekeeping-failed', error: 'e' }, 'warn', { error: 'e' }],
])('of %j is said what varies, at the level that it deserves', (event, level, fields) => {
  expect(eventLine(event)).toMatchObject({ level, fields })
})

it('a line names twenty paths at most', () => {
  const recovered = eventLine({ type: 'recovered', removed: paths, processes: 3 })
  expect(recovered.fields).toEqual({ removed: paths.slice(0, 20), processes: 3 })
  expect(eventLine({ type: 'not-removed', paths }).fields).toEqual({ paths: paths.slice(0, 20) })
})

it('the message of an event never varies', () => {
  const messages = [1, 2].map((ms) => eventLine({ type: 'fetched', hash: String(ms), ms }).msg)
  expect(new Set(messages).size).toBe(1)
})
