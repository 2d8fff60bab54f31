import { table } from '@outrider/core/render'
import type { Subject } from '../peers/subject.ts'
import { median } from '../report.ts'
import type { Measurement } from './measure.ts'

/** What came of one subject, in the order of the rounds. */
export interface Rounds {
  readonly subject: Subject
  /** Why it was not measured at all. */
  readonly lack: string | undefined
  readonly measured: (Measurement | Error)[]
}

const peer = 'nginx'
const none = '-'
const head = [
  'proxy',
  'CPU/request',
  `to ${peer}`,
  'requests/s',
  'p50',
  'p99',
  `p99 to ${peer}`,
  'private memory',
]

/** One row for each subject: medians over the rounds, and the medians of the ratios to the peer in the same round. */
export function comparison(all: readonly Rounds[]): string {
  const peers = all.find(({ subject }) => subject.name === peer)?.measured ?? []
  return table(
    head,
    all.map((rounds) => rowOf(rounds, peers)),
  )
}

function rowOf({ subject, lack, measured }: Rounds, peers: Rounds['measured']): string[] {
  const name = `${subject.name} (${subject.remark})`
  const good = measured.filter((one): one is Measurement => !(one instanceof Error))
  const failure = measured.find((one) => one instanceof Error)
  const fault = lack ?? failure?.message.replaceAll(/\s+/g, ' ')
  if (good.length === 0) return [name, fault ?? 'not measured', ...head.slice(2).map(() => none)]
  const middle = (figure: Figure) => median(good.map((one) => one[figure]))
  const ratio = (figure: Figure) => ratioText(ratios(measured, peers, figure))
  const complaints = [...good.flatMap((one) => one.complaints), ...(fault === undefined ? [] : [fault])]
  return [
    name,
    [durationText(middle('cpuUs') / 1000), ...complaints].join('; '),
    ratio('cpuUs'),
    Math.round(middle('perSecond')).toLocaleString('en'),
    durationText(middle('p50Ms')),
    durationText(middle('p99Ms')),
    ratio('p99Ms'),
    `${(middle('privateBytes') / 2 ** 20).toFixed(1)} MiB`,
  ]
}

type Figure = 'cpuUs' | 'perSecond' | 'p50Ms' | 'p99Ms' | 'privateBytes'

function ratios(own: Rounds['measured'], peers: Rounds['measured'], figure: Figure): number[] {
  return own.flatMap((one, round) => {
    const other = peers[round]
    if (one instanceof Error || other === undefined || other instanceof Error) return []
    return [one[figure] / other[figure]]
  })
}

const ratioText = (values: readonly number[]): string =>
  values.length === 0 ? none : `${median(values).toFixed(2)} x`

function durationText(ms: number): string {
  if (ms >= 100) return `${ms.toFixed(0)} ms`
  return ms >= 1 ? `${ms.toFixed(2)} ms` : `${(ms * 1000).toFixed(1)} us`
}
