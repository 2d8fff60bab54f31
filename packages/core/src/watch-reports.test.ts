import { chmodSync, mkdirSync, renameSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep, setImmediate as tick } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { AtomicWriter, flip, inert, never, Recorder, Scratch, until } from './watch-fixture.ts'

const means = [
  ['events alone', { pollMs: never }, undefined],
  ['polling alone', { pollMs: 30 }, inert],
] as const

const sameAgain: Record<string, (scratch: Scratch) => { path: string; make: () => void }> = {
  'written in place with the same bytes'(scratch) {
    const path = scratch.write('file', 'same')
    return { path, make: () => writeFileSync(path, 'same') }
  },
  'renamed over with the same bytes'(scratch) {
    const path = scratch.write('file', 'same')
    const fresh = scratch.write('fresh', 'same')
    return { path, make: () => renameSync(fresh, path) }
  },
  touched(scratch) {
    const path = scratch.write('file', 'same')
    return { path, make: () => utimesSync(path, new Date(), new Date()) }
  },
  'given another mode'(scratch) {
    const path = scratch.write('file', 'same')
    return { path, make: () => chmodSync(path, 0o600) }
  },
  'linked elsewhere to the same bytes'(scratch) {
    scratch.write('one', 'same')
    scratch.write('two', 'same')
    symlinkSync('one', scratch.at('file'))
    return { path: scratch.at('file'), make: () => flip(scratch.at('file'), 'two') }
  },
  'swapped by the kubelet for the same bytes'(scratch) {
    const volume = new AtomicWriter(scratch.at('volume'))
    volume.publish({ file: 'same' })
    return { path: scratch.at('volume/file'), make: () => volume.publish({ file: 'same' }) }
  },
}

describe.each(means)('by %s', (_, options, watch) => {
  test.concurrent.each(Object.entries(sameAgain))(
    'nothing is reported when a file is %s',
    async (_n, prepare) => {
      using scratch = new Scratch()
      const { path, make } = prepare(scratch)
      const other = scratch.write('other/file', 'before')
      await using recorder = await Recorder.of([path, other], options, watch)
      make()
      await recorder.watcher.check()
      expect(recorder.changes).toEqual([])
      writeFileSync(other, 'after')
      await recorder.sees(other, 'after')
      expect(recorder.changes).toHaveLength(1)
      expect(recorder.errors).toEqual([])
    },
  )

  test.concurrent('two files changed within the quiet time are reported together', async () => {
    using scratch = new Scratch()
    const cert = scratch.write('tls.crt', 'cert 1')
    const key = scratch.write('tls.key', 'key 1')
    await using recorder = await Recorder.of(
      [cert, key],
      { ...options, quietMs: 400, maxWaitMs: 8000 },
      watch,
    )
    writeFileSync(cert, 'cert 2')
    await sleep(50)
    writeFileSync(key, 'key 2')
    await recorder.sees(cert, 'cert 2')
    expect(recorder.text(key)).toBe('key 2')
    expect(recorder.changes).toHaveLength(1)
  })

  test.concurrent('a write torn into pieces is reported once, whole', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'before')
    await using recorder = await Recorder.of([path], { ...options, quietMs: 200, maxWaitMs: 8000 }, watch)
    for (const text of [
      'first, ',
      'first, second, ',
      'first, second, third, ',
      'first, second, third, last',
    ]) {
      writeFileSync(path, text)
      await sleep(120)
    }
    await recorder.sees(path, 'first, second, third, last')
    expect(recorder.changes).toHaveLength(1)
  })

  test.concurrent('a write torn for longer than the quiet time ends with the whole', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'before')
    await using recorder = await Recorder.of([path], { ...options, quietMs: 5 }, watch)
    for (let gap = 0; gap < 60; gap += 4) {
      writeFileSync(path, `half ${gap}`)
      await sleep(gap)
      writeFileSync(path, `half ${gap}, whole`)
      await recorder.sees(path, `half ${gap}, whole`)
      await recorder.watcher.check()
      expect(recorder.changes.at(-1)?.get(path)?.toString()).toBe(`half ${gap}, whole`)
    }
  })

  test.concurrent('a burst that never ends is reported while it lasts', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'before')
    await using recorder = await Recorder.of([path], { ...options, quietMs: 200 }, watch)
    let count = 0
    while (recorder.changes.length < 2) {
      writeFileSync(path, `${count++}`)
      await tick()
    }
    await recorder.sees(path, `${count - 1}`)
  })

  test.concurrent('a change made at any moment of the start is seen', async () => {
    using scratch = new Scratch()
    for (let moment = 0; moment < 40; moment++) {
      const volume = new AtomicWriter(scratch.at(`volume ${moment}`))
      volume.publish({ file: 'old' })
      const path = scratch.at(`volume ${moment}/file`)
      const starting = Recorder.of([path], { ...options, quietMs: 5 }, watch)
      for (let passed = 0; passed < moment; passed++) await tick()
      volume.publish({ file: 'new' })
      await using recorder = await starting
      await recorder.sees(path, 'new')
    }
  })

  test.concurrent('a change made at any moment of a check is seen', async () => {
    using scratch = new Scratch()
    const paths = Array.from({ length: 10 }, (_, i) => scratch.write(`file ${i}`, 'old'))
    const path = scratch.at('file 0')
    await using recorder = await Recorder.of(paths, { ...options, quietMs: 5 }, watch)
    for (let moment = 0; moment < 80; moment++) {
      const checking = recorder.watcher.check()
      for (let passed = 0; passed < moment; passed++) await tick()
      writeFileSync(path, `${moment}`)
      await checking
      await recorder.sees(path, `${moment}`)
    }
  })

  test.concurrent('a change made by the receiver of a change is reported', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', '1')
    const onChange = () => {
      if (readBack() === '2') writeFileSync(path, '3')
    }
    await using recorder = await Recorder.of([path], { ...options, onChange }, watch)
    const readBack = () => recorder.text(path)
    writeFileSync(path, '2')
    await recorder.sees(path, '3')
    expect(recorder.changes.map((contents) => contents.get(path)?.toString())).toEqual(['2', '3'])
  })

  test.concurrent('the files of a Kubernetes volume are never reported from two versions', async () => {
    using scratch = new Scratch()
    const volume = new AtomicWriter(scratch.at('volume'))
    const publish = (version: number) => volume.publish({ 'tls.crt': `${version}`, 'tls.key': `${version}` })
    publish(0)
    const paths = [scratch.at('volume/tls.crt'), scratch.at('volume/tls.key')] as const
    await using recorder = await Recorder.of(paths, { ...options, quietMs: 1, maxWaitMs: 1 }, watch)
    let version = 0
    while (recorder.changes.length < 30) {
      publish(++version)
      // Storms in which nothing can be read in peace, and moments between them.
      await (version % 50 < 40 ? tick() : sleep(version % 10))
    }
    await recorder.sees(paths[0], `${version}`)
    for (const contents of recorder.changes) {
      const [cert, key] = paths.map((path) => contents.get(path)?.toString())
      expect(cert).toBeDefined()
      expect(cert).toBe(key)
    }
  })
})

