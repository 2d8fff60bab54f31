import type { ListenAddress } from '@outrider/listen'
import { type PoolDescription, targetText } from './pool.ts'
import type { ClientLimits } from './redis/client-connection.ts'
import type { Users } from './redis/local.ts'
import { startRedisProxy } from './redis/proxy.ts'
import type { Shard } from './redis/shard.ts'
import type { Topology } from './redis/topology.ts'
import type { Upstream } from './redis/upstream.ts'
import { ShardSet, type ShardSettings } from './shard-set.ts'
import type { ServerStatus, ShardState, ShardStatus, Status } from './status.ts'

/** Shards and how they are reached: what may change while clients are served. */
export interface PoolPlan {
  readonly pool: PoolDescription
  readonly settings: ShardSettings
  /** Where it is from, for people. */
  readonly source: string
  /** Who is let in; those who are in stay. Everybody without. */
  readonly users?: Users
  /** A shard goes down, or is back. */
  readonly onShard?: (shard: string, up: boolean, reason: string) => void
  /** A client is gone; an error when it did not leave by itself. */
  readonly onClientClose?: (address: string, reason: string, isError: boolean) => void
}

export interface ServePoolOptions extends PoolPlan {
  readonly listen: ListenAddress
  readonly limits?: Partial<ClientLimits>
  /** Clients at the same time. */
  readonly clients?: number
  /** For so long GET of a hot key may be answered without asking its shard; never without. */
  readonly hotCacheMs?: number
  /** Hot keys of each shard that are told. */
  readonly hotKeys?: number
}

/** One pool of shards behind one address. */
export interface ServedPool extends AsyncDisposable {
  readonly address: ListenAddress
  /** Places keys by another plan from now on; shards that both have in common keep their connections. */
  use(plan: PoolPlan): void
  status(): Status
  /** Accepts nobody and nothing more; resolves when all that was asked is answered. */
  drain(): Promise<void>
}

/** Rejects with the system's error when it cannot listen. */
export async function servePool(options: ServePoolOptions): Promise<ServedPool> {
  let plan: PoolPlan = options
  let settle = (): void => undefined
  const shards = new ShardSet((shard, up, reason) => {
    // Later, as this is told in the middle of what ends a connection, and those that wait for it go on.
    setImmediate(() => settle())
    plan.onShard?.(shard.name, up, reason)
  })
  const { listen, limits, clients } = options
  const users: Users = {
    get required() {
      return plan.users?.required ?? false
    },
    check: (user, password) => plan.users?.check(user, password) ?? true,
  }
  const proxy = await startRedisProxy({
    listen,
    topology: shards.build(plan.pool, plan.settings),
    users,
    ...(limits !== undefined && { limits }),
    ...(clients !== undefined && { clients }),
    ...(options.hotCacheMs !== undefined && { hotCacheMs: options.hotCacheMs }),
    onClientClose: (client, reason, isError) => plan.onClientClose?.(client, reason, isError),
  })
  settle = () => proxy.settle()
  const most = options.hotKeys ?? HOT_KEYS
  return {
    address: proxy.address,
    use(next) {
      plan = next
      proxy.useTopology(shards.build(next.pool, next.settings))
    },
    status(): Status {
      const { topology } = proxy
      const { pool, settings, source } = plan
      const { gutter } = topology
      return {
        ...{ pool: pool.name, distribution: pool.distribution, tag: pool.tag, source },
        listen: targetText(proxy.address),
        hash: topology.ring.placement.hashName,
        failurePolicy: settings.onFailure,
        ...{ clients: proxy.clients, clientsTotal: proxy.clientsTotal, clientErrors: proxy.clientErrors },
        ...{ commands: proxy.commands, fragments: proxy.fragments, forwardErrors: proxy.forwardErrors },
        cacheHits: proxy.cacheHits,
        shards: statusesOf(topology, most),
        gutter: gutter === undefined ? [] : statusesOf(gutter, most),
      }
    },
    drain: () => proxy.drain(),
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  }
}

const HOT_KEYS = 10

function statusesOf(topology: Topology, most: number): ShardStatus[] {
  const { servers, placement } = topology.ring
  const now = performance.now()
  return topology.shards.map((shard, index): ShardStatus => {
    const all = shard.servers
    const [p50Ms = 0, p99Ms = 0] = shard.primary.latency.quantiles([0.5, 0.99], now)
    return {
      ...{ name: shard.name, state: stateOf(shard, topology), reason: shard.reason },
      ...{ ejections: shard.ejections, ejectedAt: shard.ejectedAt },
      ...{ weight: servers[index]?.weight ?? 1, share: placement.shares[index] ?? 0 },
      requests: all.reduce((sum, { counts }) => sum + counts.requests, 0),
      inFlight: shard.inFlight,
      latency: { p50Ms, p99Ms },
      servers: [shard.primary, ...all.filter((server) => server !== shard.primary)].map((server) =>
        serverStatus(shard, server),
      ),
      hot: most === 0 ? [] : shard.hot.top(most, now),
    }
  })
}

function stateOf(shard: Shard, { gutter }: Topology): ShardState {
  if (shard.ejected) return 'ejected'
  if (shard.up) return 'up'
  return gutter === undefined ? 'down' : 'gutter'
}

function serverStatus(shard: Shard, server: Upstream): ServerStatus {
  return {
    ...{ address: server.address.text, role: shard.roleOf(server), up: server.up },
    reason: server.up ? shard.unreadable(server) : server.reason,
    ...{ connections: server.connections, inFlight: server.inFlight },
    ...{ waitingBytes: server.waitingBytes, ...server.counts },
  }
}
