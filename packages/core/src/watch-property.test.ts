import {
  appendFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { flip, inert, never, Recorder, Scratch } from './watch-fixture.ts'

/** One thing done to a tree. What is impossible at the moment fails and changes nothing. */
type Step =
  | { readonly kind: 'write' | 'append' | 'replace'; readonly at: string; readonly text: string }
  | { readonly kind: 'unlink' | 'mkdir' | 'remove'; readonly at: string }
  | { readonly kind: 'rename' | 'hardlink'; readonly at: string; readonly to: string }
  | { readonly kind: 'symlink' | 'flip'; readonly at: string; readonly to: string }
  | { readonly kind: 'wait'; readonly ms: number }

function perform(root: string, step: Exclude<Step, { kind: 'wait' }>): void {
  const path = join(root, step.at)
  switch (step.kind) {
    case 'write':
      return writeFileSync(path, step.text)
    case 'append':
      return appendFileSync(path, step.text)
    case 'replace':
      writeFileSync(join(root, 'fresh'), step.text)
      return renameSync(join(root, 'fresh'), path)
    case 'unlink':
      return unlinkSync(path)
    case 'mkdir':
      return void mkdirSync(path, { recursive: true })
    case 'remove':
      return rmSync(path, { recursive: true })
    case 'rename':
      return renameSync(path, join(root, step.to))
    case 'hardlink':
      return linkSync(path, join(root, step.to))
    case 'symlink':
      return symlinkSync(step.to.replace('ROOT', root), path)
    case 'flip':
      return flip(path, step.to.replace('ROOT', root))
  }
}

/** Steps on these places, weighted so that there is often something to see. */
function stepsOn(places: readonly string[], targets: readonly string[]): fc.Arbitrary<Step[]> {
  const at = fc.constantFrom(...places)
  const text = fc.constantFrom('a', 'b', 'longer than the others')
  const kinds = <const K extends string>(...names: readonly K[]) => fc.constantFrom(...names)
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: kinds('write', 'append', 'replace'), at, text }) },
    { weight: 4, arbitrary: fc.record({ kind: kinds('unlink', 'mkdir', 'mkdir', 'remove'), at }) },
    { weight: 4, arbitrary: fc.record({ kind: kinds('rename', 'rename', 'hardlink'), at, to: at }) },
    {
      weight: 5,
      arbitrary: fc.record({ kind: kinds('symlink', 'flip'), at, to: fc.constantFrom(...targets) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: kinds('wait'), ms: fc.constantFrom(0, 1, 5, 30) }) },
  )
  return fc.array(step, { minLength: 1, maxLength: 30 })
}

function fresh(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

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
        fc.asyncProperty(steps, async (sequence) => {
          using scratch = new Scratch()
          scratch.write('a/x', 'start')
          mkdirSync(scratch.at('b'))
          const paths = names.map((name) => scratch.at(name))
          await using recorder = await Recorder.of(paths, { ...options, quietMs: 3, maxWaitMs: 20 }, watch)
          for (const step of sequence) {
            if (step.kind === 'wait') await sleep(step.ms)
            else
              try {
                perform(scratch.path, step)
              } catch {
                // Impossible at the moment.
              }
          }
          for (const path of paths) await recorder.sees(path, fresh(path))
          // Every report differs from the one before it.
          const reports = recorder.changes.map((contents) => JSON.stringify([...contents]))
          expect(reports.filter((report, i) => report === reports[i - 1])).toEqual([])
        }),
        { numRuns: 40, endOnFailure: true },
      )
    },
    60_000,
  )
})
