import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { version } from '@outrider/core'
import { inRoot } from './workspace.ts'

/** `npm run new -- <name>`: a container that passes lint, types and contract tests as it is. */
const [name = ''] = process.argv.slice(2)
const patterns = ['sidecar', 'ambassador', 'adapter', 'serving', 'batch']
const folder = `packages/${name}`
if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || existsSync(inRoot(folder))) {
  const why = existsSync(inRoot(folder)) && name !== '' ? `${folder} exists` : 'give a name in kebab-case'
  console.error(`${why}: npm run new -- sidecar-demo`)
  process.exit(2)
}

const guide = readFileSync(inRoot('CONTRIBUTING.md'), 'utf8')
const taken = new Set([...guide.matchAll(/\b(\d{4,5})\b/g)].map(([, port]) => Number(port)))
const free = (from: number): number => (taken.has(from) ? free(from + 1) : from)
const values: Readonly<Record<string, string>> = {
  NAME: name,
  PATTERN: patterns.find((pattern) => name.startsWith(`${pattern}-`)) ?? 'sidecar',
  SUMMARY: `Answers every request with its own body, until ${name} does something better.`,
  VERSION: version,
  ADMIN: String(free(9101)),
  LISTEN: `127.0.0.1:${free(8090)}`,
}

for (const file of readdirSync(inRoot('scripts/template'), { recursive: true, encoding: 'utf8' })) {
  if (file.endsWith('.txt'))
    write(`${folder}/${file.slice(0, -'.txt'.length)}`, fill(read(`scripts/template/${file}`)))
}
write('CONTRIBUTING.md', withRow(guide, `| ${name} | ${values['LISTEN']} | ${values['ADMIN']} |`))
edit('packages/cli/package.json', (manifest) => addTo(manifest, 'dependencies', `@outrider/${name}`, version))
edit('tsconfig.build.json', (config) => ({
  ...config,
  references: [...list(config['references']), { path: folder }],
}))
edit('packages/cli/tsconfig.json', (config) => ({
  ...config,
  references: [...list(config['references']), { path: `../${name}` }],
}))
const run = (file: string, ...args: string[]) => execFileSync(file, args, { cwd: inRoot(), stdio: 'inherit' })
run('npm', 'install', '--no-audit', '--no-fund', '--loglevel=error')
run('npm', 'run', '--silent', 'generate')
run('biome', 'check', '--write', '--log-level=error', folder, 'packages/cli', 'tsconfig.build.json')
console.log(`${folder} is ready: npm test passes as it stands; begin with ${folder}/src/echo.ts`)

function read(file: string): string {
  return readFileSync(inRoot(file), 'utf8')
}

function write(file: string, text: string): void {
  mkdirSync(dirname(inRoot(file)), { recursive: true })
  writeFileSync(inRoot(file), text)
}

function fill(text: string): string {
  return text.replace(/__([A-Z]+)__/g, (token, key: string) => values[key] ?? token)
}

/** Puts a row at the end of the table of ports. */
function withRow(page: string, row: string): string {
  const rows = [...page.matchAll(/^\| [a-z0-9-]+ \| [^|]+ \| \d+ \|$/gm)]
  const last = rows.at(-1)
  if (last === undefined) throw new Error('CONTRIBUTING.md has lost its table of ports')
  const end = last.index + last[0].length
  return `${page.slice(0, end)}\n${row}${page.slice(end)}`
}

type Json = Record<string, unknown>

function edit(file: string, change: (content: Json) => Json): void {
  write(file, `${JSON.stringify(change(JSON.parse(read(file)) as Json), null, 2)}\n`)
}

function addTo(content: Json, section: string, key: string, value: string): Json {
  const entries = Object.entries({ ...(content[section] as Json), [key]: value }).sort(([a], [b]) =>
    a.localeCompare(b),
  )
  return { ...content, [section]: Object.fromEntries(entries) }
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}
