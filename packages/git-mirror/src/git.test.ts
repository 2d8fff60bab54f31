import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Access } from './access.ts'
import { moduleAt, Scratch } from './file-system-test-support.ts'
import { createGit, type GitOptions } from './git.ts'
import type { GitError } from './git-error.ts'

let directory: string
const signal = AbortSignal.timeout(60_000)

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'outrider-git-'))
})
afterEach(() => rm(directory, { recursive: true }))

/** A program in place of git, as a shell script. */
async function program(script: string): Promise<string> {
  const file = join(directory, 'program')
  await writeFile(file, `#!/bin/sh\n${script}\n`)
  await chmod(file, 0o755)
  return file
}

const runs = async (script: string, options: GitOptions = {}, access: Access = {}): Promise<string> =>
  createGit({ environment: { PATH: process.env['PATH'] }, ...options, program: await program(script) }).run(
    ['test'],
    {
      directory,
      signal,
      access,
    },
  )

const failure = (promise: Promise<unknown>): Promise<GitError> =>
  promise.then(
    () => expect.fail('it did not fail'),
    (error: GitError) => error,
  )

describe('what a process of git gets', () => {
  it('only the environment given, and of GIT_* what concerns transports', async () => {
    const environment = {
      PATH: process.env['PATH'],
      HTTPS_PROXY: 'http://proxy:1',
      GIT_DIR: '/elsewhere',
      GIT_SSL_CAINFO: '/ca.pem',
      GIT_TRACE: '1',
    }
    const env = await runs('env', { environment })
    expect(env).toMatch(/^HTTPS_PROXY=http:\/\/proxy:1$/m)
    expect(env).toMatch(/^GIT_SSL_CAINFO=\/ca.pem$/m)
    expect(env).not.toMatch(/^(GIT_DIR|GIT_TRACE)=/m)
    expect(env).toMatch(/^GIT_CONFIG_GLOBAL=\/dev\/null$/m)
  })

  it('no credential in its arguments', async () => {
    const credentials = [{ url: 'https://example.com', username: 'me', password: 'hunter22' }]
    const text = await runs('cat /proc/$$/cmdline', {}, { credentials })
    expect(text).not.toContain('hunter22')
  })

  it('a setting of the user, but none that lifts what protects this machine', async () => {
    const settings = [
      ['http.sslCAInfo', '/my/ca'],
      ['core.hooksPath', '/my/hooks'],
      ['protocol.ext.allow', 'always'],
    ] as const
    const git = createGit({ environment: { PATH: process.env['PATH'] }, settings })
    const read = async (key: string) =>
      (await git.run(['config', '--get', key], { directory, signal })).trim()
    expect(await read('http.sslCAInfo')).toBe('/my/ca')
    expect(await read('core.hooksPath')).toBe('/dev/null')
    expect(await read('protocol.ext.allow')).toBe('never')
  })
})

