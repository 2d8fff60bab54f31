import { execFileSync } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { moduleAt, refusing, Scratch } from './file-system-test-support.ts'
import { publishLink, readLink, removeLinkLeftovers } from './publish-link.ts'

const one = '1'.repeat(40)
const two = '2'.repeat(40)

let scratch: Scratch
beforeEach(() => {
  scratch = new Scratch()
})
afterEach(async () => {
  await scratch[Symbol.asyncDispose]()
})

/** A published tree that holds its hash. */
function tree(hash: string, ...root: string[]): string {
  const path = scratch.at(...root, '.worktrees', hash)
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'hash'), hash)
  return path
}

it('a link leads to the tree by a relative path whose last part is the hash, and then to the next', async () => {
  const link = scratch.at('site')
  for (const hash of [one, two, two, one]) {
    await publishLink(link, tree(hash))
    expect(readlinkSync(link)).toBe(`.worktrees/${hash}`)
    expect(readFileSync(join(link, 'hash'), 'utf8')).toBe(hash)
    expect(readdirSync(scratch.path).toSorted()).toEqual(['.worktrees', 'site'])
  }
})

it('at every instant the link leads to a whole tree', async () => {
  const [a, b, link] = [tree(one), tree(two), scratch.at('site')]
  await publishLink(link, a)
  const script = `
    import { readFileSync } from 'node:fs'
    process.on('message', () => process.exit(0))
    const seen = new Set()
    process.send('ready')
    for (let more = true; more; ) {
      for (let turn = 0; turn < 200; turn += 1) seen.add(readFileSync(${JSON.stringify(join(link, 'hash'))}, 'utf8'))
      if (seen.size > 1) process.send('both'), more = false
      await new Promise((resolve) => setImmediate(resolve))
    }`
  const reader = scratch.node(script)
  expect(await reader.said()).toBe('ready')
  let word: unknown
  const heard = reader.said().then((said) => {
    word = said
  })
  for (let turn = 0; word === undefined || turn < 500; turn += 1)
    await publishLink(link, turn % 2 === 0 ? b : a)
  await heard
  expect(word).toBe('both')
})

it('parents that are missing are made', async () => {
  await publishLink(scratch.at('a', 'b', 'site'), tree(one))
  expect(readlinkSync(scratch.at('a', 'b', 'site'))).toBe(`../../.worktrees/${one}`)
})

it('a link whose parent is reached by a symbolic link leads to the tree all the same', async () => {
  mkdirSync(scratch.at('far', 'away'), { recursive: true })
  symlinkSync('far/away', scratch.at('near'))
  await publishLink(scratch.at('near', 'site'), tree(one))
  expect(readlinkSync(scratch.at('far', 'away', 'site'))).toBe(`../../.worktrees/${one}`)
  expect(readFileSync(scratch.at('near', 'site', 'hash'), 'utf8')).toBe(one)
})

it('a tree that is reached by a symbolic link is named by its real place, so the volume may move', async () => {
  mkdirSync(scratch.at('volume'))
  tree(one, 'volume')
  symlinkSync(scratch.at('volume'), scratch.at('mount'))
  await publishLink(scratch.at('volume', 'site'), scratch.at('mount', '.worktrees', one))
  renameSync(scratch.at('volume'), scratch.at('moved'))
  expect(readFileSync(scratch.at('moved', 'site', 'hash'), 'utf8')).toBe(one)
})

it('a link on another volume than the tree leads to it', async () => {
  mkdirSync(scratch.at('volume'))
  scratch.mount(scratch.at('volume'))
  await publishLink(scratch.at('volume', 'site'), tree(one))
  expect(readFileSync(scratch.at('volume', 'site', 'hash'), 'utf8')).toBe(one)
})

it('a name as long as names may be can be published', async () => {
  const link = scratch.at('é'.repeat(127))
  await publishLink(link, tree(one))
  expect(readFileSync(join(link, 'hash'), 'utf8')).toBe(one)
})

it.each<[string, (path: string) => void]>([
  ['a directory', (path) => mkdirSync(join(path, 'precious'), { recursive: true })],
  ['a file', (path) => writeFileSync(path, 'precious')],
])('%s in the place of the link is named and stays', async (kind, make) => {
  const link = scratch.at('site')
  make(link)
  const before = statSync(link).ino
  await expect(publishLink(link, tree(one))).rejects.toMatchObject({
    code: 'EEXIST',
    message:
      `cannot publish ${link}: ${kind} is there, which is not removed; ` +
      'move it away, publish under another name, or publish as a copy, which replaces all that is in it',
  })
  expect(statSync(link).ino).toBe(before)
  expect(readdirSync(scratch.path).toSorted()).toEqual(['.worktrees', 'site'])
})

it('a tree that is not there is not published', async () => {
  const link = scratch.at('site')
  await publishLink(link, tree(one))
  const missing = scratch.at('.worktrees', two)
  await expect(publishLink(link, missing)).rejects.toThrow(
    `cannot publish ${missing}: it does not exist (ENOENT)`,
  )
  expect(readlinkSync(link)).toBe(`.worktrees/${one}`)
})

it('a file on the way to the link is an error that names it', async () => {
  writeFileSync(scratch.at('file'), '')
  const link = scratch.at('file', 'site')
  await expect(publishLink(link, tree(one))).rejects.toThrow(
    `cannot make ${scratch.at('file')}: something else is there; move it away (EEXIST)`,
  )
})

