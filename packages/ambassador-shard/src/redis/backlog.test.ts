import { expect, test } from 'vitest'
import { Backlog } from './backlog.ts'

test('gives what has come, without what was used', () => {
  const backlog = new Backlog()
  const whole = Buffer.from(Array.from({ length: 5_000 }, (_, at) => at % 251))
  let used = 0
  for (let at = 0; at < whole.length; at += 7) {
    backlog.add(whole.subarray(at, at + 7), -1)
    if (at % 3 > 0) continue
    backlog.use(5)
    used += 5
  }
  expect(backlog.length).toBe(whole.length - used)
  expect(backlog.bytes.equals(whole.subarray(used))).toBe(true)
  backlog.use(backlog.length)
  expect(backlog.bytes).toHaveLength(0)
})

test('grows with what comes, not with what is announced, and not anew for each piece', () => {
  const backlog = new Backlog()
  const memories = new Set<ArrayBufferLike>()
  for (let count = 1; count <= 100_000; count += 1) {
    backlog.add(Buffer.from('x'), 500_000_000)
    const { buffer } = backlog.bytes
    memories.add(buffer)
    expect(buffer.byteLength).toBeLessThanOrEqual(2 * count)
  }
  expect(memories.size).toBeLessThan(20)
  const { buffer } = backlog.bytes
  for (let count = backlog.length; count < buffer.byteLength; count += 1)
    backlog.add(Buffer.from('x'), 500_000_000)
  backlog.add(Buffer.from('x'), buffer.byteLength + 10)
  expect(backlog.bytes.buffer.byteLength).toBe(buffer.byteLength + 10)
})

test('keeps no large memory for the little that is left', () => {
  const backlog = new Backlog()
  backlog.take(Buffer.alloc(1_000_000))
  backlog.use(999_999)
  expect(backlog.length).toBe(1)
  expect(backlog.bytes.buffer.byteLength).toBeLessThan(100_000)
  backlog.clear()
  expect(backlog.length).toBe(0)
})
