import { isAbsolute } from 'node:path'
import type { FileContents } from './watch.ts'
import type { Subject } from './watch-loop.ts'
import type { Reading } from './watch-reading.ts'
import { type Resolution, resolvePaths } from './watch-resolve.ts'
import { type Sighting, type Sightings, sight } from './watch-sight.ts'

/** A fixed list of files, which need not exist. */
export class Files implements Subject<FileContents> {
  /** Absolute paths by the paths as given. */
  readonly #absolute: ReadonlyMap<string, string>
  readonly #paths: readonly string[]
  readonly #maxBytes: number

  constructor(paths: readonly string[], maxBytes: number) {
    this.#absolute = new Map(paths.map((path) => [path, absolute(path)]))
    this.#paths = [...new Set(this.#absolute.values())]
    this.#maxBytes = maxBytes
  }

  resolve(): Promise<Resolution> {
    return resolvePaths(this.#paths, this.#maxBytes)
  }

  async sightings(): Promise<Sightings> {
    const sightings = new Map<string, Sighting>()
    for (const path of this.#paths) sightings.set(path, await sight(path, this.#maxBytes))
    return sightings
  }

  contentsOf(readings: ReadonlyMap<string, Reading>): FileContents {
    return new Map([...this.#absolute].map(([path, at]) => [path, readings.get(at)?.content]))
  }

  same(before: FileContents, after: FileContents): boolean {
    return [...after].every(([path, content]) => before.get(path) === content)
  }
}

/** Not normalized: `link/..` is the parent of where the link leads. */
export const absolute = (path: string): string => (isAbsolute(path) ? path : `${process.cwd()}/${path}`)
