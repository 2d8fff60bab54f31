import { createHash } from 'node:crypto'
import { DerReader, type Element, readIntegerHex, readOid, readOne, readTime } from './der-read.ts'
import { type DistinguishedName, nameText, readName } from './distinguished-name.ts'
import { addressOfBytes } from './ip-name.ts'

/** What a certificate says of its holder. Whether to believe it is for the verification of the chain to say. */
export interface Identity {
  /** As `nameText` writes it: one line of printable ASCII without quotes, `CN=client,OU=payments`. */
  subject: string
  /** All of them, in the order of the certificate; free of control characters, as are the organizational units. */
  commonNames: string[]
  organizationalUnits: string[]
  /** Of the subject alternative name, as written there; printable ASCII, as are `uris` and `emails`. */
  dns: string[]
  uris: string[]
  /** Canonical: `10.0.0.1`, `2001:db8::1`. */
  ips: string[]
  emails: string[]
  /** Lower-case hexadecimal of the SHA-256 of the certificate's DER. */
  fingerprint256: string
  /** Base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 2.4). */
  spkiPins: string
  notAfter: Date
  /** Upper-case hexadecimal, as openssl and `X509Certificate.serialNumber` write it. */
  serial: string
}

/**
 * In bytes of DER. A session ticket holds the certificate, and OpenSSL ends the connection when the whole session has
 * more than 65 280 (construct_stateless_ticket); what else is in one, such as the name asked for, needs the difference.
 */
export const LARGEST_CERTIFICATE = 62 * 1024

const COMMON_NAME = '2.5.4.3'
const ORGANIZATIONAL_UNIT = '2.5.4.11'
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17'

/**
 * Reads the identity out of a certificate in DER (RFC 5280), such as `socket.getPeerX509Certificate()?.raw`. It reads
 * the DER itself, for Node's string form of the alternative names has been ambiguous (CVE-2021-44532, CVE-2021-44533).
 * Throws an Error when the certificate is malformed, and also when a name that rules are compared with holds a control
 * character or, in an alternative name, anything but printable ASCII: such a name is made to be mistaken for another;
 * and of more than `LARGEST_CERTIFICATE`.
 */
export function readIdentity(der: Buffer): Identity {
  if (der.length > LARGEST_CERTIFICATE) throw tooLarge(der.length)
  try {
    return identityOf(der)
  } catch (error) {
    throw new Error(`the certificate is malformed: ${error instanceof Error ? error.message : 'unreadable'}`)
  }
}

export const tooLarge = (bytes: number): Error =>
  new Error(`the certificate has ${bytes} bytes: at most ${LARGEST_CERTIFICATE} are read`)

function identityOf(der: Buffer): Identity {
  const certificate = new DerReader(readOne(der, 0x30, 'the certificate').content)
  const body = new DerReader(certificate.take(0x30, 'its body').content)
  certificate.take(0x30, 'the signature algorithm')
  certificate.take(0x03, 'the signature')
  certificate.end('the signature')
  body.optional(0xa0, 'the version')
  const serial = readIntegerHex(body.take(0x02, 'the serial number').content, 'the serial number')
  body.take(0x30, 'the algorithm of the signature')
  body.take(0x30, 'the issuer')
  const validity = new DerReader(body.take(0x30, 'the validity').content)
  readTime(validity.next('notBefore'), 'notBefore')
  const notAfter = readTime(validity.next('notAfter'), 'notAfter')
  validity.end('the validity')
  const subject = readName(body.take(0x30, 'the subject'), 'the subject')
  const publicKey = body.take(0x30, 'the public key')
  body.optional(0x81, 'the unique identifier of the issuer')
  body.optional(0x82, 'the unique identifier of the subject')
  const alternatives = alternativesOf(body.optional(0xa3, 'the extensions'))
  body.end('the extensions')
  return {
    subject: nameText(subject),
    commonNames: textsOf(subject, COMMON_NAME, 'a common name'),
    organizationalUnits: textsOf(subject, ORGANIZATIONAL_UNIT, 'an organizational unit'),
    ...alternatives,
    fingerprint256: createHash('sha256').update(der).digest('hex'),
    spkiPins: createHash('sha256').update(publicKey.der).digest('base64'),
    notAfter,
    serial,
  }
}

function textsOf(subject: DistinguishedName, type: string, name: string): string[] {
  return subject
    .flat()
    .filter((attribute) => attribute.type === type)
    .map(({ text }) => {
      if (text === undefined) throw new Error(`${name} is no text`)
      if (/\p{Cc}/u.test(text)) throw new Error(`${name} holds a control character`)
      return text
    })
}

type Alternatives = Pick<Identity, 'dns' | 'uris' | 'ips' | 'emails'>

function alternativesOf(extensions: Element | undefined): Alternatives {
  const found: Alternatives = { dns: [], uris: [], ips: [], emails: [] }
  if (extensions === undefined) return found
  const list = new DerReader(readOne(extensions.content, 0x30, 'the list of extensions').content)
  let value: Buffer | undefined
  while (!list.done) {
    const extension = new DerReader(list.take(0x30, 'an extension').content)
    const type = readOid(extension.take(0x06, 'the type of an extension').content)
    extension.optional(0x01, 'whether an extension is critical')
    const { content } = extension.take(0x04, 'the value of an extension')
    extension.end('the value of an extension')
    if (type !== SUBJECT_ALTERNATIVE_NAME) continue
    // RFC 5280 4.2 forbids it, and of two readers each could believe another one.
    if (value !== undefined) throw new Error('the subject alternative name is there twice')
    value = content
  }
  if (value !== undefined) readAlternatives(value, found)
  return found
}

// From otherName to registeredID.
const GENERAL_NAMES = new Set([0xa0, 0x81, 0x82, 0xa3, 0xa4, 0xa5, 0x86, 0x87, 0x88])

/** GeneralNames of RFC 5280 4.2.1.6. The kinds that no rule asks for are passed over. */
function readAlternatives(value: Buffer, found: Alternatives): void {
  const names = new DerReader(readOne(value, 0x30, 'the subject alternative name').content)
  while (!names.done) {
    const { tag, content } = names.next('an alternative name')
    if (tag === 0x81) found.emails.push(ascii(content, 'an e-mail address'))
    if (tag === 0x82) found.dns.push(ascii(content, 'a DNS name'))
    if (tag === 0x86) found.uris.push(ascii(content, 'a URI'))
    if (tag === 0x87) found.ips.push(address(content))
    if (!GENERAL_NAMES.has(tag)) throw new Error('an alternative name is of no known kind')
  }
}

function ascii(content: Buffer, name: string): string {
  const text = content.toString('latin1')
  if (!/^[ -~]*$/.test(text)) throw new Error(`${name} holds a control character or is not ASCII`)
  return text
}

function address(content: Buffer): string {
  const text = addressOfBytes(content)
  if (text === undefined) throw new Error(`an IP address has ${content.length} bytes`)
  return text
}
