/** What becomes of the keys of a shard: `ejected` ones are placed among the others, `gutter` ones in the spare pool. */
export type ShardState = 'up' | 'down' | 'ejected' | 'gutter'

/** One server as it is now. */
export interface ServerStatus {
  /** `host:port` or a path. */
  readonly address: string
  /** As it says itself by ROLE; what the topology says of it where it was not asked. */
  readonly role: 'primary' | 'replica'
  readonly up: boolean
  /** Why it is down, or gets no reads; '' otherwise. */
  readonly reason: string
  readonly connections: number
  /** Replies that are awaited. */
  readonly inFlight: number
  /** Counts since the start. */
  readonly requests: number
  readonly replies: number
  readonly failures: number
  /** Connections that the server has ended. */
  readonly eofs: number
  readonly timeouts: number
  readonly connects: number
  readonly requestBytes: number
  readonly replyBytes: number
  /** Bytes that wait to be sent. */
  readonly waitingBytes: number
}

/** A key that is asked for often. */
export interface HotKey {
  /** Bytes of it that cannot be shown are escaped, and a long one ends in `...`. */
  readonly key: string
  /** Estimated from a sample. */
  readonly perSecond: number
}

export interface ShardStatus {
  readonly name: string
  readonly state: ShardState
  readonly reason: string
  /** How often its keys were placed among the others, and when they were last; 0 where they are not. Unix time, ms. */
  readonly ejections: number
  readonly ejectedAt: number
  readonly weight: number
  /** Of all hashes, 0 to 1, as long as all shards are there. */
  readonly share: number
  /** Commands sent to its servers since the start. */
  readonly requests: number
  readonly inFlight: number
  /** Of the last replies, milliseconds; 0 where there were none. */
  readonly latency: { readonly p50Ms: number; readonly p99Ms: number }
  /** The primary first. */
  readonly servers: readonly ServerStatus[]
  /** The hottest first. */
  readonly hot: readonly HotKey[]
}

/** What the page, `/status` and the statistics of twemproxy are made of. It is JSON as it is. */
export interface Status {
  readonly pool: string
  readonly distribution: string
  /** Undefined where the distribution has none. */
  readonly hash: string | undefined
  readonly tag: string | undefined
  /** Where the topology is from, for people: `AMBASSADOR_SHARD_SERVERS`, or the path of a file. */
  readonly source: string
  /** Where clients find it. */
  readonly listen: string
  readonly failurePolicy: string
  readonly clients: number
  /** Clients since the start. */
  readonly clientsTotal: number
  /** Clients that were cut off for an error of theirs, or that broke off, since the start. */
  readonly clientErrors: number
  /** Commands since the start. */
  readonly commands: number
  /** Parts into which commands were split, since the start. */
  readonly fragments: number
  /** Commands that could not be sent to their shard, since the start. */
  readonly forwardErrors: number
  /** Answers to GET of hot keys for which no shard was asked, since the start. */
  readonly cacheHits: number
  readonly shards: readonly ShardStatus[]
  /** Shards of the gutter pool; empty where there is none. */
  readonly gutter: readonly ShardStatus[]
}
