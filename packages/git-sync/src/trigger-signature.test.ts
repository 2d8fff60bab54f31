import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Headers, SignatureVerifier, type Verdict } from './trigger-signature.ts'

const SECRET = 'correct horse'
const BODY = '{"ref":"refs/heads/main"}'
const NOW_S = 1_700_000_000

interface Given {
  readonly secrets?: readonly string[]
  readonly body?: string
  readonly nowS?: number
}

function judge(
  headers: Record<string, string | string[]>,
  { secrets = [SECRET], body = BODY, nowS = NOW_S }: Given = {},
): Verdict {
  const lists: Headers = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, [value].flat()]),
  )
  const verification = new SignatureVerifier(secrets, () => nowS * 1_000).begin(lists)
  for (const byte of Buffer.from(body)) verification.update(Buffer.of(byte))
  return verification.finish()
}

const hex = (secret = SECRET, body = BODY): string => createHmac('sha256', secret).update(body).digest('hex')

function standard({ key = Buffer.from(SECRET), id = 'msg_1', timestamp = String(NOW_S), body = BODY } = {}) {
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
}

describe('a signature of the body', () => {
  // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
  test('is right where GitHub says so', () => {
    const signature = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
    const given = { secrets: ["It's a Secret to Everybody"], body: 'Hello, World!' }
    expect(judge({ 'x-hub-signature-256': signature }, given)).toMatchObject({ valid: true, form: 'github' })
  })

  test.each(['x-gitea-signature', 'x-forgejo-signature', 'x-gogs-signature'])('may be in %s', (name) => {
    expect(judge({ [name]: hex() })).toMatchObject({ valid: true, form: 'gitea' })
  })

  test('may be in all the headers that Gitea sends', () => {
    const headers = {
      'x-gitea-signature': hex(),
      'x-gogs-signature': hex(),
      'x-hub-signature-256': `sha256=${hex()}`,
    }
    expect(judge(headers)).toMatchObject({ valid: true, form: 'gitea' })
  })

  test.each([
    ['of another secret', { 'x-hub-signature-256': `sha256=${hex('other')}` }],
    ['of another body', { 'x-hub-signature-256': `sha256=${hex(SECRET, 'other')}` }],
    ['without its prefix', { 'x-hub-signature-256': hex() }],
    ['with a prefix that has no place', { 'x-gitea-signature': `sha256=${hex()}` }],
    [
      'of another algorithm',
      { 'x-hub-signature-256': `sha1=${createHmac('sha1', SECRET).update(BODY).digest('hex')}` },
    ],
    ['that is cut', { 'x-gitea-signature': hex().slice(0, 62) }],
    ['that goes on', { 'x-gitea-signature': `${hex()}00` }],
    ['that is none', { 'x-gitea-signature': 'x' }],
    ['of zeros', { 'x-gitea-signature': '0'.repeat(64) }],
    ['that stands there twice', { 'x-gitea-signature': [hex(), hex()] }],
    ['in two that are joined', { 'x-gitea-signature': `${hex()}, ${hex()}` }],
  ])('is wrong: one %s', (_, headers) => {
    expect(judge(headers)).toMatchObject({ valid: false, marks: [] })
  })

  test('of SHA-1 counts for nothing', () => {
    const sha1 = createHmac('sha1', SECRET).update(BODY).digest('hex')
    expect(judge({ 'x-hub-signature': `sha1=${sha1}` })).toMatchObject({ valid: false, form: 'none' })
  })

  test('is not there where Gitea sends its headers without a secret', () => {
    const headers = { 'x-gitea-signature': '', 'x-gogs-signature': '', 'x-hub-signature-256': 'sha256=' }
    expect(judge(headers)).toMatchObject({ valid: false, form: 'none' })
    expect(judge({ ...headers, authorization: `Bearer ${SECRET}` })).toMatchObject({
      valid: true,
      form: 'bearer',
    })
  })

  test('has the same mark in each spelling and under each name', () => {
    const marks = [
      judge({ 'x-gitea-signature': hex() }),
      judge({ 'x-gogs-signature': hex().toUpperCase() }),
      judge({ 'x-hub-signature-256': `sha256=${hex()}` }),
    ].map((verdict) => verdict.marks)
    expect(new Set(marks.flat()).size).toBe(1)
  })

  test('is of the text of a secret that begins with whsec_', () => {
    const secret = `whsec_${Buffer.from(SECRET).toString('base64')}`
    expect(judge({ 'x-gitea-signature': hex(secret) }, { secrets: [secret] }).valid).toBe(true)
  })
})

