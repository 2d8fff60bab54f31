import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type FileContents, type FileWatcher, type WatchOptions, watchFiles } from './watch.ts'
import type { WatchFunction } from './watch-events.ts'

/** Too rare to help within a test: what is seen was seen by an event. */
export const never = 3_600_000

/** A platform without events: what is seen was seen by polling. */
export const inert: WatchFunction = () => ({ close() {}, on: () => undefined })

/** A directory of its own for one test, removed afterwards. */
export class Scratch implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'watch-'))

  at(...names: string[]): string {
    return join(this.path, ...names)
  }

  /** Writes a file and the directories above it. */
  write(name: string, content: string): string {
    const path = this.at(name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** A watcher with everything it has reported. */
export class Recorder implements AsyncDisposable {
  readonly changes: FileContents[] = []
  readonly errors: string[] = []
  readonly watcher: FileWatcher

  private constructor(watcher: FileWatcher) {
    this.watcher = watcher
  }

  static async of(
    paths: readonly string[],
    options: Partial<WatchOptions> = {},
    watch?: WatchFunction,
  ): Promise<Recorder> {
    const changes: FileContents[] = []
    const errors: string[] = []
    const watcher = await watchFiles(
      paths,
      {
        onError: (error) => errors.push(error.message),
        ...options,
        onChange: (contents) => {
          changes.push(contents)
          return options.onChange?.(contents)
        },
      },
      watch,
    )
    return Object.assign(new Recorder(watcher), { changes, errors })
  }

  text(path: string): string | undefined {
    return this.watcher.contents.get(path)?.toString()
  }

  /** Waits until the last contents reported for a path are these. */
  async sees(path: string, text: string | undefined): Promise<void> {
    await until(
      () => this.text(path) === text,
      () => `${path} is ${JSON.stringify(text)}, not ${JSON.stringify(this.text(path))} (${this.errors})`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.watcher[Symbol.asyncDispose]()
  }
}

/** Waits for a condition, and fails with what was expected when it does not come. */
export async function until(condition: () => boolean, expected: () => string): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${expected()}`)
    await sleep(5)
  }
}

/** Replaces a link in one step, as git-sync does: a new one beside it, renamed over. */
export function flip(link: string, target: string): void {
  const fresh = `${link}.tmp`
  symlinkSync(target, fresh)
  renameSync(fresh, link)
}

/** Publishes the files of a volume exactly as the kubelet's atomic writer does; names may have directories. */
export class AtomicWriter {
  readonly #volume: string
  #version = 0

  constructor(volume: string) {
    this.#volume = volume
    mkdirSync(volume, { recursive: true })
  }

  publish(files: Readonly<Record<string, string>>): void {
    const data = join(this.#volume, '..data')
    const old = existsSync(data) ? readlinkSync(data) : undefined
    const fresh = `..2026_01_31_09_15_04.${1_000_000_000 + this.#version++}`
    for (const [name, content] of Object.entries(files)) {
      const path = join(this.#volume, fresh, name)
      mkdirSync(join(path, '..'), { recursive: true, mode: 0o755 })
      writeFileSync(path, content, { mode: 0o644 })
    }
    const visible = new Set(Object.keys(files).map((name) => name.split('/')[0] ?? name))
    for (const name of visible) {
      const link = join(this.#volume, name)
      if (!readdirSync(this.#volume).includes(name)) symlinkSync(`..data/${name}`, link)
    }
    symlinkSync(fresh, join(this.#volume, '..data_tmp'))
    renameSync(join(this.#volume, '..data_tmp'), data)
    for (const name of readdirSync(this.#volume)) {
      if (!name.startsWith('..') && !visible.has(name)) rmSync(join(this.#volume, name))
    }
    if (old !== undefined) rmSync(join(this.#volume, old), { recursive: true })
  }
}
