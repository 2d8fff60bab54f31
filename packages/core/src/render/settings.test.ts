import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { sample, sharing } from '../test-support.ts'
import {
  drainOf,
  type GivenParam,
  imageOf,
  mountsOf,
  portsOf,
  settingsOf,
  unmountedOf,
  yamlText,
} from './settings.ts'

describe('yamlText', () => {
  it.each([
    'true',
    'No',
    'on',
    'null',
    '~',
    'y',
    '1',
    '1.5',
    '0x10',
    '1e3',
    '.inf',
    '2026-01-01',
    '',
    ' a',
    'a ',
    'a: b',
    'a #b',
    '- a',
    '[a]',
    '{a}',
    '*a',
    '&a',
    '!a',
    '%a',
    '@a',
    '`a',
    '"a"',
    "'a'",
    'a\nb',
    '|',
    '>',
    '?',
    ':',
    'a:',
    '=',
    '<<',
    '\u2028',
    '\u007f',
    '\ufeff',
  ])('%j is read back as the same text', (text) => {
    expect(parse(`a: ${yamlText(text)}\n`)).toEqual({ a: text })
    expect(parse(`a: ${yamlText(text)}\n`, { version: '1.1' })).toEqual({ a: text })
  })

  it.each(['http://127.0.0.1:8080/x', '/tls/tls.crt', './tls:/tls:ro', 'safe', 'a=b,c', 'me@host'])(
    '%s needs no quotes',
    (text) => {
      expect(yamlText(text)).toBe(text)
      expect(parse(`a: ${text}\n`)).toEqual({ a: text })
    },
  )

  it('any text is read back as the same text, from one line that can be printed', () => {
    const near = fc.string({ unit: fc.constantFrom(...'ab1:#-?,[]{}&*!|>\'"%@`~=<. \n\t\\/$') })
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), near), (text) => {
        const written = yamlText(text)
        expect(written).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
        expect(parse(`a: ${written}\nb: 1\n`)).toEqual({ a: text, b: 1 })
        expect(parse(`a: ${written}\nb: 1\n`, { version: '1.1' })).toEqual({ a: text, b: 1 })
      }),
      { numRuns: 1000 },
    )
  })
})

describe('what a snippet sets', () => {
  it('is the example of each required parameter, and the name of each required secret', () => {
    expect(settingsOf(sample)).toEqual([
      { variable: 'ADAPTER_SAMPLE_TARGET', value: 'http://127.0.0.1:8080', secret: false },
      { variable: 'ADAPTER_SAMPLE_NOTE', value: `it's $5 & $(X): "yes" #1`, secret: false },
      { variable: 'ADAPTER_SAMPLE_PASSWORD', value: '', secret: true },
    ])
  })

  it.each(['flag', 'environment', 'file'])('is what was given by %s', (source) => {
    const settings = settingsOf(sample, [{ name: 'mode', shown: 'fast', source }])
    expect(settings).toContainEqual({ variable: 'ADAPTER_SAMPLE_MODE', value: 'fast', secret: false })
  })

  it.each(['default', 'unset'])('is not what is %s', (source) => {
    const settings = settingsOf(sample, [{ name: 'mode', shown: 'safe', source }])
    expect(settings.map(({ variable }) => variable)).not.toContain('ADAPTER_SAMPLE_MODE')
  })

  it('is what was given instead of the example', () => {
    const settings = settingsOf(sample, [{ name: 'target', shown: 'http://a', source: 'flag' }])
    expect(settings[0]).toMatchObject({ value: 'http://a' })
  })
})

describe('ports', () => {
  it('are those of the defaults, without Unix sockets, with the admin API last', () => {
    expect(portsOf(sample)).toEqual([
      { name: 'lines', port: 8443, isLoopback: false },
      { name: 'admin', port: 9199, isLoopback: false },
    ])
  })

  it('are those that were given', () => {
    const given = [
      { name: 'listen', shown: 'unix:/run/lines.sock', source: 'flag' },
      { name: 'control', shown: '[::1]:7000', source: 'flag' },
      { name: 'admin', shown: ':7001', source: 'flag' },
    ]
    expect(portsOf(sample, given)).toEqual([
      { name: 'control', port: 7000, isLoopback: true },
      { name: 'admin', port: 7001, isLoopback: false },
    ])
  })

  it.each([
    ['127.0.0.1:80', true],
    ['127.9.9.9:80', true],
    ['[::1]:80', true],
    ['localhost:80', true],
    ['app.localhost:80', true],
    [':80', false],
    ['0.0.0.0:80', false],
    ['[::]:80', false],
    ['10.0.0.1:80', false],
    ['localhost.test:80', false],
  ])('whether %s is on loopback is %s', (shown, isLoopback) => {
    expect(portsOf(sample, [{ name: 'admin', shown, source: 'flag' }])).toContainEqual({
      name: 'admin',
      port: 80,
      isLoopback,
    })
  })
})

