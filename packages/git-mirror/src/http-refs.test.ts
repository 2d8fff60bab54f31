import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  type Fault,
  type GitHttpServer,
  makeRepository,
  runGit,
  serveHttp,
} from './git-servers-test-support.ts'
import { type HttpRefs, type HttpRefsOptions, openHttpRefs } from './http-refs.ts'

type Tuning = HttpRefsOptions &
  Parameters<typeof serveHttp>[1] & { readonly objectFormat?: 'sha1' | 'sha256' }

/** A repository with one commit, served, and a client of it. */
async function world(tuning: Tuning = {}) {
  const root = await mkdtemp(join(tmpdir(), 'http-refs-'))
  const repository = await makeRepository(join(root, 'repo.git'), tuning)
  const first = await repository.commit({ 'a.txt': 'one' })
  const server = await serveHttp(root, tuning)
  const url = server.urlOf('repo.git')
  const refs = openHttpRefs(url, tuning)
  return {
    repository,
    first,
    server,
    url,
    refs,
    /** Everything that real git sees, for the same names. */
    lsRemote: async () => {
      const seen = new Map<string, { name: string; hash: string; peeled?: string }>()
      for (const line of (await runGit(['ls-remote', '--quiet', url])).split('\n').slice(0, -1)) {
        const [hash = '', name = ''] = line.split('\t')
        const tag = seen.get(name.replace(/\^\{\}$/, ''))
        if (tag === undefined) seen.set(name, { name, hash })
        else tag.peeled = hash
      }
      return [...seen.values()]
    },
    async [Symbol.asyncDispose]() {
      await refs[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
      await rm(root, { recursive: true })
    },
  }
}

const list = (
  refs: HttpRefs,
  names: readonly string[],
  credential?: { username: string; password: string },
) => refs.list(names, { signal: new AbortController().signal, ...(credential && { credential }) })

/** Asks as often as the client stays off. */
async function wait(refs: HttpRefs, calls: number): Promise<void> {
  for (let call = 0; call < calls; call++) expect(await list(refs, ['HEAD'])).toBeUndefined()
}

const connections = ({ requests }: GitHttpServer) => requests.map(({ connection }) => connection)

test('branches, tags and HEAD are told by one exchange', async () => {
  await using it = await world()
  const tag = await it.repository.tag('v1', { annotated: true })
  await it.repository.tag('light')
  const names = ['HEAD', 'refs/heads/main', 'refs/tags/v1', 'refs/tags/light', 'refs/tags/main', 'main']
  expect(await list(it.refs, names)).toEqual([
    { name: 'HEAD', hash: it.first },
    { name: 'refs/heads/main', hash: it.first },
    { name: 'refs/tags/light', hash: it.first },
    { name: 'refs/tags/v1', hash: tag, peeled: it.first },
  ])
  expect(it.server.requests).toMatchObject([{ method: 'POST', kind: 'refs' }])
})

test('only exact names are told', async () => {
  await using it = await world()
  for (const name of ['feature', 'feature-2', 'features', 'feat']) await it.repository.branch(name)
  expect(await list(it.refs, ['refs/heads/feature'])).toEqual([
    { name: 'refs/heads/feature', hash: it.first },
  ])
  expect(await list(it.refs, ['refs/heads'])).toEqual([])
  expect(await list(it.refs, ['feature', 'ref'])).toEqual([])
})

test('each answer is as new as the remote', async () => {
  await using it = await world()
  for (let round = 0; round < 3; round++) {
    const hash = await it.repository.commit({ 'a.txt': `round ${round}` })
    expect(await list(it.refs, ['HEAD'])).toEqual([{ name: 'HEAD', hash }])
  }
  await it.repository.deleteRef('refs/heads/main')
  expect(await list(it.refs, ['HEAD', 'refs/heads/main'])).toEqual([])
  expect(it.server.requests[0]?.headers).toMatchObject({ 'cache-control': 'no-cache', pragma: 'no-cache' })
})

test('a HEAD that is detached or unborn is told as it is', async () => {
  await using it = await world()
  await it.repository.commit({ 'a.txt': 'two' })
  await it.repository.setHead(it.first)
  expect(await list(it.refs, ['HEAD'])).toEqual([{ name: 'HEAD', hash: it.first }])
  await it.repository.setHead('refs/heads/to-come')
  expect(await list(it.refs, ['HEAD'])).toEqual([])
})

test('an empty repository has no refs', async () => {
  await using it = await world()
  await it.repository.recreate()
  expect(await list(it.refs, ['HEAD', 'refs/heads/main'])).toEqual([])
})

test('one of ten thousand refs is found, also when all of them are listed', async () => {
  await using it = await world()
  const names = Array.from({ length: 10_000 }, (_, index) => `refs/heads/r${String(index).padStart(5, '0')}`)
  const packed = names.map((name) => `${it.first} ${name}\n`).join('')
  await writeFile(join(it.repository.directory, 'packed-refs'), `# pack-refs with: sorted \n${packed}`)
  expect(await list(it.refs, ['refs/heads/r07777'])).toEqual([{ name: 'refs/heads/r07777', hash: it.first }])
  expect(await list(it.refs, ['refs/heads/r', ...names.slice(-2)])).toHaveLength(2)
  expect(it.server.bytes.sent).toBeGreaterThan(500_000)
})

test('the answers are those of git ls-remote', async () => {
  await using it = await world()
  const { repository } = it
  await repository.commit({ 'b.txt': 'two' })
  for (const name of [
    'a/b/c',
    'ünïcode-名前',
    'quote\'"`$(x)',
    '@',
    '-dash',
    'v1',
    'dots.and.more',
    'x'.repeat(200),
    'HEAD',
    'refs/heads/main',
    'a^b'.replace('^', '%5E'),
  ]) {
    await repository.setRef(`refs/heads/${name}`, 'HEAD~1')
  }
  await repository.tag('v1', { annotated: true })
  await repository.tag('of-a-tag', { annotated: true, target: 'v1' })
  await repository.tag('of-a-tree', { annotated: true, target: 'HEAD^{tree}' })
  await repository.tag('of-a-blob', { annotated: true, target: 'HEAD:b.txt' })
  await repository.tag('light')
  for (const ref of ['refs/pull/1/head', 'refs/notes/commits', 'refs/stash', 'refs/x']) {
    await repository.setRef(ref, 'HEAD')
  }
  await repository.git(['symbolic-ref', 'refs/remotes/origin/HEAD', 'refs/heads/main'])
  await repository.git(['symbolic-ref', 'refs/heads/dangling', 'refs/heads/nowhere'])
  await repository.git(['symbolic-ref', 'refs/heads/alias', 'refs/tags/v1'])
  const expected = await it.lsRemote()
  const names = [...expected.map(({ name }) => name), 'refs/heads/dangling', 'refs/heads/nowhere']
  expect(expected.length).toBeGreaterThan(20)
  expect(await list(it.refs, names)).toEqual(expected)
  await repository.git(['pack-refs', '--all'])
  expect(await list(it.refs, names.toReversed())).toEqual(expected)
  for (const ref of expected) expect(await list(it.refs, [ref.name])).toEqual([ref])
})

test('hashes of SHA-256 are told once the first answer has been none', async () => {
  await using it = await world({ objectFormat: 'sha256' })
  await wait(it.refs, 2)
  expect(it.first).toHaveLength(64)
  for (let round = 0; round < 2; round++) {
    expect(await list(it.refs, ['HEAD'])).toEqual([{ name: 'HEAD', hash: it.first }])
  }
})

test('a password is told to the server', async () => {
  await using it = await world({ auth: { username: 'mé', password: 'se:cret' } })
  expect(await list(it.refs, ['HEAD'], { username: 'mé', password: 'se:cret' })).toHaveLength(1)
})

test('without the right password there is no answer, and no second question', async () => {
  await using it = await world({ auth: { username: 'me', password: 'secret' } })
  expect(await list(it.refs, ['HEAD'], { username: 'me', password: 'wrong' })).toBeUndefined()
  expect(it.server.requests).toHaveLength(1)
})

test('a new password counts at once', async () => {
  await using it = await world({ auth: { username: 'me', password: 'old' } })
  expect(await list(it.refs, ['HEAD'], { username: 'me', password: 'old' })).toHaveLength(1)
  it.server.auth = { username: 'me', password: 'new' }
  expect(await list(it.refs, ['HEAD'], { username: 'me', password: 'new' })).toHaveLength(1)
})

test('a redirect is not followed, and takes no password along', async () => {
  await using it = await world()
  await using other = await world()
  for (const to of [other.server.origin, it.server.origin]) {
    await using refs = openHttpRefs(it.url)
    it.server.requests.length = 0
    it.server.fault = { kind: 'redirect', to, status: 307 }
    expect(await list(refs, ['HEAD'], { username: 'me', password: 'secret' })).toBeUndefined()
    expect(it.server.requests).toHaveLength(1)
  }
  expect(other.server.requests).toEqual([])
})

test('a private authority is trusted where it is named', async () => {
  await using it = await world({ tls: true })
  await using trusting = openHttpRefs(it.url, { ca: it.server.ca?.cert ?? '' })
  await using careless = openHttpRefs(it.url, { verify: false })
  expect(await list(trusting, ['HEAD'])).toHaveLength(1)
  expect(await list(careless, ['HEAD'])).toHaveLength(1)
})

test('an authority that is not trusted gets no request, and no password', async () => {
  await using it = await world({ tls: true })
  await using other = await world({ tls: true })
  await using wrong = openHttpRefs(it.url, { ca: other.server.ca?.cert ?? '' })
  await using garbage = openHttpRefs(it.url, { ca: '-----BEGIN CERTIFICATE-----\nnone\n' })
  await using wrongName = openHttpRefs(it.url.replace('127.0.0.1', '127.0.0.2'), {
    ca: it.server.ca?.cert ?? '',
  })
  for (const refs of [it.refs, wrong, garbage, wrongName]) {
    expect(await list(refs, ['HEAD'], { username: 'me', password: 'secret' })).toBeUndefined()
  }
  expect(it.server.requests).toEqual([])
})

const A = 'a'.repeat(40)

test.each<Fault>([
  { kind: 'status', status: 404 },
  { kind: 'status', status: 500 },
  { kind: 'status', status: 204 },
  { kind: 'html' },
  { kind: 'cut', bytes: 20, on: ['refs'] },
  { kind: 'body', body: '' },
  { kind: 'body', body: `003d${A} refs/heads/main\n` },
  { kind: 'body', body: `003d${A} refs/heads/main\n00000000` },
  { kind: 'body', body: `003d${A} refs/heads/main\n000000` },
  { kind: 'body', body: '0010ERR go away\n0000' },
  { kind: 'body', body: 'hello, world' },
  { kind: 'body', body: `4fff${A} refs/heads/main ${' '.repeat(20_000)}` },
  { kind: 'body', body: '0000', headers: { 'content-type': 'application/x-git-upload-pack-advertisement' } },
  { kind: 'body', body: '0000', headers: { 'content-encoding': 'gzip' } },
])('%j is for git to explain', async (fault) => {
  await using it = await world()
  it.server.fault = fault
  expect(await list(it.refs, ['HEAD'])).toBeUndefined()
  expect(it.server.requests).toHaveLength(1)
})

test.each<Fault>([{ kind: 'hang' }, { kind: 'hang-after-headers' }, { kind: 'slow', bytes: 1, everyMs: 30 }])(
  '%j is given up at the deadline, and the connection cut',
  async (fault) => {
    await using it = await world({ timeoutMs: 1_000 })
    it.server.fault = fault
    expect(await list(it.refs, ['HEAD'])).toBeUndefined()
    await expect.poll(() => it.server.open).toBe(0)
    expect(it.server.requests).toHaveLength(1)
  },
)

test('an endless list is given up after a bounded part of it', async () => {
  await using it = await world()
  it.server.fault = { kind: 'endless-refs' }
  expect(await list(it.refs, ['HEAD'])).toBeUndefined()
  await expect.poll(() => it.server.open).toBe(0)
  expect(it.server.bytes.sent).toBeLessThan(32 * 1024 * 1024)
})

test('a server that knows no protocol v2 is for git', async () => {
  await using it = await world()
  it.server.protocolV2 = false
  expect(await list(it.refs, ['HEAD'])).toBeUndefined()
})

test('nobody at the address is for git to explain', async () => {
  await using refs = openHttpRefs('http://127.0.0.1:1/repo.git')
  expect(await list(refs, ['HEAD'])).toBeUndefined()
})

test.each([
  'ssh://git@example.com/repo.git',
  'git@example.com:repo.git',
  '/srv/repo.git',
  'file:///srv/repo.git',
  'http://127.0.0.1:1/repo.git?token=1',
  'http://',
])('the address %s is for git', async (url) => {
  await using refs = openHttpRefs(url)
  expect(await list(refs, ['HEAD'])).toBeUndefined()
})

test('an address may end with a slash and hold a user', async () => {
  await using it = await world()
  await using refs = openHttpRefs(`${it.url.replace('//', '//me@')}/`)
  expect(await list(refs, ['HEAD'])).toHaveLength(1)
  expect(it.server.requests[0]?.headers.authorization).toBeUndefined()
})

test('a name longer than any ref is for git', async () => {
  await using it = await world()
  expect(await list(it.refs, [`refs/heads/${'x'.repeat(70_000)}`])).toBeUndefined()
  expect(it.server.requests).toEqual([])
})

test('after failures in a row it stays off for twice as many calls each time, at most 64', async () => {
  await using it = await world()
  it.server.fault = { kind: 'status', status: 404 }
  for (const off of [1, 2, 4, 8, 16, 32, 64, 64]) {
    it.server.requests.length = 0
    await wait(it.refs, 1 + off)
    expect(it.server.requests).toHaveLength(1)
  }
  it.server.fault = undefined
  expect(await list(it.refs, ['HEAD'])).toHaveLength(1)
  it.server.fault = { kind: 'status', status: 404 }
  await wait(it.refs, 2)
  it.server.fault = undefined
  expect(await list(it.refs, ['HEAD'])).toHaveLength(1)
})

test('one connection is kept', async () => {
  await using it = await world({ tls: true, verify: false })
  for (let round = 0; round < 3; round++) await list(it.refs, ['HEAD'])
  expect(connections(it.server)).toEqual([1, 1, 1])
})

test('a connection that the server has closed is replaced', async () => {
  await using it = await world()
  await list(it.refs, ['HEAD'])
  it.server.cutAll()
  await expect.poll(() => it.server.open).toBe(0)
  expect(await list(it.refs, ['HEAD'])).toHaveLength(1)
})

test('a connection that the server closes while it is used again is replaced once', async () => {
  await using it = await world()
  await list(it.refs, ['HEAD'])
  it.server.fault = { kind: 'cut-reused' }
  expect(await list(it.refs, ['HEAD'])).toHaveLength(1)
  expect(connections(it.server)).toEqual([1, 1, 2])
})

test('a connection that the server would soon close is closed before', async () => {
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\n'
  const answer = `${head}Keep-Alive: timeout=2\r\nContent-Length: 4\r\n\r\n0000`
  let open = 0
  const server = createServer((socket) => {
    open += 1
    socket.on('error', () => undefined).on('close', () => (open -= 1))
    socket.once('data', () => socket.write(answer))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  await using refs = openHttpRefs(`http://127.0.0.1:${(server.address() as AddressInfo).port}/repo.git`)
  expect(await list(refs, ['HEAD'])).toEqual([])
  await expect.poll(() => open, { timeout: 10_000 }).toBe(0)
  server.close()
})

test('aborting ends an exchange with the reason, and counts as no failure', async () => {
  await using it = await world()
  it.server.fault = { kind: 'hang' }
  const abort = new AbortController()
  const call = it.refs.list(['HEAD'], { signal: abort.signal })
  await expect.poll(() => it.server.requests).toHaveLength(1)
  const reason = new Error('enough')
  abort.abort(reason)
  await expect(call).rejects.toBe(reason)
  await expect(it.refs.list(['HEAD'], { signal: abort.signal })).rejects.toBe(reason)
  await expect.poll(() => it.server.open).toBe(0)
  it.server.fault = undefined
  expect(await list(it.refs, ['HEAD'])).toHaveLength(1)
})

test('disposing ends what is under way and closes the connection', async () => {
  await using it = await world({ timeoutMs: 600_000 })
  await list(it.refs, ['HEAD'])
  it.server.fault = { kind: 'hang' }
  const call = list(it.refs, ['HEAD'])
  await expect.poll(() => it.server.requests).toHaveLength(2)
  await it.refs[Symbol.asyncDispose]()
  expect(await call).toBeUndefined()
  await expect.poll(() => it.server.open).toBe(0)
  expect(await list(it.refs, ['HEAD'])).toBeUndefined()
  expect(it.server.requests).toHaveLength(2)
})
