import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { ProgramError, type ProgramOptions, runProgram } from './program.ts'

interface World extends AsyncDisposable {
  readonly directory: string
  write(name: string, text: string, mode?: number): Promise<string>
  /** A script for sh. */
  run(script: string, options?: Partial<ProgramOptions>): Promise<string>
  fails(script: string, options?: Partial<ProgramOptions>): Promise<ProgramError>
  start(program: string, options?: Partial<ProgramOptions>): Promise<string>
  refused(program: string, options?: Partial<ProgramOptions>): Promise<string>
}

async function startWorld(): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'program-'))
  const write = async (name: string, text: string, mode = 0o755): Promise<string> => {
    const path = join(directory, name)
    await writeFile(path, text)
    await chmod(path, mode)
    return path
  }
  const start = (program: string, options: Partial<ProgramOptions> = {}): Promise<string> =>
    runProgram({
      program,
      directory,
      hash: 'cafe',
      env: { PATH: '/usr/bin:/bin' },
      timeoutMs: 600_000,
      signal: new AbortController().signal,
      ...options,
    })
  const errorOf = async (run: Promise<string>): Promise<ProgramError> => {
    const error = await run.then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (error instanceof ProgramError) return error
    throw new Error('it did not fail as it should', { cause: error })
  }
  const run = async (script: string, options?: Partial<ProgramOptions>): Promise<string> =>
    start(await write('hook', `#!/bin/sh\n${script}\n`), options)
  return {
    directory,
    write,
    start,
    run,
    fails: (script, options) => errorOf(run(script, options)),
    async refused(program, options) {
      const error = await errorOf(start(program, options))
      expect(error.failure).toBe('refused')
      return error.message
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  }
}

async function contentOf(path: string): Promise<string> {
  for (;;) {
    const text = await readFile(path, 'utf8').catch(() => '')
    if (text.endsWith('\n')) return text.trim()
    await delay(10)
  }
}

async function untilGone(pid: string): Promise<void> {
  for (;;) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    // A child whose parent is gone may stay as a zombie, where nobody asks for its end.
    if (state === '' || / [ZX] /.test(state)) return
    await delay(10)
  }
}

describe('a program', () => {
  test('runs in the tree, with the hash in its environment', async () => {
    await using world = await startWorld()
    expect(await world.run('pwd; echo $GITSYNC_HASH')).toBe(`${world.directory}\ncafe`)
  })

  test('has the environment that it is given, and nothing else', async () => {
    await using world = await startWorld()
    const said = await world.run('env', { env: { PATH: '/usr/bin:/bin', A: 'b' } })
    const names = said.split('\n').map((line) => line.replace(/=.*/, ''))
    // The shell itself adds some.
    expect(names.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name)).sort()).toEqual([
      'A',
      'GITSYNC_HASH',
      'PATH',
    ])
  })

  test('has no arguments and no input', async () => {
    await using world = await startWorld()
    expect(await world.run('echo $#; cat')).toBe('0')
  })

  test('is started without a shell, whatever its name has in it', async () => {
    await using world = await startWorld()
    const path = await world.write('a b; touch stolen; $(x)', '#!/bin/sh\necho $0\n')
    expect(await world.start(path)).toBe(path)
  })

  test('may be named by a path from the tree', async () => {
    await using world = await startWorld()
    await world.write('hook', '#!/bin/sh\necho here\n')
    expect(await world.start('./hook')).toBe('here')
  })

  test('may be named by a name in the PATH that it is given', async () => {
    await using world = await startWorld()
    await world.write('hook', '#!/bin/sh\necho found\n')
    expect(await world.start('hook', { env: { PATH: `/nowhere:${world.directory}:/usr/bin` } })).toBe('found')
  })

  test('is in a process group of its own', async () => {
    await using world = await startWorld()
    expect(await world.run('cut -d" " -f5 /proc/$$/stat; echo $$')).toMatch(/^(\d+)\n\1$/)
  })
})

describe('its output', () => {
  test('is that of both streams', async () => {
    await using world = await startWorld()
    expect(await world.run('echo out; echo err >&2')).toMatch(/^(out\nerr|err\nout)$/)
  })

  test('is bounded, and what is kept is the last of it', async () => {
    await using world = await startWorld()
    const said = await world.run('head -c 20000000 /dev/zero | tr "\\0" x; echo end')
    expect(said.length).toBeLessThanOrEqual(4_096 + 2)
    expect(said).toMatch(/^… x+end$/)
  })

  test('stands in the error', async () => {
    await using world = await startWorld()
    expect((await world.fails('echo no disk; exit 3')).output).toBe('no disk')
  })

  test('is not waited for when a child has it that stays', async () => {
    await using world = await startWorld()
    expect(await world.run('sleep 600 & echo $! > pid; echo done')).toBe('done')
    process.kill(Number(await contentOf(join(world.directory, 'pid'))))
  })

  test('may be cut in a character', async () => {
    await using world = await startWorld()
    const said = await world.run('i=0; while [ $i -lt 3000 ]; do printf é; i=$((i+1)); done; printf x')
    expect(said).toMatch(/^… é+x$/)
  })
})

