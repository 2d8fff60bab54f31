import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defineContainer } from './container.ts'
import {
  address,
  duration,
  flag,
  kindOf,
  listOf,
  oneOf,
  path,
  regex,
  secret,
  text,
  url,
  urlOf,
} from './kinds.ts'
import { type ResolvedParam, resolve } from './resolve.ts'
import { aged } from './test-support.ts'

const box = defineContainer({
  name: 'test-box',
  pattern: 'sidecar',
  summary: 'Does nothing for the application beside it.',
  contract: [],
  admin: 9999,
  params: {
    target: urlOf('http', 'https')('Where to send.', { example: 'http://127.0.0.1:8080' }),
    listen: address('Where to listen.', { default: '127.0.0.1:8080' }),
    wait: duration('How long to wait.', { default: '10s' }),
    mode: oneOf('fast', 'safe')('How.', { default: 'safe', shared: 'POD_MODE' }),
    strict: flag('Whether to be strict.'),
    password: secret('The password.', { optional: true }),
    upstreams: listOf(url)('Where else to send.', { optional: true }),
    pattern: regex('What to match.', { optional: true }),
    label: text('What to say.', { optional: true }),
  },
  metrics: {},
  checks: [
    function* ({ mode, strict }) {
      if (mode === 'fast' && strict) yield 'fast and strict contradict each other'
    },
    function* ({ mode, password }) {
      if (mode === 'fast' && password !== undefined) yield `fast has no password, but it is ${password}`
    },
    function* ({ label, wait }, nameOf, given) {
      if (label === 'now' && given('wait')) yield `${nameOf('wait')} is ${wait}, and now is now`
    },
  ],
  start: async () => ({ async [Symbol.asyncDispose]() {} }),
})

interface Given {
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly argv?: readonly string[]
  readonly files?: Readonly<Record<string, string>>
}

const required = { TEST_BOX_TARGET: 'http://127.0.0.1:1' }

