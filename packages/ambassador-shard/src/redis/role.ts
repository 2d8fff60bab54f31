import { encodeCommand, readReply } from '@outrider/resp'
import type { ReplySink } from './reply-sink.ts'
import type { Upstream } from './upstream.ts'

/**
 * - `unknown`: it was not asked, or did not answer
 * - `master`: with so many replicas that follow it
 * - `following`: a replica whose link to its primary works
 * - `parted`: a replica that was seen to follow, and has lost its primary since: it has what there was until then
 * - `stale`: a replica that was never seen to follow, or is copying its primary: what it has is old, or a part of it
 */
type Role =
  | { readonly is: 'unknown' | 'following' | 'parted' | 'stale' }
  | { readonly is: 'master'; readonly replicas: number }

const UNKNOWN: Role = { is: 'unknown' }
const STALE: Role = { is: 'stale' }
const ROLE = encodeCommand(['ROLE'])

/** Asks the servers of a shard, now and then, what they are (ROLE), so that a promotion is seen. */
export class RoleWatch {
  readonly #servers: readonly Upstream[]
  readonly #everyMs: number
  readonly #onChange: () => void
  readonly #roles = new Map<Upstream, Role>()
  #askAt = 0
  /** Whether the present primary has been seen to be one. */
  #confirmed = false

  constructor(servers: readonly Upstream[], everyMs: number, onChange: () => void) {
    this.#servers = servers
    this.#everyMs = everyMs
    this.#onChange = onChange
  }

  tick(now: number): void {
    if (now < this.#askAt) return
    this.#askAt = now + this.#everyMs
    for (const server of this.#servers) {
      const connection = server.shared(2)
      if (connection === undefined) this.#take(server, UNKNOWN)
      else connection.send(this.#sink(server), ROLE, 0, ROLE.length, 1, now)
    }
  }

  /** Asks at the next tick. */
  hurry(): void {
    this.#askAt = 0
  }

  /**
   * Who gets writes: the present one as long as it says that it is a master; otherwise the one that says so. Of several
   * that were never seen before the one with the most replicas, since a master that was replaced has none.
   */
  primary(present: Upstream): Upstream | undefined {
    const masters = this.#servers.flatMap((server) => {
      const role = this.#roles.get(server)
      return role?.is === 'master' ? [{ server, replicas: role.replicas }] : []
    })
    const isMaster = masters.some(({ server }) => server === present)
    if (isMaster && (this.#confirmed || masters.length === 1)) {
      this.#confirmed = true
      return present
    }
    const [best] = masters.sort((a, b) => b.replicas - a.replicas)
    if (best === undefined) return undefined
    // Until all have answered, nobody knows whether another one has more.
    const isKnown = this.#servers.every((server) => !server.up || this.#roles.has(server))
    if (isMaster && !isKnown) return present
    this.#confirmed = true
    return best.server
  }

  /** Why a server gets no reads; '' where it may. While the primary is down, nobody has more than who followed it. */
  unreadable(server: Upstream, primary: Upstream): string {
    if (server === primary) return ''
    const role = this.#roles.get(server) ?? UNKNOWN
    switch (role.is) {
      case 'following':
        return ''
      case 'parted':
        return primary.up ? 'it has no link to its primary' : ''
      case 'stale':
        return 'it has no link to its primary'
      case 'master':
        return 'it says that it is a primary, too'
      case 'unknown':
        return 'it has not said what it is'
    }
  }

  #sink(server: Upstream): ReplySink {
    let text = Buffer.alloc(0)
    return {
      reply: (bytes, start, end, ended) => {
        text = Buffer.concat([text, bytes.subarray(start, end)])
        if (ended > 0) this.#take(server, roleIn(text))
      },
      lost: () => this.#take(server, UNKNOWN),
    }
  }

  #take(server: Upstream, role: Role): void {
    const before = this.#roles.get(server)
    if (role.is === 'unknown' && before === undefined) return
    const followed = before?.is === 'following' || before?.is === 'parted'
    if (role.is === 'unknown') this.#roles.delete(server)
    else if (role.is === 'parted' && !followed) this.#roles.set(server, STALE)
    else this.#roles.set(server, role)
    this.#onChange()
  }
}

/** `master`, offset, replicas; or `slave`, host, port, state of the link, offset. */
function roleIn(bytes: Buffer): Role {
  const reply = readReply(bytes, 0, bytes.length)
  if (reply?.type !== 'array') return UNKNOWN
  const [name, , third, state] = reply.elements
  const word = name?.type === 'bulk' ? name.bytes.toString() : ''
  if (word === 'master')
    return { is: 'master', replicas: third?.type === 'array' ? third.elements.length : 0 }
  if (word !== 'slave') return UNKNOWN
  const link = state?.type === 'bulk' ? state.bytes.toString() : ''
  if (link === 'sync') return STALE
  return { is: link === 'connected' ? 'following' : 'parted' }
}
