import { createRing } from '@outrider/hash-ring'
import { describe, expect, it } from 'vitest'
import type { PoolDescription } from './pool.ts'
import { changeText, describeChange } from './topology-diff.ts'

type Shard = PoolDescription['shards'][number]

const shard = (number: number, more: Partial<Shard> = {}): Shard => ({
  ...{ name: `server${number}`, target: { host: `10.0.0.${number}`, port: 6379 }, weight: 1, replicas: [] },
  ...more,
})

const pool = (shards: readonly Shard[], more: Partial<PoolDescription> = {}): PoolDescription => ({
  ...{ name: 'redis', distribution: 'ketama', hash: undefined, tag: undefined, charSign: 'signed', shards },
  ...more,
})

const four = pool([1, 2, 3, 4].map((number) => shard(number)))
const NOTHING = { added: [], removed: [], moved: [], renamed: [], weights: [], rules: [], idle: [] }

describe('describeChange', () => {
  it('of the same topology in another order is nothing', () => {
    const change = describeChange(four, pool([...four.shards].reverse()))
    expect(change).toMatchObject({ ...NOTHING, keys: { moved: 0, exact: true, examples: [] } })
    expect(changeText(change)).toBe('no key goes to another shard')
  })

  it('of a shard that is added says what goes to it, from each of the others, and shows keys', () => {
    const five = pool([...four.shards, shard(5)])
    const change = describeChange(four, five)
    expect(change).toMatchObject({ ...NOTHING, added: ['server5'] })
    const ring = createRing({ distribution: 'ketama', servers: five.shards })
    expect(change.keys?.moved).toBeCloseTo(ring.placement.shares[4] ?? 0, 12)
    const flows = change.keys?.matrix.filter(({ from, to }) => from !== to) ?? []
    expect(flows.map(({ from, to }) => `${from} ${to}`).sort()).toEqual(
      [1, 2, 3, 4].map((number) => `server${number} server5`),
    )
    expect(change.keys?.examples).toHaveLength(10)
    for (const { key, to } of change.keys?.examples ?? [])
      expect([to, ring.indexOfKey(key)]).toEqual(['server5', 4])
  })

  it('of a shard that is removed says that all its keys go, and only they', () => {
    const change = describeChange(four, pool(four.shards.slice(0, 3)))
    expect(change).toMatchObject({ ...NOTHING, removed: ['server4'] })
    const leaving = change.keys?.matrix.filter(({ from, to }) => from !== to) ?? []
    expect(new Set(leaving.map(({ from }) => from))).toEqual(new Set(['server4']))
  })

  it('of a shard at another address moves no key, and says that the data must be there', () => {
    const moved = pool(
      four.shards.map((one, at) => (at === 1 ? { ...one, target: { path: '/run/x' } } : one)),
    )
    const change = describeChange(four, moved)
    const expected = { name: 'server2', from: '10.0.0.2:6379', to: '/run/x' }
    expect(change).toMatchObject({ ...NOTHING, moved: [expected], keys: { moved: 0 } })
    expect(changeText(change)).toBe(
      'server2 moves from 10.0.0.2:6379 to /run/x: its data must be there\nno key goes to another shard',
    )
  })

  it('of a shard with another name at its address says that the name is what moves keys', () => {
    const change = describeChange(four, pool([...four.shards.slice(0, 3), shard(4, { name: 'last' })]))
    const renamed = [{ address: '10.0.0.4:6379', from: 'server4', to: 'last' }]
    expect(change).toMatchObject({ ...NOTHING, added: ['last'], removed: ['server4'], renamed })
    expect(changeText(change)).toContain('server4 at 10.0.0.4:6379 is called last: keep its name')
  })

  it('of two shards at an address that one has left takes the first for its new name', () => {
    const { target } = shard(4)
    const split = [shard(5, { target }), shard(6, { target })]
    const { renamed } = describeChange(four, pool([...four.shards.slice(0, 3), ...split]))
    expect(renamed.map(({ to }) => to)).toEqual(['server5'])
  })

  it('of weights says them, and which shard is too light for any key', () => {
    const heavy = pool([shard(1, { weight: 100_000 }), shard(2)])
    const change = describeChange(pool([shard(1), shard(2)]), heavy)
    const weights = [{ name: 'server1', from: 1, to: 100_000 }]
    expect(change).toMatchObject({ ...NOTHING, weights, idle: ['server2'] })
    expect(changeText(change)).toContain('without a key, as their weight is too small: server2')
  })

  it('of rules says those that differ in what they do', () => {
    expect(describeChange(four, { ...four, hash: 'fnv1a_64' }).rules).toEqual([])
    const other = { distribution: 'modula', hash: 'md5', tag: '{}', charSign: 'unsigned' } as const
    const change = describeChange(four, { ...four, ...other })
    expect(change.rules).toEqual([
      { rule: 'distribution', from: 'ketama', to: 'modula' },
      { rule: 'hash', from: 'fnv1a_64', to: 'md5' },
      { rule: 'hash tag', from: '', to: '{}' },
      { rule: 'sign of char', from: 'signed', to: 'unsigned' },
    ])
    expect(change.keys).toMatchObject({ exact: false, sample: { keys: 100_000 } })
    expect(changeText(change)).toContain('hash tag: none becomes {}')
    expect(changeText(change)).toMatch(
      /% of the keys go to another shard \(of 100000 keys that were looked at\)/,
    )
  })

  it('from or to random says nothing about keys', () => {
    const random: PoolDescription = { ...four, distribution: 'random' }
    for (const change of [describeChange(four, random), describeChange(random, four)]) {
      expect(change.keys).toBeNull()
      expect(changeText(change)).toContain('random keeps no key anywhere')
    }
  })

  it('looks at fewer keys where rendezvous would ask many shards about each', () => {
    const many = (count: number) =>
      pool(
        Array.from({ length: count }, (_, at) => shard(at)),
        { distribution: 'rendezvous' },
      )
    expect(describeChange(many(400), many(401)).keys?.sample.keys).toBe(2_493)
  })

  it('is JSON as it is', () => {
    const change = describeChange(four, pool(four.shards.slice(1)))
    expect(JSON.parse(JSON.stringify(change))).toEqual(change)
  })
})