describe('what is mounted', () => {
  const given = (params: Readonly<Record<string, string>>): GivenParam[] =>
    Object.entries(params).map(([name, shown]) => ({ name, shown, source: 'flag' }))
  const directories = (params: Readonly<Record<string, string>>) =>
    mountsOf(sample, given(params)).map(({ directory }) => directory)
  const help = (params: Readonly<Record<string, string>>, of: string) =>
    mountsOf(sample, given(params)).find(({ directory }) => directory === of)?.help

  it('are the volumes from which something is read', () => {
    expect(directories({})).toEqual(['/tls', '/etc/rules.d'])
    expect(directories({ mode: 'fast' })).toEqual(['/etc/rules.d'])
  })

  it('is a volume from which otherwise nothing is read, for a file that was given in it', () => {
    expect(directories({ mode: 'fast', rules: '/tls/rules.yaml' })).toContain('/tls')
    expect(directories({ mode: 'fast', rules: '/tlsx/rules.yaml' })).not.toContain('/tls')
  })

  it('is the directory of a file that was given, named after nothing else', () => {
    expect(directories({ rules: '/my/rules.yaml' })).toEqual(['/tls', '/etc/rules.d', '/my'])
    expect(help({ rules: '/my/rules.yaml' }, '/my')).toBe('Holds rules.yaml (ADAPTER_SAMPLE_RULES).')
  })

  it('is a directory that was given, whatever its spelling', () => {
    expect(directories({ parts: '/my//./parts/' })).toContain('/my/parts')
    expect(help({ parts: '/my/parts' }, '/my/parts')).toBe('Holds the files of ADAPTER_SAMPLE_PARTS.')
  })

  it('is one directory for what lies in it and below it, since a mount in a mount cannot be made', () => {
    const both = { rules: '/my/rules.yaml', parts: '/my/parts' }
    expect(directories(both)).toEqual(['/tls', '/etc/rules.d', '/my'])
    expect(help({ rules: '/my/deep/rules.yaml', parts: '/my' }, '/my')).toBe(
      'Holds deep/rules.yaml (ADAPTER_SAMPLE_RULES), the files of ADAPTER_SAMPLE_PARTS. A Secret has what is in a folder by items with a path.',
    )
  })

  it.each([
    'rules.yaml',
    './x/rules.yaml',
    '/rules.yaml',
    '/etc/rules.yaml',
    '/usr/share/x/rules.yaml',
    '/a:b/x',
  ])('is not what %s is in: it has no place, or the image is there', (rules) => {
    expect(directories({ rules })).toEqual(['/tls', '/etc/rules.d'])
    expect(unmountedOf(sample, given({ rules }))).toEqual(new Set(['ADAPTER_SAMPLE_RULES']))
  })

  it('is shared with the application where the container writes there, and read from a Secret elsewhere', () => {
    const from = (params: Readonly<Record<string, string>>) =>
      Object.fromEntries(mountsOf(sharing, given(params)).map((mount) => [mount.directory, mount.from]))
    expect(from({})).toEqual({ '/pages': 'shared' })
    expect(from({ root: '/my/pages', source: '/src/x' })).toEqual({ '/my/pages': 'shared', '/src': 'secret' })
    expect(from({ root: '/my/pages', source: '/my/x' })).toEqual({ '/my': 'shared' })
    expect(from({ report: '/pages/deep/report' })).toEqual({ '/pages': 'shared' })
  })

  it('has nothing said of items with a path where it is shared', () => {
    const [mount] = mountsOf(sharing, given({ report: '/pages/deep/report' }))
    expect(mount?.help).toBe('The pages. Holds deep/report (SIDECAR_PAGES_REPORT).')
  })

  it('is nothing for a path that nobody gave', () => {
    expect(mountsOf(sample, [{ name: 'rules', shown: '/my/rules.yaml', source: 'default' }])).toHaveLength(2)
  })
})

describe('the drain', () => {
  it('is the default', () => {
    expect(drainOf(sample)).toEqual({ shown: '10s', seconds: 10 })
  })

  it('is what was given, in whole seconds, rounded up', () => {
    expect(drainOf(sample, [{ name: 'drain', shown: '1m500ms', source: 'flag' }])).toEqual({
      shown: '1m500ms',
      seconds: 61,
    })
  })
})

it('the image is named after the container', () => {
  expect(imageOf(sample)).toBe('outrider/adapter-sample')
})
