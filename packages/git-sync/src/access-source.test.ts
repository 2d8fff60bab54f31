import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Access } from '@outrider/git-mirror'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type AccessSettings, readAccess } from './access-source.ts'
import { serve } from './test-support.ts'

let directory: string
let key: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'outrider-access-'))
  key = join(directory, 'ssh')
})
afterEach(() => rmSync(directory, { recursive: true }))

/** Even root cannot read it. */
const makeUnreadable = (): void => symlinkSync(key, key)

const settings = (repo: string, isDefault = true): AccessSettings => ({
  repo,
  credentials: [],
  ssh: { keyFiles: [key], isDefault, knownHosts: true, knownHostsFile: '/known_hosts' },
  onSecret: () => undefined,
})

const read = (repo: string, isDefault: boolean): Promise<Access> => readAccess(settings(repo, isDefault))

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

it('what the askpass URL says is for the host of the repository, and is told to be a secret', async () => {
  const { url } = await serve((_, response) => response.end('username=me\npassword=pass word\n'))
  const secrets: string[] = []
  const outcomes: string[] = []
  const { credentials } = await readAccess({
    ...settings('https://Host:8443/deep/site'),
    ...{ credentials: [{ url: 'https://other', username: 'you', password: { text: 'other secret' } }] },
    askpassUrl: url,
    onAskpass: (outcome) => outcomes.push(outcome),
    onSecret: (secret) => secrets.push(secret),
  })
  expect(credentials).toEqual([
    { url: 'https://other', username: 'you', password: 'other secret' },
    { url: 'https://host:8443', username: 'me', password: 'pass word' },
  ])
  expect(secrets).toEqual(['other secret', 'pass word'])
  expect(outcomes).toEqual(['success'])
})

it('where the askpass URL fails, so do the credentials, and it is counted', async () => {
  const { url } = await serve((_, response) => response.writeHead(500).end())
  const outcomes: string[] = []
  const access = readAccess({
    ...settings('https://host/site'),
    askpassUrl: url,
    onAskpass: (outcome) => outcomes.push(outcome),
  })
  await expect(access).rejects.toThrow('500')
  expect(outcomes).toEqual(['error'])
})

it('a login of HTTP is asked for none of another kind, which git would refuse', async () => {
  let asked = 0
  const { url } = await serve((_, response) => {
    asked += 1
    response.end('username=me\npassword=x\n')
  })
  for (const repo of ['git@host:site', 'ssh://host/site', '/srv/site'])
    expect((await readAccess({ ...settings(repo), askpassUrl: url })).credentials).toEqual([])
  expect(asked).toBe(0)
})

it('a password file is read each time', async () => {
  const file = join(directory, 'password')
  const credentials = [{ url: 'https://host', username: 'me', password: { file } }]
  for (const password of ['first', 'second']) {
    writeFileSync(file, `${password}\n`)
    const access = await readAccess({ ...settings('https://host/site'), credentials })
    expect(access.credentials).toEqual([{ url: 'https://host', username: 'me', password }])
  }
})

it('hosts of SSH are checked by the file that is given, or not at all', async () => {
  const { ssh } = await readAccess(settings('git@host:site'))
  expect(ssh).toMatchObject({ strict: true, knownHostsFile: '/known_hosts' })
  const own = { ...settings('git@host:site').ssh, knownHosts: false, command: 'ssh -p 2222' }
  const lax = await readAccess({ ...settings('git@host:site'), ssh: own, cookieFile: '/cookies' })
  expect(lax).toMatchObject({
    ssh: { strict: false, knownHostsFile: '/dev/null', command: 'ssh -p 2222' },
    cookieFile: '/cookies',
  })
})
