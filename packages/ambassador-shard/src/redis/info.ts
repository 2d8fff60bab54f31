// Of one server these are amounts, which add up; what is not among them is a property, and told of the first shard.
const ADDED: ReadonlySet<string> = new Set([
  ...['connected_clients', 'blocked_clients', 'tracking_clients', 'clients_in_timeout_table', 'maxclients'],
  ...['used_memory', 'used_memory_rss', 'used_memory_peak', 'used_memory_overhead', 'used_memory_dataset'],
  ...['used_memory_lua', 'used_memory_scripts', 'maxmemory', 'total_system_memory', 'mem_clients_normal'],
  ...['rdb_changes_since_last_save', 'aof_current_size', 'aof_base_size', 'total_connections_received'],
  ...[
    'total_commands_processed',
    'instantaneous_ops_per_sec',
    'total_net_input_bytes',
    'total_net_output_bytes',
  ],
  ...[
    'rejected_connections',
    'sync_full',
    'sync_partial_ok',
    'sync_partial_err',
    'expired_keys',
    'evicted_keys',
  ],
  ...['evicted_clients', 'keyspace_hits', 'keyspace_misses', 'pubsub_channels', 'pubsub_patterns'],
  ...['pubsubshard_channels', 'total_forks', 'total_error_replies', 'total_reads_processed'],
  ...[
    'total_writes_processed',
    'unexpected_error_replies',
    'connected_slaves',
    'used_cpu_sys',
    'used_cpu_user',
  ],
  ...['used_cpu_sys_children', 'used_cpu_user_children', 'number_of_cached_scripts', 'number_of_functions'],
  ...['lazyfree_pending_objects', 'lazyfreed_objects', 'slowlog_len'],
])
const HUMAN =
  /^(used_memory|used_memory_rss|used_memory_peak|maxmemory|total_system_memory|used_memory_scripts)_human$/
/** Sections of lines such as `db0:keys=1,expires=0`, which a shard has only for what it has seen. */
const COUNTED: readonly (readonly [header: string, names: RegExp])[] = [
  ['# Keyspace', /^db\d+$/],
  ['# Commandstats', /^cmdstat_/],
  ['# Errorstats', /^errorstat_/],
]

/**
 * One INFO of those of several shards: amounts are added, the rest is that of the first.
 * @param missing names of shards that have not answered
 */
export function joinInfo(texts: readonly string[], missing: readonly string[]): string {
  const [first = ''] = texts
  const fields = texts.map(fieldsOf)
  const lines = first.split('\r\n').map((line) => joined(line, fields))
  const own = fields[0] ?? new Map<string, string>()
  const names = [...new Set(fields.flatMap((all) => [...all.keys()]))]
  for (const [header, pattern] of COUNTED) {
    const others = names
      .filter((name) => pattern.test(name) && !own.has(name))
      .map((name) => `${name}:${joinCounts(name, fields)}`)
    const at = lines.indexOf(header)
    if (at >= 0) lines.splice(at + 1, 0, ...others)
  }
  const count = texts.length + missing.length
  const shards = ['# Shards', `shards:${count}`, `shards_missing:${missing.join(' ')}`, '']
  return (first === '' ? shards : [...lines, ...shards]).join('\r\n')
}

function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}

function joined(line: string, fields: readonly Map<string, string>[]): string {
  const colon = line.indexOf(':')
  if (colon <= 0 || line.startsWith('#')) return line
  const name = line.slice(0, colon)
  if (COUNTED.some(([, pattern]) => pattern.test(name))) return `${name}:${joinCounts(name, fields)}`
  if (ADDED.has(name)) return `${name}:${trimmed(total(name, fields))}`
  if (HUMAN.test(name)) return `${name}:${human(total(name.replace(/_human$/, ''), fields))}`
  // Clients wait for it, and one shard that loads is no reason: its commands say so themselves.
  if (name === 'loading' && fields.some((own) => own.get(name) === '0')) return 'loading:0'
  return line
}

function total(name: string, fields: readonly Map<string, string>[]): number {
  return fields.reduce((sum, own) => sum + (Number(own.get(name)) || 0), 0)
}

const trimmed = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(6))

/** `keys=1,expires=0,avg_ttl=0`, added; an average is weighed by what it is of. */
function joinCounts(name: string, fields: readonly Map<string, string>[]): string {
  const sums = new Map<string, number>()
  let ttl = 0
  for (const own of fields) {
    const values = countsOf(own.get(name) ?? '')
    for (const [key, value] of values) sums.set(key, (sums.get(key) ?? 0) + value)
    ttl += (values.get('avg_ttl') ?? 0) * (values.get('expires') ?? 0)
  }
  const average = (total: number, of: string): number => total / (sums.get(of) || 1)
  return [...sums]
    .map(([key, sum]) => {
      if (key === 'avg_ttl') return `${key}=${Math.round(average(ttl, 'expires'))}`
      if (key === 'usec_per_call') return `${key}=${average(sums.get('usec') ?? 0, 'calls').toFixed(2)}`
      return `${key}=${sum}`
    })
    .join(',')
}

function countsOf(text: string): Map<string, number> {
  const pairs = text.split(',').filter((pair) => pair !== '')
  return new Map(
    pairs.map((pair): [string, number] => {
      const [key = '', value = ''] = pair.split('=')
      return [key, Number(value) || 0]
    }),
  )
}

/** As Redis writes sizes for people. */
function human(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`
  for (const [unit, size] of [
    ['T', 2 ** 40],
    ['G', 2 ** 30],
    ['M', 2 ** 20],
  ] as const)
    if (bytes >= size) return `${(bytes / size).toFixed(2)}${unit}`
  return `${(bytes / 1024).toFixed(2)}K`
}
