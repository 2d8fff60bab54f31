import { execFileSync } from 'node:child_process'
import { createCipheriv, createHmac, createPrivateKey, pbkdf2Sync, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { inspectKeyPair } from './certificate.ts'
import { explicit, integer, octets, oid, sequence } from './der.ts'
import { readPkcs12 } from './pkcs12.ts'
import { selfSigned } from './self-signed.ts'
import { createCa } from './test-ca.ts'

const directory = mkdtempSync(join(tmpdir(), 'pkcs12-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

const pair = selfSigned({ names: ['example.test'] })
const other = selfSigned({ names: ['other.test'] })

/** What `openssl pkcs12 -export` writes of a pair. */
function exported(password: string, args: readonly string[] = [], { cert, key } = pair): Buffer {
  writeFileSync(join(directory, 'cert.pem'), cert)
  writeFileSync(join(directory, 'key.pem'), key)
  const input = ['-in', 'cert.pem', '-inkey', 'key.pem', '-out', 'out.p12']
  execFileSync('openssl', ['pkcs12', '-export', ...input, '-passout', `pass:${password}`, ...args], {
    cwd: directory,
    stdio: 'pipe',
  })
  return readFileSync(join(directory, 'out.p12'))
}

function message(bytes: Buffer, password?: string): string {
  try {
    readPkcs12(bytes, password)
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
  return 'read'
}

const blocks = (pem: Buffer | string): string[] =>
  pem.toString().match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n/g) ?? []

describe('the pair is read from a file', () => {
  test.each<[string, string[]]>([
    ['as OpenSSL 3 writes it', []],
    ['with AES of 128 bits', ['-certpbe', 'AES-128-CBC', '-keypbe', 'AES-128-CBC']],
    ['with AES of 192 bits', ['-certpbe', 'AES-192-CBC', '-keypbe', 'AES-192-CBC']],
    ['with Triple-DES by PBKDF2', ['-certpbe', 'DES-EDE3-CBC', '-keypbe', 'DES-EDE3-CBC']],
    [
      'with SHA-1 and Triple-DES',
      ['-certpbe', 'PBE-SHA1-3DES', '-keypbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'],
    ],
    ['with SHA-1 and Triple-DES of two keys', ['-certpbe', 'PBE-SHA1-2DES', '-keypbe', 'PBE-SHA1-2DES']],
    ['with a MAC by SHA-224', ['-macalg', 'sha224']],
    ['with a MAC by SHA-384', ['-macalg', 'sha384']],
    ['with a MAC by SHA-512', ['-macalg', 'sha512']],
    ['with one iteration', ['-noiter', '-nomaciter']],
    ['without a MAC', ['-nomac']],
    ['with nothing encrypted', ['-certpbe', 'NONE', '-keypbe', 'NONE']],
  ])('%s', (_, args) => {
    const read = readPkcs12(exported('secret', args), 'secret')
    expect(inspectKeyPair(read).names).toContain('example.test')
    expect(read.key).toBe(pair.key)
  })

  test.each(['', 'pässwörd €', '🔑 key', 'x'.repeat(200)])('with the password %j', (password) => {
    for (const args of [[], ['-certpbe', 'PBE-SHA1-3DES', '-keypbe', 'PBE-SHA1-3DES']]) {
      expect(readPkcs12(exported(password, args), password).key).toBe(pair.key)
    }
  })

  test('with no password given for an empty one', () => {
    expect(readPkcs12(exported(''), undefined).key).toBe(pair.key)
  })

  test('with an RSA key', () => {
    const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=rsa', '-keyout', 'rsa.key']
    execFileSync('openssl', [...args, '-out', 'rsa.crt'], { cwd: directory, stdio: 'pipe' })
    const cert = readFileSync(join(directory, 'rsa.crt'), 'utf8')
    const key = readFileSync(join(directory, 'rsa.key'), 'utf8')
    const read = readPkcs12(exported('secret', [], { cert, key }), 'secret')
    expect(inspectKeyPair(read).subject).toBe('CN=rsa')
  })

  test('with its MAC by PBMAC1 of RFC 9579', () => {
    expect(readPkcs12(pbmac1File('secret'), 'secret').key).toBe(pair.key)
    expect(message(pbmac1File('secret'), 'wrong')).toContain('password of the PKCS#12 file is wrong')
  })
})

describe('the chain', () => {
  const root = createCa('root')
  const upper = root.intermediate('upper')
  const lower = upper.intermediate('lower')
  const leaf = lower.issue({ dns: ['leaf.test'] })

  test('has the leaf first and the issuers in order, whatever their order in the file', () => {
    const all = [root.cert, upper.cert, leaf.cert.replace(lower.cert, '').replace(upper.cert, ''), lower.cert]
    const bytes = exported('secret', [], { cert: all.join(''), key: leaf.key })
    const subjects = blocks(readPkcs12(bytes, 'secret').cert).map(
      (block) => new X509Certificate(block).subject,
    )
    const expected = [...blocks(leaf.cert)].map((block) => new X509Certificate(block).subject)
    expect(expected).toHaveLength(3)
    expect(subjects).toEqual(expected)
  })

  test('leaves out the root and what is not of it', () => {
    const bytes = exported('secret', [], { cert: leaf.cert + root.cert + other.cert, key: leaf.key })
    expect(blocks(readPkcs12(bytes, 'secret').cert)).toHaveLength(3)
  })

  test('of a self-signed certificate is that certificate', () => {
    expect(blocks(readPkcs12(exported('secret'), 'secret').cert)).toEqual([pair.cert])
  })
})

describe('what cannot be read says why', () => {
  test.each<[string, string[]]>([
    ['newer', []],
    ['older', ['-certpbe', 'PBE-SHA1-3DES', '-keypbe', 'PBE-SHA1-3DES', '-macalg', 'sha1']],
  ])('a wrong password for %s encryption', (_, args) => {
    expect(message(exported('secret', args), 'wrong')).toBe(
      'the password of the PKCS#12 file is wrong: give the one it was exported with',
    )
  })

  test('a wrong password where no MAC tells', () => {
    // One in 256 wrong keys leaves what looks like padding.
    expect(message(exported('secret', ['-nomac']), 'wrong')).toMatch(/password of .* is wrong|malformed/)
  })

  test('a missing password', () => {
    expect(message(exported('secret'))).toBe(
      'the PKCS#12 file needs a password: give the one it was exported with',
    )
  })

  test('RC2, with the remedy', () => {
    const bytes = exported('secret', ['-legacy', '-certpbe', 'PBE-SHA1-RC2-40', '-keypbe', 'PBE-SHA1-3DES'])
    expect(message(bytes, 'secret')).toMatch(
      /algorithm not in use here \(1\.2.*openssl pkcs12 -legacy .*-export/,
    )
  })

  test('a file without a key', () => {
    expect(message(exported('secret', ['-nokeys']), 'secret')).toContain('has no private key')
  })

  test('a file without the certificate of its key', () => {
    const bytes = pfx(sequence(bag('1', pkcs8(pair.key))))
    expect(message(bytes)).toContain('has no certificate for its private key')
  })

  test('a file with two keys', () => {
    const bytes = pfx(sequence(bag('1', pkcs8(pair.key)), bag('1', pkcs8(other.key))))
    expect(message(bytes)).toContain('has 2 private keys: make a file for each')
  })

  test('what is no PKCS#12 at all, without advice to write it anew', () => {
    expect(message(Buffer.from(pair.cert))).toMatch(
      /^the PKCS#12 file is none, but PEM: .*openssl pkcs12 -export$/,
    )
    expect(message(Buffer.from(`Bag Attributes\n${pair.cert}`))).toMatch(/none, but PEM/)
    expect(message(new X509Certificate(pair.cert).raw)).toMatch(/none, but other DER/)
    expect(message(Buffer.from('nonsense'))).toMatch(/^the PKCS#12 file is none: give one/)
  })

  test('an empty file and one that is too large', () => {
    expect(message(Buffer.alloc(0))).toMatch(/^the PKCS#12 file is empty$/)
    expect(message(Buffer.alloc(300_000))).toMatch(/has 300000 bytes: at most 262144/)
  })

  test('more iterations than there is time for, without doing them', () => {
    const mac = sequence(
      sequence(sequence(oid('1.3.14.3.2.26')), octets(Buffer.alloc(20))),
      octets(Buffer.alloc(8)),
      integer(Buffer.from([0x7f, 0xff, 0xff, 0xff])),
    )
    expect(message(pfx(sequence(), mac))).toMatch(/more than 10000000 iterations.*-iter 100000/)
    const encrypted = sequence(pbes2(20_000_000), octets(Buffer.alloc(16)))
    expect(message(pfx(sequence(bag('2', encrypted))))).toMatch(/more than 10000000 iterations/)
  })

  test('iterations that are only many taken together, after doing few', () => {
    const once = bag('2', encryptedKey('', 400_000))
    const costly = bag('2', sequence(pbes2(9_700_000), octets(Buffer.alloc(16))))
    expect(message(pfx(sequence(once, costly)))).toMatch(/more than 10000000 iterations/)
  })
})

test('nothing of key or password is in a message, whatever byte of the file is another', () => {
  const plain = pfx(sequence(bag('1', pkcs8(pair.key)), certificateBag(pair.cert)))
  const files = [
    plain,
    exported('correct horse', ['-iter', '1']),
    exported('correct horse', ['-iter', '1', '-nomac']),
  ]
  expect(message(plain)).toBe('read')
  const secret = pkcs8(pair.key).toString('latin1').slice(40)
  fc.assert(
    fc.property(
      fc.constantFrom(...files),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      (file, at, by, cut) => {
        const place = at % file.length
        const bytes = Buffer.from(cut ? file.subarray(0, place) : file)
        if (!cut) bytes[place] = (bytes[place] ?? 0) ^ by
        // The iterations may become some ten thousand, never so many that the test would take long.
        const text = message(bytes, 'correct horse')
        expect(text).toMatch(/^(read|the (password of the )?PKCS#12 file .*)$/)
        expect(text).not.toContain('correct horse')
        expect(text).not.toContain(secret.slice(0, 8))
      },
    ),
    { numRuns: 300 },
  )
})

const pkcs8 = (pem: string): Buffer => createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' })

const DATA = oid('1.2.840.113549.1.7.1')

const bag = (kind: '1' | '2' | '3', value: Uint8Array): Buffer =>
  sequence(oid(`1.2.840.113549.1.12.10.1.${kind}`), explicit(0, value))

const certificateBag = (pem: string): Buffer =>
  bag('3', sequence(oid('1.2.840.113549.1.9.22.1'), explicit(0, octets(new X509Certificate(pem).raw))))

/** A file with these bags, not encrypted as a whole. */
function pfx(bags: Buffer, mac: Buffer = Buffer.alloc(0)): Buffer {
  return sequence(integer(Buffer.from([3])), sequence(DATA, explicit(0, octets(safe(bags)))), mac)
}

const safe = (bags: Buffer): Buffer => sequence(sequence(DATA, explicit(0, octets(bags))))

const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(5)
  bytes.writeUInt32BE(value, 1)
  const start = bytes.findIndex((byte, i) => byte !== 0 || i === 4)
  return integer(bytes.subarray((bytes[start] ?? 0) >= 0x80 ? start - 1 : start))
}

const SALT = Buffer.alloc(8, 7)
const IV = Buffer.alloc(16, 9)
const HMAC_SHA256 = sequence(oid('1.2.840.113549.2.9'))

const pbkdf2 = (iterations: number, ...length: readonly Buffer[]): Buffer =>
  sequence(oid('1.2.840.113549.1.5.12'), sequence(octets(SALT), number(iterations), ...length, HMAC_SHA256))

function pbes2(iterations: number): Buffer {
  const cipher = sequence(oid('2.16.840.1.101.3.4.1.42'), octets(IV))
  return sequence(oid('1.2.840.113549.1.5.13'), sequence(pbkdf2(iterations), cipher))
}

function encryptedKey(password: string, iterations: number): Buffer {
  const key = pbkdf2Sync(password, SALT, iterations, 32, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', key, IV)
  return sequence(pbes2(iterations), octets(Buffer.concat([cipher.update(pkcs8(pair.key)), cipher.final()])))
}

/** Written by hand, because OpenSSL writes them from 3.4 on only. */
function pbmac1File(password: string): Buffer {
  const bags = sequence(bag('2', encryptedKey(password, 10)), certificateBag(pair.cert))
  const key = pbkdf2Sync(password, SALT, 10, 32, 'sha256')
  const parameters = sequence(pbkdf2(10, number(32)), HMAC_SHA256)
  const algorithm = sequence(oid('1.2.840.113549.1.5.14'), parameters)
  const value = createHmac('sha256', key).update(safe(bags)).digest()
  return pfx(bags, sequence(sequence(algorithm, octets(value)), octets(Buffer.from('NOT USED')), number(1)))
}
