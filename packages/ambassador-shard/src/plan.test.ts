import { describe, expect, test } from 'vitest'
import { isNutcracker, readPools } from './plan.ts'

const OURS = { shards: [{ name: 'redis-1', address: 'redis-1:6379' }] }
const pool = (port: number) => ({
  listen: `127.0.0.1:${port}`,
  redis: 'true',
  servers: ['127.0.0.1:6379:1 redis-1'],
})
const THEIRS = { alpha: pool(22121), beta: { ...pool(22122), auto_eject_hosts: 'true' } }

const namesOf = (read: ReturnType<typeof readPools>): string[] | undefined =>
  read.ok ? read.pools.map(({ name }) => name) : undefined
const faultsOf = (read: ReturnType<typeof readPools>) => (read.ok ? [] : read.faults)

describe('a topology file', () => {
  test('with shards is one pool of our own', () => {
    const read = readPools(OURS)
    expect(namesOf(read)).toEqual(['redis'])
    expect(read.ok && read.pools.map(isNutcracker)).toEqual([false])
    expect(namesOf(readPools(OURS, 'redis'))).toEqual(['redis'])
  })

  test('without is a nutcracker.yml, all pools or the one that is wanted', () => {
    expect(namesOf(readPools(THEIRS))).toEqual(['alpha', 'beta'])
    const read = readPools(THEIRS, 'beta')
    expect(namesOf(read)).toEqual(['beta'])
    expect(read.ok && read.pools.every((one) => isNutcracker(one) && one.autoEject)).toBe(true)
  })

  test('may be wrong in a pool that is not wanted', () => {
    const file = { ...THEIRS, gamma: { listen: 'nowhere' } }
    expect(namesOf(readPools(file, 'alpha'))).toEqual(['alpha'])
    expect(faultsOf(readPools(file)).every(({ path }) => path[0] === 'gamma')).toBe(true)
    expect(faultsOf(readPools(file)).length).toBeGreaterThan(0)
  })

  test('tells what is wrong in all pools at once, with the way to it', () => {
    const file = { alpha: { ...pool(22121), timeout: 'x' }, beta: { ...pool(22122), hash: 'sha' } }
    expect(faultsOf(readPools(file)).map(({ path }) => path)).toEqual([
      ['alpha', 'timeout'],
      ['beta', 'hash'],
    ])
  })

  test.each([
    [undefined, undefined, /must be a map/],
    [[], undefined, /must be a map/],
    ['text', undefined, /must be a map/],
    [{}, undefined, /shards/],
    [OURS, 'other', /no pool other: a file with shards is one pool, called redis/],
    [THEIRS, 'gamma', /gamma/],
  ])('that is %j, with the pool %j, is refused', (document, only, text) => {
    const faults = faultsOf(readPools(document, only))
    expect(faults.map((fault) => fault.text).join('\n')).toMatch(text)
  })
})
