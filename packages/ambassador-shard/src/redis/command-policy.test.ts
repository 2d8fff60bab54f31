import { describe, expect, it, test } from 'vitest'
import { COMMANDS, type Command } from './command.ts'
import {
  CROSSSLOT,
  FOREIGN_DATABASE,
  FOREIGN_EVENTS,
  FOREIGN_PATTERNS,
  isKeyspaceEvent,
  type Policy,
  policyNames,
  policyOf,
} from './command-policy.ts'
import { BLOCKING, PUBSUB, READONLY, WRITE } from './command-table.ts'

const policy = (name: string): Policy => {
  const command = COMMANDS.find((each) => each.name === name)
  if (command === undefined) throw new Error(`${name} is no command`)
  return command.policy
}
const withPolicy = (fits: (command: Command) => boolean): string[] =>
  COMMANDS.filter(fits)
    .map(({ name }) => name)
    .sort()

describe('every command', () => {
  it('has exactly one policy: no name is listed twice or unknown', () => {
    const listed = policyNames()
    expect(listed.filter((name) => !COMMANDS.some((command) => command.name === name))).toEqual([])
    expect(new Set(listed).size).toBe(listed.length)
  })

  it('without keys has a policy that was stated for it', () => {
    const listed = new Set(policyNames())
    expect(withPolicy(({ name, keys }) => keys.rule === 'none' && !listed.has(name))).toEqual([])
    expect(() => policyOf('newcommand', false)).toThrow('newcommand has no keys and no policy: state one')
  })

  it('without keys is not routed by them', () => {
    expect(withPolicy(({ keys, policy: { kind } }) => keys.rule === 'none' && kind === 'route')).toEqual([])
  })

  it('that is not answered as by one Redis has a remark that says why', () => {
    const silent = ({ policy: { kind, remark } }: Command) =>
      remark === '' && kind !== 'route' && kind !== 'local'
    expect(withPolicy(silent)).toEqual([])
  })

  it('that may wait for a key has a connection of its own, or is refused', () => {
    const free = ({ flags, policy: { kind } }: Command) =>
      (flags & BLOCKING) !== 0 && kind !== 'pinned' && kind !== 'refuse'
    expect(withPolicy(free)).toEqual([])
  })

  it('that subscribes has a connection of its own', () => {
    const names = withPolicy(({ name, flags }) => (flags & PUBSUB) !== 0 && name.endsWith('subscribe'))
    expect(names.map((name) => policy(name).kind)).toEqual(new Array<string>(6).fill('pinned'))
  })

  it('with keys that only reads or writes them is routed, split, pinned or refused, never sent to a shard by chance', () => {
    const astray = ({ flags, keys, policy: { kind } }: Command) =>
      keys.rule !== 'none' &&
      (flags & (READONLY | WRITE)) !== 0 &&
      !['route', 'split', 'pinned', 'refuse'].includes(kind)
    expect(withPolicy(astray)).toEqual([])
  })

  it('that writes without naming a key goes to every shard, or is refused', () => {
    const some = withPolicy(
      ({ flags, keys, policy: { kind } }) =>
        (flags & WRITE) !== 0 && keys.rule === 'none' && kind !== 'fan-out' && kind !== 'refuse',
    )
    expect(some).toEqual([])
  })
})

describe('split', () => {
  it('is what Redis lets be split, and no more', () => {
    expect(withPolicy(({ policy: { kind } }) => kind === 'split')).toEqual([
      ...['del', 'exists', 'mget', 'mset', 'touch', 'unlink'],
    ])
  })

  it('MSETNX is not split: all or nothing needs one shard', () => {
    expect(policy('msetnx').kind).toBe('route')
  })
})

describe('policies', () => {
  test.each<[string, Partial<Policy>]>([
    ['get', { kind: 'route' }],
    ['object|encoding', { kind: 'route' }],
    ['xgroup|create', { kind: 'route' }],
    ['hexpire', { kind: 'route' }],
    ['mget', { kind: 'split', join: 'array' }],
    ['mset', { kind: 'split', join: 'ok' }],
    ['del', { kind: 'split', join: 'sum' }],
    ['dbsize', { kind: 'fan-out', join: 'sum' }],
    ['flushall', { kind: 'fan-out', join: 'ok-all' }],
    ['scan', { kind: 'fan-out', join: 'scan' }],
    ['keys', { kind: 'fan-out', join: 'concat' }],
    ['script|exists', { kind: 'fan-out', join: 'all-booleans' }],
    ['script|load', { kind: 'fan-out', join: 'same' }],
    ['info', { kind: 'fan-out', join: 'info' }],
    ['config|get', { kind: 'fan-out', join: 'config' }],
    ['ping', { kind: 'local' }],
    ['config', { kind: 'local' }],
    ['multi', { kind: 'pinned', to: 'transaction' }],
    ['blpop', { kind: 'pinned', to: 'keys' }],
    ['subscribe', { kind: 'pinned', to: 'pubsub' }],
    ['ssubscribe', { kind: 'pinned', to: 'channels' }],
    ['monitor', { kind: 'pinned', to: 'every-shard' }],
    ['publish', { kind: 'keyless', rule: 'pubsub' }],
    ['randomkey', { kind: 'keyless', rule: 'random' }],
    ['command|docs', { kind: 'keyless', rule: 'any' }],
  ])('%s', (name, expected) => expect(policy(name)).toMatchObject(expected))

  test.each([
    ...['shutdown', 'debug', 'replicaof', 'slaveof', 'migrate', 'save', 'bgsave', 'config|set', 'move'],
    ...['swapdb', 'failover', 'wait', 'waitaof', 'client|tracking', 'acl|setuser', 'module|load', 'psync'],
  ])('%s is refused with a reason and a remedy', (name) => {
    const refused = policy(name)
    if (refused.kind !== 'refuse') throw new Error(`${name} is not refused`)
    const title = name.toUpperCase().replace('|', ' ')
    expect(refused.error).toMatch(new RegExp(`^ERR ${title} is refused: .{15,}; .{8,}$`))
  })

  test.each(['cluster|info', 'cluster|slots', 'readonly', 'readwrite', 'asking'])(
    '%s gets what a Redis outside a cluster says, which clients look for',
    (name) => expect(policy(name)).toMatchObject({ error: 'ERR This instance has cluster support disabled' }),
  )

  it('a script without keys is refused where there are several shards', () => {
    for (const name of ['eval', 'eval_ro', 'evalsha', 'evalsha_ro', 'fcall', 'fcall_ro'])
      expect(policy(name)).toMatchObject({ kind: 'route', withoutKeys: /^ERR .*; name a key/ })
    expect(withPolicy(({ policy: each }) => each.kind === 'route' && each.withoutKeys !== '')).toHaveLength(6)
  })

  it('every error is one line behind a code', () => {
    const errors = COMMANDS.flatMap(({ policy: each }) => (each.kind === 'refuse' ? [each.error] : []))
    for (const error of [...errors, CROSSSLOT, FOREIGN_DATABASE, FOREIGN_EVENTS, FOREIGN_PATTERNS])
      expect(error).toMatch(/^[A-Z]+ [ -~]+$/)
  })
})

it('channels of keyspace events are known by their beginning', () => {
  const event = (text: string) => isKeyspaceEvent(Buffer.from(`..${text}`), 2, text.length + 2)
  expect(['__keyspace@0__:k', '__keyevent@*__:del', '__key*', '__ke', 'news', ''].map(event)).toEqual([
    ...[true, true, true, false, false, false],
  ])
})
