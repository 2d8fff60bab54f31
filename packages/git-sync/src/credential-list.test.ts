import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  joinCredentials,
  parseCredentials,
  readCredentials,
  secretsInCredentials,
  shownCredentials,
} from './credential-list.ts'

const one = { url: 'https://git.example', username: 'me', password: 'hunter2' }
const two = { url: 'http://other.example:8080/team', username: 'you', 'password-file': '/secrets/token' }

describe('credentials are read', () => {
  test('from an object', () => {
    expect(parseCredentials(JSON.stringify(one))).toEqual([
      { url: one.url, username: 'me', password: { text: 'hunter2' } },
    ])
  })

  test('from a list', () => {
    expect(parseCredentials(` ${JSON.stringify([one, two])}`)).toEqual([
      { url: one.url, username: 'me', password: { text: 'hunter2' } },
      { url: two.url, username: 'you', password: { file: '/secrets/token' } },
    ])
  })

  test.each(['', ' \n', '[]'])('from %j there are none', (text) => {
    expect(parseCredentials(text)).toEqual([])
  })

  test('with an empty password where a file is given', () => {
    expect(parseCredentials(JSON.stringify({ ...two, password: '' }))).toHaveLength(1)
  })
})

describe('credentials are refused', () => {
  test.each([
    [{ ...one, url: undefined }, 'credential 1 has no url'],
    [{ ...one, url: '' }, 'credential 1 has no url'],
    [{ ...one, username: undefined }, 'credential 1 has no username'],
    [{ ...one, password: undefined }, 'credential 1 has neither a password nor a password-file'],
    [{ ...one, 'password-file': '/x' }, 'credential 1 has both a password and a password-file'],
    [{ ...one, pasword: 'hunter2' }, 'credential 1 has the unknown key "pasword"'],
    [{ ...one, ['__proto__']: 'hunter2' }, 'credential 1 has the unknown key "__proto__"'],
    [{ ...one, password: 7 }, 'credential 1 has a password that is no text'],
    [{ ...one, url: ['hunter2'] }, 'credential 1 has a url that is no text'],
    [{ ...one, username: 'me\nhost=evil' }, 'credential 1 has a username of more than one line'],
    [{ ...one, password: 'hunter2\r' }, 'credential 1 has a password of more than one line'],
    [{ ...one, url: 'hunter2' }, 'credential 1 has a url that does not begin with https:// or http://'],
    [{ ...one, url: 'ssh://hunter2@git.example' }, 'credential 1 has a url that does not begin with'],
    [{ ...one, url: 'https://me:hunter2@git.example' }, 'credential 1 has a url that holds a user'],
    [[one, 'hunter2'], 'credential 2 is no object'],
    [[one, null], 'credential 2 is no object'],
    [[one, [two]], 'credential 2 is no object'],
    [[one, { ...two, url: 3 }], 'credential 2 has a url that is no text'],
  ])('%j: %s', (value, fault) => {
    expect(() => parseCredentials(JSON.stringify(value))).toThrow(
      new RegExp(`^(?!.*hunter2)must be objects with url.*: ${fault}[^;]*$`),
    )
  })

  test('with all that is wrong at once', () => {
    expect(() => parseCredentials('[{"url":"x"},{"user":"hunter2","password":true}]')).toThrow(
      'must be objects with url, username, and password or password-file: ' +
        'credential 1 has a url that does not begin with https:// or http://; credential 1 has no username; ' +
        'credential 1 has neither a password nor a password-file; credential 2 has the unknown key "user"; ' +
        'credential 2 has a password that is no text: put it into quotes; credential 2 has no url; ' +
        'credential 2 has no username',
    )
  })

  test.each(['hunter2', '"hunter2"', '7', 'null', '{"password":"hunter2"', "{'password':'hunter2'}"])(
    '%s is no object and no list of them, and not shown',
    (text) => {
      expect(() => parseCredentials(text)).toThrow(/^(?!.*hunter2)must be JSON, an object or a list of them/)
    },
  )

  test('with the position where JSON ends being so', () => {
    expect(() => parseCredentials('{"url":"https://git.example",}')).toThrow('it is none from position 30 on')
  })
})

