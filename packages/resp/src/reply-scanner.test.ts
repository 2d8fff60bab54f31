import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ReplyLimits, ReplyScanner } from './reply-scanner.ts'
import { bytes, changed, changes, cuts, ends, everywhere, reply } from './test-support.ts'

/** Where the replies of a stream end, read piece by piece, each in a buffer that has other bytes around it. */
function scan(stream: string, at: readonly number[] = [], limits: Partial<ReplyLimits> = {}) {
  const scanner = new ReplyScanner(limits)
  const result = { ends: [] as number[], types: '', pushes: 0, fault: '' }
  let from = 0
  for (const end of ends(stream.length, at)) {
    const held = Buffer.from(`$1\r\n${stream.slice(from, end)}\r\n$1\r\n1\r\n`, 'latin1')
    const stop = 4 + end - from
    let next = 4
    for (;;) {
      const behind = scanner.scan(held, next, stop)
      if (scanner.fault !== '') {
        expect([behind, scanner.scan(held, next, stop)]).toEqual([-1, -1])
        return { ...result, fault: scanner.fault }
      }
      if (behind < 0) break
      expect(behind).toBeGreaterThan(next)
      expect(behind).toBeLessThanOrEqual(stop)
      next = behind
      result.ends.push(from + behind - 4)
      result.types += String.fromCharCode(scanner.type)
      if (scanner.push) result.pushes += 1
    }
    from = end
  }
  return result
}

const stream = fc.array(reply, { minLength: 1, maxLength: 5 }).map((replies) => {
  let end = 0
  return {
    text: replies.map(({ text }) => text).join(''),
    ends: replies.map(({ text }) => (end += text.length)),
    types: replies.map(({ type }) => type).join(''),
  }
})

const TIGHT: Partial<ReplyLimits> = { depth: 2, elements: 3, bulkBytes: 20, lineBytes: 10 }

describe('replies', () => {
  test('end where they end wherever the stream is cut', () => {
    fc.assert(
      fc.property(stream, cuts(500), ({ text, ends, types }, at) => {
        expect(scan(text, at)).toMatchObject({ ends, types, fault: '' })
      }),
      { numRuns: 3_000 },
    )
  })

  test('end where they end byte by byte', () => {
    fc.assert(
      fc.property(stream, ({ text, ends, types }) => {
        expect(scan(text, everywhere(text))).toMatchObject({ ends, types, fault: '' })
      }),
      { numRuns: 500 },
    )
  })

  test('that are changed anywhere never throw, and end or fail the same wherever they are cut', () => {
    const tried = fc.oneof(
      fc.tuple(stream, changes).map(([{ text }, edits]) => changed(text, edits)),
      bytes(100),
    )
    fc.assert(
      fc.property(tried, cuts(500), fc.constantFrom({}, TIGHT), (text, at, limits) => {
        const whole = scan(text, [], limits)
        expect(scan(text, at, limits)).toEqual(whole)
        expect(scan(text, everywhere(text), limits)).toEqual(whole)
      }),
      { numRuns: 5_000 },
    )
  })

  test('that are pushes are told from answers', () => {
    const stream = '>2\r\n+message\r\n+a\r\n+OK\r\n|1\r\n+a\r\n+b\r\n>1\r\n+c\r\n'
    expect(scan(stream, everywhere(stream))).toMatchObject({ types: '>+>', pushes: 2 })
  })

  test('show their type before they are complete, and that of what attributes belong to', () => {
    const scanner = new ReplyScanner()
    const text = Buffer.from('|1\r\n+ttl\r\n:9\r\n-ERR no\r\n')
    const types = [5, 14, 15, text.length].map((end, index, ends) => {
      scanner.scan(text, ends[index - 1] ?? 0, end)
      return String.fromCharCode(scanner.type)
    })
    expect(types).toEqual(['|', '|', '-', '-'])
  })

  test('end behind what deep attributes belong to', () => {
    const attribute = `|1\r\n+a\r\n${'*1\r\n'.repeat(40)}+b\r\n`
    const text = `%1\r\n${attribute}+key\r\n+value\r\n${attribute}+OK\r\n`
    expect(scan(text)).toMatchObject({ ends: [text.length - attribute.length - 5, text.length], types: '%+' })
  })

  test('a push within a transaction stands for an element, as clients read it', () => {
    expect(scan('*1\r\n>3\r\n+subscribe\r\n+a\r\n:1\r\n+OK\r\n')).toMatchObject({ types: '*+', pushes: 0 })
  })
})