describe('a failure', () => {
  test('is an exit code', async () => {
    await using world = await startWorld()
    const { failure, message } = await world.fails('exit 3')
    expect(failure).toBe('exit')
    expect(message).toMatch(/hook ended with exit code 3$/)
  })

  test('is a signal, and the one of the kernel for too much memory is explained', async () => {
    await using world = await startWorld()
    expect(await world.fails('kill -SEGV $$')).toMatchObject({
      failure: 'signal',
      message: expect.stringMatching(/was ended by SIGSEGV$/),
    })
    expect((await world.fails('kill -KILL $$')).message).toMatch(/was ended by SIGKILL.*memory/)
  })

  test('of what is not there names the path', async () => {
    await using world = await startWorld()
    const path = join(world.directory, 'missing')
    expect(await world.refused(path)).toBe(`there is no ${path}: mount it there, or name another program`)
  })

  test('of a name that is not in the PATH names it', async () => {
    await using world = await startWorld()
    await world.write('hook', '#!/bin/sh\n')
    expect(await world.refused('hook')).toBe('there is no program hook in /usr/bin:/bin: give its path')
  })

  test('is a name that only a relative entry of the PATH would find, in what was checked out', async () => {
    await using world = await startWorld()
    await world.write('hook', '#!/bin/sh\n')
    expect(await world.refused('hook', { env: { PATH: ':.:/usr/bin' } })).toMatch(/^there is no program hook/)
  })

  test('of what may not be executed says chmod', async () => {
    await using world = await startWorld()
    const path = await world.write('hook', '#!/bin/sh\n', 0o644)
    expect(await world.refused(path)).toBe(`${path} may not be executed: chmod +x ${path}`)
  })

  test('is a directory', async () => {
    await using world = await startWorld()
    await mkdir(join(world.directory, 'hooks'))
    expect(await world.refused('./hooks')).toMatch(/is a directory: name the program in it$/)
  })

  test.each(['echo hello\n', ''])(
    'is a text without an interpreter (%j), which no shell gets',
    async (text) => {
      await using world = await startWorld()
      const path = await world.write('hook', text)
      expect(await world.refused(path)).toMatch(/is neither a program nor a script: .*#!\/bin\/sh$/)
    },
  )

  test('is a script whose interpreter is missing', async () => {
    await using world = await startWorld()
    const path = await world.write('hook', '#! /usr/bin/nosuch -x\n')
    expect(await world.refused(path)).toMatch(
      new RegExp(`^/usr/bin/nosuch, which should run ${path}, is not here`),
    )
  })

  test('is a script with the line ends of Windows', async () => {
    await using world = await startWorld()
    const path = await world.write('hook', '#!/bin/sh\r\necho\r\n')
    expect(await world.refused(path)).toMatch(/carriage return/)
  })

  test('of a program for another processor says so, whatever a shell makes of it', async () => {
    await using world = await startWorld()
    const path = await world.write('hook', `\x7fELF${'\0'.repeat(60)}`)
    await expect(world.start(path)).rejects.toThrow(
      /: it is built for another processor than that of this machine$/,
    )
  })

  test('is a tree that is gone', async () => {
    await using world = await startWorld()
    const path = await world.write('hook', '#!/bin/sh\n')
    const directory = join(world.directory, 'gone')
    expect(await world.refused(path, { directory })).toMatch(/gone, in which .* should run, is gone$/)
  })
})

describe('at the deadline', () => {
  test('it is ended, and told so', async () => {
    await using world = await startWorld()
    const { failure, message } = await world.fails('exec sleep 600', { timeoutMs: 100 })
    expect(failure).toBe('timeout')
    expect(message).toMatch(/did not end within 0\.1s and was ended/)
  })

  test('a flood does not keep it', async () => {
    await using world = await startWorld()
    const { failure, output } = await world.fails('yes', { timeoutMs: 300 })
    expect(failure).toBe('timeout')
    expect(output.length).toBeLessThanOrEqual(4_096 + 2)
  })
})

describe('when aborted', () => {
  /** Aborts when the script has written its first line to a file, and gives that line. */
  async function abort(world: World, script: string): Promise<{ line: string; error: ProgramError }> {
    const controller = new AbortController()
    const fails = world.fails(script, { signal: controller.signal })
    const line = await contentOf(join(world.directory, 'file'))
    controller.abort()
    return { line, error: await fails }
  }

  test('it is ended with all that it has started', async () => {
    await using world = await startWorld()
    const { line: pid, error } = await abort(world, 'sleep 600 & echo $! > file; wait')
    expect(error.failure).toBe('aborted')
    await untilGone(pid)
  })

  test('it may clean up', async () => {
    await using world = await startWorld()
    const { error } = await abort(
      world,
      'trap "echo bye; exit 0" TERM; echo on > file; while :; do sleep 0.01; done',
    )
    expect(error.output).toContain('bye')
  })

  test('it is killed where it does not want to end', async () => {
    await using world = await startWorld()
    const { error } = await abort(world, 'trap "" TERM; echo on > file; while :; do sleep 0.01; done')
    expect(error.failure).toBe('aborted')
  })

  test('so is what it has started and does not want to end, once it has ended itself', async () => {
    await using world = await startWorld()
    const child = 'trap "" TERM; echo $(exec sh -c "echo \\$PPID") > file; while :; do sleep 0.01; done'
    const { line: pid } = await abort(world, `(${child}) & wait`)
    await untilGone(pid)
  })

  test('before, it is not started', async () => {
    await using world = await startWorld()
    expect((await world.fails('touch ran', { signal: AbortSignal.abort() })).failure).toBe('aborted')
    await expect(readFile(join(world.directory, 'ran'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('while it is looked for, it is ended as soon as it runs', async () => {
    await using world = await startWorld()
    const path = await world.write('hook', '#!/bin/sh\nexec sleep 600\n')
    const controller = new AbortController()
    const run = world.start(path, { signal: controller.signal })
    controller.abort()
    await expect(run).rejects.toMatchObject({ failure: 'aborted' })
  })

  test('afterwards, nothing happens', async () => {
    await using world = await startWorld()
    const controller = new AbortController()
    await world.run('true', { signal: controller.signal })
    controller.abort()
  })
})