function ask({ env = {}, argv = [], files = {} }: Given, container = box) {
  const readFile = (path: string) => {
    const content = files[path]
    if (content === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`)
    return content
  }
  return resolve(container, { argv, env: { ...required, ...env }, readFile })
}

/** The resolved parameter, or a failure that lists the problems. */
function one(name: string, given: Given) {
  const resolution = ask(given)
  if (!resolution.ok) throw new Error(resolution.problems.join('\n'))
  return resolution.resolved.params.find((param) => param.name === name)
}

function problems(given: Given, container = box): readonly string[] {
  const resolution = ask(given, container)
  return resolution.ok ? [] : resolution.problems
}

describe('what wins', () => {
  const flags = ['--mode', 'fast']
  const variable = { TEST_BOX_MODE: 'fast' }
  const file = { TEST_BOX_MODE_FILE: '/mode' }
  const shared = { POD_MODE: 'safe' }
  const files = { '/mode': 'fast' }

  it.each<readonly [string, Given, string, string]>([
    ['a flag over the environment', { argv: flags, env: { TEST_BOX_MODE: 'safe' } }, 'fast', 'flag'],
    ['a flag over a file', { argv: flags, env: file, files: { '/mode': 'safe' } }, 'fast', 'flag'],
    ['a flag over the shared variable', { argv: flags, env: shared }, 'fast', 'flag'],
    ['the environment over the shared variable', { env: { ...variable, ...shared } }, 'fast', 'environment'],
    ['a file over the shared variable', { env: { ...file, ...shared }, files }, 'fast', 'file'],
    ['the shared variable over the default', { env: { POD_MODE: 'fast' } }, 'fast', 'environment'],
    ['the default over nothing', {}, 'safe', 'default'],
  ])('%s', (_, given, value, source) => {
    expect(one('mode', given)).toMatchObject({ value, source })
  })

  it('an optional parameter that nobody sets is undefined, and shown as null', () => {
    expect(one('label', {})).toMatchObject({ value: undefined, shown: null, source: 'unset' })
  })

  it.each<readonly [string, Given]>([
    ['variable', { env: { TEST_BOX_WAIT: '' } }],
    ['variable of a file', { env: { TEST_BOX_WAIT_FILE: '' } }],
    ['flag with an equals sign', { argv: ['--wait='] }],
    ['flag', { argv: ['--wait', ''] }],
  ])('an empty %s counts as unset', (_, given) => {
    expect(one('wait', given)).toMatchObject({ value: 10_000, source: 'default' })
  })

  it('an empty flag leaves the word to the environment', () => {
    expect(one('wait', { argv: ['--wait', ''], env: { TEST_BOX_WAIT: '1s' } })).toMatchObject({ value: 1000 })
  })

  it('an empty shared variable counts as unset', () => {
    expect(one('mode', { env: { POD_MODE: '' } })).toMatchObject({ source: 'default' })
  })

  it('an empty variable beside its file is no conflict', () => {
    expect(one('mode', { env: { ...file, TEST_BOX_MODE: '' }, files })).toMatchObject({ source: 'file' })
  })

  it('a switch may be unset by an empty flag', () => {
    expect(one('strict', { argv: ['--strict='] })).toMatchObject({ value: false, source: 'default' })
  })
})

describe('a variable and its file', () => {
  const both = { TEST_BOX_LABEL: 'a', TEST_BOX_LABEL_FILE: '/label' }

  it('are a problem when both are set', () => {
    expect(problems({ env: both, files: { '/label': 'a' } })).toEqual([
      'TEST_BOX_LABEL and TEST_BOX_LABEL_FILE are both set: unset one of them',
    ])
  })

  it('are a problem even when a flag wins over both', () => {
    expect(problems({ env: both, argv: ['--label', 'b'] })).toHaveLength(1)
  })

  it.each([
    ['a line break', 'hunter2\n', 'hunter2'],
    ['a line break of Windows', 'hunter2\r\n', 'hunter2'],
    ['nothing', 'hunter2', 'hunter2'],
    ['two line breaks', 'hunter2\n\n', 'hunter2\n'],
    ['a space', 'hunter2 \n', 'hunter2 '],
  ])('%s at the end of a file: one line break goes, all else stays', (_, content, value) => {
    expect(one('password', { env: { TEST_BOX_PASSWORD_FILE: '/p' }, files: { '/p': content } })?.value).toBe(
      value,
    )
  })

  it.each(['', '\n'])('a file that holds %j is a problem, because somebody meant to fill it', (content) => {
    expect(problems({ env: { TEST_BOX_LABEL_FILE: '/label' }, files: { '/label': content } })).toEqual([
      'TEST_BOX_LABEL_FILE names "/label", which is empty',
    ])
  })

  it('a file that cannot be read is a problem with the reason', () => {
    expect(problems({ env: { TEST_BOX_PASSWORD_FILE: '/nowhere' } })).toEqual([
      `TEST_BOX_PASSWORD_FILE names "/nowhere", which cannot be read: ENOENT: no such file or directory, open '/nowhere'`,
    ])
  })

  it('a secret put into the variable of its file is not shown', () => {
    expect(problems({ env: { TEST_BOX_PASSWORD_FILE: 'hunter2' } })).toEqual([
      `TEST_BOX_PASSWORD_FILE names "[redacted]", which cannot be read: ENOENT: no such file or directory, open '[redacted]'`,
    ])
  })
})

describe('problems', () => {
  it('are all listed at once', () => {
    const found = problems({
      env: { TEST_BOX_TARGET: '', TEST_BOX_WAIT: '10', TEST_BOX_LISEN: ':1', TEST_BOX_LABEL_FILE: '/none' },
      argv: ['--mod', 'fast', '--strict=maybe'],
    })
    expect(found).toEqual([
      '--mod is no flag of test-box: did you mean --mode?',
      'TEST_BOX_LISEN is no parameter of test-box: did you mean TEST_BOX_LISTEN?',
      'TEST_BOX_TARGET (--target) is required. Where to send. For example TEST_BOX_TARGET=http://127.0.0.1:8080',
      expect.stringMatching(/^TEST_BOX_WAIT \(--wait\) is "10" but must be a time with its unit/),
      'TEST_BOX_STRICT (--strict) is "maybe" but must be true or false',
      expect.stringMatching(/^TEST_BOX_LABEL_FILE names "\/none", which cannot be read/),
    ])
  })

  it('name the shared variable when the mistake is there', () => {
    expect(problems({ env: { POD_MODE: 'slow' } })).toEqual([
      'POD_MODE is "slow" but must be one of fast, safe',
    ])
  })

  it('cut a long value', () => {
    const [problem = ''] = problems({ env: { TEST_BOX_WAIT: 'x'.repeat(100_000) } })
    expect(problem.length).toBeLessThan(400)
  })

  it.each<readonly [string, Given]>([
    ['a value', { env: { TEST_BOX_WAIT: '1\ntest-box: all is well\u009b2J' } }],
    ['the name of a variable', { env: { 'TEST_BOX_X\nY': '1' } }],
    ['the name of a flag', { argv: ['--x\ny'] }],
    ['a regular expression', { env: { TEST_BOX_PATTERN: '(\n' } }],
    ['a path', { env: { TEST_BOX_LABEL_FILE: '/a\nb' } }],
  ])('stay on one line each, whatever %s holds', (_, given) => {
    const found = problems(given)
    expect(found).toHaveLength(1)
    expect(found[0]).not.toMatch(/\p{Cc}/u)
  })
})

describe('contradictions', () => {
  it('are problems', () => {
    expect(problems({ argv: ['--mode', 'fast', '--strict'] })).toEqual([
      'fast and strict contradict each other',
    ])
  })

  it('are told beside values that are wrong by themselves', () => {
    expect(problems({ argv: ['--mode', 'fast', '--strict'], env: { TEST_BOX_WAIT: 'x' } })).toEqual([
      expect.stringMatching(/^TEST_BOX_WAIT .* is "x" but must be a time/),
      'fast and strict contradict each other',
    ])
  })

  it.each<readonly [string, Given]>([
    ['is wrong by itself', { argv: ['--strict=maybe'] }],
    ['is given twice', { argv: ['--strict', '--strict'] }],
    ['is misspelt as a flag', { argv: ['--strict', '--stric'] }],
    ['is misspelt as a variable', { argv: ['--strict'], env: { TEST_BOX_STRIC: 'no' } }],
    ['is given a value that it does not take', { argv: ['--strict', '--no-strict=1'] }],
    ['has a file that cannot be read', { env: { TEST_BOX_STRICT_FILE: '/nowhere' } }],
  ])('are not guessed of a parameter that %s', (_, { argv = [], env = {} }) => {
    const found = problems({ argv: ['--mode', 'fast', ...argv], env })
    expect(found).toHaveLength(1)
    expect(found).not.toContain('fast and strict contradict each other')
  })

  it('are told what was given, and what is a default', () => {
    expect(problems({ argv: ['--label', 'now'] })).toEqual([])
    expect(problems({ argv: ['--label', 'now', '--wait', '10s'] })).toEqual([
      'TEST_BOX_WAIT (--wait) is 10000, and now is now',
    ])
  })

  it('that cannot be sought for a defect are not passed over', () => {
    const broken = defineContainer({
      ...box,
      ports: {},
      admin: 1,
      params: {},
      checks: [
        () => {
          throw new TypeError('a defect')
        },
      ],
    })
    expect(() => problems({ env: { TEST_BOX_TARGET: '' } }, broken)).toThrow('a defect')
  })

  it('never show a secret', () => {
    expect(problems({ argv: ['--mode', 'fast'], env: { TEST_BOX_PASSWORD: 'hunter2' } })).toEqual([
      'fast has no password, but it is [redacted]',
    ])
  })
})

describe('unknown variables', () => {
  it.each([
    ['TEST_BOX_LISTN', 'TEST_BOX_LISTEN'],
    ['TEST_BOX_PASWORD', 'TEST_BOX_PASSWORD'],
    ['TEST_BOX_PASSWORD_FIL', 'TEST_BOX_PASSWORD_FILE'],
    ['TEST_BOX_LOGLEVEL', 'TEST_BOX_LOG_LEVEL'],
  ])('%s: did you mean %s?', (variable, meant) => {
    expect(problems({ env: { [variable]: 'x' } })).toEqual([
      `${variable} is no parameter of test-box: did you mean ${meant}?`,
    ])
  })

  it('without a near one lead to --help', () => {
    expect(problems({ env: { TEST_BOX_SOMETHING_ELSE: 'x' } })).toEqual([
      'TEST_BOX_SOMETHING_ELSE is no parameter of test-box; see --help',
    ])
  })

  it('never show their value, which may be a misspelt secret', () => {
    expect(problems({ env: { TEST_BOX_PASWORD: 'hunter2' } }).join()).not.toContain('hunter2')
  })

  it.each([
    'TEST_BOX_PORT',
    'TEST_BOX_SERVICE_HOST',
    'TEST_BOX_SERVICE_PORT_HTTP',
    'TEST_BOX_PORT_80_TCP_ADDR',
  ])('Kubernetes sets %s for a Service of the same name, which is no problem', (variable) => {
    expect(problems({ env: { [variable]: 'tcp://10.0.0.1:80' } })).toEqual([])
  })

  it.each(['TEST_BOXX', 'TEST_BO_LISTEN', 'HTTPS_PROXY', 'test_box_listen', ''])(
    '%j does not have the prefix and is not ours',
    (variable) => {
      expect(problems({ env: { [variable]: 'x' } })).toEqual([])
    },
  )

  it.each(['', undefined])('set to %j are unset', (value) => {
    expect(problems({ env: { TEST_BOX_LISTN: value } })).toEqual([])
  })

  it('with an endless name get no suggestion, because looking for one is quadratic', () => {
    expect(problems({ env: { [`TEST_BOX_${'X'.repeat(100_000)}`]: '1' } })[0]).toMatch(/; see --help$/)
  })
})

describe('flags', () => {
  it.each([['--wait', '1s'], ['--wait=1s']])('%s %s', (...argv) => {
    expect(one('wait', { argv })).toMatchObject({ value: 1000, source: 'flag' })
  })

  it('a value may hold equals signs', () => {
    expect(one('label', { argv: ['--label=a=b'] })?.value).toBe('a=b')
  })

  it('a value may begin with two dashes after an equals sign', () => {
    expect(one('label', { argv: ['--label=--x'] })?.value).toBe('--x')
  })

  it('a value may begin with a dash', () => {
    expect(one('label', { argv: ['--label', '-x'] })?.value).toBe('-x')
  })

  it.each<readonly [readonly string[], boolean]>([
    [['--strict'], true],
    [['--strict=true'], true],
    [['--strict=no'], false],
    [['--no-strict'], false],
  ])('the switch %j is %j', (argv, value) => {
    expect(one('strict', { argv, env: { TEST_BOX_STRICT: String(!value) } })).toMatchObject({
      value,
      source: 'flag',
    })
  })

  it.each<readonly [string, readonly string[], string]>([
    ['given twice', ['--wait', '1s', '--wait', '2s'], '--wait is given twice'],
    ['a switch given both ways', ['--strict', '--no-strict'], '--strict is given twice'],
    [
      'without its value, before another flag',
      ['--label', '--strict'],
      '--label needs a value: --label <text>',
    ],
    ['without its value', ['--wait'], '--wait needs a value: --wait <duration>'],
    ['negated with a value', ['--no-strict=true'], '--no-strict takes no value'],
    ['negated though no switch', ['--no-wait'], '--no-wait is no flag of test-box; see --help'],
    ['misspelt', ['--lisen', ':1'], '--lisen is no flag of test-box: did you mean --listen?'],
    ['of the prototype', ['--constructor'], '--constructor is no flag of test-box; see --help'],
    ['with one dash', ['-wait', '1s'], '"-wait" is no flag: flags look like --name value'],
    ['without dashes', ['wait', '1s'], '"wait" is no flag: flags look like --name value'],
    ['an end of flags', ['--', 'x'], '"--" is no flag: flags look like --name value'],
    ['a word after a switch', ['--strict', 'true'], '"true" is no flag: flags look like --name value'],
  ])('%s', (_, argv, problem) => {
    expect(problems({ argv })).toEqual([problem])
  })

  it('a stray word does not hide the mistakes after the next flag', () => {
    expect(problems({ argv: ['stray', '--wait', '1', '--lisen', ':1'] })).toHaveLength(3)
  })

  it('no secret is suggested', () => {
    expect(problems({ argv: ['--passwort', 'x'] })).toEqual(['--passwort is no flag of test-box; see --help'])
  })
})

describe('a secret', () => {
  it('comes by the environment and is shown as redacted', () => {
    expect(one('password', { env: { TEST_BOX_PASSWORD: 'hunter2' } })).toMatchObject({
      value: 'hunter2',
      shown: '[redacted]',
      source: 'environment',
    })
  })

  it('is never taken by flag, because the process list shows flags', () => {
    expect(problems({ argv: ['--password', 'hunter2'] })).toEqual([
      '--password is a secret, which the process list would show: set TEST_BOX_PASSWORD or TEST_BOX_PASSWORD_FILE',
    ])
  })

  it.each<readonly [string, readonly string[]]>([
    ['by flag', ['--password', 'hunter2']],
    ['by flag with an equals sign', ['--password=hunter2']],
    ['by flag, with spaces that nobody quoted', ['--password', 'my', 'hunter2', 'too']],
    ['by flag with an equals sign, with spaces', ['--password=my', 'hunter2']],
    ['by a negated flag', ['--no-password', 'hunter2']],
    ['by a misspelt flag', ['--pasword', 'hunter2']],
    ['by a misspelt flag with an equals sign', ['--pasword=hunter2']],
    ['by a misspelt flag, with spaces', ['--pasword', 'my', 'hunter2']],
    ['by a misspelt flag, after the end of flags', ['--pasword', '--', 'hunter2']],
    ['by a flag with one dash', ['-password', 'hunter2']],
    ['by a flag with one dash and an equals sign', ['-password=hunter2']],
    ['by a flag without dashes', ['password', 'hunter2']],
    ['by a flag without dashes, with an equals sign', ['password=hunter2']],
    ['by its variable among the flags', ['TEST_BOX_PASSWORD=hunter2']],
    ['by flag, where another lacks its value', ['--label', '--password=hunter2']],
    ['in a stray URL', ['http://user:hunter2@host']],
    ['in a stray URL, before an equals sign', ['http://user:hunter2=x@host']],
  ])('given %s is a problem that does not show it', (_, argv) => {
    const found = problems({ argv })
    expect(found).toHaveLength(1)
    expect(found[0]).not.toContain('hunter2')
  })

  it('that begins with a dash is not taken apart into flags', () => {
    expect(problems({ argv: ['--pasword', '-hunter2'] })).toEqual([
      '--pasword is no flag of test-box; see --help',
    ])
  })

  it('that its own parser refuses is not shown, also not by the parser', () => {
    const pin = kindOf({
      name: 'pin',
      schema: { type: 'string' },
      parse(value): string {
        throw new Error(`must be four digits, not ${value} or ${JSON.stringify(value)}`)
      },
    })
    const safe = defineContainer({
      ...box,
      ports: {},
      admin: 1,
      params: { pin: pin('x', { secret: true }) },
    })
    expect(problems({ env: { TEST_BOX_TARGET: '', TEST_BOX_PIN: 'a"b' } }, safe)).toEqual([
      'TEST_BOX_PIN is "[redacted]" but must be four digits, not [redacted] or "[redacted]"',
    ])
  })

  it('is told to who must redact it', () => {
    const resolution = ask({
      env: {
        TEST_BOX_PASSWORD: 'hunter2',
        TEST_BOX_TARGET: 'http://user:p%40ss@host',
        TEST_BOX_UPSTREAMS: 'http://tok@a,http://b',
      },
    })
    expect(resolution.ok && resolution.resolved.secrets).toEqual(
      expect.arrayContaining(['hunter2', 'p%40ss', 'p@ss', 'tok']),
    )
  })
})

describe('credentials in a URL', () => {
  it('are masked where the value is shown', () => {
    expect(one('target', { env: { TEST_BOX_TARGET: 'http://user:hunter2@host/x' } })).toMatchObject({
      shown: 'http://***@host/x',
      value: new URL('http://user:hunter2@host/x'),
    })
  })

  it.each([
    'ftp://user:hunter2@host',
    'http://user:hunt/hunter2@host',
    'http://user:hunt#hunter2@host',
    'user:hunter2@host:80',
    'http://user:hunter2@host:http',
  ])('are masked in the problem with %s', (value) => {
    const found = problems({ env: { TEST_BOX_TARGET: value } })
    expect(found).toHaveLength(1)
    expect(found[0]).not.toContain('hunter2')
  })

  it('are masked in the problem with a list', () => {
    const found = problems({ env: { TEST_BOX_UPSTREAMS: 'http://u:hunter2@a,nothing,http://v:hun,ter2@b' } })
    expect(found).toHaveLength(1)
    expect(found[0]).not.toMatch(/hun|ter2/)
  })
})

describe('whatever comes in', () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.constantFrom(
      '--wait',
      '--wait=',
      '--',
      '-',
      '--no-',
      '--no-strict',
      '--password',
      '--=',
      '1s',
      '=',
      '--__proto__',
    ),
  )
  const suffix = fc.constantFrom(
    'TARGET',
    'WAIT',
    'PASSWORD',
    'PASSWORD_FILE',
    'LABEL',
    'LISTN',
    'PORT',
    '',
    '_',
    'UPSTREAMS',
  )
  const env = fc.dictionary(
    fc.oneof(
      fc.string({ maxLength: 10 }),
      suffix.map((tail) => `TEST_BOX_${tail}`),
    ),
    fc.string({ unit: 'binary', maxLength: 20 }),
  )

  it('it is resolved or a problem, never an exception, with one printable line for each', () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 6 }), env, (argv, variables) => {
        for (const problem of problems({ argv, env: variables })) {
          expect(problem).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
          expect(problem).not.toBe('')
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('no problem shows a secret, wherever in the command line it stands after a flag', () => {
    const around = fc.array(fc.constantFrom('--wait', '--strict', '--nope', '--password', '--', '-x', 'a'), {
      maxLength: 3,
    })
    const before = fc.constantFrom('--password', '--pasword', '--no-password', '--pass-word')
    const glue = fc.constantFrom('=', ' ', ' -', ' a ', ' -- ')
    fc.assert(
      fc.property(around, before, glue, around, (head, name, between, tail) => {
        const argv = [...head, ...`${name}${between}hunter2`.split(' '), ...tail]
        const found = problems({ argv, env: { TEST_BOX_PASSWORD: 'hunter2' } })
        expect(found).not.toEqual([])
        expect(found.join('\n')).not.toContain('hunter2')
      }),
      { numRuns: 1000 },
    )
  })

  it('nothing that may be shown holds a secret', () => {
    const hidden = fc.stringMatching(/^[!-~]{4,30}$/).map((tail) => `hunter2${tail}`)
    fc.assert(
      fc.property(hidden, (value) => {
        const credentials = new URL('http://host')
        credentials.password = value
        const resolution = ask({
          env: {
            TEST_BOX_PASSWORD: value,
            TEST_BOX_TARGET: credentials.href,
            TEST_BOX_UPSTREAMS: `http://a,${credentials.href.replaceAll(',', '%2C')}`,
          },
        })
        if (!resolution.ok) throw new Error(resolution.problems.join('\n'))
        expect(JSON.stringify(resolution.resolved.params.map(({ shown }) => shown))).not.toContain('hunter2')
      }),
    )
  })
})

