import { createDecipheriv, createHmac, hash, pbkdf2Sync, timingSafeEqual } from 'node:crypto'
import { DerReader, type Element, readIntegerHex, readOid } from './der-read.ts'

/** For a file whose algorithms are too old or too odd to be read here. */
export const REWRITE =
  'write it anew with openssl pkcs12 -legacy -nodes -in old.p12 | openssl pkcs12 -export -out new.p12'

/** Some seconds of work. OpenSSL writes 2048 for each of its three derivations, Java 10 000. */
const MOST_ITERATIONS = 10_000_000

interface Hash {
  name: string
  /** Bytes of its output and of its input block: u and v of RFC 7292 B.2. */
  size: number
  block: number
}

const SHA1: Hash = { name: 'sha1', size: 20, block: 64 }
const SHA224: Hash = { name: 'sha224', size: 28, block: 64 }
const SHA256: Hash = { name: 'sha256', size: 32, block: 64 }
const SHA384: Hash = { name: 'sha384', size: 48, block: 128 }
const SHA512: Hash = { name: 'sha512', size: 64, block: 128 }

const DIGESTS = new Map([
  ['1.3.14.3.2.26', SHA1],
  ['2.16.840.1.101.3.4.2.4', SHA224],
  ['2.16.840.1.101.3.4.2.1', SHA256],
  ['2.16.840.1.101.3.4.2.2', SHA384],
  ['2.16.840.1.101.3.4.2.3', SHA512],
])

const HMACS = new Map([
  ['1.2.840.113549.2.7', SHA1],
  ['1.2.840.113549.2.8', SHA224],
  ['1.2.840.113549.2.9', SHA256],
  ['1.2.840.113549.2.10', SHA384],
  ['1.2.840.113549.2.11', SHA512],
])

const PBES2 = '1.2.840.113549.1.5.13'
const PBMAC1 = '1.2.840.113549.1.5.14'
const PBKDF2 = '1.2.840.113549.1.5.12'

/** With their key lengths in bytes. */
const CIPHERS = new Map([
  ['2.16.840.1.101.3.4.1.2', { name: 'aes-128-cbc', size: 16 }],
  ['2.16.840.1.101.3.4.1.22', { name: 'aes-192-cbc', size: 24 }],
  ['2.16.840.1.101.3.4.1.42', { name: 'aes-256-cbc', size: 32 }],
  ['1.2.840.113549.3.7', { name: 'des-ede3-cbc', size: 24 }],
])

/** RFC 7292 appendix C, pbeWithSHAAnd3-KeyTripleDES-CBC and its sibling with two keys, with their key lengths. */
const TRIPLE_DES = new Map([
  ['1.2.840.113549.1.12.1.3', 24],
  ['1.2.840.113549.1.12.1.4', 16],
])

/** One of the forms of a password, RFC 7292 B.1 and RFC 8018: an absent one has no bytes, an empty one has two. */
interface Secret {
  utf8: Buffer
  bmp: Buffer
}

/** The password of one file, and how much work may still be done with it. */
export class Password {
  #candidates: readonly Secret[]
  #iterations = MOST_ITERATIONS

  constructor(password: string | undefined) {
    const text = password ?? ''
    const empty = Buffer.alloc(0)
    const given = { utf8: Buffer.from(text), bmp: bigEndian(`${text}\0`) }
    this.#candidates = text === '' ? [given, { utf8: empty, bmp: empty }] : [given]
  }

