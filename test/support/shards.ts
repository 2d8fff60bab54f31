import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PoolDescription, readTopology, ringOf } from '@outrider/ambassador-shard'
import { parseYaml } from '@outrider/core/yaml'
import { Network, type StartedNetwork, type StartedTestContainer } from 'testcontainers'
import { docker, logOf, RidingContainer } from './docker.ts'
import { until } from './program.ts'
import { redisContainer } from './redis.ts'

/** One Redis, by the name that it has in its network. */
export class Server {
  readonly name: string
  readonly container: StartedTestContainer

  constructor(name: string, container: StartedTestContainer) {
    this.name = name
    this.container = container
  }

  /** Asks it without the ambassador; words are no secrets here. */
  async ask(...words: string[]): Promise<unknown> {
    const { output } = await this.container.exec(['redis-cli', '--json', ...words])
    return JSON.parse(output)
  }

  /** The same, where the answer is a text. */
  async text(...words: string[]): Promise<string> {
    return (await this.container.exec(['redis-cli', ...words])).output
  }

  async field(section: string, name: string): Promise<string | undefined> {
    const output = await this.text('INFO', section)
    return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(output)?.[1]
  }

  /** The values of these keys, null where there is none. */
  async values(keys: readonly string[]): Promise<(string | null)[]> {
    return keys.length === 0 ? [] : ((await this.ask('MGET', ...keys)) as (string | null)[])
  }

  /** Ends its process at once, as a crash does; its address goes with it. */
  async kill(): Promise<void> {
    await docker('kill', '--signal', 'KILL', this.container.getId())
  }

  /** Ends it as a rolling update does. */
  async stop(): Promise<void> {
    await docker('stop', this.container.getId())
  }

  async start(): Promise<void> {
    await docker('start', this.container.getId())
    await until(`${this.name}`, async () => (await this.container.exec(['redis-cli', 'ping'])).exitCode === 0)
  }

  async pause(): Promise<void> {
    await docker('pause', this.container.getId())
  }

  async unpause(): Promise<void> {
    await docker('unpause', this.container.getId())
  }
}

/** One image of the ambassador that runs, with its topology. */
export class Ambassador {
  /** In its network. */
  readonly name: string
  readonly container: StartedTestContainer
  readonly #directory: string

  constructor(name: string, container: StartedTestContainer, directory: string) {
    this.name = name
    this.container = container
    this.#directory = directory
  }

  get host(): string {
    return this.container.getHost()
  }

  get port(): number {
    return this.container.getMappedPort(6379)
  }

  /** Replaces its topology in one step. */
  use(yaml: string): void {
    place(this.#directory, yaml)
  }

  async read(path: string): Promise<string> {
    return (await fetch(`http://${this.host}:${this.container.getMappedPort(9111)}${path}`)).text()
  }

  /** A value of `/metrics`; undefined while there is none. */
  async metric(name: string): Promise<number | undefined> {
    const line = (await this.read('/metrics'))
      .split('\n')
      .find((one) => one.startsWith(`outrider_ambassador_shard_${name} `))
    return line === undefined ? undefined : Number(line.split(' ').at(-1))
  }

  log(): Promise<Record<string, unknown>[]> {
    return logOf(this.container)
  }
}

function place(directory: string, yaml: string): void {
  const next = join(directory, '.next')
  writeFileSync(next, yaml)
  renameSync(next, join(directory, 'topology.yml'))
}

/** Servers and ambassadors in a network of their own, where they find each other by name. */
export class Shards implements AsyncDisposable {
  readonly network: StartedNetwork
  /** Removed at the end. */
  readonly directory: string
  readonly servers = new Map<string, Server>()
  readonly #ambassadors: Ambassador[] = []
  #count = 0

  private constructor(network: StartedNetwork) {
    this.network = network
    this.directory = mkdtempSync(join(tmpdir(), 'outrider-'))
    chmodSync(this.directory, 0o755)
  }

  /** Starts servers with these settings, by their names. */
  static async start(servers: Readonly<Record<string, readonly string[]>>): Promise<Shards> {
    const shards = new Shards(await new Network().start())
    try {
      await Promise.all(Object.entries(servers).map(([name, settings]) => shards.add(name, settings)))
    } catch (error) {
      await shards[Symbol.asyncDispose]()
      throw error
    }
    return shards
  }

  async add(name: string, settings: readonly string[]): Promise<Server> {
    const container = await redisContainer(...settings)
    const started = await container
      .withNetwork(this.network)
      .withNetworkAliases(name)
      .withBindMounts([{ source: this.directory, target: '/shared' }])
      .start()
    const server = new Server(name, started)
    this.servers.set(name, server)
    return server
  }

  server(name: string): Server {
    const server = this.servers.get(name)
    if (server === undefined) throw new Error(`there is no server ${name}`)
    return server
  }

  /** Starts an ambassador that listens to all; `env` without its prefix. */
  async ambassador(yaml: string, env: Readonly<Record<string, string>> = {}): Promise<Ambassador> {
    this.#count += 1
    const name = `ambassador-${this.#count}`
    const directory = join(this.directory, name)
    mkdirSync(directory)
    place(directory, yaml)
    const settings = { LISTEN: '0.0.0.0:6379', TOPOLOGY: '/topology/topology.yml', ...env }
    const container = await new RidingContainer('outrider/ambassador-shard')
      .withNetwork(this.network)
      .withNetworkAliases(name)
      .withExposedPorts(6379, 9111)
      .withBindMounts([
        { source: directory, target: '/topology', mode: 'ro' },
        { source: this.directory, target: '/shared' },
      ])
      .withEnvironment(
        Object.fromEntries(
          Object.entries(settings).map(([name, value]) => [`AMBASSADOR_SHARD_${name}`, value]),
        ),
      )
      .start()
    const ambassador = new Ambassador(name, container, directory)
    this.#ambassadors.push(ambassador)
    return ambassador
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.servers.values(), ...this.#ambassadors]
    const ended = await Promise.allSettled(all.map(({ container }) => container.stop()))
    await this.network.stop()
    rmSync(this.directory, { recursive: true })
    for (const one of ended) if (one.status === 'rejected') throw one.reason
  }
}

/** Says which shard a topology gives a key. */
export class Placement {
  readonly pool: PoolDescription
  readonly #ring: ReturnType<typeof ringOf>

  /** @param only the shards that there are to be, all without */
  constructor(yaml: string, only?: readonly string[]) {
    const read = readTopology(parseYaml(yaml).value)
    if (!read.ok) throw new Error(read.faults.map(({ text }) => text).join('\n'))
    const shards = read.pool.shards.filter(({ name }) => only === undefined || only.includes(name))
    this.pool = { ...read.pool, shards }
    this.#ring = ringOf(this.pool)
  }

  shardOf(key: string): string {
    const shard = this.pool.shards[this.#ring.indexOfKey(key)]
    if (shard === undefined) throw new RangeError(`no shard has ${key}`)
    return shard.name
  }

  /** So many keys with a name in them, of one shard or of any. */
  keys(name: string, count: number, shard?: string): string[] {
    const keys: string[] = []
    for (let at = 0; keys.length < count; at += 1) {
      // The number first: FNV puts keys that differ at their end alone beside each other on the ring.
      const key = `${at}:${name}`
      if (shard === undefined || this.shardOf(key) === shard) keys.push(key)
    }
    return keys
  }
}
