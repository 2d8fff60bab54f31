import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { readUsers, usersOf } from './users.ts'

const digest = (text: string): string => `#${createHash('sha256').update(text).digest('hex')}`

describe('users', () => {
  test('are let in by their own password alone, plain or as its digest', () => {
    const users = usersOf(
      new Map([
        ['default', 'open'],
        ['worker', digest('sesame')],
        ['odd', '#not a digest'],
      ]),
    )
    expect(users.required).toBe(true)
    expect(users.check('default', 'open')).toBe(true)
    expect(users.check('worker', 'sesame')).toBe(true)
    expect(users.check('odd', '#not a digest')).toBe(true)
    for (const [user, password] of [
      ...[
        ['default', 'sesame'],
        ['default', ''],
        ['default', 'open '],
        ['worker', 'open'],
        // Whoever has read the file has no password.
        ['worker', digest('sesame')],
      ],
      ...[
        ['nobody', 'open'],
        ['', ''],
        ['__proto__', 'open'],
      ],
    ] as const)
      expect({ user, password, isLetIn: users.check(user, password) }).toEqual({
        user,
        password,
        isLetIn: false,
      })
  })

  test('are all there are where none is set', () => {
    const users = usersOf(new Map())
    expect(users.required).toBe(false)
    expect(users.check('anybody', 'anything')).toBe(true)
  })

  test('are read from a map of names to passwords', () => {
    expect(readUsers({ default: 'open', worker: digest('sesame') })).toEqual({
      ok: true,
      passwords: new Map([
        ['default', 'open'],
        ['worker', digest('sesame')],
      ]),
    })
  })

  test.each([
    [undefined, [], 'must be a map of names to passwords'],
    [[], [], 'must be a map of names to passwords'],
    [{}, [], 'must be a map of names to passwords'],
    ['default', [], 'must be a map of names to passwords'],
    [{ 'a b': 'open' }, ['a b'], 'the user "a b" must have no spaces'],
    [{ '': 'open' }, [''], 'must not be empty'],
    [{ 'a\nb': 'open' }, ['a\nb'], 'must be one line'],
    [{ worker: '' }, ['worker'], 'the user "worker" has no password'],
    [{ worker: 7 }, ['worker'], 'the user "worker" has no password'],
    [{ worker: { password: 'open' } }, ['worker'], 'the user "worker" has no password'],
    [{ worker: '#5ECRET' }, ['worker'], 'must be 64 hexadecimal digits in small letters'],
    [{ worker: digest('open').toUpperCase() }, ['worker'], 'must be 64 hexadecimal digits in small letters'],
  ])('are not read from %j', (document, path, text) => {
    const read = readUsers(document)
    expect(read).toEqual({ ok: false, faults: [{ path, text: expect.stringContaining(text) }] })
    expect(JSON.stringify(read)).not.toMatch(/open|5ECRET/)
  })

  test('tell all that is wrong at once', () => {
    const read = readUsers({ 'a b': '', worker: '#x', default: 'open' })
    expect(read.ok ? 0 : read.faults.length).toBe(3)
  })
})
