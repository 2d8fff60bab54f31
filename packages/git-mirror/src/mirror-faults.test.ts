import {
  chmod,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type GitHttpServer, makeRepository, serveHttp } from './git-servers-test-support.ts'
import { filesIn, type MirrorScene, makeScene, sync } from './mirror-test-support.ts'
import { runGit } from './run-git-test-support.ts'

let scene: MirrorScene
const servers: AsyncDisposable[] = []

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(async () => {
  await scene[Symbol.asyncDispose]()
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]()
})

async function http(options: Parameters<typeof serveHttp>[1] = {}): Promise<GitHttpServer> {
  const server = await serveHttp(scene.base, options)
  servers.push(server)
  return server
}

const failure = (promise: Promise<unknown>): Promise<Error & { kind?: string }> =>
  promise.then(
    () => expect.fail('it did not fail'),
    (error: Error) => error,
  )

/** Real git, but for what a shell script does before. */
async function gitThat(script: string): Promise<string> {
  const file = join(scene.base, 'git-that')
  await writeFile(file, `#!/bin/sh\n${script}\nexec git "$@"\n`)
  await chmod(file, 0o755)
  return file
}

/** Damages every object and pack there is. */
async function spoilObjects(): Promise<void> {
  const objects = join(scene.root, '.git/objects')
  for (const path of await readdir(objects, { recursive: true })) {
    const file = join(objects, path)
    if (!(await stat(file)).isFile()) continue
    await unlink(file)
    await writeFile(file, 'rubbish')
  }
}

describe('a broken repository', () => {
  it('is made anew in the very sync that finds it so, which then succeeds', async () => {
    await scene.repository.commit({ a: '1', b: 'x' })
    const mirror = scene.open()
    await sync(mirror)
    await spoilObjects()
    const hash = await scene.repository.commit({ a: '2' })
    expect((await sync(mirror)).outcome).toBe('published')
    expect(await scene.published()).toEqual({ hash, files: { a: '2', b: 'x' } })
    expect(scene.eventTypes()).toContain('rebuilt')
  })

  it('is found at the first sync of a process too, so that a restart after each failure ends in no loop', async () => {
    await scene.repository.commit({ a: '1' })
    const first = scene.open()
    await sync(first)
    await first[Symbol.asyncDispose]()
    await spoilObjects()
    await scene.repository.commit({ a: '2' })
    await sync(scene.open())
    expect((await scene.published()).files).toEqual({ a: '2' })
  })

  it('is none where its authors have written commits wrongly, whatever else fails', async () => {
    const tree = (await scene.repository.git(['mktree'], { input: '' })).trim()
    const text = `tree ${tree}\nauthor a <a@b> 1 +0000\ncommitter a a@b 1 +0000\n\nwithout brackets\n`
    const hash = await scene.repository.git(['hash-object', '-t', 'commit', '-w', '--stdin'], { input: text })
    await scene.repository.setRef('refs/heads/main', hash.trim())
    await sync(scene.open()).finally(() => scene.mirrors.splice(0)[0]?.[Symbol.asyncDispose]())
    await expect(runGit(['fsck'], { cwd: scene.root })).rejects.toThrow()
    await scene.repository.commit({ a: '2' })
    const program = await gitThat('case "$*" in *reset*) echo fatal: strange >&2; exit 128;; esac')
    const mirror = scene.open({}, { program })
    scene.commands()
    expect((await failure(sync(mirror))).message).toContain('strange')
    expect((await failure(sync(mirror))).message).toContain('strange')
    expect(scene.eventTypes()).not.toContain('rebuilt')
    // Nor is all of it read again for an error that has said nothing about it.
    expect(scene.commands().filter((command) => command === 'fsck')).toHaveLength(1)
  })

  it('is none where git is configured wrongly, or ended for lack of memory', async () => {
    await scene.repository.commit({ a: '1' })
    await sync(scene.open()).finally(() => scene.mirrors.splice(0)[0]?.[Symbol.asyncDispose]())
    await scene.repository.commit({ a: '2' })
    const misled = scene.open({}, { settings: [['core.packedGitLimit', 'much']] })
    expect((await failure(sync(misled))).message).toContain('core.packedgitlimit')
    await misled[Symbol.asyncDispose]()
    const program = await gitThat(
      'case "$*" in *reset*) echo fatal: strange >&2; exit 128;; fsck*) kill -9 $$;; esac',
    )
    expect((await failure(sync(scene.open({}, { program })))).message).toContain('strange')
    expect(scene.eventTypes()).not.toContain('rebuilt')
  })
})

