import { encodeCommand, readReply } from '@outrider/resp'
import type { ReplySink } from './reply-sink.ts'
import type { Upstream } from './upstream.ts'

/**
 * - `unknown`: it does not say
 * - `master`: with so many replicas that follow it, and so many bytes of writes behind it
 * - `following`: a replica whose link to its primary works
 * - `parted`: a replica that was seen to follow, and has lost its primary since: it has what there was until then
 * - `stale`: a replica that was never seen to follow, or is copying its primary: what it has is old, or a part of it
 */
type Role =
  | { readonly is: 'unknown' | 'following' | 'parted' | 'stale' }
  | { readonly is: 'master'; readonly replicas: number; readonly offset: number }

const UNKNOWN: Role = { is: 'unknown' }
const STALE: Role = { is: 'stale' }
const ROLE = encodeCommand(['ROLE'])

/** Asks the servers of a shard, now and then, what they are (ROLE), so that a promotion is seen. */
export class RoleWatch {
  readonly #servers: readonly Upstream[]
  readonly #everyMs: number
  readonly #onChange: () => void
  readonly #roles = new Map<Upstream, Role>()
  /** Servers that have been replicas since they were the primary, if they ever were. */
  readonly #replicas = new Set<Upstream>()
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
      if (connection === undefined) this.#lose(server)
      else connection.send(this.#sink(server), ROLE, 0, ROLE.length, 1, now)
    }
  }

  /** Asks at the next tick. */
  hurry(): void {
    this.#askAt = 0
  }

  /**
   * Who gets writes: the present one as long as it says that it is a master; otherwise the one that says so. Of several
   * that were never seen before the one with the most replicas, since a master that was replaced has none, and then the
   * one with the most writes.
   */
  primary(present: Upstream): Upstream | undefined {
    // A primary that is gone is followed by who was its replica. Who was master before, and is back as one, has missed
    // what was written since.
    const follows = this.#confirmed && !this.#isReplica(present)
    const masters = this.#servers.flatMap((server) => {
      const role = this.#roles.get(server)
      if (role?.is !== 'master') return []
      if (follows && server !== present && !this.#replicas.has(server)) return []
      return [{ server, ...role }]
    })
    if (this.#confirmed) {
      if (masters.some(({ server }) => server === present)) return present
    } else if (this.#servers.some((server) => server.up && !this.#roles.has(server))) {
      // Until all have answered, nobody knows whether another one has more.
      return undefined
    }
    const [best] = masters.sort((a, b) => b.replicas - a.replicas || b.offset - a.offset)
    if (best === undefined) return undefined
    this.#confirmed = true
    this.#replicas.delete(best.server)
    return best.server
  }

  #isReplica(server: Upstream): boolean {
    const role = this.#roles.get(server) ?? UNKNOWN
    return role.is !== 'master' && role.is !== 'unknown'
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
      lost: () => this.#lose(server),
    }
  }

  #take(server: Upstream, role: Role): void {
    const before = this.#roles.get(server)
    const followed = before?.is === 'following' || before?.is === 'parted'
    this.#roles.set(server, role.is === 'parted' && !followed ? STALE : role)
    if (this.#isReplica(server)) this.#replicas.add(server)
    this.#onChange()
  }

  #lose(server: Upstream): void {
    if (this.#roles.delete(server)) this.#onChange()
  }
}

/** `master`, offset, replicas; or `slave`, host, port, state of the link, offset. */
function roleIn(bytes: Buffer): Role {
  const reply = readReply(bytes, 0, bytes.length)
  if (reply?.type !== 'array') return UNKNOWN
  const [name, second, third, state] = reply.elements
  const word = name?.type === 'bulk' ? name.bytes.toString() : ''
  if (word === 'master') {
    const offset = second?.type === 'integer' ? Number(second.value) : 0
    return { is: 'master', replicas: third?.type === 'array' ? third.elements.length : 0, offset }
  }
  if (word !== 'slave') return UNKNOWN
  const link = state?.type === 'bulk' ? state.bytes.toString() : ''
  if (link === 'sync') return STALE
  return { is: link === 'connected' ? 'following' : 'parted' }
}
