import type { RepositoryStatus, RepositorySync } from './repository.ts'

/** A repository that should be synced. */
export interface Wanted {
  readonly name: string
  /** Two with the same text are the same, and go on as they are. */
  readonly identity: string
  readonly start: () => RepositorySync
}

/** Several repositories, which may change while running. Disposing ends all work in hand. */
export class RepositorySet implements AsyncDisposable {
  readonly #running = new Map<string, { readonly identity: string; readonly sync: RepositorySync }>()
  readonly #ended = Promise.withResolvers<'done' | 'failed'>()
  readonly #done = new WeakSet<RepositorySync>()
  #isStopped = false

  /** When all one-time syncs are over, or as soon as one has failed for good. */
  get ended(): Promise<'done' | 'failed'> {
    return this.#ended.promise
  }

  /**
   * Starts those that are new, ends those that are gone, and starts anew those that have changed. One call at a time;
   * nothing begins once all were told to stop.
   * @throws what the first that could not be started has thrown, when all others have been
   */
  async apply(wanted: readonly Wanted[]): Promise<void> {
    if (this.#isStopped) return
    const next = new Map(wanted.map((each) => [each.name, each]))
    const gone = [...this.#running].filter(([name, { identity }]) => next.get(name)?.identity !== identity)
    await Promise.all(
      gone.map(async ([name, { sync }]) => {
        await sync[Symbol.asyncDispose]()
        this.#running.delete(name)
      }),
    )
    const faults: unknown[] = []
    for (const { name, identity, start } of wanted) {
      if (this.#isStopped || this.#running.has(name)) continue
      let sync: RepositorySync
      try {
        sync = start()
      } catch (error) {
        // The others are not to suffer from it.
        faults.push(error)
        continue
      }
      this.#running.set(name, { identity, sync })
      sync.ended.then(
        (ending) => this.#end(sync, ending),
        (error: unknown) => this.#ended.reject(error),
      )
    }
    // The last that was not done may be gone.
    this.#lookForEnd()
    if (faults.length > 0) throw faults[0]
  }

  statuses(): readonly RepositoryStatus[] {
    return [...this.#running.values()].map(({ sync }) => sync.status())
  }

  has(name: string): boolean {
    return this.#running.has(name)
  }

  trigger(names: 'all' | readonly string[]): void {
    for (const [name, { sync }] of this.#running) if (names === 'all' || names.includes(name)) sync.trigger()
  }

  /** Begins nothing more; resolves when what is in hand is over. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all([...this.#running.values()].map(({ sync }) => sync.stop()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true
    await Promise.all([...this.#running.values()].map(({ sync }) => sync[Symbol.asyncDispose]()))
  }

  #end(sync: RepositorySync, ending: 'done' | 'failed'): void {
    if (![...this.#running.values()].some((each) => each.sync === sync)) return
    if (ending === 'failed') this.#ended.resolve('failed')
    this.#done.add(sync)
    this.#lookForEnd()
  }

  #lookForEnd(): void {
    const current = [...this.#running.values()]
    if (current.length > 0 && current.every(({ sync }) => this.#done.has(sync))) this.#ended.resolve('done')
  }
}
