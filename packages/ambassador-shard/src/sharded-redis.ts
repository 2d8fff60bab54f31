import { isIP } from 'node:net'
import type { Ring } from '@outrider/hash-ring'
import {
  type CommonRedisOptions,
  Redis,
  type RedisKey,
  type RedisValue,
  type StandaloneConnectionOptions,
} from 'ioredis'
import { show } from './document.ts'
import type { NutcrackerPool } from './nutcracker.ts'
import { type PoolDescription, type Rules, ringOf, type ShardDescription, targetText } from './pool.ts'
import { serverList } from './topology-file.ts'

/** As `readTopology` and `readNutcracker` give it. Its spare shards are never asked. */
export type ShardPool = PoolDescription & Partial<Pick<NutcrackerPool, 'auth' | 'db'>>

/** Lines as `serverList` reads them, or a pool. */
export type ShardServers = readonly string[] | ShardPool

/** Those of ioredis, but for the ones that say where a server is, and for a shape of replies that has types of its own. */
export type ShardClientOptions = Omit<CommonRedisOptions, 'Connector' | 'replyMapping'> &
  Pick<StandaloneConnectionOptions, 'disconnectTimeout' | 'family' | 'tls'>

export interface ShardedRedisOptions {
  readonly servers: ShardServers
  /** How keys are placed where `servers` are lines, as a pool says it itself; without, as twemproxy does by default. */
  readonly placement?: Partial<Rules>
  /** Of each client. The password and database win over those of the pool, its user names win over theirs. */
  readonly options?: ShardClientOptions
  /** How long commands may take that a shard has in hand when it leaves, or when all is quit; 10 s without. */
  readonly drainMs?: number
  /** Connections that broke or were refused. Without it ioredis prints them, unless the client has a listener. */
  readonly onError?: (shard: string, error: Error) => void
}

export type Key = RedisKey
export type Keys = readonly (Key | readonly Key[])[]

/** Clients of all shards. Connections are opened by the first command. */
export interface ShardedRedis extends AsyncDisposable {
  /**
   * The client of the shard that has a key; ask anew for each command, as `use` may place the key elsewhere.
   * @throws Error when further keys of the command live on other shards
   */
  for(key: Key, ...others: Key[]): Redis
  /** The shard that has a key. */
  shardOf(key: Key): ShardDescription
  /** By the names of the shards. */
  readonly clients: ReadonlyMap<string, Redis>
  // Each rejects with a ShardsFailed when a shard has not done its part; without keys nobody is asked.
  /** Values in the order of the keys. */
  mget(...keys: Keys): Promise<(string | null)[]>
  mgetBuffer(...keys: Keys): Promise<(Buffer | null)[]>
  /** Not all at once: each shard sets its own. */
  mset(entries: Readonly<Record<string, RedisValue>> | Iterable<readonly [Key, RedisValue]>): Promise<'OK'>
  del(...keys: Keys): Promise<number>
  unlink(...keys: Keys): Promise<number>
  exists(...keys: Keys): Promise<number>
  touch(...keys: Keys): Promise<number>
  /**
   * Places the keys of all later commands elsewhere. Shards that stay keep their clients, those that leave answer what
   * they have in hand.
   * @throws Error that says what is wrong, and nothing has changed
   */
  use(servers: ShardServers): void
  /** Rejects what is not answered. */
  disconnect(): void
  /** Resolves when all that was asked is answered and all connections are closed. */
  quit(): Promise<void>
}

/** Some shards have not done their part of a command, the others have. */
export class ShardsFailed extends Error {
  override readonly name = 'ShardsFailed'
  readonly failures: readonly { readonly shard: ShardDescription; readonly error: Error }[]

  constructor(command: string, failures: ShardsFailed['failures'], shards: number) {
    const each = failures.map(
      ({ shard, error }) => `shard ${shard.name} (${targetText(shard.target)}): ${error.message}`,
    )
    const done = shards > failures.length ? '; the other shards have done their part' : ''
    super(`${command}: ${each.join('; ')}${done}`, { cause: failures[0]?.error })
    this.failures = failures
  }
}

/** @throws Error that says all that is wrong with the servers */
export function createShardedRedis(options: ShardedRedisOptions): ShardedRedis {
  return new ShardClients(options)
}

