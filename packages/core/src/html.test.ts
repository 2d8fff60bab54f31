import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Cell, escapeHtml, layout, navigation, type Section, sectionHtml } from './html.ts'

const hostile = `<script>alert("1")</script>'&amp;`

const plain = (html: string) =>
  html.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)))

describe('escapeHtml', () => {
  it('leaves nothing that ends a text or a quoted attribute, and loses nothing', () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.oneof(fc.constantFrom(...`<>"'&;#6a`), fc.string({ unit: 'binary', maxLength: 1 })),
        }),
        (text) => {
          const html = escapeHtml(text)
          expect(html).not.toMatch(/[<>"']/)
          expect(plain(html)).toBe(text)
        },
      ),
    )
  })

  it('escapes what is escaped already', () => {
    expect(plain(escapeHtml('&#60;'))).toBe('&#60;')
  })
})

const section = (part: Partial<Section>) => sectionHtml({ title: 'Shards', rows: [], ...part })
const cell = (content: Cell) => section({ head: ['a'], rows: [[content]] })

describe('a section', () => {
  it.each<readonly [string, Partial<Section>]>([
    ['the title', { title: hostile, note: 'x' }],
    ['the note', { note: hostile }],
    ['the head', { head: [hostile], rows: [['x']] }],
    ['the head of a row', { rows: [[hostile, 'x']] }],
    ['a text', { head: ['a'], rows: [[hostile]] }],
    ['code', { rows: [['a', { code: hostile }]] }],
    ['a state', { rows: [['a', { state: 'ok', text: hostile }]] }],
    ['the reason of a state', { rows: [['a', { state: 'bad', text: 'down', why: hostile }]] }],
    ['the name of a state', { rows: [['a', { state: hostile as 'ok', text: 'up' }]] }],
  ])('shows hostile text in %s, and only as text', (_, part) => {
    const html = section(part)
    expect(html).not.toContain('<script')
    expect(html).not.toContain(hostile)
    expect(html).toContain(escapeHtml(hostile))
  })

  it('has numbers at the right of their column, under a head that is there, too', () => {
    const html = section({
      head: ['Name', 'Requests'],
      rows: [
        ['a', 1234567],
        ['b', 0.25],
      ],
    })
    expect(html).toContain('<th scope="col">Name</th><th scope="col" class="number">Requests</th>')
    expect(html).toContain('<td class="number">1,234,567</td>')
    expect(html).toContain('<td class="number">0.25</td>')
  })

  it('shows a number that is none as a dash', () => {
    expect(cell(Number.NaN)).toContain('<td class="number">-</td>')
    expect(cell({ bar: 0 / 0 })).toContain('<td class="bar">-</td>')
  })

  it('says a state in words, not in colour alone', () => {
    expect(cell({ state: 'bad', text: 'down', why: 'refused' })).toContain(
      '<td><span class="state bad">down</span> refused</td>',
    )
    expect(cell({ state: 'warn', text: 'ejected', why: '' })).toContain(
      '<td><span class="state warn">ejected</span></td>',
    )
  })

  it('draws a part of a whole, and says how much it is', () => {
    expect(cell({ bar: 1 / 3 })).toMatch(/<meter [^>]*value="0\.333\d*"><\/meter>33\.3%/)
  })

  it('without a head has the first cell of each row as its head', () => {
    expect(section({ rows: [['Hash', { code: 'fnv1a_64' }]] })).toContain(
      '<table><tbody><tr><th scope="row">Hash</th><td><code>fnv1a_64</code></td></tr></tbody>',
    )
  })

  it('without rows is its note alone, and without both it is nothing', () => {
    expect(section({ head: ['a'], note: 'No shard is ejected.' })).toBe(
      '<h2>Shards</h2>\n<p>No shard is ejected.</p>',
    )
    expect(section({ head: ['a'] })).toBe('')
  })
})

it('the links lead on behind a path of a proxy', () => {
  expect(navigation(['/status', '/params'])).toBe(
    '<nav><a href="status">/status</a><a href="params">/params</a></nav>',
  )
})

it('a page is loaded again only where that is asked for', () => {
  expect(layout({ title: 'a', body: '' })).not.toContain('http-equiv')
  expect(layout({ title: 'a', body: '', refresh: 5 })).toContain('<meta http-equiv="refresh" content="5">')
})
