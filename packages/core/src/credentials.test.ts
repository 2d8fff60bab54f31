import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { credentialsIn, maskCredentials } from './credentials.ts'

describe('maskCredentials', () => {
  it.each([
    ['http://user:pw@host/path?q#f', 'http://***@host/path?q#f'],
    ['redis://:pw@host:6379/0', 'redis://***@host:6379/0'],
    ['https://token@github.com/a/b', 'https://***@github.com/a/b'],
    ['https://token:@github.com/a/b', 'https://***@github.com/a/b'],
    ['http://user:p@ss@host/', 'http://***@host/'],
    ['ssh://git:pw@host/repo', 'ssh://***@host/repo'],
  ])('%s is shown as %s', (text, shown) => {
    expect(maskCredentials(text)).toBe(shown)
  })

  it.each([
    'http://host/a@b',
    'http://host/?mail=a@b',
    'http://host:8080',
    'unix:/run/app.sock',
    'ssh://git@github.com/a/b',
    'git+ssh://git@github.com/a/b',
    'file:///srv/repo@2',
    '/etc/passwd',
    'plain',
    '',
  ])('%j has no credentials and is shown as it is', (text) => {
    expect(maskCredentials(text)).toBe(text)
  })

  // WHATWG URL: one slash, none, or backslashes do for the schemes that browsers know.
  it.each([
    'http:user:hunter2@host',
    'http:/user:hunter2@host',
    'http:\\\\user:hunter2@host',
    'ht\ntp://user:hunter2@host',
  ])('masks what only a lenient parser takes for credentials: %j', (text) => {
    expect(maskCredentials(text)).toBe('http://***@host/')
  })

  it.each([
    ['an unencoded slash in the password', 'http://user:hun/ter2@host'],
    ['an unencoded hash in the password', 'http://user:hun#ter2@host'],
    ['an unencoded question mark in the password', 'http://user:hun?ter2@host'],
    ['a port that is none', 'http://user:hunter2@host:http'],
  ])('masks what is no URL, because of %s', (_, text) => {
    expect(maskCredentials(text)).toMatch(/^http:\/\/\*\*\*@host/)
  })

  it.each(['user:hunter2@host:5432', 'hunter2@host', 'http:user:hun/ter2@host'])(
    'masks all before the host where the scheme is missing or broken: %s',
    (text) => {
      expect(maskCredentials(text)).toMatch(/^\*\*\*@host/)
    },
  )

  it('never shows a password of a URL', () => {
    const password = fc.string({ unit: 'grapheme', minLength: 1 }).map((tail) => `hunter2${tail}`)
    const scheme = fc.constantFrom('http', 'https', 'redis', 'postgres', 'ssh')
    fc.assert(
      fc.property(scheme, password, (name, word) => {
        expect(maskCredentials(`${name}://user:${word}@host/path`)).not.toContain('hunter2')
      }),
    )
  })
})

describe('credentialsIn', () => {
  it.each([
    ['http://user:pw@host', ['user:pw', 'pw']],
    ['redis://:pw@host', [':pw', 'pw']],
    ['https://token@host', ['token']],
    ['http://user:p%40ss@host', ['user:p%40ss', 'p%40ss', 'p@ss']],
    ['http://user:p@ss@host', ['user:p@ss', 'p@ss', 'p%40ss']],
    ['http://user:100%@host', ['user:100%', '100%']],
    ['user:pw@host', ['user:pw', 'pw']],
  ])('%s', (text, expected) => {
    expect(credentialsIn(text)).toEqual(expected)
  })

  it('finds the token before an empty password', () => {
    expect(credentialsIn('https://token:@host')).toContain('token')
  })

  it.each(['http://host/a@b', 'ssh://git@github.com/a', 'plain', ''])('%j has none', (text) => {
    expect(credentialsIn(text)).toEqual([])
  })

  it('finds the password as it was written, as the URL holds it and as it is meant', () => {
    const password = fc
      .stringMatching(/^[A-Za-z0-9 !$%&'()*+,;=^|-]{1,20}$/)
      .filter((word) => word.trim() === word)
    fc.assert(
      fc.property(password, (word) => {
        const text = `http://user:${word}@host/`
        const { password: held } = new URL(text)
        expect(credentialsIn(text)).toEqual(expect.arrayContaining([word, held]))
      }),
    )
  })
})
