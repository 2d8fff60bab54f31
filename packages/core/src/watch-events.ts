import { basename } from 'node:path'
import type { WatchTarget } from './watch-resolve.ts'
import { codeOf, isAbsence } from './watch-sight.ts'

/** The part of `fs.watch` in use. It may throw, never report anything, or emit `error`. */
export type WatchFunction = (
  path: string,
  options: { readonly persistent: boolean },
  listener: (event: string, name: string | null) => void,
) => {
  close(): void
  on(event: 'error', listener: (error: Error) => void): unknown
}

export interface EventWatchesOptions {
  readonly watch: WatchFunction
  readonly onEvent: () => void
  readonly onError: (error: Error) => void
}

interface OpenWatch {
  readonly id: string
  names: WatchTarget['names']
  readonly close: () => void
}

/** The operating system's watches on a set of directories and files, which changes as links do. */
export class EventWatches {
  readonly #options: EventWatchesOptions
  readonly #open = new Map<string, OpenWatch>()
  /** The last failure told for each path, so that each is told once. */
  readonly #failures = new Map<string, string>()
  #complete = true
  #closed = false

  constructor(options: EventWatchesOptions) {
    this.#options = options
  }

  /** Whether everything asked for is being watched. */
  get complete(): boolean {
    return this.#complete
  }

  /**
   * Watches these targets and no others.
   * @returns whether the caller must look again, because something may have changed before it was watched
   */
  set(targets: ReadonlyMap<string, WatchTarget>): boolean {
    if (this.#closed) return false
    // First close, then open: watches on one inode share a name for its own events, the one of the oldest of them.
    for (const [path, open] of this.#open) {
      if (targets.get(path)?.id !== open.id) this.#drop(path, open)
    }
    for (const path of this.#failures.keys()) {
      if (!targets.has(path)) this.#failures.delete(path)
    }
    this.#complete = true
    let lookAgain = false
    for (const [path, target] of targets) {
      const open = this.#open.get(path)
      if (open !== undefined) open.names = target.names
      else if (this.#tryOpen(path, target)) lookAgain = true
    }
    return lookAgain
  }

  close(): void {
    this.#closed = true
    for (const [path, open] of this.#open) this.#drop(path, open)
  }

  #tryOpen(path: string, target: WatchTarget): boolean {
    try {
      this.#watch(path, target)
      return true
    } catch (error) {
      this.#complete = false
      if (isAbsence(codeOf(error))) return true
      this.#fail(path, error)
      return false
    }
  }

  #watch(path: string, target: WatchTarget): void {
    const watcher = this.#options.watch(path, { persistent: false }, (event, name) => {
      if (this.#open.get(path) !== open) return
      this.#failures.delete(path)
      const itself = open.names === undefined || name === basename(path)
      // Moved or removed: the watch stays with what is no longer at this path, or is dead already.
      if (event === 'rename' && itself) this.#drop(path, open)
      if (itself || name === null || open.names === 'all' || open.names?.has(name)) this.#options.onEvent()
    })
    const open: OpenWatch = { id: target.id, names: target.names, close: () => watcher.close() }
    this.#open.set(path, open)
    watcher.on('error', (error) => {
      if (this.#open.get(path) !== open) return
      this.#drop(path, open)
      this.#fail(path, error)
    })
  }

  #drop(path: string, open: OpenWatch): void {
    this.#complete = false
    this.#open.delete(path)
    open.close()
  }

  #fail(path: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    if (this.#failures.get(path) === reason) return
    this.#failures.set(path, reason)
    this.#options.onError(
      new Error(`${path} cannot be watched, changes are found by polling alone: ${reason}`, { cause: error }),
    )
  }
}
