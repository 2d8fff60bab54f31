export { BoundedLoad } from './bounded.ts'
export { CLUSTER_SLOTS, clusterSlot } from './cluster-slot.ts'
export { type DiffOptions, diff, type RingDiff } from './diff.ts'
export {
  createRing,
  DISTRIBUTIONS,
  type Distribution,
  isDistribution,
  type RingOptions,
} from './distribution.ts'
export { type Explanation, explain } from './explain.ts'
export { HashTag } from './hash-tag.ts'
export { jump } from './jump.ts'
export { type CharSign, hashBytes, isKeyHashName, KEY_HASHES, type KeyHashName } from './key-hash.ts'
export type { Placement, Trace } from './placement.ts'
export type { Ring } from './ring.ts'
export type { RingServer } from './server.ts'
export { twemproxyOrder } from './server.ts'
export { libmemcachedName, spymemcachedName, type TwemproxyServer, twemproxyServer } from './server-name.ts'
