import type { Container } from '../container.ts'

/** What the admin API of a container answers, by method and path. */
export const adminRoutes = (container: Container): readonly (readonly [string, string])[] => [
  ['GET /', 'a page, or JSON by `Accept` or `?format=json`, with all of what follows'],
  ['GET /healthz', '200 while the process answers'],
  ['GET /readyz', '200, or 503 with each closed gate and why'],
  ['GET /metrics', 'Prometheus text 0.0.4, or OpenMetrics by `Accept`'],
  ['GET /params', 'each value and its source, secrets redacted'],
  ...Object.entries(container.pages).map(
    ([path, { help }]) => [`GET ${path}`, `${help} A page, or JSON as above`] as const,
  ),
  ['POST /drain', 'starts the drain; from loopback only'],
]
