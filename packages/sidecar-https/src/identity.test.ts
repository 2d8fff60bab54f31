import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { rootCertificates } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { der, implicit, oid, sequence, set, utf8 } from './der.ts'
import { type Identity, readIdentity } from './identity.ts'
import { selfSigned } from './self-signed.ts'
import { createCa, type Wanted } from './test-ca.ts'

const ca = createCa('Test CA')
const identity = (wanted: Wanted): Identity => readIdentity(ca.issue(wanted).der)
const attribute = (type: string, value: Buffer): Buffer => set(sequence(oid(type), value))
const named = (...attributes: readonly Buffer[]): Identity => identity({ subject: sequence(...attributes) })

function opensslSubject(bytes: Buffer): string {
  const input = new X509Certificate(bytes).toString()
  const text = execFileSync('openssl', ['x509', '-noout', '-subject', '-nameopt', 'RFC2253'], { input })
  return text.toString().replace(/^subject=|\n$/g, '')
}

function message(bytes: Buffer): string {
  try {
    readIdentity(bytes)
  } catch (error) {
    return error instanceof Error ? error.message : 'no Error'
  }
  return 'accepted'
}

describe('what a certificate says', () => {
  test('every kind of name, in the order of the certificate', () => {
    const read = identity({
      cn: ['one', 'two'],
      ou: ['Payments', 'Ops, EU'],
      dns: ['a.example.test', '*.example.test'],
      uri: ['spiffe://example.test/ns/a/sa/b'],
      ip: ['10.0.0.1', '2001:DB8:0:0::0001', '::ffff:1.2.3.4', '::'],
      email: ['who@example.test'],
    })
    expect(read).toMatchObject({
      subject: 'CN=two,CN=one,OU=Ops\\, EU,OU=Payments',
      commonNames: ['one', 'two'],
      organizationalUnits: ['Payments', 'Ops, EU'],
      dns: ['a.example.test', '*.example.test'],
      uris: ['spiffe://example.test/ns/a/sa/b'],
      ips: ['10.0.0.1', '2001:db8::1', '::ffff:102:304', '::'],
      emails: ['who@example.test'],
    })
  })

  test('the fingerprint, the serial number and the end are those that Node reads', () => {
    const { der } = ca.issue({ cn: 'a', days: 3 })
    const node = new X509Certificate(der)
    const read = readIdentity(der)
    expect(read.fingerprint256).toBe(node.fingerprint256.replaceAll(':', '').toLowerCase())
    expect(read.serial).toBe(node.serialNumber)
    expect(read.notAfter).toEqual(new Date(node.validTo))
  })

  test('the pin is what openssl makes of the public key', () => {
    const { der } = ca.issue()
    const key = new X509Certificate(der).publicKey.export({ type: 'spki', format: 'der' })
    const digest = execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: key })
    expect(readIdentity(der).spkiPins).toBe(digest.toString('base64'))
  })

  test('every authority that Node trusts is read as Node reads it', () => {
    expect(rootCertificates.length).toBeGreaterThan(50)
    for (const pem of rootCertificates) {
      const node = new X509Certificate(pem)
      const read = readIdentity(node.raw)
      // Node writes a zero with one digit, openssl with two.
      expect(BigInt(`0x${read.serial}`)).toBe(BigInt(`0x${node.serialNumber}`))
      expect(read.notAfter).toEqual(new Date(node.validTo))
      const names = (node.subject.match(/^CN=.*$/gm) ?? []).map((line) => line.slice(3))
      expect(read.commonNames).toEqual(names)
    }
  })

  test('an end after 2049 is read too', () => {
    const read = identity({ notBefore: new Date('2060-01-01T00:00:00Z'), days: 1 })
    expect(read.notAfter).toEqual(new Date('2060-01-02T00:00:00Z'))
  })

  test('a certificate without alternative names has none, whatever its common name looks like', () => {
    expect(identity({ cn: 'example.test' })).toMatchObject({ dns: [], uris: [], ips: [], emails: [] })
  })

  test('an alternative name of another kind is passed over', () => {
    const other = der(0xa0, oid('1.3.6.1.4.1.311.20.2.3'), der(0xa0, utf8('someone@example.test')))
    expect(identity({ san: [other, implicit(8, Buffer.from([0x2a]))], dns: ['a.test'] })).toMatchObject({
      dns: ['a.test'],
      emails: [],
    })
  })
})

