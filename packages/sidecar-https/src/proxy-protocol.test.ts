import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import { connect as connectTls, createServer as createTlsServer, TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressText } from './address.ts'
import { type ProxyHeader, type ProxyInfo, proxyHeaderV2, readProxyHeader } from './proxy-protocol.ts'
import { Application, CERTIFICATE, until } from './test-support.ts'

const V1 = Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n')
const V2 = proxyHeaderV2({
  source: { address: '2001:db8::1', port: 56_324 },
  destination: { address: '2001:db8::2', port: 443 },
  alpn: 'h2',
})
const SIGNATURE = '0d0a0d0a000d0a515549540a'
const IPV4_BLOCK = 'c0000201c6336407dc0401bb'

/** The two ends of one TCP connection; the server's end has been read by nobody. */
interface Ends extends AsyncDisposable {
  client: Socket
  server: Socket
}

async function connected(): Promise<Ends> {
  const app = await new Application(createServer({ allowHalfOpen: true, noDelay: true })).listen()
  const accepted = once(app.server, 'connection')
  const client = connectTcp({ port: app.port, host: '127.0.0.1', noDelay: true }).on('error', () => undefined)
  const [server] = (await accepted) as [Socket]
  return {
    client,
    server,
    async [Symbol.asyncDispose]() {
      client.destroy()
      await app[Symbol.asyncDispose]()
    },
  }
}

/** Sends each chunk only when the one before has arrived, so that the other side sees the same chunks. */
async function sendApart({ client, server }: Ends, chunks: readonly Uint8Array[]): Promise<void> {
  let sent = 0
  for (const chunk of chunks) {
    if (chunk.length === 0) continue
    client.write(chunk)
    sent += chunk.length
    while (server.bytesRead < sent && !server.destroyed) await setImmediate()
  }
}

/** What comes of these chunks, and nothing behind them: the header and the bytes left over, or the error. */
async function outcomeOf(chunks: readonly Uint8Array[]): Promise<{ header?: ProxyHeader; rest: string }> {
  await using ends = await connected()
  const reading = readProxyHeader(ends.server, { timeoutMs: 5_000 })
  const outcome = reading.then(
    async (header) => ({ header, rest: await restOf(ends.server) }),
    (error: Error) => ({ rest: error.message }),
  )
  await sendApart(ends, chunks)
  ends.client.end()
  return await outcome
}

async function restOf(socket: Socket): Promise<string> {
  let rest = ''
  socket.on('data', (chunk: Buffer) => {
    rest += chunk.toString('hex')
  })
  await once(socket, 'end')
  return rest
}

