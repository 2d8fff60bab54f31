import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Head } from './head.ts'
import { headersOf, streamHead, trailerFields } from './http2-head.ts'
import { LIMITS } from './limits.ts'

const GET: readonly string[] = [
  ...[':method', 'GET', ':scheme', 'https', ':path', '/', ':authority', 'example.test'],
]
const latin1 = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) })
const name = fc.oneof(
  latin1,
  fc.constantFrom(
    ...['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'te', 'cookie', 'expect'],
    ...[':method', ':path', ':authority', ':scheme', ':protocol', 'x-a'],
  ),
)
const value = fc.oneof(
  latin1,
  fc.constantFrom(
    'GET',
    'CONNECT',
    '/',
    '*',
    'https',
    'websocket',
    'a.test',
    '0',
    '5',
    'chunked',
    'trailers',
  ),
)

function read(text: string): Head | undefined {
  const head = new Head(true)
  const bytes = Buffer.from(text, 'latin1')
  if (head.read(bytes, 0, bytes.length, LIMITS) !== 'done' || head.finish(bytes, 0) !== 'done')
    return undefined
  return head.length === bytes.length ? head : undefined
}

describe('fields of a request become a head of HTTP/1.1', () => {
  it('that is one head and no more, whatever the fields are, or are refused', () => {
    const fields = fc.array(fc.tuple(name, value), { maxLength: 8 })
    fc.assert(
      fc.property(fields, fc.boolean(), fc.boolean(), (random, valid, ended) => {
        const given = [...(valid ? GET : []), ...random.flat()]
        const head = streamHead(given, ended)
        if ('reason' in head) return
        expect(head.text.indexOf('\r\n\r\n')).toBe(head.text.length - 4)
        // No line that is not of a field or of ours, so that nothing is smuggled in by a value.
        const lines = head.text.split('\r\n').length - 3
        expect(lines).toBeLessThanOrEqual(random.length + 5)
        for (const line of head.text.split('\r\n')) expect(line).not.toMatch(/[\0\r\n]/)
      }),
      { numRuns: 2_000 },
    )
  })

  it('in which a value is read as it was said', () => {
    const visible = fc
      .string({ unit: fc.integer({ min: 0x21, max: 0xff }).map((code) => String.fromCharCode(code)) })
      .filter((text) => !text.includes('\x7f'))
    fc.assert(
      fc.property(visible, (text) => {
        const head = streamHead([...GET, 'x-a', text], true)
        if ('reason' in head) throw new Error(head.reason)
        const lines = read(head.text)?.kept.split('\r\n')
        expect(lines).toContain(`x-a: ${text}`)
      }),
    )
  })

  it('with exactly one framing: chunks where the length is not told, none where nothing follows', () => {
    for (const ended of [true, false]) {
      for (const length of [undefined, '7']) {
        const head = streamHead(length === undefined ? GET : [...GET, 'content-length', length], ended)
        if ('reason' in head) throw new Error(head.reason)
        const parsed = read(head.text)
        expect(parsed?.chunked).toBe(!ended && length === undefined)
        expect(parsed?.contentLength).toBe(length === undefined ? -1 : 7)
      }
    }
  })

  it('for a WebSocket, where a length has no place', () => {
    const fields = [
      ':method',
      'CONNECT',
      ':protocol',
      'websocket',
      ':scheme',
      'https',
      ':path',
      '/',
      ':authority',
      'a',
    ]
    const head = streamHead(fields, false)
    if ('reason' in head) throw new Error(head.reason)
    expect(read(head.text)).toMatchObject({ method: 'GET', upgrade: 'websocket', chunked: false })
    expect(head.text).toContain(`Sec-WebSocket-Key: ${head.key}\r\nSec-WebSocket-Version: 13\r\n`)
    expect(streamHead([...fields, 'content-length', '5'], false)).toMatchObject({ status: 400 })
  })
})

describe('lines of a response become headers of HTTP/2', () => {
  it('with names in lower case, repeated values apart, and no space around values but obs-text kept', () => {
    const headers = headersOf('X-A:  1 \t\r\nx-a: 2\r\nX-A:3\r\nX-B: \u00a0caf\u00e9\u00a0 \r\nX-C:\r\n')
    expect({ ...headers }).toEqual({ 'x-a': ['1', '2', '3'], 'x-b': '\u00a0caf\u00e9\u00a0', 'x-c': '' })
  })

  it('without those of a connection, which would make the response malformed', () => {
    const names = ['Connection', 'Keep-Alive', 'Proxy-Connection', 'Transfer-Encoding', 'Upgrade', 'TE']
    expect(Object.keys(headersOf(names.map((one) => `${one}: x\r\n`).join('')))).toEqual([])
  })

  it('whatever they are called', () => {
    const headers = headersOf('__proto__: a\r\nconstructor: b\r\ntoString: c\r\n')
    expect(Object.entries(headers)).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
      ['tostring', 'c'],
    ])
  })
})

describe('fields of trailers', () => {
  it('are lines, or nothing when one could break out of its line', () => {
    expect(trailerFields(['x-a', '1', 'x-b', '2'])).toBe('x-a: 1\r\nx-b: 2\r\n')
    for (const fields of [
      ['x-a', '1\r\nx'],
      ['x-a', '1\0'],
      ['x-a:', '1'],
      [':path', '/'],
      ['', '1'],
      ['X-A', '1'],
    ]) {
      expect(trailerFields(fields)).toBeUndefined()
    }
  })
})
