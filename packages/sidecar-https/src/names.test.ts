import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import type { NamedPair } from './certificate-directory.ts'
import { createCa } from './test-ca.ts'
import {
  type ClientOptions,
  handshake,
  httpApp,
  outcomes,
  rawClient,
  startWorld,
  type Tuning,
  type World,
} from './test-support.ts'

const ca = createCa('servers')
const named = (cn: string, ...dns: readonly string[]): NamedPair => ({
  name: `${cn}.crt`,
  ...ca.issue({ cn, dns: dns.length > 0 ? dns : [cn] }),
})
const one = named('one.test')
const two = named('two.test')
const wild = named('wild', '*.wild.test')
const fallback = ca.issue({ cn: 'fallback', dns: ['fallback.test'] })

const serving = async (tuning: Tuning): Promise<World> =>
  startWorld(await httpApp((_, res) => res.end('hello')), tuning)

/** The common name of the certificate that a client gets, or that it gets none. */
async function got(world: World, servername?: string, options: ClientOptions = {}): Promise<string> {
  try {
    const socket = await handshake(world.port, { ...(servername && { servername }), ...options })
    const { subject } = socket.getPeerCertificate()
    socket.end().resume()
    await once(socket, 'close')
    return String(subject.CN)
  } catch {
    return 'none'
  }
}

describe('a client that asks for a name', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('gets its certificate by %s', async (maxVersion) => {
    await using world = await serving({ certificates: [one, two, wild] })
    expect(await got(world, 'one.test', { maxVersion })).toBe('one.test')
    expect(await got(world, 'TWO.test', { maxVersion })).toBe('two.test')
    expect(await got(world, 'any.wild.test', { maxVersion })).toBe('wild')
  })

  test('of nobody gets the default', async () => {
    await using world = await serving({ certificates: [one, two], certificate: fallback })
    expect(await got(world, 'nobody.test')).toBe('fallback')
    expect(await got(world, 'a.b.wild.test')).toBe('fallback')
    expect(await got(world, 'fallback.test')).toBe('fallback')
  })

  test('of nobody gets the first by name where there is no default', async () => {
    await using world = await serving({ certificates: [two, one] })
    expect(await got(world, 'nobody.test')).toBe('one.test')
  })

  test('speaks HTTP/2 under each of them', async () => {
    await using world = await serving({ certificates: [one, two] })
    for (const servername of ['one.test', 'two.test']) {
      using client = await rawClient(world.port, { servername, ALPNProtocols: ['h2'] })
      expect(client.socket.alpnProtocol).toBe('h2')
    }
  })

  test('has the floor of versions and the ciphers of the sidecar under each of them', async () => {
    const strict = { minVersion: 'TLSv1.3', curves: 'P-384' } as const
    await using world = await serving({ certificates: [one, two], certificate: fallback, ...strict })
    for (const servername of ['one.test', 'two.test', 'nobody.test']) {
      expect(await got(world, servername, { maxVersion: 'TLSv1.2' })).toBe('none')
      expect(await got(world, servername, { ecdhCurve: 'P-256' })).toBe('none')
      expect(await got(world, servername, { ecdhCurve: 'P-384' })).not.toBe('none')
    }
  })
})

describe('a client that asks for no name', () => {
  test('gets the default', async () => {
    await using world = await serving({ certificates: [one], certificate: fallback })
    expect(await got(world)).toBe('fallback')
  })

  test('gets the first by name where there is no default', async () => {
    await using world = await serving({ certificates: [two, one] })
    expect(await got(world)).toBe('one.test')
  })
})

