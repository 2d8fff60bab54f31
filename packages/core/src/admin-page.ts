import type { Overview } from './admin.ts'
import { type Cell, escapeHtml, layout, navigation, sectionHtml, stateHtml } from './html.ts'
import type { PageContent, PageSpec } from './pages.ts'

/** The page of a running container: its state, remarks, addresses and parameters. */
export function adminPage(overview: Overview): string {
  const { container, pattern, summary, version, readiness, addresses, params, links } = overview
  const gates = Object.entries(readiness.gates).map(([name, gate]): Cell[] => [
    name,
    gate.open ? { state: 'ok', text: 'open' } : { state: 'bad', text: 'closed', why: gate.reason },
  ])
  const listening = Object.entries(addresses).map(([name, at]): Cell[] => [name, { code: at }])
  const values = Object.entries(params).map(([name, { value, source }]): Cell[] => [
    { code: name },
    value === null ? '' : { code: value },
    source,
  ])
  const ready = readiness.ready ? stateHtml('ok', 'ready') : stateHtml('bad', 'not ready')
  return layout({
    title: `${container} - ${readiness.ready ? 'ready' : 'not ready'}`,
    body: `<h1>${escapeHtml(container)}</h1>
<p>${escapeHtml(summary)} <small>Outrider ${escapeHtml(pattern)}, version ${escapeHtml(version)}</small></p>
<p>This container is ${ready}.</p>
${noticesHtml(readiness.notices)}
${navigation(links)}
${sectionHtml({ title: 'Readiness', head: ['Gate', 'State'], rows: gates })}
${sectionHtml({ title: 'Addresses', head: ['Port', 'Listens on'], rows: listening })}
${sectionHtml({ title: 'Parameters', head: ['Name', 'Value', 'Source'], rows: values })}`,
  })
}

const noticesHtml = (notices: Readonly<Record<string, string>>): string =>
  Object.entries(notices)
    .map(
      ([name, text]) =>
        `<p class="notice" role="status"><strong>${escapeHtml(name)}</strong>: ${escapeHtml(text)}</p>`,
    )
    .join('\n')

export interface OwnPage extends PageSpec {
  readonly container: string
  readonly links: readonly string[]
  readonly notices: Readonly<Record<string, string>>
  readonly content: PageContent
  readonly time: Date
  /** Seconds after which it is loaded again; 0 for never. */
  readonly refresh: number
}

/** A page that a container adds to its admin API. */
export function ownPage(page: OwnPage): string {
  const { container, title, help, links, notices, content, time, refresh } = page
  const shown =
    content.sections()?.map(sectionHtml).join('\n') ??
    `<pre class="wide"><code>${escapeHtml(JSON.stringify(content.json(), null, 2))}</code></pre>`
  const again =
    refresh > 0
      ? `loaded again every ${refresh} s: <a href="?refresh=0">stop that</a>`
      : `<a href="?">keep it up to date</a>`
  return layout({
    title: `${title} - ${container}`,
    refresh,
    body: `<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(help)} <small>Outrider <a href="./">${escapeHtml(container)}</a></small></p>
${noticesHtml(notices)}
${navigation(links)}
${shown}
<p><small>As of <time>${time.toISOString()}</time>, ${again}.</small></p>`,
  })
}
