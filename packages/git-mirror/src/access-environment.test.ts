import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { Access, Credential } from './access.ts'
import { accessEnvironment } from './access-environment.ts'
import { credentialFor } from './credential-for.ts'
import { createGit } from './git.ts'
import { makeRepository, makeSshKey, serveSsh } from './git-servers-test-support.ts'
import { gitSettings, run, runGit } from './run-git-test-support.ts'

/** An environment as git gets it. */
function environmentOf(access: Access): Record<string, string> {
  const { settings, variables } = accessEnvironment(access)
  const { GIT_CONFIG_COUNT = '', ...rest } = gitSettings({})
  const entries = settings.flatMap(([key, value], index) => [
    [`GIT_CONFIG_KEY_${index}`, key],
    [`GIT_CONFIG_VALUE_${index}`, value],
  ])
  return { ...rest, ...variables, ...Object.fromEntries(entries), GIT_CONFIG_COUNT: String(settings.length) }
}

/** What git itself would log in with. */
async function filled(
  url: string,
  credentials: readonly Credential[],
): Promise<{ readonly username: string; readonly password: string } | undefined> {
  const env = { ...environmentOf({ credentials }), GIT_ASKPASS: '' }
  const said = await runGit(['credential', 'fill'], { env, input: `url=${url}\n\n` }).catch(() => undefined)
  if (said === undefined) return undefined
  const { username = '', password = '' } = Object.fromEntries(
    said.split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)),
  )
  return { username, password }
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(
      fc.constantFrom(
        'a',
        "'",
        '"',
        '\\',
        '%s',
        '%',
        '$(id)',
        '`id`',
        '$HOME',
        ' ',
        'ö',
        '🐙',
        '-n',
        '=',
        ';',
        '!',
      ),
    )
    .map((parts) => parts.join('')),
)
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is left out
const lineText = anyText.filter((text) => !/[\u0000\r\n]/.test(text) && text.isWellFormed())

describe('credentials', () => {
  it('come to git as they are, whatever characters they hold', async () => {
    await fc.assert(
      fc.asyncProperty(lineText, lineText, async (username, password) => {
        const credentials = [{ url: 'https://example.com/a', username, password }]
        expect(await filled('https://example.com/a/b.git', credentials)).toEqual({ username, password })
      }),
      { numRuns: 150 },
    )
  }, 60_000)

  it('are those of the most particular URL, in whatever order and however these are written', async () => {
    const hosts = [
      'https://example.com',
      'https://EXAMPLE.com:443',
      'https://example.com:8443',
      'http://example.com',
    ]
    const paths = [
      '',
      '/',
      '/a',
      '/a/',
      '/a/b',
      '/ab',
      '/a/b/c',
      '/%61',
      '/a/./b',
      '/a/../b',
      '/A',
      '/%c3%b6',
    ]
    const urls = fc.tuple(fc.constantFrom(...hosts), fc.constantFrom(...paths)).map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(urls, { maxLength: 6 }), urls, async (scopes, url) => {
        const credentials = scopes.map((scope, index) => ({
          ...{ url: scope, username: `user ${index}`, password: `password ${index}` },
        }))
        const { url: _, ...ours } = credentialFor(url, credentials) ?? { url }
        expect(Object.keys(ours).length === 0 ? undefined : ours).toEqual(await filled(url, credentials))
      }),
      { numRuns: 300 },
    )
  }, 60_000)

  it('for a host come before those for a pattern of hosts', async () => {
    const credentials = [
      { url: 'https://*.example.com/a/b', username: 'pattern', password: 'x' },
      { url: 'https://git.example.com', username: 'host', password: 'y' },
    ]
    expect(await filled('https://git.example.com/a/b/c', credentials)).toMatchObject({ username: 'host' })
    expect(await filled('https://www.example.com/a/b/c', credentials)).toMatchObject({ username: 'pattern' })
  })

  it('are for no other host, port or scheme, nor for a path that only begins the same', async () => {
    const credentials = [{ url: 'https://example.com/a', username: 'me', password: 'x' }]
    for (const url of [
      'https://example.com.evil.example/a',
      'https://evil.example/a?https://example.com/a',
      'http://example.com/a',
      'https://example.com:8443/a',
      'https://example.com/ab',
      'https://example.com/a.git',
    ]) {
      expect(await filled(url, credentials)).toBeUndefined()
      expect(credentialFor(url, credentials)).toBeUndefined()
    }
  })

  it('make no other settings than their own, whatever their URL holds', async () => {
    const ends = [
      '.',
      '=',
      '"',
      "'",
      ']',
      '[x]',
      ' ',
      '\t',
      'helper',
      '.helper=',
      '\\',
      '#',
      ';',
      'ö',
      '%0a',
      '!',
    ]
    const path = fc.array(fc.constantFrom(...ends)).map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(path, async (end) => {
        const url = `https://example.com/${end}`
        const env = environmentOf({ credentials: [{ url, username: 'me', password: 'x' }] })
        const said = await runGit(['config', '--list', '--name-only', '--null'], { env, cwd: tmpdir() })
        expect(said).toBe(`credential.${url}.helper\0`)
      }),
      { numRuns: 100 },
    )
  }, 60_000)

  it.each(['', 'example.com', 'https://', 'https:///x', 'ssh://example.com', 'https://me@example.com', '*'])(
    'for %j are refused: git might find it to fit any host',
    (url) => {
      expect(() => accessEnvironment({ credentials: [{ url, username: 'me', password: 'x' }] })).toThrow(
        'begins with https://',
      )
    },
  )

  it.each(['a\nb', 'a\rb', 'a\0b'])('with %j in them are refused, and not shown', (text) => {
    for (const part of ['username', 'password', 'url']) {
      const credential = { url: 'https://x', username: 'me', password: 'secret', [part]: `https://x/${text}` }
      const make = () => accessEnvironment({ credentials: [credential] })
      expect(make).toThrow('line break or NUL')
      expect(make).not.toThrow('secret')
    }
  })
})

