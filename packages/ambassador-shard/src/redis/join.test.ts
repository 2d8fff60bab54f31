import { encodeBulk, encodeError, readReply } from '@outrider/resp'
import { describe, expect, test } from 'vitest'
import { shardAddress } from './address.ts'
import { joinFanOut } from './join.ts'
import { Shard } from './shard.ts'

const shard = (name: string): Shard =>
  new Shard({
    ...{ name, address: shardAddress({ host: 'localhost', port: 1 }) },
    ...{ connectTimeoutMs: 1_000, timeoutMs: 1_000, backoffMs: 20, backoffMostMs: 100 },
    onState: () => undefined,
  })

const infoOf = (...bytes: Buffer[]): string => {
  const parts = bytes.map((one, at) => ({ shard: shard(`redis-${at + 1}`), bytes: one, isLost: false }))
  const joined = joinFanOut('info', parts, 2)
  const reply = readReply(joined, 0, joined.length)
  return reply?.type === 'bulk' ? reply.bytes.toString() : joined.toString()
}
const info = (clients: number, loading: number): Buffer =>
  encodeBulk(`# Clients\r\nconnected_clients:${clients}\r\n# Persistence\r\nloading:${loading}\r\n`)
const DOWN = encodeError('ERR shard redis-1 (localhost:1): connect ECONNREFUSED')

describe('INFO of several shards', () => {
  test('adds amounts', () => {
    expect(infoOf(info(2, 0), info(3, 0))).toContain('connected_clients:5\r\n')
  })

  test('is that of the others where one is down, since clients leave when it fails', () => {
    expect(infoOf(DOWN, info(2, 0), info(3, 0))).toContain('connected_clients:5\r\n')
    expect(infoOf(info(2, 0), DOWN)).toContain('connected_clients:2\r\n')
    expect(infoOf(DOWN, DOWN)).toBe(DOWN.toString())
  })

  test('says that data is loaded only where all load, since clients wait for the end of it', () => {
    expect(infoOf(info(1, 1), info(1, 0))).toContain('loading:0\r\n')
    expect(infoOf(info(1, 1), info(1, 1))).toContain('loading:1\r\n')
  })
})
