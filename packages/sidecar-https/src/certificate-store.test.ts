import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as tick } from 'node:timers/promises'
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  createServer,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, describe, expect, test } from 'vitest'
import type { KeyPair } from './certificate.ts'
import type { NamedPair } from './certificate-directory.ts'
import { type CertificateStore, createCertificateStore } from './certificate-store.ts'
import { selfSigned } from './self-signed.ts'
import { createCa } from './test-ca.ts'

const directory = mkdtempSync(join(tmpdir(), 'certificate-store-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

const ca = createCa('root')

const contextOf = ({ cert, key }: KeyPair): SecureContext => createSecureContext({ cert, key })

/** A pair for these names, in a file called like the first. */
const named = (...dns: readonly string[]): NamedPair => ({
  name: `${dns[0]}.crt`,
  ...ca.issue({ cn: dns.slice(0, 1), dns }),
})

interface Authority {
  cert: string
  key: string
}

/** An RSA key and its certificate, signed by this authority or by itself. */
function openssl(subject: string, extension: string, by?: Authority, bits = 2048): Authority {
  const at = (file: string) => join(directory, file)
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })
  const request = ['-newkey', `rsa:${bits}`, '-nodes', '-subj', `/CN=${subject}`, '-keyout', 'rsa.key']
  if (by === undefined) {
    run('req', '-x509', ...request, '-out', 'rsa.crt')
  } else {
    writeFileSync(at('ca.crt'), by.cert)
    writeFileSync(at('ca.key'), by.key)
    writeFileSync(at('ext'), `${extension}\n`)
    run('req', ...request, '-out', 'rsa.csr')
    const signer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'ext', '-days', '2']
    run('x509', '-req', '-in', 'rsa.csr', ...signer, '-out', 'rsa.crt')
  }
  return { cert: readFileSync(at('rsa.crt'), 'utf8'), key: readFileSync(at('rsa.key'), 'utf8') }
}

const rsa = (authority: Authority, name: string, bits = 2048): NamedPair => ({
  name: `${name}.rsa.crt`,
  ...openssl(name, `subjectAltName=DNS:${name}`, authority, bits),
})

const storeOf = (
  entries: readonly NamedPair[],
  { strict = false, fallback }: { strict?: boolean; fallback?: KeyPair } = {},
): CertificateStore => {
  const store = createCertificateStore({ context: contextOf, strict })
  store.replace(entries, fallback)
  return store
}

/** A TLS server whose certificates come from the store. */
async function serve(store: CertificateStore) {
  const server = createServer({
    SNICallback(this: TLSSocket, name, answer) {
      const context = store.contextFor(name, this.getSharedSigalgs())
      if (context === 'abort') answer(new Error('no certificate of that name'))
      else answer(null, context)
    },
  })
  server.on('tlsClientError', (_, socket) => socket.destroy())
  server.on('secureConnection', (socket) => socket.on('error', () => {}).end())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    /** The common name of the certificate that a client gets, or the code of its error. */
    async asks(servername: string, options: ConnectionOptions = {}): Promise<string> {
      const socket = connect({
        port,
        host: '127.0.0.1',
        servername,
        ca: ca.cert,
        checkServerIdentity: () => undefined,
        ...options,
      })
      try {
        await once(socket, 'secureConnect')
        const { subject } = socket.getPeerCertificate()
        return String(subject.CN)
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? 'an error'
      } finally {
        socket.destroy()
      }
    },
    async [Symbol.asyncDispose]() {
      server.close()
      await once(server, 'close')
    },
  }
}

describe('a client that asks for a name gets', () => {
  const entries = [
    named('zebra.test'),
    named('www.example.test', 'example.test', '10.0.0.1'),
    named('*.example.test'),
    named('exact.example.test'),
    named('UPPER.test'),
    named('first.test'),
  ]
  const store = storeOf(entries)
  const strict = storeOf(entries, { strict: true })

  test.each([
    ['the certificate of that name', 'zebra.test', 'zebra.test'],
    ['the one that has it among its names', 'example.test', 'www.example.test'],
    ['the exact one before a wildcard', 'exact.example.test', 'exact.example.test'],
    ['a wildcard', 'any.example.test', '*.example.test'],
    ['the same in capitals', 'WWW.Example.TEST', 'www.example.test'],
    ['the one whose name is in capitals', 'upper.test', 'UPPER.test'],
    ['the same with a dot at its end', 'zebra.test.', 'zebra.test'],
    ['the same by a wildcard with a dot at its end', 'any.example.test.', '*.example.test'],
  ])('%s', async (_, asked, expected) => {
    for (const each of [store, strict]) {
      await using server = await serve(each)
      expect(await server.asks(asked)).toBe(expected)
    }
  })

  test.each([
    ['a name of nobody', 'nobody.test'],
    ['two labels for one star', 'a.b.example.test'],
    ['no label for a star', '.example.test'],
    ['the end of a name', 'test'],
    ['the name of a property', '__proto__'],
    ['an odd name', '..'],
  ])('the default for %s, and nothing when strict', (_, asked) => {
    expect(store.contextFor(asked)).toBe(store.contextFor('any.example.test'))
    expect(strict.contextFor(asked)).toBe('abort')
  })

  test('the default over the wire for a name of nobody, and no handshake when strict', async () => {
    await using open = await serve(store)
    expect(await open.asks('nobody.test')).toBe('*.example.test')
    await using closed = await serve(strict)
    expect(await closed.asks('nobody.test')).toBe('ECONNRESET')
  })
})

