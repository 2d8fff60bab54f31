import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errnoOf } from './file-error.ts'

/**
 * Makes a directory and the parents that are missing, also where others make the same at the same time. Node's own way of
 * it never ends below /proc, where nothing can be made and nothing says so.
 * @param mode of those that are made; 0o777 unless given, in any case less the umask
 * @throws the system's error for the first that cannot be made
 */
export async function makeDirectory(path: string, mode = 0o777): Promise<void> {
  const parent = dirname(path)
  try {
    await mkdir(path, { mode })
  } catch (error) {
    if (await isDirectory(path)) return
    if (errnoOf(error) !== 'ENOENT' || parent === path) throw error
    await makeDirectory(parent, mode)
    await mkdir(path, { mode }).catch(async (again: unknown) => {
      if (!(await isDirectory(path))) throw again
    })
  }
}

const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  )
