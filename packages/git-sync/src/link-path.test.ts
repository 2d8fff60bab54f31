import { sep } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defaultLink, isNested, resolveLink } from './link-path.ts'

describe('a link', () => {
  test.each([
    ['/git', 'app', '/git/app'],
    ['/git', './sub//app/', '/git/sub/app'],
    ['/git', '/git/app', '/git/app'],
    ['/git/', '/git/sub/../app', '/git/app'],
    ['/git/.', '../git/app', '/git/app'],
    ['/', 'app', '/app'],
    // Only what stands directly in the root is the mirror's own.
    ['/git', 'sub/.git', '/git/sub/.git'],
    ['/git', '.gitignore', '/git/.gitignore'],
    ['/git', '..app', '/git/..app'],
    // Only by an absolute path, as in the peer.
    ['/git', '/srv/app', '/srv/app'],
    ['/git', '/gitapp', '/gitapp'],
  ])('from %s, %s is %s', (root, link, path) => {
    expect(resolveLink(root, link)).toBe(path)
  })

  test.each(['', '.', './', '..', '../app', '/', '/git', 'sub/..', 'sub/../../app', '/git/../git'])(
    'stays below the root: %j is refused',
    (link) => {
      expect(() => resolveLink('/git', link)).toThrow('must be a path below the root, /git')
    },
  )

  test.each(['/', '.', '..'])('is not the root where that is /: %s is refused', (link) => {
    expect(() => resolveLink('/', link)).toThrow('must be a path below the root, /')
  })

  test.each([
    '.git',
    '.git/app',
    '/git/.worktrees',
    'a/../.worktrees/b',
    '.repositories/',
    '.repositories/app',
  ])('takes nothing of the mirror: %s is refused', (link) => {
    expect(() => resolveLink('/git', link)).toThrow(
      /^must be another path than \.(git|worktrees|repositories) /,
    )
  })

  test.each(['a\nb', 'a\0b', '\x1b[2J'])('is one line without control characters: %j is refused', (link) => {
    expect(() => resolveLink('/git', link)).toThrow('must be a path without control characters')
  })

  test('is below the root whatever is given, or refused', () => {
    const link = fc.string({ unit: fc.constantFrom('a', '.', '..', '/', '.git', 'git', ' '), maxLength: 8 })
    fc.assert(
      fc.property(fc.constantFrom('/', '/git', '/git/sub/'), link, (root, link) => {
        if (link.startsWith('/')) return
        let path: string
        try {
          path = resolveLink(root, link)
        } catch {
          return
        }
        const base = root.endsWith(sep) ? root : root + sep
        expect(path.startsWith(base)).toBe(true)
        expect(path.slice(base.length).split(sep)).not.toContain('..')
        expect(path.slice(base.length)).toMatch(/^(?!\.git(\/|$))./)
      }),
    )
  })
})

test.each([
  ['/git/a', '/git/a', true],
  ['/git/a', '/git/a/b', true],
  ['/git/a/b', '/git/a', true],
  ['/git/a', '/git/ab', false],
  ['/git/a', '/git/b/a', false],
])('%s and %s in each other: %s', (one, other, nested) => {
  expect(isNested(one, other)).toBe(nested)
})

test.each([
  ['https://git.example/team/app.git', 'app.git'],
  ['https://git.example/team/app', 'app'],
  ['https://git.example/team/app.git//', 'app.git'],
  ['https://git.example', 'git.example'],
  ['ssh://git@git.example:22/team/app.git', 'app.git'],
  ['git@git.example:team/app.git', 'app.git'],
  // As it always was, so that no mount has to change.
  ['git@git.example:app.git', 'git@git.example:app.git'],
  ['file:///srv/app.git', 'app.git'],
  ['/srv/app/', 'app'],
  ['/', ''],
])('without a name, that of %s is %j', (repo, name) => {
  expect(defaultLink(repo)).toBe(name)
})
