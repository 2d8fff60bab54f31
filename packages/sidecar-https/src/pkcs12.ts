import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import type { KeyPair } from './certificate.ts'
import { DerReader, readOid, readOne } from './der-read.ts'
import { Password, REWRITE, RefusedEncryption } from './password-encryption.ts'

/** A chain of ten certificates of 4096 bits is below 32 KiB. */
const LARGEST = 256 * 1024
const MOST_CERTIFICATES = 64

const DATA = '1.2.840.113549.1.7.1'
const ENCRYPTED_DATA = '1.2.840.113549.1.7.6'
const BAG = '1.2.840.113549.1.12.10.1'
const X509 = '1.2.840.113549.1.9.22.1'

/** The content of `[0] EXPLICIT`. */
const EXPLICIT_0 = 0xa0
/** `[0] IMPLICIT OCTET STRING`. */
const IMPLICIT_0 = 0x80

/**
 * Reads a PKCS#12 file (RFC 7292; `.p12`, `.pfx`): the one private key in it, its certificate and those of the issuers,
 * as PEM with the leaf first and without the root, which a client has or does not trust. Encrypted with PBES2 (AES or
 * Triple-DES, PBKDF2) or the older SHA-1 with Triple-DES, in DER.
 *
 * Throws an Error that says what is wrong and the remedy, with nothing of key or password in it. Blocks for as long as
 * the file's iterations of key derivation take: milliseconds as they are written, seconds for the ten million at the most.
 */