describe('the default', () => {
  const [a, b] = [named('a.test'), named('b.test')]

  test.each([undefined, false, ''] as const)('is for a client that asks for no name (%j)', (none) => {
    const store = storeOf([b, a])
    expect(store.contextFor(none)).toBe(store.contextFor('a.test'))
    expect(storeOf([a], { strict: true }).contextFor(none)).toBe('abort')
  })

  test('is the one given, which is also found by its name, when strict too', async () => {
    const fallback = named('fallback.test')
    const store = storeOf([a, b], { fallback })
    expect(store.contextFor('nobody.test')).toBe(store.contextFor('fallback.test'))
    await using open = await serve(store)
    expect(await open.asks('nobody.test')).toBe('fallback.test')
    await using closed = await serve(storeOf([a, b], { fallback, strict: true }))
    expect(await closed.asks('fallback.test')).toBe('fallback.test')
  })

  test('does not hide the certificate that an entry has for another name', async () => {
    await using server = await serve(storeOf([a, b], { fallback: named('fallback.test', 'a.test') }))
    expect(await server.asks('a.test')).toBe('fallback.test')
    expect(await server.asks('b.test')).toBe('b.test')
  })

  test('is none in an empty store', () => {
    expect(storeOf([]).contextFor('a.test')).toBeUndefined()
    expect(storeOf([], { strict: true }).contextFor('a.test')).toBe('abort')
    expect(storeOf([]).infos()).toEqual([])
  })
})

describe('two certificates of the same name', () => {
  const name = 'both.test'
  const onlyRsa = { sigalgs: 'rsa_pss_rsae_sha256:rsa_pkcs1_sha256' }

  test('with an RSA and an ECDSA key are both served, by what the client can verify', async () => {
    const rsaRoot = openssl('RSA root', '')
    const rsaCa = openssl('for RSA', 'basicConstraints=critical,CA:TRUE', rsaRoot)
    const { cert, key } = rsa(rsaCa, name)
    const ec = { name: 'z.crt', ...ca.intermediate('for ECDSA').issue({ cn: 'ecdsa', dns: [name] }) }
    await using server = await serve(storeOf([{ name: 'a.crt', cert: cert + rsaCa.cert, key }, ec]))
    // Only the roots are trusted: without its intermediate authority, no certificate would do.
    const trusted = { ca: [ca.cert, rsaRoot.cert] }
    for (const asked of [name, 'nobody.test']) {
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        expect(await server.asks(asked, { ...trusted, maxVersion })).toBe('ecdsa')
        expect(await server.asks(asked, { ...trusted, maxVersion, ...onlyRsa })).toBe(name)
      }
    }
  })

  test('with an RSA and an ECDSA key: RSA is served where nothing is known of the client', () => {
    const store = storeOf([{ name: 'a.crt', ...ca.issue({ dns: [name] }) }, rsa(ca, name)])
    expect(store.contextFor(name)).toBe(store.contextFor(name, ['RSA+SHA256']))
    expect(store.contextFor(name)).not.toBe(store.contextFor(name, ['ECDSA+SHA256', 'RSA+SHA256']))
    expect(store.contextFor(name)).toBe(store.contextFor(name, ['Ed25519+UNDEF']))
  })

  test('with the same type of key: the first by name of its file is served', async () => {
    const later = { ...ca.issue({ cn: 'later', dns: [name] }), name: 'b.crt' }
    const sooner = { ...ca.issue({ cn: 'sooner', dns: [name] }), name: 'a.crt' }
    await using server = await serve(storeOf([later, sooner]))
    expect(await server.asks(name)).toBe('sooner')
  })

  test('stay apart for their other names', () => {
    const more = { name: 'z.crt', ...ca.issue({ dns: [name, 'more.test'] }) }
    const store = storeOf([rsa(ca, name), more], { strict: true })
    expect(store.contextFor('more.test', ['RSA+SHA256'])).toBe(store.contextFor(name, ['ECDSA+SHA256']))
    expect(store.contextFor(name, ['RSA+SHA256'])).not.toBe(store.contextFor('more.test'))
  })
})

test('a chain and its key in one text are served', async () => {
  const { name, cert, key } = named('one.test')
  for (const both of [`${cert}${key}`, `${key}${cert}`]) {
    await using server = await serve(storeOf([{ name, cert: both, key: both }], { strict: true }))
    expect(await server.asks('one.test')).toBe('one.test')
  }
})

