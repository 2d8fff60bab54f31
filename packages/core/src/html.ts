/** What a cell of a page shows: a number stands at the right of its column; all text is escaped. */
export type Cell =
  | string
  | number
  | { readonly code: string }
  /** In words and in colour, and why it is so. */
  | { readonly state: 'ok' | 'warn' | 'bad'; readonly text: string; readonly why?: string }
  /** A part of a whole, 0 to 1. */
  | { readonly bar: number }

/** A table of a page; one that has neither rows nor a note is not shown. */
export interface Section {
  readonly title: string
  /** A sentence above the table. */
  readonly note?: string
  /** Without it, the first cell of each row is the head of that row. */
  readonly head?: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
}

/** Everything shown comes from parameters, files or upstreams, so everything is escaped. */
export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
thead th { white-space: nowrap; } tbody th { font-weight: normal; width: 30%; }
.number { text-align: right; font-variant-numeric: tabular-nums; } td.number, td.bar { white-space: nowrap; }
code { font: .9em/1.5 ui-monospace, monospace; overflow-wrap: anywhere; } td code { display: inline-block; min-width: 7rem; }
meter { width: 5rem; margin-right: .4rem; vertical-align: middle; }
.state { font-weight: 600; } .ok { color: #17803d; } .warn { color: #a16207; } .bad { color: #c2410c; }
.notice { border-left: .3rem solid #c2410c; background: #c2410c18; padding: .6rem 1rem; margin: 1rem 0; }
nav { display: flex; flex-wrap: wrap; gap: 0 1rem; }
@media (prefers-color-scheme: dark) { .ok { color: #4ade80; } .warn { color: #facc15; } .bad { color: #fb923c; } }
`

export interface Frame {
  readonly title: string
  /** HTML. */
  readonly body: string
  /** Seconds after which a browser loads the page again; 0 for never. */
  readonly refresh?: number
}

/** A whole page, without a script or outside asset. */
export const layout = ({ title, body, refresh = 0 }: Frame): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${refresh > 0 ? `<meta http-equiv="refresh" content="${refresh}">\n` : ''}<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
${body}
</body>
</html>
`

/** Paths of the admin API, relative, so that they lead there behind a path of a proxy, too. */
export const navigation = (links: readonly string[]): string =>
  `<nav>${links.map((link) => `<a href="${escapeHtml(link.slice(1))}">${escapeHtml(link)}</a>`).join('')}</nav>`

export function sectionHtml({ title, note, head, rows }: Section): string {
  if (rows.length === 0 && note === undefined) return ''
  const parts = [
    `<h2>${escapeHtml(title)}</h2>`,
    ...(note === undefined ? [] : [`<p>${escapeHtml(note)}</p>`]),
    ...(rows.length === 0 ? [] : [table(head, rows)]),
  ]
  return parts.join('\n')
}

function table(head: Section['head'], rows: Section['rows']): string {
  const isNumeric = (column: number) => rows.every((row) => typeof row[column] === 'number')
  const heads = head?.map(
    (text, column) => `<th scope="col"${isNumeric(column) ? ' class="number"' : ''}>${escapeHtml(text)}</th>`,
  )
  const lines = rows.map((row) => {
    const [first, ...others] = row
    if (head !== undefined || first === undefined) return `<tr>${row.map(cellHtml).join('')}</tr>`
    return `<tr><th scope="row">${contentHtml(first)}</th>${others.map(cellHtml).join('')}</tr>`
  })
  return `<div class="wide"><table>${heads === undefined ? '' : `<thead><tr>${heads.join('')}</tr></thead>\n`}<tbody>${lines.join('\n')}</tbody></table></div>`
}

function cellHtml(cell: Cell): string {
  if (typeof cell === 'number') return `<td class="number">${contentHtml(cell)}</td>`
  if (typeof cell === 'object' && 'bar' in cell) return `<td class="bar">${contentHtml(cell)}</td>`
  return `<td>${contentHtml(cell)}</td>`
}

const numbers = new Intl.NumberFormat('en')
const percents = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1 })

function contentHtml(cell: Cell): string {
  if (typeof cell === 'string') return escapeHtml(cell)
  if (typeof cell === 'number') return Number.isFinite(cell) ? numbers.format(cell) : '-'
  if ('code' in cell) return codeHtml(cell.code)
  if ('state' in cell) return `${stateHtml(cell.state, cell.text)} ${escapeHtml(cell.why ?? '')}`.trimEnd()
  if (!Number.isFinite(cell.bar)) return '-'
  // The words beside it say the same.
  return `<meter aria-hidden="true" value="${cell.bar}"></meter>${percents.format(cell.bar)}`
}

const codeHtml = (text: string): string => `<code>${escapeHtml(text)}</code>`

export const stateHtml = (state: 'ok' | 'warn' | 'bad', text: string): string =>
  `<span class="state ${escapeHtml(state)}">${escapeHtml(text)}</span>`
