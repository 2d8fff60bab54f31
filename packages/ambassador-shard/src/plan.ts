import { isMap } from './document.ts'
import { type NutcrackerPool, readNutcracker } from './nutcracker.ts'
import type { PoolDescription, Result } from './pool.ts'
import { readTopology } from './topology-file.ts'

/** A pool of a topology file. */
export type FilePool = PoolDescription | NutcrackerPool

export type FilePools =
  | { readonly ok: true; readonly pools: readonly FilePool[] }
  | Extract<Result, { readonly ok: false }>

export const isNutcracker = (pool: FilePool): pool is NutcrackerPool => 'autoEject' in pool

/**
 * Reads what a topology file holds, which is ours, one pool, where it has `shards`, and twemproxy's otherwise.
 * @param document as YAML's failsafe schema gives it, all scalars text
 * @param only the one pool that is wanted
 */
export function readPools(document: unknown, only?: string): FilePools {
  if (isOwnTopology(document)) {
    const read = readTopology(document)
    if (read.ok && only !== undefined && only !== read.pool.name)
      return refused(`there is no pool ${only}: a file with shards is one pool, called ${read.pool.name}`)
    return read.ok ? { ok: true, pools: [read.pool] } : read
  }
  if (!isMap(document)) return refused('must be a map: of shards, or of the pools of a nutcracker.yml')
  const names = only === undefined ? Object.keys(document) : [only]
  const read = names.map((name) => readNutcracker(document, name))
  const faults = read.flatMap((one) => (one.ok ? [] : one.faults))
  if (faults.length > 0) return { ok: false, faults }
  return { ok: true, pools: read.flatMap((one) => (one.ok ? [one.pool] : [])) }
}

/** Whether a file is ours, which has one pool, and not twemproxy's. */
export function isOwnTopology(document: unknown): boolean {
  return isMap(document) && (Object.hasOwn(document, 'shards') || Object.keys(document).length === 0)
}

const refused = (text: string): FilePools => ({ ok: false, faults: [{ path: [], text }] })
