import { once } from 'node:events'
import { createClient } from '@redis/client'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { docker } from '../support/docker.ts'
import { LocalAmbassador } from '../support/local-ambassador.ts'
import { until } from '../support/program.ts'
import { inRoot } from '../support/workspace.ts'

const IMAGE = 'outrider-test/redis-clients'
const USER = 'app'
const PASSWORD = 'secret'
const CREDENTIALS = { username: USER, password: PASSWORD }
const USERS = {
  required: true,
  check: (user: string, password: string) => user === USER && password === PASSWORD,
}

let ambassador: LocalAmbassador
let first: string
let second: string
let third: string
beforeAll(async () => {
  ambassador = await LocalAmbassador.start(3, USERS)
  first = ambassador.keyOn(0)
  second = ambassador.keyOn(1)
  third = ambassador.keyOn(2)
})
afterAll(async () => {
  await ambassador?.[Symbol.asyncDispose]()
})

/** Every client has left, with all that it had connections of its own for. */
const untilLeft = (): Promise<true> => until('the end of all clients', () => ambassador.proxy.clients === 0)
const SCRIPT = 'return {KEYS[1], ARGV[1]}'

interface IoredisOptions {
  readonly username?: string
  readonly password?: string
  readonly connectionName?: string
  readonly retryStrategy?: null
  readonly lazyConnect?: boolean
}

/** A client that is disconnected with the test. */
function ioredis(
  { host, port }: LocalAmbassador,
  protocol: 2 | 3,
  options: IoredisOptions,
): Redis & Disposable {
  const client = new Redis({ host, port, protocol, ...options })
  return Object.assign(client, { [Symbol.dispose]: () => client.disconnect() })
}

describe.each([2, 3] as const)('ioredis in RESP%d', (protocol) => {
  const open = (options: IoredisOptions = {}): Redis & Disposable =>
    ioredis(ambassador, protocol, { ...CREDENTIALS, ...options })

  test('comes in with its user, and not with a wrong password', async () => {
    using client = open({ connectionName: 'app' })
    expect(await client.ping()).toBe('PONG')
    expect(await client.client('INFO')).toMatch(
      new RegExp(` name=app .* user=app .* resp=${protocol} lib-name=ioredis lib-ver=6`),
    )
    using wrong = open({ password: 'wrong', retryStrategy: null, lazyConnect: true })
    const [error] = await Promise.all([once(wrong, 'error'), wrong.connect().catch(() => undefined)])
    expect(String(error)).toMatch(/WRONGPASS/)
  })

  test('has what it pipelines to all shards answered in order', async () => {
    using client = open()
    const pipeline = client.pipeline()
    for (let at = 0; at < 300; at += 1) pipeline.set(`io:${at}`, at).get(`io:${at}`)
    const replies = await pipeline.exec()
    expect(replies?.flatMap(([error, value], at) => (at % 2 === 1 ? [error ?? value] : []))).toEqual(
      Array.from({ length: 300 }, (_, at) => String(at)),
    )
  })

  test('reads and writes many keys at once, and finds each once by SCAN', async () => {
    using client = open()
    await client.flushall()
    const keys = Array.from({ length: 200 }, (_, at) => `io:${at}`)
    expect(await client.mset(keys.flatMap((key) => [key, key]))).toBe('OK')
    expect(await client.mget(...keys, 'nothing')).toEqual([...keys, null])
    expect(await client.dbsize()).toBe(200)
    const found: string[] = []
    for await (const piece of client.scanStream({ match: 'io:*', count: 10 })) found.push(...piece)
    expect(found.sort()).toEqual(keys.sort())
    expect(await client.randomkey()).toMatch(/^io:/)
    expect(await client.del(...keys)).toBe(200)
    expect(await client.randomkey()).toBe(null)
  })

  test('has transactions of one shard, and is told of those that are not', async () => {
    using client = open()
    using other = open()
    expect(await client.multi().set(first, 'a').get(first).exec()).toEqual([
      [null, 'OK'],
      [null, 'a'],
    ])
    await expect(client.multi().set(first, 'b').set(second, 'b').exec()).rejects.toThrow(/EXECABORT/)
    await client.watch(first)
    await other.set(first, 'other')
    expect(await client.multi().set(first, 'own').exec()).toBe(null)
    expect(await client.get(first)).toBe('other')
  })

  test('waits for a key, and holds nobody up', async () => {
    using client = open()
    using other = open()
    await other.del(second)
    const popped = client.blpop(second, 0)
    expect(await other.set(ambassador.keyOn(1, 1), 'a')).toBe('OK')
    await until('both clients', () => ambassador.proxy.clients >= 2)
    await other.rpush(second, 'x')
    expect(await popped).toEqual([second, 'x'])
  })

  test('hears messages, and goes on with other things when it has left its channels', async () => {
    using client = open()
    using sharded = open()
    using other = open()
    const heard: unknown[] = []
    client.on('message', (...words) => heard.push(words))
    client.on('pmessage', (...words) => heard.push(words))
    sharded.on('smessage', (...words) => heard.push(words))
    expect(await client.subscribe('news', 'old')).toBe(2)
    expect(await client.psubscribe('n*')).toBe(3)
    expect(await sharded.ssubscribe(third)).toBe(1)
    expect(await other.publish('news', 'm')).toBe(2)
    expect(await other.spublish(third, 's')).toBe(1)
    await until('three messages', () => heard.length === 3)
    expect(heard).toEqual(
      expect.arrayContaining([
        ['news', 'm'],
        ['n*', 'news', 'm'],
        [third, 's'],
      ]),
    )
    expect(await client.unsubscribe('news', 'old')).toBe(1)
    expect(await client.punsubscribe()).toBe(0)
    expect(await client.set(first, 'a')).toBe('OK')
  })

  test('has its scripts, by their hash, on every shard', async () => {
    using client = open()
    await client.script('FLUSH')
    client.defineCommand('show', { lua: SCRIPT, numberOfKeys: 1 })
    const show = (key: string): Promise<unknown> => Reflect.get(client, 'show').call(client, key, 'x')
    for (const key of [first, second, third]) expect(await show(key)).toEqual([key, 'x'])
    const sha = String(await client.script('LOAD', SCRIPT))
    expect(await client.script('EXISTS', sha)).toEqual([1])
    for (const key of [first, second, third])
      expect(await client.evalsha(sha, 1, key, 'y')).toEqual([key, 'y'])
  })

  test('monitors all shards', async () => {
    using client = open()
    const monitor = await client.monitor()
    const seen: string[] = []
    monitor.on('monitor', (_time: string, [name, key]: string[]) => {
      if (name === 'set') seen.push(String(key))
    })
    for (const key of [first, second, third]) await client.set(key, 'a')
    await until('three lines', () => seen.length === 3)
    expect(seen.sort()).toEqual([first, second, third].sort())
    monitor.disconnect()
  })

  test('ends by QUIT', async () => {
    const client = open()
    await client.ping()
    const ended = once(client, 'end')
    expect(await client.quit()).toBe('OK')
    await ended
    await untilLeft()
  })
})

