import { table } from '@outrider/core/render'
import { type Rounds, ratioOf, ratioText } from '../support/comparison.ts'
import type { ShardWorkload } from './workloads.ts'

/** What came of a workload. */
export interface Outcome {
  readonly workload: ShardWorkload
  readonly rounds: readonly Rounds[]
}

/** The names of the subjects that the targets speak of. */
export interface Parties {
  readonly own: string
  readonly reference: string
  readonly direct: string
}

const p99Reach = 1

/** What was to be reached beside what was, in one row for each workload; bold where it was missed. */
export function reachTable(outcomes: readonly Outcome[], { own, reference, direct }: Parties): string {
  const head = [
    'load',
    `CPU to ${reference}`,
    'reach',
    `p99 to ${reference}`,
    'reach',
    `throughput to ${direct}`,
    'reach',
    `${reference}'s to ${direct}`,
  ]
  const rows = outcomes.map(({ workload: { title, reach }, rounds }) => {
    const cpu = ratioOf(rounds, 'cpuUs', own, reference)
    const p99 = ratioOf(rounds, 'p99Ms', own, reference)
    const throughput = ratioOf(rounds, 'perSecond', own, direct)
    const theirs = ratioOf(rounds, 'perSecond', reference, direct)
    // Where the reference itself falls short there is nothing to reach.
    const least = (theirs ?? 0) >= (reach.throughput ?? 0) ? reach.throughput : 0
    return [
      title,
      marked(cpu, { most: reach.cpu }),
      `<= ${ratioText(reach.cpu)}`,
      marked(p99, { most: p99Reach }),
      `<= ${ratioText(p99Reach)}`,
      marked(throughput, { least }),
      reach.throughput === undefined ? '-' : `>= ${ratioText(reach.throughput)}`,
      ratioText(theirs),
    ]
  })
  return table(head, rows)
}

function marked(
  ratio: number | undefined,
  { least = 0, most = Number.POSITIVE_INFINITY }: { least?: number | undefined; most?: number },
): string {
  const text = ratioText(ratio)
  return ratio !== undefined && (ratio < least || ratio > most) ? `**${text}**` : text
}
