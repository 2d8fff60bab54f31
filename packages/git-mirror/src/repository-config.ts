import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { readSmallFile } from './small-file.ts'
import { uniqueSuffix } from './unique-suffix.ts'

/** What git itself notes about a repository when it makes it, and when it fetches a part of it. */
const known: Readonly<Record<string, readonly string[]>> = {
  core: ['repositoryformatversion', 'filemode', 'bare', 'symlinks', 'ignorecase', 'precomposeunicode'],
  extensions: ['objectformat', 'partialclone'],
  'remote "origin"': ['promisor', 'partialclonefilter'],
}

/**
 * Brings the configuration of a repository back to what git itself needs to know, and the address. Anything else in it
 * is of somebody else, and could run programs (filters, credential helpers, `include`); or it is the address that a
 * submodule once had, to which git would keep for ever.
 * @param gitDirectory a repository that nobody else uses now
 * @returns false where it is not as git writes it
 */
export async function restoreConfig(gitDirectory: string, address: string): Promise<boolean> {
  const path = join(gitDirectory, 'config')
  const text = await readSmallFile(path).catch(() => '')
  const kept = keptOf(text)
  if (!kept.has('core.repositoryformatversion')) return false
  const wanted = configText(kept, address)
  if (wanted === text) return true
  const draft = join(gitDirectory, `.outrider-${uniqueSuffix()}`)
  {
    await using file = await open(draft, 'wx')
    await file.writeFile(wanted)
    await file.sync()
  }
  await rename(draft, path)
  return true
}

/** By section and key. Only lines as git writes them count, with values that need no quotes. */
function keptOf(text: string): ReadonlyMap<string, string> {
  const kept = new Map<string, string>()
  let section = ''
  for (const line of text.split('\n')) {
    if (!/^\s/.test(line)) section = /^\[(.+)\]$/.exec(line)?.[1] ?? ''
    const [, key = '', value = ''] = /^\t(\w+) = ([\w:=+.,/%-]+)$/.exec(line) ?? []
    if (value !== '' && known[section]?.includes(key.toLowerCase()))
      kept.set(`${section}.${key.toLowerCase()}`, value)
  }
  return kept
}

function configText(kept: ReadonlyMap<string, string>, address: string): string {
  const lines = Object.entries(known).flatMap(([section, keys]) => {
    const inside = keys.flatMap((key) => {
      const value = kept.get(`${section}.${key}`)
      return value === undefined ? [] : [`\t${key} = ${value}`]
    })
    if (section === 'remote "origin"') inside.unshift(`\turl = "${address.replace(/["\\]/g, '\\$&')}"`)
    return inside.length === 0 ? [] : [`[${section}]`, ...inside]
  })
  return `${lines.join('\n')}\n`
}
