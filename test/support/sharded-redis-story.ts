import { appendFileSync, copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import { until } from './program.ts'
import { type In, run, type Story, type Way } from './story.ts'
import { inRoot } from './workspace.ts'

const folder = inRoot('examples/sharded-redis')
const [topology, next] = [`${folder}/topology/topology.yml`, `${folder}/topology/next.yml`]
const asItIs = readFileSync(topology)
const users = Array.from({ length: 300 }, (_, index) => index + 1)

/** An application keeps its users in three shards, and goes on while a fourth is added. */
export const shardedRedis: Story = {
  images: ['node:24-bookworm-slim', 'outrider/ambassador-shard:latest', 'outrider-example/redis:latest'],
  async check(within, by) {
    await until('all users', async () => (await keep().then(kept, () => 0)) === users.length)
    await checkPlaces(within, by)
    const before = await ask('http://127.0.0.1:8080/')
    expect(before).toMatch(/^connections to Redis since the start: \d+\n$/)

    await addShard[by]()
    await until('the fourth shard', async () =>
      (await ask('http://127.0.0.1:9111/status?format=json')).includes('"shard-4"'),
    )
    // By compose they were copied before that, and in the pod the new shard is empty.
    if (by === 'compose') expect(await kept()).toBe(users.length)
    else expect(await kept()).toBeLessThan(users.length)
    await keep()
    expect(await kept()).toBe(users.length)
    expect(await size(within, by, 4)).toBeGreaterThan(50)
    expect(await ask('http://127.0.0.1:8080/')).toBe(before)
  },
  restore() {
    writeFileSync(topology, asItIs)
    rmSync(next, { force: true })
  },
}

const ask = async (url: string): Promise<string> => (await fetch(url)).text()

async function keep(): Promise<void> {
  for (const id of users)
    await fetch(`http://127.0.0.1:8080/users/${id}`, { method: 'PUT', body: `User ${id}` })
}

/** How many users the application finds. */
async function kept(): Promise<number> {
  const lines = (await ask(`http://127.0.0.1:8080/users/${users.join()}`)).split('\n')
  return lines.filter((text) => /^(\d+): User \1$/.test(text)).length
}

/** Every shard has its part of the users, and each is where the ambassador says. */
async function checkPlaces(within: In, by: Way): Promise<void> {
  const sizes = await Promise.all([1, 2, 3].map((shard) => size(within, by, shard)))
  expect(sizes.reduce((sum, one) => sum + one)).toBe(users.length)
  expect(Math.min(...sizes)).toBeGreaterThan(50)
  const keys = users.slice(0, 20).map((id) => `user:${id}`)
  const said = await within('ambassador-shard', '/usr/bin/node', '/app/main.js', 'explain', ...keys)
  const places = [...said.matchAll(/^"(user:\d+)" is on shard-(\d) at /gm)]
  expect(places.map(([, key]) => key)).toEqual(keys)
  for (const [, key = '', shard] of places)
    expect([key, await redis(within, by, Number(shard), 'exists', key)]).toEqual([key, '1\n'])
}

/** In the pod all shards have the same address, so each has a port of its own. */
const redis = (within: In, by: Way, shard: number, ...command: string[]): Promise<string> =>
  within(`redis-${shard}`, 'redis-cli', '-p', String(by === 'pod' ? 6379 + shard : 6379), ...command)

const size = async (within: In, by: Way, shard: number): Promise<number> =>
  Number(await redis(within, by, shard, 'dbsize'))

const fourth = (address: string): string => `  - name: shard-4\n    address: ${address}\n`

/** As the page of the example says it. */
const addShard: Readonly<Record<Way, () => Promise<void>>> = {
  async compose() {
    await run('docker', 'compose', '--project-directory', folder, 'up', '--detach', 'redis-4')
    copyFileSync(topology, next)
    appendFileSync(next, fourth('redis-4:6379'))
    await run(`${folder}/move.sh`)
    renameSync(next, topology)
  },
  async pod() {
    const [pod, name] = ['sharded-redis', 'sharded-redis-redis-4']
    await run(
      ...(['podman', 'run', '--detach', '--pod', pod, '--name', name] as const),
      ...['outrider-example/redis', '--port', '6383'],
    )
    const volume = await run('podman', 'volume', 'inspect', '--format', '{{.Mountpoint}}', `${pod}-topology`)
    appendFileSync(`${volume.trim()}/topology.yml`, fourth('127.0.0.1:6383'))
  },
}
