import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { GitError } from './git-error.ts'
import {
  type GitHttpServer,
  type GitSshServer,
  makeRepository,
  serveHttp,
  serveSsh,
} from './git-servers-test-support.ts'
import { type MirrorScene, makeScene, sync } from './mirror-test-support.ts'

let scene: MirrorScene
const servers: AsyncDisposable[] = []

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(async () => {
  await scene[Symbol.asyncDispose]()
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]()
})

async function http(options: Parameters<typeof serveHttp>[1] = {}): Promise<GitHttpServer> {
  const server = await serveHttp(scene.base, options)
  servers.push(server)
  return server
}

async function ssh(): Promise<GitSshServer> {
  const server = await serveSsh(scene.base)
  servers.push(server)
  return server
}

const failure = (promise: Promise<unknown>): Promise<GitError> =>
  promise.then(
    () => expect.fail('it did not fail'),
    (error: GitError) => error,
  )

/** Every byte of every file in the root that is no content of the repository. */
async function everythingKept(root: string): Promise<string> {
  const names = await readdir(root, { recursive: true })
  const texts = await Promise.all(
    names.map(async (name) => {
      const file = join(root, name)
      return (await stat(file)).isFile() ? await readFile(file, 'latin1') : ''
    }),
  )
  return texts.join('\n')
}

