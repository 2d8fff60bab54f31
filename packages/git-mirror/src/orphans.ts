import { readdir, readFile } from 'node:fs/promises'
import { directoryMark } from './git.ts'

/**
 * Ends the git processes that work in a directory for a program that has died, known by the mark in their environment:
 * one of them could still write into what is made anew. Where /proc tells nothing, there is nothing to end.
 */
export async function endOrphans(directory: string): Promise<number> {
  const mark = Buffer.from(`\0${directoryMark}=${directory}\0`)
  const names = await readdir('/proc').catch(() => [])
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number)
  let ended = 0
  for (const pid of pids) {
    if (pid === process.pid) continue
    const environment = await readFile(`/proc/${pid}/environ`).catch(() => undefined)
    if (environment === undefined || !Buffer.concat([Buffer.of(0), environment]).includes(mark)) continue
    try {
      process.kill(pid, 'SIGKILL')
      ended += 1
    } catch {
      // It has ended meanwhile.
    }
  }
  return ended
}
