import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { der, oid, sequence, time } from './der.ts'
import { DerReader, readIntegerHex, readOid, readOne, readTime } from './der-read.ts'

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')

describe('elements', () => {
  test('what der writes is read back, of any length', () => {
    fc.assert(
      fc.property(fc.constantFrom(0x04, 0x30, 0xa3), fc.integer({ min: 0, max: 70_000 }), (tag, length) => {
        const written = der(tag, Buffer.alloc(length, 7))
        const { content, der: whole } = readOne(written, tag, 'it')
        expect(content.length).toBe(length)
        expect(whole.equals(written)).toBe(true)
      }),
    )
  })

  test('come in their order until the content is done', () => {
    const reader = new DerReader(readOne(sequence(der(0x02, bytes('05')), der(0x04)), 0x30, 'it').content)
    expect(reader.take(0x02, 'a number').content).toEqual(bytes('05'))
    expect(reader.optional(0x01, 'a boolean')).toBeUndefined()
    expect(reader.done).toBe(false)
    expect(reader.take(0x04, 'octets').content.length).toBe(0)
    expect(reader.done).toBe(true)
  })

  test.each([
    ['nothing', '', 'it is missing'],
    ['another tag', '31 00', 'it has the tag 0x31, not 0x30'],
    ['a tag alone', '30', 'it is cut off'],
    ['less content than its length', '30 02 00', 'it is cut off'],
    ['half a length', '30 82 01', 'it is cut off'],
    ['an indefinite length', '30 80 00 00', 'it has a length not in DER'],
    ['a short length in the long form', '30 81 01 00', 'it has a length not in DER'],
    ['a length with a leading zero', `30 82 00 80 ${'00'.repeat(128)}`, 'it has a length not in DER'],
    ['a length of gigabytes', '30 84 ff ff ff ff', 'it is cut off'],
    ['a length of nine bytes', '30 89 01 00 00 00 00 00 00 00 00', 'it has a length of 9 bytes'],
    ['bytes after it', '30 00 00', 'it has bytes after its end'],
  ])('%s is refused', (_, hex, expected) => {
    expect(() => readOne(bytes(hex), 0x30, 'it')).toThrow(expected)
  })

  test('a tag of several bytes is refused', () => {
    expect(() => new DerReader(bytes('3f 81 00 00')).next('it')).toThrow('it has a tag of several bytes')
  })
})

describe('object identifiers', () => {
  test.each(['2.5.4.3', '1.2.840.113549.1.9.1', '0.9.2342.19200300.100.1.25', '1.3.6.1.4.1.4294967295'])(
    '%s is read as it was written',
    (dotted) => {
      expect(readOid(readOne(oid(dotted), 0x06, 'it').content)).toBe(dotted)
    },
  )

  test('a first number of 2 takes a second one above 39', () => {
    expect(readOid(bytes('88 37 03'))).toBe('2.999.3')
  })

  test.each([
    ['nothing', ''],
    ['an unfinished number', '55 84'],
    ['a padded number', '55 80 03'],
    ['65 bytes', '01'.repeat(65)],
  ])('%s is refused', (_, hex) => {
    expect(() => readOid(bytes(hex))).toThrow(/object identifier/)
  })
})

describe('times', () => {
  test('every second that der writes is read back', () => {
    const range = { min: new Date('1950-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z') }
    fc.assert(
      fc.property(fc.date({ ...range, noInvalidDate: true }), (date) => {
        const written = new DerReader(time(date)).next('it')
        expect(readTime(written, 'it').getTime()).toBe(Math.floor(date.getTime() / 1000) * 1000)
      }),
    )
  })

  test.each([
    ['the 30th of February', 0x17, '230230000000Z'],
    ['hour 24', 0x17, '230101240000Z'],
    ['no seconds', 0x17, '2301010000Z'],
    ['a zone', 0x17, '230101000000+0100'],
    ['fractions', 0x18, '20230101000000.5Z'],
    ['a year of two digits as GeneralizedTime', 0x18, '230101000000Z'],
    ['a year of four digits as UTCTime', 0x17, '20230101000000Z'],
    ['another type', 0x16, '230101000000Z'],
    ['a line feed at the end', 0x17, '230101000000Z\n'],
  ])('%s is refused', (_, tag, text) => {
    const element = { tag, content: Buffer.from(text), der: Buffer.alloc(0) }
    expect(() => readTime(element, 'it')).toThrow(/^it is no (date|UTCTime or GeneralizedTime)$/)
  })
})

describe('integers', () => {
  test.each([
    ['00', '00'],
    ['7f', '7F'],
    ['00 ff', 'FF'],
    ['0a bc', '0ABC'],
  ])('%s is %s', (content, expected) => {
    expect(readIntegerHex(bytes(content), 'it')).toBe(expected)
  })

  test.each(['', '00 7f'])('"%s" is refused', (content) => {
    expect(() => readIntegerHex(bytes(content), 'it')).toThrow(/^it is /)
  })
})
