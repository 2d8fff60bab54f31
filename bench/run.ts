import { footprint } from './footprint.ts'
import { writeSection } from './report.ts'

/** `npm run bench [-- <name> ...]`: measures, prints, and writes docs/benchmarks.md. */
const benches: Readonly<Record<string, () => Promise<string>>> = { footprint }

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !Object.hasOwn(benches, name))
if (unknown.length > 0) {
  console.error(`no bench ${unknown.join(', ')}; there are: ${Object.keys(benches).join(', ')}`)
  process.exit(2)
}
for (const [name, measure] of Object.entries(benches)) {
  if (asked.length > 0 && !asked.includes(name)) continue
  console.log(`== ${name}`)
  const section = await measure()
  console.log(section)
  writeSection(name, section)
}
console.log('wrote docs/benchmarks.md')
