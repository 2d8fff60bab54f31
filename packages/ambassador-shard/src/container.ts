import { X509Certificate } from 'node:crypto'
import { hostname } from 'node:os'
import {
  address,
  bytes,
  type Check,
  type Command,
  counter,
  defineContainer,
  duration,
  flag,
  gauge,
  integerBetween,
  type LogFields,
  listOf,
  oneOf,
  type Values as ParamValues,
  path,
  requireFile,
  StartError,
  secret,
  text,
  throttle,
  version,
} from '@outrider/core'
import type { YamlFile } from '@outrider/core/yaml'
import { DISTRIBUTIONS, isDistribution, isKeyHashName, KEY_HASHES } from '@outrider/hash-ring'
import {
  changeText,
  describeChange,
  explainText,
  type Fault,
  type FilePool,
  isNoChange,
  isNutcracker,
  isOwnTopology,
  type PoolDescription,
  Pools,
  readPools,
  readUsers,
  ringFault,
  ringOf,
  type ServePoolOptions,
  type ShardSettings,
  type ShardTls,
  serverList,
  startStatsServer,
  statusSections,
  twemproxyStats,
  type Users,
  usersOf,
} from './index.ts'

const advanced = true
const optional = true
const reloads = true

const params = {
  listen: address(
    'Where clients find the one Redis that they know. With several pools, and while it is not set, where nutcracker.yml says.',
    { default: '127.0.0.1:6379' },
  ),
  servers: listOf(text)(
    'The shards: host:port[:weight] [name] or /path[:weight] [name], with commas between them. The name decides which keys a shard has; without one it is the address.',
    { unless: 'topology', example: 'redis-1:6379:1 shard-1,redis-2:6379:1 shard-2' },
  ),
  topology: path(
    'YAML file with the shards, their replicas and the rule by which keys are placed, or a nutcracker.yml of twemproxy as it is.',
    { optional, reloads },
  ),
  pool: text('The one pool of a nutcracker.yml that is served; all of them without.', { optional }),
  gutter: listOf(text)('Spare servers for the keys of shards that are down, as in servers.', { optional }),
  onFailure: oneOf(
    'keep',
    'eject',
    'gutter',
  )(
    'What becomes of the keys of a shard that is down: keep answers an error at once, eject places them among the other shards until it is back, gutter sends them to the spare servers.',
    { default: 'keep' },
  ),
  reads: oneOf(
    'primary',
    'replicas',
    'any',
  )(
    'Which servers of a shard answer reads. Replicas may say what was true a moment ago, also to a client that has just written.',
    { default: 'primary' },
  ),
  timeout: duration('How long a command may wait for its reply.', { default: '5s' }),
  connectTimeout: duration('How long connecting to a shard may take.', { default: '1s' }),
  username: text('User by whose name the ambassador comes to the shards.', { optional }),
  password: secret('Password of the shards.', { optional }),
  clientPassword: secret('Password that clients must give, as user default.', { optional }),
  users: path(
    'YAML file of users to passwords, or to # and the SHA-256 of one; clients must be one of them.',
    {
      optional,
      reloads,
    },
  ),
  hotKeys: integerBetween(0, 100)('How many hot keys of each shard are shown; 0 for none.', {
    default: '10',
  }),
  hotCache: duration(
    'For how long GET of a hot key may be answered without asking its shard again: what other ambassadors write is seen that much later. Off while it is not set.',
    { optional },
  ),
  stats: address("Where twemproxy's statistics are told, for its exporters.", { optional }),
  distribution: oneOf(...PLACEMENTS())('How servers are chosen for keys, where servers lists them.', {
    default: 'ketama',
    advanced,
  }),
  hash: text(`What hashes keys, where servers lists them: ${KEY_HASHES.join(', ')}.`, {
    optional,
    advanced,
  }),
  hashTag: text('Two characters, such as {}: only what stands between them in a key is hashed.', {
    optional,
    advanced,
  }),
  charSign: oneOf('signed', 'unsigned')(
    'What a byte beyond ASCII is to the hash: unsigned where keys were placed by a twemproxy on ARM.',
    { default: 'signed', advanced },
  ),
  failureLimit: integerBetween(1, 1_000)(
    'After how many failures in a row a server is down: broken connections, deadlines; and errors OOM, BUSY, LOADING with eject.',
    { default: '2', advanced },
  ),
  retry: duration('How long a server that is down is left alone at first; it must answer to be back.', {
    default: '100ms',
    advanced,
  }),
  retryMax: duration('How long it is left alone at most.', { default: '5s', advanced }),
  db: integerBetween(0, 1_000_000)('The database of the shards in which the keys are.', {
    default: '0',
    advanced,
  }),
  shardTls: flag('Whether shards are reached by TLS.', { advanced }),
  shardCa: path('PEM file with the authorities of the shards; those of the system without.', {
    optional,
    advanced,
    reloads,
  }),
  shardCert: path('PEM file with the certificate that the ambassador shows to shards.', {
    optional,
    advanced,
    reloads,
  }),
  shardKey: path('PEM file with the key of that certificate.', { optional, advanced, reloads }),
  shardName: text('The name that the certificates of shards must have; their host without.', {
    optional,
    advanced,
  }),
  maxClients: integerBetween(1, 1_000_000)('Clients at the same time; more are told so.', {
    default: '10000',
    advanced,
  }),
  maxValue: bytes('The longest argument of a command.', { default: '512MiB', advanced }),
  stallTimeout: duration('How long a client may take nothing of its replies until it is dropped.', {
    default: '60s',
    advanced,
  }),
  maxReplies: bytes('Replies that may wait for a client that does not read; beyond it, it is dropped.', {
    default: '64MiB',
    advanced,
  }),
} as const

