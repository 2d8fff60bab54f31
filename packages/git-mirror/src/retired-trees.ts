import { dropTree, isOwnTree, replacedAt } from './worktree.ts'

export interface RetiredTreesOptions {
  readonly directory: string
  /** For how long a tree stays after another has taken its place, ms. */
  readonly staleAfterMs: number
  /** Somebody holds what should be gone. Told once for a tree. */
  readonly onLeft: (paths: readonly string[]) => void
}

/** The trees of a directory that are published no more, until their time is over. */
export class RetiredTrees {
  readonly #options: RetiredTreesOptions
  /** When each may go, by a clock that nobody sets. */
  readonly #due = new Map<string, number>()
  readonly #told = new Set<string>()

  constructor(options: RetiredTreesOptions) {
    this.#options = options
  }

  /** Another has just taken its place. Trees of others are left to them. */
  add(path: string): void {
    const { directory, staleAfterMs } = this.#options
    if (isOwnTree(directory, path)) this.#due.set(path, performance.now() + staleAfterMs)
  }

  /** Another had taken its place before this process looked, or it was never published. */
  async find(path: string): Promise<void> {
    const { directory, staleAfterMs } = this.#options
    if (this.#due.has(path)) return
    const age = Date.now() - (await replacedAt(directory, path))
    // One from the future was noted before the clock was set.
    const left = Math.min(Math.max(staleAfterMs - age, 0), staleAfterMs)
    this.#due.set(path, performance.now() + left)
  }

  /** It is published again. */
  delete(path: string): void {
    this.#due.delete(path)
  }

  /** Removes those whose time is over. @returns whether there was one */
  async removeDue(): Promise<boolean> {
    let hasRemoved = false
    for (const [path, due] of this.#due) {
      if (due <= performance.now() && (await this.drop(path))) hasRemoved = true
    }
    return hasRemoved
  }

  /** Removes one now; where somebody holds it, it is tried again later. @returns whether it is gone */
  async drop(path: string): Promise<boolean> {
    const left = await dropTree(this.#options.directory, path)
    if (left.length === 0) {
      this.#due.delete(path)
      this.#told.delete(path)
      return true
    }
    this.#due.set(path, 0)
    if (!this.#told.has(path)) this.#options.onLeft(left)
    this.#told.add(path)
    return false
  }
}
