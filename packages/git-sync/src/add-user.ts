import { appendFile, readFile } from 'node:fs/promises'

export interface UserEntry {
  readonly uid: number
  readonly gid: number
  readonly home: string
}

/**
 * Gives the user of this process a name, since SSH refuses to work for one that is not in the file.
 * @returns whether it was missing
 * @throws Error with a remedy where the file cannot be written, or the home holds what ends a field
 */
export async function addUser(file: string, { uid, gid, home }: UserEntry): Promise<boolean> {
  const entries = (await readFile(file, 'utf8').catch(() => '')).split('\n')
  if (entries.some((entry) => entry.split(':')[2] === String(uid))) return false
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f:]/.test(home))
    throw new Error(`user ${uid} cannot be added to ${file}: HOME holds a colon or a line break`)
  const separator = entries.at(-1) === '' ? '' : '\n'
  try {
    await appendFile(file, `${separator}git-sync:x:${uid}:${gid}::${home}:/sbin/nologin\n`)
  } catch (error) {
    throw new Error(
      `user ${uid} cannot be added to ${file}: ${(error as Error).message}; run as user 65532, which is in it, or with a root file system that can be written`,
    )
  }
  return true
}
