import type { Common, Subject } from './subject.ts'

/** A server that holds a part of the keys. */
export interface RedisServer {
  /** What is hashed for its place on the ring. */
  readonly name: string
  /** On loopback. */
  readonly port: number
}

/** As twemproxy and the ambassador have it in their settings. */
export const serverLine = ({ name, port }: RedisServer): string => `127.0.0.1:${port}:1 ${name}`

/** What a proxy to sharded Redis is asked to do. */
export interface ShardSetting extends Common {
  /** On loopback, equal in weight; keys go to them by ketama over fnv1a_64. */
  readonly servers: readonly RedisServer[]
}

/** A proxy to sharded Redis, or what clients would speak to without one. */
export interface ShardSubject extends Subject<ShardSetting> {
  /** Whether it holds all keys itself, beside the clients. */
  readonly isDirect?: boolean
}
