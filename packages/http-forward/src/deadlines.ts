/** Something with at most one deadline, moved by writing the field: nothing is armed or cleared per message. */
export interface Expiring {
  /** On the scale of `Deadlines.now`; Infinity while there is none. */
  deadline: number
  /** Called once the deadline has passed; sets another one, or ends. */
  expire(now: number): void
}

/**
 * Looks after the deadlines of many connections with one timer, because a timer for each request costs more than
 * forwarding it. They are met late by up to two ticks and never early. Runs only while something is registered.
 */
export class Deadlines {
  /** Milliseconds; as fresh as the last tick. */
  now: number = performance.now()
  readonly #tickMs: number
  readonly #members = new Set<Expiring>()
  #timer: NodeJS.Timeout | undefined

  /** @param shortestMs the shortest time that will be asked for; decides how often to look */
  constructor(shortestMs: number) {
    this.#tickMs = Math.min(250, Math.max(10, Math.floor(shortestMs / 8)))
  }

  /** The moment that many milliseconds from now. */
  in(ms: number): number {
    if (this.#timer === undefined) this.now = performance.now()
    return this.now + ms + this.#tickMs
  }

  add(member: Expiring): void {
    this.#members.add(member)
    if (this.#timer !== undefined) return
    this.now = performance.now()
    this.#timer = setInterval(() => this.#tick(), this.#tickMs)
    // Its members hold the process by their sockets.
    this.#timer.unref()
  }

  delete(member: Expiring): void {
    this.#members.delete(member)
    if (this.#members.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #tick(): void {
    this.now = performance.now()
    for (const member of this.#members) if (member.deadline < this.now) member.expire(this.now)
  }
}
