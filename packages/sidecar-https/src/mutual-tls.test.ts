import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { ConnectionOptions } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { type AllowRules, compileAllow } from './allow.ts'
import { readIdentity } from './identity.ts'
import { selfSigned } from './self-signed.ts'
import type { ClientAuth } from './sidecar.ts'
import { createCa, type Issued, type Wanted } from './test-ca.ts'
import {
  ask,
  askHttp2,
  handshake,
  httpApp,
  outcomes,
  rawClient,
  startWorld,
  type Tuning,
  type World,
} from './test-support.ts'

const ca = createCa('clients')
const others = createCa('others')
const issue = (wanted: Wanted): Issued => ca.issue({ client: true, ...wanted })
const admin = issue({ cn: 'admin', ou: 'ops', dns: ['admin.test'], uri: ['spiffe://test/admin'] })

/** An application that says which lines about clients it was sent. */
const telling = () =>
  httpApp(({ rawHeaders }, res) => {
    const lines = rawHeaders.map((name, at) => [name, rawHeaders[at + 1]]).filter((_, at) => at % 2 === 0)
    const about = lines.filter(([name = '']) => /client.cert|who/i.test(name))
    res.end(JSON.stringify(about))
  })

const authOf = (rules: AllowRules, rest: Partial<ClientAuth> = {}): ClientAuth => ({
  mode: 'required',
  ca: ca.cert,
  allow: compileAllow(rules),
  ...rest,
})

const guarded = async (
  rules: AllowRules = { all: true },
  rest: Partial<ClientAuth> = {},
  tuning: Tuning = {},
): Promise<World> => startWorld(await telling(), { clientAuth: authOf(rules, rest), ...tuning })

const shown = ({ cert, key }: { cert: string; key: string }): ConnectionOptions => ({ cert, key })

/** What the application is told of a client, or that it was refused. */
async function told(world: World, options: ConnectionOptions = {}): Promise<[string, string][] | 'refused'> {
  try {
    const { body } = await ask(world.port, '/', options)
    return JSON.parse(body) as [string, string][]
  } catch {
    return 'refused'
  }
}

/** What a client needs to resume its session. Of TLS 1.3 it comes behind the handshake. */
async function sessionOf(world: World, options: ConnectionOptions): Promise<Buffer> {
  const socket = await handshake(world.port, options)
  const session =
    socket.getProtocol() === 'TLSv1.2'
      ? socket.getSession()
      : await new Promise<Buffer | undefined>((resolve) => {
          socket.once('session', resolve).once('close', () => resolve(undefined))
        })
  socket.destroy()
  if (session === undefined) throw new Error('there is no session')
  return session
}

describe('without client certificates', () => {
  test('one that a client has is not asked for, and nothing is told of it', async () => {
    await using world = await startWorld(await telling())
    expect(await told(world, shown(admin))).toEqual([])
  })
})

describe('optional client certificates', () => {
  test('let in a client without one, of whom nothing is told', async () => {
    await using world = await guarded({ cn: ['admin'] }, { mode: 'optional' })
    expect(await told(world)).toEqual([])
  })

  test('refuse a client with one that is bad, or that no rule allows', async () => {
    await using world = await guarded({ cn: ['admin'] }, { mode: 'optional' })
    expect(await told(world, shown(others.issue({ cn: 'admin', client: true })))).toBe('refused')
    expect(await told(world, shown(issue({ cn: 'reader' })))).toBe('refused')
    expect(await outcomes(world, 2)).toEqual(['bad-certificate', 'denied'])
  })
})

