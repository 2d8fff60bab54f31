import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { filesIn, type MirrorScene, makeScene, sync } from './mirror-test-support.ts'

let scene: MirrorScene

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(() => scene[Symbol.asyncDispose]())

const program = fileURLToPath(new URL('mirror-program-test-support.ts', import.meta.url))

/** Files that say in each of their lines which version they are of; every second version has a directory of its own. */
const filesOf = (version: number): Record<string, string | null> => ({
  ...Object.fromEntries(
    Array.from({ length: 20 }, (_, index) => [
      `dir-${index % 4}/file-${index}`,
      `${version}\n`.repeat(2_000),
    ]),
  ),
  'odd/file': version % 2 === 1 ? `${version}\n` : null,
})

const isWhole = (text: string): boolean =>
  new Set(text.split('\n').slice(0, -1)).size === 1 && text.endsWith('\n')

it('killed at any instant while it copies, it leaves whole files, and the next process completes them', async () => {
  await scene.repository.commit(filesOf(1))
  await sync(scene.open({ publish: 'copy' })).finally(() =>
    scene.mirrors.splice(0)[0]?.[Symbol.asyncDispose](),
  )
  for (let round = 2; round <= 20; round++) {
    const args = [program, scene.repository.directory, scene.root, scene.link, 'copy']
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    await once(child.stdout, 'data')
    await scene.repository.commit(filesOf(round))
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 200))
    child.kill('SIGKILL')
    await once(child, 'exit')
    for (let index = 0; index < 20; index++) {
      const text = await readFile(join(scene.link, `dir-${index % 4}/file-${index}`), 'utf8')
      expect(isWhole(text)).toBe(true)
    }
  }
  await sync(scene.open({ publish: 'copy' }))
  const { 'odd/file': _, ...expected } = filesOf(20)
  expect(await filesIn(scene.link)).toEqual(expected)
}, 120_000)
