/** What was checked out. */
export interface HookTree {
  readonly hash: string
  /** Where its files are. */
  readonly path: string
}

export interface HookReport {
  readonly name: string
  readonly hash: string
  readonly outcome: 'success' | 'error'
  readonly ms: number
  readonly error?: Error
}

export interface HookRunnerOptions {
  readonly name: string
  /** Rejects where it should be tried again. */
  readonly run: (hash: string, path: string, signal: AbortSignal) => Promise<void>
  /** Between a failure and the next attempt, milliseconds. */
  readonly backoffMs: number
  readonly onRun: (report: HookReport) => void
}

/**
 * Runs a hook for each new hash, one run at a time and behind the back of who asks for it. A run that failed is tried again
 * until it succeeds or a newer hash is there; hashes that come while a run is under way are passed over but for the last.
 */
export class HookRunner implements AsyncDisposable {
  readonly #options: HookRunnerOptions
  /** The newest that was asked for. */
  #wanted: HookTree | undefined
  /** The hash of the last run, where that succeeded. */
  #done: string | undefined
  #working: Promise<void> | undefined
  #busy = false
  #endBackoff: (() => void) | undefined
  #stopped = false
  readonly #cut = new AbortController()

  constructor(options: HookRunnerOptions) {
    this.#options = options
  }

  /** Says what is published. The same hash again begins no run, but the next attempt is in the tree said last. */
  request(tree: HookTree): void {
    if (this.#stopped) return
    const isNew = this.#wanted?.hash !== tree.hash
    this.#wanted = tree
    if (!isNew) return
    this.#endBackoff?.()
    if (!this.#busy) this.#working = this.#work()
  }

  /** Runs it for this tree and no more. Rejects where it fails, or was told to stop before. */
  async runOnce(tree: HookTree): Promise<void> {
    if (this.#stopped) throw new Error(`${this.#options.name} was not run: all is being stopped`)
    const attempt = this.#attempt(tree)
    this.#working = attempt.then(() => undefined)
    const error = await attempt
    if (error !== undefined) throw error
  }

  /** Resolves when the run that is under way has ended; no other begins. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#endBackoff?.()
    await this.#working
  }

  /** The same, but the run that is under way is told to end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#cut.abort()
    await this.stop()
  }

  async #work(): Promise<void> {
    this.#busy = true
    for (let tree = this.#next(); tree !== undefined; tree = this.#next()) {
      // A run that fails may have done a part of its work, so the hash before it is not done any more.
      this.#done = undefined
      const error = await this.#attempt(tree)
      if (error === undefined) this.#done = tree.hash
      else if (this.#next()?.hash === tree.hash) await this.#backoff()
    }
    this.#busy = false
  }

  #next(): HookTree | undefined {
    return this.#stopped || this.#wanted?.hash === this.#done ? undefined : this.#wanted
  }

  async #attempt({ hash, path }: HookTree): Promise<Error | undefined> {
    const { name, run, onRun } = this.#options
    const start = performance.now()
    const ms = (): number => performance.now() - start
    try {
      await run(hash, path, this.#cut.signal)
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      onRun({ name, hash, outcome: 'error', ms: ms(), error })
      return error
    }
    onRun({ name, hash, outcome: 'success', ms: ms() })
    return undefined
  }

  async #backoff(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#options.backoffMs)
      this.#endBackoff = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#endBackoff = undefined
  }
}
