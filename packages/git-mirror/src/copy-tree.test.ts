import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { publishCopy, readCopyState } from './copy-tree.ts'
import { type Child, moduleAt, refusing, Scratch } from './file-system-test-support.ts'

let scratch: Scratch
let target: string
let state: string
beforeEach(() => {
  scratch = new Scratch()
  target = scratch.at('target')
  state = scratch.at('state')
})
afterEach(async () => {
  await scratch[Symbol.asyncDispose]()
})

/** What stands at a path: text of a file, `program` with an executable bit, a link, a directory. */
type Thing = string | { readonly program: string } | { readonly link: string } | { readonly directory: true }
type Things = Readonly<Record<string, Thing>>

/** A tree as git makes one, with its own `.git` file. */
function tree(hash: string, things: Things): string {
  const path = scratch.at('trees', hash)
  rmSync(path, { recursive: true, force: true })
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, '.git'), 'gitdir: elsewhere\n')
  put(path, things)
  return path
}

function put(root: string, things: Things): void {
  for (const [name, thing] of Object.entries(things)) {
    const path = join(root, name)
    mkdirSync(dirname(path), { recursive: true })
    if (typeof thing === 'string') writeFileSync(path, thing)
    else if ('program' in thing) writeFileSync(path, thing.program, { mode: 0o755 })
    else if ('link' in thing) symlinkSync(thing.link, path)
    else mkdirSync(path)
  }
}

/** All that is in a directory, with names as Latin 1. */
function things(
  root: string | Buffer,
  inside = '',
  found: Record<string, Thing> = {},
): Record<string, Thing> {
  for (const entry of readdirSync(root, { withFileTypes: true, encoding: 'buffer' })) {
    const path = Buffer.concat([Buffer.from(root), Buffer.from('/'), entry.name])
    const name = `${inside}${entry.name.toString('latin1')}`
    const stats = lstatSync(path)
    if (stats.isSymbolicLink()) found[name] = { link: readlinkSync(path) }
    else if (stats.isFile()) {
      const text = readFileSync(path, 'latin1')
      found[name] = (stats.mode & 0o111) === 0 ? text : { program: text }
    } else if (stats.isDirectory()) {
      found[name] = { directory: true }
      things(path, `${name}/`, found)
    } else throw new Error(`${name} is something else`)
  }
  return found
}

/** What a tree publishes. */
const publishedOf = (path: string): Record<string, Thing> =>
  Object.fromEntries(Object.entries(things(path)).filter(([name]) => !/(^|\/)\.git($|\/)/.test(name)))

async function copy(path: string, signal = new AbortController().signal): Promise<void> {
  await publishCopy({ tree: path, target, state, hash: path.slice(-1), signal })
}

/** A module's text that copies as another process. */
const copying = (trees: readonly string[], then: string): string => `
  import { publishCopy } from ${moduleAt('./copy-tree.ts')}
  const { signal } = new AbortController()
  const copy = (tree) => publishCopy({ tree, hash: tree.slice(-1), target: ${JSON.stringify(target)}, state: ${JSON.stringify(state)}, signal })
  const trees = ${JSON.stringify(trees)}
  ${then}`
const tellsError = `for (const tree of trees) await copy(tree).catch((error) => process.send(error.message))
  process.send('done')`

it('the directory becomes equal to the tree: new, changed and gone files, without what is git its own', async () => {
  const one = tree('1', {
    same: 'same',
    changed: 'one',
    gone: 'gone',
    'a/b/c/deep': 'deep',
    'a/gone/x/y': 'gone',
    empty: '',
    run: { program: '#!/bin/sh' },
    'module/.git': 'gitdir: ../.git/modules/module',
    'module/.gitmodules': 'stays',
    'other/.git/config': 'gone',
    'a/link': { link: '../same' },
  })
  await copy(one)
  expect(things(target)).toEqual(publishedOf(one))
  expect(Object.keys(things(target))).toEqual(
    expect.arrayContaining(['module/.gitmodules', 'other', 'a/link']),
  )
  const two = tree('2', { same: 'same', changed: 'two, and longer', 'a/b/new': 'new', 'a/b/c/deep': 'deep' })
  await copy(two)
  expect(things(target)).toEqual({
    same: 'same',
    changed: 'two, and longer',
    a: { directory: true },
    'a/b': { directory: true },
    'a/b/new': 'new',
    'a/b/c': { directory: true },
    'a/b/c/deep': 'deep',
  })
})

