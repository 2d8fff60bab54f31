import { expect, test } from 'vitest'
import { rawClient, startWorld, tinyShard, until, type World } from './proxy-test-support.ts'

/** Asks for a key until it is known to be hot. */
async function heat(world: World, key: string): Promise<void> {
  using client = await rawClient(world.port)
  await client.ask('SET', key, 'old')
  await until(() => {
    client.send(...Array.from({ length: 200 }, () => ['GET', key]))
    return world.proxy.cacheHits > 0
  }, 'a hit')
}

const start = async (hotCacheMs?: number) =>
  startWorld([await tinyShard(), await tinyShard()], hotCacheMs === undefined ? {} : { hotCacheMs })

test('a hot key is answered without its shard, and whoever writes reads what he has written', async () => {
  await using world = await start(60_000)
  const key = world.keyOn(1)
  await heat(world, key)
  using client = await rawClient(world.port)
  await client.ask('GET', key)
  const asked = () => world.shards[1]?.commands.filter(([name]) => name === 'GET').length
  const before = asked()
  expect(await client.ask('GET', key)).toBe('$3\r\nold\r\n')
  expect(asked()).toBe(before)
  for (let round = 0; round < 20; round += 1) {
    client.send(['GET', key], ['SET', key, `v${round}`], ['GET', key])
    const [, , now] = await client.next(3)
    expect(now).toBe(`$${`v${round}`.length}\r\nv${round}\r\n`)
    using other = await rawClient(world.port)
    expect(await other.ask('GET', key)).toBe(now)
  }
  await client.ask('DEL', key, world.keyOn(0))
  expect(await client.ask('GET', key)).toBe('$-1\r\n')
})

test('what others have written is seen when the time is over', async () => {
  await using world = await start(300)
  const key = world.keyOn(0)
  await heat(world, key)
  using client = await rawClient(world.port)
  world.shards[0]?.values.set(key, 'new')
  let reply = ''
  const begun = performance.now()
  while (reply !== '$3\r\nnew\r\n') {
    reply = await client.ask('GET', key)
    expect(performance.now() - begun).toBeLessThan(5_000)
  }
})

test('without it every command is asked of its shard', async () => {
  await using world = await start()
  using client = await rawClient(world.port)
  const key = world.keyOn(0)
  for (let round = 0; round < 300; round += 1) await client.ask('GET', key)
  expect(world.shards[0]?.commands.filter(([name]) => name === 'GET')).toHaveLength(300)
  expect(world.proxy.cacheHits).toBe(0)
})
