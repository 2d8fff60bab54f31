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
  [
    'HSTS without its time',
    { HSTS: 'includeSubDomains' },
    /HSTS.* is "includeSubDomains", and must have .*max-age=31536000/,
  ],
  ['HSTS for no time', { HSTS: 'max-age=always' }, /HSTS.* such as max-age=31536000/],
  ['HSTS of another name', { HSTS: 'x-max-age=1' }, /HSTS.* such as max-age=31536000/],
  ['HSTS for bytes', { MODE: 'tcp', HSTS: 'max-age=1' }, /HSTS.* has no effect while .*MODE.* is tcp/],
  ['no HTTP/2 for bytes', { MODE: 'tcp', HTTP2: 'true' }, /HTTP2.* has no effect while .*MODE.* is tcp/],
  ['a name in Via for bytes', { MODE: 'tcp', VIA: 'a' }, /VIA.* has no effect while .*MODE.* is tcp/],
  [
    'identifiers for bytes',
    { MODE: 'tcp', REQUEST_ID: 'true' },
    /REQUEST_ID.* has no effect while .*MODE.* is tcp/,
  ],
  [
    'traces for bytes',
    { MODE: 'tcp', TRACEPARENT: 'create' },
    /TRACEPARENT.* has no effect while .*MODE.* is tcp/,
  ],
  [
    'believed headers for bytes',
    { MODE: 'tcp', TRUSTED_PROXIES: '10.0.0.1' },
    /TRUSTED_PROXIES.* has no effect while .*MODE.* is tcp/,
  ],
  [
    'a header for bytes',
    { MODE: 'tcp', IDENTITY_HEADER: 'X-Client' },
    /IDENTITY_HEADER.* has no effect while .*MODE.* is tcp/,
  ],
  [
    'a log of requests where there are none',
    { MODE: 'tcp', REDIRECT: '', ACCESS_LOG: 'true' },
    /ACCESS_LOG.* has no effect while .*MODE.* is tcp and there is no .*REDIRECT/,
  ],
  [
    'a size of bodies where there are none',
    { MODE: 'tcp', REDIRECT: '', MAX_BODY: '1MiB' },
    /MAX_BODY.* has no effect while .*MODE.* is tcp and there is no .*REDIRECT/,
  ],
  [
    'one address for clients and the redirect',
    { LISTEN: '0.0.0.0:7001', REDIRECT: '127.0.0.1:7001' },
    /LISTEN.* and .*REDIRECT.* are both port 7001: give each its own/,
  ],
  [
    'one address for clients and the admin API',
    { LISTEN: '[::]:7001', ADMIN: '10.0.0.1:7001' },
    /LISTEN.* and .*ADMIN.* are both port 7001/,
  ],
  [
    'one file for the redirect and the admin API',
    { REDIRECT: 'unix:/run/a', ADMIN: 'unix:/run/a' },
    /REDIRECT.* and .*ADMIN.* are both unix:\/run\/a/,
  ],
  ...(['LISTEN', 'REDIRECT', 'ADMIN'] as const).map((name): [string, Record<string, string>, RegExp] => [
    `a target that is its own ${name}`,
    { TARGET: 'http://127.0.0.1:7001', [name]: '0.0.0.0:7001' },
    new RegExp(`TARGET.* is http://127.0.0.1:7001/, where this sidecar itself listens as .*${name}`),
  ]),
  [
    'a target by name that is itself',
    { TARGET: 'http://localhost', LISTEN: '127.0.0.1:80' },
    /TARGET.* where this sidecar itself listens/,
  ],
  [
    'a target by its file that is itself',
    { TARGET: 'unix:/run/a.sock', LISTEN: 'unix:/run/a.sock' },
    /TARGET.* where this sidecar itself listens/,
  ],
  [
    'a target by the address of the machine that is itself',
    { TARGET: 'https://10.0.0.1:7001', LISTEN: '10.0.0.1:7001' },
    /TARGET.* where this sidecar itself listens/,
  ],
  ['a line break for HSTS', { HSTS: 'max-age=1;\r\nX: y' }, /HSTS.* must be printable ASCII/],
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

