import { watch } from 'node:fs'

/** Sees when a directory has what was waited for. */
export class Arrivals implements Disposable {
  readonly #watcher: ReturnType<typeof watch>
  readonly #look: () => string | undefined
  #waiting: ((atMs: number) => void) | undefined
  #wanted = ''

  /** @param look tells the hash that is there; asked whenever something changes in the directory */
  constructor(directory: string, look: () => string | undefined) {
    this.#look = look
    this.#watcher = watch(directory, () => this.#see())
  }

  /** When the hash is there, by `performance.now()`. One at a time. */
  async of(hash: string): Promise<number> {
    const arrived = new Promise<number>((resolve) => (this.#waiting = resolve))
    this.#wanted = hash
    this.#see()
    let late: NodeJS.Timeout | undefined
    const tooLate = new Promise<never>((_, reject) => {
      late = setTimeout(() => reject(new Error(`waited in vain for ${hash}`)), 30_000)
    })
    try {
      return await Promise.race([arrived, tooLate])
    } finally {
      clearTimeout(late)
    }
  }

  #see(): void {
    if (this.#waiting === undefined || this.#look() !== this.#wanted) return
    this.#waiting(performance.now())
    this.#waiting = undefined
  }

  [Symbol.dispose](): void {
    this.#watcher.close()
  }
}
