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
  #done = new Set<RepositorySync>()

  /** When all one-time syncs are over, or as soon as one has failed for good. */
  get ended(): Promise<'done' | 'failed'> {
    return this.#ended.promise
  }

  /** Starts those that are new, ends those that are gone, and starts anew those that have changed. One call at a time. */
  async apply(wanted: readonly Wanted[]): Promise<void> {
    const next = new Map(wanted.map((each) => [each.name, each]))
    const gone = [...this.#running].filter(([name, { identity }]) => next.get(name)?.identity !== identity)
    await Promise.all(
      gone.map(async ([name, { sync }]) => {
        await sync[Symbol.asyncDispose]()
        this.#running.delete(name)
      }),
    )
    for (const { name, identity, start } of wanted) {
      if (this.#running.has(name)) continue
      const sync = start()
      this.#running.set(name, { identity, sync })
      sync.ended.then(
        (ending) => this.#end(sync, ending),
        (error: unknown) => this.#ended.reject(error),
      )
    }
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
    await Promise.all([...this.#running.values()].map(({ sync }) => sync.stop()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ sync }) => sync[Symbol.asyncDispose]()))
  }

  #end(sync: RepositorySync, ending: 'done' | 'failed'): void {
    const current = [...this.#running.values()].map((each) => each.sync)
    if (!current.includes(sync)) return
    this.#done.add(sync)
    if (ending === 'failed') this.#ended.resolve('failed')
    else if (current.every((each) => this.#done.has(each))) this.#ended.resolve('done')
  }
}
