import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { changeText, describeChange } from '@outrider/ambassador-shard'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { createCa } from '../../packages/sidecar-https/src/test-ca.ts'
import { docker, inspect } from '../support/docker.ts'
import { until } from '../support/program.ts'
import {
  failures,
  type Load,
  NodeLoad,
  numberIn,
  PythonLoad,
  sumOf,
  type Tally,
  valueAt,
} from '../support/redis-load.ts'
import { type Ambassador, Placement, type Server, Shards } from '../support/shards.ts'

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always', '--repl-diskless-sync-delay', '0']
const THREE = ['redis-1', 'redis-2', 'redis-3'] as const

const yaml = (...shards: string[]): string => `shards:\n${shards.join('')}`
const alone = (name: string): string => `  - name: ${name}\n    address: ${name}:6379\n`
const replicated = (name: string): string => `${alone(name)}    replicas: [${name}b:6379]\n`

const words = (line: string): string[] => line.split(' ')

/** So many servers, all alike. */
const durable = (...names: string[]): Record<string, string[]> =>
  Object.fromEntries(names.map((name) => [name, DURABLE]))

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Until a replica has all that its primary has acknowledged by now. */
async function caughtUp(primary: Server, replica: Server): Promise<void> {
  const offset = Number(await primary.field('replication', 'master_repl_offset'))
  await until(`${replica.name}`, async () => {
    const link = await replica.field('replication', 'master_link_status')
    return link === 'up' && Number(await replica.field('replication', 'slave_repl_offset')) >= offset
  })
}

/** What these clients have seen so far. */
const seenBy = async (loads: readonly Load[]): Promise<Tally> =>
  sumOf(await Promise.all(loads.map((load) => load.tally())))

/** Waits until the clients have seen something; fails with what they have seen. */
async function seen(what: string, loads: readonly Load[], look: (tally: Tally) => boolean): Promise<Tally> {
  let last: Tally | undefined
  const found = until(what, async () => {
    last = await seenBy(loads)
    return look(last) && last
  })
  return found.catch((cause: unknown) => {
    const { writes, reads, errors, broken } = last ?? {}
    throw new Error(`${reasonOf(cause)}: ${JSON.stringify({ writes, reads, errors, broken })}`, { cause })
  })
}

/** Waits until so many more writes to keys of a shard are acknowledged. */
async function written(
  count: number,
  shard: string,
  loads: readonly Load[],
  place: Placement,
): Promise<void> {
  const sum = ({ keys }: Tally): number =>
    Object.entries(keys).reduce(
      (all, [key, { acknowledged }]) => all + (place.shardOf(key) === shard ? acknowledged : 0),
      0,
    )
  const before = sum(await seenBy(loads))
  await seen(`writes to ${shard}`, loads, (tally) => sum(tally) >= before + count)
}

/** The shards whose keys have failed, beside what had failed before. */
function failedShards({ failed }: Tally, place: Placement, before?: Tally): string[] {
  const keys = Object.keys(failed).filter((key) => failed[key] !== before?.failed[key])
  return [...new Set(keys.map((key) => place.shardOf(key)))].sort()
}

/** Nothing but answers that are right and errors that name a shard, on connections that stayed. */
function expectHonest(tally: Tally, shards: readonly string[]): void {
  expect(tally.wrong).toEqual([])
  expect(tally.broken).toEqual([])
  // redis-py leaves ERR out.
  const named = new RegExp(`^((ERR )?shard (${shards.join('|')}) \\(|LOADING )`)
  expect(Object.keys(tally.errors).filter((text) => !named.test(text))).toEqual([])
}

/** Keys whose value is not the last that was acknowledged, nor one whose write was answered by an error. */
function lostOf(tally: Tally, values: ReadonlyMap<string, string | null>): string[] {
  return Object.entries(tally.keys).flatMap(([key, { acknowledged, doubtful }]) => {
    const value = values.get(key) ?? null
    const number = numberIn(key, value)
    const isKept = number === acknowledged || (number !== undefined && doubtful.includes(number))
    return isKept ? [] : [`${key} is ${value}, and ${acknowledged} was acknowledged`]
  })
}

