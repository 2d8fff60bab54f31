import { mkdir, readdir, readFile, readlink, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeRepository } from './git-repository-test-support.ts'
import { filesIn, type MirrorScene, makeScene, sync } from './mirror-test-support.ts'

let scene: MirrorScene

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(() => scene[Symbol.asyncDispose]())

describe('what is published', () => {
  it('is a relative link to a tree whose base name is the hash of the commit', async () => {
    const hash = await scene.repository.commit({ 'index.html': 'one' })
    const result = await sync(scene.open())
    expect(result).toEqual({
      outcome: 'published',
      tree: { hash, path: join(scene.root, '.worktrees', hash) },
      isPinned: false,
    })
    expect(await readlink(scene.link)).toBe(`.worktrees/${hash}`)
    expect(await scene.published()).toEqual({ hash, files: { 'index.html': 'one' } })
  })

  it('follows the ref, and the tree before it is gone', async () => {
    const first = await scene.repository.commit({ 'index.html': 'one', 'old.html': 'old' })
    const mirror = scene.open()
    await sync(mirror)
    const second = await scene.repository.commit({ 'index.html': 'two', 'old.html': null })
    await sync(mirror)
    expect(await scene.published()).toEqual({ hash: second, files: { 'index.html': 'two' } })
    expect(await readdir(join(scene.root, '.worktrees'))).toEqual([second])
    expect(first).not.toBe(second)
  })

  it('has a .git file that leads to the repository by a relative path', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    await sync(scene.open())
    expect(await readFile(join(scene.link, '.git'), 'utf8')).toBe(`gitdir: ../../.git/worktrees/${hash}\n`)
    expect((await scene.repository.git(['log', '--format=%H'], { cwd: scene.link })).trim()).toBe(hash)
  })

  it('may be a link outside of the root', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const link = join(scene.base, 'elsewhere', 'deep', 'link')
    await sync(scene.open({ link }))
    expect(await readlink(link)).toBe(`../../root/.worktrees/${hash}`)
  })

  it.each([
    ['main', 'refs/heads/main'],
    ['refs/heads/main', 'refs/heads/main'],
    ['heads/main', 'refs/heads/main'],
    ['feature/x', 'refs/heads/feature/x'],
    ['v1', 'refs/tags/v1^{commit}'],
    ['HEAD', 'HEAD'],
  ])('at ref %s is what git means by it', async (ref, meant) => {
    await scene.repository.commit({ a: '1' })
    await scene.repository.tag('v1', { annotated: true })
    await scene.repository.commit({ a: '2' })
    await scene.repository.commit({ a: '3' }, { branch: 'feature/x' })
    await sync(scene.open({ ref }))
    expect((await scene.published()).hash).toBe(await scene.repository.rev(meant))
  })

  it('is the tag where a branch has the same name, as git takes it', async () => {
    const tagged = await scene.repository.commit({ a: 'tag' })
    await scene.repository.tag('both')
    await scene.repository.commit({ a: 'branch' }, { branch: 'both' })
    await sync(scene.open({ ref: 'both' }))
    expect((await scene.published()).hash).toBe(tagged)
  })

  it('is no branch that only ends in the name', async () => {
    await scene.repository.commit({ a: '1' }, { branch: 'other/release' })
    await expect(sync(scene.open({ ref: 'release' }))).rejects.toMatchObject({ kind: 'no-ref' })
  })

  it('follows a branch that was pushed by force', async () => {
    const base = await scene.repository.commit({ a: '1' })
    await scene.repository.commit({ a: '2' })
    const mirror = scene.open({ ref: 'main' })
    await sync(mirror)
    await scene.repository.forcePush('main', base)
    await sync(mirror)
    expect((await scene.published()).hash).toBe(base)
  })

  it('keeps the old tree for the time that it may stay', async () => {
    const first = await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ staleAfterMs: 1_000 })
    await sync(mirror)
    const second = await scene.repository.commit({ a: '2' })
    await sync(mirror)
    expect((await readdir(join(scene.root, '.worktrees'))).sort()).toEqual([first, second].sort())
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    await sync(mirror)
    expect(await readdir(join(scene.root, '.worktrees'))).toEqual([second])
  })

  it('goes back to a tree that is still there without making it anew', async () => {
    const first = await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ staleAfterMs: 3_600_000, ref: 'main' })
    await sync(mirror)
    await scene.repository.commit({ a: '2' })
    await sync(mirror)
    await scene.repository.forcePush('main', first)
    scene.commands()
    await sync(mirror)
    expect(scene.commands()).not.toContain('worktree')
    expect(await scene.published()).toEqual({ hash: first, files: { a: '1' } })
  })

  it('is a tree of a SHA-256 repository too, also where SHA-1 was before', async () => {
    await scene.repository.commit({ a: '1' })
    await sync(scene.open())
    const other = await makeRepository(join(scene.base, 'sha256.git'), { objectFormat: 'sha256' })
    const hash = await other.commit({ b: '2' })
    await using mirror = scene.open({
      directory: join(scene.base, 'second'),
      link: join(scene.base, 'second/link'),
    })
    await sync(mirror)
    await mirror[Symbol.asyncDispose]()
    const next = scene.open({
      directory: join(scene.base, 'second'),
      link: join(scene.base, 'second/link'),
      repo: other.directory,
    })
    await sync(next)
    expect(await readlink(join(scene.base, 'second/link'))).toBe(`.worktrees/${hash}`)
  })
})

