import { readdirSync } from 'node:fs'
import { cpuNs, read } from '../support/usage.ts'

/** Bytes of all processes of a tree together. */
export interface TreeMemory {
  /** PSS: what is shared is counted once, in parts. */
  readonly pss: number
  /** The part of it that no file stands behind, which nobody can take away from them. */
  readonly anonymous: number
}

/**
 * User and system time of a process and of all that it has started, nanoseconds. What has ended counts in steps of 10 ms
 * for each process that waited for it.
 */
export function cpuNsOf(root: number): number {
  return treeOf(root)
    .map(({ pid, waitedTicks }) => cpuNs(String(pid)) + waitedTicks * nsPerTick)
    .reduce((sum, one) => sum + one, 0)
}

export function memoryOf(root: number): TreeMemory {
  const all = treeOf(root).map(({ pid }) => {
    const text = read(`/proc/${pid}/smaps_rollup`)
    const bytes = (field: string) =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024
    return { pss: bytes('Pss'), anonymous: bytes('Pss_Anon') }
  })
  return {
    pss: all.reduce((sum, { pss }) => sum + pss, 0),
    anonymous: all.reduce((sum, { anonymous }) => sum + anonymous, 0),
  }
}

/** What the kernel tells times in. */
const nsPerTick = 10_000_000

interface Process {
  readonly pid: number
  readonly parent: number
  /** Of children that have ended and were waited for, and of theirs. */
  readonly waitedTicks: number
}

function treeOf(root: number): readonly Process[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processOf(Number(name)))
  const tree: Process[] = all.filter(({ pid }) => pid === root)
  for (const process of tree) tree.push(...all.filter(({ parent }) => parent === process.pid))
  return tree
}

function processOf(pid: number): Process {
  // After the name, which may hold anything: state, parent; cutime and cstime are 16th and 17th (proc_pid_stat(5)).
  const stat = read(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { pid, parent: Number(fields[1]), waitedTicks: Number(fields[13] ?? 0) + Number(fields[14] ?? 0) }
}