/** The values of keys, asked of the server that has each, behind the ambassador's back. */
async function valuesAt(
  keys: readonly string[],
  serverOf: (key: string) => Server,
): Promise<Map<string, string | null>> {
  const values = new Map<string, string | null>()
  for (const [server, own] of Map.groupBy(keys, serverOf)) {
    const found = await server.values(own)
    for (const [at, key] of own.entries()) values.set(key, found[at] ?? null)
  }
  return values
}

/** A client of its own, for commands whose answers a test looks at. */
async function asking<T>(
  ambassador: Ambassador,
  ask: (client: Redis) => Promise<T>,
  options: { password?: string; enableReadyCheck?: boolean } = {},
): Promise<T> {
  const { host, port } = ambassador
  const client = new Redis({ host, port, ...options, maxRetriesPerRequest: 0, retryStrategy: () => null })
  client.on('error', () => undefined)
  try {
    return await ask(client)
  } finally {
    client.disconnect()
  }
}

/** What a command is answered, an error or not. */
const answer = (reply: Promise<unknown>): Promise<unknown> => reply.catch(reasonOf)

const ms = (time: number): string => `${time.toFixed(0)} ms`

/** A line for the reader of the run. */
function figures(scenario: string, tally: Tally, ...more: string[]): void {
  const all = [
    `${tally.writes} writes acknowledged`,
    `${tally.reads} values read`,
    `${failures(tally)} answered by an error`,
    `${tally.wrong.length} wrong`,
    `slowest value ${ms(tally.slowestAnswer)}`,
    `slowest error ${ms(tally.slowestError)}`,
    ...more,
  ]
  console.log(`${scenario}: ${all.join(', ')}`)
}

