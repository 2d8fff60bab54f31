import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  type FSWatcher,
  watch as fsWatch,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { basename } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { WatchFunction } from './watch-events.ts'
import { AtomicWriter, flip, inert, never, Recorder, Scratch, until } from './watch-fixture.ts'
import { readRegular } from './watch-sight.ts'

describe('what is not a readable file', () => {
  const others: Record<string, (path: string) => unknown> = {
    'a directory': (path) => mkdirSync(path),
    'a FIFO': (path) => execFileSync('mkfifo', [path]),
    'a device': (path) => symlinkSync('/dev/zero', path),
  }
  test.each(Object.entries(others))(
    '%s is told as unreadable and read once a file is there',
    async (kind, make) => {
      using scratch = new Scratch()
      const path = scratch.at('file')
      make(path)
      await using recorder = await Recorder.of([path], { pollMs: never })
      expect(recorder.text(path)).toBeUndefined()
      expect(recorder.errors).toEqual([`${path} is ${kind}: only a regular file is read`])
      rmSync(path, { recursive: true })
      writeFileSync(path, 'file')
      await recorder.sees(path, 'file')
    },
  )

  test('a socket is told as unreadable', async () => {
    using scratch = new Scratch()
    const server = createServer().listen(scratch.at('socket'))
    await once(server, 'listening')
    await using recorder = await Recorder.of([scratch.at('socket')])
    expect(recorder.errors).toEqual([`${scratch.at('socket')} is a socket: only a regular file is read`])
    server.close()
  })

  test('a FIFO that takes the place of a file just before it is opened does not block', async () => {
    using scratch = new Scratch()
    execFileSync('mkfifo', [scratch.at('fifo')])
    await expect(readRegular('file', scratch.at('fifo'), 100)).rejects.toThrow('file is a FIFO')
  })

  test('a loop of links is told, once, and read when it is cut', async () => {
    using scratch = new Scratch()
    const path = scratch.at('one')
    symlinkSync('two', path)
    symlinkSync('one', scratch.at('two'))
    await using recorder = await Recorder.of([path], { pollMs: 10 })
    await recorder.watcher.check()
    expect(recorder.errors).toEqual([expect.stringContaining(`${path} cannot be read: ELOOP`)])
    flip(scratch.at('two'), scratch.write('end', 'file'))
    await recorder.sees(path, 'file')
  })

  test('a file larger than the limit is told and not read, and read when it has shrunk', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', '12345')
    await using recorder = await Recorder.of([path], { maxBytes: 5, pollMs: never })
    expect(recorder.text(path)).toBe('12345')
    writeFileSync(path, '123456')
    await recorder.sees(path, undefined)
    truncateSync(path, 1e12)
    writeFileSync(path, '1234')
    await recorder.sees(path, '1234')
    expect(recorder.errors[0]).toBe(`${path} has 6 bytes: at most 5 are read`)
  })

  test('a file of /proc, whose size is given as 0, is read to its end', async () => {
    const path = '/proc/kallsyms'
    await using recorder = await Recorder.of([path])
    expect(recorder.watcher.contents.get(path)?.equals(readFileSync(path))).toBe(true)
  })

  test('a file of /proc that is larger than the limit is not read', async () => {
    const path = '/proc/kallsyms'
    await using recorder = await Recorder.of([path], { maxBytes: 10_000 })
    expect(recorder.text(path)).toBeUndefined()
    expect(recorder.errors).toContain(`${path} has at least 10001 bytes: at most 10000 are read`)
  })

  test('a link that only the kernel can follow leads where the kernel says', async () => {
    using scratch = new Scratch()
    const fd = openSync(scratch.write('file', 'no longer there'), 'r')
    rmSync(scratch.at('file'))
    const path = `/proc/self/fd/${fd}`
    await using recorder = await Recorder.of([path])
    expect(recorder.text(path)).toBe('no longer there')
    closeSync(fd)
  })

  test('contents stand while the process has no descriptor left to read them', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'old')
    const { code, output } = await runProgram(
      `import { closeSync, openSync, writeFileSync } from 'node:fs'
       const errors = []
       const watcher = await watchFiles([path], { onChange() {}, onError: (error) => errors.push(error.message) })
       const taken = []
       try { for (;;) taken.push(openSync('/dev/null')) } catch {}
       await watcher.check()
       console.log(String(watcher.contents.get(path)), errors.join().includes('EMFILE'))
       taken.forEach((fd) => closeSync(fd))
       writeFileSync(path, 'new')
       await watcher.check()
       console.log(String(watcher.contents.get(path)))`,
      path,
      'ulimit -n 64; ',
    )
    expect({ code, output }).toEqual({ code: 0, output: 'old true\nnew\n' })
  })
})

