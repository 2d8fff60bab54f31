import { diff, type RingDiff } from '@outrider/hash-ring'
import { type PoolDescription, ringOf, targetText } from './pool.ts'

/** What one topology would change about another. It is JSON as it is; `changeText` makes sentences of it. */
export interface Change {
  /** Names of shards. */
  readonly added: readonly string[]
  readonly removed: readonly string[]
  /** The same name at another address: its keys are asked for there, wherever the data is. */
  readonly moved: readonly { readonly name: string; readonly from: string; readonly to: string }[]
  /** The same address under another name, which places keys anew. */
  readonly renamed: readonly { readonly address: string; readonly from: string; readonly to: string }[]
  readonly weights: readonly { readonly name: string; readonly from: number; readonly to: number }[]
  /** What else decides where keys are; an empty text where it is not set. */
  readonly rules: readonly { readonly rule: string; readonly from: string; readonly to: string }[]
  /** Names of shards to which no key would go. */
  readonly idle: readonly string[]
  /** What becomes of the keys, by names of shards; null where one is random, which keeps no key anywhere. */
  readonly keys: RingDiff | null
}

const SAMPLES = 100_000
// Rendezvous asks each shard about each key, and all that while nothing else runs.
const SCORES = 1_000_000
const LEAST_SAMPLES = 100

/** @throws Error that names what cannot be; never for pools that a reader gave */
export function describeChange(old: PoolDescription, next: PoolDescription): Change {
  const before = byName(old)
  const after = byName(next)
  const both = next.shards.flatMap((now) => {
    const was = before.get(now.name)
    return was === undefined ? [] : [{ name: now.name, was, now }]
  })
  const removed = old.shards.filter(({ name }) => !after.has(name))
  const added = next.shards.filter(({ name }) => !before.has(name))
  const [ring, nextRing] = [ringOf(old), ringOf(next)]
  const isRandom = old.distribution === 'random' || next.distribution === 'random'
  return {
    added: added.map(({ name }) => name),
    removed: removed.map(({ name }) => name),
    moved: both
      .map(({ name, was, now }) => ({ name, from: targetText(was.target), to: targetText(now.target) }))
      .filter(({ from, to }) => from !== to),
    renamed: renamings(removed, added),
    weights: both
      .map(({ name, was, now }) => ({ name, from: was.weight, to: now.weight }))
      .filter(({ from, to }) => from !== to),
    rules: [
      ...changed('distribution', old.distribution, next.distribution),
      ...changed('hash', ring.placement.hashName ?? '', nextRing.placement.hashName ?? ''),
      ...changed('hash tag', old.tag ?? '', next.tag ?? ''),
      ...changed('sign of char', old.charSign, next.charSign),
    ],
    idle: nextRing.idle,
    keys: isRandom ? null : diff(ring, nextRing, { samples: Math.min(samplesOf(old), samplesOf(next)) }),
  }
}

function samplesOf({ distribution, shards }: PoolDescription): number {
  if (!distribution.startsWith('rendezvous')) return SAMPLES
  return Math.min(SAMPLES, Math.max(LEAST_SAMPLES, Math.floor(SCORES / shards.length)))
}

type Shards = PoolDescription['shards']

const byName = ({ shards }: PoolDescription): Map<string, Shards[number]> =>
  new Map(shards.map((shard) => [shard.name, shard]))

function renamings(removed: Shards, added: Shards): { address: string; from: string; to: string }[] {
  const names = new Map(removed.map(({ name, target }) => [targetText(target), name]))
  return added.flatMap(({ name, target }) => {
    const address = targetText(target)
    const from = names.get(address)
    names.delete(address)
    return from === undefined ? [] : [{ address, from, to: name }]
  })
}

function changed(rule: string, from: string, to: string): { rule: string; from: string; to: string }[] {
  return from === to ? [] : [{ rule, from, to }]
}

/** Flows that are shown; a hundred shards have thousands. */
const FLOWS_SHOWN = 20

/** Whether the two topologies are the same. */
export function isNoChange({ added, removed, moved, renamed, weights, rules, keys }: Change): boolean {
  const lists = [added, removed, moved, renamed, weights, rules]
  return lists.every(({ length }) => length === 0) && (keys === null || keys.moved === 0)
}

/** For people, lines without a line break at the end. */
export function changeText(change: Change): string {
  const { keys } = change
  const lines = [
    ...change.rules.map(({ rule, from, to }) => `${rule}: ${from || 'none'} becomes ${to || 'none'}`),
    ...list('added', change.added),
    ...list('removed', change.removed),
    ...change.moved.map(
      ({ name, from, to }) => `${name} moves from ${from} to ${to}: its data must be there`,
    ),
    ...change.renamed.map(
      ({ address, from, to }) => `${from} at ${address} is called ${to}: keep its name, and its keys stay`,
    ),
    ...change.weights.map(({ name, from, to }) => `${name}: weight ${from} becomes ${to}`),
    ...list('without a key, as their weight is too small', change.idle),
  ]
  if (keys === null) lines.push('random keeps no key anywhere, so that nothing can be said about keys')
  else lines.push(...keyLines(keys))
  return lines.join('\n')
}

const list = (what: string, names: readonly string[]): string[] =>
  names.length === 0 ? [] : [`${what}: ${names.join(', ')}`]

function keyLines({ moved, exact, sample, matrix, examples }: RingDiff): string[] {
  if (moved === 0) return ['no key goes to another shard']
  const flows = matrix.filter(({ from, to }) => from !== to)
  const basis = exact ? '' : ` (of ${sample.keys} keys that were looked at)`
  return [
    `${percent(moved)} of the keys go to another shard${basis}`,
    ...flows.slice(0, FLOWS_SHOWN).map(({ from, to, share }) => `  ${percent(share)} from ${from} to ${to}`),
    ...(flows.length > FLOWS_SHOWN ? [`  and ${flows.length - FLOWS_SHOWN} smaller flows`] : []),
    ...(examples.length > 0 ? ['for example'] : []),
    ...examples.map(({ key, from, to }) => `  ${key} from ${from} to ${to}`),
  ]
}

/** Of a share that is not 0: two digits, and never nothing. */
function percent(share: number): string {
  const text = (share * 100).toFixed(2)
  return text === '0.00' ? 'less than 0.01 %' : `${text} %`
}
