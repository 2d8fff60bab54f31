import { encodeError } from '@outrider/resp'
import { describe, expect, test } from 'vitest'
import { until } from './proxy-test-support.ts'
import { drive, Member, master, replica } from './shard-test-support.ts'

const FOLLOWING = replica('connected')

async function members(...roles: (Buffer | undefined)[]): Promise<Member[]> {
  return Promise.all(roles.map((role) => Member.start(role)))
}

/** The index of the server that gets writes. */
const primaryOf = ({ shard }: ReturnType<typeof drive>): number => shard.servers.indexOf(shard.primary)

describe('the primary of a shard', () => {
  test('is the first server as long as it says so', async () => {
    await using driven = drive(await members(master(1), FOLLOWING))
    await driven.asked()
    await driven.asked()
    expect(primaryOf(driven)).toBe(0)
    expect(driven.states).toEqual([])
  })

  test('is the replica that was promoted, as soon as it says so', async () => {
    const [first, second] = await members(master(1), FOLLOWING)
    if (first === undefined || second === undefined) throw new Error('two')
    await using driven = drive([first, second])
    await driven.asked()
    await first.kill()
    second.say(replica('connect'))
    await until(() => !driven.shard.up, 'its end')
    expect(primaryOf(driven)).toBe(0)
    second.say(master())
    await until(() => primaryOf(driven) === 1, 'the promotion')
    expect(driven.states.at(-1)).toBe('up')
    expect(driven.shard.up).toBe(true)
  })

  test('is another one when it says itself that it follows now, though nobody was seen as a replica', async () => {
    const [first, second] = await members(master(), master())
    if (first === undefined || second === undefined) throw new Error('two')
    await using driven = drive([first, second])
    await driven.asked()
    expect(primaryOf(driven)).toBe(0)
    first.say(FOLLOWING)
    await until(() => primaryOf(driven) === 1, 'the other one')
  })

  test('is never one from before that comes back as a master: it has missed what was written since', async () => {
    const [first, second] = await members(master(1), FOLLOWING)
    if (first === undefined || second === undefined) throw new Error('two')
    await using driven = drive([first, second])
    await driven.asked()
    const port = await first.kill()
    second.say(master())
    await until(() => primaryOf(driven) === 1, 'the promotion')
    first.say(master())
    await first.listen(port)
    await until(() => driven.shard.servers[0]?.up ?? false, 'the first one')
    const secondPort = await second.kill()
    await until(() => !driven.shard.up, 'the end of the second one')
    await driven.asked()
    expect(primaryOf(driven)).toBe(1)
    await second.listen(secondPort)
    await until(() => driven.shard.up, 'the second one')
    expect(primaryOf(driven)).toBe(1)
    // Once it has followed, it may be promoted as any other.
    first.say(FOLLOWING)
    await driven.asked()
    await second.kill()
    first.say(master())
    await until(() => primaryOf(driven) === 0, 'its promotion')
  })

  test('stays when it is gone for a moment, and its replicas follow nobody', async () => {
    const [first, second] = await members(master(1), FOLLOWING)
    if (first === undefined || second === undefined) throw new Error('two')
    await using driven = drive([first, second])
    await driven.asked()
    const port = await first.kill()
    second.say(replica('connect'))
    await until(() => !driven.shard.up, 'its end')
    await first.listen(port)
    await until(() => driven.shard.up, 'its return')
    expect(primaryOf(driven)).toBe(0)
    expect(driven.states).toEqual([expect.stringMatching(/^down: connect ECONNREFUSED/), 'up'])
  })

  test.each([
    ['the one that has replicas', master(0, 9), master(1, 5), 1],
    ['the one with more writes behind it', master(0, 5), master(0, 9), 1],
    ['the first of equals', master(0, 9), master(0, 9), 0],
  ])('is, of two that say so from the start, %s', async (_, first, second, index) => {
    await using driven = drive(await members(first, second))
    await driven.asked()
    expect(primaryOf(driven)).toBe(index)
  })

  test.each([0, 1])('is not chosen before all have answered, whoever is first (%i)', async (early) => {
    const both = await members(undefined, undefined)
    const roles = [master(0, 5), master(1, 5)]
    await using driven = drive(both)
    both[early]?.say(roles[early] ?? master())
    await until(() => (both[early]?.asked ?? 0) >= 3, 'questions')
    expect(primaryOf(driven)).toBe(0)
    both[1 - early]?.say(roles[1 - early] ?? master())
    await until(() => primaryOf(driven) === 1, 'the right one')
  })

  test('is the first server where nobody may be asked', async () => {
    const refusal = encodeError("NOPERM this user has no permissions to run the 'role' command")
    await using driven = drive(await members(refusal, refusal), { reads: 'replicas' })
    await driven.asked()
    expect(primaryOf(driven)).toBe(0)
    const { shard } = driven
    expect(shard.readers).toEqual([])
    expect(shard.servers.map((server) => shard.unreadable(server))).toEqual([
      '',
      'it has not said what it is',
    ])
  })
})
