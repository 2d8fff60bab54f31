import { expect, test } from 'vitest'
import { type RawClient, rawClient, tinyShard } from './redis/proxy-test-support.ts'
import { servePool } from './serve-pool.ts'
import { serverList } from './topology-file.ts'
import { usersOf } from './users.ts'

test('who may come in changes with the plan, and who is in stays', async () => {
  await using shard = await tinyShard()
  const read = serverList([`127.0.0.1:${shard.port}`])
  const planFor = (password: string) => ({
    pool: {
      ...({ name: 'redis', distribution: 'ketama', hash: undefined, tag: undefined } as const),
      ...({ charSign: 'signed', shards: read.ok ? read.shards : [] } as const),
    },
    settings: {
      ...({ onFailure: 'keep', reads: 'primary', connectTimeoutMs: 1_000, timeoutMs: 5_000 } as const),
      ...{ failureLimit: 2, retryMs: 100, retryMostMs: 5_000 },
    },
    source: 'a test',
    users: usersOf(new Map([['default', password]])),
  })
  await using served = await servePool({ ...planFor('first'), listen: { host: '127.0.0.1', port: 0 } })
  const port = 'port' in served.address ? served.address.port : 0
  using known: RawClient = await rawClient(port)
  expect(await known.ask('AUTH', 'first')).toBe('+OK\r\n')

  served.use(planFor('second'))
  using client: RawClient = await rawClient(port)
  expect(await client.ask('GET', 'a')).toMatch(/^-NOAUTH /)
  expect(await client.ask('AUTH', 'first')).toMatch(/^-WRONGPASS /)
  expect(await client.ask('AUTH', 'second')).toBe('+OK\r\n')
  expect(await known.ask('SET', 'a', '1')).toBe('+OK\r\n')
})
