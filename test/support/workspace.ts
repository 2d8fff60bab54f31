import { pathToFileURL } from 'node:url'
import type { Container } from '@outrider/core'
import type { MakeFixture } from '@outrider/core/testing'
import { containerNames, inRoot } from '../../scripts/workspace.ts'

export { inRoot } from '../../scripts/workspace.ts'

export interface ContainerPackage {
  readonly container: Container
  readonly makeFixture: MakeFixture
  /** The program that its image runs. */
  readonly main: string
}

/** Every container of the workspace, found by its files: a new one is under contract without being listed anywhere. */
export const containerPackages = (): Promise<ContainerPackage[]> =>
  Promise.all(
    containerNames().map(async (name) => {
      const load = (file: string) => import(pathToFileURL(inRoot('packages', name, 'src', file)).href)
      const { default: container } = (await load('container.ts')) as { default: Container }
      const { fixture } = (await load('fixture.ts')) as { fixture: MakeFixture }
      return { container, makeFixture: fixture, main: inRoot('packages', name, 'src/main.ts') }
    }),
  )
