import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { isIPv6 } from 'node:net'

/** A certificate chain, leaf first, and the private key of the leaf; both PEM. */
export interface KeyPair {
  cert: Buffer | string
  key: Buffer | string
}

export interface CertificateInfo {
  /** For example `CN=example.com, O=Example`. */
  subject: string
  /** DNS names and IP addresses of the subject alternative name. */
  names: string[]
  notBefore: Date
  notAfter: Date
  /** Colon-separated upper-case hexadecimal of the leaf's SHA-256. */
  fingerprint256: string
  selfSigned: boolean
}

/** OpenSSL's clients take about this much of a chain, as DER (SSL_CTX_set_max_cert_list, ssl(3)). */
const LARGEST_PEM = 128 * 1024

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g
const PRIVATE_KEY = /-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----[\s\S]*?-----END \1-----/

/**
 * Reads a pair and checks that the key belongs to the first certificate. Throws an Error that says what is wrong
 * with which of the two, never with key material in it. An expired certificate is not an error: see `notAfter`.
 */
export function inspectKeyPair(pair: KeyPair): CertificateInfo {
  if (Math.max(pair.cert.length, pair.key.length) > LARGEST_PEM) {
    throw new Error(
      `the certificate or the key is larger than ${LARGEST_PEM} bytes, more than clients accept`,
    )
  }
  const leaf = readChain(pair.cert.toString())
  const key = readKey(pair.key.toString())
  if (!leaf.checkPrivateKey(key)) {
    throw new Error(
      `the private key does not belong to the certificate of ${oneLine(leaf.subject)}: ` +
        'give the key the certificate was made for, and the chain with the leaf first',
    )
  }
  return {
    subject: oneLine(leaf.subject),
    names: namesOf(leaf.subjectAltName ?? ''),
    notBefore: new Date(leaf.validFrom),
    notAfter: new Date(leaf.validTo),
    fingerprint256: leaf.fingerprint256,
    selfSigned: leaf.issuer === leaf.subject && leaf.verify(leaf.publicKey),
  }
}

/**
 * Checks the PEM of authorities that peers are verified by. Throws an Error when there is none in it or one that is
 * malformed: OpenSSL passes over what it cannot read, and would then trust fewer or nobody.
 */
export function checkAuthorities(pem: Buffer | string): void {
  try {
    readChain(pem.toString())
  } catch (error) {
    throw new Error(`the authorities cannot be used: ${error instanceof Error ? error.message : error}`)
  }
}

/** Gives the first of the certificates, all of which can be read. */
function readChain(pem: string): X509Certificate {
  if (pem.trim() === '') throw new Error('the certificate is empty: a PEM file is needed')
  const blocks = pem.match(CERTIFICATE) ?? []
  // A chain cut short by a half-written file would otherwise be served without its end.
  if (blocks.length !== pem.split('-----BEGIN CERTIFICATE-----').length - 1) {
    throw new Error('the certificate is cut off: a "-----END CERTIFICATE-----" is missing')
  }
  const [leaf] = blocks.map((block, index) => readCertificate(block, index + 1))
  if (leaf === undefined) {
    throw new Error('the certificate is not PEM: no "-----BEGIN CERTIFICATE-----" in it')
  }
  return leaf
}

function readCertificate(block: string, position: number): X509Certificate {
  try {
    return new X509Certificate(block)
  } catch {
    throw new Error(`the certificate is malformed: block ${position} of the PEM is no X.509 certificate`)
  }
}

function readKey(pem: string): KeyObject {
  if (pem.trim() === '') throw new Error('the private key is empty: a PEM file is needed')
  const block = PRIVATE_KEY.exec(pem)
  if (block === null) throw new Error('the private key is not PEM: no "-----BEGIN PRIVATE KEY-----" in it')
  if (block[1] === 'ENCRYPTED PRIVATE KEY' || block[0].includes('Proc-Type: 4,ENCRYPTED')) {
    throw new Error('the private key is encrypted: decrypt it, for example with openssl pkey')
  }
  try {
    return createPrivateKey(block[0])
  } catch {
    // Nothing of the cause: it may quote what it could not read.
    throw new Error('the private key is malformed: its PEM block is no private key')
  }
}

function oneLine(subject: string | undefined): string {
  return (subject ?? '').split('\n').join(', ')
}

/** `DNS:a.example, DNS:"odd, name", IP Address:0:0:0:0:0:0:0:1` to the names, addresses in their short form. */
function namesOf(subjectAltName: string): string[] {
  const entry = /(?:^|, )(?:DNS|IP Address):(?:"((?:[^"\\]|\\.)*)"|([^,]*))/g
  const names = [...subjectAltName.matchAll(entry)].map((match) => match[1] ?? match[2] ?? '')
  return names.map((name) => (isIPv6(name) ? new URL(`http://[${name}]`).hostname.slice(1, -1) : name))
}