describe('three shards with a replica each', () => {
  const topology = yaml(...THREE.map(replicated))
  const place = new Placement(topology)

  async function start(): Promise<Shards> {
    const shards = await Shards.start(durable(...THREE))
    await Promise.all(
      THREE.map(async (name) => {
        const replica = await shards.add(`${name}b`, [...DURABLE, '--replicaof', name, '6379'])
        await caughtUp(shards.server(name), replica)
      }),
    )
    return shards
  }

  it('a primary that is killed costs its own keys alone, and after the promotion of its replica nothing is lost that the replica had', async () => {
    await using shards = await start()
    const ambassador = await shards.ambassador(topology)
    const reader = await shards.ambassador(topology, { READS: 'replicas' })
    const keys = place.keys('node', 60)
    await using node = new NodeLoad({ host: ambassador.host, port: ambassador.port }, keys)
    const others = place.keys('python', 60)
    await using python = await PythonLoad.start(shards.network.getName(), ambassador.name, others)
    const loads = [node, python]
    const victims = [...keys, ...others].filter((key) => place.shardOf(key) === 'redis-2')
    const [primary, replica] = [shards.server('redis-2'), shards.server('redis-2b')]
    for (const name of THREE) await written(100, name, loads, place)
    const before = await seenBy(loads)
    await caughtUp(primary, replica)
    await primary.kill()
    const refused = await seen('errors', loads, (tally) => failures(tally) >= 500)
    expect(failedShards(refused, place)).toEqual(['redis-2'])

    // What the replica has is all that there is.
    const kept = await valuesAt(victims, () => replica)
    const tooOld = victims.filter(
      (key) => (numberIn(key, kept.get(key) ?? null) ?? 0) < (before.keys[key]?.acknowledged ?? 0),
    )
    expect(tooOld).toEqual([])
    const behind = victims.map((key) => {
      const { acknowledged = 0 } = refused.keys[key] ?? {}
      return Math.max(0, acknowledged - (numberIn(key, kept.get(key) ?? null) ?? 0))
    })
    const read = await asking(reader, (client) => client.mget(...victims))
    expect(read).toEqual(victims.map((key) => kept.get(key)))

    const since = performance.now()
    await replica.ask('REPLICAOF', 'NO', 'ONE')
    await written(1, 'redis-2', loads, place)
    const promoted = performance.now() - since
    await written(100, 'redis-2', loads, place)
    const all = sumOf([await node.stop(), await python.stop()])
    expectHonest(all, ['redis-2'])
    expect(failedShards(all, place)).toEqual(['redis-2'])
    // Read before they were written again: what the replica had, neither more nor less.
    for (const [key, number] of all.older)
      expect([key, number]).toEqual([key, numberIn(key, kept.get(key) ?? null)])
    const values = await asking(ambassador, (client) => client.mget(...Object.keys(all.keys)))
    const found = new Map(Object.keys(all.keys).map((key, at) => [key, values[at] ?? null]))
    expect(lostOf(all, found)).toEqual([])
    const home = (key: string): Server =>
      shards.server(place.shardOf(key) === 'redis-2' ? 'redis-2b' : place.shardOf(key))
    expect(await valuesAt([...found.keys()], home)).toEqual(found)
    await until('the same from replicas', async () => {
      const read = await asking(reader, (client) => client.mget(...found.keys()))
      return read.every((value, at) => value === values[at])
    })
    figures(
      'a primary killed',
      all,
      '0 lost that the replica had',
      `${behind.reduce((sum, count) => sum + count, 0)} acknowledged by the primary that it had not passed on`,
      `written again ${ms(promoted)} after the promotion`,
    )
  })

  it('a fourth shard that is added moves the keys that were announced, and no connection and no answer is lost', async () => {
    await using shards = await start()
    const next = yaml(...THREE.map(replicated), alone('redis-4'))
    const later = new Placement(next)
    const ambassador = await shards.ambassador(topology)
    const loaded = place.keys('node', 60)
    await using node = new NodeLoad({ host: ambassador.host, port: ambassador.port }, loaded)
    const others = place.keys('python', 60)
    await using python = await PythonLoad.start(shards.network.getName(), ambassador.name, others)
    const loads = [node, python]
    const many = place.keys('many', 4_000)
    await asking(ambassador, (client) =>
      client.mset(Object.fromEntries(many.map((key) => [key, valueAt(key, 1)]))),
    )
    for (const name of THREE) await written(100, name, loads, place)
    await shards.add('redis-4', DURABLE)
    ambassador.use(next)
    const event = await until('the change', async () =>
      (await ambassador.log()).find(({ msg }) => msg === 'topology changed'),
    )
    for (const name of [...THREE, 'redis-4']) await written(100, name, loads, later)
    const during = await seenBy(loads)
    const there = await valuesAt(Object.keys(during.keys), (key) => shards.server(later.shardOf(key)))
    for (const [key, { acknowledged }] of Object.entries(during.keys))
      expect(numberIn(key, there.get(key) ?? null)).toBeGreaterThanOrEqual(acknowledged)
    const change = describeChange(place.pool, later.pool)
    expect(event['change']).toBe(changeText(change))
    const moves = (key: string): boolean => place.shardOf(key) !== later.shardOf(key)
    const values = await asking(ambassador, (client) => client.mget(...many))
    expect(values).toEqual(many.map((key) => (moves(key) ? null : valueAt(key, 1))))
    const share = values.filter((value) => value === null).length / many.length
    expect(share).toBeCloseTo(change.keys?.moved ?? 0, 1)

    // And back: what has moved is where it was, and the shard that has left is left alone.
    ambassador.use(topology)
    await until('the old answers', async () => {
      const back = await asking(ambassador, (client) => client.mget(...many))
      return back.every((value, at) => value === valueAt(many[at] ?? '', 1))
    })
    await until('no connection to the shard that has left', async () => {
      const clients = await shards.server('redis-4').text('CLIENT', 'LIST')
      return clients.trim().split('\n').length === 1
    })
    for (const name of THREE) await written(100, name, loads, place)
    const all = sumOf([await node.stop(), await python.stop()])
    expectHonest(all, [])
    expect(all.failed).toEqual({})
    // Nobody copies them: each is missing once, later as old as it was left, and right again when it is written.
    expect(all.older.filter(([key]) => !moves(key))).toEqual([])
    const found = await valuesAt(Object.keys(all.keys), (key) => shards.server(place.shardOf(key)))
    expect(lostOf(all, found)).toEqual([])
    figures(
      'a fourth shard added, and removed',
      all,
      `${(share * 100).toFixed(2)} % of ${many.length} keys moved, ${((change.keys?.moved ?? 0) * 100).toFixed(2)} % announced`,
      '0 connections broken, 0 lost',
    )
  })

  it('a rolling restart of all shards loses nothing, and each recovers by itself', async () => {
    await using shards = await start()
    const ambassador = await shards.ambassador(topology)
    await using node = new NodeLoad({ host: ambassador.host, port: ambassador.port }, place.keys('node', 60))
    await using python = await PythonLoad.start(
      shards.network.getName(),
      ambassador.name,
      place.keys('python', 60),
    )
    const loads = [node, python]
    for (const name of THREE) {
      await written(50, name, loads, place)
      const before = await seenBy(loads)
      const server = shards.server(name)
      // The last one as a crash: what was acknowledged is in its file.
      if (name === 'redis-3') await server.kill()
      else await server.stop()
      await seen('errors', loads, (tally) => failures(tally) >= failures(before) + 100)
      await server.start()
      await written(50, name, loads, place)
      expect(failedShards(await seenBy(loads), place, before)).toEqual([name])
    }
    const all = sumOf([await node.stop(), await python.stop()])
    expectHonest(all, THREE)
    expect(all.older).toEqual([])
    const found = await valuesAt(Object.keys(all.keys), (key) => shards.server(place.shardOf(key)))
    expect(lostOf(all, found)).toEqual([])
    figures('a rolling restart', all, '0 lost')
  })
})