describe('the content of a file in place of its path', () => {
  const pem = '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n'
  const keeper = defineContainer({
    name: 'key-keeper',
    pattern: 'sidecar',
    summary: 'Keeps a key.',
    contract: [],
    admin: 9999,
    params: { key: path('The key.', { default: '/key' }) },
    metrics: {},
    start: async () => ({ async [Symbol.asyncDispose]() {} }),
  })

  it.each([
    ['by its variable', { KEY_KEEPER_KEY: pem }],
    ['by a file', { KEY_KEEPER_KEY_FILE: '/somewhere' }],
  ])('is refused %s, without a word of it', (_, env) => {
    const resolution = resolve(keeper, { argv: [], env, readFile: () => pem })
    if (resolution.ok) throw new Error('taken')
    expect(resolution.problems).toEqual([
      'KEY_KEEPER_KEY (--key) is "[content of a file]" but must be the path of a file, and this is the content of one',
    ])
  })
})

describe('a parameter that another may replace', () => {
  const either = defineContainer({
    name: 'demo',
    pattern: 'sidecar',
    summary: 'Shows.',
    contract: [],
    admin: 9999,
    params: {
      servers: text('The servers.', { unless: 'topology', example: 'a:1' }),
      topology: text('A file.', { optional: true }),
    },
    metrics: {},
    start: () => Promise.reject(new Error('not started')),
  })
  const resolved = (env: Record<string, string>, ...argv: string[]) =>
    resolve(either, { argv, env, readFile: () => '' })

  it('is required without that one, and says so', () => {
    const { ok, ...rest } = resolved({})
    expect(ok).toBe(false)
    expect(rest).toEqual({
      problems: [
        'DEMO_SERVERS (--servers) is required unless --topology is set. The servers. For example DEMO_SERVERS=a:1',
      ],
    })
  })

  it('is not required with that one, as flag or variable', () => {
    expect(resolved({ DEMO_TOPOLOGY: '/a.yml' }).ok).toBe(true)
    expect(resolved({}, '--topology', '/a.yml').ok).toBe(true)
    expect(resolved({ DEMO_SERVERS: 'b:2' }).ok).toBe(true)
  })

  it('must not name one that does not exist', () => {
    const { name, summary } = either
    const define = () =>
      defineContainer({
        ...{ name, pattern: 'sidecar', summary, contract: [], admin: 9999, metrics: {} },
        params: { servers: text('The servers.', { unless: 'nothing', example: 'a:1' }) },
        start: () => Promise.reject(new Error('not started')),
      })
    expect(define).toThrow('"servers" is required unless "nothing", which is no parameter')
  })
})

