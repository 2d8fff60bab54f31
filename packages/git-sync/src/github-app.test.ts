import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createGitHubApp, type GitHubAppOptions, gitHubAppFaults, isOfGitHub } from './github-app.ts'
import { serve } from './test-support.ts'

const pem = (type: 'pkcs1' | 'pkcs8') =>
  generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type, format: 'pem' },
  }).privateKey
const privateKey = pem('pkcs1')
const noon = Date.UTC(2026, 0, 1, 12)
const hour = 3_600_000

interface Reply {
  readonly status: number
  readonly body: unknown
}

/** GitHub, with the requests that it has seen. */
async function github(reply: (count: number, request: IncomingMessage) => Reply) {
  const requests: IncomingMessage[] = []
  const { url } = await serve((request, response) => {
    requests.push(request)
    const { status, body } = reply(requests.length, request)
    response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  return { baseUrl: url.href, requests }
}

const until = (ms: number) => new Date(ms).toISOString()
const gives = (count: number): Reply => ({
  status: 201,
  body: { token: `ghs_${count}`, expires_at: until(noon + hour) },
})
const options: Omit<GitHubAppOptions, 'baseUrl'> = {
  issuer: 'Iv1.abc',
  installationId: 42,
  privateKey: { text: privateKey },
  now: () => noon,
}

function verified(request: IncomingMessage | undefined, key: string): unknown {
  const [, head = '', claims = '', signature = ''] =
    /^Bearer ([^.]+)\.([^.]+)\.([^.]+)$/.exec(request?.headers.authorization ?? '') ?? []
  const isOurs = verify(
    'sha256',
    Buffer.from(`${head}.${claims}`),
    createPublicKey(key),
    Buffer.from(signature, 'base64url'),
  )
  expect(isOurs).toBe(true)
  return [head, claims].map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
}

test('an installation is given a token for a signed word that GitHub accepts', async () => {
  const { baseUrl, requests } = await github(gives)
  expect(await createGitHubApp({ ...options, baseUrl }).login()).toEqual({
    username: 'x-access-token',
    password: 'ghs_1',
  })
  const [request] = requests
  expect([request?.method, request?.url]).toEqual(['POST', '/app/installations/42/access_tokens'])
  expect(request?.headers).toMatchObject({
    accept: 'application/vnd.github+json',
    'content-length': '0',
    'user-agent': 'git-sync',
  })
  const second = noon / 1000
  expect(verified(request, privateKey)).toEqual([
    { alg: 'RS256', typ: 'JWT' },
    { iat: second - 60, exp: second + 540, iss: 'Iv1.abc' },
  ])
})

test.each(['api/v3', 'api/v3/'])('the base URL of GitHub Enterprise may be %s', async (path) => {
  const { baseUrl, requests } = await github(gives)
  await createGitHubApp({ ...options, baseUrl: baseUrl + path }).login()
  expect(requests[0]?.url).toBe('/api/v3/app/installations/42/access_tokens')
})

describe('a token', () => {
  test('serves until 30 seconds before its end', async () => {
    const { baseUrl, requests } = await github(gives)
    let now = noon
    const app = createGitHubApp({ ...options, baseUrl, now: () => now })
    await app.login()
    now = noon + hour - 30_001
    expect(await app.login()).toMatchObject({ password: 'ghs_1' })
    now = noon + hour - 30_000
    expect(await app.login()).toMatchObject({ password: 'ghs_2' })
    expect(requests).toHaveLength(2)
  })

  test('is asked for once, however many need it', async () => {
    const { baseUrl, requests } = await github(gives)
    const app = createGitHubApp({ ...options, baseUrl })
    const logins = await Promise.all([app.login(), app.login(), app.login()])
    expect(logins.map(({ password }) => password)).toEqual(['ghs_1', 'ghs_1', 'ghs_1'])
    expect(requests).toHaveLength(1)
  })

  test('is asked for again after an error, and both are reported', async () => {
    const { baseUrl } = await github((count) => (count === 1 ? { status: 502, body: '' } : gives(count)))
    const outcomes: string[] = []
    const app = createGitHubApp({ ...options, baseUrl, onRefresh: (outcome) => outcomes.push(outcome) })
    await expect(app.login()).rejects.toThrow('answered with status 502')
    expect(await app.login()).toMatchObject({ password: 'ghs_2' })
    await app.login()
    expect(outcomes).toEqual(['error', 'success'])
  })
})

describe('a private key', () => {
  function fileOf(content: string): string {
    const path = mkdtempSync(join(tmpdir(), 'github-app-'))
    onTestFinished(() => rmSync(path, { recursive: true }))
    writeFileSync(join(path, 'key.pem'), content)
    return join(path, 'key.pem')
  }

  test('in a file may change', async () => {
    const { baseUrl, requests } = await github(() => ({
      status: 201,
      body: { token: 'ghs', expires_at: until(noon) },
    }))
    const file = fileOf(privateKey)
    const app = createGitHubApp({ ...options, baseUrl, privateKey: { file } })
    await app.login()
    const other = pem('pkcs8')
    writeFileSync(file, other)
    await app.login()
    verified(requests[0], privateKey)
    verified(requests[1], other)
  })

  test('that cannot be read is named by its file', async () => {
    const app = createGitHubApp({
      ...options,
      baseUrl: 'http://127.0.0.1:1',
      privateKey: { file: '/nowhere/key' },
    })
    await expect(app.login()).rejects.toThrow('/nowhere/key cannot be read: ENOENT')
  })

  const elliptic = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).privateKey
  const locked = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
  }).privateKey
  test.each([
    ['no key', 'hunter2'.repeat(9), 'it is none, or is encrypted'],
    ['half of a key', privateKey.slice(0, 500), 'it is none, or is encrypted'],
    ['a key with a passphrase', locked, 'it is none, or is encrypted'],
    ['a key of another kind', elliptic, 'it is of the kind ec'],
  ])('must be one: %s is refused and not shown', async (_, text, why) => {
    const app = createGitHubApp({ ...options, baseUrl: 'http://127.0.0.1:1', privateKey: { text } })
    const error = await app.login().catch((error: Error) => error)
    expect(error).toMatchObject({ message: expect.stringContaining(`without a passphrase: ${why}`) })
    expect(String(error)).not.toContain(text.slice(-20, -10))
  })
})

