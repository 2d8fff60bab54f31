import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { createCa } from '../../sidecar-https/src/test-ca.ts'
import { createGit } from './git.ts'
import type { GitError } from './git-error.ts'
import { type GitSshServer, makeSshKey, serveSsh } from './git-servers-test-support.ts'

let directory: string
const signal = AbortSignal.timeout(60_000)

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'outrider-errors-'))
})
afterEach(() => rm(directory, { recursive: true }))

const failure = (promise: Promise<unknown>): Promise<GitError> =>
  promise.then(
    () => expect.fail('it did not fail'),
    (error: GitError) => error,
  )

const ask = (url: string, settings: readonly (readonly [string, string])[] = []) => {
  const git = createGit({ environment: { PATH: process.env['PATH'], HOME: directory }, settings })
  return failure(git.run(['ls-remote', '--', url], { directory, signal }))
}

describe('by HTTPS', () => {
  /** A server with a certificate; gives its port, and a file with its authority. */
  async function serve(wanted: { readonly dns: readonly string[]; readonly days?: number }) {
    const ca = createCa('Test CA')
    const server = createServer(ca.issue({ cn: 'x', ...wanted }), (_, response) => response.end())
    onTestFinished(() => void server.close())
    server.on('tlsClientError', () => undefined)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const caFile = join(directory, 'ca.pem')
    await writeFile(caFile, ca.cert)
    return { port: (server.address() as AddressInfo).port, caFile }
  }

  it('a certificate that has expired is said to need renewal', async () => {
    const { port, caFile } = await serve({ dns: ['localhost'], days: 1 / 48 })
    expect(await ask(`https://localhost:${port}/x.git`, [['http.sslCAInfo', caFile]])).toMatchObject({
      kind: 'certificate',
      message: expect.stringContaining('have the certificate renewed'),
    })
  })

  it('an authority that is not known is said to be needed', async () => {
    const { port } = await serve({ dns: ['localhost'] })
    expect(await ask(`https://localhost:${port}/x.git`)).toMatchObject({
      kind: 'certificate',
      message: expect.stringContaining('give the authority of the server by http.sslCAInfo'),
    })
  })

  it('a certificate for another name is said to be that', async () => {
    const { port, caFile } = await serve({ dns: ['other.example'] })
    expect(await ask(`https://localhost:${port}/x.git`, [['http.sslCAInfo', caFile]])).toMatchObject({
      kind: 'certificate',
      message: expect.stringContaining('use a name in the address'),
    })
  })

  it('a file with authorities that is not there is named', async () => {
    const { port } = await serve({ dns: ['localhost'] })
    expect(await ask(`https://localhost:${port}/x.git`, [['http.sslCAInfo', '/nowhere/ca']])).toMatchObject({
      kind: 'certificate',
      message: expect.stringContaining('check the files that http.sslCAInfo'),
    })
  })
})

describe('by SSH', () => {
  async function ssh(): Promise<GitSshServer> {
    const server = await serveSsh(directory)
    onTestFinished(() => server[Symbol.asyncDispose]())
    return server
  }

  it('a server with another key than the known one is said to be suspicious', async () => {
    const server = await ssh()
    await makeSshKey(join(directory, 'other'))
    const key = await readFile(join(directory, 'other.pub'), 'utf8')
    const knownHostsFile = join(directory, 'known_hosts')
    await writeFile(knownHostsFile, `[127.0.0.1]:${server.port} ${key}`)
    const git = createGit({ environment: { PATH: process.env['PATH'], HOME: directory } })
    const access = { ssh: { keyFiles: [server.keyFile], knownHostsFile, strict: true } }
    const asked = git.run(['ls-remote', '--', server.urlOf('x.git')], { directory, signal, access })
    expect(await failure(asked)).toMatchObject({
      kind: 'host-key',
      message: expect.stringContaining('find out why'),
    })
  })

  it.each(['/nowhere/ssh', 'no-ssh-here'])(
    'a program %s that is not there is said to be needed',
    async (command) => {
      const git = createGit({ environment: { PATH: process.env['PATH'] } })
      const access = { ssh: { keyFiles: [], strict: true, command } }
      const asked = git.run(['ls-remote', '--', 'ssh://localhost/x.git'], { directory, signal, access })
      expect(await failure(asked)).toMatchObject({ kind: 'missing-program' })
    },
  )
})
