import { setTimeout as delay } from 'node:timers/promises'

/** Ends early when aborted. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  delay(ms, undefined, { signal }).catch(() => undefined)

/** Where the processor was, as the `.cpuprofile` of V8. */
export async function takeCpuProfile(ms: number, signal: AbortSignal): Promise<string> {
  const { Session } = await import('node:inspector/promises')
  const session = new Session()
  session.connect()
  try {
    await session.post('Profiler.enable')
    await session.post('Profiler.start')
    await pause(ms, signal)
    const { profile } = await session.post('Profiler.stop')
    return JSON.stringify(profile)
  } finally {
    session.disconnect()
  }
}

/**
 * Where memory was asked for meanwhile that is still in use, as the `.heapprofile` of V8. A snapshot would have all that
 * is in memory, passwords included, and need as much again.
 */
export async function takeHeapProfile(ms: number, signal: AbortSignal): Promise<string> {
  const { Session } = await import('node:inspector/promises')
  const session = new Session()
  session.connect()
  try {
    await session.post('HeapProfiler.startSampling')
    await pause(ms, signal)
    const { profile } = await session.post('HeapProfiler.stopSampling')
    return JSON.stringify(profile)
  } finally {
    session.disconnect()
  }
}
