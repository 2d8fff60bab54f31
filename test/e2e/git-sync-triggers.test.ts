import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { GitHttpServer, TestRepository } from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { makeVolume, Origin, SyncContainer, type Volume } from '../support/git-sync.ts'
import { until } from '../support/program.ts'

const secret = 'a-trigger-secret'
let origin: Origin
let server: GitHttpServer
let site: TestRepository
let volume: Volume
let sync: SyncContainer
let url: string
let version = 0

beforeAll(async () => {
  origin = await Origin.make()
  server = await origin.serve()
  site = await origin.repository('site.git')
  const hash = await site.commit({ version: '0' })
  volume = await makeVolume()
  sync = new SyncContainer({
    volume,
    env: {
      GITSYNC_REPO: server.urlOf('site.git'),
      // Nothing but a trigger has it sync.
      GITSYNC_PERIOD: '500h',
      GITSYNC_TRIGGER_BIND: '127.0.0.1:0',
      GITSYNC_TRIGGER_SECRET: `an-older-secret\n${secret}`,
    },
  })
  const { trigger } = await sync.addresses()
  if (trigger === undefined || 'path' in trigger) throw new Error('no trigger')
  url = `http://127.0.0.1:${trigger.port}`
  await sync.published(hash)
})
afterAll(async () => {
  await sync[Symbol.asyncDispose]()
  await volume[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

type Headers = Readonly<Record<string, string>>

async function post(
  headers: Headers,
  body: string,
  path = '/sync',
): Promise<{ status: number; text: string }> {
  const response = await fetch(url + path, { method: 'POST', headers, body })
  return { status: response.status, text: await response.text() }
}

const hex = (body: string, key = secret): string => createHmac('sha256', key).update(body).digest('hex')

/** What forges send of a push, with the headers that they sign it by. */
const forges: Readonly<Record<string, (body: string) => Headers>> = {
  GitHub: (body) => ({
    'user-agent': 'GitHub-Hookshot/0a1b2c3',
    'content-type': 'application/json',
    'x-github-event': 'push',
    'x-github-delivery': crypto.randomUUID(),
    'x-github-hook-id': '292430182',
    'x-github-hook-installation-target-type': 'repository',
    'x-hub-signature': `sha1=${createHmac('sha1', secret).update(body).digest('hex')}`,
    'x-hub-signature-256': `sha256=${hex(body)}`,
  }),
  'GitHub, as a form': (body) => ({
    'content-type': 'application/x-www-form-urlencoded',
    'x-github-event': 'push',
    'x-github-delivery': crypto.randomUUID(),
    'x-hub-signature-256': `sha256=${hex(body)}`,
  }),
  'GitLab with a token': () => ({
    'user-agent': 'GitLab/18.0.0',
    'content-type': 'application/json',
    'idempotency-key': crypto.randomUUID(),
    'x-gitlab-event': 'Push Hook',
    'x-gitlab-webhook-uuid': crypto.randomUUID(),
    'x-gitlab-instance': 'https://gitlab.test',
    'x-gitlab-event-uuid': crypto.randomUUID(),
    'x-gitlab-token': secret,
  }),
  'GitLab with a signature': (body) => standard(body),
  Gitea: (body) => ({
    'content-type': 'application/json',
    'x-gitea-delivery': crypto.randomUUID(),
    'x-gitea-event': 'push',
    'x-gitea-event-type': 'push',
    'x-gitea-signature': hex(body),
    'x-gogs-delivery': crypto.randomUUID(),
    'x-gogs-event': 'push',
    'x-gogs-signature': hex(body),
    'x-hub-signature': `sha1=${createHmac('sha1', secret).update(body).digest('hex')}`,
    'x-hub-signature-256': `sha256=${hex(body)}`,
    'x-github-delivery': crypto.randomUUID(),
    'x-github-event': 'push',
  }),
}

/** Standard Webhooks, as GitLab's signing tokens have them. */
function standard(body: string, seconds = Math.floor(Date.now() / 1000)): Headers {
  const id = crypto.randomUUID()
  const signature = createHmac('sha256', secret).update(`${id}.${seconds}.${body}`).digest('base64')
  return {
    'content-type': 'application/json',
    'x-gitlab-event': 'Push Hook',
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': `v1,${signature}`,
  }
}

/** A body as forges make one of a push: no two are the same. */
const pushOf = (hash: string): string =>
  JSON.stringify({
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: hash,
    repository: { full_name: 'somebody/site', clone_url: server.urlOf('site.git') },
    commits: [{ id: hash, message: 'Änderung "1"', added: ['version'] }],
  })

const outcomes = (outcome: string): Promise<number> => sync.metric('triggers_total', { outcome })
const syncs = (): Promise<number> => sync.metric('syncs_total')

it.each(Object.entries(forges))(
  'a push that %s tells of is published at once, and told again it is not',
  async (_, sign) => {
    const hash = await site.commit({ version: `${++version}` })
    const body = pushOf(hash)
    const headers = sign(body)
    expect(await post(headers, body)).toEqual({ status: 202, text: '{"status":"syncing"}\n' })
    await sync.published(hash)
    const [before, repeated] = [await syncs(), await outcomes('replayed')]
    const again = await post(headers, body)
    expect(again).toEqual({ status: 200, text: '{"status":"already received"}\n' })
    expect(await outcomes('replayed')).toBe(repeated + 1)
    expect(await syncs()).toBe(before)
  },
)

it('a request with the bearer token syncs each time', async () => {
  const hash = await site.commit({ version: `${++version}` })
  const authorization = { authorization: `Bearer ${secret}` }
  expect((await post(authorization, '')).status).toBe(202)
  await sync.published(hash)
  const before = await syncs()
  expect((await post(authorization, '', '/sync/default')).status).toBe(202)
  await until('another sync', async () => (await syncs()) === before + 1)
})

it('what is forged, old, unsigned or of another kind is refused, and nothing syncs', async () => {
  const hash = await site.commit({ version: `${++version}` })
  const body = pushOf(hash)
  const now = Math.floor(Date.now() / 1000)
  const gitlab = forges['GitLab with a token']?.(body) ?? {}
  const refused: readonly Headers[] = [
    {},
    { 'x-hub-signature-256': `sha256=${hex(body, 'guessed')}` },
    { 'x-hub-signature-256': `sha256=${hex(`${body} `)}` },
    { 'x-hub-signature-256': 'sha256=' },
    { 'x-hub-signature': `sha1=${createHmac('sha1', secret).update(body).digest('hex')}` },
    { 'x-gitea-signature': hex(body, '') },
    { 'x-gitea-signature': hex(body), 'x-hub-signature-256': `sha256=${hex(body, 'guessed')}` },
    { ...gitlab, 'x-gitlab-token': 'guessed' },
    { ...gitlab, 'x-gitlab-token': '' },
    standard(body, now - 301),
    standard(body, now + 301),
    { ...standard(body), 'webhook-timestamp': String(now - 10) },
    { ...standard(body), 'webhook-id': 'another' },
    { authorization: 'Bearer guessed' },
    { authorization: `Basic ${btoa(`user:${secret}`)}` },
  ]
  const [before, unauthorized] = [await syncs(), await outcomes('unauthorized')]
  for (const headers of refused) expect([headers, (await post(headers, body)).status]).toEqual([headers, 401])
  expect(await outcomes('unauthorized')).toBe(unauthorized + refused.length)
  const signed = { 'x-hub-signature-256': `sha256=${hex(body)}` }
  expect((await post(signed, body, '/sync/another')).status).toBe(404)
  expect((await post({ ...signed, origin: 'https://page.test' }, body)).status).toBe(403)
  expect((await post(signed, 'x'.repeat(6 * 2 ** 20))).status).toBe(413)
  expect((await fetch(`${url}/sync`)).status).toBe(405)
  const ping = { ...signed, 'x-github-event': 'ping' }
  expect(await post(ping, body)).toEqual({ status: 200, text: '{"status":"ready"}\n' })
  expect(await syncs()).toBe(before)
  expect(sync.stdout).not.toContain(hash)
  expect(sync.stdout).not.toContain(secret)
  // The signature was not used up by any of them.
  expect((await post(signed, body)).status).toBe(202)
  await sync.published(hash)
})

it('what comes while it syncs is merged into one more sync', async () => {
  const before = await syncs()
  const authorization = { authorization: `Bearer ${secret}` }
  server.fault = { kind: 'slow', on: ['refs'], bytes: 10_000, everyMs: 700 }
  const statuses = new Set<number>()
  for (let left = 6; left > 0; left -= 1) {
    const some = await Promise.all(Array.from({ length: 50 }, () => post(authorization, '')))
    for (const { status } of some) statuses.add(status)
  }
  expect(statuses).toEqual(new Set([202]))
  server.fault = undefined
  const hash = await site.commit({ version: `${++version}` })
  expect((await post(authorization, '')).status).toBe(202)
  await sync.published(hash)
  expect((await syncs()) - before).toBeLessThan(10)
})
