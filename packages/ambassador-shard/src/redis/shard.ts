import type { Protocol } from '@outrider/resp'
import { HotKeys } from './hot-keys.ts'
import { RoleWatch } from './role.ts'
import type { Owner, ShardConnection } from './shard-connection.ts'
import { type ShardAddress, Upstream, type UpstreamCounts, type UpstreamLimits } from './upstream.ts'

/** Which servers of a shard answer commands that only read: the others, as long as one can; or all. */
export type Reads = 'primary' | 'replicas' | 'any'

export interface ShardOptions {
  /** What is hashed, and what errors name. */
  readonly name: string
  readonly address: ShardAddress
  /** Servers that follow the first one. Which of them all is the primary they say themselves. */
  readonly replicas?: readonly ShardAddress[]
  /** `primary` where it is left out. What replicas say may be older than what was written before. */
  readonly reads?: Reads
  /** How often servers are asked what they are. */
  readonly roleEveryMs?: number
  readonly connectTimeoutMs: number
  readonly timeoutMs: number
  readonly failureLimit?: number
  readonly backoffMs: number
  readonly backoffMostMs: number
  readonly countErrors?: boolean
  /** Called when its primary goes down, is back, or is another one. */
  onState(shard: Shard, up: boolean, reason: string): void
}

const ROLE_EVERY_MS = 1_000

/** A part of the keys: the server that has them, and those that follow it. */
export class Shard {
  readonly name: string
  /** As they were given. */
  readonly servers: readonly Upstream[]
  /** Who gets writes. */
  primary: Upstream
  /** Who may be asked for reads in place of the primary; empty where that is asked itself. */
  readers: readonly Upstream[] = []
  /** Whether its keys are placed among the other shards. */
  ejected = false
  ejections = 0
  /** Unix time, milliseconds. */
  ejectedAt = 0
  readonly hot = new HotKeys()
  readonly #reads: Reads
  readonly #onState: ShardOptions['onState']
  readonly #roles: RoleWatch | undefined

  constructor(options: ShardOptions) {
    const { name, address, replicas = [], reads = 'primary' } = options
    this.name = name
    this.#reads = reads
    this.#onState = options.onState
    const limits: UpstreamLimits = {
      ...{ connectTimeoutMs: options.connectTimeoutMs, timeoutMs: options.timeoutMs },
      ...{ backoffMs: options.backoffMs, backoffMostMs: options.backoffMostMs },
      failureLimit: options.failureLimit ?? 2,
      countErrors: options.countErrors ?? false,
    }
    const upstreamAt = (at: ShardAddress) => new Upstream(name, at, limits, (one) => this.#onServer(one))
    this.primary = upstreamAt(address)
    this.servers = [this.primary, ...replicas.map(upstreamAt)]
    this.#roles =
      replicas.length === 0
        ? undefined
        : new RoleWatch(this.servers, options.roleEveryMs ?? ROLE_EVERY_MS, () => this.#onRoles())
  }

  eject(isEjected: boolean): void {
    if (isEjected === this.ejected) return
    this.ejected = isEjected
    if (isEjected) this.ejections += 1
    this.ejectedAt = isEjected ? Date.now() : 0
  }

  get up(): boolean {
    return this.primary.up
  }

  /** Why its primary is down. */
  get reason(): string {
    return this.primary.reason
  }

  get counts(): UpstreamCounts {
    return this.primary.counts
  }

  get inFlight(): number {
    return this.servers.reduce((sum, { inFlight }) => sum + inFlight, 0)
  }

  /** What is said to a client whose command was not, or not wholly, answered. */
  fault(reason: string): string {
    return this.primary.fault(reason)
  }

  /** @param client number of the client, which keeps to one server, so that it never reads what is older again */
  reader(client: number): Upstream {
    const { readers } = this
    return readers[client % readers.length] ?? this.primary
  }

  /** What a server says that it is; what the topology says of it as long as it was not asked. */
  roleOf(server: Upstream): 'primary' | 'replica' {
    return server === this.primary ? 'primary' : 'replica'
  }

  /** Why a server that is up gets no reads; '' where it may. */
  unreadable(server: Upstream): string {
    return this.#roles?.unreadable(server, this.primary) ?? ''
  }

  /** One for a single client, who gives it back or destroys it. */
  own(protocol: Protocol, owner: Owner): ShardConnection {
    return this.primary.own(protocol, owner)
  }

  /** Takes back a connection on which nothing is awaited, and whose state is that of a new one. */
  giveBack(connection: ShardConnection): void {
    for (const server of this.servers) if (server.giveBack(connection)) return
  }

  warm(): void {
    for (const server of this.servers) server.warm()
  }

  /** Gives up what is overdue. */
  tick(now: number): void {
    for (const server of this.servers) server.tick(now)
    this.#roles?.tick(now)
    this.hot.tick(now)
  }

  retire(): void {
    for (const server of this.servers) server.retire()
  }

  /** Cuts off all connections. */
  close(reason: string): void {
    for (const server of this.servers) server.close(reason)
  }

  #onServer(server: Upstream): void {
    this.#spread()
    if (server === this.primary) this.#onState(this, server.up, server.reason)
    // Whoever follows it may have taken its place already.
    if (!server.up) this.#roles?.hurry()
  }

  #onRoles(): void {
    const primary = this.#roles?.primary(this.primary)
    const before = this.primary
    if (primary !== undefined) this.primary = primary
    this.#spread()
    if (this.primary !== before) this.#onState(this, this.primary.up, this.primary.reason)
  }

  #spread(): void {
    if (this.#reads === 'primary') return
    const replicas = this.servers.filter(
      (server) => server !== this.primary && server.up && this.unreadable(server) === '',
    )
    this.readers = this.#reads === 'any' && this.primary.up ? [this.primary, ...replicas] : replicas
  }
}
