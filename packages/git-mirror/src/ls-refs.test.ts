import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LsRefsError, lsRefsRequest, RefList } from './ls-refs.ts'
import { PktLineError, PktLineReader } from './pkt-line.ts'

const A = 'a'.repeat(40)
const B = 'b'.repeat(40)

function listOf(names: readonly string[], lines: readonly string[]): RefList {
  const list = new RefList(names)
  for (const line of lines) list.add(Buffer.from(line))
  return list
}

test('a request asks for the names and for what tags peel to', () => {
  expect(lsRefsRequest(['HEAD', 'refs/heads/ä'], 'sha1')).toBe(
    '0014command=ls-refs\n0013agent=outrider\n00010009peel\n0014ref-prefix HEAD\n001dref-prefix refs/heads/ä\n0000',
  )
})

test('a request names the object format where it is not the usual one', () => {
  expect(lsRefsRequest([], 'sha256')).toContain('0019object-format=sha256\n0001')
})

test('what is kept are the refs with exactly the names asked for', () => {
  const list = listOf(
    ['refs/heads/main', 'refs/tags/v1', 'refs/heads/gone'],
    [
      `${A} refs/heads/main\n`,
      `${A} refs/heads/main-2\n`,
      `${B} refs/tags/v1 symref-target:refs/tags/v0 peeled:${A} future:1`,
    ],
  )
  expect(list.refs).toEqual([
    { name: 'refs/heads/main', hash: A },
    { name: 'refs/tags/v1', hash: B, peeled: A },
  ])
})

test('names are compared byte by byte', () => {
  const list = new RefList(['refs/heads/ä', 'refs/heads/\ufffd'])
  list.add(Buffer.from(`${A} refs/heads/ä\n`))
  list.add(Buffer.from(`${B} refs/heads/\xe4\n`, 'latin1'))
  expect(list.refs).toEqual([{ name: 'refs/heads/ä', hash: A }])
})

test.each([
  ['an error of the server', 'ERR access denied'],
  ['a hash that is too short', `${'a'.repeat(39)} refs/heads/main`],
  ['a hash in capitals', `${'A'.repeat(40)} refs/heads/main`],
  ['no name', A],
  ['an empty line', ''],
  ['an unborn HEAD, which was not asked for', 'unborn HEAD symref-target:refs/heads/main'],
  ['a peeled value that is no hash', `${A} refs/tags/v1 peeled:none`],
])('%s is no answer', (_, line) => {
  expect(() => listOf(['refs/heads/main'], [line])).toThrow(LsRefsError)
})

test('a ref that is listed twice is no answer', () => {
  const line = `${A} refs/heads/main`
  expect(() => listOf(['refs/heads/main'], [line, line])).toThrow(LsRefsError)
})

test('nothing may follow the end of the list, and no other section may be in it', () => {
  const list = new RefList([])
  expect(() => list.add('delimiter')).toThrow(LsRefsError)
  expect(() => list.add('response-end')).toThrow(LsRefsError)
  list.add('flush')
  expect(list.isComplete).toBe(true)
  expect(() => list.add('flush')).toThrow(LsRefsError)
})

test('any bytes are an answer or one of two errors', () => {
  const whole = `003d${A} refs/heads/main\n006c${B} refs/tags/v1 peeled:${A}\n0000`
  const noise = fc.string({ unit: fc.constantFrom(...' \n\0abf0159:/ZRE'), maxLength: 3 })
  fc.assert(
    fc.property(fc.nat(whole.length), fc.nat(4), noise, (at, removed, noise) => {
      const text = whole.slice(0, at) + noise + whole.slice(at + removed)
      const list = new RefList(['refs/heads/main', 'refs/tags/v1'])
      try {
        for (const line of new PktLineReader(200).read(Buffer.from(text))) list.add(line)
      } catch (error) {
        if (!(error instanceof LsRefsError || error instanceof PktLineError)) throw error
      }
      for (const { hash, peeled = A } of list.refs) {
        expect(hash + peeled).toMatch(/^([0-9a-f]{40}|[0-9a-f]{64}){2}$/)
      }
    }),
  )
})
