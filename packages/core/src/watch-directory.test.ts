import { execFileSync } from 'node:child_process'
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep, setImmediate as tick } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type DirectoryContents, type DirectoryWatcher, type WatchOptions, watchDirectory } from './watch.ts'
import type { WatchFunction } from './watch-events.ts'
import { AtomicWriter, flip, inert, never, Scratch, until } from './watch-fixture.ts'

type Texts = Readonly<Record<string, string>> | string

/** The texts by path, or the message of the error. */
const textsOf = (contents: DirectoryContents): Texts =>
  contents instanceof Error
    ? contents.message
    : Object.fromEntries([...contents].map(([path, content]) => [path, content.toString()]))

/** A watched directory with everything that was reported of it. */
class Recorder implements AsyncDisposable {
  readonly changes: Texts[] = []
  readonly errors: string[] = []
  readonly #watcher: DirectoryWatcher

  private constructor(watcher: DirectoryWatcher) {
    this.#watcher = watcher
  }

  static async of(
    path: string,
    options: Partial<WatchOptions<DirectoryContents>> = {},
    watch?: WatchFunction,
  ): Promise<Recorder> {
    const changes: Texts[] = []
    const errors: string[] = []
    const onChange = (contents: DirectoryContents) => void changes.push(textsOf(contents))
    const onError = (error: Error) => void errors.push(error.message)
    const watcher = await watchDirectory(path, { onChange, onError, ...options }, watch)
    return Object.assign(new Recorder(watcher), { changes, errors })
  }

