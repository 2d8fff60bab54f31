import { explain } from '@outrider/hash-ring'
import { type PoolDescription, ringOf, targetText } from './pool.ts'

/** For people: where a key lives, and why. @param named whether the pool is said */
export function explainText(pool: PoolDescription, key: string, named: boolean): string {
  const ring = ringOf(pool)
  const { part, hash, value, point, server, index, share } = explain(ring, key)
  const shard = index === undefined ? undefined : pool.shards[index]
  const where =
    shard === undefined
      ? 'on a shard by chance: random keeps no key anywhere'
      : `on ${server} at ${targetText(shard.target)}`
  const lines = [
    `${JSON.stringify(key)} is ${where}${named ? ` (pool ${pool.name})` : ''}`,
    ...(part === key ? [] : [`  hashed part: ${JSON.stringify(part)}, by the tag ${ring.tag?.characters}`]),
    ...(hash === undefined || value === undefined ? [] : [`  ${hash}: ${value}`]),
    ...(point === undefined ? [] : [`  ${pool.distribution}: point ${point}`]),
    ...(share === undefined ? [] : [`  this shard has ${(share * 100).toFixed(1)} % of all keys`]),
  ]
  return lines.join('\n')
}