describe('a topology that cannot be used', () => {
  it('changes nothing, and log, metric and /readyz say line and column', async () => {
    await using shards = await Shards.start({ 'redis-1': [] })
    const good = yaml(alone('redis-1'))
    const ambassador = await shards.ambassador(good)
    const loaded = () => ambassador.metric('config_last_reload_successful{file="topology"}')
    expect(await loaded()).toBe(1)
    for (const [bad, says] of [
      [yaml('  - name: redis-1\n    address: redis-1:99999\n'), /line 3, column 14: .*redis-1:99999/],
      ['shards: [', /line 1, column \d+: /],
      ['', /line 1, column 1: must be a map/],
      [yaml(alone('redis-1'), alone('redis-1')), /line 4, column 11: .*redis-1/],
    ] as const) {
      ambassador.use(bad)
      await until('a failed reload', async () => (await loaded()) === 0)
      expect(await ambassador.read('/readyz')).toMatch(says)
      const log = await ambassador.log()
      expect(log.filter(({ level, error }) => level !== 'info' && says.test(String(error)))).toHaveLength(1)
      expect(await asking(ambassador, (client) => client.set('key', 'value'))).toBe('OK')
      ambassador.use(good)
      await until('a good reload', async () => (await loaded()) === 1)
      expect(await ambassador.read('/readyz')).not.toMatch(/line \d/)
    }
  })
})

