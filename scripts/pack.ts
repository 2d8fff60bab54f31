import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { inRoot } from './workspace.ts'

/**
 * `npm run pack`: every package as it would be published, in build/npm/<name>.tgz. In the repository packages export
 * their sources, which Node runs as they are; below node_modules it does not, so what is published exports `dist`.
 */
const output = inRoot('build/npm')
rmSync(output, { recursive: true, force: true })
const packages = readdirSync(inRoot('packages'))
// What an earlier build left of a source that is gone must not be published.
for (const name of packages) rmSync(inRoot('packages', name, 'dist'), { recursive: true, force: true })
execFileSync('tsc', ['-b', '--force', 'tsconfig.build.json'], { cwd: inRoot(), stdio: 'inherit' })
for (const name of packages) {
  const from = inRoot('packages', name)
  const to = `${output}/${name}`
  mkdirSync(to, { recursive: true })
  cpSync(`${from}/dist`, `${to}/dist`, { recursive: true })
  const page = existsSync(`${from}/README.md`) ? `${from}/README.md` : inRoot('README.md')
  cpSync(page, `${to}/README.md`)
  cpSync(inRoot('LICENSE'), `${to}/LICENSE`)
  writeFileSync(`${to}/package.json`, `${JSON.stringify(published(`${from}/package.json`), null, 2)}\n`)
  execFileSync('npm', ['pack', '--silent', '--pack-destination', output], { cwd: to, stdio: 'pipe' })
}
// Nothing is published, so npm finds what a package needs only when it is given beside it.
const tarballs = readdirSync(output).filter((file) => file.endsWith('.tgz'))
process.stdout.write(
  `Made ${tarballs.join(', ')}.\nIn a project of yours: npm install ${tarballs.map((file) => shellWord(`${output}/${file}`)).join(' ')}\n`,
)

function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

type Json = Record<string, unknown>

function published(file: string): Json {
  const { devDependencies: _, ...manifest } = JSON.parse(readFileSync(file, 'utf8')) as Json
  const dist = (source: string) => source.replace('./src/', './dist/').replace(/\.ts$/, '.js')
  const entries = Object.entries((manifest['exports'] ?? {}) as Record<string, string>).map(
    ([name, source]) => {
      const built = dist(source)
      return [name, built === source ? source : { types: built.replace(/\.js$/, '.d.ts'), default: built }]
    },
  )
  // What the repository runs is a script that finds the pinned Node; who installs a package brings their own.
  const bin = Object.keys((manifest['bin'] ?? {}) as Record<string, string>).map((name) => [
    name,
    './dist/main.js',
  ])
  return {
    ...manifest,
    exports: Object.fromEntries(entries),
    ...(bin.length > 0 ? { bin: Object.fromEntries(bin) } : {}),
  }
}
