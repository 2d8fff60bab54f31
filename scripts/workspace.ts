import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Container } from '@outrider/core'

export const inRoot = (...parts: string[]): string =>
  fileURLToPath(new URL(`../${parts.join('/')}`, import.meta.url))

/** The names of all container packages: those that have a definition and a program. */
export const containerNames = (): string[] =>
  readdirSync(inRoot('packages'))
    .filter((name) =>
      ['container.ts', 'main.ts'].every((file) => existsSync(inRoot('packages', name, 'src', file))),
    )
    .sort()

export const containersOfWorkspace = (): Promise<Container[]> =>
  Promise.all(
    containerNames().map(async (name) => {
      const url = pathToFileURL(inRoot('packages', name, 'src/container.ts'))
      return ((await import(url.href)) as { default: Container }).default
    }),
  )