describe('what a poll costs', () => {
  it('one process of git while nothing has changed', async () => {
    await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    scene.commands()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.commands()).toEqual(['ls-remote'])
  })

  it('none where a cheaper source of refs answers', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const refs = { list: async () => [{ name: 'refs/heads/main', hash }] }
    const mirror = scene.open({ refs, ref: 'main' })
    await sync(mirror)
    scene.commands()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.commands()).toEqual([])
  })

  it('none for a ref that is a hash, once it is published', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    await scene.repository.commit({ a: '2' })
    const mirror = scene.open({ ref: hash })
    expect(await sync(mirror)).toMatchObject({ outcome: 'published', isPinned: true })
    scene.commands()
    expect(await sync(mirror)).toMatchObject({ outcome: 'unchanged', isPinned: true })
    expect(scene.commands()).toEqual([])
    expect((await scene.published()).files).toEqual({ a: '1' })
  })

  it('none for the hash of an annotated tag either', async () => {
    await scene.repository.commit({ a: '1' })
    const tag = await scene.repository.tag('v1', { annotated: true })
    const mirror = scene.open({ ref: tag })
    await sync(mirror)
    scene.commands()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.commands()).toEqual([])
  })

  it('one look at the tree more at the first poll of a process that finds it published', async () => {
    await scene.repository.commit({ a: '1' })
    const before = scene.open()
    await sync(before)
    await before[Symbol.asyncDispose]()
    const mirror = scene.open()
    scene.commands()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.commands()).toEqual(['status', 'ls-remote'])
  })
})