/** Byte by byte, at one boundary, or all at once. */
function split(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const cuts = [0, ...at.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return cuts.slice(1).map((cut, index) => bytes.subarray(cuts[index], cut))
}

function v2(versionAndCommand: string, family: string, block: string): Buffer {
  const length = (block.length / 2).toString(16).padStart(4, '0')
  return Buffer.from(`${SIGNATURE}${versionAndCommand}${family}${length}${block}`, 'hex')
}

const PROXY_IPV4 = {
  command: 'proxy',
  source: { address: '192.0.2.1', port: 56_324 },
  destination: { address: '198.51.100.7', port: 443 },
}

describe('a header of version 1', () => {
  test.each([
    ['TCP4', 'TCP4 192.0.2.1 198.51.100.7 56324 443', '192.0.2.1', 56_324],
    ['TCP6', 'TCP6 2001:DB8:0:0::1 2001:db8::2 0 65535', '2001:db8::1', 0],
    [
      'TCP6 with IPv4-mapped addresses, which are IPv4',
      'TCP6 ::ffff:10.1.2.3 ::ffff:a01:203 1 2',
      '10.1.2.3',
      1,
    ],
  ])('gives the addresses of %s', async (_, line, address, port) => {
    const { header } = await outcomeOf([Buffer.from(`PROXY ${line}\r\n`)])
    expect(header).toMatchObject({ version: 1, command: 'proxy', source: { address, port } })
    expect(header?.tlvs.size).toBe(0)
  })

  test.each(['', ' ', ' whatever \0 this is', ` ${'f'.repeat(90)}`])(
    'may be UNKNOWN%j, which tells nothing',
    async (text) => {
      const { header, rest } = await outcomeOf([Buffer.from(`PROXY UNKNOWN${text}\r\nhello`)])
      expect(header).toEqual({ version: 1, command: 'proxy', tlvs: new Map() })
      expect(rest).toBe(Buffer.from('hello').toString('hex'))
    },
  )

  test('may have 107 bytes and not one more', async () => {
    const line = (bytes: number) => Buffer.from(`${'PROXY UNKNOWN '.padEnd(bytes - 2, 'f')}\r\n`)
    expect((await outcomeOf([line(107)])).header).toBeDefined()
    expect((await outcomeOf([line(108)])).rest).toBe('the PROXY protocol line is over 107 bytes')
    expect((await outcomeOf([Buffer.from('PROXY '.padEnd(2000, 'f'))])).rest).toMatch(/over 107/)
  })

  test.each([
    ['an address of the other family', 'TCP4 2001:db8::1 2001:db8::2 1 2\r\n'],
    ['an IPv4 address where IPv6 is announced', 'TCP6 192.0.2.1 192.0.2.2 1 2\r\n'],
    ['an address with leading zeros', 'TCP4 192.0.2.01 192.0.2.2 1 2\r\n'],
    ['an address with a zone', 'TCP6 fe80::1%eth0 fe80::2 1 2\r\n'],
    ['a host name', 'TCP4 localhost 192.0.2.2 1 2\r\n'],
    ['a port above 65535', 'TCP4 192.0.2.1 192.0.2.2 65536 2\r\n'],
    ['a port with leading zeros', 'TCP4 192.0.2.1 192.0.2.2 01 2\r\n'],
    ['a port that is no number', 'TCP4 192.0.2.1 192.0.2.2 1e3 2\r\n'],
    ['two spaces', 'TCP4 192.0.2.1  192.0.2.2 1 2\r\n'],
    ['a space at the end', 'TCP4 192.0.2.1 192.0.2.2 1 2 \r\n'],
    ['too few fields', 'TCP4 192.0.2.1 192.0.2.2 1\r\n'],
    ['an unknown family', 'UDP4 192.0.2.1 192.0.2.2 1 2\r\n'],
    ['a family in small letters', 'tcp4 192.0.2.1 192.0.2.2 1 2\r\n'],
  ])('is refused for %s', async (_, line) => {
    expect((await outcomeOf([Buffer.from(`PROXY ${line}`)])).rest).toContain('is expected')
  })

  test.each(['UNKNOWN\n', 'UNKNOWN\rx', 'TCP4 192.0.2.1 192.0.2.2\n1 2\r\n'])(
    'is refused for the bare end in %j',
    async (line) => {
      expect((await outcomeOf([Buffer.from(`PROXY ${line}`)])).rest).toMatch(/bare CR or LF/)
    },
  )
})

describe('a header of version 2', () => {
  test.each([
    ['TCP over IPv4', '11', IPV4_BLOCK],
    ['UDP over IPv4', '12', IPV4_BLOCK],
    [
      'TCP over IPv6 with IPv4-mapped addresses, which are IPv4',
      '21',
      '00000000000000000000ffffc000020100000000000000000000ffffc6336407dc0401bb',
    ],
  ])('gives the addresses of %s', async (_, family, block) => {
    const { header } = await outcomeOf([v2('21', family, block)])
    expect(header).toEqual({ version: 2, ...PROXY_IPV4, tlvs: new Map() })
  })

  test.each([
    ['LOCAL', '20', '00', ''],
    ['LOCAL with a family and bytes that are to be ignored', '20', 'ff', 'ff00'],
    ['an unspecified family', '21', '01', 'ff00'],
    ['an unspecified transport', '21', '10', IPV4_BLOCK],
    ['UNIX', '21', '31', '00'.repeat(216)],
  ])('has no source with %s', async (_, command, family, block) => {
    const { header, rest } = await outcomeOf([v2(command, family, block), Buffer.from('!')])
    expect(header).toEqual({ version: 2, command: command === '20' ? 'local' : 'proxy', tlvs: new Map() })
    expect(rest).toBe('21')
  })

  test('gives its TLVs by type, of several alike the first, in every family that has a known length', async () => {
    const tlvs = 'ea0002cafe' + 'ea0001ff' + '040000'
    for (const block of [
      v2('21', '11', `${IPV4_BLOCK}${tlvs}`),
      v2('21', '31', `${'00'.repeat(216)}${tlvs}`),
    ]) {
      const { header } = await outcomeOf([block])
      expect([...(header?.tlvs ?? [])]).toEqual([
        [0xea, Buffer.from('cafe', 'hex')],
        [0x04, Buffer.alloc(0)],
      ])
    }
  })

  test.each([
    ['another version', v2('11', '11', IPV4_BLOCK), 'version and command 0x11'],
    ['an unknown command', v2('22', '11', IPV4_BLOCK), 'version and command 0x22'],
    ['an unknown family', v2('21', '41', IPV4_BLOCK), '0x41'],
    ['an unknown transport', v2('21', '13', IPV4_BLOCK), '0x13'],
    ['too few bytes for IPv4', v2('21', '11', IPV4_BLOCK.slice(2)), '11 bytes for the 12'],
    ['too few bytes for IPv6', v2('21', '21', IPV4_BLOCK), '12 bytes for the 36'],
    ['too few bytes for UNIX', v2('21', '31', ''), '0 bytes for the 216'],
    ['a TLV without its length', v2('21', '11', `${IPV4_BLOCK}0100`), 'within a TLV'],
    ['a TLV longer than the header', v2('21', '11', `${IPV4_BLOCK}010002ff`), 'within a TLV'],
    ['a length over 4 KiB', v2('21', '11', '00'.repeat(4081)).subarray(0, 16), '4097 bytes: at most 4096'],
  ])('is refused for %s', async (_, bytes, why) => {
    expect((await outcomeOf([bytes])).rest).toContain(why)
  })
})

describe('whatever comes', () => {
  test.each([
    ['V1', V1],
    ['V2', V2],
  ])('a header %s leaves exactly the rest, split at every byte', async (_, header) => {
    const bytes = Buffer.concat([header, Buffer.from('hello')])
    const whole = await outcomeOf([bytes])
    expect(whole.rest).toBe(Buffer.from('hello').toString('hex'))
    for (let at = 1; at < bytes.length; at += 1) {
      expect(await outcomeOf(split(bytes, [at]))).toEqual(whole)
    }
    expect(await outcomeOf([...bytes].map((byte) => Buffer.from([byte])))).toEqual(whole)
  })

  test.each([
    ['V1', V1],
    ['V2', V2],
  ])('a header %s that is cut short is refused at every byte', async (_, header) => {
    for (let length = 0; length < header.length; length += 1) {
      const { rest } = await outcomeOf([header.subarray(0, length)])
      expect(rest).toBe(`the connection ended within the PROXY protocol header, after ${length} bytes`)
    }
  })

  test('the same bytes have the same outcome in any chunks', async () => {
    const mutated = fc
      .tuple(fc.constantFrom(V1, V2), fc.nat(V2.length - 1), fc.nat(255))
      .map(([header, at, byte]) =>
        Buffer.from(header).fill(byte, at % header.length, (at % header.length) + 1),
      )
    const bytes = fc.oneof(
      mutated,
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 60 }).map((block) => v2('21', '11', Buffer.from(block).toString('hex'))),
      fc.stringMatching(/^[TCPUNK46 :.0-9a-f\r\n]{0,110}$/).map((line) => Buffer.from(`PROXY ${line}\r\n`)),
    )
    await fc.assert(
      fc.asyncProperty(bytes, fc.array(fc.nat(), { maxLength: 5 }), async (sent, at) => {
        expect(await outcomeOf(split(sent, at))).toEqual(await outcomeOf([sent]))
      }),
      { numRuns: 300 },
    )
  })

  test('a header that was cut short before anybody looked is refused at once', async () => {
    await using ends = await connected()
    ends.client.end(V1.subarray(0, 20))
    await until(() => ends.server.bytesRead === 20, 'all that comes')
    await delay(50)
    await expect(readProxyHeader(ends.server, { timeoutMs: 5_000 })).rejects.toThrow('after 20 bytes')
  })

  test.each([
    ['a TLS handshake', '160301', '0x16'],
    ['an HTTP request', Buffer.from('POST / HTTP/1.1\r\n').toString('hex'), '0x504f'],
    ['almost a signature', '0d0a0d0a000d0a5155495400', '0x0d0a0d0a000d0a5155495400'],
  ])('%s is no header', async (_, bytes, found) => {
    const { rest } = await outcomeOf([Buffer.from(bytes, 'hex')])
    expect(rest).toMatch(new RegExp(`^no PROXY protocol header: the connection begins with ${found};`))
  })

  test('a header that is not whole in time is refused', async () => {
    await using ends = await connected()
    ends.client.write(V1.subarray(0, 20))
    const reading = readProxyHeader(ends.server, { timeoutMs: 50 })
    await expect(reading).rejects.toThrow('no whole PROXY protocol header within 50 ms')
  })

  test('a connection that is reset is refused', async () => {
    await using ends = await connected()
    const reading = readProxyHeader(ends.server, { timeoutMs: 5_000 })
    ends.client.resetAndDestroy()
    await expect(reading).rejects.toThrow('ECONNRESET')
  })

  test('a connection that is closed already is refused', async () => {
    await using ends = await connected()
    ends.server.destroy()
    await expect(readProxyHeader(ends.server, { timeoutMs: 5_000 })).rejects.toThrow('after 0 bytes')
  })

  test('nothing is left behind on the socket', async () => {
    await using ends = await connected()
    const names = ['readable', 'end', 'close', 'error', 'data']
    const listeners = () => names.map((name) => ends.server.listenerCount(name))
    const before = listeners()
    ends.client.write(V1)
    await readProxyHeader(ends.server, { timeoutMs: 5_000 })
    expect(listeners()).toEqual(before)
  })
})

