import { validateHeaderValue } from 'node:http'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { xfcc } from './client-cert-header.ts'
import { sequence } from './der.ts'
import { type Identity, readIdentity } from './identity.ts'
import { createCa } from './test-ca.ts'

const ca = createCa('Test CA')
const someone = readIdentity(ca.issue({ cn: 'someone' }).der)
type Pair = [string, string]

/** By the letter of Envoy's description: elements, pairs, quoted values with `\"` for a quote. */
function parse(header: string): Pair[][] {
  const elements: Pair[][] = [[]]
  const pair = /([A-Za-z]+)=(?:"((?:\\"|[^"])*)"|([^",;=]*))(?:([;,])|$)/y
  while (pair.lastIndex < header.length) {
    const match = pair.exec(header)
    if (match === null) throw new Error(`not a pair: ${header}`)
    const [, key = '', inQuotes, bare = '', separator] = match
    elements.at(-1)?.push([key, inQuotes?.replaceAll('\\"', '"') ?? bare])
    if (separator === ',') elements.push([])
  }
  return elements
}

/** Knows of no escape: every quote begins or ends a quoted part. */
function splitAtBareSemicolons(header: string): string[] {
  return header.match(/(?:"[^"]*"|[^";])+/g) ?? []
}

const expected = ({ fingerprint256, subject, uris, dns }: Identity): Pair[] => [
  ['Hash', fingerprint256],
  ['Subject', subject],
  ...uris.map((uri): Pair => ['URI', uri]),
  ...dns.map((name): Pair => ['DNS', name]),
]

test('is an element as Envoy writes it, without By', () => {
  const identity = readIdentity(
    ca.issue({
      cn: 'Test Client',
      ou: 'Lyft, "EU"',
      uri: ['spiffe://a.test/ns/x', 'http://a.test/?q=1,2;3'],
      dns: ['a.test', 'www.a.test'],
    }).der,
  )
  expect(xfcc(identity)).toBe(
    `Hash=${identity.fingerprint256};Subject="CN=Test Client,OU=Lyft\\, \\22EU\\22";URI=spiffe://a.test/ns/x;` +
      'URI="http://a.test/?q=1,2;3";DNS=a.test;DNS=www.a.test',
  )
})

test('a certificate without names has a hash and an empty subject', () => {
  const identity = readIdentity(ca.issue({ subject: sequence() }).der)
  expect(xfcc(identity)).toBe(`Hash=${identity.fingerprint256};Subject=""`)
})

test('what a certificate can say is read back the same', () => {
  const nameable = fc.string({ unit: fc.constantFrom(...'ab.:/?#%&,;=@[]*!~'), maxLength: 12 })
  const names = fc.array(nameable, { maxLength: 4 })
  const text = fc.string({ unit: fc.constantFrom(...'ab ,;="\\+#<>é🧀'), maxLength: 12 })
  fc.assert(
    fc.property(text, text, names, names, (cn, ou, uri, dns) => {
      const identity = readIdentity(ca.issue({ cn, ou, uri, dns }).der)
      expect(parse(xfcc(identity))).toEqual([expected(identity)])
    }),
    { numRuns: 200 },
  )
})

describe('names that break out of a header', () => {
  const unit = fc.oneof(
    fc.constantFrom(...'\r\n\0\t",;=\\ a%', 'é', '\u2028', '\ud800', ';DNS=', '";URI=x;', ',By=y'),
    fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
  )
  const name = fc.array(unit, { maxLength: 10 }).map((parts) => parts.join(''))
  const client = fc
    .record({ subject: name, uris: fc.array(name, { maxLength: 3 }), dns: fc.array(name, { maxLength: 3 }) })
    .map((names): Identity => ({ ...someone, ...names }))

  test('make one valid header value of printable ASCII', () => {
    fc.assert(
      fc.property(client, (identity) => {
        const header = xfcc(identity)
        expect(header).toMatch(/^[ -~]*$/)
        expect(() => validateHeaderValue('x-forwarded-client-cert', header)).not.toThrow()
      }),
      { numRuns: 2000 },
    )
  })

  test('make one element with exactly the pairs there are, however quotes are read', () => {
    fc.assert(
      fc.property(client, (identity) => {
        const header = xfcc(identity)
        const keys = expected(identity).map(([key]) => key)
        const elements = parse(header)
        expect(elements.map((pairs) => pairs.map(([key]) => key))).toEqual([keys])
        expect(splitAtBareSemicolons(header).map((pair) => pair.split('=', 1)[0])).toEqual(keys)
      }),
      { numRuns: 2000 },
    )
  })

  test('are percent-encoded where a quote or a backslash would be read in two ways', () => {
    const header = xfcc({ ...someone, uris: ['a\\";DNS=admin'], dns: ['b"\\'] })
    expect(header.replace(/^[^;]*;[^;]*;/, '')).toBe('URI="a%5C%22;DNS=admin";DNS=b%22%5C')
  })
})