it('files that are the same are not touched, and changed ones are replaced, whatever their times', async () => {
  const long = 'x'.repeat(300_000)
  await copy(tree('1', { same: long, last: `${long}1`, 'a/same': 'a', 'a/changed': '1' }))
  const then = new Date('2001-01-01')
  for (const name of ['same', 'last', 'a/same', 'a/changed']) utimesSync(join(target, name), then, then)
  const before = (name: string) => statSync(join(target, name), { bigint: true })
  const [same, inside, last] = [before('same'), before('a/same'), before('last')]
  const next = tree('2', { same: long, last: `${long}2`, 'a/same': 'a', 'a/changed': '2' })
  for (const name of ['same', 'last', 'a/same', 'a/changed']) utimesSync(join(next, name), then, then)
  await copy(next)
  expect(before('same')).toMatchObject({ ino: same.ino, mtimeNs: same.mtimeNs, ctimeNs: same.ctimeNs })
  expect(before('a/same').ino).toBe(inside.ino)
  expect(before('a/same').ctimeNs).toBe(inside.ctimeNs)
  expect(before('last').ino).not.toBe(last.ino)
  expect(things(target)).toEqual(publishedOf(next))
})

it('whether a file is a program follows the commit; other bits of its mode stay as the volume has them', async () => {
  await copy(tree('1', { a: 'a', b: { program: 'b' }, c: 'c' }))
  chmodSync(join(target, 'c'), 0o664)
  await copy(tree('2', { a: { program: 'a' }, b: 'b', c: 'c' }))
  expect(things(target)).toEqual({ a: { program: 'a' }, b: 'b', c: 'c' })
  expect(statSync(join(target, 'a')).mode & 0o777).toBe(0o755)
  expect(statSync(join(target, 'c')).mode & 0o777).toBe(0o664)
})

describe('what changes its kind between commits', () => {
  const kinds: Readonly<Record<string, Things>> = {
    'a file': { it: 'file' },
    'a program': { it: { program: 'program' } },
    'a directory': { 'it/a/b': 'b', 'it/c': 'c' },
    'a link': { it: { link: 'nowhere' } },
    'a link to a directory': { it: { link: 'beside' } },
    nothing: {},
  }
  const pairs = Object.keys(kinds).flatMap((from) => Object.keys(kinds).map((to) => [from, to] as const))
  it.each(pairs)('%s becomes %s', async (from, to) => {
    await copy(tree('1', { 'beside/file': 'stays', ...kinds[from] }))
    const next = tree('2', { 'beside/file': 'stays', ...kinds[to] })
    await copy(next)
    expect(things(target)).toEqual(publishedOf(next))
  })
})

it('any name that git can have is copied', async () => {
  const path = tree('1', {
    'new\nline': '1',
    ' ': '2',
    '-rf': '3',
    [`é${'x'.repeat(253)}`]: '4',
    '\\': '5',
    '.git ': '6',
  })
  const bytes = Buffer.concat([Buffer.from(`${path}/`), Buffer.from([0xff, 0xfe, 0x80])])
  mkdirSync(bytes)
  writeFileSync(Buffer.concat([bytes, Buffer.from('/'), Buffer.from([0xc3])]), 'bytes')
  symlinkSync(Buffer.from([0xfe]), Buffer.concat([bytes, Buffer.from('/link')]))
  await copy(path)
  expect(things(target)).toEqual(publishedOf(path))
  expect(things(target)).toMatchObject({ '\xff\xfe\x80/\xc3': 'bytes' })
  expect(
    readlinkSync(
      Buffer.concat([Buffer.from(`${target}/`), Buffer.from([0xff, 0xfe, 0x80]), Buffer.from('/link')]),
      'buffer',
    ),
  ).toEqual(Buffer.from([0xfe]))
  await copy(tree('2', {}))
  expect(things(target)).toEqual({})
})

it('a tree deeper than paths may be long is copied and removed', async () => {
  const path = tree('1', {})
  const dig =
    'for (1..30) { my $n = "d" x 200; mkdir $n; chdir $n or die $! } open(F, ">", "deep"); print F "deep"; close F'
  execFileSync('perl', ['-e', dig], { cwd: path })
  await copy(path)
  const find = (cwd: string) => execFileSync('find', ['.', '-name', 'deep', '-type', 'f'], { cwd }).toString()
  expect(find(target)).toHaveLength(30 * 201 + './deep\n'.length)
  await copy(tree('2', {}))
  expect(things(target)).toEqual({})
})

