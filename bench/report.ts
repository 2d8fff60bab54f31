import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { inRoot } from '../scripts/workspace.ts'

const file = inRoot('docs/benchmarks.md')
const head = `# Benchmarks

Written by \`npm run bench\`; do not edit. Figures of one machine and one run are worth comparing with each other alone, so
look at the ratios.
`

/** Replaces one bench's section of docs/benchmarks.md and leaves the others. */
export function writeSection(name: string, body: string): void {
  const page = existsSync(file) ? readFileSync(file, 'utf8') : head
  const [, ...sections] = page.split(/^## /m)
  const own = `${name}\n\n${body.trim()}\n`
  const others = sections
    .filter((section) => !section.startsWith(`${name}\n`))
    .map((section) => `${section.trim()}\n`)
  const all = [...others, own].sort()
  writeFileSync(file, `${head}\n${all.map((section) => `## ${section}`).join('\n')}`)
}

/** The middle of the values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
