import { startContainer } from '@outrider/core/testing'
import { expect, test } from 'vitest'
import container from './container.ts'

/** What is said against these parameters, given by the end of their variable; nothing when it starts. */
async function problems(params: Readonly<Record<string, string>>): Promise<string[]> {
  const env = Object.fromEntries(
    Object.entries(params).map(([name, value]) => [`SIDECAR_HTTPS_${name}`, value]),
  )
  try {
    const started = await startContainer(container, env)
    await started[Symbol.asyncDispose]()
    return []
  } catch (error) {
    return String((error as Error).message).split('\n')
  }
}

const required = { CLIENT_AUTH: 'required', CLIENT_CA: '/ca.crt' }

test.each<[string, Record<string, string>, RegExp]>([
  [
    'one file for certificate and key',
    { CERT: '/a.pem', KEY: '/a.pem' },
    /CERT.* and .*KEY.* name the same file: \/a\.pem/,
  ],
  [
    'no time for a response',
    { RESPONSE_TIMEOUT: '0s' },
    /RESPONSE_TIMEOUT.* must be more than 0: every request/,
  ],
  ['no time to connect', { CONNECT_TIMEOUT: '0s' }, /CONNECT_TIMEOUT.* must be more than 0: every request/],
  ['no time for a handshake', { HANDSHAKE_TIMEOUT: '0s' }, /HANDSHAKE_TIMEOUT.* must be more than 0/],
  ['no time for a head', { HEAD_TIMEOUT: '0s' }, /HEAD_TIMEOUT.* must be more than 0/],
  ['no time between requests', { IDLE_TIMEOUT: '0s' }, /IDLE_TIMEOUT.* must be more than 0/],
  ['no time for a body', { STALL_TIMEOUT: '0s' }, /STALL_TIMEOUT.* must be more than 0/],
  ['no time of silence', { TCP_IDLE_TIMEOUT: '0s' }, /TCP_IDLE_TIMEOUT.* must be more than 0/],
  ['no time between keys', { TICKET_ROTATION: '0s' }, /TICKET_ROTATION.* must be more than 0/],
  [
    'a tcp target for http',
    { TARGET: 'tcp://127.0.0.1:1' },
    /TARGET.* has the scheme tcp, for which .*MODE.* must be tcp/,
  ],
  [
    'a target on another machine',
    { TARGET: 'http://10.0.0.1:1' },
    /TARGET.* is 10\.0\.0\.1, outside of this pod.*UNSAFE_TARGET/,
  ],
  [
    'a tcp target on another machine',
    { MODE: 'tcp', TARGET: 'tcp://db.test:5432' },
    /TARGET.* is db\.test, outside of this pod/,
  ],
  ['a target that looks like this pod', { TARGET: 'http://127.evil.test:1' }, /outside of this pod/],
  ['a target on every address', { TARGET: 'http://0.0.0.0:1' }, /outside of this pod/],
  [
    'an authority for a plain target',
    { TARGET_CA: '/ca.crt' },
    /TARGET_CA.* is for a target of https, and .*TARGET.* is http:/,
  ],
  ['a name for a plain target', { TARGET_NAME: 'a' }, /TARGET_NAME.* is for a target of https/],
  [
    'half a pair for a target',
    { TARGET: 'https://a.test', TARGET_CERT: '/a.crt' },
    /TARGET_CERT.* and .*TARGET_KEY.* go together/,
  ],
  [
    'authorities that nobody asks',
    { CLIENT_CA: '/ca.crt' },
    /CLIENT_CA.* has no effect while .*CLIENT_AUTH.* is off/,
  ],
  [
    'rules that nobody asks',
    { ALLOW_CN: 'admin' },
    /rules that let clients in have no effect while .*CLIENT_AUTH.* is off/,
  ],
  ['no rule', required, /CLIENT_AUTH.* needs a rule that says who is let in: set .*ALLOW_ALL/],
  [
    'rules beside the one for all',
    { ...required, ALLOW_ALL: 'true', ALLOW_CN: 'a' },
    /all makes the rules for cn meaningless/,
  ],
  [
    'a rule that can match nothing',
    { ...required, ALLOW_IP: '10.0.0.0/8' },
    /ip.*10\.0\.0\.0\/8.* is no IP address/,
  ],
  [
    'rules without authorities',
    { CLIENT_AUTH: 'required', ALLOW_CN: 'a' },
    /CLIENT_CA.* must be set: without authorities only .*ALLOW_SPKI/,
  ],
  [
    'revocation without authorities',
    { CLIENT_AUTH: 'required', ALLOW_SPKI: 'ab'.repeat(32), CLIENT_CRL: '/crl' },
    /CLIENT_CRL.* needs .*CLIENT_CA.*, whose certificates it revokes/,
  ],
  [
    'shared keys of tickets for verified clients',
    { ...required, ALLOW_ALL: 'true', TICKET_KEYS: '/keys' },
    /TICKET_KEYS.* and .*CLIENT_AUTH.* exclude each other/,
  ],
  ['networks that are none', { TRUSTED_PROXIES: '10.0.0.0/33' }, /TRUSTED_PROXIES.*10\.0\.0\.0\/33/],
  [
    'addresses that are none',
    { PROXY_PROTOCOL_FROM: 'localhost' },
    /PROXY_PROTOCOL_FROM.*"localhost" is no IP address/,
  ],
  [
    'a header that is none',
    { IDENTITY_HEADER: 'X: y' },
    /IDENTITY_HEADER.* is "X: y", and must be letters, digits and dashes, and no header that requests have anyway/,
  ],
  ['a line break for HSTS', { HSTS: 'max-age=1\r\nX: y' }, /HSTS.* must be printable ASCII/],
  ['a line break for Via', { VIA: 'a\nb' }, /VIA.* must be printable ASCII/],
  ['ciphers that do not exist', { CIPHERS: 'ROT13' }, /CIPHERS.* is "ROT13", of which OpenSSL knows nothing/],
  ['curves that do not exist', { CURVES: 'circle' }, /CURVES.* is "circle", of which OpenSSL knows nothing/],
])('%s is refused with the remedy', async (_, params, message) => {
  expect(await problems(params)).toEqual([expect.stringMatching(message)])
})

test.each([
  'http://127.0.0.1:1',
  'http://127.8.9.10:1',
  'http://[::1]:1',
  'http://localhost:1',
  'http://app.localhost:1',
  'https://app.test',
  'unix:/run/app.sock',
])('the target %s is inside of this pod, or secured', async (TARGET) => {
  expect(await problems({ TARGET })).toEqual([])
})

test.each([
  'http://a/b',
  'http://a?q',
  'http://u:p@127.0.0.1',
  'ftp://127.0.0.1',
  '127.0.0.1:8080',
  'unix:app.sock',
])('the target %s is no origin', async (TARGET) => {
  expect(await problems({ TARGET })).toEqual([expect.stringMatching(/TARGET.* must be an origin/)])
})

test('all that is wrong is said at once', async () => {
  const said = await problems({
    CERT: '/a.pem',
    KEY: '/a.pem',
    RESPONSE_TIMEOUT: '0s',
    TARGET: 'http://10.0.0.1:1',
    TARGET_NAME: 'app.test',
    CLIENT_CA: '/ca.crt',
    ALLOW_CN: 'admin',
    TRUSTED_PROXIES: 'nowhere',
    IDENTITY_HEADER: 'Ä',
  })
  expect(said).toHaveLength(8)
})
