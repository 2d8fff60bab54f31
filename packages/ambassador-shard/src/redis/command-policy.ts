/**
 * What becomes of the answers of all shards:
 *
 * - `sum`, `least`: of integers, the sum or the lowest.
 * - `ok-all`: OK when every shard says so; otherwise the error of the first that fails, with the names of all that do.
 * - `any-ok`: OK when one shard says so; otherwise the error of the first.
 * - `same`: the one answer that all give; an error that names the shards when they differ.
 * - `concat`: one array of all elements.
 * - `sum-pairs`: arrays of name and number in turn, alike in their names; the numbers are added.
 * - `all-booleans`: arrays of 0 and 1, alike in length; 1 where every shard has 1.
 * - `scan`: one shard after the other, its index kept in the cursor.
 * - `info`: one text; numbers that count are added, the rest is that of the first shard.
 * - `config`: the values all shards share; where they differ, `shard=value` of each, separated by spaces.
 *
 * Clients begin with the last two, so those take the answers that there are; an error in place of one, or none, is an
 * error of the others.
 */
export type FanOutJoin =
  | 'sum'
  | 'least'
  | 'ok-all'
  | 'any-ok'
  | 'same'
  | 'concat'
  | 'sum-pairs'
  | 'all-booleans'
  | 'scan'
  | 'info'
  | 'config'

/**
 * How a command is split into one for each shard, and its answers joined: `array` in the order of the keys, `ok` when
 * every shard says OK, `sum` of integers.
 */
export type SplitJoin = 'array' | 'ok' | 'sum'

/**
 * What holds the client to a connection of its own, and to which shard:
 *
 * - `keys`: the shard of its keys, until it is answered.
 * - `transaction`: the shard of the first key, until EXEC, DISCARD or UNWATCH; a key elsewhere is a CROSSSLOT, and a
 *   command that more than one shard must answer an error.
 * - `channels`: the shard of its channels, placed as keys are, until the last is left.
 * - `pubsub`: the shard that carries publish and subscribe.
 * - `every-shard`: one to each shard, all lines in one stream.
 */
export type Pin = 'keys' | 'transaction' | 'channels' | 'pubsub' | 'every-shard'

/**
 * Which shard gets a command without keys:
 *
 * - `any`: one that can be reached; what it answers is the same on all.
 * - `random`: one by chance, and while that answers null, the others in turn.
 * - `pubsub`: the shard that carries publish and subscribe, the same in every ambassador: that of the empty key.
 */
export type KeylessRule = 'any' | 'random' | 'pubsub'

/** What the ambassador does with a command. `remark` is for users: why it differs from one Redis. */
export type Policy =
  | Route
  | { readonly kind: 'split'; readonly join: SplitJoin; readonly remark: string }
  | { readonly kind: 'fan-out'; readonly join: FanOutJoin; readonly remark: string }
  | { readonly kind: 'local'; readonly remark: string }
  | { readonly kind: 'pinned'; readonly to: Pin; readonly remark: string }
  | { readonly kind: 'keyless'; readonly rule: KeylessRule; readonly remark: string }
  | { readonly kind: 'refuse'; readonly error: string; readonly remark: string }

/** To the shard of its key; all keys on one shard, or `CROSSSLOT`. */
interface Route {
  readonly kind: 'route'
  readonly remark: string
  /** The error where there is more than one shard and the command names no key; '' when it always names one. */
  readonly withoutKeys: string
}

/** Errors, as Redis would write them behind the `-`. */
export const CROSSSLOT = "CROSSSLOT Keys in request don't hash to the same slot"
/** For SORT whose patterns name keys that nobody can place, where there is more than one shard. */
export const FOREIGN_PATTERNS =
  'ERR SORT with a pattern in BY or GET reads keys of any shard; sort in the application, or use BY nosort and GET #'
/** For COPY with the option DB. */
export const FOREIGN_DATABASE =
  'ERR COPY to another database is refused: clients of this ambassador have one; leave out DB'
/** For SUBSCRIBE and PSUBSCRIBE to keyspace events, where there is more than one shard. */
export const FOREIGN_EVENTS =
  'ERR keyspace events are told by each shard for its own keys; subscribe to them at every shard itself'

/** Whether a channel, or a pattern of channels, is one of keyspace events: `__keyspace@0__:*`, `__key*__:*`. */
export function isKeyspaceEvent(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from < KEYSPACE.length) return false
  for (let at = 0; at < KEYSPACE.length; at += 1) if (bytes[from + at] !== KEYSPACE[at]) return false
  return true
}

const KEYSPACE = Buffer.from('__key')

