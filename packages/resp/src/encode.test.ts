import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CommandReader } from './command-reader.ts'
import {
  encodeArrayHeader,
  encodeBoolean,
  encodeBulk,
  encodeCommand,
  encodeDouble,
  encodeError,
  encodeInteger,
  encodeMapHeader,
  encodeNull,
  encodeNullArray,
  encodePushHeader,
  encodeSetHeader,
  encodeSimple,
  encodeVerbatim,
  type Protocol,
} from './encode.ts'
import { readReply } from './reply-reader.ts'

const anyBytes = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
const value = (bytes: Buffer) => readReply(bytes, 0, bytes.length)
const both = (encode: (protocol: Protocol) => Buffer) =>
  [2 as const, 3 as const].map((it) => encode(it).toString())

describe('a command', () => {
  test('is read as what it was made of', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), anyBytes), {
          minLength: 1,
          maxLength: 12,
        }),
        (args) => {
          const bytes = encodeCommand(args)
          const reader = new CommandReader()
          expect(reader.read(bytes, 0, bytes.length)).toBe('command')
          expect(reader.length).toBe(bytes.length)
          expect(
            Array.from({ length: reader.argc }, (_, index) =>
              bytes.subarray(reader.argStart(index), reader.argEnd(index)),
            ),
          ).toEqual(args.map((arg) => Buffer.from(arg)))
        },
      ),
    )
  })

  test.each([9, 10, 99, 100, 999, 1_000])('has room for an argument of %i bytes', (length) => {
    expect(encodeCommand(['x'.repeat(length)]).toString()).toBe(
      `*1\r\n$${length}\r\n${'x'.repeat(length)}\r\n`,
    )
  })
})

describe('what is encoded is read as the same', () => {
  test('bulk strings', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), anyBytes), (text) => {
        expect(value(encodeBulk(text))).toEqual({ type: 'bulk', bytes: Buffer.from(text) })
      }),
    )
  })

  test('integers', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (integer) => {
        const read = value(encodeInteger(integer))
        expect(read?.type === 'integer' && BigInt(read.value)).toBe(integer)
      }),
    )
  })

  test('doubles', () => {
    fc.assert(
      fc.property(fc.double(), (double) => {
        // The sign of a zero is not said.
        expect(value(encodeDouble(double, 3))).toEqual({ type: 'double', value: double === 0 ? 0 : double })
      }),
    )
  })

  test('statuses and errors, whose line ends cannot make further replies', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', 'é', '\r', '\n', '+', '$') }), (text) => {
        const bytes = Buffer.from(text.replace(/[\r\n]/g, ' '))
        expect(value(encodeSimple(text))).toEqual({ type: 'simple', bytes })
        expect(value(encodeError(text))).toEqual({ type: 'error', bytes })
      }),
    )
  })
})

test.each([
  ['null', encodeNull, '$-1\r\n', '_\r\n'],
  ['null in place of an array', encodeNullArray, '*-1\r\n', '_\r\n'],
  ['true', (protocol: Protocol) => encodeBoolean(true, protocol), ':1\r\n', '#t\r\n'],
  ['false', (protocol: Protocol) => encodeBoolean(false, protocol), ':0\r\n', '#f\r\n'],
  ['a double', (protocol: Protocol) => encodeDouble(1.5, protocol), '$3\r\n1.5\r\n', ',1.5\r\n'],
  ['infinity', (protocol: Protocol) => encodeDouble(Infinity, protocol), '$3\r\ninf\r\n', ',inf\r\n'],
  ['less than all', (protocol: Protocol) => encodeDouble(-Infinity, protocol), '$4\r\n-inf\r\n', ',-inf\r\n'],
  ['no number', (protocol: Protocol) => encodeDouble(Number.NaN, protocol), '$3\r\nnan\r\n', ',nan\r\n'],
  ['a map', (protocol: Protocol) => encodeMapHeader(3, protocol), '*6\r\n', '%3\r\n'],
  ['a set', (protocol: Protocol) => encodeSetHeader(3, protocol), '*3\r\n', '~3\r\n'],
  ['a push', (protocol: Protocol) => encodePushHeader(3, protocol), '*3\r\n', '>3\r\n'],
  ['an array', () => encodeArrayHeader(3), '*3\r\n', '*3\r\n'],
  ['text', (protocol: Protocol) => encodeVerbatim('é', protocol), '$2\r\né\r\n', '=6\r\ntxt:é\r\n'],
])('%s has its form in each protocol', (_, encode, resp2, resp3) => {
  expect(both(encode)).toEqual([resp2, resp3])
})
