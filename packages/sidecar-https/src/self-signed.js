import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { isIP, isIPv4 } from 'node:net'
import { bits, boolean, explicit, implicit, integer, octets, oid, sequence, set, time, utf8 } from './der.js'

const HOUR_MS = 3_600_000
const LABEL = '[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?'
const DNS_NAME = new RegExp(`^(\\*\\.)?${LABEL}(\\.${LABEL})*$`, 'i')
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'))
/**
 * Makes a P-256 key and a certificate signed by itself, for development: no client trusts it unless told to.
 * It is for `localhost` and for `names` (DNS names, `*.` allowed, and IP addresses), and valid from an hour ago for
 * `days` (365). Throws when a name is neither, or `days` is no positive number.
 */
export function selfSigned(options) {
  const days = options.days ?? 365
  if (!(days > 0 && days <= 36_500)) throw new Error(`days is ${days}: give a number from 1 to 36500`)
  const names = [...new Set(['localhost', ...options.names])]
  const subject = subjectOf(options.names[0] ?? 'localhost')
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const start = Date.now() - HOUR_MS
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serialNumber()),
    ECDSA_WITH_SHA256,
    subject,
    sequence(time(new Date(start)), time(new Date(start + days * 24 * HOUR_MS))),
    subject,
    spki,
    explicit(3, sequence(...extensions(names, spki))),
  )
  const certificate = sequence(body, ECDSA_WITH_SHA256, bits(sign('sha256', body, privateKey)))
  return { cert: pem(certificate), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}
// 127 bits, positive and without a leading zero byte.
function serialNumber() {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes
}
function subjectOf(name) {
  // 64 characters is the upper bound of a common name; the alternative names are what clients compare.
  const common = name.length <= 64 ? name : 'localhost'
  const attribute = (type, value) => set(sequence(oid(type), utf8(value)))
  return sequence(attribute('2.5.4.10', 'Self-signed by Outrider'), attribute('2.5.4.3', common))
}
function extensions(names, spki) {
  const critical = boolean(true)
  const extension = (id, ...rest) => sequence(oid(id), ...rest)
  // The uncompressed point ends the key: 0x04, x, y.
  const keyIdentifier = createHash('sha1').update(spki.subarray(-65)).digest()
  return [
    // Not a certificate authority: who trusts it, trusts it for these names only.
    extension('2.5.29.19', critical, octets(sequence())),
    extension('2.5.29.15', critical, octets(bits(Buffer.from([0x80]), 7))),
    extension('2.5.29.37', octets(sequence(oid('1.3.6.1.5.5.7.3.1')))),
    extension('2.5.29.14', octets(octets(keyIdentifier))),
    extension('2.5.29.17', octets(sequence(...names.map(generalName)))),
  ]
}
function generalName(name) {
  if (isIP(name) !== 0) return implicit(7, addressBytes(name))
  if (!DNS_NAME.test(name)) throw new Error(`"${name}" is neither a DNS name nor an IP address`)
  return implicit(2, Buffer.from(name))
}
function addressBytes(address) {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  // The URL parser writes an embedded IPv4 address as two groups and leaves one `::` at most.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [left = [], right = []] = canonical.split('::').map((half) => half.split(':').filter(Boolean))
  const zeros = Array(8 - left.length - right.length).fill('0')
  const bytes = Buffer.alloc(16)
  for (const [index, group] of [...left, ...zeros, ...right].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2)
  }
  return bytes
}
function pem(certificate) {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
