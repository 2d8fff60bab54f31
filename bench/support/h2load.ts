import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { complaint, type Load, urlOf } from './load.ts'
import { Program } from './processes.ts'

/** What h2load does. */
export interface H2loadWorkload {
  readonly path: string
  readonly connections: number
  /** Requests at a time on a connection over HTTP/2; undefined for HTTP/1.1, one after the other. */
  readonly streams?: number
}

// Node accepts one connection in each turn of its event loop, and h2load waits for ever for one that comes after the end.
const warmUpSeconds = 10

/** Load by h2load, which leaves the requests of its first seconds, while it connects, out of its latencies. */
export function h2load({ path, connections, streams }: H2loadWorkload): Load {
  return {
    settleMs: warmUpSeconds * 1000 + 500,
    needsWarmUp: false,
    async run(target, seconds) {
      const log = join(target.directory, 'h2load.log')
      rmSync(log, { force: true })
      const args = [
        '--threads=1',
        `--clients=${connections}`,
        `--duration=${seconds + 1}`,
        `--warm-up-time=${warmUpSeconds}`,
        `--log-file=${log}`,
        ...(streams === undefined ? ['--h1'] : ['--npn-list=h2', `--max-concurrent-streams=${streams}`]),
      ]
      await using program = new Program({ program: 'h2load', args: [...args, urlOf(target, path)] }, 'load')
      const output = await program.result(warmUpSeconds + seconds + 15)
      const count = (pattern: RegExp) => Number(pattern.exec(output)?.[1] ?? 0)
      return {
        ...latencies(log),
        complaints: [
          ...complaint(count(/(\d+) failed/), 'failed'),
          ...complaint(count(/(\d+) 3xx/) + count(/(\d+) 4xx/) + count(/(\d+) 5xx/), 'non-2xx'),
        ],
      }
    },
  }
}

// A line for each request: when it began, its status, microseconds until the end of its response.
function latencies(log: string): { p50Ms: number; p99Ms: number } {
  const lines = readFileSync(log, 'latin1').trimEnd().split('\n')
  const times = Float64Array.from(lines, (line) => Number(line.slice(line.lastIndexOf('\t') + 1)) / 1000)
  times.sort()
  const at = (part: number) => times[Math.floor(times.length * part)] ?? Number.NaN
  return { p50Ms: at(0.5), p99Ms: at(0.99) }
}
