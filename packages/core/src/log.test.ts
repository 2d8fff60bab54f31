import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLog, type LogFields, type LogOptions, oneLine, redactor } from './log.ts'

interface Options extends Partial<LogOptions> {
  readonly secrets?: readonly string[]
}

/** The lines that one call of a log writes. */
function written(
  fields: LogFields | undefined,
  { secrets = [], ...options }: Options = {},
  msg = 'happened',
): string {
  let lines = ''
  const log = createLog({
    container: 'test-box',
    level: 'info',
    format: 'json',
    redact: redactor(secrets),
    write: (line) => {
      lines += line
    },
    ...options,
  })
  log.info(msg, fields)
  return lines
}

const event = (fields?: LogFields, options?: Options) =>
  JSON.parse(written(fields, options)) as Record<string, unknown>

const anyText = fc.string({ unit: 'binary', maxLength: 40 })
const anyFields = fc.dictionary(
  anyText,
  fc.anything({ withBigInt: true, withDate: true, withMap: true, withTypedArray: true }),
)

describe('a JSON log', () => {
  it('is one object a line: time, level, container, msg, then fields', () => {
    expect(Object.keys(event({ port: 8080 }))).toEqual(['time', 'level', 'container', 'msg', 'port'])
  })

  it('gives the time as RFC 3339 in UTC', () => {
    expect(event()['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  })

  it.each(['time', 'level', 'container', 'msg'])('no field takes the place of %s', (name) => {
    expect(event({ [name]: 'forged' })[name]).not.toBe('forged')
  })

  it('is one parseable line, whatever is logged', () => {
    fc.assert(
      fc.property(anyText, anyFields, (msg, fields) => {
        const line = written(fields, {}, msg)
        expect(line).toMatch(/^[^\n]+\n$/)
        expect(JSON.parse(line)).toMatchObject({ level: 'info', container: 'test-box', msg })
      }),
    )
  })

  it.each<readonly [string, unknown, unknown]>([
    ['an error as its message', new Error('it broke'), 'it broke'],
    ['a date as RFC 3339', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['an impossible date as nothing', new Date(Number.NaN), ''],
    ['a URL as text', new URL('http://host/x'), 'http://host/x'],
    ['a big integer as a number', 10n, 10],
    ['bytes as their number', Buffer.from('hunter2'), '[7 bytes]'],
    ['false as false', false, false],
    ['null as null', null, null],
    ['a list as a list', ['a', new Error('b')], ['a', 'b']],
  ])('shows %s', (_, value, shown) => {
    expect(event({ value })['value']).toEqual(shown)
  })

  it.each<readonly [string, unknown]>([
    ['undefined', undefined],
    ['a function', () => 'x'],
    ['a symbol', Symbol('x')],
  ])('leaves out %s', (_, value) => {
    expect(event({ value })).not.toHaveProperty('value')
  })

  it('has no control character of a terminal, and stands for the same text', () => {
    const text = '\u001b[2J\u007f\u009b2J\u2028'
    const line = written({ said: text })
    expect(line.trimEnd()).not.toMatch(/[\p{Cc}\u2028]/u)
    expect(JSON.parse(line).said).toBe(text)
  })

  it('cuts a long text, so that a hostile header does not fill the disk', () => {
    expect(event({ value: 'x'.repeat(1_000_000) })['value']).toHaveLength(8192)
  })

  it('ends a cycle', () => {
    const cycle: Record<string, unknown> = {}
    cycle['again'] = cycle
    expect(written({ cycle })).toContain('[deeper]')
  })
})

describe('a text log', () => {
  const text = { format: 'text' } as const

  it('is for people: time, level, message, fields', () => {
    expect(written({ port: 8080, host: 'a b' }, text)).toMatch(
      /^\S+Z info {2}happened port=8080 host="a b"\n$/,
    )
  })

  it.each(['a\nb', 'a\u001b[2Jb', 'a\u009b2Jb', 'a\u2028b', 'a\u0000b', 'a\u007fb'])(
    '%j in a message or a field neither forges a line nor moves the cursor',
    (hostile) => {
      const line = written({ [hostile]: hostile }, text, hostile).slice(0, -1)
      expect(line).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
    },
  )

  it('quotes a value that would look like another field', () => {
    expect(written({ who: 'me level=error' }, text)).toContain('who="me level=error"')
  })

  it('is one line without a control character, whatever is logged', () => {
    fc.assert(
      fc.property(anyText, anyFields, (msg, fields) => {
        const line = written(fields, text, msg)
        expect(line.endsWith('\n')).toBe(true)
        expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
      }),
    )
  })

  it.each<readonly [string, unknown]>([
    ['undefined', undefined],
    ['a function', () => 'x'],
    ['a symbol', Symbol('x')],
  ])('leaves out %s', (_, value) => {
    expect(written({ value }, text)).toMatch(/happened\n$/)
  })
})

describe('LOG_LEVEL', () => {
  it.each([
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['info', ['info', 'warn', 'error']],
    ['warn', ['warn', 'error']],
    ['error', ['error']],
  ] as const)('%s lets pass %j', (level, passed) => {
    const levels: string[] = []
    const write = (line: string) => void levels.push((JSON.parse(line) as { level: string }).level)
    const log = createLog({ container: 'test-box', level, format: 'json', redact: String, write })
    log.debug('x')
    log.info('x')
    log.warn('x')
    log.error('x')
    expect(levels).toEqual(passed)
  })
})

describe('a secret never appears', () => {
  const secrets = ['hunter2']

  it.each<readonly [string, LogFields]>([
    ['in a field', { value: 'password hunter2!' }],
    ['in a name', { hunter2: 1 }],
    ['in a nested name', { a: [{ hunter2: 1 }] }],
    ['deep inside', { a: { b: [{ c: 'hunter2' }] } }],
    ['in an error', { error: new Error('no hunter2') }],
    ['in a URL', { url: new URL('http://hunter2@host/hunter2?hunter2') }],
    ['in a text that is cut inside it', { value: `${'x'.repeat(8189)}hunter2` }],
    [
      'in an object of a class',
      {
        value: new (class {
          word = 'hunter2'
        })(),
      },
    ],
  ])('%s', (_, fields) => {
    for (const format of ['json', 'text'] as const) {
      expect(written(fields, { secrets, format })).not.toContain('hun')
    }
  })

  it('in a message', () => {
    expect(written({}, { secrets }, 'hello hunter2')).toContain('hello [redacted]')
  })

  it.each([
    ['as JSON writes it', 'a"b\\c', JSON.stringify({ was: 'a"b\\c' })],
    ['as a URL writes it', 'p ss|w', new URL('http://user:p ss|w@host').href],
    ['as encodeURIComponent writes it', 'p/$ss', encodeURIComponent('p/$ss')],
    ['with line breaks', 'one\ntwo', 'it is one\ntwo'],
  ])('%s', (_, value, text) => {
    expect(event({ text }, { secrets: [value] })['text']).toContain('[redacted]')
  })
})

describe('redactor', () => {
  const mark = '[redacted]'
  const someSecrets = fc.array(
    fc.string({
      unit: fc.constantFrom('a', 'b', '[', ']', 'r', '$', '.', '*', '\\', '-', '&'),
      maxLength: 4,
    }),
    { maxLength: 5 },
  )
  const someText = fc.string({
    unit: fc.constantFrom('a', 'b', '[', ']', 'r', '$', '.', '*', '\\', '-', '&'),
    maxLength: 40,
  })

  it('leaves no secret outside its marks', () => {
    fc.assert(
      fc.property(someSecrets, someText, (secrets, text) => {
        const rest = redactor(secrets)(text).split(mark)
        for (const secret of secrets.filter((each) => each !== '')) {
          for (const piece of rest) expect(piece).not.toContain(secret)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('changes nothing but secrets', () => {
    fc.assert(
      fc.property(someText, (text) => {
        expect(redactor(['x', ''])(text)).toBe(text)
      }),
    )
  })

  it('takes the longest of two that begin alike', () => {
    expect(redactor(['abc', 'abcdef'])('abcdef')).toBe(mark)
  })

  it('does not look for secrets in its own marks', () => {
    expect(redactor(['x', 'e', 'd'])('x')).toBe(mark)
  })

  it('takes the characters of regular expressions as they are', () => {
    expect(redactor(['a.c'])('abc a.c')).toBe(`abc ${mark}`)
  })

  it('survives a secret with half a surrogate pair', () => {
    expect(redactor(['\ud800x'])('a\ud800x')).toBe(`a${mark}`)
  })
})

it('oneLine keeps all that can be printed', () => {
  expect(oneLine('grün \t"x"\n')).toBe('grün \\u0009"x"\\u000a')
})
