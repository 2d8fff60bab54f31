import { mib } from '../support/memory.ts'

/**
 * Where memory ends up depends on when V8 collects and on what malloc keeps: what it may be more by at the later of two
 * moments that should be alike, bytes.
 */
export const margin = 8 * 2 ** 20

/** The bytes at two moments between which nothing should have been added. */
export interface Growth {
  readonly from: number
  readonly to: number
}

/** `allowed` is what another program grows by in the same place, bytes. */
export const isFlat = ({ from, to }: Growth, allowed = 0): boolean => to <= from + allowed + margin

/** `flat (-0.4 MiB)`. */
export function growthText(growth: Growth): string {
  const added = growth.to - growth.from
  return `${isFlat(growth) ? 'flat' : '**grows**'} (${added < 0 ? '' : '+'}${mib(added)})`
}

/** What a part of the bench found. */
export interface Finding {
  /** Markdown. */
  readonly section: string
  /** What did not hold, such as `descriptors are left`. */
  readonly faults: readonly string[]
}
