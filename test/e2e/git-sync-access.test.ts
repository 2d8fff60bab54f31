import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type GitSshServer,
  serveSsh,
  type TestRepository,
} from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { createCa } from '../../packages/sidecar-https/src/test-ca.ts'
import {
  inVolume,
  makeSecret,
  makeVolume,
  Origin,
  SyncContainer,
  type SyncOptions,
} from '../support/git-sync.ts'

let origin: Origin
let site: TestRepository
let hash: string

beforeAll(async () => {
  origin = await Origin.make()
  site = await origin.repository('site.git')
  await site.commit({ 'index.html': 'first' })
  await site.commit({ 'index.html': 'second', 'docs/guide.md': 'a guide' })
  hash = await site.commit({ 'index.html': 'third', 'src/large.bin': Buffer.alloc(300_000, 7) })
})
afterAll(() => origin[Symbol.asyncDispose]())

/** Syncs once; gives what a script then finds in the volume, as an application does. */
async function once({ args = [], ...options }: SyncOptions, script = 'cat site.git/index.html') {
  await using volume = await makeVolume()
  await using sync = new SyncContainer({ ...options, volume, args: ['--one-time', ...args] })
  const code = await sync.ended()
  const failures = sync.failures()
  const log = sync.stdout + sync.stderr
  return { code, failures, log, found: await inVolume(volume, script).catch(() => '') }
}

describe('over HTTPS with a private authority', () => {
  const auth = { username: 'reader', password: 'pa:ss w0rd%2F"\'$`' }
  const login = { GITSYNC_USERNAME: auth.username, GITSYNC_PASSWORD: auth.password }

  it.each([
    ['a setting of git', ['--git-config', 'http.sslCAInfo:/ca/ca.crt'], {}],
    ['GIT_SSL_CAINFO', [], { GIT_SSL_CAINFO: '/ca/ca.crt' }],
  ])('it syncs with user and password, and the authority by %s', async (_, args, env) => {
    const server = await origin.serve({ tls: true, auth })
    await using ca = await makeSecret({ 'ca.crt': readFileSync(server.caFile, 'utf8') }, { mode: '444' })
    const { code, found, log } = await once({
      env: { GITSYNC_REPO: server.urlOf('site.git'), ...login, ...env },
      args,
      mounts: [`${ca.name}:/ca:ro`],
    })
    expect({ code, found, log }).toEqual({ code: 0, found: 'third', log: expect.any(String) })
    expect(log).not.toContain(auth.password)
  })

  it('it says nothing to a server of another authority, and names the remedy', async () => {
    const server = await origin.serve({ tls: true, auth })
    await using ca = await makeSecret({ 'ca.crt': createCa('Another CA').cert }, { mode: '444' })
    const { code, found, failures } = await once({
      env: { GITSYNC_REPO: server.urlOf('site.git'), ...login },
      args: ['--git-config', 'http.sslCAInfo:/ca/ca.crt'],
      mounts: [`${ca.name}:/ca:ro`],
    })
    expect({ code, found }).toEqual({ code: 1, found: '' })
    expect(failures[0]).toMatch(/certificate.*http\.sslCAInfo/)
    expect(server.requests).toEqual([])
  })

  it('a wrong password is refused with a text that does not hold it', async () => {
    const server = await origin.serve({ tls: true, auth })
    await using ca = await makeSecret({ 'ca.crt': readFileSync(server.caFile, 'utf8') }, { mode: '444' })
    const { code, log, failures } = await once({
      env: {
        GITSYNC_REPO: server.urlOf('site.git'),
        GITSYNC_USERNAME: 'reader',
        GITSYNC_PASSWORD: 'wrong-one',
      },
      args: ['--git-config', 'http.sslCAInfo:/ca/ca.crt'],
      mounts: [`${ca.name}:/ca:ro`],
    })
    expect(code).toBe(1)
    expect(failures[0]).toMatch(/check user, password/)
    expect(log).not.toContain('wrong-one')
  })
})

