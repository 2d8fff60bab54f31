/** Tells of what may come in floods. Disposing tells what is left. */
export interface Throttle<T> extends Disposable {
  add(event: T): void
}

/**
 * Says the first event at once, and those that follow as one at most every `everyMs`.
 *
 * @param say is called with the last event, for how many it stands, and over how many milliseconds they came; undefined
 *   for one that is said at once
 */
export function throttle<T>(
  everyMs: number,
  say: (last: T, count: number, overMs: number | undefined) => void,
): Throttle<T> {
  let waiting: { last: T; count: number } | undefined
  let timer: NodeJS.Timeout | undefined
  let since = 0

  const flush = (): boolean => {
    if (waiting === undefined) return false
    const { last, count } = waiting
    waiting = undefined
    say(last, count, Date.now() - since)
    since = Date.now()
    return true
  }
  const stop = (): void => {
    clearInterval(timer)
    timer = undefined
  }
  return {
    add(event) {
      if (timer !== undefined) {
        waiting = { last: event, count: (waiting?.count ?? 0) + 1 }
        return
      }
      since = Date.now()
      timer = setInterval(() => flush() || stop(), everyMs).unref()
      say(event, 1, undefined)
    },
    [Symbol.dispose]() {
      stop()
      flush()
    },
  }
}
