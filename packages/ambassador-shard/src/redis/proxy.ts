import { createServer, type Server, type Socket } from 'node:net'
import { type ListenAddress, listen } from '@outrider/listen'
import {
  CLIENT_LIMITS,
  ClientConnection,
  type ClientHost,
  type ClientLimits,
  TOO_MANY,
} from './client-connection.ts'
import { HotCache } from './hot-cache.ts'
import type { KillFilter, Session, Users } from './local.ts'
import type { Shard } from './shard.ts'
import type { Topology } from './topology.ts'

export interface RedisProxyOptions {
  readonly listen: ListenAddress
  readonly topology: Topology
  /** Everybody is let in without. */
  readonly users?: Users
  readonly limits?: Partial<ClientLimits>
  /** Clients at the same time; more are told so and closed. */
  readonly clients?: number
  /** For so long GET of a hot key may be answered without asking its shard; never without. */
  readonly hotCacheMs?: number
  /** How long what is in flight at a shard that is no longer in use may go on. */
  readonly retireMs?: number
  /** Called for each client that is gone. */
  readonly onClientClose?: (address: string, reason: string, isError: boolean) => void
}

export interface RedisProxy extends AsyncDisposable {
  /** Where it listens, the port filled in. */
  readonly address: ListenAddress
  readonly clients: number
  /** Since the start: clients, those of them that were cut off, commands, those that were split and their parts. */
  readonly clientsTotal: number
  readonly clientErrors: number
  readonly commands: number
  readonly fragments: number
  readonly forwardErrors: number
  /** Answers to GET of hot keys that no shard was asked for. */
  readonly cacheHits: number
  readonly topology: Topology
  /** Places the keys of commands that come from now on elsewhere. Shards that are no longer in use are closed later. */
  useTopology(topology: Topology): void
  /** Places the keys anew at once when a shard has gone down or is back, where that is wanted. */
  settle(): void
  /** Accepts nobody and nothing more; resolves when all that was asked is answered. */
  drain(): Promise<void>
}

const EVERYBODY: Users = { required: false, check: () => true }
const TICK_MS = 50
/** How often clients are looked at. */
const LOOK_MS = 1_000
const RETIRE_MS = 10_000

/** Rejects with the system's error when it cannot listen. */
export async function startRedisProxy(options: RedisProxyOptions): Promise<RedisProxy> {
  const proxy = new ShardProxy(options)
  await proxy.listen()
  return proxy
}

class ShardProxy implements RedisProxy, ClientHost {
  address: ListenAddress
  readonly users: Users
  readonly limits: ClientLimits
  topology: Topology
  readonly cache: HotCache | undefined
  clientsTotal = 0
  clientErrors = 0
  commands = 0
  fragments = 0
  forwardErrors = 0
  readonly #options: RedisProxyOptions
  readonly #server: Server
  readonly #clients = new Set<ClientConnection>()
  readonly #most: number
  /** Shards that are no longer in use, and when they are closed at the latest. */
  readonly #retired = new Map<Shard, number>()
  #nextId = 1
  #lookAt = 0
  #timer: NodeJS.Timeout | undefined
  #gone: Promise<void> | undefined
  readonly #waiting: (() => void)[] = []

  constructor(options: RedisProxyOptions) {
    this.#options = options
    this.address = options.listen
    this.topology = options.topology
    this.users = options.users ?? EVERYBODY
    this.limits = { ...CLIENT_LIMITS, ...options.limits }
    this.#most = options.clients ?? 10_000
    this.cache = options.hotCacheMs === undefined ? undefined : new HotCache(options.hotCacheMs)
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (socket) =>
      this.#accept(socket),
    )
  }

  async listen(): Promise<void> {
    this.address = await listen(this.#server, this.#options.listen)
    this.#server.on('error', () => undefined)
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref()
    for (const shard of this.topology.all) shard.warm()
  }

  get cacheHits(): number {
    return this.cache?.hits ?? 0
  }

  get clients(): number {
    return this.#clients.size
  }

  useTopology(topology: Topology): void {
    const before = this.topology
    this.topology = topology
    const used = new Set(topology.all)
    const end = performance.now() + (this.#options.retireMs ?? RETIRE_MS)
    for (const shard of before.all) {
      if (used.has(shard)) continue
      shard.retire()
      this.#retired.set(shard, end)
    }
    for (const shard of used) {
      this.#retired.delete(shard)
      shard.warm()
    }
    this.#onPlacement()
  }

  settle(): void {
    if (this.topology.settle()) this.#onPlacement()
  }

  sessions(): Iterable<Session> {
    return this.#clients
  }

  kill({ id, address, skipMe }: KillFilter, self: Session): number {
    let count = 0
    for (const client of [...this.#clients]) {
      if (id !== undefined && client.id !== id) continue
      if (address !== undefined && client.address !== address) continue
      if (skipMe && client === self) continue
      count += 1
      // Its own end is told to it first.
      if (client === self) setImmediate(() => client.destroy('it was killed'))
      else client.destroy('it was killed')
    }
    return count
  }

  onClose(client: ClientConnection, reason: string, isError: boolean): void {
    this.#clients.delete(client)
    if (isError) this.clientErrors += 1
    this.#options.onClientClose?.(client.address, reason, isError)
    if (this.#clients.size === 0) for (const resolve of this.#waiting.splice(0)) resolve()
  }

  onCommands(count: number): void {
    this.commands += count
  }

  drain(): Promise<void> {
    const gone = this.#stop()
    for (const client of this.#clients) client.drain()
    return gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = this.#stop()
    for (const client of [...this.#clients]) client.destroy('the ambassador is closed')
    await gone
    clearInterval(this.#timer)
    for (const shard of [...this.topology.all, ...this.#retired.keys()])
      shard.close('the ambassador is closed')
  }

  #stop(): Promise<void> {
    this.#gone ??= this.#untilGone()
    return this.#gone
  }

  async #untilGone(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    if (this.#clients.size > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    await closed
  }

  #accept(socket: Socket): void {
    this.clientsTotal += 1
    if (this.#clients.size >= this.#most) {
      this.clientErrors += 1
      socket.on('error', () => undefined)
      // Or it would go on for as long as the client likes.
      socket.end(TOO_MANY, () => socket.destroy())
      return
    }
    this.#clients.add(new ClientConnection(socket, this.#nextId, this))
    this.#nextId += 1
  }

  #tick(): void {
    const now = performance.now()
    for (const shard of this.topology.all) shard.tick(now)
    this.cache?.tick(this.topology.all, now)
    this.settle()
    if (now >= this.#lookAt) {
      this.#lookAt = now + LOOK_MS
      for (const client of [...this.#clients]) client.tick(now)
    }
    for (const [shard, end] of this.#retired) {
      shard.tick(now)
      if (shard.inFlight > 0 && now < end) continue
      this.#retired.delete(shard)
      shard.close('it is no longer in use')
    }
  }

  /** Keys are elsewhere from now on: whoever relies on where they were is told. */
  #onPlacement(): void {
    for (const client of [...this.#clients]) client.onPlacement()
  }
}
