import type { Watching, WatchOptions } from './watch.ts'
import { EventWatches, type WatchFunction } from './watch-events.ts'
import { type Reading, readingOf } from './watch-reading.ts'
import type { Resolution } from './watch-resolve.ts'
import type { Sightings } from './watch-sight.ts'

/** How often files are read again because they changed meanwhile, before that is left to the next look. */
const maxAttempts = 4
/** Each round watches what the one before led to; only links that flip all the time need more. */
const maxRounds = 8

/** Polls cost about as much as one call of the system for each path; more paths than this are polled less often. */
const pathsAtFullPace = 256

/** What is watched, and what its readings mean. */
export interface Subject<C> {
  /** Follows every link, and tells where changes would show and what stands at each path. */
  resolve(): Promise<Resolution>
  /** What stands at each path, all links followed by the kernel. */
  sightings(): Promise<Sightings>
  /** From nothing at all too, before the first reading. */
  contentsOf(readings: ReadonlyMap<string, Reading>): C
  same(before: C, after: C): boolean
}

/** Looks when an event or the clock says so, waits until nothing moves, reads, compares, reports. */
export class Watcher<C> implements Watching<C> {
  contents: C
  readonly #subject: Subject<C>
  readonly #options: WatchOptions<C>
  readonly #watches: EventWatches
  readonly #quietMs: number
  readonly #maxWaitMs: number
  readonly #pollMs: number
  readonly #maxBytes: number
  /** By absolute path. */
  #readings: ReadonlyMap<string, Reading> = new Map()
  /** One task at a time, so that looks never overlap, however slow the file system. */
  #queue: Promise<void> = Promise.resolve()
  #queued = 0
  #urgent = 0
  /** Whether an event arrived that no look has answered yet. */
  #dirty = false
  #started = false
  #accepted = false
  /** Why looking failed, so that each reason is told once. */
  #failure: string | undefined
  #closed = false
  #wake = () => {}
  #pollTimer: NodeJS.Timeout | undefined

