import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { DISTRIBUTIONS } from './distribution.ts'
import { KEY_HASHES } from './key-hash.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

test('the ten lines of the README print what they say', () => {
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
  const lines = code.split('\n').filter((line) => line !== '')
  expect(lines.length).toBeLessThanOrEqual(10)
  const said = lines.flatMap((line) => /console\.log\(.*\) \/\/ (.*)$/.exec(line)?.[1] ?? [])
  expect(said.length).toBeGreaterThan(0)
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module-typescript', '--eval', code], {
    cwd: new URL('..', import.meta.url),
    encoding: 'utf8',
  })
  expect([stdout.trim().split('\n'), stderr]).toEqual([said, ''])
})

test('the README lists each distribution and each hash', () => {
  const rows = [...readme.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, name]) => name)
  expect(rows).toEqual(DISTRIBUTIONS)
  for (const hash of KEY_HASHES) expect(readme).toContain(`\`${hash}\``)
})