describe('how much is fetched', () => {
  const commits = async () =>
    (await scene.repository.git(['rev-list', '--count', 'HEAD'], { cwd: scene.link })).trim()

  it('one commit by default, as many as asked for, or all', async () => {
    for (const text of ['1', '2', '3', '4']) await scene.repository.commit({ a: text })
    const first = scene.open()
    await sync(first)
    expect(await commits()).toBe('1')
    await first[Symbol.asyncDispose]()
    await scene.repository.commit({ a: '5' })
    const second = scene.open({ depth: 3 })
    await sync(second)
    expect(await commits()).toBe('3')
    await second[Symbol.asyncDispose]()
    // Nothing new there, and yet the history is completed.
    await sync(scene.open({ depth: 0 }))
    expect(await commits()).toBe('5')
  })

  it('not the contents of files that no tree has, with a filter', async () => {
    await scene.repository.commit({ big: 'old '.repeat(1000) })
    await scene.repository.commit({ big: 'new' })
    await sync(scene.open({ repo: `file://${scene.repository.directory}`, depth: 0, filter: 'blob:none' }))
    expect((await scene.published()).files).toEqual({ big: 'new' })
    const missing = await scene.repository.git(['rev-list', '--objects', '--missing=print', 'HEAD'], {
      cwd: scene.link,
    })
    expect(missing).toMatch(/^\?/m)
  })

  it('only the paths of the sparse-checkout file are in the tree, and a change of it makes another', async () => {
    await scene.repository.commit({ 'docs/a': '1', 'src/b': '2' })
    const sparseCheckoutFile = join(scene.base, 'sparse')
    await writeFile(sparseCheckoutFile, '/docs/\n')
    const mirror = scene.open({ sparseCheckoutFile })
    const first = await sync(mirror)
    expect((await scene.published()).files).toEqual({ 'docs/a': '1' })
    await writeFile(sparseCheckoutFile, '/src/\n')
    const second = await sync(mirror)
    expect((await scene.published()).files).toEqual({ 'src/b': '2' })
    expect((await scene.published()).hash).toBe(first.tree.hash)
    expect(second.tree.path).not.toBe(first.tree.path)
  })
})

