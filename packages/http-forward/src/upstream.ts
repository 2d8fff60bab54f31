import { connect as connectTcp, isIP, type NetConnectOpts, type OnReadOpts, type Socket } from 'node:net'
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect as connectTls,
  createSecureContext,
} from 'node:tls'

/** The application let a deadline pass. */
export class UpstreamTimeout extends Error {
  override readonly name = 'UpstreamTimeout'
}

/** The application said something that is not HTTP, or not all of it. */
export class UpstreamFault extends Error {
  override readonly name = 'UpstreamFault'
}

export interface UpstreamTls {
  /** PEM; the system's own authorities when not given. */
  readonly ca?: string | Buffer
  /** What the certificate must be for; the target's host when not given. */
  readonly name?: string
  /** PEM, of the certificate that is shown to the application. */
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
}

export interface UpstreamOptions {
  /** Until a connection is there, its TLS handshake included; 5 000 ms by default. */
  readonly connectTimeoutMs?: number
  /** From the last byte of a request until the head of its response; 60 000 ms by default. */
  readonly responseTimeoutMs?: number
  /**
   * How long an unused connection is kept; 4 000 ms by default, below the 5 s after which a Node application closes
   * it: a request that is not idempotent cannot be repeated when it meets that moment.
   */
  readonly idleMs?: number
  /** Connections that may be kept while unused; 1 024 by default. */
  readonly idleMost?: number
  readonly tls?: UpstreamTls
}

/** One application to which requests go. */
export interface Upstream {
  /** For reports and labels; as given, without a password. */
  readonly name: string
  /** `host:port` as a Host header has it. */
  readonly authority: string
  readonly options: Required<
    Pick<UpstreamOptions, 'connectTimeoutMs' | 'responseTimeoutMs' | 'idleMs' | 'idleMost'>
  >
  /** Opens a connection. */
  connect(onread?: OnReadOpts): Socket
  /** The event after which it can be used. */
  readonly ready: 'connect' | 'secureConnect'
  /** With other TLS material for the requests that begin from now on. Throws when it cannot be used. */
  useTls(tls: UpstreamTls): void
  /** Grows with each `useTls`: connections of an earlier one serve no further request. */
  readonly epoch: number
}

/**
 * @param target `http://host:port`, `https://host:port` or `unix:/path/of/socket`
 * Throws an Error that says what is wrong with the target.
 */
export function createUpstream(target: string | URL, options: UpstreamOptions = {}): Upstream {
  const timeouts = {
    connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
    responseTimeoutMs: options.responseTimeoutMs ?? 60_000,
    idleMs: options.idleMs ?? 4_000,
    idleMost: options.idleMost ?? 1_024,
  }
  const text = String(target)
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '')
    if (path === '' || path.includes('\0'))
      throw new Error(`the target ${JSON.stringify(text)} names no socket`)
    return plain(text, 'localhost', { path }, timeouts)
  }
  const url = parse(text)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (url.protocol === 'http:') {
    return plain(text, url.host, { host, port: Number(url.port || 80), noDelay: true }, timeouts)
  }
  return secured(text, url, host, options, timeouts)
}

function parse(text: string): URL {
  const remedy = 'give an origin such as http://127.0.0.1:8080, https://host:8443 or unix:/run/app.sock'
  if (!URL.canParse(text)) throw new Error(`the target ${JSON.stringify(text)} is no URL: ${remedy}`)
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new Error(`the target ${text} has the scheme ${url.protocol.slice(0, -1)}: ${remedy}`)
  }
  if (url.href !== `${url.origin}/`)
    throw new Error(`the target ${url.origin} has more than an origin: ${remedy}`)
  return url
}

function plain(name: string, authority: string, to: NetConnectOpts, options: Upstream['options']): Upstream {
  return {
    name,
    authority,
    options,
    ready: 'connect',
    connect: (onread) => connectTcp(onread === undefined ? to : { ...to, onread }),
    useTls() {
      throw new Error(`the target ${name} is not reached over TLS`)
    },
    epoch: 0,
  }
}

function secured(
  name: string,
  url: URL,
  host: string,
  options: UpstreamOptions,
  timeouts: Upstream['options'],
): Upstream {
  let to: ConnectionOptions
  let session: Buffer | undefined
  let epoch = -1
  const useTls = ({ name: expected = host, ...material }: UpstreamTls) => {
    // Made once: each one costs memory that the garbage collector does not see (nodejs/node#66002).
    const secureContext = createSecureContext({ ...material, minVersion: 'TLSv1.2' })
    session = undefined
    epoch += 1
    to = {
      host,
      port: Number(url.port || 443),
      secureContext,
      checkServerIdentity: (_, certificate) => checkServerIdentity(expected, certificate),
      ALPNProtocols: ['http/1.1'],
      // Whatever the environment says.
      rejectUnauthorized: true,
      ...(isIP(expected) > 0 ? {} : { servername: expected }),
    }
  }
  useTls(options.tls ?? {})
  return {
    name,
    authority: url.host,
    options: timeouts,
    ready: 'secureConnect',
    connect(onread) {
      const used = to
      const socket = connectTls({ ...used, ...(onread && { onread }), ...(session && { session }) })
      socket.setNoDelay(true)
      socket.on('session', (ticket) => {
        // A resumed session is not checked again, so that one of other material must not come back.
        if (used === to) session = ticket
      })
      return socket
    },
    useTls,
    get epoch() {
      return epoch
    },
  }
}
