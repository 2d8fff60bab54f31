import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AllowRules, compileAllow } from './allow.ts'
import { type Identity, readIdentity } from './identity.ts'
import { selfSigned } from './self-signed.ts'
import { createCa, type Wanted } from './test-ca.ts'

const ca = createCa('Test CA')
const someone = readIdentity(ca.issue({ cn: 'someone' }).der)
const identity = (wanted: Wanted): Identity => readIdentity(ca.issue(wanted).der)
const allows = (rules: AllowRules, client: Partial<Identity>): boolean =>
  compileAllow(rules)({ ...someone, ...client }).allowed

function message(rules: AllowRules): string {
  try {
    compileAllow(rules)
  } catch (error) {
    return error instanceof Error ? error.message : 'no Error'
  }
  return 'accepted'
}

describe('a rule of each kind lets in the client it names and no other', () => {
  test.each<[AllowRules, Wanted, Wanted]>([
    [{ cn: ['admin'] }, { cn: 'admin' }, { cn: 'Admin', ou: 'admin', dns: ['admin'] }],
    [{ ou: ['Payments'] }, { ou: ['Other', 'Payments'] }, { ou: 'Payments2', cn: 'Payments' }],
    [{ dns: ['a.test'] }, { dns: ['x.test', 'A.test'] }, { cn: 'a.test', dns: ['b.a.test'] }],
    [{ uri: ['spiffe://a/b'] }, { uri: ['spiffe://a/b'] }, { dns: ['spiffe://a/b'], uri: ['spiffe://a/B'] }],
    [{ ip: ['::FFFF:1.2.3.4'] }, { ip: ['::ffff:102:304'] }, { ip: ['1.2.3.4'], dns: ['::ffff:102:304'] }],
    [{ ip: ['10.0.0.1'] }, { ip: ['10.0.0.1'] }, { ip: ['10.0.0.10'], dns: ['10.0.0.1'] }],
  ])('%j', (rules, allowed, refused) => {
    const allow = compileAllow(rules)
    const [[kind, patterns]] = Object.entries(rules) as [[string, string[]]]
    expect(allow(identity(allowed))).toEqual({ allowed: true, rule: `${kind}=${patterns[0]}` })
    expect(allow(identity(refused)).allowed).toBe(false)
  })

  test('a pin of any digest, in each of its spellings', () => {
    const prefix = fc.constantFrom('', 'sha256/', 'sha256:', 'sha256//')
    const first = fc.oneof(fc.constantFrom(0xff, 0xfc), fc.integer({ min: 0, max: 255 }))
    const rest = fc.uint8Array({ minLength: 31, maxLength: 31 })
    fc.assert(
      fc.property(prefix, first, rest, (start, byte, bytes) => {
        const digest = Buffer.from([byte, ...bytes])
        const spkiPins = digest.toString('base64')
        const hexadecimal = digest.toString('hex')
        for (const text of [spkiPins, hexadecimal, hexadecimal.toUpperCase()]) {
          const allow = compileAllow({ spki: [start + text] })
          expect(allow({ ...someone, spkiPins })).toEqual({ allowed: true, rule: `spki=${start}${text}` })
          expect(allow(someone).allowed).toBe(false)
        }
      }),
    )
  })

  test('all lets in everyone', () => {
    expect(compileAllow({ all: true })(someone)).toEqual({ allowed: true, rule: 'all' })
  })
})

test('a client that nobody signed is known by its pin, and another with the same names is not', async () => {
  const { cert, key } = selfSigned({ names: ['client.test'] })
  const allow = compileAllow({ spki: [readIdentity(new X509Certificate(cert).raw).spkiPins] })
  const server = createServer({ ...selfSigned({ names: [] }), requestCert: true, rejectUnauthorized: false })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  for (const [pair, allowed] of [
    [{ cert, key }, true],
    [selfSigned({ names: ['client.test'] }), false],
  ] as const) {
    const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...pair })
    const [socket] = (await once(server, 'secureConnection')) as [TLSSocket]
    expect(socket.authorized).toBe(false)
    expect(allow(readIdentity(socket.getPeerX509Certificate()?.raw ?? Buffer.alloc(0))).allowed).toBe(allowed)
    socket.destroy()
    client.destroy()
  }
  server.close()
  await once(server, 'close')
})