describe('an error', () => {
  test.each([
    [401, { message: 'Bad credentials' }, '401: "Bad credentials"; check the id of the app'],
    [404, { message: 'Not Found' }, '404: "Not Found"; check the id of the installation'],
    [301, { message: 'Moved' }, '301: "Moved"$'],
    [200, { token: 'ghs', expires_at: until(noon + hour) }, '200$'],
    [500, 'no JSON', '500$'],
    [500, 'null', '500$'],
    [500, { message: { secret: 1 } }, '500$'],
    [500, { message: `a\r\nb\u009b${'x'.repeat(500)}` }, '500: "a\\\\r\\\\nb\\?x{195}"$'],
    [201, { expires_at: until(noon + hour) }, '201 without a token'],
    [201, { token: 'ghs' }, '201 without a token'],
    [201, { token: 'ghs\nhost=evil', expires_at: until(noon + hour) }, '201 without a token'],
    [201, { token: 'ghs', expires_at: 'tomorrow' }, '201 without a token'],
    [201, { token: 7, expires_at: until(noon + hour) }, '201 without a token'],
  ])('has the status %d and what GitHub says of it', async (status, body, why) => {
    const { baseUrl } = await github(() => ({ status, body }))
    const error = await createGitHubApp({ ...options, baseUrl })
      .login()
      .catch(String)
    expect(error).toMatch(new RegExp(`^Error: GitHub at http://127.0.0.1:\\d+ .*status ${why}`))
  })

  test('has no token, also where the server repeats it', async () => {
    const { baseUrl } = await github((_, { headers }) => ({
      status: 400,
      body: { message: `What is ${headers.authorization}?` },
    }))
    await expect(createGitHubApp({ ...options, baseUrl }).login()).rejects.toThrow('"What is Bearer ***?"')
  })

  test('names GitHub where it is not there', async () => {
    const app = createGitHubApp({ ...options, baseUrl: 'http://127.0.0.1:1/api/v3' })
    await expect(app.login()).rejects.toThrow(
      'GitHub at http://127.0.0.1:1 cannot be reached: connect ECONNREFUSED',
    )
  })
})

test('GitHub is reached through a proxy', async () => {
  const { baseUrl: proxy, requests } = await github(gives)
  const proxies = { HTTP_PROXY: proxy, NO_PROXY: 'other.test' }
  await createGitHubApp({ ...options, baseUrl: 'http://github.test/', proxies }).login()
  expect(requests[0]?.url).toBe('http://github.test/app/installations/42/access_tokens')
})

describe('what is said of an app', () => {
  const whole = { clientId: 'Iv1.abc', installationId: 42, privateKeyFile: '/key' }
  test.each([
    [{ installationId: 42, privateKey: 'hunter2' }, ['no id']],
    [{ ...whole, applicationId: 7 }, ['both a client id and an application id']],
    [{ ...whole, installationId: 0 }, ['no installation id']],
    [{ applicationId: 7 }, ['no installation id', 'no private key']],
    [{ ...whole, privateKey: 'hunter2' }, ['both a private key and a file with one']],
    [{ ...whole, username: 'me' }, ['a username are both given']],
  ])('%j is not enough, or contradicts itself', (setup, faults) => {
    const texts = [...gitHubAppFaults(setup)]
    expect(texts).toEqual(faults.map((fault) => expect.stringContaining(fault)))
    expect(texts.join()).not.toContain('hunter2')
  })

  test.each([{}, { applicationId: 0, installationId: 0, username: 'me' }, whole])(
    '%j is in order',
    (setup) => {
      expect([...gitHubAppFaults(setup)]).toEqual([])
    },
  )
})

test.each([
  ['https://github.com/a/b', 'https://api.github.com/', true],
  ['https://GitHub.com:443/a/b', 'https://api.github.com/', true],
  ['https://ghe.example/a/b', 'https://ghe.example/api/v3/', true],
  ['https://gitlab.com/a/b', 'https://api.github.com/', false],
  ['https://evil-github.com/a/b', 'https://api.github.com/', false],
  ['https://github.com.evil/a/b', 'https://api.github.com/', false],
  ['ssh://git@github.com/a/b', 'https://api.github.com/', false],
  ['git@github.com:a/b', 'https://api.github.com/', false],
  ['/local', 'https://api.github.com/', false],
])('whether tokens are for %s where the API is %s: %s', (repo, baseUrl, expected) => {
  expect(isOfGitHub(repo, new URL(baseUrl))).toBe(expected)
})