  constructor(subject: Subject<C>, options: WatchOptions<C>, watch: WatchFunction) {
    this.#subject = subject
    this.#options = options
    this.#quietMs = options.quietMs ?? 100
    this.#maxWaitMs = options.maxWaitMs ?? 500
    this.#pollMs = options.pollMs ?? 500
    this.#maxBytes = maxBytesOf(options)
    this.contents = subject.contentsOf(this.#readings)
    this.#watches = new EventWatches({
      watch,
      onEvent: () => this.#touch(),
      onError: (error) => this.#report(error),
    })
  }

  async start(): Promise<void> {
    for (let round = 0; !this.#accepted && round < maxRounds; round++) {
      await this.#enqueue(() => this.#compare(false))
    }
    this.#started = true
    this.#armPoll()
  }

  async check(): Promise<void> {
    this.#urgent++
    this.#wake()
    await this.#enqueue(async () => {
      this.#urgent--
      await this.#compare(true)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#wake()
    clearTimeout(this.#pollTimer)
    this.#watches.close()
    await this.#queue
  }

  #touch(): void {
    if (this.#closed) return
    this.#dirty = true
    if (this.#queued === 0) void this.#enqueue(() => this.#settle())
  }

  #enqueue(task: () => Promise<void>): Promise<void> {
    this.#queued++
    this.#queue = this.#queue
      .then(() => (this.#closed ? undefined : task()))
      .catch((error: unknown) => this.#fail(asError(error)))
      .then(() => {
        this.#queued--
        if (this.#dirty) this.#touch()
      })
    return this.#queue
  }

  #armPoll(): void {
    if (this.#closed) return
    this.#pollTimer = setTimeout(() => {
      void this.#enqueue(() => this.#poll()).then(() => this.#armPoll())
    }, this.#pace())
    this.#pollTimer.unref()
  }

  /** Where events come, many paths need not be polled as often as few. */
  #pace(): number {
    return this.#pollMs * (this.#watches.complete ? Math.max(1, this.#readings.size / pathsAtFullPace) : 1)
  }

  /** Without events one system call a file is enough: the kernel follows the links, and nothing is opened. */
  async #poll(): Promise<void> {
    const sightings = this.#watches.complete ? await this.#subject.sightings() : await this.#look()
    if (!agree(sightings, this.#readings)) await this.#settle()
    else if ([...this.#readings.values()].some((reading) => !reading.trusted)) await this.#compare(false)
  }

  /** Waits until two looks see the same. Looks and not events, because there may be no events. */
  async #settle(): Promise<void> {
    const deadline = performance.now() + this.#maxWaitMs
    for (let before = await this.#look(); ; ) {
      await this.#pause(Math.max(0, Math.min(this.#quietMs, deadline - performance.now())))
      const after = await this.#look()
      if (agree(before, after) || this.#urgent > 0 || this.#closed || performance.now() >= deadline) break
      before = after
    }
    await this.#compare(false)
  }

  /** Reads what may have changed, and again when it changed while being read. */
  async #compare(reread: boolean): Promise<void> {
    for (let attempt = 1; !this.#closed; attempt++) {
      this.#dirty = false
      const sightings = await this.#look()
      const readings = await this.#read(sightings, reread)
      const after = await this.#subject.sightings()
      if (agree(sightings, after)) return this.#accept(readings)
      if (attempt < maxAttempts) continue
      if (!isHalf(sightings, readings, after)) return this.#accept(readings)
      this.#dirty = true
      return
    }
  }

  /** Watches first, then looks: what changes in between is either seen or causes an event. */
  async #look(): Promise<Sightings> {
    let resolution: Resolution
    let round = 0
    do resolution = await this.#subject.resolve()
    while (this.#watches.set(resolution.targets) && ++round < maxRounds)
    return resolution.sightings
  }

  async #read(sightings: Sightings, reread: boolean): Promise<ReadonlyMap<string, Reading>> {
    const readings = new Map<string, Reading>()
    for (const [path, sighting] of sightings) {
      const options = { maxBytes: this.#maxBytes, reread }
      readings.set(path, await readingOf(path, sighting, this.#readings.get(path), options))
    }
    return readings
  }

  #accept(readings: ReadonlyMap<string, Reading>): void {
    if (this.#closed) return
    const before = this.#readings
    this.#readings = readings
    this.#accepted = true
    this.#failure = undefined
    for (const [path, { problem }] of readings) {
      if (problem !== undefined && problem.message !== before.get(path)?.problem?.message)
        this.#report(problem)
    }
    const contents = this.#subject.contentsOf(readings)
    if (this.#started && this.#subject.same(this.contents, contents)) return
    this.contents = contents
    if (this.#started) void this.#notify()
  }

  /** Not waited for: one slow or hanging receiver must not stop the watching. */
  async #notify(): Promise<void> {
    try {
      await this.#options.onChange(this.contents)
    } catch (error) {
      this.#report(asError(error))
    }
  }

  #fail(error: Error): void {
    // Left to polling: to look again at once would find the same.
    this.#dirty = false
    if (error.message === this.#failure) return
    this.#failure = error.message
    this.#report(error)
  }

  #report(error: Error): void {
    if (this.#closed) return
    try {
      this.#options.onError?.(error)
    } catch {
      // There is nobody left to tell.
    }
  }

  #pause(ms: number): Promise<void> {
    if (this.#urgent > 0 || this.#closed) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      timer.unref()
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

export const maxBytesOf = ({ maxBytes = 16 * 1024 * 1024 }: { readonly maxBytes?: number }): number =>
  maxBytes

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))

type Fingerprints = ReadonlyMap<string, { readonly fingerprint: string }>

const agree = (a: Fingerprints, b: Fingerprints): boolean =>
  [...a].every(([path, { fingerprint }]) => b.get(path)?.fingerprint === fingerprint)

/**
 * Whether a version was removed while being looked at or read. Half of it is no version: better the one before for
 * another moment. What is missing in the end may be missing.
 */
const isHalf = (before: Sightings, readings: ReadonlyMap<string, Reading>, after: Sightings): boolean =>
  [...readings].some(([path, { content }]) => {
    const now = after.get(path)?.state
    if (content !== undefined || now === 'missing') return false
    return now === 'regular' || now !== before.get(path)?.state
  })
