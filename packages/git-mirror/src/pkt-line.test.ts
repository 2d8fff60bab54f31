import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DELIMITER, FLUSH, type PktLine, PktLineError, PktLineReader, pktLine } from './pkt-line.ts'

/** Any line as it is sent, and as it is read. */
const line = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }).map((text) => ({ sent: pktLine(text), read: text })),
  fc.constantFrom(
    { sent: FLUSH, read: { mark: 'flush' } },
    { sent: DELIMITER, read: { mark: 'delimiter' } },
    { sent: '0002', read: { mark: 'response-end' } },
    { sent: pktLine('x'.repeat(65_516)), read: 'x'.repeat(65_516) },
  ),
)
const cuts = fc.array(fc.nat(), { maxLength: 20 })

const meaning = (line: PktLine) => (typeof line === 'string' ? { mark: line } : line.toString())

function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b)
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}

/** What is read up to the end or to the error, and which of the two. */
function outcome(chunks: readonly Buffer[], maxPayload?: number) {
  const reader = new PktLineReader(maxPayload)
  const lines: unknown[] = []
  try {
    for (const chunk of chunks) for (const line of reader.read(chunk)) lines.push(meaning(line))
  } catch (error) {
    if (!(error instanceof PktLineError)) throw error
    return { lines, error: error.message }
  }
  return { lines, isBetweenLines: reader.isBetweenLines }
}

test('lines are read as they were sent, wherever the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), cuts, (lines, cuts) => {
      const bytes = Buffer.from(lines.map(({ sent }) => sent).join(''))
      expect(outcome(pieces(bytes, cuts))).toEqual({
        lines: lines.map(({ read }) => read),
        isBetweenLines: true,
      })
    }),
  )
})

test('malformed bytes are read alike wherever they are cut, and cause no other error', () => {
  const digits = fc.string({ unit: fc.constantFrom(...'0123456789abcdefABCDEF+-x \n'), maxLength: 60 })
  const broken = fc
    .tuple(fc.array(line, { maxLength: 4 }), fc.nat(), fc.uint8Array({ maxLength: 4 }))
    .map(([lines, at, noise]) => {
      const bytes = Buffer.from(lines.map(({ sent }) => sent).join(''))
      const place = at % (bytes.length + 1)
      return Buffer.concat([bytes.subarray(0, place), noise, bytes.subarray(place)])
    })
  const bytes = fc.oneof(
    digits.map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    broken,
  )
  fc.assert(
    fc.property(bytes, cuts, fc.nat(100), (bytes, cuts, maxPayload) => {
      expect(outcome(pieces(bytes, cuts), maxPayload)).toEqual(outcome([bytes], maxPayload))
    }),
  )
})

test.each(['0003', 'fff1', 'ffff', '00g4', '-001', ' 004', '+004', '0x10', '4e1\n'])(
  'the length %j is refused',
  (digits) => {
    expect(outcome([Buffer.from(digits)])).toMatchObject({ error: expect.stringContaining('no length') })
  },
)

test('lengths are read in both cases, also those of an empty line', () => {
  expect(outcome([Buffer.from('0004000Aabcdef000aABCDEF')])).toEqual({
    lines: ['', 'abcdef', 'ABCDEF'],
    isBetweenLines: true,
  })
})

test('a line that is too long is refused before it comes', () => {
  expect(outcome([Buffer.from('000e')], 10)).toEqual({ lines: [], isBetweenLines: false })
  expect(outcome([Buffer.from('000f')], 10)).toMatchObject({ error: expect.stringContaining('at most 14') })
  expect(() => pktLine('x'.repeat(65_517))).toThrow(PktLineError)
})