/** What becomes of a container with older names. */
function old({ env = {}, argv = [], files = {} }: Given, container = aged) {
  const readFile = (path: string) => files[path] ?? ''
  const resolution = resolve(container, { argv, env: { AGED_BOX_REPO: '/repo', ...env }, readFile })
  const { params, warnings, secrets } = resolution.ok
    ? resolution.resolved
    : { params: [], warnings: [], secrets: [] }
  const each = <T>(of: (param: ResolvedParam) => T) =>
    Object.fromEntries(params.map((param): [string, T] => [param.name, of(param)]))
  return {
    values: each(({ value }) => value),
    shown: each(({ shown }) => shown),
    sources: each(({ source }) => source),
    warnings,
    secrets,
    problems: resolution.ok ? [] : resolution.problems,
  }
}

describe('an older name', () => {
  it.each<readonly [string, Given, string, unknown, string]>([
    ['variable', { env: { OLD_BOX_BRANCH: 'main' } }, 'ref', 'main', 'environment'],
    ['flag', { argv: ['--branch', 'main'] }, 'ref', 'main', 'flag'],
    ['flag of a switch', { argv: ['--one-shot'] }, 'once', true, 'flag'],
    ['flag of a switch with its value', { argv: ['--one-shot=false'] }, 'once', false, 'flag'],
    ['long flag of one letter', { argv: ['--v', '3'] }, 'verbose', 3, 'flag'],
    ['variable with our prefix', { env: { AGED_BOX_REV: 'v1' } }, 'ref', 'v1', 'environment'],
    ['flag that is written in another way', { argv: ['--wait=15'] }, 'period', 15_000, 'flag'],
    [
      'variable that is written in another way',
      { env: { OLD_BOX_WAIT: '1' } },
      'period',
      1000,
      'environment',
    ],
  ])('that is a %s is taken', (_, given, name, value, source) => {
    const { values, sources, problems } = old(given)
    expect(problems).toEqual([])
    expect([values[name], sources[name]]).toEqual([value, source])
  })

  it.each<readonly [string, Given]>([
    ['a flag', { argv: ['--ref', 'new', '--branch', 'old'] }],
    ['a variable', { env: { AGED_BOX_REF: 'new', OLD_BOX_BRANCH: 'old' } }],
    ['a file', { env: { AGED_BOX_REF_FILE: '/ref', OLD_BOX_BRANCH: 'old' }, files: { '/ref': 'new' } }],
  ])('wins over the name of today that is %s', (_, given) => {
    expect(old(given).values['ref']).toBe('old')
  })

  it('that is a variable does not win over the flag of today', () => {
    expect(old({ argv: ['--ref', 'new'], env: { OLD_BOX_BRANCH: 'old' } }).values['ref']).toBe('new')
  })

  it('that is a flag wins over the same as a variable', () => {
    expect(old({ argv: ['--branch', 'a'], env: { OLD_BOX_BRANCH: 'b' } }).values['ref']).toBe('a')
  })

  it('serves where the name of today is required', () => {
    const resolution = resolve(aged, { argv: [], env: { OLD_BOX_REPO: '/old' }, readFile: () => '' })
    expect(resolution).toMatchObject({ ok: true, resolved: { values: { repo: '/old' } } })
  })

  it('is warned about, with what to set instead', () => {
    const { warnings } = old({ argv: ['--wait', '15'], env: { OLD_BOX_REPO: '/old' } })
    expect(warnings).toEqual([
      'OLD_BOX_REPO is deprecated: set AGED_BOX_REPO (--repo)',
      '--wait is deprecated: set AGED_BOX_PERIOD (--period)',
    ])
  })

  it.each<readonly [string, Given]>([
    ['set to nothing', { env: { OLD_BOX_BRANCH: '' }, argv: ['--rev='] }],
    ['set to what means nothing', { argv: ['--rev', 'HEAD'] }],
  ])('%s counts as unset', (_, { env = {}, argv = [] }) => {
    expect(old({ env: { ...env, AGED_BOX_REF: 'new' }, argv })).toMatchObject({
      values: { ref: 'new' },
      sources: { ref: 'environment' },
      warnings: [],
    })
  })

  it('beside another one of the same parameter is a problem where they differ', () => {
    expect(old({ argv: ['--branch', 'a', '--rev', 'b'] }).problems).toEqual([
      '--branch and --rev contradict each other: set AGED_BOX_REF (--ref) instead',
    ])
    expect(old({ env: { OLD_BOX_BRANCH: 'a', AGED_BOX_REV: 'b' } }).problems).toEqual([
      'OLD_BOX_BRANCH and AGED_BOX_REV contradict each other: set AGED_BOX_REF (--ref) instead',
    ])
    expect(old({ argv: ['--rev', 'a'], env: { OLD_BOX_BRANCH: 'a' } })).toMatchObject({
      values: { ref: 'a' },
      sources: { ref: 'flag' },
    })
    expect(old({ argv: ['--branch', 'a', '--rev', 'HEAD'] }).values['ref']).toBe('a')
  })

  it.each<readonly [string, Given, string]>([
    [
      'that cannot be converted',
      { env: { OLD_BOX_WAIT: 'long' } },
      'OLD_BOX_WAIT is "long" but must be a number of seconds, not long',
    ],
    [
      'whose value is refused',
      { argv: ['--wait', '99999999'] },
      '--wait is "99999999" but must be at most 24 days',
    ],
    ['given twice', { argv: ['--branch', 'a', '--branch', 'b'] }, '--branch is given twice'],
    ['without its value', { argv: ['--branch'] }, '--branch needs a value: --branch <text>'],
  ])('%s is told as it was written', (_, given, problem) => {
    expect(old(given).problems).toEqual([problem])
  })

  it.each<readonly [string, Given, string]>([
    ['flag', { argv: ['--brnch', 'x'] }, '--brnch is no flag of aged-box: did you mean --ref?'],
    [
      'variable',
      { env: { AGED_BOX_REVV: 'x' } },
      'AGED_BOX_REVV is no parameter of aged-box: did you mean AGED_BOX_REF?',
    ],
    [
      'flag, as a variable',
      { env: { AGED_BOX_BRNCH: 'x' } },
      'AGED_BOX_BRNCH is no parameter of aged-box: did you mean AGED_BOX_REF?',
    ],
  ])('that is a misspelt %s leads to that of today', (_, given, problem) => {
    expect(old(given).problems).toEqual([problem])
  })

  it.each([
    ['WAIT', 'PERIOD'],
    ['BRANCH', 'REF'],
    ['ONE_SHOT', 'ONCE'],
  ])('with the prefix of today, AGED_BOX_%s, leads to AGED_BOX_%s', (written, meant) => {
    expect(old({ env: { [`AGED_BOX_${written}`]: '1' } }).problems).toEqual([
      `AGED_BOX_${written} is no parameter of aged-box: did you mean AGED_BOX_${meant}?`,
    ])
  })

  it('of what does nothing any more is never suggested', () => {
    expect(old({ env: { AGED_BOX_LEGACI: 'x' }, argv: ['--shs'] }).problems).toEqual([
      '--shs is no flag of aged-box; see --help',
      'AGED_BOX_LEGACI is no parameter of aged-box; see --help',
    ])
  })

  it('that is a misspelt variable of before is warned about, since it may be that of another program', () => {
    expect(old({ env: { OLD_BOX_BRNCH: 'main', OLD_BOX_PASWORD: 'hunter2' } })).toMatchObject({
      problems: [],
      warnings: [
        'OLD_BOX_BRNCH is not taken: did you mean AGED_BOX_REF (--ref), which was OLD_BOX_BRANCH?',
        'OLD_BOX_PASWORD is not taken: did you mean AGED_BOX_PASSWORD, which was OLD_BOX_PASSWORD?',
      ],
    })
  })

  it.each(['OLD_BOX_HOST', 'OLD_BOX_PORT', 'OLD_BOX_PERMISSIONS_', 'OLD_BO_BRANCH', 'OLD_BOX_'])(
    'is not seen in %s',
    (variable) => {
      expect(old({ env: { [variable]: 'x' } })).toMatchObject({ problems: [], warnings: [] })
    },
  )

  it('of a secret is not shown, and neither is what contradicts it', () => {
    const taken = old({ env: { OLD_BOX_PASSWORD: 'hunter2' } })
    expect(taken).toMatchObject({ values: { password: 'hunter2' }, shown: { password: '[redacted]' } })
    expect(taken.secrets).toContain('hunter2')
    expect(taken.warnings).toEqual(['OLD_BOX_PASSWORD is deprecated: set AGED_BOX_PASSWORD'])
    const { problems } = old({ argv: ['--password', 'hunter3'], env: { OLD_BOX_PASSWORD: 'hunter2' } })
    expect(problems).toEqual([
      '--password and OLD_BOX_PASSWORD contradict each other: set AGED_BOX_PASSWORD instead',
    ])
  })
})

