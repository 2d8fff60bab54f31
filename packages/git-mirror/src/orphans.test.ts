import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { directoryMark } from './git.ts'
import { endOrphans } from './orphans.ts'

let directory: string
const children: ChildProcess[] = []

beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'outrider-orphans-')))
})
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (hasEnded(child)) continue
    const exited = once(child, 'exit')
    // With all of its group.
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    await exited
  }
  await rm(directory, { recursive: true })
})

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null

/** A process that says when it runs, marked as git for a directory. */
async function start(
  mark: string | undefined,
  command: readonly string[] = ['sh', '-c', 'echo runs; sleep 1000 & wait'],
): Promise<ChildProcess> {
  const [program = '', ...args] = command
  const child = spawn(program, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { PATH: process.env['PATH'], ...(mark !== undefined && { [directoryMark]: mark }) },
  })
  children.push(child)
  await once(child.stdout ?? child, 'data')
  return child
}

it('ends those who work in the directory, with all that they have started', async () => {
  const child = await start(directory)
  const exited = once(child, 'exit')
  expect(await endOrphans(directory)).toBe(2)
  expect((await exited)[1]).toBe('SIGKILL')
  expect(await endOrphans(directory)).toBe(0)
})

it('resolves when they are gone', async () => {
  const child = await start(directory)
  await endOrphans(directory)
  // Sent to a process that has ended and was not yet waited for, a signal still finds it; its memory is gone.
  expect(await readFile(`/proc/${child.pid}/environ`, 'utf8').catch(() => '')).toBe('')
})

it.each([
  ['in another directory', () => join(directory, 'other')],
  ['in one whose path begins the same', () => `${directory}-other`],
  ['in one whose path is a part of it', () => '/'],
  ['unmarked', () => undefined],
])('leaves alone who works %s', async (_, mark) => {
  const child = await start(mark())
  expect(await endOrphans(directory)).toBe(0)
  expect(hasEnded(child)).toBe(false)
})

it('leaves alone who has another volume at the same path, as containers with shared processes do', async () => {
  const script = `mount -t tmpfs tmpfs '${directory}' && echo runs; sleep 1000 & wait`
  const child = await start(directory, ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script])
  expect(await endOrphans(directory)).toBe(0)
  expect(hasEnded(child)).toBe(false)
})
