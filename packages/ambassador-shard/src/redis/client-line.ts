import type { Protocol } from '@outrider/resp'
import type { Subscriber } from './subscriber.ts'

/** What CLIENT LIST tells of a client. */
export interface ClientFacts {
  readonly id: number
  readonly name: string
  readonly user: string | undefined
  readonly protocol: Protocol
  readonly libName: string
  readonly libVersion: string
  /** Of its socket and of ours. */
  readonly address: string
  readonly localAddress: string
  readonly ageMs: number
  readonly idleMs: number
  readonly subscriptions: Subscriber['counts']
  readonly monitors: boolean
  /** Commands since MULTI, or -1. */
  readonly queued: number
  /** Bytes that have come and wait, and that wait to go. */
  readonly unread: number
  readonly unsent: number
  /** '' before the first. */
  readonly lastCommand: string
}

/** One line of CLIENT LIST, with all fields of Redis: clients read those that are numbers, whether they are there or not. */
export function clientLine(facts: ClientFacts): string {
  const { '': channels, p: patterns, s: shardChannels } = facts.subscriptions
  const flags = [
    facts.monitors ? 'O' : '',
    channels + patterns + shardChannels > 0 ? 'P' : '',
    facts.queued >= 0 ? 'x' : '',
  ].join('')
  const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000)
  return [
    ...[
      `id=${facts.id}`,
      `addr=${facts.address}`,
      `laddr=${facts.localAddress}`,
      'fd=-1',
      `name=${facts.name}`,
    ],
    ...[`age=${seconds(facts.ageMs)}`, `idle=${seconds(facts.idleMs)}`, `flags=${flags || 'N'}`, 'db=0'],
    ...[`sub=${channels}`, `psub=${patterns}`, `ssub=${shardChannels}`, `multi=${facts.queued}`],
    ...[`qbuf=${facts.unread}`, 'qbuf-free=0', 'argv-mem=0', 'multi-mem=0', 'rbs=0', 'rbp=0'],
    ...[`obl=${facts.unsent}`, 'oll=0', 'omem=0', `tot-mem=${facts.unread + facts.unsent}`, 'events=r'],
    ...[`cmd=${facts.lastCommand || 'NULL'}`, `user=${facts.user ?? '(superuser)'}`, 'redir=-1'],
    ...[`resp=${facts.protocol}`, `lib-name=${facts.libName}`, `lib-ver=${facts.libVersion}`],
  ].join(' ')
}
