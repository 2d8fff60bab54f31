import { setTimeout as delay } from 'node:timers/promises'
import { usageOf } from './usage.ts'

/** Longer than V8 waits before it collects in a process that has nothing to do. */
const quietMs = 12_000
const patienceMs = 60_000
/** What a process with nothing to do goes up and down by. */
const noise = 2 ** 19

/** RssAnon of a process group, bytes, when it has not fallen for a while. */
export async function settledMemory(group: number): Promise<number> {
  const begun = performance.now()
  let lowest = usageOf(group).privateBytes
  let since = begun
  while (performance.now() - since < quietMs && performance.now() - begun < patienceMs) {
    await delay(500)
    const { privateBytes } = usageOf(group)
    if (privateBytes > lowest - noise) continue
    lowest = privateBytes
    since = performance.now()
  }
  return usageOf(group).privateBytes
}

export const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
