import { describe, expect, it } from 'vitest'
import type { Overview } from './admin.ts'
import { adminPage } from './admin-page.ts'
import { escapeHtml } from './html.ts'

const hostile = `<script>alert("1")</script>'&amp;`

const overview: Overview = {
  container: 'test-box',
  pattern: 'sidecar',
  summary: 'Does nothing.',
  version: '1.2.3',
  readiness: { ready: true, gates: {}, notices: {} },
  addresses: {},
  params: {},
  links: ['/healthz', '/params'],
}

describe('the page', () => {
  it.each<readonly [string, Partial<Overview>]>([
    ['the container', { container: hostile }],
    ['the pattern', { pattern: hostile }],
    ['the summary', { summary: hostile }],
    ['the version', { version: hostile }],
    ['the name of a gate', { readiness: { ready: true, gates: { [hostile]: { open: true } }, notices: {} } }],
    [
      'the reason of a gate',
      { readiness: { ready: false, gates: { a: { open: false, reason: hostile } }, notices: {} } },
    ],
    ['the name of a notice', { readiness: { ready: true, gates: {}, notices: { [hostile]: 'x' } } }],
    ['a notice', { readiness: { ready: true, gates: {}, notices: { a: hostile } } }],
    ['the name of an address', { addresses: { [hostile]: ':1' } }],
    ['an address', { addresses: { a: hostile } }],
    ['the name of a parameter', { params: { [hostile]: { value: 'x', source: 'flag' } } }],
    ['the value of a parameter', { params: { a: { value: hostile, source: 'flag' } } }],
    ['the source of a parameter', { params: { a: { value: 'x', source: hostile } } }],
    ['a link', { links: [`/${hostile}`] }],
  ])('shows hostile text in %s, and only as text', (_, part) => {
    const page = adminPage({ ...overview, ...part })
    expect(page).not.toContain('<script')
    expect(page).not.toContain(hostile)
    expect(page).toContain(escapeHtml(hostile))
  })

  it.each([
    [true, '<title>test-box - ready</title>'],
    [false, '<title>test-box - not ready</title>'],
  ])('says in its title whether the container is ready: %s', (ready, title) => {
    expect(adminPage({ ...overview, readiness: { ready, gates: {}, notices: {} } })).toContain(title)
  })

  it('shows a parameter that nobody set without a value', () => {
    const page = adminPage({ ...overview, params: { label: { value: null, source: 'unset' } } })
    expect(page).toContain('<tr><td><code>label</code></td><td></td><td>unset</td></tr>')
  })

  it('links relatively, so that it works behind a path of a proxy', () => {
    expect(adminPage(overview)).toContain('<a href="params">/params</a>')
  })

  it('needs no script, font, image or other address', () => {
    expect(adminPage(overview)).not.toMatch(/<script|src=|@import|url\(|https?:/)
  })
})
