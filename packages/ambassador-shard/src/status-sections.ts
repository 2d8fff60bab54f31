import type { ServerStatus, ShardStatus, Status } from './status.ts'

type State = { readonly state: 'ok' | 'warn' | 'bad'; readonly text: string; readonly why: string }
type Cell = string | number | { readonly code: string } | { readonly bar: number } | State

/** A table for people. */
interface Section {
  readonly title: string
  readonly note?: string
  readonly head?: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
}

/** What the page of the status shows. */
export function statusSections({ pools }: { readonly pools: readonly Status[] }): Section[] {
  const several = pools.length > 1
  return pools.flatMap((status) => {
    const named = (title: string) => (several ? `${title} of ${status.pool}` : title)
    const all = [...status.shards, ...status.gutter]
    return [
      { title: named('Pool'), rows: facts(status) },
      shardTable(named('Shards'), status.shards),
      shardTable(named('Gutter'), status.gutter),
      {
        title: named('Servers'),
        head: [
          'Server',
          'Shard',
          'Role',
          'State',
          'Connections',
          'In flight',
          'Replies',
          'Failures',
          'Timeouts',
        ],
        rows: all.flatMap(({ name, servers }) => servers.map((server) => serverRow(name, server))),
      },
      {
        title: named('Hot keys'),
        note: 'At least so often, estimated from a sample of the last 10 to 20 seconds.',
        head: ['Key', 'Shard', 'Requests/s'],
        rows: all
          .flatMap(({ name, hot }) => hot.map(({ key, perSecond }) => ({ key, name, perSecond })))
          .sort((a, b) => b.perSecond - a.perSecond)
          .slice(0, HOT_SHOWN)
          .map(({ key, name, perSecond }) => [{ code: key }, name, Math.round(perSecond)]),
      },
    ]
  })
}

const HOT_SHOWN = 20

function facts(status: Status): Cell[][] {
  const { distribution, hash, tag, source, listen, failurePolicy, clients, clientsTotal, commands } = status
  return [
    [
      'Placement',
      [distribution, hash, tag === undefined ? undefined : `tag ${tag}`].filter(Boolean).join(', '),
    ],
    ['Clients find it at', { code: listen }],
    ['From', { code: source }],
    ['When a shard is down', failurePolicy],
    ['Clients', clients],
    ['Clients since the start', clientsTotal],
    ['Commands', commands],
    ['Commands not sent', status.forwardErrors],
    ['Answers for hot keys', status.cacheHits],
  ]
}

function shardTable(title: string, shards: readonly ShardStatus[]): Section {
  return {
    title,
    head: ['Shard', 'State', 'Share of keys', 'Weight', 'Requests', 'In flight', 'p50 ms', 'p99 ms'],
    rows: shards.map(({ name, state, reason, share, weight, requests, inFlight, latency }) => [
      { code: name },
      { state: state === 'up' ? 'ok' : 'bad', text: state, why: state === 'up' ? '' : reason },
      { bar: share },
      ...[weight, requests, inFlight, latency.p50Ms, latency.p99Ms],
    ]),
  }
}

function serverRow(shard: string, server: ServerStatus): Cell[] {
  const { address, role, up, reason, connections, inFlight, replies, failures, timeouts } = server
  const state: State = up
    ? { state: reason === '' ? 'ok' : 'warn', text: reason === '' ? 'up' : 'up, without reads', why: reason }
    : { state: 'bad', text: 'down', why: reason }
  return [{ code: address }, shard, role, state, connections, inFlight, replies, failures, timeouts]
}