describe('by HTTP', () => {
  const auth = { username: 'reader', password: 's3cret/word' }

  it('a repository behind basic authentication is published, and the password is nowhere on disk', async () => {
    const server = await http({ auth })
    const hash = await scene.repository.commit({ a: '1' })
    const access = { credentials: [{ url: server.urlOf('repository.git'), ...auth }] }
    await sync(scene.open({ repo: server.urlOf('repository.git') }), { access })
    expect((await scene.published()).hash).toBe(hash)
    expect(await everythingKept(scene.root)).not.toMatch(/s3cret/)
  })

  it('a password that was changed is used at the next sync', async () => {
    const server = await http({ auth })
    await scene.repository.commit({ a: '1' })
    const repo = server.urlOf('repository.git')
    const mirror = scene.open({ repo })
    const sign = (password: string) => ({
      access: { credentials: [{ url: repo, username: auth.username, password }] },
    })
    await sync(mirror, sign(auth.password))
    server.auth = { username: auth.username, password: 'another' }
    const error = await failure(sync(mirror, sign(auth.password)))
    expect(error).toMatchObject({ kind: 'authentication' })
    expect(error.message).not.toContain('s3cret')
    expect((await sync(mirror, sign('another'))).outcome).toBe('unchanged')
  })

  it('a server that asks for credentials that nobody has given is told so at once', async () => {
    const server = await http({ auth })
    await scene.repository.commit({ a: '1' })
    expect(await failure(sync(scene.open({ repo: server.urlOf('repository.git') })))).toMatchObject({
      kind: 'authentication',
      message: expect.stringContaining('check user, password, token'),
    })
  })

  it('a credential is never sent to another host that it is not for', async () => {
    const server = await http({ auth })
    const other = await http({ auth })
    await scene.repository.commit({ a: '1' })
    const access = { credentials: [{ url: server.urlOf('').replace(/\/$/, ''), ...auth }] }
    await failure(sync(scene.open({ repo: other.urlOf('repository.git') }), { access }))
    expect(other.requests.length).toBeGreaterThan(0)
    expect(other.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true)
  })

  it('of two credentials the one whose URL says more is used', async () => {
    const server = await http({ auth })
    await scene.repository.commit({ a: '1' })
    const host = server.urlOf('').replace(/\/$/, '')
    const access = {
      credentials: [
        { url: host, username: 'wrong', password: 'wrong' },
        { url: server.urlOf('repository.git'), ...auth },
      ],
    }
    expect((await sync(scene.open({ repo: server.urlOf('repository.git') }), { access })).outcome).toBe(
      'published',
    )
  })

  it('TLS with a private authority works when it is given, and its lack is said', async () => {
    const server = await http({ tls: true })
    const hash = await scene.repository.commit({ a: '1' })
    const repo = server.urlOf('repository.git')
    expect(await failure(sync(scene.open({ repo })))).toMatchObject({ kind: 'certificate' })
    const settings = [['http.sslCAInfo', server.caFile]] as const
    const directory = join(scene.base, 'second')
    await sync(
      scene.open(
        { repo, directory, link: join(directory, 'link') },
        { environment: { PATH: process.env['PATH'] }, settings },
      ),
    )
    expect(await readFile(join(directory, 'link', 'a'), 'utf8')).toBe('1')
    expect(hash).toMatch(/^[0-9a-f]{40}$/)
  })

  it('a cookie file opens a server that asks for a cookie', async () => {
    const server = await http({ requiredHeader: ['cookie', 'session=letmein'] })
    await scene.repository.commit({ a: '1' })
    const cookieFile = join(scene.base, 'cookies')
    await writeFile(cookieFile, '127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tletmein\n')
    const mirror = scene.open({ repo: server.urlOf('repository.git') })
    await failure(sync(mirror))
    expect((await sync(mirror, { access: { cookieFile } })).outcome).toBe('published')
  })

  it('a partial clone fetches what the tree needs', async () => {
    const server = await http({ auth })
    await scene.repository.commit({ a: 'old' })
    await scene.repository.commit({ a: 'new', 'dir/b': '2' })
    const repo = server.urlOf('repository.git')
    const access = { credentials: [{ url: repo, ...auth }] }
    await sync(scene.open({ repo, filter: 'blob:none' }), { access })
    expect((await scene.published()).files).toEqual({ a: 'new', 'dir/b': '2' })
  })

  it('submodules come with their own credentials from another server', async () => {
    const server = await http()
    const other = await http({ auth })
    const submodule = await makeRepository(join(scene.base, 'sub.git'))
    const nested = await makeRepository(join(scene.base, 'nested.git'))
    const deep = await nested.commit({ deep: 'yes' })
    await submodule.commit({ inside: 'yes' })
    const hash = await submodule.addSubmodule('nested', { url: other.urlOf('nested.git'), hash: deep })
    await scene.repository.commit({ a: '1' })
    await scene.repository.addSubmodule('sub', { url: other.urlOf('sub.git'), hash })
    const access = { credentials: [{ url: other.urlOf('').replace(/\/$/, ''), ...auth }] }
    const files = async (submodules: 'recursive' | 'shallow' | 'off') => {
      const directory = join(scene.base, submodules)
      const link = join(directory, 'link')
      await sync(scene.open({ repo: server.urlOf('repository.git'), directory, link, submodules }), {
        access,
      })
      return (await readdir(link, { recursive: true })).filter((name) => /inside|deep/.test(name)).sort()
    }
    expect(await files('recursive')).toEqual(['sub/inside', 'sub/nested/deep'])
    expect(await files('shallow')).toEqual(['sub/inside'])
    expect(await files('off')).toEqual([])
    expect(await everythingKept(join(scene.base, 'recursive'))).not.toMatch(/s3cret/)
  })

  it("a submodule cannot read this machine's files, nor run a program", async () => {
    const server = await http()
    const secret = await makeRepository(join(scene.base, 'local.git'))
    const hash = await secret.commit({ secret: 'local' })
    await scene.repository.commit({ a: '1' })
    for (const url of [
      secret.directory,
      `file://${secret.directory}`,
      'ext::sh -c "touch /tmp/outrider-owned"',
    ]) {
      await scene.repository.addSubmodule('sub', { url, hash })
      expect(
        await failure(
          sync(
            scene.open({
              repo: server.urlOf('repository.git'),
              link: join(scene.base, 'l'),
              directory: join(scene.base, 'd'),
            }),
          ),
        ),
      ).toMatchObject({
        message: expect.stringMatching(/not allowed|disallowed|suspicious|ignoring/),
      })
      for (const mirror of scene.mirrors.splice(0)) await mirror[Symbol.asyncDispose]()
    }
    await expect(stat('/tmp/outrider-owned')).rejects.toThrow()
  })
})

