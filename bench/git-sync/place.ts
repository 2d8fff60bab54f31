import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Where something that is measured writes. */
export interface Place extends Disposable {
  readonly home: string
  /** Empty at first; what is synced gets into it. */
  readonly root: string
}

/** A new place, which goes away again so that the disk has room for the next one. */
export function makePlace(directory: string, name: string): Place {
  const home = join(directory, name.replaceAll(/\W+/g, '-'))
  const root = join(home, 'root')
  mkdirSync(root, { recursive: true })
  return { home, root, [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }) }
}
