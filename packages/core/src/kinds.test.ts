import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  type Address,
  address,
  bytes,
  duration,
  flag,
  formatAddress,
  integer,
  integerBetween,
  type Kind,
  listOf,
  oneOf,
  type Param,
  path,
  regex,
  secret,
  switchWords,
  text,
  url,
  urlOf,
} from './kinds.ts'

const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme', maxLength: 200 }))
/** Texts made of the pieces that the parsers look for, which plain random text never hits. */
const nearMiss = fc
  .array(
    fc.constantFrom(
      '1',
      '65536',
      '.',
      '5',
      's',
      'ms',
      'KiB',
      'B',
      ':',
      '[',
      ']',
      '::1',
      'unix:',
      '/',
      'http://',
      '@',
      ',',
      ' ',
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(''))

const kinds: readonly (readonly [string, Kind<unknown>])[] = [
  ['text', text.kind],
  ['flag', flag.kind],
  ['integer', integer.kind],
  ['integer from 1 to 9', integerBetween(1, 9).kind],
  ['duration', duration.kind],
  ['bytes', bytes.kind],
  ['address', address.kind],
  ['url', url.kind],
  ['http url', urlOf('http', 'https').kind],
  ['path', path.kind],
  ['regex', regex.kind],
  ['oneOf', oneOf('a', 'b').kind],
  ['list of urls', listOf(url).kind],
  ['list of durations', listOf(duration).kind],
]

describe.each(kinds)('%s', (_, kind) => {
  it('takes a text or says what it must be', () => {
    fc.assert(
      fc.property(fc.oneof(anyText, nearMiss), (value) => {
        try {
          kind.parse(value)
        } catch (error) {
          expect((error as Error).message).toMatch(/^must be /)
        }
      }),
    )
  })

  it('can show any text', () => {
    fc.assert(fc.property(fc.oneof(anyText, nearMiss), (value) => void kind.show?.(value)))
  })
})

it.each([
  ['duration', duration.kind],
  ['bytes', bytes.kind],
  ['address', address.kind],
] as const)('the schema of %s matches every text that the parser takes', (_, { parse, schema }) => {
  const pattern = new RegExp(schema.pattern ?? 'no pattern', 'u')
  fc.assert(
    fc.property(nearMiss, (value) => {
      try {
        parse(value)
      } catch {
        return
      }
      expect(value).toMatch(pattern)
    }),
    { numRuns: 2000 },
  )
})

describe('flag', () => {
  it.each(['true', '1', 'yes', 'on', 'TRUE', 'Yes'])('%s is on', (value) => {
    expect(flag.kind.parse(value)).toBe(true)
  })

  it.each(['false', '0', 'no', 'off', 'False'])('%s is off', (value) => {
    expect(flag.kind.parse(value)).toBe(false)
  })

  it.each(['', 'y', '2', 'enabled', ' true'])('%j is refused', (value) => {
    expect(() => flag.kind.parse(value)).toThrow('must be true or false')
  })

  it('is off unless set', () => {
    expect(flag('A switch.').facts.default).toBe('false')
  })

  it.each(switchWords)('takes the word %s that the schema names', (word) => {
    expect(typeof flag.kind.parse(word)).toBe('boolean')
  })
})

describe('integer', () => {
  it('reads every safe integer back from its text', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (number) => {
        expect(integer.kind.parse(String(number))).toBe(number)
      }),
    )
  })

  it.each(['', '1.5', '1e3', '0x10', ' 1', '1 ', '١', '9007199254740992', '--1'])(
    '%j is refused',
    (value) => {
      expect(() => integer.kind.parse(value)).toThrow('must be a whole number')
    },
  )

  it.each(['0', '11', '-1'])('%s is outside 1 to 10', (value) => {
    expect(() => integerBetween(1, 10).kind.parse(value)).toThrow('must be a whole number from 1 to 10')
  })

  it.each(['1', '10'])('its bounds belong to it: %s', (value) => {
    expect(integerBetween(1, 10).kind.parse(value)).toBe(Number(value))
  })
})