describe('a signature of Standard Webhooks', () => {
  // https://github.com/standard-webhooks/standard-webhooks, the vector of its libraries
  test('is right where the standard says so', () => {
    const headers = {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    }
    const given = {
      secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
      body: '{"test": 2432232314}',
      nowS: 1_614_265_330,
    }
    expect(judge(headers, given)).toEqual({
      valid: true,
      form: 'standard-webhooks',
      marks: ['id:msg_p5jXN8AQM9LWM0D4loKWxJek'],
    })
  })

  test('may be of a secret without whsec_, whose bytes then are the key', () => {
    expect(judge(standard()).valid).toBe(true)
  })

  test('may be one of several', () => {
    const { 'webhook-signature': signature, ...headers } = standard()
    const { 'webhook-signature': other } = standard({ key: Buffer.from('other') })
    const several = `v1a,abc ${other} ${signature}`
    expect(judge({ ...headers, 'webhook-signature': several }).valid).toBe(true)
  })

  test.each([-300, 300])('is right when the clocks differ by %d seconds', (off) => {
    expect(judge(standard({ timestamp: String(NOW_S + off) })).valid).toBe(true)
  })

  test.each([-301, 301])('is wrong when they differ by %d seconds', (off) => {
    expect(judge(standard({ timestamp: String(NOW_S + off) }))).toMatchObject({ valid: false, marks: [] })
  })

  test.each([
    ['of another secret', standard({ key: Buffer.from('other') })],
    ['of another body', standard({ body: 'other' })],
    ['of another identifier', { ...standard(), 'webhook-id': 'msg_2' }],
    ['of another time', { ...standard(), 'webhook-timestamp': String(NOW_S + 1) }],
    ['without an identifier', { ...standard({ id: '' }), 'webhook-id': '' }],
    ['with a dot in its identifier', standard({ id: 'msg.1' })],
    ['with a long identifier', standard({ id: 'x'.repeat(257) })],
    ['with a time that is none', standard({ timestamp: 'NaN' })],
    ['with a time that is no whole number', standard({ timestamp: `${NOW_S}.5` })],
    ['with a time of many digits', standard({ timestamp: '9'.repeat(400) })],
    ['with two identifiers', { ...standard(), 'webhook-id': ['msg_1', 'msg_1'] }],
    ['with two times', { ...standard(), 'webhook-timestamp': [String(NOW_S), String(NOW_S)] }],
    ['with two headers of signatures', { ...standard(), 'webhook-signature': ['v1,', 'v1,'] }],
    [
      'of another version',
      { ...standard(), 'webhook-signature': standard()['webhook-signature'].replace('v1', 'v2') },
    ],
    ['that is none', { ...standard(), 'webhook-signature': 'x' }],
    ['that is empty', { ...standard(), 'webhook-signature': '' }],
  ])('is wrong: one %s', (_, headers) => {
    expect(judge(headers)).toMatchObject({ valid: false, marks: [] })
  })

  test.each(['webhook-id', 'webhook-timestamp'] as const)('is wrong without %s', (name) => {
    const { [name]: _, ...headers } = standard()
    expect(judge(headers).valid).toBe(false)
  })

  test('is not there where only an identifier is', () => {
    expect(judge({ 'webhook-id': 'msg_1', 'x-gitlab-token': SECRET }).valid).toBe(true)
  })

  test('has the same mark at each attempt', () => {
    const later = standard({ timestamp: String(NOW_S + 60) })
    expect(judge(later).marks).toEqual(judge(standard()).marks)
  })
})

describe("GitLab's token", () => {
  test('is the secret', () => {
    expect(judge({ 'x-gitlab-token': SECRET })).toMatchObject({ valid: true, form: 'gitlab' })
  })

  test('may have characters beyond ASCII', () => {
    const token = Buffer.from('pässword').toString('latin1')
    expect(judge({ 'x-gitlab-token': token }, { secrets: ['pässword'] }).valid).toBe(true)
  })

  test.each([['other'], [''], [`${SECRET} `], [SECRET.slice(1)], [[SECRET, SECRET]]])(
    'is not %j',
    (token) => {
      expect(judge({ 'x-gitlab-token': token }).valid).toBe(false)
    },
  )

  const marks = (event: string | undefined, body = BODY): readonly string[] =>
    judge(
      { 'x-gitlab-token': SECRET, ...(event !== undefined && { 'x-gitlab-event-uuid': event }) },
      { body },
    ).marks

  test('has a mark of its event and body', () => {
    expect(marks('1')).toEqual(marks('1'))
    expect(new Set([...marks('1'), ...marks('2'), ...marks('1', 'other')]).size).toBe(3)
  })

  test('has none without an event, as by hand', () => {
    expect(marks(undefined)).toEqual([])
  })

  test('has a short one, however long the name of the event is', () => {
    expect(marks('x'.repeat(10_000))[0]?.length).toBeLessThan(100)
  })
})

