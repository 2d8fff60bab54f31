import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BodyReader } from './body.ts'

const LIMITED = { extensionBytes: 40, trailerBytes: 60 }
const ROOMY = { extensionBytes: 400, trailerBytes: 1_000 }

/** What a body says, read in these pieces, each in a buffer of its own. */
function read(
  framing: number | 'chunked' | 'close',
  text: string,
  cuts: readonly number[] = [],
  withheld: readonly string[] = [],
  limits = LIMITED,
) {
  const result = { content: '', trailers: undefined as string | undefined, end: -1, fault: '', status: 0 }
  const body = new BodyReader(
    framing,
    {
      bodyData(bytes, start, end) {
        expect(end).toBeGreaterThan(start)
        expect(result.trailers).toBeUndefined()
        result.content += bytes.toString('latin1', start, end)
      },
      bodyEnd(trailers) {
        expect(result.trailers).toBeUndefined()
        result.trailers = trailers
      },
    },
    limits,
    withheld,
  )
  let from = 0
  for (const cut of [...new Set([...cuts.filter((cut) => cut > 0 && cut < text.length), text.length])].sort(
    (a, b) => a - b,
  )) {
    if (cut === from) continue
    const piece = Buffer.from(`before${text.slice(from, cut)}behind`, 'latin1')
    const next = body.read(piece, 6, 6 + cut - from)
    if (next < 0) {
      result.fault = body.fault?.reason ?? 'none'
      result.status = body.fault?.status ?? 0
      break
    }
    if (body.finished) {
      result.end = from + next - 6
      break
    }
    expect(next).toBe(6 + cut - from)
    from = cut
  }
  return result
}

const cuts = fc.array(fc.nat(400), { maxLength: 12 })
const bytes = (maxLength: number, minLength = 0) =>
  fc.string({ unit: fc.nat(255).map((byte) => String.fromCharCode(byte)), minLength, maxLength })

const chunk = (content: string, extension: string, zeros: number, upper: boolean) => {
  const size = content.length.toString(16)
  return `${'0'.repeat(zeros)}${upper ? size.toUpperCase() : size}${extension}\r\n${content}\r\n`
}

/** A chunked body, its content and its trailers. */
const chunked = fc
  .tuple(
    fc.array(
      fc.tuple(
        bytes(40, 1),
        fc.constantFrom('', ';a', ';a=b', ';a="\xff c"', '; a = b'),
        fc.nat(3),
        fc.boolean(),
      ),
      { maxLength: 6 },
    ),
    fc.constantFrom('0', '000', '0;last'),
    fc.array(fc.constantFrom('X-Sum: 1\r\n', 'x_y:\r\n', 'ETag: "\xe9"\r\n'), { maxLength: 3 }),
  )
  .map(([chunks, last, trailers]) => ({
    text: `${chunks.map((parts) => chunk(...parts)).join('')}${last}\r\n${trailers.join('')}\r\n`,
    content: chunks.map(([content]) => content).join(''),
    trailers: trailers.join(''),
  }))