describe('over SSH with a Secret of the pod', () => {
  let server: GitSshServer
  let files: { readonly ssh: string; readonly known_hosts: string }

  beforeAll(async () => {
    server = origin.keep(await serveSsh(origin.directory))
    files = {
      ssh: readFileSync(server.keyFile, 'utf8'),
      known_hosts: readFileSync(server.knownHostsFile, 'utf8'),
    }
  })

  it.each<[string, string, string, readonly string[]]>([
    ['400', 'its own', '65532:65532', []],
    ['440', 'its own', '65532:65532', []],
    ['400', 'an arbitrary', '4242:65532', []],
    ['400', 'an arbitrary', '4242:65532', ['--add-user']],
    ['400', 'an arbitrary one of group 0 as', '1000660000:0', []],
  ])('it syncs with files of mode %s and fsGroup as %s user %s %j', async (mode, _, user, args) => {
    await using secret = await makeSecret(files, { mode, group: 65532 })
    const { code, found, log } = await once({
      env: { GITSYNC_REPO: server.urlOf('site.git') },
      args,
      user,
      mounts: [`${secret.name}:/etc/git-secret:ro`],
      // Kubernetes adds the group of fsGroup to each process.
      options: ['--group-add', '65532'],
    })
    expect({ code, found, log }).toEqual({ code: 0, found: 'third', log: expect.any(String) })
  })

  it('a key that it may not read is named, with the remedy', async () => {
    await using secret = await makeSecret(files, { mode: '400' })
    const { code, failures } = await once({
      env: { GITSYNC_REPO: server.urlOf('site.git') },
      mounts: [`${secret.name}:/etc/git-secret:ro`],
    })
    expect(code).toBe(1)
    expect(failures[0]).toMatch(/\/etc\/git-secret\/ssh cannot be read.*fsGroup/)
  })

  it('a server whose key is not known is refused, with the remedy', async () => {
    const known_hosts = files.known_hosts.replaceAll(`:${server.port}`, ':1')
    await using secret = await makeSecret({ ...files, known_hosts }, { mode: '400', group: 65532 })
    const { code, failures } = await once({
      env: { GITSYNC_REPO: server.urlOf('site.git') },
      mounts: [`${secret.name}:/etc/git-secret:ro`],
    })
    expect(code).toBe(1)
    expect(failures[0]).toMatch(/known hosts file/)
  })
})

it('a submodule on another server gets its own credential, and no server sees that of the other', async () => {
  const [outer, inner] = await Promise.all([
    origin.serve({ auth: { username: 'one', password: 'first-password' } }),
    origin.serve({ auth: { username: 'two', password: 'second-password' } }),
  ])
  const part = await origin.repository('part.git')
  const partHash = await part.commit({ 'part.txt': 'a part' })
  const whole = await origin.repository('whole.git')
  await whole.commit({ 'whole.txt': 'a whole' })
  await whole.addSubmodule('parts/part', { url: inner.urlOf('part.git'), hash: partHash })
  await using secret = await makeSecret({ password: 'second-password\n' }, { mode: '400', group: 65532 })
  const credential = { url: inner.origin, username: 'two', 'password-file': '/creds/password' }
  const { code, found, log } = await once(
    {
      env: {
        GITSYNC_REPO: outer.urlOf('whole.git'),
        GITSYNC_USERNAME: 'one',
        GITSYNC_PASSWORD: 'first-password',
        GITSYNC_CREDENTIAL: JSON.stringify(credential),
      },
      mounts: [`${secret.name}:/creds:ro`],
    },
    'cat whole.git/whole.txt whole.git/parts/part/part.txt',
  )
  expect({ code, found, log }).toEqual({ code: 0, found: 'a wholea part', log: expect.any(String) })
  const seen = ({ requests }: typeof outer) =>
    new Set(requests.flatMap(({ headers }) => headers.authorization ?? []).map((text) => atob(text.slice(6))))
  expect(seen(outer)).toEqual(new Set(['one:first-password']))
  expect(seen(inner)).toEqual(new Set(['two:second-password']))
})

it('of a partial clone with sparse-checkout, what is left out is neither in the tree nor fetched', async () => {
  const server = await origin.serve()
  await using patterns = await makeSecret({ sparse: '/docs/\n/*.html\n' }, { mode: '444' })
  const { code, found } = await once(
    {
      env: {
        GITSYNC_REPO: server.urlOf('site.git'),
        GITSYNC_FILTER: 'blob:none',
        GITSYNC_SPARSE_CHECKOUT_FILE: '/patterns/sparse',
      },
      mounts: [`${patterns.name}:/patterns:ro`],
    },
    `cd site.git; find . -type f | grep -v '^./.git' | sort
    git rev-list --objects --all --missing=print | grep -c '^?'`,
  )
  expect({ code, found }).toEqual({ code: 0, found: './docs/guide.md\n./index.html\n1' })
})

it.each([
  ['1', '1', 'true'],
  ['2', '2', 'true'],
  ['0', '3', 'false'],
])('with depth %s, %s commits are there', async (depth, commits, isShallow) => {
  const server = await origin.serve()
  const { code, found } = await once(
    { env: { GITSYNC_REPO: server.urlOf('site.git'), GITSYNC_DEPTH: depth } },
    'cd site.git; git rev-list --count HEAD; git rev-parse --is-shallow-repository HEAD',
  )
  expect({ code, found }).toEqual({ code: 0, found: `${commits}\n${isShallow}\n${hash}` })
})