const route = (remark = '', withoutKeys = ''): Policy => ({ kind: 'route', remark, withoutKeys })
const split = (join: SplitJoin, remark: string): Policy => ({ kind: 'split', join, remark })
const fanOut = (join: FanOutJoin, remark: string): Policy => ({ kind: 'fan-out', join, remark })
const local = (remark: string): Policy => ({ kind: 'local', remark })
const pinned = (to: Pin, remark: string): Policy => ({ kind: 'pinned', to, remark })
const keyless = (rule: KeylessRule, remark: string): Policy => ({ kind: 'keyless', rule, remark })
const refuse = (name: string, reason: string, remedy: string): Policy => ({
  ...{
    kind: 'refuse',
    error: `ERR ${name} is refused: ${reason}; ${remedy}`,
    remark: `${reason}; ${remedy}`,
  },
})

/** A policy for several commands that share a reason. */
const refuseAll = (names: readonly string[], reason: string, remedy: string): [string, Policy][] =>
  names.map((name) => [name, refuse(name.toUpperCase().replace('|', ' '), reason, remedy)])
const sameFor = (names: readonly string[], policy: Policy): [string, Policy][] =>
  names.map((name) => [name, policy])

const AT_THE_SHARD = 'ask each shard itself'
const ROUTED = route()
const CONTAINER = local('without a subcommand: the error of Redis')
const BLOCKS = pinned('keys', 'waits on a connection of its own, so that other clients do not wait behind it')
const BLOCKS_ON_DEMAND = pinned('keys', 'with BLOCK on a connection of its own, otherwise routed')
const TRANSACTION = pinned(
  'transaction',
  'belongs to the shard of the first key; a key elsewhere is a CROSSSLOT',
)
const SUBSCRIBES = pinned(
  'pubsub',
  'one shard carries all channels, so that every pattern hears every message',
)
const SHARD_CHANNELS = pinned('channels', 'a channel belongs to the shard where a key of that name would be')
const PUBSUB_SHARD = keyless('pubsub', 'asked of the one shard that carries all channels')
const HELP = keyless('any', 'the text of a shard')
const SCRIPT = route(
  'a script sees the keys of one shard: name all it uses; without keys it is refused unless there is one shard',
  'ERR a script without keys is refused: nothing says on which shard it should run; name a key that it uses',
)
// What a Redis outside a cluster says; clients try a cluster first and rely on the text.
const NO_CLUSTER: Policy = {
  kind: 'refuse',
  error: 'ERR This instance has cluster support disabled',
  remark: 'as a Redis outside a cluster: the shards are no cluster for the client',
}

