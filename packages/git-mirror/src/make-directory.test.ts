import { mkdirSync, statSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Scratch } from './file-system-test-support.ts'
import { makeDirectory } from './make-directory.ts'

let scratch: Scratch
beforeEach(() => {
  scratch = new Scratch()
})
afterEach(() => scratch[Symbol.asyncDispose]())

it('a directory is made with its parents, and one that is there is left as it is', async () => {
  const path = scratch.at('one', 'two')
  await makeDirectory(path, 0o700)
  expect(statSync(path).mode & 0o777).toBe(0o700)
  await makeDirectory(path)
  expect(statSync(path).mode & 0o777).toBe(0o700)
})

it('what cannot be made says why, also where a parent is missing', async () => {
  const volume = scratch.at('volume')
  mkdirSync(volume)
  scratch.mount(volume)
  writeFileSync(scratch.at('volume', 'file'), '')
  await expect(makeDirectory(scratch.at('volume', 'file', 'one', 'two'))).rejects.toMatchObject({
    code: 'ENOTDIR',
  })
  scratch.remount(volume, 'ro')
  for (const names of [['one'], ['one', 'two'], ['one', 'two', 'three']])
    await expect(makeDirectory(scratch.at('volume', ...names))).rejects.toMatchObject({ code: 'EROFS' })
})

it('where nothing can be made and nothing says so, as in /proc, it ends with an error', async () => {
  await expect(makeDirectory('/proc/outrider/deep')).rejects.toMatchObject({ code: 'ENOENT' })
})

it('many that are made at once below parents that are missing are all made', async () => {
  for (let round = 0; round < 20; round += 1) {
    const paths = Array.from({ length: 20 }, (_, index) =>
      scratch.at(`round-${round}`, 'parent', `${index % 10}`),
    )
    await Promise.all(paths.map((path) => makeDirectory(path)))
    for (const path of paths) expect(statSync(path).isDirectory()).toBe(true)
  }
})
