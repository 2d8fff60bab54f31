import { request } from 'node:http'
import type { Address } from './kinds.ts'

export const probeKinds = ['live', 'ready'] as const
export type ProbeKind = (typeof probeKinds)[number]

export interface ProbeResult {
  readonly ok: boolean
  /** What the admin API answered, or why it did not. */
  readonly detail: string
}

const deadlineMs = 2_000
/** Where the admin API answers each question. */
export const probePaths: Readonly<Record<ProbeKind, string>> = { live: '/healthz', ready: '/readyz' }

/** Asks a running container's admin API; what `HEALTHCHECK` and Kubernetes exec probes run. */
export function probe(kind: ProbeKind, admin: Address): Promise<ProbeResult> {
  const to =
    'path' in admin ? { socketPath: admin.path } : { host: connectHost(admin.host), port: admin.port }
  return new Promise((resolve) => {
    const outgoing = request(
      { ...to, path: probePaths[kind], agent: false, signal: AbortSignal.timeout(deadlineMs) },
      (response) => {
        let detail = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          detail = (detail + chunk).slice(0, 65_536)
        })
        response.on('end', () => resolve({ ok: response.statusCode === 200, detail }))
        response.on('error', (error) => resolve({ ok: false, detail: error.message }))
      },
    )
    outgoing.on('error', (error) => resolve({ ok: false, detail: error.message }))
    outgoing.end()
  })
}

/** "All addresses" is where one listens, not where one connects. */
function connectHost(host: string): string {
  if (host === '' || host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}
