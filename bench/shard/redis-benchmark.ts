import type { Load, LoadResult, Target } from '../support/load.ts'
import { Program } from '../support/processes.ts'
import { keyCount } from './servers.ts'

/** What redis-benchmark does on each of its connections, over and over. */
export interface RedisWorkload {
  /** One command; `__rand_int__` in it becomes the number of a key, each time another one. */
  readonly command: readonly string[]
  readonly connections: number
  /** Commands that are sent at once. */
  readonly pipeline: number
}

const settleMs = 1_000
// A run that ends early is measured for a shorter time, and the proxy may become faster while it runs.
const margin = 1.3

/**
 * Load by redis-benchmark, for one proxy: it does a number of commands and not a number of seconds, so that each run goes
 * by how fast the one before was. Its latency is that of the commands sent at once, from their writing to the last reply.
 */
export function redisBenchmark(workload: RedisWorkload): Load {
  let perSecond: number | undefined
  const go = async (target: Target, requests: number, seconds: number) => {
    const outcome = await runOnce(workload, target, requests, seconds)
    perSecond = outcome.perSecond
    return outcome
  }
  return {
    settleMs,
    needsWarmUp: true,
    async run(target, seconds) {
      perSecond ??= (await go(target, 10_000 + 5_000 * workload.pipeline, 10)).perSecond
      const wanted = settleMs / 1000 + seconds
      const { result } = await go(target, perSecond * wanted * margin, wanted)
      return result
    },
  }
}

async function runOnce(
  { command, connections, pipeline }: RedisWorkload,
  { port }: Target,
  atLeast: number,
  seconds: number,
): Promise<{ perSecond: number; result: LoadResult }> {
  const requests = Math.ceil(atLeast / pipeline) * pipeline
  const settings = { h: '127.0.0.1', p: port, c: connections, P: pipeline, n: requests, r: keyCount }
  const args = Object.entries(settings).flatMap(([name, value]) => [`-${name}`, String(value)])
  await using program = new Program(
    { program: 'redis-benchmark', args: [...args, '--csv', ...command] },
    'load',
  )
  const output = await program.result(4 * seconds + 15)
  // Its command in quotes, then commands a second, and milliseconds: mean, least, p50, p95, p99, most.
  const [perSecond = Number.NaN, , , p50Ms = Number.NaN, , p99Ms = Number.NaN] = (
    output
      .trim()
      .split('\n')
      .at(-1)
      ?.match(/"[\d.]+"/g) ?? []
  ).map((figure) => Number(figure.slice(1, -1)))
  return { perSecond, result: { p50Ms, p99Ms, complaints: [], requests } }
}
