import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { moduleAt, Scratch } from './file-system-test-support.ts'
import { removeTree } from './remove-tree.ts'

let scratch: Scratch
beforeEach(() => {
  scratch = new Scratch()
  mkdirSync(scratch.at('tree', 'a', 'b'), { recursive: true })
  writeFileSync(scratch.at('tree', 'a', 'file'), '')
})
afterEach(async () => {
  await scratch[Symbol.asyncDispose]()
})

/** Removes as an ordinary user, whom modes bind. */
async function removeAsOther(path: string): Promise<unknown> {
  execFileSync('chown', ['-R', '65534', scratch.path])
  const child = scratch.node(
    `import { removeTree } from ${moduleAt('./remove-tree.ts')}
    process.send(await removeTree(${JSON.stringify(path)}))`,
    { uid: 65_534, gid: 65_534 },
  )
  return await child.said()
}

it('a tree is removed with all that is in it, whatever its names', async () => {
  for (const name of ['new\nline', '-rf', ' ', '*', 'é'.repeat(127), '.hidden', '.git'])
    writeFileSync(scratch.at('tree', name), '')
  writeFileSync(Buffer.concat([Buffer.from(`${scratch.path}/tree/`), Buffer.from([0xff, 0xfe, 0x80])]), '')
  execFileSync('mkfifo', [scratch.at('tree', 'pipe')])
  expect(await removeTree(scratch.at('tree'))).toEqual([])
  expect(readdirSync(scratch.path)).toEqual([])
})

it('what is not there is no error', async () => {
  expect(await removeTree(scratch.at('missing'))).toEqual([])
  expect(await removeTree(scratch.at('missing', 'missing'))).toEqual([])
})

it('a file and a symbolic link are removed as such', async () => {
  symlinkSync('tree', scratch.at('link'))
  writeFileSync(scratch.at('file'), '')
  expect(await removeTree(scratch.at('link'))).toEqual([])
  expect(await removeTree(scratch.at('file'))).toEqual([])
  expect(readdirSync(scratch.path)).toEqual(['tree'])
  expect(existsSync(scratch.at('tree', 'a', 'file'))).toBe(true)
})

it('no symbolic link in it is followed', async () => {
  mkdirSync(scratch.at('precious'))
  writeFileSync(scratch.at('precious', 'file'), 'precious')
  symlinkSync(scratch.at('precious'), scratch.at('tree', 'directory'))
  symlinkSync(scratch.at('precious', 'file'), scratch.at('tree', 'a', 'link'))
  expect(await removeTree(scratch.at('tree'))).toEqual([])
  expect(readFileSync(scratch.at('precious', 'file'), 'utf8')).toBe('precious')
})

it('a symbolic link that is swapped in for a directory at any instant is not followed', async () => {
  const [tree, precious] = [scratch.at('tree'), scratch.at('precious')]
  mkdirSync(precious)
  for (let number = 0; number < 50; number += 1) writeFileSync(scratch.at('precious', `${number}`), '')
  const swapper = scratch.node(`
    import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
    const [tree, precious] = ${JSON.stringify([tree, precious])}
    process.send('ready')
    for (;;) {
      try {
        mkdirSync(tree + '/swapped', { recursive: true })
        for (let number = 0; number < 50; number += 1) writeFileSync(tree + '/swapped/' + number, '')
        renameSync(tree + '/swapped', tree + '/away')
        symlinkSync(precious, tree + '/swapped')
        rmSync(tree + '/swapped', { force: true })
        rmSync(tree + '/away', { recursive: true, force: true })
      } catch {}
    }`)
  expect(await swapper.said()).toBe('ready')
  for (let turn = 0; turn < 300; turn += 1) await removeTree(scratch.at('tree'))
  await swapper.kill()
  expect(readdirSync(precious)).toHaveLength(50)
})

it('directories that may not be written, read or entered are removed by their owner', async () => {
  mkdirSync(scratch.at('tree', 'c', 'd'), { recursive: true })
  writeFileSync(scratch.at('tree', 'c', 'd', 'file'), '')
  for (const [path, mode] of [
    ['a', 0o555],
    ['c/d', 0o000],
    ['c', 0o500],
    ['.', 0o111],
  ] as const)
    chmodSync(scratch.at('tree', path), mode)
  expect(await removeAsOther(scratch.at('tree'))).toEqual([])
  expect(readdirSync(scratch.path)).toEqual([])
})

