import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { joinSplit } from './join.ts'
import { joinStrings } from './join-strings.ts'
import { rawClient, startWorld, tinyShard } from './proxy-test-support.ts'

const shard = { name: 'redis-1', fault: (reason: string) => `ERR shard redis-1: ${reason}` }

/** What MGET of some keys must come to, whichever shards they are on. */
test('any strings and nulls of any shards are in the places of their keys', () => {
  const element = fc.oneof(
    fc.constant('$-1\r\n'),
    fc.constant('_\r\n'),
    fc.string({ unit: 'binary', maxLength: 40 }).map((text) => {
      const bytes = Buffer.from(text)
      return `$${bytes.length}\r\n${bytes.toString('latin1')}\r\n`
    }),
  )
  const property = fc.property(
    fc.array(fc.tuple(element, fc.nat(3)), { minLength: 1, maxLength: 40 }),
    (elements) => {
      const owners = [...new Set(elements.map(([, owner]) => owner))]
      const places = owners.map((owner) =>
        elements.flatMap(([, own], place) => (own === owner ? [place] : [])),
      )
      const parts = places.map((own) => {
        const text = `*${own.length}\r\n${own.map((place) => elements[place]?.[0]).join('')}`
        return { shard, bytes: Buffer.from(text, 'latin1'), isLost: false }
      })
      const joined = joinSplit('array', parts, places).toString('latin1')
      expect(joined).toBe(`*${elements.length}\r\n${elements.map(([text]) => text).join('')}`)
    },
  )
  fc.assert(property, { numRuns: 500 })
})

test('integers are added, also beyond what a number holds', () => {
  const parts = ['9007199254740991', '2', '9000000000000000000'].map((value) => ({
    ...{ shard, bytes: Buffer.from(`:${value}\r\n`), isLost: false },
  }))
  expect(joinSplit('sum', parts, [[0], [1], [2]]).toString()).toBe(':9009007199254740993\r\n')
  expect(joinSplit('sum', parts.slice(1, 2), [[0]]).toString()).toBe(':2\r\n')
})

test('a command over shards is sent in parts that have each key once, in order, with what belongs to it', async () => {
  await using world = await startWorld([await tinyShard(), await tinyShard(), await tinyShard()])
  using client = await rawClient(world.port)
  const property = fc.asyncProperty(
    fc.array(fc.tuple(fc.nat(2), fc.string({ unit: 'binary-ascii', maxLength: 20 })), {
      minLength: 1,
      maxLength: 12,
    }),
    fc.constantFrom('MSET', 'mset'),
    async (pairs, name) => {
      for (const { commands } of world.shards) commands.length = 0
      const list = pairs.map(([index, value], at) => ({ index, key: world.keyOn(index, at), value }))
      expect(await client.ask(name, ...list.flatMap(({ key, value }) => [key, value]))).toBe('+OK\r\n')
      for (const [index, { commands }] of world.shards.entries()) {
        const own = list.filter((one) => one.index === index)
        const expected = own.length === 0 ? [] : [[name, ...own.flatMap(({ key, value }) => [key, value])]]
        expect(commands).toEqual(expected)
      }
      const values = await client.ask('MGET', ...list.map(({ key }) => key), 'absent')
      const strings = list.map(({ value }) => `$${Buffer.byteLength(value)}\r\n${value}\r\n`)
      expect(values).toBe(`*${list.length + 1}\r\n${strings.join('')}$-1\r\n`)
    },
  )
  await fc.assert(property, { numRuns: 60 })
})

test('replies that are no strings are not kept once they are joined', () => {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  if (typeof gc !== 'function') throw new Error('there is no gc')
  const join = (): WeakRef<Buffer> => {
    const first = Buffer.from('*1\r\n$1\r\na\r\n')
    joinStrings([first, Buffer.from('-ERR refused\r\n')], [[0], [1]])
    return new WeakRef(first)
  }
  const kept = join()
  return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
    gc()
    expect(kept.deref()).toBeUndefined()
  })
})
