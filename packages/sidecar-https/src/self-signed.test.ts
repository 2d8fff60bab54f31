import { execFileSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkServerIdentity, connect, createServer, type PeerCertificate } from 'node:tls'
import { expect, test } from 'vitest'
import { inspectKeyPair } from './certificate.ts'
import { selfSigned } from './self-signed.ts'

const DAY_MS = 86_400_000

/** What openssl, an implementation that is not ours, reads in a certificate. */
function readByOpenssl(cert: string, ...args: string[]): string {
  return execFileSync('openssl', ['x509', '-noout', ...args], { input: cert }).toString()
}

test('is for localhost and every name given, DNS names and addresses', () => {
  const { cert, key } = selfSigned({
    names: ['app.example.test', '*.example.test', '10.1.2.3', 'fe80::1', '::ffff:1.2.3.4'],
  })
  expect(inspectKeyPair({ cert, key }).names).toEqual([
    'localhost',
    'app.example.test',
    '*.example.test',
    '10.1.2.3',
    'fe80::1',
    '::ffff:102:304',
  ])
})

test('openssl reads the extensions of a server certificate of version 3', () => {
  const text = readByOpenssl(selfSigned({ names: ['a.test'] }).cert, '-text')
  expect(text).toContain('Version: 3 (0x2)')
  expect(text).toMatch(/X509v3 Basic Constraints: critical\s+CA:FALSE/)
  expect(text).toMatch(/X509v3 Key Usage: critical\s+Digital Signature\n/)
  expect(text).toMatch(/X509v3 Extended Key Usage: \s+TLS Web Server Authentication\n/)
  expect(text).toMatch(/X509v3 Subject Key Identifier: \s+([0-9A-F]{2}:){19}[0-9A-F]{2}\n/)
  expect(text).toMatch(/X509v3 Subject Alternative Name: \s+DNS:localhost, DNS:a\.test\n/)
  expect(text).toContain('Signature Algorithm: ecdsa-with-SHA256')
  expect(text).toContain('NIST CURVE: P-256')
})

test('is valid from an hour ago for the days given', () => {
  const before = Date.now()
  const { cert, key } = selfSigned({ names: [], days: 3 })
  const { notBefore, notAfter } = inspectKeyPair({ cert, key })
  expect(notAfter.getTime() - notBefore.getTime()).toBe(3 * DAY_MS)
  expect(Math.abs(before - 3_600_000 - notBefore.getTime())).toBeLessThan(10_000)
})

test('a date after 2049 is written as RFC 5280 demands', () => {
  const end = readByOpenssl(selfSigned({ names: [], days: 36_500 }).cert, '-enddate')
  expect(end.trim()).toMatch(
    new RegExp(`^notAfter=.* ${new Date(Date.now() + 36_499 * DAY_MS).getUTCFullYear()} GMT$`),
  )
})

test('two certificates share neither serial number nor key', () => {
  const [one, two] = [selfSigned({ names: [] }), selfSigned({ names: [] })]
  expect(new X509Certificate(one.cert).serialNumber).not.toBe(new X509Certificate(two.cert).serialNumber)
  expect(createPrivateKey(one.key).equals(createPrivateKey(two.key))).toBe(false)
})

test('a client that trusts it connects by each of its names, and by no other', async () => {
  const { cert, key } = selfSigned({ names: ['app.example.test', '127.0.0.1', '::1'] })
  const server = createServer({ cert, key }, (socket) => socket.end()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const connectAs = async (name: string): Promise<boolean> => {
    const check = (_: string, peer: PeerCertificate) => checkServerIdentity(name, peer)
    const socket = connect({ port, host: '127.0.0.1', ca: cert, checkServerIdentity: check })
    await once(socket, 'secureConnect')
    socket.destroy()
    return socket.authorized
  }
  for (const name of ['localhost', 'app.example.test', '127.0.0.1', '::1']) {
    expect(await connectAs(name)).toBe(true)
  }
  await expect(connectAs('elsewhere.test')).rejects.toThrow(/does not match/)
  server.close()
  await once(server, 'close')
})

test('openssl verifies it for a server when it is trusted', () => {
  const directory = mkdtempSync(join(tmpdir(), 'self-signed-'))
  const file = join(directory, 'tls.crt')
  writeFileSync(file, selfSigned({ names: ['a.test'] }).cert)
  const args = [
    'verify',
    '-CAfile',
    file,
    '-purpose',
    'sslserver',
    '-verify_hostname',
    'a.test',
    '-x509_strict',
    file,
  ]
  expect(execFileSync('openssl', args).toString()).toContain('OK')
  rmSync(directory, { recursive: true })
})

test('a name longer than a common name may be is still a name of it', () => {
  const name = `${'a'.repeat(60)}.${'b'.repeat(60)}.test`
  const { cert, key } = selfSigned({ names: [name] })
  expect(inspectKeyPair({ cert, key }).names).toContain(name)
  expect(inspectKeyPair({ cert, key }).subject).toContain('CN=localhost')
})

test.each([
  '',
  'a b.test',
  'http://a.test',
  'a..test',
  '-a.test',
  `${'a'.repeat(64)}.test`,
  'a,DNS:b.test',
  'ä.test',
])('refuses the name "%s"', (name) => {
  expect(() => selfSigned({ names: [name] })).toThrow(/neither a DNS name nor an IP address/)
})

test.each([0, -1, Number.NaN, 1e9])('refuses %d days', (days) => {
  expect(() => selfSigned({ names: [], days })).toThrow(/days is/)
})
