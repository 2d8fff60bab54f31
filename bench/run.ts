import { churn } from './churn.ts'
import { footprint } from './footprint.ts'
import { gitSync } from './git-sync.ts'
import { https } from './https.ts'
import { type BenchOptions, parseOptions } from './options.ts'
import { writeSection } from './report.ts'
import { shard } from './shard.ts'

/**
 * `npm run bench [-- <name> ... --options]`: measures, prints, and writes docs/benchmarks.md. The options are for `https`,
 * `shard`, `churn` and `git-sync`; with any of them the page is left alone.
 */
const benches: Readonly<Record<string, (options: BenchOptions) => Promise<string>>> = {
  churn,
  footprint,
  'git-sync': gitSync,
  https,
  shard,
}

const { names, options } = understood()
for (const [name, measure] of Object.entries(benches)) {
  if (names.length > 0 && !names.includes(name)) continue
  console.log(`== ${name}`)
  const section = await measure(options)
  console.log(section)
  if (options.complete) writeSection(name, section)
}
console.log(options.complete ? 'wrote docs/benchmarks.md' : 'docs/benchmarks.md is left as it was')

function understood(): { names: string[]; options: BenchOptions } {
  try {
    const asked = parseOptions(process.argv.slice(2))
    const unknown = asked.names.filter((name) => !Object.hasOwn(benches, name))
    if (unknown.length === 0) return asked
    throw new Error(`no bench ${unknown.join(', ')}; there are: ${Object.keys(benches).join(', ')}`)
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    return process.exit(2)
  }
}