test('infos tell of each pair, the default first', () => {
  const store = storeOf([named('b.test'), named('a.test')], { fallback: named('c.test') })
  expect(store.infos().map(({ names }) => names)).toEqual([['c.test'], ['a.test'], ['b.test']])
})

describe('a replacement', () => {
  test('is served to the next client', async () => {
    const store = storeOf([named('a.test')], { strict: true })
    await using server = await serve(store)
    store.replace([{ name: 'x', ...ca.issue({ cn: 'new', dns: ['a.test', 'b.test'] }) }])
    expect(await server.asks('a.test')).toBe('new')
    expect(await server.asks('b.test')).toBe('new')
    store.replace([named('b.test')])
    expect(await server.asks('a.test')).toBe('ECONNRESET')
  })

  test('with bad pairs names all of them and changes nothing', async () => {
    const good = named('a.test')
    const store = storeOf([good])
    const before = store.contextFor('a.test')
    const { cert, key } = named('b.test')
    const bad = [
      named('fine.test'),
      { name: 'swapped.crt', cert: key, key: cert },
      { name: 'host/tls.crt', cert, key: good.key },
    ]
    expect(() => store.replace(bad, { cert: '', key })).toThrow(
      /^the default: the certificate is empty.*; host\/tls\.crt: the private key does not belong .*; swapped\.crt: the certificate is not PEM/,
    )
    expect(store.contextFor('a.test')).toBe(before)
    expect(store.infos().map(({ names }) => names)).toEqual([['a.test']])
    expect(store.contextFor('fine.test')).toBe(before)
  })

  test('whose default OpenSSL refuses changes nothing', () => {
    const store = storeOf([named('a.test')])
    const before = store.contextFor('a.test')
    expect(() => store.replace([rsa(ca, 'weak.test', 1024)])).toThrow(
      /^weak\.test\.rsa\.crt cannot be used for TLS: .*key too small/,
    )
    expect(store.contextFor('weak.test')).toBe(before)
  })

  test('with one that OpenSSL refuses says so to those who ask for it, and serves the others', () => {
    const store = storeOf([named('a.test'), rsa(ca, 'weak.test', 1024)])
    for (let client = 0; client < 2; client++) {
      expect(() => store.contextFor('weak.test')).toThrow(/^weak\.test\.rsa\.crt cannot be used for TLS/)
    }
    expect(store.contextFor('a.test')).toBe(store.contextFor(undefined))
  })
})

describe('what contexts cost', () => {
  /** A store that counts what it made, and what of it is still there. */
  function counted(strict = false) {
    const made: WeakRef<SecureContext>[] = []
    const context = (pair: KeyPair) => {
      const fresh = contextOf(pair)
      made.push(new WeakRef(fresh))
      return fresh
    }
    return { made, store: createCertificateStore({ context, strict }) }
  }

  test('1 000 replacements with changing contents leave those in use', async () => {
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    const { made, store } = counted()
    const stays = named('stays.test')
    for (let version = 0; version < 1000; version++) {
      const changed = { name: 'z.crt', ...selfSigned({ names: ['changes.test'] }) }
      store.replace([stays, changed])
      for (const name of ['stays.test', 'changes.test', 'nobody.test']) store.contextFor(name)
      // References count as in use until the end of the turn.
      if (version % 50 === 0) await tick()
    }
    await tick()
    collect()
    await tick()
    collect()
    expect(made).toHaveLength(1001)
    expect(made.filter((ref) => ref.deref() !== undefined).length).toBeLessThan(5)
    expect(store.infos()).toHaveLength(2)
  })

  test('1 000 replacements with the same contents make none', () => {
    const { made, store } = counted()
    const pairs = [named('a.test'), named('b.test')]
    const copies = () =>
      pairs.map(({ name, cert, key }) => ({ name, cert: Buffer.from(cert), key: Buffer.from(key) }))
    store.replace(copies())
    const before = [store.contextFor('a.test'), store.contextFor('b.test')]
    for (let version = 0; version < 1000; version++) store.replace(copies())
    expect([store.contextFor('a.test'), store.contextFor('b.test')]).toEqual(before)
    expect(made).toHaveLength(2)
  })

  test('a pair that no client asks for costs none, but for the default', () => {
    const { made, store } = counted()
    store.replace([named('a.test'), named('b.test'), named('c.test')])
    store.contextFor('b.test')
    store.contextFor('b.test')
    expect(made).toHaveLength(2)
  })

  test('a pair under two names in two files costs one', () => {
    const { made, store } = counted(true)
    const pair = named('a.test', 'b.test')
    store.replace([pair, { ...pair, name: 'copy.crt' }])
    expect(store.contextFor('a.test')).toBe(store.contextFor('b.test'))
    expect(made).toHaveLength(1)
    expect(store.infos()).toHaveLength(1)
  })
})
