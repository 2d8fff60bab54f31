import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ListenAddress } from '@outrider/listen'
import { answer, type HttpLimits, startHttpEndpoint } from './http-limits.ts'
import { takeCpuProfile, takeHeapProfile } from './profile.ts'

export interface ProbeEndpointOptions {
  readonly listen: ListenAddress
  /** Prometheus text for `/metrics`; without it that is a path as any other. */
  readonly metrics?: () => string | Promise<string>
  /** Whether `/debug/pprof/` is there. */
  readonly pprof: boolean
  readonly onError: (error: Error) => void
  readonly limits?: Partial<HttpLimits>
}

export interface ProbeEndpoint extends AsyncDisposable {
  readonly address: ListenAddress
  /** From now on, and for ever, it says that all is well. */
  markSynced(): void
}

/**
 * Listens for probes.
 *
 *     /metrics                          where there are some
 *     /debug/pprof/                     links to what follows
 *     /debug/pprof/profile?seconds=30   where the processor is
 *     /debug/pprof/heap?seconds=30      where memory is asked for
 *     any other path                    200 once there was a sync, 503 before, with no body
 *
 * Rejects with the system's error on listening.
 */
export async function startProbeEndpoint(options: ProbeEndpointOptions): Promise<ProbeEndpoint> {
  const handler = new ProbeHandler(options)
  const endpoint = await startHttpEndpoint({
    listen: options.listen,
    ...(options.limits !== undefined && { limits: options.limits }),
    handle: (request, response) => handler.handle(request, response),
    onError: options.onError,
  })
  return {
    address: endpoint.address,
    markSynced() {
      handler.synced = true
    },
    [Symbol.asyncDispose]: () => endpoint[Symbol.asyncDispose](),
  }
}

const PROFILES = {
  '/debug/pprof/profile': { take: takeCpuProfile, file: 'git-sync.cpuprofile' },
  '/debug/pprof/heap': { take: takeHeapProfile, file: 'git-sync.heapprofile' },
}

const SECONDS = { least: 1, most: 60, default: 30 }

class ProbeHandler {
  synced = false
  #profiling = false
  readonly #options: ProbeEndpointOptions

  constructor(options: ProbeEndpointOptions) {
    this.#options = options
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { metrics, pprof } = this.#options
    const [path = '', query = ''] = (request.url ?? '').split('?', 2)
    if (path === '/metrics' && metrics !== undefined) {
      const headers = { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' }
      answer(request, response, { status: 200, headers, body: await metrics() })
    } else if (pprof && /^\/debug\/pprof\/?$/.test(path)) {
      answer(request, response, {
        status: 200,
        headers: { 'Content-Type': 'text/html; charset=utf-8' },
        body: PAGE,
      })
    } else if (pprof && (path === '/debug/pprof/profile' || path === '/debug/pprof/heap')) {
      await this.#profile(request, response, path, query)
    } else {
      answer(request, response, { status: this.synced ? 200 : 503 })
    }
  }

  async #profile(
    request: IncomingMessage,
    response: ServerResponse,
    path: keyof typeof PROFILES,
    query: string,
  ): Promise<void> {
    const text = new URLSearchParams(query).get('seconds') ?? String(SECONDS.default)
    const seconds = /^\d{1,3}$/.test(text) ? Number(text) : 0
    const refuse = (status: number, body: string): void =>
      answer(request, response, { status, headers: { 'Content-Type': 'text/plain' }, body })
    if (seconds < SECONDS.least || seconds > SECONDS.most) {
      refuse(400, `seconds must be a whole number from ${SECONDS.least} to ${SECONDS.most}\n`)
      return
    }
    if (this.#profiling) {
      refuse(409, 'a profile is being taken: wait for its end\n')
      return
    }
    this.#profiling = true
    const left = new AbortController()
    response.once('close', () => left.abort())
    // Silence is what it is for.
    request.socket.setTimeout(0)
    try {
      const { take, file } = PROFILES[path]
      const body = await take(seconds * 1_000, left.signal)
      const headers = {
        'Content-Type': 'application/json',
        'Content-Disposition': `attachment; filename="${file}"`,
      }
      answer(request, response, { status: 200, headers, body })
    } finally {
      this.#profiling = false
    }
  }
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>git-sync: profiles</title>
<p>Profiles of this process in V8's formats, for the developer tools of Chrome and editors that read them.</p>
<ul>
<li><a href="/debug/pprof/profile?seconds=30">profile</a>: where the processor is (.cpuprofile)</li>
<li><a href="/debug/pprof/heap?seconds=30">heap</a>: where memory is asked for that is still in use (.heapprofile)</li>
</ul>
<p>One is taken at a time, for 1 to 60 seconds.</p>
</html>
`