it('links are copied as they are, wherever they lead', async () => {
  const path = tree('1', {
    a: { link: '/etc/passwd' },
    b: { link: '../../..' },
    c: { link: 'missing' },
    'd/e': { link: 'x'.repeat(4_000) },
  })
  await copy(path)
  expect(things(target)).toEqual(publishedOf(path))
})

it('a link that stands in the directory is replaced and never followed, on the way too', async () => {
  mkdirSync(scratch.at('precious', 'inside'), { recursive: true })
  put(scratch.at('precious'), { file: 'precious', 'inside/file': 'precious', 'inside/more': 'precious' })
  const before = things(scratch.at('precious'))
  const precious = { link: scratch.at('precious') }
  put(target, {
    directory: precious,
    file: { link: scratch.at('precious', 'file') },
    'a/inside': { link: '../../precious/inside' },
    gone: precious,
    'b/gone/link': precious,
  })
  const path = tree('1', {
    'directory/file': 'ours',
    'directory/inside/file': 'ours',
    file: 'ours',
    'a/inside/file': 'ours',
    'b/file': 'ours',
  })
  await copy(path)
  expect(things(target)).toEqual(publishedOf(path))
  expect(things(scratch.at('precious'))).toEqual(before)
})

/** Swaps directories for links to another directory and back, over and over, as another process. */
async function swapper(paths: readonly string[], link: string): Promise<Child> {
  const child = scratch.node(`
    import { renameSync, rmSync, symlinkSync } from 'node:fs'
    const away = ${JSON.stringify(scratch.at('away'))}
    const pause = (most) => {
      for (const end = performance.now() + Math.random() * most; performance.now() < end; );
    }
    process.send('ready')
    for (;;) {
      for (const path of ${JSON.stringify(paths)}) {
        try {
          renameSync(path, away)
          symlinkSync(${JSON.stringify(link)}, path)
          pause(2)
          rmSync(path, { force: true })
          renameSync(away, path)
        } catch {}
        rmSync(away, { recursive: true, force: true })
        pause(2)
      }
    }`)
  expect(await child.said()).toBe('ready')
  return child
}

const many = (directory: string, text: string): Record<string, Thing> =>
  Object.fromEntries(
    Array.from({ length: 30 }, (_, number) => [`${directory}/${number}`, `${text} ${number}`]),
  )

it('a link that is swapped into the directory at any instant is not followed', async () => {
  put(scratch.at('precious'), many('d', 'precious'))
  const before = things(scratch.at('precious'))
  const trees = [tree('1', many('a/d', 'one')), tree('2', many('a/d', 'two')), tree('3', { 'a/e': 'three' })]
  await copy(tree('1', many('a/d', 'one')))
  const child = await swapper([join(target, 'a')], scratch.at('precious'))
  for (let turn = 0; turn < 90; turn += 1) await copy(trees[turn % 3] ?? '').catch(() => undefined)
  await child.kill()
  expect(things(scratch.at('precious'))).toEqual(before)
  for (const path of trees) {
    await copy(path)
    expect(things(target)).toEqual(publishedOf(path))
  }
})

it('a link that is swapped into the tree at any instant discloses nothing', async () => {
  put(scratch.at('secret'), many('d', 'secret'))
  const path = tree('1', { ...many('a/d', 'public'), ...many('b', 'public') })
  const child = await swapper([join(path, 'a'), join(path, 'b', '7')], scratch.at('secret'))
  for (let turn = 0; turn < 60; turn += 1) {
    rmSync(target, { recursive: true, force: true })
    await copy(path).catch(() => undefined)
    for (const thing of Object.values(things(target)))
      if (typeof thing === 'string') expect(thing).toMatch(/^public/)
  }
  await child.kill()
})

it('pipes and devices that an application makes are neither waited for nor copied', async () => {
  mkdirSync(target)
  for (const name of ['pipe', 'gone']) execFileSync('mkfifo', [join(target, name)])
  const path = tree('1', { pipe: 'a file' })
  execFileSync('mkfifo', [join(path, 'other')])
  await copy(path)
  expect(things(target)).toEqual({ pipe: 'a file' })
})

