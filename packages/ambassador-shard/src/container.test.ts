import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type StartedContainer, startContainer } from '@outrider/core/testing'
import { createRing } from '@outrider/hash-ring'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import container from './container.ts'
import { RawClient, rawClient, TinyShard, until } from './redis/proxy-test-support.ts'

const NAMES = ['one', 'two', 'three', 'four']
let shards: TinyShard[]
let directory: string
let started: StartedContainer | undefined
let clients: RawClient[]

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  shards = await Promise.all(NAMES.map(() => new TinyShard().listen()))
  clients = []
})
afterEach(async () => {
  for (const client of clients) client[Symbol.dispose]()
  await started?.[Symbol.asyncDispose]()
  started = undefined
  for (const shard of shards) {
    await until(() => shard.sockets.size === 0, 'the end of all connections to shards')
    await shard[Symbol.asyncDispose]()
  }
  rmSync(directory, { recursive: true })
})

const serversOf = (count: number): string =>
  shards
    .slice(0, count)
    .map(({ port }, index) => `127.0.0.1:${port}:1 ${NAMES[index]}`)
    .join(', ')
const topologyOf = (count: number): string =>
  [
    'shards:',
    ...shards
      .slice(0, count)
      .map(({ port }, index) => `  - { name: ${NAMES[index]}, address: '127.0.0.1:${port}' }`),
    '',
  ].join('\n')
const ringOf = (count: number) =>
  createRing({ distribution: 'ketama', servers: NAMES.slice(0, count).map((name) => ({ name })) })

async function start(env: Readonly<Record<string, string>>): Promise<StartedContainer> {
  started = await startContainer(container, env)
  return started
}

async function clientOf({ addresses }: StartedContainer, port = 'redis'): Promise<RawClient> {
  const address = addresses[port]
  if (address === undefined || 'path' in address) throw new Error('it listens on TCP')
  const client = await rawClient(address.port)
  clients.push(client)
  return client
}

const fileOf = (name: string, text: string): string => {
  const file = join(directory, name)
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
  return file
}

it('Every key stays where twemproxy had it, with the same servers or the same nutcracker.yml.', async () => {
  const lines = shards.slice(0, 3).map(({ port }, index) => `   - 127.0.0.1:${port}:1 ${NAMES[index]}`)
  const file = fileOf(
    'nutcracker.yml',
    `pool:\n  listen: 127.0.0.1:1\n  redis: true\n  servers:\n${lines.join('\n')}\n`,
  )
  const ring = ringOf(3)
  for (const env of [{ AMBASSADOR_SHARD_SERVERS: serversOf(3) }, { AMBASSADOR_SHARD_TOPOLOGY: file }]) {
    await using running = await startContainer(container, env)
    const client = await clientOf(running)
    for (let number = 0; number < 100; number += 1) {
      const key = `${Math.random()}:${number}`
      await client.ask('SET', key, '1')
      expect(shards.findIndex(({ values }) => values.has(key))).toBe(ring.indexOfKey(key))
    }
    client[Symbol.dispose]()
  }
})

it('A command whose keys live on several shards is joined where that is right, and refused otherwise.', async () => {
  const client = await clientOf(await start({ AMBASSADOR_SHARD_SERVERS: serversOf(3) }))
  const keys = Array.from({ length: 12 }, (_, index) => `key:${index}`)
  expect(await client.ask('MSET', ...keys.flatMap((key) => [key, key]))).toBe('+OK\r\n')
  const values = keys.map((key) => `$${key.length}\r\n${key}\r\n`).join('')
  expect(await client.ask('MGET', ...keys)).toBe(`*12\r\n${values}`)
  expect(await client.ask('SINTERSTORE', ...keys)).toMatch(/^-CROSSSLOT /)
  expect(await client.ask('EXISTS', 'key:0')).toMatch(/^-ERR unknown command/)
})

it('Replies come in the order of the commands, whichever shard is slow.', async () => {
  const client = await clientOf(await start({ AMBASSADOR_SHARD_SERVERS: serversOf(2) }))
  const ring = ringOf(2)
  const [slow, quick] = [0, 1].map((index) => {
    for (let number = 0; ; number += 1) if (ring.indexOfKey(`k${number}`) === index) return `k${number}`
  })
  const late: (() => void)[] = []
  const [first] = shards
  if (first !== undefined)
    first.behaviour = (args, socket) => {
      if (args[0] === 'PING') return '+PONG\r\n'
      late.push(() => socket.write('+late\r\n'))
      return undefined
    }
  client.send(['SET', slow ?? '', '1'], ['SET', quick ?? '', '2'], ['GET', quick ?? ''])
  await until(() => late.length === 1 && (shards[1]?.commands.length ?? 0) === 2, 'all commands')
  expect(client.replies).toEqual([])
  for (const answer of late) answer()
  expect(await client.next(3)).toEqual(['+late\r\n', '+OK\r\n', '$1\r\n2\r\n'])
})