describe('a reply is malformed', () => {
  test.each([
    ['of no type', 'OK\r\n'],
    ['of HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['without content', '\r\n'],
    ['that ends with LF alone', '+OK\n'],
    ['that ends with CR alone', '+OK\r+OK\r\n'],
    ['that is an error with a CR in it', '-ERR a\rb\r\n'],
    ['whose line of a length ends with LF alone', '$1\na\r\n'],
    ['whose line of a length ends with CR alone', '$1\ra\r\n'],
    ['that is an integer without digits', ':\r\n'],
    ['that is a minus', ':-\r\n'],
    ['that is an integer with a plus', ':+1\r\n'],
    ['that is minus zero', ':-0\r\n'],
    ['that is an integer with a zero before it', ':01\r\n'],
    ['that is an integer with a fraction', ':1.0\r\n'],
    ['that is an integer beyond 64 bits', ':9223372036854775808\r\n'],
    ['that is a negative integer beyond 64 bits', ':-9223372036854775809\r\n'],
    ['that is a string without length', '$\r\n\r\n'],
    ['that is a string of a negative length', '$-2\r\n'],
    ['that is a string of minus zero', '$-0\r\n\r\n'],
    ['that is a string whose length has a plus', '$+1\r\na\r\n'],
    ['that is a string whose length has a zero before it', '$01\r\na\r\n'],
    ['that is a string longer than its length', '$1\r\nab\r\n'],
    ['that is a string shorter than its length', '$3\r\na\r\n+OK\r\n'],
    ['that is a string without CR', '$1\r\na\n\n'],
    ['that is an array of a negative length', '*-2\r\n'],
    ['that is a map of minus one', '%-1\r\n'],
    ['that is a set of minus one', '~-1\r\n'],
    ['that is a push of minus one', '>-1\r\n'],
    ['that is an error of minus one', '!-1\r\n'],
    ['that is a null with something in it', '_1\r\n'],
    ['that is a boolean neither true nor false', '#1\r\n'],
    ['that is a boolean without value', '#\r\n'],
    ['that is a boolean with more', '#tt\r\n'],
    ['that is a big number without digits', '(\r\n'],
    ['that is a big minus', '(-\r\n'],
    ['that is a big number with two signs', '(--1\r\n'],
    ['that is a big number with letters', '(1e5\r\n'],
    ['that is a double without digits', ',\r\n'],
    ['that is a double of words', ',one\r\n'],
    ['that is plus infinite', ',+inf\r\n'],
    ['that is a double without fraction', ',1.\r\n'],
    ['that is a double without digits before the dot', ',.5\r\n'],
    ['that is a double without exponent', ',1e\r\n'],
    ['that is a double with two dots', ',1.2.3\r\n'],
    ['that is a verbatim string without format', '=3\r\ntxt\r\n'],
    ['that is a verbatim string without a colon', '=5\r\ntxt-a\r\n'],
    ['that is a dot', '.\r\n'],
    ['that is a piece of no string', ';1\r\na\r\n'],
    ['that is a streamed push', '>?\r\n'],
    ['that is a streamed attribute', '|?\r\n'],
    ['that is a streamed error', '!?\r\n'],
    ['that is a streamed string with something else in it', '$?\r\n+OK\r\n'],
    ['that is a streamed string with a negative piece', '$?\r\n;-1\r\n'],
    ['that is a streamed string with a streamed piece', '$?\r\n;?\r\n'],
    ['that is an array with a dot', '*1\r\n.\r\n'],
    ['that is a streamed map with a key alone', '%?\r\n+a\r\n.\r\n'],
    ['that is a streamed array with attributes of nothing', '*?\r\n|1\r\n+a\r\n+b\r\n.\r\n'],
    ['that is a streamed array with empty attributes of nothing', '*?\r\n|0\r\n.\r\n'],
    ['whose line never ends', `:${'1'.repeat(100)}`],
  ])('%s', (_, text) => {
    expect(scan(text).fault).not.toBe('')
    expect(scan(`*2\r\n+a\r\n${text}`).fault).not.toBe('')
  })

  test('and what it is said of it fits on a line of the log', () => {
    expect(scan(`$${'\x00'.repeat(1_000)}`).fault.length).toBeLessThan(500)
    expect(scan('+OK\r\n$\x01\xff\r\n')).toMatchObject({ ends: [5], fault: '"$\\u0001ÿ" begins no reply' })
  })
})

describe('limits', () => {
  test.each([
    ['10 GB', '$10000000000\r\n'],
    ['4 GiB', '$4294967296\r\n'],
    ['4 billion elements', '*4294967296\r\n'],
    ['4 billion pairs', '%4294967296\r\n'],
    ['a length beyond all', '$9223372036854775807\r\n'],
  ])('%s are refused when they are announced', (_, text) => {
    expect(scan(text).fault).not.toBe('')
  })

  test.each([
    ['levels', { depth: 2 }, '*1\r\n%1\r\n', '+a\r\n_\r\n', '+a\r\n*1\r\n_\r\n'],
    ['elements', { elements: 2 }, '*1\r\n', '*2\r\n_\r\n_\r\n', '*3\r\n'],
    ['streamed elements', { elements: 2 }, '*?\r\n_\r\n', '_\r\n.\r\n', '_\r\n_\r\n.\r\n'],
    ['streamed pairs', { elements: 1 }, '%?\r\n_\r\n', '_\r\n.\r\n', '_\r\n_\r\n_\r\n.\r\n'],
    ['bytes of a string', { bulkBytes: 3 }, '', '$3\r\nabc\r\n', '$4\r\n'],
    ['bytes of a streamed string', { bulkBytes: 3 }, '$?\r\n;2\r\nab\r\n', ';1\r\nc\r\n;0\r\n', ';2\r\n'],
    [
      'bytes of a streamed string behind a status',
      { bulkBytes: 3 },
      '*2\r\n+abc\r\n$?\r\n',
      ';3\r\nabc\r\n;0\r\n',
      ';4\r\n',
    ],
    ['bytes of a status', { lineBytes: 3 }, '', '+abc\r\n', '+abcd'],
    ['bytes of a big number', { lineBytes: 3 }, '', '(-123\r\n', '(1234'],
  ])('%s are bounded', (_, limits, before, most, more) => {
    expect(scan(before + most, [], limits)).toMatchObject({ fault: '', ends: [(before + most).length] })
    expect(scan(before + more, [], limits).fault).not.toBe('')
  })

  test('thousands of levels that Lua can make are passed through', () => {
    expect(scan(`${'*1\r\n'.repeat(8_192)}+OK\r\n`)).toMatchObject({ fault: '', types: '*' })
    expect(scan('*1\r\n'.repeat(8_193)).fault).not.toBe('')
  })
})

test('a reply of 1 GiB, read in pieces of 64 KiB, leaves nothing behind', () => {
  const scanner = new ReplyScanner()
  const piece = Buffer.alloc(65_536, 'x')
  const head = Buffer.from(`*2\r\n$1073741824\r\n`)
  globalThis.gc?.()
  const before = process.memoryUsage()
  expect(scanner.scan(head, 0, head.length)).toBe(-1)
  for (let count = 0; count < 16_384; count += 1) expect(scanner.scan(piece, 0, piece.length)).toBe(-1)
  const { arrayBuffers, external } = process.memoryUsage()
  expect(
    [arrayBuffers - before.arrayBuffers, external - before.external].every((more) => more < 100_000),
  ).toBe(true)
  const tail = Buffer.from('\r\n$1\r\na\r\n+OK\r\n')
  expect(scanner.scan(tail, 0, tail.length)).toBe(9)
})