describe('several flags', () => {
  test('say what one says', () => {
    const joined = joinCredentials([JSON.stringify(one), JSON.stringify([two, one]), '', JSON.stringify(two)])
    expect(parseCredentials(joined)).toEqual(parseCredentials(JSON.stringify([one, two, one, two])))
  })

  test('of which there is one or none, are as they were', () => {
    expect(joinCredentials(['{"url":'])).toBe('{"url":')
    expect(joinCredentials([])).toBe('')
  })

  test('of which one is no JSON, are none together', () => {
    expect(() => parseCredentials(joinCredentials([JSON.stringify(one), 'hunter2']))).toThrow(/^must be JSON/)
  })
})

describe('what is shown', () => {
  test('has no passwords', () => {
    expect(shownCredentials(JSON.stringify([one, two]))).toBe(
      JSON.stringify([{ ...one, password: '***' }, two]),
    )
    expect(shownCredentials(JSON.stringify(one))).toBe(JSON.stringify({ ...one, password: '***' }))
  })

  test('is nothing of what is no JSON', () => {
    expect(shownCredentials('{"password":"hunter2"')).toBe('***')
    expect(shownCredentials('')).toBe('')
  })

  test('never holds what may be a password in the wrong place', () => {
    const places = fc.constantFrom(
      (secret: unknown): unknown => ({ ...one, password: secret }),
      (secret: unknown) => [{ ...one, pass: secret }],
      (secret: unknown) => [{ ...one, password: { value: secret } }],
      (secret: unknown) => ({ ...one, url: `https://me:${secret}@git.example` }),
      (secret: unknown) => ({ ...two, 'password-file': secret }),
      (secret: unknown) => [one, secret],
      (secret: unknown) => secret,
    )
    fc.assert(
      fc.property(places, fc.constantFrom<unknown>('hunter3', 73737373), (place, secret) => {
        const text = JSON.stringify(place(secret))
        expect(shownCredentials(text)).not.toContain(secret)
        if (typeof secret === 'string' && !text.includes('"value"')) {
          expect(secretsInCredentials(text).some((hidden) => hidden.includes(secret))).toBe(true)
        }
        try {
          parseCredentials(text)
        } catch (error) {
          expect((error as Error).message).not.toContain(secret)
        }
      }),
    )
  })
})

test('secrets are the passwords', () => {
  expect(secretsInCredentials(JSON.stringify([one, two]))).toEqual(['hunter2'])
  expect(secretsInCredentials('hunter2')).toEqual(['hunter2'])
  expect(secretsInCredentials('')).toEqual([])
})

describe('before a sync', () => {
  function fileOf(content: string): string {
    const path = mkdtempSync(join(tmpdir(), 'credentials-'))
    onTestFinished(() => rmSync(path, { recursive: true }))
    writeFileSync(join(path, 'token'), content)
    return join(path, 'token')
  }
  const sources = (file: string) => parseCredentials(JSON.stringify([one, { ...two, 'password-file': file }]))

  test('a password is what its file holds now', async () => {
    const file = fileOf('before\n')
    const second = { url: two.url, username: 'you' }
    expect(await readCredentials(sources(file))).toEqual([one, { ...second, password: 'before' }])
    writeFileSync(file, 'after\n')
    expect(await readCredentials(sources(file))).toEqual([one, { ...second, password: 'after' }])
  })

  test('every file that cannot serve is named', async () => {
    const lines = fileOf('hunter2\nhunter3')
    const texts = [sources('/nowhere/token'), sources(lines)].flat()
    await expect(readCredentials(texts)).rejects.toThrow(
      'the password for http://other.example:8080/team: /nowhere/token cannot be read: ENOENT; ' +
        'the password for http://other.example:8080/team: its file holds more than one line',
    )
  })
})
