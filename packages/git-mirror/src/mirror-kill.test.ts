import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type MirrorScene, makeScene, sync } from './mirror-test-support.ts'

let scene: MirrorScene

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(() => scene[Symbol.asyncDispose]())

const program = fileURLToPath(new URL('mirror-program-test-support.ts', import.meta.url))

async function start(): Promise<ChildProcess> {
  const args = [program, scene.repository.directory, scene.root, scene.link]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  await once(child.stdout, 'data')
  return child
}

/** Forty files that all hold the number of their commit. */
const filesOf = (version: number): Record<string, string> =>
  Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [`dir-${index % 4}/file-${index}`, `${version}`]),
  )

it('killed at any instant, it leaves a link that shows one whole commit, and the next process goes on', async () => {
  const versions = new Map([[await scene.repository.commit(filesOf(0)), 0]])
  await sync(scene.open()).finally(() => scene.mirrors.splice(0)[0]?.[Symbol.asyncDispose]())
  const seen = new Set<number>()
  for (let round = 1; round <= 40; round++) {
    const child = await start()
    versions.set(await scene.repository.commit(filesOf(round)), round)
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 150))
    child.kill('SIGKILL')
    await once(child, 'exit')
    const { hash, files } = await scene.published()
    const version = versions.get(hash)
    expect(version).toBeDefined()
    expect(files).toEqual(filesOf(version ?? -1))
    seen.add(version ?? -1)
  }
  // Some of the kills came before, some after the switch.
  expect(seen.size).toBeGreaterThan(1)
  await sync(scene.open())
  expect((await scene.published()).files).toEqual(filesOf(40))
}, 120_000)
