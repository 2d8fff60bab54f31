import { isIP, isIPv4 } from 'node:net'

/**
 * The one spelling of an IP address in a certificate: `10.0.0.1`, `2001:db8::1`. Undefined when the text is no address
 * or names a zone. An IPv4-mapped IPv6 address stays one: a certificate that names it does not name the IPv4 address.
 */
export function canonicalAddress(text: string): string | undefined {
  if (isIP(text) === 0 || text.includes('%')) return undefined
  return isIPv4(text) ? text : new URL(`http://[${text}]`).hostname.slice(1, -1)
}

/** From the 4 or 16 bytes of an address; undefined for any other number of bytes. */
export function addressOfBytes(bytes: Buffer): string | undefined {
  if (bytes.length === 4) return bytes.join('.')
  const groups = bytes.toString('hex').match(/.{4}/g) ?? []
  return bytes.length === 16 ? canonicalAddress(groups.join(':')) : undefined
}
