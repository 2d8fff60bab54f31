import { isIPv4, isIPv6, type Socket } from 'node:net'
import { addressBytes, addressText, mappedBytes } from './address.ts'

export interface ProxyAddress {
  address: string
  port: number
}

/** What a proxy in front says of a connection. */
export interface ProxyHeader {
  version: 1 | 2
  /** `local`: the proxy speaks for itself, as in a health check. */
  command: 'proxy' | 'local'
  /**
   * The client; absent where the addresses of the connection itself count: UNKNOWN, UNSPEC, AF_UNIX, LOCAL.
   */
  source?: ProxyAddress
  destination?: ProxyAddress
  /** By type; of several alike the first. Empty in version 1, and where the header says UNSPEC or LOCAL. */
  tlvs: ReadonlyMap<number, Buffer>
}

/** What is to be told of a client. */
export interface ProxyInfo {
  /** Without both addresses, as on a Unix socket, the header says LOCAL and nothing more. */
  source?: ProxyAddress | undefined
  destination?: ProxyAddress | undefined
  alpn?: string | undefined
  /** The server name that the client asked for. */
  authority?: string | undefined
  tls?: ProxyTls | undefined
}

export interface ProxyTls {
  /** Such as `TLSv1.3`. */
  version: string
  /** The session is an earlier one: its certificate was not presented again. */
  resumed: boolean
  cipher?: string | undefined
  /** Present when the client has a certificate. */
  client?: ProxyTlsClient | undefined
}

export interface ProxyTlsClient {
  verified: boolean
  commonName?: string | undefined
  /** DER. */
  certificate?: Buffer | undefined
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const V1_START = Buffer.from('PROXY ')
const V1_MOST = 107
const V2_FIXED = 16
// The format allows 65 551; addresses and a client certificate fit, and a connection may not cost more.
const V2_MOST = 4096
const PORT = /^(0|[1-9][0-9]{0,4})$/
const CR = 13
const LF = 10
const V2_PROXY = 0x21
const V2_LOCAL = 0x20
const TCP4 = 0x11
const TCP6 = 0x21
/** By address family: AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX. */
const ADDRESS_SIZES = [0, 4, 16, 108]
const NO_TLVS: ReadonlyMap<number, Buffer> = new Map()

/** Type numbers of proxy-protocol.txt 2.2; CLIENT_CERTIFICATE is an extension that ghostunnel made. */
const TLV = {
  ALPN: 0x01,
  AUTHORITY: 0x02,
  SSL: 0x20,
  SSL_VERSION: 0x21,
  SSL_CN: 0x22,
  SSL_CIPHER: 0x23,
  SSL_CLIENT_CERTIFICATE: 0x28,
}
const CLIENT_SSL = 0x01
const CLIENT_CERT_CONN = 0x02
const CLIENT_CERT_SESS = 0x04

interface Parsed {
  header: ProxyHeader
  /** In bytes. */
  length: number
}

/**
 * Reads the PROXY protocol header (haproxy, proxy-protocol.txt, versions 1 and 2) with which a freshly
 * accepted connection must begin, and leaves every byte behind it, and the end, to the next reader of the
 * socket. Rejects when the header is malformed, over 4 KiB, cut short or not complete within `timeoutMs`; the
 * socket is to be destroyed then. Call it before anything else reads, and only for peers that are trusted:
 * whoever sends a header chooses his address.
 */
export function readProxyHeader(socket: Socket, { timeoutMs }: { timeoutMs: number }): Promise<ProxyHeader> {
  return new Promise((resolve, reject) => {
    let seen = Buffer.alloc(0)
    const stop = () => {
      clearTimeout(timer)
      socket.off('readable', read).off('end', truncated).off('close', truncated).off('error', fail)
    }
    const fail = (error: Error) => {
      stop()
      // The connection may still be reset before it is destroyed.
      socket.on('error', () => undefined)
      reject(error)
    }
    const truncated = () =>
      fail(new Error(`the connection ended within the PROXY protocol header, after ${seen.length} bytes`))
    const read = () => {
      // By number: asked for everything, Node would emit the end before the next reader can listen for it.
      const chunk: Buffer | null = socket.read(socket.readableLength)
      if (chunk !== null) seen = Buffer.concat([seen, chunk])
      try {
        const parsed = parse(seen)
        if (parsed === undefined) {
          // Makes Node tell of an end that came together with the bytes.
          socket.read(0)
          return
        }
        stop()
        if (seen.length > parsed.length) socket.unshift(seen.subarray(parsed.length))
        resolve(parsed.header)
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)))
      }
    }
    const timer = setTimeout(
      () => fail(new Error(`no whole PROXY protocol header within ${timeoutMs} ms`)),
      timeoutMs,
    )
    if (socket.readable) {
      socket.on('readable', read).on('end', truncated).on('close', truncated).on('error', fail)
    } else {
      truncated()
    }
  })
}