describe.each([2, 3] as const)('node-redis in RESP%d', (RESP) => {
  async function open(options: { password?: string; name?: string } = {}) {
    const { host, port } = ambassador
    const client = createClient({
      ...{
        RESP,
        username: USER,
        password: PASSWORD,
        socket: { host, port, reconnectStrategy: false },
        ...options,
      },
    })
    client.on('error', () => undefined)
    await client.connect()
    return Object.assign(client, { [Symbol.dispose]: () => client.destroy() })
  }

  test('comes in with its user, and not with a wrong password', async () => {
    using client = await open({ name: 'app' })
    expect(await client.ping()).toBe('PONG')
    expect(await client.sendCommand(['CLIENT', 'INFO'])).toMatch(
      new RegExp(` name=app .* user=app .* resp=${RESP} lib-name=node-redis lib-ver=6`),
    )
    const info = await client.clientInfo()
    expect([info.name, info.db, info.sub]).toEqual(['app', 0, 0])
    await expect(open({ password: 'wrong' })).rejects.toThrow(/WRONGPASS/)
  })

  test('has what it pipelines to all shards answered in order', async () => {
    using client = await open()
    const numbers = Array.from({ length: 300 }, (_, at) => at)
    await Promise.all(numbers.map((at) => client.set(`node:${at}`, at)))
    expect(await Promise.all(numbers.map((at) => client.get(`node:${at}`)))).toEqual(numbers.map(String))
  })

  test('reads and writes many keys at once, and finds each once by SCAN', async () => {
    using client = await open()
    await client.flushAll()
    const keys = Array.from({ length: 200 }, (_, at) => `node:${at}`)
    expect(await client.mSet(keys.map((key): [string, string] => [key, key]))).toBe('OK')
    expect(await client.mGet([...keys, 'nothing'])).toEqual([...keys, null])
    const found: string[] = []
    for await (const piece of client.scanIterator({ MATCH: 'node:*', COUNT: 10 })) found.push(...piece)
    expect(found.sort()).toEqual(keys.sort())
    expect(await client.del(keys)).toBe(200)
  })

  test('has transactions of one shard, and is told of those that are not', async () => {
    using client = await open()
    using other = await open()
    expect(await client.multi().set(first, 'a').get(first).exec()).toEqual(['OK', 'a'])
    await expect(client.multi().set(first, 'b').set(second, 'b').exec()).rejects.toThrow()
    expect(await client.get(first)).toBe('a')
    await client.watch(first)
    await other.set(first, 'other')
    await expect(client.multi().set(first, 'own').exec()).rejects.toThrow(/watched keys/)
  })

  test('waits for a key, and holds nobody up', async () => {
    using client = await open()
    using other = await open()
    await other.del(second)
    const popped = client.blPop(second, 0)
    expect(await other.set(ambassador.keyOn(1, 1), 'a')).toBe('OK')
    await other.rPush(second, 'x')
    expect(await popped).toEqual({ key: second, element: 'x' })
  })

  test('hears messages, and goes on with other things when it has left its channels', async () => {
    using client = await open()
    using sharded = await open()
    using other = await open()
    const heard: string[] = []
    await client.subscribe('news', (message, channel) => heard.push(`${channel} ${message}`))
    await client.pSubscribe('n*', (message, channel) => heard.push(`n* ${channel} ${message}`))
    await sharded.sSubscribe(third, (message, channel) => heard.push(`${channel} ${message}`))
    expect(await other.publish('news', 'm')).toBe(2)
    expect(await other.sPublish(third, 's')).toBe(1)
    await until('three messages', () => heard.length === 3)
    expect(heard.sort()).toEqual([`${third} s`, 'n* news m', 'news m'].sort())
    // Where the protocol tells messages from replies, a subscriber may do all else.
    if (RESP === 3) expect(await client.multi().set(first, 'b').get(first).exec()).toEqual(['OK', 'b'])
    await client.unsubscribe('news')
    await client.pUnsubscribe()
    // In RESP2 node-redis goes on to give buffers then, beside Redis, too.
    expect(String(await client.set(first, 'a'))).toBe('OK')
  })

  test('has its scripts, by their hash, on every shard', async () => {
    using client = await open()
    await client.scriptFlush()
    const sha = await client.scriptLoad(SCRIPT)
    for (const key of [first, second, third])
      expect(await client.evalSha(sha, { keys: [key], arguments: ['x'] })).toEqual([key, 'x'])
  })

  test('ends when what it asked is answered', async () => {
    const client = await open()
    const value = client.set(first, 'a')
    await client.close()
    expect(await value).toBe('OK')
    const quits = await open()
    expect(await quits.sendCommand(['QUIT'])).toBe('OK')
    await untilLeft()
  })
})

