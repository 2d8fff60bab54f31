import type { Overview } from './admin.ts'

/** Everything shown comes from parameters, files or upstreams, so everything is escaped. */
export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
.state { font-weight: 600; } .ready { color: #17803d; } .closed { color: #c2410c; }
.notice { border-left: .3rem solid #c2410c; background: #c2410c18; padding: .6rem 1rem; margin: 1rem 0; }
nav a { margin-right: 1rem; }
@media (prefers-color-scheme: dark) { .ready { color: #4ade80; } .closed { color: #fb923c; } }
`

/** The page of a running container: its state, remarks, addresses and parameters, without a script or outside asset. */
export function adminPage(overview: Overview): string {
  const { container, pattern, summary, version, readiness, addresses, params, links } = overview
  const gates = Object.entries(readiness.gates).map(([name, gate]) => [
    escapeHtml(name),
    gate.open
      ? '<span class="state ready">open</span>'
      : `<span class="state closed">closed</span> ${escapeHtml(gate.reason)}`,
  ])
  const listening = Object.entries(addresses).map(([name, at]) => [escapeHtml(name), code(at)])
  const values = Object.entries(params).map(([name, { value, source }]) => [
    code(name),
    value === null ? '' : code(value),
    escapeHtml(source),
  ])
  const notices = Object.entries(readiness.notices).map(
    ([name, text]) =>
      `<p class="notice" role="status"><strong>${escapeHtml(name)}</strong>: ${escapeHtml(text)}</p>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(container)} - ${readiness.ready ? 'ready' : 'not ready'}</title>
<style>${style}</style>
</head>
<body>
<h1>${escapeHtml(container)}</h1>
<p>${escapeHtml(summary)} <small>Outrider ${escapeHtml(pattern)}, version ${escapeHtml(version)}</small></p>
<p>This container is <span class="state ${readiness.ready ? 'ready">ready' : 'closed">not ready'}</span>.</p>
${notices.join('\n')}
<nav>${links.map((link) => `<a href="${escapeHtml(link.slice(1))}">${escapeHtml(link)}</a>`).join('')}</nav>
${table('Readiness', ['Gate', 'State'], gates)}
${table('Addresses', ['Port', 'Listens on'], listening)}
${table('Parameters', ['Name', 'Value', 'Source'], values)}
</body>
</html>
`
}

const code = (text: string): string => `<code>${escapeHtml(text)}</code>`

function table(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ''
  const cells = (tag: 'th' | 'td', row: readonly string[]) =>
    row.map((cell) => `<${tag}>${cell}</${tag}>`).join('')
  return `<h2>${title}</h2>
<div class="wide"><table><thead><tr>${cells('th', head)}</tr></thead>
<tbody>${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n')}</tbody></table></div>`
}
