import { setTimeout as delay } from 'node:timers/promises'
import { paths } from '../peers/application.ts'
import { statusOf } from './probes.ts'

/** A client that asks ten times a second, on a new connection each time, and is to be answered whatever others do. */
export class RegularClient implements AsyncDisposable {
  answered = 0
  failed = 0
  #leaving = false
  readonly #asking: Promise<void>

  constructor(port: number) {
    this.#asking = this.#ask(port)
  }

  async #ask(port: number): Promise<void> {
    while (!this.#leaving) {
      if ((await statusOf(port, paths.small, true)) === 200) this.answered++
      else this.failed++
      await delay(100)
    }
  }

  /** `120 answered, none failed`. */
  get summary(): string {
    return `${this.answered} answered, ${this.failed === 0 ? 'none' : this.failed} failed`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaving = true
    await this.#asking
  }
}
