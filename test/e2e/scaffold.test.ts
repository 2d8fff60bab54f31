import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { inRoot } from '../support/workspace.ts'

const execute = promisify(execFile)
/** A copy of the repository, so that nothing of the demo stays. */
let copy: string

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'outrider-scaffold-'))
  const script = `
    git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents --target-directory "$1"
    cp --archive --link node_modules "$1/"
    # npm writes this one in place, which a link would carry back.
    cp --remove-destination node_modules/.package-lock.json "$1/node_modules/"
    git -C "$1" init --quiet`
  execFileSync('bash', ['-c', `set -euo pipefail; ${script}`, 'copy', copy], { cwd: inRoot() })
})
afterAll(() => rmSync(copy, { recursive: true }))

const npm = (...args: string[]) => execute('npm', args, { cwd: copy, maxBuffer: 64 * 2 ** 20 })

it('npm run new -- sidecar-demo gives a container that passes lint, types and contract tests untouched', async () => {
  const made = await npm('run', 'new', '--', 'sidecar-demo')
  expect(made.stdout).toContain('packages/sidecar-demo is ready')
  await npm('run', 'lint')
  const args = [
    '--testNamePattern',
    'sidecar-demo|outrider|line 18|line 19|A request body',
    '--reporter=json',
    '--outputFile=report.json',
  ]
  // What failed is in the report, and more telling than the exit code.
  await npm('test', '--', ...args).catch(() => undefined)
  const report = JSON.parse(readFileSync(join(copy, 'report.json'), 'utf8')) as {
    testResults: { assertionResults: { fullName: string; ancestorTitles: string[]; status: string }[] }[]
  }
  const results = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  expect(results.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName)).toEqual([])
  const passed = results.filter(({ status }) => status === 'passed')
  expect(
    passed.filter(({ ancestorTitles }) => ancestorTitles.includes('sidecar-demo')).length,
  ).toBeGreaterThan(20)
}, 300_000)

it('a name that is taken or malformed is refused', async () => {
  await expect(npm('run', 'new', '--', 'sidecar-https')).rejects.toThrow(/exists/)
  await expect(npm('run', 'new', '--', 'Not_Kebab')).rejects.toThrow(/kebab-case/)
})
