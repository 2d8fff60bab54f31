import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readRepositories } from './repositories-file.ts'

/** As the container reads it: all scalars are text. */
function read(text: string) {
  return readRepositories(parse(text, { schema: 'failsafe' }), {
    root: '/git',
    where: (path) => `at ${path.join('.')}`,
  })
}

function problemsOf(text: string): readonly string[] {
  const result = read(text)
  return result.ok ? [] : result.problems
}

/** One repository that is in order, and further keys. */
const entry = (more = '') => `repositories: [{name: app, repo: https://git.example/app.git${more}}]`

const nothing = {
  credential: undefined,
  ref: undefined,
  depth: undefined,
  filter: undefined,
  submodules: undefined,
  sparseCheckoutFile: undefined,
  periodMs: undefined,
  exechookCommand: undefined,
  prePublishExechookCommand: undefined,
  webhookUrl: undefined,
  touchFile: undefined,
  errorFile: undefined,
  verifySshAllowedSigners: undefined,
  verifyGpgKeys: undefined,
}

describe('a table of repositories', () => {
  test('needs a name and an address of each, and leaves all else to the flags', () => {
    expect(read(entry())).toEqual({
      ok: true,
      repositories: [{ ...nothing, name: 'app', repo: 'https://git.example/app.git', link: '/git/app.git' }],
    })
  })

  test('may say everything', () => {
    const result = read(`
repositories:
  - name: team-app
    repo: https://git.example/app.git
    ref: refs/heads/main
    link: sub/app
    depth: 0x10
    filter: blob:none
    submodules: off
    sparse-checkout-file: /config/sparse
    period: 1m30s
    exechook-command: /hooks/after
    pre-publish-exechook-command: /hooks/before
    webhook-url: http://127.0.0.1:8080/reload
    username: me
    password-file: /secrets/token
    touch-file: touched
    error-file: /errors/app
    verify-ssh-allowed-signers: /signers
    verify-gpg-keys: /keys.asc
`)
    expect(result).toEqual({
      ok: true,
      repositories: [
        {
          name: 'team-app',
          repo: 'https://git.example/app.git',
          credential: { url: 'https://git.example', username: 'me', password: { file: '/secrets/token' } },
          link: '/git/sub/app',
          ref: 'refs/heads/main',
          depth: 16,
          filter: 'blob:none',
          submodules: 'off',
          sparseCheckoutFile: '/config/sparse',
          periodMs: 90_000,
          exechookCommand: '/hooks/after',
          prePublishExechookCommand: '/hooks/before',
          webhookUrl: 'http://127.0.0.1:8080/reload',
          touchFile: 'touched',
          errorFile: '/errors/app',
          verifySshAllowedSigners: '/signers',
          verifyGpgKeys: '/keys.asc',
        },
      ],
    })
  })

  test('may be an object of a program, with numbers', () => {
    const where = () => ''
    const document = { repositories: [{ name: 'app', repo: '/srv/app', depth: 0 }] }
    expect(readRepositories(document, { root: '/git', where })).toMatchObject({
      repositories: [{ depth: 0 }],
    })
  })

  test('has credentials of addresses taken out of them', () => {
    expect(read('repositories: [{name: a, repo: "https://me:hunter2@git.example/a.git"}]')).toMatchObject({
      repositories: [
        {
          repo: 'https://git.example/a.git',
          link: '/git/a.git',
          credential: { url: 'https://git.example', username: 'me', password: { text: 'hunter2' } },
        },
      ],
    })
  })

  test('keeps the order of its entries', () => {
    const result = read('repositories: [{name: b, repo: /b}, {name: a, repo: /a}]')
    expect(result.ok && result.repositories.map(({ name }) => name)).toEqual(['b', 'a'])
  })

  test.each([
    ['', 'at : this is nothing: must be a map with repositories'],
    ['[]', 'at : this is a list: must be a map with repositories'],
    ['{}', 'at repositories: repositories is missing: list maps with a name and a repo'],
    ['repositories: []', 'at repositories: repositories is an empty list: must be a list of maps'],
    ['repositories: {a: b}', 'at repositories: repositories is a map: must be a list of maps'],
    ['repositories: [a]', 'at repositories.0: this is "a": must be a map with name, repo,'],
  ])('of %j is none', (text, problem) => {
    expect(problemsOf(text)).toEqual([expect.stringContaining(problem)])
  })

  test.each([
    [entry(', depht: 1'), '0.depht: depht is unknown: did you mean depth?'],
    [entry(', password: x'), '0.password: password is unknown: did you mean password-file?'],
    [
      '{repositories: [{name: a, repo: /a}], x: 1}',
      'at x: x is unknown: the documentation of the table has the keys',
    ],
    ['repositories: [{repo: /a}]', '0.name: name is missing'],
    ['repositories: [{name: a}]', '0.repo: repo is missing'],
    [
      'repositories: [{name: A, repo: /a}]',
      '0.name: name is "A": must be small letters and digits with dashes',
    ],
    ['repositories: [{name: -a, repo: /a}]', '0.name: name is "-a": must be small letters'],
    ['repositories: [{name: a/b, repo: /a}]', '0.name: name is "a/b": must be small letters'],
    [`repositories: [{name: ${'a'.repeat(64)}, repo: /a}]`, 'must be small letters and digits'],
    ['repositories: [{name: a, repo: "--upload-pack=x"}]', '0.repo: repo must not begin with a dash'],
    ['repositories: [{name: a, repo: "ext::sh -c x"}]', '0.repo: repo must not name a transport program'],
    ['repositories: [{name: a, repo: ""}]', '0.repo: repo must be a text'],
    ['repositories: [{name: a, repo: {}}]', '0.repo: repo must be a text'],
    ['repositories: [{name: a, repo: https://me:hunter/2@h/a}]', '0.repo: repo must be a URL'],
    [
      'repositories: [{name: a, repo: /}]',
      '0.repo: repo ends with nothing that a link could be called: set link',
    ],
    ['repositories: [{name: a, repo: /srv/app/.git}]', '0.repo: repo ends with nothing that a link could'],
    [entry(', ref: -x'), '0.ref: ref is "-x": must not begin with a dash'],
    [entry(', ref: HEAD~1'), '0.ref: ref is "HEAD~1": must be a branch, a tag or a whole hash'],
    [entry(', link: ../x'), '0.link: link is "../x": must be a path below the root, /git'],
    [entry(', link: .worktrees'), '0.link: link is ".worktrees": must be another path'],
    [entry(', depth: -1'), '0.depth: depth is "-1": must be a whole number from 0'],
    [entry(', depth: many'), '0.depth: depth is "many": must be a whole number from 0'],
    [entry(', depth: [1]'), '0.depth: depth is a list: must be a text'],
    [entry(', filter: "a\\nb"'), '0.filter: filter is "a\\\\nb": must be one line'],
    [entry(', submodules: true'), '0.submodules: submodules is "true": must be recursive, shallow or off'],
    [entry(', period: 10'), '0.period: period is "10": must be a time with its unit'],
    [entry(', period: 9ms'), '0.period: period is "9ms": must be at least 10ms'],
    [entry(', period: -1s'), '0.period: period is "-1s": must be at least 10ms'],
    [entry(', webhook-url: hunter2'), '0.webhook-url: webhook-url must be a URL that begins with http'],
    [entry(', touch-file: ""'), '0.touch-file: touch-file is "": must be a text'],
    [entry(', username: me'), 'at repositories.0: a username is given without a password'],
    [entry(', password-file: /x'), 'at repositories.0: a password is given without a username'],
    [
      'repositories: [{name: a, repo: "git@h:a", username: me, password-file: /x}]',
      'at repositories.0: a username and password serve HTTP alone',
    ],
    [
      'repositories: [{name: a, repo: "https://me:hunter2@h/a", username: me, password-file: /x}]',
      'at repositories.0: the repository has credentials in its URL and others beside it',
    ],
    [
      'repositories: [{name: a, repo: /a}, {name: a, repo: /b}]',
      '1.name: name is a, and so is that of an earlier',
    ],
  ])('with %s is refused with its place', (text, problem) => {
    expect(problemsOf(text)).toEqual([expect.stringMatching(problem.replaceAll(/[[\](){}.+*?^$|]/g, '\\$&'))])
    expect(problemsOf(text).join()).not.toContain('hunter')
  })

  test.each([
    ['a', 'a'],
    ['a', './a/'],
    ['a', '/git/a'],
    ['a', 'a/b'],
    ['a/b', 'a'],
  ])('whose links %s and %s destroy each other is refused', (one, other) => {
    const text = `repositories: [{name: x, repo: /x, link: ${one}}, {name: y, repo: /y, link: ${other}}]`
    expect(problemsOf(text)).toEqual([
      expect.stringMatching(
        /^at repositories\.1\.link: link makes the link \/git\/a\S*, and that of x is \/git\/a/,
      ),
    ])
  })

  test('whose links are the same without being said is refused', () => {
    expect(problemsOf('repositories: [{name: x, repo: /srv/a}, {name: y, repo: https://h/a}]')).toEqual([
      'at repositories.1.repo: repo makes the link /git/a, and that of x is /git/a: neither may be or lie in the other',
    ])
  })

  test('whose error files are the same is refused', () => {
    const text =
      'repositories: [{name: x, repo: /x, error-file: e}, {name: y, repo: /y, error-file: /git/e}, {name: z, repo: /z, error-file: /e}]'
    expect(problemsOf(text)).toEqual([
      'at repositories.1.error-file: error-file is that of x: give each its own',
    ])
  })

  test('whose period is longer than a timer may be waits for as long as one may', () => {
    expect(read(entry(', period: 8760h'))).toMatchObject({ repositories: [{ periodMs: 2 ** 31 - 1 }] })
  })

  test('may have links beside each other', () => {
    expect(
      problemsOf('repositories: [{name: x, repo: /x, link: a/b}, {name: y, repo: /y, link: a/bc}]'),
    ).toEqual([])
  })

  test('is refused with all that is wrong at once', () => {
    const problems = problemsOf(`
repositories:
  - name: A
    repo: ""
    depth: x
  - b
  - name: c
    repo: /c
    link: x
  - name: c
    repo: /d
    link: x/y
    colour: red
`)
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'at repositories.0.name',
      'at repositories.0.repo',
      'at repositories.0.depth',
      'at repositories.1',
      'at repositories.3.colour',
      'at repositories.3.name',
      'at repositories.3.link',
    ])
  })

  test('with names that objects have of themselves is refused', () => {
    expect(problemsOf('repositories: [{name: a, repo: /a, __proto__: x, constructor: y}]')).toHaveLength(2)
  })
})
