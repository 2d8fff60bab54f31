import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hostOf, loginFaults, loginOf, splitRepo } from './repo-credentials.ts'

describe('credentials in the address of a repository', () => {
  test('are moved out of it, for the whole host', () => {
    expect(splitRepo('https://me:hunter2@git.example:8443/team/app.git?x=1')).toEqual({
      repo: 'https://git.example:8443/team/app.git?x=1',
      credential: { url: 'https://git.example:8443', username: 'me', password: 'hunter2' },
    })
  })

  test.each([
    ['http://me:p%40%2F%3a%25+@h/r', 'me', 'p@/:%+'],
    ['HTTPS://m%c3%bc:%F0%9F%98%80@h/r', 'mü', '😀'],
    ['https://me:a:b@h/r', 'me', 'a:b'],
    ['https://me@other:a@b@h/r', 'me@other', 'a@b'],
    ['https://token@h/r', 'token', ''],
    ['https://:hunter2@h/r', '', 'hunter2'],
  ])('%s is of %j with %j', (repo, username, password) => {
    expect(splitRepo(repo).credential).toMatchObject({ username, password })
  })

  test.each(['https://@h/r', 'https://:@h/r'])('%s holds none', (repo) => {
    expect(splitRepo(repo)).toEqual({ repo: 'https://h/r' })
  })

  test.each([
    'https://git.example/team/app@v1',
    'ssh://git@git.example/app.git',
    'git@git.example:team/app.git',
    'git://git.example/app.git',
    'file:///srv/a@b.git',
    '/srv/app.git',
    '',
  ])('%s stays as it is', (repo) => {
    expect(splitRepo(repo)).toEqual({ repo })
  })

  test.each([
    'https://me:hunter/2@h/r',
    'https://me:hunter?2@h/r',
    'https://me:hunter#2@h/r',
    'https://me:12#hunter@h/r',
    'https://me:hunter\\2@h/r',
    'https://me:hunter%2@h/r',
    'https://me:hunter%zz@h/r',
    'https://me:hunter%ff@h/r',
    'https://me:hunter%0ahost=evil@h/r',
    'https://me:hunter%00@h/r',
  ])('that cannot be told from it are refused and not shown: %s', (repo) => {
    expect(() => splitRepo(repo)).toThrow(/^(?!.*(hunter|evil))must be a URL/)
  })

  test('are read as they were written', () => {
    const word = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((text) => !/[\0\r\n]/.test(text))
    fc.assert(
      fc.property(word, word, (username, password) => {
        const repo = `https://${encodeURIComponent(username)}:${encodeURIComponent(password)}@h:1/r.git`
        const empty = username === '' && password === ''
        expect(splitRepo(repo)).toEqual({
          repo: 'https://h:1/r.git',
          ...(!empty && { credential: { url: 'https://h:1', username, password } }),
        })
      }),
    )
  })
})

test.each([
  ['https://H.example:8443/team/app.git', 'https://h.example:8443'],
  ['HTTP://[::1]:80', 'http://[::1]:80'],
  ['https://me@h/r', 'https://h'],
  ['ssh://h/r', undefined],
  ['git@h:r', undefined],
  ['/srv/r', undefined],
])('a credential for %s is for %s', (repo, host) => {
  expect(hostOf(repo)).toBe(host)
})

const repo = 'https://git.example/app.git'
const withUser = 'https://me:hunter2@git.example/app.git'

describe('who comes to the repository', () => {
  test.each([
    [{ repo, username: 'me' }, ['a username is given without a password']],
    [{ repo, password: 'hunter2' }, ['a password is given without a username']],
    [{ repo, passwordFile: '/x' }, ['a password is given without a username']],
    [{ repo, username: 'me', password: 'hunter2', passwordFile: '/x' }, ['a password and a password file']],
    [
      { repo: withUser, username: 'me', password: 'hunter2' },
      ['credentials in its URL and others beside it'],
    ],
    [
      { repo: withUser, passwordFile: '/x' },
      ['a password is given without a username', 'credentials in its URL and others beside it'],
    ],
    [{ repo: 'git@git.example:app', username: 'me', password: 'hunter2' }, ['serve HTTP alone']],
  ])('%j contradicts itself', (login, faults) => {
    const texts = [...loginFaults(login)]
    expect(texts).toEqual(faults.map((fault) => expect.stringContaining(fault)))
    expect(texts.join()).not.toContain('hunter2')
  })

  test.each([
    { repo },
    { repo: withUser },
    { repo, username: 'me', password: 'hunter2' },
    { repo, username: 'me', passwordFile: '/x' },
    { repo: 'git@git.example:app' },
    // Of an address that is none, its own parameter tells.
    { repo: 'https://me:hunter/2@h/r' },
  ])('%j does not', (login) => {
    expect([...loginFaults(login)]).toEqual([])
  })

  test.each([
    [{ repo }, undefined],
    [{ repo: withUser }, { username: 'me', password: { text: 'hunter2' } }],
    [
      { repo, username: 'me', password: 'hunter2' },
      { username: 'me', password: { text: 'hunter2' } },
    ],
    [
      { repo, username: 'me', passwordFile: '/x' },
      { username: 'me', password: { file: '/x' } },
    ],
  ])('is what %j says', (login, source) => {
    expect(loginOf(login)).toEqual(source && { url: 'https://git.example', ...source })
  })
})
