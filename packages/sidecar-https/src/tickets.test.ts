import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { compileAllow } from './allow.ts'
import { createCa } from './test-ca.ts'
import {
  type ClientOptions,
  handshake,
  httpApp,
  OTHER_CERTIFICATE,
  outcomes,
  startWorld,
  type Tuning,
  type World,
} from './test-support.ts'
import { TICKET_KEY_BYTES } from './tickets.ts'

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
const ca = createCa('clients')
const client = ca.issue({ cn: 'client', client: true })

const hello = () => httpApp((_, res) => res.end('hello'))
const serving = async (tuning: Tuning = {}): Promise<World> => startWorld(await hello(), tuning)

/** What a client needs to resume its session. */
async function sessionOf(world: World, options: ClientOptions): Promise<Buffer> {
  const socket = await handshake(world.port, options)
  const later = socket.getProtocol() === 'TLSv1.3'
  const session = later ? ((await once(socket, 'session')) as [Buffer])[0] : socket.getSession()
  socket.destroy()
  if (session === undefined) throw new Error('there is no session')
  return session
}

/** Whether a session is resumed. */
async function resumes(world: World, session: Buffer, options: ClientOptions): Promise<boolean> {
  const socket = await handshake(world.port, { ...options, session })
  const reused = socket.isSessionReused()
  socket.end().resume()
  await once(socket, 'close')
  return reused
}

/** With which keys tickets are made: they begin with the name of their key. */
async function keyName(world: World, options: ClientOptions = {}): Promise<string> {
  const socket = await handshake(world.port, { ...options, maxVersion: 'TLSv1.2' })
  const name = socket.getTLSTicket()?.toString('hex', 0, 16) ?? ''
  socket.destroy()
  return name
}

describe.each(VERSIONS)('a session of %s', (maxVersion) => {
  const options = { maxVersion }

  test('is resumed, and told as such', async () => {
    await using world = await serving()
    expect(await resumes(world, await sessionOf(world, options), options)).toBe(true)
    expect(await outcomes(world, 2)).toEqual(['ok', 'resumed'])
  })

  test('is resumed under a name too', async () => {
    const named = { name: 'one', ...ca.issue({ dns: ['one.test'] }) }
    await using world = await serving({ certificates: [named] })
    const asking = { ...options, servername: 'one.test' }
    expect(await resumes(world, await sessionOf(world, asking), asking)).toBe(true)
  })

  test('is resumed by another sidecar with the same keys, and by none with others', async () => {
    const ticketKeys = randomBytes(TICKET_KEY_BYTES)
    await using a = await serving({ ticketKeys })
    await using b = await serving({ ticketKeys })
    await using c = await serving({ ticketKeys: randomBytes(TICKET_KEY_BYTES) })
    await using d = await serving()
    const session = await sessionOf(a, options)
    const resumed = await Promise.all([a, b, c, d].map((world) => resumes(world, session, options)))
    expect(resumed).toEqual([true, true, false, false])
  })

  test('is forgotten when its keys are', async () => {
    await using world = await serving({ ticketRotationMs: 50 })
    const before = await keyName(world)
    const session = await sessionOf(world, options)
    while ((await keyName(world)) === before) await delay(10)
    await delay(60)
    expect(await resumes(world, session, options)).toBe(false)
  })

  test('is forgotten with shared keys when these change', async () => {
    await using world = await serving({ ticketKeys: randomBytes(TICKET_KEY_BYTES) })
    const session = await sessionOf(world, options)
    world.sidecar.useTicketKeys(randomBytes(TICKET_KEY_BYTES))
    expect(await resumes(world, session, options)).toBe(false)
    expect(await resumes(world, await sessionOf(world, options), options)).toBe(true)
  })

  test('is forgotten with another certificate', async () => {
    await using world = await serving()
    const session = await sessionOf(world, options)
    world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })
    expect(await resumes(world, session, options)).toBe(false)
  })

  test('is forgotten with other authorities of clients', async () => {
    const clientAuth = { mode: 'required', ca: ca.cert, allow: compileAllow({ all: true }) } as const
    await using world = await serving({ clientAuth })
    const shown = { ...options, cert: client.cert, key: client.key }
    const session = await sessionOf(world, shown)
    expect(await resumes(world, session, shown)).toBe(true)
    world.sidecar.useAuthorities({ ca: ca.cert, crls: [ca.crl([])] })
    expect(await resumes(world, session, shown)).toBe(false)
    expect(await resumes(world, await sessionOf(world, shown), shown)).toBe(true)
  })
})

describe('keys of tickets', () => {
  test('are the ones that are given, which no time and no certificate changes', async () => {
    const ticketKeys = randomBytes(TICKET_KEY_BYTES)
    await using world = await serving({ ticketKeys, ticketRotationMs: 10 })
    await delay(50)
    world.sidecar.useCertificates({ fallback: OTHER_CERTIFICATE })
    expect(await keyName(world)).toBe(ticketKeys.toString('hex', 0, 16))
  })

  test('are the same for each name', async () => {
    const ticketKeys = randomBytes(TICKET_KEY_BYTES)
    const certificates = ['one.test', 'two.test'].map((name) => ({ name, ...ca.issue({ dns: [name] }) }))
    await using world = await serving({ certificates, ticketKeys })
    for (const servername of ['one.test', 'two.test', 'nobody.test']) {
      expect(await keyName(world, { servername })).toBe(ticketKeys.toString('hex', 0, 16))
    }
  })

  test.each([0, 47, 49, 80])('are refused when they have %d bytes, and the old ones stay', async (length) => {
    await using world = await serving()
    const before = await keyName(world)
    expect(() => world.sidecar.useTicketKeys(randomBytes(length))).toThrow(/have 48 bytes and these have/)
    expect(await keyName(world)).toBe(before)
    await using app = await hello()
    const ticketKeys = randomBytes(length)
    await expect(startWorld(app, { ticketKeys })).rejects.toThrow(/openssl rand 48/)
  })

  test('that are made here differ from sidecar to sidecar', async () => {
    await using a = await serving()
    await using b = await serving()
    expect(await keyName(a)).not.toBe(await keyName(b))
  })
})
