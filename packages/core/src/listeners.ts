import { isIP } from 'node:net'
import { type Container, type NamedParam, namesOf } from './container.ts'
import { type Address, formatAddress } from './kinds.ts'

/** The parameters that say where a container listens, by the names of its ports; that of the admin API is the last. */
export const listenersOf = ({ ports, params }: Container): ReadonlyMap<string, NamedParam> =>
  new Map(
    Object.entries({ ...ports, admin: 'admin' }).flatMap(([port, name]) => {
      const param = params.find((candidate) => candidate.name === name)
      return param === undefined ? [] : [[port, param] as const]
    }),
  )

/** A sentence for each two of its addresses of which only one could be listened on. */
export function* sharedAddresses(
  container: Container,
  values: Readonly<Record<string, unknown>>,
): Generator<string> {
  const listeners = [...listenersOf(container).values()].flatMap((param) => {
    const at = values[param.name]
    return isAddress(at) ? [{ param, at }] : []
  })
  for (const [index, one] of listeners.entries()) {
    for (const other of listeners.slice(index + 1)) {
      if (!isShared(one.at, other.at)) continue
      const where = 'path' in one.at ? formatAddress(one.at) : `port ${one.at.port}`
      yield `${namesOf(one.param)} and ${namesOf(other.param)} are both ${where}: give each its own`
    }
  }
}

const isAddress = (value: unknown): value is Address =>
  typeof value === 'object' && value !== null && ('path' in value || ('host' in value && 'port' in value))

/** Whether what listens on the one gets, or would take, what is meant for the other. */
export function isShared(one: Address, other: Address): boolean {
  if ('path' in one || 'path' in other) return 'path' in one && 'path' in other && one.path === other.path
  const isSamePort = one.port === other.port && one.port !== 0
  return isSamePort && (covers(one.host, other.host) || covers(other.host, one.host))
}

/** Whether a listener on `host` is on `other` as well; of a name it is not known that it is not. */
function covers(host: string, other: string): boolean {
  if (host === other || host === '' || host === '::') return true
  if (host === '0.0.0.0') return isIP(other) !== 6
  return host === 'localhost' && ['127.0.0.1', '::1'].includes(other)
}