it('A shard that is down costs its own keys alone, at once.', async () => {
  const running = await start({ AMBASSADOR_SHARD_SERVERS: serversOf(3) })
  const client = await clientOf(running)
  await shards[1]?.[Symbol.asyncDispose]()
  const ring = ringOf(3)
  for (let number = 0; number < 60; number += 1) {
    const key = `key:${number}`
    const expected = ring.indexOfKey(key) === 1 ? /^-ERR shard two \(127\.0\.0\.1:\d+\): / : /^\+OK/
    expect(await client.ask('SET', key, '1')).toMatch(expected)
  }
  await until(() => running.events.some(({ msg }) => msg === 'shard down'), 'the log')
  const { ready, notices } = (await (await running.ask('/readyz')).json()) as Record<string, unknown>
  expect({ ready, notices }).toEqual({
    ready: true,
    notices: { shards: expect.stringMatching(/^two is down: /) },
  })
  shards[1] = new TinyShard()
  await shards[1].listen()
})

it('The topology changes without a restart: connections of clients stay, and no acknowledged write is lost.', async () => {
  const file = fileOf('topology.yml', topologyOf(3))
  const running = await start({ AMBASSADOR_SHARD_TOPOLOGY: file })
  const client = await clientOf(running)
  const accepted = shards.map((shard) => shard.accepted)
  const ring = ringOf(4)
  fileOf('topology.yml', topologyOf(4))
  const kept = new Map<string, string>()
  let seen = false
  for (let number = 0; !seen; number += 1) {
    const key = `${number % 1000}:key`
    expect(await client.ask('SET', key, String(number))).toBe('+OK\r\n')
    kept.set(key, String(number))
    seen = (shards[3]?.values.size ?? 0) > 0
  }
  for (const [key, value] of kept) {
    // Written before the change, a key that has moved is where it was.
    const places = shards.filter(({ values }) => values.get(key) === value)
    expect(places.length, key).toBeGreaterThan(0)
  }
  await client.ask('SET', 'now', '1')
  expect(shards[ring.indexOfKey('now')]?.values.get('now')).toBe('1')
  expect(client.closed).toBe(false)
  expect(shards.slice(0, 3).map((shard) => shard.accepted)).toEqual(accepted.slice(0, 3).map(() => 1))
})

it('a shard that was down is spoken of no longer once the topology has done without it', async () => {
  const file = fileOf('topology.yml', topologyOf(3))
  const running = await start({ AMBASSADOR_SHARD_TOPOLOGY: file })
  await shards[2]?.[Symbol.asyncDispose]()
  await until(() => running.events.some(({ msg }) => msg === 'shard down'), 'the log')
  expect(await (await running.ask('/readyz')).text()).toContain('three is down: ')
  fileOf('topology.yml', topologyOf(2))
  await until(() => running.events.some(({ msg }) => msg === 'topology changed'), 'the change')
  expect(await (await running.ask('/readyz')).text()).not.toContain('three')
  shards[2] = await new TinyShard().listen()
})

it('A topology that cannot be used never replaces a good one; line and column are said.', async () => {
  const file = fileOf('topology.yml', topologyOf(2))
  const running = await start({ AMBASSADOR_SHARD_TOPOLOGY: file })
  const client = await clientOf(running)
  for (const [text, why] of [
    ['shards: [', /line 1, column \d+: /],
    [
      'shards:\n  - name: one\n    address: nowhere\n',
      /line 3, column 14: address "nowhere" must be host:port/,
    ],
    ['pool:\n  listen: 127.0.0.1:1\n  servers: []\n', /line 3, column 12: servers is an empty list/],
  ] as const) {
    fileOf('topology.yml', text)
    await until(
      () => running.events.some(({ error }) => typeof error === 'string' && why.test(error)),
      () => `${why} in ${JSON.stringify(running.events.slice(1))}`,
    )
    expect(await client.ask('SET', 'a', '1')).toBe('+OK\r\n')
    expect(await (await running.ask('/metrics')).text()).toContain(
      'outrider_ambassador_shard_config_last_reload_successful{file="topology"} 0',
    )
  }
})