describe('a secret that had a flag before', () => {
  it('is taken by it, with a warning that the process list shows it', () => {
    expect(old({ argv: ['--password', 'hunter2'], env: { AGED_BOX_PASSWORD: 'new' } })).toMatchObject({
      values: { password: 'hunter2' },
      shown: { password: '[redacted]' },
      warnings: [
        '--password is a secret, which the process list shows: set AGED_BOX_PASSWORD or AGED_BOX_PASSWORD_FILE',
      ],
      secrets: ['hunter2'],
    })
  })

  it.each<readonly [string, readonly string[]]>([
    ['with spaces that nobody quoted', ['--password', 'my', 'hunter2']],
    ['with spaces, after an equals sign', ['--password=my', 'hunter2']],
    ['after the end of flags', ['--password', 'my', '--', 'hunter2']],
    ['that begins with dashes', ['--password', '--hunter2=x']],
    ['twice', ['--password', 'hunter2', '--password', 'hunter2x']],
    ['negated', ['--no-password', 'hunter2']],
    ['without dashes', ['password=hunter2']],
  ])('is not shown where it is given %s', (_, argv) => {
    const { problems } = old({ argv })
    expect(problems).toHaveLength(1)
    expect(problems.join()).not.toContain('hunter2')
  })

  it('is not shown, wherever in the command line it stands', () => {
    const around = fc.array(
      fc.constantFrom('--wait', '--once', '--nope', '--pin', '--', '-x', '-v', '--ssh'),
      {
        maxLength: 3,
      },
    )
    const glue = fc.constantFrom('=', ' ', ' -', ' a ', ' -- ')
    fc.assert(
      fc.property(around, glue, around, (head, between, tail) => {
        const argv = [...head, ...`--password${between}hunter2`.split(' '), ...tail]
        const { problems, warnings } = old({ argv })
        expect(problems.length + warnings.length).toBeGreaterThan(0)
        expect([...problems, ...warnings].join('\n')).not.toContain('hunter2')
      }),
      { numRuns: 1000 },
    )
  })

  it('leaves the other secrets without one', () => {
    expect(old({ argv: ['--pin', '1234'] }).problems).toEqual([
      '--pin is a secret, which the process list would show: set AGED_BOX_PIN or AGED_BOX_PIN_FILE',
    ])
  })
})

