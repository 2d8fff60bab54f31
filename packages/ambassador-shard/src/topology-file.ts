import { type CharSign, DISTRIBUTIONS, isDistribution, isKeyHashName, KEY_HASHES } from '@outrider/hash-ring'
import { parseAddress, parseServer, pathFault, weightFault } from './address-text.ts'
import { type Fault, isMap, numberOf, Section, show } from './document.ts'
import { Names, type Result, type Rules, ringFault, type ShardDescription, type Target } from './pool.ts'

const KEYS = ['shards', 'gutter', 'distribution', 'hash', 'hash-tag', 'char-sign']
const SHARD_KEYS = ['name', 'address', 'path', 'weight', 'username', 'replicas']
// Slots are the business of the cluster, which no file can follow.
const PLACEMENTS = DISTRIBUTIONS.filter((name) => name !== 'redis-cluster')

const isCharSign = (name: string): name is CharSign => name === 'signed' || name === 'unsigned'

/**
 * Reads a topology of our own: `shards`, a list of `name`, `address` or `path`, and `weight`, `username` and `replicas`
 * where wanted; beside it a list of the same kind as `gutter`, `distribution` (`ketama` without), `hash`, `hash-tag` and `char-sign`. The pool is called
 * `redis`. Numbers may be text, as YAML's failsafe schema gives them.
 */
export function readTopology(document: unknown): Result {
  if (!isMap(document)) {
    const text = `the file is ${show(document)}: must be a map with a list of shards`
    return { ok: false, faults: [{ path: [], text }] }
  }
  const faults: Fault[] = []
  const section = new Section(document, [], faults, KEYS)
  const rules = readRules(section)
  const names = new Names('shard')
  const shards = readShards('shards', section, rules, faults, names)
  const gutter = section.has('gutter') ? readShards('gutter', section, rules, faults, names) : []
  if (faults.length > 0) return { ok: false, faults }
  for (const [key, list] of [['shards', shards] as const, ['gutter', gutter] as const]) {
    const text = list.length === 0 ? undefined : ringFault(rules, list)
    if (text !== undefined) return { ok: false, faults: [{ path: [key], text }] }
  }
  return { ok: true, pool: { name: 'redis', ...rules, shards, ...(gutter.length > 0 && { gutter }) } }
}

function readRules(section: Section): Rules {
  const distribution = section.choice('distribution', PLACEMENTS, isDistribution) ?? 'ketama'
  const hash = section.choice('hash', KEY_HASHES, isKeyHashName)
  const tag = section.text('hash-tag')
  const charSign = section.choice('char-sign', ['signed', 'unsigned'], isCharSign) ?? 'signed'
  const plain = { distribution, hash: undefined, tag: undefined, charSign } as const
  const hashFault = ringFault({ ...plain, hash }, ONE)
  if (hashFault !== undefined) section.fault('hash', `cannot be: ${hashFault}`)
  const tagFault = ringFault({ ...plain, tag }, ONE)
  if (tagFault !== undefined) section.fault('hash-tag', `cannot be: ${tagFault}`)
  return { distribution, hash, tag, charSign }
}

const ONE = [{ name: 'one' }]

function readShards(
  key: 'shards' | 'gutter',
  section: Section,
  rules: Rules,
  faults: Fault[],
  names: Names,
): ShardDescription[] {
  const shards: ShardDescription[] = []
  const list = section.list(key, 'maps with a name and an address or path')
  for (const [index, entries] of list.entries()) {
    const path = [key, index]
    if (!isMap(entries)) {
      section.faultAt(
        path,
        `shard ${index + 1} is ${show(entries)}: must be a map with a name and an address or path`,
      )
      continue
    }
    const shard = readShard(new Section(entries, path, faults, SHARD_KEYS), index, rules, names)
    if (shard !== undefined) shards.push(shard)
  }
  return shards
}

function readShard(
  section: Section,
  index: number,
  { distribution }: Rules,
  names: Names,
): ShardDescription | undefined {
  const name = section.text('name')
  if (!section.has('name')) {
    section.faultAt(
      [],
      `shard ${index + 1} has no name: give it a stable one, as it decides which keys it has`,
    )
  }
  const twice = names.fault(name ?? `\0${index}`)
  if (twice !== undefined) section.fault('name', twice)
  const target = readTarget(section, index)
  const weight = section.has('weight') ? numberOf(section.get('weight')) : 1
  const bad = weightFault(weight, distribution === 'rendezvous')
  if (bad !== undefined) section.fault('weight', `${show(section.get('weight'))}: shard ${index + 1} ${bad}`)
  const username = section.text('username')
  const replicas = readReplicas(section)
  if (name === undefined || target === undefined) return undefined
  return { name, target, weight, ...(username !== undefined && { username }), replicas }
}

function readTarget(section: Section, index: number): Target | undefined {
  if (section.has('address') === section.has('path')) {
    const has = section.has('address') ? 'both an address and a path' : 'neither an address nor a path'
    section.faultAt([], `shard ${index + 1} has ${has}: must have one of them`)
    return undefined
  }
  if (section.has('address')) {
    const { value, fault } = parseAddress(section.get('address'))
    if (fault !== undefined) section.fault('address', `${show(section.get('address'))} ${fault}`)
    return value
  }
  const path = section.text('path')
  const fault = path === undefined ? undefined : pathFault(path)
  if (fault !== undefined) section.fault('path', `${show(path)} ${fault}`)
  return path === undefined ? undefined : { path }
}

function readReplicas(section: Section): Target[] {
  const replicas: Target[] = []
  if (!section.has('replicas')) return replicas
  const list = section.get('replicas')
  if (!Array.isArray(list)) {
    section.fault('replicas', `is ${show(list)}: must be a list of host:port`)
    return replicas
  }
  for (const [at, text] of list.entries()) {
    const { value, fault } = parseAddress(text)
    if (fault !== undefined) section.faultAt(['replicas', at], `replica ${show(text)} ${fault}`)
    else replicas.push(value)
  }
  return replicas
}

export type ServerList =
  | { readonly ok: true; readonly shards: readonly ShardDescription[] }
  | { readonly ok: false; readonly faults: readonly Fault[] }

/**
 * Reads `host:port[:weight] [name]` and `/path[:weight] [name]`, named as twemproxy names them. IPv6 stands in brackets.
 * Faults have the index as their path.
 */
export function serverList(texts: readonly string[]): ServerList {
  const names = new Names('server')
  const shards: ShardDescription[] = []
  const faults: Fault[] = []
  if (texts.length === 0)
    faults.push({ path: [], text: 'no server: must be one at least, such as redis-1:6379' })
  for (const [index, text] of texts.entries()) {
    const { value, fault } = parseServer(text)
    const wrong = fault ?? names.fault(value.name)
    if (wrong !== undefined) faults.push({ path: [index], text: `server ${show(text)} ${wrong}` })
    if (value !== undefined) shards.push(value)
  }
  return faults.length > 0 ? { ok: false, faults } : { ok: true, shards }
}