describe('duration', () => {
  it.each([
    ['0', 0],
    ['500ms', 500],
    ['10s', 10_000],
    ['1m30s', 90_000],
    ['2h', 7_200_000],
    ['1.5s', 1500],
    ['24d', 2_073_600_000],
    ['1h1m1s1ms', 3_661_001],
  ])('%s is %i ms', (value, ms) => {
    expect(duration.kind.parse(value)).toBe(ms)
  })

  it.each(['', '10', '10S', '10 s', '-1s', '1.s', '.5s', 's', '1s2', '1w', '10s\n', '1e3s'])(
    '%j is refused, because a unit must be plain',
    (value) => {
      expect(() => duration.kind.parse(value)).toThrow('must be a time with its unit')
    },
  )

  it.each(['25d', '600h', `${'9'.repeat(400)}s`])(
    'refuses what a timer of Node would fire at once: %s',
    (value) => {
      expect(() => duration.kind.parse(value)).toThrow('must be at most 24 days')
    },
  )

  it('adds up its parts', () => {
    const part = fc.tuple(fc.nat(1000), fc.constantFrom(['ms', 1], ['s', 1000], ['m', 60_000]))
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), (parts) => {
        const written = parts.map(([amount, [unit]]) => `${amount}${unit}`).join('')
        const sum = parts.reduce((total, [amount, [, factor]]) => total + amount * Number(factor), 0)
        expect(duration.kind.parse(written)).toBe(sum)
      }),
    )
  })

  it('takes time in proportion to a hostile text', () => {
    expect(() => duration.kind.parse(`${'1'.repeat(100_000)}!`)).toThrow('must be')
  })
})

describe('bytes', () => {
  it.each([
    ['0', 0],
    ['512B', 512],
    ['64KiB', 65_536],
    ['64Ki', 65_536],
    ['10MB', 10_000_000],
    ['1kB', 1000],
    ['1KB', 1000],
    ['1.5GiB', 1_610_612_736],
  ])('%s is %i bytes', (value, size) => {
    expect(bytes.kind.parse(value)).toBe(size)
  })

  it.each(['', '10', '10 MB', '-1B', '1mb', '1TB', '1constructor', '1toString', `${'9'.repeat(20)}B`])(
    '%j is refused',
    (value) => {
      expect(() => bytes.kind.parse(value)).toThrow('must be a size with its unit')
    },
  )
})