/**
 * Undefined while bytes are missing. Throws when they cannot become a header; more bytes change neither
 * outcome.
 */
function parse(bytes: Buffer): Parsed | undefined {
  const start = bytes[0] === SIGNATURE[0] ? SIGNATURE : V1_START
  const fault = bytes.subarray(0, start.length).findIndex((byte, index) => byte !== start[index])
  if (fault >= 0) {
    const found = bytes.toString('hex', 0, fault + 1)
    throw new Error(
      `no PROXY protocol header: the connection begins with 0x${found}; does the proxy send one?`,
    )
  }
  return start === SIGNATURE ? parseV2(bytes) : parseV1(bytes)
}

function parseV1(bytes: Buffer): Parsed | undefined {
  const end = bytes.subarray(0, V1_MOST).findIndex((byte) => byte === CR || byte === LF)
  if (end === V1_MOST - 1 || (end < 0 && bytes.length >= V1_MOST)) {
    throw new Error(`the PROXY protocol line is over ${V1_MOST} bytes`)
  }
  const behind = bytes[end + 1]
  if (end < 0 || (bytes[end] === CR && behind === undefined)) return undefined
  if (bytes[end] !== CR || behind !== LF) throw new Error('the PROXY protocol line has a bare CR or LF')
  return { header: readLine(bytes.toString('latin1', 0, end)), length: end + 2 }
}

function readLine(line: string): ProxyHeader {
  const [, family, ...fields] = line.split(' ')
  // What follows UNKNOWN up to the end of the line is to be ignored.
  if (family === 'UNKNOWN') return { version: 1, command: 'proxy', tlvs: NO_TLVS }
  const [source = '', destination = '', sourcePort = '', destinationPort = ''] = fields
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isUnscopedIPv6 : () => false
  if (
    fields.length !== 4 ||
    !(isAddress(source) && isAddress(destination) && isPort(sourcePort) && isPort(destinationPort))
  ) {
    throw new Error(
      `the PROXY protocol line is ${JSON.stringify(line)}: ` +
        '"PROXY TCP4|TCP6 <source> <destination> <source port> <destination port>" is expected',
    )
  }
  return {
    version: 1,
    command: 'proxy',
    source: { address: canonical(source), port: Number(sourcePort) },
    destination: { address: canonical(destination), port: Number(destinationPort) },
    tlvs: NO_TLVS,
  }
}

function isUnscopedIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%')
}

function isPort(text: string): boolean {
  return PORT.test(text) && Number(text) <= 65_535
}

function canonical(address: string): string {
  const bytes = addressBytes(address)
  return bytes === undefined ? address : addressText(bytes)
}

function parseV2(bytes: Buffer): Parsed | undefined {
  if (bytes.length < V2_FIXED) return undefined
  const command = bytes.readUInt8(12)
  if (command !== V2_PROXY && command !== V2_LOCAL) {
    throw new Error(
      `the PROXY protocol header has version and command ${hex(command)}: 0x21 or 0x20 is expected`,
    )
  }
  const family = bytes.readUInt8(13)
  // Of LOCAL the family is not even looked at.
  if (command === V2_PROXY && (family >> 4 > 3 || (family & 0x0f) > 2)) {
    throw new Error(`the PROXY protocol header has the unknown address family and transport ${hex(family)}`)
  }
  const length = V2_FIXED + bytes.readUInt16BE(14)
  if (length > V2_MOST) {
    throw new Error(`the PROXY protocol header has ${length} bytes: at most ${V2_MOST} are read`)
  }
  if (bytes.length < length) return undefined
  if (command === V2_LOCAL) return { header: { version: 2, command: 'local', tlvs: NO_TLVS }, length }
  return { header: readBlock(family, bytes.subarray(V2_FIXED, length)), length }
}