describe('a bearer token', () => {
  test.each(['Bearer', 'bearer', 'BEARER '])('is the secret behind %j', (scheme) => {
    expect(judge({ authorization: `${scheme} s3cret` }, { secrets: ['s3cret'] })).toEqual({
      valid: true,
      form: 'bearer',
      marks: [],
    })
  })

  test('may have spaces in it', () => {
    expect(judge({ authorization: `Bearer ${SECRET}` }).valid).toBe(true)
  })

  test.each(['Bearer other', 'Bearer', 'Bearer ', 'Bearer s3cret x'])('is wrong: %j', (authorization) => {
    expect(judge({ authorization }, { secrets: ['s3cret'] })).toMatchObject({ valid: false, form: 'bearer' })
  })

  test('is wrong where it stands there twice', () => {
    expect(judge({ authorization: ['Bearer s3cret', 'Basic eDp5'] }, { secrets: ['s3cret'] }).valid).toBe(
      false,
    )
  })

  test('is not there where another scheme is', () => {
    expect(judge({ authorization: 'Basic eDp5' })).toMatchObject({ valid: false, form: 'none' })
    expect(judge({ authorization: 'Basic eDp5', 'x-gitea-signature': hex() }).valid).toBe(true)
  })
})

describe('proof', () => {
  test('is needed', () => {
    expect(judge({})).toEqual({ valid: false, form: 'none', marks: [] })
  })

  test('may be of each secret', () => {
    for (const secret of ['old', 'new'])
      expect(judge({ 'x-gitea-signature': hex(secret) }, { secrets: ['old', 'new'] }).valid).toBe(true)
  })

  const right: Record<string, Record<string, string>> = {
    github: { 'x-hub-signature-256': `sha256=${hex('s3cret')}` },
    gitea: { 'x-gitea-signature': hex('s3cret') },
    standard: standard({ key: Buffer.from('s3cret') }),
    gitlab: { 'x-gitlab-token': 's3cret' },
    bearer: { authorization: 'Bearer s3cret' },
  }
  const wrong: Record<string, Record<string, string>> = {
    github: { 'x-hub-signature-256': `sha256=${hex('other')}` },
    gitea: { 'x-gitea-signature': hex('other') },
    standard: standard({ key: Buffer.from('other') }),
    gitlab: { 'x-gitlab-token': 'other' },
    bearer: { authorization: 'Bearer other' },
  }
  const pairs = Object.keys(right).flatMap((one) =>
    Object.keys(wrong).flatMap((other) => (one === other ? [] : [[one, other] as const])),
  )

  test.each(pairs)('that is right (%s) does not outweigh one that is wrong (%s)', (one, other) => {
    expect(judge({ ...right[one], ...wrong[other] }, { secrets: ['s3cret'] }).valid).toBe(false)
  })

  test('of all forms at once is right, with the marks of all', () => {
    const verdict = judge(Object.assign({}, ...Object.values(right)), { secrets: ['s3cret'] })
    expect(verdict).toMatchObject({ valid: true, form: 'gitea' })
    expect(new Set(verdict.marks).size).toBe(2)
  })

  test('is never found in what somebody makes up', () => {
    const names = [
      'x-hub-signature-256',
      'x-gitea-signature',
      'webhook-id',
      'webhook-timestamp',
      'webhook-signature',
    ]
    const header = fc.constantFrom(...names, 'x-gitlab-token', 'authorization')
    const value = fc.oneof(
      fc.string(),
      fc.stringMatching(/^sha256=[0-9a-f]{64}$/),
      fc.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
      fc.stringMatching(/^Bearer \w+$/),
    )
    fc.assert(
      fc.property(fc.dictionary(header, fc.oneof(value, fc.array(value))), fc.string(), (headers, body) => {
        expect(judge(headers, { body })).toMatchObject({ valid: false, marks: [] })
      }),
    )
  })
})

describe('a secret', () => {
  test.each([[[]], [['']], [['a', '']]])('is refused where it is empty: %j', (secrets) => {
    expect(() => new SignatureVerifier(secrets)).toThrow('a secret must not be empty')
  })

  test.each(['whsec_', 'whsec_p@ss', 'whsec_a b'])(
    'is refused that promises base64 and has none: %j',
    (secret) => {
      expect(() => new SignatureVerifier([secret])).toThrow(
        /^a secret that begins with whsec_ must go on in base64/,
      )
      expect(() => new SignatureVerifier([secret])).not.toThrow(/p@ss|a b/)
    },
  )
})
