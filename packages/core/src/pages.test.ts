import { describe, expect, it } from 'vitest'
import { type Context, defineContainer, type Params } from './container.ts'
import { escapeHtml } from './html.ts'
import { address, secret } from './kinds.ts'
import type { MetricSpecs } from './metrics.ts'
import { startContainer } from './testing.ts'

type Serve = (context: Context<Params, MetricSpecs, '/status' | '/raw'>) => void

/** A container whose pages are what the test says. */
const box = (serve: Serve) =>
  defineContainer({
    name: 'test-box',
    pattern: 'sidecar',
    summary: 'Does what a test wants.',
    contract: [],
    admin: 9999,
    params: {
      listen: address('Where to listen.', { default: '127.0.0.1:0' }),
      password: secret('The password.', { optional: true }),
    },
    metrics: {},
    pages: {
      '/status': { title: 'Shards & more', help: 'Each shard with its state.' },
      '/raw': { title: 'Raw', help: 'All of it.' },
    },
    start: async (context) => {
      serve(context as unknown as Parameters<Serve>[0])
      return { async [Symbol.asyncDispose]() {} }
    },
  })

const status = { shards: [{ name: 'a', up: true, reason: '<none>' }], requests: 12n }

const plain = box(({ page }) => {
  page(
    '/status',
    async () => status,
    ({ shards }) => [{ title: 'Shards', head: ['Name', 'Why'], rows: shards.map((s) => [s.name, s.reason]) }],
  )
  page('/raw', () => status)
})

const browser = { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } }
const json = { shards: [{ name: 'a', up: true, reason: '<none>' }], requests: 12 }

describe('a page of a container', () => {
  it('is JSON for programs, as its data are', async () => {
    await using started = await startContainer(plain)
    const response = await started.ask('/status')
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await response.json()).toEqual(json)
  })

  it('is HTML for browsers', async () => {
    await using started = await startContainer(plain)
    const response = await started.ask('/status', browser)
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const html = await response.text()
    expect(html).toContain('<title>Shards &#38; more - test-box</title>')
    expect(html).toContain('<p>Each shard with its state. ')
    expect(html).toContain('<tr><td>a</td><td>&#60;none&#62;</td></tr>')
  })

  it('without a view for people shows them its data', async () => {
    await using started = await startContainer(plain)
    const html = await (await started.ask('/raw', browser)).text()
    expect(html).toContain(escapeHtml(JSON.stringify(json, null, 2)))
  })

  it.each([
    ['/status?format=html', {}, 'text/html; charset=utf-8'],
    ['/?format=html', {}, 'text/html; charset=utf-8'],
    ['/status?format=json', browser, 'application/json; charset=utf-8'],
    ['/?format=json', browser, 'application/json; charset=utf-8'],
  ])('%s says the format, whatever Accept says', async (path, init, type) => {
    await using started = await startContainer(plain)
    expect((await started.ask(path, init)).headers.get('content-type')).toBe(type)
  })

  it.each(['/status?format=xml', '/?format=', '/status?format=json&format=html'])(
    '%s is 400',
    async (path) => {
      await using started = await startContainer(plain)
      const response = await started.ask(path)
      expect([response.status, await response.json()]).toEqual([
        400,
        { error: 'format must be html or json' },
      ])
    },
  )

  it('is linked by the overview, its page and the other pages', async () => {
    await using started = await startContainer(plain)
    const { links } = (await (await started.ask('/')).json()) as { links: string[] }
    expect(links).toEqual(['/status', '/raw', '/healthz', '/readyz', '/metrics', '/params'])
    for (const path of ['/', '/status', '/raw']) {
      const html = await (await started.ask(path, browser)).text()
      for (const link of links) expect(html).toContain(`<a href="${link.slice(1)}">${link}</a>`)
    }
    expect(await (await started.ask('/raw', browser)).text()).toContain('<a href="./">test-box</a>')
  })

  it.each([
    ['/status', '5'],
    ['/status?refresh=30', '30'],
    ['/status?refresh=often', '5'],
    ['/status?refresh=0', undefined],
    ['/', undefined],
  ])('%s is loaded again every %s s, without a script', async (path, seconds) => {
    await using started = await startContainer(plain)
    const html = await (await started.ask(path, browser)).text()
    expect(/<meta http-equiv="refresh" content="(\d+)">/.exec(html)?.[1]).toBe(seconds)
    expect(html).not.toMatch(/<script|src=|@import|url\(|https?:/)
  })

  it('answers GET and HEAD only, with the headers of every answer', async () => {
    await using started = await startContainer(plain)
    const head = await started.ask('/status', { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
    expect(head.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(head.headers.get('cache-control')).toBe('no-store')
    const post = await started.ask('/status', { method: 'POST' })
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  })

  it('shows no secret, wherever one stands', async () => {
    const leaky = box(({ page }) => {
      const data = () => ({ deep: [{ 'hunter2 is a key': new Error('hunter2 was refused') }] })
      page('/status', data, () => [
        { title: 'hunter2', note: 'hunter2', head: ['hunter2'], rows: [['hunter2'], [{ code: 'hunter2' }]] },
      ])
      page('/raw', data)
    })
    await using started = await startContainer(leaky, { TEST_BOX_PASSWORD: 'hunter2' })
    for (const path of ['/status', '/raw']) {
      for (const init of [browser, {}]) {
        const text = await (await started.ask(path, init)).text()
        expect(text).toContain('[redacted]')
        expect(text).not.toContain('hunter2')
      }
    }
  })

  it('that is not served yet is 503, and linked by nobody', async () => {
    await using started = await startContainer(box(() => undefined))
    const response = await started.ask('/status')
    expect([response.status, await response.json()]).toEqual([503, { error: '/status is not there yet' }])
    expect(await (await started.ask('/')).text()).not.toContain('/status')
  })

  it('that fails is 500, says nothing of why, and is in the log', async () => {
    const broken = box(({ page }) => {
      page('/status', () => Promise.reject(new Error('a defect')))
      page(
        '/raw',
        () => 1,
        () => {
          throw new Error('a defect')
        },
      )
    })
    await using started = await startContainer(broken)
    for (const path of ['/status', '/raw']) {
      const response = await started.ask(path, browser)
      expect([response.status, await response.json()]).toEqual([500, { error: 'internal error' }])
      expect(started.events.at(-1)).toMatchObject({ msg: 'the admin API failed', path, error: 'a defect' })
    }
  })

  it('is served once', async () => {
    const twice = box(({ page }) => {
      for (const data of [1, 2]) page('/raw', () => data)
    })
    await expect(startContainer(twice)).rejects.toThrow('page "/raw" is served already')
  })
})