type Values = ParamValues<typeof params>
type Given = (name: keyof typeof params) => boolean

/** Slots are the business of a cluster, which no list of servers can follow. */
function PLACEMENTS(): string[] {
  return DISTRIBUTIONS.filter((name) => name !== 'redis-cluster')
}

const OF_SERVERS = ['distribution', 'hash', 'hashTag', 'charSign', 'gutter'] as const
const OF_TLS = ['shardCa', 'shardCert', 'shardKey', 'shardName'] as const

const checks: readonly Check<typeof params>[] = [
  function* (values, nameOf) {
    if (values.servers === undefined) return
    for (const { text } of listed(values.servers).faults) yield `${nameOf('servers')}: ${text}`
  },
  function* (values, nameOf) {
    for (const { text } of listed(values.gutter ?? []).faults) yield `${nameOf('gutter')}: ${text}`
  },
  function* ({ servers, gutter }, nameOf) {
    const names = new Set(listed(servers ?? []).shards.map(({ name }) => name))
    for (const { name } of listed(gutter ?? []).shards) {
      if (names.has(name)) yield `${nameOf('gutter')} has ${name}, which is one of ${nameOf('servers')}, too`
    }
  },
  function* ({ hash }, nameOf) {
    if (hash !== undefined && !isKeyHashName(hash))
      yield `${nameOf('hash')} is ${JSON.stringify(hash)} but must be one of ${KEY_HASHES.join(', ')}`
  },
  function* (values, nameOf) {
    const { shards, faults } = listed(values.servers ?? [])
    if (shards.length === 0 || faults.length > 0) return
    const rules = rulesOf(values)
    const fault = rules && ringFault(rules, shards)
    if (fault !== undefined) yield `${nameOf('servers')} with ${nameOf('distribution')}: ${fault}`
  },
  function* ({ servers, topology }, nameOf, given) {
    if (servers !== undefined && topology !== undefined)
      yield `${nameOf('servers')} and ${nameOf('topology')} exclude each other: the shards are in one of them`
    if (servers !== undefined && given('pool'))
      yield `${nameOf('pool')} has no effect while ${nameOf('servers')} is set: it names a pool of a file`
  },
  ...OF_SERVERS.map((name): Check<typeof params> => {
    return function* ({ servers }, nameOf, given) {
      if (servers === undefined && given(name))
        yield `${nameOf(name)} has no effect without ${nameOf('servers')}: a topology file has its own`
    }
  }),
  function* ({ onFailure, gutter, servers }, nameOf) {
    if (onFailure === 'gutter' && servers !== undefined && gutter === undefined)
      yield `${nameOf('onFailure')} is gutter, which needs spare servers: set ${nameOf('gutter')}`
    if (onFailure !== 'gutter' && gutter !== undefined)
      yield `${nameOf('gutter')} has no effect while ${nameOf('onFailure')} is ${onFailure}: set that to gutter`
  },
  ...OF_TLS.map((name): Check<typeof params> => {
    return function* (values, nameOf) {
      if (values[name] !== undefined && !values.shardTls)
        yield `${nameOf(name)} has no effect without ${nameOf('shardTls')}`
    }
  }),
  function* ({ shardCert, shardKey }, nameOf) {
    if ((shardCert === undefined) !== (shardKey === undefined))
      yield `${nameOf('shardCert')} and ${nameOf('shardKey')} go together: set both or none`
  },
  function* ({ username, password }, nameOf) {
    if (username !== undefined && password === undefined)
      yield `${nameOf('username')} needs ${nameOf('password')}`
  },
  function* ({ clientPassword, users }, nameOf) {
    if (clientPassword !== undefined && users !== undefined)
      yield `${nameOf('clientPassword')} and ${nameOf('users')} exclude each other: put default into the file`
  },
  function* ({ retry, retryMax }, nameOf) {
    if (retry > retryMax) yield `${nameOf('retry')} is longer than ${nameOf('retryMax')}`
  },
]