describe('required client certificates', () => {
  test('let in a client with a good one that a rule allows', async () => {
    await using world = await guarded({ cn: ['admin'] })
    expect(await told(world, shown(admin))).toHaveLength(1)
    expect(await outcomes(world)).toEqual(['ok'])
  })

  const short = 1 / 86_400
  test.each<[string, { cert: string; key: string } | undefined, string]>([
    ['shows none', undefined, 'no-certificate'],
    ['is of another authority', others.issue({ cn: 'admin', client: true }), 'bad-certificate'],
    ['has signed itself', selfSigned({ names: ['admin'] }), 'bad-certificate'],
    ['has an expired one', issue({ cn: 'admin', days: short }), 'bad-certificate'],
    [
      'has one that is not valid yet',
      issue({ cn: 'admin', notBefore: new Date(Date.now() + 3_600_000) }),
      'bad-certificate',
    ],
    ['has one for servers', ca.issue({ cn: 'admin' }), 'bad-certificate'],
    ['is allowed by no rule', issue({ cn: 'reader' }), 'denied'],
    ['has a name made to be mistaken', issue({ cn: ['admin', 'adm\0in'] }), 'bad-certificate'],
  ])('refuse a client that %s', async (_, pair, outcome) => {
    await using world = await guarded({ cn: ['admin'] })
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      expect(await told(world, { ...(pair && shown(pair)), maxVersion })).toBe('refused')
    }
    expect(await outcomes(world, 2)).toEqual([outcome, outcome])
    expect(world.requests).toEqual([])
    expect(world.handshakeErrors).toHaveLength(2)
  })

  test('let in a client of an intermediate authority that sends it along, and refuse it without', async () => {
    await using world = await guarded({ cn: ['admin'] })
    const { cert, key } = ca.intermediate('between').issue({ cn: 'admin', client: true })
    expect(await told(world, { cert, key })).toHaveLength(1)
    const [leaf = ''] = cert.split(/(?<=-----END CERTIFICATE-----\n)/)
    expect(await told(world, { cert: leaf, key })).toBe('refused')
  })
})