describe('what comes between', () => {
  it('a sync that is ended while a hook runs publishes nothing', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await scene.repository.commit({ a: '2' })
    const aborter = new AbortController()
    const beforePublish = async () => aborter.abort(new Error('too late'))
    const error = await failure(sync(mirror, { signal: aborter.signal, beforePublish }))
    expect(error.message).toBe('too late')
    expect((await scene.published()).hash).toBe(hash)
  })

  it('a directory that was taken by somebody else meanwhile is not published from', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    const next = await scene.repository.commit({ a: '2' })
    // Right before: so it looks to a process that was paused while somebody else has worked.
    const beforePublish = () => rm(join(scene.root, '.outrider.lock'), { recursive: true })
    expect((await failure(sync(mirror, { beforePublish }))).message).toContain('no longer ours')
    expect((await scene.published()).hash).toBe(hash)
    await sync(mirror)
    expect((await scene.published()).hash).toBe(next)
  })

  it('a directory that nobody has taken is locked again at the next sync, without a failure', async () => {
    await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await rm(join(scene.root, '.outrider.lock'), { recursive: true })
    await new Promise((resolve) => setTimeout(resolve, 6_000))
    expect((await sync(mirror)).outcome).toBe('unchanged')
    await expect(sync(scene.open())).rejects.toThrow(String(process.pid))
  })

  it('a root that is reached by a symbolic link may come to be another one', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const alias = join(scene.base, 'alias')
    for (const name of ['one', 'two']) await mkdir(join(scene.base, name))
    await symlink('one', alias)
    const mirror = scene.open({ directory: alias, link: join(alias, 'site') })
    await sync(mirror)
    await unlink(alias)
    await symlink('two', alias)
    await sync(mirror)
    expect(await readlink(join(scene.base, 'two/site'))).toBe(`.worktrees/${hash}`)
    expect(await filesIn(join(scene.base, 'two/site/'))).toEqual({ a: '1' })
    expect(await readdir(join(scene.base, 'one'))).not.toContain('.outrider.lock')
  })
})

describe('how little is asked', () => {
  it('one process a poll where a clone is completed and old boundaries stay noted', async () => {
    const base = await scene.repository.commit({ a: '1' })
    await scene.repository.commit({ a: '2' })
    await scene.repository.commit({ a: '3' })
    const shallow = scene.open({ gc: 'off', ref: 'main' })
    await sync(shallow)
    await shallow[Symbol.asyncDispose]()
    await scene.repository.forcePush('main', base)
    const mirror = scene.open({ gc: 'off', ref: 'main', depth: 0 })
    await sync(mirror)
    await sync(mirror)
    scene.commands()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.commands()).toEqual(['ls-remote'])
  })

  it('a partial clone is looked at without a word to the server', async () => {
    const server = await http()
    const text = 'the same line again\n'.repeat(100)
    await scene.repository.commit({ old: text })
    await scene.repository.commit({ old: null, new: `${text}more\n` })
    const repo = server.urlOf('repository.git')
    const options = { repo, depth: 0, filter: 'blob:none' }
    await sync(scene.open(options)).finally(() => scene.mirrors.splice(0)[0]?.[Symbol.asyncDispose]())
    // To tell whether one is the other by a new name, git would want contents that were not fetched.
    await runGit(['read-tree', 'HEAD~1'], { cwd: scene.link })
    server.requests.splice(0)
    const refs = { list: () => Promise.reject(new Error(`after ${server.requests.length} requests`)) }
    const looking = scene.open({ ...options, refs })
    expect((await failure(sync(looking))).message).toBe('after 0 requests')
    await looking[Symbol.asyncDispose]()
    await sync(scene.open(options))
    expect((await scene.published()).files).toEqual({ new: `${text}more\n` })
  })
})

describe('what a ref may lead to', () => {
  it('a repository of the other hash format by HTTP', async () => {
    const server = await http()
    await scene.repository.commit({ a: '1' })
    const first = scene.open({ repo: server.urlOf('repository.git') })
    await sync(first)
    await first[Symbol.asyncDispose]()
    const other = await makeRepository(join(scene.base, 'sha256.git'), { objectFormat: 'sha256' })
    const hash = await other.commit({ b: '2' })
    await sync(scene.open({ repo: server.urlOf('sha256.git') }))
    expect(await scene.published()).toEqual({ hash, files: { b: '2' } })
  })

  it.each(['HEAD:a', 'HEAD^{tree}'])('not %s, which is no commit: that is said', async (target) => {
    await scene.repository.commit({ a: '1' })
    await scene.repository.tag('odd', { target, annotated: true })
    expect(await failure(sync(scene.open({ ref: 'odd' })))).toMatchObject({
      kind: 'no-ref',
      message: expect.stringContaining('name a ref that leads to a commit'),
    })
  })

  it('a remote that has only a part of the history itself', async () => {
    for (const text of ['1', '2', '3']) await scene.repository.commit({ a: text })
    const part = join(scene.base, 'part.git')
    await runGit(['clone', '--quiet', '--bare', '--depth=1', `file://${scene.repository.directory}`, part])
    await sync(scene.open({ repo: `file://${part}` }))
    expect((await scene.published()).files).toEqual({ a: '3' })
  })
})