it('what withstands is told with the reason, and all else goes', async () => {
  mkdirSync(scratch.at('tree', 'z'))
  writeFileSync(scratch.at('tree', 'z', 'line\nbreak'), '')
  scratch.protect(scratch.at('tree', 'a', 'file'))
  scratch.protect(scratch.at('tree', 'z', 'line\nbreak'))
  const left = await removeTree(scratch.at('tree'))
  expect(left.toSorted()).toEqual([
    `${scratch.at('tree')}/a/file (EPERM)`,
    `${scratch.at('tree')}/z/line?break (EPERM)`,
  ])
  expect(readdirSync(scratch.path, { recursive: true }).toSorted()).toEqual([
    'tree',
    'tree/a',
    'tree/a/file',
    'tree/z',
    'tree/z/line\nbreak',
  ])
})

it('of a tree that is not ours at most twenty remnants are told', async () => {
  for (let number = 0; number < 100; number += 1) writeFileSync(scratch.at('tree', `${number}`), '')
  scratch.protect(scratch.at('tree'))
  expect(await removeTree(scratch.at('tree'))).toHaveLength(20)
})

it('a directory of another user is told', async () => {
  chmodSync(scratch.path, 0o755)
  chownSync(scratch.path, 65_534, 65_534)
  const child = scratch.node(
    `import { removeTree } from ${moduleAt('./remove-tree.ts')}
    process.send(await removeTree(${JSON.stringify(scratch.at('tree'))}))`,
    { uid: 65_534, gid: 65_534 },
  )
  const left = await child.said()
  expect(left).toEqual([
    `${scratch.at('tree', 'a', 'file')} (EACCES)`,
    `${scratch.at('tree', 'a', 'b')} (EACCES)`,
  ])
})

it('a volume that is mounted inside keeps what it has', async () => {
  scratch.mount(scratch.at('tree', 'a', 'b'))
  writeFileSync(scratch.at('tree', 'a', 'b', 'precious'), '')
  expect(await removeTree(scratch.at('tree'))).toEqual([`${scratch.at('tree', 'a', 'b')} (EBUSY)`])
  expect(readdirSync(scratch.at('tree', 'a', 'b'))).toEqual(['precious'])
})

it('a tree on a read-only volume is told', async () => {
  mkdirSync(scratch.at('volume'))
  scratch.mount(scratch.at('volume'))
  mkdirSync(scratch.at('volume', 'tree'))
  scratch.remount(scratch.at('volume'), 'ro')
  expect(await removeTree(scratch.at('volume', 'tree'))).toEqual([`${scratch.at('volume', 'tree')} (EROFS)`])
})

it('a tree deeper than paths may be long, and than files may be open, is removed', async () => {
  execFileSync('perl', ['-e', 'for (1..3000) { mkdir "deeper" and chdir "deeper" or die $! }'], {
    cwd: scratch.at('tree', 'a', 'b'),
  })
  const child = scratch.node(
    `import { removeTree } from ${moduleAt('./remove-tree.ts')}
    process.send(await removeTree(${JSON.stringify(scratch.at('tree'))}))`,
    {},
    ['prlimit', '--nofile=256', '--'],
  )
  expect(await child.said()).toEqual([])
  expect(readdirSync(scratch.path)).toEqual([])
})

it('a directory that is filled while it is removed does not keep us for ever', async () => {
  const filler = scratch.node(`
    import { mkdirSync, writeFileSync } from 'node:fs'
    process.send('ready')
    for (let number = 0; ; number += 1) {
      try {
        mkdirSync(${JSON.stringify(scratch.at('tree'))}, { recursive: true })
        writeFileSync(${JSON.stringify(scratch.at('tree'))} + '/' + number, '')
      } catch {}
    }`)
  expect(await filler.said()).toBe('ready')
  const left = await removeTree(scratch.at('tree'))
  expect(left.filter((path) => path !== `${scratch.at('tree')} (ENOTEMPTY)`)).toEqual([])
  await filler.kill()
  expect(await removeTree(scratch.at('tree'))).toEqual([])
})