describe('a shard that is down', () => {
  it('has its keys refused, placed among the others or in the gutter, as is set, until it is back', async () => {
    await using shards = await Shards.start(durable(...THREE, 'spare-1', 'spare-2'))
    const topology = yaml(...THREE.map(alone))
    const spares = ['spare-1', 'spare-2'].map(alone)
    const place = new Placement(topology)
    const survivors = new Placement(topology, ['redis-1', 'redis-3'])
    const gutter = new Placement(yaml(...spares))
    const [keep, eject, spare] = await Promise.all([
      shards.ambassador(topology),
      shards.ambassador(topology, { ON_FAILURE: 'eject' }),
      shards.ambassador(`${topology}gutter:\n${spares.join('')}`, { ON_FAILURE: 'gutter' }),
    ])
    const keys = place.keys('key', 300)
    const write = (ambassador: Ambassador, number: number): Promise<unknown[]> =>
      asking(ambassador, (client) =>
        Promise.all(keys.map((key) => answer(client.set(key, valueAt(key, number))))),
      )
    const allOk = keys.map(() => 'OK')
    const isDown = (key: string): boolean => place.shardOf(key) === 'redis-2'
    const is = (ambassador: Ambassador, state: string): Promise<unknown> =>
      until(`redis-2 ${state}`, () =>
        asking(ambassador, async (client) => {
          const [key = ''] = place.keys('probe', 1, 'redis-2')
          const reply = await answer(client.get(key))
          return state === 'down' ? /redis-2/.test(String(reply)) : reply === null
        }),
      )
    expect(await write(keep, 1)).toEqual(allOk)
    expect(await valuesAt(keys, (key) => shards.server(place.shardOf(key)))).toEqual(
      new Map(keys.map((key) => [key, valueAt(key, 1)])),
    )
    await shards.server('redis-2').kill()

    await is(keep, 'down')
    const refused = await write(keep, 2)
    expect(refused.filter((reply) => reply === 'OK')).toHaveLength(keys.filter((key) => !isDown(key)).length)
    for (const [at, key] of keys.entries())
      expect(refused[at]).toMatch(isDown(key) ? /^ERR shard redis-2 \(redis-2:6379\): ./ : /^OK$/)

    await until('its ejection', async () => {
      return (await eject.metric('shard_ejected{pool="redis",shard="redis-2"}')) === 1
    })
    expect(await write(eject, 3)).toEqual(allOk)
    const three = new Map(keys.map((key) => [key, valueAt(key, 3)]))
    expect(await valuesAt(keys, (key) => shards.server(survivors.shardOf(key)))).toEqual(three)

    await is(spare, 'in the gutter')
    expect(await write(spare, 4)).toEqual(allOk)
    const four = new Map(keys.map((key) => [key, valueAt(key, 4)]))
    const home = (key: string): Server =>
      shards.server(isDown(key) ? gutter.shardOf(key) : place.shardOf(key))
    expect(await valuesAt(keys, home)).toEqual(four)

    await shards.server('redis-2').start()
    for (const ambassador of [keep, eject, spare]) {
      const of = '{pool="redis",shard="redis-2"}'
      await until('its return', async () => (await ambassador.metric(`shard_up${of}`)) === 1)
      await until('its keys', async () => (await ambassador.metric(`shard_ejected${of}`)) === 0)
      const values = await asking(ambassador, (client) => client.mget(...keys))
      expect(values).toEqual(keys.map((key) => valueAt(key, isDown(key) ? 1 : 4)))
    }
    for (const [at, ambassador] of [keep, eject, spare].entries()) {
      expect(await write(ambassador, 5 + at)).toEqual(allOk)
      expect(await valuesAt(keys, (key) => shards.server(place.shardOf(key)))).toEqual(
        new Map(keys.map((key) => [key, valueAt(key, 5 + at)])),
      )
    }
    console.log(
      `a shard down: ${keys.length} keys, ${keys.filter(isDown).length} of them on it; keep answered as many errors, eject and gutter none; all placed as announced, and back`,
    )
  })

  it('as it is frozen, is given up at the deadline, then at once, and no late answer is taken for another', async () => {
    await using shards = await Shards.start(durable(...THREE))
    const topology = yaml(...THREE.map(alone))
    const place = new Placement(topology)
    const ambassador = await shards.ambassador(topology, { TIMEOUT: '500ms' })
    const at = { host: ambassador.host, port: ambassador.port }
    const ofOne = THREE.map((name) => new NodeLoad(at, place.keys(`${name}-only`, 10, name)))
    const [first, frozen, third] = ofOne
    await using mixed = new NodeLoad(at, place.keys('mixed', 30))
    if (first === undefined || frozen === undefined || third === undefined) throw new Error('three')
    try {
      for (const name of THREE) await written(50, name, [...ofOne, mixed], place)
      const server = shards.server('redis-2')
      for (const round of [1, 2]) {
        const before = await seenBy([frozen])
        await server.pause()
        // More than there is time for when each waited for its deadline.
        await seen('errors', [frozen], (tally) => failures(tally) >= failures(before) + 200)
        await Promise.all(['redis-1', 'redis-3'].map((name) => written(50, name, [first, third], place)))
        await server.unpause()
        await written(50, 'redis-2', [frozen, mixed], place)
        expect({ round, failed: failedShards(await seenBy([first, third, mixed]), place) }).toEqual({
          round,
          failed: ['redis-2'],
        })
      }
      const [one, two, three] = [await first.stop(), await frozen.stop(), await third.stop()]
      for (const other of [one, three]) expect(other.failed).toEqual({})
      const all = sumOf([one, two, three, await mixed.stop()])
      expectHonest(all, ['redis-2'])
      expect(all.older).toEqual([])
      const found = await valuesAt(Object.keys(all.keys), (key) => shards.server(place.shardOf(key)))
      expect(lostOf(all, found)).toEqual([])
      const late = Object.entries(all.errors).filter(([text]) => /no answer within 500 ms/.test(text))
      expect(late).not.toEqual([])
      figures(
        'a shard frozen twice',
        all,
        `slowest value of the others ${ms(sumOf([one, three]).slowestAnswer)}`,
      )
    } finally {
      await Promise.all(ofOne.map((load) => load.stop()))
    }
  })

  it('and comes back at another address of the same name, is found there', async () => {
    await using shards = await Shards.start(durable(...THREE))
    const topology = yaml(...THREE.map(alone))
    const place = new Placement(topology)
    const ambassador = await shards.ambassador(topology, { TIMEOUT: '500ms' })
    await using node = new NodeLoad({ host: ambassador.host, port: ambassador.port }, place.keys('node', 60))
    await written(50, 'redis-2', [node], place)
    const network = shards.network.getName()
    const id = shards.server('redis-2').container.getId()
    const addressOf = async (): Promise<unknown> =>
      inspect(id, `(index .NetworkSettings.Networks "${network}").IPAddress`)
    const before = await addressOf()
    await docker('network', 'disconnect', network, id)
    // The address goes to somebody else, who is no Redis.
    const other = await docker(
      'run',
      '--detach',
      '--label',
      'org.testcontainers=true',
      '--network',
      network,
      '--entrypoint',
      '/bin/sleep',
      'outrider-test/redis',
      '60',
    )
    await seen('errors', [node], (tally) => failures(tally) >= 100)
    await docker('network', 'connect', '--alias', 'redis-2', network, id)
    expect(await addressOf()).not.toBe(before)
    await written(50, 'redis-2', [node], place)
    const all = await node.stop()
    expectHonest(all, ['redis-2'])
    expect(failedShards(all, place)).toEqual(['redis-2'])
    expect(all.older).toEqual([])
    const found = await valuesAt(Object.keys(all.keys), (key) => shards.server(place.shardOf(key)))
    expect(lostOf(all, found)).toEqual([])
    await docker('rm', '--force', other)
    figures('a shard at another address', all, '0 lost')
  })
})