/** Of addresses it is only looked at what stands against them: a bad flag keeps all of them from being opened. */
async function against(params: Readonly<Record<string, string>>): Promise<string[]> {
  const said = await problems({ ...params, MIN_TLS: '1' })
  return said.filter((problem) => !problem.includes('MIN_TLS'))
}

test.each<Record<string, string>>([
  { TARGET: 'http://127.0.0.1:7001', LISTEN: '10.0.0.1:7001' },
  { TARGET: 'http://[::1]:7001', LISTEN: '0.0.0.0:7001' },
  { TARGET: 'https://app.test:7001', LISTEN: '0.0.0.0:7001' },
  { TARGET: 'https://10.0.0.2:7001', LISTEN: '[::]:7001' },
  { TARGET: 'unix:/run/a', LISTEN: 'unix:/run/b' },
  { LISTEN: '127.0.0.1:7001', REDIRECT: '127.0.0.2:7001' },
  { LISTEN: '127.0.0.1:0', REDIRECT: '127.0.0.1:0' },
])('the addresses %j are not the same', async (params) => {
  expect(await against(params)).toEqual([])
})

test.each(['max-age=1', 'max-age=1; includeSubDomains', 'includeSubDomains; Max-Age="1"'])(
  'HSTS may be %s',
  async (HSTS) => {
    expect(await problems({ HSTS })).toEqual([])
  },
)

test('with mode tcp what is for HTTP may be off, and what the redirect uses set beside it', async () => {
  const off = { MODE: 'tcp', TARGET: 'tcp://127.0.0.1:1', HTTP2: 'false', ACCESS_LOG: 'false' }
  expect(await problems(off)).toEqual([])
  expect(await problems({ ...off, REDIRECT: '127.0.0.1:0', ACCESS_LOG: 'true', MAX_HEAD: '8KiB' })).toEqual(
    [],
  )
})

test('a mistake in one parameter hides nothing that is wrong with the others', async () => {
  const said = await problems({
    RESPONSE_TIMEOUT: '60',
    MAX_HEAD: 'large',
    CONNECT_TIMEOUT: '0s',
    TRUSTED_PROXIES: '10.0.0.0/33',
    TARGET: 'http://10.0.0.1:1',
    CIPHERS: 'ROT13',
    CLIENT_AUTH: 'required',
  })
  expect(said).toEqual([
    expect.stringMatching(/RESPONSE_TIMEOUT.* is "60" but must be a time/),
    expect.stringMatching(/MAX_HEAD.* is "large" but must be/),
    expect.stringMatching(/CONNECT_TIMEOUT.* must be more than 0/),
    expect.stringMatching(/TARGET.* outside of this pod/),
    expect.stringMatching(/CLIENT_AUTH.* needs a rule/),
    expect.stringMatching(/TRUSTED_PROXIES.*10\.0\.0\.0\/33/),
    expect.stringMatching(/CIPHERS.* OpenSSL knows nothing/),
  ])
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

/** What a pod with these parameters is given. */
function needs(params: Readonly<Record<string, string>>): ReturnType<typeof container.needs> {
  const values = container.params.map(({ name, kind, facts }) => {
    const text = params[name] ?? facts.default
    return [name, text === undefined ? undefined : kind.parse(text)] as const
  })
  return container.needs(Object.fromEntries(values))
}

test.each<[Record<string, string>, number]>([
  [{}, 251.5],
  [{ maxConnections: '30000' }, 1939],
  [{ workers: '4' }, 311.5],
  [{ maxConnections: '0' }, Number.POSITIVE_INFINITY],
])('the memory that a pod gives it grows with its connections and threads: %j', (params, memory) => {
  expect(needs(params).memory).toBe(memory)
})

test.each<[Record<string, string>, string[]]>([
  [{}, []],
  [{ cert: '/a/tls.crt' }, []],
  [{ cert: '/a/tls.crt', key: '/a/tls.key' }, ['/tls']],
  [{ pkcs12: '/a/store.p12' }, ['/tls']],
  [{ certs: '/a' }, ['/tls']],
])('a pod waits for the Secret of /tls unless the certificate is elsewhere: %j', (params, unread) => {
  expect(needs(params).unread).toEqual(unread)
})
