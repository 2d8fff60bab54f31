import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { inspectKeyPair } from './certificate.ts'
import { pairsIn } from './certificate-directory.ts'
import { selfSigned } from './self-signed.ts'

const directory = mkdtempSync(join(tmpdir(), 'certificate-directory-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

const { cert, key } = selfSigned({ names: ['a.test'] })
const { cert: otherCert, key: otherKey } = selfSigned({ names: ['b.test'] })

const filesOf = (texts: Readonly<Record<string, string>>): Map<string, Buffer> =>
  new Map(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)]))

/** What is found, by name. */
const found = (texts: Readonly<Record<string, string>>): Record<string, [string, string]> =>
  Object.fromEntries(
    pairsIn(filesOf(texts)).map((pair) => [pair.name, [pair.cert.toString(), pair.key.toString()]]),
  )

function message(files: ReadonlyMap<string, Buffer>, password?: string): string {
  try {
    pairsIn(files, password)
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
  return 'accepted'
}

function pkcs12(password: string): Buffer {
  writeFileSync(join(directory, 'pair.pem'), cert + key)
  const args = ['pkcs12', '-export', '-in', 'pair.pem', '-out', 'pair.p12', '-passout', `pass:${password}`]
  execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })
  return readFileSync(join(directory, 'pair.p12'))
}

describe('a pair is found', () => {
  test.each(['crt', 'cert', 'pem'])('as name.%s with name.key beside it', (extension) => {
    expect(found({ [`a.test.${extension}`]: cert, 'a.test.key': key })).toEqual({
      [`a.test.${extension}`]: [cert, key],
    })
  })

  test.each([cert + key, key + cert])('in one PEM file, in any order', (both) => {
    expect(found({ 'a.pem': both })).toEqual({ 'a.pem': [both, both] })
    expect(inspectKeyPair({ cert: both, key: both }).names).toContain('a.test')
  })

  test('in the folder of a host, as a Secret is mounted', () => {
    expect(found({ 'a/ca.crt': otherCert, 'a/tls.crt': cert, 'a/tls.key': key })).toEqual({
      'a/tls.crt': [cert, key],
    })
  })

  test('in the folder of a host, as certbot leaves it, with the whole chain', () => {
    const chain = cert + otherCert
    const live = { 'cert.pem': cert, 'chain.pem': otherCert, 'fullchain.pem': chain, 'privkey.pem': key }
    const files = Object.entries(live).map(([name, text]) => [`a/${name}`, text])
    expect(found({ README: 'x', 'a/README': 'x', ...Object.fromEntries(files) })).toEqual({
      'a/fullchain.pem': [chain, key],
    })
  })

  test.each(['p12', 'pfx', 'PFX'])('in a PKCS#12 file called .%s, with the password', (extension) => {
    const [pair] = pairsIn(new Map([[`a.${extension}`, pkcs12('secret')]]), 'secret')
    expect(pair).toEqual({ name: `a.${extension}`, cert, key })
  })

  test('for each certificate, in the order of names', () => {
    const files = {
      'b.pem': otherCert + otherKey,
      'c/tls.crt': cert,
      'c/tls.key': key,
      'a.crt': cert,
      'a.key': key,
    }
    expect(Object.keys(found(files))).toEqual(['a.crt', 'b.pem', 'c/tls.crt'])
  })

  test('never with a key from another folder', () => {
    expect(message(filesOf({ 'a/tls.crt': cert, 'b/tls.key': key }))).toContain('a/tls.key is missing')
    expect(message(filesOf({ 'a/tls.crt': cert, 'tls.key': key }))).toContain('a/tls.key is missing')
  })
})

test.each([
  ['README.md', 'text'],
  ['.hidden.crt', cert],
  ['a/.hidden.pem', cert + key],
  ['ca.crt', cert],
  ['a/ca.pem', cert],
  ['chain.pem', cert],
  ['root-ca.crt', cert],
  ['a.test.issuer.crt', cert],
  ['a.test.key', key],
  ['a.test-key.pem', key],
  ['dhparam.pem', '-----BEGIN DH PARAMETERS-----\n'],
  ['a.test.json', '{}'],
  ['.pem', cert],
  ['crt', cert],
])('%s is no concern of it', (name, text) => {
  expect(found({ [name]: text })).toEqual({})
})

test('the authority that a tutorial leaves there with its key is not served', () => {
  expect(found({ 'ca.crt': cert, 'ca.key': key })).toEqual({})
})

describe('what is wrong is told', () => {
  test.each([
    ['a.crt', 'a.key'],
    ['a.cert', 'a.key'],
    ['a.pem', 'a.key'],
    ['a/tls.crt', 'a/tls.key'],
    ['a/fullchain.pem', 'a/privkey.pem'],
  ])('%s without its key, with both names', (name, missing) => {
    expect(message(filesOf({ [name]: cert }))).toBe(
      `${name}: its key ${missing} is missing: put it there, or take the certificate away`,
    )
  })

  test('a PKCS#12 file with another password, with its name', () => {
    const files = new Map([['a.p12', pkcs12('secret')]])
    expect(message(files, 'wrong')).toMatch(/^a\.p12: the password of the PKCS#12 file is wrong/)
    expect(message(files)).toMatch(/^a\.p12: the PKCS#12 file needs a password/)
  })

  test('of all files at once', () => {
    const files = filesOf({
      'a.crt': cert,
      'b.p12': 'nonsense',
      'c/tls.crt': cert,
      'd.crt': cert,
      'd.key': key,
    })
    expect(message(files)).toMatch(/^a\.crt: .*; b\.p12: the PKCS#12 .*; c\/tls\.crt: [^;]*$/)
  })
})

test('whatever the names and contents, pairs come or an error, and never key material in it', () => {
  const part = fc.constantFrom('a', 'tls', 'fullchain', 'privkey', 'cert', 'key', '.', '..', '__proto__', '')
  const extension = fc.constantFrom('crt', 'pem', 'key', 'p12', 'cert', '')
  const name = fc
    .tuple(fc.constantFrom('', 'h/', 'constructor/'), part, extension)
    .map(([a, b, c]) => `${a}${b}.${c}`)
  const content = fc.constantFrom(cert, key, cert + key, key.slice(0, 90), '', 'nonsense')
  fc.assert(
    fc.property(fc.array(fc.tuple(name, content), { maxLength: 8 }), (entries) => {
      const files = new Map(entries.map(([path, text]) => [path, Buffer.from(text)]))
      const text = message(files)
      if (text === 'accepted') for (const pair of pairsIn(files)) expect(files.get(pair.name)).toBe(pair.cert)
      for (const line of key.split('\n').slice(1, -2)) expect(text).not.toContain(line)
    }),
  )
})