describe('many rules', () => {
  const allow = compileAllow({ cn: ['admin', 'root'], dns: ['*.ops.test'], spki: [someone.spkiPins] })

  test('let in the client that any one of them matches, and tell the first that does', () => {
    expect(allow(identity({ cn: 'root' }))).toEqual({ allowed: true, rule: 'cn=root' })
    expect(allow(identity({ cn: 'x', dns: ['a.ops.test'] }))).toEqual({
      allowed: true,
      rule: 'dns=*.ops.test',
    })
    expect(allow({ ...someone, commonNames: ['root'] })).toEqual({ allowed: true, rule: 'cn=root' })
  })

  test('refuse any other client with its subject and its fingerprint', () => {
    const mallory = identity({ cn: 'mallory', ou: 'root' })
    expect(allow(mallory)).toEqual({
      allowed: false,
      reason: `no allow rule matches the client "CN=mallory,OU=root" (sha256 ${mallory.fingerprint256})`,
    })
  })

  test('refuse with a reason of bounded length', () => {
    const decision = allow({ ...someone, spkiPins: '', subject: 'x'.repeat(100_000) })
    expect(decision.allowed || decision.reason.length).toBeLessThan(400)
  })

  test('refuse a client that has no name at all', () => {
    expect(allow(identity({})).allowed).toBe(false)
  })
})

describe('the chain must be verified', () => {
  const { spkiPins } = someone
  test.each<[AllowRules, boolean]>([
    [{ spki: [spkiPins] }, false],
    [{ spki: [spkiPins], cn: [], all: false }, false],
    [{ spki: [spkiPins], cn: ['a'] }, true],
    [{ uri: ['spiffe://a/b'] }, true],
    [{ all: true }, true],
  ])('for %j: %s', (rules, needsChain) => {
    expect(compileAllow(rules).needsChain).toBe(needsChain)
  })
})

describe('a DNS wildcard', () => {
  test.each([
    'a.example.test',
    'A.EXAMPLE.test',
    'a-b.example.test',
    'xn--a.example.test',
    '_a.example.test',
  ])('matches %s', (name) => expect(allows({ dns: ['*.Example.test'] }, { dns: [name] })).toBe(true))

  test.each([
    'example.test',
    '.example.test',
    'a.b.example.test',
    'aexample.test',
    '*.example.test',
    'a*.example.test',
    'a b.example.test',
    'a.example.test.',
    'a.example.test, DNS:b.example.test',
    'a/.example.test',
  ])('does not match "%s"', (name) => {
    expect(allows({ dns: ['*.example.test'] }, { dns: [name] })).toBe(false)
  })
})

describe('a URI wildcard', () => {
  test.each<[string, string[], string[]]>([
    [
      'spiffe://td.test/ns/*/sa/web',
      ['spiffe://td.test/ns/shop/sa/web', 'spiffe://td.test/ns/a.b_c~d-e/sa/web'],
      [
        'spiffe://td.test/ns//sa/web',
        'spiffe://td.test/ns/../sa/web',
        'spiffe://td.test/ns/./sa/web',
        'spiffe://td.test/ns/a/b/sa/web',
        'spiffe://td.test/ns/a%2fb/sa/web',
        'spiffe://td.test/ns/*/sa/web',
        'spiffe://td.test/ns/shop/sa/web2',
        'spiffe://td.test/ns/shop/sa/web/',
        'spiffe://td.test/ns/shop/sa/web/x',
        'spiffe://td.test/ns/shop/sa',
        'spiffe://evil.test/ns/shop/sa/web',
        'http://td.test/ns/shop/sa/web',
        'xspiffe://td.test/ns/shop/sa/web',
      ],
    ],
    [
      'spiffe://td.test/**',
      ['spiffe://td.test', 'spiffe://td.test/a', 'spiffe://td.test/a/b/c'],
      [
        'spiffe://td.test.evil.test/a',
        'spiffe://td.testx',
        'spiffe://td.test/',
        'spiffe://td.test/a/',
        'spiffe://td.test/a/../b',
        'spiffe://td.test/a?b',
        'spiffe://td.test/a#b',
        'spiffe://td.test/a b',
        'spiffe:/td.test/a',
      ],
    ],
    [
      'spiffe://*/admin',
      ['spiffe://a.test/admin'],
      ['spiffe://user@a.test/admin', 'spiffe:///admin', 'spiffe://a.test:1/admin'],
    ],
    ['spiffe://a.test/x.y', ['spiffe://a.test/x.y'], ['spiffe://a.test/xzy', 'SPIFFE://a.test/x.y']],
    ['urn:uuid:1?=a', ['urn:uuid:1?=a'], ['urn:uuid:1']],
  ])('%s', (pattern, matched, unmatched) => {
    for (const uri of matched) expect([uri, allows({ uri: [pattern] }, { uris: [uri] })]).toEqual([uri, true])
    for (const uri of unmatched)
      expect([uri, allows({ uri: [pattern] }, { uris: [uri] })]).toEqual([uri, false])
  })

  test('never lets in a name outside the folder before it', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '.', '/', '*', '%', '?', '@', ':'), maxLength: 12 })
    fc.assert(
      fc.property(text, (rest) => {
        const uri = `spiffe://td${rest}`
        if (!allows({ uri: ['spiffe://td/a/**'] }, { uris: [uri] })) return
        expect(new URL(uri).pathname).toMatch(/^\/a(\/|$)/)
        expect(new URL(uri).host).toBe('td')
      }),
    )
  })
})

