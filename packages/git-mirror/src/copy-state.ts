import { rename, rm, writeFile } from 'node:fs/promises'
import { bootId } from './boot-id.ts'
import { fileError } from './file-error.ts'
import { readSmallFile } from './small-file.ts'

/** What a copy was made of last. */
export interface CopyState {
  readonly hash: string
  /** Whether all of it has arrived, and has not gone through a crash of the system since. */
  readonly isComplete: boolean
}

/** @returns undefined where there is no such file, or none that can be read */
export async function readCopyState(path: string): Promise<CopyState | undefined> {
  try {
    const value: unknown = JSON.parse(await readSmallFile(path))
    if (typeof value !== 'object' || value === null || !('hash' in value) || typeof value.hash !== 'string')
      return undefined
    // Copied files are not synced to the disk one by one: what another run of the kernel has left may lack contents.
    const isOfThisBoot = 'boot' in value && value.boot === (await bootId())
    return {
      hash: value.hash,
      isComplete: isOfThisBoot && 'isComplete' in value && value.isComplete === true,
    }
  } catch {
    return undefined
  }
}

export async function writeCopyState(path: string, state: CopyState): Promise<void> {
  const temporary = `${path}.new`
  try {
    await rm(temporary, { recursive: true, force: true })
    await writeFile(temporary, JSON.stringify({ ...state, boot: await bootId() }), { flag: 'wx' })
    await rename(temporary, path)
  } catch (error) {
    throw fileError('write', path, error)
  }
}
