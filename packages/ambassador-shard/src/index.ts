export type { Fault } from './document.ts'
export { explainText } from './explain-text.ts'
export { type NutcrackerPool, readNutcracker } from './nutcracker.ts'
export { type FilePool, type FilePools, isNutcracker, isOwnTopology, readPools } from './plan.ts'
export { type PoolDescription, ringFault, ringOf } from './pool.ts'
export { Pools } from './pools.ts'
export { type ShardAddressOptions, type ShardTls, shardAddress } from './redis/address.ts'
export { CLIENT_LIMITS, type ClientLimits } from './redis/client-connection.ts'
export { commandTableMarkdown } from './redis/command-markdown.ts'
export type { Users } from './redis/local.ts'
export { type RedisProxy, type RedisProxyOptions, startRedisProxy } from './redis/proxy.ts'
export { type Reads, Shard, type ShardOptions } from './redis/shard.ts'
export { Topology, type TopologyOptions } from './redis/topology.ts'
export type { ShardAddress } from './redis/upstream.ts'
export { type PoolPlan, type ServedPool, type ServePoolOptions, servePool } from './serve-pool.ts'
export type { FailurePolicy, ShardSettings } from './shard-set.ts'
export type { HotKey, ServerStatus, ShardState, ShardStatus, Status } from './status.ts'
export { statusSections } from './status-sections.ts'
export { type Change, changeText, describeChange, isNoChange } from './topology-diff.ts'
export { readTopology, serverList } from './topology-file.ts'
export {
  type StatsMeta,
  type StatsServer,
  type StatsServerOptions,
  startStatsServer,
  twemproxyStats,
} from './twemproxy-stats.ts'
export { type Passwords, readUsers, usersOf } from './users.ts'
