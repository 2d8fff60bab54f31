import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  connect,
  createSecureContext,
  createServer,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { boolean, explicit, integer, octets, oid, sequence } from './der.ts'
import { DerReader, readOne } from './der-read.ts'
import { readCrls } from './revocation.ts'
import { createCa, type Issued, type TestCa } from './test-ca.ts'

const HOUR_MS = 3_600_000
const fromNow = (hours: number): Date => new Date(Math.floor(Date.now() / 1000) * 1000 + hours * HOUR_MS)

const root = createCa('Root')
const middle = root.intermediate('Middle')
const server = root.issue({ dns: ['server.test'] })
const client = root.issue({ cn: 'client', client: true })
const revoked = root.issue({ cn: 'revoked', client: true })
const far = middle.issue({ cn: 'far', client: true })
const revokedFar = middle.issue({ cn: 'revoked far', client: true })

const derOf = (pem: string): Buffer => Buffer.from(pem.replace(/-----.*?-----/g, ''), 'base64')
const pems = (...lists: readonly string[]): string[] =>
  readCrls(Buffer.from(lists.join(''))).map(({ pem }) => pem)

function message(bytes: Buffer | string): string {
  try {
    readCrls(Buffer.from(bytes))
  } catch (error) {
    return error instanceof Error ? error.message : 'no Error'
  }
  return 'accepted'
}

describe('what a list says', () => {
  test('its issuer, its dates and how many it revokes', () => {
    const [thisUpdate, nextUpdate] = [fromNow(-2), fromNow(48)]
    const pem = root.crl([client.serial, revoked.serial], { thisUpdate, nextUpdate })
    expect(readCrls(Buffer.from(pem))).toEqual([
      { issuer: 'CN=Root', thisUpdate, nextUpdate, revoked: 2, der: derOf(pem), pem },
    ])
  })

  test('a list may revoke nobody and name no next one', () => {
    const [list] = readCrls(Buffer.from(root.crl([], { nextUpdate: null })))
    expect(list).toMatchObject({ revoked: 0, nextUpdate: undefined })
  })

  test('several lists, PEM with text between or DER, are read in their order', () => {
    const [one, two] = [root.crl([client.serial]), middle.crl([])]
    const text = execFileSync('openssl', ['crl', '-text'], { input: one }).toString()
    expect(text).toContain('Certificate Revocation List (CRL):')
    for (const bundle of [Buffer.from(`${text}\n${two}`), Buffer.concat([derOf(one), derOf(two)])]) {
      expect(readCrls(bundle).map(({ issuer, pem }) => [issuer, pem])).toEqual([
        ['CN=Root', one],
        ['CN=Middle', two],
      ])
    }
  })

  test('twenty thousand revoked certificates are counted', () => {
    const serials = Array.from({ length: 20_000 }, (_, index) => (index + 0x40_0000).toString(16))
    expect(readCrls(Buffer.from(root.crl(serials)))[0]?.revoked).toBe(20_000)
  })
})

