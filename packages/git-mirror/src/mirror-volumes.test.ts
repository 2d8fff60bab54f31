import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readlink, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { filesIn, type MirrorScene, makeScene, sync } from './mirror-test-support.ts'

let scene: MirrorScene
const mounts: string[] = []

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(async () => {
  await Promise.all(scene.mirrors.splice(0).map((mirror) => mirror[Symbol.asyncDispose]()))
  for (const path of mounts.splice(0).reverse()) execFileSync('umount', ['--lazy', path])
  await scene[Symbol.asyncDispose]()
})

/** Mounts a small volume; needs root. */
async function mount(path: string, options: string): Promise<void> {
  await mkdir(path, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path])
  mounts.push(path)
}

const remount = (path: string, options: string) => execFileSync('mount', ['-o', `remount,${options}`, path])

const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.fail('it did not fail'),
    (error: Error) => error,
  )

async function usedBytes(path: string): Promise<number> {
  const { blocks, bfree, bsize } = await statfs(path)
  return (blocks - bfree) * bsize
}

/** Leaves room for nothing. */
async function fill(path: string): Promise<void> {
  for (let bytes = 1 << 20; bytes >= 1; bytes >>= 4) {
    for (let number = 0; ; number++) {
      const isFull = await writeFile(join(path, `filler-${bytes}-${number}`), Buffer.alloc(bytes)).then(
        () => false,
        () => true,
      )
      if (isFull) break
    }
  }
}

async function empty(path: string): Promise<void> {
  for (const name of await readdir(path)) if (name.startsWith('filler-')) await rm(join(path, name))
}

describe('on a full volume', () => {
  it.each([
    ['the pack', 8 << 20],
    ['the tree', 3 << 20],
  ])(
    'the old tree stays whole where %s has no room, nothing piles up, and a smaller commit follows',
    async (_, bytes) => {
      await mount(scene.root, 'size=5m')
      const hash = await scene.repository.commit({ a: '1', b: '2' })
      const mirror = scene.open()
      await sync(mirror)
      await scene.repository.commit({ a: '3', big: randomBytes(bytes) })
      expect((await failure(sync(mirror))).message).toMatch(/make room/)
      await failure(sync(mirror))
      const used = await usedBytes(scene.root)
      for (let round = 0; round < 3; round++) await failure(sync(mirror))
      expect(await scene.published()).toEqual({ hash, files: { a: '1', b: '2' } })
      expect(await usedBytes(scene.root)).toBeLessThanOrEqual(used)
      const next = await scene.repository.commit({ a: '4', big: null })
      await sync(mirror)
      expect(await scene.published()).toEqual({ hash: next, files: { a: '4', b: '2' } })
    },
  )

  it('that somebody else has filled, what is published is still known, and what is new follows when there is room', async () => {
    await mount(scene.root, 'size=5m')
    const hash = await scene.repository.commit({ a: '1' })
    const first = scene.open()
    await sync(first)
    await fill(scene.root)
    expect((await sync(first)).outcome).toBe('unchanged')
    await scene.repository.commit({ a: '2', b: 'x'.repeat(10_000) })
    expect((await failure(sync(first))).message).toMatch(/space|full/)
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    await empty(scene.root)
    await sync(first)
    expect((await scene.published()).files).toMatchObject({ a: '2' })
  })

  it('a repository that is broken does not take the published tree along', async () => {
    await mount(scene.root, 'size=5m')
    const hash = await scene.repository.commit({ a: '1' })
    const first = scene.open()
    await sync(first)
    await first[Symbol.asyncDispose]()
    await writeFile(join(scene.root, '.git/HEAD'), '')
    await fill(scene.root)
    const mirror = scene.open()
    await failure(sync(mirror))
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    await empty(scene.root)
    await sync(mirror)
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
  })
})

describe('on a read-only volume', () => {
  it('the old tree stays, the reason is said, and what is new follows when it can be written', async () => {
    await mount(scene.root, 'size=5m')
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    remount(scene.root, 'ro')
    expect((await sync(mirror)).outcome).toBe('unchanged')
    await scene.repository.commit({ a: '2' })
    for (let round = 0; round < 2; round++)
      expect((await failure(sync(mirror))).message).toMatch(
        /[Rr]ead-only.*mount the volume so that it can be written/,
      )
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    remount(scene.root, 'rw')
    await sync(mirror)
    expect((await scene.published()).files).toEqual({ a: '2' })
  })

  it('a first sync says so', async () => {
    await scene.repository.commit({ a: '1' })
    await mount(scene.root, 'size=5m,ro')
    expect((await failure(sync(scene.open()))).message).toMatch(
      /read-only.*mount the volume so that it can be written/,
    )
    const inside = scene.open({ directory: join(scene.root, 'deep/down') })
    expect((await failure(sync(inside))).message).toMatch(/deep.*read-only.*mount the volume/)
  })
})

describe('on several volumes', () => {
  it('the link may be on another than the trees', async () => {
    const other = join(scene.base, 'other')
    await mount(other, 'size=1m')
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ link: join(other, 'site') })
    await sync(mirror)
    expect(await readlink(join(other, 'site'))).toBe(`../root/.worktrees/${hash}`)
    await scene.repository.commit({ a: '2' })
    await sync(mirror)
    expect(await filesIn(join(other, 'site/'))).toEqual({ a: '2' })
  })

  it('the root may be one of its own, with what is there on such', async () => {
    await mount(scene.root, 'size=5m')
    await mkdir(join(scene.root, 'lost+found'))
    await scene.repository.commit({ a: '1' })
    await sync(scene.open())
    expect(await readdir(scene.root)).toContain('lost+found')
  })

  it('one that is mounted at another path later has what it had', async () => {
    const elsewhere = join(scene.base, 'elsewhere')
    await mount(scene.root, 'size=5m')
    const hash = await scene.repository.commit({ a: '1' })
    const first = scene.open()
    await sync(first)
    await first[Symbol.asyncDispose]()
    await mkdir(elsewhere)
    execFileSync('mount', ['--bind', scene.root, elsewhere])
    mounts.push(elsewhere)
    execFileSync('umount', [scene.root])
    mounts.splice(mounts.indexOf(scene.root), 1)
    scene.eventTypes()
    const mirror = scene.open({ directory: elsewhere, link: join(elsewhere, 'site') })
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.eventTypes()).toEqual([])
    await scene.repository.commit({ a: '2' })
    await sync(mirror)
    expect(await readdir(join(elsewhere, '.worktrees'))).not.toContain(hash)
    expect(await filesIn(join(elsewhere, 'site/'))).toEqual({ a: '2' })
  })
})
