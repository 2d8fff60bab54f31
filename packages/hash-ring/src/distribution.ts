import { clusterSlots } from './cluster-slot.ts'
import { HashTag } from './hash-tag.ts'
import { Jump } from './jump.ts'
import { ketama, libketama } from './ketama.ts'
import { type CharSign, type KeyHashName, keyHash } from './key-hash.ts'
import { libmemcachedModula, modula } from './modula.ts'
import { NginxConsistent, NginxHash } from './nginx.ts'
import type { Placement } from './placement.ts'
import { Random } from './random.ts'
import { rendezvous, unweightedRendezvous } from './rendezvous.ts'
import { Ring } from './ring.ts'
import { checkServers, type RingServer, weightOf } from './server.ts'

interface Rule {
  /** The hash of keys where none is named; null where the distribution has one of its own. */
  readonly hash: KeyHashName | null
  /** What becomes of weights: `ignored` as the peer does, `refused` where they would mislead. */
  readonly weights: 'whole' | 'any' | 'ignored' | 'refused'
}

const RULES = {
  ketama: { hash: 'fnv1a_64', weights: 'whole' },
  libketama: { hash: 'md5', weights: 'whole' },
  modula: { hash: 'fnv1a_64', weights: 'whole' },
  'libmemcached-modula': { hash: 'one_at_a_time', weights: 'ignored' },
  // Of a file of twemproxy, which may name a hash for it.
  random: { hash: 'fnv1a_64', weights: 'ignored' },
  nginx: { hash: null, weights: 'whole' },
  'nginx-consistent': { hash: null, weights: 'whole' },
  rendezvous: { hash: null, weights: 'any' },
  'rendezvous-unweighted': { hash: null, weights: 'refused' },
  jump: { hash: 'fnv1a_64', weights: 'refused' },
  'redis-cluster': { hash: null, weights: 'refused' },
} as const satisfies Record<string, Rule>

export type Distribution = keyof typeof RULES

export const DISTRIBUTIONS: readonly string[] = Object.keys(RULES)

export function isDistribution(name: string): name is Distribution {
  return Object.hasOwn(RULES, name)
}

export interface RingOptions {
  readonly distribution: Distribution
  readonly servers: readonly RingServer[]
  /** What hashes the keys, where the distribution leaves it open; twemproxy's `fnv1a_64` for most. */
  readonly hash?: KeyHashName
  /** What the compiler of the peer took `char` for; `signed`, as on x86-64, without. */
  readonly charSign?: CharSign
  /** Two characters: only what stands between them in a key is hashed. A Redis Cluster always has `{}`. */
  readonly tag?: string
}

/** @throws Error that names what cannot be and what to do about it */
export function createRing(options: RingOptions): Ring {
  const { distribution, servers } = options
  const rule: Rule = RULES[distribution]
  checkServers(servers, rule.weights === 'any')
  if (options.hash !== undefined && rule.hash === null) {
    throw new Error(`${distribution} has a hash of its own: leave ${options.hash} out`)
  }
  const weighed = rule.weights === 'refused' && servers.find((server) => weightOf(server) !== 1)
  if (weighed) {
    const advice = distribution === 'redis-cluster' ? 'give it slots' : 'choose rendezvous'
    throw new Error(
      `server ${weighed.name} has the weight ${weighed.weight}: ${distribution} has none, ${advice}`,
    )
  }
  return new Ring(distribution, servers, tagOf(options), placementOf(options, rule))
}

function tagOf({ distribution, tag }: RingOptions): HashTag | undefined {
  if (distribution !== 'redis-cluster') return tag === undefined ? undefined : new HashTag(tag)
  if (tag !== undefined && tag !== '{}') {
    throw new Error(`hash tag ${JSON.stringify(tag)}: a Redis Cluster has {}, leave it out`)
  }
  return new HashTag('{}')
}

function placementOf(options: RingOptions, rule: Rule): Placement {
  const { distribution, servers, charSign } = options
  const hash = keyHash(options.hash ?? rule.hash ?? 'fnv1a_64', charSign)
  switch (distribution) {
    case 'ketama':
      return ketama(servers, hash)
    case 'libketama':
      return libketama(servers, hash)
    case 'modula':
      return modula(servers, hash)
    case 'libmemcached-modula':
      return libmemcachedModula(servers, hash)
    case 'random':
      return new Random(servers.length)
    case 'nginx':
      return new NginxHash(servers)
    case 'nginx-consistent':
      return new NginxConsistent(servers)
    case 'rendezvous':
      return rendezvous(servers)
    case 'rendezvous-unweighted':
      return unweightedRendezvous(servers)
    case 'jump':
      return new Jump(servers.length, hash)
    case 'redis-cluster':
      return clusterSlots(servers)
  }
}