describe('address', () => {
  it.each<readonly [string, Address]>([
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    [':8080', { host: '', port: 8080 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['my_app.default.svc:65535', { host: 'my_app.default.svc', port: 65_535 }],
    ['[::1]:80', { host: '::1', port: 80 }],
    ['[fe80::1%eth0]:80', { host: 'fe80::1%eth0', port: 80 }],
    ['unix:/run/app.sock', { path: '/run/app.sock' }],
  ])('%s', (value, expected) => {
    expect(address.kind.parse(value)).toEqual(expected)
  })

  it.each([
    '',
    '8080',
    'localhost',
    'localhost:',
    'localhost:65536',
    'localhost:-1',
    'localhost:80:80',
    '::1:80',
    '[127.0.0.1]:80',
    '[]:80',
    '256.1.1.1:80',
    '1:80',
    '-host:80',
    'a..b:80',
    'http://a:80',
    'user@host:80',
    '127.0.0.1:80\n',
    ' 127.0.0.1:80',
    `${'a'.repeat(64)}:80`,
  ])('%j is refused', (value) => {
    expect(() => address.kind.parse(value)).toThrow('must be host:port')
  })

  it.each([
    'unix:',
    'unix:relative.sock',
    'unix:/a\0b',
    `unix:/${'a'.repeat(107)}`,
    `unix:/${'é'.repeat(54)}`,
  ])('%j is refused, because the kernel would cut or refuse it', (value) => {
    expect(() => address.kind.parse(value)).toThrow('must be unix: and an absolute path of at most 107 bytes')
  })

  it('reads back what it formats', () => {
    const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,20}[a-z0-9])?$/)
    const host = fc.oneof(fc.constant(''), fc.ipV4(), fc.ipV6(), label)
    const network = fc.record({ host, port: fc.nat(65_535) })
    const socket = fc.stringMatching(/^\/[ -~]{1,100}$/).map((where) => ({ path: where }))
    fc.assert(
      fc.property(fc.oneof(network, socket), (value) => {
        expect(address.kind.parse(formatAddress(value))).toEqual(value)
      }),
    )
  })

  it('formats what it has read to a text that means the same', () => {
    fc.assert(
      fc.property(nearMiss, (value) => {
        let parsed: Address
        try {
          parsed = address.kind.parse(value)
        } catch {
          return
        }
        expect(address.kind.parse(formatAddress(parsed))).toEqual(parsed)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('url', () => {
  it('is a whole URL of any scheme', () => {
    expect(url.kind.parse('redis://127.0.0.1:6379/0').hostname).toBe('127.0.0.1')
  })

  it.each(['', 'example.com', '/path', '//host', 'http://', 'http://a b'])('%j is refused', (value) => {
    expect(() => url.kind.parse(value)).toThrow('must be a whole URL, such as http://127.0.0.1:8080')
  })

  it.each(['ftp://host', 'file:///etc/passwd', 'http:', 'javascript:alert(1)', 'localhost:8080'])(
    '%j is refused where http or https is meant',
    (value) => {
      expect(() => urlOf('http', 'https').kind.parse(value)).toThrow(
        'must be a URL that begins with http:// or https://',
      )
    },
  )

  it('a URL of a wanted scheme needs a host', () => {
    expect(() => urlOf('redis').kind.parse('redis:///0')).toThrow('must be a URL that begins with redis://')
  })
})

describe('path, regex, text', () => {
  it('a path may be relative', () => {
    expect(path.kind.parse('tls/tls.crt')).toBe('tls/tls.crt')
  })

  it('a path has no NUL byte', () => {
    expect(() => path.kind.parse('/a\0b')).toThrow('must be a path without NUL bytes')
  })

  it('a regex has the u flag', () => {
    expect(regex.kind.parse('^.$').test('💡')).toBe(true)
  })

  it('a wrong regex is refused with the reason', () => {
    expect(() => regex.kind.parse('(')).toThrow(/^must be a regular expression: .*Unterminated group/)
  })

  it('a text is taken as it is', () => {
    fc.assert(
      fc.property(anyText, (value) => {
        expect(text.kind.parse(value)).toBe(value)
      }),
    )
  })

  it('a secret is a text that is never shown', () => {
    expect(secret('A password.').facts).toEqual({ secret: true })
  })
})

describe('oneOf', () => {
  const kind = oneOf('TLSv1.2', 'TLSv1.3').kind

  it('takes a choice in any case of letters and gives it as declared', () => {
    expect(kind.parse('tlsV1.3')).toBe('TLSv1.3')
  })

  it.each(['', 'TLSv1', 'TLSv1.2 ', 'TLSv1.2|TLSv1.3'])('%j is refused with all choices', (value) => {
    expect(() => kind.parse(value)).toThrow('must be one of TLSv1.2, TLSv1.3')
  })
})

describe('listOf', () => {
  it('takes items with spaces around the commas', () => {
    expect(listOf(duration).kind.parse('1s, 2s ,3s')).toEqual([1000, 2000, 3000])
  })

  it.each([
    ['1s,', 'must be a list with commas, and item 2 must not be empty'],
    [',1s', 'must be a list with commas, and item 1 must not be empty'],
    ['1s,x,3s', 'must be a list with commas, and item 2 must be a time with its unit'],
  ])('%j is refused with the number of the item', (value, message) => {
    expect(() => listOf(duration).kind.parse(value)).toThrow(message)
  })

  it('masks the credentials of each URL', () => {
    expect(listOf(url).kind.show?.('http://u:one@a/x,http://b/y,http://v:two@c/z')).toBe(
      'http://***@a/x,http://b/y,http://***@c/z',
    )
  })

  it('tells the credentials of each URL', () => {
    const secrets = listOf(url).kind.secrets?.('http://u:one@a, http://b, http://v:two@c')
    expect(secrets).toEqual(expect.arrayContaining(['one', 'two']))
  })

  it('shows nothing of a password that has a comma', () => {
    expect(listOf(url).kind.show?.('http://a,http://user:hun,ter2@b')).toBe('***@b')
  })
})

describe('types', () => {
  it('a duration gives a number', () => {
    expectTypeOf(duration('x')).toEqualTypeOf<Param<number>>()
  })

  it('oneOf gives the union of its choices', () => {
    expectTypeOf(oneOf('a', 'b')('x')).toEqualTypeOf<Param<'a' | 'b'>>()
  })

  it('optional adds undefined', () => {
    expectTypeOf(duration('x', { optional: true })).toEqualTypeOf<Param<number | undefined>>()
  })

  it('a list gives an array that cannot be changed', () => {
    expectTypeOf(listOf(url)('x')).toEqualTypeOf<Param<readonly URL[]>>()
  })

  it('a fact that does not exist does not compile', () => {
    // @ts-expect-error `defaults` is no fact
    text('x', { defaults: 'y' })
  })

  it('a default is written as a user types it', () => {
    // @ts-expect-error not a number
    duration('x', { default: 10 })
  })
})
