import type { Access, Mirror, SyncResult, Tree } from '@outrider/git-mirror'
import { longestTimerMs } from './go-duration.ts'

export interface SyncLoopOptions {
  readonly mirror: Mirror
  readonly periodMs: number
  /** Until the first success. */
  readonly initPeriodMs: number
  /** Of one whole sync. */
  readonly timeoutMs: number
  /** In a row, after which the loop gives up; 0 and 1 at the first, negative for never. */
  readonly maxFailures: number
  /** Until the first success. */
  readonly initMaxFailures: number
  /** Ends after the first success. */
  readonly isOneTime: boolean
  /** Credentials as they are now; read before each sync, and not waited for beyond its time. */
  readonly access: () => Promise<Access>
  readonly beforePublish?: (tree: Tree, signal: AbortSignal) => Promise<void>
  readonly onSync: (report: SyncReport) => void
}

export type SyncReport =
  | (SyncResult & { readonly ms: number; readonly isFirst: boolean })
  | {
      readonly outcome: 'failed'
      readonly ms: number
      readonly error: Error
      /** In a row. */
      readonly failures: number
      /** Until the next try; undefined when there is none. */
      readonly retryMs: number | undefined
    }

/** A hook does not want this commit to be published: no failure of the sync, and tried again after a time of its own. */
export class HookRefusal extends Error {
  override readonly name = 'HookRefusal'
  readonly retryMs: number

  constructor(message: string, retryMs: number, cause?: unknown) {
    super(message, { cause })
    this.retryMs = retryMs
  }
}

/** A sync took longer than it may. */
export class SyncTimeout extends Error {
  override readonly name = 'SyncTimeout'

  constructor(message: string, cause: unknown) {
    super(message, { cause })
  }
}

/** Disposing ends the sync in hand and its processes. */
export interface SyncLoop extends AsyncDisposable {
  /** Why it ended by itself: `done` after a one-time sync, `failed` after too many failures. Never when it was stopped. */
  readonly ended: Promise<'done' | 'failed'>
  /** Syncs now, or once more after the sync in hand: what was asked meanwhile is merged into one. */
  trigger(): void
  /** Begins no further sync; resolves when the one in hand is over. */
  stop(): Promise<void>
}

/** The longest wait after failures, unless the period itself is longer. */
const mostBackoffMs = 120_000

/** The wait doubles with each failure, and is spread so that many who failed together do not come back together. */
export function backoffMs(periodMs: number, failures: number, random: number): number {
  const most = Math.max(periodMs, mostBackoffMs)
  const wait = Math.min(most, periodMs * 2 ** Math.min(failures - 1, 30))
  return wait * (0.75 + random / 2)
}

export function startSyncLoop(options: SyncLoopOptions): SyncLoop {
  const { mirror, onSync } = options
  const stopping = new AbortController()
  const cutOff = new AbortController()
  const ended = Promise.withResolvers<'done' | 'failed'>()
  let isAsked = false
  let wake: (() => void) | undefined

  const rest = (ms: number) =>
    new Promise<void>((resolve) => {
      // A pinned ref has nothing to wait for.
      const timer =
        ms === Number.POSITIVE_INFINITY ? undefined : setTimeout(resolve, Math.min(ms, longestTimerMs))
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
      if (isAsked || stopping.signal.aborted) wake()
    })

  const syncOnce = async (): Promise<SyncResult> => {
    // A timeout of AbortSignal would keep all that a sync has used until its time is over, however short the sync was.
    const deadline = new AbortController()
    const isLate = () => deadline.abort(new Error('the timeout of the sync is over'))
    const timer = setTimeout(isLate, options.timeoutMs)
    const signal = AbortSignal.any([deadline.signal, cutOff.signal])
    try {
      const access = await inTime(options.access(), signal)
      const { beforePublish } = options
      return await mirror.sync({
        access,
        signal,
        ...(beforePublish !== undefined && { beforePublish: (tree: Tree) => beforePublish(tree, signal) }),
      })
    } catch (error) {
      if (!deadline.signal.aborted) throw error
      throw new SyncTimeout(
        `the sync took longer than its timeout of ${options.timeoutMs / 1000} s: ${messageOf(error)}`,
        error,
      )
    } finally {
      clearTimeout(timer)
    }
  }

  const loop = async () => {
    let failures = 0
    /** Those of them that count for the limits. */
    let faults = 0
    let hasSucceeded = false
    while (!stopping.signal.aborted) {
      isAsked = false
      const begun = performance.now()
      const ms = () => performance.now() - begun
      let waitMs: number
      try {
        const result = await syncOnce()
        const isFirst = !hasSucceeded
        hasSucceeded = true
        failures = 0
        faults = 0
        onSync({ ...result, ms: ms(), isFirst })
        if (options.isOneTime) return ended.resolve('done')
        waitMs = result.isPinned ? Number.POSITIVE_INFINITY : options.periodMs
      } catch (error) {
        if (cutOff.signal.aborted) return
        failures += 1
        const isRefusal = error instanceof HookRefusal
        // A peer's users have hooks that fail, and never ended their container by that.
        if (!isRefusal || options.isOneTime) faults += 1
        const most = hasSucceeded ? options.maxFailures : options.initMaxFailures
        const isLast = most >= 0 && faults >= Math.max(most, 1)
        const periodMs = hasSucceeded ? options.periodMs : options.initPeriodMs
        waitMs = isRefusal ? error.retryMs : backoffMs(periodMs, faults, Math.random())
        const retryMs = isLast ? undefined : waitMs
        onSync({ outcome: 'failed', ms: ms(), error: toError(error), failures, retryMs })
        if (isLast) return ended.resolve('failed')
      }
      await rest(waitMs)
    }
  }
  const running = loop()
  running.catch((error: unknown) => ended.reject(error))

  const stop = async () => {
    stopping.abort()
    wake?.()
    await running
  }
  return {
    ended: ended.promise,
    trigger() {
      isAsked = true
      wake?.()
    },
    stop,
    async [Symbol.asyncDispose]() {
      cutOff.abort(new Error('it was told to stop'))
      await stop()
    },
  }
}

/** Services and network volumes are not waited for when the sync is over. */
async function inTime<T>(access: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const abort = () => aborted.reject(new Error('its credentials were still being awaited'))
  signal.addEventListener('abort', abort)
  try {
    return await Promise.race([access, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
const toError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))
