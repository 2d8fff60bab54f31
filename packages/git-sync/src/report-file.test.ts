import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ErrorFile, TouchFile } from './report-file.ts'

interface World extends AsyncDisposable {
  readonly root: string
  readonly errors: Error[]
  readonly onError: (error: Error) => void
}

async function startWorld(): Promise<World> {
  const root = await mkdtemp(join(tmpdir(), 'report-'))
  const errors: Error[] = []
  return {
    root,
    errors,
    onError: (error) => errors.push(error),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  }
}

const REPORT = { Msg: 'error syncing repo', Err: 'no such ref', Args: { failCount: 3 } }
const saying = (Err: string) => ({ ...REPORT, Err })

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : error)
const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error) => codeOf(error) !== 'ENOENT',
  )

describe('the error file', () => {
  test('has the message, the error and its arguments', async () => {
    await using world = await startWorld()
    await new ErrorFile({ ...world, path: 'error.json' }).write(REPORT)
    expect(JSON.parse(await readFile(join(world.root, 'error.json'), 'utf8'))).toEqual(REPORT)
  })

  test('may be read by all, whatever the umask is', async () => {
    await using world = await startWorld()
    const umask = process.umask(0o077)
    await new ErrorFile({ ...world, path: 'error.json' }).write(REPORT)
    process.umask(umask)
    expect((await stat(join(world.root, 'error.json'))).mode & 0o777).toBe(0o644)
  })

  test('is replaced as a whole: who has it open reads the one before', async () => {
    await using world = await startWorld()
    const file = new ErrorFile({ ...world, path: 'error.json' })
    await file.write(saying('one'))
    const before = await stat(join(world.root, 'error.json'))
    await file.write(saying('two'))
    expect((await stat(join(world.root, 'error.json'))).ino).not.toBe(before.ino)
    expect(await readdir(world.root)).toEqual(['error.json'])
  })

  test('is deleted on success, also where it is not there', async () => {
    await using world = await startWorld()
    const file = new ErrorFile({ ...world, path: 'error.json' })
    await file.clear()
    await file.write(REPORT)
    await file.clear()
    expect(await readdir(world.root)).toEqual([])
    expect(world.errors).toEqual([])
  })

  test('is left as the last who was asked wants it', async () => {
    await using world = await startWorld()
    const file = new ErrorFile({ ...world, path: 'error.json' })
    await Promise.all([
      file.write(saying('one')),
      file.clear(),
      file.write(saying('two')),
      file.write(saying('three')),
    ])
    expect(await readFile(join(world.root, 'error.json'), 'utf8')).toBe(JSON.stringify(saying('three')))
  })

  test('may be anywhere, and its directory is made', async () => {
    await using world = await startWorld()
    await using other = await startWorld()
    const path = join(other.root, 'a/b/error.json')
    await new ErrorFile({ ...world, path }).write(REPORT)
    await new ErrorFile({ ...world, path: 'c/d/error.json' }).write(REPORT)
    expect([await isThere(path), await isThere(join(world.root, 'c/d/error.json'))]).toEqual([true, true])
  })

  test.each(['write', 'clear'] as const)('leaves nothing of what a crash has left: %s', async (action) => {
    await using world = await startWorld()
    await writeFile(join(world.root, '.error.json.draft'), 'half')
    const file = new ErrorFile({ ...world, path: 'error.json' })
    await (action === 'write' ? file.write(REPORT) : file.clear())
    expect(await readdir(world.root)).toEqual(action === 'write' ? ['error.json'] : [])
  })

  test('is never written through a link that somebody has put there', async () => {
    await using world = await startWorld()
    const victim = join(world.root, 'victim')
    await writeFile(victim, 'kept')
    for (const name of ['.error.json.draft', 'error.json']) await symlink(victim, join(world.root, name))
    await new ErrorFile({ ...world, path: 'error.json' }).write(saying('text'))
    expect(await readFile(victim, 'utf8')).toBe('kept')
    expect(await readFile(join(world.root, 'error.json'), 'utf8')).toBe(JSON.stringify(saying('text')))
  })

  test('that cannot be written is told, and does not fail, and leaves nothing behind', async () => {
    await using world = await startWorld()
    await mkdir(join(world.root, 'error.json/x'), { recursive: true })
    const file = new ErrorFile({ ...world, path: 'error.json' })
    await file.write(REPORT)
    await file.clear()
    expect(world.errors).toHaveLength(2)
    expect(world.errors[0]?.message).toMatch(
      /^the error file .*error\.json cannot be changed: .*must be writable/,
    )
    expect(await readdir(world.root)).toEqual(['error.json'])
  })

  test('may be written again after it could not', async () => {
    await using world = await startWorld()
    const file = new ErrorFile({ ...world, path: 'error.json' })
    await mkdir(join(world.root, 'error.json'))
    await file.write(saying('one'))
    await rm(join(world.root, 'error.json'), { recursive: true })
    await file.write(saying('two'))
    expect(await readFile(join(world.root, 'error.json'), 'utf8')).toBe(JSON.stringify(saying('two')))
  })
})

describe('the touch file', () => {
  test('is made, with its directory', async () => {
    await using world = await startWorld()
    await new TouchFile({ ...world, path: 'a/b/touch' }).touch()
    expect((await stat(join(world.root, 'a/b/touch'))).size).toBe(0)
  })

  test('gets a new time, and keeps what is in it', async () => {
    await using world = await startWorld()
    const path = join(world.root, 'touch')
    await writeFile(path, 'kept')
    await utimes(path, 1, 1)
    await new TouchFile({ ...world, path }).touch()
    expect((await stat(path)).mtimeMs).toBeGreaterThan(1_000)
    expect(await readFile(path, 'utf8')).toBe('kept')
  })

  test('that is a pipe is not waited for', async () => {
    await using world = await startWorld()
    const { execFileSync } = await import('node:child_process')
    execFileSync('mkfifo', [join(world.root, 'touch')])
    await new TouchFile({ ...world, path: 'touch' }).touch()
    expect(world.errors).toEqual([])
  })

  test('that cannot be made is told, and does not fail', async () => {
    await using world = await startWorld()
    await writeFile(join(world.root, 'a'), '')
    await new TouchFile({ ...world, path: 'a/touch' }).touch()
    expect(world.errors[0]?.message).toMatch(/^the touch file .*a\/touch cannot be changed: ENOTDIR/)
  })
})
