import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Cell, defineContainer, formatAddress } from '@outrider/core'
import { type StartedContainer, startContainer } from '@outrider/core/testing'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { inRoot } from '../support/workspace.ts'

/** Every kind of cell, with text that would do harm if it were HTML, and more columns than a phone is wide. */
const rows = (asked: number): Cell[][] => [
  [
    { code: 'redis-0.redis.default.svc.cluster.local:6379' },
    { state: 'ok', text: 'up' },
    asked,
    0.214,
    { bar: 1 / 3 },
  ],
  [
    { code: '<img src=x onerror=alert(1)>' },
    { state: 'bad', text: 'down', why: '<script>alert(1)</script> ECONNREFUSED' },
    1_234_567,
    12.5,
    { bar: 0.667 },
  ],
  [{ code: '/run/redis.sock' }, { state: 'warn', text: 'ejected' }, 0, 0, { bar: 0 }],
]

const container = defineContainer({
  name: 'test-box',
  pattern: 'ambassador',
  summary: 'Shows every kind of cell.',
  contract: [],
  admin: 9999,
  params: {},
  metrics: {},
  pages: { '/status': { title: 'Shards', help: 'Each shard with its state, load and share of the keys.' } },
  async start({ page }) {
    let asked = 0
    page(
      '/status',
      () => ({ asked: ++asked }),
      (data) => [
        {
          title: 'Pool',
          rows: [
            ['Distribution', 'ketama'],
            ['Source', { code: '/topology/pools.yml' }],
          ],
        },
        {
          title: 'Shards',
          note: 'As long as all are there.',
          head: ['Shard', 'State', 'Requests', 'p99 ms', 'Share'],
          rows: rows(data.asked),
        },
      ],
    )
    return { async [Symbol.asyncDispose]() {} }
  },
})

let browser: Browser

beforeAll(async () => {
  const executablePath = execFileSync('bash', ['-c', 'command -v chromium || command -v google-chrome'], {
    encoding: 'utf8',
  }).trim()
  browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
  })
  mkdirSync(inRoot('build/pages'), { recursive: true })
})
afterAll(() => browser.close())

describe('a page of a container', () => {
  let started: StartedContainer
  let proxy: Server
  let page: Page
  let origin: string
  const complaints: string[] = []

  beforeEach(async () => {
    started = await startContainer(container)
    origin = `http://${formatAddress(started.admin)}`
    proxy = behindPrefix(origin)
    await once(proxy, 'listening')
    page = await browser.newPage()
    complaints.length = 0
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('dialog', (dialog) => {
      complaints.push(dialog.message())
      void dialog.dismiss()
    })
  })
  afterEach(async () => {
    await page.close()
    proxy.closeAllConnections()
    proxy.close()
    await started[Symbol.asyncDispose]()
  })

  const requests = () => page.locator('tbody').nth(1).locator('td.number').first().innerText()

  it('is reached from the overview and leads back, behind a path of a proxy', async () => {
    const { port } = proxy.address() as AddressInfo
    const base = `http://127.0.0.1:${port}/pods/a/`
    await page.goto(base)
    await page.click('text=/status')
    expect(page.url()).toBe(`${base}status`)
    expect(await page.title()).toBe('Shards - test-box')
    for (const link of await page.locator('nav a').all()) {
      const href = await link.getAttribute('href')
      const response = await page.request.get(new URL(href ?? '', page.url()).href)
      expect(response.status()).toBe(200)
    }
    await page.click('text=test-box')
    expect(page.url()).toBe(base)
    expect(await page.title()).toBe('test-box - ready')
  })

  it('shows what a container gives it as text alone, in its columns', async () => {
    await page.goto(`${origin}/status?refresh=0`)
    const text = await page.innerText('body')
    expect(text).toContain('<img src=x onerror=alert(1)>')
    expect(text).toContain('down <script>alert(1)</script> ECONNREFUSED')
    expect(text).toContain('1,234,567')
    expect(text).toContain('33.3%')
    expect(await page.locator('script, img').count()).toBe(0)
    expect(await page.locator('meter').count()).toBe(3)
    // The browser asks for an icon by itself.
    expect(complaints.filter((complaint) => !complaint.includes('404'))).toEqual([])
  })

  it('is loaded again by itself, until it is told to stop', async () => {
    await page.goto(`${origin}/status?refresh=1`)
    await expect.poll(requests, { timeout: 30_000 }).toBe('3')
    await page.click('text=stop that')
    expect(page.url()).toBe(`${origin}/status?refresh=0`)
    const held = await requests()
    await page.waitForTimeout(3_000)
    expect(await requests()).toBe(held)
    await page.click('text=keep it up to date')
    expect(await page.locator('meta[http-equiv=refresh]').getAttribute('content')).toBe('5')
  })

  it('fits a phone: what is wide scrolls by itself', async () => {
    await page.setViewportSize({ width: 360, height: 740 })
    await page.goto(`${origin}/status?refresh=0`)
    const overflow = await page.evaluate(
      'document.documentElement.scrollWidth - document.documentElement.clientWidth',
    )
    expect(overflow).toBe(0)
    await page.screenshot({ path: inRoot('build/pages/own-page-phone.png'), fullPage: true })
  })

  it.each(['light', 'dark'] as const)('is legible in %s', async (colorScheme) => {
    await page.emulateMedia({ colorScheme })
    await page.goto(`${origin}/status?refresh=0`)
    for (const state of ['ok', 'warn', 'bad']) {
      const contrast = (await page.evaluate(contrastOf(`.state.${state}`))) as number
      // WCAG 2.1, 1.4.3.
      expect(contrast).toBeGreaterThan(4.5)
    }
    await page.screenshot({ path: inRoot(`build/pages/own-page-${colorScheme}.png`), fullPage: true })
  })
})

/** A proxy that serves the admin API below /pods/a/. */
const behindPrefix = (origin: string): Server =>
  createServer((incoming, response) => {
    const path = /^\/pods\/a(\/.*)$/.exec(incoming.url ?? '')?.[1]
    if (path === undefined) {
      response.writeHead(404).end()
      return
    }
    const { accept = '*/*' } = incoming.headers
    request(origin + path, { headers: { accept } }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    }).end()
  }).listen(0, '127.0.0.1')

/** An expression that gives the contrast between the text of an element and the page (WCAG 2.1, relative luminance). */
const contrastOf = (selector: string): string => `(() => {
  const paint = (color) => {
    const canvas = document.createElement('canvas').getContext('2d')
    canvas.fillStyle = color
    canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
  }
  const luminance = (color) => {
    const [r, g, b] = paint(color).map((byte) => {
      const part = byte / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const text = luminance(getComputedStyle(document.querySelector('${selector}')).color)
  const canvas = matchMedia('(prefers-color-scheme: dark)').matches ? '#121212' : '#ffffff'
  const page = luminance(canvas)
  return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05)
})()`
