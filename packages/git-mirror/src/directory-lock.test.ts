import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { DirectoryLockedError, lockDirectory } from './directory-lock.ts'
import { type Child, moduleAt, refusing, Scratch } from './file-system-test-support.ts'

let scratch: Scratch
beforeEach(() => {
  scratch = new Scratch()
})
afterEach(async () => {
  vi.useRealTimers()
  await scratch[Symbol.asyncDispose]()
})

/** Tries to own the directory at each message; says how that went, and keeps it. */
const contender = (directory: string): string => `
  import { lockDirectory } from ${moduleAt('./directory-lock.ts')}
  process.on('message', async () => {
    try {
      globalThis.lock = await lockDirectory(${JSON.stringify(directory)}, { onLost: () => process.send('lost') })
      process.send('won')
    } catch (error) {
      process.send(error.name === 'DirectoryLockedError' ? 'locked' : error.stack)
    }
  })
  process.send('ready')`

async function contenders(count: number, options = {}, before: readonly string[] = []): Promise<Child[]> {
  const children = Array.from({ length: count }, () => scratch.node(contender(scratch.path), options, before))
  for (const child of children) expect(await child.said()).toBe('ready')
  return children
}

async function tries(child: Child): Promise<unknown> {
  child.process.send('go')
  return await child.said()
}

async function owner(options = {}, before: readonly string[] = []): Promise<Child> {
  const [child] = await contenders(1, options, before)
  if (child === undefined) throw new Error('no process')
  expect(await tries(child)).toBe('won')
  return child
}

const left = (): string[] => readdirSync(scratch.path)
const recordPath = (): string => {
  const name = readdirSync(scratch.at('.outrider.lock')).find((entry) => entry.endsWith('.record'))
  return scratch.at('.outrider.lock', name ?? 'none')
}

it('a second owner is refused, and told who the first is', async () => {
  await using _lock = await lockDirectory(scratch.path)
  const error = await lockDirectory(scratch.path).catch((refused: unknown) => refused)
  if (!(error instanceof DirectoryLockedError)) throw error
  expect(error.holder).toMatchObject({ pid: process.pid, host: hostname() })
  expect(error.message).toBe(
    `${scratch.path} is in use by process ${process.pid} on ${hostname()} since ${error.holder?.since.toISOString()}; ` +
      'end it, or use a directory for each',
  )
})

it('a directory is free again after its owner has disposed, and nothing is left in it', async () => {
  for (let turn = 0; turn < 3; turn += 1) {
    await using _lock = await lockDirectory(scratch.path)
    expect(left()).toEqual(['.outrider.lock'])
    await expect(lockDirectory(scratch.path)).rejects.toThrow(DirectoryLockedError)
    expect(left()).toEqual(['.outrider.lock'])
  }
  expect(left()).toEqual([])
})

it('one and the same directory is locked by whatever path', async () => {
  mkdirSync(scratch.at('real'))
  symlinkSync('real', scratch.at('link'))
  await using _lock = await lockDirectory(scratch.at('real'))
  await expect(lockDirectory(scratch.at('link'))).rejects.toThrow(DirectoryLockedError)
})

it('a path longer than the address of a socket can be locked', async () => {
  const path = scratch.at(...Array.from({ length: 20 }, () => 'directory'.repeat(10)))
  mkdirSync(path, { recursive: true })
  await using _lock = await lockDirectory(path)
  expect(readdirSync(`${path}/.outrider.lock`).filter((name) => name.endsWith('.socket'))).toHaveLength(1)
  await expect(lockDirectory(path)).rejects.toThrow(/is in use by process/)
})

it('the next takes over at once from an owner that was killed', async () => {
  const killed = await owner()
  await expect(lockDirectory(scratch.path)).rejects.toThrow(`is in use by process ${killed.process.pid} on`)
  await killed.kill()
  await using _lock = await lockDirectory(scratch.path)
  await expect(lockDirectory(scratch.path)).rejects.toThrow(`is in use by process ${process.pid} on`)
})

it('an owner that is stopped stays the owner', async () => {
  const stopped = await owner()
  stopped.process.kill('SIGSTOP')
  for (let turn = 0; turn < 50; turn += 1)
    await expect(lockDirectory(scratch.path)).rejects.toThrow(DirectoryLockedError)
})