describe('shards behind credentials', () => {
  /** Puts files where all containers find them. */
  function publish({ directory }: Shards, files: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(directory, name), text, { mode: 0o644 })
  }

  /** What makes a Redis serve TLS alone. */
  function tlsSettings(shards: Shards, { ca, cert, key }: { ca: string; cert: string; key: string }): string {
    publish(shards, { 'ca.crt': ca, 'tls.crt': cert, 'tls.key': key })
    const files =
      '--tls-cert-file /shared/tls.crt --tls-key-file /shared/tls.key --tls-ca-cert-file /shared/ca.crt'
    return `--port 0 --tls-port 6379 ${files}`
  }

  it('are reached by TLS, each by its name, and by users; clients give a password of their own', async () => {
    await using shards = await Shards.start({})
    const ca = createCa('of the shards')
    const own = ca.issue({ cn: 'ambassador', client: true })
    // Redis asks for a certificate of the ambassador by itself.
    const tls = tlsSettings(shards, { ca: ca.cert, ...ca.issue({ dns: THREE }) })
    publish(shards, { 'own.crt': own.cert, 'own.key': own.key })
    const password = '--requirepass of-the-shards'
    await Promise.all([
      shards.add('redis-1', words(`${tls} ${password}`)),
      shards.add('redis-2', words(`${tls} --user default off --user worker on >of-the-shards ~* +@all`)),
      shards.add('redis-3', words(`${tls} ${password}`)),
    ])
    const topology = yaml(alone('redis-1'), `${alone('redis-2')}    username: worker\n`, alone('redis-3'))
    const place = new Placement(topology)
    const env = {
      ...{ SHARD_TLS: 'true', SHARD_CA: '/shared/ca.crt', PASSWORD: 'of-the-shards' },
      ...{ SHARD_CERT: '/shared/own.crt', SHARD_KEY: '/shared/own.key', CLIENT_PASSWORD: 'of-clients' },
    }
    const ambassador = await shards.ambassador(topology, env)
    const keys = THREE.flatMap((name) => place.keys(`key-${name}`, 10, name))
    await asking(
      ambassador,
      async (client) => {
        for (const key of keys) expect(await client.set(key, valueAt(key, 1))).toBe('OK')
        expect(await client.mget(...keys)).toEqual(keys.map((key) => valueAt(key, 1)))
      },
      { password: 'of-clients' },
    )
    const [key = ''] = keys
    expect(await asking(ambassador, (client) => answer(client.get(key)))).toMatch(/^NOAUTH /)
    const wrong = await asking(ambassador, (client) => answer(client.get(key)), { password: 'wrong' })
    expect(wrong).toMatch(/^WRONGPASS /)

    const others = await shards.ambassador(topology, { ...env, SHARD_NAME: 'redis-1', PASSWORD: 'wrong' })
    const replies = await asking(
      others,
      (client) =>
        Promise.all(THREE.map((name) => answer(client.get(place.keys(`key-${name}`, 1, name)[0] ?? '')))),
      { password: 'of-clients', enableReadyCheck: false },
    )
    expect(replies[0]).toMatch(/^ERR shard redis-1 \(redis-1:6379\): WRONGPASS /)
    expect(replies[1]).toMatch(/^ERR shard redis-2 \(redis-2:6379\): WRONGPASS /)
    for (const started of [ambassador, others]) {
      const told = [
        await started.read('/params'),
        await started.read('/readyz'),
        JSON.stringify(await started.log()),
      ]
      for (const text of told) expect(text).not.toMatch(/of-the-shards|of-clients/)
    }
    console.log(`shards behind TLS and users: ${keys.length} keys written and read, 0 wrong`)
  })

  it('whose certificates are for another name, or of another authority, get no command', async () => {
    await using shards = await Shards.start({})
    const [ca, other] = [createCa('of the shards'), createCa('another')]
    const tls = tlsSettings(shards, { ca: ca.cert, ...ca.issue({ dns: ['redis-2'] }) })
    publish(shards, { 'other.crt': other.cert })
    const server = await shards.add('redis-1', words(`${tls} --tls-auth-clients no`))
    const topology = yaml(alone('redis-1'))
    for (const [env, says] of [
      [{ SHARD_CA: '/shared/ca.crt' }, /^ERR shard redis-1 \(redis-1:6379\): Hostname\/IP does not match/],
      [{ SHARD_CA: '/shared/other.crt' }, /^ERR shard redis-1 \(redis-1:6379\): self-signed certificate/],
    ] as const) {
      const ambassador = await shards.ambassador(topology, { SHARD_TLS: 'true', ...env })
      const reply = asking(ambassador, (client) => answer(client.set('key', 'value')), {
        enableReadyCheck: false,
      })
      expect(await reply).toMatch(says)
    }
    const cli = ['redis-cli', '--tls', '--insecure', 'EXISTS', 'key']
    expect((await server.container.exec(cli)).output.trim()).toBe('0')
    const named = await shards.ambassador(topology, {
      SHARD_TLS: 'true',
      SHARD_CA: '/shared/ca.crt',
      SHARD_NAME: 'redis-2',
    })
    expect(await asking(named, (client) => client.set('key', 'value'))).toBe('OK')
  })

  it('may be Unix sockets, and clients may come by one', async () => {
    await using shards = await Shards.start({})
    const sockets = join(shards.directory, 'sockets')
    mkdirSync(sockets)
    chmodSync(sockets, 0o777)
    await Promise.all(
      THREE.map((name) =>
        shards.add(name, [
          '--port',
          '0',
          '--unixsocket',
          `/shared/sockets/${name}`,
          '--unixsocketperm',
          '777',
        ]),
      ),
    )
    const topology = yaml(...THREE.map((name) => `  - name: ${name}\n    path: /shared/sockets/${name}\n`))
    const place = new Placement(topology)
    await shards.ambassador(topology, { LISTEN: 'unix:/shared/sockets/ambassador' })
    const load = new NodeLoad({ path: join(sockets, 'ambassador') }, place.keys('unix', 60))
    for (const name of THREE) await written(50, name, [load], place)
    const all = await load.stop()
    expectHonest(all, [])
    expect(all.failed).toEqual({})
    for (const name of THREE) {
      const own = Object.keys(all.keys).filter((key) => place.shardOf(key) === name)
      const cli = ['redis-cli', '-s', `/shared/sockets/${name}`, 'EXISTS', ...own]
      expect((await shards.server(name).container.exec(cli)).output.trim()).toBe(String(own.length))
    }
    figures('Unix sockets', all)
  })
})