describe('the published tree stays whole', () => {
  const fails = async (promise: Promise<unknown>): Promise<Error & { kind?: string }> =>
    promise.then(
      () => expect.fail('it did not fail'),
      (error: Error) => error,
    )

  it('when the ref vanishes', async () => {
    const hash = await scene.repository.commit({ a: '1' }, { branch: 'release' })
    const mirror = scene.open({ ref: 'release' })
    await sync(mirror)
    await scene.repository.deleteRef('refs/heads/release')
    expect(await fails(sync(mirror))).toMatchObject({
      kind: 'no-ref',
      message: expect.stringContaining('release'),
    })
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    await scene.repository.commit({ a: '2' }, { branch: 'release' })
    expect((await sync(mirror)).outcome).toBe('published')
  })

  it('when the repository is emptied, and follows what comes after', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await scene.repository.recreate()
    expect((await fails(sync(mirror))).message).toContain('empty')
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    const other = await scene.repository.commit({ b: 'unrelated' })
    await sync(mirror)
    expect(await scene.published()).toEqual({ hash: other, files: { b: 'unrelated' } })
  })

  it('when the repository is gone', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await rm(scene.repository.directory, { recursive: true })
    expect(await fails(sync(mirror))).toMatchObject({ kind: 'not-found' })
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
  })

  it('when an object at the remote is corrupt, and follows once it is mended', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await scene.repository.commit({ a: 'broken one' })
    const blob = await scene.repository.rev('HEAD:a')
    await scene.repository.damage(blob, 'corrupt')
    await fails(sync(mirror))
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    await fails(sync(mirror))
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    const next = await scene.repository.commit({ a: '3' })
    await sync(mirror)
    expect(await scene.published()).toEqual({ hash: next, files: { a: '3' } })
  })

  it('when what is to happen before publishing fails, and it is tried again', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    const next = await scene.repository.commit({ a: '2' })
    const beforePublish = () => Promise.reject(new Error('not today'))
    expect((await fails(sync(mirror, { beforePublish }))).message).toBe('not today')
    expect((await scene.published()).hash).toBe(hash)
    const seen: string[] = []
    await sync(mirror, {
      beforePublish: async (tree) => void seen.push(tree.hash, JSON.stringify(await filesIn(tree.path))),
    })
    expect(seen).toEqual([next, '{"a":"2"}'])
    expect((await scene.published()).hash).toBe(next)
  })

  it('when something else is at the place of the link, which is said and not deleted', async () => {
    await scene.repository.commit({ a: '1' })
    await mkdir(join(scene.link, 'mine'), { recursive: true })
    const mirror = scene.open()
    expect((await fails(sync(mirror))).message).toContain(scene.link)
    expect(await readdir(scene.link)).toEqual(['mine'])
    await rm(scene.link, { recursive: true })
    await sync(mirror)
    expect((await scene.published()).files).toEqual({ a: '1' })
  })

  it('when the repository beside it is corrupt: it is made anew, and the link never breaks', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const first = scene.open()
    await sync(first)
    await first[Symbol.asyncDispose]()
    await writeFile(join(scene.root, '.git', 'HEAD'), '')
    const mirror = scene.open()
    const readers = watchLink()
    await sync(mirror)
    expect(await readers.stop()).toEqual([])
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    expect(scene.eventTypes()).toContain('rebuilt')
    await scene.repository.commit({ a: '2' })
    await sync(mirror)
    expect((await scene.published()).files).toEqual({ a: '2' })
  })

  it('when objects of the repository are damaged: found after a failure, and made anew', async () => {
    await scene.repository.commit({ a: '1', b: 'x' })
    const mirror = scene.open({ depth: 0, gc: 'off' })
    await sync(mirror)
    const pack = join(scene.root, '.git', 'objects')
    for (const path of await readdir(pack, { recursive: true })) {
      const file = join(pack, path)
      if (!(await stat(file)).isFile()) continue
      await unlink(file)
      await writeFile(file, 'rubbish')
    }
    const next = await scene.repository.commit({ a: '2' })
    const readers = watchLink()
    for (let round = 0; round < 3 && (await scene.published()).hash !== next; round++)
      await sync(mirror).catch(() => undefined)
    expect(await readers.stop()).toEqual([])
    expect(await scene.published()).toEqual({ hash: next, files: { a: '2', b: 'x' } })
    expect(scene.eventTypes()).toContain('rebuilt')
  })

  /** Reads through the link all the time; gives what went wrong. */
  function watchLink(): { stop(): Promise<string[]> } {
    const wrong: string[] = []
    let isOver = false
    const watching = (async () => {
      while (!isOver) {
        const text = await readFile(join(scene.link, 'a'), 'utf8').catch((error: Error) => error.message)
        if (!/^[12]$/.test(text)) wrong.push(text)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    return {
      async stop() {
        isOver = true
        await watching
        return wrong
      },
    }
  }
})

describe('what was left behind', () => {
  it('locks, temporary links, half-written objects and half trees are cleared away', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const first = scene.open()
    await sync(first)
    await first[Symbol.asyncDispose]()
    const git = join(scene.root, '.git')
    const locks = ['index.lock', 'HEAD.lock', 'shallow.lock', 'config.lock', 'packed-refs.lock', 'gc.pid']
    for (const lock of locks) await writeFile(join(git, lock), '')
    await writeFile(join(git, 'worktrees', hash, 'index.lock'), '')
    await mkdir(join(git, 'refs/outrider'), { recursive: true })
    await writeFile(join(git, 'refs/outrider/incoming.lock'), '')
    await mkdir(join(git, 'objects/tmp_objdir-incoming-x'), { recursive: true })
    await writeFile(join(git, 'objects/pack/tmp_pack_x'), 'half')
    await symlink(`.worktrees/${'f'.repeat(40)}`, join(scene.root, 'tmp-link'))
    const half = join(scene.root, '.worktrees', 'f'.repeat(40))
    await mkdir(half)
    await writeFile(join(half, 'a'), 'half')
    const next = await scene.repository.commit({ a: '2' })
    await sync(scene.open())
    expect(await scene.published()).toEqual({ hash: next, files: { a: '2' } })
    expect(await readdir(join(scene.root, '.worktrees'))).toEqual([next])
    const names = await readdir(scene.root, { recursive: true })
    expect(
      names.filter((name) => /\.lock$|gc\.pid|tmp_|tmp-link/.test(name) && !name.includes('outrider.lock')),
    ).toEqual([])
    expect(scene.eventTypes()).toContain('recovered')
  })

  it('a tree whose files somebody has changed is replaced by a whole one', async () => {
    const hash = await scene.repository.commit({ a: '1', b: '2' })
    const first = scene.open()
    await sync(first)
    await first[Symbol.asyncDispose]()
    await writeFile(join(scene.link, 'a'), 'changed')
    await unlink(join(scene.link, 'b'))
    await sync(scene.open())
    expect(await scene.published()).toEqual({ hash, files: { a: '1', b: '2' } })
    expect(scene.eventTypes()).toContain('damaged')
  })

  it('a root that git-sync has made is taken over with its published tree', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    // As version 4 does it.
    await scene.repository.git(['init', '--quiet', scene.root])
    const inRoot = { cwd: scene.root }
    await scene.repository.git(
      ['fetch', '--quiet', '--depth', '1', scene.repository.directory, 'HEAD'],
      inRoot,
    )
    await scene.repository.git(['worktree', 'add', '--quiet', '--detach', `.worktrees/${hash}`, hash], inRoot)
    await symlink(`.worktrees/${hash}`, scene.link)
    const mirror = scene.open()
    await sync(mirror)
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    const next = await scene.repository.commit({ a: '2' })
    await sync(mirror)
    expect(await scene.published()).toEqual({ hash: next, files: { a: '2' } })
    expect(await readdir(join(scene.root, '.worktrees'))).toEqual([next])
  })

  it('a root that is reached by a symbolic link is the same root', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    await mkdir(scene.root)
    const other = join(scene.base, 'alias')
    await symlink(scene.root, other)
    const first = scene.open()
    await sync(first)
    await first[Symbol.asyncDispose]()
    const mirror = scene.open({ directory: other, link: join(other, 'site') })
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
  })

  it('files of others in the root stay', async () => {
    await scene.repository.commit({ a: '1' })
    await mkdir(join(scene.root, 'data'), { recursive: true })
    await writeFile(join(scene.root, 'data/precious'), 'mine')
    await sync(scene.open())
    expect(await readFile(join(scene.root, 'data/precious'), 'utf8')).toBe('mine')
  })
})