describe('a chunked body', () => {
  test('has the same content, trailers and end wherever it is cut', () => {
    fc.assert(
      fc.property(chunked, bytes(20), cuts, ({ text, content, trailers }, behind, cuts) => {
        expect(read('chunked', text + behind, cuts, [], ROOMY)).toEqual({
          content,
          trailers,
          end: text.length,
          fault: '',
          status: 0,
        })
      }),
      { numRuns: 2_000 },
    )
  })

  test('byte by byte is the same as whole', () => {
    fc.assert(
      fc.property(chunked, ({ text }) => {
        expect(
          read(
            'chunked',
            text,
            Array.from(text, (_, index) => index),
          ),
        ).toEqual(read('chunked', text))
      }),
      { numRuns: 200 },
    )
  })

  test('that is changed anywhere never throws, and ends the same wherever it is cut', () => {
    const changed = fc
      .tuple(chunked, fc.nat(300), fc.oneof(fc.nat(255), fc.constantFrom(13, 10, 48, 59, 102)), fc.nat(2))
      .map(([{ text }, at, byte, kind]) => {
        const place = at % text.length
        const added = kind === 0 ? '' : String.fromCharCode(byte)
        return text.slice(0, place) + added + text.slice(place + (kind === 2 ? 0 : 1))
      })
    fc.assert(
      fc.property(fc.oneof(changed, bytes(100)), cuts, (text, cuts) => {
        expect(read('chunked', text, cuts)).toEqual(read('chunked', text))
      }),
      { numRuns: 5_000 },
    )
  })

  test.each([
    ['without a size', '\r\n'],
    ['whose size is signed', '+1\r\na\r\n'],
    ['whose size is negative', '-1\r\n'],
    ['whose size is marked as hexadecimal', '0x1\r\na\r\n'],
    ['whose size is followed by a space', '1 \r\na\r\n'],
    ['whose size follows a space', ' 1\r\na\r\n'],
    ['whose size is no number', 'g\r\n'],
    ['whose size has digits without end', '0000000000001\r\na\r\n'],
    ['whose size is beyond all bodies', 'fffffffffffff\r\n'],
    ['whose size ends with a line feed alone', '1\na\r\n'],
    ['whose size ends with a carriage return alone', '1\ra\r\n'],
    ['whose extension has a line feed', '1;a\nb\r\na\r\n'],
    ['whose extension has a control byte', '1;\0\r\na\r\n'],
    ['whose extension has a carriage return alone (TERM.EXT)', '1;\rx\r\na\r\n'],
    ['that is longer than its size', '1\r\nab\r\n'],
    ['that ends with a line feed alone', '1\r\na\n0\r\n\r\n'],
    ['that ends with a carriage return alone', '1\r\na\r0\r\n\r\n'],
    ['whose end has a line feed alone', '0\r\n\n'],
    ['whose end has a carriage return alone', '0\r\n\rX: a\r\n\r\n'],
    ['with a trailer that has no colon', '0\r\nnonsense\r\n\r\n'],
    ['with a trailer that has no name', '0\r\n: a\r\n\r\n'],
    ['with a trailer that has a space before its colon', '0\r\nX : a\r\n\r\n'],
    ['with a trailer that is folded', '0\r\nX: a\r\n b\r\n\r\n'],
    ['with a trailer that has a control byte', '0\r\nX: \0\r\n\r\n'],
    ['with a trailer that ends with a line feed alone', '0\r\nX: a\nY: b\r\n\r\n'],
    ['with a trailer that has a carriage return alone', '0\r\nX: a\rb\r\n\r\n'],
  ])('%s is refused', (_, text) => {
    expect(read('chunked', text)).toMatchObject({ status: 400, trailers: undefined, end: -1 })
  })

  test('may have extensions as large as its content', () => {
    const text = `${`${'32;'.padEnd(40, 'x')}\r\n${'a'.repeat(50)}\r\n`.repeat(100)}0\r\n\r\n`
    expect(read('chunked', text)).toMatchObject({ content: 'a'.repeat(5_000), end: text.length })
  })

  test.each([
    ['in one chunk', `1;${'x'.repeat(40)}\r\n`],
    ['in many chunks', '1;xx\r\na\r\n'.repeat(20)],
  ])('of little but extensions is refused, %s (CVE-2024-22019)', (_, text) => {
    expect(read('chunked', text)).toMatchObject({ status: 413 })
  })

  test('has trailers up to the limit and not a byte more', () => {
    const trailer = (size: number) => `X: ${'a'.repeat(size - 4)}\r\n`
    expect(read('chunked', `0\r\n${trailer(LIMITED.trailerBytes - 1)}\r\n`)).toMatchObject({ status: 0 })
    expect(read('chunked', `0\r\n${trailer(LIMITED.trailerBytes + 1)}\r\n`)).toMatchObject({ status: 431 })
    expect(read('chunked', `0\r\n${trailer(10).repeat(7)}\r\n`)).toMatchObject({ status: 431 })
  })

  test('passes on no trailer that would be believed as a header', () => {
    const names = [
      'Host',
      'content-LENGTH',
      'Transfer_Encoding',
      'Authorization',
      'Cookie',
      'X-Forwarded-For',
      'forwarded',
    ]
    const lines = [...names, 'x.real.ip', 'Remote_User', 'remote-user']
      .map((name) => `${name}: forged\r\n`)
      .join('')
    const text = `0\r\nA: 1\r\n${lines}B: 2\r\n\r\n`
    expect(read('chunked', text, [], ['remote-user'], ROOMY)).toMatchObject({ trailers: 'A: 1\r\nB: 2\r\n' })
  })
})

describe('a body of a known length', () => {
  test('ends there wherever it is cut', () => {
    fc.assert(
      fc.property(bytes(200, 1), bytes(50), cuts, (content, behind, cuts) => {
        expect(read(content.length, content + behind, cuts)).toEqual({
          ...{ content, trailers: '', end: content.length, fault: '', status: 0 },
        })
      }),
    )
  })

  test('has not ended a byte before', () => {
    expect(read(5, 'abcd')).toMatchObject({ content: 'abcd', trailers: undefined })
  })
})

test('a body that ends with its connection is all that comes', () => {
  fc.assert(
    fc.property(bytes(200, 1), cuts, (content, cuts) => {
      expect(read('close', content, cuts)).toMatchObject({ content, trailers: undefined, fault: '' })
    }),
  )
})