describe('what the operating system refuses', () => {
  test('where watches cannot be set, that is told once for each place and polling sees the changes', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'old')
    const refuse: WatchFunction = () => {
      throw Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), {
        code: 'ENOSPC',
      })
    }
    await using recorder = await Recorder.of([path], { pollMs: 10 }, refuse)
    writeFileSync(path, 'new')
    await recorder.sees(path, 'new')
    const told = (place: string) =>
      `${place} cannot be watched, changes are found by polling alone: ENOSPC: System limit for number of file watchers reached`
    expect(recorder.errors).toEqual([told(scratch.path), told(path)])
  })

  test('watches refused for a while are set when they can be', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'old')
    // Longer than files are read again for being young.
    const patience = performance.now() + 2500
    const set: string[] = []
    const reluctant: WatchFunction = (place, ...rest) => {
      if (performance.now() < patience) throw new Error('not yet')
      set.push(place)
      return fsWatch(place, ...rest)
    }
    await using recorder = await Recorder.of([path], { pollMs: 10 }, reluctant)
    await until(
      () => set.length === 2,
      () => 'both watches',
    )
    expect(recorder.errors).toHaveLength(2)
  })

  test('a watch that fails later is told and set again', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'old')
    const opened: FSWatcher[] = []
    const recorded: WatchFunction = (...args) => {
      const watcher = fsWatch(...args)
      opened.push(watcher)
      return watcher
    }
    await using recorder = await Recorder.of([path], { pollMs: 50 }, recorded)
    expect(opened).toHaveLength(2)
    for (const watcher of [...opened]) watcher.emit('error', new Error('EIO: broken'))
    await until(
      () => opened.length === 4,
      () => `two more watches, not ${opened.length}`,
    )
    writeFileSync(path, 'new')
    await recorder.sees(path, 'new')
    expect(recorder.errors).toEqual([
      `${scratch.path} cannot be watched, changes are found by polling alone: EIO: broken`,
      `${path} cannot be watched, changes are found by polling alone: EIO: broken`,
    ])
  })

  test('a watch that tells of its own end, as by an unmount, is set again', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'old')
    const opened: string[] = []
    const ends: (() => void)[] = []
    const recorded: WatchFunction = (place, options, listener) => {
      opened.push(place)
      ends.push(() => listener('rename', basename(place)))
      return fsWatch(place, options, listener)
    }
    await using _ = await Recorder.of([path], { pollMs: never }, recorded)
    for (const end of [...ends]) end()
    await until(
      () => opened.length === 4,
      () => `two more watches than ${opened}`,
    )
  })

  test('a watch whose end was not told, as by an overflow of events, is set again', async () => {
    using scratch = new Scratch()
    const path = scratch.write('volume/file', 'old')
    const opened: string[] = []
    const deaf: WatchFunction = (place, options) => {
      opened.push(place)
      return fsWatch(place, options, () => {})
    }
    await using recorder = await Recorder.of([path], { pollMs: 10 }, deaf)
    // The file system is likely to give the new ones the same inode numbers.
    rmSync(scratch.at('volume'), { recursive: true })
    scratch.write('volume/file', 'new')
    await recorder.sees(path, 'new')
    expect(opened).toEqual([scratch.at('volume'), path, scratch.at('volume'), path])
  })

  test('a directory removed just before it is watched is no error, and seen when it is back', async () => {
    using scratch = new Scratch()
    const path = scratch.write('a/file', 'old')
    const late: WatchFunction = (place, ...rest) => {
      if (place === scratch.at('a') && readdirSync(scratch.path).includes('late')) {
        rmSync(scratch.at('late'))
        rmSync(place, { recursive: true })
      }
      return fsWatch(place, ...rest)
    }
    scratch.write('late', '')
    await using recorder = await Recorder.of([path], { pollMs: never }, late)
    expect(recorder.text(path)).toBeUndefined()
    scratch.write('a/file', 'new')
    await recorder.sees(path, 'new')
    expect(recorder.errors).toEqual([])
  })

  test('what is made in a directory just before it is watched is watched too', async () => {
    using scratch = new Scratch()
    mkdirSync(scratch.at('a'))
    const late: WatchFunction = (place, ...rest) => {
      if (place === scratch.at('a')) mkdirSync(scratch.at('a/b'), { recursive: true })
      return fsWatch(place, ...rest)
    }
    const path = scratch.at('a/b/file')
    await using recorder = await Recorder.of([path], { pollMs: never }, late)
    writeFileSync(path, 'new')
    await recorder.sees(path, 'new')
  })
})