describe('the subject in one line', () => {
  test('is what openssl writes, for attributes with and without a short name', () => {
    const names = [
      attribute('0.9.2342.19200300.100.1.25', der(0x16, Buffer.from('test'))),
      attribute('2.5.4.6', der(0x13, Buffer.from('DE'))),
      attribute('2.5.4.10', utf8(' a+b;c<d>,e ')),
      attribute('2.5.4.11', utf8('#1 Käse 🧀')),
      attribute('1.3.6.1.4.1.99999.1', utf8('odd')),
      set(sequence(oid('2.5.4.3'), utf8('x')), sequence(oid('2.5.4.5'), der(0x13, Buffer.from('7')))),
      attribute('1.2.840.113549.1.9.1', der(0x16, Buffer.from('a@b.test'))),
    ]
    const issued = ca.issue({ subject: sequence(...names) })
    expect(readIdentity(issued.der).subject).toBe(opensslSubject(issued.der))
  })

  test('has neither quotes nor control characters nor a backslash at its end', () => {
    const read = named(attribute('2.5.4.10', utf8('a"b\\c\r\nd\0\\')))
    expect(read.subject).toBe('O=a\\22b\\5Cc\\0D\\0Ad\\00\\5C')
  })

  test('is empty for an empty subject', () => {
    expect(named().subject).toBe('')
  })
})

describe('text in its encodings', () => {
  test.each([
    ['UTF8String', utf8('Zoë'), 'Zoë'],
    ['PrintableString', der(0x13, Buffer.from('Zoe')), 'Zoe'],
    ['TeletexString', der(0x14, Buffer.from('Zoë', 'latin1')), 'Zoë'],
    ['BMPString', der(0x1e, Buffer.from('Zoë', 'utf16le').swap16()), 'Zoë'],
    ['UniversalString', der(0x1c, Buffer.from('0001f9c0', 'hex')), '🧀'],
  ])('a %s is read', (_, value, text) => {
    expect(named(attribute('2.5.4.3', value)).commonNames).toEqual([text])
  })

  test('a byte order mark stays part of the name', () => {
    expect(named(attribute('2.5.4.3', utf8('\ufeffadmin'))).commonNames).toEqual(['\ufeffadmin'])
  })

  test.each([
    ['no UTF-8', der(0x0c, Buffer.from([0xc3, 0x28]))],
    ['beyond ASCII in a PrintableString', der(0x13, Buffer.from([0xe4]))],
    ['half a character of a BMPString', der(0x1e, Buffer.from([0x00]))],
    ['half a surrogate pair', der(0x1e, Buffer.from([0xd8, 0x00]))],
    ['a number', der(0x02, Buffer.from([1]))],
  ])('a common name that is %s refuses the certificate', (_, value) => {
    const { der } = ca.issue({ subject: sequence(attribute('2.5.4.3', value)) })
    expect(message(der)).toBe('the certificate is malformed: a common name is no text')
  })
})

describe('a name made to be mistaken for another refuses the certificate', () => {
  test.each<[string, Wanted]>([
    ['a NUL in a common name', { cn: 'admin\0.evil.test' }],
    ['a line feed in an organizational unit', { ou: 'a\nb' }],
    ['a C1 control in a common name', { cn: 'admin\u0085' }],
    ['a NUL in a DNS name', { dns: ['admin.test\0.evil.test'] }],
    ['a carriage return in a URI', { uri: ['spiffe://a\r\nx: y'] }],
    ['a delete in an e-mail address', { email: ['a\u007f@b.test'] }],
    ['what is not ASCII in a DNS name', { dns: ['ädmin.test'] }],
  ])('%s', (_, wanted) => {
    expect(message(ca.issue(wanted).der)).toMatch(
      /^the certificate is malformed: an? .* holds a control char/,
    )
  })

  test('a comma in an alternative name begins no further name (CVE-2021-44532)', () => {
    const read = identity({ dns: ['a.test, DNS:b.test'], uri: ['http://a/, DNS:c.test'] })
    expect(read.dns).toEqual(['a.test, DNS:b.test'])
    expect(read.uris).toEqual(['http://a/, DNS:c.test'])
  })

  test('an address that is neither of 4 nor of 16 bytes', () => {
    const { der } = ca.issue({ san: [implicit(7, Buffer.alloc(5))] })
    expect(message(der)).toBe('the certificate is malformed: an IP address has 5 bytes')
  })

  test('an alternative name of a kind that there is not', () => {
    const { der } = ca.issue({ san: [implicit(9, Buffer.from('a.test'))] })
    expect(message(der)).toBe('the certificate is malformed: an alternative name is of no known kind')
  })

  test('a subject alternative name that is there twice', () => {
    const { der } = ca.issue({ dns: ['a.test'] })
    // The identifier of the subject key, in its place, turned into that of the alternative name.
    const twice = Buffer.from(
      der.toString('latin1').replace('\x06\x03\x55\x1d\x0e', '\x06\x03\x55\x1d\x11'),
      'latin1',
    )
    expect(twice.equals(der)).toBe(false)
    expect(message(twice)).toBe('the certificate is malformed: the subject alternative name is there twice')
  })
})

