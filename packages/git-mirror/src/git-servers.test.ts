import { mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  type GitHttpServer,
  makeGpgSigner,
  makeRepository,
  makeSshSigner,
  runGit,
  serveHttp,
  serveSsh,
} from './git-servers-test-support.ts'

async function world() {
  const root = await mkdtemp(join(tmpdir(), 'git-servers-'))
  const repository = await makeRepository(join(root, 'repo.git'))
  let clones = 0
  return {
    root,
    repository,
    /** Clones and gives the directory. */
    async clone(url: string, flags: readonly string[] = [], env: Record<string, string> = {}) {
      const directory = join(root, `clone-${clones++}`)
      await runGit(['clone', '--quiet', ...flags, url, directory], { env })
      return directory
    },
    async [Symbol.asyncDispose]() {
      await rm(root, { recursive: true })
    },
  }
}

const kinds = ({ requests }: GitHttpServer) => requests.map(({ kind }) => kind)

test('a repository is committed to by files and by any change', async () => {
  await using it = await world()
  const first = await it.repository.commit({ 'a.txt': 'one', 'dir/b.txt': 'two' }, { message: 'First' })
  await it.repository.commit((tree) => symlink('a.txt', join(tree, 'link')))
  const last = await it.repository.commit({ 'a.txt': null })
  const directory = await it.clone(it.repository.directory)
  expect(await readdir(directory)).toEqual(['.git', 'dir', 'link'])
  expect(await it.repository.rev('main')).toBe(last)
  expect(await it.repository.rev('main~2')).toBe(first)
})

test('branches go their own ways', async () => {
  await using it = await world()
  const base = await it.repository.commit({ 'a.txt': 'one' })
  const other = await it.repository.commit({ 'b.txt': 'other' }, { branch: 'other' })
  const main = await it.repository.commit({ 'c.txt': 'main' })
  expect(await it.repository.git(['ls-tree', '--name-only', other])).toBe('a.txt\nb.txt\n')
  expect(await it.repository.git(['ls-tree', '--name-only', main])).toBe('a.txt\nc.txt\n')
  await it.repository.forcePush('main', base)
  expect(await it.repository.rev('main')).toBe(base)
  const amended = await it.repository.commit({ 'a.txt': 'two' }, { amend: true })
  expect(await it.repository.git(['rev-list', '--count', amended])).toBe('1\n')
  expect(await it.repository.branch('third', other)).toBe(other)
  await it.repository.deleteRef('refs/heads/third')
  await expect(it.repository.rev('third')).rejects.toThrow('Needed a single revision')
})

test('a repository that begins anew has no commit', async () => {
  await using it = await world()
  const before = await it.repository.commit({ 'a.txt': 'one' })
  await it.repository.recreate()
  expect(await it.repository.git(['for-each-ref'])).toBe('')
  const after = await it.repository.commit({ 'b.txt': 'one' })
  expect(await it.repository.git(['ls-tree', '--name-only', after])).toBe('b.txt\n')
  await expect(it.repository.git(['cat-file', '-e', before])).rejects.toThrow()
})

test('a submodule is cloned with its repository', async () => {
  await using it = await world()
  const part = await makeRepository(join(it.root, 'part.git'))
  const hash = await part.commit({ 'part.txt': 'part' })
  await it.repository.commit({ 'a.txt': 'one' })
  await it.repository.addSubmodule('lib/part', { url: '../part.git', hash })
  await it.repository.commit({ 'a.txt': 'two' })
  await using server = await serveHttp(it.root)
  const directory = await it.clone(server.urlOf('repo.git'), ['--recurse-submodules'])
  expect(await readFile(join(directory, 'lib/part/part.txt'), 'utf8')).toBe('part')
})

test('SSH keys sign commits and tags', async () => {
  await using it = await world()
  await using signer = await makeSshSigner(join(it.root, 'signer'))
  await it.repository.commit({ 'allowed-signers': signer.publicKey })
  const directory = await it.clone(it.repository.directory)
  const hash = await it.repository.commit({ 'a.txt': 'one' }, { sign: signer })
  await it.repository.tag('v1', { sign: signer })
  const trust = ['-c', 'gpg.format=ssh', '-c', `gpg.ssh.allowedSignersFile=${directory}/allowed-signers`]
  await it.repository.git([...trust, 'verify-commit', hash])
  await it.repository.git([...trust, 'verify-tag', 'v1'])
  await expect(it.repository.git([...trust, 'verify-commit', `${hash}~1`])).rejects.toThrow()
})

test('GnuPG keys sign commits', async () => {
  await using it = await world()
  await using signer = await makeGpgSigner(join(it.root, 'gpg'))
  const hash = await it.repository.commit({ 'a.txt': 'one' }, { sign: signer })
  await it.repository.git(['verify-commit', hash], { env: signer.env })
  expect(signer.publicKey).toContain('BEGIN PGP PUBLIC KEY BLOCK')
})

test.each([
  ['corrupt', /inflate|corrupt/],
  ['empty', /empty/],
  ['missing', /missing|bad object|unable to read/],
] as const)('an object may be %s', async (damage, complaint) => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'some text that goes wrong'.repeat(20) })
  await it.repository.damage(await it.repository.rev('main:a.txt'), damage)
  await expect(it.repository.git(['fsck', '--strict'])).rejects.toThrow(complaint)
})

test('an object may be replaced by another, which a clone finds out', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'right', 'b.txt': 'wrong' })
  const [right, wrong] = [await it.repository.rev('main:a.txt'), await it.repository.rev('main:b.txt')]
  await it.repository.damage(right, { as: wrong })
  await using server = await serveHttp(it.root)
  await expect(it.clone(server.urlOf('repo.git'))).rejects.toThrow()
})

