import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Access } from '@outrider/git-mirror'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readAccess } from './access-source.ts'

let directory: string
let key: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'outrider-access-'))
  key = join(directory, 'ssh')
})
afterEach(() => rmSync(directory, { recursive: true }))

/** Even root cannot read it. */
const makeUnreadable = (): void => symlinkSync(key, key)

const read = (repo: string, isDefault: boolean): Promise<Access> =>
  readAccess({
    repo,
    credentials: [],
    ssh: { keyFiles: [key], isDefault, knownHosts: true, knownHostsFile: '/known_hosts' },
    onSecret: () => undefined,
  })

const keysOf = async (access: Promise<Access>) => (await access).ssh?.keyFiles

it('the default SSH key is used where it is there, and done without where it is not', async () => {
  expect(await keysOf(read('git@host:site', true))).toEqual([])
  writeFileSync(key, 'a key')
  expect(await keysOf(read('git@host:site', true))).toEqual([key])
})

it('the default SSH key that is there and cannot be read is named, where SSH is what the repository needs', async () => {
  makeUnreadable()
  await expect(read('git@host:site', true)).rejects.toThrow(`${key} cannot be read (ELOOP): mount it there`)
  expect(await keysOf(read('https://host/site', true))).toEqual([])
})

it('an SSH key that was asked for must be there', async () => {
  await expect(read('https://host/site', false)).rejects.toThrow(`${key} cannot be read (ENOENT)`)
})
