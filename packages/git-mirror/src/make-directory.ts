import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errnoOf } from './file-error.ts'

/**
 * Makes a directory and the parents that are missing.
 * @param mode of those that are made; 0o777 unless given, in any case less the umask
 * @throws the system's error for the first that cannot be made
 */
export async function makeDirectory(path: string, mode = 0o777): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode })
  } catch (error) {
    // On a volume that is read-only Node says so of a parent that is missing, too.
    const parent = dirname(path)
    if (errnoOf(error) !== 'ENOENT' || parent === path) throw error
    await makeDirectory(parent, mode)
    await mkdir(path, { mode })
  }
}
