import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'
import { bits, boolean, explicit, implicit, integer, octets, oid, sequence, set, time, utf8 } from './der.ts'

const DAY_MS = 86_400_000
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'))
const SERVER_AUTH = oid('1.3.6.1.5.5.7.3.1')
const CLIENT_AUTH = oid('1.3.6.1.5.5.7.3.2')

/** What a certificate is to say. Strings are written as they are, control characters included. */
export interface Wanted {
  cn?: string | readonly string[]
  ou?: string | readonly string[]
  /** A whole Name in DER, in place of `cn` and `ou`. */
  subject?: Uint8Array
  dns?: readonly string[]
  uri?: readonly string[]
  ip?: readonly string[]
  email?: readonly string[]
  /** More GeneralName elements in DER, after the others. */
  san?: readonly Uint8Array[]
  /** For authenticating a client instead of a server. */
  client?: boolean
  /** 30 unless given; may be a fraction. */
  days?: number
  /** An hour ago unless given. */
  notBefore?: Date
}

export interface Issued {
  /** PEM, the leaf first, then the intermediate authorities; the root is left out. */
  cert: string
  /** PKCS#8 PEM. */
  key: string
  /** The leaf alone. */
  der: Buffer
  /** Upper-case hexadecimal, as `X509Certificate.serialNumber` writes it and `crl` takes it. */
  serial: string
}

/** A certificate authority for tests: P-256 keys, everything in memory. */
export interface TestCa {
  /** PEM of the authority's own certificate, what a verifier trusts. */
  readonly cert: string
  readonly key: string
  readonly serial: string
  issue(wanted?: Wanted): Issued
  /** PEM. Valid from an hour ago for a week unless said; a `nextUpdate` of null leaves the field out. */
  crl(serials: readonly string[], dates?: { thisUpdate?: Date; nextUpdate?: Date | null }): string
  /** An authority whose certificate is signed by this one. */
  intermediate(name: string): TestCa
}

interface Signer {
  name: Buffer
  key: KeyObject
  keyIdentifier: Buffer
  /** PEM of the intermediate authorities up to and without the root. */
  chain: string
}

export function createCa(name: string): TestCa {
  return authority(name)
}

function authority(name: string, parent?: Signer): TestCa {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const keyIdentifier = identifierOf(publicKey)
  const self = { name: nameOf({ cn: name }), key: privateKey, keyIdentifier, chain: '' }
  const body = { subject: self.name, publicKey, start: new Date(Date.now() - DAY_MS), days: 3650 }
  const { der, serial } = certificate(parent ?? self, body, [
    extension('2.5.29.19', boolean(true), octets(sequence(boolean(true)))),
    // keyCertSign and cRLSign.
    extension('2.5.29.15', boolean(true), octets(bits(Buffer.from([0x06]), 1))),
  ])
  const cert = pem('CERTIFICATE', der)
  const signer = { ...self, chain: parent === undefined ? '' : cert + parent.chain }
  return {
    cert,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    serial,
    issue: (wanted = {}) => issue(signer, wanted),
    crl: (serials, dates = {}) => revocationList(signer, serials, dates),
    intermediate: (name) => authority(name, signer),
  }
}

function issue(signer: Signer, wanted: Wanted): Issued {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const start = wanted.notBefore ?? new Date(Date.now() - DAY_MS / 24)
  const subject = wanted.subject === undefined ? nameOf(wanted) : Buffer.from(wanted.subject)
  const alternatives = alternativesOf(wanted)
  const { der, serial } = certificate(signer, { subject, publicKey, start, days: wanted.days ?? 30 }, [
    extension('2.5.29.19', boolean(true), octets(sequence())),
    extension('2.5.29.15', boolean(true), octets(bits(Buffer.from([0x80]), 7))),
    extension('2.5.29.37', octets(sequence(wanted.client === true ? CLIENT_AUTH : SERVER_AUTH))),
    ...(alternatives.length > 0 ? [extension('2.5.29.17', octets(sequence(...alternatives)))] : []),
  ])
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { cert: pem('CERTIFICATE', der) + signer.chain, key, der, serial }
}

function certificate(
  signer: Signer,
  body: { subject: Buffer; publicKey: KeyObject; start: Date; days: number },
  extensions: readonly Buffer[],
): { der: Buffer; serial: string } {
  // 127 bits, positive and without a leading zero byte.
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  const toSign = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serial),
    ECDSA_WITH_SHA256,
    signer.name,
    sequence(time(body.start), time(new Date(body.start.getTime() + body.days * DAY_MS))),
    body.subject,
    body.publicKey.export({ type: 'spki', format: 'der' }),
    explicit(
      3,
      sequence(
        ...extensions,
        extension('2.5.29.14', octets(octets(identifierOf(body.publicKey)))),
        extension('2.5.29.35', octets(sequence(implicit(0, signer.keyIdentifier)))),
      ),
    ),
  )
  return { der: signed(signer, toSign), serial: serial.toString('hex').toUpperCase() }
}

function revocationList(
  signer: Signer,
  serials: readonly string[],
  { thisUpdate, nextUpdate }: { thisUpdate?: Date; nextUpdate?: Date | null },
): string {
  const from = thisUpdate ?? new Date(Date.now() - DAY_MS / 24)
  const until = nextUpdate === undefined ? [new Date(Date.now() + 7 * DAY_MS)] : [nextUpdate ?? []].flat()
  const entries = serials.map((serial) => sequence(integer(Buffer.from(serial, 'hex')), time(from)))
  const toSign = sequence(
    integer(Buffer.from([1])),
    ECDSA_WITH_SHA256,
    signer.name,
    time(from),
    ...until.map(time),
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    explicit(
      0,
      sequence(
        extension('2.5.29.35', octets(sequence(implicit(0, signer.keyIdentifier)))),
        extension('2.5.29.20', octets(integer(Buffer.from([1])))),
      ),
    ),
  )
  return pem('X509 CRL', signed(signer, toSign))
}

const signed = (signer: Signer, body: Buffer): Buffer =>
  sequence(body, ECDSA_WITH_SHA256, bits(sign('sha256', body, signer.key)))

const extension = (id: string, ...rest: readonly Buffer[]): Buffer => sequence(oid(id), ...rest)

function nameOf({ cn = [], ou = [] }: Pick<Wanted, 'cn' | 'ou'>): Buffer {
  const attribute = (type: string) => (value: string) => set(sequence(oid(type), utf8(value)))
  return sequence(...[ou].flat().map(attribute('2.5.4.11')), ...[cn].flat().map(attribute('2.5.4.3')))
}

function alternativesOf({ dns = [], uri = [], ip = [], email = [], san = [] }: Wanted): Uint8Array[] {
  const text = (tag: number) => (value: string) => implicit(tag, Buffer.from(value, 'latin1'))
  const addresses = ip.map((address) => implicit(7, addressBytes(address)))
  return [...dns.map(text(2)), ...uri.map(text(6)), ...addresses, ...email.map(text(1)), ...san]
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [left = [], right = []] = canonical.split('::').map((half) => half.split(':').filter(Boolean))
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

// The uncompressed point ends the key: 0x04, x, y.
const identifierOf = (key: KeyObject): Buffer =>
  createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }).subarray(-65))
    .digest()

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
