import { connect, isIP, type OnReadOpts, type Socket } from 'node:net'
import type { ShardAddress } from './upstream.ts'

export interface ShardTls {
  /** PEM; the system's own authorities when not given. */
  readonly ca?: string | Buffer
  /** What the certificate must be for; the host when not given. */
  readonly name?: string
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
}

export interface ShardAddressOptions {
  readonly username?: string
  readonly password?: string
  readonly db?: number
  readonly tls?: ShardTls
}

/** @param target where the shard listens */
export function shardAddress(
  target: { readonly host: string; readonly port: number } | { readonly path: string },
  options: ShardAddressOptions = {},
): ShardAddress {
  const { username, password, db, tls } = options
  const credentials = {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(db !== undefined && { db }),
  }
  if ('path' in target) {
    const { path } = target
    return { text: path, ...credentials, connect: (onread) => connect({ path, onread }) }
  }
  const { host, port } = target
  const text = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  if (tls === undefined)
    return { text, ...credentials, connect: (onread) => connect({ host, port, noDelay: true, onread }) }
  // Loaded only by those who need it: it costs nearly two megabytes.
  const {
    checkServerIdentity,
    connect: connectTls,
    createSecureContext,
  } = process.getBuiltinModule('node:tls')
  const { name = host, ...material } = tls
  // Made once: each one costs memory that the garbage collector does not see (nodejs/node#66002).
  const secureContext = createSecureContext({ ...material, minVersion: 'TLSv1.2' })
  const open = (onread: OnReadOpts): Socket =>
    connectTls({
      ...{ host, port, secureContext, rejectUnauthorized: true, onread },
      checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
      ...(isIP(name) > 0 ? {} : { servername: name }),
    })
  return { text, ...credentials, connect: open }
}
