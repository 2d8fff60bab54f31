import { execFileSync } from 'node:child_process'
import { appendFile, chmod, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeRepository } from './git-repository-test-support.ts'
import { type MirrorScene, makeScene, sync } from './mirror-test-support.ts'
import { runGit } from './run-git-test-support.ts'

let scene: MirrorScene

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(() => scene[Symbol.asyncDispose]())

const programs = (ran: string): string => `
[filter "planted"]
	smudge = "sh -c 'echo smudge >> ${ran}; cat'"
	clean = "sh -c 'echo clean >> ${ran}; cat'"
[remote "origin"]
	uploadpack = "echo uploadpack >> ${ran}; git-upload-pack"
[credential]
	helper = "!echo helper >> ${ran}; :"
`

describe('what others write into the configuration of its repository', () => {
  it.each(['config', 'included'])('runs no program: %s', async (file) => {
    const ran = join(scene.base, 'ran')
    await scene.repository.commit({ '.gitattributes': '* filter=planted\n', a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    const config = join(scene.root, '.git/config')
    await appendFile(join(scene.root, '.git', file), programs(ran))
    await appendFile(config, '[include]\n\tpath = included\n')
    const hash = await scene.repository.commit({ a: '2' })
    await sync(mirror)
    await mirror[Symbol.asyncDispose]()
    await appendFile(config, '[include]\n\tpath = included\n')
    await sync(scene.open())
    expect((await scene.published()).hash).toBe(hash)
    expect(await readFile(ran, 'utf8').catch(() => 'nothing')).toBe('nothing')
  })

  it('does not say where the refs of the remote are', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const other = await makeRepository(join(scene.base, 'other.git'))
    await other.commit({ a: 'of another' })
    const mirror = scene.open()
    await sync(mirror)
    const rule = `[url "${other.directory}"]\n\tinsteadOf = ${scene.repository.directory}\n`
    await appendFile(join(scene.root, '.git/config'), rule)
    expect((await sync(mirror)).outcome).toBe('unchanged')
    expect((await scene.published()).hash).toBe(hash)
  })

  it('is gone, and what git needs of a partial clone stays', async () => {
    await scene.repository.commit({ a: '1' })
    const repo = `file://${scene.repository.directory}`
    const mirror = scene.open({ repo, filter: 'blob:none' })
    await sync(mirror)
    const config = join(scene.root, '.git/config')
    await appendFile(config, '[core]\n\tworktree = /\n[user]\n\tname = x\n')
    await scene.repository.commit({ a: '2' })
    await sync(mirror)
    expect((await scene.published()).files).toEqual({ a: '2' })
    expect((await runGit(['config', '--file', config, '--list'])).trim().split('\n')).toEqual([
      'core.repositoryformatversion=1',
      'core.filemode=true',
      'core.bare=false',
      `remote.origin.url=${repo}`,
      'remote.origin.promisor=true',
      'remote.origin.partialclonefilter=blob:none',
    ])
  })
})

describe('what others do beside the trees', () => {
  it('a tree whose repository was given another place is not taken for whole', async () => {
    const hash = await scene.repository.commit({ '.gitattributes': '* filter=planted\n', a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await mirror[Symbol.asyncDispose]()
    const ran = join(scene.base, 'ran')
    const planted = join(scene.root, '.planted')
    await cp(join(scene.root, '.git'), planted, { recursive: true })
    await appendFile(join(planted, 'config'), programs(ran))
    await writeFile(join(scene.root, '.git/worktrees', hash, 'commondir'), '../../../.planted\n')
    await sync(scene.open())
    expect(await scene.published()).toEqual({
      hash,
      files: { '.gitattributes': '* filter=planted\n', a: '1' },
    })
    expect(await readFile(ran, 'utf8').catch(() => 'nothing')).toBe('nothing')
  })

  it('another object in the place of one is not shown', async () => {
    const bad = await scene.repository.commit({ a: 'replaced' })
    const hash = await scene.repository.commit({ a: '1' }, { amend: true })
    const mirror = scene.open({ depth: 0, ref: 'main' })
    await sync(mirror)
    const next = await scene.repository.commit({ a: '2' })
    await runGit(['fetch', '--quiet', scene.repository.directory, `${bad}:refs/bad`, `${next}:refs/next`], {
      cwd: scene.root,
    })
    await runGit(['replace', next, bad], { cwd: scene.root })
    await sync(mirror)
    expect(await scene.published()).toEqual({ hash: next, files: { a: '2' } })
    expect(hash).not.toBe(next)
  })

  it('a link in the place of what git keeps of the trees removes nothing where it leads', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open()
    await sync(mirror)
    await mirror[Symbol.asyncDispose]()
    const other = join(scene.base, 'other')
    await mkdir(join(other, hash), { recursive: true })
    await rm(join(scene.root, '.git/worktrees'), { recursive: true })
    await symlink(other, join(scene.root, '.git/worktrees'))
    await sync(scene.open())
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    expect(await readdir(other)).toEqual([hash])
  })

  it.each(['site/.git', '.git/config', '.git/HEAD'])(
    'a pipe in the place of %s is not waited for',
    async (path) => {
      const hash = await scene.repository.commit({ a: '1' })
      const mirror = scene.open()
      await sync(mirror)
      await rm(join(scene.root, path))
      execFileSync('mkfifo', [join(scene.root, path)])
      await expect.poll(() => sync(mirror).then(() => scene.published())).toEqual({ hash, files: { a: '1' } })
      await mirror[Symbol.asyncDispose]()
      await sync(scene.open())
      expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    },
  )

  it('a link to the trees of another directory removes none of them', async () => {
    const hash = await scene.repository.commit({ a: '1' })
    await sync(scene.open())
    const other = join(scene.base, 'other')
    await mkdir(join(other, '.worktrees'), { recursive: true })
    await symlink(join(scene.root, '.worktrees'), join(other, '.worktrees/again-0123456789ab'))
    await sync(scene.open({ directory: other, link: join(other, 'site') }))
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    expect(await readdir(join(scene.root, '.worktrees'))).toEqual([hash])
  })
})

describe('a submodule', () => {
  it('is fetched from where the commit says, also where an earlier one said another address', async () => {
    const [one, two] = [join(scene.base, 'one.git'), join(scene.base, 'two.git')]
    const part = await makeRepository(one)
    await scene.repository.addSubmodule('part', { url: `file://${one}`, hash: await part.commit({ b: '1' }) })
    const program = join(scene.base, 'git-of-test')
    await writeFile(program, '#!/bin/sh\nexec git -c protocol.file.allow=always "$@"\n')
    await chmod(program, 0o755)
    const mirror = scene.open({}, { program })
    await sync(mirror)
    await rm(one, { recursive: true })
    const after = await makeRepository(two)
    await scene.repository.addSubmodule('part', {
      url: `file://${two}`,
      hash: await after.commit({ b: '2' }),
    })
    await sync(mirror)
    expect((await scene.published()).files).toMatchObject({ 'part/b': '2' })
  })
})
