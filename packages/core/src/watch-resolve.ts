import type { BigIntStats } from 'node:fs'
import { lstat, readlink } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { codeOf, type Sighting, type Sightings, sight, sightingOf } from './watch-sight.ts'

export interface WatchTarget {
  /** Device, inode and birth. Another one at the same path means that a watch set earlier is on something gone. */
  readonly id: string
  /** The names in this directory that matter; undefined for a file, where every event does. */
  readonly names: Set<string> | 'all' | undefined
}

export interface Resolution {
  /** What to watch, by real path. */
  readonly targets: ReadonlyMap<string, WatchTarget>
  /** What stands at each path. */
  readonly sightings: Sightings
}

/** Linux gives up (ELOOP) after as many. */
const maxLinks = 40

/**
 * Walks each path link by link, and tells where a change would show and which file it leads to.
 *
 * All paths share one walk, and a link is read once in it. So two files below one `..data` link always resolve to the
 * same version, even while the link is replaced: a certificate is never paired with the next one's key.
 *
 * Never rejects. One system call at a time, so that a dead network file system occupies one thread of the pool.
 */
export async function resolvePaths(paths: readonly string[], maxBytes: number): Promise<Resolution> {
  const walk = new Walk()
  const sightings = new Map<string, Sighting>()
  for (const path of paths) sightings.set(path, await sightingAt(path, await walk.follow(path), maxBytes))
  return { targets: walk.targets, sightings }
}

/** Where a path ends; or that it ends nowhere; or undefined when only the kernel can say. */
export type End = { readonly at: string; readonly stats: BigIntStats } | 'nowhere' | undefined

async function sightingAt(path: string, end: End, maxBytes: number): Promise<Sighting> {
  if (end === undefined) return sight(path, maxBytes)
  // Not asked again: the kernel may by now be one flip of a link further than the other paths of this walk.
  if (end === 'nowhere') return { state: 'missing', fingerprint: 'missing' }
  return sightingOf(path, end.at, end.stats, maxBytes)
}

/** What is seen on the way along several paths; everything is looked at once. */
export class Walk {
  readonly targets = new Map<string, WatchTarget>()
  readonly #stats = new Map<string, BigIntStats | Failure>()
  readonly #links = new Map<string, string | Failure>()

  async follow(path: string): Promise<End> {
    const names = namesOf(path).reverse()
    let directory = '/'
    let followed = 0
    let certain = true
    let end: End
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      end = undefined
      if (name === '.') continue
      if (name === '..') {
        directory = dirname(directory)
        continue
      }
      const here = join(directory, name)
      const stats = await this.#lstat(here)
      if (!isFailure(stats) && stats.isDirectory()) {
        // The last name, and still a directory: somebody may put the file in its place.
        if (names.length === 0) await this.#watchName(directory, name)
        directory = here
        end = { at: here, stats }
        continue
      }
      await this.#watchName(directory, name)
      if (isFailure(stats)) return certain && stats.gone ? 'nowhere' : undefined
      if (!stats.isSymbolicLink()) {
        if (names.length > 0) return undefined
        if (stats.isFile()) this.targets.set(here, { id: identity(stats), names: undefined })
        return certain ? { at: here, stats } : undefined
      }
      const target = await this.#readlink(here)
      if (isFailure(target)) return certain && target.gone ? 'nowhere' : undefined
      if (++followed > maxLinks) return undefined
      // Links in /proc/<pid> lead where their text does not say, and do not have its length either.
      certain &&= BigInt(Buffer.byteLength(target)) === stats.size
      if (isAbsolute(target)) directory = '/'
      names.push(...namesOf(target).reverse())
    }
    return certain ? end : undefined
  }

  /** Watches everything in a directory, which is the end of a path followed before. */
  watchAll({ at, stats }: Exclude<End, string | undefined>): void {
    this.targets.set(at, { id: identity(stats), names: 'all' })
  }

  /**
   * Directories that are merely passed through are not watched: they are busy (`/`, `/tmp`, `/run`) and hardly ever
   * replaced. A directory that holds a link, a file or a missing name tells of its own removal. That leaves the renaming
   * of a directory further up, which polling finds.
   */
  async #watchName(directory: string, name: string): Promise<void> {
    const known = this.targets.get(directory)
    if (known?.names !== undefined) {
      if (known.names !== 'all') known.names.add(name)
      return
    }
    const stats = await this.#lstat(directory)
    if (!isFailure(stats)) this.targets.set(directory, { id: identity(stats), names: new Set([name]) })
  }

  async #lstat(path: string): Promise<BigIntStats | Failure> {
    const known = this.#stats.get(path)
    if (known !== undefined) return known
    const stats = await lstat(path, { bigint: true }).catch(failure)
    this.#stats.set(path, stats)
    return stats
  }

  async #readlink(path: string): Promise<string | Failure> {
    const known = this.#links.get(path)
    if (known !== undefined) return known
    const target = await readlink(path).catch(failure)
    this.#links.set(path, target)
    return target
  }
}

interface Failure {
  /** Whether nothing is there, or no longer what was there a moment ago (EINVAL: not a link). */
  readonly gone: boolean
}

const failure = (error: unknown): Failure => ({ gone: ['ENOENT', 'EINVAL'].includes(codeOf(error) ?? '') })

const isFailure = (result: object | string): result is Failure =>
  typeof result === 'object' && 'gone' in result

/** The birth tells an inode from the one before it with the same number, which file systems reuse at once. */
const identity = (stats: BigIntStats): string => `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`

/** A slash at the end becomes `.`, because it demands a directory. */
const namesOf = (path: string): string[] =>
  (path.endsWith('/') ? `${path}.` : path).split('/').filter((name) => name !== '')
