import { targetText } from './pool.ts'
import { type ServedPool, type ServePoolOptions, servePool } from './serve-pool.ts'
import type { Status } from './status.ts'

/** A pool that is served from now on, or no longer, at an address. */
export interface PoolChange {
  readonly pool: string
  readonly listen: string
  readonly is: 'begun' | 'gone'
}

/** Several pools, each behind an address of its own, which come and go with their file. */
export class Pools implements AsyncDisposable {
  readonly #served = new Map<string, ServedPool>()
  /** No longer in the file, with clients that are still being answered. */
  readonly #leaving = new Set<ServedPool>()

  /**
   * Serves these pools from now on: those that are new begin, those that are known keep their clients, and those that
   * are gone end behind what they were asked. Where one cannot listen, nothing changes.
   * Gives what has come and gone.
   * @throws Error also for two that listen at the same address
   */
  async use(pools: readonly ServePoolOptions[]): Promise<readonly PoolChange[]> {
    const wanted = new Map<string, ServePoolOptions>()
    for (const options of pools) {
      const identity = identityOf(options)
      const other = wanted.get(identity)
      if (other !== undefined)
        throw new Error(`the pools ${other.pool.name} and ${options.pool.name} both listen at ${identity}`)
      wanted.set(identity, options)
    }
    const begun = new Map<string, ServedPool>()
    try {
      for (const [identity, options] of wanted) {
        if (!this.#served.has(identity)) begun.set(identity, await servePool(options))
      }
    } catch (error) {
      await Promise.all([...begun.values()].map((pool) => pool[Symbol.asyncDispose]()))
      throw error
    }
    const changes: PoolChange[] = []
    for (const [identity, pool] of this.#served) {
      const options = wanted.get(identity)
      if (options !== undefined) {
        pool.use(options)
      } else {
        changes.push({ pool: pool.status().pool, listen: identity, is: 'gone' })
        this.#served.delete(identity)
        this.#leave(pool)
      }
    }
    for (const [identity, pool] of begun) {
      changes.push({ pool: pool.status().pool, listen: identity, is: 'begun' })
      this.#served.set(identity, pool)
    }
    return changes
  }

  get served(): readonly ServedPool[] {
    return [...this.#served.values()]
  }

  statuses(): Status[] {
    return this.served.map((pool) => pool.status())
  }

  async drain(): Promise<void> {
    await Promise.all([...this.#served.values(), ...this.#leaving].map((pool) => pool.drain()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#served.values(), ...this.#leaving]
    await Promise.all(all.map((pool) => pool[Symbol.asyncDispose]()))
  }

  #leave(pool: ServedPool): void {
    this.#leaving.add(pool)
    void pool.drain().then(async () => {
      await pool[Symbol.asyncDispose]()
      this.#leaving.delete(pool)
    })
  }
}

/** A pool is where it listens: under another name its clients stay, and elsewhere they have to come anew anyway. */
const identityOf = ({ listen }: ServePoolOptions): string => targetText(listen)
