import {
  appendFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { flip, inert, never, Recorder, Scratch } from './watch-fixture.ts'

/** One thing done to a tree, or a pause. What is impossible at the moment fails and changes nothing. */
type Step =
  | { readonly kind: keyof typeof actions; readonly at: string; readonly to: string; readonly text: string }
  | { readonly kind: 'wait'; readonly ms: number }

interface Places {
  /** Absolute. */
  readonly at: string
  readonly to: string
  readonly text: string
  /** Where a link is to lead, as it stands in the link. */
  readonly target: string
}

const actions = {
  write: ({ at, text }: Places) => writeFileSync(at, text),
  append: ({ at, text }: Places) => appendFileSync(at, text),
  replace({ at, text }: Places) {
    writeFileSync(`${at}.fresh`, text)
    renameSync(`${at}.fresh`, at)
  },
  unlink: ({ at }: Places) => unlinkSync(at),
  mkdir: ({ at }: Places) => mkdirSync(at),
  remove: ({ at }: Places) => rmSync(at, { recursive: true }),
  rename: ({ at, to }: Places) => renameSync(at, to),
  hardlink: ({ at, to }: Places) => linkSync(at, to),
  symlink: ({ at, target }: Places) => symlinkSync(target, at),
  flip: ({ at, target }: Places) => flip(at, target),
}

async function perform(root: string, step: Step): Promise<void> {
  if (step.kind === 'wait') return sleep(step.ms)
  const { text } = step
  const [at, to] = [join(root, step.at), join(root, step.to)]
  // Links with `..` may lead out of the tree once they are moved: nothing outside may be touched.
  if (!staysInside(root, at) || (!linking.has(step.kind) && !staysInside(root, to))) return
  // Much is impossible at the moment.
  attempt(() => actions[step.kind]({ at, to, text, target: step.to.replace('ROOT', root) }))
}

/** The actions whose second place is the text of a link. */
const linking: ReadonlySet<string> = new Set(['symlink', 'flip'])

/** Whether what is done to a path, through every link on the way and at its end, is done below the root. */
function staysInside(root: string, path: string): boolean {
  let place = path
  for (let links = 0; links <= 40; links++) {
    const directory = attempt(() => realpathSync.native(dirname(place)))
    if (directory === undefined) return false
    const here = join(directory, basename(place))
    if (!here.startsWith(`${root}/`)) return false
    const target = attempt(() => readlinkSync(here))
    if (target === undefined) return true
    // Not normalized: `y/..` is the parent of where `y` leads.
    place = isAbsolute(target) ? target : `${directory}/${target}`
  }
  return false
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch {
    return undefined
  }
}

/** Steps on these places, weighted so that there is often something to see. */
function stepsOn(places: readonly string[], targets: readonly string[]): fc.Arbitrary<Step[]> {
  const at = fc.constantFrom(...places)
  const text = fc.constantFrom('a', 'b', 'longer than the others')
  const action = (to: fc.Arbitrary<string>, ...kinds: (keyof typeof actions)[]): fc.Arbitrary<Step> =>
    fc.record({ kind: fc.constantFrom(...kinds), at, to, text })
  const step = fc.oneof(
    { weight: 6, arbitrary: action(at, 'write', 'append', 'replace') },
    { weight: 4, arbitrary: action(at, 'mkdir', 'mkdir', 'unlink', 'remove') },
    { weight: 4, arbitrary: action(at, 'rename', 'rename', 'hardlink') },
    { weight: 5, arbitrary: action(fc.constantFrom(...targets), 'symlink', 'flip') },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait'), ms: fc.constantFrom(0, 1, 5, 30) }) },
  )
  return fc.array(step, { minLength: 1, maxLength: 20 })
}

const fresh = (path: string): string | undefined => attempt(() => readFileSync(path, 'utf8'))

const directories = ['a', 'b', 'c']
const flat = directories.flatMap((name) => [name, `${name}/x`, `${name}/y`])
const flatTargets = ['a', 'b', './c', 'ROOT/a', '../b', 'x', 'y', '../a/x', '../b/y', 'ROOT/c/x', 'nowhere']
const deep = [...flat, 'a/y/x', 'b/y/x', 'a/y/y', 'a/y/y/x']
const deepTargets = [...flatTargets, '../../b/y', 'ROOT/a/y', 'y/x', '..', '../y/../x', 'a/y']

const cases = [
  // Where no directory is merely passed through, so that no change is left to polling.
  ['events alone', { pollMs: never }, undefined, stepsOn(flat, flatTargets), ['a/x', 'b/x', 'c/y', 'a']],
  ['polling alone', { pollMs: 10 }, inert, stepsOn(deep, deepTargets), ['a/x', 'a/y/x', 'b/y/x', 'c']],
  ['both', { pollMs: 10 }, undefined, stepsOn(deep, deepTargets), ['a/x', 'a/y/y/x', 'b/y/x', 'c']],
] as const

describe('whatever is done to a tree', () => {
  test.each(cases)(
    'in the end the contents are what is there, by %s',
    async (_, options, watch, steps, names) => {
      await fc.assert(
        fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 4 }), async (phases) => {
          using scratch = new Scratch()
          scratch.write('root/a/x', 'start')
          mkdirSync(scratch.at('root/b'))
          const root = realpathSync.native(scratch.at('root'))
          const paths = names.map((name) => join(root, name))
          await using recorder = await Recorder.of(paths, { ...options, quietMs: 3, maxWaitMs: 20 }, watch)
          for (const phase of phases) {
            for (const step of phase) await perform(root, step)
            for (const path of paths) await recorder.sees(path, fresh(path))
          }
          const reports = recorder.changes.map((contents) => JSON.stringify([...contents]))
          expect(reports.filter((report, i) => report === reports[i - 1])).toEqual([])
          expect(readdirSync(scratch.path)).toEqual(['root'])
        }),
        { numRuns: 40, endOnFailure: true },
      )
    },
    60_000,
  )
})
