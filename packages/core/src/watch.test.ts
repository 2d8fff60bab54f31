import {
  appendFileSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AtomicWriter, flip, inert, never, Recorder, Scratch } from './watch-fixture.ts'

interface Change {
  readonly path: string
  readonly before: string | undefined
  readonly after: string | undefined
  readonly make: () => void
}

/** Every way in which a file is changed out there, and whether an event can tell of it. */
const changes: Record<string, (scratch: Scratch) => Change> = {
  'is written in place'(scratch) {
    const path = scratch.write('file', 'old')
    return { path, before: 'old', after: 'new', make: () => writeFileSync(path, 'new') }
  },
  'is emptied'(scratch) {
    const path = scratch.write('file', 'old')
    return { path, before: 'old', after: '', make: () => truncateSync(path) }
  },
  'is appended to'(scratch) {
    const path = scratch.write('file', 'old')
    return { path, before: 'old', after: 'older', make: () => appendFileSync(path, 'er') }
  },
  'is written through a hard link elsewhere'(scratch) {
    const path = scratch.write('seen/file', 'old')
    mkdirSync(scratch.at('elsewhere'))
    linkSync(path, scratch.at('elsewhere/file'))
    return {
      path,
      before: 'old',
      after: 'new',
      make: () => writeFileSync(scratch.at('elsewhere/file'), 'new'),
    }
  },
  'is renamed over'(scratch) {
    const path = scratch.write('file', 'old')
    const fresh = scratch.write('fresh', 'new')
    return { path, before: 'old', after: 'new', make: () => renameSync(fresh, path) }
  },
  'is deleted'(scratch) {
    const path = scratch.write('file', 'old')
    return { path, before: 'old', after: undefined, make: () => unlinkSync(path) }
  },
  'is deleted and created again'(scratch) {
    const path = scratch.write('file', 'old')
    return {
      path,
      before: 'old',
      after: 'new',
      make() {
        unlinkSync(path)
        writeFileSync(path, 'new')
      },
    }
  },
  'is created'(scratch) {
    const path = scratch.at('file')
    return { path, before: undefined, after: 'new', make: () => writeFileSync(path, 'new') }
  },
  'is created with its directories'(scratch) {
    const path = scratch.at('a/b/c/file')
    return { path, before: undefined, after: 'new', make: () => scratch.write('a/b/c/file', 'new') }
  },
  'is deleted with its directories'(scratch) {
    const path = scratch.write('a/b/c/file', 'old')
    return { path, before: 'old', after: undefined, make: () => rmSync(scratch.at('a'), { recursive: true }) }
  },
  'is in a Kubernetes volume and ..data is swapped'(scratch) {
    const volume = new AtomicWriter(scratch.at('volume'))
    volume.publish({ file: 'old' })
    return {
      path: scratch.at('volume/file'),
      before: 'old',
      after: 'new',
      make: () => volume.publish({ file: 'new' }),
    }
  },
  'is in a directory of a Kubernetes volume and ..data is swapped'(scratch) {
    const volume = new AtomicWriter(scratch.at('volume'))
    volume.publish({ 'tls/ca.pem': 'old' })
    return {
      path: scratch.at('volume/tls/ca.pem'),
      before: 'old',
      after: 'new',
      make: () => volume.publish({ 'tls/ca.pem': 'new' }),
    }
  },
  'is a new key of a Kubernetes volume'(scratch) {
    const volume = new AtomicWriter(scratch.at('volume'))
    volume.publish({ other: 'x' })
    return {
      path: scratch.at('volume/file'),
      before: undefined,
      after: 'new',
      make: () => volume.publish({ other: 'x', file: 'new' }),
    }
  },
  'is a deleted key of a Kubernetes volume'(scratch) {
    const volume = new AtomicWriter(scratch.at('volume'))
    volume.publish({ other: 'x', file: 'old' })
    return {
      path: scratch.at('volume/file'),
      before: 'old',
      after: undefined,
      make: () => volume.publish({ other: 'x' }),
    }
  },
  'is below a git-sync link and the link is flipped'(scratch) {
    scratch.write('root/.worktrees/1a2b/conf/file', 'old')
    scratch.write('root/.worktrees/3c4d/conf/file', 'new')
    symlinkSync('.worktrees/1a2b', scratch.at('root/current'))
    return {
      path: scratch.at('root/current/conf/file'),
      before: 'old',
      after: 'new',
      make() {
        flip(scratch.at('root/current'), '.worktrees/3c4d')
        rmSync(scratch.at('root/.worktrees/1a2b'), { recursive: true })
      },
    }
  },
  'is below a link several levels up and the link is flipped'(scratch) {
    scratch.write('v1/a/b/c/file', 'old')
    scratch.write('v2/a/b/c/file', 'new')
    symlinkSync(scratch.at('v1'), scratch.at('current'))
    const make = () => flip(scratch.at('current'), scratch.at('v2'))
    return { path: scratch.at('current/a/b/c/file'), before: 'old', after: 'new', make }
  },
  'is replaced by a link'(scratch) {
    const path = scratch.write('file', 'old')
    scratch.write('elsewhere/file', 'new')
    return { path, before: 'old', after: 'new', make: () => flip(path, 'elsewhere/file') }
  },
  'is a link and replaced by a file'(scratch) {
    scratch.write('elsewhere/file', 'old')
    symlinkSync('elsewhere/file', scratch.at('file'))
    const fresh = scratch.write('fresh', 'new')
    const path = scratch.at('file')
    return { path, before: 'old', after: 'new', make: () => renameSync(fresh, path) }
  },
  'is a link and the file behind it is written'(scratch) {
    const target = scratch.write('elsewhere/file', 'old')
    symlinkSync('elsewhere/file', scratch.at('file'))
    return { path: scratch.at('file'), before: 'old', after: 'new', make: () => writeFileSync(target, 'new') }
  },
  'is a link to nowhere and its target is created'(scratch) {
    symlinkSync('a/b/target', scratch.at('file'))
    return {
      path: scratch.at('file'),
      before: undefined,
      after: 'new',
      make: () => scratch.write('a/b/target', 'new'),
    }
  },
  'is reached through the parent of a link'(scratch) {
    scratch.write('v1/file', 'old')
    scratch.write('v2/file', 'new')
    mkdirSync(scratch.at('v1/sub'))
    mkdirSync(scratch.at('v2/sub'))
    symlinkSync('v1/sub', scratch.at('link'))
    const make = () => flip(scratch.at('link'), 'v2/sub')
    return { path: `${scratch.at('link')}/../file`, before: 'old', after: 'new', make }
  },
  'is in a directory moved away for another'(scratch) {
    scratch.write('conf/file', 'old')
    scratch.write('conf.new/file', 'new')
    return {
      path: scratch.at('conf/file'),
      before: 'old',
      after: 'new',
      make() {
        renameSync(scratch.at('conf'), scratch.at('conf.old'))
        renameSync(scratch.at('conf.new'), scratch.at('conf'))
      },
    }
  },
  'was a directory'(scratch) {
    mkdirSync(scratch.at('file'))
    const fresh = scratch.write('fresh', 'new')
    return {
      path: scratch.at('file'),
      before: undefined,
      after: 'new',
      make() {
        rmSync(scratch.at('file'), { recursive: true })
        renameSync(fresh, scratch.at('file'))
      },
    }
  },
}

