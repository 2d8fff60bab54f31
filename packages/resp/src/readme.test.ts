import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { COMMAND_LIMITS } from './command-reader.ts'
import { REPLY_LIMITS } from './reply-scanner.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

test('the ten lines of the README find commands and replies', async () => {
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
  expect(code.split('\n').filter((line) => line !== '').length).toBeLessThanOrEqual(10)
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module-typescript', '--eval', code],
    { cwd: new URL('..', import.meta.url) },
  )
  expect(stdout).toBe('2 GET\n1 PING\n0 9\n9 16\n')
})

test('the README lists each limit with its default', () => {
  const [commands = '', replies = ''] = readme.split('## Replies')
  const limits = (text: string) =>
    Object.fromEntries(
      [...text.matchAll(/^\| `(\w+)` \| (\d+) \|/gm)].map(([, name, value]) => [name, Number(value)]),
    )
  expect([limits(commands), limits(replies)]).toEqual([COMMAND_LIMITS, REPLY_LIMITS])
})