describe('a name that does nothing any more', () => {
  it('is warned about, as a flag and as a variable', () => {
    expect(old({ argv: ['--ssh'], env: { AGED_BOX_LEGACY: 'x' } })).toMatchObject({
      problems: [],
      warnings: [
        '--ssh does nothing any more: it is found out',
        'AGED_BOX_LEGACY does nothing any more: nothing needs it',
      ],
    })
  })

  it('may be refused instead', () => {
    const both = { argv: ['--change-permissions', '0755'], env: { OLD_BOX_PERMISSIONS: '0755' } }
    expect(old(both).problems).toEqual([
      '--change-permissions is no longer there: set them with --once',
      'OLD_BOX_PERMISSIONS is no longer there: set them with --once',
    ])
  })

  it('may be refused for some texts alone', () => {
    const picky = {
      ...aged,
      retired: aged.retired.map((each) => ({ ...each, refused: (text: string) => text !== '0' })),
    }
    const ask = (text: string) =>
      resolve(picky, {
        argv: ['--change-permissions', text],
        env: { AGED_BOX_REPO: '/repo', OLD_BOX_PERMISSIONS: text },
        readFile: () => '',
      })
    expect(ask('0')).toMatchObject({
      ok: true,
      resolved: {
        warnings: [
          '--change-permissions does nothing any more: set them with --once',
          'OLD_BOX_PERMISSIONS does nothing any more: set them with --once',
        ],
      },
    })
    expect(ask('0755')).toMatchObject({
      problems: [
        '--change-permissions is no longer there: set them with --once',
        'OLD_BOX_PERMISSIONS is no longer there: set them with --once',
      ],
    })
  })

  it('counts as unset where it is empty', () => {
    const empty = { argv: ['--change-permissions='], env: { OLD_BOX_PERMISSIONS: '', AGED_BOX_LEGACY: '' } }
    expect(old(empty)).toMatchObject({ problems: [], warnings: [] })
  })

  it.each([
    [['--change-permissions'], '--change-permissions needs a value: --change-permissions <text>'],
    [['--ssh', 'yes'], '"yes" is no flag: flags look like --name value'],
    [['--no-ssh'], '--no-ssh is no flag of aged-box; see --help'],
  ])('takes a value or none: %j', (argv, problem) => {
    expect(old({ argv }).problems).toEqual([problem])
  })
})

