import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGit, type HttpRefs } from '@outrider/git-mirror'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type GitHttpServer,
  makeRepository,
  serveHttp,
} from '../../git-mirror/src/git-servers-test-support.ts'
import { type CheapRefsSettings, openCheapRefs } from './cheap-refs.ts'

const opened: HttpRefs[] = []
afterEach(() => Promise.all(opened.splice(0).map((refs) => refs[Symbol.asyncDispose]())))

function open(own: Partial<CheapRefsSettings> = {}): HttpRefs | undefined {
  const plain = { repo: 'https://example.com/a.git', settings: [], environment: {}, hasCookies: false }
  const refs = openCheapRefs({ ...plain, ...own })
  if (refs !== undefined) opened.push(refs)
  return refs
}

describe('refs are asked for by one exchange', () => {
  it.each<readonly [string, Partial<CheapRefsSettings>]>([
    ['HTTPS', {}],
    ['HTTP', { repo: 'HTTP://example.com/a.git' }],
    [
      'settings that say nothing of HTTP',
      {
        settings: [
          ['pack.threads', '1'],
          ['core.httpLike', 'x'],
        ],
      },
    ],
    ['empty variables', { environment: { HTTPS_PROXY: '', https_proxy: undefined, PATH: '/bin' } }],
    ['hosts that need no proxy', { environment: { NO_PROXY: '*' } }],
  ])('for %s', (_, own) => {
    expect(open(own)).toBeDefined()
  })
})

describe('refs are left to git', () => {
  it.each(['git@example.com:a.git', 'ssh://example.com/a.git', 'git://example.com/a.git', 'file:///a', '/a'])(
    'for %s',
    (repo) => {
      expect(open({ repo })).toBeUndefined()
    },
  )

  it.each([
    'http.proxy',
    'HTTP.extraHeader',
    'http.https://example.com.extraHeader',
    'http.sslVerify',
    'http.sslCert',
    'http.cookieFile',
    'http.followRedirects',
    'url.https://mirror.example/.insteadOf',
    'credential.helper',
    'credential.https://example.com.username',
    'remote.origin.proxy',
    'protocol.version',
    'protocol.https.allow',
    'core.gitProxy',
    'include.path',
    'includeIf.gitdir:/.path',
  ])('with the setting %s', (key) => {
    expect(open({ settings: [[key, 'x']] })).toBeUndefined()
  })

  it.each([
    'https_proxy',
    'HTTPS_PROXY',
    'http_proxy',
    'ALL_PROXY',
    'GIT_SSL_NO_VERIFY',
    'GIT_SSL_CERT',
    'GIT_HTTP_USER_AGENT',
    'GIT_PROXY_SSL_CERT',
  ])('with the variable %s', (name) => {
    expect(open({ environment: { [name]: 'x' } })).toBeUndefined()
  })

  it('with cookies', () => {
    expect(open({ hasCookies: true })).toBeUndefined()
  })

  it('with a file of authorities that cannot be read, of which git says more', () => {
    expect(open({ settings: [['http.sslCAInfo', '/nowhere']] })).toBeUndefined()
    expect(open({ environment: { GIT_SSL_CAINFO: '/nowhere' } })).toBeUndefined()
  })
})

describe('the authorities of TLS', () => {
  let directory: string
  let server: GitHttpServer
  let hash: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'outrider-cheap-'))
    const repository = await makeRepository(join(directory, 'a.git'))
    hash = await repository.commit({ a: '1' })
    server = await serveHttp(directory, { tls: true })
  })
  afterEach(async () => {
    await server[Symbol.asyncDispose]()
    await rm(directory, { recursive: true })
  })

  it('are those that git takes, wherever they are said', async () => {
    const other = await serveHttp(directory, { tls: true })
    const good = server.caFile
    const bad = other.caFile
    const signal = AbortSignal.timeout(30_000)
    const repo = server.urlOf('a.git')
    for (const [own, variable] of [
      [[], undefined],
      [[good], undefined],
      [[], good],
      [[bad, good], undefined],
      [[good, bad], undefined],
      [[good], bad],
      [[bad], good],
    ] as const) {
      const settings = own.map((file) => ['http.sslCAInfo', file] as const)
      const environment = {
        PATH: process.env['PATH'],
        ...(variable !== undefined && { GIT_SSL_CAINFO: variable }),
      }
      const git = createGit({ environment, settings })
      const said = await git.run(['ls-remote', '--', repo, 'HEAD'], { directory, signal }).catch(() => '')
      const refs = await open({ repo, settings, environment })?.list(['HEAD'], { signal })
      expect(refs?.map((ref) => `${ref.hash}\tHEAD\n`).join('') ?? '').toBe(said)
      expect(said === '' || said === `${hash}\tHEAD\n`).toBe(true)
    }
    await other[Symbol.asyncDispose]()
  })
})
