import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressMatcher } from './cidr.ts'

describe('an address is matched', () => {
  test.each([
    ['by itself', '10.1.2.3', '10.1.2.3', '10.1.2.4'],
    ['by its network', '10.0.0.0/8', '10.255.255.255', '11.0.0.0'],
    ['by a network that ends within a byte', '172.16.0.0/12', '172.31.255.255', '172.32.0.0'],
    ['by a network written with bits behind its prefix', '192.168.7.9/16', '192.168.255.1', '192.169.7.9'],
    ['by a network of all addresses of IPv4', '0.0.0.0/0', '203.0.113.9', '2001:db8::1'],
    ['by itself in IPv6, however it is written', '2001:DB8:0:0::1', '2001:db8::0:1', '2001:db8::2'],
    ['by its network in IPv6', '2001:db8::/33', '2001:db8:7fff::1', '2001:db8:8000::1'],
    ['by a network of all addresses of IPv6', '::/0', '2001:db8::1', '203.0.113.9'],
    ['without its zone', 'fe80::/10', 'fe80::1%eth0', 'fec0::1%eth0'],
    ['in its IPv4-mapped form by an IPv4 rule', '10.0.0.0/8', '::ffff:10.1.2.3', '::ffff:11.1.2.3'],
    ['in its IPv4-mapped form in hexadecimal too', '10.0.0.0/8', '::ffff:a01:203', '::a01:203'],
    ['by a rule in IPv4-mapped form', '::ffff:10.0.0.0/104', '10.1.2.3', '11.1.2.3'],
    ['in its IPv4-mapped form by no rule of IPv6 alone', '2001::/0', '2001:db8::1', '::ffff:10.1.2.3'],
  ])('%s', (_, rule, inside, outside) => {
    const matches = addressMatcher([rule])
    expect([matches(inside), matches(outside)]).toEqual([true, false])
  })

  test('by any of several rules', () => {
    const matches = addressMatcher(['10.0.0.0/8', '::1'])
    expect(['10.1.1.1', '::1', '::2'].map(matches)).toEqual([true, true, false])
  })

  test.each([undefined, '', 'localhost', '10.0.0', '10.0.0.1/8', '/run/app.sock'])(
    'never when it is %o',
    (none) => {
      expect(addressMatcher(['0.0.0.0/0', '::/0'])(none)).toBe(false)
    },
  )

  test('by no rule when there is none', () => {
    expect(addressMatcher([])('127.0.0.1')).toBe(false)
  })

  test('by a prefix exactly when that many first bits are the same', () => {
    const bytes = fc.uint8Array({ minLength: 4, maxLength: 4 })
    fc.assert(
      fc.property(bytes, bytes, fc.nat(32), (network, peer, prefix) => {
        const bits = (address: Uint8Array) =>
          [...address].map((byte) => byte.toString(2).padStart(8, '0')).join('')
        const same = bits(network).slice(0, prefix) === bits(peer).slice(0, prefix)
        const matches = addressMatcher([`${network.join('.')}/${prefix}`])
        expect([matches(peer.join('.')), matches(`::ffff:${peer.join('.')}`)]).toEqual([same, same])
      }),
    )
  })
})

describe('a rule is refused by name when it is', () => {
  test.each([
    ['', 'no IP address'],
    ['localhost', 'no IP address'],
    ['10.0.0', 'no IP address'],
    ['10.0.0.01', 'no IP address'],
    ['10.0.0.0/', 'no IP address'],
    ['10.0.0.0/08', 'no IP address'],
    ['10.0.0.0/-1', 'no IP address'],
    ['10.0.0.0/255.0.0.0', 'no IP address'],
    [' 10.0.0.1', 'no IP address'],
    ['fe80::1%eth0', 'no IP address'],
    ['[::1]', 'no IP address'],
    ['10.0.0.0/33', 'give one from 0 to 32'],
    ['2001:db8::/129', 'give one from 0 to 128'],
    ['::ffff:10.0.0.0/8', 'give one from 96 to 128'],
  ])('"%s"', (rule, why) => {
    const refused = () => addressMatcher(['127.0.0.1', rule])
    expect(refused).toThrow(`"${rule}"`)
    expect(refused).toThrow(why)
  })

  test('anything, with an error of ours and no other', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[0-9a-f:./%]{0,20}$/)),
        (rule) => {
          try {
            expect(addressMatcher([rule])('::2')).toBeTypeOf('boolean')
          } catch (error) {
            expect(String(error)).toContain(`"${rule}"`)
          }
        },
      ),
    )
  })
})