test('no rule matches a name with a control character put in at any place', () => {
  const rules = { cn: ['abc'], ou: ['abc'], dns: ['abc', '*.abc'], uri: ['abc://abc/*', 'abc://abc/**'] }
  const control = fc.constantFrom('\0', '\t', '\n', '\r', '\u007f', '\u0085')
  fc.assert(
    fc.property(
      fc.constantFrom('abc', 'x.abc', 'abc://abc/abc'),
      fc.nat(13),
      control,
      (name, at, character) => {
        const names = [name.slice(0, at) + character + name.slice(at)]
        const client = { commonNames: names, organizationalUnits: names, dns: names, uris: names }
        expect(allows(rules, client)).toBe(false)
      },
    ),
  )
})

describe('a pattern that cannot be used says so with its remedy', () => {
  test.each<[AllowRules, RegExp]>([
    [{}, /there is none: give cn, /],
    [{ all: false, cn: [] }, /there is none: give cn, /],
    [{ all: true, cn: ['a'], ip: ['::1'] }, /all makes the rules for cn, ip meaningless: remove all/],
    [{ cn: [''] }, /cn "" is empty: /],
    [{ ou: ['a\0b'] }, /ou "a\\u0000b" holds a control character/],
    [{ dns: ['*'] }, /dns "\*" is no DNS name: write one such as/],
    [{ dns: ['a.*.test'] }, /is no DNS name/],
    [{ dns: ['**.test'] }, /is no DNS name/],
    [{ dns: ['a.test.'] }, /is no DNS name/],
    [{ dns: ['ä.test'] }, /is no DNS name/],
    [{ uri: ['td.test/a'] }, /uri "td\.test\/a" is no URI/],
    [{ uri: ['spiffe://td/a b'] }, /is no URI/],
    [{ uri: ['spiffe://td/**/a'] }, /has \*\* before its end/],
    [{ uri: ['spiffe://td/a*'] }, /has a wildcard in a part of a segment/],
    [{ uri: ['spiffe://td/***'] }, /has a wildcard in a part of a segment/],
    [{ ip: ['10.0.0.0/8'] }, /ip "10\.0\.0\.0\/8" is no IP address: write one address/],
    [{ ip: ['fe80::1%eth0'] }, /is no IP address/],
    [{ ip: ['010.0.0.1'] }, /is no IP address/],
    [{ spki: ['sha256/abc'] }, /spki "sha256\/abc" is no SHA-256 of a public key: write sha256\//],
    [{ spki: [`sha512/${Buffer.alloc(64).toString('base64')}`] }, /is no SHA-256/],
    [{ spki: [`${Buffer.alloc(32).toString('base64')}!`] }, /is no SHA-256/],
    [{ spki: ['sha256/'] }, /is no SHA-256/],
    [{ spki: [`${'A'.repeat(42)}B=`] }, /is no SHA-256/],
    [{ spki: [Buffer.alloc(31).toString('base64')] }, /is no SHA-256/],
  ])('%j', (rules, expected) => {
    expect(message(rules)).toMatch(expected)
  })

  test('together with all the others', () => {
    const text = message({ cn: ['', 'fine'], dns: ['*'], ip: ['::1', 'x'] })
    expect(text).toMatch(/^the allow rules cannot be used: cn "" .*; dns "\*" .*; ip "x" [^;]*$/)
  })
})
