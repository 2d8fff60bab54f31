import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkRef, checkRepo, isHash, RefusedAddress } from './address.ts'
import { runGit } from './run-git-test-support.ts'

const isAccepted = (check: (text: string) => void, text: string): boolean => {
  try {
    check(text)
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(RefusedAddress)
    expect((error as Error).message).toMatch(/^must /)
    return false
  }
}

const textOf = (pieces: readonly string[]): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((parts) => parts.join(''))

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const control = /[\u0000-\u001f\u007f]/

describe('a repository', () => {
  it.each([
    'https://example.com/a/b.git',
    'HTTP://example.com:8080/a',
    'https://[::1]:8443/a',
    'ssh://git@example.com:22/a/b.git',
    'git+ssh://example.com/a',
    'git://example.com/a',
    'file:///srv/a',
    'git@github.com:a/b.git',
    'example.com:a',
    'me@[::1]:a/b',
    '[git@example.com:2222]:a/b',
    '/srv/a b/c',
    './a',
    '../a',
  ])('may be %s', (repo) => {
    expect(isAccepted(checkRepo, repo)).toBe(true)
  })

  it.each([
    '',
    'name',
    'a/b:c',
    'https:///x',
    'https://',
    'ftp://example.com/x',
    'ext::sh -c x',
    '::x',
    'fd::3',
    '-x:y',
    'me@-x:y',
    '[-oProxyCommand=x]:y',
    'me@[-x]:y',
    '[me@-x]:y',
    'host:-y',
    'ssh://-x/y',
    'ssh://-me@x/y',
    'ssh://%2dx/y',
    'https://example.com\\@other.example/x',
    'https://me:secret@example.com/x',
    'https://token@example.com/x',
    'ssh://me:secret@example.com/x',
    'https://example.com/x\n',
  ])('may not be %j', (repo) => {
    expect(isAccepted(checkRepo, repo)).toBe(false)
  })

  it('that is accepted is no option, holds no control character and names no program', () => {
    const pieces = [
      '-',
      '--',
      ':',
      '::',
      '/',
      '//',
      '@',
      '[',
      ']',
      'a',
      'ext',
      'ssh://',
      'https://',
      '.',
      '%2d',
      '\n',
      '\0',
      ' ',
    ]
    fc.assert(
      fc.property(fc.oneof(textOf(pieces), fc.string({ unit: 'binary' })), (repo) => {
        if (!isAccepted(checkRepo, repo)) return
        expect(repo).not.toMatch(control)
        expect(repo).not.toMatch(/^-|^[a-z0-9+.-]*::/i)
      }),
      { numRuns: 20_000 },
    )
  })

  describe('by SSH', () => {
    let directory: string
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'outrider-address-'))
    })
    afterEach(() => rm(directory, { recursive: true }))

    it('that is accepted gives ssh a host and a command, and no option', async () => {
      const ssh = join(directory, 'ssh')
      const said = join(directory, 'said')
      await writeFile(ssh, `#!/bin/sh\nprintf '%s\\n' "$@" >'${said}'\nexit 1\n`)
      await chmod(ssh, 0o755)
      const env = { GIT_SSH_COMMAND: `'${ssh}'`, GIT_SSH_VARIANT: 'ssh' }
      const pieces = [
        '-',
        '-o',
        '=',
        ':',
        '/',
        '@',
        '[',
        ']',
        'a',
        '.',
        '%2d',
        '%40',
        '~',
        '2',
        "'",
        ';',
        '$(b)',
      ]
      const repos = fc
        .tuple(fc.constantFrom('', 'ssh://', 'git+ssh://'), textOf(pieces))
        .map(([scheme, rest]) => `${scheme}${rest}`)
        .filter((repo) => !/^\.{0,2}\//.test(repo) && isAccepted(checkRepo, repo))
      let asked = 0
      await fc.assert(
        fc.asyncProperty(repos, async (repo) => {
          await writeFile(said, '')
          await runGit(['ls-remote', '--', repo], { cwd: directory, env }).catch(() => undefined)
          const args = (await readFile(said, 'utf8')).split('\n').slice(0, -1)
          if (args.length === 0) return
          asked += 1
          const [flag, value, ...rest] = args
          expect([flag, value]).toEqual(['-o', 'SendEnv=GIT_PROTOCOL'])
          if (rest[0] === '-p') rest.splice(0, 2)
          expect(rest).toHaveLength(2)
          expect(rest[0]).not.toMatch(/^-/)
          expect(rest[1]).toMatch(/^git-upload-pack '/)
        }),
        { numRuns: 250 },
      )
      expect(asked).toBeGreaterThan(30)
    }, 60_000)
  })
})

describe('a ref', () => {
  it.each(['main', 'HEAD', 'feature/x', 'refs/heads/main', 'v1.2.3', 'ümlaut', 'a@b', 'a'.repeat(40)])(
    'may be %s',
    (ref) => {
      expect(isAccepted(checkRef, ref)).toBe(true)
    },
  )

  it('is accepted where git would let it be a name of one, but for what a command would take otherwise', async () => {
    const pieces = [
      'a',
      'b',
      '/',
      '.',
      '..',
      '@',
      '{',
      '~',
      '^',
      ':',
      '?',
      '*',
      '[',
      '\\',
      ' ',
      '\t',
      '\x7f',
      '-',
      '+',
      'ö',
      '.lock',
    ]
    await fc.assert(
      fc.asyncProperty(textOf(pieces), async (ref) => {
        const isOfGit = await runGit(['check-ref-format', '--allow-onelevel', ref]).then(
          () => true,
          () => false,
        )
        expect(isAccepted(checkRef, ref)).toBe(isOfGit && !/^[-+]/.test(ref))
      }),
      { numRuns: 400 },
    )
  }, 60_000)

  it('that is accepted is no option, no refspec and no expression', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (ref) => {
        if (isAccepted(checkRef, ref)) expect(ref).not.toMatch(/^[-+]|[:~^*?[\\ ]|@\{|\.\.|^$/)
      }),
      { numRuns: 20_000 },
    )
  })

  it('is a hash when it is one in whole, in lower case', () => {
    expect(['a'.repeat(40), '0'.repeat(64)].every(isHash)).toBe(true)
    expect(['a'.repeat(39), 'A'.repeat(40), `${'a'.repeat(40)}\n`, ''].some(isHash)).toBe(false)
  })
})