  get texts(): Texts {
    return textsOf(this.#watcher.contents)
  }

  check(): Promise<void> {
    return this.#watcher.check()
  }

  async sees(texts: Texts): Promise<void> {
    const wanted = JSON.stringify(texts)
    await until(
      () => JSON.stringify(this.texts) === wanted,
      () => `${wanted}, not ${JSON.stringify(this.texts)} (${this.errors})`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watcher[Symbol.asyncDispose]()
  }
}

const missing = (path: string): string => `${path} does not exist: mount or create it`

interface Change {
  readonly path: string
  readonly before: Texts
  readonly after: Texts
  readonly make: () => void
}

const changes: Record<string, (scratch: Scratch) => Change> = {
  'a file is written in place'(scratch) {
    const file = scratch.write('dir/a', '1')
    return {
      path: scratch.at('dir'),
      before: { a: '1' },
      after: { a: '2' },
      make: () => writeFileSync(file, '2'),
    }
  },
  'a file is renamed over'(scratch) {
    const file = scratch.write('dir/a', '1')
    const fresh = scratch.write('fresh', '2')
    const make = () => renameSync(fresh, file)
    return { path: scratch.at('dir'), before: { a: '1' }, after: { a: '2' }, make }
  },
  'a file is new'(scratch) {
    scratch.write('dir/b', '1')
    const make = () => scratch.write('dir/a', '2')
    return { path: scratch.at('dir'), before: { b: '1' }, after: { a: '2', b: '1' }, make }
  },
  'a file is deleted'(scratch) {
    scratch.write('dir/a', '1')
    scratch.write('dir/b', '1')
    const make = () => rmSync(scratch.at('dir/b'))
    return { path: scratch.at('dir'), before: { a: '1', b: '1' }, after: { a: '1' }, make }
  },
  'a file is renamed'(scratch) {
    scratch.write('dir/a', '1')
    const make = () => renameSync(scratch.at('dir/a'), scratch.at('dir/b'))
    return { path: scratch.at('dir'), before: { a: '1' }, after: { b: '1' }, make }
  },
  'the last file is deleted'(scratch) {
    scratch.write('dir/a', '1')
    return {
      path: scratch.at('dir'),
      before: { a: '1' },
      after: {},
      make: () => rmSync(scratch.at('dir/a')),
    }
  },
  'a file below is written in place'(scratch) {
    const file = scratch.write('dir/host/a', '1')
    const make = () => writeFileSync(file, '2')
    return { path: scratch.at('dir'), before: { 'host/a': '1' }, after: { 'host/a': '2' }, make }
  },
  'a file below is new'(scratch) {
    scratch.write('dir/host/a', '1')
    const make = () => scratch.write('dir/host/b', '2')
    return {
      path: scratch.at('dir'),
      before: { 'host/a': '1' },
      after: { 'host/a': '1', 'host/b': '2' },
      make,
    }
  },
  'a directory below is new'(scratch) {
    scratch.write('dir/a', '1')
    const make = () => scratch.write('dir/host/a', '2')
    return { path: scratch.at('dir'), before: { a: '1' }, after: { a: '1', 'host/a': '2' }, make }
  },
  'a directory below is deleted'(scratch) {
    scratch.write('dir/a', '1')
    scratch.write('dir/host/a', '2')
    const make = () => rmSync(scratch.at('dir/host'), { recursive: true })
    return { path: scratch.at('dir'), before: { a: '1', 'host/a': '2' }, after: { a: '1' }, make }
  },
  'a directory below is replaced by rename'(scratch) {
    scratch.write('dir/host/a', '1')
    scratch.write('fresh/b', '2')
    const make = () => {
      renameSync(scratch.at('dir/host'), scratch.at('old'))
      renameSync(scratch.at('fresh'), scratch.at('dir/host'))
    }
    return { path: scratch.at('dir'), before: { 'host/a': '1' }, after: { 'host/b': '2' }, make }
  },
  'the directory appears'(scratch) {
    const make = () => scratch.write('x/dir/a', '1')
    return { path: scratch.at('x/dir'), before: missing(scratch.at('x/dir')), after: { a: '1' }, make }
  },
  'the directory disappears'(scratch) {
    scratch.write('dir/a', '1')
    const make = () => rmSync(scratch.at('dir'), { recursive: true })
    return { path: scratch.at('dir'), before: { a: '1' }, after: missing(scratch.at('dir')), make }
  },
  'the directory is replaced by rename'(scratch) {
    scratch.write('dir/a', '1')
    scratch.write('dir.new/b', '2')
    const make = () => {
      renameSync(scratch.at('dir'), scratch.at('dir.old'))
      renameSync(scratch.at('dir.new'), scratch.at('dir'))
    }
    return { path: scratch.at('dir'), before: { a: '1' }, after: { b: '2' }, make }
  },
  'the directory is the end of a git-sync link that is flipped'(scratch) {
    scratch.write('.worktrees/1/dir/a', '1')
    scratch.write('.worktrees/2/dir/a', '2')
    scratch.write('.worktrees/2/dir/b', '2')
    symlinkSync('.worktrees/1', scratch.at('current'))
    const make = () => {
      flip(scratch.at('current'), '.worktrees/2')
      rmSync(scratch.at('.worktrees/1'), { recursive: true })
    }
    return { path: scratch.at('current/dir'), before: { a: '1' }, after: { a: '2', b: '2' }, make }
  },
  'the directory itself is a link that is flipped'(scratch) {
    scratch.write('1/a', '1')
    scratch.write('2/a', '2')
    symlinkSync('1', scratch.at('dir'))
    const make = () => flip(scratch.at('dir'), '2')
    return { path: scratch.at('dir'), before: { a: '1' }, after: { a: '2' }, make }
  },
  'the directory is a Kubernetes volume and ..data is swapped'(scratch) {
    const volume = new AtomicWriter(scratch.at('dir'))
    volume.publish({ a: '1', 'host/b': '1', gone: '1' })
    const make = () => volume.publish({ a: '2', 'host/b': '2', 'new/c': '2' })
    return {
      path: scratch.at('dir'),
      before: { a: '1', gone: '1', 'host/b': '1' },
      after: { a: '2', 'host/b': '2', 'new/c': '2' },
      make,
    }
  },
  'a directory below is a Kubernetes volume and ..data is swapped'(scratch) {
    const volume = new AtomicWriter(scratch.at('dir/host'))
    volume.publish({ 'tls.crt': '1', 'tls.key': '1' })
    return {
      path: scratch.at('dir'),
      before: { 'host/tls.crt': '1', 'host/tls.key': '1' },
      after: { 'host/tls.crt': '2', 'host/tls.key': '2' },
      make: () => volume.publish({ 'tls.crt': '2', 'tls.key': '2' }),
    }
  },
  'a link in it gets its target'(scratch) {
    mkdirSync(scratch.at('dir'))
    symlinkSync('../elsewhere/a', scratch.at('dir/a'))
    const make = () => scratch.write('elsewhere/a', '1')
    return { path: scratch.at('dir'), before: {}, after: { a: '1' }, make }
  },
}

const means = [
  ['events alone', { pollMs: never, quietMs: 20 }, undefined],
  ['polling alone', { pollMs: 20, quietMs: 20 }, inert],
] as const

describe.each(means)('by %s', (_, options, watch) => {
  test.concurrent.each(Object.entries(changes))('it is seen when %s', async (_name, prepare) => {
    using scratch = new Scratch()
    const { path, before, after, make } = prepare(scratch)
    await using recorder = await Recorder.of(path, options, watch)
    expect(recorder.texts).toEqual(before)
    make()
    await recorder.sees(after)
  })

  test.concurrent.each(Object.entries(changes))(
    'the next change is seen after %s',
    async (_name, prepare) => {
      using scratch = new Scratch()
      const { path, after, make } = prepare(scratch)
      await using recorder = await Recorder.of(path, options, watch)
      make()
      await recorder.sees(after)
      mkdirSync(path, { recursive: true })
      writeFileSync(join(path, 'a'), 'next')
      await until(
        () => typeof recorder.texts === 'object' && recorder.texts['a'] === 'next',
        () => 'the file written last',
      )
    },
  )

  test.concurrent('versions of a Kubernetes volume are never mixed in one report', async () => {
    using scratch = new Scratch()
    const volume = new AtomicWriter(scratch.at('dir'))
    // Other names in each version: a file removed while being read would look as if it were not in its version.
    const version = (n: number) => ({ [`${n}-a`]: `${n}`, [`${n}-b`]: `${n}`, [`${n}-host/c`]: `${n}` })
    volume.publish(version(0))
    const impatient = { ...options, quietMs: 1, maxWaitMs: 5 }
    await using recorder = await Recorder.of(scratch.at('dir'), impatient, watch)
    for (let n = 1; n <= 500; n++) {
      volume.publish(version(n))
      // Short enough to swap while the one before is being read.
      if (n % 40 === 0) await sleep(20)
      else await tick()
    }
    await recorder.sees(version(500))
    expect(recorder.changes.length).toBeGreaterThan(1)
    for (const texts of recorder.changes) {
      const [name = ''] = Object.keys(texts)
      expect(texts).toEqual(version(Number.parseInt(name, 10)))
    }
  })

  test.concurrent('what changes within the quiet time is reported once', async () => {
    using scratch = new Scratch()
    const file = scratch.write('dir/a', '1')
    await using recorder = await Recorder.of(scratch.at('dir'), { ...options, quietMs: 200 }, watch)
    writeFileSync(file, '2')
    scratch.write('dir/b', '2')
    scratch.write('dir/host/c', '2')
    await recorder.sees({ a: '2', b: '2', 'host/c': '2' })
    expect(recorder.changes).toHaveLength(1)
  })

  test.concurrent('a file written with the same bytes, or one left out, is no change', async () => {
    using scratch = new Scratch()
    const file = scratch.write('dir/a', '1')
    await using recorder = await Recorder.of(scratch.at('dir'), options, watch)
    writeFileSync(file, '1')
    scratch.write('dir/.hidden', 'x')
    scratch.write('dir/host/deeper/x', 'x')
    await recorder.check()
    expect(recorder.changes).toEqual([])
    scratch.write('dir/b', '2')
    await recorder.sees({ a: '1', b: '2' })
    expect(recorder.changes).toHaveLength(1)
  })
})

test('a file written through a hard link elsewhere is seen by polling', async () => {
  using scratch = new Scratch()
  linkSync(scratch.write('elsewhere', '1'), scratch.write('dir/.keep', '').replace('.keep', 'a'))
  await using recorder = await Recorder.of(scratch.at('dir'), { pollMs: 20 })
  writeFileSync(scratch.at('elsewhere'), '2')
  await recorder.sees({ a: '2' })
})

test('files are in the order of their names', async () => {
  using scratch = new Scratch()
  for (const name of ['b', 'a/z', 'c', 'a/b', 'B']) scratch.write(name, '')
  await using recorder = await Recorder.of(scratch.path)
  expect(Object.keys(recorder.texts)).toEqual(['B', 'a/b', 'a/z', 'b', 'c'])
})

test('the path of a link and its parent leads where the kernel says', async () => {
  using scratch = new Scratch()
  scratch.write('v1/dir/a', '1')
  scratch.write('v1/host/x/.keep', '')
  symlinkSync('v1/host', scratch.at('link'))
  await using recorder = await Recorder.of(`${scratch.path}/link/../dir`)
  expect(recorder.texts).toEqual({ a: '1' })
})

test.each(['dir/', 'dir//', './dir'])('a path written as %s names the same directory', async (written) => {
  using scratch = new Scratch()
  scratch.write('dir/a', '1')
  await using recorder = await Recorder.of(`${scratch.path}/${written}`)
  expect(recorder.texts).toEqual({ a: '1' })
})

test('what is hidden, deeper, a link to nowhere, no regular file or lost+found is left out, silently', async () => {
  using scratch = new Scratch()
  for (const name of ['a', '.b', '.c/d', 'host/.e', 'host/deep/f', 'lost+found/g']) scratch.write(name, '1')
  symlinkSync('nowhere', scratch.at('dangling'))
  symlinkSync('/dev/zero', scratch.at('zero'))
  execFileSync('mkfifo', [scratch.at('fifo')])
  await using recorder = await Recorder.of(scratch.path)
  expect(recorder.texts).toEqual({ a: '1' })
  expect(recorder.errors).toEqual([])
})

describe('a directory that cannot be read whole is an error', () => {
  const bad: Record<string, (scratch: Scratch) => [make: () => void, mend: () => void, message: string]> = {
    'with more files than the limit'(scratch) {
      for (let n = 0; n < 4094; n++) writeFileSync(scratch.at('dir', `${n}`), '')
      const make = () => {
        scratch.write('dir/host/a', '')
        scratch.write('dir/host/b', '')
      }
      const message = `${scratch.at('dir')} holds more than 4096 files: keep other files elsewhere`
      return [make, () => rmSync(scratch.at('dir/host/b')), message]
    },
    'with more bytes than the limit'(scratch) {
      const big = ['1', '2', '3', '4', '5'].map((name) => scratch.at('dir', `big${name}`))
      const make = () => {
        for (const path of big) {
          writeFileSync(path, '')
          truncateSync(path, 15 * 1024 * 1024)
        }
      }
      const mend = () => {
        for (const path of big) rmSync(path)
      }
      const message = `${scratch.at('dir')} holds more than 67108864 bytes: keep other files elsewhere`
      return [make, mend, message]
    },
    'with a file larger than the limit'(scratch) {
      const path = scratch.at('dir/big')
      const make = () => {
        writeFileSync(path, '')
        truncateSync(path, 16 * 1024 * 1024 + 1)
      }
      return [make, () => rmSync(path), `${path} has 16777217 bytes: at most 16777216 are read`]
    },
    'with a loop of links'(scratch) {
      const path = scratch.at('dir/loop')
      const message = `${path} cannot be read: ELOOP: too many symbolic links encountered, stat '${path}'`
      return [() => symlinkSync('loop', path), () => rmSync(path), message]
    },
    'with more directories than the limit of files'(scratch) {
      const make = () => {
        for (let n = 0; n < 4097; n++) mkdirSync(scratch.at('dir', `${n}`))
      }
      const mend = () => {
        for (let n = 0; n < 4097; n++) rmdirSync(scratch.at('dir', `${n}`))
      }
      return [make, mend, `${scratch.at('dir')} holds more than 4096 files: keep other files elsewhere`]
    },
    'that is a file'(scratch) {
      const make = () => {
        renameSync(scratch.at('dir'), scratch.at('away'))
        scratch.write('dir', '')
      }
      const mend = () => {
        rmSync(scratch.at('dir'))
        renameSync(scratch.at('away'), scratch.at('dir'))
      }
      return [make, mend, `${scratch.at('dir')} is not a directory: name one`]
    },
  }

  test.each(Object.entries(bad))('%s', async (_, prepare) => {
    using scratch = new Scratch()
    scratch.write('dir/good', '1')
    const [make, mend, message] = prepare(scratch)
    await using recorder = await Recorder.of(scratch.at('dir'), { quietMs: 1, pollMs: 50 })
    make()
    await recorder.sees(message)
    expect(recorder.errors.at(-1)).toBe(message)
    mend()
    await until(
      () => typeof recorder.texts === 'object' && recorder.texts['good'] === '1',
      () => 'the good files again',
    )
  })
})

describe('what is used', () => {
  test('1 000 changes leave as many descriptors and watches as before, and disposal none', async () => {
    using scratch = new Scratch()
    const idle = resources()
    const volume = new AtomicWriter(scratch.at('dir/host'))
    volume.publish({ 'tls.crt': '0', 'tls.key': '0' })
    await using recorder = await Recorder.of(scratch.at('dir'), { quietMs: 0, pollMs: never })
    const before = resources()
    for (let n = 1; n <= 1000; n++) {
      volume.publish({ 'tls.crt': `${n}`, 'tls.key': `${n}`, [`${n}`]: '' })
      await recorder.check()
    }
    volume.publish({ 'tls.crt': '0', 'tls.key': '0' })
    await recorder.sees({ 'host/tls.crt': '0', 'host/tls.key': '0' })
    await recorder.check()
    expect(resources()).toEqual(before)
    expect(before.watches).toBeGreaterThan(idle.watches)
    await recorder[Symbol.asyncDispose]()
    expect(resources().watches).toBe(idle.watches)
  })

  test('only directories are watched, and stay so while files come and go', async () => {
    using scratch = new Scratch()
    mkdirSync(scratch.at('dir'))
    const watched: string[] = []
    const recorded: WatchFunction = (place, options, listener) => {
      watched.push(place)
      return inert(place, options, listener)
    }
    await using recorder = await Recorder.of(scratch.at('dir'), { pollMs: never }, recorded)
    scratch.write('dir/a', '1')
    await recorder.check()
    rmSync(scratch.at('dir/a'))
    await recorder.check()
    expect(watched).toEqual([scratch.path, scratch.at('dir')])
  })
})

/** What the contents should be, from the file system itself. */
function contentsNow(root: string): Texts {
  const texts: Record<string, string> = {}
  const visible = (path: string) =>
    readdirSync(path)
      .filter((name) => !name.startsWith('.'))
      .sort()
  const add = (path: string, below: boolean) => {
    const stats = statSync(join(root, path), { throwIfNoEntry: false })
    if (stats?.isFile()) texts[path] = readFileSync(join(root, path), 'utf8')
    if (stats?.isDirectory() && !below)
      for (const name of visible(join(root, path))) add(`${path}/${name}`, true)
  }
  const stats = statSync(root, { throwIfNoEntry: false })
  if (stats === undefined) return missing(root)
  if (!stats.isDirectory()) return `${root} is not a directory: name one`
  for (const name of visible(root)) add(name, false)
  return texts
}

const actions = {
  write: (at: string, _to: string, text: string) => writeFileSync(at, text),
  replace(at: string, _to: string, text: string) {
    writeFileSync(`${at}.fresh`, text)
    renameSync(`${at}.fresh`, at)
  },
  remove: (at: string) => rmSync(at, { recursive: true }),
  mkdir: (at: string) => mkdirSync(at),
  rename: (at: string, to: string) => renameSync(at, to),
  link(at: string, to: string) {
    // Out of the watched directory and never back, so that there is no loop.
    if (at.includes('/dir/')) symlinkSync(to.replace('/dir/', '/other/'), at)
  },
}

test.each([
  ['polling alone', inert],
  ['both', undefined],
] as const)(
  'whatever is done to a tree, in the end the contents are what is there, by %s',
  async (_, watch) => {
    const place = fc.constantFrom(
      'dir/a',
      'dir/h',
      'dir/h/a',
      'dir/h/b',
      'dir/.x',
      'dir/h/d/a',
      'dir/h/d',
      'dir',
      'other/a',
      'other/h',
      'other/h/a',
    )
    const kind = fc.constantFrom<(keyof typeof actions)[]>(
      'write',
      'write',
      'replace',
      'remove',
      'mkdir',
      'mkdir',
      'rename',
      'link',
    )
    const step = fc.record({ kind, at: place, to: place, text: fc.constantFrom('a', 'b', 'longer') })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { maxLength: 15 }), { maxLength: 4 }), async (phases) => {
        using scratch = new Scratch()
        for (const directory of ['dir/h', 'other/h']) mkdirSync(scratch.at(directory), { recursive: true })
        await using recorder = await Recorder.of(
          scratch.at('dir'),
          { pollMs: 10, quietMs: 3, maxWaitMs: 20 },
          watch,
        )
        for (const phase of phases) {
          for (const { kind, at, to, text } of phase) {
            try {
              actions[kind](scratch.at(at), scratch.at(to), text)
            } catch {
              // Much is impossible at the moment.
            }
          }
          await recorder.sees(contentsNow(scratch.at('dir')))
        }
        const reports = recorder.changes.map((texts) => JSON.stringify(texts))
        expect(reports.filter((report, i) => report === reports[i - 1])).toEqual([])
      }),
      { numRuns: 60, endOnFailure: true },
    )
  },
  60_000,
)

/** Open descriptors of this process, and inotify watches behind them. */
function resources(): { descriptors: number; watches: number } {
  const descriptors = readdirSync('/proc/self/fdinfo')
  const watches = descriptors.flatMap((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').match(/^inotify wd:/gm) ?? []
    } catch {
      // The descriptor of this very listing.
      return []
    }
  })
  return { descriptors: descriptors.length, watches: watches.length }
}
