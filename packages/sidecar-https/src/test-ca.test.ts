import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createCa } from './test-ca.ts'

const directory = mkdtempSync(join(tmpdir(), 'test-ca-'))
afterAll(() => rmSync(directory, { recursive: true }))

const root = createCa('Root')
const middle = root.intermediate('Middle')

function file(name: string, text: string): string {
  writeFileSync(join(directory, name), text)
  return join(directory, name)
}

function openssl(...args: string[]): string {
  return execFileSync('openssl', args, { stdio: 'pipe' }).toString()
}

test.each([true, false])('openssl verifies what an intermediate authority issued (client: %s)', (client) => {
  const args = ['-CAfile', file('root.pem', root.cert), '-untrusted', file('middle.pem', middle.cert)]
  const leaf = file('leaf.pem', middle.issue({ cn: 'leaf', dns: ['leaf.test'], client }).cert)
  const purpose = client ? 'sslclient' : 'sslserver'
  expect(openssl('verify', '-x509_strict', '-purpose', purpose, ...args, leaf)).toContain('OK')
})

test('openssl reads every kind of name that was asked for', () => {
  const { cert } = root.issue({
    cn: 'a',
    ou: ['x', 'y'],
    dns: ['d.test'],
    uri: ['spiffe://t/w'],
    ip: ['10.0.0.1', '2001:db8::1', '::'],
    email: ['m@e.test'],
  })
  const text = execFileSync('openssl', ['x509', '-noout', '-text', '-nameopt', 'RFC2253'], { input: cert })
  expect(text.toString()).toContain('Subject: CN=a,OU=y,OU=x\n')
  expect(text.toString()).toContain(
    'DNS:d.test, URI:spiffe://t/w, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1, ' +
      'IP Address:0:0:0:0:0:0:0:0, email:m@e.test\n',
  )
})

test('openssl verifies a revocation list and finds the serial numbers in it', () => {
  const revoked = root.issue({ cn: 'gone' })
  const list = file('list.pem', root.crl([revoked.serial]))
  const text = openssl('crl', '-noout', '-text', '-verify', '-in', list, '-CAfile', file('ca.pem', root.cert))
  expect(text).toContain(`Serial Number: ${revoked.serial}`)
})

test('a certificate is valid for the time asked for', () => {
  const notBefore = new Date('2020-01-02T03:04:05Z')
  const leaf = new X509Certificate(root.issue({ notBefore, days: 2 }).der)
  expect(new Date(leaf.validFrom)).toEqual(notBefore)
  expect(new Date(leaf.validTo)).toEqual(new Date('2020-01-04T03:04:05Z'))
})