describe('one root', () => {
  it('has one mirror at a time, and the other says who has it', async () => {
    await scene.repository.commit({ a: '1' })
    const first = scene.open()
    await sync(first)
    const second = scene.open()
    await expect(sync(second)).rejects.toThrow(String(process.pid))
    await first[Symbol.asyncDispose]()
    expect((await sync(second)).outcome).toBe('unchanged')
  })
})

describe('a directory instead of a link', () => {
  it('has the files of the commit, and what is gone from it is gone', async () => {
    await scene.repository.commit({ a: '1', 'dir/b': '2' })
    const mirror = scene.open({ publish: 'copy' })
    await sync(mirror)
    expect((await stat(scene.link)).isDirectory()).toBe(true)
    expect(await filesIn(scene.link)).toEqual({ a: '1', 'dir/b': '2' })
    await scene.repository.commit({ a: '3', 'dir/b': null })
    await sync(mirror)
    expect(await filesIn(scene.link)).toEqual({ a: '3' })
    scene.commands()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.commands()).toEqual(['ls-remote'])
  })

  it('is known again by the next process', async () => {
    await scene.repository.commit({ a: '1' })
    const first = scene.open({ publish: 'copy' })
    await sync(first)
    await first[Symbol.asyncDispose]()
    expect((await sync(scene.open({ publish: 'copy' }))).outcome).toBe('unchanged')
  })
})

describe('what is refused before git sees it', () => {
  it.each([
    '--upload-pack=touch /tmp/x',
    'ext::sh -c touch% /tmp/x',
    '-oProxyCommand=x:y',
    'ssh://-oProxyCommand=x/y',
    'fd::17/foo',
    'https://user:password@example.com/x',
    'ftp://example.com/x',
    'https://example.com/\nx',
  ])('the repository %j', (repo) => {
    expect(() => scene.open({ repo })).toThrow(/must/)
  })

  it.each([
    '--upload-pack=x',
    '-x',
    'a..b',
    'a b',
    'main:refs/heads/x',
    '+main',
    'HEAD~1',
    'a^{}',
    '@{u}',
    'x.lock',
    '',
  ])('the ref %j', (ref) => {
    expect(() => scene.open({ ref })).toThrow(/must/)
  })
})
