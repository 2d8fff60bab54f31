import { isIP } from 'node:net'
import { twemproxyServer } from '@outrider/hash-ring'
import { show, textFault } from './document.ts'
import type { ShardDescription, Target } from './pool.ts'

/** A value, or why there is none, to be put behind what was read. */
export type Parsed<T> =
  | { readonly value: T; readonly fault?: undefined }
  | { readonly value?: undefined; readonly fault: string }

/** `sun_path` holds 108 bytes with its closing NUL (unix(7)). */
const LONGEST_PATH = 107
// Labels as in DNS, and the underscores of Docker's and Kubernetes' names.
const HOST = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?$/
// 256.1.1.1 is a mistake and not a name (WHATWG URL, "ends in a number").
const NUMERIC = /(^|\.)\d+\.?$/

/** Why nothing can be connected to there. */
export function targetFault(target: Target): string | undefined {
  if ('path' in target) return pathFault(target.path)
  const { host, port } = target
  if (isIP(host) === 0 && !(HOST.test(host) && !NUMERIC.test(host)))
    return `has the host ${show(host)}: must be an address or a name`
  return port >= 1 && port <= 65_535 ? undefined : `has the port ${port}: must be 1 to 65535`
}

export function pathFault(path: string): string | undefined {
  if (!path.startsWith('/')) return 'must be an absolute path, such as /run/redis.sock'
  return Buffer.byteLength(path) > LONGEST_PATH
    ? `is a path that is too long: a socket's has at most ${LONGEST_PATH} bytes`
    : undefined
}

/** `host:port` or `[IPv6]:port`. */
export function parseAddress(value: unknown): Parsed<Target> {
  const bad = textFault(value)
  if (bad !== undefined) return { fault: bad }
  const [, bracketed, plain, digits = ''] =
    /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(String(value)) ?? []
  const host = bracketed ?? plain
  if (host === undefined || (bracketed !== undefined && isIP(bracketed) !== 6))
    return { fault: 'must be host:port or [IPv6]:port, such as redis-1:6379' }
  const target = { host, port: Number(digits) }
  const fault = targetFault(target)
  return fault === undefined ? { value: target } : { fault }
}

const MOST_WEIGHT = 2 ** 31 - 1

/** Why no server can have this weight; what else a distribution asks of weights the ring says. */
export function weightFault(weight: number, fractions = false): string | undefined {
  if (weight > 0 && weight <= MOST_WEIGHT && (fractions || Number.isInteger(weight))) return undefined
  return `must have a positive ${fractions ? '' : 'whole '}number below 2^31 as its weight`
}

/** A line of twemproxy's `servers`: `host:port:weight [name]` or `/path:weight [name]`. */
export function parseTwemproxyLine(value: unknown): Parsed<ShardDescription> {
  const bad = textFault(value)
  if (bad !== undefined) return { fault: bad }
  try {
    const { name, weight, address } = twemproxyServer(String(value))
    const fault = targetFault(address) ?? weightFault(weight)
    return fault === undefined ? { value: { name, target: address, weight, replicas: [] } } : { fault }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return { fault: text.slice(text.lastIndexOf(': ') + 2) }
  }
}

/**
 * `host:port[:weight] [name]` or `/path[:weight] [name]`. IPv6 stands in brackets, as its own colons cannot be told
 * from the others; the name is that of twemproxy's line, in which it has none.
 */
export function parseServer(text: string): Parsed<ShardDescription> {
  const bad = textFault(text)
  if (bad !== undefined) return { fault: bad }
  const [, path, bracketed, plain, port = '', weight = '1', name] =
    /^(?:(\/[^ ]*?)|(?:\[([^\]]*)\]|([^/:[\] ][^:[\] ]*)):(\d+))(?::(\d+))?(?: ([^ ]+))?$/.exec(text) ?? []
  if (bracketed !== undefined && isIP(bracketed) !== 6)
    return { fault: `has ${show(bracketed)} in brackets: must be an IPv6 address` }
  const host = bracketed ?? plain
  const where = path ?? (host === undefined ? undefined : `${host}:${port}`)
  if (where === undefined)
    return { fault: 'must be host:port[:weight] [name] or /path[:weight] [name], with IPv6 as [::1]:6379' }
  return parseTwemproxyLine(`${where}:${weight}${name === undefined ? '' : ` ${name}`}`)
}