describe('behind the header', () => {
  test.each(['at once', 'a turn later'])(
    'a reader of "data" that comes %s gets the rest and the end',
    async (when) => {
      await using ends = await connected()
      ends.client.end(Buffer.concat([V1, Buffer.from('hello')]))
      await readProxyHeader(ends.server, { timeoutMs: 5_000 })
      if (when === 'a turn later') await until(() => ends.server.bytesRead > V1.length, 'the rest')
      expect(await restOf(ends.server)).toBe(Buffer.from('hello').toString('hex'))
    },
  )

  test('a reader learns of the end that came with the header', async () => {
    await using ends = await connected()
    ends.client.end(V2)
    await until(() => ends.server.bytesRead === V2.length, 'the header')
    await readProxyHeader(ends.server, { timeoutMs: 5_000 })
    expect(await restOf(ends.server)).toBe('')
  })

  test('a pipe gets megabytes in order', async () => {
    await using ends = await connected()
    const bytes = Buffer.from(Uint32Array.from({ length: 2 ** 20 }, (_, index) => index).buffer)
    ends.client.write(V2)
    ends.client.end(bytes)
    await readProxyHeader(ends.server, { timeoutMs: 5_000 })
    const chunks: Buffer[] = []
    for await (const chunk of ends.server) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true)
  })

  test('an HTTP server gets the request', async () => {
    const http = createHttpServer((req, res) => res.end(req.url))
    await using ends = await connected()
    ends.client.write(Buffer.concat([V1, Buffer.from('GET /there HTTP/1.0\r\n\r\n')]))
    await readProxyHeader(ends.server, { timeoutMs: 5_000 })
    http.emit('connection', ends.server)
    expect(Buffer.from(await restOf(ends.client), 'hex').toString()).toMatch(/^HTTP\/1\.1 200 .*\/there$/s)
  })
})