describe('what is used', () => {
  test('300 swaps of a Kubernetes volume leave as many descriptors and watches as before, and disposal none', async () => {
    using scratch = new Scratch()
    const idle = resources()
    const volume = new AtomicWriter(scratch.at('volume'))
    volume.publish({ 'tls.crt': '0', 'tls.key': '0' })
    const paths = [scratch.at('volume/tls.crt'), scratch.at('volume/tls.key')] as const
    await using recorder = await Recorder.of(paths, { quietMs: 1, pollMs: never })
    const before = resources()
    for (let version = 1; version <= 300; version++) {
      volume.publish({ 'tls.crt': `${version}`, 'tls.key': `${version}` })
      await recorder.sees(paths[1], `${version}`)
    }
    await recorder.watcher.check()
    expect(resources()).toEqual(before)
    expect(before.watches).toBe(idle.watches + 4)
    await recorder[Symbol.asyncDispose]()
    expect(resources().watches).toBe(idle.watches)
  })

  test('links flipped between directories that stay leave as many watches as before', async () => {
    using scratch = new Scratch()
    for (let i = 0; i < 10; i++) scratch.write(`v${i}/file`, `${i}`)
    symlinkSync('v0', scratch.at('current'))
    const path = scratch.at('current/file')
    await using recorder = await Recorder.of([path], { quietMs: 1, pollMs: never })
    const before = resources()
    for (let flips = 1; flips < 50; flips++) {
      flip(scratch.at('current'), `v${flips % 10}`)
      await recorder.sees(path, `${flips % 10}`)
    }
    await recorder.watcher.check()
    expect(resources()).toEqual(before)
  })

  test('nothing is watched further up than the directory that a change would show in', async () => {
    using scratch = new Scratch()
    const path = scratch.write('a/b/c/file', 'x')
    const watched: string[] = []
    const recorded: WatchFunction = (place) => {
      watched.push(place)
      return inert(place, { persistent: false }, () => {})
    }
    await using _ = await Recorder.of([path], {}, recorded)
    expect(watched).toEqual([scratch.at('a/b/c'), path])
  })

  test('a relative path starts at the working directory', async () => {
    using scratch = new Scratch()
    scratch.write('file', 'content')
    const { code, output } = await runProgram(
      `const watcher = await watchFiles([path], { onChange() {} })
       console.log(String(watcher.contents.get(path)))`,
      'file',
      `cd ${scratch.path}; `,
    )
    expect({ code, output }).toEqual({ code: 0, output: 'content\n' })
  })

  test('it does not keep the process alive', async () => {
    using scratch = new Scratch()
    const path = scratch.write('file', 'content')
    const { code, output } = await runProgram(
      `const watcher = await watchFiles([path], { onChange() {} })
       console.log(String(watcher.contents.get(path)))`,
      path,
    )
    expect({ code, output }).toEqual({ code: 0, output: 'content\n' })
  })
})

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

/** Runs a program that has `watchFiles` and `path`, after some words to the shell; killed when it does not end. */
async function runProgram(
  body: string,
  path: string,
  shell = '',
): Promise<{ code: unknown; output: string }> {
  const module = JSON.stringify(new URL('./watch.ts', import.meta.url).href)
  const program = `import { watchFiles } from ${module}\nconst path = ${JSON.stringify(path)}\n${body}`
  const child = spawn(
    'sh',
    ['-c', `${shell}exec "$@"`, 'sh', process.execPath, '--input-type=module', '-e', program],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 10_000,
      killSignal: 'SIGKILL',
    },
  )
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const [code] = await once(child, 'close')
  return { code, output }
}