it('of dozens that start at the same instant exactly one wins, each time the winner is killed', async () => {
  let living = await contenders(24)
  while (living.length > 0) {
    const outcomes = await Promise.all(living.map(tries))
    expect(outcomes.filter((outcome) => outcome === 'won')).toHaveLength(1)
    expect(outcomes.filter((outcome) => outcome === 'locked')).toHaveLength(living.length - 1)
    const winner = living[outcomes.indexOf('won')]
    await winner?.kill()
    living = living.filter((child) => child !== winner)
  }
  const last = await lockDirectory(scratch.path)
  await last[Symbol.asyncDispose]()
  expect(left()).toEqual([])
}, 120_000)

it('processes killed at any instant of their try leave no second owner and nothing in the way', async () => {
  const living = await contenders(16)
  const victims = living.splice(0, 12)
  for (const victim of victims) {
    const rest = living.map(tries)
    victim.process.send('go')
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 8))
    await victim.kill()
    const outcomes = await Promise.all(rest)
    const won = living[outcomes.indexOf('won')]
    // The victim may have been the owner.
    expect(outcomes.filter((outcome) => outcome === 'won').length).toBeLessThanOrEqual(1)
    expect(outcomes.filter((outcome) => outcome !== 'won' && outcome !== 'locked')).toEqual([])
    const again = await lockDirectory(scratch.path).catch((error: unknown) => error)
    if (won === undefined) {
      if (again instanceof Error) throw again
      await (again as AsyncDisposable)[Symbol.asyncDispose]()
    } else {
      expect(again).toBeInstanceOf(DirectoryLockedError)
      await won.kill()
      living.splice(living.indexOf(won), 1, ...(await contenders(1)))
    }
  }
  const last = await lockDirectory(scratch.path)
  expect(left()).toEqual(['.outrider.lock'])
  await last[Symbol.asyncDispose]()
}, 120_000)

it('what a process leaves that was killed while it wrote its record is cleared by the next', async () => {
  const victim = scratch.node(`
    import { open } from 'node:fs/promises'
    import { lockDirectory } from ${moduleAt('./directory-lock.ts')}
    await using file = await open('/dev/null')
    Object.getPrototypeOf(file).write = () => process.kill(process.pid, 'SIGKILL')
    await lockDirectory(${JSON.stringify(scratch.path)})`)
  expect(await victim.said()).toBe('ended')
  expect(left()).toEqual([expect.stringMatching(/^\.outrider\.lock\./)])
  await using _lock = await lockDirectory(scratch.path)
  expect(left()).toEqual(['.outrider.lock'])
})

it('many tries inside one process have one winner', async () => {
  for (let turn = 0; turn < 10; turn += 1) {
    const ends = await Promise.allSettled(Array.from({ length: 20 }, () => lockDirectory(scratch.path)))
    const won = ends.filter((end) => end.status === 'fulfilled')
    expect(won).toHaveLength(1)
    for (const end of ends)
      if (end.status === 'rejected') expect(end.reason).toBeInstanceOf(DirectoryLockedError)
    await won[0]?.value[Symbol.asyncDispose]()
  }
  expect(left()).toEqual([])
})

it('who connects to the socket is sent away without a word, however many come', async () => {
  await using _lock = await lockDirectory(scratch.path)
  const [name] = readdirSync(scratch.at('.outrider.lock')).filter((entry) => entry.endsWith('.socket'))
  const ends = Array.from({ length: 200 }, async () => {
    const socket = connect(scratch.at('.outrider.lock', name ?? ''))
    const parts: Buffer[] = []
    socket.on('data', (part) => parts.push(part))
    await once(socket, 'close').catch((error: NodeJS.ErrnoException) => expect(error.code).toBe('EAGAIN'))
    return Buffer.concat(parts).length
  })
  expect(new Set(await Promise.all(ends))).toEqual(new Set([0]))
})

it('a lock keeps no process running', async () => {
  const child = scratch.node(`
    import { lockDirectory } from ${moduleAt('./directory-lock.ts')}
    await lockDirectory(${JSON.stringify(scratch.path)})`)
  await once(child.process, 'close')
  expect(child.process.exitCode).toBe(0)
  await using _lock = await lockDirectory(scratch.path)
})

it('another user who may write in the directory takes over from the dead', async () => {
  chmodSync(scratch.path, 0o777)
  const killed = await owner()
  await killed.kill()
  const other = await owner({ uid: 65_534, gid: 65_534 })
  await expect(lockDirectory(scratch.path)).rejects.toThrow(`process ${other.process.pid} on`)
})