/** The client's TLS, whose first flight goes out behind the header, with a cut at one place. */
class CutTransport extends Duplex {
  readonly #ends: Ends
  readonly #header: Buffer
  readonly #at: number
  firstFlight = 0

  constructor(ends: Ends, header: Buffer, at: number) {
    super()
    this.#ends = ends
    this.#header = header
    this.#at = at
    ends.client.on('data', (chunk) => this.push(chunk)).on('close', () => this.destroy())
  }

  override _read(): void {}

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    if (this.firstFlight > 0) {
      this.#ends.client.write(chunk)
      done()
      return
    }
    this.firstFlight = this.#header.length + chunk.length
    void sendApart(this.#ends, split(Buffer.concat([this.#header, chunk]), [this.#at])).then(done)
  }
}

describe('TLS behind the header', () => {
  const servers: [string, (socket: Socket) => TLSSocket | Server][] = [
    ['new TLSSocket()', (socket) => new TLSSocket(socket, { isServer: true, ...CERTIFICATE })],
    [
      'a TLS server that is given the connection',
      (socket) => {
        const server = createTlsServer(CERTIFICATE)
        server.emit('connection', socket)
        return server
      },
    ],
  ]

  /** Whether a handshake is done and bytes pass both ways; gives the length of header and first flight. */
  async function handshakeCutAt(ends: Ends, at: number, serve: (typeof servers)[0][1]): Promise<number> {
    const transport = new CutTransport(ends, V2, at)
    const client = connectTls({ socket: transport, rejectUnauthorized: false, ecdhCurve: 'X25519' })
    client.on('error', () => undefined)
    await readProxyHeader(ends.server, { timeoutMs: 5_000 })
    const tls = serve(ends.server)
    const secure = tls instanceof TLSSocket ? tls : ((await once(tls, 'secureConnection')) as [TLSSocket])[0]
    secure.on('error', () => undefined)
    client.write('ping')
    expect(String((await once(secure, 'data'))[0])).toBe('ping')
    secure.write('pong')
    expect(String((await once(client, 'data'))[0])).toBe('pong')
    client.destroy()
    return transport.firstFlight
  }

  test.each(servers)('is spoken by %s, wherever header and first flight are cut', async (_, serve) => {
    let length = 1
    for (let at = 0; at <= length; at += 1) {
      await using ends = await connected()
      length = await handshakeCutAt(ends, at, serve)
    }
    expect(length).toBeGreaterThan(V2.length + 100)
  })
})