describe('a tree with names of all kinds', () => {
  const treeOf = async (entries: readonly string[]): Promise<string> =>
    (await scene.repository.git(['mktree'], { input: `${entries.join('\n')}\n` })).trim()
  const blob = async (text: string): Promise<string> =>
    (await scene.repository.git(['hash-object', '-w', '--stdin'], { input: text })).trim()
  const commitTree = async (tree: string): Promise<string> => {
    const identity = ['-c', 'user.name=Tester', '-c', 'user.email=tester@example.com']
    const hash = (await scene.repository.git([...identity, 'commit-tree', '-m', 'odd', tree])).trim()
    await scene.repository.setRef('refs/heads/main', hash)
    return hash
  }

  it.each(['.git', '.GIT', 'git~1'])(
    'with %s in it is not published, and the old one stays',
    async (name) => {
      const hash = await scene.repository.commit({ a: '1' })
      const mirror = scene.open()
      await sync(mirror)
      const hook = `100755 blob ${await blob('#!/bin/sh\ntouch /tmp/outrider-was-here\n')}\tpost-checkout`
      const evil = await treeOf([`040000 tree ${await treeOf([hook])}\thooks`])
      await commitTree(await treeOf([`040000 tree ${evil}\t${name}`]))
      expect((await failure(sync(mirror))).message).toContain('invalid path')
      expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
      expect(await readFile(join(scene.link, '.git'), 'utf8')).toContain('gitdir: ')
    },
  )

  it('is as it was committed: links to anywhere, long names, names that differ in case', async () => {
    const long = 'n'.repeat(255)
    const files = { README: '1', readme: '2', [long]: '3', 'tab\tand\nline': '4', ümlaut: '5' }
    const hash = await scene.repository.commit(async (tree) => {
      for (const [name, text] of Object.entries(files)) await writeFile(join(tree, name), text)
      await symlink('/etc/passwd', join(tree, 'absolute'))
      await symlink('../../../../..', join(tree, 'upwards'))
      await symlink('nowhere', join(tree, 'dangling'))
      await symlink('.', join(tree, 'itself'))
    })
    const mirror = scene.open()
    await sync(mirror)
    const links = {
      absolute: '-> /etc/passwd',
      upwards: '-> ../../../../..',
      dangling: '-> nowhere',
      itself: '-> .',
    }
    expect(await scene.published()).toEqual({ hash, files: { ...files, ...links } })
    await scene.repository.commit({ last: 'x' })
    await sync(mirror)
    expect(await readdir(join(scene.root, '.worktrees'))).toHaveLength(1)
    expect((await stat('/etc/passwd')).isFile()).toBe(true)
  })
})

describe('a directory instead of a link', () => {
  it('is filled again by the next process where somebody has emptied or changed it', async () => {
    await scene.repository.commit({ a: '1', 'b/c': '2' })
    const first = scene.open({ publish: 'copy' })
    await sync(first)
    await first[Symbol.asyncDispose]()
    await rm(join(scene.link, 'b'), { recursive: true })
    await writeFile(join(scene.link, 'a'), 'X')
    await sync(scene.open({ publish: 'copy' }))
    expect(await filesIn(scene.link)).toEqual({ a: '1', 'b/c': '2' })
  })

  it('is made again while it runs where it is gone', async () => {
    await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ publish: 'copy' })
    await sync(mirror)
    await rm(scene.link, { recursive: true })
    await sync(mirror)
    expect(await filesIn(scene.link)).toEqual({ a: '1' })
    scene.commands()
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect(scene.commands()).toEqual(['ls-remote'])
  })

  it('is known by its tree where there are several of the same commit', async () => {
    await scene.repository.commit({ 'x/a': '1', 'y/b': '2' })
    const sparseCheckoutFile = join(scene.base, 'sparse')
    const options = { publish: 'copy', sparseCheckoutFile, staleAfterMs: 3_600_000 } as const
    const mirror = scene.open(options)
    for (const patterns of ['/x/\n', '/y/\n']) {
      await writeFile(sparseCheckoutFile, patterns)
      await sync(mirror)
    }
    expect((await sync(mirror)).outcome).toBe('unchanged')
    await mirror[Symbol.asyncDispose]()
    expect((await sync(scene.open(options))).outcome).toBe('unchanged')
    expect(await filesIn(scene.link)).toEqual({ 'y/b': '2' })
  })

  it('keeps its files where the repository beside it must be made anew', async () => {
    await scene.repository.commit({ a: '1' })
    const first = scene.open({ publish: 'copy' })
    await sync(first)
    await first[Symbol.asyncDispose]()
    await writeFile(join(scene.root, '.git/HEAD'), '')
    const { ino } = await stat(join(scene.link, 'a'))
    await sync(scene.open({ publish: 'copy' }))
    expect((await stat(join(scene.link, 'a'))).ino).toBe(ino)
  })
})
