import type { Running } from './container.ts'

export type DrainOutcome = 'finished' | 'cut off'

/** Cutting off closes sockets and files; what has not ended by then never will, and the process goes without it. */
const cutOffMs = 2_000

/** Lets the work in hand finish, for at most `deadlineMs`, then disposes of what is left. Errors of the drain cut it off. */
export async function drainWithin(running: Running, deadlineMs: number): Promise<DrainOutcome> {
  const finished = (async () => running.drain?.())().then(
    (): DrainOutcome => 'finished',
    (): DrainOutcome => 'cut off',
  )
  const outcome = await within(finished, deadlineMs, 'cut off')
  const disposed = (async () => running[Symbol.asyncDispose]())().then(() => outcome)
  return within(disposed, cutOffMs, 'cut off')
}

/** What a promise gives, or `otherwise` when it gives nothing for `ms`. */
async function within<T>(promise: Promise<T>, ms: number, otherwise: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<T>((resolve) => {
    timer = setTimeout(resolve, ms, otherwise)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
