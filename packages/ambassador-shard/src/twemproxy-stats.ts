import { createServer, type Socket } from 'node:net'
import { twemproxyOrder } from '@outrider/hash-ring'
import { type ListenAddress, listen } from '@outrider/listen'
import type { ShardStatus, Status } from './status.ts'

export interface StatsMeta {
  /** The machine's name. */
  readonly source: string
  readonly version: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly now: number
  /** Connections since the start; without, those of the pools and servers that are still there. */
  readonly totalConnections?: number
}

/**
 * What twemproxy 0.5 writes to who connects to its port of statistics (`nc_stats.c`), to the byte: names, their order,
 * white space, the line's end. Replicas count with their shard, as twemproxy has none, and spare shards are a pool
 * `<pool>-gutter`.
 */
export function twemproxyStats(pools: readonly Status[], meta: StatsMeta): string {
  const now = seconds(meta.now)
  const servers = pools.flatMap(({ shards, gutter }) =>
    [...shards, ...gutter].flatMap((shard) => shard.servers),
  )
  // twemproxy counts the sockets on which it listens, too.
  const total = pools.length + sum(pools, (one) => one.clientsTotal) + sum(servers, (one) => one.connects)
  const head = {
    ...{ service: 'nutcracker', source: meta.source, version: meta.version },
    ...{ uptime: now - seconds(meta.startedAt), timestamp: now },
    total_connections: meta.totalConnections ?? total,
    curr_connections:
      pools.length + sum(pools, (one) => one.clients) + sum(servers, (one) => one.connections),
  }
  return `${object(head, pools.flatMap(poolObjects))}\n`
}

const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000)

/** Something that twemproxy lists by its name. */
interface Named {
  readonly name: string
  readonly text: string
}

function poolObjects(status: Status): Named[] {
  const { pool, clients, clientsTotal, clientErrors, forwardErrors, fragments, shards, gutter } = status
  const own = poolObject(pool, shards, {
    // Who is gone and made no error left by himself.
    client_eof: clientsTotal - clients - clientErrors,
    client_err: clientErrors,
    client_connections: clients,
    server_ejects: sum(shards, (one) => one.ejections),
    forward_error: forwardErrors,
    fragments,
  })
  return gutter.length === 0 ? [own] : [own, poolObject(`${pool}-gutter`, gutter, NO_CLIENTS)]
}

const NO_CLIENTS = {
  ...{ client_eof: 0, client_err: 0, client_connections: 0 },
  ...{ server_ejects: 0, forward_error: 0, fragments: 0 },
}

function poolObject(name: string, shards: readonly ShardStatus[], values: typeof NO_CLIENTS): Named {
  return { name, text: object(values, shards.map(serverObject)) }
}

function serverObject({ name, servers, inFlight, ejectedAt }: ShardStatus): Named {
  const values = {
    server_eof: sum(servers, (one) => one.eofs),
    server_err: sum(servers, (one) => Math.max(0, one.failures - one.eofs)),
    server_timedout: sum(servers, (one) => one.timeouts),
    server_connections: sum(servers, (one) => one.connections),
    // Microseconds.
    server_ejected_at: ejectedAt * 1000,
    requests: sum(servers, (one) => one.requests),
    request_bytes: sum(servers, (one) => one.requestBytes),
    responses: sum(servers, (one) => one.replies),
    response_bytes: sum(servers, (one) => one.replyBytes),
    // Commands are sent on as they come, and wait for nothing but their replies.
    in_queue: 0,
    in_queue_bytes: sum(servers, (one) => one.waitingBytes),
    out_queue: inFlight,
    out_queue_bytes: 0,
  }
  return { name, text: object(values, []) }
}

const sum = <T>(list: readonly T[], of: (one: T) => number): number =>
  list.reduce((total, one) => total + of(one), 0)

function object(values: Readonly<Record<string, string | number>>, objects: readonly Named[]): string {
  const fields = Object.entries(values).map(([name, value]) => `"${name}":${JSON.stringify(value)}`)
  // By the length of the names first, as twemproxy sorts pools as well as servers.
  const sorted = twemproxyOrder(objects).flatMap((index) => objects[index] ?? [])
  const nested = sorted.map(({ name, text }) => `${JSON.stringify(name)}: ${text}`)
  return `{${[...fields, ...(nested.length > 0 ? [nested.join(',')] : [])].join(', ')}}`
}

export interface StatsServerOptions {
  readonly listen: ListenAddress
  /** Asked for each connection. */
  readonly stats: () => string
  /** How long a connection may stay when it neither takes what is written nor closes; 5 s without. */
  readonly idleMs?: number
}

export interface StatsServer extends AsyncDisposable {
  /** Where it listens, the port filled in. */
  readonly address: ListenAddress
}

/** At the same time. Then the oldest one goes: it has been written to, and whoever comes now has not. */
const CONNECTIONS_MOST = 64

/** Writes the statistics to whoever connects, and closes. Rejects with the system's error when it cannot listen. */
export async function startStatsServer(options: StatsServerOptions): Promise<StatsServer> {
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => open.delete(socket))
    const [oldest] = open
    if (open.size > CONNECTIONS_MOST) oldest?.destroy()
    // What is not read when the connection is closed resets it, and takes with it what was written.
    socket.resume()
    socket.setTimeout(options.idleMs ?? 5_000, () => socket.destroy())
    socket.end(options.stats())
  })
  const address = await listen(server, options.listen)
  // A failure to accept one connection (EMFILE) must not end the process.
  server.on('error', () => undefined)
  return {
    address,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}