interface Member {
  readonly shard: ShardDescription
  readonly client: Redis
  /** What a client is made from: one that has the same can stay. */
  readonly identity: string
}

/** What one shard said of its keys, which stand at these positions. */
interface Part<T> {
  readonly positions: readonly number[]
  readonly result: T
}

class ShardClients implements ShardedRedis {
  clients: ReadonlyMap<string, Redis> = new Map()
  readonly #options: ShardedRedisOptions
  readonly #prefix: Buffer
  #ring: Ring
  /** By the index that the ring gives. */
  #members: readonly Member[] = []
  readonly #leaving = new Map<Redis, Promise<void>>()
  #closed = false

  constructor(options: ShardedRedisOptions) {
    this.#options = options
    this.#prefix = Buffer.from(options.options?.keyPrefix ?? '')
    this.#ring = this.#place(options.servers)
  }

  for(key: Key, ...others: Key[]): Redis {
    const { shard, client } = this.#memberOf(key)
    for (const other of others) {
      const { name } = this.shardOf(other)
      if (name === shard.name) continue
      const keys = `${show(String(key))} and ${show(String(other))}`
      throw new Error(`keys ${keys} live on ${shard.name} and ${name}: give them a common hash tag`)
    }
    return client
  }

  shardOf(key: Key): ShardDescription {
    return this.#memberOf(key).shard
  }

  mget(...keys: Keys): Promise<(string | null)[]> {
    return this.#values(keys.flat(), (client, own) => client.mget(own))
  }

  mgetBuffer(...keys: Keys): Promise<(Buffer | null)[]> {
    return this.#values(keys.flat(), (client, own) => client.mgetBuffer(own))
  }