describe('clients of Debian, in a container', () => {
  beforeAll(async () => {
    const file = inRoot('test/e2e/redis-clients.Dockerfile')
    await docker('build', '--quiet', '--tag', IMAGE, '--file', file, inRoot('test/support'))
  })
  // Its own processes end with it, however long they would wait.
  const run = (...command: string[]): Promise<string> =>
    docker('run', '--rm', '--network', 'host', '--stop-timeout', '1', IMAGE, 'timeout', '90', ...command)
  const words = (...more: string[]): string[] => [
    ...['redis-cli', '-p', String(ambassador.port), '--user', USER, '--pass', PASSWORD, '--no-auth-warning'],
    ...more,
  ]
  const cli = (...more: string[]): Promise<string> => run(...words(...more))
  const shell = (script: string): Promise<string> => run('sh', '-c', script)
  const quoted = (...more: string[]): string => words(...more).join(' ')

  test('redis-py does all that applications do', async () => {
    const { host, port } = ambassador
    const seen = await run(
      'python3',
      '/redis_clients.py',
      host,
      String(port),
      USER,
      PASSWORD,
      first,
      second,
      third,
    )
    expect(JSON.parse(seen)).toEqual({
      'wrong password': 'ResponseError: WRONGPASS invalid username-password pair or user is disabled.',
      ping: true,
      pipeline: true,
      dbsize: 300,
      scan: 300,
      mget: ['1', null, '2'],
      mset: true,
      delete: 3,
      transaction: [true, 'a'],
      'two shards': expect.stringMatching(/CROSSSLOT/),
      watched: [[true], 'WatchError: Watched variable changed.'],
      blocking: [second, 'x'],
      messages: [
        ...['subscribe', 'psubscribe', 'message', 'pmessage', 'pong', 'unsubscribe', 'punsubscribe'],
      ],
      script: [third, 'x'],
      lock: false,
      monitor: `SET ${second} watched`,
      random: true,
      info: [0, 3, true],
      config: { 'maxmemory-policy': 'noeviction' },
      client: ['python', 0, true],
      time: true,
      command: true,
      cluster: 'ResponseError: This instance has cluster support disabled',
    })
    await untilLeft()
  })

  test.each(['-2', '-3'])('redis-cli %s asks, pipes and scans', async (protocol) => {
    await cli(protocol, 'FLUSHALL')
    const piped = await shell(`seq 500 | sed 's/.*/SET cli:& &\\r/' | ${quoted(protocol, '--pipe')}`)
    expect(piped).toMatch(/errors: 0, replies: 500/)
    expect((await cli(protocol, '--scan', '--pattern', 'cli:*')).split('\n')).toHaveLength(500)
    expect(await cli(protocol, 'DBSIZE')).toBe('500')
    expect(await shell(`printf 'MULTI\\nGET cli:7\\nEXEC\\nGET cli:8\\n' | ${quoted(protocol)}`)).toBe(
      'OK\nQUEUED\n7\n8',
    )
    expect(await cli(protocol, '--bigkeys')).toMatch(/Sampled 500 keys/)
    await untilLeft()
  })

  test.each(['-2', '-3'])('redis-cli %s hears messages and monitors', async (protocol) => {
    using publisher = ioredis(ambassador, 2, CREDENTIALS)
    const heard = shell(`${quoted(protocol, 'SUBSCRIBE', 'cli')} | head -n 6`)
    let isOver = false
    void heard.finally(() => {
      isOver = true
    })
    // What comes behind the last line that is read ends it.
    await until('the messages', async () => {
      await publisher.publish('cli', 'm')
      return isOver
    })
    expect((await heard).split('\n').slice(-3)).toEqual(['message', 'cli', 'm'])
    const seen = shell(`${quoted(protocol, 'MONITOR')} | grep -m 1 cli:monitored`)
    isOver = false
    void seen.finally(() => {
      isOver = true
    })
    await until('the line', async () => {
      await publisher.set('cli:monitored', '1')
      return isOver
    })
    expect(await seen).toMatch(/^\d+\.\d+ \[0 .*\] "set" "cli:monitored" "1"$/)
  })

  test('redis-cli for people knows the commands of the shards', async () => {
    // What is typed before it is ready is thrown away.
    const typing = "for _ in 1 2 3 4; do sleep 1; printf 'help getex\\r'; done; printf 'quit\\r'"
    const typed = `(${typing}) | script -qec 'stty cols 80; ${quoted()}' /dev/null`
    expect(await shell(typed)).toMatch(/GETEX.*key/)
  })

  test('redis-benchmark runs', async () => {
    const benchmark = ['redis-benchmark', '-p', String(ambassador.port), '--user', USER, '-a', PASSWORD]
    const told = await run(
      ...benchmark,
      '-t',
      'ping,set,get,lpush,mset',
      '-n',
      '2000',
      '-c',
      '20',
      '-r',
      '100',
      '--csv',
    )
    expect(told.split('\n').length).toBeGreaterThan(5)
    expect(told).not.toMatch(/ERR|WARN/i)
  })
})