function readBlock(family: number, block: Buffer): ProxyHeader {
  // Unspecified: how long the addresses are is unknown too, and with it where the TLVs begin.
  if (family >> 4 === 0 || (family & 0x0f) === 0) return { version: 2, command: 'proxy', tlvs: NO_TLVS }
  const size = ADDRESS_SIZES[family >> 4] ?? 0
  const isUnix = size === 108
  const ports = 2 * size
  const addresses = isUnix ? ports : ports + 4
  if (block.length < addresses) {
    throw new Error(
      `the PROXY protocol header has ${block.length} bytes for the ${addresses} of family ${hex(family)}`,
    )
  }
  const tlvs = readTlvs(block.subarray(addresses))
  if (isUnix) return { version: 2, command: 'proxy', tlvs }
  return {
    version: 2,
    command: 'proxy',
    source: { address: addressText(block.subarray(0, size)), port: block.readUInt16BE(ports) },
    destination: { address: addressText(block.subarray(size, ports)), port: block.readUInt16BE(ports + 2) },
    tlvs,
  }
}

function readTlvs(bytes: Buffer): Map<number, Buffer> {
  const tlvs = new Map<number, Buffer>()
  for (let at = 0; at < bytes.length; ) {
    const value = at + 3
    const end = value > bytes.length ? Number.POSITIVE_INFINITY : value + bytes.readUInt16BE(at + 1)
    if (end > bytes.length) throw new Error('the PROXY protocol header ends within a TLV')
    const type = bytes.readUInt8(at)
    // A copy: a view would keep all that was read with it.
    if (!tlvs.has(type)) tlvs.set(type, Buffer.from(bytes.subarray(value, end)))
    at = end
  }
  return tlvs
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`
}

/**
 * The PROXY protocol header, version 2, that goes before the first byte of the client: TCP over IPv4, or over
 * IPv6 with an IPv4 address beside an IPv6 one mapped. Throws when an address is none, or when the header is
 * over the 65 551 bytes of the format, as a client with an enormous certificate can make it.
 */
export function proxyHeaderV2(info: ProxyInfo): Buffer {
  const { source, destination } = info
  if (source === undefined || destination === undefined) return header(V2_LOCAL, 0, Buffer.alloc(0))
  const ends = [bytesOf(source.address), bytesOf(destination.address)]
  const isIPv4Pair = ends.every((bytes) => bytes.length === 4)
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(source.port, 0)
  ports.writeUInt16BE(destination.port, 2)
  const block = [...(isIPv4Pair ? ends : ends.map(mappedBytes)), ports, ...tlvsOf(info)]
  return header(V2_PROXY, isIPv4Pair ? TCP4 : TCP6, Buffer.concat(block))
}

function header(command: number, family: number, block: Buffer): Buffer {
  const length = V2_FIXED + block.length
  if (block.length > 0xffff) {
    throw new Error(
      `a PROXY protocol header of ${length} bytes is over 65551: leave out the client certificate`,
    )
  }
  return Buffer.concat([SIGNATURE, Buffer.from([command, family]), uint16(block.length), block], length)
}

function bytesOf(address: string): Buffer {
  const bytes = addressBytes(address)
  if (bytes === undefined) throw new Error(`"${address}" is no IP address to tell in a PROXY protocol header`)
  return bytes
}

function tlvsOf({ alpn, authority, tls }: ProxyInfo): Buffer[] {
  return [...tlv(TLV.ALPN, alpn), ...tlv(TLV.AUTHORITY, authority), ...(tls ? tlv(TLV.SSL, sslOf(tls)) : [])]
}

function sslOf({ version, resumed, cipher, client }: ProxyTls): Buffer {
  const presented = resumed ? CLIENT_CERT_SESS : CLIENT_CERT_CONN | CLIENT_CERT_SESS
  // Zero only for a certificate that was presented and verified.
  const verify = client?.verified === true ? 0 : 1
  return Buffer.concat([
    Buffer.from([CLIENT_SSL | (client ? presented : 0), 0, 0, 0, verify]),
    ...tlv(TLV.SSL_VERSION, version),
    ...tlv(TLV.SSL_CN, client?.commonName),
    ...tlv(TLV.SSL_CIPHER, cipher),
    ...tlv(TLV.SSL_CLIENT_CERTIFICATE, client?.certificate),
  ])
}

function tlv(type: number, value: string | Buffer | undefined): Buffer[] {
  if (value === undefined) return []
  const content = Buffer.from(value)
  if (content.length > 0xffff) {
    throw new Error(`a TLV of ${content.length} bytes is over 65535: leave out the client certificate`)
  }
  return [Buffer.from([type]), uint16(content.length), content]
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
