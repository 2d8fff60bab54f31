import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

const mostBytes = 2 ** 20

/**
 * The text of a file where others may have put something else: a named pipe would be waited for by a thread that nothing
 * ends, not even the end of the process.
 * @throws Error where it is no regular file of at most 1 MiB; the system's error
 */
export async function readSmallFile(path: string): Promise<string> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  await using file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  const stats = await file.stat()
  if (!stats.isFile() || stats.size > mostBytes)
    throw new Error(`${path} is no regular file of at most 1 MiB`)
  return await file.readFile('utf8')
}