it('the directory itself stays, also a mounted one, with its lost+found and its mode', async () => {
  mkdirSync(target)
  scratch.mount(target)
  chmodSync(target, 0o2775)
  put(target, { 'lost+found/kept': 'kept', alien: 'alien', 'a/lost+found': 'alien' })
  const before = statSync(target)
  await copy(tree('1', { file: '1', 'a/b': '2' }))
  expect(things(target)).toEqual({
    'lost+found': { directory: true },
    'lost+found/kept': 'kept',
    file: '1',
    a: { directory: true },
    'a/b': '2',
  })
  expect(statSync(target)).toMatchObject({ ino: before.ino, dev: before.dev, mode: before.mode })
})

it('what a killed run has left is removed before anything is copied, so it cannot fill the volume', async () => {
  mkdirSync(target)
  scratch.mount(target)
  const leftover = join(target, '.outrider-0123456789ab')
  mkdirSync(leftover)
  writeFileSync(join(leftover, '1'), Buffer.alloc(900_000))
  await copy(tree('1', { file: 'x'.repeat(900_000) }))
  expect(Object.keys(things(target))).toEqual(['file'])
})

it('a directory of the commit that is named as ours are is copied', async () => {
  const path = tree('1', { '.outrider-0123456789ab/file': 'theirs' })
  await copy(path)
  await copy(path)
  expect(things(target)).toEqual(publishedOf(path))
})

it('what was copied last is noted, and whether all of it', async () => {
  expect(await readCopyState(state)).toBeUndefined()
  await copy(tree('1', { a: 'a' }))
  expect(await readCopyState(state)).toEqual({ hash: '1', isComplete: true })
  const aborted = AbortSignal.abort(new Error('enough'))
  await expect(copy(tree('2', { a: 'b' }), aborted)).rejects.toThrow('enough')
  expect(await readCopyState(state)).toEqual({ hash: '2', isComplete: false })
  expect(things(target)).toEqual({ a: 'a' })
})

it('after a crash of the system a copy is not taken for complete, since its files were not synced', async () => {
  await copy(tree('1', {}))
  const text = readFileSync(state, 'utf8')
  writeFileSync(
    state,
    text.replace(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(), 'another'),
  )
  expect(await readCopyState(state)).toEqual({ hash: '1', isComplete: false })
})

it.each(['', '{"hash":', 'null', '[]', '{"hash":1}'])('a note that says %j says nothing', async (text) => {
  writeFileSync(state, text)
  expect(await readCopyState(state)).toBeUndefined()
  writeFileSync(`${state}.new`, 'of a crash')
  await copy(tree('1', {}))
  expect(await readCopyState(state)).toEqual({ hash: '1', isComplete: true })
})

it('a signal stops it between two files, and the next run completes it', async () => {
  const names = Object.fromEntries(Array.from({ length: 1_500 }, (_, number) => [`a/${number}`, `${number}`]))
  const path = tree('1', names)
  const controller = new AbortController()
  const running = copy(path, controller.signal)
  const copied = () => {
    try {
      return readdirSync(join(target, 'a')).length
    } catch {
      return 0
    }
  }
  await expect.poll(copied, { interval: 1 }).toBeGreaterThan(0)
  controller.abort(new Error('enough'))
  await expect(running).rejects.toThrow('enough')
  expect(readdirSync(target)).toEqual(['a'])
  expect(copied()).toBeLessThan(1_500)
  await copy(path)
  expect(things(target)).toEqual(publishedOf(path))
})