describe('what a bad remote does', () => {
  it.each([
    ['hangs', { kind: 'hang' } as const, 'aborted'],
    ['hangs after its headers', { kind: 'hang-after-headers' } as const, 'aborted'],
    ['breaks off in the middle of a pack', { kind: 'cut', bytes: 100 } as const, undefined],
    ['answers with a page and status 200', { kind: 'html' } as const, undefined],
    ['is overloaded', { kind: 'status', status: 503 } as const, 'unreachable'],
    ['never ends its list of refs', { kind: 'endless-refs' } as const, undefined],
  ])('%s: the published tree stays, and the next sync is as if nothing had been', async (_, fault, kind) => {
    const server = await http()
    const hash = await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ repo: server.urlOf('repository.git') })
    await sync(mirror)
    const next = await scene.repository.commit({ a: '2', b: 'x'.repeat(100_000) })
    server.fault = fault
    const error = await failure(sync(mirror, { signal: AbortSignal.timeout(3_000) }))
    if (kind !== undefined) expect(error.kind).toBe(kind)
    expect(await scene.published()).toEqual({ hash, files: { a: '1' } })
    server.fault = undefined
    await sync(mirror)
    expect((await scene.published()).hash).toBe(next)
  })

  it('breaks off while the pack comes: nothing half stays on the disk', async () => {
    const server = await http()
    await scene.repository.commit({ a: '1' })
    const mirror = scene.open({ repo: server.urlOf('repository.git') })
    await sync(mirror)
    await scene.repository.commit({ a: '2', b: 'x'.repeat(1_000_000) })
    server.fault = { kind: 'cut', bytes: 500, on: ['pack'] }
    await failure(sync(mirror))
    server.fault = undefined
    await sync(mirror)
    const names = await readdir(join(scene.root, '.git'), { recursive: true })
    expect(names.filter((name) => /tmp_|\.lock/.test(name))).toEqual([])
  })
})

describe('by SSH', () => {
  it('a repository is published with a key, and a host that is not known is refused', async () => {
    const server = await ssh()
    const hash = await scene.repository.commit({ a: '1' })
    const repo = server.urlOf('repository.git')
    const mirror = scene.open({ repo })
    const keys = { keyFiles: [server.keyFile], strict: true }
    expect(
      await failure(sync(mirror, { access: { ssh: { ...keys, knownHostsFile: '/dev/null' } } })),
    ).toMatchObject({
      kind: 'host-key',
    })
    await sync(mirror, { access: { ssh: { ...keys, knownHostsFile: server.knownHostsFile } } })
    expect((await scene.published()).hash).toBe(hash)
  })

  it('without checking of host keys any host is good', async () => {
    const server = await ssh()
    await scene.repository.commit({ a: '1' })
    const access = { ssh: { keyFiles: [server.keyFile], strict: false, knownHostsFile: '/dev/null' } }
    expect((await sync(scene.open({ repo: server.urlOf('repository.git') }), { access })).outcome).toBe(
      'published',
    )
  })

  it('a key that opens nothing is said to be the reason', async () => {
    const server = await ssh()
    await scene.repository.commit({ a: '1' })
    const other = await ssh()
    const access = { ssh: { keyFiles: [other.keyFile], strict: true, knownHostsFile: server.knownHostsFile } }
    expect(
      await failure(sync(scene.open({ repo: server.urlOf('repository.git') }), { access })),
    ).toMatchObject({
      kind: 'authentication',
    })
  })

  it('of several keys the one that opens is found, also at a path with spaces and quotes', async () => {
    const server = await ssh()
    const other = await ssh()
    await scene.repository.commit({ a: '1' })
    const odd = join(scene.base, "it's a key")
    await writeFile(odd, await readFile(server.keyFile), { mode: 0o600 })
    const access = {
      ssh: { keyFiles: [other.keyFile, odd], strict: true, knownHostsFile: server.knownHostsFile },
    }
    expect((await sync(scene.open({ repo: server.urlOf('repository.git') }), { access })).outcome).toBe(
      'published',
    )
  })
})