/** Makes the lock look as an owner on another machine has left it: nobody answers, the record is of another kernel. */
async function foreignLock(beat: Date): Promise<void> {
  const killed = await owner()
  await killed.kill()
  const path = recordPath()
  const record: unknown = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...Object(record), host: 'far-away', place: 'another-boot 1' }))
  utimesSync(path, beat, beat)
}

it('an owner on another machine is respected while its last sign of life is young', async () => {
  await foreignLock(new Date(Date.now() - 20_000))
  await expect(lockDirectory(scratch.path)).rejects.toThrow(
    /on far-away since .*if it is dead, the directory is free 30 s after its last sign of life$/,
  )
})

it('an owner on another machine is dead without a sign of life for 30 s', async () => {
  await foreignLock(new Date(Date.now() - 31_000))
  await using _lock = await lockDirectory(scratch.path)
})

it('a sign of life from the future is none', async () => {
  await foreignLock(new Date('2100-01-01'))
  await using _lock = await lockDirectory(scratch.path)
})

it('an owner gives signs of life by the clock of the volume', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  await using _lock = await lockDirectory(scratch.path)
  const text = readFileSync(recordPath())
  const long = new Date(0)
  utimesSync(recordPath(), long, long)
  vi.advanceTimersByTime(5_000)
  vi.useRealTimers()
  await expect.poll(() => execFileSync('stat', ['-c', '%Y', recordPath()]).toString()).not.toBe('0\n')
  expect(readFileSync(recordPath())).toEqual(text)
})

it('an owner whose lock another has taken learns of it, and takes nothing away from the other', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const onLost = vi.fn<(error: Error) => void>()
  const paused = await lockDirectory(scratch.path, { onLost })
  // What another machine does that has seen no sign of life.
  rmSync(recordPath())
  rmSync(scratch.at('.outrider.lock'), { recursive: true })
  await using _other = await lockDirectory(scratch.path)
  expect(paused.lost.aborted).toBe(false)
  vi.advanceTimersByTime(5_000)
  await once(paused.lost, 'abort')
  vi.useRealTimers()
  expect(onLost).toHaveBeenCalledOnce()
  expect(onLost.mock.calls[0]?.[0].message).toMatch(/is no longer ours: another process has taken it/)
  expect(paused.lost.reason).toBe(onLost.mock.calls[0]?.[0])
  await paused[Symbol.asyncDispose]()
  await expect(lockDirectory(scratch.path)).rejects.toThrow(DirectoryLockedError)
  expect(readdirSync(scratch.at('.outrider.lock'))).toHaveLength(2)
})

it('an owner that was stopped for so long that another has taken over learns of it when it goes on', async () => {
  const stopped = await owner({}, refusing('bind'))
  stopped.process.kill('SIGSTOP')
  const then = new Date(Date.now() - 31_000)
  utimesSync(recordPath(), then, then)
  await using _lock = await lockDirectory(scratch.path)
  stopped.process.kill('SIGCONT')
  expect(await stopped.said()).toBe('lost')
  await expect(lockDirectory(scratch.path)).rejects.toThrow(`process ${process.pid} on`)
})

it('an owner whose record may not be read is respected all the same', async () => {
  chmodSync(scratch.path, 0o777)
  await foreignLock(new Date())
  chmodSync(recordPath(), 0o000)
  const [other] = await contenders(1, { uid: 65_534, gid: 65_534 })
  expect(other === undefined ? undefined : await tries(other)).toBe('locked')
})

it('an owner that cannot give a sign of life for long gives up', async () => {
  mkdirSync(scratch.at('volume'))
  scratch.mount(scratch.at('volume'))
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const lock = await lockDirectory(scratch.at('volume'))
  scratch.remount(scratch.at('volume'), 'ro')
  const lost = once(lock.lost, 'abort')
  for (let turn = 0; turn < 6; turn += 1) {
    vi.advanceTimersByTime(5_000)
    await new Promise((resolve) => setImmediate(resolve))
    await expect.poll(() => vi.getTimerCount() + Number(lock.lost.aborted)).toBeGreaterThan(0)
  }
  await lost
  expect(lock.lost.reason).toMatchObject({
    message: expect.stringContaining('no sign of life could be given'),
  })
  vi.useRealTimers()
  await lock[Symbol.asyncDispose]()
})

