import { isDistribution, isKeyHashName, KEY_HASHES } from '@outrider/hash-ring'
import { parseTwemproxyLine, pathFault, targetFault } from './address-text.ts'
import { type Fault, isMap, Section, show, textFault } from './document.ts'
import { Names, type PoolDescription, type Result, ringFault, type ShardDescription } from './pool.ts'

/** A pool of twemproxy's file, its defaults filled in. */
export interface NutcrackerPool extends PoolDescription {
  /** `mode` is the socket's permissions. */
  readonly listen:
    | { readonly host: string; readonly port: number }
    | { readonly path: string; readonly mode?: number }
  /** Of requests and connecting; undefined where they may take for ever. */
  readonly timeoutMs: number | undefined
  readonly backlog: number
  /** 0 where any number may connect. twemproxy itself reads this and then sets no limit. */
  readonly clientConnections: number
  /** The password of clients, and of the ambassador toward shards. */
  readonly auth: string | undefined
  /** The database of the shards in which the keys are. */
  readonly db: number
  readonly preconnect: boolean
  readonly autoEject: boolean
  readonly serverConnections: number
  readonly retryTimeoutMs: number
  readonly failureLimit: number
  readonly tcpKeepalive: boolean
  readonly reusePort: boolean
}

const KEYS = [
  ...['listen', 'servers', 'hash', 'hash_tag', 'distribution', 'timeout', 'backlog', 'client_connections'],
  ...['redis', 'redis_auth', 'redis_db', 'preconnect', 'auto_eject_hosts', 'server_connections'],
  ...['server_retry_timeout', 'server_failure_limit', 'tcpkeepalive', 'reuseport'],
]
const DISTRIBUTIONS = ['ketama', 'modula', 'random']

/**
 * Reads one pool of a `nutcracker.yml` (twemproxy 0.5, `nc_conf.c`). Read the YAML with its failsafe schema, in which
 * all scalars are text, as twemproxy does: another one makes a number of the password `007`.
 * @param pool which one; only a file with one pool can do without
 */
export function readNutcracker(document: unknown, pool?: string): Result<NutcrackerPool> {
  const chosen = choose(document, pool)
  if (typeof chosen === 'string') return { ok: false, faults: [{ path: [], text: chosen }] }
  const [name, entries] = chosen
  if (!isMap(entries)) {
    const text = `pool ${show(name)} is ${show(entries)}: must be a map with listen, servers and redis: true`
    return { ok: false, faults: [{ path: [name], text }] }
  }
  const faults: Fault[] = []
  const read = readPool(name, new Section(entries, [name], faults, KEYS))
  if (faults.length > 0 || read === undefined) return { ok: false, faults }
  const fault = ringFault(read, read.shards)
  if (fault !== undefined) return { ok: false, faults: [{ path: [name, 'servers'], text: fault }] }
  return { ok: true, pool: read }
}

/** The name of the pool and what stands there, or what is wrong. */
function choose(document: unknown, pool: string | undefined): readonly [string, unknown] | string {
  if (!isMap(document)) return `the file is ${show(document)}: must be a map of pools by their names`
  const names = Object.keys(document)
  if (names.length === 0) return 'the file has no pool: must be a map of pools by their names'
  const shown = names.slice(0, 20).map(show).join(', ') + (names.length > 20 ? ', ...' : '')
  if (pool === undefined && names.length > 1)
    return `the file has ${names.length} pools: choose one of ${shown}`
  const name = pool ?? names[0] ?? ''
  if (!Object.hasOwn(document, name)) return `the file has no pool ${show(name)}: choose one of ${shown}`
  const fault = textFault(name)
  return fault === undefined
    ? [name, document[name]]
    : `the pool ${show(name)} ${fault}: give it another name`
}

function readPool(name: string, section: Section): NutcrackerPool | undefined {
  const redis = section.get('redis')
  if (!section.flag('redis') && (redis === undefined || redis === false || redis === 'false')) {
    const text = 'redis is not true, so this is a pool of memcached, which is not served yet'
    section.faultAt(section.has('redis') ? ['redis'] : [], `${text}: set it if the servers are Redis`)
  }
  const rules = {
    distribution: section.choice('distribution', DISTRIBUTIONS, isDistribution) ?? 'ketama',
    hash: section.choice('hash', KEY_HASHES, isKeyHashName) ?? 'fnv1a_64',
    tag: hashTag(section),
    charSign: 'signed',
  } as const
  const shards = readServers(section)
  const timeout = section.whole('timeout', 0, 0)
  const listen = readListen(section)
  const pool = {
    name,
    ...rules,
    shards,
    // What is not positive never times out.
    timeoutMs: timeout === 0 ? undefined : timeout,
    backlog: section.whole('backlog', 0, 512),
    clientConnections: section.whole('client_connections', 0, 0),
    auth: readAuth(section),
    db: section.whole('redis_db', 0, 0),
    preconnect: section.flag('preconnect'),
    autoEject: section.flag('auto_eject_hosts'),
    serverConnections: section.whole('server_connections', 1, 1),
    retryTimeoutMs: section.whole('server_retry_timeout', 0, 30_000),
    failureLimit: section.whole('server_failure_limit', 0, 2),
    tcpKeepalive: section.flag('tcpkeepalive'),
    reusePort: section.flag('reuseport'),
  }
  return listen === undefined ? undefined : { ...pool, listen }
}

function hashTag(section: Section): string | undefined {
  const tag = section.text('hash_tag')
  if (tag === undefined || /^[\x20-\x7e]{2}$/.test(tag)) return tag
  section.fault('hash_tag', `${show(tag)} must be two characters of ASCII, such as "{}"`)
  return undefined
}

/** Never shows the password. */
function readAuth(section: Section): string | undefined {
  const value = section.get('redis_auth')
  if (!section.has('redis_auth')) return undefined
  if (typeof value === 'string' && value !== '') return value
  const fault = value === '' || value === null ? 'is empty: leave it out' : 'is not text: put it in quotes'
  section.fault('redis_auth', fault)
  return undefined
}

function readListen(section: Section): NutcrackerPool['listen'] | undefined {
  if (!section.has('listen')) {
    section.faultAt([], 'listen is missing: must be host:port or /path [octal mode]')
    return undefined
  }
  const text = section.text('listen')
  if (text === undefined) return undefined
  const [, path, mode] = /^(\/[^ ]*)(?: ([0-7]{1,4}))?$/.exec(text) ?? []
  const [, host, port] = /^([^/].*):(\d{1,5})$/.exec(text) ?? []
  const fault =
    path !== undefined
      ? pathFault(path)
      : host === undefined
        ? 'must be host:port or /path [octal mode], such as 127.0.0.1:22121'
        : targetFault({ host, port: Number(port) })
  if (fault !== undefined) {
    section.fault('listen', `${show(text)} ${fault}`)
    return undefined
  }
  if (path === undefined) return { host: host ?? '', port: Number(port) }
  return { path, ...(mode !== undefined && { mode: Number.parseInt(mode, 8) }) }
}

function readServers(section: Section): ShardDescription[] {
  const names = new Names('server')
  const shards: ShardDescription[] = []
  const lines = section.list('servers', 'host:port:weight [name] or /path:weight [name]')
  for (const [index, line] of lines.entries()) {
    const { value: shard, fault } = parseTwemproxyLine(line)
    const wrong = fault ?? names.fault(shard.name)
    if (wrong !== undefined) section.faultAt(['servers', index], `server ${show(line)} ${wrong}`)
    if (shard !== undefined) shards.push(shard)
  }
  return shards
}
