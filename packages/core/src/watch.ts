import { watch as fsWatch } from 'node:fs'
import { Directory } from './watch-directory.ts'
import type { WatchFunction } from './watch-events.ts'
import { Files } from './watch-files.ts'
import { maxBytesOf, Watcher } from './watch-loop.ts'

/** The bytes at each watched path as it was given, or undefined while it does not exist or cannot be read. */
export type FileContents = ReadonlyMap<string, Buffer | undefined>

/**
 * The bytes of the regular files in a directory and one level below, by path relative to it and sorted by name; or why
 * they cannot all be had.
 */
export type DirectoryContents = ReadonlyMap<string, Buffer> | Error

export interface WatchOptions<C = FileContents> {
  /**
   * Called once for each settled change of bytes, with the contents of everything watched. Not called for changes of times,
   * modes or owners, nor when the same bytes are written again. What it throws goes to `onError`.
   */
  readonly onChange: (contents: C) => void | Promise<void>
  /**
   * Told once, not on every look: a file that exists but cannot be read (a directory, a FIFO, too large, a loop of
   * links, permissions), a watch that cannot be set, an exception of `onChange`. Never fatal: looking goes on.
   */
  readonly onError?: (error: Error) => void
  /** A change is settled when nothing moved for this many milliseconds; 100 by default. */
  readonly quietMs?: number
  /** An unending burst of changes is reported at least this often, in milliseconds; 500 by default. */
  readonly maxWaitMs?: number
  /** Milliseconds between two looks without any event: network file systems, mounts, used up limits; 500 by default. */
  readonly pollMs?: number
  /** A larger file counts as unreadable; 16 MiB by default. */
  readonly maxBytes?: number
}

export interface Watching<out C> extends AsyncDisposable {
  /** What `onChange` was last called with, and before that what was there at the start. */
  readonly contents: C
  /** Reads everything again now, whatever events and metadata say. Resolves when a change has been reported. */
  check(): Promise<void>
}

export type FileWatcher = Watching<FileContents>
export type DirectoryWatcher = Watching<DirectoryContents>

/**
 * Watches files by what their paths mean, not by their inodes: writes in place, files renamed over, links flipped at any
 * level (Kubernetes `..data`, git-sync, Secrets CSI), files that do not exist yet, bind mounts.
 *
 * Events of the operating system make it quick, polling makes it certain; the bytes decide. It does not keep the process
 * alive. Out of its reach: a single-file bind mount (Kubernetes `subPath`) whose source is renamed over, where the mount
 * goes on showing the old file, and writes through a memory map until the kernel writes them back.
 *
 * @param paths absolute, or relative to the working directory at this moment; they need not exist
 * @returns the watcher, when the files have been read for the first time; rejects only for an impossible path
 */
export async function watchFiles(
  paths: readonly string[],
  options: WatchOptions,
  watch: WatchFunction = fsWatch,
): Promise<FileWatcher> {
  for (const path of paths) refuseImpossible(path, 'a file')
  const watcher = new Watcher(new Files(paths, maxBytesOf(options)), options, watch)
  await watcher.start()
  return watcher
}

/**
 * Watches a directory in the same way: its files, and those of the directories in it (a directory for each mounted
 * Secret), by what their names mean. Names that begin with a dot are left out, but links may lead to them, as in the
 * volumes of Kubernetes; so are `lost+found`, deeper directories, links to nowhere, and what is no regular file.
 *
 * One report is of one version: all files, or an Error when there is no directory, a file cannot be read, or there are
 * more than 4096 files or 64 MiB. With more than 256 files, what only polling can see takes longer to be seen.
 *
 * @param path as for `watchFiles`
 */
export async function watchDirectory(
  path: string,
  options: WatchOptions<DirectoryContents>,
  watch: WatchFunction = fsWatch,
): Promise<DirectoryWatcher> {
  refuseImpossible(path, 'a directory')
  const watcher = new Watcher(new Directory(path, maxBytesOf(options)), options, watch)
  await watcher.start()
  return watcher
}

function refuseImpossible(path: string, what: string): void {
  if (path !== '' && !path.includes('\0')) return
  throw new Error(`${JSON.stringify(path)} cannot be watched: name ${what}`)
}
