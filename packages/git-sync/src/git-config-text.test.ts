import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseGitConfigText } from './git-config-text.ts'

describe('a list of settings', () => {
  test.each([
    ['', []],
    ['a.b:c', [['a.b', 'c']]],
    [
      'a.b:c,d.e.f:g',
      [
        ['a.b', 'c'],
        ['d.e.f', 'g'],
      ],
    ],
    ['a.b:c,', [['a.b', 'c']]],
    ['a.b:""', [['a.b', '']]],
    ['a.b: c ', [['a.b', ' c ']]],
    ['a.b:c:d', [['a.b', 'c:d']]],
    ['a.b:c"d', [['a.b', 'c"d']]],
    [
      '"a.b":"c,d",e.f:g',
      [
        ['a.b', 'c,d'],
        ['e.f', 'g'],
      ],
    ],
    [
      '"url.https://git.example/.insteadOf":git@git.example:',
      [['url.https://git.example/.insteadOf', 'git@git.example:']],
    ],
    [String.raw`a.b:\n\t\"\,\\`, [['a.b', '\n\t",\\']]],
    [String.raw`a.b:"\n\t\"\,\\"`, [['a.b', '\n\t",\\']]],
    [String.raw`"a.\"\\\,\t.b":c`, [['a."\\,\t.b', 'c']]],
    // A bare key knows no escapes.
    [String.raw`a.\n.b:c`, [[String.raw`a.\n.b`, 'c']]],
    [String.raw`a.\\.b:c`, [[String.raw`a.\\.b`, 'c']]],
    ['a.😀.b:😀', [['a.😀.b', '😀']]],
    ['core.sshCommand:ssh -v', [['core.sshCommand', 'ssh -v']]],
    ['safe.directory:*', [['safe.directory', '*']]],
    ['protocol.version:2', [['protocol.version', '2']]],
  ])('%s is read', (text, settings) => {
    expect(parseGitConfigText(text)).toEqual(settings)
  })

  test.each([
    ['a.b', 4, 'no colon'],
    ['"a.b"', 6, 'no colon'],
    ['"a.b"c:d', 6, 'no colon'],
    ['a.b:', 5, 'a value is missing'],
    ['a.b:,c.d:e', 5, 'a value is missing'],
    ['a.b:"c', 5, 'never closed'],
    ['"a.b:c', 1, 'never closed'],
    ['a.b:"c\\"', 5, 'never closed'],
    ['a.b:"c"d', 8, 'behind a quoted value'],
    ['a.b:"c":d', 8, 'behind a quoted value'],
    [String.raw`a.b:c\x`, 6, 'an escape is unknown'],
    [String.raw`a.b:"\r"`, 6, 'an escape is unknown'],
    ['a.b:c\\', 6, 'an escape is unknown'],
    [String.raw`"a\0.b":c`, 3, 'an escape is unknown'],
    [':c', 1, 'no key of git'],
    ['ab:c', 1, 'no key of git'],
    ['a.b:c, d.e:f', 7, 'no key of git'],
    [',a.b:c', 1, 'no key of git'],
    ['a.1:c', 1, 'no key of git'],
    ['a.b_c:d', 1, 'no key of git'],
    [String.raw`"a.\n.b":c`, 1, 'no key of git'],
    ['a.b:c\0', 1, 'a NUL'],
  ])('%j is refused at position %d', (text, position, why) => {
    expect(() => parseGitConfigText(text)).toThrow(
      new RegExp(`^must be pairs such as .*, and at position ${position} .*${why}`),
    )
  })

  test.each(['core.hooksPath:/hooks', 'CORE.HOOKSPATH:""', '"core.hooksPath":.githooks'])(
    '%s is refused: no hook of git ever runs',
    (text) => {
      expect(() => parseGitConfigText(text)).toThrow(/at position 1 .*hooks of git never run here/)
    },
  )

  test('core.fsmonitor is refused: no program watches the files', () => {
    expect(() => parseGitConfigText('a.b:c,core.fsmonitor:true')).toThrow(
      /at position 7 .*no program watches/,
    )
  })

  test.each(['protocol.allow', 'protocol.ext.allow', 'Protocol.file.Allow', 'protocol.a.b.allow'])(
    '%s is refused: which protocols are spoken is fixed',
    (key) => {
      expect(() => parseGitConfigText(`${key}:always`)).toThrow(/which protocols git speaks is fixed/)
    },
  )

  test('an error never shows a value', () => {
    expect(() => parseGitConfigText('http.extraHeader:"hunter2')).toThrow(/^(?!.*hunter2)/)
    expect(() => parseGitConfigText('http.extraHeader:hunter2\\')).toThrow(/^(?!.*hunter2)/)
    expect(() => parseGitConfigText('hunter2:hunter2')).toThrow(/^(?!.*hunter2)/)
  })

  const texts = fc.string({ unit: fc.constantFrom(...'ab.:,"\\\n\t é'), maxLength: 20 })
  const escaped = (text: string) =>
    text
      .replace(/[\\",]/g, '\\$&')
      .replaceAll('\n', '\\n')
      .replaceAll('\t', '\\t')

  test('is what was quoted', () => {
    const pairs = fc.array(
      fc.tuple(
        texts.filter((text) => !text.includes('\n')),
        texts,
      ),
    )
    fc.assert(
      fc.property(pairs, (pairs) => {
        const settings = pairs.map(([middle, value]) => [`a.${middle}.b`, value] as const)
        const text = settings.map(([key, value]) => `"${escaped(key)}":"${escaped(value)}"`).join(',')
        expect(parseGitConfigText(text)).toEqual(settings)
      }),
    )
  })

  test('whatever it is, is read or refused with a position inside of it', () => {
    fc.assert(
      fc.property(texts, (text) => {
        try {
          parseGitConfigText(text)
        } catch (error) {
          const [, position] = /^must be .* at position (\d+) /.exec((error as Error).message) ?? []
          expect(Number(position)).toBeGreaterThanOrEqual(1)
          expect(Number(position)).toBeLessThanOrEqual(text.length + 1)
        }
      }),
    )
  })

  test('git takes every key that passes', () => {
    const key = fc
      .tuple(
        fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9-]{0,3}$/),
        fc.string({ unit: fc.constantFrom(...'aZ0-._ :/\\"'), maxLength: 6 }),
        fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-]{0,4}$/),
      )
      .map(([section, middle, name]) => `${section}.${middle}.${name}`)
    fc.assert(
      fc.property(key, (key) => {
        expect(parseGitConfigText(`"${escaped(key)}":v`)).toEqual([[key, 'v']])
        const env = { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: key, GIT_CONFIG_VALUE_0: 'v' }
        const PATH = process.env['PATH']
        expect(execFileSync('git', ['config', '--get', key], { env: { PATH, ...env } }).toString()).toBe(
          'v\n',
        )
      }),
      { numRuns: 50 },
    )
  })
})