describe('a flag that may be given many times', () => {
  it.each<readonly [readonly string[], string]>([
    [['--keys', 'a', '--keys=b'], 'a:b'],
    [['--keys', 'a'], 'a'],
    [['--keys', 'a', '--keys='], 'a'],
    [['--key', 'a', '--key', 'b'], 'a:b'],
  ])('%j', (argv, value) => {
    expect(old({ argv })).toMatchObject({ values: { keys: value }, sources: { keys: 'flag' } })
  })

  it('leaves the variable as it is', () => {
    expect(old({ env: { AGED_BOX_KEYS: 'a:b' } }).values['keys']).toBe('a:b')
  })

  it('has all that is secret in its texts taken out', () => {
    const taken = old({ argv: ['--accounts', 'a:hunter2', '--accounts', 'b:hunter3'] })
    expect(taken.values['accounts']).toBe('a:hunter2;b:hunter3')
    expect(taken.secrets).toEqual(expect.arrayContaining(['hunter2', 'hunter3']))
    expect(old({ argv: ['--accounts', 'a:hunter2', '--accounts', 'nobody'] }).problems).toEqual([
      '--accounts is "a:***" and "nobody" but must be name:password, not a:[redacted],nobody',
    ])
  })
})

describe('a flag of one letter', () => {
  it.each([[['-v', '5']], [['-v=5']], [['--verbose', '5']]])('%j', (argv) => {
    expect(old({ argv })).toMatchObject({ values: { verbose: 5 }, sources: { verbose: 'flag' } })
  })

  it.each<readonly [readonly string[], string]>([
    [['-v'], '--verbose needs a value: --verbose <integer>'],
    [['-v', '--once'], '--verbose needs a value: --verbose <integer>'],
    [['-v', '1', '--verbose', '2'], '--verbose is given twice'],
    [['-v5'], '"-v5" is no flag: flags look like --name value'],
    [['-verbose', '5'], '"-verbose" is no flag: flags look like --name value'],
    [['-xv', '5'], '"-xv" is no flag: flags look like --name value'],
    [['-k', 'a'], '"-k" is no flag: flags look like --name value'],
  ])('%j is a mistake', (argv, problem) => {
    expect(old({ argv }).problems).toEqual([problem])
  })
})

