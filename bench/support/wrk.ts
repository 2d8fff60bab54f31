import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { complaint, type Load, type LoadResult, urlOf } from './load.ts'
import { Program } from './processes.ts'

/** What wrk does on each of its connections, over and over. */
export interface WrkWorkload {
  readonly path: string
  readonly connections: number
  /** A new connection for each request. Over TLS wrk resumes the session of the one before. */
  readonly reconnect?: boolean
  /** Bytes that each request uploads; none makes it a GET. */
  readonly uploadBytes?: number
}

/** Load by wrk. Its latency is from the writing of a request, a handshake not included, to the end of the response. */
export function wrk({ path, connections, reconnect, uploadBytes }: WrkWorkload): Load {
  return {
    settleMs: 700,
    needsWarmUp: true,
    async run(target, seconds) {
      const script = join(target.directory, 'upload.lua')
      if (uploadBytes !== undefined) {
        writeFileSync(script, `wrk.method = 'POST'\nwrk.body = string.rep('x', ${uploadBytes})\n`)
      }
      const args = [
        '--threads=1',
        `--connections=${connections}`,
        `--duration=${seconds + 1}s`,
        '--timeout=10s',
        '--latency',
        ...(reconnect ? ['--header=Connection: close'] : []),
        ...(uploadBytes === undefined ? [] : [`--script=${script}`]),
      ]
      await using program = new Program({ program: 'wrk', args: [...args, urlOf(target, path)] }, 'load')
      return resultOf(await program.result(seconds + 15))
    },
  }
}

function resultOf(output: string): LoadResult {
  const count = (pattern: RegExp) => Number(pattern.exec(output)?.[1] ?? 0)
  const errors = ['connect', 'read', 'write', 'timeout'].flatMap((kind) =>
    complaint(count(new RegExp(`Socket errors:.*${kind} (\\d+)`)), `${kind} errors`),
  )
  return {
    p50Ms: percentile(output, 50),
    p99Ms: percentile(output, 99),
    complaints: [...complaint(count(/Non-2xx or 3xx responses: (\d+)/), 'non-2xx'), ...errors],
  }
}

const msPerUnit: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000, m: 60_000 }

// A line such as "     99%    1.25ms".
function percentile(output: string, percent: number): number {
  const [, value, unit = ''] = new RegExp(`^ +${percent}% +([\\d.]+)(us|ms|s|m)$`, 'm').exec(output) ?? []
  return Number(value) * (msPerUnit[unit] ?? Number.NaN)
}
