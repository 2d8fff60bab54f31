import { isAbsolute } from 'node:path'
import type { FileContents, FileWatcher, WatchOptions } from './watch.ts'
import { EventWatches, type WatchFunction } from './watch-events.ts'
import { type Reading, readingOf } from './watch-reading.ts'
import { type Resolution, resolvePaths } from './watch-resolve.ts'
import { type Sighting, sight } from './watch-sight.ts'

/** How often files are read again because they changed meanwhile, before that is left to the next look. */
const maxAttempts = 4
/** Each round watches what the one before led to; only links that flip all the time need more. */
const maxRounds = 8

type Sightings = ReadonlyMap<string, Sighting>

/** Looks when an event or the clock says so, waits until nothing moves, reads, compares, reports. */
export class Watcher implements FileWatcher {
  contents: FileContents
  readonly #options: WatchOptions
  /** Absolute paths by the paths as given. */
  readonly #absolute: ReadonlyMap<string, string>
  readonly #paths: readonly string[]
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
  #closed = false
  #wake = () => {}
  #pollTimer: NodeJS.Timeout | undefined

  constructor(paths: readonly string[], options: WatchOptions, watch: WatchFunction) {
    this.#options = options
    this.#quietMs = options.quietMs ?? 100
    this.#maxWaitMs = options.maxWaitMs ?? 500
    this.#pollMs = options.pollMs ?? 500
    this.#maxBytes = options.maxBytes ?? 16 * 1024 * 1024
    this.#absolute = new Map(paths.map((path) => [path, absolute(path)]))
    this.contents = new Map(paths.map((path) => [path, undefined]))
    this.#paths = [...new Set(this.#absolute.values())]
    this.#watches = new EventWatches({
      watch,
      onEvent: () => this.#touch(),
      onError: (error) => this.#report(error),
    })
  }

  async start(): Promise<void> {
    for (let round = 0; this.#readings.size < this.#paths.length && round < maxRounds; round++) {
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
      .catch((error: unknown) => this.#report(asError(error)))
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
    }, this.#pollMs)
    this.#pollTimer.unref()
  }

  /** Without events one system call a file is enough: the kernel follows the links, and nothing is opened. */
  async #poll(): Promise<void> {
    const sightings = this.#watches.complete ? await this.#sightings() : await this.#look()
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
      const after = await this.#sightings()
      if (agree(sightings, after)) return this.#accept(readings)
      if (attempt < maxAttempts) continue
      if (!isHalf(readings, after)) return this.#accept(readings)
      this.#dirty = true
      return
    }
  }

  /** Watches first, then looks: what changes in between is either seen or causes an event. */
  async #look(): Promise<Sightings> {
    let resolution: Resolution
    let round = 0
    do resolution = await resolvePaths(this.#paths, this.#maxBytes)
    while (this.#watches.set(resolution.targets) && ++round < maxRounds)
    return resolution.sightings
  }

  async #sightings(): Promise<Sightings> {
    const sightings = new Map<string, Sighting>()
    for (const path of this.#paths) sightings.set(path, await sight(path, this.#maxBytes))
    return sightings
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
    for (const [path, { problem }] of readings) {
      if (problem !== undefined && problem.message !== before.get(path)?.problem?.message)
        this.#report(problem)
    }
    const changed = this.#paths.some((path) => readings.get(path)?.content !== before.get(path)?.content)
    if (!changed && this.#started) return
    const contents = [...this.#absolute].map(([path, at]) => [path, readings.get(at)?.content] as const)
    this.contents = new Map(contents)
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

/** Not normalized: `link/..` is the parent of where the link leads. */
const absolute = (path: string): string => (isAbsolute(path) ? path : `${process.cwd()}/${path}`)

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))

type Fingerprints = ReadonlyMap<string, { readonly fingerprint: string }>

const agree = (a: Fingerprints, b: Fingerprints): boolean =>
  [...a].every(([path, { fingerprint }]) => b.get(path)?.fingerprint === fingerprint)

/** Whether a version was removed while being read. Half of it is no version: better the one before for another moment. */
const isHalf = (readings: ReadonlyMap<string, Reading>, after: Sightings): boolean =>
  [...readings].some(([path, { content }]) => content === undefined && after.get(path)?.state === 'regular')
