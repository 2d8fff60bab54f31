import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { formatAddress } from '@outrider/core'
import type { Fixture, StartedContainer } from '@outrider/core/testing'
import { startContainer } from '@outrider/core/testing'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../support/program.ts'
import { containerPackages, inRoot } from '../support/workspace.ts'

let browser: Browser

beforeAll(async () => {
  const executablePath = execFileSync('bash', ['-c', 'command -v chromium || command -v google-chrome'], {
    encoding: 'utf8',
  }).trim()
  const quiet = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
  ]
  browser = await chromium.launch({
    executablePath,
    args: [...quiet, '--disable-component-update', '--disable-sync'],
  })
  mkdirSync(inRoot('build/pages'), { recursive: true })
})
afterAll(() => browser.close())

for (const { container, makeFixture } of await containerPackages()) {
  describe(`page of ${container.name}`, () => {
    let fixture: Fixture
    let started: StartedContainer
    let page: Page
    const complaints: string[] = []

    beforeEach(async () => {
      fixture = await makeFixture()
      started = await startContainer(container, fixture.env)
      await until('ready', async () => (await started.ask('/readyz')).status === 200)
      page = await browser.newPage()
      complaints.length = 0
      page.on('console', (message) => complaints.push(message.text()))
      page.on('pageerror', (error) => complaints.push(error.message))
      page.on('request', (request) => {
        if (new URL(request.url()).host !== formatAddress(started.admin))
          complaints.push(`asked ${request.url()}`)
      })
      await page.goto(`http://${formatAddress(started.admin)}/`)
    })
    afterEach(async () => {
      await page.close()
      await started[Symbol.asyncDispose]()
      await fixture[Symbol.asyncDispose]()
    })

    it('shows that it is ready, each address and each parameter', async () => {
      expect(await page.title()).toBe(`${container.name} - ready`)
      const text = await page.innerText('body')
      for (const { name } of container.params) expect(text).toContain(name)
      for (const at of Object.values(started.addresses)) expect(text).toContain(formatAddress(at))
      await page.screenshot({ path: inRoot(`build/pages/${container.name}.png`), fullPage: true })
    })

    it('stands alone: nothing from elsewhere, no script, no complaint in the console', async () => {
      expect(await page.locator('script').count()).toBe(0)
      // The browser asks for an icon by itself.
      expect(complaints.filter((complaint) => !complaint.includes('404'))).toEqual([])
    })

    it('each of its links answers', async () => {
      for (const link of await page.locator('nav a').all()) {
        const href = await link.getAttribute('href')
        const response = await page.request.get(new URL(href ?? '', page.url()).href)
        expect(response.status()).toBe(200)
      }
    })

    it('fits a phone without scrolling sideways', async () => {
      await page.setViewportSize({ width: 360, height: 740 })
      const overflow = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      )
      expect(overflow).toBe(0)
    })

    it.each(Object.keys(container.pages))('%s stands alone and fits a phone, too', async (path) => {
      await page.goto(new URL(`${path}?refresh=0`, page.url()).href)
      expect(await page.locator('script').count()).toBe(0)
      await page.screenshot({
        path: inRoot(`build/pages/${container.name}${path.replace('/', '-')}.png`),
        fullPage: true,
      })
      await page.setViewportSize({ width: 360, height: 740 })
      const overflow = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      )
      expect(overflow).toBe(0)
      expect(complaints.filter((complaint) => !complaint.includes('404'))).toEqual([])
    })

    it('says that it drains', async () => {
      const drained = started.drain()
      await page.reload()
      expect(await page.title()).toBe(`${container.name} - not ready`)
      expect(await page.innerText('body')).toContain('draining')
      await drained
    })
  })
}