describe('a header that is written', () => {
  const port = fc.nat(65_535)
  const ip = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map(addressText)
  const endpoint = fc.record({ address: fc.oneof(ip(4), ip(16)), port })
  const text = fc.string({ unit: 'binary', maxLength: 60 })
  const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
  const bytes = fc.uint8Array({ maxLength: 2000 }).map((content) => Buffer.from(content))
  const infos: fc.Arbitrary<ProxyInfo> = fc.record({
    source: optional(endpoint),
    destination: optional(endpoint),
    alpn: optional(text),
    authority: optional(text),
    tls: optional(
      fc.record({
        version: text,
        resumed: fc.boolean(),
        cipher: optional(text),
        client: optional(
          fc.record({ verified: fc.boolean(), commonName: optional(text), certificate: optional(bytes) }),
        ),
      }),
    ),
  })

  /** The inverse of the writer, written apart from it. */
  function told({ source, destination, tlvs, command }: ProxyHeader): ProxyInfo | 'local' {
    if (command === 'local') return 'local'
    const ssl = tlvs.get(0x20)
    const sub = subTlvs(ssl?.subarray(5))
    const flags = ssl?.[0] ?? 0
    return {
      source,
      destination,
      alpn: tlvs.get(0x01)?.toString(),
      authority: tlvs.get(0x02)?.toString(),
      tls: ssl && {
        version: `${sub.get(0x21)}`,
        resumed: (flags & 6) === 4,
        cipher: sub.get(0x23)?.toString(),
        client:
          (flags & 4) === 0
            ? undefined
            : {
                verified: ssl.readUInt32BE(1) === 0,
                commonName: sub.get(0x22)?.toString(),
                certificate: sub.get(0x28),
              },
      },
    }
  }

  function subTlvs(rest: Buffer = Buffer.alloc(0)): Map<number, Buffer> {
    if (rest.length === 0) return new Map()
    const end = 3 + rest.readUInt16BE(1)
    return subTlvs(rest.subarray(end)).set(rest.readUInt8(0), rest.subarray(3, end))
  }

  test('is read as it was meant', async () => {
    await fc.assert(
      fc.asyncProperty(infos, async (info) => {
        const { header, rest } = await outcomeOf([proxyHeaderV2(info), Buffer.from('!')])
        const { tls } = info
        const expected = tls && { ...tls, resumed: tls.client !== undefined && tls.resumed }
        const isLocal = info.source === undefined || info.destination === undefined
        expect(header && told(header)).toEqual(isLocal ? 'local' : { ...info, tls: expected })
        expect(rest).toBe('21')
      }),
      { numRuns: 300 },
    )
  })

  test('has the bytes that the specification gives for TCP over IPv4', () => {
    const written = proxyHeaderV2({
      source: PROXY_IPV4.source,
      destination: PROXY_IPV4.destination,
      authority: 'a.test',
      tls: { version: 'TLSv1.3', resumed: false },
    })
    const authority = '020006612e74657374'
    const ssl = '20000f' + '01' + '00000001' + '210007544c5376312e33'
    expect(written.toString('hex')).toBe(v2('21', '11', `${IPV4_BLOCK}${authority}${ssl}`).toString('hex'))
  })

  test('says LOCAL and nothing more of a client without an address', () => {
    expect(proxyHeaderV2({ alpn: 'h2' }).toString('hex')).toBe(`${SIGNATURE}20000000`)
  })

  test('maps the IPv4 address beside an IPv6 one', () => {
    const written = proxyHeaderV2({
      source: { address: '192.0.2.1', port: 1 },
      destination: { address: 'fe80::1%eth0', port: 2 },
    })
    const mapped = '00000000000000000000ffffc0000201'
    const linkLocal = 'fe800000000000000000000000000001'
    expect(written.toString('hex')).toBe(v2('21', '21', `${mapped}${linkLocal}00010002`).toString('hex'))
  })

  test('tells a certificate of an earlier handshake from one of this', () => {
    const flags = (resumed: boolean) => {
      const tls = { version: '', resumed, client: { verified: true } }
      return proxyHeaderV2({ ...PROXY_IPV4, tls })[16 + 12 + 3]
    }
    expect([flags(false), flags(true)]).toEqual([0b111, 0b101])
  })

  test('refuses what does not fit the format', () => {
    const certificate = Buffer.alloc(65_530)
    const tls = { version: 'TLSv1.3', resumed: false, client: { verified: true, certificate } }
    expect(() => proxyHeaderV2({ ...PROXY_IPV4, tls })).toThrow('leave out the client certificate')
    expect(() => proxyHeaderV2({ ...PROXY_IPV4, alpn: 'x'.repeat(65_536) })).toThrow('over 65535')
  })

  test('refuses an address that is none, by name', () => {
    const source = { address: 'localhost', port: 1 }
    expect(() => proxyHeaderV2({ ...PROXY_IPV4, source })).toThrow('"localhost" is no IP address')
  })
})