it.each<[string, (path: string) => void]>([
  ['a file', (path) => writeFileSync(path, 'garbage')],
  ['a link to nothing', (path) => symlinkSync('nowhere', path)],
  ['a link to a directory', (path) => symlinkSync('/etc', path)],
  ['a pipe', (path) => execFileSync('mkfifo', [path])],
  ['an empty directory', (path) => mkdirSync(path)],
  ['a full directory', (path) => mkdirSync(`${path}/a/b`, { recursive: true })],
  [
    'an old record of nobody',
    (path) => {
      mkdirSync(path)
      writeFileSync(`${path}/x.record`, '{"pid":"\\n"}')
      utimesSync(`${path}/x.record`, 0, 0)
    },
  ],
  [
    'an old record too long to read, and a link in the place of a socket',
    (path) => {
      mkdirSync(path)
      writeFileSync(`${path}/x.record`, Buffer.alloc(1e6))
      utimesSync(`${path}/x.record`, 0, 0)
      symlinkSync('/etc/passwd', `${path}/x.socket`)
    },
  ],
  [
    'a pipe in the place of a record',
    (path) => {
      mkdirSync(path)
      execFileSync('mkfifo', [`${path}/x.record`])
    },
  ],
])('%s in the place of the lock does not hinder', async (_, make) => {
  make(scratch.at('.outrider.lock'))
  const lock = await lockDirectory(scratch.path)
  expect(readdirSync(scratch.at('.outrider.lock'))).toHaveLength(2)
  await lock[Symbol.asyncDispose]()
  expect(left()).toEqual([])
  expect(readFileSync('/etc/passwd')).not.toHaveLength(0)
})

it('on a volume without sockets an owner is respected while it gives signs of life, and 30 s longer', async () => {
  const killed = await owner({}, refusing('bind'))
  expect(readdirSync(scratch.at('.outrider.lock'))).toHaveLength(1)
  await expect(lockDirectory(scratch.path)).rejects.toThrow(`process ${killed.process.pid} on`)
  await killed.kill()
  await expect(lockDirectory(scratch.path)).rejects.toThrow(DirectoryLockedError)
  const then = new Date(Date.now() - 31_000)
  utimesSync(recordPath(), then, then)
  await using _lock = await lockDirectory(scratch.path)
})

it('without sockets too, exactly one of many wins', async () => {
  const children = await contenders(12, {}, refusing('bind'))
  const outcomes = await Promise.all(children.map(tries))
  expect(outcomes.toSorted()).toEqual([...Array.from({ length: 11 }, () => 'locked'), 'won'])
}, 60_000)

it('a volume without sockets and modes is locked', async () => {
  const volume = scratch.at('volume')
  mkdirSync(volume)
  await scratch.mountFlat(volume)
  for (let turn = 0; turn < 2; turn += 1) {
    await using _lock = await lockDirectory(volume)
    expect(readdirSync(join(volume, '.outrider.lock'))).toHaveLength(1)
    await expect(lockDirectory(volume)).rejects.toThrow(DirectoryLockedError)
  }
  expect(readdirSync(volume)).toEqual([])
})

it('a volume without room for a record is locked nevertheless, so that its owner can make room', async () => {
  const volume = scratch.at('volume')
  mkdirSync(volume)
  scratch.mount(volume, 'size=64k')
  expect(() => writeFileSync(`${volume}/filler`, Buffer.alloc(1e6))).toThrow('ENOSPC')
  await using _lock = await lockDirectory(volume)
  await expect(lockDirectory(volume)).rejects.toThrow(
    /in use by another process, which does not say who it is; end it/,
  )
})

it('a directory that is not there, has no room or cannot be written says so', async () => {
  const missing = scratch.at('missing')
  await expect(lockDirectory(missing)).rejects.toThrow(`cannot lock ${missing}: it does not exist (ENOENT)`)
  const volume = scratch.at('volume')
  mkdirSync(volume)
  scratch.mount(volume, 'nr_inodes=3')
  await expect(lockDirectory(volume)).rejects.toMatchObject({
    code: 'ENOSPC',
    message: `cannot lock ${volume}: the file system is full; make room or give it more (ENOSPC)`,
  })
  expect(readdirSync(volume)).toEqual([])
  scratch.remount(volume, 'ro')
  await expect(lockDirectory(volume)).rejects.toMatchObject({ code: 'EROFS' })
})