function listed(texts: readonly string[]) {
  const read = texts.length === 0 ? { ok: true as const, shards: [] } : serverList(texts)
  return read.ok ? { shards: read.shards, faults: [] } : { shards: [], faults: read.faults }
}

function rulesOf({ distribution, hash, hashTag, charSign }: Values) {
  if (!isDistribution(distribution) || (hash !== undefined && !isKeyHashName(hash))) return undefined
  return { distribution, hash, tag: hashTag, charSign }
}

/** The pool that parameters alone describe. */
function poolOf(values: Values): PoolDescription | undefined {
  const rules = rulesOf(values)
  if (values.servers === undefined || rules === undefined) return undefined
  const { servers, gutter = [] } = values
  return { name: 'redis', ...rules, shards: listed(servers).shards, gutter: listed(gutter).shards }
}

/** The pools of a topology file. @throws Error with every fault, its line and column */
async function poolsIn(
  content: Buffer,
  only: string | undefined,
  isCompared = false,
): Promise<readonly FilePool[]> {
  const file = await readYaml(content)
  // Compared with a file of twemproxy's, of which one pool is wanted, a file of ours is that one.
  const read = readPools(file.value, isCompared && isOwnTopology(file.value) ? undefined : only)
  if (read.ok) return read.pools
  throw new Error(read.faults.map((fault) => faultText(fault, file.where)).join('; '))
}

/** Loaded only by those who have a file: it costs two megabytes. */
async function readYaml(content: Buffer): Promise<YamlFile> {
  const { parseYaml } = await import('@outrider/core/yaml')
  return parseYaml(content.toString())
}

const faultText = ({ path: at, text: what }: Fault, where: (path: Fault['path']) => string): string =>
  `${where(at)}: ${what}`

/** What a pool is served with: what the user has set, then what its file says, then defaults. */
function settingsOf(pool: FilePool, values: Values, given: Given, tls: ShardTls | undefined): ShardSettings {
  const { onFailure, reads, connectTimeout, username } = values
  const own = isNutcracker(pool) ? pool : undefined
  const password = values.password ?? own?.auth
  const db = given('db') ? values.db : (own?.db ?? values.db)
  const policy = own?.autoEject && !given('onFailure') ? 'eject' : onFailure
  const retryMs = own?.autoEject && !given('retry') ? own.retryTimeoutMs : values.retry
  return {
    ...{ onFailure: policy, reads, connectTimeoutMs: connectTimeout },
    timeoutMs: given('timeout') ? values.timeout : (own?.timeoutMs ?? values.timeout),
    failureLimit: given('failureLimit') ? values.failureLimit : own?.failureLimit || values.failureLimit,
    ...{ retryMs, retryMostMs: Math.max(retryMs, values.retryMax) },
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(db > 0 && { db }),
    ...(values.shardTls && { tls: tls ?? {} }),
  }
}

