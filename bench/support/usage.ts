import { readdirSync, readFileSync } from 'node:fs'
import { descriptors } from '../../test/support/sockets.ts'

/** What a process and its children have used. */
export interface Usage {
  /** User and system time, nanoseconds. */
  readonly cpuNs: number
  /** RssAnon, bytes: what the processes share with nobody. */
  readonly privateBytes: number
}

/** The usage of a process group, threads and workers included. */
export function usageOf(group: number): Usage {
  const all = processesOf(group).map((pid) => ({ cpuNs: cpuNs(pid), privateBytes: privateBytes(pid) }))
  return {
    cpuNs: all.reduce((sum, one) => sum + one.cpuNs, 0),
    privateBytes: all.reduce((sum, one) => sum + one.privateBytes, 0),
  }
}

/** How many descriptors the processes of a group have open. */
export const descriptorsOf = (group: number): number =>
  processesOf(group)
    .map((pid) => descriptors(Number(pid)).length)
    .reduce((sum, one) => sum + one, 0)

function processesOf(group: number): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      // After the name, which may hold anything: state, parent, group (proc_pid_stat(5)).
      const stat = read(`/proc/${pid}/stat`)
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2] === String(group)
    })
}

/** User and system time of a process that runs, nanoseconds, where `stat` counts ticks of 10 ms. */
export function cpuNs(pid: string): number {
  return threadsOf(pid)
    .map((thread) => Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0]))
    .reduce((sum, one) => sum + one, 0)
}

function privateBytes(pid: string): number {
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024
}

function threadsOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** Empty when the process has ended meanwhile. */
export function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