it('What is no RESP is answered by an error, and nothing of it reaches a shard.', async () => {
  const running = await start({ AMBASSADOR_SHARD_SERVERS: serversOf(2), AMBASSADOR_SHARD_MAX_VALUE: '1MiB' })
  for (const [bytes, says] of [
    ['*2\r\n$3\r\nGET\r\n:1\r\n', "-ERR Protocol error: expected '$', got ':'\r\n"],
    ['*2\r\n$3\r\nGET\r\n$10000000000\r\n', '-ERR Protocol error: invalid bulk length\r\n'],
    ['*2\r\n$3\r\nGET\r\n$1048577\r\n', '-ERR Protocol error: invalid bulk length\r\n'],
    ['*9999999999\r\n', '-ERR Protocol error: invalid multibulk length\r\n'],
  ] as const) {
    const client = await clientOf(running)
    client.socket.write(bytes)
    expect(await client.next()).toEqual([says])
    await client.untilClosed()
  }
  expect(shards.flatMap(({ commands }) => commands)).toEqual([])
})

it('A client that does not read its replies is dropped at a limit, and others do not notice.', async () => {
  const running = await start({
    AMBASSADOR_SHARD_SERVERS: serversOf(2),
    AMBASSADOR_SHARD_MAX_REPLIES: '2MiB',
  })
  const [greedy, other] = [await clientOf(running), await clientOf(running)]
  await other.ask('SET', 'large', 'x'.repeat(100_000))
  greedy.socket.pause()
  let dropped = false
  while (!dropped) {
    greedy.send(...Array.from({ length: 100 }, () => ['GET', 'large']))
    expect(await other.ask('PING')).toBe('+PONG\r\n')
    dropped = running.events.some(({ msg }) => msg === 'client cut off')
  }
  expect(running.events.find(({ msg }) => msg === 'client cut off')).toMatchObject({
    reason: 'it does not read its replies',
  })
})

