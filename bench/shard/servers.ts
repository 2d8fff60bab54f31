import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createRing, type Ring } from '@outrider/hash-ring'
import { until } from '../../test/support/program.ts'
import { redisCommand } from '../peers/redis-server.ts'
import type { RedisServer } from '../peers/shard-subject.ts'
import { complaint } from '../support/load.ts'
import type { Application } from '../support/measure.ts'
import { freePort } from '../support/probes.ts'
import { Program } from '../support/processes.ts'
import { exchange } from './exchange.ts'

/** How many different keys the clients use. */
export const keyCount = 100_000

// As redis-benchmark writes what it puts in the place of __rand_int__.
const keyOf = (number: number): string => `key:${String(number).padStart(12, '0')}`

/** The servers behind the proxies, on the clients' core. */
export class Shards implements AsyncDisposable {
  readonly servers: readonly RedisServer[]
  readonly #programs: readonly Program[]

  private constructor(servers: readonly RedisServer[], programs: readonly Program[]) {
    this.servers = servers
    this.#programs = programs
  }

  /** @throws Error that says what one of them complained of */
  static async start(count: number, directory: string): Promise<Shards> {
    const servers: RedisServer[] = []
    const programs: Program[] = []
    for (let number = 1; number <= count; number++) {
      const own = join(directory, `redis-${number}`)
      mkdirSync(own)
      const port = await freePort()
      const program = new Program(redisCommand(own, port), 'load')
      await until(`redis-server on ${port}`, () => {
        if (program.hasEnded) throw new Error(`redis-server: ${program.complaints}`)
        return answers(port)
      })
      servers.push({ name: `redis-${number}`, port })
      programs.push(program)
    }
    return new Shards(servers, programs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#programs) await program[Symbol.asyncDispose]()
  }
}

/** All keys with values of one size, each where it belongs, so that a proxy with another placement is found out. */
export class Keys implements Application {
  readonly #servers: readonly RedisServer[]
  readonly #ring: Ring
  readonly #value: string

  constructor(servers: readonly RedisServer[], valueBytes: number) {
    this.#servers = servers
    this.#ring = createRing({
      distribution: 'ketama',
      hash: 'fnv1a_64',
      servers: servers.map(({ name }) => ({ name, weight: 1 })),
    })
    this.#value = 'x'.repeat(valueBytes)
  }

  answersAt(port: number): Promise<boolean> {
    return answers(port)
  }

  async prepare(): Promise<void> {
    const fill = this.#servers.map((): string[][] => [['FLUSHALL']])
    for (let number = 0; number < keyCount; number++) {
      const key = keyOf(number)
      fill[this.#ring.indexOfKey(key)]?.push(['SET', key, this.#value])
    }
    // The statistics begin here: what `complaints` looks at is the load's alone.
    await this.#each(({ port }, index) => exchange(port, ...(fill[index] ?? []), ['CONFIG', 'RESETSTAT']))
  }

  async served(): Promise<number> {
    const infos = await this.#each(({ port }) => exchange(port, ['INFO', 'stats']))
    return total(infos, /^total_commands_processed:(\d+)/m)
  }

  async complaints(): Promise<readonly string[]> {
    const infos = await this.#each(({ port }) => exchange(port, ['INFO', 'stats'], ['DBSIZE']))
    const strays = total(infos, /^:(\d+)/m) - keyCount
    return [
      ...complaint(total(infos, /^keyspace_misses:(\d+)/m), 'keys not found'),
      ...complaint(strays, 'keys on other servers too'),
    ]
  }

  #each(ask: (server: RedisServer, index: number) => Promise<string>): Promise<string[]> {
    return Promise.all(this.#servers.map(ask))
  }
}

/** Whether a server answers there, itself or through a proxy: a PING would be answered by the proxy. */
const answers = (port: number): Promise<boolean> =>
  exchange(port, ['GET', keyOf(0)]).then(
    (reply) => reply.startsWith('$'),
    () => false,
  )

const total = (texts: readonly string[], pattern: RegExp): number =>
  texts.reduce((sum, text) => sum + Number(pattern.exec(text)?.[1]), 0)
