import { constants } from 'node:fs'
import { chmod, type FileHandle, lstat, mkdir, open, rename, rmdir, stat, unlink } from 'node:fs/promises'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { errnoOf } from './file-error.ts'
import { recordName, socketName } from './lock-occupant.ts'
import { ownRecord, placeOf, recordText } from './lock-record.ts'
import { answersAt, listenIn } from './lock-socket.ts'
import { OpenDirectory } from './open-directory.ts'
import { removeTree } from './remove-tree.ts'
import { uniqueSuffix } from './unique-suffix.ts'

/** One process's wish to own a directory: a directory with its socket and its record, made aside and then moved in. */
export class Claim {
  readonly place: string
  readonly #id: string
  #path: string
  readonly #home: OpenDirectory
  readonly #server: Server | undefined
  readonly #text: string

  private constructor(
    path: string,
    id: string,
    home: OpenDirectory,
    place: string,
    server: Server | undefined,
  ) {
    this.#path = path
    this.#id = id
    this.#home = home
    this.place = place
    this.#server = server
    this.#text = recordText(ownRecord(place, server !== undefined))
  }

  /** @param stem path of the lock, after which those of claims are named */
  static async make(directory: string, stem: string): Promise<Claim> {
    const id = uniqueSuffix()
    const path = `${stem}.${id}`
    // Who may write in the directory may clear what a dead owner has left, also as another user.
    const mode = ((await stat(directory)).mode & 0o1777) | 0o700
    await mkdir(path, { mode: 0o700 })
    let home: OpenDirectory | undefined
    let server: Server | undefined
    try {
      home = await OpenDirectory.open(path)
      const place = await placeOf((await home.stats()).dev)
      server = await listenIn(home, socketName(id))
      const claim = new Claim(path, id, home, place, server)
      // Whole or not there: half of one would be a sign of life of somebody unknown.
      const draft = join(path, `${id}.draft`)
      await claim.#write(await open(draft, 'wx'))
      await rename(draft, claim.#recordPath)
      // Some volumes know no modes.
      await Promise.allSettled([chmod(claim.#recordPath, 0o644), home.chmod(mode)])
      return claim
    } catch (error) {
      server?.close()
      await home?.[Symbol.asyncDispose]()
      await removeTree(path)
      throw error
    }
  }

  get #recordPath(): string {
    return join(this.#path, recordName(this.#id))
  }

  /**
   * A directory is moved onto another only if that is empty or not there, so one claim alone is moved in.
   * @returns false where something else is there
   */
  async moveTo(path: string): Promise<boolean> {
    try {
      await rename(this.#path, path)
    } catch (error) {
      if (['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return false
      throw error
    }
    this.#path = path
    return true
  }

  /**
   * Gives a sign of life.
   * @returns the time of it by the clock of the volume, ms since 1970
   * @throws `ENOENT` where the claim is gone or incomplete
   */
  async beat(): Promise<number> {
    if (this.#server !== undefined) await lstat(join(this.#path, socketName(this.#id)))
    await this.#write(await open(this.#recordPath, constants.O_RDWR | constants.O_NOFOLLOW))
    return (await stat(this.#recordPath)).mtimeMs
  }

  async #write(record: FileHandle): Promise<void> {
    try {
      // The same text each time, so that nobody reads half of another. The volume notes the time by its own clock.
      await record.write(this.#text, 0)
    } catch (error) {
      // Some need room even for this.
      if (!['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')) throw error
      await record.utimes(new Date(), new Date())
    } finally {
      await record.close()
    }
  }

  /** Whether others find it as it was made. */
  async isIntact(): Promise<boolean> {
    try {
      await this.beat()
      return this.#server === undefined || (await answersAt(this.#home, socketName(this.#id))) === 'yes'
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false
      throw error
    }
  }

  /** Leaves nothing, as far as the volume lets it; what remains is known to be dead. */
  async release(): Promise<void> {
    await unlink(this.#recordPath).catch(() => undefined)
    if (this.#server !== undefined) await closed(this.#server)
    await unlink(join(this.#path, socketName(this.#id))).catch(() => undefined)
    await this.#home[Symbol.asyncDispose]()
    await rmdir(this.#path).catch(() => undefined)
  }
}

const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()))
