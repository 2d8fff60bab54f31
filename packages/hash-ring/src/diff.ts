import { Continuum } from './continuum.ts'
import { bytesOf, type Ring } from './ring.ts'

export interface DiffOptions {
  /** Keys to look at; without them `key:0`, `key:1` and so on. */
  readonly keys?: Iterable<string | Uint8Array>
  /** How many keys are looked at, at most; 100000 without. */
  readonly samples?: number
  /** How many keys that move are shown, at most; 10 without. */
  readonly examples?: number
}

export interface RingDiff {
  /** The share that changes its server, 0 to 1. */
  readonly moved: number
  /** Whether `moved` and the matrix are counted over all hashes that a key can have; otherwise over the sample. */
  readonly exact: boolean
  /**
   * The keys that were looked at, and the share of them that moves. It differs from an exact `moved` where the hash
   * spreads these keys badly, as fnv1a_64 does with names that differ at their end alone.
   */
  readonly sample: { readonly keys: number; readonly moved: number }
  /** What goes from where to where, or stays; by name, the largest first, without what is nothing. */
  readonly matrix: readonly { readonly from: string; readonly to: string; readonly share: number }[]
  readonly examples: readonly { readonly key: string; readonly from: string; readonly to: string }[]
}

/**
 * What a change would move; a server is the same one where its name is. Exact between two rings of points with the same
 * hash and tag.
 * @throws Error where a ring is `random`, or no key is there to look at
 */
export function diff(before: Ring, after: Ring, options: DiffOptions = {}): RingDiff {
  for (const { distribution } of [before, after]) {
    if (distribution === 'random') throw new Error('random keeps no key anywhere: it cannot be compared')
  }
  const flows = new Flows(before, after)
  const exact = sweep(before, after, flows)
  const most = options.examples ?? 10
  const examples: { key: string; from: string; to: string }[] = []
  /** Those that say what another one has said. */
  const further: typeof examples = []
  const shown = new Map<number, number>()
  let keys = 0
  let moved = 0
  for (const key of firstOf(options.keys ?? generated(), options.samples ?? 100_000)) {
    keys += 1
    const [old, now] = [before.indexOfKey(key), after.indexOfKey(key)]
    if (!exact) flows.add(old, now, 1)
    const [from, to] = [flows.from(old), flows.to(now)]
    if (from === to) continue
    moved += 1
    const flow = old * after.servers.length + now
    const alike = shown.get(flow) ?? 0
    const list = alike < ALIKE_MOST ? examples : further
    if (list.length >= most) continue
    shown.set(flow, alike + 1)
    list.push({ key: Buffer.from(bytesOf(key)).toString(), from, to })
  }
  examples.push(...further.slice(0, Math.max(0, most - examples.length)))
  if (!exact && keys === 0) throw new Error('no key to look at: give keys, or leave them out')
  return { ...flows.result(), exact, sample: { keys, moved: keys === 0 ? 0 : moved / keys }, examples }
}

/** Examples of one way, before others are shown. */
const ALIKE_MOST = 2

function* generated(): Generator<string> {
  for (let number = 0; ; number += 1) yield `key:${number}`
}

function* firstOf<T>(values: Iterable<T>, count: number): Generator<T> {
  let left = count
  if (left <= 0) return
  for (const value of values) {
    yield value
    left -= 1
    if (left <= 0) return
  }
}

/** Adds up what goes from where to where. */
class Flows {
  readonly #before: Ring
  readonly #after: Ring
  readonly #amounts = new Map<number, number>()
  #total = 0

  constructor(before: Ring, after: Ring) {
    this.#before = before
    this.#after = after
  }

  add(old: number, now: number, amount: number): void {
    const flow = old * this.#after.servers.length + now
    this.#amounts.set(flow, (this.#amounts.get(flow) ?? 0) + amount)
    this.#total += amount
  }

  from(index: number): string {
    return this.#before.servers[index]?.name ?? ''
  }

  to(index: number): string {
    return this.#after.servers[index]?.name ?? ''
  }

  result(): Pick<RingDiff, 'moved' | 'matrix'> {
    const { length } = this.#after.servers
    let moved = 0
    const matrix = [...this.#amounts].map(([flow, amount]) => {
      const from = this.from(Math.floor(flow / length))
      const to = this.to(flow % length)
      if (from !== to) moved += amount
      return { from, to, share: amount / this.#total }
    })
    return { moved: moved / this.#total, matrix: matrix.sort((left, right) => right.share - left.share) }
  }
}

/** Follows both rings around all hashes; gives false where they cannot be laid over each other. */
function sweep(before: Ring, after: Ring, flows: Flows): boolean {
  const [old, now] = [before.placement, after.placement]
  if (!(old instanceof Continuum && now instanceof Continuum)) return false
  if (!old.hash.equals(now.hash) || before.tag?.characters !== after.tag?.characters) return false
  const last = old.hash.range - 1
  let done = -1
  let oldPlace = 0
  let nowPlace = 0
  while (done < last) {
    const upTo = Math.min(old.points[oldPlace] ?? last, now.points[nowPlace] ?? last, last)
    flows.add(ownerAt(old, oldPlace), ownerAt(now, nowPlace), upTo - done)
    done = upTo
    oldPlace = placeBehind(old, oldPlace, done)
    nowPlace = placeBehind(now, nowPlace, done)
  }
  return true
}

function ownerAt({ owners }: Continuum, place: number): number {
  return owners[place] ?? owners[0] ?? 0
}

function placeBehind({ points }: Continuum, from: number, hash: number): number {
  let place = from
  while ((points[place] ?? Number.POSITIVE_INFINITY) <= hash) place += 1
  return place
}
