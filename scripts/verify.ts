import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { inRoot } from './workspace.ts'

/**
 * `npm run verify`: sets up what the tests need and runs all of them. Its last line says how many passed and failed; a
 * test that was skipped counts as failed, because it proves nothing.
 */
const reportOf = (project: string): string => inRoot(`build/test-report-${project}.json`)
const projects = ['unit', 'e2e'] as const
mkdirSync(inRoot('build'), { recursive: true })

const steps: readonly { readonly name: string; readonly command: readonly string[] }[] = [
  { name: 'Docker engine and Compose', command: ['docker/engine.sh', 'ensure'] },
  { name: 'podman', command: ['docker/engine.sh', 'podman'] },
  { name: 'Chromium', command: ['docker/engine.sh', 'chromium'] },
  { name: 'git, OpenSSH and GnuPG', command: ['docker/engine.sh', 'git'] },
  { name: 'lint and types', command: ['npm', 'run', '--silent', 'lint'] },
  // One after the other: the images are measured, too.
  ...projects.map((project) => ({
    name: `tests: ${project}`,
    command: [
      ...['vitest', 'run', '--project', project],
      ...['--reporter=default', '--reporter=json', `--outputFile.json=${reportOf(project)}`],
    ],
  })),
]

const begun = performance.now()
const failed: string[] = []
for (const { name, command } of steps) {
  const since = performance.now()
  console.log(`\n== ${name}`)
  const code = await execute(command)
  console.log(`== ${name}: ${code === 0 ? 'done' : `FAILED with exit code ${code}`} in ${seconds(since)} s`)
  if (code !== 0) failed.push(name)
}

const { passed, other } = tally()
// A step that failed without a failed test must not leave a green line.
const failures = other + (failed.length > 0 && other === 0 ? failed.length : 0)
console.log(`\n${failed.length === 0 ? 'verified' : `failed: ${failed.join(', ')}`}, in ${seconds(begun)} s`)
console.log(`${passed} passed, ${failures} failed`)
process.exitCode = failures === 0 ? 0 : 1

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(0)
}

function execute([file = '', ...args]: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd: inRoot(), stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', (error) => {
      console.log(error.message)
      resolve(1)
    })
    child.on('close', (code) => resolve(code ?? 1))
  })
}

interface Report {
  readonly startTime: number
  readonly numTotalTests: number
  readonly numPassedTests: number
}

/** What the test runner reported in this run; nothing of a project that did not get that far. */
function tally(): { passed: number; other: number } {
  const reports = projects.flatMap((project): Report[] => {
    try {
      return [JSON.parse(readFileSync(reportOf(project), 'utf8')) as Report]
    } catch {
      return []
    }
  })
  const own = reports.filter(({ startTime }) => startTime >= performance.timeOrigin)
  const sum = (of: (report: Report) => number) => own.map(of).reduce((total, count) => total + count, 0)
  const passed = sum(({ numPassedTests }) => numPassedTests)
  return { passed, other: sum(({ numTotalTests }) => numTotalTests) - passed }
}
