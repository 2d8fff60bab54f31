import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Scratch } from './watch-fixture.ts'
import { readingOf } from './watch-reading.ts'
import { sight } from './watch-sight.ts'

const options = { maxBytes: 1000, reread: false }

test('a second write within one tick of a coarse clock is seen, because young metadata are not trusted', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'one')
  const sighting = await sight(path, options.maxBytes)
  const first = await readingOf(path, sighting, undefined, options)
  writeFileSync(path, 'two')
  // On a coarse clock the metadata would be those of the first write.
  const second = await readingOf(path, sighting, first, options)
  expect(second.content?.toString()).toBe('two')
})

test('a file whose metadata have been the same for longer than any clock is coarse is not read again', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'one')
  const sighting = await sight(path, options.maxBytes)
  const first = await readingOf(path, sighting, undefined, options)
  const old = { ...first, since: first.since - 10_000 }
  const second = await readingOf(path, sighting, old, options)
  rmSync(path)
  expect(await readingOf(path, sighting, second, options)).toBe(second)
})

test('a file of which another was read than the one sighted is read again', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'one')
  const sighting = await sight(path, options.maxBytes)
  const first = await readingOf(path, sighting, undefined, options)
  renameSync(scratch.write('fresh', 'two'), path)
  const second = await readingOf(path, sighting, { ...first, since: first.since - 10_000 }, options)
  expect(second.content?.toString()).toBe('two')
  expect(second.trusted).toBe(false)
})

test('a file is read again when that is asked for, whatever its metadata say', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'one')
  const sighting = await sight(path, options.maxBytes)
  const first = await readingOf(path, sighting, undefined, options)
  writeFileSync(path, 'two')
  const second = await readingOf(path, sighting, { ...first, trusted: true }, { ...options, reread: true })
  expect(second.content?.toString()).toBe('two')
})

test('a file whose metadata do not give its size, as in /proc, is read every time', async () => {
  const sighting = await sight('/proc/uptime', options.maxBytes)
  const first = await readingOf('/proc/uptime', sighting, undefined, options)
  const second = await readingOf('/proc/uptime', sighting, { ...first, since: first.since - 10_000 }, options)
  expect(first.content?.length).toBeGreaterThan(0)
  expect(second.trusted).toBe(false)
})
