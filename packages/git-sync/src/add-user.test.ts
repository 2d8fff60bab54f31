import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { addUser } from './add-user.ts'

let directory: string
let file: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'outrider-user-'))
  file = join(directory, 'passwd')
})
afterEach(() => rm(directory, { recursive: true }))

const root = 'root:x:0:0:root:/root:/bin/sh'
const user = { uid: 12345, gid: 678, home: '/tmp' }
const line = 'git-sync:x:12345:678::/tmp:/sbin/nologin\n'

it.each([
  ['a line of its own after others', `${root}\n`, `${root}\n${line}`],
  ['a line of its own where the last has no end', root, `${root}\n${line}`],
  ['the only line of an empty file', '', line],
  ['a line beside one that has its number as a group', 'a:x:1:12345::/:/\n', `a:x:1:12345::/:/\n${line}`],
])('a user that is missing gets %s', async (_, before, after) => {
  await writeFile(file, before)
  expect(await addUser(file, user)).toBe(true)
  expect(await readFile(file, 'utf8')).toBe(after)
  expect(await addUser(file, user)).toBe(false)
  expect(await readFile(file, 'utf8')).toBe(after)
})

it('a user that is there stays as it is', async () => {
  await writeFile(file, `${root}\n`)
  expect(await addUser(file, { ...user, uid: 0 })).toBe(false)
  expect(await readFile(file, 'utf8')).toBe(`${root}\n`)
})

it('a file that is missing is made', async () => {
  expect(await addUser(file, user)).toBe(true)
  expect(await readFile(file, 'utf8')).toBe(line)
})

it('a file that cannot be written is named, with what helps', async () => {
  await expect(addUser(join(directory, 'nowhere/passwd'), user)).rejects.toThrow(
    /user 12345 cannot be added to .*nowhere\/passwd: ENOENT.*run as user 65532/,
  )
})

it.each(['/a:b', '/a\nroot::0:0::/:/bin/sh'])(
  'a home that would be more than a field, %j, is refused',
  async (home) => {
    await writeFile(file, `${root}\n`)
    await expect(addUser(file, { ...user, home })).rejects.toThrow('HOME')
    expect(await readFile(file, 'utf8')).toBe(`${root}\n`)
  },
)