describe('SSH', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'outrider-access-'))
  })
  afterEach(() => rm(directory, { recursive: true }))

  it('has its files at paths with any characters', async () => {
    const pieces = [
      'a',
      ' ',
      "'",
      '"',
      '\\',
      '%',
      '%h',
      '%%',
      '$(id)',
      '`id`',
      ';',
      '#',
      '~',
      'ö',
      '=',
      '*',
      '-',
    ]
    const path = fc.array(fc.constantFrom(...pieces), { minLength: 1 }).map((parts) => `/x/${parts.join('')}`)
    await fc.assert(
      fc.asyncProperty(path, path, async (keyFile, knownHostsFile) => {
        const { variables } = accessEnvironment({
          ssh: { keyFiles: [keyFile], knownHostsFile, strict: true },
        })
        // As git calls it; ssh tells what it has understood, the tokens of keys still in it.
        const said = await run('sh', ['-c', `${variables['GIT_SSH_COMMAND']} -F /dev/null -G host`])
        expect(said).toContain(`\nidentityfile ${keyFile.replaceAll('%', '%%')}\n`)
        expect(said).toContain(`\nuserknownhostsfile ${knownHostsFile}\n`)
        expect(said).toContain('\nidentitiesonly yes\n')
      }),
      { numRuns: 150 },
    )
  }, 60_000)

  it('logs in with a key at such a path', async () => {
    const repository = await makeRepository(join(directory, 'a.git'))
    const hash = await repository.commit({ a: '1' })
    const server = await serveSsh(directory)
    onTestFinished(() => server[Symbol.asyncDispose]())
    const odd = join(directory, `50% "off" it's \\ %h`)
    await mkdir(odd)
    const key = join(odd, 'key')
    await writeFile(key, await readFile(server.keyFile), { mode: 0o600 })
    const knownHostsFile = join(odd, 'known_hosts')
    await writeFile(knownHostsFile, await readFile(server.knownHostsFile))
    const wrong = await makeSshKey(join(odd, 'wrong'))
    const git = createGit({ environment: { PATH: process.env['PATH'], HOME: directory } })
    const access = { ssh: { keyFiles: [wrong, key], knownHostsFile, strict: true } }
    const signal = AbortSignal.timeout(30_000)
    const said = await git.run(['ls-remote', '--', server.urlOf('a.git'), 'HEAD'], {
      directory,
      signal,
      access,
    })
    expect(said).toBe(`${hash}\tHEAD\n`)
  })

  it('extends the command that it is given, whose own options count first', async () => {
    const command = 'ssh -o ConnectTimeout=7 -p 2200'
    const { variables } = accessEnvironment({ ssh: { keyFiles: [], strict: false, command } })
    const said = await run('sh', ['-c', `${variables['GIT_SSH_COMMAND']} -F /dev/null -G host`])
    expect(said).toContain('\nport 2200\n')
    expect(said).toContain('\nconnecttimeout 7\n')
    expect(said).toContain('\nbatchmode yes\n')
    expect(said).toContain('\nstricthostkeychecking false\n')
  })
})