  async mset(
    entries: Readonly<Record<string, RedisValue>> | Iterable<readonly [Key, RedisValue]>,
  ): Promise<'OK'> {
    const pairs = Symbol.iterator in entries ? [...entries] : Object.entries(entries)
    const keys = pairs.map(([key]) => key)
    await this.#split('MSET', keys, (client, _, positions) =>
      client.mset(...positions.flatMap((at) => pairs[at] ?? [])),
    )
    return 'OK'
  }

  del(...keys: Keys): Promise<number> {
    return this.#sum('DEL', keys.flat(), (client, own) => client.del(own))
  }

  unlink(...keys: Keys): Promise<number> {
    return this.#sum('UNLINK', keys.flat(), (client, own) => client.unlink(own))
  }

  exists(...keys: Keys): Promise<number> {
    return this.#sum('EXISTS', keys.flat(), (client, own) => client.exists(own))
  }

  touch(...keys: Keys): Promise<number> {
    return this.#sum('TOUCH', keys.flat(), (client, own) => client.touch(own))
  }

  use(servers: ShardServers): void {
    if (this.#closed) throw new Error('the clients are closed: create others')
    this.#ring = this.#place(servers)
  }

  disconnect(): void {
    this.#closed = true
    for (const { client } of this.#members) end(client)
    for (const client of this.#leaving.keys()) end(client)
  }

  async quit(): Promise<void> {
    this.#closed = true
    for (const { client } of this.#members) this.#leave(client)
    await Promise.all(this.#leaving.values())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.quit()
  }

  #memberOf(key: Key): Member {
    const placed = this.#prefix.length === 0 ? key : Buffer.concat([this.#prefix, Buffer.from(key)])
    const member = this.#members[this.#ring.indexOfKey(placed)]
    if (member === undefined) throw new RangeError('the ring has other shards')
    return member
  }

  async #values<T>(
    keys: readonly Key[],
    ask: (client: Redis, own: Key[]) => Promise<(T | null)[]>,
  ): Promise<(T | null)[]> {
    const values = new Array<T | null>(keys.length).fill(null)
    for (const { positions, result } of await this.#split('MGET', keys, ask)) {
      for (const [at, position] of positions.entries()) values[position] = result[at] ?? null
    }
    return values
  }

  async #sum(
    command: string,
    keys: readonly Key[],
    ask: (client: Redis, own: Key[]) => Promise<number>,
  ): Promise<number> {
    const counts = await this.#split(command, keys, ask)
    // With `stringNumbers` they are text.
    return counts.reduce((sum, { result }) => sum + Number(result), 0)
  }

  /** One command for each shard, all at once. Waits for every one, so that an error leaves nothing under way. */
  async #split<T>(
    command: string,
    keys: readonly Key[],
    ask: (client: Redis, own: Key[], positions: readonly number[]) => Promise<T>,
  ): Promise<Part<T>[]> {
    const groups = Map.groupBy(keys.keys(), (at) => this.#memberOf(keys[at] ?? ''))
    const parts: Part<T>[] = []
    const failures: { shard: ShardDescription; error: Error }[] = []
    await Promise.all(
      [...groups].map(async ([{ shard, client }, positions]) => {
        try {
          const own = positions.map((at) => keys[at] ?? '')
          parts.push({ positions, result: await ask(client, own, positions) })
        } catch (error) {
          failures.push({ shard, error: error instanceof Error ? error : new Error(String(error)) })
        }
      }),
    )
    if (failures.length > 0) throw new ShardsFailed(command, failures, groups.size)
    return parts
  }

  #place(servers: ShardServers): Ring {
    const pool = poolOf(servers, this.#options.placement)
    const ring = ringOf(pool)
    const unused = new Map(this.#members.map((member) => [member.identity, member]))
    this.#members = pool.shards.map((shard) => {
      const options = clientOptions(shard, pool, this.#options.options)
      const { username, password, db } = options
      const identity = JSON.stringify([shard.name, targetText(shard.target), username, password, db])
      const client = unused.get(identity)?.client ?? this.#open(shard.name, options)
      unused.delete(identity)
      return { shard, client, identity }
    })
    this.clients = new Map(this.#members.map(({ shard, client }) => [shard.name, client]))
    for (const { client } of unused.values()) this.#leave(client)
    return ring
  }

  #open(shard: string, options: ClientOptions): Redis {
    const { onError } = this.#options
    const client = new Redis(options)
    if (onError !== undefined) client.on('error', (error: Error) => onError(shard, error))
    return client
  }

  #leave(client: Redis): void {
    if (this.#leaving.has(client)) return
    const left = leave(client, this.#options.drainMs ?? 10_000).then(() => void this.#leaving.delete(client))
    this.#leaving.set(client, left)
  }
}

const TWEMPROXY: Rules = { distribution: 'ketama', hash: undefined, tag: undefined, charSign: 'signed' }

function poolOf(servers: ShardServers, placement?: Partial<Rules>): ShardPool {
  if (!isList(servers)) return servers
  const list = serverList(servers)
  if (!list.ok) throw new Error(list.faults.map(({ text }) => text).join('\n'))
  return { name: 'redis', ...TWEMPROXY, ...placement, shards: list.shards, gutter: [] }
}

// Array.isArray does not tell a readonly one.
const isList = (servers: ShardServers): servers is readonly string[] => Array.isArray(servers)

type ClientOptions = ShardClientOptions & StandaloneConnectionOptions

function clientOptions(
  { target, username }: ShardDescription,
  { auth, db }: ShardPool,
  { tls, ...options }: ShardClientOptions = {},
): ClientOptions {
  return {
    lazyConnect: true,
    ...(auth !== undefined && { password: auth }),
    ...(db !== undefined && { db }),
    ...options,
    ...(username !== undefined && { username }),
    ...target,
    // Each has a name of its own, which Node would not send. A socket of this machine has no TLS, as in the ambassador.
    ...(tls !== undefined &&
      'host' in target && { tls: isIP(target.host) > 0 ? tls : { servername: target.host, ...tls } }),
  }
}

/** Closes a client when it has answered, or when its time is over. */
async function leave(client: Redis, drainMs: number): Promise<void> {
  const timer = setTimeout(() => end(client), drainMs)
  // One that has never been asked would connect to say it.
  if (client.status !== 'wait') await client.quit().catch(() => undefined)
  clearTimeout(timer)
  end(client)
}

function end(client: Redis): void {
  client.disconnect()
  if (client.status !== 'reconnecting') return
  // Between two attempts ioredis 6.0.0 only stops the next one, and its commands would be awaited for ever. An attempt
  // that is given up rejects them.
  client.connect().catch(() => undefined)
  client.disconnect()
}
