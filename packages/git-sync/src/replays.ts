/** Remembers what was received, up to a number; beyond it, the oldest is forgotten. */
export class Replays {
  readonly #most: number
  readonly #marks = new Set<string>()

  constructor(most = 4_096) {
    this.#most = most
  }

  /** Whether any of these was received before; remembers all of them. */
  receive(marks: readonly string[]): boolean {
    const repeated = marks.some((mark) => this.#marks.has(mark))
    for (const mark of marks) this.#marks.add(mark)
    for (const oldest of this.#marks) {
      if (this.#marks.size <= this.#most) break
      this.#marks.delete(oldest)
    }
    return repeated
  }
}