export function readPkcs12(bytes: Buffer, password: string | undefined): KeyPair {
  if (bytes.length > LARGEST) {
    throw new Error(`the PKCS#12 file has ${bytes.length} bytes: at most ${LARGEST} are read`)
  }
  const { keys, certificates } = contentOf(bytes, password)
  const [key] = keys
  if (key === undefined)
    throw new Error('the PKCS#12 file has no private key: export it together with its key')
  if (keys.length > 1) {
    throw new Error(`the PKCS#12 file has ${keys.length} private keys: make a file for each of them`)
  }
  const leaf = certificates.find((certificate) => certificate.checkPrivateKey(key))
  if (leaf === undefined) {
    throw new Error('the PKCS#12 file has no certificate for its private key: export them together')
  }
  return {
    cert: chainOf(leaf, certificates).join(''),
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

interface Content {
  keys: KeyObject[]
  certificates: X509Certificate[]
}

function contentOf(bytes: Buffer, password: string | undefined): Content {
  try {
    return read(bytes, password)
  } catch (error) {
    if (error instanceof RefusedEncryption) throw new Error(`the PKCS#12 file is refused: ${error.message}`)
    if (error instanceof WrongPassword || error instanceof NoPkcs12) throw new Error(error.message)
    // Nothing of what OpenSSL says: only our own messages are known to quote no content.
    const reason =
      error instanceof Error && !('code' in error) ? error.message : 'what is encrypted cannot be read'
    throw new Error(`the PKCS#12 file is malformed: ${reason}; ${REWRITE}`)
  }
}

class WrongPassword extends Error {}

class NoPkcs12 extends Error {}

/** A file that begins as no PKCS#12 does is another one, for which writing it anew is no remedy. */
function refuseOther(bytes: Buffer): void {
  if (bytes.length === 0) throw new NoPkcs12('the PKCS#12 file is empty')
  if (bytes[0] === 0x30) return
  throw new NoPkcs12(
    bytes.includes('-----BEGIN ')
      ? 'the PKCS#12 file is none, but PEM: give it as certificate and key, or make one of it with openssl pkcs12 -export'
      : 'the PKCS#12 file is none: give one that was exported as such (.p12, .pfx)',
  )
}

function read(bytes: Buffer, given: string | undefined): Content {
  refuseOther(bytes)
  const file = new DerReader(readOne(bytes, 0x30, 'the file').content)
  if (file.tag !== 0x02) {
    throw new NoPkcs12(
      'the PKCS#12 file is none, but other DER, such as a certificate: give one with its key',
    )
  }
  if (!file.take(0x02, 'the version').content.equals(Buffer.from([3])))
    throw new Error('the version is not 3')
  const safe = contentInfo(file.take(0x30, 'the authenticated safe').content)
  if (safe.type !== DATA) throw new Error('it is signed with a key and not with a password')
  const authenticated = readOne(safe.content, 0x04, 'the authenticated safe').content
  const mac = file.optional(0x30, 'the MAC')
  file.end('the file')

  const password = new Password(given)
  if (mac !== undefined && !password.verifies(mac.content, authenticated)) throw wrong(given)
  const decrypt = (algorithm: Buffer, encrypted: Buffer): Buffer => {
    try {
      return password.decrypt(algorithm, encrypted)
    } catch (error) {
      // OpenSSL's, which has a code, is about the padding; the MAC has told already that the password is right.
      if (mac === undefined && error instanceof Error && 'code' in error) throw wrong(given)
      throw error
    }
  }
  const content: Content = { keys: [], certificates: [] }
  for (const part of elements(readOne(authenticated, 0x30, 'the safe').content, 'a part of the safe')) {
    const { type, content: inner } = contentInfo(part)
    if (type === DATA) readBags(readOne(inner, 0x04, 'a part of the safe').content, decrypt, content)
    else if (type === ENCRYPTED_DATA) readBags(decrypted(inner, decrypt), decrypt, content)
    else throw new Error('a part of it is encrypted to a key and not with a password')
  }
  return content
}

function wrong(given: string | undefined): WrongPassword {
  return new WrongPassword(
    given === undefined || given === ''
      ? 'the PKCS#12 file needs a password: give the one it was exported with'
      : 'the password of the PKCS#12 file is wrong: give the one it was exported with',
  )
}

function contentInfo(content: Buffer): { type: string; content: Buffer } {
  const reader = new DerReader(content)
  const type = readOid(reader.take(0x06, 'the content type').content)
  return { type, content: reader.take(EXPLICIT_0, 'the content').content }
}

type Decrypt = (algorithm: Buffer, encrypted: Buffer) => Buffer

/** EncryptedData of RFC 5652 section 8. */
function decrypted(content: Buffer, decrypt: Decrypt): Buffer {
  const data = new DerReader(readOne(content, 0x30, 'the encrypted data').content)
  data.take(0x02, 'the version of the encrypted data')
  const info = new DerReader(data.take(0x30, 'the encrypted content').content)
  info.take(0x06, 'the encrypted content type')
  const algorithm = info.take(0x30, 'the encryption algorithm').content
  return decrypt(algorithm, info.take(IMPLICIT_0, 'the encrypted content').content)
}

function readBags(bytes: Buffer, decrypt: Decrypt, into: Content): void {
  for (const element of elements(readOne(bytes, 0x30, 'the bags').content, 'a bag')) {
    const { type, content } = contentInfo(element)
    if (type === `${BAG}.1`) into.keys.push(privateKey(content))
    else if (type === `${BAG}.2`) into.keys.push(privateKey(decryptedKey(content, decrypt)))
    else if (type === `${BAG}.3`) into.certificates.push(certificate(content))
    // The others are revocation lists, secrets of other kinds, and bags in bags, which nobody writes.
    if (into.certificates.length > MOST_CERTIFICATES) {
      throw new Error(`there are more than ${MOST_CERTIFICATES} certificates in it`)
    }
  }
}

/** EncryptedPrivateKeyInfo of RFC 5958. */
function decryptedKey(content: Buffer, decrypt: Decrypt): Buffer {
  const info = new DerReader(readOne(content, 0x30, 'the encrypted key').content)
  const algorithm = info.take(0x30, 'the encryption algorithm').content
  return decrypt(algorithm, info.take(0x04, 'the encrypted key').content)
}

function privateKey(der: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  } catch {
    // Nothing of the cause: it may quote what it could not read.
    throw new Error('the private key in it is none')
  }
}

function certificate(content: Buffer): X509Certificate {
  const bag = new DerReader(readOne(content, 0x30, 'the certificate bag').content)
  if (readOid(bag.take(0x06, 'the certificate type').content) !== X509) {
    throw new Error('a certificate in it is not of X.509')
  }
  const value = bag.take(EXPLICIT_0, 'the certificate').content
  const der = readOne(value, 0x04, 'the certificate').content
  try {
    return new X509Certificate(der)
  } catch {
    throw new Error('a certificate in it is none')
  }
}

/** The content of each SEQUENCE in a list of them. */
function* elements(bytes: Buffer, name: string): Generator<Buffer> {
  const reader = new DerReader(bytes)
  while (!reader.done) yield reader.take(0x30, name).content
}

function chainOf(leaf: X509Certificate, certificates: readonly X509Certificate[]): string[] {
  const chain = [leaf]
  const rest = new Set(certificates)
  for (let last: X509Certificate | undefined = leaf; last !== undefined; ) {
    rest.delete(last)
    const child: X509Certificate = last
    last = [...rest].find((candidate) => child.checkIssued(candidate) && child.verify(candidate.publicKey))
    if (last !== undefined) chain.push(last)
  }
  const [, ...issuers] = chain
  const sent = [leaf, ...issuers.filter((issuer) => issuer.subject !== issuer.issuer)]
  return sent.map((each) => each.toString())
}