test('git clones over HTTP', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'one' })
  await using server = await serveHttp(it.root)
  const directory = await it.clone(server.urlOf('repo.git'))
  expect(await readFile(join(directory, 'a.txt'), 'utf8')).toBe('one')
  expect(kinds(server)).toEqual(['advertise', 'refs', 'pack'])
  expect(server.count('/repo.git/git-upload-pack')).toBe(2)
  expect(server.bytes.sent).toBeGreaterThan(100)
})

test('git clones shallowly, partly and by protocol v0 over HTTP', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'one' })
  await it.repository.commit({ 'a.txt': 'two' })
  await using server = await serveHttp(it.root)
  const shallow = await it.clone(server.urlOf('repo.git'), ['--depth', '1', '--filter', 'blob:none'])
  expect(await runGit(['rev-list', '--count', 'HEAD'], { cwd: shallow })).toBe('1\n')
  server.protocolV2 = false
  server.requests.length = 0
  await it.clone(server.urlOf('repo.git'))
  expect(kinds(server)).toEqual(['advertise', 'pack'])
})

test('git clones over HTTPS with a private authority', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'one' })
  await using server = await serveHttp(it.root, { tls: true })
  await it.clone(server.urlOf('repo.git'), [], { GIT_SSL_CAINFO: server.caFile })
  await expect(it.clone(server.urlOf('repo.git'))).rejects.toThrow('certificate')
})

test('git clones over HTTP with the right password and the right header alone', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'one' })
  await using server = await serveHttp(it.root, { auth: { username: 'me', password: 'se:cret' } })
  const url = (userinfo: string) => server.urlOf('repo.git').replace('://', `://${userinfo}@`)
  await it.clone(url('me:se%3Acret'))
  await expect(it.clone(url('me:wrong'))).rejects.toThrow('Authentication failed')
  server.auth = { username: 'me', password: 'wrong' }
  await it.clone(url('me:wrong'))
  server.auth = undefined
  server.requiredHeader = ['x-tenant', 'blue']
  await expect(it.clone(server.urlOf('repo.git'))).rejects.toThrow('403')
  await it.clone(server.urlOf('repo.git'), ['-c', 'http.extraHeader=X-Tenant: blue'])
})

test('half a pack fails a clone', async () => {
  await using it = await world()
  await it.repository.commit((tree) =>
    runGit(['init', '--quiet', '--bare', join(tree, 'many')]).then(() => {}),
  )
  await using server = await serveHttp(it.root)
  server.fault = { kind: 'cut', bytes: 900 }
  await expect(it.clone(server.urlOf('repo.git'))).rejects.toThrow(/early EOF|unexpected disconnect|curl/)
  expect(kinds(server)).toEqual(['advertise', 'refs', 'pack'])
})

test.each([
  [{ kind: 'status', status: 503 }, '503'],
  [{ kind: 'html' }, 'not valid'],
  [{ kind: 'body', body: '0000' }, 'invalid'],
] as const)('a clone sees the fault %j', async (fault, complaint) => {
  await using it = await world()
  await using server = await serveHttp(it.root)
  server.fault = fault
  await expect(it.clone(server.urlOf('repo.git'))).rejects.toThrow(complaint)
})

test('a redirect leads to the same repository elsewhere', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'one' })
  await using server = await serveHttp(it.root)
  await using other = await serveHttp(it.root)
  server.fault = { kind: 'redirect' }
  await it.clone(server.urlOf('repo.git'))
  expect(server.requests.map(({ path }) => path)).toContain('/moved/repo.git/git-upload-pack')
  server.fault = { kind: 'redirect', to: other.origin }
  await it.clone(server.urlOf('repo.git'))
  expect(kinds(other)).toEqual(['advertise', 'refs', 'pack'])
})

test.each([{ kind: 'hang' }, { kind: 'hang-after-headers' }, { kind: 'endless-refs' }] as const)(
  'a clone does not get past the fault %j',
  async (fault) => {
    await using it = await world()
    await it.repository.commit({ 'a.txt': 'one' })
    await using server = await serveHttp(it.root)
    server.fault = fault
    const clone = it.clone(server.urlOf('repo.git'))
    const first = fault.kind === 'endless-refs' ? 'refs' : 'advertise'
    await expect.poll(() => kinds(server)).toContain(first)
    const outcome = expect(clone).rejects.toThrow()
    await server[Symbol.asyncDispose]()
    await outcome
  },
)

test('slow bytes arrive in the end', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'one' })
  await using server = await serveHttp(it.root)
  server.fault = { kind: 'slow', bytes: 50, everyMs: 1 }
  await it.clone(server.urlOf('repo.git'))
})

test('git clones over SSH', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'one' })
  await using server = await serveSsh(it.root)
  const directory = await it.clone(server.urlOf('repo.git'), [], { GIT_SSH_COMMAND: server.command })
  expect(await readFile(join(directory, 'a.txt'), 'utf8')).toBe('one')
  expect(server.connections).toBe(1)
})

test('SSH lets nobody else in, and has a host key that can be checked', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'one' })
  await using server = await serveSsh(it.root)
  await using other = await serveSsh(it.root)
  const [file, another] = [server, other].map(({ keyFile }) => keyFile)
  const wrongKey = server.command.replace(file ?? '', another ?? '')
  await expect(it.clone(server.urlOf('repo.git'), [], { GIT_SSH_COMMAND: wrongKey })).rejects.toThrow(
    'Permission denied',
  )
  const wrongHosts = server.command.replace(server.knownHostsFile, other.knownHostsFile)
  await expect(it.clone(server.urlOf('repo.git'), [], { GIT_SSH_COMMAND: wrongHosts })).rejects.toThrow(
    'Host key verification failed',
  )
})
