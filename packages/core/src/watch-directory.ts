import { opendir, stat } from 'node:fs/promises'
import type { DirectoryContents } from './watch.ts'
import { absolute } from './watch-files.ts'
import type { Subject } from './watch-loop.ts'
import type { Reading } from './watch-reading.ts'
import { type End, type Resolution, Walk } from './watch-resolve.ts'
import {
  codeOf,
  isAbsence,
  isShortage,
  type Sighting,
  type Sightings,
  sightingOf,
  unreadable,
} from './watch-sight.ts'

/** Room for 2 000 hosts with a certificate and a key each. */
const maxFiles = 4096
const maxTotalBytes = 64 * 1024 * 1024

/** A directory's regular files and those one level below; all of them, or an error that says why not. */
export class Directory implements Subject<DirectoryContents> {
  readonly #path: string
  readonly #root: string
  readonly #maxBytes: number

  constructor(path: string, maxBytes: number) {
    this.#path = path
    this.#root = absolute(path).replace(/\/+$/, '') || '/.'
    this.#maxBytes = maxBytes
  }

  /**
   * One walk for the listing and all files: everything below one `..data` link is of the same version.
   * Rejects only when the process is out of descriptors or memory, which says nothing about the directory.
   */
  async resolve(): Promise<Resolution> {
    const walk = new Walk()
    const look = async (path: string) => (await walk.follow(path)) ?? kernelEnd(path)
    const listing = new Listing(this.#root, this.#maxBytes, look, (directory) => walk.watchAll(directory))
    const sightings = await listing.make(this.#path)
    // Its directory tells of a file's changes; a watch for each of thousands would be dear. What is written through
    // another hard link, or to a file mounted over another, is left to polling.
    const targets = [...walk.targets].filter(([, { names }]) => names !== undefined)
    return { targets: new Map(targets), sightings }
  }

  async sightings(): Promise<Sightings> {
    return new Listing(this.#root, this.#maxBytes, kernelEnd).make(this.#path)
  }

  contentsOf(readings: ReadonlyMap<string, Reading>): DirectoryContents {
    const files = new Map<string, Buffer>()
    for (const [path, { content, problem }] of readings) {
      if (content !== undefined) files.set(path.slice(this.#root.length + 1), content)
      // Without it the others would seem to be all there is.
      else if (problem !== undefined) return problem
    }
    return readings.size > 0 ? files : new Error(`${this.#path} could not be read yet`)
  }

  same(before: DirectoryContents, after: DirectoryContents): boolean {
    if (before instanceof Error || after instanceof Error) {
      return before instanceof Error && after instanceof Error && before.message === after.message
    }
    return before.size === after.size && [...after].every(([path, content]) => before.get(path) === content)
  }
}

const missing: Sighting = { state: 'missing', fingerprint: 'missing' }

type Place = Exclude<End, 'nowhere' | undefined>

/** Where a path leads, or why that cannot be told. */
type Look = (path: string) => Promise<Place | 'nowhere' | Error>

/** What stands in a directory, as one look after the other finds it. */
class Listing {
  readonly #root: string
  readonly #maxBytes: number
  readonly #look: Look
  readonly #onDirectory: (directory: Place) => void
  readonly #sightings = new Map<string, Sighting>()
  #files = 0
  #bytes = 0n

  constructor(
    root: string,
    maxBytes: number,
    look: Look,
    onDirectory: (directory: Place) => void = () => {},
  ) {
    this.#root = root
    this.#maxBytes = maxBytes
    this.#look = look
    this.#onDirectory = onDirectory
  }

  /** `name` is the directory's in messages. */
  async make(name: string): Promise<Sightings> {
    const end = await this.#look(this.#root)
    if (end instanceof Error) return this.#refused(end.message)
    if (end !== 'nowhere' && !end.stats.isDirectory())
      return this.#refused(`${name} is not a directory: name one`)
    if (end !== 'nowhere') await this.#list(this.#root, end, true)
    if ((this.#sightings.get(this.#root) ?? missing) === missing) {
      return this.#refused(`${name} does not exist: mount or create it`)
    }
    if (this.#files > maxFiles) {
      return this.#refused(`${name} holds more than ${maxFiles} files: keep other files elsewhere`)
    }
    if (this.#bytes > maxTotalBytes) {
      return this.#refused(`${name} holds more than ${maxTotalBytes} bytes: keep other files elsewhere`)
    }
    return this.#sightings
  }

  #refused(message: string): Sightings {
    return new Map([[this.#root, { state: 'unreadable', fingerprint: message, problem: new Error(message) }]])
  }

  async #list(path: string, end: Place, isRoot: boolean): Promise<void> {
    this.#onDirectory(end)
    const names = await namesIn(path, end.at)
    if (names === 'nowhere') {
      this.#sightings.set(path, missing)
      return
    }
    if (names instanceof Error) {
      this.#sightings.set(path, { state: 'unreadable', fingerprint: names.message, problem: names })
      return
    }
    // Not the metadata: a name that came within one tick of the file system's clock does not show in them.
    this.#sightings.set(path, { state: 'passed', fingerprint: `names ${names.join('/')}` })
    // Then not all of them are here.
    if (names.length > maxFiles) this.#files = names.length
    for (const name of names) {
      if (this.#files > maxFiles) return
      // Made by mkfs, and closed to all but root.
      if (isRoot && name === 'lost+found') continue
      await this.#see(`${path}/${name}`, isRoot)
    }
  }

  async #see(path: string, mayList: boolean): Promise<void> {
    const end = await this.#look(path)
    if (end !== 'nowhere' && !(end instanceof Error) && end.stats.isDirectory() && mayList) {
      return this.#list(path, end, false)
    }
    this.#files++
    const sighting = this.#sighting(path, end)
    if (sighting.state === 'regular' && end !== 'nowhere' && !(end instanceof Error)) {
      this.#bytes += end.stats.size
    }
    this.#sightings.set(path, sighting)
  }

  #sighting(path: string, end: Awaited<ReturnType<Look>>): Sighting {
    // A link whose target is gone, or will come.
    if (end === 'nowhere') return missing
    if (end instanceof Error) return { state: 'unreadable', fingerprint: end.message, problem: end }
    if (!end.stats.isFile()) return { state: 'passed', fingerprint: 'no file' }
    return sightingOf(path, end.at, end.stats, this.#maxBytes)
  }
}

async function kernelEnd(path: string): Promise<Place | 'nowhere' | Error> {
  try {
    return { at: path, stats: await stat(path, { bigint: true }) }
  } catch (error) {
    return isAbsence(codeOf(error)) ? 'nowhere' : orThrow(path, error)
  }
}

/** The visible names in a directory, sorted; few more than may be there. `path` is for messages, `at` for opening. */
async function namesIn(path: string, at: string): Promise<readonly string[] | 'nowhere' | Error> {
  const names: string[] = []
  try {
    for await (const { name } of await opendir(at)) {
      if (!name.startsWith('.')) names.push(name)
      if (names.length > maxFiles) break
    }
  } catch (error) {
    return isAbsence(codeOf(error)) ? 'nowhere' : orThrow(path, error)
  }
  return names.sort()
}

function orThrow(path: string, error: unknown): Error {
  const problem = unreadable(path, error)
  if (isShortage(codeOf(error))) throw problem
  return problem
}