/** A chain of relative and absolute links through files and directories, with one hop flipped. */
for (const hop of ['first', 'second', 'third', 'last']) {
  changes[`is at the end of a chain of links and the ${hop} is flipped`] = (scratch) => {
    scratch.write('end/old/file', 'old')
    scratch.write('end/new/file', 'new')
    mkdirSync(scratch.at('middle/deep'), { recursive: true })
    const { path } = scratch
    symlinkSync('middle/second', scratch.at('first'))
    symlinkSync(`${path}/middle/deep/third/file`, scratch.at('middle/second'))
    symlinkSync('../../end/last', scratch.at('middle/deep/third'))
    symlinkSync('old', scratch.at('end/last'))
    const flips: Record<string, () => void> = {
      first: () => flip(scratch.at('first'), `${path}/end/new/file`),
      second: () => flip(scratch.at('middle/second'), '../end/./new/../new/file'),
      third: () => flip(scratch.at('middle/deep/third'), `${path}/end/new`),
      last: () => flip(scratch.at('end/last'), 'new'),
    }
    return { path: scratch.at('first'), before: 'old', after: 'new', make: () => flips[hop]?.() }
  }
}

const means = [
  ['events alone', { pollMs: never, quietMs: 20 }, undefined],
  ['polling alone', { pollMs: 20, quietMs: 20 }, inert],
] as const

describe.each(means)('by %s', (_, options, watch) => {
  test.concurrent.each(Object.entries(changes))(
    'a change is seen when the file %s',
    async (_name, prepare) => {
      using scratch = new Scratch()
      const { path, before, after, make } = prepare(scratch)
      await using recorder = await Recorder.of([path], options, watch)
      expect(recorder.text(path)).toBe(before)
      make()
      await recorder.sees(path, after)
    },
  )

  test.concurrent.each(Object.entries(changes))(
    'the next change is seen after the file %s',
    async (_name, prepare) => {
      using scratch = new Scratch()
      const { path, after, make } = prepare(scratch)
      await using recorder = await Recorder.of([path], options, watch)
      make()
      await recorder.sees(path, after)
      // Through the path itself: whatever is there now must be watched by now.
      if (after === undefined) mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, 'newest')
      await recorder.sees(path, 'newest')
    },
  )
})

test('a directory renamed several levels above is seen by polling, whose interval is under a second', async () => {
  using scratch = new Scratch()
  const path = scratch.write('top/a/b/file', 'old')
  scratch.write('top.new/a/b/file', 'new')
  await using recorder = await Recorder.of([path])
  renameSync(scratch.at('top'), scratch.at('top.old'))
  renameSync(scratch.at('top.new'), scratch.at('top'))
  await recorder.sees(path, 'new')
})
