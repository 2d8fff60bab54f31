import type { Socket } from 'node:net'
import {
  encodeArrayHeader,
  encodeBulk,
  encodeCommand,
  encodeError,
  encodeInteger,
  encodeNull,
  encodeNullArray,
  encodePushHeader,
  encodeSimple,
  type Protocol,
} from '@outrider/resp'
import { TinyShard } from './proxy-test-support.ts'

const OK = encodeSimple('OK')

/** What Redis keeps of one connection. */
class Connection {
  protocol: Protocol = 2
  /** Commands since MULTI. */
  queue: (readonly string[])[] | undefined
  /** Keys, and how often each had been written. */
  watched = new Map<string, number>()
  readonly channels = new Set<string>()
  readonly patterns = new Set<string>()
  readonly shardChannels = new Set<string>()
  waitsFor: readonly string[] = []
  monitors = false
}

/** A shard that also has lists one can wait for, transactions, channels and MONITOR, as Redis has them. */
export class StatefulShard extends TinyShard {
  readonly lists = new Map<string, string[]>()
  readonly #connections = new Map<Socket, Connection>()
  readonly #writes = new Map<string, number>()

  constructor() {
    super()
    this.behaviour = (args, socket) => this.#reply(args, socket)
  }

  /** Connections that wait for a key, watch one, are subscribed or monitor. */
  get engaged(): number {
    const isEngaged = (one: Connection): boolean =>
      one.monitors ||
      [one.waitsFor.length, one.watched.size, one.channels.size, one.patterns.size].some(
        (size) => size > 0,
      ) ||
      one.shardChannels.size > 0
    return [...this.sockets].filter((socket) => isEngaged(this.#of(socket))).length
  }

  #of(socket: Socket): Connection {
    const known = this.#connections.get(socket) ?? new Connection()
    this.#connections.set(socket, known)
    return known
  }

  #reply(args: readonly string[], socket: Socket): Buffer | undefined {
    const own = this.#of(socket)
    const name = args[0]?.toUpperCase() ?? ''
    for (const [other, { monitors }] of this.#connections) {
      const line = `1700000000.000000 [0 127.0.0.1:1] ${args.map((arg) => `"${arg}"`).join(' ')}`
      if (monitors && this.sockets.has(other)) other.write(encodeSimple(line))
    }
    if (own.queue !== undefined && !['EXEC', 'DISCARD'].includes(name)) {
      own.queue.push(args)
      return encodeSimple('QUEUED')
    }
    return this.#stateful(name, args.slice(1), socket, own) ?? this.#answered(args, own)
  }

