import type { RedisWorkload } from './redis-benchmark.ts'

/** What is to be reached, in ratios to twemproxy and to no proxy at all. */
export interface Reach {
  readonly cpu: number
  /** Of throughput to `direct`; undefined where nothing is asked. */
  readonly throughput?: number
}

/** A load on sharded Redis. */
export interface ShardWorkload extends RedisWorkload {
  /** For `--only`. */
  readonly name: string
  readonly title: string
  /** How to read the table. */
  readonly remark: string
  /** Of each key, from the beginning. */
  readonly valueBytes: number
  readonly reach: Reach
}

const key = 'key:__rand_int__'
const keysEach = 10
const smallBytes = 32

const usual = { connections: 50, pipeline: 1, valueBytes: smallBytes, reach: { cpu: 0.95 } }

/** All workloads of `npm run bench -- shard`, in the order of the page. */
export const shardWorkloads: readonly ShardWorkload[] = [
  ...setAndGet('', 'one command at a time', '50 connections, 32-byte values.', {
    ...usual,
    reach: { cpu: 0.95, throughput: 0.9 },
  }),
  ...setAndGet('-16', '16 commands at once', '50 connections, 32-byte values, pipelines of 16.', {
    ...usual,
    pipeline: 16,
    reach: { cpu: 0.55 },
  }),
  ...setAndGet('-32', '32 commands at once', '50 connections, 32-byte values, pipelines of 32.', {
    ...usual,
    pipeline: 32,
    reach: { cpu: 0.55 },
  }),
  ofManyKeys('MGET', 'Replies are put together of those of all shards.', []),
  ofManyKeys('MSET', '32-byte values.', ['x'.repeat(smallBytes)]),
  ofManyKeys('DEL', 'Before long hardly a key is left: what counts is the splitting and the sum.', []),
  ...setAndGet('-1k', '1 KiB values', '50 connections, 1 KiB values, one command at a time.', {
    ...usual,
    valueBytes: 1024,
  }),
  ...setAndGet('-500', '500 connections', '500 connections, 32-byte values, one command at a time.', {
    ...usual,
    connections: 500,
  }),
]

type Common = Omit<ShardWorkload, 'name' | 'title' | 'remark' | 'command'>

function setAndGet(suffix: string, title: string, remark: string, common: Common): ShardWorkload[] {
  const value = 'x'.repeat(common.valueBytes)
  return [
    { ...common, name: `set${suffix}`, title: `SET, ${title}`, remark, command: ['SET', key, value] },
    { ...common, name: `get${suffix}`, title: `GET, ${title}`, remark, command: ['GET', key] },
  ]
}

function ofManyKeys(verb: string, remark: string, value: readonly string[]): ShardWorkload {
  const pairs = Array.from({ length: keysEach }, () => [key, ...value])
  return {
    ...usual,
    name: verb.toLowerCase(),
    title: `${verb} of ${keysEach} keys`,
    remark: `50 connections, one command at a time, ${keysEach} random keys in each.\n${remark}`,
    command: [verb, ...pairs.flat()],
    reach: { cpu: 1 },
  }
}
