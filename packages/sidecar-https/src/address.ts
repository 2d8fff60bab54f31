import { isIP, isIPv4, SocketAddress } from 'node:net'

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')

/**
 * The 4 or 16 bytes of an IP address in network order; undefined when the text is none. An IPv4-mapped IPv6
 * address is the IPv4 address that it stands for, and the zone of a link-local one is left out.
 */
export function addressBytes(address: string): Buffer | undefined {
  if (isIP(address) === 0) return undefined
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  const bytes = ipv6Bytes(address.replace(/%.*$/, ''))
  return bytes.subarray(0, 12).equals(MAPPED) ? bytes.subarray(12) : bytes
}

/** The address as the system writes it, from its 4 or 16 bytes; an IPv4-mapped one as the IPv4 address. */
export function addressText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes)
  if (buffer.length === 4) return buffer.join('.')
  if (buffer.subarray(0, 12).equals(MAPPED)) return buffer.subarray(12).join('.')
  const groups = Array.from({ length: 8 }, (_, index) => buffer.readUInt16BE(index * 2).toString(16))
  return new SocketAddress({ family: 'ipv6', address: groups.join(':') }).address
}

/** Always 16 bytes: an IPv4 address in its IPv4-mapped form (RFC 4291 2.5.5.2). */
export function mappedBytes(bytes: Buffer): Buffer {
  return bytes.length === 4 ? Buffer.concat([MAPPED, bytes]) : bytes
}

function ipv6Bytes(address: string): Buffer {
  // The URL parser writes an embedded IPv4 address as two groups and leaves one `::` at most.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [left = [], right = []] = canonical.split('::').map((half) => half.split(':').filter(Boolean))
  const zeros = Array<string>(8 - left.length - right.length).fill('0')
  const bytes = Buffer.alloc(16)
  for (const [index, group] of [...left, ...zeros, ...right].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2)
  }
  return bytes
}