  #answered(args: readonly string[], { protocol }: Connection): Buffer {
    const [name = '', key = ''] = args
    if (['SET', 'DEL', 'RPUSH'].includes(name.toUpperCase()))
      this.#writes.set(key, (this.#writes.get(key) ?? 0) + 1)
    if (name.toUpperCase() === 'PING')
      return args[1] === undefined ? encodeSimple('PONG') : encodeBulk(args[1])
    if (name.toUpperCase() === 'LLEN') return encodeInteger(this.lists.get(key)?.length ?? 0)
    const reply = this.answer(args)
    return protocol === 3 && reply.equals(encodeNull(2)) ? encodeNull(3) : reply
  }

  #stateful(name: string, rest: readonly string[], socket: Socket, own: Connection): Buffer | undefined {
    const [first = '', second = ''] = rest
    switch (name) {
      case 'HELLO':
        own.protocol = first === '3' ? 3 : 2
        return Buffer.from(`${own.protocol === 3 ? '%1' : '*2'}\r\n$5\r\nproto\r\n:${own.protocol}\r\n`)
      case 'MULTI':
        own.queue = []
        return OK
      case 'DISCARD':
        own.queue = undefined
        own.watched.clear()
        return OK
      case 'EXEC':
        return this.#exec(own)
      case 'WATCH':
        for (const key of rest) own.watched.set(key, this.#writes.get(key) ?? 0)
        return OK
      case 'UNWATCH':
        own.watched.clear()
        return OK
      case 'MONITOR':
        own.monitors = true
        return OK
      case 'RPUSH':
        return this.#push(first, second)
      case 'BLPOP':
        own.waitsFor = rest.slice(0, -1)
        setImmediate(() => this.#serveWaiting())
        return Buffer.alloc(0)
      case 'PUBLISH':
      case 'SPUBLISH':
        return encodeInteger(this.#publish(name === 'SPUBLISH', first, second))
      default:
        return name.endsWith('SUBSCRIBE') ? this.#subscribe(name.toLowerCase(), rest, own, socket) : undefined
    }
  }

  #exec(own: Connection): Buffer {
    const queue = own.queue ?? []
    const isChanged = [...own.watched].some(([key, writes]) => (this.#writes.get(key) ?? 0) !== writes)
    own.queue = undefined
    own.watched.clear()
    if (isChanged) return encodeNullArray(own.protocol)
    return Buffer.concat([
      encodeArrayHeader(queue.length),
      ...queue.map((args) =>
        args[0] === 'RPUSH' ? this.#push(args[1] ?? '', args[2] ?? '') : this.#answered(args, own),
      ),
    ])
  }

  #push(key: string, value: string): Buffer {
    this.#writes.set(key, (this.#writes.get(key) ?? 0) + 1)
    const list = this.lists.get(key) ?? []
    this.lists.set(key, list)
    const length = list.push(value)
    setImmediate(() => this.#serveWaiting())
    return encodeInteger(length)
  }

  #serveWaiting(): void {
    for (const [socket, own] of this.#connections) {
      const key = own.waitsFor.find((one) => (this.lists.get(one)?.length ?? 0) > 0)
      if (key === undefined || !this.sockets.has(socket)) continue
      own.waitsFor = []
      socket.write(encodeCommand([key, this.lists.get(key)?.shift() ?? '']))
    }
  }

  #publish(sharded: boolean, channel: string, message: string): number {
    let heard = 0
    const say = (socket: Socket, protocol: Protocol, ...words: string[]): void => {
      heard += 1
      socket.write(
        Buffer.concat([encodePushHeader(words.length, protocol), ...words.map((word) => encodeBulk(word))]),
      )
    }
    for (const [socket, { protocol, channels, patterns, shardChannels }] of this.#connections) {
      if (!this.sockets.has(socket)) continue
      if (sharded && shardChannels.has(channel)) say(socket, protocol, 'smessage', channel, message)
      if (sharded) continue
      if (channels.has(channel)) say(socket, protocol, 'message', channel, message)
      for (const pattern of patterns)
        if (channel.startsWith(pattern.replace('*', '')))
          say(socket, protocol, 'pmessage', pattern, channel, message)
    }
    return heard
  }

  #subscribe(name: string, given: readonly string[], own: Connection, socket: Socket): Buffer {
    const set = name.startsWith('p') ? own.patterns : /^s(s|un)/.test(name) ? own.shardChannels : own.channels
    const isLeft = name.endsWith('unsubscribe')
    const names = given.length > 0 ? given : [...set]
    const confirm = (channel: string | undefined): Buffer => {
      if (channel !== undefined) {
        if (isLeft) set.delete(channel)
        else set.add(channel)
      }
      const count = set === own.shardChannels ? set.size : own.channels.size + own.patterns.size
      const shown = channel === undefined ? encodeNull(own.protocol) : encodeBulk(channel)
      return Buffer.concat([encodePushHeader(3, own.protocol), encodeBulk(name), shown, encodeInteger(count)])
    }
    // One after the other, as they may come from a busy server.
    const confirmations = (names.length === 0 ? [undefined] : names).map(confirm)
    for (const one of confirmations.slice(0, -1)) socket.write(one)
    return confirmations.at(-1) ?? encodeError('ERR no channels')
  }
}

/** So many of them, listening. */
export const statefulShards = (count: number): Promise<StatefulShard[]> =>
  Promise.all(Array.from({ length: count }, async () => new StatefulShard().listen()))
