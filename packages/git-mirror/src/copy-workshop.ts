import type { Stats } from 'node:fs'
import { lstat, mkdir, open, rename } from 'node:fs/promises'
import { errnoOf, fileError } from './file-error.ts'
import type { OpenDirectory } from './open-directory.ts'
import { removeEntry } from './remove-tree.ts'
import { uniqueSuffix } from './unique-suffix.ts'

/**
 * A directory at the top of a copy in which files are made, to be renamed to their places: nobody meets half of one,
 * and all that a killed run leaves lies here.
 */
export class CopyWorkshop implements AsyncDisposable {
  readonly name: string
  /** Whether the volume tells programs from other files. */
  readonly keepsModes: boolean
  readonly #top: OpenDirectory
  readonly #directory: OpenDirectory
  #made = 0

  private constructor(top: OpenDirectory, name: string, directory: OpenDirectory, keepsModes: boolean) {
    this.#top = top
    this.name = name
    this.#directory = directory
    this.keepsModes = keepsModes
  }

  /** Removes those of killed runs first, since they may fill the volume. */
  static async open(source: OpenDirectory, top: OpenDirectory): Promise<CopyWorkshop> {
    const name = `.outrider-${uniqueSuffix()}`
    try {
      for (const entry of await top.entries()) {
        const isLeftover = entry.isDirectory() && /^\.outrider-[0-9a-f]{12}$/.test(entry.name.toString())
        if (isLeftover && (await statsOf(source, entry.name)) === undefined)
          await removeEntry(top, entry.name)
      }
      await mkdir(top.at(name), { mode: 0o700 })
      const directory = await top.child(Buffer.from(name))
      return new CopyWorkshop(top, name, directory, await keepsModes(directory))
    } catch (error) {
      throw fileError('write to', top.path, error)
    }
  }

  /** Calls `make` with a new path, and puts what it makes there into the place of what is `there`. */
  async replace(
    target: OpenDirectory,
    name: Buffer,
    there: Stats | undefined,
    make: (path: Buffer) => Promise<void>,
  ): Promise<void> {
    const made = this.#directory.at(String(++this.#made))
    await make(made)
    if (there?.isDirectory() !== true) return await rename(made, target.at(name))
    // Moving a directory changes its `..`, which needs the right to write it.
    await (await target.childToChange(name))[Symbol.asyncDispose]()
    const aside = String(++this.#made)
    await rename(target.at(name), this.#directory.at(aside))
    await rename(made, target.at(name))
    await removeEntry(this.#directory, Buffer.from(aside))
  }

  /** By way of the workshop, since one step between two names of the same file is none. */
  async respell(directory: OpenDirectory, from: Buffer, to: Buffer): Promise<void> {
    const aside = this.#directory.at(String(++this.#made))
    await rename(directory.at(from), aside)
    await rename(aside, directory.at(to))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory[Symbol.asyncDispose]()
    await removeEntry(this.#top, Buffer.from(this.name))
  }
}

/** Undefined for what is not there; of a symbolic link its own. */
export async function statsOf(directory: OpenDirectory, name: Buffer): Promise<Stats | undefined> {
  return await lstat(directory.at(name)).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error
    return undefined
  })
}

async function keepsModes(directory: OpenDirectory): Promise<boolean> {
  await using file = await open(directory.at('modes'), 'wx', 0o600)
  const isProgram = async (mode: number): Promise<boolean> => {
    await file.chmod(mode).catch(() => undefined)
    return ((await file.stat()).mode & 0o100) !== 0
  }
  return (await isProgram(0o700)) && !(await isProgram(0o600))
}
