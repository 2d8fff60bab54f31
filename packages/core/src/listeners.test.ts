import { describe, expect, it } from 'vitest'
import { defineContainer } from './container.ts'
import { address, text } from './kinds.ts'
import { resolve } from './resolve.ts'

const box = defineContainer({
  name: 'box',
  pattern: 'sidecar',
  summary: 'Listens.',
  contract: [],
  admin: 9999,
  params: {
    listen: address('Where.', { optional: true }),
    other: address('Where else.', { optional: true }),
    target: address('Where to.', { optional: true }),
    label: text('What.', { optional: true }),
  },
  ports: { listen: 'listen', other: 'other' },
  metrics: {},
  start: async () => ({ async [Symbol.asyncDispose]() {} }),
})

function problems(env: Readonly<Record<string, string>>): readonly string[] {
  const resolution = resolve(box, { argv: [], env, readFile: () => '' })
  return resolution.ok ? [] : resolution.problems
}

describe('two listeners of a container', () => {
  it.each([
    ['127.0.0.1:80', '127.0.0.1:80'],
    [':80', '127.0.0.1:80'],
    ['127.0.0.1:80', '0.0.0.0:80'],
    ['[::]:80', '127.0.0.1:80'],
    ['[::1]:80', ':80'],
    ['localhost:80', 'localhost:80'],
    ['localhost:80', '127.0.0.1:80'],
    ['[::1]:80', 'localhost:80'],
    ['0.0.0.0:80', 'localhost:80'],
  ])('cannot both be at %s and %s', (listen, other) => {
    expect(problems({ BOX_LISTEN: listen, BOX_OTHER: other })).toEqual([
      'BOX_LISTEN (--listen) and BOX_OTHER (--other) are both port 80: give each its own',
    ])
  })

  it('cannot both be at one path', () => {
    expect(problems({ BOX_LISTEN: 'unix:/a', BOX_OTHER: 'unix:/a' })).toEqual([
      'BOX_LISTEN (--listen) and BOX_OTHER (--other) are both unix:/a: give each its own',
    ])
  })

  it('are told from that of the admin API, also where that is its default', () => {
    expect(problems({ BOX_OTHER: ':9999' })).toEqual([
      'BOX_OTHER (--other) and BOX_ADMIN (--admin) are both port 9999: give each its own',
    ])
  })

  it.each([
    [':0', ':0'],
    ['127.0.0.1:80', '127.0.0.2:80'],
    ['0.0.0.0:80', '[::1]:80'],
    [':80', ':81'],
    [':80', 'unix:/80'],
  ])('may be at %s and %s', (listen, other) => {
    expect(problems({ BOX_LISTEN: listen, BOX_OTHER: other })).toEqual([])
  })

  it('are not mixed up with an address to connect to', () => {
    expect(problems({ BOX_LISTEN: ':80', BOX_TARGET: ':80' })).toEqual([])
  })
})
