import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { version } from '@outrider/core'
import { describe, expect, it } from 'vitest'
import { containerNames, containersOfWorkspace } from '../scripts/workspace.ts'
import { inRoot } from './support/workspace.ts'

type Json = Record<string, unknown>
const readJson = (...path: string[]): Json => JSON.parse(readFileSync(inRoot(...path), 'utf8')) as Json

describe('the workspace', () => {
  it('all packages have the one version, also where they depend on each other', () => {
    for (const name of readdirSync(inRoot('packages'))) {
      const manifest = readJson('packages', name, 'package.json')
      expect({ name, version: manifest['version'] }).toEqual({ name, version })
      for (const [dependency, range] of Object.entries((manifest['dependencies'] ?? {}) as Json)) {
        if (dependency.startsWith('@outrider/'))
          expect({ name, dependency, range }).toEqual({ name, dependency, range: version })
      }
    }
  })

  it('npm scripts run on the pinned Node, whatever the machine has', () => {
    const { optionalDependencies } = readJson('package.json') as {
      optionalDependencies: Record<string, string>
    }
    expect(Object.values(optionalDependencies)).toEqual(
      Object.values(optionalDependencies).map(() => process.versions.node),
    )
  })

  it('the lockfile names no download address, so that any registry serves it', () => {
    expect(readFileSync(inRoot('package-lock.json'), 'utf8')).not.toMatch(/"resolved": "https?:/)
  })

  it('the command knows every container', () => {
    const { dependencies } = readJson('packages/cli/package.json') as { dependencies: Json }
    expect(Object.keys(dependencies)).toEqual(
      expect.arrayContaining(containerNames().map((name) => `@outrider/${name}`)),
    )
  })

  it('lint refuses a promise that nobody waits for: an unhandled rejection would end a container', () => {
    const planted = inRoot('test/support/planted.ts')
    writeFileSync(
      planted,
      `async function work(): Promise<void> {}\nexport function forget(): void {\n  work()\n}\n`,
    )
    try {
      expect(() => execFileSync('biome', ['lint', planted], { cwd: inRoot(), stdio: 'pipe' })).toThrow(
        /noFloatingPromises/,
      )
    } finally {
      rmSync(planted)
    }
  })

  it('each promise of a container is the title of one of its tests', async () => {
    for (const { name, contract } of await containersOfWorkspace()) {
      const tests = readFileSync(inRoot('packages', name, 'src/container.test.ts'), 'utf8')
      for (const promise of contract) expect(tests).toContain(`'${promise}'`)
    }
  })
})
