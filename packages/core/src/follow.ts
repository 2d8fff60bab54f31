import { closeSync, constants, openSync } from 'node:fs'
import type { Notice } from './gates.ts'
import type { Log } from './log.ts'
import { counter, gauge, type Metrics } from './metrics.ts'
import {
  type DirectoryContents,
  type FileContents,
  type Watching,
  type WatchOptions,
  watchDirectory,
  watchFiles,
} from './watch.ts'

/** The content of a followed file; throws with the reason and the remedy when there is none. */
export function requireFile(contents: FileContents, path: string): Buffer {
  const content = contents.get(path)
  if (content !== undefined) return content
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EACCES') {
      throw new Error(`${path} may not be read by user ${process.geteuid?.()}: change its owner or mode`)
    }
    if (code === 'ENOENT') throw new Error(`${path} does not exist: mount or create it`)
  }
  throw new Error(`${path} cannot be read: it must be a regular file`)
}

/** The metrics of every container that loads files; `file` is the name given to `follow`. */
export const reloadMetrics = {
  successful: gauge(
    'config_last_reload_successful',
    'Whether the last load of these files was taken: 1 or 0.',
    ['file'],
  ),
  timestamp: gauge('config_last_reload_timestamp_seconds', 'When these files were last taken, Unix time.', [
    'file',
  ]),
  reloads: counter('config_reloads_total', 'Loads of these files, by result: taken or refused.', [
    'file',
    'result',
  ]),
} as const

export interface FollowKit {
  readonly log: Log
  readonly notice: (name: string) => Notice
  readonly metrics: Metrics<typeof reloadMetrics>
}

export interface Followed<T> {
  /** What the first `apply` gave. */
  readonly first: T
  readonly watcher: Watching<unknown>
}

/**
 * Applies the content of files now, and again whenever it changes. The first `apply` may throw: then so does this.
 * Later ones that throw change nothing but the log, the metrics and a notice on `/readyz`.
 */
export function follow<T>(
  name: string,
  paths: readonly string[],
  apply: (contents: FileContents) => T | Promise<T>,
  kit: FollowKit,
): Promise<Followed<T>> {
  return applyEach(name, paths, (options) => watchFiles(paths, options), apply, kit)
}

/** The same for all files in a directory; one that cannot be read whole is refused without `apply` being asked. */
export function followDirectory<T>(
  name: string,
  path: string,
  apply: (files: ReadonlyMap<string, Buffer>) => T | Promise<T>,
  kit: FollowKit,
): Promise<Followed<T>> {
  const applyFiles = (contents: DirectoryContents) => {
    if (contents instanceof Error) throw contents
    return apply(contents)
  }
  return applyEach(name, [path], (options) => watchDirectory(path, options), applyFiles, kit)
}

async function applyEach<C, T>(
  name: string,
  paths: readonly string[],
  watch: (options: WatchOptions<C>) => Promise<Watching<C>>,
  apply: (contents: C) => T | Promise<T>,
  { log, notice, metrics }: FollowKit,
): Promise<Followed<T>> {
  const remark = notice(`${name} files`)
  const taken = () => {
    metrics.successful.set({ file: name }, 1)
    metrics.timestamp.set({ file: name }, Date.now() / 1000)
    metrics.reloads.inc({ file: name, result: 'taken' })
    remark.clear()
  }
  const load = async (contents: C) => {
    try {
      await apply(contents)
      taken()
      log.info(`${name} reloaded`, { files: paths })
    } catch (error) {
      const why = (error as Error).message
      metrics.successful.set({ file: name }, 0)
      metrics.reloads.inc({ file: name, result: 'refused' })
      remark.set(`the changed files were refused and the last good ones are in use: ${why}`)
      log.error(`${name} not reloaded, the last good one stays`, { files: paths, error: why })
    }
  }
  const begun = Promise.withResolvers<void>()
  let last = begun.promise
  const watcher = await watch({
    onChange: (contents) => {
      last = last.then(() => load(contents))
    },
    onError: (error) => log.warn(`watching the ${name} files`, { error }),
  })
  try {
    const first = await apply(watcher.contents)
    taken()
    begun.resolve()
    return { first, watcher }
  } catch (error) {
    await watcher[Symbol.asyncDispose]()
    throw error
  }
}
