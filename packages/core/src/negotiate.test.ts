import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { preferred } from './negotiate.ts'

const metrics = ['text/plain', 'application/openmetrics-text'] as const
const page = ['application/json', 'text/html'] as const

describe('what known clients get', () => {
  it.each([
    [
      'Prometheus 2',
      'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'application/openmetrics-text',
    ],
    [
      'Prometheus 3',
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'application/openmetrics-text',
    ],
    ['curl', '*/*', 'text/plain'],
    ['a browser', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'text/plain'],
  ])('%s, of the metrics', (_, accept, expected) => {
    expect(preferred(accept, metrics)).toBe(expected)
  })

  it.each([
    ['Firefox', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'text/html'],
    [
      'Chrome',
      'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7',
      'text/html',
    ],
    ['curl', '*/*', 'application/json'],
    ['a program', 'application/json', 'application/json'],
  ])('%s, of the page', (_, accept, expected) => {
    expect(preferred(accept, page)).toBe(expected)
  })
})

describe('RFC 9110, 12.5.1', () => {
  it.each([
    ['no header: the first offer', undefined, 'application/json'],
    ['an empty header: the first offer', '', 'application/json'],
    ['nothing that fits: the first offer', 'image/png', 'application/json'],
    ['the highest quality wins', 'application/json;q=0.4, text/html;q=0.5', 'text/html'],
    ['the first offer among equals', 'text/html, application/json', 'application/json'],
    ['a quality of zero refuses', 'application/json;q=0, */*', 'text/html'],
    [
      'an exact type overrules its range',
      'text/html;q=0.1, text/*, application/json;q=0.5',
      'application/json',
    ],
    ['a range of a type overrules all types', 'text/*;q=0.1, */*;q=0.9', 'application/json'],
    ['letters may be large', 'TEXT/HTML;Q=1, application/json;q=0.5', 'text/html'],
    ['spaces do not count', '  text/html ; q=0.9 ,application/json ; q=0.1', 'text/html'],
    ['other parameters do not count', 'text/html;level=1;charset=utf-8, application/json;q=0.5', 'text/html'],
    ['a quality above one counts as none', 'text/html;q=7, application/json;q=0.1', 'application/json'],
    [
      'a quality that is no number counts as none',
      'text/html;q=x, application/json;q=0.1',
      'application/json',
    ],
    ['a negative quality counts as none', 'text/html;q=-1, application/json;q=0.1', 'application/json'],
  ])('%s', (_, accept, expected) => {
    expect(preferred(accept, page)).toBe(expected)
  })
})

it('gives one of the offers, whatever the header', () => {
  const piece = fc.constantFrom(
    ...page,
    'text/*',
    '*/*',
    ';',
    'q=',
    '0',
    '0.5',
    '1',
    ',',
    ' ',
    '"',
    '/',
    '=',
    'x',
  )
  const header = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece).map((pieces) => pieces.join('')),
  )
  fc.assert(
    fc.property(header, (accept) => {
      expect(page).toContain(preferred(accept, page))
    }),
  )
})