describe('strict names', () => {
  test('refuse a client that asks for no name, or for none of ours, and serve the others', async () => {
    await using world = await serving({
      certificates: [one, wild],
      certificate: fallback,
      strictNames: true,
    })
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      expect(await got(world, undefined, { maxVersion })).toBe('none')
      expect(await got(world, 'nobody.test', { maxVersion })).toBe('none')
      expect(await got(world, 'one.test', { maxVersion })).toBe('one.test')
      expect(await got(world, 'any.wild.test', { maxVersion })).toBe('wild')
      expect(await got(world, 'fallback.test', { maxVersion })).toBe('fallback')
    }
  })

  test('hold for a certificate that is served alone', async () => {
    await using world = await serving({ certificate: fallback, strictNames: true })
    expect(await got(world)).toBe('none')
    expect(await got(world, 'nobody.test')).toBe('none')
    expect(await got(world, 'fallback.test')).toBe('fallback')
    expect((await outcomes(world, 3)).slice(1)).toEqual(['unknown-name', 'ok'])
  })

  test('are told with the name that was asked for', async () => {
    await using world = await serving({ certificates: [one], strictNames: true })
    await got(world, 'nobody.test')
    await outcomes(world)
    expect(world.handshakes).toMatchObject([
      { outcome: 'unknown-name', error: { message: 'there is no certificate for "nobody.test"' } },
    ])
  })
})

describe('other certificates while it serves', () => {
  test('are added, replaced and taken away for new connections, and open ones go on', async () => {
    await using world = await serving({ certificates: [one], certificate: fallback })
    using open = await rawClient(world.port, { servername: 'one.test' })
    world.sidecar.useCertificates({ named: [one, two] })
    expect(await got(world, 'two.test')).toBe('two.test')
    world.sidecar.useCertificates({ named: [{ ...two, ...ca.issue({ cn: 'new', dns: ['two.test'] }) }] })
    expect(await got(world, 'two.test')).toBe('new')
    expect(await got(world, 'one.test')).toBe('fallback')
    open.socket.write('GET / HTTP/1.1\r\nHost: one.test\r\n\r\n')
    await open.until('hello')
  })

  test('of names and the default change one without the other', async () => {
    await using world = await serving({ certificates: [one], certificate: fallback })
    world.sidecar.useCertificates({ fallback: two })
    expect(await got(world, 'one.test')).toBe('one.test')
    expect(await got(world)).toBe('two.test')
    world.sidecar.useCertificates({ named: [wild] })
    expect(await got(world)).toBe('two.test')
    expect(await got(world, 'one.test')).toBe('two.test')
  })

  test('of which one is bad change nothing', async () => {
    await using world = await serving({ certificates: [one] })
    const bad = { ...two, key: one.key }
    expect(() => world.sidecar.useCertificates({ named: [two, wild, bad] })).toThrow(/^two\.test\.crt: .*key/)
    expect(await got(world, 'one.test')).toBe('one.test')
    expect(await got(world, 'any.wild.test')).toBe('one.test')
  })

  test('cost a client that resumes its session nothing but a full handshake', async () => {
    await using world = await serving({ certificates: [one] })
    const options = { servername: 'one.test', maxVersion: 'TLSv1.2' } as const
    const first = await handshake(world.port, options)
    const session = first.getSession()
    first.destroy()
    const changed = { ...one, ...ca.issue({ cn: 'changed', dns: ['one.test'] }) }
    world.sidecar.useCertificates({ named: [changed] })
    expect(await got(world, 'one.test', { ...options, ...(session && { session }) })).toBe('changed')
    expect(await outcomes(world, 2)).toEqual(['ok', 'ok'])
  })

  test('a thousand times, under handshakes, leave no memory behind', async () => {
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    const versions = [one, { ...one, ...ca.issue({ cn: 'other', dns: ['one.test'] }) }]
    await using world = await serving({ certificates: [one], certificate: fallback })
    let at = 0
    const reload = async (rounds: number): Promise<number> => {
      for (const last = at + rounds; at < last; at += 1) {
        const [next = one] = at % 2 === 0 ? versions.toReversed() : versions
        world.sidecar.useCertificates({ named: [two, next], fallback: at % 2 === 0 ? wild : fallback })
        if (at % 10 > 0) continue
        expect(await got(world, 'one.test')).toBe(at % 2 === 0 ? 'other' : 'one.test')
        collect()
      }
      collect()
      return process.memoryUsage().rss
    }
    const half = await reload(500)
    const whole = await reload(500)
    // Each context costs about 50 KiB, and each round makes two of them.
    expect(whole - half).toBeLessThan(24 * 1024 * 1024)
  })
})
