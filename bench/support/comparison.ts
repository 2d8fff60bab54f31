import { table } from '@outrider/core/render'
import type { Peer } from '../peers/subject.ts'
import { median } from '../report.ts'
import type { Measurement } from './measure.ts'

/** What came of one subject, in the order of the rounds. */
export interface Rounds {
  readonly subject: Peer
  /** Why it was not measured at all. */
  readonly lack: string | undefined
  readonly measured: (Measurement | Error)[]
}

/** How a table reads. */
export interface Terms {
  /** What is counted, such as `request`. */
  readonly unit: string
  /** The subject that the others are compared with. */
  readonly reference: string
  /** The subject that throughput is compared with; undefined leaves that column out. */
  readonly direct?: string
}

const none = '-'

/** One row for each subject: medians over the rounds, and the medians of the ratios to others in the same round. */
export function comparison(all: readonly Rounds[], { unit, reference, direct }: Terms): string {
  const head = [
    'proxy',
    `CPU/${unit}`,
    `to ${reference}`,
    `${unit}s/s`,
    ...(direct === undefined ? [] : [`to ${direct}`]),
    'p50',
    'p99',
    `p99 to ${reference}`,
    'private memory',
  ]
  const rows = all.map((own) => {
    const { subject, lack, measured } = own
    const name = `${subject.name} (${subject.remark})`
    const good = measured.filter((one): one is Measurement => !(one instanceof Error))
    const failure = measured.find((one) => one instanceof Error)
    const fault = lack ?? failure?.message.replaceAll(/\s+/g, ' ')
    if (good.length === 0) return [name, fault ?? 'not measured', ...head.slice(2).map(() => none)]
    const middle = (figure: Figure) => median(good.map((one) => one[figure]))
    const ratio = (figure: Figure, other: string) => ratioText(ratioOf(all, figure, subject.name, other))
    const complaints = [...good.flatMap((one) => one.complaints), ...(fault === undefined ? [] : [fault])]
    return [
      name,
      [durationText(middle('cpuUs') / 1000), ...complaints].join('; '),
      ratio('cpuUs', reference),
      Math.round(middle('perSecond')).toLocaleString('en'),
      ...(direct === undefined ? [] : [ratio('perSecond', direct)]),
      durationText(middle('p50Ms')),
      durationText(middle('p99Ms')),
      ratio('p99Ms', reference),
      `${(middle('privateBytes') / 2 ** 20).toFixed(1)} MiB`,
    ]
  })
  return table(head, rows)
}

/** What can be compared. */
export type Figure = 'cpuUs' | 'perSecond' | 'p50Ms' | 'p99Ms' | 'privateBytes'

/** The median of one subject's ratios to another in the same round; undefined where there is no such round. */
export function ratioOf(
  all: readonly Rounds[],
  figure: Figure,
  name: string,
  other: string,
): number | undefined {
  const roundsOf = (wanted: string) => all.find(({ subject }) => subject.name === wanted)?.measured ?? []
  const others = roundsOf(other)
  const ratios = roundsOf(name).flatMap((one, round) => {
    const against = others[round]
    if (one instanceof Error || against === undefined || against instanceof Error) return []
    return [one[figure] / against[figure]]
  })
  return ratios.length === 0 ? undefined : median(ratios)
}

/** `0.95 x`. */
export const ratioText = (ratio: number | undefined): string =>
  ratio === undefined ? none : `${ratio.toFixed(2)} x`

function durationText(ms: number): string {
  if (ms >= 100) return `${ms.toFixed(0)} ms`
  return ms >= 1 ? `${ms.toFixed(2)} ms` : `${(ms * 1000).toFixed(1)} us`
}