describe('a list that cannot be used says what is wrong', () => {
  const good = root.crl([client.serial])
  const changed = (from: string, to: string): Buffer =>
    Buffer.from(derOf(good).toString('hex').replace(from, to), 'hex')

  test.each<[string, Buffer | string, RegExp]>([
    ['nothing', '\n', /^the revocation list is empty: a PEM or DER file is needed$/],
    [
      'no PEM',
      'hello',
      /is neither PEM nor DER: no "-----BEGIN X509 CRL-----" in it; openssl crl converts it/,
    ],
    ['a certificate', root.cert, /is neither PEM nor DER/],
    ['a half-written list', good.slice(0, 200), /is cut off/],
    ['a half-written bundle', good + good.slice(0, 200), /is cut off/],
    ['garbled PEM', good.replace(/\n.{4}/, '\n!!!!'), /is cut off: .* or the PEM is garbled/],
    [
      'nonsense in its second list',
      good + good.replace(/\nMI/, '\nAA'),
      /^revocation list 2 of 2 is malformed: /,
    ],
    ['a certificate in DER', derOf(root.cert), /^revocation list 1 of 1 is malformed: /],
    ['half of it in DER', derOf(good).subarray(0, 100), /^revocation list 1 is malformed: it is cut off$/],
    [
      'a byte after it in DER',
      Buffer.concat([derOf(good), Buffer.from('\n')]),
      /^revocation list 2 is malformed/,
    ],
    // The tag of a UTCTime turned into that of a string.
    ['no date', changed('170d', '160d'), /: thisUpdate is no UTCTime/],
    ['too much', Buffer.alloc(32 * 1024 * 1024 + 1), /have 33554433 bytes: at most 33554432 are read/],
  ])('%s', (_, bytes, expected) => {
    expect(message(bytes)).toMatch(expected)
  })

  test('a delta list, which alone would let in those revoked before', () => {
    const list = new DerReader(readOne(derOf(good), 0x30, 'it').content)
    const body = new DerReader(list.take(0x30, 'its body').content)
    const fields: Buffer[] = []
    while (body.tag !== 0xa0) fields.push(body.next('a field').der)
    const indicator = sequence(oid('2.5.29.27'), boolean(true), octets(integer(Buffer.from([1]))))
    const rest = [list.next('the algorithm').der, list.next('the signature').der]
    const delta = sequence(sequence(...fields, explicit(0, sequence(indicator))), ...rest)
    expect(message(delta)).toBe(
      'revocation list 1 of 1 is malformed: it is a delta list: give the complete one',
    )
  })

  test('mutations of real lists are read or refused with a plain Error', () => {
    const bytes = derOf(good)
    const outcomes = new Set<boolean>()
    const change = fc.tuple(fc.nat(bytes.length), fc.nat(3), fc.uint8Array({ maxLength: 4 }))
    fc.assert(
      fc.property(change, ([at, remove, insert]) => {
        const mutant = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)])
        const outcome = message(mutant)
        outcomes.add(outcome === 'accepted')
        expect(outcome).toMatch(
          /^(accepted|(the )?revocation list.* is (malformed|neither|empty|cut off).*)$/,
        )
      }),
      { numRuns: 3000 },
    )
    expect(outcomes).toEqual(new Set([true, false]))
  })
})

