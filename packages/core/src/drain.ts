import type { Running } from './container.ts'

export type DrainOutcome = 'finished' | 'cut off'

/** Lets the work in hand finish, for at most `deadlineMs`, then disposes of what is left. Errors of the drain cut it off. */
export async function drainWithin(running: Running, deadlineMs: number): Promise<DrainOutcome> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<DrainOutcome>((resolve) => {
    timer = setTimeout(resolve, deadlineMs, 'cut off')
  })
  const finished = (async () => running.drain?.())().then(
    (): DrainOutcome => 'finished',
    (): DrainOutcome => 'cut off',
  )
  const outcome = await Promise.race([finished, deadline])
  clearTimeout(timer)
  await running[Symbol.asyncDispose]()
  return outcome
}
