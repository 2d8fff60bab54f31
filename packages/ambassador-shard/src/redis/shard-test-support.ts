import { once } from 'node:events'
import { encodeArrayHeader, encodeBulk, encodeInteger } from '@outrider/resp'
import { shardAddress } from './address.ts'
import { TinyShard, until } from './proxy-test-support.ts'
import { Shard, type ShardOptions } from './shard.ts'

const array = (...elements: Buffer[]): Buffer =>
  Buffer.concat([encodeArrayHeader(elements.length), ...elements])

/** What a master answers to ROLE. */
export function master(replicas = 0, offset = 0): Buffer {
  const replica = array(encodeBulk('127.0.0.1'), encodeBulk('6379'), encodeBulk(String(offset)))
  const list = array(...new Array<Buffer>(replicas).fill(replica))
  return array(encodeBulk('master'), encodeInteger(offset), list)
}

/** What a replica answers to ROLE. */
export const replica = (link: string): Buffer =>
  array(
    ...[
      encodeBulk('slave'),
      encodeBulk('127.0.0.1'),
      encodeInteger(6379),
      encodeBulk(link),
      encodeInteger(1),
    ],
  )

/** A server that says what it is, and can go away and come back. */
export class Member extends TinyShard {
  /** Undefined says nothing, until it is said. */
  role: Buffer | undefined
  readonly #waiting: (() => void)[] = []

  constructor(role: Buffer | undefined) {
    super()
    this.role = role
    this.behaviour = (args, socket) => {
      if (args[0] !== 'ROLE') return this.answer(args)
      if (this.role === undefined) this.#waiting.push(() => socket.write(this.role ?? ''))
      return this.role
    }
  }

  static async start(role: Buffer | undefined): Promise<Member> {
    const member = new Member(role)
    await member.listen()
    return member
  }

  say(role: Buffer): void {
    this.role = role
    for (const answer of this.#waiting.splice(0)) answer()
  }

  /** As often as it was asked. */
  get asked(): number {
    return this.commands.filter(([name]) => name === 'ROLE').length
  }

  async kill(): Promise<number> {
    const { port } = this
    const closed = once(this.server, 'close')
    this.server.close()
    for (const socket of this.sockets) socket.destroy()
    await closed
    return port
  }
}

/** A shard that time passes for; disposing fails when it has kept a connection. */
export interface Driven extends AsyncDisposable {
  readonly shard: Shard
  /** What was told of its primary. */
  readonly states: string[]
  /** Waits until every server that is there has been asked twice more. */
  asked(): Promise<void>
}

export function drive(members: readonly Member[], options: Partial<ShardOptions> = {}): Driven {
  const states: string[] = []
  const [address, ...replicas] = members.map(({ port }) => shardAddress({ host: '127.0.0.1', port }))
  if (address === undefined) throw new Error('a shard has a server')
  const shard = new Shard({
    ...{ name: 'redis-1', address, replicas, roleEveryMs: 20 },
    ...{ connectTimeoutMs: 1_000, timeoutMs: 1_000, backoffMs: 10, backoffMostMs: 20 },
    onState: (_, up, reason) => states.push(up ? 'up' : `down: ${reason}`),
    ...options,
  })
  const timer = setInterval(() => shard.tick(performance.now()), 5)
  return {
    shard,
    states,
    async asked() {
      const before = new Map(members.map((member) => [member, member.asked]))
      await until(
        () => members.every((one) => !one.server.listening || one.asked >= (before.get(one) ?? 0) + 2),
        'questions',
      )
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      shard.close('the test is over')
      for (const member of members) {
        await until(() => member.sockets.size === 0, 'the end of all connections')
        if (member.server.listening) await member[Symbol.asyncDispose]()
      }
    },
  }
}
