/** A line of `servers` in twemproxy's file. */
export interface TwemproxyServer {
  /** What twemproxy hashes. */
  readonly name: string
  readonly weight: number
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string }
}

/**
 * Reads `host:port:weight [name]` or `/path:weight [name]`. Without a name twemproxy takes the host where the port is
 * 11211, otherwise `host:port` as written, and of a socket the path with a colon behind it.
 * @throws Error that names the line
 */
export function twemproxyServer(line: string): TwemproxyServer {
  const [, path, pathWeight = '', pathName] = /^(\/.*):(\d+)(?: ([^ ]+))?$/.exec(line) ?? []
  if (path !== undefined) {
    return { name: pathName ?? `${path}:`, weight: weight(pathWeight, line), address: { path } }
  }
  const [, host, portText = '', hostWeight = '', name] =
    /^([^/].*):(\d+):(\d+)(?: ([^ ]+))?$/.exec(line) ?? []
  if (host === undefined) {
    throw new Error(`server ${JSON.stringify(line)}: must be host:port:weight [name] or /path:weight [name]`)
  }
  const port = Number(portText)
  if (port < 1 || port > 65_535)
    throw new Error(`server ${JSON.stringify(line)}: the port must be 1 to 65535`)
  const address = { host, port }
  const own = port === 11211 ? host : `${host}:${portText}`
  return { name: name ?? own, weight: weight(hostWeight, line), address }
}

function weight(text: string, line: string): number {
  const value = Number(text)
  if (value < 1) throw new Error(`server ${JSON.stringify(line)}: the weight must be at least 1`)
  return value
}

/** What libmemcached hashes for a server: the host, with the port unless it is 11211. */
export const libmemcachedName = (host: string, port: number): string =>
  port === 11211 ? host : `${host}:${port}`

/** What spymemcached hashes, and libmemcached when it imitates it: the address as Java prints it. */
export const spymemcachedName = (host: string, port: number): string => `/${host}:${port}`
