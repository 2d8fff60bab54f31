import type { Running } from './container.ts'

export type DrainOutcome = 'finished' | 'cut off'

/** Cutting off closes sockets and files; what has not ended by then never will, and the process goes without it. */
export const cutOffMs = 2_000

/**
 * Lets the work in hand finish, for at most `deadlineMs`, then disposes of what is left. What fails meanwhile is told
 * to `onError` and counts as cut off.
 */
export async function drainWithin(
  running: Running,
  deadlineMs: number,
  onError: (error: unknown) => void = () => undefined,
): Promise<DrainOutcome> {
  const failed = (error: unknown): DrainOutcome => {
    onError(error)
    return 'cut off'
  }
  const finished = (async () => running.drain?.())().then((): DrainOutcome => 'finished', failed)
  const outcome = await within<DrainOutcome, DrainOutcome>(finished, deadlineMs, 'cut off')
  const disposed = (async () => running[Symbol.asyncDispose]())().then(() => outcome, failed)
  return within<DrainOutcome, DrainOutcome>(disposed, cutOffMs, 'cut off')
}

/** What a promise gives, or `otherwise` when it gives nothing for `ms`. */
export async function within<T, U>(promise: Promise<T>, ms: number, otherwise: U): Promise<T | U> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<U>((resolve) => {
    timer = setTimeout(resolve, ms, otherwise)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
