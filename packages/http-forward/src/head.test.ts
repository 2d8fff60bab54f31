import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CLOSE, type Fault, Head, isHost, KEEP_ALIVE, plainName, UPGRADE } from './head.ts'
import { LIMITS } from './limits.ts'

const LIMITED = { headBytes: 2_000, uriBytes: 500, headerCount: 20 }

interface Options {
  trusted?: boolean
  withheld?: readonly string[]
  /** Lengths after which a read of the network ends. */
  cuts?: readonly number[]
  /** Bytes of something else before the head. */
  offset?: number
  limits?: typeof LIMITED
}

interface Reading {
  progress: string
  fault?: Fault | undefined
  headers?: [string, string][]
  kept?: string
  [field: string]: unknown
}

/** All that a head says, as soon as it is complete or at fault. */
function read(kind: 'request' | 'response', text: string, options: Options = {}): Reading {
  const { trusted = false, withheld = [], cuts = [], offset = 0, limits = LIMITED } = options
  const bytes = Buffer.concat([Buffer.alloc(offset, 'x'), Buffer.from(text, 'latin1')])
  const head = new Head(kind === 'request', trusted, withheld)
  let progress: string = 'more'
  for (const cut of [...new Set([...cuts.filter((cut) => cut < text.length), text.length])].sort(
    (a, b) => a - b,
  )) {
    progress = head.read(bytes, offset, offset + cut, limits)
    if (progress !== 'more') break
  }
  if (progress === 'done') progress = head.finish(bytes, offset)
  if (progress !== 'done') return { progress, fault: head.fault }
  const { method, target, reason, status, minor, host, upgrade, length, contentLength, chunked } = head
  const { connection, expectsContinue, dated, kept, startLine } = head
  return {
    ...{ progress, method, target, reason, status, minor, host, upgrade, length, contentLength, chunked },
    ...{ connection, expectsContinue, dated, kept, startLine, headers: [...head.headers] },
  }
}

const request = (lines: string, options?: Options) =>
  read('request', `GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`, options)
const response = (lines: string, options?: Options) =>
  read('response', `HTTP/1.1 200 OK\r\n${lines}\r\n`, options)

