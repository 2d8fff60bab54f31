import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createRing } from '@outrider/hash-ring'
import {
  CommandReader,
  encodeArrayHeader,
  encodeBulk,
  encodeCommand,
  encodeError,
  encodeInteger,
  encodeNull,
  encodeSimple,
  type Reply,
  ReplyScanner,
  readReply,
} from '@outrider/resp'
import { shardAddress } from './address.ts'
import { type RedisProxy, type RedisProxyOptions, startRedisProxy } from './proxy.ts'
import { Shard } from './shard.ts'
import { Topology } from './topology.ts'

/** What a shard does with a command: gives bytes to answer, or undefined to say nothing for now. */
export type Behaviour = (args: readonly string[], socket: Socket) => Buffer | string | undefined

/** A server that speaks RESP: it keeps strings, and can be told to behave otherwise. */
export class TinyShard implements AsyncDisposable {
  readonly server: Server
  readonly values = new Map<string, string>()
  readonly sockets = new Set<Socket>()
  /** Every command that came, but for those that greet. */
  readonly commands: string[][] = []
  accepted = 0
  behaviour: Behaviour | undefined

  constructor(behaviour?: Behaviour) {
    this.behaviour = behaviour
    this.server = createServer((socket) => this.#serve(socket))
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  async listen(port = 0): Promise<this> {
    this.server.listen(port, '127.0.0.1')
    await once(this.server, 'listening')
    return this
  }

  #serve(socket: Socket): void {
    this.accepted += 1
    this.sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => this.sockets.delete(socket))
    const reader = new CommandReader()
    let rest = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes])
      let at = 0
      while (reader.read(rest, at, rest.length) === 'command') {
        const args: string[] = []
        for (let index = 0; index < reader.argc; index += 1)
          args.push(rest.toString('latin1', at + reader.argStart(index), at + reader.argEnd(index)))
        at += reader.length
        if (args[0] !== 'PING' || args.length > 1) this.commands.push(args)
        const answer =
          this.behaviour?.(args, socket) ?? (this.behaviour === undefined ? this.answer(args) : undefined)
        if (answer !== undefined && !socket.destroyed) socket.write(answer)
      }
      rest = rest.subarray(at)
    })
  }

  /** As Redis would. */
  answer(args: readonly string[]): Buffer {
    const [name = '', ...rest] = args
    const [key = '', value = ''] = rest
    switch (name.toUpperCase()) {
      case 'PING':
        return encodeSimple('PONG')
      case 'GET':
        return this.#bulk(key)
      case 'SET':
        this.values.set(key, value)
        return encodeSimple('OK')
      case 'MGET':
        return Buffer.concat([encodeArrayHeader(rest.length), ...rest.map((one) => this.#bulk(one))])
      case 'MSET':
        for (let at = 0; at + 1 < rest.length; at += 2) this.values.set(rest[at] ?? '', rest[at + 1] ?? '')
        return encodeSimple('OK')
      case 'DEL':
        return encodeInteger(rest.filter((one) => this.values.delete(one)).length)
      case 'DBSIZE':
        return encodeInteger(this.values.size)
      case 'FLUSHALL':
        this.values.clear()
        return encodeSimple('OK')
      case 'KEYS': {
        const keys = [...this.values.keys()]
        return Buffer.concat([encodeArrayHeader(keys.length), ...keys.map((one) => encodeBulk(one))])
      }
      case 'SCAN': {
        const keys = [...this.values.keys()]
        const at = Number(key)
        const piece = keys.slice(at, at + 2)
        const next = at + 2 < keys.length ? at + 2 : 0
        return Buffer.concat([
          ...[encodeArrayHeader(2), encodeBulk(String(next)), encodeArrayHeader(piece.length)],
          ...piece.map((one) => encodeBulk(one)),
        ])
      }
      default:
        return encodeError(`ERR unknown command '${name}'`)
    }
  }

  #bulk(key: string): Buffer {
    const value = this.values.get(key)
    return value === undefined ? encodeNull(2) : encodeBulk(Buffer.from(value, 'latin1'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve))
    for (const socket of this.sockets) socket.destroy()
    await closed
  }
}

export const tinyShard = (behaviour?: Behaviour): Promise<TinyShard> => new TinyShard(behaviour).listen()

export interface World extends AsyncDisposable {
  readonly proxy: RedisProxy
  readonly shards: readonly TinyShard[]
  readonly port: number
  /** `address: reason` of clients that are gone. */
  readonly closed: string[]
  /** A key that lives on the shard of this index, different ones for different numbers. */
  keyOn(index: number, number?: number): string
}

export interface WorldOptions extends Partial<RedisProxyOptions> {
  readonly timeoutMs?: number
  readonly password?: string
}

/** An ambassador before these shards; disposing fails when it has kept anything. */
export async function startWorld(shards: readonly TinyShard[], options: WorldOptions = {}): Promise<World> {
  const { timeoutMs = 5_000, password, ...others } = options
  const topology = topologyOf(shards, timeoutMs, password)
  const closed: string[] = []
  const proxy = await startRedisProxy({
    listen: { host: '127.0.0.1', port: 0 },
    topology,
    onClientClose: (_, reason) => closed.push(reason),
    ...others,
  })
  const { address } = proxy
  return {
    proxy,
    shards,
    port: 'port' in address ? address.port : 0,
    closed,
    keyOn(index, number = 0) {
      let left = number
      for (let at = 0; ; at += 1) {
        const key = `key:${at}`
        if (proxy.topology.ring.indexOfKey(key) !== index) continue
        if (left === 0) return key
        left -= 1
      }
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await until(() => proxy.clients === 0, 'the end of all clients')
      for (const shard of shards) {
        await until(() => shard.sockets.size === 0, 'the end of all connections to shards')
        await shard[Symbol.asyncDispose]()
      }
    },
  }
}

export function topologyOf(shards: readonly TinyShard[], timeoutMs = 5_000, password?: string): Topology {
  const servers = shards.map((_, index) => ({ name: `redis-${index + 1}` }))
  const ring = createRing({ distribution: 'ketama', servers })
  return new Topology(
    ring,
    shards.map(
      ({ port }, index) =>
        new Shard({
          name: `redis-${index + 1}`,
          address: shardAddress({ host: '127.0.0.1', port }, password === undefined ? {} : { password }),
          connectTimeoutMs: 1_000,
          timeoutMs,
          backoffMs: 20,
          backoffMostMs: 100,
          onState: () => undefined,
        }),
    ),
  )
}

/** A client that sees bytes as they are. */
export class RawClient implements Disposable {
  readonly socket: Socket
  received = Buffer.alloc(0)
  closed = false
  readonly #scanner = new ReplyScanner()
  #at = 0
  readonly replies: Buffer[] = []

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => undefined)
    socket.on('end', () => socket.end())
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('data', (bytes) => {
      this.received = Buffer.concat([this.received, bytes])
      for (;;) {
        const from = this.#at
        const next = this.#scanner.scan(this.received, this.#seen, this.received.length)
        if (next < 0) {
          this.#seen = this.received.length
          return
        }
        this.replies.push(this.received.subarray(from, next))
        this.#at = next
        this.#seen = next
        if (next === this.received.length) return
      }
    })
  }

  #seen = 0

  send(...commands: (readonly (string | Uint8Array)[])[]): void {
    this.socket.write(Buffer.concat(commands.map((args) => encodeCommand(args))))
  }

  /** The next replies, as text. */
  async next(count = 1): Promise<string[]> {
    const from = this.#given
    this.#given += count
    await until(
      () => this.replies.length >= from + count || this.closed,
      () => `${count} replies after ${JSON.stringify(this.received.toString('latin1').slice(-300))}`,
    )
    return this.replies.slice(from, from + count).map((bytes) => bytes.toString('latin1'))
  }

  #given = 0

  /** Sends one command and gives its reply as text. */
  async ask(...args: (string | Uint8Array)[]): Promise<string> {
    this.send(args)
    const [reply = ''] = await this.next()
    return reply
  }

  async value(...args: (string | Uint8Array)[]): Promise<Reply | undefined> {
    const text = Buffer.from(await this.ask(...args), 'latin1')
    return readReply(text, 0, text.length)
  }

  async untilClosed(): Promise<void> {
    await until(() => this.closed, 'the end of the connection')
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

export async function rawClient(port: number): Promise<RawClient> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true })
  await once(socket, 'connect')
  return new RawClient(socket)
}

/** Waits until a condition holds; fails after 10 s with what was waited for. */
export async function until(condition: () => boolean, what: string | (() => string)): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline)
      throw new Error(`waited in vain for: ${typeof what === 'string' ? what : what()}`)
    await delay(2)
  }
}
