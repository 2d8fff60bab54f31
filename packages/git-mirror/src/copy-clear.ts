import type { Dirent } from 'node:fs'
import { publishedEntries } from './copy-entries.ts'
import { type CopyWorkshop, statsOf } from './copy-workshop.ts'
import { FileError, fileError, printable } from './file-error.ts'
import { forEachBounded } from './for-each-bounded.ts'
import type { OpenDirectory } from './open-directory.ts'
import { type Remnant, removeEntry } from './remove-tree.ts'

const concurrency = 4

/** Removes from a directory what a tree has not, and makes sure that it has all that the tree has. */
export async function clearTree(
  from: OpenDirectory,
  to: OpenDirectory,
  workshop: CopyWorkshop,
  signal: AbortSignal,
): Promise<void> {
  const remnants: Remnant[] = []
  await clear(from, to, [workshop.name, 'lost+found'], { workshop, remnants, signal })
  // Told at the end, so that all that can go has gone.
  const [first] = remnants
  if (first !== undefined)
    throw fileError('remove', first.path, Object.assign(new Error(), { code: first.code }))
}

interface Clearing {
  readonly workshop: CopyWorkshop
  /** What has withstood and must not. */
  readonly remnants: Remnant[]
  readonly signal: AbortSignal
}

async function clear(
  from: OpenDirectory,
  to: OpenDirectory,
  kept: readonly string[],
  clearing: Clearing,
): Promise<void> {
  const { workshop, remnants, signal } = clearing
  const wanted = byName(await publishedEntries(from))
  const there = byName(await to.entries())
  const gone = new Map([...there].filter(([key]) => !wanted.has(key) && !kept.includes(key)))
  for (const [key, { name }] of wanted) if (!there.has(key)) await respell(to, name, gone, workshop)
  const remove = async ({ name }: Dirent<Buffer>) => {
    signal.throwIfAborted()
    const left = await removeEntry(to, name)
    if (remnants.length === 0) remnants.push(...left.filter((remnant) => !isHeldOpenOnNfs(remnant)))
  }
  const entries = [...gone.values()]
  await forEachBounded(
    entries.filter((entry) => !entry.isDirectory()),
    concurrency,
    remove,
  )
  for (const entry of wanted.values()) {
    if (entry.isDirectory()) await clearChild(from, to, entry.name, clearing)
  }
  for (const entry of entries) if (entry.isDirectory()) await remove(entry)
}

async function clearChild(
  from: OpenDirectory,
  to: OpenDirectory,
  name: Buffer,
  clearing: Clearing,
): Promise<void> {
  clearing.signal.throwIfAborted()
  try {
    await using inside = await from.child(name)
    await using place = await to.childToChange(name)
    await clear(inside, place, [], clearing)
  } catch (error) {
    throw fileError('copy to', to.named(name), error)
  }
}

/** Latin 1 keeps every byte. */
const byName = (entries: readonly Dirent<Buffer>[]): Map<string, Dirent<Buffer>> =>
  new Map(entries.map((entry) => [entry.name.toString('latin1'), entry]))

/**
 * A volume that does not tell upper from lower case finds `readme` where the old commit had `README`, and lists the old
 * name: it must not be removed as a file that is gone.
 */
async function respell(
  to: OpenDirectory,
  name: Buffer,
  gone: Map<string, Dirent<Buffer>>,
  workshop: CopyWorkshop,
): Promise<void> {
  const wanted = await statsOf(to, name)
  const path = printable(to.named(name))
  if (wanted === undefined)
    throw new FileError(`${path} was removed by somebody else while it was copied`, 'ENOENT')
  for (const [key, other] of gone) {
    const stats = await statsOf(to, other.name)
    if (stats?.ino !== wanted.ino || stats.dev !== wanted.dev) continue
    gone.delete(key)
    return await workshop.respell(to, other.name, name)
  }
  throw new FileError(
    `cannot copy to ${path}: this volume takes its name for the same as another in the commit; rename one of them`,
    'EEXIST',
  )
}

/** What an application on this node still reads stays under such a name until it closes it, and then goes by itself. */
const isHeldOpenOnNfs = ({ path, code }: Remnant): boolean =>
  code === 'EBUSY' && /\/\.nfs[0-9a-f]+$/.test(path)