it('a run that is killed at any instant leaves whole files only, and the next completes it', async () => {
  const version = (text: string, kind: Things) => ({
    ...Object.fromEntries(
      Array.from({ length: 60 }, (_, number) => [`a/${number}`, text.repeat(1 + number * 200)]),
    ),
    ...Object.fromEntries(Array.from({ length: 60 }, (_, number) => [`${text}/${number}/x`, text])),
    ...Object.fromEntries(Array.from({ length: 60 }, (_, number) => [`same/${number}`, 'same'])),
    large: text.repeat(1_500_000),
    run: text === 'one' ? { program: 'run' } : 'run',
    ...kind,
  })
  const one = tree('1', version('one', { x: 'file', 'y/a/b': 'one', z: { link: 'same' } }))
  const two = tree('2', version('two', { 'x/a/b': 'two', y: { link: 'a' }, 'z/a': 'two' }))
  const versions = [publishedOf(one), publishedOf(two)]
  const isOfOne = (name: string, thing: Thing | undefined) =>
    versions.some((version) => JSON.stringify(version[name]) === JSON.stringify(thing))
  await copy(one)
  for (let turn = 0; turn < 12; turn += 1) {
    const child = scratch.node(
      copying(
        [two, one],
        `await copy(trees[0]); process.send('ready'); for (;;) for (const tree of trees) await copy(tree)`,
      ),
    )
    expect(await child.said()).toBe('ready')
    const end = performance.now() + Math.random() * 150
    while (performance.now() < end) {
      for (const name of ['large', 'a/59', 'a/0', 'same/1', 'run', 'x']) {
        let text: string | undefined
        try {
          text = readFileSync(join(target, name), 'latin1')
        } catch (error) {
          // What changes its kind is away for an instant.
          if (name !== 'x') throw error
        }
        const isKnown = versions.some((version) => {
          const thing = version[name]
          return text === (typeof thing === 'object' && 'program' in thing ? thing.program : thing)
        })
        if (text !== undefined && !isKnown) throw new Error(`${name} is half: ${text.length}`)
      }
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
    }
    await child.kill()
    const left = Object.entries(things(target)).filter(([name]) => !name.startsWith('.outrider-'))
    expect(left.filter(([name, thing]) => !isOfOne(name, thing)).map(([name]) => name)).toEqual([])
    const next = turn % 2 === 0 ? one : two
    await copy(next)
    const found = things(target)
    expect(Object.keys(found).toSorted()).toEqual(Object.keys(publishedOf(next)).toSorted())
    expect(
      JSON.stringify(Object.entries(found).toSorted()) ===
        JSON.stringify(Object.entries(publishedOf(next)).toSorted()),
    ).toBe(true)
  }
}, 60_000)

it('a volume without symbolic links is told apart, with what to do', async () => {
  const child = scratch.node(
    copying([tree('1', { 'a/b': { link: 'c' } })], tellsError),
    {},
    refusing('symlink'),
  )
  expect(await child.said()).toBe(
    `cannot copy to ${join(target, 'a', 'b')}: this volume knows no symbolic links (EPERM), and the commit has one there; ` +
      'take it out of the repository, or use a volume that has them',
  )
})

it('a volume without links, modes and cases is no obstacle, and keeps what is the same', async () => {
  mkdirSync(target)
  await scratch.mountFlat(target)
  await copy(
    tree('1', { README: 'read', run: { program: 'run' }, 'Docs/a': 'a', 'docs.txt': 'b', gone: 'gone' }),
  )
  const next = tree('2', {
    readme: 'read',
    run: { program: 'run' },
    'docs/a': 'a',
    'docs.txt': 'B',
    Gone: 'new',
  })
  await copy(next)
  const found = (name: string) => readFileSync(join(target, name), 'utf8')
  expect(readdirSync(target).toSorted()).toEqual(['Gone', 'docs', 'docs.txt', 'readme', 'run'])
  expect([found('readme'), found('run'), found('docs/a'), found('docs.txt'), found('Gone')]).toEqual([
    'read',
    'run',
    'a',
    'B',
    'new',
  ])
  const inodes = () => readdirSync(target).map((name) => statSync(join(target, name)).ino)
  const before = inodes()
  await copy(next)
  expect(inodes()).toEqual(before)
  await expect(copy(tree('3', { a: { link: 'b' } }))).rejects.toThrow(/this volume knows no symbolic links/)
})

it('names that a volume takes for the same are told', async () => {
  mkdirSync(target)
  await scratch.mountFlat(target)
  await expect(copy(tree('1', { README: 'one', readme: 'two' }))).rejects.toThrow(
    /\/(README|readme): this volume takes its name for the same as another in the commit; rename one of them$/,
  )
  expect(await readCopyState(state)).toEqual({ hash: '1', isComplete: false })
})

it('a full volume keeps whole files, the old and the new, and says so', async () => {
  mkdirSync(target)
  scratch.mount(target)
  const one = tree('1', { a: 'a'.repeat(200_000), b: 'b'.repeat(400_000) })
  await copy(one)
  const two = tree('2', { a: 'A'.repeat(200_000), b: 'B'.repeat(600_000) })
  await expect(copy(two)).rejects.toMatchObject({
    code: 'ENOSPC',
    message: expect.stringMatching(
      /target\/[ab]: the file system is full; make room or give it more \(ENOSPC\)$/,
    ),
  })
  expect(things(target)).toEqual({ a: expect.stringMatching(/^a+$|^A+$/), b: 'b'.repeat(400_000) })
  expect(await readCopyState(state)).toEqual({ hash: '2', isComplete: false })
})

