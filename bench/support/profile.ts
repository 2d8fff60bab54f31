import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { table } from '@outrider/core/render'
import { inRoot } from '../../scripts/workspace.ts'

/** What is read of a .cpuprofile, the format of the inspector's Profiler domain. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[]
}

const shown = 25

/** Arguments for Node that leave a profile in the folder when the process ends. */
export const profiling = (directory: string): string[] => ['--cpu-prof', `--cpu-prof-dir=${directory}`]

/** The functions that took most time themselves, over all profiles in a folder; idle time left out. */
export function hottest(directory: string): string {
  const times = new Map<string, number>()
  for (const name of readdirSync(directory).filter((file) => file.endsWith('.cpuprofile'))) {
    const profile = JSON.parse(readFileSync(join(directory, name), 'utf8')) as CpuProfile
    const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
    profile.samples.forEach((id, index) => {
      const function_ = names.get(id) ?? '(unknown)'
      times.set(function_, (times.get(function_) ?? 0) + (profile.timeDeltas[index] ?? 0))
    })
  }
  times.delete('(idle)')
  const busy = [...times.values()].reduce((sum, time) => sum + time, 0)
  const rows = [...times]
    .sort(([, a], [, b]) => b - a)
    .slice(0, shown)
    .map(([name, time]) => [`${((100 * time) / busy).toFixed(1)} %`, `${Math.round(time / 1000)} ms`, name])
  return table(['of busy time', 'self', 'function'], rows)
}

function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const file = url.startsWith('file:') ? relative(inRoot(), fileURLToPath(url)) : url
  return file === ''
    ? functionName || '(anonymous)'
    : `${functionName || '(anonymous)'} ${file}:${lineNumber + 1}`
}
