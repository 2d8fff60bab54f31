import { describe, expect, test } from 'vitest'
import { requestHeaders, responseHeaders, trailerPairs } from './headers.ts'

const STRANGER = { address: undefined, host: undefined }
const OURS = ['X-Forwarded-Proto', 'https']

describe('lines of a request', () => {
  test('keep their order, case and duplicates', () => {
    const raw = ['HOST', 'a.test', 'x-B', '1', 'X-a', '2', 'x-b', '3', 'Cookie', 'a=1', 'cookie', 'b=2']
    expect(requestHeaders(raw, STRANGER)).toEqual([...raw, ...OURS])
  })

  test('lose what concerns one connection alone', () => {
    const raw = [
      'Connection',
      'close',
      'Keep-Alive',
      '5',
      'Proxy-Connection',
      'x',
      'TE',
      'trailers',
      'Trailer',
      'a',
    ]
    raw.push(
      'Transfer-Encoding',
      'chunked',
      'Upgrade',
      'h2c',
      'Proxy-Authorization',
      'x',
      'Proxy-Authenticate',
      'x',
    )
    expect(requestHeaders(raw, STRANGER)).toEqual(OURS)
  })

  test('lose what any Connection line names, in whatever case', () => {
    const raw = [
      'connection',
      'x-one,  X-TWO',
      'X-One',
      '1',
      'x-two',
      '2',
      'X-Three',
      '3',
      'Connection',
      'x-three',
    ]
    expect(requestHeaders(raw, STRANGER)).toEqual(OURS)
  })

  test('cannot lose their host or their length by Connection', () => {
    const raw = ['Connection', 'host, content-length', 'Host', 'a.test', 'Content-Length', '3']
    expect(requestHeaders(raw, STRANGER)).toEqual(['Host', 'a.test', 'Content-Length', '3', ...OURS])
  })

  test('cannot make us drop our own lines by Connection', () => {
    const headers = requestHeaders(['Connection', 'x-forwarded-for'], {
      address: '192.0.2.1',
      host: undefined,
    })
    expect(headers).toEqual(['X-Forwarded-For', '192.0.2.1', ...OURS])
  })

  test.each([
    'X-Forwarded-For',
    'x-forwarded-proto',
    'X-FORWARDED-HOST',
    'X-Forwarded-Port',
    'X-Forwarded-Server',
    'X-Forwarded-Prefix',
    'Forwarded',
    'X-Real-IP',
    'X_Forwarded_For',
    'x-forwarded_for',
    'X_Real_IP',
    'Proxy',
    'Content_Length',
    'Transfer_Encoding',
  ])('lose %s, which the application would believe', (name) => {
    expect(requestHeaders([name, 'forged'], STRANGER)).toEqual(OURS)
  })

  test.each([
    ['a.test', '443'],
    ['a.test:8443', '8443'],
    ['[::1]', '443'],
    ['[::1]:9000', '9000'],
  ])('tell the application that the client asked for %s on port %s', (host, port) => {
    expect(requestHeaders([], { address: undefined, host })).toEqual([
      ...OURS,
      ...['X-Forwarded-Host', host, 'X-Forwarded-Port', port],
    ])
  })
})

describe('lines of a response', () => {
  test('keep their order, case and duplicates', () => {
    const raw = ['set-cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-Forwarded-For', 'kept', 'Content-Length', '3']
    expect(responseHeaders(raw, 200)).toEqual(raw)
  })

  test('lose what concerns one connection alone', () => {
    const raw = [
      'Connection',
      'x-own',
      'X-Own',
      '1',
      'Keep-Alive',
      'timeout=5',
      'Transfer-Encoding',
      'chunked',
    ]
    expect(responseHeaders(raw, 200)).toEqual([])
  })

  test('have no length in a 204, for which a client might wait', () => {
    expect(responseHeaders(['Content-Length', '3', 'ETag', 'x'], 204)).toEqual(['ETag', 'x'])
    expect(responseHeaders(['Content-Length', '3'], 304)).toEqual(['Content-Length', '3'])
  })
})

test('trailers cannot bring framing or what the application would believe', () => {
  const raw = [
    'X-Sum',
    '1',
    'Content-Length',
    '3',
    'X-Forwarded-For',
    'forged',
    'Transfer-Encoding',
    'x',
    'Host',
    'x',
  ]
  expect(trailerPairs(raw)).toEqual([['X-Sum', '1']])
})
