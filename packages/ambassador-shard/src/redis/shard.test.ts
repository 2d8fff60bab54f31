import { createRing } from '@outrider/hash-ring'
import { describe, expect, test } from 'vitest'
import { startRedisProxy } from './proxy.ts'
import { rawClient, until } from './proxy-test-support.ts'
import type { Reads } from './shard.ts'
import { type Driven, drive, Member, master, replica } from './shard-test-support.ts'
import { Topology } from './topology.ts'

const FOLLOWING = replica('connected')

async function three(reads: Reads): Promise<[Driven, Member, Member, Member]> {
  const first = await Member.start(master(2))
  const [second, third] = [await Member.start(FOLLOWING), await Member.start(FOLLOWING)]
  const driven = drive([first, second, third], { reads })
  await driven.asked()
  return [driven, first, second, third]
}

/** The indexes of the servers that get reads. */
const readersOf = ({ shard }: Driven): number[] => shard.readers.map((one) => shard.servers.indexOf(one))

describe('commands that only read', () => {
  test.each([
    ['primary', []],
    ['replicas', [1, 2]],
    ['any', [0, 1, 2]],
  ] as const)('go, with reads %s, to %j', async (reads, indexes) => {
    const [driven] = await three(reads)
    await using _ = driven
    expect(readersOf(driven)).toEqual(indexes)
  })

  test('of one client go to one server, those of many to all', async () => {
    const [driven] = await three('replicas')
    await using _ = driven
    const { shard } = driven
    for (const client of [1, 2, 3, 4]) expect(shard.reader(client)).toBe(shard.reader(client))
    expect(new Set([1, 2, 3, 4].map((client) => shard.reader(client)))).toEqual(
      new Set(shard.servers.slice(1)),
    )
  })

  test.each([
    ['copies its primary', replica('sync'), 'it has no link to its primary'],
    ['has lost its primary', replica('connect'), 'it has no link to its primary'],
    ['says that it is a primary, too', master(), 'it says that it is a primary, too'],
  ])('never go to a replica that %s', async (_case, role, reason) => {
    const [driven, , second] = await three('replicas')
    await using _ = driven
    second.say(role)
    await until(() => readersOf(driven).length === 1, 'the other replica alone')
    const { shard } = driven
    expect(readersOf(driven)).toEqual([2])
    expect(shard.servers.map((server) => shard.unreadable(server))).toEqual(['', reason, ''])
    second.say(FOLLOWING)
    await until(() => readersOf(driven).length === 2, 'both')
  })

  test('go, while the primary is down, to those that have followed it, and to no other', async () => {
    const [driven, first, second, third] = await three('replicas')
    await using _ = driven
    // One that has lost it before has less than the other.
    second.say(replica('sync'))
    await until(() => readersOf(driven).length === 1, 'one replica')
    second.say(replica('connect'))
    await driven.asked()
    await first.kill()
    third.say(replica('connect'))
    await until(() => !driven.shard.up, 'its end')
    await driven.asked()
    expect(readersOf(driven)).toEqual([2])
  })

  test('go to the primary where no replica can', async () => {
    const [driven, , second, third] = await three('replicas')
    await using _ = driven
    await second.kill()
    await third.kill()
    await until(() => readersOf(driven).length === 0, 'no replica')
    expect(driven.shard.reader(1)).toBe(driven.shard.primary)
    expect(driven.states).toEqual([])
  })

  test('go to the replicas of the new primary after a promotion', async () => {
    const [driven, first, second] = await three('replicas')
    await using _ = driven
    await first.kill()
    second.say(master(1))
    await until(() => driven.shard.servers.indexOf(driven.shard.primary) === 1, 'the promotion')
    expect(readersOf(driven)).toEqual([2])
  })

  test('are told from those that write, and a transaction is the business of the primary', async () => {
    const [driven, first, second, third] = await three('replicas')
    await using _ = driven
    await using proxy = await startRedisProxy({
      listen: { host: '127.0.0.1', port: 0 },
      topology: new Topology(createRing({ distribution: 'ketama', servers: [{ name: 'one' }] }), [
        driven.shard,
      ]),
    })
    const { address } = proxy
    using client = await rawClient('port' in address ? address.port : 0)
    for (const server of [first, second, third]) server.commands.length = 0
    await client.ask('SET', 'key', 'value')
    await client.ask('GET', 'key')
    await client.ask('MGET', 'key', 'other')
    await client.ask('EVAL', 'return 1', '1', 'key')
    await client.ask('MULTI')
    await client.ask('GET', 'key')
    await client.ask('EXEC')
    const names = ({ commands }: Member): string[] =>
      commands.map(([name = '']) => name).filter((name) => name !== 'ROLE')
    expect(names(first)).toEqual(expect.arrayContaining(['SET', 'EVAL', 'MULTI', 'EXEC']))
    expect(names(first)).not.toContain('MGET')
    expect([...names(second), ...names(third)]).toEqual(['GET', 'MGET'])
  })
})

describe('a shard', () => {
  test('tells of its primary alone whether it is up', async () => {
    const [driven, first, second] = await three('primary')
    await using _ = driven
    await second.kill()
    await until(() => !(driven.shard.servers[1]?.up ?? true), 'the end of a replica')
    expect(driven.states).toEqual([])
    await first.kill()
    await until(() => driven.states.length > 0, 'what is told')
    expect(driven.states).toEqual([expect.stringMatching(/^down: connect ECONNREFUSED/)])
    expect(driven.shard.fault('gone')).toMatch(/^ERR shard redis-1 \(127\.0\.0\.1:\d+\): gone$/)
  })
})