describe('a certificate of a client that is large', () => {
  /** Of so many bytes of DER, or up to 16 less: signatures differ. */
  const ofSize = (bytes: number): Issued => {
    const ips = (count: number) =>
      Array.from({ length: count }, (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`)
    const rest = issue({ cn: 'admin', ip: ips(9_000) }).der.length - 9_000 * 6
    return issue({ cn: 'admin', ip: ips(Math.floor((bytes - rest - 6) / 6)) })
  }
  const versions = ['TLSv1.2', 'TLSv1.3'] as const

  test.each(versions)('is let in by %s up to 62 KiB, and resumed', async (maxVersion) => {
    await using world = await guarded({ cn: ['admin'] })
    const large = ofSize(62 * 1024)
    expect(large.der.length).toBeGreaterThan(62 * 1024 - 17)
    const servername = `${'a'.repeat(60)}.`.repeat(4).slice(0, -1)
    const options = { ...shown(large), maxVersion, servername }
    using client = await rawClient(world.port, options)
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.until('HTTP/1.1 200')
    // Node has no event for a session as large as this one.
    const session = client.socket.getSession()
    expect(await told(world, { ...options, ...(session && { session }) })).toHaveLength(1)
    expect(await outcomes(world, 2)).toEqual(['ok', 'resumed'])
  })

  test.each(
    versions.flatMap((maxVersion) =>
      [62, 64, 66, 90].flatMap((size) => [
        [maxVersion, size, false] as const,
        [maxVersion, size, true] as const,
      ]),
    ),
  )(
    'is refused by %s as a bad one of %d KiB and more (PROXY header sent: %s)',
    async (maxVersion, size, proxySend) => {
      await using world = await guarded({ cn: ['admin'] }, {}, { proxySend })
      const large = ofSize(size * 1024 + 20)
      expect(await told(world, { ...shown(large), maxVersion })).toBe('refused')
      expect(await outcomes(world)).toEqual(['bad-certificate'])
      expect(world.handshakeErrors[0]?.message).toBe(
        `the certificate has ${large.der.length} bytes: at most 63488 are read`,
      )
    },
  )

  test.each(versions)(
    'is refused by %s as a bad one when it has over 100 KiB with its chain',
    async (maxVersion) => {
      await using world = await guarded({ cn: ['admin'] })
      for (const cert of [ofSize(110_000), { ...admin, cert: admin.cert + ofSize(60_000).cert.repeat(2) }]) {
        expect(await told(world, { ...shown(cert), cert: cert.cert, maxVersion })).toBe('refused')
      }
      expect(await outcomes(world, 2)).toEqual(['bad-certificate', 'bad-certificate'])
      expect(world.handshakeErrors[0]?.message).toContain('more than the 102400 bytes that are read')
    },
  )

  test('says nothing of a hello that is too large, which is no matter of certificates', async () => {
    await using world = await guarded({ cn: ['admin'] })
    const socket = connectTcp(world.port, '127.0.0.1').on('error', () => undefined)
    // A record with the beginning of a ClientHello of 256 KiB.
    socket.write(Buffer.concat([Buffer.from('16030110040104000003', 'hex'), Buffer.alloc(0x1000)]))
    await once(socket.resume(), 'close')
    expect(await outcomes(world)).toEqual(['failed'])
  })
})

describe('a rule', () => {
  const named = issue({ ip: ['10.0.0.1'], uri: ['spiffe://test/ns/a/sa/web'], dns: ['a.example.test'] })
  test.each<[string, AllowRules, Issued]>([
    ['all', { all: true }, issue({ cn: 'anybody' })],
    ['for common names', { cn: ['other', 'admin'] }, admin],
    ['for organizational units', { ou: ['ops'] }, admin],
    ['for DNS names', { dns: ['*.example.test'] }, named],
    ['for URIs', { uri: ['spiffe://test/ns/*/sa/web'] }, named],
    ['for IP addresses', { ip: ['10.0.0.1'] }, named],
    ['for public keys', { spki: [readIdentity(admin.der).spkiPins] }, admin],
    ['among others', { cn: ['nobody'], uri: ['spiffe://test/admin'] }, admin],
  ])('(%s) lets in a client that it matches, over TLS 1.2 and 1.3', async (_, rules, client) => {
    await using world = await guarded(rules)
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      expect(await told(world, { ...shown(client), maxVersion })).toHaveLength(1)
    }
    const stranger = issue({ cn: 'x', ou: 'x', dns: ['x.test'], uri: ['spiffe://x/x'], ip: ['10.0.0.2'] })
    const expected = rules.all ? 1 : 'refused'.length
    expect(await told(world, shown(stranger))).toHaveLength(expected)
  })
})

describe('pinned keys', () => {
  const own = selfSigned({ names: ['liar.test'] })
  const pin = (cert: string): string =>
    readIdentity(Buffer.from(cert.replace(/-----[A-Z ]+-----/g, ''), 'base64')).spkiPins
  const pinned = { spki: [pin(own.cert)] }

  test('alone let in a client that no authority knows, of whom only the fingerprint is told', async () => {
    await using world = await guarded(pinned, { ca: undefined })
    expect(await told(world, shown(own))).toEqual([
      ['X-Forwarded-Client-Cert', expect.stringMatching(/^Hash=[0-9a-f]{64}$/)],
    ])
  })

  test('alone refuse a client with another key', async () => {
    await using world = await guarded(pinned, { ca: undefined })
    expect(await told(world, shown(selfSigned({ names: ['liar.test'] })))).toBe('refused')
    expect(await outcomes(world)).toEqual(['denied'])
  })

  test('with authorities let in only whom these have issued', async () => {
    await using world = await guarded({ spki: [pin(own.cert), readIdentity(admin.der).spkiPins] })
    expect(await told(world, shown(own))).toBe('refused')
    expect(await told(world, shown(admin))).toHaveLength(1)
    expect(await outcomes(world, 2)).toEqual(['bad-certificate', 'ok'])
  })

  test('with authorities do not let in whom these have revoked', async () => {
    const crls = [ca.crl([admin.serial])]
    await using world = await guarded({ spki: [readIdentity(admin.der).spkiPins] }, { crls })
    expect(await told(world, shown(admin))).toBe('refused')
  })
})

describe('while it serves', () => {
  test('other authorities count for new connections, and open ones go on', async () => {
    await using world = await guarded()
    const other = others.issue({ cn: 'other', client: true })
    const socket = await handshake(world.port, shown(admin))
    world.sidecar.useAuthorities({ ca: others.cert })
    expect(await told(world, shown(admin))).toBe('refused')
    expect(await told(world, shown(other))).toHaveLength(1)
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    expect(answer).toMatch(/^HTTP\/1\.1 200/)
  })

  test('both authorities of a rotation are trusted', async () => {
    await using world = await guarded()
    world.sidecar.useAuthorities({ ca: ca.cert + others.cert })
    expect(await told(world, shown(admin))).toHaveLength(1)
    expect(await told(world, shown(others.issue({ cn: 'other', client: true })))).toHaveLength(1)
  })

  test.each(['', 'nonsense', ca.cert.replace(/\nM/, '\nA'), ca.cert.slice(0, -30), others.key])(
    'authorities that cannot be read are refused, and the old ones stay',
    async (bad) => {
      await using world = await guarded()
      expect(() => world.sidecar.useAuthorities({ ca: bad })).toThrow(/^the authorities cannot be used/)
      expect(await told(world, shown(admin))).toHaveLength(1)
    },
  )

  test('a revocation list refuses whom it names, and nobody else', async () => {
    await using world = await guarded()
    const reader = issue({ cn: 'reader' })
    expect(await told(world, shown(admin))).toHaveLength(1)
    world.sidecar.useAuthorities({ ca: ca.cert, crls: [ca.crl([admin.serial])] })
    expect(await told(world, shown(admin))).toBe('refused')
    expect(await told(world, shown(reader))).toHaveLength(1)
    world.sidecar.useAuthorities({ ca: ca.cert, crls: [ca.crl([])] })
    expect(await told(world, shown(admin))).toHaveLength(1)
  })

  test('a revocation list that is out of date lets in nobody of its authority', async () => {
    const crls = [ca.crl([], { nextUpdate: new Date(Date.now() - 1_000) })]
    await using world = await guarded({ all: true }, { crls })
    expect(await told(world, shown(admin))).toBe('refused')
  })

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a revoked client does not get in by resuming its session of %s',
    async (maxVersion) => {
      await using world = await guarded()
      const session = await sessionOf(world, { ...shown(admin), maxVersion })
      expect(await told(world, { ...shown(admin), maxVersion, session })).toHaveLength(1)
      expect(await outcomes(world, 2)).toEqual(['ok', 'resumed'])
      world.sidecar.useAuthorities({ ca: ca.cert, crls: [ca.crl([admin.serial])] })
      expect(await told(world, { ...shown(admin), maxVersion, session })).toBe('refused')
      expect(await outcomes(world, 3)).toEqual(['ok', 'resumed', 'bad-certificate'])
    },
  )

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a client whose certificate has ended does not get in by resuming its session of %s',
    async (maxVersion) => {
      await using world = await guarded()
      const ends = Math.ceil(Date.now() / 1000) * 1000 + 1_000
      const start = new Date(ends - 3_600_000)
      const brief = issue({ cn: 'brief', notBefore: start, days: 1 / 24 })
      const session = await sessionOf(world, { ...shown(brief), maxVersion })
      await delay(ends + 1_000 - Date.now())
      expect(await told(world, { ...shown(brief), maxVersion, session })).toBe('refused')
      expect(await outcomes(world, 2)).toEqual(['ok', 'bad-certificate'])
    },
  )

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a client that is refused is refused again when it resumes its session of %s',
    async (maxVersion) => {
      await using world = await guarded({ cn: ['admin'] })
      const bad = [{}, shown(others.issue({ cn: 'admin', client: true })), shown(issue({ cn: 'reader' }))]
      for (const options of bad) {
        const session = await sessionOf(world, { ...options, maxVersion }).catch(() => undefined)
        expect(await told(world, { ...options, maxVersion, ...(session && { session }) })).toBe('refused')
      }
      const refused = ['no-certificate', 'bad-certificate', 'denied']
      expect(await outcomes(world, 6)).toEqual(refused.flatMap((each) => [each, each]))
    },
  )
})

describe('the application is told of a verified client', () => {
  const about = /^Hash=[0-9a-f]{64};Subject="CN=admin,OU=ops";URI=spiffe:\/\/test\/admin;DNS=admin.test$/

  test('by X-Forwarded-Client-Cert on each request of its connection', async () => {
    await using world = await guarded()
    const socket = await handshake(world.port, shown(admin))
    const request = 'GET / HTTP/1.1\r\nHost: a\r\n'
    socket.write(`${request}\r\n${request}Connection: close\r\n\r\n`)
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    const lines = [...answer.matchAll(/\[\["X-Forwarded-Client-Cert","(.*)"\]\]/g)]
    expect(lines.map(([, value = '']) => JSON.parse(`"${value}"`) as string)).toEqual([
      expect.stringMatching(about),
      expect.stringMatching(about),
    ])
  })

  test('by the same over HTTP/2', async () => {
    await using world = await guarded()
    const lie = { 'x-forwarded-client-cert': 'Hash=forged', x_forwarded_client_cert: 'Hash=forged' }
    const { body } = await askHttp2(world.port, lie, shown(admin))
    expect(JSON.parse(body)).toEqual([['X-Forwarded-Client-Cert', expect.stringMatching(about)]])
  })

  test('by a header of another name', async () => {
    const clientAuth = authOf({ all: true })
    await using world = await startWorld(await telling(), { clientAuth, identityHeader: 'X-Who' })
    const headers = { 'x-who': 'forged', X_Who: 'forged' }
    const { body } = await ask(world.port, '/', { ...shown(admin), headers })
    expect(JSON.parse(body)).toEqual([['X-Who', expect.stringMatching(about)]])
  })

  const disguises = [
    'X-Forwarded-Client-Cert',
    'x-forwarded-client-cert',
    'X_FORWARDED_CLIENT_CERT',
    'X-Forwarded_Client-Cert',
  ]
  test.each(['required', 'optional', 'off'] as const)(
    'and of what a client says itself, in any disguise, nothing remains (%s)',
    async (mode) => {
      await using world =
        mode === 'off' ? await startWorld(await telling()) : await guarded({ all: true }, { mode })
      const headers = disguises.flatMap((name) => [name, 'Hash=forged'])
      const options = mode === 'required' ? shown(admin) : {}
      const { body } = await ask(world.port, '/', { ...options, headers: ['Host', 'a', ...headers] })
      expect(body).not.toContain('forged')
      expect(JSON.parse(body)).toHaveLength(mode === 'required' ? 1 : 0)
    },
  )

  test.each(['optional', 'off'] as const)(
    'and of what a client without a certificate says by a header of another name, nothing (%s)',
    async (mode) => {
      const clientAuth = mode === 'off' ? {} : { clientAuth: authOf({ all: true }, { mode }) }
      await using world = await startWorld(await telling(), { ...clientAuth, identityHeader: 'X-Who-Is' })
      const headers = [
        'Host',
        'a',
        ...['X-Who-Is', 'x-who-is', 'X_WHO_IS', 'X-Who_Is'].flatMap((name) => [name, 'forged']),
      ]
      expect(JSON.parse((await ask(world.port, '/', { headers })).body)).toEqual([])
      const { body } = await askHttp2(world.port, { 'x-who-is': 'forged', x_who_is: 'forged' })
      expect(JSON.parse(body)).toEqual([])
    },
  )

  test('also when the client calls the header one of its connection, which is not passed on', async () => {
    await using world = await guarded()
    const headers = ['Host', 'a', 'Connection', 'X-Forwarded-Client-Cert, close']
    const { body } = await ask(world.port, '/', { ...shown(admin), headers })
    expect(JSON.parse(body)).toEqual([['X-Forwarded-Client-Cert', expect.stringMatching(about)]])
  })

  test('and not by a trailer that the client sends', async () => {
    const app = await httpApp((req, res) => {
      req.resume().on('end', () => res.end(JSON.stringify(req.trailers)))
    })
    await using world = await startWorld(app, { clientAuth: authOf({ all: true }) })
    const socket = await handshake(world.port, shown(admin))
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n'
    socket.write(`${head}1\r\nx\r\n0\r\nX-Forwarded-Client-Cert: Hash=forged\r\nX-Other: passes\r\n\r\n`)
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    expect(answer).toContain('passes')
    expect(answer).not.toContain('forged')
  })
})
