import { lstat, rename, rmdir, unlink } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { errnoOf, printable } from './file-error.ts'
import { forEachBounded } from './for-each-bounded.ts'
import { OpenDirectory } from './open-directory.ts'
import { uniqueSuffix } from './unique-suffix.ts'

/** What has withstood removal, and why: `EBUSY` where it is held open on NFS, `EPERM` where it is not ours. */
export interface Remnant {
  readonly path: string
  readonly code: string
}

const concurrency = 4
/** What lies deeper is moved up first, since each level holds a file descriptor. */
const deepest = 64
/** How often a directory is emptied that fills again: by what is moved up, or by an application that still writes. */
const turns = 100
/** Remnants that are told; a tree that is not ours may have millions. */
const told = 20

/**
 * Removes a file, or a directory with all that is in it, read-only directories too. Symbolic links are removed, never
 * followed; other file systems mounted inside are left alone. What is not there is no error.
 * @returns what could not be removed, each with the system's reason; at most twenty
 */
export async function removeTree(path: string): Promise<readonly string[]> {
  const remnants = await remnantsOf(resolve(path))
  return remnants.map((remnant) => `${printable(remnant.path)} (${remnant.code})`)
}

async function remnantsOf(path: string): Promise<readonly Remnant[]> {
  try {
    await using parent = await OpenDirectory.follow(dirname(path))
    return await removeEntry(parent, Buffer.from(basename(path)))
  } catch (error) {
    const code = errnoOf(error)
    if (code === undefined) throw error
    return code === 'ENOENT' ? [] : [{ path, code }]
  }
}

/** As `removeTree`, of an entry of a directory. */
export async function removeEntry(parent: OpenDirectory, name: Buffer): Promise<readonly Remnant[]> {
  const removal = new Removal()
  await removal.remove(parent, name)
  return removal.remnants
}

/** Where a removal is. */
interface Level {
  readonly top: OpenDirectory
  readonly device: number
  readonly depth: number
}

class Removal {
  readonly remnants: Remnant[] = []
  #withstood = 0

  async remove(parent: OpenDirectory, name: Buffer): Promise<void> {
    await this.#attempt(parent, name, async () => {
      const stats = await lstat(parent.at(name))
      if (stats.isDirectory()) await this.#removeDirectory(parent, name, undefined)
      else await unlink(parent.at(name))
    })
  }

  async #removeDirectory(parent: OpenDirectory, name: Buffer, level: Level | undefined): Promise<void> {
    const before = this.#withstood
    for (let turn = 1; ; turn += 1) {
      await this.#empty(parent, name, level)
      if (this.#withstood > before) return
      try {
        await rmdir(parent.at(name))
        return
      } catch (error) {
        if (!['ENOTEMPTY', 'EEXIST'].includes(errnoOf(error) ?? '') || turn === turns) throw error
      }
    }
  }

  async #empty(parent: OpenDirectory, name: Buffer, above: Level | undefined): Promise<void> {
    await using directory = await parent.childToChange(name)
    const device = (await directory.stats()).dev
    const level = above ?? { top: directory, device, depth: 0 }
    if (device !== level.device) return this.#note(directory.path, 'EBUSY')
    const entries = await directory.entries()
    await forEachBounded(
      entries.filter((entry) => !entry.isDirectory()),
      concurrency,
      (file) => this.#attempt(directory, file.name, () => unlink(directory.at(file.name))),
    )
    for (const entry of entries) {
      if (!entry.isDirectory()) continue
      await this.#attempt(directory, entry.name, () =>
        level.depth < deepest
          ? this.#removeDirectory(directory, entry.name, { ...level, depth: level.depth + 1 })
          : moveUp(directory, entry.name, level.top),
      )
    }
  }

  async #attempt(parent: OpenDirectory, name: Buffer, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const code = errnoOf(error)
      if (code === undefined) throw error
      if (code !== 'ENOENT') this.#note(parent.named(name), code)
    }
  }

  #note(path: string, code: string): void {
    this.#withstood += 1
    if (this.remnants.length < told) this.remnants.push({ path, code })
  }
}

async function moveUp(parent: OpenDirectory, name: Buffer, top: OpenDirectory): Promise<void> {
  // Moving a directory changes its `..`, which needs the right to write it.
  await (await parent.childToChange(name))[Symbol.asyncDispose]()
  await rename(parent.at(name), top.at(`.outrider-${uniqueSuffix()}`))
}
