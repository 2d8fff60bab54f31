import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, expect, it } from 'vitest'
import { containerNames } from '../scripts/workspace.ts'
import { inRoot } from './support/workspace.ts'

interface Source {
  readonly file: string
  readonly text: string
  readonly imports: readonly string[]
}

const isTest = (file: string): boolean =>
  /\.test\.ts$|\/(fixture|testing|test-support|[a-z-]*-test-support|test-ca|watch-fixture)\.ts$/.test(file)

function sourcesOf(name: string): Source[] {
  return readdirSync(inRoot('packages', name, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => {
      const text = readFileSync(inRoot('packages', name, 'src', file), 'utf8')
      const statements = text.matchAll(
        /^(?:import|export)\s(?:[^'"=;(]*?\sfrom\s)?'([^'\n]+)'|\bimport\(\s*'([^']+)'/gm,
      )
      const imports = [...statements].map(([, target, dynamic]) => target ?? dynamic ?? '')
      return { file: `packages/${name}/src/${file}`, text, imports }
    })
    .filter(({ file }) => !isTest(file))
}

/** Who asks for a client library imports this file by a subpath, and everybody else does without the library. */
const LIBRARIES: Readonly<Record<string, string>> = {
  'packages/ambassador-shard/src/sharded-redis.ts': 'ioredis',
}

const isLibraryOrItsFile = (target: string): boolean =>
  Object.entries(LIBRARIES).some(
    ([file, library]) => target === library || basename(target) === basename(file),
  )

const containers = containerNames()
const everything = readdirSync(inRoot('packages')).flatMap(sourcesOf)

describe('the dependency law', () => {
  it('a mechanism imports only its neighbours, mechanism packages and Node', () => {
    const offences = containers.flatMap((name) =>
      sourcesOf(name)
        .filter(({ file }) => !/\/(container|main)\.ts$/.test(file))
        .flatMap(({ file, imports }) => {
          const allowed = (target: string) =>
            target.startsWith('./') ||
            target.startsWith('node:') ||
            target === LIBRARIES[file] ||
            /^@outrider\/(listen|http-forward|resp|hash-ring|git-mirror)$/.test(target)
          return imports.filter((target) => !allowed(target)).map((target) => `${file} imports ${target}`)
        }),
    )
    expect(offences).toEqual([])
  })

  it('no other file needs such a library', () => {
    const offences = everything
      .filter(({ file }) => !Object.hasOwn(LIBRARIES, file))
      .flatMap(({ file, imports }) =>
        imports.filter(isLibraryOrItsFile).map((target) => `${file} imports ${target}`),
      )
    expect(offences).toEqual([])
  })

  it('a mechanism does not import its own definition', () => {
    const offences = containers.flatMap((name) =>
      sourcesOf(name)
        .filter(({ file, imports }) => !file.endsWith('/main.ts') && imports.includes('./container.ts'))
        .map(({ file }) => file),
    )
    expect(offences).toEqual([])
  })

  it('no package imports the package of another container', () => {
    const offences = containers.flatMap((name) =>
      sourcesOf(name).flatMap(({ file, imports }) =>
        imports
          .filter((target) =>
            containers.some((other) => other !== name && target.startsWith(`@outrider/${other}`)),
          )
          .map((target) => `${file} imports ${target}`),
      ),
    )
    expect(offences).toEqual([])
  })

  it('the environment, exit, signals and the console are touched in two files alone', () => {
    const allowed = ['packages/core/src/run.ts', 'packages/cli/src/main.ts']
    const offences = everything
      .filter(({ file }) => !allowed.includes(file))
      .filter(({ text }) =>
        /\bprocess\.(env|exit|on|once|exitCode|stdout|stderr)\b|\bconsole\./.test(withoutComments(text)),
      )
      .map(({ file }) => file)
    expect(offences).toEqual([])
  })

  it('only the definition of a container has a default export', () => {
    const offences = everything
      .filter(({ file, text }) => /^export default /m.test(text) && !file.endsWith('/container.ts'))
      .map(({ file }) => file)
    expect(offences).toEqual([])
  })
})

const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '')