  /** Whether a MacData (RFC 7292 section 4, RFC 9579) is that of these bytes with this password. */
  verifies(macData: Buffer, bytes: Buffer): boolean {
    const reader = new DerReader(macData)
    const info = new DerReader(reader.take(0x30, 'the MAC').content)
    const algorithm = info.take(0x30, 'the MAC algorithm')
    const expected = info.take(0x04, 'the MAC value').content
    const salt = reader.take(0x04, 'the MAC salt').content
    const count = reader.optional(0x02, 'the MAC iterations')
    const right = this.#candidates.find((secret) => {
      const mac = this.#mac(algorithm, secret, salt, count, bytes)
      return mac.length === expected.length && timingSafeEqual(mac, expected)
    })
    if (right !== undefined) this.#candidates = [right]
    return right !== undefined
  }

  /** Throws when the algorithm is not known, and for a wrong password more often than not. */
  decrypt(algorithm: Buffer, encrypted: Buffer): Buffer {
    let failure: unknown
    for (const secret of this.#candidates) {
      const { name, key, iv } = this.#cipher(algorithm, secret)
      const decipher = createDecipheriv(name, key, iv)
      try {
        return Buffer.concat([decipher.update(encrypted), decipher.final()])
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  #mac(algorithm: Element, secret: Secret, salt: Buffer, count: Element | undefined, bytes: Buffer): Buffer {
    const { id, parameters } = readAlgorithm(algorithm.content)
    if (id === PBMAC1) {
      const scheme = new DerReader(parameters.take(0x30, 'the PBMAC1 parameters').content)
      const derivation = scheme.take(0x30, 'the key derivation').content
      const { id: hmac } = readAlgorithm(scheme.take(0x30, 'the MAC scheme').content)
      const { name, size } = known(HMACS, hmac)
      return createHmac(name, this.#pbkdf2(derivation, secret, size))
        .update(bytes)
        .digest()
    }
    const digest = known(DIGESTS, id)
    const iterations = this.#spend(count?.content ?? Buffer.from([1]))
    const key = pkcs12Key(3, digest, secret.bmp, salt, iterations, digest.size)
    return createHmac(digest.name, key).update(bytes).digest()
  }

  #cipher(algorithm: Buffer, secret: Secret): { name: string; key: Buffer; iv: Buffer } {
    const { id, parameters } = readAlgorithm(algorithm)
    const scheme = new DerReader(parameters.take(0x30, 'the encryption parameters').content)
    const size = TRIPLE_DES.get(id)
    if (size !== undefined) {
      const salt = scheme.take(0x04, 'the salt').content
      const count = scheme.take(0x02, 'the iterations').content
      const derive = (purpose: 1 | 2, length: number) =>
        pkcs12Key(purpose, SHA1, secret.bmp, salt, this.#spend(count), length)
      const key = derive(1, size)
      return {
        name: 'des-ede3-cbc',
        key: Buffer.concat([key, key]).subarray(0, 24),
        iv: derive(2, 8),
      }
    }
    if (id !== PBES2) throw unknown(id)
    const derivation = scheme.take(0x30, 'the key derivation').content
    const encryption = readAlgorithm(scheme.take(0x30, 'the cipher').content)
    const cipher = known(CIPHERS, encryption.id)
    const iv = encryption.parameters.take(0x04, 'the initialization vector').content
    return { name: cipher.name, key: this.#pbkdf2(derivation, secret, cipher.size), iv }
  }

  #pbkdf2(algorithm: Buffer, secret: Secret, size: number): Buffer {
    const { id, parameters } = readAlgorithm(algorithm)
    if (id !== PBKDF2) throw unknown(id)
    const reader = new DerReader(parameters.take(0x30, 'the PBKDF2 parameters').content)
    const salt = reader.take(0x04, 'the salt').content
    const iterations = this.#spend(reader.take(0x02, 'the iterations').content)
    // The length of the key follows from the cipher; PBMAC1 may ask for another (RFC 9579 section 5).
    const stated = reader.optional(0x02, 'the key length')
    const length =
      stated === undefined ? size : Number.parseInt(readIntegerHex(stated.content, 'the key length'), 16)
    if (!(length > 0 && length <= 64)) throw new Error('the key length is not from 1 to 64')
    const prf = reader.optional(0x30, 'the pseudo-random function')
    const { name } = prf === undefined ? SHA1 : known(HMACS, readAlgorithm(prf.content).id)
    return pbkdf2Sync(secret.utf8, salt, iterations, length, name)
  }

  /** A file chooses the work that is done for it: so all of it comes out of one budget. */
  #spend(count: Buffer): number {
    const iterations = Number.parseInt(readIntegerHex(count, 'the iterations'), 16)
    if (iterations < 1) throw new Error('the iterations are 0')
    this.#iterations -= iterations
    if (this.#iterations >= 0) return iterations
    throw new RefusedEncryption(
      `it wants more than ${MOST_ITERATIONS} iterations of key derivation: ` +
        'write it anew with openssl pkcs12 -export -iter 100000',
    )
  }
}

/** The file may be right, and is not opened: the message says why and what to do. */
export class RefusedEncryption extends Error {
  override readonly name = 'RefusedEncryption'
}

/** RFC 7292 B.2. `purpose` is 1 for a key, 2 for an initialization vector, 3 for a MAC key. */
function pkcs12Key(
  purpose: 1 | 2 | 3,
  { name, size, block }: Hash,
  password: Buffer,
  salt: Buffer,
  iterations: number,
  length: number,
): Buffer {
  const diversifier = Buffer.alloc(block, purpose)
  const input = Buffer.concat([filled(salt, block), filled(password, block)])
  const output: Buffer[] = []
  for (let have = 0; have < length; have += size) {
    let digest = hash(name, Buffer.concat([diversifier, input]), 'buffer')
    for (let round = 1; round < iterations; round++) digest = hash(name, digest, 'buffer')
    output.push(digest)
    const addend = Buffer.alloc(block)
    for (let i = 0; i < block; i++) addend[i] = digest[i % size] ?? 0
    for (let at = 0; at < input.length; at += block) addOneMore(input.subarray(at, at + block), addend)
  }
  return Buffer.concat(output).subarray(0, length)
}

/** Repeated to whole blocks; of nothing there are none. */
const filled = (bytes: Buffer, block: number): Buffer =>
  bytes.length === 0 ? bytes : Buffer.alloc(Math.ceil(bytes.length / block) * block, bytes)

/** number = (number + addend + 1) mod 2^(8 × length), big-endian. */
function addOneMore(number: Buffer, addend: Buffer): void {
  let carry = 1
  for (let i = number.length - 1; i >= 0; i--) {
    carry += (number[i] ?? 0) + (addend[i] ?? 0)
    number[i] = carry & 0xff
    carry >>= 8
  }
}

const bigEndian = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16()

function readAlgorithm(content: Buffer): { id: string; parameters: DerReader } {
  const reader = new DerReader(content)
  return { id: readOid(reader.take(0x06, 'the algorithm').content), parameters: reader }
}

function known<T>(table: ReadonlyMap<string, T>, id: string): T {
  const found = table.get(id)
  if (found === undefined) throw unknown(id)
  return found
}

const unknown = (id: string): RefusedEncryption =>
  new RefusedEncryption(`it is encrypted with an algorithm not in use here (${id}): ${REWRITE}`)
