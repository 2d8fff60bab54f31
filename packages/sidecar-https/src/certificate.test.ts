import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { checkAuthorities, inspectKeyPair, type KeyPair } from './certificate.ts'
import { selfSigned } from './self-signed.ts'

const directory = mkdtempSync(join(tmpdir(), 'certificate-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

const pair = selfSigned({ names: ['example.test'] })
const other = selfSigned({ names: ['other.test'] })

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })
}

function made(...args: string[]): KeyPair {
  openssl('req', '-x509', '-nodes', '-keyout', 'made.key', '-out', 'made.crt', ...args)
  return { cert: readFileSync(join(directory, 'made.crt')), key: readFileSync(join(directory, 'made.key')) }
}

function encryptedKey(type: 'pkcs8' | 'sec1'): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ format: 'pem', type, cipher: 'aes-256-cbc', passphrase: 'secret' }).toString()
}

function message(bad: KeyPair): string {
  try {
    inspectKeyPair(bad)
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
  return 'accepted'
}

describe('a pair that can be used', () => {
  test('tells its subject, names, dates and fingerprint', () => {
    const rsa = made(
      '-newkey',
      'rsa:2048',
      '-days',
      '30',
      '-subj',
      '/O=Example/CN=www.example.test',
      '-addext',
      'subjectAltName=DNS:www.example.test,IP:10.0.0.1,IP:::1,URI:spiffe://example/x',
    )
    const info = inspectKeyPair(rsa)
    expect(info.subject).toBe('O=Example, CN=www.example.test')
    expect(info.names).toEqual(['www.example.test', '10.0.0.1', '::1'])
    expect(info.notAfter.getTime() - info.notBefore.getTime()).toBe(30 * 86_400_000)
    expect(info.fingerprint256).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
    expect(info.selfSigned).toBe(true)
  })

  test('may have expired: that is told, not refused', () => {
    const expired = selfSigned({ names: [], days: 0.01 })
    expect(inspectKeyPair(expired).notAfter.getTime()).toBeLessThan(Date.now())
  })

  test('may begin its key with the parameters of the curve', () => {
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-out', 'params.key')
    openssl('req', '-x509', '-key', 'params.key', '-subj', '/CN=curve', '-out', 'params.crt')
    const key = readFileSync(join(directory, 'params.key'), 'latin1')
    expect(key).toContain('BEGIN EC PARAMETERS')
    expect(inspectKeyPair({ cert: readFileSync(join(directory, 'params.crt')), key }).subject).toBe(
      'CN=curve',
    )
  })

  test('may be a chain, of which the first certificate is told', () => {
    const info = inspectKeyPair({ cert: pair.cert + other.cert, key: pair.key })
    expect(info.names).toContain('example.test')
  })

  test('is not self-signed when another certificate signed it', () => {
    made('-newkey', 'rsa:2048', '-subj', '/CN=authority')
    openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'leaf.key',
      '-subj',
      '/CN=leaf',
      '-out',
      'leaf.csr',
    )
    openssl(
      'x509',
      '-req',
      '-in',
      'leaf.csr',
      '-CA',
      'made.crt',
      '-CAkey',
      'made.key',
      '-CAcreateserial',
      '-out',
      'leaf.crt',
    )
    const [cert, key] = ['leaf.crt', 'leaf.key'].map((file) => readFileSync(join(directory, file)))
    expect(inspectKeyPair({ cert: cert ?? '', key: key ?? '' }).selfSigned).toBe(false)
  })
})

describe('a pair that cannot be used says what is wrong', () => {
  test.each<[string, KeyPair, RegExp]>([
    ['an empty certificate', { cert: '\n', key: pair.key }, /certificate is empty/],
    ['an empty key', { cert: pair.cert, key: '' }, /private key is empty/],
    ['a certificate that is no PEM', { cert: 'hello', key: pair.key }, /certificate is not PEM/],
    ['a key that is no PEM', { cert: pair.cert, key: 'hello' }, /private key is not PEM/],
    ['the two swapped', { cert: pair.key, key: pair.cert }, /certificate is not PEM/],
    [
      'a certificate of nonsense',
      { cert: pair.cert.replace(/MII/, 'AAA'), key: pair.key },
      /block 1 .* no X\.509/,
    ],
    [
      'a chain with nonsense in it',
      { cert: pair.cert + other.cert.replace(/MII/, 'AAA'), key: pair.key },
      /block 2/,
    ],
    ['a half-written certificate', { cert: pair.cert.slice(0, 300), key: pair.key }, /cut off/],
    ['a half-written chain', { cert: pair.cert + other.cert.slice(0, 300), key: pair.key }, /cut off/],
    ['a half-written key', { cert: pair.cert, key: pair.key.slice(0, 90) }, /private key is not PEM/],
    [
      'a key of nonsense',
      { cert: pair.cert, key: pair.key.replace(/\nMIG/, '\nAAA') },
      /private key is malformed/,
    ],
    ['the key of another', { cert: pair.cert, key: other.key }, /does not belong to .*CN=example\.test/],
    ['an encrypted key', { cert: pair.cert, key: encryptedKey('pkcs8') }, /encrypted: decrypt it/],
    [
      'an encrypted key of the old form',
      { cert: pair.cert, key: encryptedKey('sec1') },
      /encrypted: decrypt it/,
    ],
  ])('%s', (_, bad, expected) => {
    expect(message(bad)).toMatch(expected)
  })

  test('and never shows key material', () => {
    const body = pair.key.split('\n')[1] ?? ''
    const bad = [
      { cert: pair.key, key: pair.key },
      { cert: other.cert, key: pair.key },
      { cert: pair.cert, key: pair.key.slice(0, 90) },
      { cert: pair.cert, key: pair.key.replace(/\nMIG/, '\nAAA') },
      { cert: pair.cert, key: body },
    ]
    const messages = bad.map(message)
    expect(messages).not.toContain('accepted')
    for (const text of messages) {
      for (let start = 0; start + 8 <= body.length; start += 8)
        expect(text).not.toContain(body.slice(start, start + 8))
    }
  })
})

describe('authorities', () => {
  const { cert, key } = selfSigned({ names: ['ca.test'] })

  test('may be any number of certificates, with comments between them', () => {
    for (const pem of [cert, `# ours\n${cert}\n# theirs\n${cert}`, cert.repeat(500)]) {
      expect(() => checkAuthorities(pem)).not.toThrow()
      expect(() => checkAuthorities(Buffer.from(pem))).not.toThrow()
    }
  })

  test.each<[string, string, RegExp]>([
    ['nothing', '', /is empty/],
    ['something else', 'nonsense', /is not PEM/],
    ['a key', key, /is not PEM/],
    ['a bundle that is cut off', cert + cert.slice(0, -20), /is cut off/],
    ['a bundle of which one is malformed', cert + cert.replace(/\nM/, '\nA'), /block 2 of the PEM/],
  ])('that are %s are refused, because OpenSSL would pass over what it cannot read', (_, pem, message) => {
    expect(() => checkAuthorities(pem)).toThrow(/^the authorities cannot be used: /)
    expect(() => checkAuthorities(pem)).toThrow(message)
  })
})