describe('while a shard is down', () => {
  let own: LocalAmbassador
  beforeAll(async () => {
    own = await LocalAmbassador.start(3)
    await own.stop(1)
  })
  afterAll(async () => {
    await own?.[Symbol.asyncDispose]()
  })

  test.each([2, 3] as const)(
    'ioredis in RESP%d comes in, and has the keys of the others',
    async (protocol) => {
      using client = ioredis(own, protocol, { retryStrategy: null })
      expect(await client.set(own.keyOn(0), 'a')).toBe('OK')
      await expect(client.get(own.keyOn(1))).rejects.toThrow(/^ERR shard redis-2 /)
      await expect(client.dbsize()).rejects.toThrow(/^ERR shard redis-2 /)
      expect(await client.info()).toContain('shards_missing:redis-2\r\n')
    },
  )

  test.each([2, 3] as const)(
    'node-redis in RESP%d comes in, and has the keys of the others',
    async (RESP) => {
      const { host, port } = own
      const client = createClient({ RESP, socket: { host, port, reconnectStrategy: false } })
      client.on('error', () => undefined)
      await client.connect()
      expect(await client.set(own.keyOn(2), 'a')).toBe('OK')
      await expect(client.get(own.keyOn(1))).rejects.toThrow(/^ERR shard redis-2 /)
      client.destroy()
    },
  )
})