describe('a request is refused', () => {
  const POST = 'POST / HTTP/1.1\r\nHost: a\r\n'
  test.each<[string, string, number]>([
    ['with a method that is no token', 'GE(T / HTTP/1.1\r\n', 400],
    ['without a method', ' / HTTP/1.1\r\n', 400],
    ['without a target', 'GET  HTTP/1.1\r\n', 400],
    ['with two spaces before the target', 'GET  / HTTP/1.1\r\n', 400],
    ['with two spaces behind the target', 'GET /  HTTP/1.1\r\n', 400],
    ['with a tab behind the method', 'GET\t/ HTTP/1.1\r\n', 400],
    ['with a space in the target', 'GET /a b HTTP/1.1\r\n', 400],
    ['with a byte beyond ASCII in the target', 'GET /\xe9 HTTP/1.1\r\n', 400],
    ['with a control byte in the target', 'GET /\x7f HTTP/1.1\r\n', 400],
    ['with a version in small letters', 'GET / http/1.1\r\n', 400],
    ['with a version of another protocol', 'GET / ICY/1.1\r\n', 400],
    ['without a version', 'GET /\r\n', 400],
    ['with version 1.2', 'GET / HTTP/1.2\r\n', 505],
    ['with version 0.9', 'GET / HTTP/0.9\r\n', 505],
    ['with version 3.0', 'GET / HTTP/3.0\r\n', 505],
    ['with a version of three digits', 'GET / HTTP/1.10\r\n', 400],
    ['with a version that is no number', 'GET / HTTP/x.1\r\n', 400],
    ['with a space behind the version', 'GET / HTTP/1.1 \r\n', 400],
    ['with a line feed alone behind the version', 'GET / HTTP/1.1\nHost: a\r\n', 400],
    ['with a carriage return alone behind the version', 'GET / HTTP/1.1\rHost: a\r\n', 400],
    ['with a space before a colon', `${POST}X : a\r\n`, 400],
    ['with a tab before a colon', `${POST}X\t: a\r\n`, 400],
    ['with a folded line', `${POST}X: a\r\n b\r\n`, 400],
    ['with a line folded by a tab', `${POST}X: a\r\n\tb\r\n`, 400],
    ['with a folded line before the first', 'GET / HTTP/1.1\r\n X: a\r\n', 400],
    ['with a header that has no name', `${POST}: a\r\n`, 400],
    ['with a header that has no colon', `${POST}nonsense\r\n`, 400],
    ['with a name beyond ASCII', `${POST}\xe9: a\r\n`, 400],
    ['with a name that is quoted', `${POST}"x": a\r\n`, 400],
    ['with a zero byte in a value', `${POST}X: a\0b\r\n`, 400],
    ['with a vertical tab in a value', `${POST}X: a\vb\r\n`, 400],
    ['with a delete byte in a value', `${POST}X: a\x7fb\r\n`, 400],
    ['with a carriage return alone in a value', `${POST}X: a\rb\r\n`, 400],
    ['with a line feed alone in a value', `${POST}X: a\nb\r\n`, 400],
    ['with two carriage returns', `${POST}X: a\r\r\n\r\n`, 400],
    ['with a line feed alone as the end', `${POST}\n`, 400],
    ['with a carriage return alone as the end', `${POST}\rX: a\r\n`, 400],
    ['without a Host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['with two Hosts', `${POST}Host: a\r\n\r\n`, 400],
    ['with two Hosts of different case', `${POST}hOST: b\r\n\r\n`, 400],
    ['of HTTP/1.0 with two Hosts', 'GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n', 400],
    ['with a Host that has a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400],
    ['with a Host that has a user', 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n', 400],
    ['with a Host whose port is a name', 'GET / HTTP/1.1\r\nHost: a:http\r\n\r\n', 400],
    ['with a Host that has quotes', 'GET / HTTP/1.1\r\nHost: "a"\r\n\r\n', 400],
    ['with a signed length', `${POST}Content-Length: +1\r\n`, 400],
    ['with a negative length', `${POST}Content-Length: -1\r\n`, 400],
    ['with a length that has a point', `${POST}Content-Length: 1.0\r\n`, 400],
    ['with a length that has an exponent', `${POST}Content-Length: 1e1\r\n`, 400],
    ['with a hexadecimal length', `${POST}Content-Length: 0xa\r\n`, 400],
    ['with a list of lengths', `${POST}Content-Length: 1, 1\r\n`, 400],
    ['with an empty length', `${POST}Content-Length: \r\n`, 400],
    ['with a length beyond what a number can hold', `${POST}Content-Length: 9007199254740992\r\n`, 400],
    ['with the same length twice', `${POST}Content-Length: 1\r\nContent-Length: 1\r\n`, 400],
    ['with two lengths of which one is zero', `${POST}Content-Length: 0\r\nContent-Length: 1\r\n`, 400],
    ['with a length and chunks', `${POST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
    ['with chunks and a length', `${POST}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n`, 400],
    ['of HTTP/1.0 with chunks', 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['with another coding', `${POST}Transfer-Encoding: gzip\r\n\r\n`, 501],
    ['with another coding before chunks', `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501],
    ['with an empty coding', `${POST}Transfer-Encoding:\r\n\r\n`, 501],
    ['with chunks in a list', `${POST}Transfer-Encoding: chunked,\r\n\r\n`, 501],
    ['with chunks that have a parameter', `${POST}Transfer-Encoding: chunked;a=b\r\n\r\n`, 501],
    ['with chunks twice', `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`, 501],
    ['with a coding behind chunks', `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n`, 501],
    ['with an expectation nobody knows', `${POST}Expect: wonders\r\n`, 417],
    ['with a target that is too long', `GET /${'a'.repeat(LIMITED.uriBytes)} HTTP/1.1\r\n`, 414],
    ['with too many headers', `${POST}${'X: a\r\n'.repeat(LIMITED.headerCount)}`, 431],
    ['with a head that is too large', `${POST}X: ${'a'.repeat(LIMITED.headBytes)}`, 431],
    ['with a method that is too large', 'A'.repeat(LIMITED.headBytes), 431],
  ])('%s', (_, text, status) => {
    expect(read('request', text)).toMatchObject({ progress: 'fault', fault: { status } })
    // Not by a guess about what will follow.
    expect(read('request', `${text}\r\nX: y\r\n\r\n`)).toMatchObject({ fault: { status } })
  })

  test('at the first byte that is wrong, before its line has ended', () => {
    expect(read('request', '\x16\x03\x01')).toMatchObject({ fault: { status: 400 } })
    expect(read('request', 'GET / HTTP/1.1\r\nX ')).toMatchObject({ fault: { status: 400 } })
  })
})

describe('a response is refused', () => {
  const OK = 'HTTP/1.1 200 OK\r\n'
  test.each([
    ['of another protocol', 'ICY 200 OK\r\n'],
    ['of HTTP/2', 'HTTP/2.0 200 OK\r\n'],
    ['of HTTP/1.2', 'HTTP/1.2 200 OK\r\n'],
    ['with a status of two digits', 'HTTP/1.1 20 OK\r\n'],
    ['with a status of four digits', 'HTTP/1.1 2000 OK\r\n'],
    ['with a status that runs into the reason', 'HTTP/1.1 200OK\r\n'],
    ['with a status below 100', 'HTTP/1.1 099 OK\r\n'],
    ['with a status that is no number', 'HTTP/1.1 2x0 OK\r\n'],
    ['with two spaces before the status', 'HTTP/1.1  200 OK\r\n'],
    ['with a control byte in the reason', 'HTTP/1.1 200 O\0K\r\n'],
    ['with a line feed alone behind the reason', 'HTTP/1.1 200 OK\nX: a\r\n'],
    ['with a carriage return alone in the reason', 'HTTP/1.1 200 O\rK\r\n'],
    ['with a space before a colon', `${OK}X : a\r\n`],
    ['with a folded line', `${OK}X: a\r\n b\r\n`],
    ['with a header that has no colon', `${OK}nonsense\r\n`],
    ['with a zero byte in a value', `${OK}X: a\0b\r\n`],
    ['with a line feed alone in a value', `${OK}X: a\nb\r\n`],
    ['with a carriage return alone in a value', `${OK}X: a\rb\r\n`],
    ['with a line feed alone as the end', `${OK}\n`],
    ['with the same length twice', `${OK}Content-Length: 1\r\nContent-Length: 1\r\n`],
    ['with two lengths', `${OK}Content-Length: 1\r\nContent-Length: 2\r\n`],
    ['with a signed length', `${OK}Content-Length: +1\r\n`],
    ['with a list of lengths', `${OK}Content-Length: 1,1\r\n`],
    ['with a length and chunks', `${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`],
    ['with another coding', `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n`],
    ['with chunks twice', `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`],
    ['of HTTP/1.0 with chunks', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ])('%s', (_, text) => {
    expect(read('response', text)).toMatchObject({ progress: 'fault', fault: { status: 502 } })
  })

  test('with too large a head', () => {
    expect(response(`X: ${'a'.repeat(LIMITED.headBytes)}\r\n`)).toMatchObject({ progress: 'fault' })
  })
})

describe('a request is understood', () => {
  test('with method, target, version and host', () => {
    expect(read('request', 'PROPFIND /a?b HTTP/1.0\r\nhost: b:1\r\n\r\n')).toMatchObject({
      ...{
        method: 'PROPFIND',
        target: '/a?b',
        minor: 0,
        host: 'b:1',
        startLine: 'PROPFIND /a?b HTTP/1.0\r\n',
      },
    })
  })

  test.each(['a', 'a.b', 'a_b', '127.0.0.1:80', '[::1]', '[::1]:8443', '', 'xn--e1a', 'a:'])(
    'with the host "%s"',
    (host) => expect(isHost(host)).toBe(true),
  )

  test.each([
    'a b',
    'a/b',
    'a@b',
    'a,b c',
    '"a"',
    'a\\b',
    '::1',
    '[::1',
    'a:b',
    'a:1:2',
    'a:123456',
    'é',
    '<a>',
    'a#b',
    'a?b',
  ])('but not with the host "%s"', (host) => expect(isHost(host)).toBe(false))

  test('with the largest length a number holds', () => {
    expect(request('Content-Length: 9007199254740991\r\n')).toMatchObject({
      contentLength: Number.MAX_SAFE_INTEGER,
    })
  })

  test('with a length that has zeros before it', () => {
    expect(request('Content-Length: 0012\r\n')).toMatchObject({ contentLength: 12 })
  })

  test('with chunks in any case, and space around', () => {
    expect(request('TRANSFER-ENCODING:\t CHUNKED \t\r\n')).toMatchObject({ chunked: true, contentLength: -1 })
  })

  test('with the options of its connection', () => {
    expect(
      request('Connection: Close, x\r\nconnection:,,\tkeep-ALIVE ,Upgrade\r\nUpgrade: a/1\r\n'),
    ).toMatchObject({
      connection: CLOSE | KEEP_ALIVE | UPGRADE,
      upgrade: 'a/1',
      kept: 'Host: a\r\n',
    })
  })

  test('with what it expects, which does not go on as it is', () => {
    expect(request('Expect: 100-Continue\r\n')).toMatchObject({ expectsContinue: true, kept: 'Host: a\r\n' })
  })

  test('of HTTP/1.0 without what it expects', () => {
    expect(read('request', 'POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n')).toMatchObject({
      expectsContinue: false,
    })
  })

  test('with headers by name, repeated ones joined, without the space around but with all else', () => {
    const { headers } = request('X:  a \t\r\nx: \xa0b\xa0\r\nCookie: a=1\r\ncookie: b=2\r\nEmpty:\r\n')
    expect(new Map(headers)).toEqual(
      new Map([
        ['host', 'a'],
        ['x', 'a, \xa0b\xa0'],
        ['cookie', 'a=1; b=2'],
        ['empty', ''],
      ]),
    )
  })

  test('up to the limits and not a byte less', () => {
    const uri = `/${'a'.repeat(LIMITED.uriBytes - 1)}`
    expect(read('request', `GET ${uri} HTTP/1.1\r\nHost: a\r\n\r\n`)).toMatchObject({ target: uri })
    expect(request('X: a\r\n'.repeat(LIMITED.headerCount - 1))).toMatchObject({ progress: 'done' })
    const start = 'GET / HTTP/1.1\r\nHost: a\r\nX: '
    const full = `${start}${'a'.repeat(LIMITED.headBytes - start.length - 4)}\r\n\r\n`
    expect(read('request', full)).toMatchObject({ progress: 'done', length: LIMITED.headBytes })
    expect(read('request', full.replace('X: ', 'X: a'))).toMatchObject({ fault: { status: 431 } })
  })
})

describe('a response is understood', () => {
  test.each([
    ['HTTP/1.1 404 Not Found\r\n\r\n', 404, 'Not Found', 1],
    ['HTTP/1.0 200 \r\n\r\n', 200, '', 0],
    ['HTTP/1.1 204\r\n\r\n', 204, '', 1],
    ['HTTP/1.1 299 caf\xe9\tau lait\r\n\r\n', 299, 'caf\xe9\tau lait', 1],
  ])('%j', (text, status, reason, minor) => {
    expect(read('response', text)).toMatchObject({ progress: 'done', status, reason, minor })
  })

  test('with names that only clients must not say', () => {
    const kept =
      'X-Forwarded-For: a\r\nForwarded: b\r\nX-Real-IP: c\r\nProxy: d\r\nExpect: e\r\nX_Forwarded_For: f\r\n'
    expect(response(kept)).toMatchObject({ kept })
  })

  test('with or without a date', () => {
    expect(response('dAtE: then\r\n')).toMatchObject({ dated: true })
    expect(response('Data: then\r\n')).toMatchObject({ dated: false })
  })
})

// --- what goes on

const HOP_BY_HOP = [
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te'],
  ...['trailer', 'transfer-encoding', 'upgrade', 'content-length'],
]
const FORGED = ['x-forwarded-for', 'x-forwarded-anything', 'forwarded', 'x-real-ip', 'proxy']

/** A name in any case, and with `-` as any sign that an application may take for it. */
const disguised = (names: readonly string[], signs = '-') =>
  fc
    .tuple(
      fc.constantFrom(...names),
      fc.infiniteStream(fc.boolean()),
      fc.infiniteStream(fc.constantFrom(...signs)),
    )
    .map(([name, upper, sign]) =>
      [...name]
        .map((character) => (character === '-' ? (sign.next().value ?? '-') : character))
        .map((character) => (upper.next().value ? character.toUpperCase() : character))
        .join(''),
    )

const VALUES: Record<string, string> = {
  connection: 'x-listed',
  'content-length': '0',
  'transfer-encoding': 'chunked',
  upgrade: 'websocket',
}

const namesOf = (lines: string) =>
  [...lines.matchAll(/([^:\r\n]+):[^\r\n]*\r\n/g)].map(([, name = '']) => name)

describe('of the lines that go on', () => {
  test.each(['request', 'response'] as const)('none of a %s concerns the connection, in any case', (kind) => {
    const read = kind === 'request' ? request : response
    fc.assert(
      fc.property(disguised(HOP_BY_HOP), (name) => {
        const value = VALUES[name.toLowerCase()] ?? 'x'
        expect(read(`A: 1\r\n${name}: ${value}\r\nB: 2\r\n`)).toMatchObject({
          kept: `${kind === 'request' ? 'Host: a\r\n' : ''}A: 1\r\nB: 2\r\n`,
        })
      }),
    )
  })

  test.each(['request', 'response'] as const)('none of a %s is one of these in disguise', (kind) => {
    const read = kind === 'request' ? request : response
    fc.assert(
      fc.property(
        disguised(
          HOP_BY_HOP.filter((name) => name.includes('-')),
          '_.~!',
        ),
        (name) => {
          expect(read(`A: 1\r\n${name}: x\r\n`)).toMatchObject({
            kept: `${kind === 'request' ? 'Host: a\r\n' : ''}A: 1\r\n`,
            chunked: false,
            contentLength: -1,
          })
        },
      ),
    )
  })

  test('none speaks for a client, in any case and disguise', () => {
    fc.assert(
      fc.property(disguised(FORGED, '-_.~!'), (name) => {
        expect(request(`${name}: x\r\nA: 1\r\n`)).toMatchObject({ kept: 'Host: a\r\nA: 1\r\n' })
      }),
    )
  })

  test('those of a trusted proxy speak for its client, but not in disguise', () => {
    const kept = 'Host: a\r\nX-Forwarded-For: a\r\nForwarded: b\r\nX-Real-IP: c\r\n'
    expect(
      read('request', `GET / HTTP/1.1\r\n${kept}X_Forwarded_For: d\r\nX-Real_IP: e\r\n\r\n`, {
        trusted: true,
      }),
    ).toMatchObject({ kept })
  })

  test('not even those of a trusted proxy set HTTP_PROXY (CVE-2016-5385)', () => {
    expect(request('Proxy: evil\r\n', { trusted: true })).toMatchObject({ kept: 'Host: a\r\n' })
  })

  test.each(['request', 'response'] as const)(
    'none of a %s is withheld by name, in any case and disguise',
    (kind) => {
      const read = kind === 'request' ? request : response
      const withheld = ['x-client-cert', 'remote-user', 'x-a1'].map(plainName)
      fc.assert(
        fc.property(disguised(withheld, '-_.~!'), (name) => {
          const { kept = '' } = read(`${name}: forged\r\n${name}x: 1\r\nx${name}: 2\r\n`, { withheld })
          expect(namesOf(kept).filter((other) => other !== 'Host')).toEqual([`${name}x`, `x${name}`])
        }),
      )
    },
  )

  test('none is listed in Connection, wherever and in whatever case', () => {
    fc.assert(
      fc.property(
        disguised(['x-a', 'cookie', 'x-b_c']),
        disguised(['x-a', 'cookie', 'x-b_c']),
        fc.boolean(),
        (listed, sent, before) => {
          const connection = `Connection: close, ${listed} \r\n`
          const line = `${sent}: x\r\n`
          const { kept } = request(before ? connection + line : line + connection)
          const gone = listed.toLowerCase() === sent.toLowerCase()
          expect(kept).toBe(gone ? 'Host: a\r\n' : `Host: a\r\n${line}`)
        },
      ),
    )
  })

  test('host and framing stay though they are listed in Connection', () => {
    expect(
      request('Connection: Host, Content-Length, transfer-ENCODING\r\nContent-Length: 3\r\n'),
    ).toMatchObject({
      kept: 'Host: a\r\n',
      contentLength: 3,
    })
  })

  test('the others keep their order, case, duplicates and bytes', () => {
    const lines =
      'b: 1\r\nA:2\r\nTE: x\r\nTrailer: y\r\nB:   3 \t\r\nx_y: \x80\xff\r\nKeep-Alive: z\r\na:\r\n'
    expect(response(lines)).toMatchObject({ kept: 'b: 1\r\nA:2\r\nB:   3 \t\r\nx_y: \x80\xff\r\na:\r\n' })
  })
})

// --- anywhere cut, anything sent

const token = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_.!~'), minLength: 1, maxLength: 12 })
const fieldValue = fc
  .string({ unit: fc.constantFrom(...' \tabc,;=:"\x80\xff/()'), maxLength: 30 })
  .map((value) => ` ${value}`)
const fields = fc.array(
  fc.oneof(
    fc.tuple(token, fieldValue).map(([name, value]) => `x${name}:${value}\r\n`),
    fc.constantFrom(
      ...[
        'Connection: close, x-a\r\n',
        'connection: upgrade\r\n',
        'Upgrade: websocket\r\n',
        'TE: trailers\r\n',
      ],
      ...[
        'Content-Length: 12\r\n',
        'Transfer-Encoding: chunked\r\n',
        'Date: now\r\n',
        'Expect: 100-continue\r\n',
      ],
      ...['X-Forwarded-For: 1\r\n', 'X_Real_IP: 1\r\n', 'Host: b\r\n', 'Keep-Alive: a\r\n', 'secret: a\r\n'],
    ),
  ),
  { maxLength: 8 },
)
const requests = fc
  .tuple(
    token,
    fc.string({ unit: fc.constantFrom(...'/a?b%=&*:'), minLength: 1 }),
    fc.constantFrom('0', '1'),
    fields,
  )
  .map(
    ([method, target, minor, lines]) =>
      `${method} ${target} HTTP/1.${minor}\r\nHost: h\r\n${lines.join('')}\r\n`,
  )
const responses = fc
  .tuple(fc.integer({ min: 0, max: 999 }), fieldValue, fc.constantFrom('0', '1'), fields)
  .map(
    ([status, reason, minor, lines]) =>
      `HTTP/1.${minor} ${String(status).padStart(3, '0')}${reason}\r\n${lines.join('')}\r\n`,
  )
const cuts = fc.array(fc.nat(300), { maxLength: 12 })

/** Bytes exchanged, inserted and removed at random places. */
const mutated = (texts: fc.Arbitrary<string>) =>
  fc
    .tuple(
      texts,
      fc.array(
        fc.tuple(
          fc.nat(400),
          fc.constantFrom('set', 'insert', 'remove'),
          fc.oneof(fc.nat(255), fc.constantFrom(13, 10, 32, 9, 58, 0)),
        ),
        { minLength: 1, maxLength: 4 },
      ),
    )
    .map(([text, changes]) => {
      let result = text
      for (const [place, change, byte] of changes) {
        const at = place % (result.length + 1)
        const added = change === 'remove' ? '' : String.fromCharCode(byte)
        result = result.slice(0, at) + added + result.slice(at + (change === 'insert' ? 0 : 1))
      }
      return result
    })

const bytesAtRandom = fc.string({
  unit: fc.nat(255).map((byte) => String.fromCharCode(byte)),
  maxLength: 300,
})

describe.each(['request', 'response'] as const)('a %s', (kind) => {
  const heads = kind === 'request' ? requests : responses
  const tight = { headBytes: 120, uriBytes: 10, headerCount: 5 }

  test('means the same wherever it is cut', () => {
    fc.assert(
      fc.property(heads, cuts, fc.nat(50), (text, cuts, offset) => {
        const whole = read(kind, text, { withheld: ['secret'] })
        expect(whole.progress).not.toBe('more')
        expect(read(kind, text, { withheld: ['secret'], cuts, offset })).toEqual(whole)
      }),
      { numRuns: 2_000 },
    )
  })

  test('byte by byte means the same as whole', () => {
    fc.assert(
      fc.property(fc.oneof(heads, mutated(heads)), (text) => {
        expect(read(kind, text, { cuts: Array.from(text, (_, index) => index) })).toEqual(read(kind, text))
      }),
      { numRuns: 300 },
    )
  })

  test('that is malformed or too large has the same fault wherever it is cut', () => {
    fc.assert(
      fc.property(fc.oneof(mutated(heads), bytesAtRandom), cuts, fc.boolean(), (text, cuts, small) => {
        const limits = small ? tight : LIMITED
        expect(read(kind, text, { cuts, limits })).toEqual(read(kind, text, { limits }))
      }),
      { numRuns: 5_000 },
    )
  })

  test('is not decided by what follows it', () => {
    fc.assert(
      fc.property(heads, bytesAtRandom, (text, behind) => {
        expect(read(kind, text + behind)).toEqual(read(kind, text))
      }),
    )
  })

  test('of any bytes never throws, and lets nothing through that could be read differently', () => {
    fc.assert(
      fc.property(fc.oneof(mutated(heads), bytesAtRandom), (text) => {
        const result = read(kind, text, { withheld: ['secret'] })
        expect(['more', 'done', 'fault']).toContain(result.progress)
        if (result.progress !== 'done') return
        for (const line of (result.kept ?? '').split('\r\n').slice(0, -1))
          expect(line).toMatch(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/)
        for (const name of namesOf(result.kept ?? '').map(plainName)) {
          expect([...HOP_BY_HOP, 'secret']).not.toContain(name)
          if (kind === 'request')
            expect(name).not.toMatch(/^(x-forwarded-.*|forwarded|x-real-ip|proxy|expect)$/)
        }
      }),
      { numRuns: 5_000 },
    )
  })

  test('that never ends is refused at the limit, not kept for ever', () => {
    const endless = `${kind === 'request' ? 'GET / HTTP/1.1' : 'HTTP/1.1 200 OK'}\r\n${'X: y\r\n'.repeat(4_000)}`
    const limits = { ...LIMITS, headerCount: 1e6 }
    expect(read(kind, endless, { limits, cuts: [100, 5_000, 16_000] })).toMatchObject({
      fault: { status: 431 },
    })
  })
})
