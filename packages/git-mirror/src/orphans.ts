import { readdir, readFile, stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { directoryMark } from './git.ts'

/** What is killed may first have to end a system call. */
const patienceMs = 5_000

/**
 * Ends the git processes that work in a directory for a program that has died, known by the mark in their environment:
 * one of them could still write into what is made anew. Resolves when they are gone, or after five seconds. Where /proc
 * tells nothing, there is nothing to end.
 * @param directory absolute, without symbolic links
 * @returns how many there were
 */
export async function endOrphans(directory: string): Promise<number> {
  const ended = new Set<number>()
  const deadline = performance.now() + patienceMs
  for (;;) {
    const pids = await orphansOf(directory)
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
        ended.add(pid)
      } catch {
        // It has ended meanwhile, or is not ours to end.
      }
    }
    if (!pids.some((pid) => ended.has(pid)) || performance.now() > deadline) return ended.size
    await delay(10)
  }
}

async function orphansOf(directory: string): Promise<readonly number[]> {
  const mark = Buffer.from(`\0${directoryMark}=${directory}\0`)
  const names = await readdir('/proc').catch(() => [])
  const orphans: number[] = []
  for (const pid of names.filter((name) => /^\d+$/.test(name)).map(Number)) {
    if (pid === process.pid) continue
    const environment = await readFile(`/proc/${pid}/environ`).catch(() => undefined)
    if (environment === undefined || !Buffer.concat([Buffer.of(0), environment]).includes(mark)) continue
    if (await seesSame(pid, directory)) orphans.push(pid)
  }
  return orphans
}

/** In a pod with shared processes another container may have a directory of its own at the same path. */
async function seesSame(pid: number, directory: string): Promise<boolean> {
  const [theirs, ours] = await Promise.all(
    [`/proc/${pid}/root${directory}`, directory].map((path) => stat(path).catch(() => undefined)),
  )
  return theirs !== undefined && theirs.ino === ours?.ino && theirs.dev === ours.dev
}