test('check sees a change at once, without events and polling', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'old')
  await using recorder = await Recorder.of([path], { pollMs: never }, inert)
  writeFileSync(path, 'new')
  await recorder.watcher.check()
  expect(recorder.text(path)).toBe('new')
  expect(recorder.changes).toHaveLength(1)
})

test('check does not wait for the quiet time of a change under way', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'old')
  await using recorder = await Recorder.of([path], { pollMs: never, quietMs: never, maxWaitMs: never })
  writeFileSync(path, 'new')
  await sleep(50)
  await recorder.watcher.check()
  expect(recorder.text(path)).toBe('new')
})

test.each([
  [
    'throws',
    () => {
      throw new Error('cannot use this')
    },
  ],
  ['rejects', () => Promise.reject(new Error('cannot use this'))],
])('a receiver that %s is told to onError, and the next change still comes', async (_, onChange) => {
  using scratch = new Scratch()
  const path = scratch.write('file', '1')
  await using recorder = await Recorder.of([path], { onChange })
  writeFileSync(path, '2')
  await recorder.sees(path, '2')
  writeFileSync(path, '3')
  await recorder.sees(path, '3')
  expect(recorder.errors).toEqual(['cannot use this', 'cannot use this'])
})

test('an onError that throws does not stop the watching', async () => {
  using scratch = new Scratch()
  const path = scratch.at('file')
  mkdirSync(path)
  const onError = () => {
    throw new Error('and this is a fault in the fault handler')
  }
  await using recorder = await Recorder.of([path], { onError })
  flip(scratch.at('file.link'), scratch.write('target', 'new'))
  renameSync(path, scratch.at('away'))
  renameSync(scratch.at('file.link'), path)
  await recorder.sees(path, 'new')
})

test('from the moment of disposal nothing is reported, whatever was under way', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'old')
  const recorders = await Promise.all(Array.from({ length: 30 }, () => Recorder.of([path])))
  await using witness = await Recorder.of([path])
  writeFileSync(path, 'new')
  const reported: number[] = []
  for (const recorder of recorders) {
    await sleep(10)
    reported.push(recorder.changes.length)
    void recorder[Symbol.asyncDispose]()
  }
  writeFileSync(path, 'newest')
  await witness.sees(path, 'newest')
  await Promise.all(recorders.map((recorder) => recorder.watcher.check()))
  expect(recorders.map((recorder) => recorder.changes.length)).toEqual(reported)
  expect(reported).toContain(0)
})

test('a check under way when the watcher is disposed of reports nothing', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'old')
  for (let moment = 0; moment < 60; moment++) {
    const recorder = await Recorder.of([path], { pollMs: never }, inert)
    writeFileSync(path, `${moment}`)
    const checking = recorder.watcher.check()
    for (let passed = 0; passed < moment; passed++) await tick()
    const reported = recorder.changes.length
    await recorder[Symbol.asyncDispose]()
    await checking
    expect(recorder.changes).toHaveLength(reported)
  }
})

test('disposal does not wait for a quiet time', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'old')
  const recorder = await Recorder.of([path], { quietMs: never, maxWaitMs: never })
  writeFileSync(path, 'new')
  await sleep(50)
  await recorder[Symbol.asyncDispose]()
  expect(recorder.changes).toEqual([])
})

test('a watcher may be disposed of by the receiver of a change', async () => {
  using scratch = new Scratch()
  const path = scratch.write('file', 'old')
  let disposed = false
  const onChange = async () => {
    await recorder[Symbol.asyncDispose]()
    disposed = true
  }
  const recorder = await Recorder.of([path], { onChange })
  writeFileSync(path, 'new')
  await until(
    () => disposed,
    () => 'the disposal to end',
  )
})

test('a path that ends in a slash leads to no file', async () => {
  using scratch = new Scratch()
  const path = `${scratch.write('file', 'content')}/`
  await using recorder = await Recorder.of([path])
  expect(recorder.text(path)).toBeUndefined()
})

test.each(['', 'a\0b'])('the path %j is refused', async (path) => {
  await expect(Recorder.of([path])).rejects.toThrow('cannot be watched: name a file')
})
