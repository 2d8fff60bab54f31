import { constants, type Dirent, type Stats } from 'node:fs'
import { chmod, type FileHandle, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

const isLinux = process.platform === 'linux'
const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
// Opens what may not be read; node:fs does not name it.
const linuxPathOnly = 0o10000000

/**
 * A directory held open. On Linux, names in it lead to it and nowhere else, whoever renames it or puts symbolic links
 * on the way to it, and however long that way is (openat(2)); on other systems they are ordinary paths.
 */
export class OpenDirectory implements AsyncDisposable {
  /** For messages: bytes that are not UTF-8 are replaced. */
  readonly path: string
  readonly #handle: FileHandle
  readonly #way: Buffer
  readonly #prefix: Buffer

  private constructor(path: string, way: Buffer, handle: FileHandle) {
    this.path = path
    this.#way = way
    this.#handle = handle
    this.#prefix = isLinux ? Buffer.from(`/proc/self/fd/${handle.fd}/`) : Buffer.concat([way, slash])
  }

  /** `ENOTDIR` where the path is a symbolic link; those on the way to it are followed. */
  static async open(path: string): Promise<OpenDirectory> {
    return new OpenDirectory(path, Buffer.from(path), await open(path, flags))
  }

  /** Also by way of a symbolic link. */
  static async follow(path: string): Promise<OpenDirectory> {
    return new OpenDirectory(path, Buffer.from(path), await open(path, flags & ~constants.O_NOFOLLOW))
  }

  /** A directory in this one; `ENOTDIR` where it is none, or a symbolic link. */
  async child(name: Buffer): Promise<OpenDirectory> {
    return this.#adopt(name, await open(this.at(name), flags))
  }

  /** As `child`, and makes it ours to read and write where only its mode is in the way of its owner. */
  async childToChange(name: Buffer): Promise<OpenDirectory> {
    const handle = await open(this.at(name), flags).catch(async (error: unknown) => {
      await this.#unlock(name)
      return await open(this.at(name), flags).catch(() => {
        throw error
      })
    })
    const child = this.#adopt(name, handle)
    const { mode } = await handle.stat()
    // Where this is refused, what is done in the directory says so.
    if ((mode & 0o700) !== 0o700) await handle.chmod((mode & 0o7777) | 0o700).catch(() => undefined)
    return child
  }

  /** The path of an entry, for node:fs. */
  at(name: Buffer | string): Buffer {
    return Buffer.concat([this.#prefix, typeof name === 'string' ? Buffer.from(name) : name])
  }

  /** The path of an entry, for messages. */
  named(name: Buffer | string): string {
    return join(this.path, name.toString())
  }

  /** Without `.` and `..`. */
  async entries(): Promise<Dirent<Buffer>[]> {
    return await readdir(this.at(''), { encoding: 'buffer', withFileTypes: true })
  }

  async stats(): Promise<Stats> {
    return await this.#handle.stat()
  }

  async chmod(mode: number): Promise<void> {
    await this.#handle.chmod(mode)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close()
  }

  #adopt(name: Buffer, handle: FileHandle): OpenDirectory {
    return new OpenDirectory(this.named(name), Buffer.concat([this.#way, slash, name]), handle)
  }

  async #unlock(name: Buffer): Promise<void> {
    if (!isLinux) return
    const handle = await open(this.at(name), flags | linuxPathOnly).catch(() => undefined)
    if (handle === undefined) return
    try {
      await chmod(`/proc/self/fd/${handle.fd}`, 0o700)
    } catch {
      // The error of opening it says more.
    } finally {
      await handle.close()
    }
  }
}

const slash = Buffer.from('/')
