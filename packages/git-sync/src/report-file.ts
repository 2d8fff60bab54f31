import { open, rename, rm, utimes } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { makeDirectory } from '@outrider/git-mirror'

export interface ReportFileOptions {
  /** From which a path counts that is not absolute. */
  readonly root: string
  readonly path: string
  /** Called instead of an error: a file that only tells of a sync must not make it fail. */
  readonly onError: (error: Error) => void
}

export interface ErrorReport {
  readonly Msg: string
  readonly Err: string
  readonly Args: Readonly<Record<string, string | number | boolean>>
}

/** One change of a file after the other, in the order in which they were asked for. */
class ReportFile {
  readonly path: string
  readonly #what: string
  readonly #onError: (error: Error) => void
  #last: Promise<void> = Promise.resolve()

  constructor(what: string, { root, path, onError }: ReportFileOptions) {
    this.path = resolve(root, path)
    this.#what = what
    this.#onError = onError
  }

  change(action: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(action).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error)
      const remedy = `its directory must be writable, and it must not be one itself`
      this.#onError(new Error(`the ${this.#what} ${this.path} cannot be changed: ${reason}; ${remedy}`))
    })
    return this.#last
  }
}

/** A file with the last error, that is there while there is one. */
export class ErrorFile {
  readonly #file: ReportFile
  readonly #draft: string

  constructor(options: ReportFileOptions) {
    this.#file = new ReportFile('error file', options)
    const { path } = this.#file
    // Always the same, so that what a crash has left is found by the next.
    this.#draft = join(dirname(path), `.${basename(path)}.draft`)
  }

  /** Resolves when others see it. */
  write(report: ErrorReport): Promise<void> {
    const { path } = this.#file
    return this.#file.change(async () => {
      await makeDirectory(dirname(path))
      await rm(this.#draft, { force: true })
      try {
        // Only where nothing is: a link there would make us write to where it leads.
        await using file = await open(this.#draft, 'wx')
        await file.writeFile(JSON.stringify(report))
        // Whatever the umask is: others read it.
        await file.chmod(0o644)
        await rename(this.#draft, path)
      } catch (error) {
        await rm(this.#draft, { force: true })
        throw error
      }
    })
  }

  clear(): Promise<void> {
    return this.#file.change(async () => {
      await rm(this.#draft, { force: true })
      await rm(this.#file.path, { force: true })
    })
  }
}

/** A file whose time of change tells of the last change of a tree. */
export class TouchFile {
  readonly #file: ReportFile

  constructor(options: ReportFileOptions) {
    this.#file = new ReportFile('touch file', options)
  }

  touch(): Promise<void> {
    const { path } = this.#file
    return this.#file.change(async () => {
      const now = new Date()
      try {
        // Not opened where it is there: a pipe would be waited for.
        await utimes(path, now, now)
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
        await makeDirectory(dirname(path))
        await using file = await open(path, 'wx')
        await file.utimes(now, now)
      }
    })
  }
}