const commands: Readonly<Record<string, Command<typeof params>>> = {
  explain: {
    usage: '<key>...',
    summary: 'Says on which shard each key lives, and why.',
    async run({ args, params: values, readFile }) {
      const { topology } = values
      const own = topology === undefined ? poolOf(values) : undefined
      const pools = topology === undefined ? [] : await poolsAt(topology, readFile, values.pool)
      if (own !== undefined) pools.push(own)
      return {
        text: pools.flatMap((pool) => args.map((key) => explainText(pool, key, pools.length > 1))).join('\n'),
      }
    },
  },
  diff: {
    usage: '<old> <new>',
    summary: 'Says what another topology file would move, before it is used.',
    async run({ args: [old = '', next = ''], params: { pool }, readFile }) {
      const before = await poolsAt(old, readFile, pool, true)
      const after = await poolsAt(next, readFile, pool, true)
      if (before.length > 1 && after.length === 1 && !before.some(({ name }) => name === after[0]?.name)) {
        const names = before.map(({ name }) => name).join(', ')
        throw new StartError(
          `${old} has ${before.length} pools, and ${next} one: choose by --pool one of ${names}`,
        )
      }
      const known = new Map(before.map((one) => [one.name, one]))
      const gone = before.filter(({ name }) => !after.some((one) => one.name === name))
      const texts = after.map((one): string => {
        // A file with one pool each is about that pool, whatever it is called.
        const was = known.get(one.name) ?? (before.length === 1 && after.length === 1 ? before[0] : undefined)
        const title = after.length > 1 ? `${one.name}\n` : ''
        return title + (was === undefined ? 'a new pool' : changeText(describeChange(was, one)))
      })
      const lost =
        after.length > 1 || before.length > 1 ? gone.map(({ name }) => `${name}\nno longer there`) : []
      return { text: [...texts, ...lost].join('\n\n') }
    },
  },
}

