import { BlockList, isIPv6 } from 'node:net'
import { addressBytes, addressText } from './address.ts'

const RULE = /^([0-9a-fA-F:.]+)(?:\/(0|[1-9][0-9]{0,2}))?$/
const MAPPED_PREFIX = 96

/**
 * Tells whether an address is one of these: each entry is an IPv4 or IPv6 address or a network such as
 * `10.0.0.0/8`, of which bits behind the prefix do not count. IPv4 entries match IPv4-mapped IPv6 addresses
 * too, IPv6 entries no IPv4 address. An undefined address, as a Unix socket has, matches nothing. Throws on
 * an entry that is neither.
 */
export function addressMatcher(cidrs: readonly string[]): (address: string | undefined) => boolean {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const entry of cidrs) {
    const { bytes, prefix } = network(entry)
    const family = familyOf(bytes)
    lists[family].addSubnet(addressText(bytes), prefix, family)
  }
  return (address) => {
    const bytes = address === undefined ? undefined : addressBytes(address)
    if (bytes === undefined) return false
    const family = familyOf(bytes)
    return lists[family].check(addressText(bytes), family)
  }
}

function familyOf(bytes: Uint8Array): 'ipv4' | 'ipv6' {
  return bytes.length === 4 ? 'ipv4' : 'ipv6'
}

function network(entry: string): { bytes: Buffer; prefix: number } {
  const [, address = '', length] = RULE.exec(entry) ?? []
  const bytes = addressBytes(address)
  if (bytes === undefined) {
    throw new Error(
      `"${entry}" is no IP address or network: write it as 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32`,
    )
  }
  const mapped = bytes.length === 4 && isIPv6(address)
  const least = mapped ? MAPPED_PREFIX : 0
  const most = mapped ? 128 : bytes.length * 8
  const prefix = length === undefined ? most : Number(length)
  if (prefix < least || prefix > most) {
    throw new Error(`"${entry}" has the prefix length ${prefix}: give one from ${least} to ${most}`)
  }
  return { bytes, prefix: prefix - least }
}
