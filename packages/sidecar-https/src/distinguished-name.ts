import { isAscii, isUtf8 } from 'node:buffer'
import { DerReader, type Element, readOid } from './der-read.ts'

export interface Attribute {
  /** Dotted, such as `2.5.4.3`. */
  type: string
  /** Undefined when the value is no text, or none in the encoding that it claims. */
  text: string | undefined
  /** The value in DER. */
  der: Buffer
}

/** A Name of RFC 5280 4.1.2.4: the relative distinguished names in the order of the certificate. */
export type DistinguishedName = Attribute[][]

/** Those of RFC 4514 section 3, and two that openssl writes by name as well. */
const SHORT_NAMES = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.9', 'street'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['0.9.2342.19200300.100.1.1', 'UID'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['1.2.840.113549.1.9.1', 'emailAddress'],
])

/** From the SEQUENCE. Throws as DerReader does. */
export function readName({ content }: Element, name: string): DistinguishedName {
  const names: DistinguishedName = []
  const sets = new DerReader(content)
  while (!sets.done) {
    const set = new DerReader(sets.take(0x31, `a part of ${name}`).content)
    const attributes: Attribute[] = []
    while (!set.done) attributes.push(readAttribute(set.take(0x30, `an attribute of ${name}`), name))
    if (attributes.length === 0) throw new Error(`a part of ${name} is empty`)
    names.push(attributes)
  }
  return names
}

function readAttribute({ content }: Element, name: string): Attribute {
  const fields = new DerReader(content)
  const type = readOid(fields.take(0x06, `an attribute type of ${name}`).content)
  const value = fields.next(`an attribute value of ${name}`)
  fields.end(`an attribute of ${name}`)
  return { type, text: textOf(value), der: value.der }
}

/**
 * One line of printable ASCII, such as `CN=client,OU=payments,O=Example`: RFC 4514, the last part first as openssl's
 * `-nameopt RFC2253` writes it. Quotes, backslashes, control characters and all that is not ASCII are `\` and the two
 * digits of each UTF-8 byte, so no quote is in the line and no backslash at its end.
 */
export function nameText(name: DistinguishedName): string {
  return name
    .toReversed()
    .map((attributes) => attributes.toReversed().map(attributeText).join('+'))
    .join(',')
}

function attributeText({ type, text, der }: Attribute): string {
  const short = SHORT_NAMES.get(type)
  // What has no short name is written as the bytes it is, for RFC 4514 2.4 leaves its syntax unknown.
  if (short === undefined || text === undefined)
    return `${short ?? type}=#${der.toString('hex').toUpperCase()}`
  return `${short}=${text.replace(/^[ #]| $|[+,;<>]|["\\]|[^ -~]/gu, escaped)}`
}

const escaped = (character: string): string =>
  /^[ -~]$/.test(character) && !/["\\]/.test(character)
    ? `\\${character}`
    : Buffer.from(character).toString('hex').toUpperCase().replace(/../g, '\\$&')

/** Exactly the characters of the value, a leading byte order mark among them. */
function textOf({ tag, content }: Element): string | undefined {
  switch (tag) {
    case 0x0c: // UTF8String
      return isUtf8(content) ? content.toString('utf8') : undefined
    case 0x12: // NumericString
    case 0x13: // PrintableString
    case 0x16: // IA5String
    case 0x1a: // VisibleString
      return isAscii(content) ? content.toString('latin1') : undefined
    case 0x14: // TeletexString, which all who still write it mean as Latin-1
      return content.toString('latin1')
    case 0x1c: // UniversalString
      return wide(content, 4)
    case 0x1e: // BMPString
      return wide(content, 2)
    default:
      return undefined
  }
}

function wide(content: Buffer, size: 2 | 4): string | undefined {
  if (content.length % size !== 0) return undefined
  let text = ''
  for (let at = 0; at < content.length; at += size) {
    const code = content.readUIntBE(at, size)
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return undefined
    text += String.fromCodePoint(code)
  }
  return text
}