/** @throws StartError that says what is wrong with the file */
async function poolsAt(
  file: string,
  readFile: (path: string) => string,
  only: string | undefined,
  isCompared = false,
): Promise<FilePool[]> {
  const text = readFile(file)
  try {
    return [...(await poolsIn(Buffer.from(text), only, isCompared))]
  } catch (error) {
    throw new StartError(`${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** At most so often the log has a line of each kind. */
const SAY_EVERY_MS = 10_000

export default defineContainer({
  name: 'ambassador-shard',
  pattern: 'ambassador',
  summary:
    'Makes many Redis servers one at localhost: each key has its shard, placed as twemproxy places it.',
  contract: [
    'Every key stays where twemproxy had it, with the same servers or the same nutcracker.yml.',
    'A command whose keys live on several shards is joined where that is right, and refused otherwise.',
    'Replies come in the order of the commands, whichever shard is slow.',
    'A shard that is down costs its own keys alone, at once.',
    'The topology changes without a restart: connections of clients stay, and no acknowledged write is lost.',
    'A topology that cannot be used never replaces a good one; line and column are said.',
    'What is no RESP is answered by an error, and nothing of it reaches a shard.',
    'A client that does not read its replies is dropped at a limit, and others do not notice.',
  ],
  admin: 9111,
  params,
  ports: { redis: 'listen', stats: 'stats' },
  volumes: { '/topology': { help: 'The shards; a change takes effect at once.', from: 'configMap' } },
  needs: ({ topology }) => ({ unread: topology === undefined ? ['/topology'] : [] }),
  pages: {
    '/status': {
      title: 'Shards',
      help: 'Each shard with its servers, state, load, hot keys and share of the keys.',
    },
  },
  commands,
  metrics: {
    commands: counter('commands_total', 'Commands of clients.', ['pool']),
    clients: gauge('clients', 'Clients that are connected.', ['pool']),
    clientsTotal: counter('clients_total', 'Clients that have connected.', ['pool']),
    clientErrors: counter('client_errors_total', 'Clients that were cut off, or that broke off.', ['pool']),
    fragments: counter('fragments_total', 'Parts into which commands over several shards were split.', [
      'pool',
    ]),
    forwardErrors: counter('forward_errors_total', 'Commands that could not be sent to their shard.', [
      'pool',
    ]),
    cacheHits: counter('hot_cache_hits_total', 'Answers for hot keys for which no shard was asked.', [
      'pool',
    ]),
    up: gauge('shard_up', 'Whether commands are sent to the primary of the shard: 1 or 0.', [
      'pool',
      'shard',
    ]),
    ejected: gauge('shard_ejected', 'Whether the keys of the shard are placed among the others: 1 or 0.', [
      'pool',
      'shard',
    ]),
    latencyHalf: gauge(
      'shard_latency_p50_seconds',
      'Time within which half of the replies came, of the last half minute to a minute.',
      ['pool', 'shard'],
    ),
    latencyMost: gauge(
      'shard_latency_p99_seconds',
      'Time within which 99 of 100 replies came, of the last half minute to a minute.',
      ['pool', 'shard'],
    ),
    hot: gauge('hot_key_requests_per_second', 'How often the hottest keys are asked for, from a sample.', [
      'pool',
      'shard',
      'key',
    ]),
    serverUp: gauge('server_up', 'Whether commands are sent to the server: 1 or 0.', [
      'pool',
      'shard',
      'server',
      'role',
    ]),
    requests: counter('server_requests_total', 'Commands sent to the server.', ['pool', 'shard', 'server']),
    replies: counter('server_replies_total', 'Replies that came from the server.', [
      'pool',
      'shard',
      'server',
    ]),
    requestBytes: counter('server_request_bytes_total', 'Bytes sent to the server.', [
      'pool',
      'shard',
      'server',
    ]),
    replyBytes: counter('server_reply_bytes_total', 'Bytes that came from the server.', [
      'pool',
      'shard',
      'server',
    ]),
    failures: counter(
      'server_failures_total',
      'Connections to the server that broke, and deadlines passed.',
      ['pool', 'shard', 'server'],
    ),
    timeouts: counter('server_timeouts_total', 'Commands that were not answered in time.', [
      'pool',
      'shard',
      'server',
    ]),
    inFlight: gauge('server_in_flight', 'Replies of the server that are awaited.', [
      'pool',
      'shard',
      'server',
    ]),
    connections: gauge('server_connections', 'Connections to the server.', ['pool', 'shard', 'server']),
  },
  checks,
  async start(context) {
    const { params, given, metrics, onScrape, log, follow, page } = context
    const downs = context.notice('shards')
    const remarks = context.notice('topology')
    const pools = new Pools()
    let users: Users = usersOf(new Map())
    let tls: ShardTls | undefined
    let found: readonly FilePool[] = []

    const tellDowns = (): void => {
      const statuses = pools.statuses()
      const down = statuses.flatMap(({ pool, shards, gutter }) =>
        [...shards, ...gutter]
          .filter(({ servers: [primary] }) => primary?.up === false)
          .map(({ name, reason }) => `${statuses.length > 1 ? `${pool}: ` : ''}${name} is down: ${reason}`),
      )
      if (down.length === 0) downs.clear()
      else downs.set(down.join('; '))
    }
    const onShard = (pool: string, onFailure: string, shard: string, up: boolean, reason: string): void => {
      if (up) log.info('shard up', { pool, shard })
      else log.warn('shard down', { pool, shard, onFailure, error: reason })
      tellDowns()
    }
    const dropped = throttle<LogFields>(SAY_EVERY_MS, (fields, clients) =>
      log.info('client cut off', { ...fields, clients }),
    )

    const optionsOf = (pool: FilePool): ServePoolOptions => {
      const own = isNutcracker(pool) ? pool : undefined
      const auth = params.clientPassword ?? own?.auth
      const passwords = auth === undefined ? undefined : usersOf(new Map([['default', auth]]))
      const settings = settingsOf(pool, params, given, tls)
      return {
        pool,
        settings,
        source: params.topology ?? context.nameOf('servers'),
        listen: own === undefined || given('listen') ? params.listen : own.listen,
        // The file of users may change while clients are there.
        users: {
          get required() {
            return (passwords ?? users).required
          },
          check: (user, password) => (passwords ?? users).check(user, password),
        },
        clients: own?.clientConnections || params.maxClients,
        limits: {
          replyBytes: params.maxReplies,
          valueBytes: params.maxValue,
          stallMs: params.stallTimeout,
        },
        hotKeys: params.hotKeys,
        ...(params.hotCache !== undefined && { hotCacheMs: params.hotCache }),
        onShard: (shard, up, reason) => onShard(pool.name, settings.onFailure, shard, up, reason),
        onClientClose: (client, reason, isError) => {
          if (isError) dropped.add({ pool: pool.name, client, reason })
        },
      }
    }
    /** Where clients must give a password: no change of a file lets them in without. */
    const guarded = new Set<string>()
    const serveNow = async (next: readonly FilePool[]): Promise<void> => {
      if (next.length > 1 && given('listen'))
        throw new Error(
          `there are ${next.length} pools, and one ${context.nameOf('listen')}: set ${context.nameOf('pool')}, or leave the address to the file`,
        )
      const spare = next.find(({ gutter = [] }) => gutter.length === 0)
      if (params.onFailure === 'gutter' && spare !== undefined)
        throw new Error(`the pool ${spare.name} has no gutter: list spare servers there`)
      const options = next.map(optionsOf)
      const open = options.find(
        ({ listen, users: who }) => who?.required === false && guarded.has(JSON.stringify(listen)),
      )
      if (open !== undefined)
        throw new Error(
          `clients of ${open.pool.name} had to give a password, and here is none for them: set ${context.nameOf('clientPassword')} or ${context.nameOf('users')}, and restart`,
        )
      const changes = await pools.use(options)
      for (const { listen, users: who } of options) if (who?.required) guarded.add(JSON.stringify(listen))
      for (const { pool, listen, is } of found.length === 0 ? [] : changes) {
        if (is === 'gone') log.warn('pool no longer served, its clients are let go of', { pool, listen })
        else log.warn('pool served from now on', { pool, listen })
      }
      found = next
      tellDowns()
      const idle = next.flatMap((pool) => ringOf(pool).idle)
      if (idle.length === 0) remarks.clear()
      else remarks.set(`${idle.join(', ')}: no key goes there, as the weight is too small`)
    }

    let turn = Promise.resolve()
    /** One after the other: files may change at the same time. */
    const serve = (choose: () => readonly FilePool[]): Promise<void> => {
      const own = turn.then(() => {
        const next = choose()
        return next.length === 0 ? undefined : serveNow(next)
      })
      turn = own.catch(() => undefined)
      return own
    }

    if (params.users !== undefined) {
      const file = params.users
      await follow('users', ['users'], async (contents) => {
        const yaml = await readYaml(requireFile(contents, file))
        const read = readUsers(yaml.value)
        if (!read.ok) throw new Error(read.faults.map((fault) => faultText(fault, yaml.where)).join('; '))
        users = usersOf(read.passwords)
      })
    }
    const tlsFiles = (['shardCa', 'shardCert', 'shardKey'] as const).filter(
      (name) => params[name] !== undefined,
    )
    if (params.shardTls) {
      const { shardName: name } = params
      tls = { ...(name !== undefined && { name }) }
      if (tlsFiles.length > 0) {
        await follow('shard TLS', tlsFiles, async (contents) => {
          const { shardCa, shardCert, shardKey } = params
          const before = tls
          tls = {
            ...(name !== undefined && { name }),
            ...(shardCa !== undefined && { ca: requireFile(contents, shardCa) }),
            ...(shardCert !== undefined && { cert: requireFile(contents, shardCert) }),
            ...(shardKey !== undefined && { key: requireFile(contents, shardKey) }),
          }
          try {
            checkTls(tls)
            await serve(() => found)
          } catch (error) {
            tls = before
            throw error
          }
        })
      }
    }
    try {
      const own = poolOf(params)
      const { topology } = params
      if (own !== undefined) await serve(() => [own])
      if (topology !== undefined)
        await follow('topology', ['topology'], async (contents) => {
          const before = found
          const next = await poolsIn(requireFile(contents, topology), params.pool)
          await serve(() => next)
          for (const pool of next) {
            const old = before.find(({ name }) => name === pool.name)
            const change = old && describeChange(old, pool)
            if (change !== undefined && !isNoChange(change))
              log.info('topology changed', { pool: pool.name, change: changeText(change) })
          }
        })
    } catch (error) {
      await pools[Symbol.asyncDispose]()
      throw error
    }
    page('/status', () => ({ pools: pools.statuses() }), statusSections)
    const startedAt = Date.now()
    const stats =
      params.stats &&
      (await startStatsServer({
        listen: params.stats,
        stats: () =>
          twemproxyStats(pools.statuses(), { source: hostname(), version, startedAt, now: Date.now() }),
      }).catch(async (error: unknown) => {
        await pools[Symbol.asyncDispose]()
        throw error
      }))
    const told = new Told()
    onScrape(() => {
      const now = told.begin()
      for (const gauge of [metrics.up, metrics.ejected, metrics.latencyHalf, metrics.latencyMost])
        gauge.reset()
      metrics.hot.reset()
      for (const gauge of [metrics.serverUp, metrics.inFlight, metrics.connections]) gauge.reset()
      for (const status of pools.statuses()) {
        const { pool } = status
        metrics.clients.set({ pool }, status.clients)
        now.add(metrics.commands, { pool }, status.commands)
        now.add(metrics.clientsTotal, { pool }, status.clientsTotal)
        now.add(metrics.clientErrors, { pool }, status.clientErrors)
        now.add(metrics.fragments, { pool }, status.fragments)
        now.add(metrics.forwardErrors, { pool }, status.forwardErrors)
        now.add(metrics.cacheHits, { pool }, status.cacheHits)
        for (const { name: shard, state, latency, servers, hot } of [...status.shards, ...status.gutter]) {
          metrics.up.set({ pool, shard }, servers[0]?.up ? 1 : 0)
          metrics.ejected.set({ pool, shard }, state === 'ejected' ? 1 : 0)
          metrics.latencyHalf.set({ pool, shard }, latency.p50Ms / 1000)
          metrics.latencyMost.set({ pool, shard }, latency.p99Ms / 1000)
          for (const { key, perSecond } of hot) metrics.hot.set({ pool, shard, key }, perSecond)
          for (const server of servers) {
            const labels = { pool, shard, server: server.address }
            metrics.serverUp.set({ ...labels, role: server.role }, server.up ? 1 : 0)
            metrics.inFlight.set(labels, server.inFlight)
            metrics.connections.set(labels, server.connections)
            now.add(metrics.requests, labels, server.requests)
            now.add(metrics.replies, labels, server.replies)
            now.add(metrics.requestBytes, labels, server.requestBytes)
            now.add(metrics.replyBytes, labels, server.replyBytes)
            now.add(metrics.failures, labels, server.failures)
            now.add(metrics.timeouts, labels, server.timeouts)
          }
        }
      }
      now.end()
    })
    const [first] = pools.served
    return {
      addresses: {
        ...(first !== undefined && { redis: first.address }),
        ...(stats && { stats: stats.address }),
      },
      drain: () => pools.drain(),
      [Symbol.asyncDispose]: async () => {
        dropped[Symbol.dispose]()
        await Promise.all([pools[Symbol.asyncDispose](), stats?.[Symbol.asyncDispose]()])
      },
    }
  },
})

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** @throws Error where OpenSSL cannot use the files */
function checkTls({ ca, cert, key }: ShardTls): void {
  if (ca !== undefined) {
    // OpenSSL passes over what it cannot read without a word.
    const found = ca.toString().match(PEM) ?? []
    if (found.length === 0) throw new Error('there is no certificate in the file of authorities')
    for (const one of found) new X509Certificate(one)
  }
  process
    .getBuiltinModule('node:tls')
    .createSecureContext({ ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) })
}

interface Counting {
  inc(labels: Labels, value: number): void
  remove(labels: Labels): void
}

type Labels = Readonly<Record<string, string>>

type Series = Map<string, { readonly value: number; readonly remove: () => void }>

/** What counters have been told so far of what is counted elsewhere; series whose server is gone go with it. */
class Told {
  #before: Series = new Map()
  #now: Series = new Map()
  readonly #numbers = new Map<object, number>()

  begin(): this {
    this.#now = new Map()
    return this
  }

  add(counter: Counting, labels: Labels, value: number): void {
    const number = this.#numbers.get(counter) ?? this.#numbers.size
    this.#numbers.set(counter, number)
    const key = JSON.stringify([number, labels])
    const before = this.#before.get(key)?.value ?? 0
    // Less than before is another server of the same name.
    counter.inc(labels, value < before ? value : value - before)
    this.#now.set(key, { value, remove: () => counter.remove(labels) })
  }

  end(): void {
    for (const [key, { remove }] of this.#before) if (!this.#now.has(key)) remove()
    this.#before = this.#now
  }
}