describe('beside its contract', () => {
  it('tells the statistics of twemproxy on a port of their own', async () => {
    const running = await start({
      AMBASSADOR_SHARD_SERVERS: serversOf(2),
      AMBASSADOR_SHARD_STATS: '127.0.0.1:0',
    })
    const client = await clientOf(running)
    await client.ask('MSET', ...Array.from({ length: 20 }, (_, index) => [`k${index}`, '1']).flat())
    const stats = await clientOf(running, 'stats')
    await stats.untilClosed()
    const told = JSON.parse(stats.received.toString()) as Record<string, unknown>
    expect(told).toMatchObject({
      service: 'nutcracker',
      redis: { fragments: 2, one: { requests: 1, responses: 1 }, two: { requests: 1, responses: 1 } },
    })
  })

  it('shows shards, servers and hot keys at /status', async () => {
    const running = await start({ AMBASSADOR_SHARD_SERVERS: serversOf(2) })
    const client = await clientOf(running)
    for (let round = 0; round < 400; round += 1) await client.ask('GET', '<b>hot</b>')
    const json = (await (await running.ask('/status?format=json')).json()) as {
      pools: { shards: { name: string; state: string; hot: { key: string }[] }[] }[]
    }
    const [pool] = json.pools
    expect(pool?.shards.map(({ name, state }) => ({ name, state }))).toEqual([
      { name: 'one', state: 'up' },
      { name: 'two', state: 'up' },
    ])
    expect(pool?.shards.flatMap(({ hot }) => hot.map(({ key }) => key))).toEqual(['<b>hot</b>'])
    const page = await (await running.ask('/status?format=html')).text()
    expect(page).toContain('&#60;b&#62;hot')
    const metrics = await (await running.ask('/metrics')).text()
    expect(metrics).toMatch(/hot_key_requests_per_second\{pool="redis",shard="\w+",key="<b>hot<\/b>"\} \d/)
  })

  it('serves all pools of a nutcracker.yml, each where it says, with its password', async () => {
    const pool = (index: number) =>
      [
        `pool${index}:`,
        `  listen: ${join(directory, `pool${index}.sock`)} 0600`,
        '  redis: true',
        `  redis_auth: secret${index}`,
        `  servers:\n   - 127.0.0.1:${shards[index]?.port}:1 ${NAMES[index]}`,
        '',
      ].join('\n')
    for (const shard of shards)
      shard.behaviour = (args) => (args[0] === 'AUTH' ? '+OK\r\n' : shard.answer(args))
    const file = fileOf('nutcracker.yml', pool(0) + pool(1))
    await start({ AMBASSADOR_SHARD_LISTEN: '', AMBASSADOR_SHARD_TOPOLOGY: file })
    for (const index of [0, 1]) {
      const path = join(directory, `pool${index}.sock`)
      expect(statSync(path).mode & 0o777).toBe(0o600)
      const client = new RawClient(connect({ path, allowHalfOpen: true }))
      clients.push(client)
      expect(await client.ask('GET', 'a')).toMatch(/^-NOAUTH/)
      expect(await client.ask('AUTH', `secret${1 - index}`)).toMatch(/^-WRONGPASS/)
      expect(await client.ask('AUTH', `secret${index}`)).toBe('+OK\r\n')
      expect(await client.ask('SET', 'a', '1')).toBe('+OK\r\n')
      expect(shards.map(({ values }) => values.size)).toEqual([0, 1, 2, 3].map((at) => (at <= index ? 1 : 0)))
      expect(shards[index]?.commands[0]).toEqual(['AUTH', `secret${index}`])
    }
  })

  const poolText = (name: string, listen: string, index: number, auth?: string): string =>
    [
      `${name}:`,
      `  listen: ${listen}`,
      '  redis: true',
      ...(auth === undefined ? [] : [`  redis_auth: ${auth}`]),
      `  servers:\n   - 127.0.0.1:${shards[index]?.port}:1 ${NAMES[index]}`,
      '',
    ].join('\n')

  it('no change of a file lets clients in without the password that they had to give', async () => {
    const file = fileOf('topology.yml', poolText('pool', '127.0.0.1:1', 0, 'secret'))
    const running = await start({ AMBASSADOR_SHARD_TOPOLOGY: file })
    fileOf('topology.yml', topologyOf(2))
    await until(
      () => running.events.some(({ error }) => /had to give a password/.test(String(error))),
      'the refusal',
    )
    const client = await clientOf(running)
    expect(await client.ask('GET', 'a')).toMatch(/^-NOAUTH/)
  })

  it('pools that come and go with their file are in the log', async () => {
    const sockets = [0, 1, 2].map((index) => join(directory, `${index}.sock`))
    const [first = '', second = '', third = ''] = sockets
    const file = fileOf('nutcracker.yml', poolText('stays', first, 0) + poolText('goes', second, 1))
    const running = await start({ AMBASSADOR_SHARD_LISTEN: '', AMBASSADOR_SHARD_TOPOLOGY: file })
    fileOf('nutcracker.yml', poolText('renamed', first, 0) + poolText('comes', third, 1))
    await until(() => running.events.some(({ msg }) => msg === 'topology reloaded'), 'the reload')
    const told = running.events.filter(({ msg }) => String(msg).startsWith('pool '))
    expect(told.map(({ level, pool, listen }) => [level, pool, listen])).toEqual([
      ['warn', 'goes', second],
      ['warn', 'comes', third],
    ])
    const { pools } = (await (await running.ask('/status?format=json')).json()) as {
      pools: { pool: string; listen: string }[]
    }
    expect(pools.map(({ pool, listen }) => [pool, listen])).toEqual([
      ['renamed', first],
      ['comes', third],
    ])
  })

  it('diff compares one pool of many with a file of ours, and asks which where it is not said', async () => {
    const old = fileOf('nutcracker.yml', poolText('a', '127.0.0.1:1', 0) + poolText('b', '127.0.0.1:2', 1))
    const next = fileOf('topology.yml', topologyOf(1))
    const run = async (pool?: string) =>
      container.commands['diff']?.run({
        args: [old, next],
        params: { pool },
        given: () => false,
        nameOf: (name) => name,
        readFile: (path) => readFileSync(path, 'utf8'),
      })
    expect(await run('a')).toMatchObject({ text: 'no key goes to another shard' })
    await expect(run()).rejects.toThrow(/has 2 pools, and .* one: choose by --pool one of a, b/)
  })

  it('two pools and one address are told to be too few', async () => {
    const pools = [0, 1].map(
      (index) => `p${index}:\n  listen: 127.0.0.1:1\n  redis: true\n  servers: ['a:1:1']\n`,
    )
    const file = fileOf('nutcracker.yml', pools.join(''))
    await expect(start({ AMBASSADOR_SHARD_TOPOLOGY: file })).rejects.toThrow(
      /there are 2 pools, and one AMBASSADOR_SHARD_LISTEN/,
    )
  })
})