describe('how it ends', () => {
  it('an abort ends the process and all that it has started', async () => {
    const aborter = new AbortController()
    const git = createGit({
      program: await program('sleep 1000 & echo $! > child; wait'),
      environment: { PATH: process.env['PATH'] },
    })
    const running = failure(git.run(['test'], { directory, signal: aborter.signal }))
    let child = ''
    while (child === '') child = await readFile(join(directory, 'child'), 'utf8').catch(() => '')
    aborter.abort(new Error('after 1s'))
    expect(await running).toMatchObject({ kind: 'aborted', message: expect.stringContaining('after 1s') })
    await expect
      .poll(() =>
        readFile(`/proc/${child.trim()}/stat`, 'utf8').then(
          (text) => text.includes(') Z '),
          () => true,
        ),
      )
      .toBe(true)
  })

  it('what is aborted before never starts', async () => {
    const git = createGit({
      program: await program('touch started'),
      environment: { PATH: process.env['PATH'] },
    })
    expect((await failure(git.run(['test'], { directory, signal: AbortSignal.abort() }))).kind).toBe(
      'aborted',
    )
    await expect(readFile(join(directory, 'started'))).rejects.toThrow()
  })

  it('a grandchild that keeps the pipes open does not keep it waiting', async () => {
    expect(await runs('sleep 1000 & echo done')).toBe('done\n')
  })

  it('a flood on standard output ends it, and one on standard error is cut', async () => {
    expect((await failure(runs('yes'))).kind).toBe('output')
    const error = await failure(runs('yes | head -c 9000000 >&2; exit 3'))
    expect(error.message.length).toBeLessThan(2_000)
  })

  it('where no file can be opened any more it cannot be started, and nothing else ends of it', async () => {
    await using scratch = new Scratch()
    const text = `
      import { openSync } from 'node:fs'
      const { createGit } = await import(${moduleAt('git.ts')})
      const run = () => createGit({ environment: { PATH: process.env.PATH } })
        .run(['version'], { directory: '/', signal: AbortSignal.timeout(60000) })
        .catch((error) => error.name + ' ' + error.message)
      await run()
      try { for (;;) openSync('/dev/null') } catch {}
      process.send(await run())
      setTimeout(() => process.send('still here'), 100)`
    const child = scratch.node(text, {}, ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh'])
    expect(await child.said()).toMatch(/^GitError git version cannot be started: .*EMFILE/)
    expect(await child.said()).toBe('still here')
  })

  it('a program that is not there is said', async () => {
    const git = createGit({ program: '/nowhere/git' })
    expect(await failure(git.run(['test'], { directory, signal }))).toMatchObject({
      kind: 'missing-program',
      message: expect.stringContaining('/nowhere/git'),
    })
  })
})

describe('what an error says', () => {
  it('what git said, in one line, without progress and advice', async () => {
    const error = await failure(
      runs(
        'printf "remote: Counting objects: 3\\nhint: try this\\nfatal: first\\nfatal: second\\n" >&2; exit 128',
      ),
    )
    expect(error.message).toBe('git test failed with exit code 128: fatal: first; fatal: second')
  })

  it('no credential: neither those given nor what a URL holds', async () => {
    const credentials = [{ url: 'https://example.com', username: 'me', password: 'hunter 22/' }]
    const said = [
      'hunter 22/',
      encodeURIComponent('hunter 22/'),
      Buffer.from('me:hunter 22/').toString('base64'),
      'https://bob:secretword@host/x',
      'https://tokenalone@host/x',
    ]
    const error = await failure(
      runs(`printf '%s\\n' ${said.map((text) => `'${text}'`).join(' ')} >&2; exit 1`, {}, { credentials }),
    )
    for (const word of ['hunter', 'secretword', 'tokenalone', said[2] ?? ''])
      expect(error.message).not.toContain(word)
  })

  it('no credential either that begins as another does', async () => {
    const credentials = ['abcdef', 'abcdefghi'].map((password, index) => ({
      ...{ url: `https://example.com/${index}`, username: 'me', password },
    }))
    const error = await failure(runs("echo 'fatal: abcdefghi and abcdef' >&2; exit 1", {}, { credentials }))
    expect(error.message).toContain('fatal: *** and ***')
  })

  it('that the system may have ended it for want of memory', async () => {
    expect((await failure(runs('kill -9 $$'))).message).toContain('more memory than the container may have')
  })

  it.each([
    [
      "fatal: unable to access 'https://x/certificate-expired.git/': Could not resolve host: x",
      'unreachable',
    ],
    ["fatal: repository 'https://x/No space left on device/' not found", 'not-found'],
    ["fatal: couldn't find remote ref refs/heads/server-certificate", 'no-ref'],
  ])('nothing that comes of a name: %j is %s', async (said, kind) => {
    expect((await failure(runs(`cat >&2 <<'END'\n${said}\nEND\nexit 128`))).kind).toBe(kind)
  })

  it.each([
    [
      '@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\nHost key verification failed.',
      'find out why',
    ],
    ['Host key verification failed.', "put the server's key into the known hosts file"],
    [
      "fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none CRLfile: none",
      'http.sslCAInfo, or have the certificate renewed if it has expired',
    ],
    [
      "fatal: unable to access 'https://x/': SSL certificate problem: certificate has expired",
      'http.sslCAInfo, or have the certificate renewed if it has expired',
    ],
    [
      "fatal: unable to access 'https://x/': SSL: no alternative certificate subject name matches target host name 'x'",
      'use a name in the address',
    ],
    [
      "fatal: unable to access 'https://x/': error setting certificate verify locations:  CAfile: /x CApath: none",
      'check the files that http.sslCAInfo',
    ],
    [
      "remote: Repository not found.\nfatal: repository 'https://github.com/a/b/' not found",
      'check the address, and whether the credentials may see it',
    ],
    [
      'ERROR: Repository not found.\nfatal: Could not read from remote repository.',
      'check the address, and whether the credentials may see it',
    ],
    [
      "remote: Permission to a/b.git denied to c.\nfatal: unable to access 'https://github.com/a/b.git/': The requested URL returned error: 403",
      'check user, password, token or key',
    ],
    [
      "remote: Invalid username or token. Password authentication is not supported for Git operations.\nfatal: Authentication failed for 'https://github.com/a/b.git/'",
      'check user, password, token or key',
    ],
    [
      'fatal: remote error: upload-pack: not our ref 1234',
      'many servers give no commit that neither a branch nor a tag leads to',
    ],
    ['error: cannot run ssh: No such file or directory\nfatal: unable to fork', 'install what git calls'],
  ])('what helps: after %j it says %j', async (said, remedy) => {
    const error = await failure(runs(`cat >&2 <<'END'\n${said}\nEND\nexit 128`))
    expect(error.message).toContain(remedy)
  })

  it.each([
    ["fatal: Authentication failed for 'https://x/'", 'authentication'],
    ["fatal: could not read Username for 'https://x': terminal prompts disabled", 'authentication'],
    ['git@github.com: Permission denied (publickey).', 'authentication'],
    ['Host key verification failed.', 'host-key'],
    [
      "fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none",
      'certificate',
    ],
    ["fatal: unable to access 'https://x/': Could not resolve host: x", 'unreachable'],
    ['ssh: connect to host x port 22: Connection refused', 'unreachable'],
    ["fatal: repository 'https://x/' not found", 'not-found'],
    ["fatal: '/x' does not appear to be a git repository", 'not-found'],
    ["fatal: couldn't find remote ref refs/heads/x", 'no-ref'],
    ['error: unable to write file x: No space left on device', 'no-space'],
    ['error: unable to write file x\nfatal: Could not reset index file to revision 1234.', 'no-space'],
    ['error: unable to write file x: Input/output error', 'other'],
    ["fatal: could not create work tree dir 'x': Read-only file system", 'read-only'],
    ['fatal: loose object 1234 (stored in .git/objects/12/34) is corrupt', 'corrupt'],
    ["fatal: transport 'ext' not allowed", 'refused'],
    ["fatal: unable to access 'https://x/': Received HTTP code 407 from proxy after CONNECT", 'unreachable'],
    ["fatal: unable to access 'https://x/': The requested URL returned error: 429", 'unreachable'],
    ['fatal: unknown repository extension found:\n\trelativeworktrees', 'corrupt'],
    ["fatal: Unable to find remote helper for 'https'", 'missing-program'],
    ["error: cannot open '.git/FETCH_HEAD': Permission denied", 'permission'],
  ])('%j is %s', async (said, kind) => {
    const error = await failure(runs(`cat >&2 <<'END'\n${said}\nEND\nexit 128`))
    expect(error.kind).toBe(kind)
  })

  it('a credential with a line break is refused, since it would be a further line of what git reads', async () => {
    const credentials = [{ url: 'https://example.com', username: 'me', password: 'a\nhost=evil.example' }]
    await expect(runs('true', {}, { credentials })).rejects.toThrow('line break')
  })
})
