import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { inert, never, Recorder, Scratch } from './watch-fixture.ts'

/** Mounting needs root on Linux. A root without the right to mount fails here, and should know. */
const mayMount = process.platform === 'linux' && process.getuid?.() === 0

/** A bind mount, undone at the end of the test. */
class BindMount implements Disposable {
  readonly #at: string
  #mounted = true

  constructor(source: string, at: string) {
    this.#at = at
    execFileSync('mount', ['--bind', source, at])
  }

  [Symbol.dispose](): void {
    if (this.#mounted) execFileSync('umount', [this.#at])
    this.#mounted = false
  }
}

const means = [
  ['events alone', { pollMs: never }, undefined],
  ['polling alone', { pollMs: 30 }, inert],
] as const

describe.runIf(mayMount)('bind mounts (needs root on Linux)', () => {
  test.each(means)(
    'a mounted file written in place at its source is seen by %s',
    async (_, options, watch) => {
      using scratch = new Scratch()
      const source = scratch.write('host/file', 'old')
      const path = scratch.write('container/file', '')
      using _mount = new BindMount(source, path)
      await using recorder = await Recorder.of([path], options, watch)
      expect(recorder.text(path)).toBe('old')
      writeFileSync(source, 'new')
      await recorder.sees(path, 'new')
      appendFileSync(source, 'er')
      await recorder.sees(path, 'newer')
    },
  )

  test.each(means)(
    'a file in a mounted directory replaced at its source is seen by %s',
    async (_, options, watch) => {
      using scratch = new Scratch()
      const source = scratch.write('host/file', 'old')
      const path = scratch.at('container/file')
      mkdirSync(scratch.at('container'))
      using _mount = new BindMount(scratch.at('host'), scratch.at('container'))
      await using recorder = await Recorder.of([path], options, watch)
      execFileSync('sh', ['-c', 'printf new > "$1.tmp" && mv "$1.tmp" "$1"', 'sh', source])
      await recorder.sees(path, 'new')
    },
  )

  test('a mounted file replaced by another mount is seen', async () => {
    using scratch = new Scratch()
    const one = scratch.write('host/one', 'old')
    const two = scratch.write('host/two', 'new')
    const path = scratch.write('container/file', 'below')
    const first = new BindMount(one, path)
    await using recorder = await Recorder.of([path])
    first[Symbol.dispose]()
    using _second = new BindMount(two, path)
    await recorder.sees(path, 'new')
    writeFileSync(two, 'newer')
    await recorder.sees(path, 'newer')
  })

  test('a directory mounted over and uncovered is seen', async () => {
    using scratch = new Scratch()
    scratch.write('host/file', 'above')
    const path = scratch.write('container/file', 'below')
    await using recorder = await Recorder.of([path])
    const mount = new BindMount(scratch.at('host'), scratch.at('container'))
    try {
      await recorder.sees(path, 'above')
    } finally {
      mount[Symbol.dispose]()
    }
    await recorder.sees(path, 'below')
  })

  test('a file system taken away and mounted again is seen', async () => {
    using scratch = new Scratch()
    const path = scratch.at('volume/file')
    mkdirSync(scratch.at('volume'))
    await using recorder = await Recorder.of([path])
    for (const text of ['one', 'two']) {
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', scratch.at('volume')])
      try {
        writeFileSync(path, text)
        await recorder.sees(path, text)
      } finally {
        execFileSync('umount', [scratch.at('volume')])
      }
      await recorder.sees(path, undefined)
    }
  })
})
