import type { Dirent } from 'node:fs'
import type { OpenDirectory } from './open-directory.ts'

/** What is published of a directory of a tree: all that git can have checked out, without what is git's own. */
export async function publishedEntries(directory: OpenDirectory): Promise<readonly Dirent<Buffer>[]> {
  const entries = await directory.entries()
  return entries.filter(
    (entry) =>
      (entry.isFile() || entry.isDirectory() || entry.isSymbolicLink()) &&
      entry.name.toString('latin1') !== '.git',
  )
}