describe('changeText', () => {
  const keys = { moved: 0.00001, exact: true, sample: { keys: 9, moved: 0 }, examples: [] }

  it('has a line for each thing, with the key flows indented', () => {
    const text = changeText({
      ...NOTHING,
      ...{ added: ['e', 'f'], removed: ['a'], weights: [{ name: 'b', from: 1, to: 2 }] },
      keys: {
        ...{ moved: 0.125, exact: true, sample: { keys: 9, moved: 0.1 } },
        matrix: [
          { from: 'b', to: 'b', share: 0.875 },
          { from: 'a', to: 'e', share: 0.125 },
        ],
        examples: [{ key: 'key:7', from: 'a', to: 'e' }],
      },
    })
    expect(text.split('\n')).toEqual([
      'added: e, f',
      'removed: a',
      'b: weight 1 becomes 2',
      '12.50 % of the keys go to another shard',
      '  12.50 % from a to e',
      'for example',
      '  key:7 from a to e',
    ])
  })

  it('never says nothing of something', () => {
    const matrix = [{ from: 'a', to: 'b', share: 0.00001 }]
    expect(changeText({ ...NOTHING, keys: { ...keys, matrix } }).split('\n')).toEqual([
      'less than 0.01 % of the keys go to another shard',
      '  less than 0.01 % from a to b',
    ])
  })

  it('shows the twenty largest flows and counts the others', () => {
    const matrix = Array.from({ length: 23 }, (_, at) => ({ from: `a${at}`, to: 'b', share: 1 / 23 }))
    const lines = changeText({ ...NOTHING, keys: { ...keys, moved: 1, matrix } }).split('\n')
    expect(lines).toHaveLength(22)
    expect(lines.at(-1)).toBe('  and 3 smaller flows')
  })
})