it('a read-only volume and one of another user are told', async () => {
  mkdirSync(target)
  scratch.mount(target)
  const path = tree('1', { a: 'a' })
  scratch.remount(target, 'ro')
  await expect(copy(path)).rejects.toThrow(
    `cannot write to ${target}: the file system is read-only; mount the volume so that it can be written (EROFS)`,
  )
  scratch.remount(target, 'rw')
  chmodSync(scratch.path, 0o777)
  chmodSync(target, 0o755)
  rmSync(state)
  const child = scratch.node(copying([path], tellsError), { uid: 65_534, gid: 65_534 })
  expect(await child.said()).toBe(
    `cannot write to ${target}: user 65534 may not; let it write there (owner and mode, fsGroup in Kubernetes) (EACCES)`,
  )
})

it('directories and files whose modes are in the way of their owner are no obstacle', async () => {
  const one = tree('1', { 'a/b/c': 'c', 'd/e': 'e', f: 'f', 'gone/x/y': 'y', 'kind/x': 'x' })
  const two = tree('2', { 'a/b/c': 'C', 'a/b/n': 'n', 'd/e': 'e', f: 'f', kind: 'file' })
  await copy(one)
  for (const name of ['a/b', 'a', 'd', 'gone/x', 'gone', 'kind']) chmodSync(join(target, name), 0o555)
  chmodSync(join(target, 'd'), 0o000)
  chmodSync(join(target, 'f'), 0o000)
  execFileSync('chown', ['-R', '65534', scratch.path])
  const child = scratch.node(copying([two], tellsError), { uid: 65_534, gid: 65_534 })
  expect(await child.said()).toBe('done')
  expect(things(target)).toEqual(publishedOf(two))
})

it('what cannot be removed is told when all else is done', async () => {
  put(target, { 'a/mounted/x': 'x', 'b/gone': 'gone' })
  scratch.mount(join(target, 'a', 'mounted'))
  const path = tree('1', { 'b/new': 'new' })
  await expect(copy(path)).rejects.toMatchObject({
    code: 'EBUSY',
    message: `cannot remove ${join(target, 'a', 'mounted')}: it is a mount point or in use; unmount it, or end who uses it (EBUSY)`,
  })
  expect(readdirSync(target).toSorted()).toEqual(['a', 'b'])
  expect(readdirSync(join(target, 'b'))).toEqual(['new'])
  expect(await readCopyState(state)).toEqual({ hash: '1', isComplete: false })
})

it('what an application holds open on NFS is no obstacle', async () => {
  // A mount point cannot be removed either.
  const held = join(target, 'gone', '.nfs000000000123456700000001')
  mkdirSync(held, { recursive: true })
  scratch.mount(held)
  await copy(tree('1', { a: 'a' }))
  expect(await readCopyState(state)).toEqual({ hash: '1', isComplete: true })
})

it('a file or link in the place of the directory is named and stays', async () => {
  const path = tree('1', { a: 'a' })
  symlinkSync(path, target)
  await expect(copy(path)).rejects.toThrow(
    `cannot copy to ${target}: it is a symbolic link; move it away, or publish under another name`,
  )
  expect(things(path)).toEqual({ '.git': 'gitdir: elsewhere\n', a: 'a' })
  rmSync(target)
  writeFileSync(target, 'precious')
  await expect(copy(path)).rejects.toThrow(`cannot copy to ${target}: it is a file;`)
  expect(readFileSync(target, 'utf8')).toBe('precious')
})

it('a directory around the tree, in it or around the note is refused, since all else in it would go', async () => {
  const path = tree('1', { 'a/b': 'b' })
  const options = { hash: '1', state, signal: new AbortController().signal }
  for (const around of [scratch.path, scratch.at('trees'), path, join(path, 'a')])
    await expect(publishCopy({ ...options, tree: path, target: around })).rejects.toThrow(
      /name a directory of its own$/,
    )
  symlinkSync('.', scratch.at('here'))
  mkdirSync(target)
  const inside = scratch.at('here', 'target', 'state')
  await expect(publishCopy({ ...options, tree: path, target, state: inside })).rejects.toThrow(
    /name a directory of its own$/,
  )
  expect(things(path)).toMatchObject({ 'a/b': 'b' })
})