const STATED: readonly [string, Policy][] = [
  // split
  ['mget', split('array', 'the values are in the order of the keys, but not of one moment')],
  ['mset', split('ok', 'atomic on each shard, not over all: another client may see a part')],
  ...sameFor(['del', 'unlink', 'exists', 'touch'], split('sum', 'atomic on each shard, not over all')),

  // every shard
  ['dbsize', fanOut('sum', 'the sum over all shards')],
  ['flushall', fanOut('ok-all', 'on every shard, all databases; an error says how many were emptied')],
  ['flushdb', fanOut('ok-all', 'on every shard; an error says how many were emptied')],
  ['keys', fanOut('concat', 'the names of all shards, in no order; every shard stops for it')],
  ['scan', fanOut('scan', 'one shard after the other; the cursor is valid for this topology alone')],
  [
    'info',
    fanOut(
      'info',
      'counts are added, the rest is of the first shard that answers; a section names those that do not',
    ),
  ],
  ['lastsave', fanOut('least', 'the oldest of all shards: since then something may be unsaved')],
  ['config|get', fanOut('config', 'where shards differ, the value lists each that answers as shard=value')],
  ['config|resetstat', fanOut('ok-all', 'on every shard')],
  ['memory|purge', fanOut('ok-all', 'on every shard')],
  ['script|load', fanOut('same', 'on every shard, so that EVALSHA finds it whatever its keys are')],
  ['script|exists', fanOut('all-booleans', '1 when every shard has it')],
  ['script|flush', fanOut('ok-all', 'on every shard')],
  ['script|kill', fanOut('any-ok', 'on every shard; OK when one was running a script')],
  ['function|load', fanOut('same', 'on every shard; an error names those that refuse')],
  ['function|delete', fanOut('ok-all', 'on every shard')],
  ['function|flush', fanOut('ok-all', 'on every shard')],
  ['function|restore', fanOut('ok-all', 'on every shard')],
  ['function|kill', fanOut('any-ok', 'on every shard; OK when one was running a function')],
  ['pubsub|shardchannels', fanOut('concat', 'of all shards, in no order')],
  ['pubsub|shardnumsub', fanOut('sum-pairs', 'of all shards, added')],

  // answered by the ambassador
  ['ping', local('says that the ambassador is alive, not that a shard is')],
  ['echo', local('')],
  ['quit', local('')],
  ['reset', local('also gives up a connection of its own')],
  ['auth', local('checked against the users of the ambassador, not of the shards')],
  ['hello', local('the server is the ambassador; no modules')],
  ['select', local('0 alone; every other is an error, for the shards are one keyspace')],
  ['time', local('the clock of the ambassador')],
  ['role', local('a master without replicas')],
  ['client|id', local('of the connection to the ambassador')],
  ['client|info', local('of the connection to the ambassador')],
  ['client|list', local('the clients of the ambassador')],
  ['client|kill', local('the clients of the ambassador')],
  ['client|getname', local('')],
  ['client|setname', local('kept by the ambassador, not told to the shards')],
  ['client|setinfo', local('kept by the ambassador, not told to the shards')],
  ['client|reply', local('')],
  ['client|no-evict', local('the ambassador evicts no clients')],
  [
    'client|no-touch',
    local('OFF alone: a connection to a shard serves many clients, and ON would hold for all'),
  ],
  ['client|getredir', local('-1: no tracking')],
  ['client|trackinginfo', local('off: no tracking')],
  [
    'module|list',
    local('empty: commands of modules are unknown here, because nothing says where their keys are'),
  ],

  // connections of their own
  ...sameFor(['blpop', 'brpop', 'brpoplpush', 'blmove', 'blmpop', 'bzpopmin', 'bzpopmax', 'bzmpop'], BLOCKS),
  ...sameFor(['xread', 'xreadgroup'], BLOCKS_ON_DEMAND),
  ...sameFor(['multi', 'exec', 'discard', 'watch', 'unwatch'], TRANSACTION),
  ['subscribe', SUBSCRIBES],
  [
    'psubscribe',
    pinned('pubsub', 'as SUBSCRIBE; a pattern such as * hears keyspace events of that one shard alone'),
  ],
  ...sameFor(['unsubscribe', 'punsubscribe'], SUBSCRIBES),
  ...sameFor(['ssubscribe', 'sunsubscribe'], SHARD_CHANNELS),
  [
    'monitor',
    pinned(
      'every-shard',
      'the commands of all primaries as they get them, in no order between shards, until RESET or QUIT; ended when a shard is gone',
    ),
  ],

  // without keys
  [
    'publish',
    keyless(
      'pubsub',
      'to the one shard that carries all channels; SPUBLISH spreads over the shards; in MULTI refused unless there is one shard',
    ),
  ],
  ...sameFor(['pubsub|channels', 'pubsub|numsub', 'pubsub|numpat'], PUBSUB_SHARD),
  [
    'randomkey',
    keyless('random', 'of a shard chosen by chance that has any: keys of a small shard come up more often'),
  ],
  ['lolwut', keyless('any', 'the drawing of a shard')],
  ['pfselftest', keyless('any', 'of one shard')],
  ['acl|cat', keyless('any', 'the categories of a shard')],
  ['acl|genpass', keyless('any', 'made by a shard')],
  ['acl|whoami', local('the user of the ambassador')],
  ['function|list', keyless('any', 'of a shard: FUNCTION LOAD gives all the same')],
  ['function|dump', keyless('any', 'of a shard: FUNCTION LOAD gives all the same')],
  ...sameFor(
    [
      ...['command', 'command|count', 'command|docs', 'command|getkeys', 'command|getkeysandflags'],
      ...['command|info', 'command|list'],
    ],
    keyless('any', 'the table of a shard, also with what is refused here'),
  ),
  ...sameFor(
    [
      ...['acl|help', 'client|help', 'command|help', 'config|help', 'function|help', 'latency|help'],
      ...['memory|help', 'module|help', 'object|help', 'pubsub|help', 'script|help', 'slowlog|help'],
      ...['xgroup|help', 'xinfo|help'],
    ],
    HELP,
  ),

  // with keys, and something to say
  ...sameFor(['eval', 'eval_ro', 'evalsha', 'evalsha_ro', 'fcall', 'fcall_ro'], SCRIPT),
  ['sort', route('a pattern with * in BY or GET is refused unless there is one shard')],
  ['sort_ro', route('a pattern with * in BY or GET is refused unless there is one shard')],
  ['copy', route('with DB refused: a client has one database')],
  ['spublish', route('to the shard where a key of the name of the channel would be')],

  // refused
  ...sameFor(
    [
      ...[
        'asking',
        'readonly',
        'readwrite',
        'cluster|addslots',
        'cluster|addslotsrange',
        'cluster|bumpepoch',
      ],
      ...['cluster|count-failure-reports', 'cluster|countkeysinslot', 'cluster|delslots'],
      ...['cluster|delslotsrange', 'cluster|failover', 'cluster|flushslots', 'cluster|forget'],
      ...['cluster|getkeysinslot', 'cluster|help', 'cluster|info', 'cluster|keyslot', 'cluster|links'],
      ...['cluster|meet', 'cluster|myid', 'cluster|myshardid', 'cluster|nodes', 'cluster|replicas'],
      ...['cluster|replicate', 'cluster|reset', 'cluster|saveconfig', 'cluster|set-config-epoch'],
      ...['cluster|setslot', 'cluster|shards', 'cluster|slaves', 'cluster|slots'],
    ],
    NO_CLUSTER,
  ),
  ...refuseAll(
    ['replicaof', 'slaveof', 'failover'],
    'it would change who leads a shard for all clients',
    'send it to the shard itself',
  ),
  ...refuseAll(
    ['sync', 'psync', 'replconf'],
    'the shards together have no one stream of replication',
    'replicate from each shard itself',
  ),
  ...refuseAll(
    ['wait', 'waitaof'],
    'writes travel on connections shared by many clients, and all would wait',
    'set min-replicas-to-write at the shards',
  ),
  ...refuseAll(['shutdown'], 'it would end a shard that others use', 'send it to the shard itself'),
  ...refuseAll(['debug'], 'it can stop or crash a shard that others use', 'send it to the shard itself'),
  ...refuseAll(
    ['save', 'bgsave', 'bgrewriteaof'],
    'saving burdens a shard for all clients',
    'let each shard save by its own configuration, or ask it itself',
  ),
  ...refuseAll(
    ['config|set', 'config|rewrite'],
    'a shard that is down, or comes later, would differ from the rest',
    'change the configuration of each shard itself',
  ),
  ...refuseAll(
    ['move', 'swapdb'],
    'clients of this ambassador have one database',
    'use prefixes of keys, or one ambassador for each database',
  ),
  ...refuseAll(
    ['migrate'],
    'a key moved to another server would be lost to this ambassador',
    'use DUMP and RESTORE, or change the topology',
  ),
  ...refuseAll(
    ['module|load', 'module|loadex', 'module|unload'],
    'a module is code in a shard that others use',
    'load it by the configuration of each shard',
  ),
  ...refuseAll(
    ['acl|list', 'acl|users', 'acl|getuser', 'acl|setuser', 'acl|deluser', 'acl|dryrun', 'acl|log'],
    'users are those of the ambassador',
    'see its parameters, or ask each shard itself',
  ),
  ...refuseAll(
    ['acl|load', 'acl|save'],
    'users are those of the ambassador',
    'see its parameters, or ask each shard itself',
  ),
  ...refuseAll(
    ['client|tracking', 'client|caching'],
    'a connection to a shard serves many clients, so what one of them has read cannot be tracked',
    'let cached values expire instead',
  ),
  ...refuseAll(
    ['client|pause', 'client|unpause'],
    'it would stop all clients of all shards',
    'pause each shard itself',
  ),
  ...refuseAll(
    ['client|unblock'],
    'the waiting connection is known to its shard under another number',
    'let the waiting command have a timeout',
  ),
  ...refuseAll(
    ['slowlog|get', 'slowlog|len', 'slowlog|reset', 'memory|doctor', 'memory|malloc-stats', 'memory|stats'],
    'it describes one server',
    AT_THE_SHARD,
  ),
  ...refuseAll(
    [
      ...['latency|doctor', 'latency|graph', 'latency|histogram', 'latency|history', 'latency|latest'],
      ...['latency|reset', 'function|stats'],
    ],
    'it describes one server',
    AT_THE_SHARD,
  ),
  ...refuseAll(
    ['script|debug'],
    'a debugged script needs a server to itself',
    'debug it at a shard by redis-cli --ldb',
  ),

  ...sameFor(
    [
      ...[
        'acl',
        'client',
        'cluster',
        'config',
        'function',
        'latency',
        'memory',
        'module',
        'object',
        'pubsub',
      ],
      ...['script', 'slowlog', 'xgroup', 'xinfo'],
    ],
    CONTAINER,
  ),
]

const POLICIES: ReadonlyMap<string, Policy> = new Map(STATED)

/** Names of the commands that have a policy of their own, in the order of their statement; the others are routed. */
export const policyNames = (): string[] => STATED.map(([name]) => name)

/**
 * The policy of a command: routed where nothing else is said of it.
 * @throws Error for a command without keys of which nothing is said
 */
export function policyOf(name: string, hasKeys: boolean): Policy {
  const policy = POLICIES.get(name)
  if (policy === undefined && !hasKeys) throw new Error(`${name} has no keys and no policy: state one`)
  return policy ?? ROUTED
}