describe('a long flag with one dash, where a container takes such', () => {
  const goLike = { ...aged, singleDash: true }

  it.each<readonly [readonly string[], string, unknown]>([
    [['-ref=main'], 'ref', 'main'],
    [['-ref', 'main'], 'ref', 'main'],
    [['-branch', 'main'], 'ref', 'main'],
    [['-once'], 'once', true],
    [['-one-shot=false'], 'once', false],
    [['-verbose', '5'], 'verbose', 5],
    [['-v', '5'], 'verbose', 5],
    [['-v=5'], 'verbose', 5],
    [['-keys=a', '-keys', 'b'], 'keys', 'a:b'],
    [['-password', 'hunter2'], 'password', 'hunter2'],
    [['-ref', '-x'], 'ref', '-x'],
    [['-ref=-once'], 'ref', '-once'],
  ])('%j is what it is with two', (argv, name, value) => {
    const { problems, values } = old({ argv }, goLike)
    expect(problems).toEqual([])
    expect(values[name]).toEqual(value)
  })

  it.each<readonly [readonly string[], string]>([
    [['-v5'], '"-v5" is no flag: flags look like --name value'],
    [['-r=x'], '"-r=..." is no flag: flags look like --name value'],
    [['-nothing'], '"-nothing" is no flag: flags look like --name value'],
    [['-constructor'], '"-constructor" is no flag: flags look like --name value'],
    [['-no-once'], '"-no-once" is no flag: flags look like --name value'],
    [['-ref', '-once'], '--ref needs a value: --ref <text>'],
    [['-ref', '-pasword=hunter2'], '--ref needs a value: --ref <text>'],
    [['-wait', 'long'], '--wait is "long" but must be a number of seconds, not long'],
    [['--', '-ref=x'], '"--" is no flag: flags look like --name value'],
  ])('%j is a mistake', (argv, problem) => {
    expect(old({ argv }, goLike).problems).toEqual([problem])
  })

  it('does not show a secret, wherever in the command line it stands', () => {
    const around = fc.array(
      fc.constantFrom('-wait', '-once', '-nope', '-pin', '--', '-x', '-v', '-ssh', '--ref'),
      { maxLength: 3 },
    )
    const secret = fc.constantFrom('-password', '-pin', '--password', '-pasword', '-no-password')
    const glue = fc.constantFrom('=', ' ', ' -', ' a ', ' -- ')
    fc.assert(
      fc.property(around, secret, glue, around, (head, flag, between, tail) => {
        const argv = [...head, ...`${flag}${between}hunter2`.split(' '), ...tail]
        const { problems, warnings } = old({ argv }, goLike)
        expect(problems.length + warnings.length).toBeGreaterThan(0)
        expect([...problems, ...warnings].join('\n')).not.toContain('hunter2')
      }),
      { numRuns: 1000 },
    )
  })
})

describe('a secret whose file is a parameter', () => {
  it('leaves the file to the container', () => {
    const given = { env: { AGED_BOX_PASSWORD_FILE: '/password' }, files: { '/password': 'hunter2' } }
    expect(old(given)).toMatchObject({
      values: { password: undefined, passwordFile: '/password' },
      sources: { password: 'unset', passwordFile: 'environment' },
    })
    expect(old({ argv: ['--password-file', '/password'] }).values['passwordFile']).toBe('/password')
  })

  it('leaves it to the container what both mean', () => {
    const both = { AGED_BOX_PASSWORD: 'hunter2', AGED_BOX_PASSWORD_FILE: '/password' }
    expect(old({ env: both })).toMatchObject({ values: { password: 'hunter2', passwordFile: '/password' } })
  })
})
