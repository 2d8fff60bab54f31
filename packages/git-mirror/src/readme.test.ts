import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { makeRepository } from './git-servers-test-support.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const directory = mkdtempSync(join(tmpdir(), 'outrider-readme-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

test('the ten lines of the README print what they say, and leave the link', async () => {
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
  expect(code.split('\n').filter((line) => line !== '').length).toBeLessThanOrEqual(10)
  const said = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map(([, text]) => text)
  expect(said).toEqual(['published', 'unchanged'])
  const repository = await makeRepository(join(directory, 'hello.git'))
  const hash = await repository.commit({ README: 'Hello World!' })
  const root = join(directory, 'root')
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module-typescript', '--eval', code], {
    cwd: new URL('..', import.meta.url),
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], REPO: repository.directory, ROOT: root },
  })
  expect([stdout.trim().split('\n'), stderr]).toEqual([said, ''])
  expect(readlinkSync(join(root, 'current'))).toBe(`.worktrees/${hash}`)
  expect(readFileSync(join(root, 'current/README'), 'utf8')).toBe('Hello World!')
})

test('the README lists each option, event and kind of error', () => {
  const source = (file: string) => readFileSync(new URL(file, import.meta.url), 'utf8')
  const [, options = ''] = /interface MirrorOptions \{([\s\S]*?)\n\}/.exec(source('mirror.ts')) ?? []
  const [, events = ''] = /type MirrorEvent =([\s\S]*?)\n\n/.exec(source('mirror.ts')) ?? []
  const [, kinds = ''] = /type GitErrorKind =([\s\S]*?)\n\n/.exec(source('git-error.ts')) ?? []
  const names = [
    ...[...options.matchAll(/readonly (\w+)\??:/g)].map(([, name]) => name),
    ...[...events.matchAll(/type: '([\w-]+)'/g)].map(([, name]) => name),
    ...[...kinds.matchAll(/'([\w-]+)'/g)].map(([, name]) => name),
  ]
  expect(names.length).toBeGreaterThan(30)
  for (const name of names) expect(readme).toContain(`\`${name}\``)
})