describe('any bytes', () => {
  // What this code says, and nothing that the language does when it trips.
  const PROBLEM =
    '(is (missing|cut off|empty|odd|not in DER|no text|no date|no UTCTime or GeneralizedTime|of no known kind|there twice)' +
    '|has (the tag 0x.., not 0x..|a tag of several bytes|a length .+|bytes after its end|\\d+ bytes)' +
    '|holds a control character( or is not ASCII)?)'
  const OUTCOME = new RegExp(`^(accepted|the certificate is malformed: [A-Za-z -]+ ${PROBLEM})$`)
  const certificates = [
    ca.issue({ cn: 'a', ou: ['b', 'c'], dns: ['d.test'], uri: ['spiffe://e/f'], ip: ['::1'], email: ['g@h'] })
      .der,
    ca.issue({ subject: sequence(attribute('2.5.4.3', der(0x1e, Buffer.from('0041', 'hex')))) }).der,
    new X509Certificate(ca.cert).raw,
    new X509Certificate(selfSigned({ names: ['i.test', '10.0.0.1'] }).cert).raw,
  ]
  const change = fc.record({
    at: fc.nat(),
    remove: fc.integer({ min: 0, max: 4 }),
    insert: fc.uint8Array({ maxLength: 6 }),
  })
  const mutated = fc
    .tuple(fc.constantFrom(...certificates), fc.array(change, { minLength: 1, maxLength: 5 }))
    .map(([certificate, changes]) =>
      changes.reduce((bytes, { at, remove, insert }) => {
        const start = at % (bytes.length + 1)
        return Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)])
      }, certificate),
    )
  const replaced = fc
    .tuple(fc.constantFrom(...certificates), fc.nat(), fc.integer({ min: 0, max: 255 }))
    .map(([certificate, at, byte]) => {
      const bytes = Buffer.from(certificate)
      bytes[at % bytes.length] = byte
      return bytes
    })

  test('mutations of real certificates are read or refused with a plain Error', () => {
    const outcomes = new Set<string>()
    fc.assert(
      fc.property(fc.oneof(mutated, replaced), (bytes) => {
        const outcome = message(bytes)
        outcomes.add(outcome.slice(0, 28))
        expect(outcome).toMatch(OUTCOME)
      }),
      { numRuns: 5000 },
    )
    expect(outcomes).toEqual(new Set(['accepted', 'the certificate is malformed']))
  })

  test('what is read of a mutated certificate is still free of control characters and quotes', () => {
    fc.assert(
      fc.property(replaced, (bytes) => {
        if (message(bytes) !== 'accepted') return
        const { subject, commonNames, organizationalUnits, dns, uris, ips, emails } = readIdentity(bytes)
        expect(subject).toMatch(/^[ !#-~]*$/)
        const names = [commonNames, organizationalUnits, dns, uris, ips, emails].flat()
        for (const name of names) expect(name).not.toMatch(/\p{Cc}/u)
      }),
      { numRuns: 2000 },
    )
  })

  test('every prefix of a certificate is refused', () => {
    const { der } = ca.issue({ cn: 'a', dns: ['b.test'] })
    for (let end = 0; end < der.length; end += 1) {
      expect(message(der.subarray(0, end))).toMatch(/^the certificate is malformed/)
    }
  })

  test('bytes after the certificate are refused', () => {
    const bytes = Buffer.concat([ca.issue().der, Buffer.from([0])])
    expect(message(bytes)).toBe('the certificate is malformed: the certificate has bytes after its end')
  })

  test('more than 62 KiB are refused unread', () => {
    expect(message(Buffer.alloc(62 * 1024 + 1))).toMatch(/has 63489 bytes: at most 63488 are read/)
  })
})