/** What a server makes of a client: `accepted`, or the code of OpenSSL's verification. */
async function outcome(context: SecureContextOptions, { cert, key }: Issued): Promise<string> {
  const listener = createServer({
    requestCert: true,
    SNICallback: (_, done) => done(null, createSecureContext({ ...server, ca: root.cert, ...context })),
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const settled = Promise.race([
    once(listener, 'secureConnection').then(() => 'accepted'),
    once(listener, 'tlsClientError').then(([, socket]) => String((socket as TLSSocket).authorizationError)),
  ])
  const { port } = listener.address() as AddressInfo
  const options = { port, host: '127.0.0.1', servername: 'server.test', ca: root.cert, cert, key }
  const socket = connect(options).on('error', () => undefined)
  const result = await settled
  socket.destroy()
  listener.close()
  await once(listener, 'close')
  return result
}

describe('what OpenSSL makes of the lists', () => {
  const rootList = root.crl([revoked.serial])
  const middleList = middle.crl([revokedFar.serial])
  const expired = { thisUpdate: fromNow(-5), nextUpdate: fromNow(-1) }

  test.each<[string, Issued, string[], string]>([
    ['an unrevoked client gets in', client, pems(rootList), 'accepted'],
    ['a revoked client does not get in', revoked, pems(rootList), 'CERT_REVOKED'],
    ['an unrevoked client of an intermediate authority gets in', far, pems(rootList, middleList), 'accepted'],
    [
      'a revoked client of an intermediate authority does not get in',
      revokedFar,
      pems(rootList, middleList),
      'CERT_REVOKED',
    ],
    [
      'the client of a revoked authority does not get in',
      far,
      pems(root.crl([middle.serial]), middleList),
      'CERT_REVOKED',
    ],
    ['no client gets in without the list of its authority', far, pems(rootList), 'UNABLE_TO_GET_CRL'],
    ['no client gets in without the list of the root', far, pems(middleList), 'UNABLE_TO_GET_CRL'],
    [
      'the list of a namesake of the root is as good as none',
      client,
      pems(createCa('Root').crl([])),
      'UNABLE_TO_GET_CRL',
    ],
    ['of two lists in one entry only the first is read', far, [rootList + middleList], 'UNABLE_TO_GET_CRL'],
    ['an expired list refuses even the unrevoked', client, pems(root.crl([], expired)), 'CRL_HAS_EXPIRED'],
    [
      'a list of the future refuses even the unrevoked',
      client,
      pems(root.crl([], { thisUpdate: fromNow(1) })),
      'CRL_NOT_YET_VALID',
    ],
    [
      'a list without an end never expires',
      client,
      pems(root.crl([], { thisUpdate: fromNow(-99_999), nextUpdate: null })),
      'accepted',
    ],
    [
      'a valid list is preferred to an expired one',
      revoked,
      pems(root.crl([], expired), rootList),
      'CERT_REVOKED',
    ],
    [
      'of two valid lists the later counts',
      revoked,
      pems(rootList, root.crl([], { thisUpdate: fromNow(-0.5) })),
      'accepted',
    ],
    ['no list at all is no check', revoked, [], 'accepted'],
  ])('%s', async (_, who, crl, expected) => {
    expect(await outcome({ crl }, who)).toBe(expected)
  })

  test('a list in DER is refused by Node, read and given as PEM it is not', () => {
    const der = derOf(rootList)
    expect(() => createSecureContext({ crl: der })).toThrow(/Failed to parse CRL/)
    expect(() => createSecureContext({ crl: readCrls(der).map(({ pem }) => pem) })).not.toThrow()
  })

  test('a list that openssl itself made is read alike and refuses alike', async () => {
    const list = opensslCrl(root, revoked)
    expect(readCrls(list)).toMatchObject([{ issuer: 'CN=Root', revoked: 1 }])
    expect(await outcome({ crl: pems(list.toString()) }, revoked)).toBe('CERT_REVOKED')
    expect(await outcome({ crl: pems(list.toString()) }, client)).toBe('accepted')
  })

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'over %s a client revoked meanwhile resumes its session until the ticket keys change',
    async (maxVersion) => {
      const before = { ...server, ca: root.cert, crl: root.crl([]), ticketKeys: randomBytes(48), maxVersion }
      const after = { ...before, crl: rootList }
      const listener = createServer({ ...before, requestCert: true })
      listener.listen(0, '127.0.0.1')
      await once(listener, 'listening')
      listener.on('secureConnection', (socket) => socket.on('error', () => undefined).write('.'))
      const { port } = listener.address() as AddressInfo
      const attempt = (session?: Buffer): Promise<Visit> => visit(port, revoked, session)
      const { session } = await attempt()
      listener.setSecureContext(after)
      expect(await attempt(session)).toMatchObject({ answered: true, reused: true })
      expect(await attempt()).toMatchObject({ answered: false })
      listener.setSecureContext({ ...after, ticketKeys: randomBytes(48) })
      expect(await attempt(session)).toMatchObject({ answered: false })
      listener.close()
      await once(listener, 'close')
    },
  )
})

interface Visit {
  answered: boolean
  reused: boolean
  session: Buffer | undefined
}

/** Connects and waits for a first byte, the first time for a session to take along too, or for the end. */
async function visit(port: number, { cert, key }: Issued, session?: Buffer): Promise<Visit> {
  const options = { port, host: '127.0.0.1', rejectUnauthorized: false, cert, key }
  const socket = connect(session === undefined ? options : { ...options, session })
  socket.on('error', () => undefined)
  const byte = new Promise((resolve) => socket.once('data', resolve))
  const fresh = new Promise<Buffer>((resolve) => socket.once('session', resolve))
  const kept = session === undefined ? fresh : Promise.resolve(session)
  const taken = await Promise.race([
    Promise.all([kept, byte]).then(([bytes]) => bytes),
    new Promise<undefined>((resolve) => socket.once('close', () => resolve(undefined))),
  ])
  const reused = socket.isSessionReused()
  socket.destroy()
  return { answered: taken !== undefined, reused, session: taken }
}

/** As an administrator would make it, with `openssl ca`. */
function opensslCrl(ca: TestCa, { serial }: Issued): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'revocation-'))
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text)
  write('ca.pem', ca.cert)
  write('ca.key', ca.key)
  write('index.txt', `R\t991231235959Z\t240101000000Z\t${serial}\tunknown\t/CN=revoked\n`)
  write('ca.cnf', '[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=7\n')
  const args = ['ca', '-gencrl', '-config', 'ca.cnf', '-cert', 'ca.pem', '-keyfile', 'ca.key']
  const list = execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })
  rmSync(directory, { recursive: true })
  return list
}