it('a full or read-only volume keeps the old link and says what is wrong', async () => {
  const volume = scratch.at('volume')
  mkdirSync(volume)
  scratch.mount(volume, 'nr_inodes=8')
  const link = join(volume, 'site')
  const [a, b] = [tree(one, 'volume'), tree(two, 'volume')]
  await publishLink(link, a)
  expect(() => {
    for (let number = 0; ; number += 1) writeFileSync(join(volume, `${number}`), '')
  }).toThrow('ENOSPC')
  await expect(publishLink(link, b)).rejects.toMatchObject({
    code: 'ENOSPC',
    message: `cannot publish ${link}: the file system is full; make room or give it more (ENOSPC)`,
    cause: { syscall: 'symlink' },
  })
  scratch.remount(volume, 'ro')
  await expect(publishLink(link, b)).rejects.toMatchObject({
    code: 'EROFS',
    message: `cannot publish ${link}: the file system is read-only; mount the volume so that it can be written (EROFS)`,
  })
  expect(readFileSync(join(link, 'hash'), 'utf8')).toBe(one)
})

it('a volume without symbolic links is told apart, with what to do', async () => {
  const link = scratch.at('site')
  const target = tree(one)
  const child = scratch.node(
    `import { publishLink } from ${moduleAt('./publish-link.ts')}
    await publishLink(${JSON.stringify(link)}, ${JSON.stringify(target)}).catch((error) => process.send(error.message))`,
    {},
    refusing('symlink'),
  )
  expect(await child.said()).toMatch(/this volume knows no symbolic links \(EPERM\); publish as a copy$/)
})

it('a user that may not write is told so', async () => {
  const link = scratch.at('site')
  const target = tree(one)
  execFileSync('chmod', ['755', scratch.path])
  const child = scratch.node(
    `import { publishLink } from ${moduleAt('./publish-link.ts')}
    await publishLink(${JSON.stringify(link)}, ${JSON.stringify(target)}).catch((error) => process.send(error.message))`,
    { uid: 65_534, gid: 65_534 },
  )
  expect(await child.said()).toBe(
    `cannot publish ${link}: user 65534 may not; let it write there (owner and mode, fsGroup in Kubernetes) (EACCES)`,
  )
})

it('what a link leads to is read as its real path and hash, also where it is gone', async () => {
  mkdirSync(scratch.at('real'))
  symlinkSync('real', scratch.at('near'))
  const target = tree(one, 'real')
  await publishLink(scratch.at('near', 'site'), scratch.at('near', '.worktrees', one))
  const expected = { target: realpathSync(target), hash: one }
  expect(await readLink(scratch.at('near', 'site'))).toEqual(expected)
  renameSync(target, scratch.at('elsewhere'))
  expect(await readLink(scratch.at('real', 'site'))).toEqual(expected)
})

it('where there is no link, nothing is published', async () => {
  writeFileSync(scratch.at('file'), '')
  mkdirSync(scratch.at('directory'))
  expect(await readLink(scratch.at('missing'))).toBeUndefined()
  expect(await readLink(scratch.at('missing', 'missing'))).toBeUndefined()
  expect(await readLink(scratch.at('file'))).toBeUndefined()
  expect(await readLink(scratch.at('file', 'site'))).toBeUndefined()
  expect(await readLink(scratch.at('directory'))).toBeUndefined()
})

it('temporary links of crashed runs are removed, and nothing else', async () => {
  const stays = ['.other.outrider-0123456789ab', '.site.outrider-short', 'site.outrider-0123456789ab', 'site']
  for (const name of [...stays, '.site.outrider-0123456789ab', '.site.outrider-ba9876543210', 'tmp-link'])
    symlinkSync(`.worktrees/${one}`, scratch.at(name))
  writeFileSync(scratch.at('.site.outrider-111111111111'), 'a file')
  await removeLinkLeftovers(scratch.at('site'))
  expect(readdirSync(scratch.path).toSorted()).toEqual([...stays, '.site.outrider-111111111111'].toSorted())
  await removeLinkLeftovers(scratch.at('missing', 'site'))
})

it('a tmp-link that git-sync has not made stays', async () => {
  symlinkSync('somewhere', scratch.at('tmp-link'))
  await removeLinkLeftovers(scratch.at('site'))
  expect(lstatSync(scratch.at('tmp-link')).isSymbolicLink()).toBe(true)
  mkdirSync(scratch.at('other', 'tmp-link'), { recursive: true })
  await removeLinkLeftovers(scratch.at('other', 'site'))
  await publishLink(scratch.at('more', 'tmp-link'), tree(one, 'more'))
  await removeLinkLeftovers(scratch.at('more', 'tmp-link'))
  expect(readdirSync(scratch.at('more')).toSorted()).toEqual(['.worktrees', 'tmp-link'])
})

it('a run that is killed at any instant leaves a link that leads to a tree, and leftovers that go', async () => {
  const [a, b, link] = [tree(one), tree(two), scratch.at('site')]
  await publishLink(link, a)
  for (let turn = 0; turn < 8; turn += 1) {
    const child = scratch.node(`
      import { publishLink } from ${moduleAt('./publish-link.ts')}
      process.send('ready')
      for (;;) for (const tree of ${JSON.stringify([b, a])}) await publishLink(${JSON.stringify(link)}, tree)`)
    expect(await child.said()).toBe('ready')
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
    await child.kill()
    expect([one, two]).toContain(readFileSync(join(link, 'hash'), 'utf8'))
    await removeLinkLeftovers(link)
    expect(readdirSync(scratch.path).toSorted()).toEqual(['.worktrees', 'site'])
  }
})
