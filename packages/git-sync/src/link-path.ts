import { isAbsolute, resolve, sep } from 'node:path'

/** What of the root is the mirror's own. */
const own = ['.git', '.worktrees', '.repositories']

/**
 * The absolute path of a link that is given absolutely or from the root. Only an absolute one may lie elsewhere: its
 * target is right only as long as the root is mounted at the same path.
 * @param root an absolute path
 * @throws Error that begins with "must be"
 */
export function resolveLink(root: string, link: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(link)) throw new Error('must be a path without control characters')
  const base = resolve(root)
  const path = resolve(base, link)
  const start = base.endsWith(sep) ? base : base + sep
  const isBelow = path.startsWith(start)
  if (
    link === '' ||
    path === base ||
    path === sep ||
    base.startsWith(path + sep) ||
    !(isBelow || isAbsolute(link))
  )
    throw new Error(`must be a path below the root, ${root}`)
  if (!isBelow) return path
  const [first = ''] = path.slice(start.length).split(sep)
  if (own.includes(first))
    throw new Error(`must be another path than ${first} in the root, which is the mirror's own`)
  return path
}

/** Whether one of two absolute paths is the other or lies in it: the later one published would destroy the earlier. */
export const isNested = (one: string, other: string): boolean =>
  one === other || one.startsWith(other + sep) || other.startsWith(one + sep)

/**
 * The name of the link where none is given: what stands behind the last slash of the address, slashes at its end aside,
 * with `.git`. It may be no name at all, which `resolveLink` tells.
 * @param repo without credentials
 */
export const defaultLink = (repo: string): string => repo.replace(/\/+$/, '').replace(/^.*\//s, '')
