import type { Access } from './access.ts'
import { isHash } from './address.ts'
import type { Git } from './git.ts'

/** A ref as a remote tells it; `peeled` is what an annotated tag stands for. */
export interface RemoteRef {
  readonly name: string
  readonly hash: string
  readonly peeled?: string
}

/**
 * The whole names that a short one may stand for, the one that git takes first: gitrevisions(7), as `git fetch` reads it.
 * A tag comes before a branch of the same name.
 */
export const candidatesOf = (ref: string): readonly string[] =>
  ref === 'HEAD'
    ? ['HEAD']
    : [
        ...[ref, `refs/${ref}`, `refs/tags/${ref}`, `refs/heads/${ref}`],
        ...[`refs/remotes/${ref}`, `refs/remotes/${ref}/HEAD`],
      ]

/** The one of the refs that the name stands for. */
export function chosenRef(ref: string, refs: readonly RemoteRef[]): RemoteRef | undefined {
  for (const name of candidatesOf(ref)) {
    // Only whole names and HEAD stand alone at a remote.
    if (name !== 'HEAD' && !name.startsWith('refs/')) continue
    const found = refs.find((each) => each.name === name)
    if (found !== undefined) return found
  }
  return undefined
}

/** Asks by one `git ls-remote`, which knows every transport. */
export async function listRemote(
  git: Git,
  repo: string,
  ref: string,
  options: { readonly access: Access; readonly signal: AbortSignal; readonly directory: string },
): Promise<readonly RemoteRef[]> {
  const names = candidatesOf(ref)
  const patterns = [...names, ...names.map((name) => `${name}^{}`)]
  // Of no repository, whose settings might not be ours.
  const variables = { GIT_DIR: '/dev/null' }
  const output = await git.run(['ls-remote', '--quiet', '--', repo, ...patterns], { ...options, variables })
  return parseRefs(output, new Set(names))
}

/** Of the lines `<hash>\t<name>`, `<name>^{}` after an annotated tag, those with a name that was asked for. */
export function parseRefs(output: string, names: ReadonlySet<string>): readonly RemoteRef[] {
  const hashes = new Map<string, string>()
  for (const line of output.split('\n')) {
    const [hash = '', name = ''] = line.split('\t')
    if (isHash(hash) && names.has(name.replace(/\^\{\}$/, ''))) hashes.set(name, hash)
  }
  return [...hashes].flatMap(([name, hash]) => {
    if (name.endsWith('^{}')) return []
    const peeled = hashes.get(`${name}^{}`)
    return [{ name, hash, ...(peeled !== undefined && { peeled }) }]
  })
}
