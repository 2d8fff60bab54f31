import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, statfs } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type MirrorScene, makeScene, sync } from './mirror-test-support.ts'

let scene: MirrorScene

beforeEach(async () => {
  scene = await makeScene()
  await mkdir(scene.root)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', scene.root])
})
afterEach(async () => {
  for (const mirror of scene.mirrors.splice(0)) await mirror[Symbol.asyncDispose]()
  execFileSync('umount', [scene.root])
  await scene[Symbol.asyncDispose]()
})

const usedBytes = async (): Promise<number> => {
  const { blocks, bfree, bsize } = await statfs(scene.root)
  return (blocks - bfree) * bsize
}

it('a volume without room for a commit keeps the tree before, and what was half made is gone at once', async () => {
  const hash = await scene.repository.commit({ a: '1' })
  const mirror = scene.open()
  await sync(mirror)
  const before = await usedBytes()
  await scene.repository.commit({ a: '2', 'big.bin': randomBytes(3_000_000) })
  await expect(sync(mirror)).rejects.toMatchObject({ kind: 'no-space' })
  expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
  expect(await readdir(`${scene.root}/.worktrees`)).toEqual([hash])
  expect(await usedBytes()).toBeLessThan(before + 300_000)
  const next = await scene.repository.commit({ a: '3', 'big.bin': null })
  await sync(mirror)
  expect(await scene.published()).toEqual({ hash: next, files: { a: '3' } })
})
